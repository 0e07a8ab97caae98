// What the judge's rooms share and nobody else may see: numbers of the wire that rules speak of,
// small readings of a frame, and how a finding is noted.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge.h"

namespace conformance::observer {

using Kind = Candidate::Kind;
inline constexpr std::uint32_t kIdentifyBytes = 512;
inline constexpr std::uint32_t kCrcBytes = 4;
inline constexpr std::uint8_t kAtaFlagsReserved = 0xAC;
// CCmd, MCmd, RCmd.
inline constexpr std::uint8_t kConfigRead = 0, kConfigTest = 1, kConfigPrefix = 2, kConfigSet = 3,
                              kConfigForce = 4;
inline constexpr std::uint8_t kMaskEdit = 1;
inline constexpr std::uint8_t kReserveSet = 1, kReserveForce = 2;
inline constexpr std::uint32_t kCheckIsWrong =
    kNone - 1;  // Request::note of a write whose crc8x4 is wrong

inline constexpr const char* kSuspect =
    " (suspect: lost, or a writer that this capture does not show; --complete makes it a fault)";

// Neither E nor ERR nor DF.
bool good_ata(const AoeFrame& frame);
bool ranged(const Request& request);
std::uint64_t text_hash(std::string_view text);
bool holds_mac(const std::vector<std::uint64_t>& macs, std::uint64_t mac);
std::string list_text(const std::vector<std::uint64_t>& macs);
inline constexpr const char* kLostFrames = "a frame that the capture has lost";

// The four bytes of crc8x4 stand behind the data, and are right.
bool crc_follows(const AoeFrame& frame, std::uint32_t data_end);

template <typename Text>
void Judge::note(Rule rule, Certainty certainty, const AoeFrame& frame, std::uint32_t session,
                 Text&& text, const char* decides) {
  const Verdict verdict = level(rule, certainty);
  const std::uint64_t key =
      static_cast<std::uint64_t>(rule) << 40 | static_cast<std::uint64_t>(verdict) << 32 | session;
  const auto [place, is_new] =
      group_index_.try_emplace(key, static_cast<std::uint32_t>(groups_.size()));
  if (is_new) {
    groups_.push_back(FindingGroup{rule, verdict, session, 0, {}});
  }
  FindingGroup& group = groups_[place->second];
  ++group.count;
  if (group.examples.size() >= examples_max_) {
    return;
  }
  Finding finding;
  finding.rule = rule;
  finding.verdict = verdict;
  finding.frame = frame.number;
  finding.time_ns = frame.time_ns;
  finding.tag = frame.holds(20, 4) ? frame.tag() : 0;
  finding.has_lba =
      frame.holds(kAoeHeaderEnd, 12) && frame.command() == kCommandAta && !frame.has_error_flag();
  finding.lba = finding.has_lba ? frame.lba48(28) : 0;
  finding.session = session;
  finding.text = text();
  const bool lowered = verdict != facts_of(rule).verdict;
  if (certainty == Certainty::suspect && lowered) {
    finding.text += kSuspect;
  } else if (decides != nullptr && lowered) {
    finding.text += fmt::format(" (uncertain: {} would decide it)", decides);
  }
  group.examples.push_back(std::move(finding));
}

template <typename Visit>
void Judge::for_each_target(const Request& request, Visit&& visit) {
  if (!request.to_all) {
    const std::uint32_t target = target_of(request);
    if (target != kNone) {
      visit(target);
    }
    return;
  }
  const auto& targets = tracker_.targets();
  for (std::uint32_t i = 0; i < targets.size(); ++i) {
    if (targets[i].vlan == request.vlan &&
        (request.shelf == kBroadcastShelf || request.shelf == targets[i].shelf) &&
        (request.slot == kBroadcastSlot || request.slot == targets[i].slot)) {
      visit(i);
    }
  }
}

}  // namespace conformance::observer
