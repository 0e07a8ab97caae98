// Draws or reads verdicts.
#include "sim/faults.h"

#include <fmt/format.h>

#include <limits>

namespace sim {

namespace {

enum FrameKind : std::size_t {
  kDrop,
  kBurst,
  kFull,
  kBadFcs,
  kTruncate,
  kPad,
  kFlip,
  kDuplicate,
  kDelay,
  kHold,
  kInOutage,
};
// The names of the streams: they are part of what a seed means.
constexpr std::array<std::string_view, 11> kFrameStreams{
    "frame.drop", "frame.burst",     "frame.full",  "frame.bad-fcs", "frame.truncate",  "frame.pad",
    "frame.flip", "frame.duplicate", "frame.delay", "frame.hold",    "frame.in-outage",
};
enum DiskKind : std::size_t { kDiskDelay, kDiskError, kDiskHang };
constexpr std::array<std::string_view, 3> kDiskStreams{"disk.delay", "disk.error", "disk.hang"};

constexpr Nanoseconds kOutageSpan = 5 * kMillisecond;
constexpr std::uint64_t kLostInOutage = 800'000;

// Whole microseconds: a person reads them.
Nanoseconds up_to(Stream& stream, Nanoseconds most) {
  const auto micros = static_cast<std::uint64_t>(most / kMicrosecond);
  return static_cast<Nanoseconds>(stream.below(micros) + 1) * kMicrosecond;
}

}  // namespace

std::string describe(const Swarm& swarm) {
  return fmt::format(
      "in a million frames: drop {} burst {} delay {} (up to {}) duplicate {} (late by up to {}) "
      "hold {} "
      "truncate {} pad {} bad-fcs {} flip {} full {}; in a million disk operations: delay {} (up "
      "to {}) error {} hang {}; outages {}; {}",
      swarm.drop, swarm.burst, swarm.delay, print_duration(swarm.delay_max), swarm.duplicate,
      print_duration(swarm.duplicate_max), swarm.hold, swarm.truncate, swarm.pad, swarm.bad_fcs,
      swarm.flip, swarm.full, swarm.disk_delay, print_duration(swarm.disk_delay_max),
      swarm.disk_error, swarm.disk_hang, swarm.outage,
      swarm.heal_at == std::numeric_limits<Nanoseconds>::max()
          ? "never healed"
          : "healed at " + print_duration(swarm.heal_at));
}

Faults::Faults(const Schedule& schedule)
    : links_(2 * (schedule.initiators.size() + 1)), disk_(schedule.disk_faults) {
  for (const FrameFault& fault : schedule.frame_faults) {
    links_.at(fault.link).faults.push_back(fault);
  }
}

Faults::Faults(const Schedule& schedule, const Swarm& swarm)
    : links_(2 * (schedule.initiators.size() + 1)),
      outages_(swarm.seed, "outage", 0),
      swarm_(swarm) {
  for (std::size_t i = 0; i < links_.size(); ++i) {
    for (std::size_t kind = 0; kind < kFrameKinds; ++kind) {
      links_[i].draws[kind] = Numbered(swarm.seed, kFrameStreams[kind], i);
    }
  }
  for (std::size_t kind = 0; kind < kDiskKinds; ++kind) {
    disk_draws_[kind] = Numbered(swarm.seed, kDiskStreams[kind], 0);
  }
}

const std::vector<FrameFault>& Faults::next_frame(LinkId id, Nanoseconds now, std::size_t bytes) {
  Link& link = links_[id];
  frame_now_.clear();
  if (swarm_ && now < swarm_->heal_at) {
    draw_frame(link, id, now, bytes);
  }
  while (link.cursor < link.faults.size() && link.faults[link.cursor].index <= link.next_index) {
    if (link.faults[link.cursor].index == link.next_index) {
      frame_now_.push_back(link.faults[link.cursor]);
    }
    ++link.cursor;
  }
  ++link.next_index;
  return frame_now_;
}

const std::vector<DiskFault>& Faults::next_disk(Nanoseconds now, bool write,
                                                std::uint32_t sectors) {
  disk_now_.clear();
  if (swarm_ && now < swarm_->heal_at) {
    draw_disk(write, sectors);
  }
  while (disk_cursor_ < disk_.size() && disk_[disk_cursor_].index <= next_disk_) {
    if (disk_[disk_cursor_].index == next_disk_) {
      disk_now_.push_back(disk_[disk_cursor_]);
    }
    ++disk_cursor_;
  }
  ++next_disk_;
  return disk_now_;
}

std::vector<FrameFault> Faults::frame_faults() const {
  std::vector<FrameFault> all;
  for (const Link& link : links_) {
    all.insert(all.end(), link.faults.begin(), link.faults.end());
  }
  return all;
}

// Losses that come together: a run of frames on one link, or an instant in which every link loses.
bool Faults::lost_in_company(Link& link, Nanoseconds now) const {
  if (link.burst_left > 0) {
    --link.burst_left;
    return true;
  }
  Stream burst = link.draws[kBurst].at(link.next_index);
  if (burst.per_million(swarm_->burst)) {
    link.burst_left = burst.between(2, 24);
    return true;
  }
  if (swarm_->outage == 0) {
    return false;
  }
  Stream outage = outages_.at(static_cast<std::uint64_t>(now / kOutageSpan));
  Stream mine = link.draws[kInOutage].at(link.next_index);
  return outage.per_million(swarm_->outage) && mine.per_million(kLostInOutage);
}

void Faults::draw_frame(Link& link, LinkId id, Nanoseconds now, std::size_t bytes) {
  const auto add = [&](FrameFaultKind kind, std::int64_t amount) {
    link.faults.push_back({id, link.next_index, kind, amount});
  };
  // The stream of this kind for this frame, if it strikes.
  const auto strikes = [&](FrameKind kind, std::uint64_t rate) -> std::optional<Stream> {
    if (rate == 0) {
      return std::nullopt;
    }
    Stream stream = link.draws[kind].at(link.next_index);
    return stream.per_million(rate) ? std::optional(stream) : std::nullopt;
  };
  if (lost_in_company(link, now) || strikes(kDrop, swarm_->drop)) {
    add(FrameFaultKind::drop, 0);
    return;
  }
  if (strikes(kFull, swarm_->full)) {
    add(FrameFaultKind::full, 0);
    return;
  }
  if (strikes(kBadFcs, swarm_->bad_fcs)) {
    add(FrameFaultKind::bad_fcs, 0);
    return;
  }
  if (auto truncate = strikes(kTruncate, swarm_->truncate)) {
    add(FrameFaultKind::truncate, static_cast<std::int64_t>(truncate->below(bytes)));
  } else if (auto pad = strikes(kPad, swarm_->pad)) {
    add(FrameFaultKind::pad, static_cast<std::int64_t>(1 + pad->below(64)));
  }
  if (auto flip = strikes(kFlip, swarm_->flip)) {
    add(FrameFaultKind::flip, static_cast<std::int64_t>(flip->below(bytes * 8)));
  }
  if (auto duplicate = strikes(kDuplicate, swarm_->duplicate)) {
    add(FrameFaultKind::duplicate, up_to(*duplicate, swarm_->duplicate_max));
  }
  if (auto delay = strikes(kDelay, swarm_->delay)) {
    add(FrameFaultKind::delay, up_to(*delay, swarm_->delay_max));
  } else if (auto hold = strikes(kHold, swarm_->hold)) {
    add(FrameFaultKind::hold, static_cast<std::int64_t>(hold->between(1, 4)));
  }
}

void Faults::draw_disk(bool write, std::uint32_t sectors) {
  const auto add = [&](DiskFaultKind kind, std::int64_t amount) {
    disk_.push_back({next_disk_, kind, amount});
  };
  Stream delay = disk_draws_[kDiskDelay].at(next_disk_);
  if (delay.per_million(swarm_->disk_delay)) {
    add(DiskFaultKind::delay, up_to(delay, swarm_->disk_delay_max));
  }
  Stream hang = disk_draws_[kDiskHang].at(next_disk_);
  if (hang.per_million(swarm_->disk_hang)) {
    add(DiskFaultKind::delay, static_cast<Nanoseconds>(hang.between(1, 12)) * kSecond);
  }
  Stream error = disk_draws_[kDiskError].at(next_disk_);
  if (error.per_million(swarm_->disk_error)) {
    const std::uint64_t kind = error.below(3);
    if (kind == 0 && write && sectors > 1) {
      add(DiskFaultKind::short_write, static_cast<std::int64_t>(error.between(1, sectors - 1)));
    } else if (kind == 1 && write) {
      add(DiskFaultKind::no_space, 0);
    } else {
      add(DiskFaultKind::io_error, 0);
    }
  }
}

}  // namespace sim
