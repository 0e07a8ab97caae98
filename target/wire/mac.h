// A MAC address as a value. It owns nothing else and knows no protocol.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace target::wire {

struct MacAddress {
  std::array<std::uint8_t, 6> octets{};
  auto operator<=>(const MacAddress&) const = default;
};

inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

}  // namespace target::wire
