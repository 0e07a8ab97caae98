// The four lanes, one table lookup for each byte.
#include "target/wire/crc8x4.h"

#include <cstdint>

namespace target::wire {

namespace {

constexpr std::uint8_t kPolynomialReflected = 0xB2;
constexpr std::uint8_t kInitial = 0xFF;

constexpr std::array<std::uint8_t, 256> make_table() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned value = 0; value < 256; ++value) {
    unsigned crc = value;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? crc >> 1 ^ kPolynomialReflected : crc >> 1;
    }
    table[value] = static_cast<std::uint8_t>(crc);
  }
  return table;
}

constexpr std::array<std::uint8_t, 256> kTable = make_table();

}  // namespace

std::array<std::byte, kCrc8x4Bytes> crc8x4(std::span<const std::byte> bytes) {
  const auto step = [](std::uint8_t crc, std::byte byte) {
    return kTable[crc ^ static_cast<std::uint8_t>(byte)];
  };
  // Locals, not an array: the four chains run side by side in registers.
  std::uint8_t lane0 = kInitial;
  std::uint8_t lane1 = kInitial;
  std::uint8_t lane2 = kInitial;
  std::uint8_t lane3 = kInitial;
  while (bytes.size() >= kCrc8x4Bytes) {
    lane0 = step(lane0, bytes[0]);
    lane1 = step(lane1, bytes[1]);
    lane2 = step(lane2, bytes[2]);
    lane3 = step(lane3, bytes[3]);
    bytes = bytes.subspan(kCrc8x4Bytes);
  }
  std::array<std::byte, kCrc8x4Bytes> result{std::byte{lane0}, std::byte{lane1}, std::byte{lane2},
                                             std::byte{lane3}};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    result[i] = std::byte{step(static_cast<std::uint8_t>(result[i]), bytes[i])};
  }
  return result;
}

}  // namespace target::wire
