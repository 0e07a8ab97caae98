#include "conformance/observer/shadow_disk.h"

#include <cstdlib>
#include <new>

namespace conformance::observer {

namespace {
constexpr std::uint32_t kTargetShift = 48;
constexpr std::uint64_t kSpread = 0x9E37'79B9'7F4A'7C15;
}  // namespace

void ShadowDisk::Free::operator()(Sector* p) const {
  std::free(p);
}

ShadowDisk::ShadowDisk(std::uint32_t sets)
    : sectors_(static_cast<Sector*>(
          std::calloc(static_cast<std::size_t>(sets) * kWays, sizeof(Sector)))),
      sets_(sets) {
  if (sectors_ == nullptr) {
    throw std::bad_alloc();
  }
}

std::uint64_t ShadowDisk::key_of(std::uint32_t target, std::uint64_t lba) {
  return (static_cast<std::uint64_t>(target) << kTargetShift | lba) + 1;
}

Sector* ShadowDisk::set_of(std::uint64_t key) const {
  // Neighbouring sectors go to neighbouring sets: runs are what disks are read in.
  const std::uint64_t high = (key >> 18) * kSpread >> 40;
  return &sectors_[((key ^ high) % sets_) * kWays];
}

Sector* ShadowDisk::find(std::uint32_t target, std::uint64_t lba) {
  const std::uint64_t key = key_of(target, lba);
  Sector* set = set_of(key);
  for (std::uint32_t way = 0; way < kWays; ++way) {
    if (set[way].key == key) {
      return &set[way];
    }
  }
  return nullptr;
}

Sector& ShadowDisk::obtain(std::uint32_t target, std::uint64_t lba) {
  const std::uint64_t key = key_of(target, lba);
  Sector* set = set_of(key);
  Sector* empty = nullptr;
  for (std::uint32_t way = 0; way < kWays; ++way) {
    if (set[way].key == key) {
      return set[way];
    }
    if (set[way].key == 0 && empty == nullptr) {
      empty = &set[way];
    }
  }
  if (empty == nullptr) {
    empty = &set[victim_++ % kWays];
    ++forgotten_;
  }
  *empty = Sector{};
  empty->key = key;
  return *empty;
}

void ShadowDisk::forget(std::uint32_t target, std::uint64_t lba) {
  if (Sector* sector = find(target, lba)) {
    *sector = Sector{};
  }
}

}  // namespace conformance::observer
