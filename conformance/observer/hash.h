// Hashes of what a frame holds: fast, of good spread, and the same in every run. Not for secrets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conformance::observer {

inline constexpr std::uint64_t kMix1 = 0x9E37'79B9'7F4A'7C15;
inline constexpr std::uint64_t kMix2 = 0xD6E8'FEB8'6659'FD93;

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t hash_bytes(const std::uint8_t* p, std::size_t size, std::uint64_t seed);

}  // namespace conformance::observer
