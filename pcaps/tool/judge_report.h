// The judge's findings as text for people, gravest first; what suite_report.h turns into the
// conformance suite's forms.
#pragma once

#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "pcaps/tool/observed.h"

namespace pcaps {

// Rule::count when no rule has that name.
Rule find_rule(std::string_view name);

class JudgeReport {
 public:
  JudgeReport(std::string file, const Tracker& tracker, const Judge& judge,
              const std::vector<std::string>& ignored_rules);

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string who(const FindingGroup& group) const;
  [[nodiscard]] bool ignores(Rule rule) const;

  [[nodiscard]] std::uint64_t fails() const { return fails_; }
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
  std::uint64_t fails_ = 0, warns_ = 0, infos_ = 0;
};

}  // namespace pcaps
