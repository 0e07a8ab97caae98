// The simulated disk: sectors in memory, latency, completions in any order, errors, a volatile
// cache, and what a crash leaves. It takes operations as the engine's shell hands them over and
// must never know who asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sim/disk/stamp.h"
#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/schedule.h"
#include "sim/trace.h"
#include "target/engine/engine.h"

namespace sim::disk {

class Disk {
 public:
  Disk(const Settings& settings, EventQueue& queue, Tracer& tracer, Faults& faults);

  void start(const target::engine::DiskOp& op, Nanoseconds now);
  void start(const target::engine::Save& save, Nanoseconds now);

  struct Completion {
    target::engine::DiskDone done;
    bool current = false;  // false: of a life that a crash ended
    bool save = false;
    target::engine::DiskOpKind kind{};
    std::uint64_t first = 0;             // LBA of the operation
    std::span<const std::byte> content;  // of a write, whatever became of it
    // What of a write stands on the disk now; the bytes are the engine's, as in DiskOp.
    std::uint64_t lba = 0;
    std::span<const std::byte> written;
  };
  // An event disk_done came: transfers the data.
  Completion complete(std::uint64_t slot, Nanoseconds now);

  // Power fails. Each sector of an unfinished write is old, new or torn, as the choice says (0:
  // old); what was in a volatile cache may be lost. judge(lba, unfinished) is called for every
  // sector after.
  void crash(std::int64_t choice, Nanoseconds now,
             const std::function<void(std::uint64_t lba, bool unfinished)>& judge);

  [[nodiscard]] std::span<const std::byte> sector(std::uint64_t lba) const {
    return std::span(visible_).subspan(lba * kSectorBytes, kSectorBytes);
  }
  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }
  [[nodiscard]] const target::engine::PersistentState& saved() const { return saved_; }
  // Somebody removes the stored state.
  void forget_saved() { saved_ = {}; }
  [[nodiscard]] std::uint64_t errors() const { return errors_; }
  [[nodiscard]] std::uint64_t torn() const { return torn_; }
  [[nodiscard]] std::uint64_t saves() const { return saves_; }

 private:
  struct InFlight {
    target::engine::DiskOp op;
    const target::engine::PersistentState* state = nullptr;  // a save
    std::uint32_t index = 0;
    std::uint32_t transferred = 0;
    target::engine::DiskStatus status{};
    bool used = false;
    // A flush: the sectors that had been written when it began, and what they held. A read: what it
    // brings, where that was settled when it began.
    std::vector<std::uint64_t> flushed{};
    std::vector<std::byte> content{};
  };
  void begin_flush(InFlight& flight);
  void end_flush(const InFlight& flight);
  std::size_t take_slot();
  void transfer(const InFlight& flight);
  void crash_write(const InFlight& flight, std::int64_t choice, std::vector<char>& unfinished);

  const Settings& settings_;
  EventQueue& queue_;
  Tracer& tracer_;
  Faults& faults_;
  std::vector<std::byte> visible_;
  std::vector<std::byte> durable_;   // only where a write is not durable when it has ended
  std::vector<char> dirty_;          // by LBA: written since the last flush began
  std::vector<std::byte> gathered_;  // of the completion that was told last
  std::vector<InFlight> flights_;
  std::vector<std::size_t> free_;
  std::uint32_t next_index_ = 0;
  std::uint32_t in_flight_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t torn_ = 0;
  std::uint64_t saves_ = 0;
  target::engine::PersistentState saved_;
};

}  // namespace sim::disk
