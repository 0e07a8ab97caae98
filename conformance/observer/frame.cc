#include "conformance/observer/frame.h"

namespace conformance::observer {

namespace {
constexpr std::uint32_t kVlanTagBytes = 4;
constexpr int kVlanTagsMax = 4;

bool is_vlan_type(std::uint16_t type) {
  return type == 0x8100 || type == 0x88A8 || type == 0x9100;  // 802.1Q, 802.1ad, its forerunner
}
}  // namespace

AoeFrame::Kind AoeFrame::parse(const CapturedFrame& captured, AoeFrame& out) {
  const std::uint8_t* p = captured.bytes.data();
  std::uint32_t left = static_cast<std::uint32_t>(captured.bytes.size());
  std::uint32_t tags = 0;
  std::uint16_t vlan = kNoVlan;
  if (left < kEthernetHeaderBytes) {
    return Kind::other;
  }
  auto type = static_cast<std::uint16_t>(p[12] << 8 | p[13]);
  while (is_vlan_type(type)) {
    if (tags == kVlanTagsMax || left < kEthernetHeaderBytes + kVlanTagBytes) {
      return Kind::other;
    }
    if (vlan == kNoVlan) {
      vlan = static_cast<std::uint16_t>((p[14] << 8 | p[15]) & 0x0FFF);
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
  return left < kAoeHeaderEnd ? Kind::runt : Kind::aoe;
}

}  // namespace conformance::observer
