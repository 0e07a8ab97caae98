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
  std::array<std::uint8_t, kCrc8x4Bytes> lanes{kInitial, kInitial, kInitial, kInitial};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint8_t& lane = lanes[i % kCrc8x4Bytes];
    lane = kTable[lane ^ static_cast<std::uint8_t>(bytes[i])];
  }
  std::array<std::byte, kCrc8x4Bytes> result{};
  for (std::size_t i = 0; i < kCrc8x4Bytes; ++i) {
    result[i] = static_cast<std::byte>(lanes[i]);
  }
  return result;
}

}  // namespace target::wire
