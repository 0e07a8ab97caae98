#include "conformance/observer/judge.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"

namespace conformance::observer {

namespace {
using Kind = Candidate::Kind;

constexpr std::uint32_t kIdentifyBytes = 512;
// A table may fill a jumbo frame. What is longer is not kept, and nothing is said of its reply.
constexpr std::uint32_t kArgumentBytesMax = 9'216;
constexpr std::uint32_t kSectorsWhenZero = 2;  // a sector count of 0 in a config reply
constexpr std::uint32_t kCrcBytes = 4;
constexpr std::uint8_t kAtaFlagsReserved = 0xAC;
constexpr std::uint32_t kListedMax = 256;
constexpr std::uint32_t kSectorsOfUnseenWrite = 17;     // what fits a jumbo frame
constexpr Nanoseconds kPauseNs = 450'000'000;           // 0.5 s, and to spare
constexpr Nanoseconds kPauseTooLongNs = 1'500'000'000;  // three of them
constexpr std::uint32_t kWrongOrderTold = 3;            // so many in a row are no accident
constexpr std::uint64_t kGroupBit = std::uint64_t{1} << 40;

// CCmd, MCmd, RCmd.
constexpr std::uint8_t kConfigRead = 0, kConfigTest = 1, kConfigPrefix = 2, kConfigSet = 3,
                       kConfigForce = 4;
constexpr std::uint8_t kMaskEdit = 1;
constexpr std::uint8_t kReserveSet = 1, kReserveForce = 2;
constexpr std::uint8_t kDirectiveAdd = 1, kDirectiveDelete = 2;
constexpr std::uint8_t kMaskBadDirective = 2;
constexpr std::uint32_t kCheckIsWrong =
    kNone - 1;  // Request::note of a write whose crc8x4 is wrong

bool good_ata(const AoeFrame& frame) {
  return !frame.has_error_flag() && frame.holds_ata() &&
         (frame.ata_status() & (kStatusErr | kStatusDf)) == 0;
}

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}

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

// Bytes of a frame that its command cannot do without.
std::uint32_t fixed_argument_end(std::uint8_t command) {
  switch (command) {
    case kCommandAta:
      return kAtaDataOffset;
    case kCommandConfig:
      return kConfigStringOffset;
    case kCommandMask:
      return kMaskListOffset;
    case kCommandReserve:
      return kReserveListOffset;
    case kCommandExtensions:
      return kExtensionTableOffset;
    default:
      return kAoeHeaderEnd;
  }
}

std::string config_string_in(const std::string& argument) {
  return argument.size() > 8 ? argument.substr(8) : std::string();
}

// The length that a config request claims: not more than may be, and not more than it sent.
bool config_length_holds(const std::string& argument, std::uint32_t frame_bytes) {
  if (argument.size() < 8) {
    return false;
  }
  const auto* p = reinterpret_cast<const std::uint8_t*>(argument.data());
  const auto size = static_cast<std::uint32_t>(p[6] << 8 | p[7]);
  return size <= kConfigStringMax && kConfigStringOffset + size <= frame_bytes;
}

std::uint64_t text_hash(std::string_view text) {
  return hash_bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), 7);
}

bool holds_mac(const std::vector<std::uint64_t>& macs, std::uint64_t mac) {
  return std::find(macs.begin(), macs.end(), mac) != macs.end();
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> macs) {
  std::sort(macs.begin(), macs.end());
  return macs;
}

std::vector<std::uint64_t> distinct(std::vector<std::uint64_t> macs) {
  macs = sorted(std::move(macs));
  macs.erase(std::unique(macs.begin(), macs.end()), macs.end());
  return macs;
}

std::string list_text(const std::vector<std::uint64_t>& macs) {
  std::string text = "{";
  for (const std::uint64_t mac : macs) {
    text += (text.size() > 1 ? " " : "") + mac_text(mac);
  }
  return text + "}";
}

// The id of the congestion probe in a table; empty if there is none.
std::string_view probe_id_in(std::string_view table) {
  bool next = false;
  while (!table.empty() && table.front() != '\0') {
    const std::string_view name = table.substr(0, table.find('\0'));
    if (next) {
      return name;
    }
    next = feature_bit(name) == kFeatureCongestion;
    table.remove_prefix(std::min(table.size(), name.size() + 1));
  }
  return {};
}

bool crc_follows(const AoeFrame& frame, std::uint32_t data_end) {
  if (!frame.holds(data_end, kCrcBytes) || data_end < kAtaDataOffset) {
    return false;
  }
  const auto expected = crc8x4(frame.slice(kAoeHeaderEnd, data_end - kAoeHeaderEnd));
  const auto told = frame.slice(data_end, kCrcBytes);
  return std::equal(expected.begin(), expected.end(), told.begin());
}

constexpr const char* kSuspect =
    " (suspect: lost, or a writer that this capture does not show; --complete makes it a fault)";
}  // namespace

Judge::Judge(Tracker& tracker, std::uint32_t examples_max, std::uint32_t sector_sets)
    : tracker_(tracker),
      examples_max_(examples_max),
      disk_(sector_sets),
      arguments_(kArgumentsKept) {}

Verdict Judge::level(Rule rule, Certainty certainty) const {
  const Verdict full = facts_of(rule).verdict;
  switch (certainty) {
    case Certainty::proven:
      return full;
    case Certainty::suspect:
      return tracker_.complete() ? full : std::min(full, Verdict::warn);
    case Certainty::uncertain:
      return tracker_.complete() ? full : Verdict::info;
    case Certainty::hazard:
      return Verdict::warn;
    case Certainty::doubtful:
      return Verdict::info;
  }
  return full;
}

template <typename Text>
void Judge::note(Rule rule, Certainty certainty, const AoeFrame& frame, std::uint32_t session,
                 Text&& text, const char* decides) {
  const Verdict verdict = level(rule, certainty);
  const std::uint64_t key =
      static_cast<std::uint64_t>(rule) << 40 | static_cast<std::uint64_t>(verdict) << 32 | session;
  const auto [place, is_new] =
      group_index_.try_emplace(key, static_cast<std::uint32_t>(groups_.size()));
  if (is_new) {
    groups_.push_back(FindingGroup{rule, verdict, session, 0, {}});
  }
  FindingGroup& group = groups_[place->second];
  ++group.count;
  if (group.examples.size() >= examples_max_) {
    return;
  }
  Finding finding;
  finding.rule = rule;
  finding.verdict = verdict;
  finding.frame = frame.number;
  finding.time_ns = frame.time_ns;
  finding.tag = frame.holds(20, 4) ? frame.tag() : 0;
  finding.has_lba =
      frame.holds(kAoeHeaderEnd, 12) && frame.command() == kCommandAta && !frame.has_error_flag();
  finding.lba = finding.has_lba ? frame.lba48(28) : 0;
  finding.session = session;
  finding.text = text();
  const bool lowered = verdict != facts_of(rule).verdict;
  if (certainty == Certainty::suspect && lowered) {
    finding.text += kSuspect;
  } else if (decides != nullptr && lowered) {
    finding.text += fmt::format(" (uncertain: {} would decide it)", decides);
  }
  group.examples.push_back(std::move(finding));
}

Judge::TargetState& Judge::state_of_target(std::uint32_t target) {
  while (target >= targets_.size()) {
    targets_.emplace_back().config.possible.start(1);
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

template <typename Visit>
void Judge::for_each_target(const Request& request, Visit&& visit) {
  if (!request.to_all) {
    const std::uint32_t target = target_of(request);
    if (target != kNone) {
      visit(target);
    }
    return;
  }
  const auto& targets = tracker_.targets();
  for (std::uint32_t i = 0; i < targets.size(); ++i) {
    if (targets[i].vlan == request.vlan &&
        (request.shelf == kBroadcastShelf || request.shelf == targets[i].shelf) &&
        (request.slot == kBroadcastSlot || request.slot == targets[i].slot)) {
      visit(i);
    }
  }
}

void Judge::keep_argument(const AoeFrame& frame, Request& request) {
  if (request.argument_bytes > kAoeHeaderEnd + kArgumentBytesMax) {
    return;
  }
  const std::uint32_t end = std::min(request.argument_bytes, frame.length);
  Argument& argument = arguments_[next_argument_];
  argument.frame = request.first_frame;
  argument.new_probe = argument.sure_probe = false;
  const std::uint32_t size = end > kAoeHeaderEnd ? end - kAoeHeaderEnd : 0;
  const auto bytes = frame.slice(kAoeHeaderEnd, size);
  argument.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  request.note = next_argument_;
  next_argument_ = (next_argument_ + 1) % kArgumentsKept;
}

const Judge::Argument* Judge::kept(const Request& request) const {
  if (request.note >= arguments_.size() || arguments_[request.note].frame != request.first_frame) {
    return nullptr;
  }
  return &arguments_[request.note];
}

const std::string* Judge::argument_of(const Request& request) const {
  const Argument* argument = kept(request);
  return argument == nullptr ? nullptr : &argument->bytes;
}

bool Judge::window_stops(const Request& request) const {
  const Session& session = tracker_.sessions()[request.session];
  if (!session.on(kFeatureTagIncLe) && !session.on(kFeatureTagIncBe)) {
    return false;
  }
  const auto behind =
      static_cast<std::int32_t>(session.newest_tag - session.number_of(request.tag));
  return request.outcome == Outcome::good && request.first_frame > session.window_since &&
         session.newest_known && behind >= 0 && behind < static_cast<std::int32_t>(kTagWindow);
}

bool Judge::locked_out(const Request& request, std::uint32_t target) {
  const AddressList& mask = state_of_target(target).mask;
  return tracker_.complete() && mask.known && mask.edits_waiting == 0 &&
         request.first_frame > mask.settled_frame && !mask.macs.empty() &&
         !holds_mac(mask.macs, request.initiator);
}

Candidate::Kind Judge::kind_of_new(const Request& request) const {
  const Session& session = tracker_.sessions()[request.session];
  if ((session.features & kFeaturesTagInc) == 0) {
    return Kind::written;
  }
  const bool sure = session.on(kFeatureTagIncLe) || session.on(kFeatureTagIncBe);
  const auto behind =
      static_cast<std::int32_t>(session.newest_tag - session.number_of(request.tag));
  for (std::uint32_t i = request.older; i != kNone; i = tracker_.request(i).older) {
    const Request& old = tracker_.request(i);
    if (old.tag != request.tag || old.session != request.session || !is_write(old.ata_command) ||
        old.command != kCommandAta || old.first_frame <= session.window_since) {
      continue;
    }
    if (old.outcome == Outcome::good) {
      return sure && session.newest_known && behind >= 0 &&
                     behind < static_cast<std::int32_t>(kTagWindow)
                 ? Kind::window_copy
                 : Kind::failed;
    }
    if (old.outcome == Outcome::none) {
      return Kind::failed;  // it waits, and nobody knows for what
    }
  }
  const bool first = !session.newest_known || behind < 0;
  const bool known =
      sure && !tracker_.forgot_requests() && behind < static_cast<std::int32_t>(kTagWindow);
  return first || known ? Kind::written : Kind::failed;
}

void Judge::on_runt(const AoeFrame& frame) {
  note(Rule::request_runt, Certainty::proven, frame, kNone, [&frame] {
    return fmt::format("{} bytes from {}: shorter than the header", frame.length,
                       mac_text(frame.source));
  });
}

// ---------------------------------------------------------------- requests

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

// A request that may change what the target knows makes it unsettled until its reply; a broadcast
// one, which not every target answers, until the next list that is told.
void Judge::note_state_change_asked(const AoeFrame& frame, const Request& request,
                                    Relation relation) {
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  const bool sets = request.command == kCommandConfig &&
                    (request.sub_command == kConfigSet || request.sub_command == kConfigForce);
  const auto number = static_cast<std::uint32_t>(frame.number);
  if (sets) {
    const std::uint32_t size = frame.holds(30, 2) ? frame.be16(30) : 0;
    const bool held = frame.holds(30, 2) && frame.holds(kConfigStringOffset, size);
    std::string asked;
    if (held) {
      const auto slice = frame.slice(kConfigStringOffset, size);
      asked.assign(reinterpret_cast<const char*>(slice.data()), slice.size());
    }
    const std::uint64_t hash = text_hash(asked);
    for_each_target(request, [&](std::uint32_t index) {
      ConfigString& config = state_of_target(index).config;
      config.possible.write(locked_out(request, index) ? Kind::refused
                            : !held && frame.was_cut() ? Kind::wildcard
                            : copy                     ? Kind::late_copy
                                                       : Kind::written,
                            hash, number);
      if (config.texts.size() < kTextsKept) {
        config.texts.emplace_back();
      }
      config.texts[config.next_text++ % kTextsKept] = {hash, asked};
    });
    return;
  }
  const bool masks = request.command == kCommandMask && request.sub_command != 0;
  const bool reserves = request.command == kCommandReserve && request.sub_command != 0;
  if (copy || (!masks && !reserves)) {
    return;
  }
  for_each_target(request, [&](std::uint32_t index) {
    if (locked_out(request, index)) {
      return;
    }
    TargetState& target = state_of_target(index);
    AddressList& list = masks ? target.mask : target.reserve;
    if (request.to_all) {
      list.known = false;
    } else {
      ++list.edits_waiting;
    }
  });
}

void Judge::note_state_change_ended(const Request& request, std::uint32_t target) {
  if (target == kNone || request.to_all || request.sub_command == 0) {
    return;
  }
  TargetState& state = state_of_target(target);
  if (request.command == kCommandMask && state.mask.edits_waiting != 0) {
    --state.mask.edits_waiting;
  } else if (request.command == kCommandReserve && state.reserve.edits_waiting != 0) {
    --state.reserve.edits_waiting;
  }
}

void Judge::note_probe(const AoeFrame& frame, const Request& request) {
  const std::string id(probe_id_in(ExtensionTable::find(frame).bytes));
  if (id.empty() || request.note >= arguments_.size()) {
    return;
  }
  see(Needs::congestion);
  SessionState& session = state_of_session(request.session);
  Argument& argument = arguments_[request.note];
  argument.new_probe = id != session.probe_id && id != last_probe_id_;
  argument.sure_probe = argument.new_probe || (id == session.probe_id && id == last_probe_id_);
  pauses_waiting_ += argument.new_probe ? 1 : 0;
  session.probe_id = id;
  last_probe_id_ = id;
}

void Judge::see_request(const Request& request, Relation relation) {
  see(Needs::anything);
  const Session& session = tracker_.sessions()[request.session];
  if ((session.features & kFeaturesTagInc) != 0) {
    see(Needs::tag_inc);
  }
  if ((session.features & kFeatureCrc) != 0) {
    see(Needs::crc);
  }
  switch (request.command) {
    case kCommandAta:
      see(Needs::ata);
      if (is_write(request.ata_command)) {
        see(Needs::write);
        if (relation == Relation::copy_answered || relation == Relation::copy_waiting) {
          see(Needs::write_copy);
        }
      } else if (is_read(request.ata_command) && (session.features & kFeatureCoalescedRead) != 0) {
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
                       Request* earlier) {
  ++counters_.requests;
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  see_request(request, relation);
  judge_tag_promise(frame, request, relation);
  if (request.command == kCommandAta && is_write(request.ata_command)) {
    write_seen(frame, request, relation, earlier);
  }
  if (copy) {
    note_state_change_asked(frame, request, relation);
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
    case kCommandMask:
      if (request.sub_command > kMaskEdit) {
        note(Rule::request_mask_command, Certainty::proven, frame, request.session,
             [&request] { return fmt::format("MCmd {}", request.sub_command); });
      }
      break;
    case kCommandReserve:
      if (request.sub_command > kReserveForce) {
        note(Rule::request_reserve_command, Certainty::proven, frame, request.session,
             [&request] { return fmt::format("RCmd {}", request.sub_command); });
      }
      break;
    case kCommandExtensions:
      judge_request_extensions(frame, request);
      break;
    default:
      break;
  }
  judge_request_padding(frame, request);
  if (request.command == kCommandAta && is_write(request.ata_command) && !frame.was_cut() &&
      frame.holds(request.argument_bytes, kCrcBytes) &&
      tracker_.sessions()[request.session].on(kFeatureCrc) &&
      !crc_follows(frame, request.argument_bytes)) {
    request.note = kCheckIsWrong;
  }
  if (request.command != kCommandAta) {
    keep_argument(frame, request);
    note_state_change_asked(frame, request, relation);
    if (request.command == kCommandExtensions) {
      note_probe(frame, request);
    }
  }
}

void Judge::on_given_up(const Request& request) {
  if (request.command == kCommandAta) {
    return;
  }
  if (request.command == kCommandExtensions) {
    const Argument* argument = kept(request);
    pauses_waiting_ -= argument != nullptr && argument->new_probe && pauses_waiting_ != 0 ? 1 : 0;
    return;
  }
  const std::uint32_t index = target_of(request);
  if (index == kNone || request.sub_command == 0) {
    return;
  }
  // Done or not, nobody knows: what it would have changed is unknown from here on. (A config string
  // that was asked for stays possible by itself.)
  TargetState& target = state_of_target(index);
  if (request.command == kCommandMask) {
    target.mask.known = false;
  } else if (request.command == kCommandReserve) {
    target.reserve.known = false;
  }
  note_state_change_ended(request, index);
}

// ---------------------------------------------------------------- replies

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
    note(Rule::reply_command, Certainty::proven, frame, session, [&frame, request] {
      return fmt::format("command 0x{:02x} in the reply to a {}", frame.command(),
                         request_text(*request));
    });
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

void Judge::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  ++counters_.replies;
  see(Needs::reply);
  const std::uint32_t s =
      session == nullptr ? kNone : static_cast<std::uint32_t>(session - tracker_.sessions().data());
  if (request == nullptr && session == nullptr) {
    // Sent by an initiator, or beyond the table: nobody answers to it, and nobody may answer it.
    responses_[next_response_++ % kResponsesKept] =
        Response{frame.source, frame.destination, frame.number, frame.tag()};
    return;
  }
  if (!frame.from_list) {
    judge_reply_header(frame, request, s);
  }
  if (session == nullptr || session->target == kNone) {
    return;
  }
  const std::uint32_t target_index = session->target;
  const Target& seen = tracker_.targets()[target_index];
  if (seen.mac_count > 1 && frame.source != seen.macs[0]) {
    note(Rule::reply_two_sources, Certainty::proven, frame, s, [&frame, &seen] {
      return fmt::format("{} answers as {}, so did {}", mac_text(frame.source),
                         address_text(seen.vlan, seen.shelf, seen.slot), mac_text(seen.macs[0]));
    });
  }
  if (request == nullptr) {
    judge_unasked(frame, s, target_index);
    return;
  }
  if (request->answers > request->copies && !request->to_all) {
    note(
        Rule::reply_duplicate, Certainty::uncertain, frame, s,
        [request] {
          return fmt::format("reply {} to {} cop{} of a {}, tag 0x{:08x}", request->answers,
                             request->copies, request->copies == 1 ? "y" : "ies",
                             request_text(*request), request->tag);
        },
        "whether the network doubled the reply, or the request behind the tap,");
    if (request->command == kCommandAta && is_write(request->ata_command)) {
      write_answered(frame, *request, target_index);
    }
    return;  // or the reply to a request that the capture missed: it must not be judged by this one
  }
  if (frame.source == frame.destination && seen.macs[0] != frame.source) {
    note(Rule::reply_source, Certainty::proven, frame, s,
         [&frame] { return fmt::format("from {}, which is who asked", mac_text(frame.source)); });
  }
  TargetState& target = state_of_target(target_index);
  if (request->frame_bytes < fixed_argument_end(request->command) && !frame.has_error_flag()) {
    note(
        Rule::reply_to_short,
        request->frame_bytes < kMinimumFrameBytes ? Certainty::uncertain : Certainty::proven, frame,
        s,
        [request] {
          return fmt::format("a request of {} bytes, command {}, is answered", request->frame_bytes,
                             request->command);
        },
        "whether the wire padded the request to 60 bytes");
    return;
  }
  judge_access(frame, *request, s, target);
  if (request->list_before != kNone && request->answers == 1 && !request->maybe) {
    const Request& before = tracker_.request(request->list_before);
    if (before.first_frame == request->first_frame && before.answers == 0) {
      note(
          Rule::reply_coalesced_order, Certainty::uncertain, frame, s,
          [request, &before] {
            return fmt::format("tag 0x{:08x} is answered before tag 0x{:08x}", request->tag,
                               before.tag);
          },
          "whether the network changed the order, or lost a reply,");
    }
  }
  judge_reply_padding(frame, *request, s);
  switch (frame.command()) {
    case kCommandAta:
      judge_reply_ata(frame, *request, s, target_index);
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
      judge_congestion(frame, *request, s);
      break;
    default:
      if (!frame.has_error_flag() && frame.command() < 0xF0) {
        note(Rule::reply_unknown_command, Certainty::proven, frame, s, [&frame] {
          return fmt::format("command 0x{:02x} is answered without an error", frame.command());
        });
      }
  }
  if (request->command != kCommandAta && request->answers == 1) {
    note_state_change_ended(*request, target_index);
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
    note(listed ? Rule::reply_coalesced_lba : Rule::reply_lba, Certainty::proven, frame, session,
         [&frame, &request, mask] {
           return fmt::format("reply to a {} says LBA {}", request_text(request),
                              frame.lba48(28) & mask);
         });
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
    note(Rule::reply_crc, Certainty::proven, frame, session, [&frame, &request, data_end] {
      return frame.wire_length < data_end + kCrcBytes
                 ? fmt::format("{}: {} bytes, without the check", request_text(request),
                               frame.wire_length)
                 : fmt::format("{}: the check is wrong", request_text(request));
    });
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
      note(Rule::reply_short, Certainty::proven, frame, session, [&frame, &request, needed] {
        return fmt::format("{}: {} bytes, {} are needed", request_text(request), frame.wire_length,
                           needed);
      });
      return;
    }
    judge_crc(frame, request, session);
    read_answered(frame, request, session, target_index);
  } else if (writes) {
    if (request.frame_bytes < kAtaDataOffset + request.sectors * kSectorBytes) {
      note(Rule::reply_write_short, Certainty::proven, frame, session, [&request] {
        return fmt::format("{} with {} bytes of frame is good", request_text(request),
                           request.frame_bytes);
      });
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

void Judge::judge_reply_padding(const AoeFrame& frame, const Request& request,
                                std::uint32_t session) {
  std::uint32_t begin = kAoeHeaderEnd;
  const Session& own = tracker_.sessions()[session];
  Certainty certainty = Certainty::proven;
  const char* decides = nullptr;
  switch (frame.command()) {
    case kCommandAta:
      begin = kAtaDataOffset + frame.list_bytes;
      if (frame.has_error_flag()) {
        begin = kAtaDataOffset;
      } else if (good_ata(frame) && is_read(request.ata_command)) {
        begin += request.sectors * kSectorBytes;
        if (own.on(kFeatureCrc)) {
          begin += kCrcBytes;
        } else if (own.unknown(kFeatureCrc) && begin < frame.length && crc_follows(frame, begin)) {
          certainty = Certainty::doubtful;
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

void Judge::judge_reply_config(const AoeFrame& frame, const Request& request, std::uint32_t session,
                               TargetState& target) {
  if (!frame.holds(kAoeHeaderEnd, 8)) {
    if (!frame.was_cut() && !frame.has_error_flag()) {
      note(Rule::reply_short, Certainty::proven, frame, session,
           [&frame] { return fmt::format("{} bytes hold no config argument", frame.wire_length); });
    }
    return;
  }
  const bool good = !frame.has_error_flag();
  const std::uint32_t size = frame.be16(30);
  const bool fits = size <= kConfigStringMax && kConfigStringOffset + size <= frame.wire_length;
  if (good) {
    if (!fits) {
      note(Rule::reply_config_length, Certainty::proven, frame, session, [&frame, size] {
        return fmt::format("string of {} bytes in a frame of {}", size, frame.wire_length);
      });
      return;
    }
    if (frame.u8(29) >> 4 != 1) {
      note(Rule::reply_config_version, Certainty::proven, frame, session,
           [&frame] { return fmt::format("AoE version {}", frame.u8(29) >> 4); });
    }
    if ((frame.u8(29) & 0x0F) != request.sub_command) {
      note(Rule::reply_config_ccmd, Certainty::proven, frame, session, [&frame, &request] {
        return fmt::format("CCmd {} in the reply to a {}", frame.u8(29) & 0x0F,
                           request_text(request));
      });
    }
    target.buffers = frame.be16(24);
    target.sectors_per_command = frame.u8(28) == 0 ? kSectorsWhenZero : frame.u8(28);
    if (!target.limits_known && target.buffers < 2) {
      note(Rule::reply_buffer_count, Certainty::proven, frame, session, [&target] {
        return fmt::format("{} buffers: the Linux driver is unusable with fewer than 2",
                           target.buffers);
      });
    }
    target.limits_known = true;
  }
  if (request.sub_command > kConfigForce) {
    if (good) {
      note(Rule::reply_config_unknown, Certainty::proven, frame, session, [&request] {
        return fmt::format("CCmd {} is answered without an error", request.sub_command);
      });
    }
    return;
  }
  judge_config_string(frame, request, session, target);
}

void Judge::judge_config_string(const AoeFrame& frame, const Request& request,
                                std::uint32_t session, TargetState& target) {
  const bool good = !frame.has_error_flag();
  const bool sets = request.sub_command == kConfigSet || request.sub_command == kConfigForce;
  const auto first = static_cast<std::uint32_t>(request.first_frame);
  const auto number = static_cast<std::uint32_t>(frame.number);
  const auto own_begin = static_cast<std::uint32_t>(
      request.answers <= 1 || request.to_all ? request.first_frame : request.last_frame);
  Sector& possible = target.config.possible;
  const std::string* argument = argument_of(request);
  if (argument == nullptr) {
    if (sets) {
      possible.answered(own_begin, number, good, Kind::failed);
    }
    return;
  }
  const std::string asked = config_string_in(*argument);
  const bool asked_well = config_length_holds(*argument, request.frame_bytes);
  const std::uint64_t asked_hash = text_hash(asked);
  const std::uint64_t none_hash = text_hash("");
  std::string told;
  const bool told_whole = good && frame.holds(kConfigStringOffset, frame.be16(30));
  if (told_whole) {
    const auto slice = frame.slice(kConfigStringOffset, frame.be16(30));
    told.assign(reinterpret_cast<const char*>(slice.data()), slice.size());
  }
  const auto may_be = [&possible, first, own_begin](auto&& accepts) {
    return possible.may_hold(first, [&](const Candidate& c) {
      return c.begin != own_begin && c.kind != Kind::refused &&
             (c.kind == Kind::wildcard || accepts(c.hash));
    });
  };
  const auto texts = [&asked, &told, &frame] {
    return fmt::format("asked \"{}\", {}", printable(asked),
                       frame.has_error_flag()
                           ? fmt::format("refused with error {}", frame.error())
                           : fmt::format("the reply says \"{}\"", printable(told)));
  };
  if (good && !asked_well && request.sub_command != kConfigRead) {
    const bool padded = request.frame_bytes < kMinimumFrameBytes;
    note(
        Rule::reply_config_long, padded ? Certainty::uncertain : Certainty::proven, frame, session,
        [&request] {
          return fmt::format("a {} whose length is more than may be, or than it sent, is good",
                             request_text(request));
        },
        "whether the wire padded the request");
  }
  switch (request.sub_command) {
    case kConfigTest:
      if (good && !may_be([&](std::uint64_t hash) { return hash == asked_hash; })) {
        note(Rule::reply_config_test, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigPrefix:
      if (good && !may_be([&](std::uint64_t hash) {
            for (const auto& [known, text] : target.config.texts) {
              if (known == hash) {
                return text.compare(0, asked.size(), asked) == 0;
              }
            }
            return hash != none_hash || asked.empty();
          })) {
        note(Rule::reply_config_test, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigSet:
      if (good &&
          !may_be([&](std::uint64_t hash) { return hash == none_hash || hash == asked_hash; })) {
        note(Rule::reply_config_set, Certainty::suspect, frame, session, texts);
      }
      if (!good && frame.error() == kErrorConfigPresent &&
          !may_be([&](std::uint64_t hash) { return hash != none_hash; })) {
        note(Rule::reply_config_set, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigForce:
      if (!good && asked_well && frame.error() != kErrorUnavailable &&
          request.version_flags >> 4 == 1) {
        note(Rule::reply_config_force, Certainty::proven, frame, session, [&frame] {
          return fmt::format("a force set is refused with error {}", frame.error());
        });
      }
      break;
    default:
      break;
  }
  if (sets) {
    possible.answered(own_begin, number, good, Kind::refused);
    if (good && told_whole && !told.empty() && told != asked &&
        !may_be([&](std::uint64_t hash) { return hash == text_hash(told); })) {
      note(Rule::reply_config_string, Certainty::suspect, frame, session, texts);
    }
    return;
  }
  if (!good || !told_whole || (request.sub_command != kConfigRead && told.empty())) {
    return;
  }
  const std::uint64_t told_hash = text_hash(told);
  const Reading reading = possible.read(told_hash, first, number);
  const bool named = std::any_of(target.config.texts.begin(), target.config.texts.end(),
                                 [told_hash](const auto& text) { return text.first == told_hash; });
  if (!named) {
    if (target.config.texts.size() < kTextsKept) {
      target.config.texts.emplace_back();
    }
    target.config.texts[target.config.next_text++ % kTextsKept] = {told_hash, told};
  }
  if (reading.explanation == Explanation::hazard) {
    note(Rule::reply_config_string, Certainty::doubtful, frame, session, texts,
         "whether the late copy of a set was performed");
  } else if (reading.explanation > Explanation::hazard) {
    note(Rule::reply_config_string, Certainty::suspect, frame, session, [&] {
      for (const auto& [hash, text] : target.config.texts) {
        if (reading.newest.kind != Kind::empty && hash == reading.newest.hash) {
          return fmt::format("it was set to \"{}\", the reply says \"{}\"", printable(text),
                             printable(told));
        }
      }
      return fmt::format("the reply says \"{}\", which nobody set", printable(told));
    });
  }
}

void Judge::judge_reply_mask(const AoeFrame& frame, const Request& request, std::uint32_t session,
                             TargetState& target) {
  AddressList& mask = target.mask;
  const bool edits = request.sub_command == kMaskEdit;
  if (frame.has_error_flag() || !frame.holds(kAoeHeaderEnd, 4)) {
    return;
  }
  if (request.sub_command > kMaskEdit) {
    note(Rule::reply_mask_command, Certainty::proven, frame, session, [&request] {
      return fmt::format("MCmd {} is answered without an error", request.sub_command);
    });
    mask.known = false;
    return;
  }
  const std::uint32_t others =
      mask.edits_waiting - (edits && !request.to_all && mask.edits_waiting != 0 ? 1 : 0);
  const bool settled = mask.known && others == 0 && request.first_frame > mask.settled_frame;
  const std::uint8_t merror = frame.u8(26);
  const std::uint32_t count = frame.u8(27);
  // What the edit does to the list, as far as it can be applied.
  std::vector<std::uint64_t> expected = mask.macs;
  std::vector<std::uint64_t> added;
  std::vector<std::uint64_t> deleted;
  std::uint32_t bad_at = kNone;
  const std::string* argument = argument_of(request);
  const bool asked = argument != nullptr && argument->size() >= 4;
  if (asked && edits) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    const std::uint32_t limit = merror != 0 ? std::min<std::uint32_t>(count, bytes[3]) : bytes[3];
    for (std::uint32_t i = 0; i < bytes[3] && 4 + (i + 1) * 8 <= argument->size(); ++i) {
      const std::uint8_t* directive = bytes + 4 + static_cast<std::size_t>(i) * 8;
      const std::uint64_t mac = AoeFrame::read_mac(directive + 2);
      if (directive[1] > kDirectiveDelete) {
        bad_at = i;
        break;
      }
      if (i >= limit) {
        continue;
      }
      const auto take_out = [mac](std::vector<std::uint64_t>& list) {
        list.erase(std::remove(list.begin(), list.end(), mac), list.end());
      };
      if (directive[1] == kDirectiveAdd) {
        take_out(deleted);
        added.push_back(mac);
        if (!holds_mac(expected, mac) && expected.size() < kListedMax) {
          expected.push_back(mac);
        }
      } else if (directive[1] == kDirectiveDelete) {
        take_out(added);
        take_out(expected);
        deleted.push_back(mac);
      }
    }
  }
  if (bad_at != kNone && (merror == 0 || (merror == kMaskBadDirective && count != bad_at))) {
    note(Rule::reply_mask_bad, Certainty::proven, frame, session, [bad_at, merror, count] {
      return fmt::format("directive {} is none, the reply says MError {}, count {}", bad_at, merror,
                         count);
    });
  }
  const bool no_reason =
      !edits ||
      (merror == kMaskBadDirective && bad_at == kNone && asked &&
       argument->size() >= 4 + std::size_t{8} * static_cast<std::uint8_t>((*argument)[3]));
  if (merror != 0 && no_reason) {
    note(Rule::reply_mask_bad, Certainty::proven, frame, session, [merror, edits] {
      return fmt::format("MError {} in the reply to {}", merror,
                         edits ? "an edit without a bad directive" : "a read");
    });
  }
  if (merror != 0) {
    // Those before it stayed applied, the rest are not; the list itself is not told.
    mask.known = settled && asked && edits;
    mask.macs = std::move(expected);
    mask.settled_frame = edits ? frame.number : mask.settled_frame;
    return;
  }
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kMaskListOffset + i * kMaskDirectiveBytes;
    if (!frame.holds(at, kMaskDirectiveBytes)) {
      if (!frame.was_cut()) {
        note(Rule::reply_short, Certainty::proven, frame, session, [count, &frame] {
          return fmt::format("a mask list of {} in {} bytes", count, frame.wire_length);
        });
      }
      mask.known = false;
      return;
    }
    told.push_back(frame.mac(at + 2));
  }
  if (distinct(told).size() != told.size()) {
    note(Rule::reply_mask_twice, Certainty::proven, frame, session,
         [&told] { return fmt::format("the list is {}", list_text(told)); });
  }
  const bool kept_none =
      std::any_of(added.begin(), added.end(),
                  [&told](std::uint64_t mac) { return !holds_mac(told, mac); }) ||
      std::any_of(deleted.begin(), deleted.end(),
                  [&told](std::uint64_t mac) { return holds_mac(told, mac); });
  if (others == 0 && bad_at == kNone && kept_none && !request.to_all) {
    note(Rule::reply_mask_list, Certainty::proven, frame, session, [&added, &deleted, &told] {
      return fmt::format("added {}, deleted {}, the reply says {}", list_text(added),
                         list_text(deleted), list_text(told));
    });
  } else if (settled && asked && bad_at == kNone && distinct(expected) != distinct(told)) {
    note(Rule::reply_mask_list, Certainty::suspect, frame, session, [&expected, &told] {
      return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                         list_text(told));
    });
  }
  mask.known = others == 0;
  mask.macs = std::move(told);
  if (edits || request.to_all) {
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
      reserve.edits_waiting - (edits && !request.to_all && reserve.edits_waiting != 0 ? 1 : 0);
  const bool settled = reserve.known && others == 0 && request.first_frame > reserve.settled_frame;
  const bool holder = reserve.macs.empty() || holds_mac(reserve.macs, request.initiator);
  const bool refused = frame.has_error_flag();
  const std::string* argument = argument_of(request);
  std::vector<std::uint64_t> asked;
  bool asked_well = argument != nullptr && argument->size() >= 2;
  if (asked_well) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    asked_well = argument->size() >= 2 + bytes[1] * std::size_t{kMacBytes};
    for (std::uint32_t i = 0; asked_well && i < bytes[1]; ++i) {
      asked.push_back(AoeFrame::read_mac(bytes + 2 + static_cast<std::size_t>(i) * kMacBytes));
    }
  }
  if (request.sub_command > kReserveForce) {
    if (!refused) {
      note(Rule::reply_reserve_command, Certainty::proven, frame, session, [&request] {
        return fmt::format("RCmd {} is answered without an error", request.sub_command);
      });
      reserve.known = false;
    }
    return;
  }
  if (refused) {
    const bool other_reason = frame.error() == kErrorUnknownCommand ||
                              frame.error() == kErrorUnavailable || frame.error() == kErrorVersion;
    if (request.sub_command == kReserveForce && asked_well && !other_reason) {
      note(Rule::reply_reserve_force, Certainty::proven, frame, session,
           [&frame] { return fmt::format("a force set is refused with error {}", frame.error()); });
    }
    if (settled && request.sub_command == kReserveSet && !holder && asked_well &&
        frame.error() == kErrorBadArgument) {
      note(Rule::reply_reserve_set, Certainty::suspect, frame, session, [&reserve] {
        return fmt::format("reserved for {}: a set gets error 2 instead of 6",
                           list_text(reserve.macs));
      });
    }
    if (settled && request.sub_command == kReserveSet && holder &&
        frame.error() == kErrorReserved) {
      note(Rule::reply_reserve_refused, Certainty::suspect, frame, session, [&reserve, &request] {
        return fmt::format("reserved for {}, yet a set by {} is refused", list_text(reserve.macs),
                           mac_text(request.initiator));
      });
    }
    return;
  }
  if (settled && request.sub_command == kReserveSet && !holder) {
    note(Rule::reply_reserve_set, Certainty::suspect, frame, session, [&reserve, &request] {
      return fmt::format("reserved for {}, yet a set by {} succeeds", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
  }
  const std::uint32_t count = frame.u8(25);
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kReserveListOffset + i * kMacBytes;
    if (!frame.holds(at, kMacBytes)) {
      if (!frame.was_cut()) {
        note(Rule::reply_short, Certainty::proven, frame, session, [count, &frame] {
          return fmt::format("a reserve list of {} in {} bytes", count, frame.wire_length);
        });
      }
      reserve.known = false;
      return;
    }
    told.push_back(frame.mac(at));
  }
  if (edits && !asked_well && argument != nullptr) {
    const std::size_t carried = argument->size() < 2 ? 0 : (argument->size() - 2) / kMacBytes;
    if (told.size() > carried) {
      const bool padded = request.frame_bytes < kMinimumFrameBytes;
      note(
          Rule::reply_reserve_list, padded ? Certainty::uncertain : Certainty::proven, frame,
          session,
          [&told, carried] {
            return fmt::format("{} addresses were sent, the reply says {}", carried,
                               list_text(told));
          },
          "whether the wire padded the request");
    }
  }
  const bool sets = edits && others == 0 && asked_well && !request.to_all;
  const std::vector<std::uint64_t>& expected = edits ? asked : reserve.macs;
  if ((sets || (!edits && settled)) && distinct(expected) != distinct(told)) {
    note(Rule::reply_reserve_list, edits ? Certainty::proven : Certainty::suspect, frame, session,
         [&expected, &told] {
           return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                              list_text(told));
         });
  }
  reserve.known = others == 0;
  reserve.macs = std::move(told);
  if (edits || request.to_all) {
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
    note(Rule::reply_table_malformed, Certainty::proven, frame, session,
         [] { return std::string("no table that ends in two NULs inside the frame"); });
    return;
  }
  if (request.sub_command != 1) {
    note(
        Rule::reply_table_answered,
        request.frame_bytes < kMinimumFrameBytes ? Certainty::uncertain : Certainty::proven, frame,
        session, [] { return std::string("a malformed table is answered"); },
        "whether the wire padded the request");
    return;
  }
  const auto* length = reinterpret_cast<const std::uint8_t*>(argument->data());
  const auto little = static_cast<std::size_t>(length[1] << 8 | length[0]);
  const LengthOrder order = little == asked.size() ? LengthOrder::little : LengthOrder::big;
  const bool either = length[0] == length[1];
  if (told.order != order && !either && told.bytes.size() == asked.size()) {
    note(Rule::reply_table_order, Certainty::proven, frame, session, [order] {
      return fmt::format("asked with a length in {}-endian order, told in the other",
                         order == LengthOrder::little ? "little" : "big");
    });
  }
  bool same = equal_but_for_case(asked, told.bytes);
  std::string_view rest = asked;
  if (same) {
    told.for_each([&](std::string_view name) {
      const std::string_view was = rest.substr(0, name.size());
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      const std::uint8_t bit = feature_bit(name);
      same = same && (bit != 0 || was == name);
      const bool lower_case =
          std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      if (bit != 0 && !is_upper_case(name) && !lower_case && was != name) {
        note(Rule::reply_table_case, Certainty::proven, frame, session,
             [was, name] { return fmt::format("asked \"{}\", told \"{}\"", was, name); });
      }
      if (bit == kFeatureReset && !is_upper_case(name)) {
        note(Rule::reply_reset, Certainty::proven, frame, session,
             [name] { return fmt::format("told \"{}\"", name); });
      }
    });
  }
  if (!same) {
    note(Rule::reply_table_changed, Certainty::proven, frame, session, [asked, &told] {
      return fmt::format("asked \"{}\", told \"{}\"", printable(asked), printable(told.bytes));
    });
  }
}

void Judge::judge_congestion(const AoeFrame& frame, const Request& request, std::uint32_t session) {
  const Argument* argument = kept(request);
  if (argument == nullptr || frame.has_error_flag() || argument->bytes.size() < 2) {
    return;
  }
  const std::string_view id = probe_id_in(std::string_view(argument->bytes).substr(2));
  if (id.empty()) {
    return;
  }
  bool active = false;
  ExtensionTable::find(frame).for_each([&active](std::string_view name) {
    active = active || (feature_bit(name) == kFeatureCongestion && is_upper_case(name));
  });
  const Nanoseconds waited = frame.time_ns - request.first_time_ns;
  if (argument->new_probe) {
    pauses_waiting_ -= pauses_waiting_ != 0 && request.answers == 1 ? 1 : 0;
    if (active && waited < kPauseNs) {
      note(
          Rule::congestion_pause, Certainty::uncertain, frame, session,
          [id, waited] {
            return fmt::format("new id {}, answered after {:.3f} s", printable(id),
                               static_cast<double>(waited) / 1e9);
          },
          "whether a probe with this id came before the capture");
    }
    if (active && waited > kPauseTooLongNs && request.copies == 1 && pauses_waiting_ == 0 &&
        pause_ended_ns_ < request.first_time_ns) {
      note(
          Rule::congestion_pause, Certainty::uncertain, frame, session,
          [id, waited] {
            return fmt::format("new id {}, answered only after {:.3f} s", printable(id),
                               static_cast<double>(waited) / 1e9);
          },
          "whether another host's probe paused the target as well");
    }
    pause_ended_ns_ = frame.time_ns;
    return;
  }
  if (active && argument->sure_probe && waited >= kPauseNs && request.copies == 1 &&
      pauses_waiting_ == 0 && pause_ended_ns_ < request.first_time_ns) {
    note(
        Rule::congestion_twice, Certainty::uncertain, frame, session,
        [id, waited] {
          return fmt::format("id {} again, answered after {:.3f} s", printable(id),
                             static_cast<double>(waited) / 1e9);
        },
        "whether another host's probe paused the target");
  }
}

// ---------------------------------------------------------------- data

void Judge::write_seen(const AoeFrame& frame, const Request& request, Relation relation,
                       const Request* earlier) {
  const auto hashes = tracker_.sector_hashes();
  const auto number = static_cast<std::uint32_t>(frame.number);
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  const bool again = copy && (request.outcome == Outcome::refused ||
                              request.outcome == Outcome::failed);  // not remembered: a new write
  const bool stopped = copy && !again && window_stops(request);
  const Session& own = tracker_.sessions()[request.session];
  const bool held = copy && request.outcome == Outcome::none &&
                    (own.on(kFeatureTagIncLe) || own.on(kFeatureTagIncBe));
  bool stale = false;
  // A damaged write under crc8x4, and one of a host that is locked out, is never done.
  const bool damaged = !frame.was_cut() && own.on(kFeatureCrc) &&
                       frame.holds(request.argument_bytes, kCrcBytes) &&
                       !crc_follows(frame, request.argument_bytes);
  for_each_target(request, [&](std::uint32_t target) {
    const bool never = damaged || locked_out(request, target);
    for (std::uint32_t i = 0; i < request.sectors; ++i) {
      Sector& sector = disk_.obtain(target, request.lba + i);
      if (i >= hashes.size()) {
        sector.write(Kind::wildcard, 0, number);  // cut by snaplen: nobody knows
        continue;
      }
      if (!copy || again) {
        sector.write(never  ? Kind::refused
                     : copy ? Kind::written
                            : kind_of_new(request),
                     hashes[i], number);
        continue;
      }
      if (held) {
        continue;  // it waits for its original, and ends as that one
      }
      stale = stale || sector.may_hold(number, [&](const Candidate& c) {
        return c.gone == 0 && (c.kind == Kind::written || c.kind == Kind::seen) &&
               c.hash != hashes[i] && c.begin > request.first_frame;
      });
      sector.write(stopped ? Kind::window_copy : Kind::late_copy, hashes[i], number);
    }
  });
  counters_.stale_copies += stale ? 1 : 0;
  if (relation == Relation::renewed && earlier != nullptr && is_write(earlier->ata_command)) {
    for_each_target(*earlier, [&](std::uint32_t target) {
      for (std::uint32_t i = 0; i < earlier->sectors; ++i) {
        if (Sector* sector = disk_.find(target, earlier->lba + i)) {
          sector->renew(static_cast<std::uint32_t>(earlier->first_frame));
        }
      }
    });
  }
}

void Judge::write_answered(const AoeFrame& frame, const Request& request, std::uint32_t target) {
  const TargetState& state = state_of_target(target);
  const bool good = good_ata(frame);
  const bool beyond =
      state.capacity_known && request.lba + request.sectors > state.capacity_sectors;
  const bool aborted =
      frame.holds_ata() && (frame.ata_status() & kStatusDf) == 0 &&
      (frame.ata_error() == kAtaErrorAbrt || (beyond && (frame.ata_error() & kAtaErrorIdnf) != 0));
  // With copies of it about nobody knows which of them this reply is for.
  const Kind left =
      (frame.has_error_flag() || aborted) && request.copies == 1 ? Kind::refused : Kind::failed;
  const auto number = static_cast<std::uint32_t>(frame.number);
  const auto begin = static_cast<std::uint32_t>(
      request.answers <= 1 || request.to_all ? request.first_frame : request.last_frame);
  const bool behind_tap = request.answers > request.copies && !request.to_all;
  if (behind_tap && (!good || tracker_.complete() || window_stops(request))) {
    return;
  }
  for (std::uint32_t i = 0; i < request.sectors; ++i) {
    Sector* sector = disk_.find(target, request.lba + i);
    if (sector == nullptr) {
      continue;
    }
    if (behind_tap) {
      sector->maybe_again(static_cast<std::uint32_t>(request.first_frame), number);
    } else {
      sector->answered(begin, number, good, left);
    }
  }
}

void Judge::read_answered(const AoeFrame& frame, const Request& request, std::uint32_t session,
                          std::uint32_t target) {
  if (request.ambiguous) {
    return;  // two requests under one tag: nobody knows which of them this answers
  }
  const auto hashes = tracker_.sector_hashes();
  if (!hashes.empty()) {
    see(Needs::read);
  }
  for (std::uint32_t i = 0; i < hashes.size(); ++i) {
    check_sector(frame, request, session, target, request.lba + i, hashes[i]);
  }
}

void Judge::check_sector(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         std::uint32_t target, std::uint64_t lba, std::uint64_t value) {
  Sector& sector = disk_.obtain(target, lba);
  // The reply may belong to an earlier question in the same words, doubled by the network.
  const auto begin =
      static_cast<std::uint32_t>(tracker_.complete() ? request.first_frame : request.since_frame);
  const Reading reading = sector.read(value, begin, static_cast<std::uint32_t>(frame.number));
  if (reading.explanation == Explanation::unknown) {
    ++counters_.sectors_unknown;
    return;
  }
  ++counters_.sectors_checked;
  const Candidate& by = reading.by;
  const Candidate& newest = reading.newest;
  const auto where = [&request, lba] {
    return fmt::format("{}: LBA {} holds", request_text(request), lba);
  };
  const auto over = [&newest]() -> std::string {
    return newest.kind == Kind::empty
               ? std::string()
               : fmt::format(", last was the write of frame {}", newest.begin);
  };
  switch (reading.explanation) {
    case Explanation::expected:
      if (const Candidate& late = reading.not_performed;
          late.kind != Kind::empty && last_stale_told_ != late.begin) {
        last_stale_told_ = late.begin;
        ++counters_.stale_not_executed;
        note(Rule::stale_refused, Certainty::proven, frame, session, [&late, lba] {
          return fmt::format(
              "a write came again in frame {}, after newer data: not executed, LBA {} still holds "
              "the newer",
              late.begin, lba);
        });
      }
      return;
    case Explanation::hazard:
    case Explanation::window: {
      if (last_stale_told_ == by.begin) {
        return;  // once for each copy, not for each of its sectors
      }
      last_stale_told_ = by.begin;
      ++counters_.stale_executed;
      const bool window = reading.explanation == Explanation::window;
      // Where a window may have been emptied the copy counts as a new write, and rightly so.
      const bool emptied =
          !window && (tracker_.sessions()[request.session].features & kFeaturesTagInc) != 0;
      note(
          window ? Rule::stale_executed : Rule::stale_executed_plain,
          window    ? Certainty::suspect
          : emptied ? Certainty::doubtful
                    : Certainty::hazard,
          frame, session,
          [&] {
            return by.kind == Kind::renewed
                       ? fmt::format(
                             "{} what frame {} wrote: it was repeated under another tag, "
                             "answered and overwritten, and its first frame came late{}",
                             where(), by.begin, over())
                       : fmt::format(
                             "{} the older data again: a late copy of a write, frame {}, "
                             "was executed{}",
                             where(), by.begin, over());
          },
          emptied ? "whether the window had been emptied when the copy came" : nullptr);
      return;
    }
    case Explanation::refused:
      note(Rule::data_refused, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what frame {} was refused to write", where(), by.begin); });
      return;
    case Explanation::old:
      note(Rule::data_old, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what stood there before{}", where(), over()); });
      return;
    default:
      note(Rule::data_foreign, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what nobody wrote there{}", where(), over()); });
  }
}

}  // namespace conformance::observer
