// What the shell asks of the world around it, as small interfaces: the kernel answers them in
// production (target/linux), a seed in the simulator, a few lines in a test. No call may wait: what
// takes time ends later and is reaped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "target/engine/engine.h"

namespace target::shell {

using engine::kNever;
using engine::Nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; the origin is its own.
  [[nodiscard]] virtual Nanoseconds now() = 0;
};

// The receive buffer of each port: exactly EngineConfig::buffer_count slots, and nothing queues
// outside of them. A frame that finds no free slot is dropped and counted by whoever owns them,
// also while nobody takes frames: that is what makes the count of a congestion probe one number.
class Intake {
 public:
  virtual ~Intake() = default;
  // Frames that wait at this moment, looking at no more than limit.
  [[nodiscard]] virtual std::uint32_t waiting(std::uint16_t port, std::uint32_t limit) = 0;
  // The oldest frame that waits (there must be one); nullopt when it is unusable. Its bytes, and
  // its slot, are the shell's until pop().
  [[nodiscard]] virtual std::optional<std::span<const std::byte>> front(std::uint16_t port) = 0;
  virtual void pop(std::uint16_t port) = 0;
};

using FrameView = std::span<const std::byte>;

// Why the first frame that was not taken was not.
enum class SendStop : std::uint8_t {
  none,       // everything was taken
  full,       // no room at all; Shell::on_writable is called when there is
  not_now,    // this frame not now, another perhaps, and nobody will say when (ENOBUFS)
  lost_link,  // the link is down or gone, or the frame does not fit it: it is lost, as on any wire
};

struct SendResult {
  std::size_t taken = 0;  // from the front
  SendStop stop = SendStop::none;
};

class Sender {
 public:
  virtual ~Sender() = default;
  // Takes frames from the front, in order. lost_link: the first frame that was not taken is lost
  // and must not be offered again.
  virtual SendResult send(std::uint16_t port, std::span<const FrameView> frames) = 0;
};

struct DiskCompletion {
  std::uint32_t id = 0;
  engine::DiskStatus status = engine::DiskStatus::ok;
};

// Carries operations out. The engine sees to it that those in flight together never overlap, so
// they may end in any order. A flush makes durable what had ended (was reaped) when it was started.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual void start(std::span<const engine::DiskOp> operations) = 0;
  // Appends what has ended, without waiting.
  virtual void reap(std::vector<DiskCompletion>& completions) = 0;
  // Something waits for room, and no event will come of it: reap again after a moment.
  [[nodiscard]] virtual bool wants_retry() const { return false; }
  // The instant at which reap() wants to be called although nothing has ended.
  [[nodiscard]] virtual Nanoseconds deadline() const { return kNever; }
};

// Stores the state of a target, all or nothing. One save at a time.
class Store {
 public:
  virtual ~Store() = default;
  // save.state stays valid until its end was reaped.
  virtual void start(const engine::Save& save) = 0;
  virtual void reap(std::vector<DiskCompletion>& completions) = 0;
};

// Where notes become lines for people.
class Notes {
 public:
  virtual ~Notes() = default;
  // left_out: notes of this kind that were not told since the last one, for there were too many.
  virtual void tell(const engine::Note& note, std::uint64_t left_out) = 0;
  // A frame for this host could not be sent for a while, and is lost; told once in a while.
  virtual void tell_unsendable(std::uint16_t /*port*/, const wire::MacAddress& /*host*/,
                               std::size_t /*frame_bytes*/) {}
};

// Sees everything that enters and leaves the engine, for whoever checks it.
class Witness {
 public:
  virtual ~Witness() = default;
  virtual void before(const engine::FrameIn& /*frame*/) {}
  virtual void before(const engine::DiskDone& /*done*/) {}
  // An event has been handed in; the outbox has grown.
  virtual void after_event(const engine::Engine& /*engine*/) {}
  // Everything in the outbox has been started or sent; it is cleared next.
  virtual void after_flush(const engine::Outbox& /*outbox*/) {}
};

struct Surroundings {
  Clock& clock;
  Intake& intake;
  Sender& sender;
  Disk& disk;
  Store* store = nullptr;  // needed when EngineConfig::persist
  Notes* notes = nullptr;
  Witness* witness = nullptr;
};

}  // namespace target::shell
