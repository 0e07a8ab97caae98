#pragma once
// What a case works with: initiators (source addresses) on one Link, questions and their answers,
// and verifiers whose messages all look alike. All waiting goes through the Link; a case never sees
// a wall clock, a socket or the runner.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>

#include "conformance/cases/verdict.h"
#include "conformance/control/target_control.h"
#include "conformance/links/ledger.h"
#include "conformance/links/tap.h"
#include "conformance/observer/build.h"

namespace conformance {

using observer::Bytes;
using observer::BytesView;
using observer::F;
using observer::Frame;
using observer::Mac;
using observer::Marks;

class Context;

// What the suite learnt about the target before the first case.
struct TargetFacts {
  Mac mac{};
  uint16_t shelf = 0;
  uint8_t slot = 0;
  uint64_t aoe_version = 0;
  uint64_t buffer_count = 0;
  uint64_t firmware = 0;
  uint64_t sector_count = 0;  // as advertised; 0 means 2
  uint64_t sectors = 0;       // of the disk
  Bytes identify;
  std::string model, serial, revision;
  bool extensions = false;  // answers command 0x23 with a table
  observer::Order ext_order = observer::Order::little;
  std::vector<std::string> active_extensions;  // came back in upper case when asked
  uint64_t max_sectors() const { return sector_count == 0 ? 2 : sector_count; }
};

inline constexpr uint64_t kLba28End = 1ULL << 28;  // the first LBA that 28 bits cannot say

// Sectors that the suite may write to; saved before and restored after.
struct Scratch {
  uint64_t lba = 0;
  uint64_t count = 0;
  bool holds(uint64_t first, uint64_t sectors) const {
    return first >= lba && sectors <= count && first - lba <= count - sectors;
  }
};
// Where the user names none: the end of the disk; on one that is larger than 28 bits reach, the end
// of what they reach and a few sectors beyond.
Scratch default_scratch(uint64_t disk_sectors);

struct Settings {
  double time_scale = 1.0;
};

// A question and its answer.
struct Exchange {
  Bytes request;
  std::optional<Bytes>
      reply;  // the first that matches: R set, to the sender, with the request's tag
  std::vector<Bytes> strays;  // what else came of the target's meanwhile: replies with other tags,
                              // and where no reply came, what is none (cases/no_reply.h)
  unsigned sent = 0;          // how often the request went out
  int64_t sent_ns = 0;        // the last time
  int64_t replied_ns = 0;

  bool answered() const { return reply.has_value(); }
  uint64_t field(F id) const;  // of the reply; ~0 when it is not there
  bool is_error() const;       // the E flag of the reply
  uint64_t error() const { return field(F::error); }
  Bytes data() const;  // of the reply, from byte 36, as long as the request asks for
};

// What a document leaves open: each sensible answer with its own verdict.
class Outcomes {
 public:
  using Test = std::function<bool(const Exchange&)>;
  Outcomes& pass(std::string seen, Test test) {
    return add(Verdict::pass, std::move(seen), std::move(test));
  }
  Outcomes& info(std::string seen, Test test) {
    return add(Verdict::info, std::move(seen), std::move(test));
  }
  Outcomes& warn(std::string seen, Test test) {
    return add(Verdict::warn, std::move(seen), std::move(test));
  }
  Outcomes& fail(std::string seen, Test test) {
    return add(Verdict::fail, std::move(seen), std::move(test));
  }

  struct Outcome {
    Verdict verdict;
    std::string seen;
    Test test;
  };
  const std::vector<Outcome>& all() const { return all_; }

 private:
  Outcomes& add(Verdict v, std::string seen, Test test) {
    all_.push_back({v, std::move(seen), std::move(test)});
    return *this;
  }
  std::vector<Outcome> all_;
};

namespace seen {  // tests for Outcomes
inline bool silence(const Exchange& x) {
  return !x.answered() && x.strays.empty();
}
inline bool anything(const Exchange&) {
  return true;
}
inline bool answer(const Exchange& x) {
  return x.answered();
}
bool good_ata(const Exchange& x);  // DRDY, no ERR, no DF, E clear
bool ata_abort(const Exchange& x);
bool ata_idnf(const Exchange& x);
bool no_error(const Exchange& x);  // E clear
Outcomes::Test aoe_error(uint8_t code);
}  // namespace seen

// One source address.
class Initiator {
 public:
  Initiator(Context& context, Mac mac) : context_(context), mac_(mac) {}
  const Mac& mac() const { return mac_; }

  // Sends until it is answered (three times at most, the same bytes), and proves by a barrier that
  // the target lives when it is not. Throws what makes the case inconclusive when the target is
  // gone.
  Exchange ask(Frame frame);
  // The same for what no case is about, and everything rests on: asked more often.
  Exchange ask_firmly(Frame frame);
  // Asked until something comes, and no proof of anything when nothing does.
  void tell(Frame frame);
  // The same, but sent once only: for what must not be repeated.
  Exchange ask_once(Frame frame);
  // Sends and does not wait. Returns the bytes as they went out.
  Bytes send(Frame frame);
  // Fills in what the maker of the frame left open (addresses, shelf, slot, tag, padding), as send
  // does.
  Bytes stamp(Frame frame);
  void send_bytes(const Bytes& bytes);
  // Replies to this address that have arrived and that nobody has taken, waiting until `count` are
  // there or none came for `quiet_ns`.
  std::vector<links::ReceivedFrame> collect(size_t count, int64_t quiet_ns);
  // The reply with this tag, waiting for it at most `wait_ns`.
  std::optional<links::ReceivedFrame> await_tag(uint32_t tag, int64_t wait_ns);
  uint32_t next_tag();

 private:
  friend class Context;
  Exchange exchange(const Bytes& request, unsigned attempts);
  Context& context_;
  Mac mac_;
};

// Thrown by verifiers to end a case; the runner turns them into verdicts.
struct CaseEnd : std::exception {
  Verdict verdict;
  std::string reason;
  CaseEnd(Verdict v, std::string r) : verdict(v), reason(std::move(r)) {}
  const char* what() const noexcept override { return reason.c_str(); }
};
// Thrown out of a wait for a target whose process has ended: nothing will come any more.
struct TargetGone : CaseEnd {
  TargetGone() : CaseEnd(Verdict::inconclusive, "the target's process has ended") {}
};
struct Interrupted : std::exception {};

class Context {
 public:
  Context(links::Link& link, TargetFacts& facts, Scratch scratch, Settings settings);

  // Initiators 0, 1, 2...: the interface's own address first, then others. The same for the whole
  // run.
  Initiator& initiator(size_t n = 0);
  Initiator& a() { return initiator(0); }
  Initiator& b() { return initiator(1); }
  Initiator& c() { return initiator(2); }

  const TargetFacts& target() const { return facts_; }
  const Scratch& scratch() const { return scratch_; }
  void set_scratch(Scratch scratch) { scratch_ = scratch; }
  links::Link& link() { return link_; }
  size_t frame_max() const { return link_.mtu() + 14; }
  // Sectors that fit both a frame of this link and the target's advertised limit.
  uint8_t sectors_max() const;

  // --- Verifiers. Each fails the case (throws) with the same kind of message. ---
  // The clause that the following verifiers speak for; the case's first one until told.
  void clause(std::string id) { clause_ = std::move(id); }
  // What a broken expectation means from here on: fail for a MUST, warn for a SHOULD.
  void level(Level level) { level_ = level; }

  const Bytes& expect_answer(const Exchange& x);
  void expect_field(const Exchange& x, F id, uint64_t value);
  void expect_no_error(const Exchange& x);             // answered, E clear, error code 0
  void expect_error(const Exchange& x, uint8_t code);  // answered, E set, this code
  void expect_good_ata(const Exchange& x);             // no AoE error; DRDY, no ERR, no DF
  void expect_ata_error(const Exchange& x, uint8_t error_bit);
  void expect_data(const Exchange& x, BytesView data);
  void expect_config_string(const Exchange& x, BytesView text);
  void expect_config_string(const Exchange& x, std::string_view text);
  // The frame is not answered: a barrier behind it is, and a short grace goes by.
  void expect_silence(Initiator& from, Frame frame);
  void expect_silence_bytes(Initiator& from, const Bytes& bytes);
  // Nothing stands behind what the reply's fields describe but zeros or the request's own bytes.
  void expect_clean_padding(const Exchange& x, observer::Hints hints = {});
  // None of the bytes that plant() left behind are in the reply.
  void expect_not_planted(const Exchange& x);
  void expect_not_planted(const Bytes& request, const Bytes& reply);
  // Any other expectation.
  void expect(bool holds, const Exchange& x, const std::string& expected, const std::string& got,
              const Marks& marks = {});
  void expect(bool holds, const std::string& expected, const std::string& got);
  // The verdict of the first outcome that fits; none: fails with all of them listed.
  void judge(const Exchange& x, const Outcomes& outcomes, const Marks& marks = {});

  // --- Remarks that do not end the case. ---
  void info(std::string text);
  void warn(std::string text, const Exchange* x = nullptr, const Marks& marks = {});
  // --- Ends. ---
  [[noreturn]] void fail(const std::string& headline, const std::string& expected,
                         const std::string& got, const Exchange* x = nullptr,
                         const Marks& marks = {});
  [[noreturn]] void unsupported(std::string why);
  [[noreturn]] void inconclusive(std::string why);
  // Refused with error 1 (or, where that is sensible, met with silence): the case ends as
  // `unsupported`.
  void unsupported_if_refused(const Exchange& x, bool silence_too = false);

  // --- Nothing of one host may reach another. ---
  // Leaves bytes that nobody else sends in the target's buffers, from another source address: long
  // config reads, error frames, and a written and read sector when writing is allowed. Returns the
  // pattern.
  const Bytes& plant(Initiator& from);

  // --- Time. ---
  int64_t now_ns() { return link_.now_ns(); }
  int64_t rtt_ns() const { return rtt_ns_; }
  // The longest that one of the latest writes has taken, until its answer.
  int64_t write_ns() const { return write_ns_; }
  // How long an answer may be away that waits for a write.
  int64_t disk_wait_ns() const;
  // Long enough for a reply that is on its way; short enough to do a hundred times.
  int64_t grace_ns() const;
  int64_t patience_ns() const;  // the wait for an answer before the first retry
  int64_t scaled(int64_t ns) const;
  void sleep(int64_t ns);  // receives meanwhile
  // A good request from the liveness address is answered. A sign of life, and a barrier: what was
  // sent before it has been looked at. Does not touch anybody's session.
  bool barrier();
  // Who asks the barrier's question, for a case in which the usual one is locked out. Until the
  // case ends.
  void barrier_by(Initiator& who) { barrier_by_ = &who; }
  // The usual one's address: put it on a mask or reserve list, and barriers work on.
  const Mac& prober_mac();

  // --- For the target's own state. ---
  // Restarts the target (Need::target_command), by asking it to end or, for a crash, by killing it.
  // Its announcement, when one came before it answered.
  enum class End { orderly, crash };
  std::optional<Bytes> restart_target(End end = End::orderly,
                                      control::State state = control::State::kept);
  bool can_restart() const { return shared_.control->restarts(); }
  // Its process is known to have ended.
  bool target_ended() const { return !shared_.control->fate().empty(); }
  // The same, with another number of receive buffers. Skips the case where nobody knows how to say
  // that to the target.
  void restart_with_buffers(uint64_t buffers);
  // Waits until the target answers; the announcement that came meanwhile. Throws when it does not
  // come.
  std::optional<Bytes> await_target(int64_t wait_ns);
  // A write that should be refused may carry what stands on the disk already: then it does no harm
  // outside scratch either. Until the case ends. Returns what stands there.
  Bytes may_rewrite(Initiator& by, uint64_t lba);
  // Whether the gate lets this frame pass: for cases that ask more where more is allowed.
  bool may_send(const Frame& frame) const;
  // A smaller scratch range than this skips the case.
  void needs_scratch(uint64_t sectors);
  // So does one whose first `sectors` are not all within what 28-bit commands reach.
  void needs_scratch_28(uint64_t sectors);
  // Run when the case is over, whatever its verdict, last added first.
  void after(std::function<void()> undo) { undo_.push_back(std::move(undo)); }

  // --- For the runner. ---
  struct Shared {
    std::function<bool()> interrupted;
    control::TargetControl* control = &control::nobody();
    bool may_write = false;
    std::set<std::string> allowed;  // by --allow; the gate (links/gate.h) asks for nothing else
    // Sectors outside scratch, and what stands there: a write that leaves it so may go out.
    std::map<uint64_t, Bytes> harmless;
    bool keeps_lba48 = false;       // seen: a 48-bit write does not come down on its low 28 bits
    std::string refuses_writes;     // the export takes no writes at all: why
    bool writing_prepared = false;  // how long a write takes was seen, once for all cases
    std::deque<std::unique_ptr<Initiator>> initiators;
    std::unique_ptr<Initiator> prober;
    uint32_t tag = 0x00a0e001;
    std::set<uint32_t> tags_sent;  // in this case
    // Addresses that went onto a mask or reserve list, to be taken off again unseen.
    std::set<Mac> listed;
    std::function<void(const Mac&)> on_listed;  // before the frame that puts it there is sent
    std::set<std::pair<uint64_t, uint64_t>>
        neighbours;  // shelf and slot of other targets: not judged
    uint64_t frames_sent = 0;
    std::vector<Bytes>
        since_last_reply;  // frames that nothing has come back after: the suspects of a death
    std::map<Mac, bool> negotiated;  // who has sent command 0x23 in this case
  };
  void begin_case(std::string first_clause, Level level);
  void run_undo();
  void reset_sessions();
  std::vector<Finding> take_findings() { return std::move(findings_); }
  // All frames since begin_case, each with what it was there for.
  FrameLog& frames() { return frames_; }
  void undoing(bool on) { undoing_ = on; }
  Shared& shared() { return shared_; }
  links::Tap& tap() { return tap_; }
  links::Ledger& ledger() { return ledger_; }
  links::Guard& guard() { return guard_; }
  void measure_rtt();
  // Asks a few questions together, each with a tag of its own: what the link loses, repeats and
  // reorders, apart from any case.
  void measure_link(unsigned rounds);
  // Receives until what a link may still hold back has come.
  void wait_for_latecomers();
  TargetFacts& facts() { return facts_; }
  // While it is on, an interruption does not end what is done, but what is put back has ten seconds
  // from then on: after that everything throws CaseEnd.
  void set_uninterruptible(bool on) { uninterruptible_ = on; }

 private:
  friend class Initiator;
  // Receives until `until_ns` or until `done` says so.
  void pump(int64_t until_ns, const std::function<bool()>& done);
  void take_in(links::ReceivedFrame frame);
  bool is_ours(const Mac& mac) const;
  // What came of the target's in place of a reply to this request; it is taken away.
  std::vector<Bytes> take_odd(const Bytes& request);
  void transmit(const Bytes& bytes);
  void obey_interruption();
  void note_write(int64_t ns);
  void refuse_harm(BytesView frame) const;
  bool is_harmless(BytesView frame, uint64_t sectors, uint64_t lba) const;
  std::vector<ShownFrame> evidence(const Exchange* x, const Marks& marks) const;
  void log(bool outgoing, int64_t at_ns, BytesView bytes);
  Verdict broken() const;
  std::vector<links::ReceivedFrame> inbox_;
  std::vector<links::ReceivedFrame> odd_;  // of the target's, and no replies
  // What is sent passes the guard first, and what the tap sees is what goes over the link.
  links::Tap tap_;
  links::Ledger ledger_{tap_};
  links::Guard guard_{ledger_};
  links::Link& link_{guard_};
  TargetFacts& facts_;
  Scratch scratch_;
  Settings settings_;
  int64_t rtt_ns_ = 1'000'000;
  std::deque<int64_t> writes_ns_;  // the latest
  int64_t write_ns_ = 0;           // the longest of them
  std::string clause_;
  Level level_ = Level::must;
  std::vector<Finding> findings_;
  FrameLog frames_;
  bool undoing_ = false;
  std::vector<std::function<void()>> undo_;
  Initiator* barrier_by_ = nullptr;
  Bytes planted_;
  uint32_t plant_serial_ = 0;
  bool uninterruptible_ = false;
  std::optional<int64_t> interrupted_ns_;  // when an interruption was first seen while it is on
  Shared shared_;
};

}  // namespace conformance
