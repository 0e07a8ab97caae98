// The four lanes against a bit-by-bit CRC that is written the other way round (0x4D, unreflected).
#include "target/wire/crc8x4.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <vector>

namespace target::wire {
namespace {

std::uint8_t mirrored(std::uint8_t value) {
  std::uint8_t result = 0;
  for (int bit = 0; bit < 8; ++bit) {
    result = static_cast<std::uint8_t>(result << 1 | (value >> bit & 1));
  }
  return result;
}

// Reflected bytes through the unreflected polynomial, the result reflected back.
std::uint8_t slow_crc(const std::vector<std::uint8_t>& bytes) {
  std::uint8_t crc = 0xFF;
  for (const std::uint8_t byte : bytes) {
    crc ^= mirrored(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = static_cast<std::uint8_t>((crc & 0x80) != 0 ? crc << 1 ^ 0x4D : crc << 1);
    }
  }
  return mirrored(crc);
}

TEST(Crc8x4, NothingLeavesTheInitialValue) {
  for (const std::byte lane : crc8x4({})) {
    EXPECT_EQ(lane, std::byte{0xFF});
  }
}

TEST(Crc8x4, AgreesWithTheSlowOneOnAnyBytes) {
  EXPECT_TRUE(rc::check("lanes", [](const std::vector<std::uint8_t>& bytes) {
    std::vector<std::byte> input;
    std::vector<std::vector<std::uint8_t>> lanes(4);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      input.push_back(static_cast<std::byte>(bytes[i]));
      lanes[i % 4].push_back(bytes[i]);
    }
    const auto check = crc8x4(input);
    for (std::size_t lane = 0; lane < 4; ++lane) {
      RC_ASSERT(static_cast<std::uint8_t>(check[lane]) == slow_crc(lanes[lane]));
    }
  }));
}

TEST(Crc8x4, EveryFlippedBitShows) {
  std::vector<std::byte> bytes(12 + 512, std::byte{0x5A});
  const auto good = crc8x4(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte{1} << bit;
      EXPECT_NE(crc8x4(bytes), good);
      bytes[i] ^= std::byte{1} << bit;
    }
  }
}

}  // namespace
}  // namespace target::wire
