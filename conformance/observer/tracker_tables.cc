// Sessions, targets and the ring of requests, with their indexes. Nothing is allocated per frame,
// and no walk grows with the capture.
#include <algorithm>
#include <cassert>

#include "conformance/observer/tracker.h"

namespace conformance::observer {

namespace {

std::uint64_t address_hash(std::uint64_t initiator, VlanId vlan, std::uint16_t shelf,
                           std::uint8_t slot, std::uint32_t tag) {
  const std::uint64_t address =
      static_cast<std::uint64_t>(vlan) << 24 | static_cast<std::uint64_t>(shelf) << 8 | slot;
  return mix(mix(initiator ^ kMix1, address ^ kMix2) ^ tag, kMix1);
}

// Do the reply's own LBA, CCmd and length belong to this request? Only to choose between two of one
// tag.
bool answers_well(const AoeFrame& reply, const Request& request) {
  const bool reads = is_read(request.ata_command);
  const bool identifies = request.ata_command == kAtaIdentify;
  if (request.command == kCommandConfig && reply.holds(29, 1)) {
    return (reply.u8(29) & 0x0F) == request.sub_command;
  }
  if (request.command != kCommandAta || reply.has_error_flag() || !reply.holds_ata() ||
      !(reads || identifies || is_write(request.ata_command))) {
    return true;
  }
  if (!identifies && reply.lba48(28) != request.lba) {
    return false;
  }
  const bool brings_data = reply.wire_length >= kAtaDataOffset + kSectorBytes;
  return (reply.ata_status() & kStatusErr) != 0 || (request.sectors == 0 && !identifies) ||
         brings_data == (reads || identifies);
}

}  // namespace

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
      if (reply == nullptr || answers_well(*reply, request)) {
        return &request;
      }
      misplaced = misplaced == nullptr ? &request : misplaced;
    } else if (answered == nullptr) {
      answered = &request;
    }
  }
  // A second reply to the one that it fits, rather than the first to one that it does not.
  const bool fits = answered != nullptr && (reply == nullptr || answers_well(*reply, *answered));
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

}  // namespace conformance::observer
