// Changes of what the target remembers: config string, mask list and reserve list, which wait for
// their Save, and the extensions of an initiator. How a reply looks is not known here.
#include "target/engine/engine_impl.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

#include "target/engine/access.h"
#include "target/engine/negotiation.h"

namespace target::engine {

namespace {

// A request that may change the state, whatever comes of it.
bool wants_change(const wire::Request& request) {
  if (const auto* config = std::get_if<wire::ConfigRequest>(&request.body)) {
    return config->ccmd == wire::ccmd::kSet || config->ccmd == wire::ccmd::kForceSet;
  }
  if (const auto* mask = std::get_if<wire::MaskRequest>(&request.body)) {
    return mask->mcmd == wire::mcmd::kEdit;
  }
  const auto& reserve = std::get<wire::ReserveRequest>(request.body);
  return reserve.rcmd == wire::rcmd::kSet || reserve.rcmd == wire::rcmd::kForceSet;
}

}  // namespace

// While changes are being saved everything else goes on: data is served, and questions are answered
// from the state as it was, for nobody has been told of another one yet. Only further changes wait.
void Engine::Impl::serve_state_request(const FrameIn& frame, const wire::Request& request) {
  if (std::holds_alternative<wire::ConfigRequest>(request.body)) {
    ++counters_.config_queries;
  }
  if (changes_.empty()) {
    serve_state(frame.port, request, kNoSlot);
    start_save();
  } else if (wants_change(request)) {
    hold(frame, request.header);
  } else {
    serve_state(frame.port, request, kNoSlot);
  }
}

void Engine::Impl::start_save() {
  if (!changes_.empty()) {
    outbox_.saves.push_back({kSaveId, &changes_.back().next});
  }
}

// One of each host: who sends changes faster than they can be saved loses his own, as in a full
// ring, and nobody else's.
void Engine::Impl::hold(const FrameIn& frame, const wire::Header& header) {
  const std::size_t room =
      std::min<std::size_t>(kHeldChangesMax, std::max(1U, config_.operations_max / 4));
  const bool waits = std::any_of(held_.begin(), held_.end(), [&](const HeldRequest& one) {
    return one.source == header.source;
  });
  if (waits || held_.size() >= room) {
    ++counters_.changes_dropped;
    return;
  }
  ++counters_.changes_waited;
  held_.push_back({frame.port, header.source, slots_.take(), {}});
  const std::size_t length =
      std::min(frame.bytes.size(), frame_bytes_max(config_.ports[frame.port].mtu));
  held_.back().bytes.assign(frame.bytes.begin(),
                            frame.bytes.begin() + static_cast<std::ptrdiff_t>(length));
}

// Everything that waits becomes one Save; what turns out to change nothing waits for its end, for
// what it says depends on it.
void Engine::Impl::serve_held() {
  assert(changes_.empty());
  clear_part();
  gathering_ = true;
  std::vector<HeldRequest> waiting = std::exchange(held_, {});
  for (HeldRequest& one : waiting) {
    const wire::Parsed parsed = wire::parse(one.bytes, config_.extensions);
    if (!serve_state(one.port, std::get<wire::Request>(parsed), one.slot)) {
      held_.push_back(std::move(one));
    }
  }
  gathering_ = false;
  start_save();
}

bool Engine::Impl::serve_state(std::uint16_t port, const wire::Request& request,
                               std::uint32_t slot) {
  if (const auto* config = std::get_if<wire::ConfigRequest>(&request.body)) {
    return serve_config(port, request.header, *config, slot);
  }
  if (const auto* mask = std::get_if<wire::MaskRequest>(&request.body)) {
    return serve_mask(port, request.header, *mask, slot);
  }
  return serve_reserve(port, request.header, std::get<wire::ReserveRequest>(request.body), slot);
}

bool Engine::Impl::frozen(wire::Command command) const {
  switch (command) {
    case wire::Command::query_config:
      return config_.freeze.config_string;
    case wire::Command::mac_mask:
      return config_.freeze.mask_list;
    case wire::Command::reserve:
      return config_.freeze.reserve_list;
    case wire::Command::ata:
    case wire::Command::extensions:
      break;
  }
  return false;
}

bool Engine::Impl::serve_config(std::uint16_t port, const wire::Header& header,
                                const wire::ConfigRequest& request, std::uint32_t slot) {
  ConfigOutcome outcome = apply_config(newest_state(), request, limits_.config_bytes);
  if (gathers() && !outcome.next) {
    return false;
  }
  if (config_.reset_on == ResetOn::any_config && outcome.well_formed) {
    reset_session(port, header.source);
  }
  if (!outcome.answer) {
    return true;
  }
  StateChange change;
  change.port = port;
  change.header = header;
  change.slot = slot;
  change.subcommand = request.ccmd;
  change.resets_session = outcome.is_write && config_.reset_on == ResetOn::config_write;
  commit(std::move(change), outcome.error, std::move(outcome.next));
  return true;
}

bool Engine::Impl::serve_mask(std::uint16_t port, const wire::Header& header,
                              const wire::MaskRequest& request, std::uint32_t slot) {
  MaskOutcome outcome = apply_mask(newest_state(), request, limits_.mask);
  if (gathers() && !outcome.next) {
    return false;
  }
  StateChange change;
  change.port = port;
  change.header = header;
  change.slot = slot;
  change.subcommand = request.mcmd;
  change.merror = outcome.merror;
  change.bad_directive = outcome.bad_directive;
  commit(std::move(change), outcome.error, std::move(outcome.next));
  return true;
}

bool Engine::Impl::serve_reserve(std::uint16_t port, const wire::Header& header,
                                 const wire::ReserveRequest& request, std::uint32_t slot) {
  ReserveOutcome outcome = apply_reserve(newest_state(), request, header.source, limits_.reserve);
  if (gathers() && !outcome.next) {
    return false;
  }
  StateChange change;
  change.port = port;
  change.header = header;
  change.slot = slot;
  change.subcommand = request.rcmd;
  commit(std::move(change), outcome.error, std::move(outcome.next));
  return true;
}

// next: nothing if the state stays as it is. The reply waits until the state is stored.
void Engine::Impl::commit(StateChange change, wire::ErrorCode error,
                          std::optional<PersistentState> next) {
  if (change.slot == kNoSlot) {
    change.slot = slots_.take();
  }
  if (next && frozen(static_cast<wire::Command>(change.header.command))) {
    ++counters_.changes_frozen;
    error = wire::ErrorCode::device_unavailable;
  }
  if (error != wire::ErrorCode::none) {
    next.reset();
  }
  if (next && config_.persist) {
    change.next = std::move(*next);
    changes_.push_back(std::move(change));
    return;
  }
  if (next) {
    change.next = std::move(*next);
    adopt(change);
  }
  answer_change(change, error);
}

// The operator's order comes before what waits: he wants back in.
void Engine::Impl::clear_part() {
  if (!clear_) {
    return;
  }
  StateChange change;
  change.by_operator = true;
  change.next = state_;
  switch (*std::exchange(clear_, std::nullopt)) {
    case StatePart::config_string:
      change.header.command = static_cast<std::uint8_t>(wire::Command::query_config);
      change.next.config_string.clear();
      break;
    case StatePart::mask_list:
      change.header.command = static_cast<std::uint8_t>(wire::Command::mac_mask);
      change.next.mask_list.clear();
      break;
    case StatePart::reserve_list:
      change.header.command = static_cast<std::uint8_t>(wire::Command::reserve);
      change.next.reserve_list.clear();
      break;
  }
  if (config_.persist && change.next != state_) {
    changes_.push_back(std::move(change));
    return;
  }
  if (change.next != state_) {
    adopt(change);
  }
  last_clear_ = ClearStatus::done;
}

void Engine::Impl::adopt(const StateChange& change) {
  state_ = change.next;
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
  assert(!changes_.empty());
  const std::vector<StateChange> saved = std::exchange(changes_, {});
  for (const StateChange& change : saved) {
    const bool good = status == DiskStatus::ok;
    if (good) {
      adopt(change);
    } else {
      note(NoteKind::save_failed, change.port, change.header.source, 0);
    }
    if (change.by_operator) {
      last_clear_ = good ? ClearStatus::done : ClearStatus::failed;
    } else {
      answer_change(change, good ? wire::ErrorCode::none : wire::ErrorCode::device_unavailable);
    }
  }
  serve_held();
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
  const std::span<std::byte> table =
      reply.subspan(wire::kExtensionArgumentEnd, request.table.size());
  if (!config_.extensions_for.empty() && !is_listed(config_.extensions_for, header.source)) {
    ++counters_.sessions_refused;
    refuse_all(table);
    send(slot, frame.port, frame_bytes);
    return;
  }
  const Negotiated result =
      negotiate(table, sessions_, frame.port, header.source, pause_budget_, frame.now);
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
