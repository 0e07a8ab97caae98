// The passive conformance check: follows what each side must know (config string, masks,
// reservations, extensions, tag windows, what the sectors hold) and notes every clause that a
// frame breaks. It speaks only of what the capture proves: a frame that may have been lost or sent
// out of sight accuses nobody.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "conformance/observer/rules.h"
#include "conformance/observer/shadow_disk.h"
#include "conformance/observer/tracker.h"

namespace conformance::observer {

struct Finding {
  Rule rule = Rule::count;
  std::uint64_t frame = 0;
  std::uint32_t session = kNone;
  std::string text;
};

// All findings of one rule in one session: the first few in full, the others counted.
struct FindingGroup {
  Rule rule = Rule::count;
  std::uint32_t session = kNone;
  std::uint64_t count = 0;
  std::vector<Finding> examples;
};

struct JudgeCounters {
  std::uint64_t requests = 0;
  std::uint64_t replies = 0;
  std::uint64_t sectors_checked = 0;  // read, and what they must hold was known
  std::uint64_t sectors_unknown = 0;  // read for the first time
  std::uint64_t stale_copies = 0;     // late copies of a write over newer data
  std::uint64_t stale_executed = 0;
  std::uint64_t stale_not_executed = 0;
};

class Judge : public TrackerObserver {
 public:
  Judge(Tracker& tracker, std::uint32_t examples_max,
        std::uint32_t sector_sets = ShadowDisk::kSets);

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_given_up(const Request& request) override;
  void on_runt(const AoeFrame& frame) override;

  [[nodiscard]] const std::vector<FindingGroup>& groups() const { return groups_; }
  [[nodiscard]] const JudgeCounters& counters() const { return counters_; }
  // Was there anything in the capture that a rule of this kind could have found fault with?
  [[nodiscard]] bool seen(Needs needs) const { return seen_[static_cast<std::size_t>(needs)]; }
  [[nodiscard]] std::uint64_t sectors_forgotten() const { return disk_.forgotten(); }

 private:
  static constexpr std::uint32_t kArgumentsKept = 1024;
  static constexpr std::uint32_t kTagWindow = 32'768;

  // The argument of a request whose reply must be compared with it.
  struct Argument {
    std::uint64_t frame = 0;
    std::string bytes;  // from offset 24 to the end of its fields
  };
  struct AddressList {
    bool known = false;
    std::uint32_t edits_waiting = 0;
    std::uint64_t settled_frame = 0;  // requests after it meet this list
    std::vector<std::uint64_t> macs;
  };
  struct TargetState {
    bool config_known = false;
    std::uint32_t sets_waiting = 0;
    std::uint64_t config_settled_frame = 0;
    std::string config_string;
    AddressList mask;
    AddressList reserve;
    bool limits_known = false;
    std::uint32_t sectors_per_command = 0;
    std::uint32_t buffers = 0;
    bool capacity_known = false;
    std::uint64_t capacity_sectors = 0;
  };
  struct SessionState {
    bool tag_known = false;  // the next tag is promised
    std::uint32_t next_tag = 0;
    std::uint32_t outstanding_told = 0;
    std::uint64_t tag_session_frame = 0;
    std::uint8_t features_before = 0;
  };

  template <typename Text>
  void note(Rule rule, std::uint64_t frame, std::uint32_t session, Text&& text);

  TargetState& state_of_target(std::uint32_t target);
  SessionState& state_of_session(std::uint32_t session);
  void keep_argument(const AoeFrame& frame, Request& request);
  [[nodiscard]] const std::string* argument_of(const Request& request) const;

  void see(Needs needs) { seen_[static_cast<std::size_t>(needs)] = true; }
  void see_request(const Request& request, Relation relation);
  void judge_request_header(const AoeFrame& frame, const Request& request);
  void judge_request_ata(const AoeFrame& frame, const Request& request);
  void judge_request_config(const AoeFrame& frame, const Request& request);
  void judge_request_extensions(const AoeFrame& frame, const Request& request);
  void judge_request_padding(const AoeFrame& frame, const Request& request);
  void judge_tag_promise(const AoeFrame& frame, const Request& request, Relation relation);
  void judge_limits(const AoeFrame& frame, const Request& request);
  void note_state_change_asked(const Request& request, bool asked);

  void judge_reply_header(const AoeFrame& frame, const Request* request, std::uint32_t session);
  void judge_unasked(const AoeFrame& frame, std::uint32_t session);
  void judge_access(const AoeFrame& frame, const Request& request, std::uint32_t session,
                    TargetState& target);
  void judge_reply_ata(const AoeFrame& frame, const Request& request, std::uint32_t session,
                       TargetState& target);
  void judge_reply_config(const AoeFrame& frame, const Request& request, std::uint32_t session,
                          TargetState& target);
  void judge_reply_mask(const AoeFrame& frame, const Request& request, std::uint32_t session,
                        TargetState& target);
  void judge_reply_reserve(const AoeFrame& frame, const Request& request, std::uint32_t session,
                           TargetState& target);
  void judge_reply_extensions(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_reply_padding(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_identify(const AoeFrame& frame, std::uint32_t session, TargetState& target);

  void write_seen(const AoeFrame& frame, const Request& request, Relation relation);
  void write_answered(const AoeFrame& frame, const Request& request, bool good);
  void read_answered(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void check_sector(const AoeFrame& frame, const Request& request, std::uint32_t session,
                    std::uint64_t lba, std::uint64_t value);
  [[nodiscard]] std::uint32_t target_of(const Request& request) const;

  Tracker& tracker_;
  std::uint32_t examples_max_;
  std::bitset<static_cast<std::size_t>(Needs::count)> seen_;
  ShadowDisk disk_;
  JudgeCounters counters_;
  std::vector<FindingGroup> groups_;
  std::unordered_map<std::uint64_t, std::uint32_t> group_index_;
  std::vector<TargetState> targets_;
  std::vector<SessionState> sessions_;
  std::vector<Argument> arguments_;
  std::uint32_t next_argument_ = 0;
  std::uint64_t last_stale_told_ = 0;  // the stale copy last spoken of: once per copy
};

}  // namespace conformance::observer
