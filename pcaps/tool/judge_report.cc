#include "pcaps/tool/judge_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace pcaps {

Rule find_rule(std::string_view name) {
  for (const RuleFacts& facts : all_rules()) {
    if (name == facts.name) {
      return facts.rule;
    }
  }
  return Rule::count;
}

JudgeReport::JudgeReport(std::string file, const Tracker& tracker, const Judge& judge,
                         const std::vector<std::string>& ignored_rules)
    : file_(std::move(file)), tracker_(tracker), judge_(judge), ignored_(ignored_rules) {
  for (const FindingGroup& group : judge.groups()) {
    const RuleFacts& facts = facts_of(group.rule);
    if (std::find(ignored_rules.begin(), ignored_rules.end(), facts.name) != ignored_rules.end()) {
      continue;
    }
    groups_.push_back(&group);
    switch (facts.verdict) {
      case Verdict::fail:
        fails_ += group.count;
        break;
      case Verdict::warn:
        warns_ += group.count;
        break;
      case Verdict::info:
        infos_ += group.count;
        break;
    }
  }
  // The gravest first, then by rule and by who.
  std::sort(groups_.begin(), groups_.end(), [](const FindingGroup* a, const FindingGroup* b) {
    const Verdict va = facts_of(a->rule).verdict;
    const Verdict vb = facts_of(b->rule).verdict;
    if (va != vb) {
      return va > vb;
    }
    return a->rule != b->rule ? a->rule < b->rule : a->session < b->session;
  });
}

std::string JudgeReport::who(const FindingGroup& group) const {
  if (group.session == kNone) {
    return "";
  }
  const Session& session = tracker_.sessions()[group.session];
  const std::string address = address_text(session.vlan, session.shelf, session.slot);
  return facts_of(group.rule).side == Side::initiator
             ? fmt::format("{} (to {})", mac_text(session.initiator), address)
             : fmt::format("{} (to {})", address, mac_text(session.initiator));
}

std::string JudgeReport::text() const {
  std::string out;
  for (const FindingGroup* group : groups_) {
    const RuleFacts& facts = facts_of(group->rule);
    out += fmt::format("{}  {}  {} {}\n      {}: {}\n", verdict_text(facts.verdict), facts.clause,
                       side_text(facts.side), who(*group), facts.name, facts.text);
    for (const Finding& finding : group->examples) {
      out += fmt::format("      frame {}: {}\n", finding.frame, finding.text);
    }
    if (group->count > group->examples.size()) {
      out += fmt::format("      and {} more\n", group->count - group->examples.size());
    }
  }
  const JudgeCounters& c = judge_.counters();
  out += fmt::format("{}{} requests and {} replies judged; {} fail, {} warn, {} info\n",
                     groups_.empty() ? "" : "\n", c.requests, c.replies, fails_, warns_, infos_);
  out += fmt::format("data: {} sectors read and checked, {} read for the first time\n",
                     c.sectors_checked, c.sectors_unknown);
  if (c.stale_copies != 0) {
    out += fmt::format("late copies of writes over newer data: {}; {} executed, {} not executed\n",
                       c.stale_copies, c.stale_executed, c.stale_not_executed);
  }
  if (judge_.sectors_forgotten() != 0) {
    out += fmt::format("{} sectors forgotten for want of room, and not checked\n",
                       judge_.sectors_forgotten());
  }
  return out;
}

bool JudgeReport::ignores(Rule rule) const {
  return std::find(ignored_.begin(), ignored_.end(), facts_of(rule).name) != ignored_.end();
}

}  // namespace pcaps
