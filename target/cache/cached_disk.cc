// The cache as a disk: see cached_disk.h.
#include "target/cache/cached_disk.h"

#include <algorithm>

namespace target::cache {

void CachedDisk::start(std::span<const engine::DiskOp> operations) {
  if (!operations.empty()) {
    cache_.start(operations, clock_.now());
    pass_on();
  }
}

void CachedDisk::reap(std::vector<shell::DiskCompletion>& completions) {
  reaped_.clear();
  disk_.reap(reaped_);
  if (!reaped_.empty() || cache_.next_deadline() != kNever) {
    const Nanoseconds now = clock_.now();
    for (const shell::DiskCompletion& one : reaped_) {
      cache_.on_done({one.id, one.status, now});
    }
    if (cache_.next_deadline() <= now) {
      cache_.on_timer(now);
    }
    pass_on();
  }
  for (const engine::DiskDone& done : cache_.finished()) {
    completions.push_back({done.id, done.status});
  }
  cache_.taken();
}

Nanoseconds CachedDisk::deadline() const {
  return std::min(disk_.deadline(), cache_.next_deadline());
}

void CachedDisk::pass_on() {
  if (!cache_.to_start().empty()) {
    disk_.start(cache_.to_start());
    cache_.started();
  }
}

}  // namespace target::cache
