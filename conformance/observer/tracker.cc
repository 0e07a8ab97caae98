// What the tracker does with a frame: a request is admitted as new, a copy, or a renewal; a reply
// finds its request. The tables behind it are tracker_tables.cc's, what is negotiated
// tracker_features.cc's, lists inside one frame tracker_lists.cc's.
#include "conformance/observer/tracker.h"

#include <algorithm>
#include <cstring>

namespace conformance::observer {

namespace {

constexpr int kWaitingScanned = 64;  // how far back a renewed request is looked for

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

Tracker::Tracker(std::uint32_t requests_kept)
    : requests_(requests_kept),
      index_(std::size_t{2} * requests_kept, kNone),
      session_index_(std::size_t{2} * kSessionsMax, kNone) {
  sessions_.reserve(kSessionsMax);
  targets_.reserve(kTargetsMax);
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
  // A frame that is shorter than its fields is another request than the whole one, also where the
  // snaplen hides it.
  std::uint64_t seed = out.command;
  if (frame.wire_length < out.argument_bytes) {
    seed = mix(seed ^ frame.wire_length, kMix1);
  }
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
    counters_.unknown += announces || request_with_tag_of(frame) != nullptr ? 0 : 1;
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

}  // namespace conformance::observer
