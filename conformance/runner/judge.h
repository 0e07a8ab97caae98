#pragma once
// One case against one target: from the Context's exceptions and findings to a verdict. Knows
// nothing of order, reports or options.

#include <algorithm>

#include "conformance/cases/registry.h"

namespace conformance {

struct CaseResult {
  std::string id;
  Level level = Level::must;
  std::vector<std::string> clauses;
  Verdict verdict = Verdict::skip;
  std::string reason;  // empty for pass only
  std::vector<Finding> findings;
  std::vector<CaseFrame> frames;  // of the whole case, its setup and undoing included
  uint64_t frames_omitted = 0;    // from the middle of a long case
  std::string target_said;        // its standard output and error meanwhile, when it is our child
  std::string capture;            // file name, when one was made
  int64_t started_ns = 0;         // on the link's clock, as the capture's
  double duration_ms = 0;
  std::string repeat;  // the command that runs just this case
  std::string known;   // the baseline's reason, when this verdict is expected
  bool interrupted = false;
  std::vector<Verdict> repetitions;  // where it ran more than once: what each came to
  unsigned attempts = 1;     // how often it was asked, with fresh tags, until the link let it be
  std::string link_trouble;  // what the link did meanwhile, when it was asked more than once
  std::string put_back_trouble;     // what went wrong when it was undone; no part of its verdict
  bool ended_putting_back = false;  // the target died of being put back
};

// Runs the case and undoes what it did. Never throws but for programmers' errors.
CaseResult run_case(Context& context, const Case& c);
// Where it counts at another level than its own.
CaseResult run_case(Context& context, const Case& c, Level level);

// Learns the target: config, identify, extensions and their byte order. Returns what is missing, or
// nothing. The facts' shelf, slot and address are to be known already.
std::optional<std::string> learn_target(Context& context);

// Finds targets: a broadcast config query, with shelf and slot broadcast too.
struct Found {
  Mac mac{};
  uint16_t shelf = 0;
  uint8_t slot = 0;
};
std::vector<Found> discover(Context& context, uint16_t shelf = 0xffff, uint8_t slot = 0xff);

// What the link carries each way, bytes after the Ethernet header, against what the interface and
// the target's limit say. Only reads.
struct PathMtu {
  size_t interface = 0;
  size_t out = 0;        // towards the target: the longest request that is answered
  size_t in = 0;         // from it: the longest reply that arrives; 0: it answers no read
  uint64_t sectors = 0;  // the most sectors of a read that arrive, up to what fits both claims
  size_t carried() const { return in == 0 ? out : std::min(out, in); }
};
PathMtu measure_path_mtu(Context& context);

// Whether a 48-bit request may come down on its low 28 bits. Only reads: what only a write can
// show is seen when the first case that writes begins.
void learn_disk(Context& t);

}  // namespace conformance
