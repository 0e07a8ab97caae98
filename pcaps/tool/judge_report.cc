#include "pcaps/tool/judge_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace pcaps {

Rule find_rule(std::string_view name) {
  for (const RuleFacts& facts : all_rules()) {
    if (name == facts.name) {
      return facts.rule;
    }
  }
  return Rule::count;
}

bool read_baseline(const std::string& path, Baseline& out, std::string& error) {
  std::ifstream in(path);
  const nlohmann::json report = nlohmann::json::parse(in, nullptr, false);
  if (!in || !report.is_object() || !report.contains("cases") || !report["cases"].is_array()) {
    error = fmt::format("--baseline {}: give a report that `judge --format json` wrote", path);
    return false;
  }
  for (const auto& one : report["cases"]) {
    for (const auto& finding : one.value("findings", nlohmann::json::array())) {
      if (finding.is_object() && finding.contains("key") && finding["key"].is_string()) {
        out.insert(finding["key"].get<std::string>());
      }
    }
  }
  return true;
}

JudgeReport::JudgeReport(std::string file, const Tracker& tracker, const Judge& judge,
                         const std::vector<std::string>& ignored_rules, Baseline baseline)
    : file_(std::move(file)),
      tracker_(tracker),
      judge_(judge),
      ignored_(ignored_rules),
      baseline_(std::move(baseline)) {
  for (const FindingGroup& group : judge.groups()) {
    const RuleFacts& facts = facts_of(group.rule);
    if (std::find(ignored_rules.begin(), ignored_rules.end(), facts.name) != ignored_rules.end()) {
      continue;
    }
    groups_.push_back(&group);
    known_ += is_new(group) ? 0 : group.count;
    switch (group.verdict) {
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
    if (a->verdict != b->verdict) {
      return a->verdict > b->verdict;
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

std::string JudgeReport::key(const FindingGroup& group) const {
  return fmt::format("{} {} {}", facts_of(group.rule).name, verdict_text(group.verdict),
                     who(group));
}

bool JudgeReport::is_new(const FindingGroup& group) const {
  return baseline_.count(key(group)) == 0;
}

std::uint64_t JudgeReport::at_least(Verdict verdict) const {
  std::uint64_t count = 0;
  for (const FindingGroup* group : groups_) {
    count += group->verdict >= verdict && is_new(*group) ? group->count : 0;
  }
  return count;
}

std::vector<std::string> JudgeReport::gaps() const {
  std::vector<std::string> out;
  if (const std::uint64_t unasked = tracker_.counters().unasked; unasked != 0) {
    out.push_back(fmt::format("{} repl{} without a request", unasked, unasked == 1 ? "y" : "ies"));
  }
  if (const std::uint64_t gap = judge_.counters().tag_gaps; gap != 0) {
    out.push_back(fmt::format("{} gap{} in promised tags", gap, gap == 1 ? "" : "s"));
  }
  return out;
}

std::string JudgeReport::nothing() const {
  const TrackerCounters& c = tracker_.counters();
  if (c.frames == 0) {
    return fmt::format("{} holds no frame: there was nothing to judge", file_);
  }
  if (c.aoe_frames == 0) {
    return fmt::format("{} holds {} frames and none of AoE: there was nothing to judge", file_,
                       c.frames);
  }
  if (judge_.counters().requests + judge_.counters().replies == 0 && c.runts == 0) {
    return fmt::format("no frame of {} holds a whole AoE header: there was nothing to judge",
                       file_);
  }
  if (c.untracked != 0) {
    return fmt::format(
        "{} frames of {} belong to sessions beyond the {} that are followed, and were not judged: "
        "filter the capture by target or initiator",
        c.untracked, file_, kSessionsMax);
  }
  return "";
}

std::string JudgeReport::text() const {
  std::string out;
  for (const FindingGroup* group : groups_) {
    const RuleFacts& facts = facts_of(group->rule);
    out += fmt::format("{}  {}  {} {}{}\n      {}: {}\n", verdict_text(group->verdict),
                       facts.clause, side_text(facts.side), who(*group),
                       is_new(*group) ? "" : "  (known)", facts.name, facts.text);
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
  if (known_ != 0) {
    out += fmt::format("{} of them known from the baseline\n", known_);
  }
  for (const std::string& gap : gaps()) {
    out += fmt::format("the tap may have missed frames: {}\n", gap);
  }
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
