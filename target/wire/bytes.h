// Loads and stores of integers in the byte orders of AoE and ATA. It owns nothing and never looks
// at a length: the caller has checked it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace target::wire {

inline std::uint8_t load_u8(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint8_t>(bytes[offset]);
}

inline std::uint16_t load_be16(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(load_u8(bytes, offset) << 8 | load_u8(bytes, offset + 1));
}

inline std::uint16_t load_le16(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(load_u8(bytes, offset + 1) << 8 | load_u8(bytes, offset));
}

inline std::uint32_t load_be32(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint32_t>(load_be16(bytes, offset)) << 16 | load_be16(bytes, offset + 2);
}

// Six bytes, least significant first: the LBA of ATA.
inline std::uint64_t load_le48(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 6; i-- > 0;) {
    value = value << 8 | load_u8(bytes, offset + i);
  }
  return value;
}

inline void store_u8(std::span<std::byte> bytes, std::size_t offset, std::uint8_t value) {
  bytes[offset] = static_cast<std::byte>(value);
}

inline void store_be16(std::span<std::byte> bytes, std::size_t offset, std::uint16_t value) {
  store_u8(bytes, offset, static_cast<std::uint8_t>(value >> 8));
  store_u8(bytes, offset + 1, static_cast<std::uint8_t>(value));
}

inline void store_le16(std::span<std::byte> bytes, std::size_t offset, std::uint16_t value) {
  store_u8(bytes, offset, static_cast<std::uint8_t>(value));
  store_u8(bytes, offset + 1, static_cast<std::uint8_t>(value >> 8));
}

inline void store_be32(std::span<std::byte> bytes, std::size_t offset, std::uint32_t value) {
  store_be16(bytes, offset, static_cast<std::uint16_t>(value >> 16));
  store_be16(bytes, offset + 2, static_cast<std::uint16_t>(value));
}

inline void store_le48(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value) {
  for (std::size_t i = 0; i < 6; ++i) {
    store_u8(bytes, offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

}  // namespace target::wire
