// What every reply owes whatever its command: to be asked for, the header, who may be served,
// padding.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

constexpr std::uint64_t kGroupBit = std::uint64_t{1} << 40;
constexpr std::uint32_t kSectorsOfUnseenWrite = 17;  // what fits a jumbo frame

}  // namespace

void Judge::take_announcement(const AoeFrame& frame, std::uint32_t session, TargetState& target) {
  // It has started: lists may be empty now, limits and the disk others. What it says of itself
  // counts.
  target.mask = AddressList{};
  target.reserve = AddressList{};
  target.limits_known = false;
  target.capacity_known = false;
  const auto number = static_cast<std::uint32_t>(frame.number);
  if (tracker_.complete()) {  // kept, or lost whole, and never torn
    target.config.possible.write(Kind::failed, text_hash(""), number);
    target.config.possible.answered(number, number, true, Kind::failed);
  } else {
    target.config.possible.unseen_write(number);
  }
  const std::uint32_t size = frame.holds(30, 2) ? frame.be16(30) : 0;
  if (frame.holds(kConfigStringOffset, size)) {
    const auto slice = frame.slice(kConfigStringOffset, size);
    const std::string_view told(reinterpret_cast<const char*>(slice.data()), slice.size());
    const Reading reading = target.config.possible.read(text_hash(told), number, number);
    if (reading.explanation > Explanation::hazard) {
      note(Rule::reply_config_string, Certainty::suspect, frame, session, [told] {
        return fmt::format("announces itself with \"{}\", which nobody set", printable(told));
      });
    }
  }
}

void Judge::judge_unasked(const AoeFrame& frame, std::uint32_t session, std::uint32_t target) {
  const bool to_group = (frame.destination & kGroupBit) != 0;
  if (frame.command() == kCommandConfig && frame.tag() == 0) {
    if (!to_group && session != kNone && tracker_.sessions()[session].waiting != 0) {
      note(
          Rule::reply_unasked, Certainty::uncertain, frame, session,
          [] { return std::string("a config reply with tag 0 to a host that waits for another"); },
          "whether it is an announcement");
      return;
    }
    if (target != kNone) {
      take_announcement(frame, session, state_of_target(target));
    }
    return;
  }
  if (to_group) {
    note(Rule::reply_destination, Certainty::proven, frame, session, [&frame] {
      return fmt::format("a reply, command 0x{:02x}, tag 0x{:08x}, goes to {}", frame.command(),
                         frame.tag(), mac_text(frame.destination));
    });
    return;
  }
  const Request* request = tracker_.request_with_tag_of(frame);
  if (request != nullptr && (request->waiting || tracker_.complete())) {
    // A request of that command and the same tag may be lost.
    note(
        Rule::reply_command, unless_frames_were_lost(), frame, session,
        [&frame, request] {
          return fmt::format("command 0x{:02x} in the reply to a {}", frame.command(),
                             request_text(*request));
        },
        kLostFrames);
    return;
  }
  for (const Response& response : responses_) {
    if (response.frame != 0 && response.source == frame.destination &&
        response.destination == frame.source && response.tag == frame.tag()) {
      note(Rule::reply_to_reply, Certainty::suspect, frame, session, [&response] {
        return fmt::format("answers frame {}, which has R set and is no request", response.frame);
      });
      return;
    }
  }
  if (const Request* other = tracker_.waiting_elsewhere(frame)) {
    const bool own_known = target != kNone && tracker_.targets()[target].mac_count != 0 &&
                           tracker_.targets()[target].macs[0] == frame.source;
    note(
        own_known ? Rule::reply_other_address : Rule::reply_address, Certainty::uncertain, frame,
        session,
        [&frame, other] {
          return fmt::format("{} answers tag 0x{:08x}, which was asked of {}",
                             address_text(frame.vlan, frame.shelf(), frame.slot()), frame.tag(),
                             address_text(other->vlan, other->shelf, other->slot));
        },
        "whether a request to this address was lost on its way to the tap");
    return;
  }
  // What it answers, a lost frame may have changed.
  if (target != kNone && !tracker_.complete()) {
    TargetState& state = state_of_target(target);
    const auto number = static_cast<std::uint32_t>(frame.number);
    if (frame.command() == kCommandMask) {
      state.mask.known = false;
    } else if (frame.command() == kCommandReserve) {
      state.reserve.known = false;
    } else if (frame.command() == kCommandConfig) {
      state.config.possible.unseen_write(number);
    } else if (frame.command() == kCommandAta && good_ata(frame) &&
               (frame.ata_flags() & kAtaWriteFlag) != 0) {
      for (std::uint32_t i = 0; i < kSectorsOfUnseenWrite; ++i) {
        if (Sector* sector = disk_.find(target, frame.lba48(28) + i)) {
          sector->unseen_write(number);
        }
      }
    }
  }
  note(
      Rule::reply_unasked, tracker_.forgot_requests() ? Certainty::suspect : Certainty::uncertain,
      frame, session,
      [&frame] {
        return fmt::format("to {}, command 0x{:02x}, tag 0x{:08x}: no request with it was seen",
                           mac_text(frame.destination), frame.command(), frame.tag());
      },
      "the request, if there was one,");
}

void Judge::judge_reply_header(const AoeFrame& frame, const Request* request,
                               std::uint32_t session) {
  const bool request_seen = request != nullptr;
  const std::uint8_t asked = request_seen ? request->version_flags : 0;
  const bool version_echoed = request_seen && frame.version() == asked >> 4;
  if (frame.version() != 1 && !version_echoed) {
    note(Rule::reply_version, Certainty::proven, frame, session, [&frame, asked, request_seen] {
      return request_seen
                 ? fmt::format("version {}, the request had {}", frame.version(), asked >> 4)
                 : fmt::format("version {} in an announcement", frame.version());
    });
  }
  if (request_seen && asked >> 4 != 1 && !frame.has_error_flag()) {
    note(Rule::reply_unknown_version, Certainty::proven, frame, session, [request, asked] {
      return fmt::format("a {} of version {} is served", request_text(*request), asked >> 4);
    });
  }
  if ((frame.flags() & kFlagsReserved & ~asked) != 0) {
    note(Rule::reply_reserved_bits, Certainty::proven, frame, session,
         [&frame] { return fmt::format("flags 0x{:x}", frame.flags()); });
  }
  const bool error_echoed = request != nullptr && (asked & kFlagError) != 0;
  if (frame.has_error_flag() != (frame.error() != 0) && !error_echoed) {
    note(Rule::reply_error_flag, Certainty::proven, frame, session, [&frame] {
      return fmt::format("E {}, error {}", frame.has_error_flag() ? 1 : 0, frame.error());
    });
  }
  if (frame.has_error_flag() && frame.error() > kErrorReserved) {
    note(Rule::reply_error_code, Certainty::proven, frame, session,
         [&frame] { return fmt::format("error {}", frame.error()); });
  }
  if (frame.shelf() == kBroadcastShelf || frame.slot() == kBroadcastSlot) {
    note(Rule::reply_address, Certainty::proven, frame, session, [&frame] {
      return fmt::format("the reply says shelf {}, slot {}", frame.shelf(), frame.slot());
    });
  }
  if ((frame.source & kGroupBit) != 0) {
    note(Rule::reply_source, Certainty::proven, frame, session,
         [&frame] { return fmt::format("from {}", mac_text(frame.source)); });
  }
}

void Judge::judge_access(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         TargetState& target) {
  const bool mask_settled = target.mask.known && target.mask.edits_waiting == 0 &&
                            request.first_frame > target.mask.settled_frame;
  if (mask_settled && !target.mask.macs.empty() &&
      !holds_mac(target.mask.macs, request.initiator)) {
    note(Rule::reply_masked_out, Certainty::suspect, frame, session, [&request] {
      return fmt::format("{} is not on the mask list, yet its {} is answered",
                         mac_text(request.initiator), request_text(request));
    });
    target.mask.known = tracker_.complete();  // somebody else has been at it: once is enough
  }
  if (request.command != kCommandAta || request.ata_command == kAtaIdentify) {
    if (frame.has_error_flag() && frame.error() == kErrorReserved &&
        (request.command != kCommandReserve || request.sub_command == 0)) {
      note(Rule::reply_reserve_open, Certainty::proven, frame, session,
           [&request] { return fmt::format("a {} gets error 6", request_text(request)); });
    }
    return;
  }
  AddressList& reserve = target.reserve;
  const bool settled =
      reserve.known && reserve.edits_waiting == 0 && request.first_frame > reserve.settled_frame;
  if (!settled) {
    return;
  }
  const bool admitted = reserve.macs.empty() || holds_mac(reserve.macs, request.initiator);
  const bool refused = frame.has_error_flag() && frame.error() == kErrorReserved;
  if (!admitted && good_ata(frame)) {
    note(Rule::reply_reserved_out, Certainty::suspect, frame, session, [&request, &reserve] {
      return fmt::format("reserved for {}, yet the {} of {} is served", list_text(reserve.macs),
                         request_text(request), mac_text(request.initiator));
    });
    reserve.known = tracker_.complete();
  }
  if (admitted && refused) {
    note(Rule::reply_reserve_refused, Certainty::suspect, frame, session, [&request, &reserve] {
      return fmt::format("reserved for {}, yet {} is refused", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
    reserve.known = tracker_.complete();
  }
}

void Judge::judge_reply_padding(const AoeFrame& frame, const Request& request,
                                std::uint32_t session) {
  std::uint32_t begin = kAoeHeaderEnd;
  const Session& own = tracker_.sessions()[session];
  Certainty certainty = unless_frames_were_lost();
  const char* decides = kLostFrames;
  switch (frame.command()) {
    case kCommandAta:
      begin = kAtaDataOffset + frame.list_bytes;
      if (frame.has_error_flag()) {
        begin = kAtaDataOffset;
      } else if (good_ata(frame) && is_read(request.ata_command)) {
        begin += request.sectors * kSectorBytes;
        if (own.on(kFeatureCrc)) {
          begin += kCrcBytes;
        } else if (begin < frame.length && crc_follows(frame, begin)) {
          certainty = own.unknown(kFeatureCrc) ? Certainty::doubtful : certainty;
          decides = "the negotiation of crc8x4, for these bytes are the data's check,";
        }
      } else if (good_ata(frame) && request.ata_command == kAtaIdentify) {
        begin += kIdentifyBytes;
      }
      break;
    case kCommandConfig:
      begin = kConfigStringOffset + (frame.holds(30, 2) ? frame.be16(30) : 0);
      break;
    case kCommandMask:
      begin = kMaskListOffset + (frame.holds(27, 1) ? frame.u8(27) * kMaskDirectiveBytes : 0);
      if (frame.holds(26, 1) && frame.u8(26) != 0) {
        return;  // the count is an index then
      }
      break;
    case kCommandReserve:
      begin = kReserveListOffset + (frame.holds(25, 1) ? frame.u8(25) * kMacBytes : 0);
      break;
    case kCommandExtensions: {
      const ExtensionTable table = ExtensionTable::find(frame);
      if (!table.well_formed) {
        return;
      }
      begin = kExtensionTableOffset + static_cast<std::uint32_t>(table.bytes.size());
      break;
    }
    default:
      if (!frame.has_error_flag() || frame.command() >= 0xF0) {
        return;
      }
  }
  // Zero, or what the sender itself had there; a whole frame sent back is an echo.
  const bool echo = frame.wire_length == request.frame_bytes;
  const std::uint32_t end = echo ? std::min(frame.length, kMinimumFrameBytes) : frame.length;
  for (std::uint32_t i = begin; i < end; ++i) {
    const std::uint8_t byte = frame.u8(i);
    const bool senders = i < kMinimumFrameBytes && request.head[i - kAoeHeaderEnd] == byte;
    if (byte != 0 && !senders) {
      note(
          Rule::reply_padding, certainty, frame, session,
          [&frame, &request, begin, i, end] {
            const auto bytes = frame.slice(i, std::min(end - i, 8U));
            return fmt::format(
                "reply to a {}: fields end at byte {}, yet at byte {} stands \"{}\"",
                request_text(request), begin, i,
                printable({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
          },
          decides);
      return;
    }
  }
}

}  // namespace conformance::observer
