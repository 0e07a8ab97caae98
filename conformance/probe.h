#pragma once
// Tools for whoever has a target and a question, no verdict: `probe congestion` finds the best
// number of outstanding requests, `probe extensions` what command 0x23 offers and how, `probe mtu`
// what the link carries. Only reads,
// and pauses that the target grants. Exit codes are the suite's; 77: the target has nothing of what
// is asked.

#include <iosfwd>

#include "conformance/cases/context.h"

namespace conformance {

struct ProbeOptions {
  std::optional<uint16_t> shelf;
  std::optional<uint8_t> slot;
  std::optional<Mac> mac;
  size_t bursts = 5;
  size_t probes = 1000;
  bool json = false;
};

int probe_congestion(Context& t, const ProbeOptions& options, std::ostream& out, std::ostream& err);
int probe_extensions(Context& t, const ProbeOptions& options, std::ostream& out, std::ostream& err);
// 0: each way carries what the interface and the target's limit say; 1: it does not.
int probe_mtu(Context& t, const ProbeOptions& options, std::ostream& out, std::ostream& err);

using Probe = int (*)(Context&, const ProbeOptions&, std::ostream&, std::ostream&);

}  // namespace conformance
