// What becomes of a run.

#include "conformance/outcome.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "conformance/output/output_file.h"
#include "conformance/report/page.h"
#include "conformance/runner/selection.h"

namespace conformance {

namespace {

constexpr auto kSayEvery = std::chrono::seconds(10);

bool use_colour(const OutcomeOptions& o) {
  return o.colour == "always" || (o.colour == "auto" && isatty(STDOUT_FILENO) != 0);
}

report::Detail detail(const OutcomeOptions& o) {
  return o.quiet     ? report::Detail::quiet
         : o.brief   ? report::Detail::brief
         : o.verbose ? report::Detail::full
                     : report::Detail::usual;
}

bool report_on_standard_output(const OutcomeOptions& o) {
  for (const std::string* path : {&o.report_text, &o.report_tap, &o.report_xml, &o.report_json,
                                  &o.report_html, &o.write_baseline}) {
    if (*path == "-" || *path == "/dev/stdout") {
      return true;
    }
  }
  return false;
}

// Each that can be written is. What could not, a line each.
std::string write_reports(const OutcomeOptions& o, const report::Report& r) {
  std::string trouble = r.capture_trouble;
  const auto attempt = [&trouble](const auto& write) {
    try {
      write();
    } catch (const std::exception& e) {
      trouble += (trouble.empty() ? "" : "\naoe-conformance: ") + std::string(e.what());
    }
  };
  if (!o.report_dir.empty()) {
    attempt([&] { report::write_all(o.report_dir, r); });
  }
  const auto one = [&](const std::string& path, const auto& make) {
    if (!path.empty()) {
      attempt([&] { output::write_file(path, make()); });
    }
  };
  one(o.report_text, [&] { return report::to_text(r, {false, report::Detail::full}); });
  one(o.report_tap, [&] { return report::to_tap(r); });
  one(o.report_xml, [&] { return report::to_junit(r); });
  one(o.report_json, [&] { return report::to_json(r); });
  one(o.report_html, [&] { return report::run_page(report::to_json(r)); });
  one(o.write_baseline, [&] { return report::baseline_text(r, o.reason); });
  return trouble;
}

}  // namespace

void add_outcome_options(CLI::App& app, OutcomeOptions& o) {
  app.add_option("--report-dir", o.report_dir,
                 "report.txt, .tap, .xml (JUnit), .json and .html go there, and target.log")
      ->type_name("DIR");
  app.add_option("--report-text", o.report_text, "All of it as text")->type_name("FILE");
  app.add_option("--report-tap", o.report_tap, "As TAP 14")->type_name("FILE");
  app.add_option("--report-xml", o.report_xml, "As JUnit's XML")->type_name("FILE");
  app.add_option("--report-json", o.report_json, "As JSON (docs/report.schema.json)")
      ->type_name("FILE");
  app.add_option("--report-html", o.report_html, "As a page that stands alone")->type_name("FILE");
  app.add_option("--baseline", o.baseline,
                 "Known failures (TOML); anything else, either way, is red")
      ->type_name("FILE");
  app.add_option("--write-baseline", o.write_baseline,
                 "What fails now becomes known: a file for --baseline")
      ->type_name("FILE");
  app.add_option("--reason", o.reason, "Why, for --write-baseline")->type_name("TEXT");
  app.add_option("--bundle", o.bundle,
                 "Reports, captures, settings, versions and the target's log in one .tar.gz, for a "
                 "bug report")
      ->type_name("FILE.tar.gz");
  app.add_option("--color", o.colour, "auto, always, never")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  CLI::Option* brief =
      app.add_flag("--brief", o.brief, "Of a failure: clause, asked, expected, got");
  CLI::Option* quiet = app.add_flag("--quiet,-q", o.quiet, "Only what failed, and the verdict");
  CLI::Option* verbose =
      app.add_flag("--verbose,-v", o.verbose, "Every case, and every byte of every failure");
  quiet->excludes(brief)->excludes(verbose);
  brief->excludes(verbose);
}

Outcome::Outcome(const OutcomeOptions& options, const std::string& target_image) : o_(options) {
  if (!o_.write_baseline.empty() && o_.reason.empty()) {
    throw UsageError("--write-baseline needs --reason TEXT: why these failures are accepted");
  }
  if (!o_.reason.empty() && o_.write_baseline.empty()) {
    throw UsageError("--reason belongs to --write-baseline");
  }
  if (!o_.baseline.empty()) {
    // One that cannot be read or makes no sense is what the user gave, not an error of ours.
    try {
      known_ = report::read_baseline(o_.baseline);
    } catch (const std::runtime_error& e) {
      throw UsageError(fmt::format("--baseline {}", e.what()));
    }
  }
  // A baseline that is read may be written anew: that is what --write-baseline is for. It is read
  // whole before.
  try {
    output::try_destinations(
        {o_.report_text, o_.report_tap, o_.report_xml, o_.report_json, o_.report_html},
        {o_.baseline, target_image});
    output::try_destinations({o_.write_baseline}, {target_image});
  } catch (const output::OutputError& e) {
    throw UsageError(e.what());
  }
  if (!o_.bundle.empty()) {
    bundle_ = std::make_unique<Bundle>(o_.bundle);
  }
  if (!o_.report_dir.empty()) {
    try {
      report::make_directory(o_.report_dir);
    } catch (const std::runtime_error& e) {
      throw UsageError(fmt::format("--report-dir {}", e.what()));
    }
  }
}

std::string Outcome::capture_dir(const std::string& wanted) const {
  return wanted.empty() && bundle_ ? bundle_->capture_dir() : wanted;
}

void Outcome::hold(report::Report& r) const {
  if (!o_.baseline.empty()) {
    report::hold_against(known_, r);
  }
}

std::string Outcome::target_log() const {
  return !o_.report_dir.empty() ? o_.report_dir + "/target.log"
         : bundle_              ? bundle_->target_log()
                                : std::string();
}

void Outcome::tell(const report::Report& r, const std::string& capture_dir) const {
  // Files first: whoever reads our output may have gone away.
  std::string unwritten = write_reports(o_, r);
  if (bundle_) {
    try {
      bundle_->write(r, capture_dir, target_log(), o_.settings);
    } catch (const std::exception& e) {
      unwritten += (unwritten.empty() ? "" : "\naoe-conformance: ") + std::string(e.what());
    }
  }
  // A report that goes to standard output has it to itself.
  (report_on_standard_output(o_) ? std::cerr : std::cout)
      << report::to_text(r, {use_colour(o_), detail(o_)}) << std::flush;
  if (!unwritten.empty()) {
    throw std::runtime_error(unwritten);
  }
}

Progress::Progress(bool wanted)
    : wanted_(wanted),
      terminal_(isatty(STDERR_FILENO) != 0),
      began_(Clock::now()),
      told_(Clock::now()) {}

void Progress::begin(size_t number, size_t total, const std::string& id) {
  if (!wanted_) {
    return;
  }
  const auto now = Clock::now();
  if (!terminal_ && now - told_ < kSayEvery) {
    return;
  }
  std::string line = fmt::format("[{}/{}] {}", number, total, id);
  const double elapsed = std::chrono::duration<double>(now - began_).count();
  constexpr double worth_saying = 2;
  if (number > 1 && elapsed > worth_saying) {
    const double done = static_cast<double>(number - 1) / static_cast<double>(total);
    line += fmt::format(", about {:.0f} s left", elapsed / done - elapsed);
  }
  if (!terminal_) {
    std::cerr << line << "\n" << std::flush;
    told_ = now;
    return;
  }
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 &&
      line.size() >= size.ws_col) {
    line.resize(size.ws_col - 1U);
  }
  std::cerr << "\r\033[K" << line << std::flush;
  drawn_ = true;
}

void Progress::clear() {
  if (drawn_) {
    std::cerr << "\r\033[K" << std::flush;
    drawn_ = false;
  }
}

}  // namespace conformance
