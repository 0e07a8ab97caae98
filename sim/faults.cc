// Draws or reads verdicts.
#include "sim/faults.h"

#include <fmt/format.h>

namespace sim {

std::string describe(const Swarm& swarm) {
  return fmt::format(
      "in a million frames: drop {} delay {} (up to {}) duplicate {} (late by up to {}) hold {} "
      "truncate {} pad {} bad-fcs {} flip {} full {}; in a million disk operations: delay {} (up "
      "to {}) error {}; healed at {}",
      swarm.drop, swarm.delay, print_duration(swarm.delay_max), swarm.duplicate,
      print_duration(swarm.duplicate_max), swarm.hold, swarm.truncate, swarm.pad, swarm.bad_fcs,
      swarm.flip, swarm.full, swarm.disk_delay, print_duration(swarm.disk_delay_max),
      swarm.disk_error, print_duration(swarm.heal_at));
}

Faults::Faults(const Schedule& schedule)
    : links_(2 * (schedule.initiators.size() + 1)), disk_(schedule.disk_faults) {
  for (const FrameFault& fault : schedule.frame_faults) {
    links_.at(fault.link).faults.push_back(fault);
  }
}

Faults::Faults(const Schedule& schedule, const Swarm& swarm)
    : links_(2 * (schedule.initiators.size() + 1)),
      disk_stream_(swarm.seed, "disk", 0),
      swarm_(swarm) {
  for (std::size_t i = 0; i < links_.size(); ++i) {
    links_[i].stream = Stream(swarm.seed, "link", i);
  }
}

const std::vector<FrameFault>& Faults::next_frame(LinkId id, Nanoseconds now, std::size_t bytes) {
  Link& link = links_[id];
  frame_now_.clear();
  if (swarm_ && now < swarm_->heal_at) {
    draw_frame(link, id, bytes);
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

void Faults::draw_frame(Link& link, LinkId id, std::size_t bytes) {
  Stream& stream = link.stream;
  const auto add = [&](FrameFaultKind kind, std::int64_t amount) {
    link.faults.push_back({id, link.next_index, kind, amount});
  };
  // Whole microseconds: a person reads them.
  const auto up_to = [&](Nanoseconds most) {
    const auto micros = static_cast<std::uint64_t>(most / kMicrosecond);
    return static_cast<Nanoseconds>(stream.below(micros) + 1) * kMicrosecond;
  };
  if (stream.per_million(swarm_->drop)) {
    add(FrameFaultKind::drop, 0);
    return;
  }
  if (stream.per_million(swarm_->full)) {
    add(FrameFaultKind::full, 0);
    return;
  }
  if (stream.per_million(swarm_->bad_fcs)) {
    add(FrameFaultKind::bad_fcs, 0);
    return;
  }
  if (stream.per_million(swarm_->truncate)) {
    add(FrameFaultKind::truncate, static_cast<std::int64_t>(stream.below(bytes)));
  } else if (stream.per_million(swarm_->pad)) {
    add(FrameFaultKind::pad, static_cast<std::int64_t>(1 + stream.below(64)));
  }
  if (stream.per_million(swarm_->flip)) {
    add(FrameFaultKind::flip, static_cast<std::int64_t>(stream.below(bytes * 8)));
  }
  if (stream.per_million(swarm_->duplicate)) {
    add(FrameFaultKind::duplicate, up_to(swarm_->duplicate_max));
  }
  if (stream.per_million(swarm_->delay)) {
    add(FrameFaultKind::delay, up_to(swarm_->delay_max));
  } else if (stream.per_million(swarm_->hold)) {
    add(FrameFaultKind::hold, static_cast<std::int64_t>(stream.between(1, 4)));
  }
}

void Faults::draw_disk(bool write, std::uint32_t sectors) {
  const auto add = [&](DiskFaultKind kind, std::int64_t amount) {
    disk_.push_back({next_disk_, kind, amount});
  };
  if (disk_stream_.per_million(swarm_->disk_delay)) {
    const auto micros = static_cast<std::uint64_t>(swarm_->disk_delay_max / kMicrosecond);
    add(DiskFaultKind::delay,
        static_cast<Nanoseconds>(disk_stream_.below(micros) + 1) * kMicrosecond);
  }
  if (disk_stream_.per_million(swarm_->disk_error)) {
    const std::uint64_t kind = disk_stream_.below(3);
    if (kind == 0 && write && sectors > 1) {
      add(DiskFaultKind::short_write,
          static_cast<std::int64_t>(disk_stream_.between(1, sectors - 1)));
    } else if (kind == 1 && write) {
      add(DiskFaultKind::no_space, 0);
    } else {
      add(DiskFaultKind::io_error, 0);
    }
  }
}

}  // namespace sim
