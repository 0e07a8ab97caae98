// Commands that only read reports and baselines.

#include "conformance/report_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "conformance/output/output_file.h"
#include "conformance/report/baseline.h"
#include "conformance/report/compare.h"
#include "conformance/report/page.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"

namespace conformance {

namespace {

// A report that cannot be read is what the user gave.
report::PastRun read(const std::string& path) {
  try {
    return report::read_report(path);
  } catch (const std::runtime_error& e) {
    throw UsageError(e.what());
  }
}

}  // namespace

ReportCommands::ReportCommands(CLI::App& app, std::string version) : version_(std::move(version)) {
  matrix_ = app.add_subcommand("matrix", "Reports side by side, as one page");
  matrix_->add_option("reports", files_, "report.json of runs, the oldest first")
      ->required()
      ->type_name("REPORT.json");
  matrix_->add_option("--output,-o", output_, "The page")->required()->type_name("FILE.html");
  diff_ = app.add_subcommand("diff", "What changed from one report to another");
  diff_->add_option("before", before_, "report.json of a run")->required()->type_name("A.json");
  diff_->add_option("after", after_, "report.json of a later one")->required()->type_name("B.json");
  diff_->add_flag("--json", json_, "Print JSON");
  diff_->footer(
      "Exit codes: 0 no new failures; 1 a case fails (or cannot be judged) that did not before; 2 "
      "usage.");
  CLI::App* baseline = app.add_subcommand("baseline", "Lists of known failures");
  baseline->require_subcommand(1);
  baseline_ = baseline->add_subcommand(
      "check", "Which rows of a baseline are out of date, by a report or by their date");
  baseline_->add_option("baseline", baseline_file_, "The baseline")->required()->type_name("FILE");
  baseline_
      ->add_option("report", report_, "report.json of a run; without it only dates are looked at")
      ->type_name("REPORT.json");
  baseline_->footer("Exit codes: 0 every row holds; 1 some do not; 2 usage.");
}

bool ReportCommands::chosen() const {
  return matrix_->parsed() || diff_->parsed() || baseline_->parsed();
}

int ReportCommands::run() const {
  return matrix_->parsed() ? matrix() : diff_->parsed() ? diff() : check_baseline();
}

int ReportCommands::matrix() const {
  try {
    output::try_destinations({output_}, files_);
  } catch (const output::OutputError& e) {
    throw UsageError(e.what());
  }
  std::vector<report::PastRun> runs;
  for (const std::string& path : files_) {
    runs.push_back(read(path));
  }
  report::tell_apart(runs, files_);
  output::write_file(output_, report::matrix_page(report::matrix_json(runs, version_)));
  return exit_good;
}

int ReportCommands::diff() const {
  std::vector<report::PastRun> runs = {read(before_), read(after_)};
  report::tell_apart(runs, {before_, after_});
  const report::Differences d = report::compare(runs[0], runs[1]);
  std::cout << (json_ ? to_json(d, runs[0], runs[1]) : to_text(d, runs[0], runs[1]));
  return d.new_failures.empty() ? exit_good : exit_failed;
}

int ReportCommands::check_baseline() const {
  std::vector<report::Known> known;
  try {
    known = report::read_baseline(baseline_file_);
  } catch (const std::runtime_error& e) {
    throw UsageError(e.what());
  }
  size_t stale = 0;
  const auto say = [&](const report::Known& k, const std::string& why) {
    std::cout << fmt::format("{}: {}\n", k.id, why);
    ++stale;
  };
  const report::PastRun run = report_.empty() ? report::PastRun{} : read(report_);
  for (const report::Known& k : known) {
    if (report::has_expired(k)) {
      say(k, fmt::format("expired on {}", k.expires));
    }
    if (report_.empty()) {
      continue;
    }
    const report::PastCase* c = run.find(k.id);
    if (c == nullptr) {
      say(k, "is not in the report");
    } else if (const std::string other = report::differs(k, c->verdict, c->clause, c->finding);
               !other.empty()) {
      say(k, other);
    }
  }
  std::cout << fmt::format("{} of {} rows are out of date\n", stale, known.size());
  return stale == 0 ? exit_good : exit_failed;
}

}  // namespace conformance
