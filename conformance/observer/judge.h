// The passive conformance check: follows what each side must know (config string, masks,
// reservations, extensions, tag windows, what the sectors hold) and notes every clause that a
// frame breaks. It knows how sure it is: what is proven is told at the clause's level; what a frame
// or a host that the tap did not see could explain is a warning that says so, or a remark that says
// what would decide it; only a claim that the capture is complete (Tracker::claim_complete) turns
// those into failures. It must never know about files or links.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <map>
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
  Verdict verdict = Verdict::info;
  std::uint64_t frame = 0;
  Nanoseconds time_ns = 0;
  std::uint32_t tag = 0;
  bool has_lba = false;
  std::uint64_t lba = 0;
  std::uint32_t session = kNone;
  std::string text;
};

// All findings of one rule and verdict in one session: the first few in full, the others counted.
struct FindingGroup {
  Rule rule = Rule::count;
  Verdict verdict = Verdict::info;
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
  std::uint64_t tag_gaps = 0;  // promised tags that were not seen: a sign that the tap missed some
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
  static constexpr std::size_t kResponsesKept = 64;
  static constexpr std::size_t kTextsKept = 8;

  // The argument of a request whose reply must be compared with it.
  struct Argument {
    std::uint64_t frame = 0;
    std::string bytes;       // from offset 24 to the end of its fields
    bool new_probe = false;  // a congestion probe whose id is not the last one
    bool sure_probe = false;
  };
  struct AddressList {
    bool known = false;
    std::uint32_t edits_waiting = 0;
    std::uint64_t settled_frame = 0;  // requests after it meet this list
    std::vector<std::uint64_t> macs;
  };
  // The config string: like a sector, whose candidates are strings.
  struct ConfigString {
    Sector possible;
    std::vector<std::pair<std::uint64_t, std::string>> texts;  // by hash, the last few
    std::size_t next_text = 0;
  };
  struct TargetState {
    ConfigString config;
    std::uint32_t sets_waiting = 0;
    AddressList mask;
    AddressList reserve;
    bool limits_known = false;
    std::uint32_t sectors_per_command = 0;
    std::uint32_t buffers = 0;
    bool capacity_known = false;
    std::uint64_t capacity_sectors = 0;
    std::uint64_t identify_hash = 0;
  };
  struct SessionState {
    bool tag_known = false;  // the next tag is promised
    std::uint32_t next_tag = 0;
    std::uint32_t last_raw_tag = 0;
    std::uint32_t other_order_run = 0;  // tags that follow each other in the other byte order
    std::uint32_t outstanding_told = 0;
    std::uint64_t window_before = 0;
    std::uint8_t features_before = 0;
    std::string probe_id;
  };
  // A frame with R set that answers nothing: whoever answers it breaks a clause.
  struct Response {
    std::uint64_t source = 0;
    std::uint64_t destination = 0;
    std::uint64_t frame = 0;
    std::uint32_t tag = 0;
  };

  template <typename Text>
  void note(Rule rule, Certainty certainty, const AoeFrame& frame, std::uint32_t session,
            Text&& text, const char* decides = nullptr);
  [[nodiscard]] Verdict level(Rule rule, Certainty certainty) const;
  // Proven in a capture that shows no sign that the tap lost frames: the one that ended a session,
  // or a longer copy of a request, may be among those.
  [[nodiscard]] Certainty unless_frames_were_lost() const;

  TargetState& state_of_target(std::uint32_t target);
  SessionState& state_of_session(std::uint32_t session);
  void keep_argument(const AoeFrame& frame, Request& request);
  [[nodiscard]] const Argument* kept(const Request& request) const;
  [[nodiscard]] const std::string* argument_of(const Request& request) const;
  // Calls visit(index) for every target that the request is for.
  template <typename Visit>
  void for_each_target(const Request& request, Visit&& visit);

  void see(Needs needs) { seen_[static_cast<std::size_t>(needs)] = true; }
  void see_request(const Request& request, Relation relation);
  void judge_request_header(const AoeFrame& frame, const Request& request);
  void judge_request_ata(const AoeFrame& frame, const Request& request);
  void judge_request_config(const AoeFrame& frame, const Request& request);
  void judge_request_extensions(const AoeFrame& frame, const Request& request);
  void judge_request_padding(const AoeFrame& frame, const Request& request);
  void judge_tag_promise(const AoeFrame& frame, const Request& request, Relation relation);
  void judge_limits(const AoeFrame& frame, const Request& request);
  void note_state_change_asked(const AoeFrame& frame, const Request& request, Relation relation);
  void note_state_change_ended(const Request& request, std::uint32_t target);
  void note_probe(const AoeFrame& frame, const Request& request);

  void judge_reply_header(const AoeFrame& frame, const Request* request, std::uint32_t session);
  void judge_unasked(const AoeFrame& frame, std::uint32_t session, std::uint32_t target);
  void take_announcement(const AoeFrame& frame, std::uint32_t session, TargetState& target);
  void judge_access(const AoeFrame& frame, const Request& request, std::uint32_t session,
                    TargetState& target);
  void judge_reply_ata(const AoeFrame& frame, const Request& request, std::uint32_t session,
                       std::uint32_t target_index);
  void judge_ata_registers(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_ata_refusal(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         TargetState& target);
  void judge_crc(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_reply_config(const AoeFrame& frame, const Request& request, std::uint32_t session,
                          TargetState& target);
  void judge_config_string(const AoeFrame& frame, const Request& request, std::uint32_t session,
                           TargetState& target);
  void judge_reply_mask(const AoeFrame& frame, const Request& request, std::uint32_t session,
                        TargetState& target);
  void judge_reply_reserve(const AoeFrame& frame, const Request& request, std::uint32_t session,
                           TargetState& target);
  void judge_reply_extensions(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_congestion(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_reply_padding(const AoeFrame& frame, const Request& request, std::uint32_t session);
  void judge_identify(const AoeFrame& frame, std::uint32_t session, TargetState& target);

  void write_seen(const AoeFrame& frame, const Request& request, Relation relation,
                  const Request* earlier);
  void write_answered(const AoeFrame& frame, const Request& request, std::uint32_t target);
  void read_answered(const AoeFrame& frame, const Request& request, std::uint32_t session,
                     std::uint32_t target);
  void check_sector(const AoeFrame& frame, const Request& request, std::uint32_t session,
                    std::uint32_t target, std::uint64_t lba, std::uint64_t value);
  [[nodiscard]] std::uint32_t target_of(const Request& request) const;
  // What becomes of a new write's data, by its tag: under a tag promise one whose tag is remembered
  // is answered and not performed.
  [[nodiscard]] Candidate::Kind kind_of_new(const Request& request) const;
  // The mask list, as far as it is certain, meets this request with silence: nothing of it is done.
  [[nodiscard]] bool locked_out(const Request& request, std::uint32_t target);
  // Would the window let this copy of a write through? Only what is certain counts.
  [[nodiscard]] bool window_stops(const Request& request) const;

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
  std::array<Response, kResponsesKept> responses_{};
  std::size_t next_response_ = 0;
  std::string last_probe_id_;
  std::uint32_t pauses_waiting_ = 0;
  Nanoseconds pause_ended_ns_ = 0;
  std::uint64_t last_stale_told_ = 0;  // the stale copy last spoken of: once per copy
};

}  // namespace conformance::observer
