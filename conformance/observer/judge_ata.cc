// Replies to ATA commands: registers, refusals of what the target offers, the check of reads,
// identify. What the sectors hold is judge_data.cc's.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

// Command codes that no edition of ATA gives a meaning to, vendors' own left out.
bool undefined_ata(std::uint8_t code) {
  static const auto kUndefined = [] {
    std::bitset<256> set;
    for (const auto& [first, last] :
         {std::pair{0x01, 0x02}, {0x04, 0x05}, {0x07, 0x07}, {0x09, 0x0A}, {0x0C, 0x0F},
          {0x2C, 0x2E},          {0x3B, 0x3B}, {0x3E, 0x3E}, {0x43, 0x43}, {0x46, 0x46},
          {0x48, 0x49},          {0x4B, 0x4F}, {0x52, 0x56}, {0x58, 0x59}, {0x62, 0x62},
          {0x67, 0x6F},          {0x71, 0x76}, {0x79, 0x7F}, {0xA3, 0xAF}, {0xB2, 0xB3},
          {0xB5, 0xB5},          {0xB7, 0xB7}, {0xBC, 0xBF}, {0xD0, 0xD0}, {0xD2, 0xD9}}) {
      for (int i = first; i <= last; ++i) {
        set.set(static_cast<std::size_t>(i));
      }
    }
    return set;
  }();
  return kUndefined.test(code);
}

}  // namespace

void Judge::judge_ata_registers(const AoeFrame& frame, const Request& request,
                                std::uint32_t session) {
  const std::uint8_t status = frame.ata_status();
  if (!good_ata(frame)) {
    if ((status & kStatusErr) != 0 && (frame.ata_error() == 0 || (status & kStatusDrdy) == 0)) {
      note(Rule::reply_ata_error, Certainty::proven, frame, session, [&frame, &request] {
        return fmt::format("{}: status 0x{:02x}, error 0x{:02x}", request_text(request),
                           frame.ata_status(), frame.ata_error());
      });
    }
    return;
  }
  const bool flush = request.ata_command == kAtaFlush || request.ata_command == kAtaFlushExt;
  const bool counted = ranged(request) || flush || request.ata_command == kAtaIdentify;
  const bool bad_count = counted && frame.ata_count() != 0 && frame.ata_count() != request.sectors;
  if ((status & (kStatusBsy | kStatusDrdy | kStatusDrq)) != kStatusDrdy || frame.ata_error() != 0 ||
      bad_count) {
    note(Rule::reply_ata_status, Certainty::proven, frame, session, [&frame, &request] {
      return fmt::format("{}, good: status 0x{:02x}, error 0x{:02x}, count {}",
                         request_text(request), frame.ata_status(), frame.ata_error(),
                         frame.ata_count());
    });
  }
  const bool copy = request.answers > 1 ? window_stops(request)
                                        : is_write(request.ata_command) &&
                                              kind_of_new(request) == Kind::window_copy;
  if (copy && is_write(request.ata_command) && frame.ata_count() != 0) {
    note(Rule::stale_count, Certainty::proven, frame, session,
         [&frame] { return fmt::format("the reply to a copy has count {}", frame.ata_count()); });
  }
  const std::uint64_t mask = is_28_bit(request.ata_command) ? 0x0FFF'FFFF : ~std::uint64_t{0};
  if (ranged(request) && !request.ambiguous && (frame.lba48(28) & mask) != request.lba) {
    const bool listed =
        request.coalesced || tracker_.sessions()[request.session].on(kFeatureCoalescedRead);
    note(
        listed ? Rule::reply_coalesced_lba : Rule::reply_lba, unless_frames_were_lost(), frame,
        session,
        [&frame, &request, mask] {
          return fmt::format("reply to a {} says LBA {}", request_text(request),
                             frame.lba48(28) & mask);
        },
        kLostFrames);
  }
  if (undefined_ata(request.ata_command)) {
    note(Rule::reply_undefined_command, Certainty::proven, frame, session, [&request] {
      return fmt::format("ATA command 0x{:02x} is good, and means nothing", request.ata_command);
    });
  }
}

// A read or write that is refused although the target offers what it asks for.
void Judge::judge_ata_refusal(const AoeFrame& frame, const Request& request, std::uint32_t session,
                              TargetState& target) {
  const std::uint8_t flags = request.head[0];
  const bool by_argument = frame.has_error_flag() && (frame.error() == kErrorUnknownCommand ||
                                                      frame.error() == kErrorBadArgument);
  if (undefined_ata(request.ata_command) && request.version_flags >> 4 == 1 && by_argument) {
    note(Rule::reply_undefined_command, Certainty::proven, frame, session, [&frame, &request] {
      return fmt::format("ATA command 0x{:02x} gets error {} instead of ABRT", request.ata_command,
                         frame.error());
    });
    return;
  }
  const bool plain = ranged(request) && request.version_flags >> 4 == 1 &&
                     (flags & (kAtaFlagsReserved | 0x10)) == 0 &&
                     ((flags & kAtaExtended) != 0) == !is_28_bit(request.ata_command) &&
                     ((flags & kAtaWriteFlag) != 0) == is_write(request.ata_command) &&
                     request.sectors != 0 && !request.maybe;
  const bool inside =
      target.capacity_known && request.lba + request.sectors <= target.capacity_sectors;
  const bool asks_beyond =
      plain && target.capacity_known && target.limits_known &&
      request.sectors < target.sectors_per_command &&
      request.frame_bytes >=
          kAtaDataOffset + (is_write(request.ata_command) ? request.sectors * kSectorBytes : 0) &&
      request.lba + request.sectors > target.capacity_sectors;
  if (asks_beyond && by_argument) {
    note(
        Rule::reply_past_end, Certainty::uncertain, frame, session,
        [&frame, &request, &target] {
          return fmt::format("{} gets error {} instead of IDNF, the disk has {} sectors",
                             request_text(request), frame.error(), target.capacity_sectors);
        },
        "the limit at that time");
  }
  if (!plain || !inside) {
    return;
  }
  const bool whole = !is_write(request.ata_command) ||
                     request.frame_bytes >= kAtaDataOffset + request.sectors * kSectorBytes;
  const bool ata = !frame.has_error_flag() && frame.holds_ata() &&
                   (frame.ata_status() & kStatusErr) != 0 && (frame.ata_status() & kStatusDf) == 0;
  if (ata && frame.ata_error() == kAtaErrorIdnf) {
    note(
        Rule::reply_range_refused, request.ambiguous ? Certainty::doubtful : Certainty::uncertain,
        frame, session,
        [&request, &target] {
          return fmt::format("{} is past the end, it says; identify told of {} sectors",
                             request_text(request), target.capacity_sectors);
        },
        "identify at that time");
    return;
  }
  const bool argument = frame.has_error_flag() && frame.error() == kErrorBadArgument;
  // With crc8x4 four bytes more must fit, and the largest read may not.
  const Session& own = tracker_.sessions()[session];
  const bool fits = target.limits_known && request.sectors <= target.sectors_per_command &&
                    (!own.on(kFeatureCrc) || request.sectors < target.sectors_per_command);
  const bool perhaps_crc =
      own.unknown(kFeatureCrc) && request.sectors == target.sectors_per_command;
  if (fits && whole && (argument || (ata && frame.ata_error() == kAtaErrorAbrt))) {
    note(
        Rule::reply_limit_refused,
        perhaps_crc || request.ambiguous ? Certainty::doubtful : Certainty::uncertain, frame,
        session,
        [&request, &target] {
          return fmt::format("{} is refused, {} sectors are offered", request_text(request),
                             target.sectors_per_command);
        },
        "the limit at that time");
  }
}

void Judge::judge_crc(const AoeFrame& frame, const Request& request, std::uint32_t session) {
  const Session& own = tracker_.sessions()[session];
  if (!own.on(kFeatureCrc) || frame.was_cut() || request.to_all) {
    return;
  }
  see(Needs::crc);
  const auto data_end = static_cast<std::uint32_t>(kAtaDataOffset + request.sectors * kSectorBytes);
  if (request.sectors != 0 && request.first_frame > own.window_since &&
      !crc_follows(frame, data_end)) {
    const bool has_none = frame.wire_length < data_end + kCrcBytes;
    note(
        Rule::reply_crc, has_none ? unless_frames_were_lost() : Certainty::proven, frame, session,
        [&frame, &request, has_none] {
          return has_none ? fmt::format("{}: {} bytes, without the check", request_text(request),
                                        frame.wire_length)
                          : fmt::format("{}: the check is wrong", request_text(request));
        },
        kLostFrames);
  }
}

void Judge::judge_reply_ata(const AoeFrame& frame, const Request& request, std::uint32_t session,
                            std::uint32_t target_index) {
  TargetState& target = state_of_target(target_index);
  const bool reads = is_read(request.ata_command);
  const bool writes = is_write(request.ata_command);
  if (writes && (frame.has_error_flag() || frame.holds_ata())) {
    write_answered(frame, request, target_index);
  }
  if (frame.has_error_flag()) {
    judge_ata_refusal(frame, request, session, target);
    return;  // beside the code anything may stand in an AoE error
  }
  if (frame.wire_length < kAtaDataOffset) {
    note(Rule::reply_short, Certainty::proven, frame, session,
         [&frame] { return fmt::format("{} bytes hold no ATA registers", frame.wire_length); });
    return;
  }
  if (!frame.holds_ata()) {
    return;
  }
  judge_ata_registers(frame, request, session);
  if (!good_ata(frame)) {
    judge_ata_refusal(frame, request, session, target);
    return;
  }
  const bool beyond = target.capacity_known && request.sectors != 0 &&
                      request.lba + request.sectors > target.capacity_sectors;
  if (beyond && (reads || writes)) {
    note(Rule::reply_past_end, Certainty::suspect, frame, session, [&request, &target] {
      return fmt::format("{} is good, the disk has {} sectors", request_text(request),
                         target.capacity_sectors);
    });
  }
  if ((reads || writes) && target.limits_known && request.sectors > target.sectors_per_command) {
    note(Rule::reply_limit_served, Certainty::suspect, frame, session, [&request, &target] {
      return fmt::format("{} is served, the target offers {} sectors", request_text(request),
                         target.sectors_per_command);
    });
  }
  if (reads) {
    const std::uint32_t needed = kAtaDataOffset + request.sectors * kSectorBytes;
    if (frame.wire_length < needed) {
      // Whether a read with the W flag brings its data is the target's choice (ATA-W).
      const bool says_write = (request.head[0] & kAtaWriteFlag) != 0;
      note(
          Rule::reply_short, says_write ? Certainty::doubtful : unless_frames_were_lost(), frame,
          session,
          [&frame, &request, needed, says_write] {
            return fmt::format("{}{}: {} bytes, {} are needed", request_text(request),
                               says_write ? " whose W flag says that it writes" : "",
                               frame.wire_length, needed);
          },
          says_write ? nullptr : kLostFrames);
      return;
    }
    judge_crc(frame, request, session);
    read_answered(frame, request, session, target_index);
  } else if (writes) {
    if (request.frame_bytes < kAtaDataOffset + request.sectors * kSectorBytes) {
      // A longer copy of it may be what was performed.
      note(
          Rule::reply_write_short, unless_frames_were_lost(), frame, session,
          [&request] {
            return fmt::format("{} with {} bytes of frame is good", request_text(request),
                               request.frame_bytes);
          },
          kLostFrames);
    }
    if (request.note == kCheckIsWrong && tracker_.sessions()[session].on(kFeatureCrc)) {
      note(Rule::reply_crc_bad, Certainty::proven, frame, session, [&request] {
        return fmt::format("{} whose check is wrong is answered", request_text(request));
      });
    }
  } else if (request.ata_command == kAtaIdentify) {
    judge_identify(frame, session, target);
  }
}

void Judge::judge_identify(const AoeFrame& frame, std::uint32_t session, TargetState& target) {
  if (frame.wire_length < kAtaDataOffset + kIdentifyBytes) {
    note(Rule::reply_short, Certainty::proven, frame, session,
         [&frame] { return fmt::format("identify: {} bytes, 548 are needed", frame.wire_length); });
    return;
  }
  if (!frame.holds(kAtaDataOffset, kIdentifyBytes)) {
    return;
  }
  const auto identify = frame.slice(kAtaDataOffset, kIdentifyBytes);
  const std::uint64_t sectors = identify_sectors(identify);
  const std::uint64_t low =
      identify_word(identify, 60) | static_cast<std::uint64_t>(identify_word(identify, 61)) << 16;
  constexpr std::uint64_t kLow28 = 0x0FFF'FFFF;
  if (low != std::min(sectors, kLow28)) {
    note(Rule::reply_identify, Certainty::proven, frame, session, [sectors, low] {
      return fmt::format("{} sectors in words 100-103, {} in words 60-61", sectors, low);
    });
  }
  const std::uint64_t hash = hash_bytes(identify.data(), identify.size(), 3);
  if (target.identify_hash != 0 && target.identify_hash != hash && target.capacity_known) {
    note(Rule::reply_identify_same, Certainty::suspect, frame, session,
         [] { return std::string("it is not what identify said before"); });
  }
  target.identify_hash = hash;
  see(Needs::identify);
  target.capacity_known = true;
  target.capacity_sectors = sectors;
}

}  // namespace conformance::observer
