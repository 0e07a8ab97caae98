#pragma once
// What the faces of a report share: words for verdicts, clauses and causes, and text that a format
// can hold. Pure.

#include "conformance/report/report.h"

namespace conformance::report {

// fail, error, inconclusive: what is counted against the target or the run.
bool is_bad(Verdict verdict);
// Worth a block of its own: bad ones, and warnings.
bool needs_telling(Verdict verdict);
// The finding that decided the case's verdict; nullptr: there is none.
const Finding* deciding(const CaseResult& c);
std::string family_of(const std::string& id);
// "CFG-SET (AoEr11, query config, MUST): Set stores..."
std::string clause_text(const std::string& id);
// The request of a finding in one line, with what went before it. Empty: nothing was asked.
std::string asked(const CaseResult& c, const Finding& f);
// "4 pass, 1 fail" of a case whose repetitions did not agree; empty: it flickers not.
std::string flicker(const CaseResult& c);
// "PASSED: every MUST that was asked holds".
std::string verdict_text(const Report& r);

// Cases that failed for one and the same reason, the first one first.
struct Cause {
  const CaseResult* first = nullptr;
  std::vector<const CaseResult*> others;
};
std::vector<Cause> causes(const Report& r);

std::string indent(const std::string& text);
// Printable ASCII, newline and tab; anything else is '?': XML 1.0 cannot hold most control
// characters, JSON wants UTF-8, and a target's strings are bytes.
std::string printable(const std::string& text);

}  // namespace conformance::report
