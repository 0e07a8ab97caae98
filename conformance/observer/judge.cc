#include "conformance/observer/judge.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"

namespace conformance::observer {

namespace {
constexpr std::uint32_t kIdentifyBytes = 512;
constexpr std::uint32_t kArgumentBytesMax = 2'200;  // 255 directives of 8 bytes, and to spare
constexpr std::uint32_t kSectorsWhenZero = 2;       // a sector count of 0 in a config reply
constexpr std::uint32_t kCrcBytes = 4;
constexpr std::uint8_t kAtaFlagsReserved = 0xAC;
constexpr std::uint32_t kListedMax = 256;

// CCmd, MCmd, RCmd.
constexpr std::uint8_t kConfigRead = 0, kConfigTest = 1, kConfigPrefix = 2, kConfigSet = 3,
                       kConfigForce = 4;
constexpr std::uint8_t kMaskEdit = 1;
constexpr std::uint8_t kReserveSet = 1, kReserveForce = 2;
constexpr std::uint8_t kDirectiveAdd = 1, kDirectiveDelete = 2;

std::uint32_t byte_swapped(std::uint32_t v) {
  return v << 24 | (v & 0xFF00) << 8 | (v >> 8 & 0xFF00) | v >> 24;
}

bool good_ata(const AoeFrame& frame) {
  return !frame.has_error_flag() && frame.holds_ata() &&
         (frame.ata_status() & (kStatusErr | kStatusDf)) == 0;
}

std::string config_string_in(const std::string& argument) {
  return argument.size() > 8 ? argument.substr(8) : std::string();
}

bool holds_mac(const std::vector<std::uint64_t>& macs, std::uint64_t mac) {
  return std::find(macs.begin(), macs.end(), mac) != macs.end();
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> macs) {
  std::sort(macs.begin(), macs.end());
  return macs;
}

std::string list_text(const std::vector<std::uint64_t>& macs) {
  std::string text = "{";
  for (const std::uint64_t mac : macs) {
    text += (text.size() > 1 ? " " : "") + mac_text(mac);
  }
  return text + "}";
}
}  // namespace

Judge::Judge(Tracker& tracker, std::uint32_t examples_max, std::uint32_t sector_sets)
    : tracker_(tracker),
      examples_max_(examples_max),
      disk_(sector_sets),
      arguments_(kArgumentsKept) {}

template <typename Text>
void Judge::note(Rule rule, std::uint64_t frame, std::uint32_t session, Text&& text) {
  const std::uint64_t key = static_cast<std::uint64_t>(rule) << 32 | session;
  const auto [place, is_new] =
      group_index_.try_emplace(key, static_cast<std::uint32_t>(groups_.size()));
  if (is_new) {
    groups_.push_back(FindingGroup{rule, session, 0, {}});
  }
  FindingGroup& group = groups_[place->second];
  ++group.count;
  if (group.examples.size() < examples_max_) {
    group.examples.push_back(Finding{rule, frame, session, text()});
  }
}

Judge::TargetState& Judge::state_of_target(std::uint32_t target) {
  if (target >= targets_.size()) {
    targets_.resize(target + 1);
  }
  return targets_[target];
}

Judge::SessionState& Judge::state_of_session(std::uint32_t session) {
  if (session >= sessions_.size()) {
    sessions_.resize(session + 1);
  }
  return sessions_[session];
}

std::uint32_t Judge::target_of(const Request& request) const {
  return tracker_.sessions()[request.session].target;
}

void Judge::keep_argument(const AoeFrame& frame, Request& request) {
  const std::uint32_t end =
      std::min({request.argument_bytes, frame.length, kAoeHeaderEnd + kArgumentBytesMax});
  Argument& argument = arguments_[next_argument_];
  argument.frame = request.first_frame;
  const std::uint32_t size = end > kAoeHeaderEnd ? end - kAoeHeaderEnd : 0;
  const auto bytes = frame.slice(kAoeHeaderEnd, size);
  argument.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  request.note = next_argument_;
  next_argument_ = (next_argument_ + 1) % kArgumentsKept;
}

const std::string* Judge::argument_of(const Request& request) const {
  if (request.note >= arguments_.size() || arguments_[request.note].frame != request.first_frame) {
    return nullptr;
  }
  return &arguments_[request.note].bytes;
}

void Judge::on_runt(const AoeFrame& frame) {
  note(Rule::request_runt, frame.number, kNone, [&frame] {
    return fmt::format("{} bytes from {}: shorter than the header", frame.length,
                       mac_text(frame.source));
  });
}

// ---------------------------------------------------------------- requests

void Judge::judge_request_header(const AoeFrame& frame, const Request& request) {
  const std::uint32_t s = request.session;
  if (frame.version() != 1) {
    note(Rule::request_version, frame.number, s,
         [&frame] { return fmt::format("version {}", frame.version()); });
  }
  if ((frame.flags() & kFlagsReserved) != 0) {
    note(Rule::request_reserved_bits, frame.number, s,
         [&frame] { return fmt::format("flags 0x{:x}", frame.flags()); });
  }
  if (frame.has_error_flag() || frame.error() != 0) {
    note(Rule::request_error_field, frame.number, s, [&frame] {
      return fmt::format("E {}, error {}", frame.has_error_flag() ? 1 : 0, frame.error());
    });
  }
  if (request.reused_waiting) {
    note(Rule::request_tag_reused, frame.number, s, [&request] {
      return fmt::format("tag 0x{:08x} of a request that still waits, now for a {}", request.tag,
                         request_text(request));
    });
  }
}

void Judge::judge_request_ata(const AoeFrame& frame, const Request& request) {
  const std::uint32_t s = request.session;
  if (frame.wire_length < kAtaDataOffset) {
    note(Rule::request_ata_short, frame.number, s,
         [&frame] { return fmt::format("{} bytes", frame.wire_length); });
    return;
  }
  if (!frame.holds_ata()) {
    return;
  }
  const bool writes = is_write(request.ata_command);
  const std::uint32_t needed = kAtaDataOffset + request.sectors * kSectorBytes;
  if (writes && frame.wire_length < needed) {
    note(Rule::request_write_short, frame.number, s, [&frame, &request, needed] {
      return fmt::format("{} needs {} bytes, the frame has {}", request_text(request), needed,
                         frame.wire_length);
    });
  }
  const bool flagged = (frame.ata_flags() & kAtaWriteFlag) != 0;
  if (flagged != writes) {
    note(Rule::request_write_flag, frame.number, s, [&request, flagged] {
      return fmt::format("W is {} in a {}", flagged ? 1 : 0, request_text(request));
    });
  }
  if ((frame.ata_flags() & kAtaFlagsReserved) != 0 || frame.be16(34) != 0) {
    note(Rule::request_ata_reserved, frame.number, s, [&frame] {
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
  const bool ranged = request.command == kCommandAta &&
                      (is_read(request.ata_command) || is_write(request.ata_command));
  if (ranged && request.sectors > target.sectors_per_command) {
    note(Rule::request_sector_limit, frame.number, request.session, [&request, &target] {
      return fmt::format("{}, the target offers {} sectors", request_text(request),
                         target.sectors_per_command);
    });
  }
  const std::uint32_t waiting = tracker_.sessions()[request.session].waiting;
  SessionState& session = state_of_session(request.session);
  if (waiting > target.buffers && target.buffers != 0 && waiting >= session.outstanding_told) {
    session.outstanding_told = 2 * waiting;  // spoken of again only when it has doubled
    note(Rule::request_outstanding_limit, frame.number, request.session, [waiting, &target] {
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
    note(Rule::request_config_length, frame.number, request.session, [size, &frame] {
      return fmt::format("string of {} bytes in a frame of {}", size, frame.wire_length);
    });
  }
  if (request.sub_command > kConfigForce) {
    note(Rule::request_config_command, frame.number, request.session,
         [&request] { return fmt::format("CCmd {}", request.sub_command); });
  }
}

void Judge::judge_request_extensions(const AoeFrame& frame, const Request& request) {
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    if (!frame.was_cut()) {
      note(Rule::request_table_malformed, frame.number, request.session, [] {
        return std::string("no table that ends in two NULs inside the frame, in either byte order");
      });
    }
    return;
  }
  table.for_each([this, &frame, &request](std::string_view name) {
    if (feature_bit(name) != 0 && is_upper_case(name)) {
      note(Rule::request_upper_case, frame.number, request.session, [name] {
        return fmt::format(
            "asks for \"{}\" in upper case: it comes back unchanged and looks active", name);
      });
    }
  });
}

void Judge::judge_request_padding(const AoeFrame& frame, const Request& request) {
  std::uint32_t begin = request.argument_bytes;
  const Session& session = tracker_.sessions()[request.session];
  if (request.command == kCommandAta) {
    if (is_write(request.ata_command) && (session.features & kFeatureCrc) != 0) {
      begin += kCrcBytes;
    }
    if (is_read(request.ata_command) && (session.features & kFeatureCoalescedRead) != 0 &&
        frame.holds(kAtaDataOffset, 1)) {
      const std::uint32_t further = frame.u8(kAtaDataOffset);
      begin = kAtaDataOffset + 1 + further * kCoalescedEntryBytes;
      if (begin > frame.wire_length) {
        note(Rule::request_coalesced_cut, frame.number, request.session, [further, &frame] {
          return fmt::format("{} further reads do not fit {} bytes", further, frame.wire_length);
        });
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
    note(Rule::request_padding, frame.number, request.session, [&frame, &request, begin, first] {
      return fmt::format("{}: fields end at byte {}, yet byte {} of {} is 0x{:02x}",
                         request_text(request), begin, first, frame.wire_length, frame.u8(first));
    });
  }
}

void Judge::judge_tag_promise(const AoeFrame& frame, const Request& request, Relation relation) {
  const Session& session = tracker_.sessions()[request.session];
  SessionState& state = state_of_session(request.session);
  if (session.features != state.features_before) {
    state.features_before = session.features;
    state.tag_known = false;
  }
  if ((session.features & kFeaturesTagInc) == 0 || session.features_doubtful) {
    state.tag_known = false;
    return;
  }
  if (relation == Relation::copy_waiting || relation == Relation::copy_answered) {
    return;
  }
  // A negotiation is not part of the sequence: it may be what ends it.
  if (request.command == kCommandExtensions || request.command == kCommandConfig) {
    return;
  }
  const bool little = (session.features & kFeatureTagIncLe) != 0;
  const std::uint32_t tag = little ? byte_swapped(request.tag) : request.tag;
  if (state.tag_known && tag != state.next_tag) {
    note(Rule::request_tag_promise, frame.number, request.session, [tag, &state, little] {
      return fmt::format("tag {} read {}-endian, promised was {}", tag, little ? "little" : "big",
                         state.next_tag);
    });
  }
  state.tag_known = true;
  state.next_tag = tag + 1;
}

// A request that may change what the target knows makes it unsettled until its reply.
void Judge::note_state_change_asked(const Request& request, bool asked) {
  const std::uint32_t index = target_of(request);
  if (index == kNone) {
    return;
  }
  TargetState& target = state_of_target(index);
  const auto step = [asked](std::uint32_t& waiting) {
    waiting = asked ? waiting + 1 : (waiting == 0 ? 0 : waiting - 1);
  };
  if (request.command == kCommandConfig &&
      (request.sub_command == kConfigSet || request.sub_command == kConfigForce)) {
    step(target.sets_waiting);
  } else if (request.command == kCommandMask && request.sub_command == kMaskEdit) {
    step(target.mask.edits_waiting);
  } else if (request.command == kCommandReserve && request.sub_command != 0) {
    step(target.reserve.edits_waiting);
  }
}

void Judge::see_request(const Request& request, Relation relation) {
  see(Needs::anything);
  const std::uint8_t features = tracker_.sessions()[request.session].features;
  if ((features & kFeaturesTagInc) != 0) {
    see(Needs::tag_inc);
  }
  switch (request.command) {
    case kCommandAta:
      see(Needs::ata);
      if (is_write(request.ata_command)) {
        see(Needs::write);
        if (relation == Relation::copy_answered || relation == Relation::copy_waiting) {
          see(Needs::write_copy);
        }
      } else if (is_read(request.ata_command) && (features & kFeatureCoalescedRead) != 0) {
        see(Needs::coalesced);
      }
      break;
    case kCommandConfig:
      see(Needs::config);
      break;
    case kCommandMask:
      see(Needs::mask);
      break;
    case kCommandReserve:
      see(Needs::reserve);
      break;
    case kCommandExtensions:
      see(Needs::extensions);
      break;
    default:
      break;
  }
}

void Judge::on_request(const AoeFrame& frame, Request& request, Relation relation,
                       Request* /*earlier*/) {
  ++counters_.requests;
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  see_request(request, relation);
  judge_tag_promise(frame, request, relation);
  if (request.command == kCommandAta && is_write(request.ata_command)) {
    write_seen(frame, request, relation);
  }
  if (copy) {
    return;  // the first one has been judged
  }
  judge_limits(frame, request);
  if (request.coalesced) {
    return;  // the rest is its head's
  }
  judge_request_header(frame, request);
  switch (request.command) {
    case kCommandAta:
      judge_request_ata(frame, request);
      break;
    case kCommandConfig:
      judge_request_config(frame, request);
      break;
    case kCommandExtensions:
      judge_request_extensions(frame, request);
      break;
    default:
      break;
  }
  judge_request_padding(frame, request);
  if (request.command != kCommandAta) {
    keep_argument(frame, request);
    note_state_change_asked(request, true);
  }
}

void Judge::on_given_up(const Request& request) {
  if (request.command == kCommandAta) {
    return;
  }
  const std::uint32_t index = target_of(request);
  if (index == kNone) {
    return;
  }
  // Done or not, nobody knows: what it would have changed is unknown from here on.
  TargetState& target = state_of_target(index);
  if (request.command == kCommandConfig && request.sub_command >= kConfigSet) {
    target.config_known = false;
  } else if (request.command == kCommandMask && request.sub_command != 0) {
    target.mask.known = false;
  } else if (request.command == kCommandReserve && request.sub_command != 0) {
    target.reserve.known = false;
  }
  note_state_change_asked(request, false);
}

// ---------------------------------------------------------------- replies

void Judge::judge_unasked(const AoeFrame& frame, std::uint32_t session) {
  if (frame.command() == kCommandConfig && frame.tag() == 0) {
    return;  // a target may announce itself
  }
  if (const Request* request = tracker_.request_with_tag_of(frame)) {
    note(Rule::reply_command, frame.number, session, [&frame, request] {
      return fmt::format("command 0x{:02x} in the reply to a {}", frame.command(),
                         request_text(*request));
    });
    return;
  }
  note(Rule::reply_unasked, frame.number, session, [&frame] {
    return fmt::format("command 0x{:02x}, tag 0x{:08x}: no request with it was seen",
                       frame.command(), frame.tag());
  });
}

void Judge::judge_reply_header(const AoeFrame& frame, const Request* request,
                               std::uint32_t session) {
  const bool request_seen = request != nullptr;
  const std::uint8_t asked = request_seen ? request->version_flags : 0;
  if (frame.version() != 1) {
    note(Rule::reply_version, frame.number, session, [&frame, asked, request_seen] {
      return request_seen
                 ? fmt::format("version {}, the request had {}", frame.version(), asked >> 4)
                 : fmt::format("version {} in an announcement", frame.version());
    });
  }
  if ((frame.flags() & kFlagsReserved & ~asked) != 0) {
    note(Rule::reply_reserved_bits, frame.number, session,
         [&frame] { return fmt::format("flags 0x{:x}", frame.flags()); });
  }
  const bool error_echoed = request != nullptr && (asked & kFlagError) != 0;
  if (frame.has_error_flag() != (frame.error() != 0) && !error_echoed) {
    note(Rule::reply_error_flag, frame.number, session, [&frame] {
      return fmt::format("E {}, error {}", frame.has_error_flag() ? 1 : 0, frame.error());
    });
  }
  if (frame.has_error_flag() && frame.error() > kErrorReserved) {
    note(Rule::reply_error_code, frame.number, session,
         [&frame] { return fmt::format("error {}", frame.error()); });
  }
  if (frame.shelf() == kBroadcastShelf || frame.slot() == kBroadcastSlot) {
    note(Rule::reply_address, frame.number, session, [&frame] {
      return fmt::format("the reply says shelf {}, slot {}", frame.shelf(), frame.slot());
    });
  }
  constexpr std::uint64_t kGroupBit = std::uint64_t{1} << 40;
  if ((frame.source & kGroupBit) != 0) {
    note(Rule::reply_source, frame.number, session,
         [&frame] { return fmt::format("from {}", mac_text(frame.source)); });
  }
}

void Judge::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  ++counters_.replies;
  see(Needs::reply);
  const std::uint32_t s =
      session == nullptr ? kNone : static_cast<std::uint32_t>(session - tracker_.sessions().data());
  judge_reply_header(frame, request, s);
  if (session == nullptr || session->target == kNone) {
    return;
  }
  const Target& seen = tracker_.targets()[session->target];
  if (seen.mac_count > 1 && frame.source != seen.macs[0]) {
    note(Rule::reply_two_sources, frame.number, s, [&frame, &seen] {
      return fmt::format("{} answers as {}, so did {}", mac_text(frame.source),
                         address_text(seen.vlan, seen.shelf, seen.slot), mac_text(seen.macs[0]));
    });
  }
  TargetState& target = state_of_target(session->target);
  if (request == nullptr) {
    judge_unasked(frame, s);
    return;
  }
  if (request->answers > request->copies && !request->to_all) {
    note(Rule::reply_duplicate, frame.number, s, [request] {
      return fmt::format("reply {} to {} copies of a {}, tag 0x{:08x}", request->answers,
                         request->copies, request_text(*request), request->tag);
    });
    return;  // or the reply to a request that the capture missed: it must not be judged by this one
  }
  judge_access(frame, *request, s, target);
  judge_reply_padding(frame, *request, s);
  switch (frame.command()) {
    case kCommandAta:
      judge_reply_ata(frame, *request, s, target);
      break;
    case kCommandConfig:
      judge_reply_config(frame, *request, s, target);
      break;
    case kCommandMask:
      judge_reply_mask(frame, *request, s, target);
      break;
    case kCommandReserve:
      judge_reply_reserve(frame, *request, s, target);
      break;
    case kCommandExtensions:
      judge_reply_extensions(frame, *request, s);
      break;
    default:
      if (!frame.has_error_flag() && frame.command() < 0xF0) {
        note(Rule::reply_unknown_command, frame.number, s, [&frame] {
          return fmt::format("command 0x{:02x} is answered without an error", frame.command());
        });
      }
  }
  if (request->command != kCommandAta && request->answers == 1) {
    note_state_change_asked(*request, false);
  }
}

void Judge::judge_access(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         TargetState& target) {
  const bool mask_settled = target.mask.known && target.mask.edits_waiting == 0 &&
                            request.first_frame > target.mask.settled_frame;
  if (mask_settled && !target.mask.macs.empty() &&
      !holds_mac(target.mask.macs, request.initiator)) {
    note(Rule::reply_masked_out, frame.number, session, [&request] {
      return fmt::format("{} is not on the mask list, yet its {} is answered",
                         mac_text(request.initiator), request_text(request));
    });
  }
  if (request.command != kCommandAta || request.ata_command == kAtaIdentify) {
    return;
  }
  const AddressList& reserve = target.reserve;
  const bool settled =
      reserve.known && reserve.edits_waiting == 0 && request.first_frame > reserve.settled_frame;
  if (!settled) {
    return;
  }
  const bool admitted = reserve.macs.empty() || holds_mac(reserve.macs, request.initiator);
  const bool refused = frame.has_error_flag() && frame.error() == kErrorReserved;
  if (!admitted && good_ata(frame)) {
    note(Rule::reply_reserved_out, frame.number, session, [&request, &reserve] {
      return fmt::format("reserved for {}, yet the {} of {} is served", list_text(reserve.macs),
                         request_text(request), mac_text(request.initiator));
    });
  }
  if (admitted && refused) {
    note(Rule::reply_reserve_refused, frame.number, session, [&request, &reserve] {
      return fmt::format("reserved for {}, yet {} is refused", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
  }
}

void Judge::judge_reply_ata(const AoeFrame& frame, const Request& request, std::uint32_t session,
                            TargetState& target) {
  if (frame.has_error_flag()) {
    if (is_write(request.ata_command)) {
      write_answered(frame, request, false);
    }
    return;  // beside the code anything may stand in an AoE error
  }
  if (frame.wire_length < kAtaDataOffset) {
    note(Rule::reply_short, frame.number, session,
         [&frame] { return fmt::format("{} bytes hold no ATA registers", frame.wire_length); });
    return;
  }
  if (!frame.holds_ata()) {
    return;
  }
  const bool good = good_ata(frame);
  const std::uint8_t status = frame.ata_status();
  const bool error_but_no_reason = (status & kStatusErr) != 0 && frame.ata_error() == 0;
  if ((good && (status & kStatusDrdy) == 0) || error_but_no_reason) {
    note(Rule::reply_ata_status, frame.number, session, [&frame, &request] {
      return fmt::format("{}: status 0x{:02x}, error 0x{:02x}", request_text(request),
                         frame.ata_status(), frame.ata_error());
    });
  }
  const bool reads = is_read(request.ata_command);
  const bool writes = is_write(request.ata_command);
  const bool beyond = target.capacity_known && request.sectors != 0 &&
                      request.lba + request.sectors > target.capacity_sectors;
  if (good && beyond && (reads || writes)) {
    note(Rule::reply_past_end, frame.number, session, [&request, &target] {
      return fmt::format("{} is good, the disk has {} sectors", request_text(request),
                         target.capacity_sectors);
    });
  }
  if (good && reads) {
    const std::uint32_t needed = kAtaDataOffset + request.sectors * kSectorBytes;
    if (frame.wire_length < needed) {
      note(Rule::reply_short, frame.number, session, [&frame, &request, needed] {
        return fmt::format("{}: {} bytes, {} are needed", request_text(request), frame.wire_length,
                           needed);
      });
    } else {
      read_answered(frame, request, session);
    }
  } else if (writes) {
    write_answered(frame, request, good);
  } else if (good && request.ata_command == kAtaIdentify) {
    judge_identify(frame, session, target);
  }
}

void Judge::judge_identify(const AoeFrame& frame, std::uint32_t session, TargetState& target) {
  if (frame.wire_length < kAtaDataOffset + kIdentifyBytes) {
    note(Rule::reply_short, frame.number, session,
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
    note(Rule::reply_identify, frame.number, session, [sectors, low] {
      return fmt::format("{} sectors in words 100-103, {} in words 60-61", sectors, low);
    });
  }
  see(Needs::identify);
  target.capacity_known = true;
  target.capacity_sectors = sectors;
}

void Judge::judge_reply_padding(const AoeFrame& frame, const Request& request,
                                std::uint32_t session) {
  std::uint32_t begin = kAoeHeaderEnd;
  const Session& own = tracker_.sessions()[session];
  switch (frame.command()) {
    case kCommandAta:
      begin = kAtaDataOffset;
      if (frame.has_error_flag()) {
        begin = kAtaDataOffset;
      } else if (good_ata(frame) && is_read(request.ata_command)) {
        begin += request.sectors * kSectorBytes;
        begin += (own.features & kFeatureCrc) != 0 ? kCrcBytes : 0;
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
      return;
  }
  // Zero, or what the sender itself had there; a whole frame sent back is an echo.
  const bool echo = frame.wire_length == request.frame_bytes;
  const std::uint32_t end = echo ? std::min(frame.length, kMinimumFrameBytes) : frame.length;
  for (std::uint32_t i = begin; i < end; ++i) {
    const std::uint8_t byte = frame.u8(i);
    const bool senders = i < kMinimumFrameBytes && request.head[i - kAoeHeaderEnd] == byte;
    if (byte != 0 && !senders) {
      note(Rule::reply_padding, frame.number, session, [&frame, &request, begin, i, end] {
        const auto bytes = frame.slice(i, std::min(end - i, 8U));
        return fmt::format("reply to a {}: fields end at byte {}, yet at byte {} stands \"{}\"",
                           request_text(request), begin, i,
                           printable({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
      });
      return;
    }
  }
}

void Judge::judge_reply_config(const AoeFrame& frame, const Request& request, std::uint32_t session,
                               TargetState& target) {
  if (!frame.holds(kAoeHeaderEnd, 8)) {
    if (!frame.was_cut() && !frame.has_error_flag()) {
      note(Rule::reply_short, frame.number, session,
           [&frame] { return fmt::format("{} bytes hold no config argument", frame.wire_length); });
    }
    return;
  }
  const std::uint32_t size = frame.be16(30);
  const bool fits = size <= kConfigStringMax && kConfigStringOffset + size <= frame.wire_length;
  if (!fits && !frame.has_error_flag()) {
    note(Rule::reply_config_length, frame.number, session, [&frame, size] {
      return fmt::format("string of {} bytes in a frame of {}", size, frame.wire_length);
    });
    return;
  }
  const bool good = !frame.has_error_flag();
  if (good) {
    target.buffers = frame.be16(24);
    target.sectors_per_command = frame.u8(28) == 0 ? kSectorsWhenZero : frame.u8(28);
    if (!target.limits_known && target.buffers < 2) {
      note(Rule::reply_buffer_count, frame.number, session, [&target] {
        return fmt::format("{} buffers: the Linux driver is unusable with fewer than 2",
                           target.buffers);
      });
    }
    target.limits_known = true;
  }
  const std::string* argument = argument_of(request);
  if (argument == nullptr || !fits || !frame.holds(kConfigStringOffset, size)) {
    return;
  }
  const std::string asked = config_string_in(*argument);
  const auto slice = frame.slice(kConfigStringOffset, size);
  const std::string told(reinterpret_cast<const char*>(slice.data()), slice.size());
  const bool is_set = request.sub_command == kConfigSet || request.sub_command == kConfigForce;
  const std::uint32_t others = target.sets_waiting - (is_set && target.sets_waiting != 0 ? 1 : 0);
  const bool settled =
      target.config_known && others == 0 && request.first_frame > target.config_settled_frame;
  const std::string known = target.config_string;
  const auto texts = [&asked, &known, &told] {
    return fmt::format("asked \"{}\", it is \"{}\", the reply says \"{}\"", printable(asked),
                       printable(known), printable(told));
  };
  switch (request.sub_command) {
    case kConfigTest:
      if (good && settled && asked != known) {
        note(Rule::reply_config_test, frame.number, session, texts);
      }
      break;
    case kConfigPrefix:
      if (good && settled && known.compare(0, asked.size(), asked) != 0) {
        note(Rule::reply_config_test, frame.number, session, texts);
      }
      break;
    case kConfigSet:
      if (settled && ((good && !known.empty() && known != asked) || (!good && known.empty()))) {
        note(Rule::reply_config_set, frame.number, session, texts);
      }
      break;
    case kConfigForce:
      if (!good && asked.size() <= kConfigStringMax) {
        note(Rule::reply_config_force, frame.number, session, [&frame] {
          return fmt::format("a force set is refused with error {}", frame.error());
        });
      }
      break;
    case kConfigRead:
      break;
    default:
      if (good) {
        note(Rule::reply_config_unknown, frame.number, session, [&request] {
          return fmt::format("CCmd {} is answered without an error", request.sub_command);
        });
      }
      return;
  }
  if (good && is_set) {
    if (told != asked && !told.empty()) {
      note(Rule::reply_config_string, frame.number, session, texts);
    }
    target.config_known = others == 0;
    target.config_string = asked;
    target.config_settled_frame = frame.number;
    return;
  }
  if (good) {
    if (settled && told != known) {
      note(Rule::reply_config_string, frame.number, session, texts);
    }
    if (others == 0) {
      target.config_known = true;
      target.config_string = told;
    }
  }
}

void Judge::judge_reply_mask(const AoeFrame& frame, const Request& request, std::uint32_t session,
                             TargetState& target) {
  if (frame.has_error_flag() || !frame.holds(kAoeHeaderEnd, 4)) {
    return;
  }
  if (request.sub_command > kMaskEdit) {
    note(Rule::reply_mask_command, frame.number, session, [&request] {
      return fmt::format("MCmd {} is answered without an error", request.sub_command);
    });
    return;
  }
  if (frame.u8(26) != 0) {
    target.mask.known = false;  // part of the directives stayed applied
    return;
  }
  const std::uint32_t count = frame.u8(27);
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kMaskListOffset + i * kMaskDirectiveBytes;
    if (!frame.holds(at, kMaskDirectiveBytes)) {
      return;
    }
    told.push_back(frame.mac(at + 2));
  }
  AddressList& mask = target.mask;
  const bool edits = request.sub_command == kMaskEdit;
  const std::uint32_t others = mask.edits_waiting - (edits && mask.edits_waiting != 0 ? 1 : 0);
  const bool settled = mask.known && others == 0 && request.first_frame > mask.settled_frame;
  const std::string* argument = argument_of(request);
  if (settled && argument != nullptr && argument->size() >= 4) {
    std::vector<std::uint64_t> expected = mask.macs;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    const std::uint32_t directives = edits ? bytes[3] : 0;
    for (std::uint32_t i = 0; i < directives && 4 + (i + 1) * 8 <= argument->size(); ++i) {
      const std::uint8_t* directive = bytes + 4 + static_cast<std::size_t>(i) * 8;
      const std::uint64_t mac = AoeFrame::read_mac(directive + 2);
      if (directive[1] == kDirectiveAdd && !holds_mac(expected, mac) &&
          expected.size() < kListedMax) {
        expected.push_back(mac);
      } else if (directive[1] == kDirectiveDelete) {
        expected.erase(std::remove(expected.begin(), expected.end(), mac), expected.end());
      }
    }
    if (sorted(expected) != sorted(told)) {
      note(Rule::reply_mask_list, frame.number, session, [&expected, &told] {
        return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                           list_text(told));
      });
    }
  }
  mask.known = others == 0;
  mask.macs = std::move(told);
  if (edits) {
    mask.settled_frame = frame.number;
  }
}

void Judge::judge_reply_reserve(const AoeFrame& frame, const Request& request,
                                std::uint32_t session, TargetState& target) {
  if (!frame.holds(kAoeHeaderEnd, 2)) {
    return;
  }
  AddressList& reserve = target.reserve;
  const bool edits = request.sub_command != 0;
  const std::uint32_t others =
      reserve.edits_waiting - (edits && reserve.edits_waiting != 0 ? 1 : 0);
  const bool settled = reserve.known && others == 0 && request.first_frame > reserve.settled_frame;
  const bool holder = reserve.macs.empty() || holds_mac(reserve.macs, request.initiator);
  const bool refused = frame.has_error_flag();
  if (settled && request.sub_command == kReserveSet && refused && holder &&
      frame.error() == kErrorReserved) {
    note(Rule::reply_reserve_refused, frame.number, session, [&reserve, &request] {
      return fmt::format("reserved for {}, yet a set by {} is refused", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
  }
  if (settled && request.sub_command == kReserveSet && !refused && !holder) {
    note(Rule::reply_reserved_out, frame.number, session, [&reserve, &request] {
      return fmt::format("reserved for {}, yet a set by {} succeeds", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
  }
  if (refused) {
    return;
  }
  const std::uint32_t count = frame.u8(25);
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kReserveListOffset + i * kMacBytes;
    if (!frame.holds(at, kMacBytes)) {
      return;
    }
    told.push_back(frame.mac(at));
  }
  const std::string* argument = argument_of(request);
  std::vector<std::uint64_t> expected = reserve.macs;
  bool expect = settled;
  if (argument != nullptr && argument->size() >= 2 &&
      (request.sub_command == kReserveSet || request.sub_command == kReserveForce)) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    expected.clear();
    expect = others == 0;
    for (std::uint32_t i = 0; i < bytes[1] && 2 + (i + 1) * kMacBytes <= argument->size(); ++i) {
      expected.push_back(AoeFrame::read_mac(bytes + 2 + static_cast<std::size_t>(i) * kMacBytes));
    }
  }
  if (expect && sorted(expected) != sorted(told)) {
    note(Rule::reply_reserve_list, frame.number, session, [&expected, &told] {
      return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                         list_text(told));
    });
  }
  reserve.known = others == 0;
  reserve.macs = std::move(told);
  if (edits) {
    reserve.settled_frame = frame.number;
  }
}

void Judge::judge_reply_extensions(const AoeFrame& frame, const Request& request,
                                   std::uint32_t session) {
  if (frame.has_error_flag()) {
    return;  // not supported: a plain target says so
  }
  const std::string* argument = argument_of(request);
  if (argument == nullptr || frame.was_cut()) {
    return;
  }
  const ExtensionTable told = ExtensionTable::find(frame);
  const std::string_view asked =
      argument->size() > 2 ? std::string_view(*argument).substr(2) : std::string_view();
  if (!told.well_formed) {
    note(Rule::reply_table_malformed, frame.number, session,
         [] { return std::string("no table that ends in two NULs inside the frame"); });
    return;
  }
  const bool asked_well_formed = request.sub_command == 1;
  if (!asked_well_formed) {
    note(Rule::reply_table_answered, frame.number, session,
         [] { return std::string("a malformed table is answered"); });
    return;
  }
  bool same = equal_but_for_case(asked, told.bytes);
  std::string_view rest = asked;
  if (same) {
    told.for_each([&rest, &same](std::string_view name) {
      const std::string_view was = rest.substr(0, name.size());
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      same = same && (feature_bit(name) != 0 || was == name);
    });
  }
  if (!same) {
    note(Rule::reply_table_changed, frame.number, session, [asked, &told] {
      return fmt::format("asked \"{}\", told \"{}\"", printable(asked), printable(told.bytes));
    });
  }
}

// ---------------------------------------------------------------- data

void Judge::write_seen(const AoeFrame& frame, const Request& request, Relation relation) {
  const std::uint32_t target = target_of(request);
  if (target == kNone) {
    return;
  }
  const auto hashes = tracker_.sector_hashes();
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  const auto number = static_cast<std::uint32_t>(frame.number);
  bool stale = false;
  for (std::uint32_t i = 0; i < request.sectors; ++i) {
    if (i >= hashes.size()) {
      disk_.forget(target, request.lba + i);  // cut by snaplen: nobody knows
      continue;
    }
    Sector& sector = disk_.obtain(target, request.lba + i);
    if (copy) {
      // Harmless as long as nothing newer has been written there.
      const bool newer =
          sector.known && sector.current != hashes[i] && sector.current_frame > request.first_frame;
      if (newer) {
        sector.stale = hashes[i];
        sector.stale_frame = number;
        stale = true;
      }
      continue;
    }
    const std::uint32_t place = sector.pending_frame[0] == 0 ? 0 : 1;
    if (sector.pending_frame[place] != 0) {
      sector.crowded = true;
    }
    sector.pending[place] = hashes[i];
    sector.pending_frame[place] = static_cast<std::uint32_t>(request.first_frame);
  }
  counters_.stale_copies += stale ? 1 : 0;
}

void Judge::write_answered(const AoeFrame& frame, const Request& request, bool good) {
  const std::uint32_t target = target_of(request);
  if (target == kNone || request.answers != 1) {
    return;
  }
  const auto first = static_cast<std::uint32_t>(request.first_frame);
  for (std::uint32_t i = 0; i < request.sectors; ++i) {
    Sector* sector = disk_.find(target, request.lba + i);
    if (sector == nullptr) {
      continue;
    }
    for (int place = 0; place < 2; ++place) {
      if (sector->pending_frame[place] != first) {
        continue;
      }
      sector->pending_frame[place] = 0;
      // Two writes in flight are performed in the order they came, whichever is answered first.
      if (good && (sector->current_frame < first || !sector->known)) {
        sector->previous = sector->current;
        sector->previous_known = sector->known;
        sector->previous_frame = sector->current_frame;
        sector->current = sector->pending[place];
        sector->known = true;
        sector->current_frame = first;
        sector->changed_ns = frame.time_ns;
        sector->stale_frame = 0;
      }
    }
    if (sector->pending_frame[0] == 0 && sector->pending_frame[1] == 0) {
      if (sector->crowded) {
        sector->known = false;
        sector->crowded = false;
      }
    }
  }
}

void Judge::read_answered(const AoeFrame& frame, const Request& request, std::uint32_t session) {
  const std::uint32_t target = target_of(request);
  if (target == kNone || request.answers != 1) {
    return;
  }
  const auto hashes = tracker_.sector_hashes();
  if (!hashes.empty()) {
    see(Needs::read);
  }
  for (std::uint32_t i = 0; i < hashes.size(); ++i) {
    check_sector(frame, request, session, request.lba + i, hashes[i]);
  }
}

void Judge::check_sector(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         std::uint64_t lba, std::uint64_t value) {
  Sector& sector = disk_.obtain(target_of(request), lba);
  const auto learn = [&sector, value](std::uint32_t from) {
    sector.current = value;
    sector.known = true;
    sector.current_frame = from;
  };
  if (!sector.known || sector.crowded) {
    ++counters_.sectors_unknown;
    if (!sector.crowded) {
      // What is in flight may have been read already; then its frame made it so.
      std::uint32_t from = 0;
      for (int place = 0; place < 2; ++place) {
        if (sector.pending_frame[place] != 0 && sector.pending[place] == value) {
          from = sector.pending_frame[place];
        }
      }
      learn(from);
    }
    return;
  }
  ++counters_.sectors_checked;
  if (value == sector.current) {
    if (sector.stale_frame != 0 && request.first_frame > sector.stale_frame) {
      if (last_stale_told_ != sector.stale_frame) {
        last_stale_told_ = sector.stale_frame;
        ++counters_.stale_not_executed;
        note(Rule::stale_refused, frame.number, session, [&sector, lba] {
          return fmt::format(
              "the write of frame {} came again in frame {}, after newer data: not executed, "
              "LBA {} still holds the newer",
              sector.previous_frame, sector.stale_frame, lba);
        });
      }
      sector.stale_frame = 0;
    }
    return;
  }
  for (int place = 0; place < 2; ++place) {
    if (sector.pending_frame[place] != 0 && sector.pending[place] == value) {
      sector.previous = sector.current;
      sector.previous_known = true;
      sector.previous_frame = sector.current_frame;
      sector.changed_ns = frame.time_ns;
      learn(sector.pending_frame[place]);
      return;
    }
  }
  if (sector.previous_known && value == sector.previous &&
      request.first_time_ns <= sector.changed_ns) {
    return;  // read while it was being written
  }
  if (sector.stale_frame != 0 && value == sector.stale) {
    const bool promised = (tracker_.sessions()[request.session].features & kFeaturesTagInc) != 0;
    const Rule rule = promised ? Rule::stale_executed : Rule::stale_executed_plain;
    if (last_stale_told_ != sector.stale_frame) {
      last_stale_told_ = sector.stale_frame;
      ++counters_.stale_executed;
      note(rule, frame.number, session, [&sector, lba] {
        return fmt::format(
            "a late copy of an older write, frame {}, was executed over the write of frame {}: "
            "LBA {} holds the older data again",
            sector.stale_frame, sector.current_frame, lba);
      });
    }
    sector.stale_frame = 0;
    learn(0);
    return;
  }
  const bool older = sector.previous_known && value == sector.previous && sector.current_frame != 0;
  note(older ? Rule::data_old : Rule::data_foreign, frame.number, session,
       [&sector, lba, older, &request] {
         if (older) {
           return fmt::format(
               "{}: LBA {} holds what stood there before the answered write of frame {}",
               request_text(request), lba, sector.current_frame);
         }
         return fmt::format(
             "{}: LBA {} holds what nobody in this capture wrote{}", request_text(request), lba,
             sector.current_frame != 0 ? fmt::format(", last was frame {}", sector.current_frame)
                                       : std::string(", it was read differently before"));
       });
  learn(0);
}

}  // namespace conformance::observer
