#include "pcaps/tool/cooked.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kHeader1Bytes = 16, kHeader2Bytes = 20;
constexpr std::size_t kAddressesKept = 4096;
// Packet types of the cooked header.
constexpr std::uint8_t kToUs = 0, kBroadcast = 1, kMulticast = 2, kOutgoing = 4;
constexpr std::uint64_t kSomeMulticast = 0x0100'0000'0000;
constexpr std::uint32_t kVlanTagBytes = 4;

std::uint16_t be16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
bool is_vlan(std::uint16_t type) {
  return type == 0x8100 || type == 0x88A8 || type == 0x9100;
}
void put_mac(std::uint8_t* to, std::uint64_t mac) {
  for (int i = 0; i < 6; ++i) {
    to[i] = static_cast<std::uint8_t>(mac >> (40 - 8 * i));
  }
}
std::uint64_t key_of(std::uint32_t tag, std::uint8_t command, std::uint32_t address) {
  return (std::uint64_t{address} << 40 | std::uint64_t{command} << 32 | tag) + 1;
}
std::size_t place_of(std::uint64_t key, std::size_t places) {
  return (key * 0x9E37'79B9'7F4A'7C15 >> 32) % places;
}
}  // namespace

std::uint32_t CookedFrames::header_bytes(std::uint16_t link) {
  return link == kLinkCooked2 ? kHeader2Bytes : kHeader1Bytes;
}

// `aoe` begins with the byte of version and flags, at offset 14 of an Ethernet frame.
std::uint64_t CookedFrames::destination_of(std::uint8_t kind, std::uint32_t interface,
                                           std::uint64_t source,
                                           std::span<const std::uint8_t> aoe) {
  constexpr std::size_t kHeaderBytes = kAoeHeaderEnd - kEthernetHeaderBytes;
  if (kind == kOutgoing && own_.size() < kAddressesKept) {
    own_[interface] = source;
  }
  if (aoe.size() < kHeaderBytes) {
    if (kind == kBroadcast || kind == kMulticast) {
      return kind == kBroadcast ? kBroadcastAddress : kSomeMulticast;
    }
    const auto own = own_.find(interface);
    return kind == kToUs && own != own_.end() ? own->second : 0;
  }
  const bool reply = (aoe[0] & kFlagResponse) != 0;
  const std::uint32_t address = static_cast<std::uint32_t>(be16(&aoe[2])) << 8 | aoe[4];
  const std::uint8_t command = aoe[5];
  const std::uint32_t tag = static_cast<std::uint32_t>(be16(&aoe[6])) << 16 | be16(&aoe[8]);
  const bool to_all = be16(&aoe[2]) == kBroadcastShelf || aoe[4] == kBroadcastSlot;
  if (!reply) {
    for (const std::uint32_t at : {address, 0U}) {  // 0: whoever is asked
      const std::uint64_t key = key_of(tag, command, at);
      askers_[place_of(key, askers_.size())] = {key, source};
    }
    if (last_askers_.size() < kAddressesKept) {
      last_askers_[address] = source;
    }
    if (kind == kMulticast) {
      return kSomeMulticast;
    }
    if (kind == kBroadcast || to_all) {
      return kBroadcastAddress;
    }
    const auto target = targets_.find(address);
    return target != targets_.end() ? target->second : 0;
  }
  if (targets_.size() < kAddressesKept) {
    targets_[address] = source;
  }
  for (const std::uint32_t at : {address, 0U}) {
    const std::uint64_t key = key_of(tag, command, at);
    const Asker& asker = askers_[place_of(key, askers_.size())];
    if (asker.key == key) {
      return asker.mac;
    }
  }
  const auto own = own_.find(interface);
  if (kind == kToUs && own != own_.end()) {
    return own->second;
  }
  const auto last = last_askers_.find(address);  // of a read in the tail of another
  return last != last_askers_.end() ? last->second : 0;
}

bool CookedFrames::to_ethernet(const Packet& packet, std::vector<std::uint8_t>& ethernet,
                               std::uint32_t& interface) {
  const std::uint32_t header = header_bytes(packet.link);
  if (packet.bytes.size() < header) {
    return false;
  }
  const std::uint8_t* p = packet.bytes.data();
  const bool second = packet.link == kLinkCooked2;
  const std::uint16_t type = be16(p + (second ? 0 : 14));
  const std::uint8_t kind = second ? p[10] : p[1];
  const std::uint32_t address_bytes = second ? p[11] : be16(p + 4);
  const std::uint64_t source =
      address_bytes == kMacBytes ? AoeFrame::read_mac(p + (second ? 12 : 6)) : 0;
  if (second) {
    interface = static_cast<std::uint32_t>(be16(p + 4)) << 16 | be16(p + 6);
  }
  const auto payload = packet.bytes.subspan(header);
  auto inner = payload;
  std::uint16_t inner_type = type;
  while (is_vlan(inner_type) && inner.size() >= kVlanTagBytes) {
    inner_type = be16(inner.data() + 2);
    inner = inner.subspan(kVlanTagBytes);
  }
  const std::uint64_t destination =
      inner_type == kEtherTypeAoe ? destination_of(kind, interface, source, inner) : 0;
  ethernet.resize(kEthernetHeaderBytes + payload.size());
  put_mac(ethernet.data(), destination);
  put_mac(ethernet.data() + kMacBytes, source);
  ethernet[12] = static_cast<std::uint8_t>(type >> 8);
  ethernet[13] = static_cast<std::uint8_t>(type);
  std::copy(payload.begin(), payload.end(), ethernet.begin() + kEthernetHeaderBytes);
  return true;
}

}  // namespace pcaps
