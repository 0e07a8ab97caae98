// Judges and keeps frames; the same verdicts as sim/ethernet/network.cc, on bytes of a real wire.
#include "sim/live/bridge.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace sim::live {
namespace {

constexpr std::size_t kTypeOffset = 12;
constexpr std::size_t kEthernetHeaderBytes = 14;
constexpr std::byte kAoeTypeHigh{0x88};
constexpr std::byte kAoeTypeLow{0xa2};
constexpr Nanoseconds kHoldMax = kSecond;
constexpr std::size_t kWaitingMax = 65'536;  // frames; a wire that keeps more is broken

bool is_aoe(std::span<const std::byte> frame) {
  return frame.size() >= kEthernetHeaderBytes && frame[kTypeOffset] == kAoeTypeHigh &&
         frame[kTypeOffset + 1] == kAoeTypeLow;
}

constexpr auto kLatestFirst = [](const auto& one, const auto& two) {
  return std::tie(one.when, one.serial) > std::tie(two.when, two.serial);
};

}  // namespace

Bridge::Bridge(Faults& faults, bool judge_leaving, std::array<std::size_t, kSides> frame_bytes_max,
               Send send)
    : faults_(faults),
      judge_leaving_(judge_leaving),
      frame_bytes_max_(frame_bytes_max),
      send_(std::move(send)) {}

void Bridge::come_in(Side from, std::span<const std::byte> bytes, Nanoseconds now) {
  run(now);
  Frame frame{{bytes.begin(), bytes.end()}, from};
  Counters& counters = of(frame);
  if (!is_aoe(bytes)) {
    ++counters.neighbours;
    counters.unsent += send_(other(from), bytes) ? 0 : 1;
    return;
  }
  ++counters.in;
  const LinkId link = link_up(host_of(from));
  frame.index = faults_.frames_on(link);
  std::vector<WriteRules::Copy> copies;
  if (rules_) {
    if (from == Side::a) {
      rules_->came_in(bytes, frame.index, now);
    } else {
      copies = rules_->answered(bytes);
    }
  }
  enter(link, std::move(frame), now);
  // After the reply that lets them go. In the record each is what it looks like: a duplicate of its
  // frame, so much later.
  for (WriteRules::Copy& copy : copies) {
    const LinkId up = link_up(kInitiatorHost);
    done_.push_back({up, copy.index, FrameFaultKind::duplicate, now - copy.stamp});
    ++counters_[static_cast<std::size_t>(Side::a)].copied;
    arrive(up, {std::move(copy.bytes), Side::a, copy.index, true}, now);
  }
}

void Bridge::run(Nanoseconds now) {
  expire_held(now);
  while (!waiting_.empty() && waiting_.front().when <= now) {
    std::pop_heap(waiting_.begin(), waiting_.end(), kLatestFirst);
    Waiting due = std::move(waiting_.back());
    waiting_.pop_back();
    arrive(due.link, std::move(due.frame), now);
  }
}

std::optional<Nanoseconds> Bridge::next() const {
  std::optional<Nanoseconds> earliest;
  const auto consider = [&](Nanoseconds when) {
    earliest = earliest ? std::min(*earliest, when) : when;
  };
  if (!waiting_.empty()) {
    consider(waiting_.front().when);
  }
  for (const std::vector<Held>& link : held_) {
    for (const Held& held : link) {
      consider(held.expires);
    }
  }
  return earliest;
}

std::size_t Bridge::waiting() const {
  std::size_t count = waiting_.size();
  for (const std::vector<Held>& link : held_) {
    count += link.size();
  }
  return count;
}

std::uint64_t Bridge::judged() const {
  return counters_[0].in + counters_[1].in;
}

std::vector<FrameFault> Bridge::done() const {
  std::vector<FrameFault> sorted = done_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const FrameFault& one, const FrameFault& two) {
    return std::tie(one.link, one.index) < std::tie(two.link, two.index);
  });
  return sorted;
}

void Bridge::enter(LinkId link, Frame frame, Nanoseconds now) {
  const bool leaving = link % 2 == 1;
  if (leaving && !judge_leaving_) {
    arrive(link, std::move(frame), now);
    return;
  }
  const std::uint32_t index = faults_.frames_on(link);
  Journey journey;
  if (judge(link, frame, journey, now)) {
    if (journey.copy_after) {
      Frame copy = frame;
      copy.copy = true;
      travel(link, std::move(copy), now + *journey.copy_after, now);
    }
    if (journey.hold > 0) {
      held_[link].push_back(
          {now + kHoldMax, index + static_cast<std::uint32_t>(journey.hold), std::move(frame)});
    } else {
      travel(link, std::move(frame), now + journey.delay, now);
    }
  }
  release_held(link, index, now);
}

// Applies the verdicts. False when the frame is gone.
bool Bridge::judge(LinkId link, Frame& frame, Journey& journey, Nanoseconds now) {
  std::vector<std::byte>& bytes = frame.bytes;
  for (const FrameFault& fault : faults_.next_frame(link, now, bytes.size())) {
    ++of(frame).verdicts[static_cast<std::size_t>(fault.kind)];
    done_.push_back(fault);
    const auto amount = static_cast<std::size_t>(std::max<std::int64_t>(fault.amount, 0));
    switch (fault.kind) {
      case FrameFaultKind::drop:
      case FrameFaultKind::full:
      case FrameFaultKind::bad_fcs:  // no interface sends one on request; the receiver drops it
        return false;
      case FrameFaultKind::delay:
        journey.delay += std::max<std::int64_t>(fault.amount, 0);
        break;
      case FrameFaultKind::duplicate:
        journey.copy_after = std::max<std::int64_t>(fault.amount, 0);
        break;
      case FrameFaultKind::hold:
        journey.hold = fault.amount;
        break;
      case FrameFaultKind::truncate:
        bytes.resize(std::min(bytes.size(), amount));
        break;
      case FrameFaultKind::pad: {
        const std::size_t most = frame_bytes_max_[static_cast<std::size_t>(other(frame.from))];
        bytes.resize(std::max(bytes.size(), std::min(bytes.size() + amount, most)));
        break;
      }
      case FrameFaultKind::flip:
        if (!bytes.empty()) {
          const std::size_t bit = amount % (bytes.size() * 8);
          bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        break;
    }
  }
  return true;
}

void Bridge::travel(LinkId link, Frame frame, Nanoseconds when, Nanoseconds now) {
  if (when <= now) {
    arrive(link, std::move(frame), now);
  } else if (waiting() >= kWaitingMax) {
    ++of(frame).crowded;
  } else {
    waiting_.push_back({when, next_serial_++, link, std::move(frame)});
    std::push_heap(waiting_.begin(), waiting_.end(), kLatestFirst);
  }
}

void Bridge::arrive(LinkId link, Frame frame, Nanoseconds now) {
  const Side to = other(frame.from);
  if (link % 2 == 0) {
    enter(link_down(host_of(to)), std::move(frame), now);
    return;
  }
  if (rules_ && frame.from == Side::a && !rules_->may_leave(frame.bytes)) {
    held_by_rule(frame);
    return;
  }
  const bool fits = frame.bytes.size() >= kEthernetHeaderBytes &&
                    frame.bytes.size() <= frame_bytes_max_[static_cast<std::size_t>(to)];
  if (fits && send_(to, frame.bytes)) {
    ++of(frame).out;
  } else {
    ++of(frame).unsent;
  }
}

// A replay knows no rules: what was held back must look as if it had never been sent on.
void Bridge::held_by_rule(const Frame& frame) {
  ++counters_[static_cast<std::size_t>(frame.from)].ruled;
  const LinkId up = link_up(host_of(frame.from));
  if (frame.copy) {
    done_.erase(std::remove_if(done_.begin(), done_.end(),
                               [&](const FrameFault& fault) {
                                 return fault.link == up && fault.index == frame.index &&
                                        fault.kind == FrameFaultKind::duplicate;
                               }),
                done_.end());
  } else {
    done_.push_back({up, frame.index, FrameFaultKind::drop, 0});
  }
}

void Bridge::release_held(LinkId link, std::uint32_t index, Nanoseconds now) {
  std::vector<Held> kept;
  std::vector<Held> before = std::move(held_[link]);
  held_[link].clear();
  for (Held& held : before) {
    if (held.release_at_index <= index) {
      travel(link, std::move(held.frame), now, now);
    } else {
      kept.push_back(std::move(held));
    }
  }
  held_[link] = std::move(kept);
}

void Bridge::expire_held(Nanoseconds now) {
  for (LinkId link = 0; link < kLinks; ++link) {
    // The first held expires first: all are held equally long.
    while (!held_[link].empty() && held_[link].front().expires <= now) {
      Frame frame = std::move(held_[link].front().frame);
      held_[link].erase(held_[link].begin());
      travel(link, std::move(frame), now, now);
    }
  }
}

std::string describe(Side from, const Counters& counters) {
  std::string text =
      fmt::format("{} in {} out {}", from == Side::a ? "a>t" : "t>a", counters.in, counters.out);
  const auto add = [&](std::string_view name, std::uint64_t count) {
    if (count != 0) {
      text += fmt::format(" {} {}", name, count);
    }
  };
  for (std::size_t kind = 0; kind < kFrameFaultKinds; ++kind) {
    add(frame_fault_name(static_cast<FrameFaultKind>(kind)), counters.verdicts[kind]);
  }
  add("ruled", counters.ruled);
  add("copied", counters.copied);
  add("crowded", counters.crowded);
  add("unsent", counters.unsent);
  add("neighbours", counters.neighbours);
  return text;
}

}  // namespace sim::live
