// One program with every deliberate bug in it, each asleep until it is named.
//   sim_mutants --list
//   sim_mutants NAME hunt PROFILE SEEDS     0: an oracle found it; 12: it only died by assertions;
//   10: neither mutants NAME suite                  the conformance suite's exit code mutants NAME
//   run PROFILE SEED       what the oracles say to one seed
#include "sim/mutants/selected.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <string_view>

#include "sim/commands.h"
#include "sim/link/conformance_command.h"
#include "sim/search.h"

namespace {

int usage() {
  std::fputs(
      "usage: sim_mutants --list | NAME hunt PROFILE SEEDS | NAME run PROFILE SEED | NAME suite\n",
      stderr);
  return sim::kExitUsage;
}

int run(std::span<char*> words) {
  if (words.size() == 2 && std::string_view(words[1]) == "--list") {
    sim::mutants::print_names();
    return sim::kExitGood;
  }
  if (words.size() < 3) {
    return usage();
  }
  if (!sim::mutants::select(words[1])) {
    std::fprintf(stderr, "sim_mutants: there is no mutant \"%s\" (sim_mutants --list)\n", words[1]);
    return sim::kExitUsage;
  }
  const std::string_view what = words[2];
  if (what == "suite" && words.size() == 3) {
    return sim::link::run_conformance(1500, {}, false);
  }
  if (words.size() != 5) {
    return usage();
  }
  const std::uint64_t number = std::strtoull(words[4], nullptr, 10);
  if (what == "hunt") {
    return sim::hunt(words[3], number);
  }
  return what == "run" ? sim::run_seed(number, words[3], {}) : usage();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, static_cast<std::size_t>(argc)});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sim_mutants: %s\n", error.what());
    return sim::kExitUsage;
  }
}
