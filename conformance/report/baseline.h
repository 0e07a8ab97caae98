#pragma once
// What a target is known to do wrong: a TOML file of [[known]] tables with case, verdict and
// reason. A run is held against it; what is not as it is known is a surprise, in both directions.

#include "conformance/report/report.h"

namespace conformance::report {

struct Known {
  std::string id;
  Verdict verdict = Verdict::fail;
  std::string reason;
};

// Throws std::runtime_error that names file and line: not TOML, a key missing, an unknown case or
// verdict.
std::vector<Known> read_baseline(const std::string& path);

// Marks known results, and lists the surprises: a failure (fail, warn, inconclusive, error) that is
// not listed, a listed one that has another verdict. A case that did not run is no surprise.
void hold_against(const std::vector<Known>& known, Report& report);

}  // namespace conformance::report
