#include "conformance/observer/tracker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace conformance::observer {

namespace {
constexpr int kAnyCommand = -1;
constexpr int kWaitingScanned = 64;  // how far back a renewed request is looked for
constexpr std::uint32_t kCoalescedCountOffset = 36;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

constexpr std::uint64_t kMix1 = 0x9E37'79B9'7F4A'7C15;
constexpr std::uint64_t kMix2 = 0xD6E8'FEB8'6659'FD93;

std::uint64_t address_hash(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                           std::uint8_t slot, std::uint32_t tag) {
  const std::uint64_t address =
      static_cast<std::uint64_t>(vlan) << 24 | static_cast<std::uint64_t>(shelf) << 8 | slot;
  return mix(mix(initiator ^ kMix1, address ^ kMix2) ^ tag, kMix1);
}

constexpr std::uint32_t kWindowTags = 32'768;
constexpr std::uint32_t kReadTakesWindow = 1U << 30;
constexpr std::uint8_t kConfigSet = 3, kConfigForce = 4;

// What a reply says became of its request.
Outcome outcome_of(const AoeFrame& frame, const Request& request) {
  if (frame.has_error_flag() || frame.error() != 0) {
    return Outcome::refused;
  }
  if (request.command != kCommandAta || !frame.holds_ata()) {
    return Outcome::good;
  }
  if ((frame.ata_status() & (kStatusErr | kStatusDf)) == 0) {
    return Outcome::good;
  }
  return (frame.ata_status() & kStatusDf) == 0 && (frame.ata_error() & kAtaErrorAbrt) != 0
             ? Outcome::refused
             : Outcome::failed;
}

// Does the reply's own LBA belong to this request? Only to choose between two of one tag.
bool same_place(const AoeFrame& reply, const Request& request) {
  if (request.command != kCommandAta || reply.has_error_flag() || !reply.holds_ata()) {
    return true;
  }
  return !(is_read(request.ata_command) || is_write(request.ata_command)) ||
         reply.lba48(28) == request.lba;
}

// Bytes of fields that a request carries, so that padding is not taken for content.
std::uint32_t argument_end(const AoeFrame& frame, const Request& request) {
  switch (request.command) {
    case kCommandAta:
      return kAtaDataOffset + (is_write(request.ata_command) ? request.sectors * kSectorBytes : 0);
    case kCommandConfig:
      return frame.holds(30, 2) ? kConfigStringOffset + frame.be16(30) : kConfigStringOffset;
    case kCommandMask:
      return frame.holds(27, 1) ? kMaskListOffset + frame.u8(27) * kMaskDirectiveBytes
                                : kMaskListOffset;
    case kCommandReserve:
      return frame.holds(25, 1) ? kReserveListOffset + frame.u8(25) * kMacBytes
                                : kReserveListOffset;
    case kCommandExtensions: {
      const ExtensionTable table = ExtensionTable::find(frame);
      return table.well_formed
                 ? kExtensionTableOffset + static_cast<std::uint32_t>(table.bytes.size())
                 : frame.length;
    }
    default:
      return frame.length;
  }
}

bool covers(const Request& outer, const Request& inner) {
  return inner.lba >= outer.lba && inner.lba + inner.sectors <= outer.lba + outer.sectors;
}
}  // namespace

std::uint64_t hash_bytes(const std::uint8_t* p, std::size_t size, std::uint64_t seed) {
  std::uint64_t h0 = seed ^ kMix1;
  std::uint64_t h1 = size ^ kMix2;
  while (size >= 16) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, p, 8);
    std::memcpy(&b, p + 8, 8);
    h0 = mix(h0 ^ a, kMix2 ^ b);
    p += 16;
    size -= 16;
  }
  if (size != 0) {
    std::array<std::uint64_t, 2> tail{};
    std::memcpy(tail.data(), p, size);
    h1 = mix(h1 ^ tail[0], kMix1 ^ tail[1]);
  }
  return mix(h0 ^ h1, kMix1);
}

Tracker::Tracker(std::uint32_t requests_kept)
    : requests_(requests_kept),
      index_(std::size_t{2} * requests_kept, kNone),
      session_index_(std::size_t{2} * kSessionsMax, kNone) {
  sessions_.reserve(kSessionsMax);
  targets_.reserve(kTargetsMax);
}

std::uint32_t Session::number_of(std::uint32_t tag) const {
  return (features & kFeatureTagIncLe) != 0 ? __builtin_bswap32(tag) : tag;
}

std::uint32_t Tracker::find_session(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                                    std::uint8_t slot) const {
  for (std::uint64_t at = address_hash(initiator, vlan, shelf, slot, 0);; ++at) {
    const std::uint32_t index = session_index_[at % session_index_.size()];
    if (index == kNone) {
      return kNone;
    }
    const Session& session = sessions_[index];
    if (session.initiator == initiator && session.vlan == vlan && session.shelf == shelf &&
        session.slot == slot) {
      return index;
    }
  }
}

std::uint32_t Tracker::find_target(VlanId vlan, std::uint16_t shelf, std::uint8_t slot) const {
  for (std::uint32_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].vlan == vlan && targets_[i].shelf == shelf && targets_[i].slot == slot) {
      return i;
    }
  }
  return kNone;
}

std::uint32_t Tracker::target_for(VlanId vlan, std::uint16_t shelf, std::uint8_t slot) {
  const std::uint32_t known = find_target(vlan, shelf, slot);
  if (known != kNone) {
    return known;
  }
  if (targets_.size() == kTargetsMax) {
    return kNone;
  }
  Target target;
  target.vlan = vlan;
  target.shelf = shelf;
  target.slot = slot;
  targets_.push_back(target);
  return static_cast<std::uint32_t>(targets_.size() - 1);
}

std::uint32_t Tracker::session_for(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                                   std::uint8_t slot) {
  const std::uint32_t known = find_session(initiator, vlan, shelf, slot);
  if (known != kNone || sessions_.size() == kSessionsMax) {
    return known;
  }
  Session session;
  session.initiator = initiator;
  session.vlan = vlan;
  session.shelf = shelf;
  session.slot = slot;
  if (shelf != kBroadcastShelf && slot != kBroadcastSlot) {
    session.target = target_for(vlan, shelf, slot);
    if (session.target == kNone) {
      return kNone;
    }
  }
  session.features_known = complete_ ? kFeaturesAll : 0;
  sessions_.push_back(session);
  const auto index = static_cast<std::uint32_t>(sessions_.size() - 1);
  std::uint64_t at = address_hash(initiator, vlan, shelf, slot, 0);
  while (session_index_[at % session_index_.size()] != kNone) {
    ++at;
  }
  session_index_[at % session_index_.size()] = index;
  sessions_by_initiator_[initiator].push_back(index);
  return index;
}

void Tracker::note_target_mac(Session& session, std::uint64_t mac) {
  if (session.target == kNone) {
    return;
  }
  Target& target = targets_[session.target];
  const auto end = target.macs.begin() + target.mac_count;
  if (std::find(target.macs.begin(), end, mac) == end && target.mac_count < kTargetMacsMax) {
    target.macs[target.mac_count++] = mac;
  }
}

Request* Tracker::find_request(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                               std::uint8_t slot, std::uint32_t tag, int command,
                               const AoeFrame* reply) {
  Request* answered = nullptr;
  Request* misplaced = nullptr;
  for (std::uint32_t i = index_[address_hash(initiator, vlan, shelf, slot, tag) % index_.size()];
       i != kNone; i = requests_[i].older) {
    Request& request = requests_[i];
    const bool same = request.tag == tag && request.initiator == initiator &&
                      request.shelf == shelf && request.slot == slot && request.vlan == vlan &&
                      (command == kAnyCommand || request.command == command);
    if (!same) {
      continue;
    }
    if (request.answers == 0 || command == kAnyCommand) {
      if (reply == nullptr || same_place(*reply, request)) {
        return &request;
      }
      misplaced = misplaced == nullptr ? &request : misplaced;
    } else if (answered == nullptr) {
      answered = &request;
    }
  }
  // A second reply to the one that it fits, rather than the first to one that it does not.
  const bool fits = answered != nullptr && (reply == nullptr || same_place(*reply, *answered));
  return fits || misplaced == nullptr ? answered : misplaced;
}

const Request* Tracker::request_with_tag_of(const AoeFrame& reply) {
  return find_request(reply.destination, reply.vlan, reply.shelf(), reply.slot(), reply.tag(),
                      kAnyCommand);
}

const Request* Tracker::waiting_elsewhere(const AoeFrame& reply) {
  const auto found = sessions_by_initiator_.find(reply.destination);
  if (found == sessions_by_initiator_.end()) {
    return nullptr;
  }
  for (const std::uint32_t index : found->second) {
    const Session& session = sessions_[index];
    if (session.waiting == 0 || session.vlan != reply.vlan) {
      continue;
    }
    const Request* request = find_request(reply.destination, session.vlan, session.shelf,
                                          session.slot, reply.tag(), kAnyCommand);
    if (request != nullptr && request->answers == 0) {
      return request;
    }
  }
  return nullptr;
}

// A NIC may take the VLAN tag off what it receives and leave it on what is sent: then one direction
// of a dialogue has none.
Request* Tracker::find_in_other_vlan(const AoeFrame& frame) {
  const auto found = sessions_by_initiator_.find(frame.destination);
  if (found == sessions_by_initiator_.end()) {
    return nullptr;
  }
  for (const std::uint32_t index : found->second) {
    const Session& session = sessions_[index];
    if (session.waiting == 0 || (session.vlan == kNoVlan) == (frame.vlan == kNoVlan) ||
        session.shelf != frame.shelf() || session.slot != frame.slot()) {
      continue;
    }
    Request* request = find_request(frame.destination, session.vlan, session.shelf, session.slot,
                                    frame.tag(), frame.command(), &frame);
    if (request != nullptr && request->answers == 0) {
      return request;
    }
  }
  return nullptr;
}

Request* Tracker::find_for_reply(const AoeFrame& frame) {
  struct Address {
    std::uint16_t shelf;
    std::uint8_t slot;
  };
  const std::array<Address, 4> asked{{{frame.shelf(), frame.slot()},
                                      {kBroadcastShelf, kBroadcastSlot},
                                      {frame.shelf(), kBroadcastSlot},
                                      {kBroadcastShelf, frame.slot()}}};
  Request* answered = nullptr;
  for (const Address& address : asked) {
    Request* request = find_request(frame.destination, frame.vlan, address.shelf, address.slot,
                                    frame.tag(), frame.command(), &frame);
    if (request != nullptr && (request->answers == 0 || request->to_all)) {
      return request;
    }
    if (request != nullptr && answered == nullptr) {
      answered = request;
    }
  }
  return answered != nullptr ? answered : find_in_other_vlan(frame);
}

void Tracker::unlink_from_index(std::uint32_t index) {
  Request& request = requests_[index];
  if (!request.indexed) {
    return;
  }
  request.indexed = false;
  std::uint32_t* link = &index_[address_hash(request.initiator, request.vlan, request.shelf,
                                             request.slot, request.tag) %
                                index_.size()];
  while (*link != index) {
    assert(*link != kNone);
    link = &requests_[*link].older;
  }
  *link = request.older;
}

void Tracker::stop_waiting(Request& request) {
  if (!request.waiting) {
    return;
  }
  request.waiting = false;
  Session& session = sessions_[request.session];
  (request.wait_prev == kNone ? session.wait_first : requests_[request.wait_prev].wait_next) =
      request.wait_next;
  (request.wait_next == kNone ? session.wait_last : requests_[request.wait_next].wait_prev) =
      request.wait_prev;
  --session.waiting;
  session.negotiating -= request.command == kCommandExtensions && session.negotiating != 0 ? 1 : 0;
}

void Tracker::give_up_old(Session& session, Nanoseconds now_ns) {
  while (session.wait_first != kNone) {
    Request& oldest = requests_[session.wait_first];
    if (now_ns - oldest.last_time_ns < kGiveUpNs) {
      return;
    }
    stop_waiting(oldest);
    for (TrackerObserver* observer : observers_) {
      observer->on_given_up(oldest);
    }
  }
}

std::uint32_t Tracker::insert(const Request& candidate) {
  const std::uint32_t index = next_slot_;
  next_slot_ = (next_slot_ + 1) % static_cast<std::uint32_t>(requests_.size());
  Request& place = requests_[index];
  if (place.live) {
    if (place.waiting) {
      stop_waiting(place);
      for (TrackerObserver* observer : observers_) {
        observer->on_given_up(place);
      }
    }
    unlink_from_index(index);
    forgot_ = true;
  }
  place = candidate;
  place.live = true;
  place.waiting = true;
  Session& session = sessions_[place.session];
  place.wait_prev = session.wait_last;
  place.wait_next = kNone;
  (session.wait_last == kNone ? session.wait_first : requests_[session.wait_last].wait_next) =
      index;
  session.wait_last = index;
  ++session.waiting;
  session.negotiating += place.command == kCommandExtensions ? 1 : 0;
  std::uint32_t& head =
      index_[address_hash(place.initiator, place.vlan, place.shelf, place.slot, place.tag) %
             index_.size()];
  place.older = head;
  place.indexed = true;
  head = index;
  std::uint32_t same_tag = 0;
  for (std::uint32_t i = place.older; i != kNone; i = requests_[i].older) {
    const Request& old = requests_[i];
    if (old.tag == place.tag && old.initiator == place.initiator && old.shelf == place.shelf &&
        old.slot == place.slot && old.vlan == place.vlan && ++same_tag == kSameTagKept) {
      unlink_from_index(i);
      break;
    }
  }
  return index;
}

Request* Tracker::find_renewed(const Request& candidate) {
  if (candidate.command != kCommandAta || candidate.coalesced) {
    return nullptr;
  }
  const bool ranged = is_read(candidate.ata_command) || is_write(candidate.ata_command);
  std::uint32_t i = sessions_[candidate.session].wait_first;
  for (int scanned = 0; i != kNone && scanned < kWaitingScanned; ++scanned) {
    Request& old = requests_[i];
    i = old.wait_next;
    if (old.command != kCommandAta || old.ata_command != candidate.ata_command) {
      continue;
    }
    // The Linux driver may split what it sends again, when the MTU has shrunk meanwhile.
    const bool same = old.fingerprint == candidate.fingerprint;
    const bool part = ranged && old.sectors > candidate.sectors && covers(old, candidate);
    if (same || part) {
      return &old;
    }
  }
  return nullptr;
}

void Tracker::hash_sectors(const AoeFrame& frame, std::uint32_t sectors) {
  sector_count_ = 0;
  const std::uint32_t whole =
      frame.length <= kAtaDataOffset ? 0 : (frame.length - kAtaDataOffset) / kSectorBytes;
  const std::uint32_t count = std::min({sectors, whole, kSectorsPerFrameMax});
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto sector = frame.slice(kAtaDataOffset + i * kSectorBytes, kSectorBytes);
    sector_hashes_[i] = hash_bytes(sector.data(), sector.size(), 0);
  }
  sector_count_ = count;
}

void Tracker::describe(const AoeFrame& frame, Request& out) {
  out.initiator = frame.source;
  out.vlan = frame.vlan;
  out.shelf = frame.shelf();
  out.slot = frame.slot();
  out.tag = frame.tag();
  out.command = frame.command();
  out.version_flags = frame.u8(14);
  out.to_all = out.shelf == kBroadcastShelf || out.slot == kBroadcastSlot;
  out.first_frame = out.last_frame = out.since_frame = frame.number;
  out.first_time_ns = out.last_time_ns = frame.time_ns;
  out.copies = 1;
  out.frame_bytes = frame.wire_length;
  const std::uint32_t head = std::min(frame.length, kMinimumFrameBytes) - kAoeHeaderEnd;
  std::memcpy(out.head.data(), frame.slice(kAoeHeaderEnd, head).data(), head);
  sector_count_ = 0;
  if (out.command == kCommandAta && frame.holds_ata()) {
    out.ata_command = frame.ata_command();
    out.sectors = frame.ata_count();
    out.lba = frame.lba48(28);
    if (is_28_bit(out.ata_command)) {
      out.lba &= 0x0FFF'FFFF;
    }
    if (is_write(out.ata_command)) {
      hash_sectors(frame, out.sectors);
    }
  } else if (out.command == kCommandConfig && frame.holds(29, 1)) {
    out.sub_command = frame.u8(29) & 0x0F;
  } else if (out.command == kCommandMask && frame.holds(25, 1)) {
    out.sub_command = frame.u8(25);
  } else if (out.command == kCommandReserve && frame.holds(24, 1)) {
    out.sub_command = frame.u8(24);
  } else if (out.command == kCommandExtensions) {
    out.sub_command = ExtensionTable::find(frame).well_formed ? 1 : 0;
  }
  out.argument_bytes = argument_end(frame, out);
  const std::uint32_t end = std::min(out.argument_bytes, frame.length);
  const std::uint32_t plain_end = sector_count_ != 0 ? kAtaDataOffset : end;
  std::uint64_t seed = out.command;
  for (std::uint32_t i = 0; i < sector_count_; ++i) {
    seed = mix(seed ^ sector_hashes_[i], kMix1);
  }
  out.fingerprint = hash_bytes(frame.slice(kAoeHeaderEnd, 0).data(),
                               plain_end > kAoeHeaderEnd ? plain_end - kAoeHeaderEnd : 0, seed);
}

std::uint32_t Tracker::admit(const AoeFrame& frame, Request& candidate) {
  Request* known = find_request(candidate.initiator, candidate.vlan, candidate.shelf,
                                candidate.slot, candidate.tag, kAnyCommand);
  if (known != nullptr && known->fingerprint == candidate.fingerprint &&
      known->command == candidate.command) {
    const Relation relation =
        known->answers != 0 ? Relation::copy_answered : Relation::copy_waiting;
    // A question asked again in the same words after its answer is a new question, unless it
    // writes: then it is a copy, and what the target does with it matters.
    const bool new_question = relation == Relation::copy_answered &&
                              !(known->command == kCommandAta && is_write(known->ata_command)) &&
                              !known->coalesced;
    if (!new_question) {
      known->last_frame = candidate.last_frame;
      known->last_time_ns = candidate.last_time_ns;
      ++known->copies;
      for (TrackerObserver* observer : observers_) {
        observer->on_request(frame, *known, relation, nullptr);
      }
      return static_cast<std::uint32_t>(known - requests_.data());
    }
    candidate.repeats = true;
    candidate.since_frame = known->since_frame;
  }
  candidate.reused_waiting = known != nullptr && known->waiting;
  if (candidate.reused_waiting) {
    candidate.ambiguous = known->ambiguous = true;
  }
  // A copy of the other question may still be answered: that answer carries the same tag.
  candidate.ambiguous = candidate.ambiguous || (known != nullptr && known->copies > known->answers);
  Request* earlier = find_renewed(candidate);
  const Relation relation = earlier != nullptr ? Relation::renewed : Relation::fresh;
  if (earlier != nullptr) {
    earlier->superseded = true;
    const bool whole = earlier->sectors == candidate.sectors ||
                       candidate.lba + candidate.sectors == earlier->lba + earlier->sectors;
    if (whole) {
      stop_waiting(*earlier);
    }
  }
  const std::uint32_t index = insert(candidate);
  for (TrackerObserver* observer : observers_) {
    observer->on_request(frame, requests_[index], relation, earlier);
  }
  return index;
}

void Tracker::take_coalesced(const AoeFrame& frame, const Request& head, std::uint32_t before,
                             bool maybe) {
  if (!frame.holds(kCoalescedCountOffset, 1)) {
    return;
  }
  const std::uint32_t further = frame.u8(kCoalescedCountOffset);
  const std::uint64_t end =
      kCoalescedCountOffset + 1 + std::uint64_t{further} * kCoalescedEntryBytes;
  if (maybe &&
      (further == 0 || std::max<std::uint64_t>(end, kMinimumFrameBytes) != frame.wire_length)) {
    return;  // garbage in the padding rather than a list
  }
  for (std::uint32_t i = 0; i < further; ++i) {
    const std::uint32_t at = kCoalescedCountOffset + 1 + i * kCoalescedEntryBytes;
    if (!frame.holds(at, kCoalescedEntryBytes)) {
      return;  // entries that do not fit the frame are not served
    }
    Request child = head;
    child.tag = frame.be32(at);
    child.lba = frame.lba48(at + 4);
    if (is_28_bit(child.ata_command)) {
      child.lba &= 0x0FFF'FFFF;
    }
    child.sectors = frame.u8(at + 15);
    child.coalesced = true;
    child.maybe = maybe;
    child.repeats = child.ambiguous = child.reused_waiting = false;
    child.fingerprint = hash_bytes(frame.slice(at, 0).data(), kCoalescedEntryBytes, 1);
    child.copies = 1;
    child.answers = 0;
    child.first_frame = child.last_frame = child.since_frame = frame.number;
    child.first_time_ns = child.last_time_ns = frame.time_ns;
    sector_count_ = 0;
    child.list_before = before;
    before = admit(frame, child);
  }
}

void Tracker::take_request(const AoeFrame& frame) {
  Request candidate;
  describe(frame, candidate);
  candidate.session = session_for(frame.source, frame.vlan, frame.shelf(), frame.slot());
  if (candidate.session == kNone) {
    ++counters_.untracked;
    return;
  }
  give_up_old(sessions_[candidate.session], frame.time_ns);
  const std::uint32_t head = admit(frame, candidate);
  const Session& session = sessions_[candidate.session];
  if (candidate.command == kCommandAta && is_read(candidate.ata_command) &&
      !session.off(kFeatureCoalescedRead)) {
    take_coalesced(frame, candidate, head, !session.on(kFeatureCoalescedRead));
  }
  follow_window(frame, candidate);
  unsettle_all_features(frame, candidate);
}

// A config command, and a table until it is answered, make unknown what they may have changed.
void Tracker::unsettle_all_features(const AoeFrame& frame, const Request& request) {
  if (request.command != kCommandConfig && request.command != kCommandExtensions) {
    return;
  }
  if (!request.to_all) {
    unsettle_features(frame, request, sessions_[request.session]);
    return;
  }
  for (const std::uint32_t index : sessions_by_initiator_[request.initiator]) {
    if (sessions_[index].vlan == request.vlan) {
      unsettle_features(frame, request, sessions_[index]);
    }
  }
}

void Tracker::unsettle_features(const AoeFrame& frame, const Request& request, Session& session) {
  if (request.command == kCommandConfig) {
    session.features_known &= static_cast<std::uint8_t>(~session.features);
    return;
  }
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    session.features_known = frame.was_cut() ? 0 : session.features_known;
    return;
  }
  table.for_each([&session](std::string_view name) {
    const std::uint8_t bit = feature_bit(name);
    const std::uint8_t doubtful = bit == kFeatureReset        ? session.features
                                  : (bit & kFeaturesTag) != 0 ? kFeaturesTag
                                                              : bit;
    session.features_known &= static_cast<std::uint8_t>(~doubtful);
  });
}

// Where the window of remembered tags stands: a write far ahead pushes old ones out, one behind it
// may have started it anew.
void Tracker::follow_window(const AoeFrame& frame, const Request& request) {
  Session& session = sessions_[request.session];
  if ((session.features & kFeaturesTagInc) == 0 || request.command != kCommandAta) {
    return;
  }
  const std::uint32_t number = session.number_of(request.tag);
  const auto ahead = static_cast<std::int32_t>(number - session.newest_tag);
  if (!is_write(request.ata_command)) {
    if (session.newest_known && ahead >= static_cast<std::int32_t>(kReadTakesWindow)) {
      session.window_since = frame.number;
      session.newest_known = false;
    }
    return;
  }
  if (!session.newest_known || ahead > 0) {
    session.newest_tag = number;
    session.newest_known = true;
  } else if (-static_cast<std::int64_t>(ahead) >= kWindowTags) {
    session.window_since = frame.number;
    session.newest_known = false;
  }
}

// A target that announces itself has started: what was negotiated with it may be gone.
void Tracker::announced(const AoeFrame& frame) {
  for (Session& session : sessions_) {
    if (session.vlan == frame.vlan && session.shelf == frame.shelf() &&
        session.slot == frame.slot()) {
      session.features_known = 0;
      session.window_since = frame.number;
      session.newest_known = false;
    }
  }
}

void Tracker::apply_negotiation(const AoeFrame& frame, const Request& request, Session& session) {
  if (frame.command() == kCommandConfig) {
    const bool set = request.sub_command == kConfigSet || request.sub_command == kConfigForce;
    if (set && !frame.has_error_flag()) {
      session.features = 0;  // both readings of AoEde agree here
      session.features_known = kFeaturesAll;
      session.window_since = frame.number;
      session.newest_known = false;
    }
    return;
  }
  if (frame.command() != kCommandExtensions || frame.has_error_flag()) {
    return;
  }
  // With another table under way, or behind a copy that only its reply betrays, nobody can tell
  // what is on now.
  const bool settled = session.negotiating == 0 && request.answers <= request.copies;
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    session.features_known = frame.was_cut() ? 0 : session.features_known;
    return;
  }
  table.for_each([&session, &frame, settled](std::string_view name) {
    const std::uint8_t bit = feature_bit(name);
    if (bit == 0) {
      return;
    }
    const bool on = is_upper_case(name);
    std::uint8_t decided = bit;
    if (bit == kFeatureReset) {
      if (on) {
        session.features = 0;
        decided = kFeaturesAll;
      }
    } else if ((bit & kFeaturesTag) != 0) {  // the last one named wins
      if (on) {
        session.features = static_cast<std::uint8_t>((session.features & ~kFeaturesTag) | bit);
        decided = kFeaturesTag;
      } else {
        session.features &= static_cast<std::uint8_t>(~bit);
      }
    } else {
      session.features =
          static_cast<std::uint8_t>(on ? session.features | bit : session.features & ~bit);
    }
    if (on && (bit & (kFeaturesTag | kFeatureReset)) != 0) {
      session.window_since = frame.number;
      session.newest_known = false;
    }
    session.features_known = static_cast<std::uint8_t>(settled ? session.features_known | decided
                                                               : session.features_known & ~decided);
  });
}

// How many bytes of a write's reply are a list of further results.
void Tracker::measure_write_list(AoeFrame& frame, const Request* request, const Session* session) {
  if (request == nullptr || session == nullptr || frame.from_list ||
      request->command != kCommandAta || !is_write(request->ata_command) ||
      frame.has_error_flag() || !frame.holds(kCoalescedCountOffset, 1) ||
      session->off(kFeatureWriteReplies) || (frame.ata_flags() & kAtaWriteFlag) == 0) {
    return;
  }
  const std::uint32_t further = frame.u8(kCoalescedCountOffset);
  const std::uint64_t end =
      kCoalescedCountOffset + 1 + std::uint64_t{further} * kCoalescedEntryBytes;
  if (further == 0 || end > frame.wire_length) {
    return;
  }
  if (!session->on(kFeatureWriteReplies)) {
    // Not seen to be negotiated: it is a list if every entry answers a write that waits.
    for (std::uint32_t i = 0; i < further; ++i) {
      const std::uint32_t at =
          kCoalescedCountOffset + 1 + i * static_cast<std::uint32_t>(kCoalescedEntryBytes);
      if (!frame.holds(at, 4)) {
        return;
      }
      const Request* other = find_request(frame.destination, request->vlan, frame.shelf(),
                                          frame.slot(), frame.be32(at), kCommandAta);
      if (other == nullptr || !is_write(other->ata_command)) {
        return;
      }
    }
  }
  frame.list_bytes = static_cast<std::uint32_t>(end) - kCoalescedCountOffset;
}

// Turns each entry back into the reply that the write would have had alone.
void Tracker::take_write_list(const AoeFrame& frame) {
  const std::uint32_t further = (frame.list_bytes - 1) / kCoalescedEntryBytes;
  for (std::uint32_t i = 0; i < further; ++i) {
    const std::uint32_t at =
        kCoalescedCountOffset + 1 + i * static_cast<std::uint32_t>(kCoalescedEntryBytes);
    if (!frame.holds(at, kCoalescedEntryBytes)) {
      return;  // cut by a snaplen
    }
    list_frame_.fill(0);
    std::memcpy(list_frame_.data(), frame.slice(0, 0).data(), kAoeHeaderEnd);
    std::memcpy(list_frame_.data() + 20, frame.slice(at, 4).data(), 4);
    std::memcpy(list_frame_.data() + kAoeHeaderEnd, frame.slice(at + 4, 12).data(), 12);
    CapturedFrame captured;
    captured.number = frame.number;
    captured.time_ns = frame.time_ns;
    captured.bytes = list_frame_;
    captured.wire_length = kMinimumFrameBytes;
    AoeFrame entry;
    if (AoeFrame::parse(captured, entry) != AoeFrame::Kind::aoe) {
      return;
    }
    entry.destination = frame.destination;
    entry.source = frame.source;
    entry.vlan = frame.vlan;
    entry.from_list = true;
    take_reply(entry);
  }
}

void Tracker::take_reply(AoeFrame& frame) {
  sector_count_ = 0;
  Request* request = find_for_reply(frame);
  std::uint32_t index = kNone;
  if (request != nullptr && !request->to_all) {
    index = request->session;
  } else if (request != nullptr || sessions_by_initiator_.count(frame.source) == 0) {
    index = session_for(frame.destination, frame.vlan, frame.shelf(), frame.slot());
    counters_.untracked += index == kNone ? 1 : 0;
  }
  Session* session = index == kNone ? nullptr : &sessions_[index];
  const bool announces = frame.command() == kCommandConfig && frame.tag() == 0;
  if (session != nullptr && (request != nullptr || announces)) {
    note_target_mac(*session, frame.source);
  }
  if (request != nullptr) {
    ++request->answers;
    if (request->answers == 1) {
      request->answer_time_ns = frame.time_ns;
      request->answer_frame = frame.number;
      request->outcome = outcome_of(frame, *request);
    }
    stop_waiting(*request);
    if (request->command == kCommandAta && is_read(request->ata_command) && frame.holds_ata() &&
        !frame.has_error_flag() && (frame.ata_status() & kStatusErr) == 0) {
      hash_sectors(frame, request->sectors);
    }
    measure_write_list(frame, request, session);
  } else {
    counters_.unasked += announces ? 0 : 1;
    if (announces) {
      announced(frame);
    }
  }
  for (TrackerObserver* observer : observers_) {
    observer->on_reply(frame, request, session);
  }
  if (request != nullptr && session != nullptr) {
    apply_negotiation(frame, *request, *session);
  }
  if (frame.list_bytes != 0) {
    take_write_list(frame);
  }
}

void Tracker::on_frame(const CapturedFrame& given) {
  CapturedFrame captured = given;
  if (captured.fcs_bytes == 0) {
    captured.fcs_bytes = frame_check_.bytes_of(captured);
  }
  counters_.checked += captured.fcs_bytes != 0 ? 1 : 0;
  if (counters_.frames == 0) {
    counters_.first_time_ns = captured.time_ns;
  }
  counters_.last_time_ns = std::max(counters_.last_time_ns, captured.time_ns);
  ++counters_.frames;
  counters_.bytes += captured.bytes.size();
  AoeFrame frame;
  const AoeFrame::Kind kind = AoeFrame::parse(captured, frame);
  if (kind == AoeFrame::Kind::other) {
    ++counters_.other_frames;
    return;
  }
  ++counters_.aoe_frames;
  counters_.vlan_frames += frame.vlan != kNoVlan ? 1 : 0;
  counters_.cut_frames += frame.was_cut() ? 1 : 0;
  if (kind == AoeFrame::Kind::runt) {
    if (frame.was_cut()) {
      return;  // the header is beyond the snaplen: counted as cut
    }
    ++counters_.runts;
    for (TrackerObserver* observer : observers_) {
      observer->on_runt(frame);
    }
    return;
  }
  if (frame.is_response()) {
    take_reply(frame);
  } else {
    take_request(frame);
  }
}

void Tracker::finish() {
  for (Session& session : sessions_) {
    while (session.wait_first != kNone) {
      Request& request = requests_[session.wait_first];
      stop_waiting(request);
      for (TrackerObserver* observer : observers_) {
        observer->on_given_up(request);
      }
    }
  }
  for (TrackerObserver* observer : observers_) {
    observer->on_end();
  }
}

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '\\') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

std::string mac_text(std::uint64_t mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac >> 40 & 0xFF,
                     mac >> 32 & 0xFF, mac >> 24 & 0xFF, mac >> 16 & 0xFF, mac >> 8 & 0xFF,
                     mac & 0xFF);
}

std::string address_text(VlanId vlan, std::uint16_t shelf, std::uint8_t slot) {
  std::string text = shelf == kBroadcastShelf && slot == kBroadcastSlot
                         ? std::string("everybody")
                         : fmt::format("e{}.{}", shelf, slot);
  if (vlan != kNoVlan) {
    text += "@" + vlan_text(vlan);
  }
  return text;
}

std::string vlan_text(VlanId vlan) {
  if (vlan == kNoVlan) {
    return "";
  }
  return vlan <= 0xFFFF ? fmt::format("{}", vlan)
                        : fmt::format("{}.{}", vlan & 0xFFFF, (vlan >> 16) - 1);
}

std::string request_text(const Request& request) {
  switch (request.command) {
    case kCommandAta: {
      const bool reads = is_read(request.ata_command);
      if (reads || is_write(request.ata_command)) {
        return fmt::format("{} of {} sector{} at LBA {}", reads ? "read" : "write", request.sectors,
                           request.sectors == 1 ? "" : "s", request.lba);
      }
      if (request.ata_command == kAtaIdentify) {
        return "identify";
      }
      if (request.ata_command == kAtaFlush || request.ata_command == kAtaFlushExt) {
        return "flush";
      }
      return fmt::format("ATA command 0x{:02x}", request.ata_command);
    }
    case kCommandConfig: {
      static constexpr std::array<const char*, 5> kNames{
          "config read", "config test", "config prefix test", "config set", "config force set"};
      return request.sub_command < kNames.size()
                 ? kNames[request.sub_command]
                 : fmt::format("config command {}", request.sub_command);
    }
    case kCommandMask:
      return request.sub_command == 0 ? "mask list read" : "mask list edit";
    case kCommandReserve:
      return request.sub_command == 0   ? "reserve read"
             : request.sub_command == 1 ? "reserve set"
                                        : "reserve force set";
    case kCommandExtensions:
      return "extension table";
    default:
      return fmt::format("command 0x{:02x}", request.command);
  }
}

}  // namespace conformance::observer
