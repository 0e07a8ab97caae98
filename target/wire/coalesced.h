// The two lists that stand behind an ATA argument: the further reads of a coalesced read request
// (AoEde's) and the further results of a coalesced write reply (ours, docs/extensions.md). Owns
// their layout, and knows no session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "target/wire/aoe.h"

namespace target::wire {

inline constexpr std::size_t kCoalescedCountOffset = kAtaArgumentEnd;
inline constexpr std::size_t kCoalescedListOffset = kCoalescedCountOffset + 1;
inline constexpr std::size_t kCoalescedEntryBytes = 16;
inline constexpr std::size_t kCoalescedEntriesMax = 255;

// The most entries that a frame of frame_bytes can carry behind its ATA argument.
[[nodiscard]] std::size_t coalesced_entries_that_fit(std::size_t frame_bytes);

struct CoalescedReadEntry {
  std::uint32_t tag = 0;
  std::uint64_t lba = 0;
  std::uint8_t sector_count = 0;
};

// The further reads of a request: its count, cut to what the frame holds.
class CoalescedReadList {
 public:
  explicit CoalescedReadList(const AtaRequest& request);
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] CoalescedReadEntry at(std::size_t index) const;

 private:
  std::span<const std::byte> entries_;
  std::size_t size_ = 0;
};

// Writes entry `index` (0 the first after the header's own) of a coalesced write reply, and the
// count that goes with it; returns the length of the frame, padding included.
std::size_t store_write_reply_entry(std::span<std::byte> frame, std::size_t index,
                                    std::uint32_t tag, const AtaRegisters& registers);

}  // namespace target::wire
