// The commands of aoe-sim, each returning an exit code (sim/search.h). They own files and what is
// printed; everything else is in the rooms below.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/schedule.h"

namespace sim {

// How a run is watched, and what is kept of it.
struct WatchOptions {
  std::string pcap;
  std::string trace;  // "-": standard output
  std::string write;  // the schedule with its verdicts
  std::string extension;
  bool ladder = false;
  bool check = false;
};

int run_seed(std::uint64_t seed, const std::string& profile, const WatchOptions& watch);
int replay_files(const std::vector<std::string>& paths, const WatchOptions& watch);
int explain(const std::string& path, std::optional<std::uint64_t> seed, const std::string& profile,
            const WatchOptions& watch);
int shrink_command(const std::string& path, std::optional<std::uint64_t> seed,
                   const std::string& profile, const std::string& output);
// Compares the trace hashes of some seeds with the values of a file, or writes them.
int check_hashes(const std::string& path, bool bless);
// Runs seeds of a profile until one fails as it should: for engines with a deliberate bug.
int hunt(const std::string& profile, std::uint64_t seeds);

}  // namespace sim
