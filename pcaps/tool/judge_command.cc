// aoe-pcap judge: its options, findings as they come, and what its exit code stands for.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/judge_report.h"
#include "pcaps/tool/suite_report.h"
#include "pcaps/tool/text.h"

namespace pcaps {
namespace {

struct JudgeOptions {
  std::string file;
  std::vector<std::string> only;
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::string fail_on = "fail";
  std::string baseline;
  std::uint32_t examples = 3;
  std::string interface;
  bool follow = false;
  bool list = false;
  bool complete = false;
  bool strict = false;
};

// Tells findings as they come, each the first few times in full, then whenever their number has
// doubled.
class Follower {
 public:
  Follower(const Judge& judge, const Tracker& tracker, std::FILE* to,
           const std::vector<std::string>& ignored)
      : judge_(judge), tracker_(tracker), to_(to), ignored_(ignored) {}

  void look() {
    bool told = false;
    seen_.resize(judge_.groups().size(), 0);
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const FindingGroup& group = judge_.groups()[i];
      if (group.count == seen_[i]) {
        continue;
      }
      const bool ignored =
          std::find(ignored_.begin(), ignored_.end(), facts_of(group.rule).name) != ignored_.end();
      for (std::uint64_t n = seen_[i]; n < group.count && !ignored; ++n) {
        if (n < group.examples.size()) {
          tell(group, group.examples[n]);
          told = true;
        } else if (std::has_single_bit(n + 1)) {
          fmt::print(to_, "{} {}: {} times by now\n", verdict_text(group.verdict),
                     facts_of(group.rule).name, n + 1);
          told = true;
        }
      }
      seen_[i] = group.count;
    }
    if (told) {
      std::fflush(to_);
    }
  }

 private:
  void tell(const FindingGroup& group, const Finding& finding) {
    std::string who;
    if (group.session != kNone) {
      const Session& session = tracker_.sessions()[group.session];
      who = fmt::format("{} -> {}", mac_text(session.initiator),
                        address_text(session.vlan, session.shelf, session.slot));
    }
    fmt::print(to_, "{}  frame {}  {} {} {} {}: {}\n", time_text(finding.time_ns), finding.frame,
               verdict_text(finding.verdict), side_text(facts_of(finding.rule).side),
               facts_of(finding.rule).name, who, finding.text);
  }

  const Judge& judge_;
  const Tracker& tracker_;
  std::FILE* to_;
  const std::vector<std::string>& ignored_;
  std::vector<std::uint64_t> seen_;  // by group
};

// Frames that a file says are missing in it.
std::uint64_t lost_by(const CaptureSpec& capture) {
  std::string error;
  const auto reader = CaptureReader::open(capture, error);
  CapturedFrame frame;
  while (reader != nullptr && reader->next(frame)) {
  }
  return reader == nullptr ? 0 : reader->drops().dropped;
}

int judge(const JudgeOptions& options) {
  if (options.list) {
    for (const RuleFacts& facts : all_rules()) {
      fmt::print("{:4}  {:26} {:14} {:9}  {}\n", verdict_text(facts.verdict), facts.name,
                 facts.clause, side_text(facts.side), facts.text);
    }
    return kExitGood;
  }
  if (options.file.empty() == options.interface.empty()) {
    return complain(
        "judge needs a capture: give a pcap or pcapng file, - for standard input, or --interface");
  }
  auto capture =
      spec_of(options.interface.empty() ? options.file : options.interface, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  capture->live = !options.interface.empty();
  capture->stop = &stop_asked;
  for (const std::string& name : options.ignore) {
    if (find_rule(name) == Rule::count) {
      return complain(fmt::format("--ignore {}: no such rule; see aoe-pcap judge --list", name));
    }
  }
  Baseline baseline;
  std::string error;
  if (!options.baseline.empty() && !read_baseline(options.baseline, baseline, error)) {
    return complain(error);
  }
  output::try_destinations({options.output}, {options.file});
  auto tracker = std::make_unique<Tracker>();
  if (options.complete) {
    // A file that says itself that frames are missing takes the claim away. Of a stream, and on a
    // live interface, it is known too late: it is told at the end.
    const std::uint64_t missing = capture->live || options.file == "-" ? 0 : lost_by(*capture);
    if (missing == 0) {
      tracker->claim_complete();
    } else {
      fmt::print(
          stderr,
          "aoe-pcap: {} says that it lost {} frames itself: it is judged without --complete\n",
          capture->path, missing);
    }
  }
  auto judge = std::make_unique<Judge>(*tracker, options.examples);
  tracker->add_observer(judge.get());
  const bool report_on_stdout = options.output.empty() || options.output == "-";
  Follower follower(*judge, *tracker,
                    options.format != "text" && report_on_stdout ? stderr : stdout, options.ignore);
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  if (!run(*capture, *tracker,
           options.follow ? std::function<void()>([&follower] { follower.look(); }) : nullptr)) {
    return kExitTrouble;
  }
  if (options.follow) {
    follower.look();  // what only the end has shown
    fmt::print("\n");
  }
  const JudgeReport report(capture->path, *tracker, *judge, options.ignore, std::move(baseline));
  if (!write_out(options.output,
                 options.format == "text" ? report.text() : suite_report(report, options.format))) {
    return kExitTrouble;
  }
  const std::string fail_on = options.strict ? "warn" : options.fail_on;
  const Verdict worst = fail_on == "info"   ? Verdict::info
                        : fail_on == "warn" ? Verdict::warn
                                            : Verdict::fail;
  if (fail_on != "never" && report.at_least(worst) != 0) {
    return kExitFindings;
  }
  if (const std::string nothing = report.nothing(); !nothing.empty()) {
    fmt::print(stderr, "aoe-pcap: {}\n", nothing);
    return kExitNothing;
  }
  return kExitGood;
}

}  // namespace

void add_judge(CLI::App& app, int& result) {
  auto options = std::make_shared<JudgeOptions>();
  std::vector<std::string> judge_formats = suite_formats();
  judge_formats.insert(judge_formats.begin(), "text");
  CLI::App* command = app.add_subcommand("judge", "which clauses did either side break");
  command->add_option("FILE", options->file, "pcap or pcapng; - is standard input");
  command->add_option("--interface", options->interface,
                      "judge what passes this interface, until ^C");
  command->add_flag("--follow", options->follow, "tell findings as they come");
  command->add_flag("--list", options->list, "the rules, with their clauses");
  command->add_option("--format", options->format, "text, or as the suite: tap, junit, json")
      ->check(CLI::IsMember(judge_formats));
  command->add_option("-o,--output", options->output, "write there instead of stdout");
  command->add_option("--ignore", options->ignore, "leave this rule out; may be repeated");
  command->add_option("--examples", options->examples,
                      "findings shown in full for each rule and session");
  command->add_flag("--complete", options->complete,
                    "the tap saw every frame that the targets got and sent, from the start");
  command->add_option("--fail-on", options->fail_on, "what exit code 1 stands for")
      ->check(CLI::IsMember({"fail", "warn", "info", "never"}));
  command->add_flag("--strict", options->strict, "the same as --fail-on warn");
  command->add_option("--baseline", options->baseline,
                      "a report in JSON: what it holds is known, and no reason to fail");
  command->callback([options, &result] { result = judge(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
