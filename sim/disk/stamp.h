// What stands in a sector: the number of the write that it came from, its own LBA, and a pattern
// that depends on both over all 512 bytes, so that a torn, misplaced, stale or foreign sector is
// known for what it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sim::disk {

inline constexpr std::size_t kSectorBytes = 512;
using Version = std::uint32_t;
inline constexpr Version kFormatted = 0;  // what the export holds before the first write
inline constexpr Version kTorn = ~Version{0};

enum class StampState : std::uint8_t { good, misplaced, broken };

struct Stamp {
  StampState state{};
  Version version = 0;
  std::uint64_t lba = 0;
  std::uint64_t digest = 0;  // of the bytes when they are broken
};

void write_stamp(std::span<std::byte> sector, Version version, std::uint64_t lba);
Stamp read_stamp(std::span<const std::byte> sector, std::uint64_t lba);

}  // namespace sim::disk
