#pragma once
// A whole run: the order of things around the cases. Gates them, probes the target's life, names
// what killed it, puts everything back, whatever happens meanwhile. Knows nothing of options on a
// command line or of report formats.

#include <functional>
#include <set>

#include "conformance/control/target_control.h"
#include "conformance/links/witness.h"
#include "conformance/report/report.h"
#include "conformance/runner/capture.h"
#include "conformance/runner/undo_file.h"

namespace conformance {

struct RunConfig {
  std::vector<const Case*> cases;
  std::set<std::string> allowed;  // write, config, lockout, stress
  std::optional<Scratch> scratch;
  std::optional<uint16_t> shelf;
  std::optional<uint8_t> slot;
  std::optional<Mac> mac;             // of the target, where more than one answers
  std::set<std::string> profiles;     // initiators whose needs count (profile.h)
  links::Witness* witness = nullptr;  // who sees the target's port; none: only one end is seen
  double time_scale = 1.0;
  int64_t time_limit_ns = 0;     // no case is begun later than this after the start; 0: none
  size_t mtu_max = 0;            // 0: the interface's
  std::string capture_dir;       // empty: none
  std::string repeat_command;    // the command line without its selection
  bool repeat_is_whole = false;  // it allows what cases need, and more --allow would be noise
  std::function<bool()> interrupted;
  std::function<void(size_t number, size_t total, const Case&)> on_begin;
  std::function<void(const CaseResult&)> on_result;
  control::TargetControl* target = &control::nobody();
  // Where what is changed is kept until it is put back; none: in memory only.
  UndoFile* undo = nullptr;
  bool restore_first = false;  // what an earlier run left is put back before the first case
};

// Why a case would be gated, before anything is sent. nullopt: it would run.
std::optional<std::string> gated(const Case& c, const RunConfig& config, size_t mtu);

enum ExitCode : int {
  exit_good = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_unreachable = 3,
  exit_inconclusive = 4,
  exit_error = 5,
  exit_all_skipped = 77,
};

// Throws UsageError (several targets and none named; scratch outside the disk) and
// links::LinkError.
report::Report run_suite(links::Link& link, const RunConfig& config);

// `fail_on`: verdicts beyond `fail` that make the run red.
// What the observer on the link saw broken (clause: in words) and no case failed or warned for: a
// failed run.observed.CLAUSE each, which a baseline may know.
void add_observed(report::Report& report, const std::map<std::string, std::string>& broken);
int exit_code(const report::Report& report, const std::set<Verdict>& fail_on);

}  // namespace conformance
