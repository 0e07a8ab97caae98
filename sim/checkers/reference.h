// A slow and obvious target in lock-step with the real one: it is told every frame that goes in,
// every disk operation and every frame that comes out, and says when the engine did what no clause
// allows. It keeps lists and sets where the engine keeps bitmaps; it shares no code with it. A
// hostile host's session is not predicted, only its effects are bounded.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/clients/frames.h"
#include "sim/schedule.h"
#include "target/engine/engine.h"

namespace sim::checkers {

using clients::Bytes;
using clients::MacAddress;

class Reference {
 public:
  Reference(const Settings& settings, const MacAddress& target, Findings& findings);

  // predicted: false for a host that sends anything, whose session is not followed.
  void frame_in(Bytes frame, std::uint64_t batch, bool predicted);
  // The engine says that the frame it was just given was a duplicate in the ring.
  void dropped_in_ring();
  void frame_out(Bytes frame);
  // Under which session of its initiator the request was taken, and whether a window guards it.
  struct Admission {
    std::uint64_t epoch = 0;
    bool windowed = false;
  };
  Admission disk_started(const target::engine::DiskOp& op);
  void disk_done(std::uint32_t id, target::engine::DiskStatus status);
  // The target has lost its memory.
  void restart();
  // A corrupted frame reached the target: what it is owed can no longer be said.
  void go_blind() { blind_ = true; }
  // Nothing is on its way any more: what was owed must have been given.
  void finish();

  [[nodiscard]] std::size_t owed() const { return owed_.size(); }

 private:
  enum class Mode : std::uint8_t { none, be, le, random };
  enum class State : std::uint8_t {
    ready,    // may be answered now
    waiting,  // a disk operation has to be started for it
    started,  // ... has been started
    done,     // ... has ended well
    failed,   // ... has failed
    follows,  // a duplicate of a write that is in flight: waits for that one
  };
  enum class Kind : std::uint8_t { read, write, flush, other };
  struct Owed {
    MacAddress address;
    std::uint32_t tag = 0;
    std::uint8_t command = 0;
    State state = State::ready;
    Kind kind = Kind::other;
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    std::uint64_t digest = 0;
    std::uint32_t disk_id = 0;
    std::uint64_t epoch = 0;
    int error = kAnyError;    // AoE error code expected; 0: none
    bool optional = false;    // need not be answered
    bool remembered = false;  // answered from the window
    bool windowed = false;    // to be remembered when it is done
    bool answered = false;    // the reply is out, the disk operation still runs
    bool crc = false;
  };
  static constexpr int kAnyError = -1;
  struct Session {
    Mode mode = Mode::none;
    bool coalesced = false;
    bool crc = false;
    bool empty = true;
    std::uint32_t highest = 0;
    std::set<std::uint32_t> performed;
    std::uint64_t epoch = 0;
  };

  void ata_in(const clients::View& view, Owed owed, bool predicted);
  void write_in(Session& session, Owed owed, bool predicted);
  void coalesced_in(const clients::View& view, const Owed& first);
  void read_or_error(Owed owed);
  void extension_out(const clients::View& view);
  void empty_session(const MacAddress& address);
  Owed* find_owed(const clients::View& view);
  Owed* swap_interchangeable(const clients::View& view, bool failure);
  static bool is_failure(const clients::View& view);
  void check_reply(const clients::View& view, const Owed& owed);
  void check_tail(const clients::View& view, std::size_t from, const Owed& owed);
  Session& session(const MacAddress& address) { return sessions_[address]; }
  void complain(const char* signature, std::string text);
  [[nodiscard]] std::uint32_t sectors_max(bool crc) const;

  const Settings& settings_;
  MacAddress target_;
  Findings& findings_;
  std::vector<Owed> owed_;  // in order of arrival
  std::map<MacAddress, Session> sessions_;
  std::uint64_t batch_ = 0;
  std::vector<std::pair<MacAddress, std::uint32_t>> batch_tags_;
  std::set<MacAddress> wild_;  // hosts that were not predicted once
  bool blind_ = false;
  bool may_drop_ = false;
  std::size_t owed_before_frame_ = 0;
};

}  // namespace sim::checkers
