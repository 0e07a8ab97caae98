// The follower of state: which reply belongs to which request, which request is a copy of an
// earlier one, who speaks to whom and what they have negotiated. Memory is bounded and nothing is
// allocated per frame. It knows what it does not know: a feature is on, off, or unknown, because
// its negotiation was not seen, is under way, or may have been undone. It must never know what is
// right or wrong: that is the judge's business.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "conformance/observer/extension_table.h"
#include "conformance/observer/frame.h"
#include "conformance/observer/hash.h"
#include "conformance/observer/words.h"

namespace conformance::observer {

inline constexpr std::uint32_t kNone = 0xFFFF'FFFF;
inline constexpr std::uint32_t kRequestsKept = 1
                                               << 16;  // answered ones too: late copies are matched
inline constexpr std::uint32_t kSessionsMax = 1024;
inline constexpr std::uint32_t kTargetsMax = 1024;
inline constexpr std::uint32_t kTargetMacsMax = 4;
inline constexpr std::uint32_t kSectorsPerFrameMax = 256;
// A request without an answer for so long no longer counts as outstanding.
inline constexpr Nanoseconds kGiveUpNs = 30'000'000'000;

// How often one tag of one session is kept in the index: a tag that is used again and again must
// not make finding it slow.
inline constexpr std::uint32_t kSameTagKept = 16;

enum class Outcome : std::uint8_t {
  none,     // no answer seen
  good,     // performed
  refused,  // an AoE error, ABRT, or a range past the end: nothing may have been done
  failed,   // a device fault: done, not done, or done in part
};

enum class Relation : std::uint8_t {
  fresh,          // not seen before
  copy_waiting,   // the same tag and content as one that still waits for its reply
  copy_answered,  // the same, but that one has been answered
  renewed,        // another tag, but what an unanswered request asked (Linux retransmits so)
};

struct Request {
  std::uint64_t initiator = 0;
  std::uint64_t lba = 0;
  std::uint64_t fingerprint = 0;  // of the argument and the data, padding left out
  std::uint64_t first_frame = 0;
  std::uint64_t last_frame = 0;
  Nanoseconds first_time_ns = 0;
  Nanoseconds last_time_ns = 0;
  Nanoseconds answer_time_ns = 0;
  std::uint64_t answer_frame = 0;
  // From where on it may have been under way: the first frame of the question that it repeats under
  // the same tag, else its own first frame.
  std::uint64_t since_frame = 0;
  std::uint32_t tag = 0;
  std::uint32_t sectors = 0;
  std::uint32_t copies = 0;   // frames that carried it
  std::uint32_t answers = 0;  // frames that answered it
  std::uint32_t session = kNone;
  std::uint32_t older = kNone;                         // chain of the index
  std::uint32_t wait_prev = kNone, wait_next = kNone;  // the session's list of waiting requests
  std::uint32_t argument_bytes = 0;                    // where the fields end and padding begins
  VlanId vlan = kNoVlan;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint8_t command = 0;
  std::uint8_t ata_command = 0;
  std::uint8_t version_flags = 0;
  std::uint8_t sub_command = 0;  // CCmd, MCmd, RCmd; of a table: 1 if it is well-formed
  bool to_all = false;           // shelf or slot is the broadcast value
  bool waiting = false;
  bool superseded = false;      // renewed under another tag
  bool coalesced = false;       // came in the tail of another read
  bool reused_waiting = false;  // its tag belonged to another request that still waited
  bool maybe = false;           // of a tail that counts only if coalesced_read was negotiated
  bool repeats = false;         // the same tag and question as one that was answered
  bool ambiguous = false;       // another request under its tag waits, or waited, as well
  bool indexed = false;
  bool live = false;
  Outcome outcome = Outcome::none;
  std::uint32_t frame_bytes = 0;
  // Bytes 24 to 59: what a target may rightly send back as padding. Zero where there were none.
  std::array<std::uint8_t, kMinimumFrameBytes - kAoeHeaderEnd> head{};
  std::uint32_t list_before = kNone;  // of a further read: the one before it in its list
  std::uint32_t note = kNone;         // free for an observer
};

struct Target {
  VlanId vlan = kNoVlan;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint32_t mac_count = 0;
  std::array<std::uint64_t, kTargetMacsMax> macs{};
};

// What one initiator has with one target; the broadcast addresses have a session of their own.
struct Session {
  std::uint64_t initiator = 0;
  VlanId vlan = kNoVlan;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint32_t target = kNone;     // none for a broadcast address
  std::uint8_t features = 0;        // negotiated, by the replies
  std::uint8_t features_known = 0;  // which bits of `features` are certain
  std::uint32_t negotiating = 0;    // tables without an answer yet
  // The tag window holds only what came after this frame; its newest tag of a write, as a number.
  std::uint64_t window_since = 0;
  std::uint32_t newest_tag = 0;
  bool newest_known = false;

  [[nodiscard]] bool on(std::uint8_t bit) const { return (features & features_known & bit) != 0; }
  [[nodiscard]] bool off(std::uint8_t bit) const {
    return (features & bit) == 0 && (features_known & bit) == bit;
  }
  [[nodiscard]] bool unknown(std::uint8_t bit) const { return (features_known & bit) != bit; }
  // The number that a tag stands for by the promise that was made.
  [[nodiscard]] std::uint32_t number_of(std::uint32_t tag) const;
  std::uint32_t wait_first = kNone, wait_last = kNone;
  std::uint32_t waiting = 0;
};

class TrackerObserver {
 public:
  TrackerObserver() = default;
  virtual ~TrackerObserver() = default;
  TrackerObserver(const TrackerObserver&) = delete;
  TrackerObserver& operator=(const TrackerObserver&) = delete;

  // Called after the tracker has taken the frame in. `earlier` is the request it renews, if any.
  virtual void on_request(const AoeFrame&, Request&, Relation, Request* /*earlier*/) {}
  // A reply; request is null when none was seen. The session is null if it is one too many, or if
  // an initiator sent it that answers nothing.
  virtual void on_reply(const AoeFrame&, Request*, Session*) {}
  // A request that will not be answered any more.
  virtual void on_given_up(const Request&) {}
  virtual void on_runt(const AoeFrame&) {}
  virtual void on_end() {}
};

struct TrackerCounters {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  std::uint64_t aoe_frames = 0;
  std::uint64_t other_frames = 0;
  std::uint64_t runts = 0;
  std::uint64_t cut_frames = 0;
  std::uint64_t vlan_frames = 0;
  std::uint64_t untracked = 0;  // beyond the table of sessions
  std::uint64_t unasked = 0;    // replies without a request: a sign that the tap missed some
  std::uint64_t unknown = 0;    // of those, under a tag that was not seen in any request
  std::uint64_t checked = 0;    // frames that ended in a frame check, which was taken off
  Nanoseconds first_time_ns = 0;
  Nanoseconds last_time_ns = 0;
};

class Tracker {
 public:
  // Fewer requests kept are for tests: what a full table does shows sooner.
  explicit Tracker(std::uint32_t requests_kept = kRequestsKept);

  // The tap saw every frame that the targets got and sent, from their start on.
  void claim_complete() { complete_ = true; }
  [[nodiscard]] bool complete() const { return complete_; }
  // Requests have been forgotten for want of room: a tag that nobody knows may be one of theirs.
  [[nodiscard]] bool forgot_requests() const { return forgot_; }

  void add_observer(TrackerObserver* observer) { observers_.push_back(observer); }
  void on_frame(const CapturedFrame& captured);
  void finish();

  [[nodiscard]] const TrackerCounters& counters() const { return counters_; }
  [[nodiscard]] const std::vector<Session>& sessions() const { return sessions_; }
  [[nodiscard]] std::vector<Session>& sessions() { return sessions_; }
  [[nodiscard]] const std::vector<Target>& targets() const { return targets_; }
  [[nodiscard]] const Request& request(std::uint32_t index) const { return requests_[index]; }
  // One hash per whole sector of data in the frame at hand (write request, read reply).
  [[nodiscard]] std::span<const std::uint64_t> sector_hashes() const {
    return {sector_hashes_.data(), sector_count_};
  }
  // The request that has a reply's tag, whatever its command; null if there is none.
  [[nodiscard]] const Request* request_with_tag_of(const AoeFrame& reply);
  [[nodiscard]] std::uint32_t find_session(std::uint64_t initiator, VlanId vlan,
                                           std::uint16_t shelf, std::uint8_t slot) const;
  // A request of this initiator to any address of its VLAN that has the tag and waits; null if
  // none.
  [[nodiscard]] const Request* waiting_elsewhere(const AoeFrame& reply);
  // The target's index; kNone if nothing was heard of it.
  [[nodiscard]] std::uint32_t find_target(VlanId vlan, std::uint16_t shelf,
                                          std::uint8_t slot) const;

 private:
  static constexpr int kAnyCommand = -1;

  void take_request(const AoeFrame& frame);
  void take_reply(AoeFrame& frame);
  void take_coalesced(const AoeFrame& frame, const Request& head, std::uint32_t before, bool maybe);
  void take_write_list(const AoeFrame& frame);
  void measure_write_list(AoeFrame& frame, const Request* request, const Session* session);
  void unsettle_features(const AoeFrame& frame, const Request& request, Session& session);
  void unsettle_all_features(const AoeFrame& frame, const Request& request);
  void follow_window(const AoeFrame& frame, const Request& request);
  void announced(const AoeFrame& frame);
  std::uint32_t admit(const AoeFrame& frame, Request& candidate);
  void hash_sectors(const AoeFrame& frame, std::uint32_t sectors);
  void describe(const AoeFrame& frame, Request& out);
  void apply_negotiation(const AoeFrame& frame, const Request& request, Session& session);

  std::uint32_t session_for(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                            std::uint8_t slot);
  void note_target_mac(Session& session, std::uint64_t mac);
  std::uint32_t target_for(VlanId vlan, std::uint16_t shelf, std::uint8_t slot);

  Request* find_request(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                        std::uint8_t slot, std::uint32_t tag, int command,
                        const AoeFrame* reply = nullptr);
  Request* find_for_reply(const AoeFrame& frame);
  Request* find_in_other_vlan(const AoeFrame& frame);
  Request* find_renewed(const Request& candidate);
  std::uint32_t insert(const Request& candidate);
  void unlink_from_index(std::uint32_t index);
  void stop_waiting(Request& request);
  void give_up_old(Session& session, Nanoseconds now_ns);

  std::vector<TrackerObserver*> observers_;
  std::vector<Request> requests_;     // a ring: the oldest makes room
  std::vector<std::uint32_t> index_;  // chains by address and tag
  std::uint32_t next_slot_ = 0;
  std::vector<Session> sessions_;
  std::vector<Target> targets_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> sessions_by_initiator_;
  std::array<std::uint64_t, kSectorsPerFrameMax> sector_hashes_{};
  std::uint32_t sector_count_ = 0;
  std::vector<std::uint32_t> session_index_;  // open addressing by address
  std::array<std::uint8_t, kMinimumFrameBytes> list_frame_{};
  FrameCheck frame_check_;
  bool complete_ = false;
  bool forgot_ = false;
  TrackerCounters counters_;
};

}  // namespace conformance::observer
