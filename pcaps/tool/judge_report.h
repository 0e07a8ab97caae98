// The judge's findings in the formats of the conformance suite: text, TAP, JUnit XML, JSON.
// One case a rule, so that a report also says what was looked for and found in order.
#pragma once

#include <string>
#include <vector>

#include "conformance/report/report.h"
#include "pcaps/tool/judge.h"

namespace pcaps {

// Rule::count when no rule has that name.
Rule find_rule(std::string_view name);

class JudgeReport {
 public:
  JudgeReport(std::string file, const Tracker& tracker, const Judge& judge,
              const std::vector<std::string>& ignored_rules);

  static std::vector<std::string> formats();
  [[nodiscard]] std::string render(const std::string& format) const;
  [[nodiscard]] std::uint64_t fails() const { return fails_; }

 private:
  [[nodiscard]] std::string text() const;
  // The suite's form: one case a rule.
  [[nodiscard]] conformance::report::Report as_suite_report() const;
  [[nodiscard]] std::vector<conformance::Finding> suite_findings(Rule rule) const;
  [[nodiscard]] std::string who(const FindingGroup& group) const;

  std::string file_;
  const Tracker& tracker_;
  const Judge& judge_;
  std::vector<std::string> ignored_;
  std::vector<const FindingGroup*> groups_;
  std::uint64_t fails_ = 0, warns_ = 0, infos_ = 0;
};

}  // namespace pcaps
