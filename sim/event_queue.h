// The one heap of a world: what happens next in virtual time. It owns the order of events (time,
// then a permutation of the order they were asked for) and must never know what they mean.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sim/schedule.h"
#include "sim/streams.h"

namespace sim {

enum class EventKind : std::uint8_t {
  frame_arrives,       // who: link; arg: frame
  held_frame_expires,  // who: link; arg: frame
  target_wakes,        // arg: the target's life
  disk_done,           // arg: operation
  initiator_timer,     // who: initiator; arg: its own
  host_event,          // arg: index
};

struct Event {
  Nanoseconds time = 0;
  std::uint64_t order = 0;
  std::uint64_t arg = 0;
  std::uint32_t who = 0;
  EventKind kind{};
};

class EventQueue {
 public:
  // tie: permutes events of one instant; 0 keeps them in the order they were asked for.
  explicit EventQueue(std::int64_t tie) : tie_(static_cast<std::uint64_t>(tie)) {}

  void at(Nanoseconds time, EventKind kind, std::uint32_t who, std::uint64_t arg) {
    const std::uint64_t sequence = next_sequence_++;
    constexpr unsigned kSequenceBits = 32;
    const std::uint64_t order =
        tie_ == 0 ? sequence : (mix(tie_ ^ sequence) << kSequenceBits) | (sequence & 0xffffffffU);
    heap_.push_back({time, order, arg, who, kind});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] Nanoseconds next_time() const { return heap_.front().time; }
  Event pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Event event = heap_.back();
    heap_.pop_back();
    return event;
  }

 private:
  static bool later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
  std::vector<Event> heap_;
  std::uint64_t tie_;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace sim
