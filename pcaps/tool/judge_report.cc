#include "pcaps/tool/judge_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace pcaps {

namespace {
constexpr const char* kVersion = "0.1.0";
constexpr double kNanosecondsPerMs = 1e6;

conformance::Verdict suite_verdict(Verdict verdict) {
  switch (verdict) {
    case Verdict::fail:
      return conformance::Verdict::fail;
    case Verdict::warn:
      return conformance::Verdict::warn;
    case Verdict::info:
      return conformance::Verdict::info;
  }
  return conformance::Verdict::error;
}
}  // namespace

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

std::vector<std::string> JudgeReport::formats() {
  return {"text", "tap", "junit", "json"};
}

std::string JudgeReport::render(const std::string& format) const {
  if (format == "text") {
    return text();
  }
  const conformance::report::Report report = as_suite_report();
  return format == "tap"     ? conformance::report::to_tap(report)
         : format == "junit" ? conformance::report::to_junit(report)
                             : conformance::report::to_json(report);
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

std::vector<conformance::Finding> JudgeReport::suite_findings(Rule rule) const {
  std::vector<conformance::Finding> out;
  for (const FindingGroup* group : groups_) {
    if (group->rule != rule) {
      continue;
    }
    const RuleFacts& facts = facts_of(rule);
    for (const Finding& finding : group->examples) {
      conformance::Finding f;
      f.verdict = suite_verdict(facts.verdict);
      f.clause = facts.clause;
      f.headline = fmt::format("frame {}, {} {}: {}", finding.frame, side_text(facts.side),
                               who(*group), finding.text);
      f.expected = facts.text;
      f.got = finding.text;
      out.push_back(std::move(f));
    }
    if (group->count > group->examples.size()) {
      conformance::Finding f;
      f.verdict = suite_verdict(facts.verdict);
      f.clause = facts.clause;
      f.headline = fmt::format("and {} more, {} {}", group->count - group->examples.size(),
                               side_text(facts.side), who(*group));
      f.expected = facts.text;
      out.push_back(std::move(f));
    }
  }
  return out;
}

conformance::report::Report JudgeReport::as_suite_report() const {
  conformance::report::Report report;
  const TrackerCounters& counters = tracker_.counters();
  report.version = kVersion;
  report.command = fmt::format("aoe-pcap judge {}", file_);
  report.port_name = file_;
  report.started_ns = counters.first_time_ns;
  report.duration_ms =
      static_cast<double>(counters.last_time_ns - counters.first_time_ns) / kNanosecondsPerMs;
  report.exit_code = fails_ == 0 ? 0 : 1;
  for (const RuleFacts& facts : all_rules()) {
    if (std::find(ignored_.begin(), ignored_.end(), facts.name) != ignored_.end()) {
      continue;
    }
    conformance::CaseResult result;
    result.id = fmt::format("pcap.{}", facts.name);
    result.level = facts.verdict == Verdict::fail   ? conformance::Level::must
                   : facts.verdict == Verdict::warn ? conformance::Level::should
                                                    : conformance::Level::may;
    result.clauses = {facts.clause};
    result.started_ns = counters.first_time_ns;
    result.findings = suite_findings(facts.rule);
    if (!result.findings.empty()) {
      result.verdict = suite_verdict(facts.verdict);
      result.reason = result.findings.front().headline;
    } else if (judge_.seen(facts.needs)) {
      result.verdict = conformance::Verdict::pass;
    } else {
      result.verdict = conformance::Verdict::skip;
      result.reason = "nothing of the kind in this capture";
    }
    report.cases.push_back(std::move(result));
  }
  return report;
}

}  // namespace pcaps
