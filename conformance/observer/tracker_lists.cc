// Lists inside one frame: further reads of a coalesced read, further results of a write's reply.
// Each entry is taken for the request or the reply that it would have been alone.
#include <algorithm>
#include <cstring>

#include "conformance/observer/tracker.h"

namespace conformance::observer {

namespace {

constexpr std::uint32_t kCoalescedCountOffset = 36;

}  // namespace

void Tracker::take_coalesced(const AoeFrame& frame, const Request& head, std::uint32_t before,
                             bool maybe) {
  if (!frame.holds(kCoalescedCountOffset, 1)) {
    return;
  }
  const std::uint32_t further = frame.u8(kCoalescedCountOffset);
  const std::uint64_t end =
      kCoalescedCountOffset + 1 + std::uint64_t{further} * kCoalescedEntryBytes;
  if (maybe &&
      (further == 0 || std::max<std::uint64_t>(end, kMinimumFrameBytes) != frame.wire_length)) {
    return;  // garbage in the padding rather than a list
  }
  for (std::uint32_t i = 0; i < further; ++i) {
    const std::uint32_t at = kCoalescedCountOffset + 1 + i * kCoalescedEntryBytes;
    if (!frame.holds(at, kCoalescedEntryBytes)) {
      return;  // entries that do not fit the frame are not served
    }
    Request child = head;
    child.tag = frame.be32(at);
    child.lba = frame.lba48(at + 4);
    if (is_28_bit(child.ata_command)) {
      child.lba &= 0x0FFF'FFFF;
    }
    child.sectors = frame.u8(at + 15);
    child.coalesced = true;
    child.maybe = maybe;
    child.repeats = child.ambiguous = child.reused_waiting = false;
    child.fingerprint = hash_bytes(frame.slice(at, 0).data(), kCoalescedEntryBytes, 1);
    child.copies = 1;
    child.answers = 0;
    child.first_frame = child.last_frame = child.since_frame = frame.number;
    child.first_time_ns = child.last_time_ns = frame.time_ns;
    sector_count_ = 0;
    child.list_before = before;
    before = admit(frame, child);
  }
}

// How many bytes of a write's reply are a list of further results.
void Tracker::measure_write_list(AoeFrame& frame, const Request* request, const Session* session) {
  if (request == nullptr || session == nullptr || frame.from_list ||
      request->command != kCommandAta || !is_write(request->ata_command) ||
      frame.has_error_flag() || !frame.holds(kCoalescedCountOffset, 1) ||
      session->off(kFeatureWriteReplies) || (frame.ata_flags() & kAtaWriteFlag) == 0) {
    return;
  }
  const std::uint32_t further = frame.u8(kCoalescedCountOffset);
  const std::uint64_t end =
      kCoalescedCountOffset + 1 + std::uint64_t{further} * kCoalescedEntryBytes;
  if (further == 0 || end > frame.wire_length) {
    return;
  }
  if (!session->on(kFeatureWriteReplies)) {
    // Not seen to be negotiated: it is a list if every entry answers a write that waits.
    for (std::uint32_t i = 0; i < further; ++i) {
      const std::uint32_t at =
          kCoalescedCountOffset + 1 + i * static_cast<std::uint32_t>(kCoalescedEntryBytes);
      if (!frame.holds(at, 4)) {
        return;
      }
      const Request* other = find_request(frame.destination, request->vlan, frame.shelf(),
                                          frame.slot(), frame.be32(at), kCommandAta);
      if (other == nullptr || !is_write(other->ata_command)) {
        return;
      }
    }
  }
  frame.list_bytes = static_cast<std::uint32_t>(end) - kCoalescedCountOffset;
}

// Turns each entry back into the reply that the write would have had alone.
void Tracker::take_write_list(const AoeFrame& frame) {
  const std::uint32_t further = (frame.list_bytes - 1) / kCoalescedEntryBytes;
  for (std::uint32_t i = 0; i < further; ++i) {
    const std::uint32_t at =
        kCoalescedCountOffset + 1 + i * static_cast<std::uint32_t>(kCoalescedEntryBytes);
    if (!frame.holds(at, kCoalescedEntryBytes)) {
      return;  // cut by a snaplen
    }
    list_frame_.fill(0);
    std::memcpy(list_frame_.data(), frame.slice(0, 0).data(), kAoeHeaderEnd);
    std::memcpy(list_frame_.data() + 20, frame.slice(at, 4).data(), 4);
    std::memcpy(list_frame_.data() + kAoeHeaderEnd, frame.slice(at + 4, 12).data(), 12);
    CapturedFrame captured;
    captured.number = frame.number;
    captured.time_ns = frame.time_ns;
    captured.bytes = list_frame_;
    captured.wire_length = kMinimumFrameBytes;
    AoeFrame entry;
    if (AoeFrame::parse(captured, entry) != AoeFrame::Kind::aoe) {
      return;
    }
    entry.destination = frame.destination;
    entry.source = frame.source;
    entry.vlan = frame.vlan;
    entry.from_list = true;
    take_reply(entry);
  }
}

}  // namespace conformance::observer
