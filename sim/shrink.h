// Makes a failing schedule smaller by shortening and lowering its list of choices: verdicts,
// events, operations, hosts, settings. It must never know why a schedule fails, only that it still
// does.
#pragma once

#include <cstdint>
#include <functional>

#include "sim/schedule.h"

namespace sim {

struct ShrinkResult {
  Schedule schedule;
  std::uint64_t runs = 0;
};

// still_fails: whether a candidate fails in the same way. runs_max bounds the work.
ShrinkResult shrink(const Schedule& schedule,
                    const std::function<bool(const Schedule&)>& still_fails,
                    std::uint64_t runs_max = 20'000);

}  // namespace sim
