// aoe-sim bridge: two real interfaces, and the verdicts between them. It owns the wall clock, the
// signals and the files; it must never judge a frame itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sim::live {

struct BridgeOptions {
  std::string a;        // the initiator's side
  std::string t;        // the target's side
  std::string profile;  // by name, or a file of rates
  std::optional<std::uint64_t> seed;
  std::string replay;        // a .sim file instead of profile and seed
  std::string rule;          // by content, beside or instead of the verdicts
  std::string rule_sectors;  // LBA:COUNT
  std::string record;        // what was done, as a .sim file
  std::string pcap;          // PREFIX.a.pcap and PREFIX.b.pcap
  std::uint64_t frames = 0;  // 0: no end
  double seconds = 0;        // 0: no end
};

// Returns an exit code; throws std::runtime_error for what a user can put right.
int run_bridge(const BridgeOptions& options);

}  // namespace sim::live
