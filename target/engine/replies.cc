// Outcomes become frames in the outbox. Nothing here decides an outcome.
#include "target/engine/engine_impl.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "target/engine/ata_device.h"
#include "target/wire/bytes.h"
#include "target/wire/coalesced.h"
#include "target/wire/crc8x4.h"

namespace target::engine {

namespace {

// Notes are for log lines: what one batch has to say is bounded.
constexpr std::size_t kNotesMax = 64;

}  // namespace

void Engine::Impl::answer(std::uint32_t slot) {
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
  if (session != nullptr && join_open_write_reply(slot, *session)) {
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
    session->open_write_reply = {true, outbox_generation_, outbox_.frames.size(), slot, 0};
  }
  send(slot, operation.port, frame_bytes);
}

// Adds the result to the write reply that the same initiator already has in this outbox_.
bool Engine::Impl::join_open_write_reply(std::uint32_t slot, Session& session) {
  OpenWriteReply& open = session.open_write_reply;
  const std::size_t limit =
      wire::coalesced_entries_that_fit(frame_bytes_max(config_.ports[session.port].mtu));
  if (!open.valid || open.outbox_generation != outbox_generation_ || open.further >= limit) {
    return false;
  }
  const Operation& operation = operations_[slot];
  const std::span<std::byte> frame = slots_.frame(open.slot);
  const std::size_t frame_bytes = wire::store_write_reply_entry(frame, open.further, operation.tag,
                                                                operation.outcome.registers);
  outbox_.frames[open.frame_index].bytes = frame.first(frame_bytes);
  ++open.further;
  ++counters_.coalesced_write_replies;
  slots_.give_back(slot);
  return true;
}

void Engine::Impl::answer_change(const StateChange& change, wire::ErrorCode error) {
  if (change.resets_session && error == wire::ErrorCode::none) {
    reset_session(change.port, change.header.source);
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
    case wire::Command::reserve: {
      // A refusal because of the reservation says who holds it.
      const bool shows_list = !failed || error == wire::ErrorCode::target_reserved;
      const std::span<const wire::MacAddress> list = state_.reserve_list;
      const std::size_t shown = shows_list ? std::min(list.size(), limits.reserve) : 0;
      frame_bytes = wire::format_reserve(frame, header, {change.subcommand, list.first(shown)});
      break;
    }
    case wire::Command::ata:
    case wire::Command::extensions:
      assert(false && "a command that changes no state");
      break;
  }
  send(change.slot, change.port, frame_bytes);
}

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

void Engine::Impl::send(std::uint32_t slot, std::uint16_t port, std::size_t frame_bytes) {
  const std::span<const std::byte> frame = slots_.frame(slot).first(frame_bytes);
  ++counters_.frames_out;
  if ((wire::load_u8(frame, wire::kEthernetHeaderBytes) & wire::flag::kError) != 0) {
    ++counters_.errors_answered;
  }
  outbox_.frames.push_back({port, frame});
  sent_slots_.push_back(slot);
}

void Engine::Impl::answer_error(std::uint16_t port, const wire::Header& header,
                                wire::ErrorCode error) {
  const std::uint32_t slot = slots_.take();
  const std::size_t frame_bytes = wire::format_error(
      slots_.frame(slot), reply_header(port, header.source, header.command, header.tag, error));
  send(slot, port, frame_bytes);
}

// An unsolicited reply to a config read, so that initiators need not ask.
void Engine::Impl::announce() {
  const auto ports = static_cast<std::uint16_t>(config_.ports.size());
  for (std::uint16_t port = 0; port < ports; ++port) {
    const std::uint32_t slot = slots_.take();
    const wire::ReplyHeader header = reply_header(
        port, wire::kBroadcastMac, static_cast<std::uint8_t>(wire::Command::query_config), 0,
        wire::ErrorCode::none);
    send(slot, port,
         wire::format_config(slots_.frame(slot), header, config_reply(port, wire::ccmd::kRead)));
  }
}

void Engine::Impl::note(NoteKind kind, std::uint16_t port, const wire::MacAddress& initiator,
                        std::uint64_t value) {
  if (outbox_.notes.size() < kNotesMax) {
    outbox_.notes.push_back({kind, port, initiator, value});
  }
}

}  // namespace target::engine
