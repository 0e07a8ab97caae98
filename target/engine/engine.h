// The protocol engine: (configuration, list of events) -> list of outputs, a pure function. It owns
// every rule of AoE and of the extensions that a target follows, and must never know a clock, a
// socket, a file, a thread, a random number or a stream. One loop runs it, target/shell, for real
// and in virtual time.
//
// Its calls: on_frame (only while intake_open()), on_disk_done (always), on_timer (when
// next_deadline() has come), next_deadline, and clear_outbox once everything in outbox() has been
// started or sent, in order; and on_clear, the operator's, who need not ask the network.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "target/engine/values.h"

namespace target::engine {

// The least operations_max for a configuration: what one request may need at once.
[[nodiscard]] std::uint32_t operations_min(const EngineConfig& config);

class Engine {
 public:
  // Programmer errors in config (no ports, an mtu below kMtuMin, more than 1,024 bytes of config
  // string, operations_max below operations_min()) are assertions; a shell validates what a user
  // gave first.
  explicit Engine(EngineConfig config);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  void on_frame(const FrameIn& frame);
  void on_disk_done(const DiskDone& done);
  void on_timer(Nanoseconds now);
  // The operator empties a part of the state, frozen or not; saved as every change is. One order
  // at a time: not while last_clear() is under_way.
  void on_clear(StatePart part);
  [[nodiscard]] ClearStatus last_clear() const;
  // The instant at which on_timer wants to be called; 0 right after construction (the
  // announcement), kNever if none.
  [[nodiscard]] Nanoseconds next_deadline() const;

  // What the calls since the last clear_outbox() want done; each call appends.
  [[nodiscard]] const Outbox& outbox() const;
  void clear_outbox();
  // False: leave frames in the receive buffer, hand in only finished disk operations and timers.
  [[nodiscard]] bool intake_open() const;

  [[nodiscard]] const Counters& counters() const;
  [[nodiscard]] const PersistentState& state() const;
  // Who has a session now, in no order.
  [[nodiscard]] std::vector<SessionFacts> sessions() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace target::engine
