#include "pcaps/tool/suite_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "aoe_version.h"
#include "conformance/report/report.h"

namespace pcaps {

namespace {
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

std::vector<conformance::Finding> suite_findings(const JudgeReport& report, Rule rule) {
  std::vector<conformance::Finding> out;
  for (const FindingGroup* group : report.groups()) {
    if (group->rule != rule) {
      continue;
    }
    const RuleFacts& facts = facts_of(rule);
    for (const Finding& finding : group->examples) {
      conformance::Finding f;
      f.verdict = suite_verdict(group->verdict);
      f.clause = facts.clause;
      f.headline = fmt::format("frame {}, {} {}: {}", finding.frame, side_text(facts.side),
                               report.who(*group), finding.text);
      f.expected = facts.text;
      f.got = finding.text;
      out.push_back(std::move(f));
    }
    if (group->count > group->examples.size()) {
      conformance::Finding f;
      f.verdict = suite_verdict(group->verdict);
      f.clause = facts.clause;
      f.headline = fmt::format("and {} more, {} {}", group->count - group->examples.size(),
                               side_text(facts.side), report.who(*group));
      f.expected = facts.text;
      out.push_back(std::move(f));
    }
  }
  return out;
}

conformance::report::Report as_suite_report(const JudgeReport& from) {
  conformance::report::Report report;
  const TrackerCounters& counters = from.tracker().counters();
  report.version = aoe_version();
  report.command = fmt::format("aoe-pcap judge {}", from.file());
  report.link_name = from.file();
  report.started_ns = counters.first_time_ns;
  report.duration_ms =
      static_cast<double>(counters.last_time_ns - counters.first_time_ns) / kNanosecondsPerMs;
  report.exit_code = from.fails() == 0 ? 0 : 1;
  for (const RuleFacts& facts : all_rules()) {
    if (from.ignores(facts.rule)) {
      continue;
    }
    conformance::CaseResult result;
    result.id = fmt::format("pcap.{}", facts.name);
    result.level = facts.verdict == Verdict::fail   ? conformance::Level::must
                   : facts.verdict == Verdict::warn ? conformance::Level::should
                                                    : conformance::Level::may;
    result.clauses = {facts.clause};
    result.started_ns = counters.first_time_ns;
    result.findings = suite_findings(from, facts.rule);
    if (!result.findings.empty()) {
      result.verdict = result.findings.front().verdict;  // the gravest stand first
      result.reason = result.findings.front().headline;
    } else if (from.judge().seen(facts.needs)) {
      result.verdict = conformance::Verdict::pass;
    } else {
      result.verdict = conformance::Verdict::skip;
      result.reason = "nothing of the kind in this capture";
    }
    report.cases.push_back(std::move(result));
  }
  return report;
}
}  // namespace

namespace {
// The suite's JSON, with what a program wants to know of each finding of a capture beside it.
std::string json_with_frames(const JudgeReport& from, const std::string& text) {
  auto report = nlohmann::ordered_json::parse(text);
  const std::uint64_t first = 5;  // of "pcap."
  for (auto& one : report["cases"]) {
    const std::string id = one["id"].get<std::string>();
    std::size_t at = 0;
    for (const FindingGroup* group : from.groups()) {
      const RuleFacts& facts = facts_of(group->rule);
      if (id.compare(first, std::string::npos, facts.name) != 0) {
        continue;
      }
      const std::size_t told =
          group->examples.size() + (group->count > group->examples.size() ? 1 : 0);
      for (std::size_t i = 0; i < told && at < one["findings"].size(); ++i, ++at) {
        auto& finding = one["findings"][at];
        finding["side"] = side_text(facts.side);
        finding["clause"] = facts.clause;
        finding["key"] = from.key(*group);
        finding["known"] = !from.is_new(*group);
        if (i >= group->examples.size()) {
          continue;
        }
        const Finding& example = group->examples[i];
        finding["frame"] = example.frame;
        finding["time_ns"] = example.time_ns;
        finding["time"] = static_cast<double>(example.time_ns) / 1e9;
        finding["tag"] = example.tag;
        if (example.has_lba) {
          finding["lba"] = example.lba;
        }
      }
    }
  }
  const auto gaps = from.gaps();
  report["gaps"] = gaps;
  return report.dump(2) + "\n";
}
}  // namespace

std::vector<std::string> suite_formats() {
  return {"tap", "junit", "json"};
}

std::string suite_report(const JudgeReport& from, const std::string& format) {
  const conformance::report::Report report = as_suite_report(from);
  return format == "tap"     ? conformance::report::to_tap(report)
         : format == "junit" ? conformance::report::to_junit(report)
                             : json_with_frames(from, conformance::report::to_json(report));
}

}  // namespace pcaps
