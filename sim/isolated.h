// One run in a process of its own: an engine that breaks an assertion, a signal, a run without end
// are results, with the schedule up to there. It owns the process and must never know a run's
// meaning.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/last_words.h"
#include "sim/world.h"

namespace sim {

struct Isolated {
  Outcome outcome = Outcome::intact;
  std::string signature;
  std::string text;  // of the finding, or where it died
  std::uint64_t hash = 0;
  Schedule written;  // with every verdict until the end, or the death
};

// patience: processor seconds (arm_watchdog). quiet: the dying process says nothing on its standard
// error. Throws std::runtime_error when the system gives no process.
Isolated run_isolated(const Schedule& schedule, const std::optional<Swarm>& swarm,
                      unsigned patience = kPatienceSeconds, bool quiet = true);

}  // namespace sim
