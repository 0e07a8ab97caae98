// What a request says, and promises, by itself: header, registers, limits, padding, the order of
// tags. It must never know what a reply will say.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

constexpr std::uint32_t kWrongOrderTold = 3;  // so many in a row are no accident

}  // namespace

void Judge::judge_request_header(const AoeFrame& frame, const Request& request) {
  const std::uint32_t s = request.session;
  if (frame.version() != 1) {
    note(Rule::request_version, Certainty::proven, frame, s,
         [&frame] { return fmt::format("version {}", frame.version()); });
  }
  if ((frame.flags() & kFlagsReserved) != 0) {
    note(Rule::request_reserved_bits, Certainty::proven, frame, s,
         [&frame] { return fmt::format("flags 0x{:x}", frame.flags()); });
  }
  if (frame.has_error_flag() || frame.error() != 0) {
    note(Rule::request_error_field, Certainty::proven, frame, s, [&frame] {
      return fmt::format("E {}, error {}", frame.has_error_flag() ? 1 : 0, frame.error());
    });
  }
  if (request.reused_waiting) {
    note(
        Rule::request_tag_reused, Certainty::uncertain, frame, s,
        [&request] {
          return fmt::format("tag 0x{:08x} of a request that still waits, now for a {}",
                             request.tag, request_text(request));
        },
        "whether that one's reply was lost on its way to the tap");
  }
}

void Judge::judge_request_ata(const AoeFrame& frame, const Request& request) {
  const std::uint32_t s = request.session;
  if (frame.wire_length < kAtaDataOffset) {
    note(Rule::request_ata_short, Certainty::proven, frame, s,
         [&frame] { return fmt::format("{} bytes", frame.wire_length); });
    return;
  }
  if (!frame.holds_ata()) {
    return;
  }
  const bool writes = is_write(request.ata_command);
  const std::uint32_t needed = kAtaDataOffset + request.sectors * kSectorBytes;
  if (writes && frame.wire_length < needed) {
    note(Rule::request_write_short, Certainty::proven, frame, s, [&frame, &request, needed] {
      return fmt::format("{} needs {} bytes, the frame has {}", request_text(request), needed,
                         frame.wire_length);
    });
  }
  const bool flagged = (frame.ata_flags() & kAtaWriteFlag) != 0;
  if (flagged != writes) {
    note(Rule::request_write_flag, Certainty::proven, frame, s, [&request, flagged] {
      return fmt::format("W is {} in a {}", flagged ? 1 : 0, request_text(request));
    });
  }
  if ((frame.ata_flags() & kAtaFlagsReserved) != 0 || frame.be16(34) != 0) {
    note(Rule::request_ata_reserved, Certainty::proven, frame, s, [&frame] {
      return fmt::format("AFlags 0x{:02x}, bytes 34-35 0x{:04x}", frame.ata_flags(),
                         frame.be16(34));
    });
  }
}

void Judge::judge_limits(const AoeFrame& frame, const Request& request) {
  const std::uint32_t index = target_of(request);
  if (index == kNone) {
    return;
  }
  const TargetState& target = state_of_target(index);
  if (!target.limits_known) {
    return;
  }
  if (ranged(request) && !request.maybe && request.sectors > target.sectors_per_command) {
    note(Rule::request_sector_limit, Certainty::proven, frame, request.session,
         [&request, &target] {
           return fmt::format("{}, the target offers {} sectors", request_text(request),
                              target.sectors_per_command);
         });
  }
  const std::uint32_t waiting = tracker_.sessions()[request.session].waiting;
  SessionState& session = state_of_session(request.session);
  if (waiting > target.buffers && target.buffers != 0 && waiting >= session.outstanding_told) {
    session.outstanding_told = 2 * waiting;  // spoken of again only when it has doubled
    note(Rule::request_outstanding_limit, Certainty::proven, frame, request.session,
         [waiting, &target] {
           return fmt::format("{} requests outstanding, the target has {} buffers", waiting,
                              target.buffers);
         });
  }
}

void Judge::judge_request_config(const AoeFrame& frame, const Request& request) {
  if (!frame.holds(kAoeHeaderEnd, 8)) {
    return;
  }
  const std::uint32_t size = frame.be16(30);
  if (size > kConfigStringMax || kConfigStringOffset + size > frame.wire_length) {
    note(Rule::request_config_length, Certainty::proven, frame, request.session, [size, &frame] {
      return fmt::format("string of {} bytes in a frame of {}: a target refuses it", size,
                         frame.wire_length);
    });
  }
  if (request.sub_command > kConfigForce) {
    note(Rule::request_config_command, Certainty::proven, frame, request.session,
         [&request] { return fmt::format("CCmd {}", request.sub_command); });
  }
}

void Judge::judge_request_extensions(const AoeFrame& frame, const Request& request) {
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    if (!frame.was_cut()) {
      note(Rule::request_table_malformed, Certainty::proven, frame, request.session, [] {
        return std::string("no table that ends in two NULs inside the frame, in either byte order");
      });
    }
    return;
  }
  table.for_each([this, &frame, &request](std::string_view name) {
    if (feature_bit(name) != 0 && is_upper_case(name)) {
      note(Rule::request_upper_case, Certainty::proven, frame, request.session, [name] {
        return fmt::format(
            "asks for \"{}\" in upper case: it comes back unchanged and looks active", name);
      });
    }
  });
}

void Judge::judge_request_padding(const AoeFrame& frame, const Request& request) {
  std::uint32_t begin = request.argument_bytes;
  const Session& session = tracker_.sessions()[request.session];
  Certainty certainty = Certainty::proven;
  const char* decides = nullptr;
  if (request.command == kCommandAta) {
    if (is_write(request.ata_command) && !session.off(kFeatureCrc)) {
      if (session.on(kFeatureCrc)) {
        begin += kCrcBytes;
      } else if (crc_follows(frame, begin)) {
        certainty = Certainty::doubtful;
        decides = "the negotiation of crc8x4, for these bytes are the data's check,";
      }
    }
    if (is_read(request.ata_command) && !session.off(kFeatureCoalescedRead) &&
        frame.holds(kAtaDataOffset, 1)) {
      const std::uint32_t further = frame.u8(kAtaDataOffset);
      const std::uint32_t end =
          kAtaDataOffset + 1 + further * static_cast<std::uint32_t>(kCoalescedEntryBytes);
      if (session.on(kFeatureCoalescedRead)) {
        begin = end;
        if (begin > frame.wire_length) {
          note(Rule::request_coalesced_cut, Certainty::proven, frame, request.session,
               [further, &frame] {
                 return fmt::format("{} further reads do not fit {} bytes", further,
                                    frame.wire_length);
               });
        }
      } else if (further != 0 && std::max(end, kMinimumFrameBytes) == frame.wire_length) {
        certainty = Certainty::doubtful;
        decides = "the negotiation of coalesced_read, for these bytes are a list of reads,";
      }
    }
  } else if (request.command > kCommandReserve && request.command != kCommandExtensions) {
    return;  // nobody can tell argument from padding
  }
  std::uint32_t first = begin;
  while (first < frame.length && frame.u8(first) == 0) {
    ++first;
  }
  if (first < frame.length) {
    note(
        Rule::request_padding, certainty, frame, request.session,
        [&frame, &request, begin, first] {
          return fmt::format("{}: fields end at byte {}, yet byte {} of {} is 0x{:02x}",
                             request_text(request), begin, first, frame.wire_length,
                             frame.u8(first));
        },
        decides);
  }
}

void Judge::judge_tag_promise(const AoeFrame& frame, const Request& request, Relation relation) {
  const Session& session = tracker_.sessions()[request.session];
  SessionState& state = state_of_session(request.session);
  if (session.features != state.features_before || session.window_since != state.window_before) {
    state.features_before = session.features;
    state.window_before = session.window_since;
    state.tag_known = false;
    state.other_order_run = 0;
  }
  const bool promised = session.on(kFeatureTagIncLe) || session.on(kFeatureTagIncBe);
  if (!promised || request.maybe) {
    state.tag_known = false;
    return;
  }
  if (relation == Relation::copy_waiting || relation == Relation::copy_answered ||
      request.repeats) {
    return;
  }
  // A negotiation is not part of the sequence: it may be what ends it.
  if (request.command == kCommandExtensions || request.command == kCommandConfig) {
    return;
  }
  const bool little = session.on(kFeatureTagIncLe);
  const std::uint32_t tag = session.number_of(request.tag);
  if (state.tag_known && tag != state.next_tag) {
    const std::uint32_t raw_step = request.tag - state.last_raw_tag;
    const std::uint32_t other_step =
        __builtin_bswap32(request.tag) - __builtin_bswap32(state.last_raw_tag);
    const bool other_order = (little ? raw_step : other_step) == 1;
    state.other_order_run = other_order ? state.other_order_run + 1 : 0;
    const bool proven = state.other_order_run >= kWrongOrderTold;
    counters_.tag_gaps += other_order ? 0 : 1;
    note(
        Rule::request_tag_promise, proven ? Certainty::proven : Certainty::uncertain, frame,
        request.session,
        [tag, &state, little, other_order] {
          return fmt::format("tag {} read {}-endian, promised was {}{}", tag,
                             little ? "little" : "big", state.next_tag,
                             other_order ? ": it follows in the other byte order" : "");
        },
        "the frames between, or the order in which they were sent,");
  } else {
    state.other_order_run = 0;
  }
  state.tag_known = true;
  state.next_tag = tag + 1;
  state.last_raw_tag = request.tag;
}

}  // namespace conformance::observer
