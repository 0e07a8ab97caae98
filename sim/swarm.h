// What a seed means: a configuration, a workload, and how often which fault strikes; whole kinds of
// fault are off, rare or heavy. It must never know how a run goes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/faults.h"
#include "sim/schedule.h"

namespace sim {

struct RandomRun {
  Schedule schedule;  // without verdicts
  Swarm swarm;
};

std::vector<std::string_view> profiles();
// Throws ScheduleError when there is no such profile.
RandomRun make_random(std::uint64_t seed, std::string_view profile);
// Makes every aoede initiator of a schedule negotiate this.
void set_tags(Schedule& schedule, TagMode tags);

}  // namespace sim
