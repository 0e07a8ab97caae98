// When a write counts as done: the disk's durability, as a pure machine between the shell and a
// disk that only carries operations out. It owns the groups of writes that share one sync, and what
// becomes of everybody when a sync fails; it must never know how a disk works. libaio and the
// workers run under it in production, the simulated disk with its crashes in the simulator.
//
// At most one sync is in flight, and flushes and groups of writes share it: a kernel tells a failed
// write-back to one sync of a descriptor only and takes the lost pages for clean, so that a second
// one beside it, or after it, succeeds and proves nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "target/shell/surroundings.h"

namespace target::shell {

enum class WriteDurability : std::uint8_t {
  as_written,        // when the disk says so: it writes durably (O_DSYNC)
  by_flush,          // when the disk says so, and it is a cache: only a flush makes it durable
  synced_in_groups,  // when a sync that began after it has ended: one for all that wait
};

struct GroupCommitCounters {
  std::uint64_t syncs = 0;
  std::uint64_t errors = 0;  // syncs that failed, and writes that failed because of one
};

class GroupCommit final : public Disk {
 public:
  GroupCommit(Disk& disk, WriteDurability durability) : disk_(disk), durability_(durability) {}

  void start(std::span<const engine::DiskOp> operations) override;
  void reap(std::vector<DiskCompletion>& completions) override;
  [[nodiscard]] bool wants_retry() const override { return disk_.wants_retry(); }

  [[nodiscard]] const GroupCommitCounters& counters() const { return counters_; }

 private:
  enum class Write : std::uint8_t {
    none,
    at_disk,
    doomed,  // a sync failed while it was at the disk
  };

  void finish(DiskCompletion completion, std::vector<DiskCompletion>& completions);
  void start_sync();
  void finish_sync(engine::DiskStatus status, std::vector<DiskCompletion>& completions);

  Disk& disk_;
  WriteDurability durability_;
  std::vector<Write> writes_;           // by id, only when synced in groups
  std::vector<std::uint32_t> waiting_;  // writes that have ended, and flushes: the next group
  std::vector<std::uint32_t> syncing_;  // the group whose sync is in flight
  engine::DiskStatus lost_ = engine::DiskStatus::ok;  // by_flush: how the first sync failed
  std::vector<engine::DiskOp> passed_on_;
  std::vector<DiskCompletion> reaped_;
  GroupCommitCounters counters_;
};

}  // namespace target::shell
