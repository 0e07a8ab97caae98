// The four lanes, one table lookup for each byte, four bytes of each lane at once.
#include "target/wire/crc8x4.h"

#include <cstdint>

namespace target::wire {

namespace {

constexpr std::uint8_t kPolynomialReflected = 0xB2;
constexpr std::uint8_t kInitial = 0xFF;

using Table = std::array<std::uint8_t, 256>;

// kTables[n][v]: what v becomes when n more bytes of zero follow it in its lane.
constexpr std::size_t kRows = 4;
constexpr std::array<Table, kRows> make_tables() {
  std::array<Table, kRows> tables{};
  for (unsigned value = 0; value < 256; ++value) {
    unsigned crc = value;
    for (auto& table : tables) {
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc & 1U) != 0 ? crc >> 1 ^ kPolynomialReflected : crc >> 1;
      }
      table[value] = static_cast<std::uint8_t>(crc);
    }
  }
  return tables;
}

constexpr std::array<Table, kRows> kTables = make_tables();

// Four bytes of a lane at once: only the first of them waits for what was there before.
std::uint8_t four(std::uint8_t crc, const std::byte* lane) {
  const auto at = [lane](std::size_t row) {
    return static_cast<std::uint8_t>(lane[row * kCrc8x4Bytes]);
  };
  return kTables[3][crc ^ at(0)] ^ kTables[2][at(1)] ^ kTables[1][at(2)] ^ kTables[0][at(3)];
}

}  // namespace

std::array<std::byte, kCrc8x4Bytes> crc8x4(std::span<const std::byte> bytes) {
  // Locals, not an array: the four chains run side by side in registers.
  std::uint8_t lane0 = kInitial;
  std::uint8_t lane1 = kInitial;
  std::uint8_t lane2 = kInitial;
  std::uint8_t lane3 = kInitial;
  while (bytes.size() >= kRows * kCrc8x4Bytes) {
    lane0 = four(lane0, bytes.data());
    lane1 = four(lane1, bytes.data() + 1);
    lane2 = four(lane2, bytes.data() + 2);
    lane3 = four(lane3, bytes.data() + 3);
    bytes = bytes.subspan(kRows * kCrc8x4Bytes);
  }
  std::array<std::byte, kCrc8x4Bytes> result{std::byte{lane0}, std::byte{lane1}, std::byte{lane2},
                                             std::byte{lane3}};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::byte& lane = result[i % kCrc8x4Bytes];
    lane = std::byte{kTables[0][static_cast<std::uint8_t>(lane ^ bytes[i])]};
  }
  return result;
}

}  // namespace target::wire
