// What the capture says a target's sectors hold: a bounded cache of hashes, so that a read can be
// checked against the writes before it. When it is full the least lucky sector is forgotten and
// no longer checked; nothing is ever claimed about a sector that is not known. Never the data.
#pragma once

#include <cstdint>
#include <memory>

#include "conformance/observer/frame.h"

namespace conformance::observer {

struct Sector {
  std::uint64_t key = 0;  // target and LBA, plus one: 0 is an empty place
  std::uint64_t current = 0;
  std::uint64_t previous = 0;
  std::uint64_t pending[2] = {0, 0};        // written, not answered yet
  std::uint64_t stale = 0;                  // what a late copy of an older write carried
  Nanoseconds changed_ns = 0;               // when `current` was answered
  std::uint32_t pending_frame[2] = {0, 0};  // 0: none
  std::uint32_t current_frame = 0;          // the write that made it so, 0 if a read told
  std::uint32_t previous_frame = 0;
  std::uint32_t stale_frame = 0;  // 0: none
  bool known = false;
  bool previous_known = false;
  bool crowded = false;  // more writes in flight than fit: anything may be read
};

class ShadowDisk {
 public:
  // Room for 4 * sets sectors; a power of two.
  explicit ShadowDisk(std::uint32_t sets = kSets);
  static constexpr std::uint32_t kSets = 1 << 18;  // 1 Mi sectors: 512 MiB of disk
  // Null if the sector is not in the cache.
  Sector* find(std::uint32_t target, std::uint64_t lba);
  // Makes room if need be.
  Sector& obtain(std::uint32_t target, std::uint64_t lba);
  void forget(std::uint32_t target, std::uint64_t lba);
  [[nodiscard]] std::uint64_t forgotten() const { return forgotten_; }

 private:
  static constexpr std::uint32_t kWays = 4;
  struct Free {
    void operator()(Sector* p) const;
  };
  static std::uint64_t key_of(std::uint32_t target, std::uint64_t lba);
  [[nodiscard]] Sector* set_of(std::uint64_t key) const;

  std::unique_ptr<Sector[], Free> sectors_;  // zero pages until they are touched
  std::uint32_t sets_;
  std::uint64_t forgotten_ = 0;
  std::uint32_t victim_ = 0;
};

}  // namespace conformance::observer
