#pragma once
// What a target is known to do wrong: a TOML file of [[known]] tables with case, verdict, reason
// and, if it is to be mended by then, a date. A run is held against it; what is not as it is known
// is a surprise, in both directions.

#include "conformance/report/report.h"

namespace conformance::report {

struct Known {
  std::string id;
  Verdict verdict = Verdict::fail;
  std::string reason;
  std::string expires;  // "2027-01-31": the last day it is accepted; empty: for ever
};

// Its last day is over, by this machine's clock (UTC).
bool has_expired(const Known& known);
// What is bad in the report and did run, as a baseline.
std::string baseline_text(const Report& report, const std::string& reason);

// Throws std::runtime_error that names file and line: not TOML, a key missing, an unknown case or
// verdict.
std::vector<Known> read_baseline(const std::string& path);

// Marks known results, and lists the surprises: a failure (fail, warn, inconclusive, error) that is
// not listed, a listed one that has another verdict. A case that did not run is no surprise.
void hold_against(const std::vector<Known>& known, Report& report);

}  // namespace conformance::report
