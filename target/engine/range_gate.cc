// A list in order of arrival. Each entry counts the earlier ones that it waits for, held or in
// flight: an entry never waits for a later one, so there is no deadlock, and what overlaps a held
// operation is held behind it.
#include "target/engine/range_gate.h"

#include <cassert>

namespace target::engine {

RangeGate::RangeGate(std::uint32_t capacity) : entries_(capacity) {
  released_.reserve(capacity);
}

bool RangeGate::must_wait(const Entry& earlier, const Entry& later) {
  if (later.kind == DiskOpKind::flush) {
    return earlier.kind == DiskOpKind::write;
  }
  if (earlier.kind == DiskOpKind::flush) {
    return false;
  }
  if (earlier.kind == DiskOpKind::read && later.kind == DiskOpKind::read) {
    return false;
  }
  return earlier.lba < later.end && later.lba < earlier.end;
}

bool RangeGate::enter(std::uint32_t id, DiskOpKind kind, std::uint64_t lba, std::uint32_t sectors) {
  assert(id < entries_.size());
  Entry& entry = entries_[id];
  entry = Entry{kind, lba, lba + sectors, 0, newest_, kNone};
  if (writes_ != 0 || kind == DiskOpKind::write) {
    for (std::uint32_t other = oldest_; other != kNone; other = entries_[other].next) {
      entry.waits_for += must_wait(entries_[other], entry) ? 1 : 0;
    }
  }
  (newest_ == kNone ? oldest_ : entries_[newest_].next) = id;
  newest_ = id;
  ++size_;
  writes_ += kind == DiskOpKind::write ? 1 : 0;
  return entry.waits_for == 0;
}

void RangeGate::unlink(std::uint32_t id) {
  const Entry& entry = entries_[id];
  (entry.previous == kNone ? oldest_ : entries_[entry.previous].next) = entry.next;
  (entry.next == kNone ? newest_ : entries_[entry.next].previous) = entry.previous;
  --size_;
}

std::span<const std::uint32_t> RangeGate::leave(std::uint32_t id) {
  assert(id < entries_.size() && entries_[id].waits_for == 0);
  released_.clear();
  const Entry& gone = entries_[id];
  if (writes_ != 0) {
    for (std::uint32_t other = gone.next; other != kNone; other = entries_[other].next) {
      if (must_wait(gone, entries_[other]) && --entries_[other].waits_for == 0) {
        released_.push_back(other);
      }
    }
  }
  writes_ -= gone.kind == DiskOpKind::write ? 1 : 0;
  unlink(id);
  return released_;
}

}  // namespace target::engine
