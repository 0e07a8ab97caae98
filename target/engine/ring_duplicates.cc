// A hash table with linear probing. A new batch empties it by counting its epoch up.
#include "target/engine/ring_duplicates.h"

#include <cstddef>

namespace target::engine {

namespace {

constexpr std::size_t kEntries = 4096;
constexpr std::uint32_t kUsedMax = kEntries / 2;

std::size_t hash(std::uint64_t session_generation, std::uint32_t tag, std::uint8_t command) {
  std::uint64_t h = session_generation * 0x9E3779B97F4A7C15ULL + tag;
  h = (h ^ command) * 0xBF58476D1CE4E5B9ULL;
  return static_cast<std::size_t>(h >> 32);
}

}  // namespace

RingDuplicates::RingDuplicates() : entries_(kEntries) {}

bool RingDuplicates::seen(std::uint64_t batch, std::uint64_t session_generation, std::uint32_t tag,
                          std::uint8_t command) {
  if (epoch_ == 0 || batch != batch_) {
    batch_ = batch;
    ++epoch_;
    used_ = 0;
  }
  std::size_t at = hash(session_generation, tag, command) % kEntries;
  while (entries_[at].epoch == epoch_) {
    const Entry& entry = entries_[at];
    if (entry.session_generation == session_generation && entry.tag == tag &&
        entry.command == command) {
      return true;
    }
    at = (at + 1) % kEntries;
  }
  if (used_ < kUsedMax) {
    entries_[at] = {epoch_, session_generation, tag, command};
    ++used_;
  }
  return false;
}

}  // namespace target::engine
