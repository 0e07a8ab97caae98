// The judge's findings as text for people, gravest first; what suite_report.h turns into the
// conformance suite's forms.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "pcaps/tool/observed.h"

namespace pcaps {

// Rule::count when no rule has that name.
Rule find_rule(std::string_view name);

// What a finding is told apart by from one run to the next: rule, verdict and who.
using Baseline = std::set<std::string>;
// The findings of a report that `judge --format json` wrote. False, and one line in `error`, when
// it is none.
bool read_baseline(const std::string& path, Baseline& out, std::string& error);

class JudgeReport {
 public:
  JudgeReport(std::string file, const Tracker& tracker, const Judge& judge,
              const std::vector<std::string>& ignored_rules, Baseline baseline = {});

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string who(const FindingGroup& group) const;
  [[nodiscard]] bool ignores(Rule rule) const;

  [[nodiscard]] std::string key(const FindingGroup& group) const;
  [[nodiscard]] bool is_new(const FindingGroup& group) const;
  // Findings that are at least so grave and not in the baseline.
  [[nodiscard]] std::uint64_t at_least(Verdict verdict) const;
  [[nodiscard]] std::uint64_t fails() const { return at_least(Verdict::fail); }
  // What in the capture says that the tap missed frames; empty if nothing does.
  [[nodiscard]] std::vector<std::string> gaps() const;
  // Why there was nothing to judge, in a sentence; empty if there was.
  [[nodiscard]] std::string nothing() const;
  [[nodiscard]] const std::vector<const FindingGroup*>& groups() const { return groups_; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const Tracker& tracker() const { return tracker_; }
  [[nodiscard]] const Judge& judge() const { return judge_; }

 private:
  std::string file_;
  const Tracker& tracker_;
  const Judge& judge_;
  std::vector<std::string> ignored_;
  std::vector<const FindingGroup*> groups_;
  Baseline baseline_;
  std::uint64_t fails_ = 0, warns_ = 0, infos_ = 0, known_ = 0;
};

}  // namespace pcaps
