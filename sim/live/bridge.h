// A bridge with verdicts: frames come in at one side, are judged, and go out at the other at once,
// later, twice, behind others, or never. It owns frames while they wait and what was done to them;
// time and the wire are handed to it, and it must never read more of a frame than its type: what is
// decided by content is asked of WriteRules.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/faults.h"
#include "sim/live/write_rules.h"
#include "sim/schedule.h"

namespace sim::live {

// Side a is where the initiator stands, side t the target, as in a .sim text with one initiator.
enum class Side : std::uint8_t { a, t };
inline constexpr std::size_t kSides = 2;
inline constexpr std::uint32_t kInitiatorHost = 1;
inline constexpr LinkId kLinks = 4;

constexpr Side other(Side side) {
  return side == Side::a ? Side::t : Side::a;
}
constexpr std::uint32_t host_of(Side side) {
  return side == Side::a ? kInitiatorHost : kTargetHost;
}

inline constexpr std::size_t kFrameFaultKinds = static_cast<std::size_t>(FrameFaultKind::full) + 1;

// Of what came in at one side.
struct Counters {
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  std::array<std::uint64_t, kFrameFaultKinds> verdicts{};
  std::uint64_t neighbours = 0;  // frames that are not AoE: neither judged nor numbered
  std::uint64_t crowded = 0;     // lost because too many wait
  std::uint64_t ruled = 0;       // held back by a rule of content
  std::uint64_t copied = 0;      // let go by one, beyond what came in
  std::uint64_t unsent = 0;      // too short, too long, or the interface refused it
};

class Bridge {
 public:
  // Puts a frame on the wire; false when the interface refuses it.
  using Send = std::function<bool(Side to, std::span<const std::byte> frame)>;

  // judge_leaving: verdicts on sw>t and sw>a as well. A schedule may have those; drawn ones strike
  // where frames come in, since the order there is the senders' and not a matter of our timing.
  Bridge(Faults& faults, bool judge_leaving, std::array<std::size_t, kSides> frame_bytes_max,
         Send send);
  // Rules by content, beside the verdicts. Before the first frame.
  void obey(WriteRule rule, SectorRange only) { rules_.emplace(rule, only); }
  [[nodiscard]] const std::optional<WriteRules>& rules() const { return rules_; }

  void come_in(Side from, std::span<const std::byte> frame, Nanoseconds now);
  // Sends what is due.
  void run(Nanoseconds now);
  // When run() has something to do; none when nothing waits.
  [[nodiscard]] std::optional<Nanoseconds> next() const;

  [[nodiscard]] const Counters& counters(Side from) const {
    return counters_[static_cast<std::size_t>(from)];
  }
  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] std::uint64_t judged() const;
  // What was done, by link and index.
  [[nodiscard]] std::vector<FrameFault> done() const;

 private:
  struct Frame {
    std::vector<std::byte> bytes;
    Side from{};
    std::uint32_t index = 0;  // on the link where it came in
    bool copy = false;
  };
  struct Waiting {
    Nanoseconds when = 0;
    std::uint64_t serial = 0;  // of two due at once the first to wait goes first
    LinkId link = 0;
    Frame frame;
  };
  struct Held {
    Nanoseconds expires = 0;
    std::uint32_t release_at_index = 0;
    Frame frame;
  };
  struct Journey {
    Nanoseconds delay = 0;
    std::optional<Nanoseconds> copy_after;
    std::int64_t hold = 0;
  };

  void enter(LinkId link, Frame frame, Nanoseconds now);
  bool judge(LinkId link, Frame& frame, Journey& journey, Nanoseconds now);
  void travel(LinkId link, Frame frame, Nanoseconds when, Nanoseconds now);
  void arrive(LinkId link, Frame frame, Nanoseconds now);
  void held_by_rule(const Frame& frame);
  void release_held(LinkId link, std::uint32_t index, Nanoseconds now);
  void expire_held(Nanoseconds now);
  Counters& of(const Frame& frame) { return counters_[static_cast<std::size_t>(frame.from)]; }

  Faults& faults_;
  bool judge_leaving_;
  std::array<std::size_t, kSides> frame_bytes_max_;
  Send send_;
  std::vector<Waiting> waiting_;  // a heap, earliest first
  std::array<std::vector<Held>, kLinks> held_;
  std::array<Counters, kSides> counters_{};
  std::vector<FrameFault> done_;
  std::optional<WriteRules> rules_;
  std::uint64_t next_serial_ = 0;
};

// "a>t in 7 out 6 drop 1", without what never happened.
std::string describe(Side from, const Counters& counters);

}  // namespace sim::live
