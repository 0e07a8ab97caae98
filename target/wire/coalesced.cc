// Both lists start at byte 36 with a count. Plain frames have zero padding there, which reads as an
// empty list: that is why a count comes first, and why padding must be zero.
#include "target/wire/coalesced.h"

#include <algorithm>

#include "target/wire/bytes.h"
#include "target/wire/format.h"

namespace target::wire {

std::size_t coalesced_entries_that_fit(std::size_t frame_bytes) {
  if (frame_bytes < kCoalescedListOffset) {
    return 0;
  }
  return std::min(kCoalescedEntriesMax,
                  (frame_bytes - kCoalescedListOffset) / kCoalescedEntryBytes);
}

CoalescedReadList::CoalescedReadList(const AtaRequest& request) {
  const std::span<const std::byte> payload = request.payload();
  if (payload.empty()) {
    return;
  }
  // Entries that do not fit the frame are not served.
  size_ = std::min<std::size_t>(load_u8(payload, 0),
                                coalesced_entries_that_fit(kAtaArgumentEnd + payload.size()));
  entries_ = payload.subspan(1);
}

CoalescedReadEntry CoalescedReadList::at(std::size_t index) const {
  const std::size_t offset = index * kCoalescedEntryBytes;
  CoalescedReadEntry entry;
  entry.tag = load_be32(entries_, offset);
  entry.lba = load_le48(entries_, offset + 4);
  entry.sector_count = load_u8(entries_, offset + 15);
  return entry;
}

std::size_t store_write_reply_entry(std::span<std::byte> frame, std::size_t index,
                                    std::uint32_t tag, const AtaRegisters& registers) {
  const std::size_t offset = kCoalescedListOffset + index * kCoalescedEntryBytes;
  store_u8(frame, kCoalescedCountOffset, static_cast<std::uint8_t>(index + 1));
  store_be32(frame, offset, tag);
  store_ata_registers(frame, offset + 4, registers);
  return pad_to_minimum(frame, offset + kCoalescedEntryBytes);
}

}  // namespace target::wire
