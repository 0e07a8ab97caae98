// How often which fault strikes on a live wire: a profile of the simulator's by name and seed, or a
// file of rates that a person writes (docs/simulator.md). It must never know a wire.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sim/faults.h"

namespace sim::live {

// Lines "KIND PER_MILLION [LONGEST]". Throws ScheduleError with the line's number.
Swarm parse_rates(std::string_view text);

// By name, or a file. No end to the faults: a wire has no last operation. Throws
// std::runtime_error.
Swarm load_profile(const std::string& name_or_path, std::uint64_t seed);

}  // namespace sim::live
