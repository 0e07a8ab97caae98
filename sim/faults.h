// Where verdicts come from: read from a schedule, or drawn from streams by a swarm and WRITTEN to a
// schedule. Replay of what was written is the same run. It must never know what a frame means.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/schedule.h"
#include "sim/streams.h"

namespace sim {

// How often each kind of fault strikes, in a million; drawn per seed, whole kinds off, rare or
// heavy. Each kind has a stream of its own: a new kind changes no verdict of an old one.
struct Swarm {
  std::uint64_t seed = 0;
  std::uint64_t drop = 0;
  std::uint64_t burst = 0;   // a run of frames of one link is lost
  std::uint64_t outage = 0;  // of a million spans of 5 ms: most frames of every link are lost in it
  std::uint64_t delay = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t hold = 0;
  std::uint64_t truncate = 0;
  std::uint64_t pad = 0;
  std::uint64_t bad_fcs = 0;
  std::uint64_t flip = 0;
  std::uint64_t full = 0;
  Nanoseconds delay_max = 0;
  Nanoseconds duplicate_max = 0;
  std::uint64_t disk_delay = 0;
  Nanoseconds disk_delay_max = 0;
  std::uint64_t disk_error = 0;
  std::uint64_t disk_hang = 0;  // seconds of silence
  Nanoseconds heal_at = 0;      // no fault after that: progress can be demanded
};

std::string describe(const Swarm& swarm);

class Faults {
 public:
  // Reads the verdicts of the schedule.
  explicit Faults(const Schedule& schedule);
  // Draws them.
  Faults(const Schedule& schedule, const Swarm& swarm);

  // The verdicts on the next frame of a link, in order; valid until the next call.
  const std::vector<FrameFault>& next_frame(LinkId link, Nanoseconds now, std::size_t bytes);
  // The verdicts on the next disk operation.
  const std::vector<DiskFault>& next_disk(Nanoseconds now, bool write, std::uint32_t sectors);

  [[nodiscard]] std::uint32_t frames_on(LinkId link) const { return links_[link].next_index; }
  // Everything drawn so far, as a schedule's lists.
  [[nodiscard]] std::vector<FrameFault> frame_faults() const;
  [[nodiscard]] const std::vector<DiskFault>& disk_faults() const { return disk_; }

 private:
  static constexpr std::size_t kFrameKinds = 11;
  static constexpr std::size_t kDiskKinds = 3;
  struct Link {
    std::vector<FrameFault> faults;
    std::size_t cursor = 0;
    std::uint32_t next_index = 0;
    std::uint64_t burst_left = 0;
    std::array<Numbered, kFrameKinds> draws;
  };
  void draw_frame(Link& link, LinkId id, Nanoseconds now, std::size_t bytes);
  [[nodiscard]] bool lost_in_company(Link& link, Nanoseconds now) const;
  void draw_disk(bool write, std::uint32_t sectors);

  std::vector<Link> links_;
  std::vector<DiskFault> disk_;
  std::size_t disk_cursor_ = 0;
  std::uint32_t next_disk_ = 0;
  std::array<Numbered, kDiskKinds> disk_draws_;
  Numbered outages_;
  std::optional<Swarm> swarm_;
  std::vector<FrameFault> frame_now_;
  std::vector<DiskFault> disk_now_;
};

}  // namespace sim
