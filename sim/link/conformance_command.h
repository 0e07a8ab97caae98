// aoe-sim conformance: the whole suite against the engine, in virtual time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sim::link {

// Returns the suite's own exit code (aoe-conformance run --help).
int run_conformance(std::uint16_t mtu, const std::vector<std::string>& cases, bool verbose);

}  // namespace sim::link
