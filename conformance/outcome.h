#pragma once
// What becomes of a run: the reports that are written, the text that is printed, the baseline it is
// held against or becomes. Options of its own; knows nothing of targets and of how a run is made.

#include <chrono>
#include <memory>
#include <string>

#include "conformance/bundle.h"
#include "conformance/report/baseline.h"

namespace CLI {
class App;
}

namespace conformance {

struct OutcomeOptions {
  std::string report_dir, report_text, report_tap, report_xml, report_json, report_html;
  std::string baseline, write_baseline, reason;
  std::string colour = "auto";
  bool brief = false;
  bool quiet = false;
  bool verbose = false;
  std::string bundle;
  std::string settings;  // the file they came from, for the bundle
};

void add_outcome_options(CLI::App& app, OutcomeOptions& o);

// A run's result on its way out. Made before the run: what cannot be read or written is better
// known then.
class Outcome {
 public:
  // Throws UsageError: options that contradict each other, a baseline that cannot be read, a folder
  // that cannot be made, a destination that cannot be written or is the baseline or the target's
  // image.
  explicit Outcome(const OutcomeOptions& options, const std::string& target_image = {});
  // Against the baseline, when there is one.
  void hold(report::Report& report) const;
  // Writes every report asked for and prints the text. Throws std::runtime_error when a file could
  // not be written, after everything else was done.
  void tell(const report::Report& report, const std::string& capture_dir) const;
  // Where the target's words and the captures go; empty: nowhere. `wanted`: where the user says.
  std::string target_log() const;
  std::string capture_dir(const std::string& wanted) const;

 private:
  const OutcomeOptions& o_;
  std::unique_ptr<Bundle> bundle_;
  std::vector<report::Known> known_;
};

// How far a run is: one line that is written over, on a terminal; elsewhere a line every ten
// seconds, so that a log shows life. On standard error.
class Progress {
 public:
  explicit Progress(bool wanted);
  ~Progress() { clear(); }
  void begin(size_t number, size_t total, const std::string& id);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  bool wanted_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point began_;
  Clock::time_point told_;
};

}  // namespace conformance
