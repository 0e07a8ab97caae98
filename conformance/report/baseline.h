#pragma once
// What a target is known to do wrong: a TOML file of [[known]] tables with case, verdict, reason,
// the clause and the finding that it is known for and, if it is to be mended by then, a date. A run
// is held against it; what is not as it is known is a surprise, in both directions. What a run says
// of itself (run.target-left-as-found, run.putting-back) may be known, too.

#include "conformance/report/report.h"

namespace conformance::report {

struct Known {
  std::string id;
  Verdict verdict = Verdict::fail;
  std::string reason;
  std::string clause;   // of the finding; empty: any
  std::string finding;  // its headline, with * for what differs from run to run; empty: any
  std::string expires;  // "2027-01-31": the last day it is accepted; empty: for ever
};

// Its last day is over, by this machine's clock (UTC).
bool has_expired(const Known& known);
// Empty when the case came out as it is known to; else how it is known, and how it came out. A case
// that did not run is as it is known.
std::string differs(const Known& known, Verdict verdict, const std::string& clause,
                    const std::string& finding);
// What is bad in the report and did run, as a baseline.
std::string baseline_text(const Report& report, const std::string& reason);

// Throws std::runtime_error that names file and line: not TOML, a key missing, an unknown case or
// verdict.
std::vector<Known> read_baseline(const std::string& path);

// Marks known results, and lists the surprises: a failure (fail, warn, inconclusive, error) that is
// not listed, a listed one that has another verdict. A case that did not run is no surprise.
void hold_against(const std::vector<Known>& known, Report& report);

}  // namespace conformance::report
