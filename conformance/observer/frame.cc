#include "conformance/observer/frame.h"

#include <algorithm>
#include <array>

namespace conformance::observer {

namespace {
constexpr std::uint32_t kFcsBytes = 4;
constexpr std::uint32_t kCloseLook = 1024;  // frames looked at after one that ended in its CRC
constexpr std::uint32_t kEvery = 64;        // without a hit one frame in so many is looked at

// CRC-32 of IEEE 802.3, eight bytes at a time.
struct CrcTables {
  std::array<std::array<std::uint32_t, 256>, 8> t{};
  constexpr CrcTables() {
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB8'8320 : crc >> 1;
      }
      t[0][i] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k) {
      for (std::uint32_t i = 0; i < 256; ++i) {
        t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 0xFF];
      }
    }
  }
};
constexpr CrcTables kCrc;

std::uint32_t crc32_of(std::span<const std::uint8_t> bytes) {
  std::uint32_t crc = 0xFFFF'FFFF;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint8_t* p = bytes.data() + i;
    const std::uint32_t low = crc ^ (static_cast<std::uint32_t>(p[0]) | p[1] << 8 | p[2] << 16 |
                                     static_cast<std::uint32_t>(p[3]) << 24);
    crc = kCrc.t[7][low & 0xFF] ^ kCrc.t[6][low >> 8 & 0xFF] ^ kCrc.t[5][low >> 16 & 0xFF] ^
          kCrc.t[4][low >> 24] ^ kCrc.t[3][p[4]] ^ kCrc.t[2][p[5]] ^ kCrc.t[1][p[6]] ^
          kCrc.t[0][p[7]];
  }
  for (; i < bytes.size(); ++i) {
    crc = crc >> 8 ^ kCrc.t[0][(crc ^ bytes[i]) & 0xFF];
  }
  return ~crc;
}

constexpr std::uint32_t kVlanTagBytes = 4;
constexpr int kVlanTagsMax = 4;

bool is_vlan_type(std::uint16_t type) {
  return type == 0x8100 || type == 0x88A8 || type == 0x9100;  // 802.1Q, 802.1ad, its forerunner
}
}  // namespace

std::uint32_t FrameCheck::bytes_of(const CapturedFrame& frame) {
  const std::size_t size = frame.bytes.size();
  if (size < kMinimumFrameBytes + kFcsBytes || size != frame.wire_length) {
    return 0;
  }
  if (close_look_ == 0 && size != kMinimumFrameBytes + kFcsBytes && ++since_ % kEvery != 0) {
    return 0;
  }
  const std::uint8_t* end = frame.bytes.data() + size - kFcsBytes;
  const std::uint32_t said = static_cast<std::uint32_t>(end[0]) | end[1] << 8 | end[2] << 16 |
                             static_cast<std::uint32_t>(end[3]) << 24;
  if (crc32_of(frame.bytes.first(size - kFcsBytes)) == said) {
    close_look_ = kCloseLook;
    return kFcsBytes;
  }
  close_look_ -= close_look_ == 0 ? 0 : 1;
  return 0;
}

AoeFrame::Kind AoeFrame::parse(const CapturedFrame& captured, AoeFrame& out) {
  const std::uint8_t* p = captured.bytes.data();
  std::uint32_t left = static_cast<std::uint32_t>(captured.bytes.size());
  std::uint32_t tags = 0;
  VlanId vlan = kNoVlan;
  if (left < kEthernetHeaderBytes) {
    return Kind::other;
  }
  auto type = static_cast<std::uint16_t>(p[12] << 8 | p[13]);
  while (is_vlan_type(type)) {
    if (tags == kVlanTagsMax || left < kEthernetHeaderBytes + kVlanTagBytes) {
      return Kind::other;
    }
    const auto id = static_cast<VlanId>((p[14] << 8 | p[15]) & 0x0FFF);
    if (vlan == kNoVlan) {
      vlan = id;
    } else if (vlan <= 0x0FFF) {
      vlan |= (id + 1) << 16;
    }
    p += kVlanTagBytes;
    left -= kVlanTagBytes;
    ++tags;
    type = static_cast<std::uint16_t>(p[12] << 8 | p[13]);
  }
  if (type != kEtherTypeAoe) {
    return Kind::other;
  }
  out.number = captured.number;
  out.time_ns = captured.time_ns;
  out.destination = read_mac(captured.bytes.data());
  out.source = read_mac(captured.bytes.data() + kMacBytes);
  out.vlan = vlan;
  out.base_ = p;
  out.length = left;
  const std::uint32_t tag_bytes = tags * kVlanTagBytes;
  out.wire_length =
      captured.wire_length > tag_bytes + left ? captured.wire_length - tag_bytes : left;
  out.list_bytes = 0;
  out.from_list = false;
  if (captured.fcs_bytes != 0 && out.wire_length >= kAoeHeaderEnd + captured.fcs_bytes) {
    out.wire_length -= captured.fcs_bytes;
    out.length = std::min(out.length, out.wire_length);
    left = out.length;
  }
  return left < kAoeHeaderEnd ? Kind::runt : Kind::aoe;
}

}  // namespace conformance::observer
