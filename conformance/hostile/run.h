#pragma once
// An initiator against every misbehaviour, as a report like any other. Starts it where it is told
// how, else waits for whoever asks.

#include <functional>
#include <string>

#include "conformance/hostile/cases.h"
#include "conformance/report/report.h"

namespace conformance::hostile {

struct InitiatorRun {
  uint16_t shelf = 7;
  uint8_t slot = 3;
  // {iface} {shelf} {slot} {lba} {sectors} {in} {out}; empty: nobody is started.
  std::string command;
  std::string interface;                       // {iface}
  int64_t case_ns = 30 * links::kNsPerSecond;  // for each case
  std::vector<std::string> only;               // globs; empty: all
  std::string repeat_command;
  std::function<bool()> interrupted = [] { return false; };
  std::function<void(size_t number, size_t total, const std::string& id)> on_begin;
};

// Throws UsageError for a command that cannot be, links::LinkError.
report::Report judge_initiator(links::Link& link, const InitiatorRun& run);

}  // namespace conformance::hostile
