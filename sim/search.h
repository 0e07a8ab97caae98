// Many seeds over many processes: each a world of its own, results in the order of the seeds, a
// crash of the engine caught and named by its seed. Owns JSON lines and their merge; knows no
// protocol.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "sim/world.h"

namespace sim {

// Exit codes of aoe-sim; a user's scripts tell failures apart by them.
enum ExitCode : int {
  kExitGood = 0,
  kExitUsage = 2,
  kExitSafety = 10,
  kExitLiveness = 11,
  kExitCrash = 12,
  kExitKnownDamage = 13,  // the protocol cannot prevent it
  kExitNotDeterministic = 14,
  kExitUnexpected = 15,  // a schedule did not end as it says it does
  kExitVacuous = 16,     // a batch in which something never happened
  kExitHang = 17,        // a run that comes to no end
};

struct SearchOptions {
  std::uint64_t first = 0;
  std::uint64_t end = 0;  // one behind the last
  std::string profile = "aoede";
  unsigned jobs = 1;
  unsigned shard = 0;
  unsigned shards = 1;
  bool stop_at_first = false;
  bool non_vacuous = false;  // demand that everything happened at least once
  bool list_known = false;   // a line for known damage as well
};

// Writes a line of JSON for each failure and one for the sum. Returns an exit code.
int search(const SearchOptions& options, std::FILE* out);

// Merges such lines: by signature, the shortest schedule of each. Returns an exit code.
int merge(const std::vector<std::string>& paths, std::FILE* out);

int exit_code_of(Outcome outcome);
std::string_view outcome_name(Outcome outcome);

}  // namespace sim
