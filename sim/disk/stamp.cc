// Writes and reads stamps.
#include "sim/disk/stamp.h"

#include <bit>
#include <cassert>
#include <cstring>

#include "sim/streams.h"
#include "sim/trace.h"

namespace sim::disk {
namespace {

constexpr std::size_t kWords = kSectorBytes / sizeof(std::uint64_t);
constexpr std::uint64_t kStep = 0xd6e8feb86659fd93ULL;

std::uint64_t base_of(std::uint64_t version, std::uint64_t lba) {
  return mix(version + kGolden) ^ mix(lba ^ kStep);
}

constexpr std::uint64_t little_endian(std::uint64_t value) {
  return std::endian::native == std::endian::big ? __builtin_bswap64(value) : value;
}

}  // namespace

void write_stamp(std::span<std::byte> sector, Version version, std::uint64_t lba) {
  assert(sector.size() == kSectorBytes);
  std::array<std::uint64_t, kWords> words;
  const std::uint64_t base = base_of(version, lba);
  for (std::size_t i = 0; i < kWords; ++i) {
    words[i] = little_endian(base + i * kStep);
  }
  words[0] = little_endian(version);
  words[1] = little_endian(lba);
  std::memcpy(sector.data(), words.data(), kSectorBytes);
}

Stamp read_stamp(std::span<const std::byte> sector, std::uint64_t lba) {
  assert(sector.size() == kSectorBytes);
  std::array<std::uint64_t, kWords> words;
  std::memcpy(words.data(), sector.data(), kSectorBytes);
  Stamp stamp;
  const std::uint64_t version = little_endian(words[0]);
  stamp.lba = little_endian(words[1]);
  const std::uint64_t base = base_of(version, stamp.lba);
  std::uint64_t wrong = version >> 32U;
  for (std::size_t i = 2; i < kWords; ++i) {
    wrong |= little_endian(words[i]) ^ (base + i * kStep);
  }
  if (wrong != 0) {
    stamp.state = StampState::broken;
    stamp.version = kTorn;
    stamp.digest = hash_bytes(sector);
    return stamp;
  }
  stamp.version = static_cast<Version>(version);
  stamp.state = stamp.lba == lba ? StampState::good : StampState::misplaced;
  return stamp;
}

}  // namespace sim::disk
