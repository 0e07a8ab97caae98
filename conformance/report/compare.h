#pragma once
// Reports of several runs, read back from their JSON and held against each other. Knows nothing of
// targets and links: a report is all there is.

#include <optional>
#include <string>
#include <vector>

#include "conformance/cases/verdict.h"

namespace conformance::report {

// One case as a report tells it.
struct PastCase {
  std::string id, title, level, reason, known;
  std::vector<std::string> clauses;
  Verdict verdict = Verdict::skip;
  std::string clause, finding;  // of the finding that the verdict comes from
};

struct PastRun {
  std::string label;   // the file's name without folder and ".json"
  std::string target;  // "1.2, model, MTU 1500"
  std::string started, version;
  uint64_t mtu = 0;
  std::vector<PastCase> cases;

  const PastCase* find(const std::string& id) const;
};

// A report of this version or one before (aoe-conformance-report-1, -2, -3). Throws
// std::runtime_error that names the file and what is wrong with it.
PastRun read_report(const std::string& path);

// Labels that tell the runs apart: the file's name, with the folder's where two are the same.
void tell_apart(std::vector<PastRun>& runs, const std::vector<std::string>& paths);

// For matrix_page.
std::string matrix_json(const std::vector<PastRun>& runs, const std::string& version);

struct Difference {
  std::string id;
  std::optional<Verdict> before, after;  // none: that run did not have the case
  std::string reason;                    // of what came after
};
struct Differences {
  // Bad (fail, error, inconclusive) now, not expected by a baseline, and not so before.
  std::vector<Difference> new_failures;
  std::vector<Difference> mended;   // bad before, and judged good now
  std::vector<Difference> changed;  // anything else that is not as it was
};
Differences compare(const PastRun& before, const PastRun& after);
std::string to_text(const Differences& d, const PastRun& before, const PastRun& after);
std::string to_json(const Differences& d, const PastRun& before, const PastRun& after);

}  // namespace conformance::report
