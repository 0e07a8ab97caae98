// The order of the rooms: parse, access, session, tag window, ATA device and range gate down; the
// same way up as far as the outcome. The only file that knows it.
#include "target/engine/engine_impl.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <memory>
#include <utility>

#include "target/engine/access.h"
#include "target/engine/ata_device.h"
#include "target/wire/coalesced.h"
#include "target/wire/crc8x4.h"

namespace target::engine {

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
  assert(state_.config_string.size() <= limits_.config_bytes);
  assert(state_.mask_list.size() <= 255 && state_.reserve_list.size() <= 255);
  assert(config_.operations_max >= request_slots_max_);
  sent_slots_.reserve(slots_.count());
}

void Engine::Impl::take_frame(const FrameIn& frame) {
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
      answer_error(frame.port, error->header, error->code);
    }
  } else {
    const auto& request = std::get<wire::Request>(parsed);
    if (admit_header(request.header, frame.port)) {
      serve_request(frame, request);
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

void Engine::Impl::serve_request(const FrameIn& frame, const wire::Request& request) {
  const wire::Header& header = request.header;
  Session* session = sessions_.find(frame.port, header.source);
  if (session != nullptr) {
    sessions_.hear(*session);
  }
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
    serve_ata(frame.port, header, *ata, session);
  } else if (!std::holds_alternative<wire::ExtensionRequest>(request.body)) {
    serve_state_request(frame, request);
  } else {
    serve_extensions(frame, header, std::get<wire::ExtensionRequest>(request.body));
  }
}

bool Engine::Impl::is_duplicate_in_ring(const FrameIn& frame, const wire::Header& header,
                                        const Session* session) {
  if (session == nullptr || session->features.tag_mode == TagMode::none) {
    return false;
  }
  return ring_.seen(frame.batch, session->generation, header.tag, header.command);
}

void Engine::Impl::serve_ata(std::uint16_t port, const wire::Header& header,
                             const wire::AtaRequest& request, Session* session) {
  const std::uint8_t command = request.registers.status_or_command;
  const bool locked_out = reserved_against(header.source, command, state_.reserve_list);
  if (is_ata_write(command) && !locked_out && session != nullptr && session->increments_tags() &&
      answer_from_window(port, header, request, *session)) {
    return;
  }
  if (is_ata_read(command)) {
    if (session != nullptr && session->increments_tags()) {
      session->window->observe(session->counter(header.tag));
    }
    serve_reads(port, header, request, session);
    return;
  }
  execute(new_operation(port, header, request.registers, session), request.payload());
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
                                      const wire::AtaRequest& request, Session& session) {
  switch (session.window->classify(session.counter(header.tag))) {
    case TagState::fresh:
      return false;
    case TagState::answered: {
      ++counters_.duplicates_rejected;
      const std::uint32_t slot = new_operation(port, header, request.registers, &session);
      end(slot, {wire::ErrorCode::none, registers_good(request.registers), 0});
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
      note(NoteKind::behind_window_rejected, port, header.source, header.tag);
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
                               const wire::AtaRequest& request, const Session* session) {
  std::uint32_t slot = new_operation(port, header, request.registers, session);
  if (session == nullptr || !session->features.coalesced_read) {
    execute(slot, {});
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
    execute(slot, {});
    slot = next;
  }
}

void Engine::Impl::execute(std::uint32_t slot, std::span<const std::byte> payload) {
  Operation& operation = operations_[slot];
  const wire::AtaRegisters& request = operation.request;
  if (reserved_against(operation.initiator, request.status_or_command, state_.reserve_list)) {
    end(slot, {wire::ErrorCode::target_reserved, registers_refused(request), 0});
    return;
  }
  const bool check_follows = operation.check_reply && is_ata_read(request.status_or_command);
  const std::uint32_t limit = sectors_max(config_.ports[operation.port].mtu, check_follows);
  const AtaPlan plan = plan_ata(config_, request, limit, payload.size());
  switch (plan.action) {
    case AtaAction::bad_argument:
      end(slot, {wire::ErrorCode::bad_argument, registers_refused(request), 0});
      return;
    case AtaAction::answer:
      end(slot, {wire::ErrorCode::none, plan.registers, 0});
      return;
    case AtaAction::identify:
      write_identify(config_, slots_.data(slot).first(kIdentifyBytes));
      end(slot, {wire::ErrorCode::none, plan.registers, kIdentifyBytes});
      return;
    case AtaAction::disk:
      break;
  }
  operation.kind = plan.op_kind;
  operation.lba = plan.lba;
  operation.sectors = plan.sectors;
  operation.at_disk = true;
  if (plan.op_kind == DiskOpKind::write) {
    enter_in_window(operation);
    if (Session* session = sessions_.find(operation.session)) {
      session->wrote = session->features != Features{};
    }
    std::memcpy(slots_.data(slot).data(), payload.data(), plan.sectors * kSectorBytes);
  }
  if (gate_.enter(slot, plan.op_kind, plan.lba, plan.sectors)) {
    start(slot);
  } else {
    ++counters_.gate_held;
  }
}

// Only now, when nothing refuses the write any more: a refused one must not be remembered.
void Engine::Impl::enter_in_window(Operation& operation) {
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
    note(NoteKind::behind_window_performed, operation.port, operation.initiator, operation.tag);
  }
  session->window->begin(counter);
  operation.in_window = true;
}

void Engine::Impl::start(std::uint32_t slot) {
  const Operation& operation = operations_[slot];
  outbox_.disk_ops.push_back({slot, operation.kind, operation.lba, operation.sectors,
                              slots_.data(slot).first(operation.sectors * kSectorBytes),
                              operation.initiator});
}

void Engine::Impl::end_disk_operation(std::uint32_t slot, DiskStatus status) {
  Operation& operation = operations_[slot];
  assert(operation.at_disk);
  operation.at_disk = false;
  count_disk_end(operation, status);
  for (const std::uint32_t released : gate_.leave(slot)) {
    start(released);
  }
  if (operation.in_window) {
    if (Session* session = sessions_.find(operation.session)) {
      session->window->finish(session->counter(operation.tag), status == DiskStatus::ok);
    }
  }
  const bool has_data = operation.kind == DiskOpKind::read && status == DiskStatus::ok;
  const DiskOpKind kind = operation.kind;
  std::uint32_t duplicate = operation.next_duplicate;
  end(slot, {wire::ErrorCode::none, registers_after(operation.request, kind, status),
             has_data ? operation.sectors * kSectorBytes : 0});
  while (duplicate != kNoSlot) {
    const std::uint32_t next = operations_[duplicate].next_duplicate;
    end(duplicate,
        {wire::ErrorCode::none, registers_after(operations_[duplicate].request, kind, status), 0});
    duplicate = next;
  }
}

void Engine::Impl::count_disk_end(const Operation& operation, DiskStatus status) {
  if (status != DiskStatus::ok) {
    ++counters_.disk_errors;
    note(NoteKind::disk_error, operation.port, operation.initiator, operation.lba);
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
void Engine::Impl::end(std::uint32_t slot, const Outcome& outcome) {
  operations_[slot].outcome = outcome;
  operations_[slot].ended = true;
  while (slot != kNoSlot && operations_[slot].may_answer && operations_[slot].ended) {
    const std::uint32_t next = operations_[slot].next_answer;
    answer(slot);
    if (next != kNoSlot) {
      operations_[next].may_answer = true;
    }
    slot = next;
  }
}

Engine::Engine(EngineConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}

Engine::~Engine() = default;

void Engine::on_frame(const FrameIn& frame) {
  assert(!impl_->is_stopped() && impl_->slots_.free_count() >= impl_->slots_needed() &&
         "a frame was handed in while intake was closed");
  impl_->take_frame(frame);
  impl_->settle();
}

void Engine::on_disk_done(const DiskDone& done) {
  if (done.id == kSaveId) {
    impl_->end_save(done.status);
  } else {
    assert(done.id < impl_->operations_.size());
    impl_->end_disk_operation(done.id, done.status);
  }
  impl_->settle();
}

void Engine::on_timer(Nanoseconds now) {
  if (!impl_->announced_) {
    impl_->announced_ = true;
    impl_->announce();
  }
  if (impl_->pause_ && now >= impl_->pause_->until) {
    impl_->end_pause();
  }
  impl_->settle();
}

void Engine::on_clear(StatePart part) {
  assert(last_clear() != ClearStatus::under_way);
  impl_->clear_ = part;
  impl_->last_clear_ = ClearStatus::under_way;
  if (impl_->changes_.empty()) {
    impl_->serve_held();
  }
  impl_->settle();
}

ClearStatus Engine::last_clear() const {
  return impl_->last_clear_;
}

Nanoseconds Engine::next_deadline() const {
  if (!impl_->announced_) {
    return 0;
  }
  return impl_->pause_ ? impl_->pause_->until : kNever;
}

const Outbox& Engine::outbox() const {
  return impl_->outbox_;
}

void Engine::clear_outbox() {
  impl_->clear_outbox();
}

bool Engine::intake_open() const {
  return impl_->intake_open_;
}

const Counters& Engine::counters() const {
  return impl_->counters_;
}

const PersistentState& Engine::state() const {
  return impl_->state_;
}

std::vector<SessionFacts> Engine::sessions() const {
  return impl_->sessions_.facts();
}

}  // namespace target::engine
