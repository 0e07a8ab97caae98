#pragma once
// A run's result, and its faces: text and HTML for people, TAP 14, JUnit XML and JSON for machines.
// Pure: values in, strings out; writing a file is atomic (a new file renamed over the old), so that
// a reader never meets half a report.

#include <map>

#include "conformance/runner/judge.h"

namespace conformance::report {

// Of the JSON; a change that a reader must know of makes it another (docs/migrating.md).
inline constexpr const char* kSchema = "aoe-conformance-report-3";

struct Report {
  std::string version;
  std::string command;    // the command line
  std::string link_name;  // interface, socket or model
  size_t mtu = 0;
  int64_t started_ns = 0;
  double duration_ms = 0;
  bool target_known = false;
  TargetFacts target;
  std::string
      trouble;  // why the run ended early: no target, target died, interrupted. Empty: it did not.
  std::string target_said;  // before the first case and after the last, when it is our child
  std::vector<CaseResult> cases;
  std::vector<std::string> baseline_surprises;
  bool baseline_used = false;
  uint64_t frames_sent = 0;
  std::string undo_file;           // what holds what could not be put back; empty: all was
  std::string path_trouble;        // the link carries less than both sides say
  std::vector<std::string> notes;  // of the surroundings, for the reader: other ports, profiles
  links::LinkCounts link;          // what it did to questions and answers
  double loss = 0;                 // the share of questions and answers that it lost; cautious
  double rtt_us = 0;
  int exit_code = 0;
  std::string capture_trouble;  // a capture that could not be written; empty: all were

  std::map<Verdict, size_t> counts() const;
};

// How much a person wants to read: the verdict and the failed ids; three lines a failure; a screen
// a failure; each case and every byte.
enum class Detail { quiet, brief, usual, full };
struct TextOptions {
  bool colour = false;
  Detail detail = Detail::usual;
};
// A case that ran several times becomes one, with the worst of its verdicts.
void merge_repetitions(Report& report);

std::string to_text(const Report& report, const TextOptions& options = {});
std::string to_tap(const Report& report);
std::string to_junit(const Report& report);
std::string to_json(const Report& report);

// report.txt, report.tap, report.xml, report.json, report.html. The directory is made when it is
// missing.
void make_directory(const std::string& directory);
void write_all(const std::string& directory, const Report& report);

// The frames that a finding rests on, decoded, with the offending bytes marked.
std::string evidence_text(const Finding& finding);

std::string time_text(int64_t ns);  // UTC, microseconds
std::string coloured(Verdict verdict, bool colour);

}  // namespace conformance::report
