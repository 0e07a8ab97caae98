// When a write counts as done: see group_commit.h.
#include "target/shell/group_commit.h"

#include <algorithm>

namespace target::shell {
namespace {

using engine::DiskOpKind;
using engine::DiskStatus;

// No operation has it: the engine's ids are numbers of slots.
constexpr std::uint32_t kSyncId = 0xFFFF'FFFD;

}  // namespace

void GroupCommit::start(std::span<const engine::DiskOp> operations) {
  passed_on_.clear();
  bool flushes = false;
  for (const engine::DiskOp& operation : operations) {
    if (operation.kind == DiskOpKind::flush) {
      waiting_.push_back(operation.id);
      flushes = true;
      continue;
    }
    if (operation.kind == DiskOpKind::write && durability_ == WriteDurability::synced_in_groups) {
      writes_.resize(std::max<std::size_t>(writes_.size(), operation.id + std::size_t{1}));
      writes_[operation.id] = Write::at_disk;
    }
    passed_on_.push_back(operation);
  }
  if (!passed_on_.empty()) {
    disk_.start(passed_on_);
  }
  if (flushes) {
    start_sync();
  }
}

void GroupCommit::finish(DiskCompletion completion, std::vector<DiskCompletion>& completions) {
  if (completion.id >= writes_.size() || writes_[completion.id] == Write::none) {
    completions.push_back(completion);
    return;
  }
  const bool doomed = writes_[completion.id] == Write::doomed;
  writes_[completion.id] = Write::none;
  if (completion.status == DiskStatus::ok && !doomed) {
    waiting_.push_back(completion.id);
    return;
  }
  if (completion.status == DiskStatus::ok) {
    ++counters_.errors;
    completion.status = DiskStatus::io_error;
  }
  completions.push_back(completion);
}

// What ends, or is asked for, while a sync is in flight is not covered by it: it makes the next
// group.
void GroupCommit::start_sync() {
  if (waiting_.empty() || !syncing_.empty()) {
    return;
  }
  syncing_.swap(waiting_);
  const engine::DiskOp sync{kSyncId, DiskOpKind::flush, 0, 0, {}};
  disk_.start({&sync, 1});
}

// A write that ended before the failure was told may be what the failure is about, whichever group
// it belongs to. What was answered before it was durable cannot be failed any more: then no flush
// is good again, for the reply that said so may be lost, and another initiator never saw it.
void GroupCommit::finish_sync(DiskStatus status, std::vector<DiskCompletion>& completions) {
  ++counters_.syncs;
  if (status != DiskStatus::ok) {
    ++counters_.errors;
    if (durability_ == WriteDurability::by_flush && lost_ == DiskStatus::ok) {
      lost_ = status;
    }
    syncing_.insert(syncing_.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
    std::replace(writes_.begin(), writes_.end(), Write::at_disk, Write::doomed);
  } else {
    status = lost_;
  }
  for (const std::uint32_t id : syncing_) {
    completions.push_back({id, status});
  }
  syncing_.clear();
}

void GroupCommit::reap(std::vector<DiskCompletion>& completions) {
  reaped_.clear();
  disk_.reap(reaped_);
  for (const DiskCompletion& one : reaped_) {
    if (one.id == kSyncId) {
      finish_sync(one.status, completions);
    } else {
      finish(one, completions);
    }
  }
  start_sync();
}

}  // namespace target::shell
