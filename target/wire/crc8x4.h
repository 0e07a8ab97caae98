// The check of the crc8x4 extension: four CRC-8 lanes over an ATA argument and its data. A pure
// function of bytes; knows nothing of frames or sessions.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace target::wire {

inline constexpr std::size_t kCrc8x4Bytes = 4;

// Byte i of bytes belongs to lane i mod 4. Each lane is a reflected CRC-8 with polynomial 0xB2
// (0x4D unreflected), initial value 0xFF, no final XOR.
[[nodiscard]] std::array<std::byte, kCrc8x4Bytes> crc8x4(std::span<const std::byte> bytes);

}  // namespace target::wire
