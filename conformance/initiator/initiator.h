#pragma once
// An AoE initiator with the AoEde extensions, pure: time and frames come in as arguments, frames
// and completions go out. It owns what an initiator must remember (requests outstanding, what was
// negotiated, round trips); it must never know a clock, a socket or a thread, and shares no code
// with target/. The promise, and where it ends, is docs/aoe-initiator.md.
//
// How it is driven, always in this order: any number of submit() and on_frame(), then run(), then
// what frames() and completions() hold is taken, then wait until next_deadline_ns() or a frame.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "conformance/initiator/round_trip.h"
#include "conformance/observer/build.h"

namespace conformance::initiator {

using observer::Bytes;
using observer::BytesView;
using observer::Mac;

enum class Tags : uint8_t { none, increment_be, increment_le, random };

struct Features {
  Tags tags = Tags::none;
  bool coalesced_read = false;
  bool coalesced_write_reply = false;
  bool crc8x4 = false;
  bool any() const {
    return tags != Tags::none || coalesced_read || coalesced_write_reply || crc8x4;
  }
  bool operator==(const Features&) const = default;
};
// The names of the extension table, "tag_inc_be,coalesced_read"; "" is none. nullopt: one of them
// is no feature, and `wrong` says which.
std::optional<Features> features_from_string(std::string_view text, std::string& wrong);
std::string to_string(const Features& features);

// One way to the target: an interface of this machine, and the address to ask from. The address
// should be of this initiator's own: a query config from it, by whomever, ends its session.
struct PathConfig {
  Mac own{};
  size_t mtu = 1500;  // bytes after the Ethernet header
};

struct Config {
  uint16_t shelf = 0;
  uint8_t slot = 0;
  std::vector<PathConfig> paths;
  Features wished;
  // Without all that is wished nothing is done: it goes on asking. Otherwise it does without.
  bool features_required = false;
  unsigned outstanding_max = 0;       // requests; 0: what the target's buffer count allows
  unsigned outstanding_limit = 1024;  // whatever the target says
  size_t jobs_max = 1024;
  unsigned coalesced_max = 64;  // reads in one frame, the header's own included
  // Ahead of what a former process with the same address used, by more than a window: its late
  // copies, and late replies to it, must be known for old.
  uint32_t first_tag = 1;
  WaitLimits wait;
  // Since a request was first sent; then its job ends with Result::unknown. 0: it waits for ever.
  int64_t give_up_ns = 0;
  // A session that was not seen alive for so long is asked for before the next write goes out.
  int64_t session_check_ns = 1'000'000'000;
  // Nothing heard for so long, and requests repeated: another path is tried, if there is one.
  int64_t failover_ns = 500'000'000;
  // After a change of path: how long a write waits whose sectors a copy left on the old path could
  // still reach. Tag windows belong to a path; nothing else protects there.
  int64_t path_quarantine_ns = 2'000'000'000;
};

enum class Kind : uint8_t { read, write, flush };

struct Job {
  Kind kind = Kind::read;
  uint64_t lba = 0;
  uint32_t sectors = 0;  // at most kJobSectorsMax; 0 for a flush
  Bytes data;            // of a write: all its sectors. Of a read: filled, and made long enough
  uint64_t cookie = 0;   // the caller's, comes back
};
inline constexpr uint32_t kJobSectorsMax = 65536;

enum class Result : uint8_t {
  done,
  refused,    // an AoE error: aoe_error says which
  failed,     // an ATA error: ata_status and ata_error
  unknown,    // no answer in give_up_ns: a write may have been done, or not
  malformed,  // the target's answers cannot be read, again and again
  lost,       // of a flush: the target restarted with writes in its volatile cache
};
std::string_view name_of(Result result);

struct Completion {
  uint64_t cookie = 0;
  Kind kind = Kind::read;
  Result result = Result::done;
  uint8_t aoe_error = 0;
  uint8_t ata_status = 0;
  uint8_t ata_error = 0;
  uint64_t lba = 0;
  uint32_t sectors = 0;
  Bytes data;  // the job's, back
  int64_t submitted_ns = 0;
};
std::string describe(const Completion& completion);

// What the target said of itself, and what was agreed.
struct Device {
  Mac mac{};
  uint16_t buffer_count = 0;
  uint16_t firmware = 0;
  uint8_t sector_count = 0;
  uint64_t sectors = 0;
  bool lba48 = false;
  bool flush = false;  // it says that it takes flush cache commands
  bool volatile_write_cache = false;
  std::string model, serial, revision;
  Bytes config_string;
  Features active;
  unsigned sectors_per_frame = 0;
};

enum class Phase : uint8_t { asking, identifying, negotiating, sizing, checking, ready };
std::string_view name_of(Phase phase);

struct Counters {
  uint64_t sent = 0;
  uint64_t repeated = 0;
  uint64_t answered = 0;
  uint64_t late = 0;       // replies to what nobody waits for any more, and forged ones
  uint64_t stranger = 0;   // frames that are not our target's, or not for us
  uint64_t malformed = 0;  // too short, too little data, a checksum that is wrong
  uint64_t negotiations = 0;
  uint64_t checks = 0;
  uint64_t sessions_lost = 0;
  uint64_t failovers = 0;
  uint64_t size_reductions = 0;
  uint64_t eras = 0;
};

class Initiator {
 public:
  struct Outgoing {
    size_t path = 0;
    BytesView frame;  // until the next call of on_frame() or run()
  };

  explicit Initiator(Config config);

  // False when jobs_max jobs wait already; `job` is then untouched. Jobs that share sectors, one of
  // them a write, are done in the order in which they were submitted: the later one is not sent
  // before the earlier one is answered.
  bool submit(Job& job, int64_t now_ns);
  void on_frame(size_t path, BytesView frame, int64_t now_ns);
  // Sends what may be sent, repeats what is due.
  void run(int64_t now_ns);
  std::optional<int64_t> next_deadline_ns() const;

  std::vector<Outgoing>& frames() { return frames_; }
  std::vector<Completion>& completions() { return completions_; }

  bool ready() const { return phase_ == Phase::ready; }
  Phase phase() const { return phase_; }
  const Device& device() const { return device_; }
  const Counters& counters() const { return counters_; }
  size_t path() const { return path_; }
  size_t jobs() const { return jobs_open_; }
  unsigned outstanding() const { return outstanding_; }
  unsigned window() const { return window_; }
  const RoundTrip& round_trip(Kind kind) const {
    return paths_[path_].trips[static_cast<size_t>(kind)];
  }

 private:
  static constexpr uint32_t kNone = 0xffff'ffff;

  struct OpenJob {
    Job job;
    bool used = false;
    Result result = Result::done;
    uint8_t aoe_error = 0, ata_status = 0, ata_error = 0;
    uint32_t next_sector = 0;    // the first that no request was made for
    uint32_t requests = 0;       // outstanding
    uint64_t writes_before = 0;  // of a flush: writes acknowledged before it was sent
    int64_t submitted_ns = 0;
  };
  // Sectors of a job that are to be asked for again, in smaller pieces.
  struct Piece {
    uint32_t job = 0;
    uint32_t offset = 0;
    uint32_t sectors = 0;
  };
  struct Slot {
    bool used = false;
    bool overdue = false;  // sent again at the next opportunity
    bool tail = false;     // travelled last as a further read of another request's frame
    uint32_t job = 0;
    uint32_t offset = 0;  // sectors into the job
    uint32_t sectors = 0;
    uint32_t tag = 0;
    uint32_t tries = 0;
    uint32_t malformed = 0;
    int64_t first_sent_ns = 0;
    int64_t sent_ns = 0;
    int64_t deadline_ns = 0;
    Bytes frame;
  };
  struct Path {
    Mac own{};
    size_t mtu = 0;
    std::optional<Mac> target;
    std::array<RoundTrip, 3> trips;
    unsigned timeouts = 0;  // since it was last heard
    int64_t heard_ns = 0;
  };
  struct Quarantine {
    uint64_t lba = 0;
    uint32_t sectors = 0;
    int64_t until_ns = 0;
  };

  // The one request that is not a job's.
  struct Control {
    bool open = false;
    bool sent = false;
    uint32_t tag = 0;
    uint32_t second_tag = 0;  // of a check: the further read's
    bool first_answered = false;
    unsigned tries = 0;
    int64_t sent_ns = 0;
    int64_t deadline_ns = 0;
    Bytes frame;
    std::vector<Bytes> copies;  // one for each path that is asked
  };

  uint32_t take_tag();
  uint32_t on_wire(uint32_t serial) const;
  void begin_era();
  void enter(Phase phase, int64_t now_ns);
  void send_control(int64_t now_ns);
  void control_timeout(int64_t now_ns);
  void lose_session(int64_t now_ns);
  void doubt(int64_t now_ns);
  void change_path(int64_t now_ns);
  void become_ready(int64_t now_ns);
  bool can_check() const;

  void on_reply(uint32_t tag, BytesView frame, int64_t now_ns);
  void on_control(BytesView frame, uint32_t tag, int64_t now_ns);
  void on_config(BytesView frame, int64_t now_ns);
  void on_identify(BytesView frame, int64_t now_ns);
  void on_extension(BytesView frame, int64_t now_ns);
  void on_sized(BytesView frame, int64_t now_ns);
  void on_check(BytesView frame, uint32_t tag, int64_t now_ns);
  void on_write_list(BytesView frame, int64_t now_ns);
  void answer(uint32_t slot, BytesView frame, BytesView argument, int64_t now_ns);
  bool take_read(Slot& slot, BytesView frame, int64_t now_ns);
  void malformed(uint32_t slot);
  void repeat_overdue(int64_t now_ns);
  void finish_slot(uint32_t slot);
  void finish_job(uint32_t job);
  void fail(uint32_t slot, Result result);

  void timers(int64_t now_ns);
  void pump(int64_t now_ns);
  bool next_piece(Piece& piece, int64_t now_ns);
  bool may_send(const Piece& piece, int64_t now_ns);
  bool waits_for_another(const Piece& piece) const;
  void build(Slot& slot);
  void send_slot(uint32_t slot, int64_t now_ns);
  void send_reads(const std::vector<uint32_t>& slots, int64_t now_ns);
  void note_sent(Slot& slot, int64_t now_ns);
  void put_tag(Slot& slot, uint32_t serial);
  void forget_tag(const Slot& slot);
  uint32_t slot_of(uint32_t serial) const;
  void split_oversized();
  void begin_sizing(int64_t now_ns);
  void verified(int64_t sent_ns) { verified_ns_ = std::max(verified_ns_, sent_ns); }
  void give_up_unsent(int64_t now_ns);
  uint32_t serial_of(uint32_t tag) const;
  unsigned frame_sectors_max() const;
  void open_window();
  Kind kind_of(const Slot& slot) const { return jobs_[slot.job].job.kind; }

  Config config_;
  std::vector<Path> paths_;
  size_t path_ = 0;
  Phase phase_ = Phase::asking;
  Control control_;
  Device device_;
  Counters counters_;
  std::optional<unsigned> sectors_cap_;  // what the path was seen to carry
  unsigned sizing_ = 0;                  // sectors being tried
  bool table_big_endian_ = false;
  bool ask_everywhere_ = true;
  bool era_due_ = false;
  bool overdue_left_ = false;  // the window did not let all repetitions through
  bool sizing_small_ = false;  // whether anything at all passes: a probe of one sector

  uint32_t next_serial_ = 0;
  int64_t verified_ns_ = 0;  // the session was last seen alive
  bool says_ready_ = false;  // the target's status has DRDY: it came with identify
  bool silence_ = false;     // many repetitions unanswered: the next answer raises a doubt
  bool cache_lost_ = false;  // acknowledged writes were not flushed when the target restarted
  uint64_t writes_done_ = 0;
  uint64_t writes_flushed_ = 0;
  int64_t last_reduction_ns_ = 0;

  std::vector<OpenJob> jobs_;
  std::vector<uint32_t> free_jobs_;
  size_t jobs_open_ = 0;
  std::deque<uint32_t> unsent_;  // jobs with sectors that nobody asked for yet
  std::deque<Piece> pieces_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> by_tag_;  // serial modulo its size -> slot
  unsigned outstanding_ = 0;
  unsigned writes_outstanding_ = 0;
  unsigned window_ = 1;  // requests that may be outstanding now
  unsigned window_max_ = 1;
  unsigned window_credit_ = 0;
  int64_t earliest_ns_ = INT64_MAX;  // no slot's deadline is earlier
  std::vector<Quarantine> quarantine_;
  int64_t held_until_ns_ = INT64_MAX;

  std::vector<uint32_t> batch_;
  std::vector<Outgoing> frames_;
  std::vector<Completion> completions_;
};

}  // namespace conformance::initiator
