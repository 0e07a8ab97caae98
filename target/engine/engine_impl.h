// What the engine remembers, and the rooms that it is made of: the pipeline (engine.cc), changes of
// state (state_changes.cc), replies (replies.cc) and room (room.cc). For these four files alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "target/engine/engine.h"
#include "target/engine/lists.h"
#include "target/engine/pause_budget.h"
#include "target/engine/range_gate.h"
#include "target/engine/ring_duplicates.h"
#include "target/engine/session.h"
#include "target/engine/slots.h"
#include "target/wire/aoe.h"
#include "target/wire/format.h"
#include "target/wire/parse.h"

namespace target::engine {

inline constexpr std::uint32_t kNoSlot = 0xFFFF'FFFF;
inline constexpr std::uint32_t kSaveId = 0xFFFF'FFFE;

inline std::size_t frame_bytes_max(std::uint16_t mtu) {
  return wire::kEthernetHeaderBytes + mtu;
}

// Over the ports of a configuration.
std::uint16_t mtu_max(const EngineConfig& config);
std::uint16_t mtu_min(const EngineConfig& config);

// How a request ends: with an AoE error, or with registers and perhaps data.
struct Outcome {
  wire::ErrorCode error = wire::ErrorCode::none;
  wire::AtaRegisters registers;
  std::size_t data_bytes = 0;
};

// Everything about an ATA request that is remembered until it is answered. It lies beside the slot
// of the same number.
struct Operation {
  std::uint16_t port = 0;
  wire::MacAddress initiator;
  std::uint32_t tag = 0;
  wire::AtaRegisters request;
  SessionRef session;  // of the tag window that the write is entered in, and of its open reply
  bool in_window = false;
  bool check_reply = false;     // crc8x4 was active when the request came
  bool coalesce_reply = false;  // coalesced_write_reply was
  // The disk operation.
  bool at_disk = false;  // in the gate: held or in flight
  DiskOpKind kind = DiskOpKind::read;
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
  // Replies of one coalesced request leave in order.
  bool may_answer = true;
  std::uint32_t next_answer = kNoSlot;
  bool ended = false;
  Outcome outcome;
  // Duplicates of a write in flight that wait for its end, in order of arrival.
  std::uint32_t next_duplicate = kNoSlot;
};

// Changes that may wait while others are being saved: one of each host, and never more than a
// quarter of the slots.
inline constexpr std::uint32_t kHeldChangesMax = 16;

// A change of state that waits for its Save, and then for its reply.
struct StateChange {
  std::uint16_t port = 0;
  wire::Header header;
  std::uint32_t slot = kNoSlot;
  std::uint8_t subcommand = 0;
  std::uint8_t merror = 0;
  std::uint8_t bad_directive = 0;
  bool resets_session = false;  // once it has succeeded
  bool by_operator = false;     // who gets no reply
  PersistentState next;
};

// A request to change the state that came while another change was being saved.
struct HeldRequest {
  std::uint16_t port = 0;
  wire::MacAddress source;
  std::uint32_t slot = kNoSlot;  // for its reply
  std::vector<std::byte> bytes;
};

struct Pause {
  Nanoseconds until = 0;
  std::uint16_t port = 0;
  std::uint32_t slot = kNoSlot;
  std::size_t frame_bytes = 0;
};

struct Engine::Impl {
  explicit Impl(EngineConfig configuration);

  // Pipeline (engine.cc). Frames, by command.
  void take_frame(const FrameIn& frame);
  void count_ignored(wire::IgnoreReason reason);
  bool admit_header(const wire::Header& header, std::uint16_t port);
  void serve_request(const FrameIn& frame, const wire::Request& request);
  bool is_duplicate_in_ring(const FrameIn& frame, const wire::Header& header,
                            const Session* session);
  void serve_ata(std::uint16_t port, const wire::Header& header, const wire::AtaRequest& request,
                 Session* session);

  // ATA, down.
  bool passes_check(const Session* session, const wire::AtaRequest& request);
  bool answer_from_window(std::uint16_t port, const wire::Header& header,
                          const wire::AtaRequest& request, Session& session);
  std::uint32_t new_operation(std::uint16_t port, const wire::Header& header,
                              const wire::AtaRegisters& registers, const Session* session);
  void serve_reads(std::uint16_t port, const wire::Header& header, const wire::AtaRequest& request,
                   const Session* session);
  void execute(std::uint32_t slot, std::span<const std::byte> payload);
  void enter_in_window(Operation& operation);
  void start(std::uint32_t slot);
  [[nodiscard]] std::uint32_t original_in_flight(const Session& session, std::uint32_t tag) const;

  // ATA, up.
  void end_disk_operation(std::uint32_t slot, DiskStatus status);
  void count_disk_end(const Operation& operation, DiskStatus status);
  void end(std::uint32_t slot, const Outcome& outcome);

  // State changes (state_changes.cc): lists, and extensions.
  void serve_state_request(const FrameIn& frame, const wire::Request& request);
  // slot: where its reply is to lie, or kNoSlot. False: it changes nothing, while changes are being
  // put together; it may be answered when they are saved.
  bool serve_state(std::uint16_t port, const wire::Request& request, std::uint32_t slot);
  bool serve_config(std::uint16_t port, const wire::Header& header,
                    const wire::ConfigRequest& request, std::uint32_t slot);
  bool serve_mask(std::uint16_t port, const wire::Header& header, const wire::MaskRequest& request,
                  std::uint32_t slot);
  bool serve_reserve(std::uint16_t port, const wire::Header& header,
                     const wire::ReserveRequest& request, std::uint32_t slot);
  void hold(const FrameIn& frame, const wire::Header& header);
  void serve_held();
  void clear_part();
  [[nodiscard]] bool frozen(wire::Command command) const;
  void start_save();
  // Changes are being put together that the next Save will make durable.
  [[nodiscard]] bool gathers() const { return gathering_ && !changes_.empty(); }
  [[nodiscard]] const PersistentState& newest_state() const {
    return gathers() ? changes_.back().next : state_;
  }
  void serve_extensions(const FrameIn& frame, const wire::Header& header,
                        const wire::ExtensionRequest& request);
  void commit(StateChange change, wire::ErrorCode error, std::optional<PersistentState> next);
  void adopt(const StateChange& change);
  void end_save(DiskStatus status);
  void end_pause();
  void reset_session(std::uint16_t port, const wire::MacAddress& initiator);

  // Replies (replies.cc).
  void answer(std::uint32_t slot);
  bool join_open_write_reply(std::uint32_t slot, Session& session);
  void answer_change(const StateChange& change, wire::ErrorCode error);
  [[nodiscard]] wire::ReplyHeader reply_header(std::uint16_t port,
                                               const wire::MacAddress& destination,
                                               std::uint8_t command, std::uint32_t tag,
                                               wire::ErrorCode error) const;
  [[nodiscard]] wire::ConfigReply config_reply(std::uint16_t port, std::uint8_t ccmd) const;
  void send(std::uint32_t slot, std::uint16_t port, std::size_t frame_bytes);
  void answer_error(std::uint16_t port, const wire::Header& header, wire::ErrorCode error);
  void announce();
  void note(NoteKind kind, std::uint16_t port, const wire::MacAddress& initiator,
            std::uint64_t value);

  // Room (room.cc).
  void clear_outbox();
  [[nodiscard]] bool is_stopped() const { return pause_.has_value(); }
  // Before a frame is taken: room for the largest request, beside the slots that are not a
  // request's.
  [[nodiscard]] std::uint32_t slots_needed() const {
    return (some_session_coalesces_reads_ ? request_slots_max_ : 1) + announcement_slots();
  }
  // On top of operations_max, so that the announcement can be made at any time and yet never more
  // than operations_max disk operations are held.
  [[nodiscard]] std::uint32_t announcement_slots() const {
    return static_cast<std::uint32_t>(config_.ports.size());
  }
  void settle();

  EngineConfig config_;
  PersistentState state_;
  ListLimits limits_;
  std::uint32_t request_slots_max_;
  Slots slots_;
  std::vector<Operation> operations_;  // by slot
  RangeGate gate_;
  SessionTable sessions_;
  RingDuplicates ring_;
  PauseBudget pause_budget_;
  std::optional<Pause> pause_;
  std::vector<StateChange> changes_;  // that one Save makes durable, in order
  std::vector<HeldRequest> held_;     // what waits for its end
  bool gathering_ = false;
  std::optional<StatePart> clear_;  // the operator's order, until it is among the changes
  ClearStatus last_clear_ = ClearStatus::none;
  Outbox outbox_;
  std::vector<std::uint32_t> sent_slots_;  // frames in the outbox lie in them
  std::uint64_t outbox_generation_ = 0;    // counts the times that it was cleared
  bool intake_open_ = true;
  bool some_session_coalesces_reads_ = false;
  bool announced_ = false;
  bool intake_was_open_ = true;
  Counters counters_;
};

}  // namespace target::engine
