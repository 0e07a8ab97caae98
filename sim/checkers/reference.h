// A slow and obvious target in lock-step with the real one: it is told every frame that goes in,
// every disk operation, save and frame that comes out, and says when the engine did what no clause
// allows. It predicts each reply byte for byte, whoever asked and however damaged the request is.
// It keeps lists and sets where the engine keeps bitmaps; it shares no code with it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
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

  // The target's own clock: what follows happens at this instant.
  void set_time(Nanoseconds target_clock) { now_ = target_clock; }

  void frame_in(Bytes frame, std::uint64_t batch);
  // The frame that comes next was corrupted on its way. A flipped tag may take the window anywhere:
  // what it protected before it does not protect any more, and no target can help it.
  void corrupted(const MacAddress& source) { ++session(source).corrupted; }
  // The engine has taken the frame of the last frame_in; dropped: as a duplicate in the ring.
  void frame_taken(bool dropped);
  // True: a frame of write results, which may grow until it leaves (results_out).
  bool frame_out(Bytes frame);
  // Results from number `from` on are new. Returns how many the frame holds.
  std::size_t results_out(Bytes frame, std::size_t from);
  // Under which session of its initiator the request was taken, and whether a window guards it.
  struct Admission {
    std::uint64_t epoch = 0;
    bool windowed = false;
  };
  Admission disk_started(const target::engine::DiskOp& op);
  void disk_done(std::uint32_t id, target::engine::DiskStatus status);
  void save_started(const target::engine::PersistentState& state);
  void save_done(target::engine::DiskStatus status);
  // The target begins a life with what it found stored.
  void start(const target::engine::PersistentState& stored);
  // The target has lost its memory.
  void crash();
  // Somebody has removed what it had stored.
  void cleared();
  // Nothing is on its way any more: what was owed must have been given.
  void finish();

 private:
  enum class Mode : std::uint8_t { none, be, le, random };
  enum class State : std::uint8_t {
    ready,    // may be answered now
    waiting,  // a disk operation has to be started for it
    started,  // ... has been started
    done,     // ... has ended well
    failed,   // ... has failed on the disk
    follows,  // a duplicate of a write that is in flight: waits for that one
    saving,   // a change of state that has to be stored first
  };
  enum class Kind : std::uint8_t { read, write, flush, other };
  using Text = std::vector<std::uint8_t>;  // bytes of a reply from offset 24 on
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
    std::uint8_t error = 0;          // AoE error code
    std::uint8_t sub = 0;            // CCmd, MCmd, RCmd
    std::uint8_t merror = 0;         // of a mask edit
    std::uint8_t bad_directive = 0;  // ... at which it stopped
    bool identify = false;
    Text argument;  // of an ATA request: its registers; else what the reply holds
    bool ata = false;
    bool windowed = false;    // to be remembered when it is done
    bool fell_out = false;    // of the window, which moved on: a write under its tag is a new one
    bool crc = false;         // of the reply to a read
    bool joins = false;       // coalesced_write_reply was active
    std::uint64_t chain = 0;  // of a coalesced read: replies leave in order
    Nanoseconds not_before = INT64_MIN;  // the end of a pause
    std::uint64_t arrival = 0;
  };
  struct Session {
    bool exists = false;
    bool wrote = false;       // a write was performed under its features: it keeps its place
    std::uint64_t heard = 0;  // the least has been silent for longest
    Mode mode = Mode::none;
    bool coalesced = false;
    bool joins = false;
    bool crc = false;
    std::optional<std::uint64_t> congestion_id;
    bool congestion_refused = false;
    bool empty = true;  // the window
    std::uint32_t highest = 0;
    std::set<std::uint32_t> performed;
    std::uint64_t epoch = 0;
    std::uint64_t corrupted = 0;  // frames of this source with a flipped bit
    [[nodiscard]] bool counts() const { return mode == Mode::be || mode == Mode::le; }
    [[nodiscard]] bool features() const { return mode != Mode::none || coalesced || joins || crc; }
  };
  using PersistentState = target::engine::PersistentState;
  void ata_in(const clients::View& view, Owed owed);
  void config_in(const clients::View& view, Owed owed);
  void mask_in(const clients::View& view, Owed owed);
  void reserve_in(const clients::View& view, Owed owed);
  void extensions_in(const clients::View& view, Owed owed);
  void change(Owed owed, const PersistentState& next, bool resets);
  [[nodiscard]] bool frozen(std::uint8_t command) const;
  // Whether the request has to wait for what is being stored, and does (or is dropped).
  bool waits_for_save(const clients::View& view, const Owed& owed, bool wants_change);
  void wait_again(const clients::View& view, const Owed& owed);
  void take_waiting();
  [[nodiscard]] bool gathers() const { return gathering_ && saving_.has_value(); }
  [[nodiscard]] const PersistentState& newest() const {
    return gathers() ? saving_->changes.back().next : state_;
  }
  void answer_change(Owed& owed);

  bool answered_by_window(Session& here, Owed& owed);
  void execute(Session& here, Owed owed, std::size_t payload);
  void enter_window(Session& here, Owed& owed);
  void move_window(Session& here, MacAddress address, std::uint32_t highest);
  void begin_window(Session& here);
  void reset_session(const MacAddress& address);
  [[nodiscard]] bool masked(const MacAddress& address) const;
  [[nodiscard]] std::size_t places_taken() const;

  [[nodiscard]] bool waits_in_chain(const Owed& owed) const;
  Owed* find_owed(const MacAddress& address, std::uint32_t tag, std::uint8_t command, bool failure);
  Owed* swap_interchangeable(const Owed& like, bool failure);
  bool reply_out(const MacAddress& address, std::uint32_t tag, std::uint8_t command, Bytes frame,
                 std::optional<std::size_t> entry);
  void check_reply(const clients::View& view, const Owed& owed, std::optional<std::size_t> entry);
  void check_ata(const clients::View& view, const Owed& owed, std::optional<std::size_t> entry);
  void check_bytes(const clients::View& view, std::size_t from, const Text& wanted,
                   const Owed& owed);
  void check_tail(const clients::View& view, std::size_t from, const Owed& owed);
  void announcement_out(const clients::View& view);
  void give_way();
  void hear(Session& session) { session.heard = ++last_heard_; }
  [[nodiscard]] Text config_argument(std::uint8_t ccmd) const;
  [[nodiscard]] Text identify_data() const;

  Session& session(const MacAddress& address) { return sessions_[address]; }
  void complain(const char* signature, std::string text);
  [[nodiscard]] std::uint32_t sectors_max(bool crc) const;
  [[nodiscard]] std::size_t list_limit(std::size_t from, std::size_t each) const;

  const Settings& settings_;
  MacAddress target_;
  Findings& findings_;
  Nanoseconds now_ = 0;
  std::vector<Owed> owed_;  // in order of arrival
  std::map<MacAddress, Session> sessions_;
  PersistentState state_;
  struct Change {
    PersistentState next;
    Owed owed;
    bool resets = false;
  };
  struct Saving {
    std::vector<Change> changes;  // that are stored together, never none
    bool started = false;
  };
  std::optional<Saving> saving_;
  struct Waiting {
    std::vector<std::byte> frame;
    Owed owed;
  };
  std::vector<Waiting> waiting_;             // changes that came while others were being stored
  bool gathering_ = false;                   // the next ones to be stored are being put together
  std::optional<PersistentState> in_doubt_;  // a crash came while it was being stored
  std::optional<Nanoseconds> pause_until_;
  std::vector<Nanoseconds> pauses_;
  std::uint64_t batch_ = 0;
  struct InBatch {
    MacAddress address;
    std::uint32_t tag;
    std::uint8_t command;
    std::uint64_t epoch;
    bool operator==(const InBatch&) const = default;
  };
  std::vector<InBatch> in_batch_;
  bool drop_due_ = false;
  std::size_t owed_before_frame_ = 0;
  bool alive_ = false;
  bool announced_ = false;
  std::uint64_t last_heard_ = 0;
  std::uint64_t next_chain_ = 0;
  std::uint64_t next_arrival_ = 0;
};

}  // namespace sim::checkers
