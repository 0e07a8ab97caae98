// Changes of what the target remembers: config string, mask list and reserve list, which wait for
// their Save, and the extensions of an initiator. How a reply looks is not known here.
#include "target/engine/engine_impl.h"

#include <cassert>
#include <utility>

#include "target/engine/negotiation.h"

namespace target::engine {

void Engine::Impl::serve_config(std::uint16_t port, const wire::Header& header,
                                const wire::ConfigRequest& request) {
  ++counters_.config_queries;
  ConfigOutcome outcome = apply_config(state_, request, limits_.config_bytes);
  if (config_.reset_on == ResetOn::any_config && outcome.well_formed) {
    reset_session(port, header.source);
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
    answer_change(change, outcome.error);
    return;
  }
  commit(change, std::move(outcome.next));
}

void Engine::Impl::serve_mask(std::uint16_t port, const wire::Header& header,
                              const wire::MaskRequest& request) {
  MaskOutcome outcome = apply_mask(state_, request, limits_.mask);
  StateChange change;
  change.port = port;
  change.header = header;
  change.subcommand = request.mcmd;
  change.merror = outcome.merror;
  change.bad_directive = outcome.bad_directive;
  if (outcome.error != wire::ErrorCode::none) {
    change.slot = slots_.take();
    answer_change(change, outcome.error);
    return;
  }
  commit(change, std::move(outcome.next));
}

void Engine::Impl::serve_reserve(std::uint16_t port, const wire::Header& header,
                                 const wire::ReserveRequest& request) {
  ReserveOutcome outcome = apply_reserve(state_, request, header.source, limits_.reserve);
  StateChange change;
  change.port = port;
  change.header = header;
  change.subcommand = request.rcmd;
  if (outcome.error != wire::ErrorCode::none) {
    change.slot = slots_.take();
    answer_change(change, outcome.error);
    return;
  }
  commit(change, std::move(outcome.next));
}

// next: nothing if the state stays as it is. The reply waits until the state is stored.
void Engine::Impl::commit(StateChange change, std::optional<PersistentState> next) {
  change.slot = slots_.take();
  if (next && config_.persist) {
    next_state_ = std::move(*next);
    change_ = change;
    outbox_.saves.push_back({kSaveId, &next_state_});
    return;
  }
  if (next) {
    adopt(change, std::move(*next));
  }
  answer_change(change, wire::ErrorCode::none);
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
    case wire::Command::reserve:
      ++counters_.reserve_changes;
      return;
    case wire::Command::ata:
    case wire::Command::extensions:
      break;
  }
  assert(false && "a command that changes no state");
}

void Engine::Impl::end_save(DiskStatus status) {
  assert(change_.has_value());
  const StateChange change = *change_;
  change_.reset();
  if (status == DiskStatus::ok) {
    adopt(change, std::move(next_state_));
    answer_change(change, wire::ErrorCode::none);
    return;
  }
  note(NoteKind::save_failed, change.port, change.header.source, 0);
  answer_change(change, wire::ErrorCode::device_unavailable);
}

void Engine::Impl::serve_extensions(const FrameIn& frame, const wire::Header& header,
                                    const wire::ExtensionRequest& request) {
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
    note(NoteKind::session_reset, frame.port, header.source, 0);
  }
  if (result.table_full) {
    ++counters_.sessions_refused;
    note(NoteKind::sessions_full, frame.port, header.source, 0);
  }
  if (result.pause_refused) {
    ++counters_.pauses_refused;
    note(NoteKind::pause_refused, frame.port, header.source, result.congestion_id);
  }
  if (result.pause) {
    ++counters_.pauses;
    note(NoteKind::pause_started, frame.port, header.source, result.congestion_id);
    pause_ = Pause{frame.now + kPauseDuration, frame.port, slot, frame_bytes};
    return;
  }
  send(slot, frame.port, frame_bytes);
}

void Engine::Impl::end_pause() {
  const Pause pause = *pause_;
  pause_.reset();
  send(pause.slot, pause.port, pause.frame_bytes);
}

void Engine::Impl::reset_session(std::uint16_t port, const wire::MacAddress& initiator) {
  Session* session = sessions_.find(port, initiator);
  if (session == nullptr || session->features == Features{}) {
    return;
  }
  sessions_.reset(*session);
  some_session_coalesces_reads_ = sessions_.with_coalesced_read() != 0;
  ++counters_.session_resets;
  note(NoteKind::session_reset, port, initiator, 0);
}

}  // namespace target::engine
