// The order of the rooms: parse, access, session, tag window, ATA device and range gate down; the
// same way up. This is the only file that knows it, and the only one that owns state across events.
#include "target/engine/engine.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "target/engine/access.h"
#include "target/engine/ata_device.h"
#include "target/engine/lists.h"
#include "target/engine/negotiation.h"
#include "target/engine/pause_budget.h"
#include "target/engine/range_gate.h"
#include "target/engine/ring_duplicates.h"
#include "target/engine/session.h"
#include "target/engine/slots.h"
#include "target/wire/bytes.h"
#include "target/wire/coalesced.h"
#include "target/wire/crc8x4.h"
#include "target/wire/format.h"
#include "target/wire/parse.h"

namespace target::engine {

namespace {

constexpr std::uint32_t kNoSlot = 0xFFFF'FFFF;
constexpr std::uint32_t kSaveId = 0xFFFF'FFFE;
// Notes are for log lines: what one batch has to say is bounded.
constexpr std::size_t kNotesMax = 64;

std::size_t frame_bytes_max(std::uint16_t mtu) {
  return wire::kEthernetHeaderBytes + mtu;
}

std::uint16_t mtu_max(const EngineConfig& config) {
  std::uint16_t mtu = 0;
  for (const PortConfig& port : config.ports) {
    mtu = std::max(mtu, port.mtu);
  }
  return mtu;
}

std::uint16_t mtu_min(const EngineConfig& config) {
  std::uint16_t mtu = std::numeric_limits<std::uint16_t>::max();
  for (const PortConfig& port : config.ports) {
    mtu = std::min(mtu, port.mtu);
  }
  return mtu;
}

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

// A change of state that waits for its Save, and then for its reply.
struct StateChange {
  std::uint16_t port = 0;
  wire::Header header;
  std::uint32_t slot = kNoSlot;
  std::uint8_t subcommand = 0;
  std::uint8_t merror = 0;
  std::uint8_t bad_directive = 0;
  bool resets_session = false;  // once it has succeeded
};

struct Pause {
  Nanoseconds until = 0;
  std::uint16_t port = 0;
  std::uint32_t slot = kNoSlot;
  std::size_t frame_bytes = 0;
};

}  // namespace

std::uint32_t operations_min(const EngineConfig& config) {
  const std::size_t further =
      config.extensions ? wire::coalesced_entries_that_fit(frame_bytes_max(mtu_max(config))) : 0;
  return static_cast<std::uint32_t>(1 + further);
}

struct Engine::Impl {
  explicit Impl(EngineConfig configuration);

  // Frames, by command.
  void take_frame(const FrameIn& frame, Outbox& outbox);
  void count_ignored(wire::IgnoreReason reason);
  bool admit_header(const wire::Header& header, std::uint16_t port);
  void serve_request(const FrameIn& frame, const wire::Request& request, Outbox& outbox);
  bool is_duplicate_in_ring(const FrameIn& frame, const wire::Header& header,
                            const Session* session);
  void serve_ata(std::uint16_t port, const wire::Header& header, const wire::AtaRequest& request,
                 Session* session, Outbox& outbox);
  void serve_config(std::uint16_t port, const wire::Header& header,
                    const wire::ConfigRequest& request, Outbox& outbox);
  void serve_mask(std::uint16_t port, const wire::Header& header, const wire::MaskRequest& request,
                  Outbox& outbox);
  void serve_reserve(std::uint16_t port, const wire::Header& header,
                     const wire::ReserveRequest& request, Outbox& outbox);
  void serve_extensions(const FrameIn& frame, const wire::Header& header,
                        const wire::ExtensionRequest& request, Outbox& outbox);

  // ATA, down.
  bool passes_check(const Session* session, const wire::AtaRequest& request);
  bool answer_from_window(std::uint16_t port, const wire::Header& header,
                          const wire::AtaRequest& request, Session& session, Outbox& outbox);
  std::uint32_t new_operation(std::uint16_t port, const wire::Header& header,
                              const wire::AtaRegisters& registers, const Session* session);
  void serve_reads(std::uint16_t port, const wire::Header& header, const wire::AtaRequest& request,
                   const Session* session, Outbox& outbox);
  void execute(std::uint32_t slot, std::span<const std::byte> payload, Outbox& outbox);
  void enter_in_window(Operation& operation, Outbox& outbox);
  void start(std::uint32_t slot, Outbox& outbox);
  [[nodiscard]] std::uint32_t original_in_flight(const Session& session, std::uint32_t tag) const;

  // ATA, up.
  void end_disk_operation(std::uint32_t slot, DiskStatus status, Outbox& outbox);
  void count_disk_end(const Operation& operation, DiskStatus status, Outbox& outbox);
  void end(std::uint32_t slot, const Outcome& outcome, Outbox& outbox);
  void answer(std::uint32_t slot, Outbox& outbox);
  bool join_open_write_reply(std::uint32_t slot, Session& session, Outbox& outbox);

  // State.
  void commit(StateChange change, std::optional<PersistentState> next, Outbox& outbox);
  void adopt(const StateChange& change, PersistentState next);
  void end_save(DiskStatus status, Outbox& outbox);
  void answer_change(const StateChange& change, wire::ErrorCode error, Outbox& outbox);
  void reset_session(std::uint16_t port, const wire::MacAddress& initiator, Outbox& outbox);

  // Replies.
  [[nodiscard]] wire::ReplyHeader reply_header(std::uint16_t port,
                                               const wire::MacAddress& destination,
                                               std::uint8_t command, std::uint32_t tag,
                                               wire::ErrorCode error) const;
  [[nodiscard]] wire::ConfigReply config_reply(std::uint16_t port, std::uint8_t ccmd) const;
  void send(std::uint32_t slot, std::uint16_t port, std::size_t frame_bytes, Outbox& outbox);
  void answer_error(std::uint16_t port, const wire::Header& header, wire::ErrorCode error,
                    Outbox& outbox);
  void announce(Outbox& outbox);
  void end_pause(Outbox& outbox);
  static void note(Outbox& outbox, NoteKind kind, std::uint16_t port,
                   const wire::MacAddress& initiator, std::uint64_t value);

  // Room.
  void take_back_sent_slots(const Outbox& outbox);
  [[nodiscard]] bool is_stopped() const { return pause_.has_value() || change_.has_value(); }
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
  void settle(Outbox& outbox);

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
  std::optional<StateChange> change_;
  PersistentState next_state_;             // while change_ waits for its Save
  std::vector<std::uint32_t> sent_slots_;  // frames in the outbox lie in them
  std::uint64_t outbox_generation_ = 0;
  bool some_session_coalesces_reads_ = false;
  bool announced_ = false;
  bool intake_was_open_ = true;
  Counters counters_;
};

Engine::Impl::Impl(EngineConfig configuration)
    : config_(std::move(configuration)),
      state_(config_.state),
      limits_(list_limits(mtu_min(config_))),
      request_slots_max_(operations_min(config_)),
      slots_(config_.operations_max + announcement_slots(), frame_bytes_max(mtu_max(config_))),
      operations_(slots_.count()),
      gate_(slots_.count()),
      sessions_(config_.initiators_max) {
  assert(!config_.ports.empty());
  assert(mtu_min(config_) >= kMtuMin);
  assert(state_.config_string.size() <= wire::kConfigStringBytesMax);
  assert(state_.mask_list.size() <= 255 && state_.reserve_list.size() <= 255);
  assert(config_.operations_max >= request_slots_max_);
  sent_slots_.reserve(slots_.count());
}

// ---------------------------------------------------------------------------------------------------
// Frames

void Engine::Impl::take_frame(const FrameIn& frame, Outbox& outbox) {
  assert(frame.port < config_.ports.size());
  ++counters_.frames_in;
  // What lies beyond the MTU is not part of any request that could be answered.
  const std::size_t length =
      std::min(frame.bytes.size(), frame_bytes_max(config_.ports[frame.port].mtu));
  const wire::Parsed parsed = wire::parse(frame.bytes.first(length), config_.extensions);
  if (const auto* ignore = std::get_if<wire::Ignore>(&parsed)) {
    count_ignored(ignore->reason);
  } else if (const auto* error = std::get_if<wire::WireError>(&parsed)) {
    if (admit_header(error->header, frame.port)) {
      answer_error(frame.port, error->header, error->code, outbox);
    }
  } else {
    const auto& request = std::get<wire::Request>(parsed);
    if (admit_header(request.header, frame.port)) {
      serve_request(frame, request, outbox);
    }
  }
}

void Engine::Impl::count_ignored(wire::IgnoreReason reason) {
  switch (reason) {
    case wire::IgnoreReason::too_short:
    case wire::IgnoreReason::malformed_table:
      ++counters_.ignored_short;
      return;
    case wire::IgnoreReason::not_aoe:
    case wire::IgnoreReason::response:
      ++counters_.ignored_not_request;
      return;
  }
}

bool Engine::Impl::admit_header(const wire::Header& header, std::uint16_t port) {
  switch (admit(header, config_.ports[port].mac, config_, state_.mask_list)) {
    case Access::admitted:
      return true;
    case Access::wrong_address:
      ++counters_.ignored_address;
      return false;
    case Access::masked:
      ++counters_.ignored_masked;
      return false;
  }
  return false;
}

void Engine::Impl::serve_request(const FrameIn& frame, const wire::Request& request,
                                 Outbox& outbox) {
  const wire::Header& header = request.header;
  Session* session = sessions_.find(frame.port, header.source);
  const auto* ata = std::get_if<wire::AtaRequest>(&request.body);
  // The check comes before everything: a damaged frame's tag is worth nothing.
  if (ata != nullptr && !passes_check(session, *ata)) {
    ++counters_.crc_failed;
    return;
  }
  if (is_duplicate_in_ring(frame, header, session)) {
    ++counters_.duplicates_in_ring;
    return;
  }
  if (ata != nullptr) {
    serve_ata(frame.port, header, *ata, session, outbox);
  } else if (const auto* config = std::get_if<wire::ConfigRequest>(&request.body)) {
    serve_config(frame.port, header, *config, outbox);
  } else if (const auto* mask = std::get_if<wire::MaskRequest>(&request.body)) {
    serve_mask(frame.port, header, *mask, outbox);
  } else if (const auto* reserve = std::get_if<wire::ReserveRequest>(&request.body)) {
    serve_reserve(frame.port, header, *reserve, outbox);
  } else {
    serve_extensions(frame, header, std::get<wire::ExtensionRequest>(request.body), outbox);
  }
}

bool Engine::Impl::is_duplicate_in_ring(const FrameIn& frame, const wire::Header& header,
                                        const Session* session) {
  if (session == nullptr || session->features.tag_mode == TagMode::none) {
    return false;
  }
  return ring_.seen(frame.batch, session->generation, header.tag, header.command);
}

// ---------------------------------------------------------------------------------------------------
// ATA, down

void Engine::Impl::serve_ata(std::uint16_t port, const wire::Header& header,
                             const wire::AtaRequest& request, Session* session, Outbox& outbox) {
  const std::uint8_t command = request.registers.status_or_command;
  const bool locked_out = reserved_against(header.source, command, state_.reserve_list);
  if (is_ata_write(command) && !locked_out && session != nullptr && session->increments_tags() &&
      answer_from_window(port, header, request, *session, outbox)) {
    return;
  }
  if (is_ata_read(command)) {
    if (session != nullptr && session->increments_tags()) {
      session->window->observe(session->counter(header.tag));
    }
    serve_reads(port, header, request, session, outbox);
    return;
  }
  execute(new_operation(port, header, request.registers, session), request.payload(), outbox);
}

bool Engine::Impl::passes_check(const Session* session, const wire::AtaRequest& request) {
  if (session == nullptr || !session->features.crc8x4 ||
      !is_ata_write(request.registers.status_or_command)) {
    return true;
  }
  const std::size_t data_bytes = request.registers.sector_count * kSectorBytes;
  const std::span<const std::byte> payload = request.payload();
  // A write without the four bytes is taken as it is.
  if (data_bytes == 0 || payload.size() < data_bytes + wire::kCrc8x4Bytes) {
    return true;
  }
  const std::size_t checked_bytes = wire::kAtaArgumentEnd - wire::kAoeHeaderEnd + data_bytes;
  const auto check = wire::crc8x4(request.argument_and_data.first(checked_bytes));
  return std::equal(check.begin(), check.end(), payload.begin() + data_bytes);
}

// True if the write has been dealt with: it is a duplicate, or too old to know.
bool Engine::Impl::answer_from_window(std::uint16_t port, const wire::Header& header,
                                      const wire::AtaRequest& request, Session& session,
                                      Outbox& outbox) {
  switch (session.window->classify(session.counter(header.tag))) {
    case TagState::fresh:
      return false;
    case TagState::answered: {
      ++counters_.duplicates_rejected;
      const std::uint32_t slot = new_operation(port, header, request.registers, &session);
      end(slot, {wire::ErrorCode::none, registers_good(request.registers), 0}, outbox);
      return true;
    }
    case TagState::in_flight: {
      ++counters_.duplicates_in_flight;
      const std::uint32_t slot = new_operation(port, header, request.registers, &session);
      std::uint32_t last = original_in_flight(session, header.tag);
      while (operations_[last].next_duplicate != kNoSlot) {
        last = operations_[last].next_duplicate;
      }
      operations_[last].next_duplicate = slot;
      return true;
    }
    case TagState::stale:
      ++counters_.behind_window;
      if (config_.behind_window == BehindWindow::perform) {
        return false;
      }
      note(outbox, NoteKind::behind_window_rejected, port, header.source, header.tag);
      return true;
  }
  return false;
}

std::uint32_t Engine::Impl::original_in_flight(const Session& session, std::uint32_t tag) const {
  const SessionRef ref = SessionTable::ref(session);
  for (std::uint32_t slot = 0; slot < operations_.size(); ++slot) {
    const Operation& operation = operations_[slot];
    if (operation.at_disk && operation.in_window && operation.tag == tag &&
        operation.session == ref) {
      return slot;
    }
  }
  assert(false && "a tag is in flight exactly while its write is");
  return kNoSlot;
}

std::uint32_t Engine::Impl::new_operation(std::uint16_t port, const wire::Header& header,
                                          const wire::AtaRegisters& registers,
                                          const Session* session) {
  const std::uint32_t slot = slots_.take();
  Operation& operation = operations_[slot];
  operation = Operation{};
  operation.port = port;
  operation.initiator = header.source;
  operation.tag = header.tag;
  operation.request = registers;
  if (session != nullptr) {
    operation.session = SessionTable::ref(*session);
    operation.check_reply = session->features.crc8x4;
    operation.coalesce_reply = session->features.coalesced_write_reply;
  }
  return slot;
}

void Engine::Impl::serve_reads(std::uint16_t port, const wire::Header& header,
                               const wire::AtaRequest& request, const Session* session,
                               Outbox& outbox) {
  std::uint32_t slot = new_operation(port, header, request.registers, session);
  if (session == nullptr || !session->features.coalesced_read) {
    execute(slot, {}, outbox);
    return;
  }
  // The whole chain first: a read that ends at once must find its successor.
  const wire::CoalescedReadList further(request);
  const std::uint32_t first = slot;
  for (std::size_t i = 0; i < further.size(); ++i) {
    const wire::CoalescedReadEntry entry = further.at(i);
    wire::Header entry_header = header;
    entry_header.tag = entry.tag;
    wire::AtaRegisters registers = request.registers;
    registers.lba = entry.lba;
    registers.sector_count = entry.sector_count;
    const std::uint32_t next = new_operation(port, entry_header, registers, session);
    operations_[next].may_answer = false;
    operations_[slot].next_answer = next;
    slot = next;
  }
  counters_.coalesced_reads += further.size();
  for (slot = first; slot != kNoSlot;) {
    const std::uint32_t next = operations_[slot].next_answer;
    execute(slot, {}, outbox);
    slot = next;
  }
}

void Engine::Impl::execute(std::uint32_t slot, std::span<const std::byte> payload, Outbox& outbox) {
  Operation& operation = operations_[slot];
  const wire::AtaRegisters& request = operation.request;
  if (reserved_against(operation.initiator, request.status_or_command, state_.reserve_list)) {
    end(slot, {wire::ErrorCode::target_reserved, registers_refused(request), 0}, outbox);
    return;
  }
  const bool check_follows = operation.check_reply && is_ata_read(request.status_or_command);
  const std::uint32_t limit = sectors_max(config_.ports[operation.port].mtu, check_follows);
  const AtaPlan plan = plan_ata(config_, request, limit, payload.size());
  switch (plan.action) {
    case AtaAction::bad_argument:
      end(slot, {wire::ErrorCode::bad_argument, registers_refused(request), 0}, outbox);
      return;
    case AtaAction::answer:
      end(slot, {wire::ErrorCode::none, plan.registers, 0}, outbox);
      return;
    case AtaAction::identify:
      write_identify(config_, slots_.data(slot).first(kIdentifyBytes));
      end(slot, {wire::ErrorCode::none, plan.registers, kIdentifyBytes}, outbox);
      return;
    case AtaAction::disk:
      break;
  }
  operation.kind = plan.op_kind;
  operation.lba = plan.lba;
  operation.sectors = plan.sectors;
  operation.at_disk = true;
  if (plan.op_kind == DiskOpKind::write) {
    enter_in_window(operation, outbox);
    std::memcpy(slots_.data(slot).data(), payload.data(), plan.sectors * kSectorBytes);
  }
  if (gate_.enter(slot, plan.op_kind, plan.lba, plan.sectors)) {
    start(slot, outbox);
  } else {
    ++counters_.gate_held;
  }
}

// Only now, when nothing refuses the write any more: a refused one must not be remembered.
void Engine::Impl::enter_in_window(Operation& operation, Outbox& outbox) {
  Session* session = sessions_.find(operation.session);
  if (session == nullptr || !session->increments_tags()) {
    return;
  }
  const std::uint32_t counter = session->counter(operation.tag);
  if (session->window->classify(counter) == TagState::stale) {
    // AoEde's way: perform, and begin again here. What was in flight no longer belongs to the
    // window.
    sessions_.restart_window(*session);
    operation.session = SessionTable::ref(*session);
    note(outbox, NoteKind::behind_window_performed, operation.port, operation.initiator,
         operation.tag);
  }
  session->window->begin(counter);
  operation.in_window = true;
}

void Engine::Impl::start(std::uint32_t slot, Outbox& outbox) {
  const Operation& operation = operations_[slot];
  outbox.disk_ops.push_back({slot, operation.kind, operation.lba, operation.sectors,
                             slots_.data(slot).first(operation.sectors * kSectorBytes),
                             operation.initiator});
}

// ---------------------------------------------------------------------------------------------------
// ATA, up

void Engine::Impl::end_disk_operation(std::uint32_t slot, DiskStatus status, Outbox& outbox) {
  Operation& operation = operations_[slot];
  assert(operation.at_disk);
  operation.at_disk = false;
  count_disk_end(operation, status, outbox);
  for (const std::uint32_t released : gate_.leave(slot)) {
    start(released, outbox);
  }
  if (operation.in_window) {
    if (Session* session = sessions_.find(operation.session)) {
      session->window->finish(session->counter(operation.tag), status == DiskStatus::ok);
    }
  }
  const bool has_data = operation.kind == DiskOpKind::read && status == DiskStatus::ok;
  const DiskOpKind kind = operation.kind;
  std::uint32_t duplicate = operation.next_duplicate;
  end(slot,
      {wire::ErrorCode::none, registers_after(operation.request, kind, status),
       has_data ? operation.sectors * kSectorBytes : 0},
      outbox);
  while (duplicate != kNoSlot) {
    const std::uint32_t next = operations_[duplicate].next_duplicate;
    end(duplicate,
        {wire::ErrorCode::none, registers_after(operations_[duplicate].request, kind, status), 0},
        outbox);
    duplicate = next;
  }
}

void Engine::Impl::count_disk_end(const Operation& operation, DiskStatus status, Outbox& outbox) {
  if (status != DiskStatus::ok) {
    ++counters_.disk_errors;
    note(outbox, NoteKind::disk_error, operation.port, operation.initiator, operation.lba);
    return;
  }
  switch (operation.kind) {
    case DiskOpKind::read:
      ++counters_.reads;
      counters_.sectors_read += operation.sectors;
      return;
    case DiskOpKind::write:
      ++counters_.writes;
      counters_.sectors_written += operation.sectors;
      return;
    case DiskOpKind::flush:
      ++counters_.flushes;
      return;
  }
}

// Answers now, or when everything before it in its coalesced request has been answered.
void Engine::Impl::end(std::uint32_t slot, const Outcome& outcome, Outbox& outbox) {
  operations_[slot].outcome = outcome;
  operations_[slot].ended = true;
  while (slot != kNoSlot && operations_[slot].may_answer && operations_[slot].ended) {
    const std::uint32_t next = operations_[slot].next_answer;
    answer(slot, outbox);
    if (next != kNoSlot) {
      operations_[next].may_answer = true;
    }
    slot = next;
  }
}

void Engine::Impl::answer(std::uint32_t slot, Outbox& outbox) {
  Operation& operation = operations_[slot];
  Outcome& outcome = operation.outcome;
  const std::span<std::byte> frame = slots_.frame(slot);
  if (outcome.error == wire::ErrorCode::none &&
      (outcome.registers.status_or_command & wire::ata::kStatusError) != 0) {
    ++counters_.ata_errors_answered;
  }
  const bool is_write = is_ata_write(operation.request.status_or_command);
  if (operation.coalesce_reply) {
    // So that a list of results and the data of a read can be told apart (docs/extensions.md).
    outcome.registers.aflags =
        static_cast<std::uint8_t>(is_write ? outcome.registers.aflags | wire::aflag::kWrite
                                           : outcome.registers.aflags & ~wire::aflag::kWrite);
  }
  Session* session = nullptr;
  if (operation.coalesce_reply && is_write && outcome.error == wire::ErrorCode::none) {
    session = sessions_.find(operation.session);
  }
  if (session != nullptr && join_open_write_reply(slot, *session, outbox)) {
    return;
  }
  const wire::ReplyHeader header =
      reply_header(operation.port, operation.initiator,
                   static_cast<std::uint8_t>(wire::Command::ata), operation.tag, outcome.error);
  std::size_t frame_bytes = wire::format_ata(frame, header, outcome.registers, outcome.data_bytes);
  if (operation.check_reply && outcome.data_bytes != 0 &&
      is_ata_read(operation.request.status_or_command)) {
    const auto check =
        wire::crc8x4(frame.subspan(wire::kAoeHeaderEnd, frame_bytes - wire::kAoeHeaderEnd));
    std::memcpy(frame.data() + frame_bytes, check.data(), check.size());
    frame_bytes += check.size();
  }
  if (session != nullptr) {
    session->open_write_reply = {true, outbox.generation, outbox.frames.size(), slot, 0};
  }
  send(slot, operation.port, frame_bytes, outbox);
}

// Adds the result to the write reply that the same initiator already has in this outbox.
bool Engine::Impl::join_open_write_reply(std::uint32_t slot, Session& session, Outbox& outbox) {
  OpenWriteReply& open = session.open_write_reply;
  const std::size_t limit =
      wire::coalesced_entries_that_fit(frame_bytes_max(config_.ports[session.port].mtu));
  if (!open.valid || open.outbox_generation != outbox.generation || open.further >= limit) {
    return false;
  }
  const Operation& operation = operations_[slot];
  const std::span<std::byte> frame = slots_.frame(open.slot);
  const std::size_t frame_bytes = wire::store_write_reply_entry(frame, open.further, operation.tag,
                                                                operation.outcome.registers);
  outbox.frames[open.frame_index].bytes = frame.first(frame_bytes);
  ++open.further;
  ++counters_.coalesced_write_replies;
  slots_.give_back(slot);
  return true;
}

// ---------------------------------------------------------------------------------------------------
// State: config string, mask list, reserve list

void Engine::Impl::serve_config(std::uint16_t port, const wire::Header& header,
                                const wire::ConfigRequest& request, Outbox& outbox) {
  ++counters_.config_queries;
  ConfigOutcome outcome = apply_config(state_, request);
  if (config_.reset_on == ResetOn::any_config && outcome.well_formed) {
    reset_session(port, header.source, outbox);
  }
  if (!outcome.answer) {
    return;
  }
  StateChange change;
  change.port = port;
  change.header = header;
  change.subcommand = request.ccmd;
  change.resets_session = outcome.is_write && config_.reset_on == ResetOn::config_write;
  if (outcome.error != wire::ErrorCode::none) {
    change.slot = slots_.take();
    answer_change(change, outcome.error, outbox);
    return;
  }
  commit(change, std::move(outcome.next), outbox);
}

void Engine::Impl::serve_mask(std::uint16_t port, const wire::Header& header,
                              const wire::MaskRequest& request, Outbox& outbox) {
  MaskOutcome outcome = apply_mask(state_, request, limits_.mask);
  StateChange change;
  change.port = port;
  change.header = header;
  change.subcommand = request.mcmd;
  change.merror = outcome.merror;
  change.bad_directive = outcome.bad_directive;
  if (outcome.error != wire::ErrorCode::none) {
    change.slot = slots_.take();
    answer_change(change, outcome.error, outbox);
    return;
  }
  commit(change, std::move(outcome.next), outbox);
}

void Engine::Impl::serve_reserve(std::uint16_t port, const wire::Header& header,
                                 const wire::ReserveRequest& request, Outbox& outbox) {
  ReserveOutcome outcome = apply_reserve(state_, request, header.source, limits_.reserve);
  StateChange change;
  change.port = port;
  change.header = header;
  change.subcommand = request.rcmd;
  if (outcome.error != wire::ErrorCode::none) {
    change.slot = slots_.take();
    answer_change(change, outcome.error, outbox);
    return;
  }
  commit(change, std::move(outcome.next), outbox);
}

// next: nothing if the state stays as it is. The reply waits until the state is stored.
void Engine::Impl::commit(StateChange change, std::optional<PersistentState> next, Outbox& outbox) {
  change.slot = slots_.take();
  if (next && config_.persist) {
    next_state_ = std::move(*next);
    change_ = change;
    outbox.saves.push_back({kSaveId, &next_state_});
    return;
  }
  if (next) {
    adopt(change, std::move(*next));
  }
  answer_change(change, wire::ErrorCode::none, outbox);
}

void Engine::Impl::adopt(const StateChange& change, PersistentState next) {
  state_ = std::move(next);
  switch (static_cast<wire::Command>(change.header.command)) {
    case wire::Command::query_config:
      ++counters_.config_changes;
      return;
    case wire::Command::mac_mask:
      ++counters_.mask_edits;
      return;
    default:
      ++counters_.reserve_changes;
      return;
  }
}

void Engine::Impl::end_save(DiskStatus status, Outbox& outbox) {
  assert(change_.has_value());
  const StateChange change = *change_;
  change_.reset();
  if (status == DiskStatus::ok) {
    adopt(change, std::move(next_state_));
    answer_change(change, wire::ErrorCode::none, outbox);
    return;
  }
  note(outbox, NoteKind::save_failed, change.port, change.header.source, 0);
  answer_change(change, wire::ErrorCode::device_unavailable, outbox);
}

void Engine::Impl::answer_change(const StateChange& change, wire::ErrorCode error, Outbox& outbox) {
  if (change.resets_session && error == wire::ErrorCode::none) {
    reset_session(change.port, change.header.source, outbox);
  }
  const bool failed = error != wire::ErrorCode::none;
  const wire::ReplyHeader header = reply_header(change.port, change.header.source,
                                                change.header.command, change.header.tag, error);
  const std::span<std::byte> frame = slots_.frame(change.slot);
  // A list that was loaded may be longer than what this port can carry.
  const ListLimits limits = list_limits(config_.ports[change.port].mtu);
  std::size_t frame_bytes = 0;
  switch (static_cast<wire::Command>(change.header.command)) {
    case wire::Command::query_config:
      frame_bytes =
          wire::format_config(frame, header, config_reply(change.port, change.subcommand));
      break;
    case wire::Command::mac_mask: {
      const std::span<const wire::MacAddress> list = state_.mask_list;
      wire::MaskReply reply{change.subcommand, 0, 0, list};
      if (!failed && change.merror != wire::merror::kNone) {
        reply.merror = change.merror;
        reply.entries = change.bad_directive;
      } else if (!failed) {
        reply.entries = static_cast<std::uint8_t>(std::min(list.size(), limits.mask));
      }
      frame_bytes = wire::format_mask(frame, header, reply);
      break;
    }
    default: {
      // A refusal because of the reservation says who holds it.
      const bool shows_list = !failed || error == wire::ErrorCode::target_reserved;
      const std::span<const wire::MacAddress> list = state_.reserve_list;
      const std::size_t shown = shows_list ? std::min(list.size(), limits.reserve) : 0;
      frame_bytes = wire::format_reserve(frame, header, {change.subcommand, list.first(shown)});
      break;
    }
  }
  send(change.slot, change.port, frame_bytes, outbox);
}

// ---------------------------------------------------------------------------------------------------
// Extensions

void Engine::Impl::serve_extensions(const FrameIn& frame, const wire::Header& header,
                                    const wire::ExtensionRequest& request, Outbox& outbox) {
  ++counters_.extension_requests;
  const std::uint32_t slot = slots_.take();
  const std::span<std::byte> reply = slots_.frame(slot);
  const std::size_t frame_bytes = wire::format_extensions(
      reply,
      reply_header(frame.port, header.source, header.command, header.tag, wire::ErrorCode::none),
      request);
  const Negotiated result =
      negotiate(reply.subspan(wire::kExtensionArgumentEnd, request.table.size()), sessions_,
                frame.port, header.source, pause_budget_, frame.now);
  some_session_coalesces_reads_ = sessions_.with_coalesced_read() != 0;
  if (result.reset) {
    ++counters_.session_resets;
    note(outbox, NoteKind::session_reset, frame.port, header.source, 0);
  }
  if (result.table_full) {
    ++counters_.sessions_refused;
    note(outbox, NoteKind::sessions_full, frame.port, header.source, 0);
  }
  if (result.pause_refused) {
    ++counters_.pauses_refused;
    note(outbox, NoteKind::pause_refused, frame.port, header.source, result.congestion_id);
  }
  if (result.pause) {
    ++counters_.pauses;
    note(outbox, NoteKind::pause_started, frame.port, header.source, result.congestion_id);
    pause_ = Pause{frame.now + kPauseDuration, frame.port, slot, frame_bytes};
    return;
  }
  send(slot, frame.port, frame_bytes, outbox);
}

void Engine::Impl::end_pause(Outbox& outbox) {
  const Pause pause = *pause_;
  pause_.reset();
  send(pause.slot, pause.port, pause.frame_bytes, outbox);
}

void Engine::Impl::reset_session(std::uint16_t port, const wire::MacAddress& initiator,
                                 Outbox& outbox) {
  Session* session = sessions_.find(port, initiator);
  if (session == nullptr || session->features == Features{}) {
    return;
  }
  sessions_.reset(*session);
  some_session_coalesces_reads_ = sessions_.with_coalesced_read() != 0;
  ++counters_.session_resets;
  note(outbox, NoteKind::session_reset, port, initiator, 0);
}

// ---------------------------------------------------------------------------------------------------
// Replies

wire::ReplyHeader Engine::Impl::reply_header(std::uint16_t port,
                                             const wire::MacAddress& destination,
                                             std::uint8_t command, std::uint32_t tag,
                                             wire::ErrorCode error) const {
  return {destination, config_.ports[port].mac, error, config_.shelf, config_.slot, command, tag};
}

wire::ConfigReply Engine::Impl::config_reply(std::uint16_t port, std::uint8_t ccmd) const {
  const auto sectors =
      static_cast<std::uint8_t>(sectors_max(config_.ports[port].mtu, /*crc8x4=*/false));
  return {config_.buffer_count, config_.firmware_version, sectors, ccmd, state_.config_string};
}

void Engine::Impl::send(std::uint32_t slot, std::uint16_t port, std::size_t frame_bytes,
                        Outbox& outbox) {
  const std::span<const std::byte> frame = slots_.frame(slot).first(frame_bytes);
  ++counters_.frames_out;
  if ((wire::load_u8(frame, wire::kEthernetHeaderBytes) & wire::flag::kError) != 0) {
    ++counters_.errors_answered;
  }
  outbox.frames.push_back({port, frame});
  sent_slots_.push_back(slot);
}

void Engine::Impl::answer_error(std::uint16_t port, const wire::Header& header,
                                wire::ErrorCode error, Outbox& outbox) {
  const std::uint32_t slot = slots_.take();
  const std::size_t frame_bytes = wire::format_error(
      slots_.frame(slot), reply_header(port, header.source, header.command, header.tag, error));
  send(slot, port, frame_bytes, outbox);
}

// An unsolicited reply to a config read, so that initiators need not ask.
void Engine::Impl::announce(Outbox& outbox) {
  const auto ports = static_cast<std::uint16_t>(config_.ports.size());
  for (std::uint16_t port = 0; port < ports; ++port) {
    const std::uint32_t slot = slots_.take();
    const wire::ReplyHeader header = reply_header(
        port, wire::kBroadcastMac, static_cast<std::uint8_t>(wire::Command::query_config), 0,
        wire::ErrorCode::none);
    send(slot, port,
         wire::format_config(slots_.frame(slot), header, config_reply(port, wire::ccmd::kRead)),
         outbox);
  }
}

void Engine::Impl::note(Outbox& outbox, NoteKind kind, std::uint16_t port,
                        const wire::MacAddress& initiator, std::uint64_t value) {
  if (outbox.notes.size() < kNotesMax) {
    outbox.notes.push_back({kind, port, initiator, value});
  }
}

// ---------------------------------------------------------------------------------------------------
// Room

void Engine::Impl::take_back_sent_slots(const Outbox& outbox) {
  if (outbox.generation == outbox_generation_) {
    return;
  }
  outbox_generation_ = outbox.generation;
  for (const std::uint32_t slot : sent_slots_) {
    slots_.give_back(slot);
  }
  sent_slots_.clear();
}

// Ends every event: says whether another frame may come.
void Engine::Impl::settle(Outbox& outbox) {
  const std::uint32_t needed = slots_needed();
  const bool has_room = slots_.free_count() >= needed;
  outbox.intake_open = has_room && !is_stopped();
  outbox.reopen_on_clear = !is_stopped() && slots_.free_count() + sent_slots_.size() >= needed;
  counters_.intake_closed += intake_was_open_ && !has_room ? 1 : 0;
  intake_was_open_ = has_room;
  counters_.sessions = sessions_.size();
}

// ---------------------------------------------------------------------------------------------------

Engine::Engine(EngineConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}

Engine::~Engine() = default;

void Engine::on_frame(const FrameIn& frame, Outbox& outbox) {
  impl_->take_back_sent_slots(outbox);
  assert(!impl_->is_stopped() && impl_->slots_.free_count() >= impl_->slots_needed() &&
         "a frame was handed in while intake was closed");
  impl_->take_frame(frame, outbox);
  impl_->settle(outbox);
}

void Engine::on_disk_done(const DiskDone& done, Outbox& outbox) {
  impl_->take_back_sent_slots(outbox);
  if (done.id == kSaveId) {
    impl_->end_save(done.status, outbox);
  } else {
    assert(done.id < impl_->operations_.size());
    impl_->end_disk_operation(done.id, done.status, outbox);
  }
  impl_->settle(outbox);
}

void Engine::on_timer(Nanoseconds now, Outbox& outbox) {
  impl_->take_back_sent_slots(outbox);
  if (!impl_->announced_) {
    impl_->announced_ = true;
    impl_->announce(outbox);
  }
  if (impl_->pause_ && now >= impl_->pause_->until) {
    impl_->end_pause(outbox);
  }
  impl_->settle(outbox);
}

Nanoseconds Engine::next_deadline() const {
  if (!impl_->announced_) {
    return 0;
  }
  return impl_->pause_ ? impl_->pause_->until : kNever;
}

const Counters& Engine::counters() const {
  return impl_->counters_;
}

const PersistentState& Engine::state() const {
  return impl_->state_;
}

}  // namespace target::engine
