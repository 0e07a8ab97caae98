// Judges options against the machine before anything is opened: do the files and interfaces exist,
// does the memory suffice. It reports every problem at once, and changes nothing.
#pragma once

#include <string>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/options.h"

namespace target::linux_shell {

// What the engine asks of a port: the reply with the longest config string must fit.
inline constexpr std::uint32_t kMtuMin = engine::kMtuMin;
inline constexpr std::uint32_t kMtuMax = 0xFFFF;

struct Survey {
  std::vector<std::string> problems;  // keep the target from starting
  std::vector<std::string> warnings;
  std::vector<std::string> facts;  // worth knowing, nothing to change: printed by --check
};

Survey survey(const Options& options);

}  // namespace target::linux_shell
