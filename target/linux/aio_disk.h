// Carries the engine's disk operations to the image by libaio. It owns submission, completion and
// what the kernel's results mean as a DiskStatus; it must never know the protocol nor the order
// that operations need (operations that overlap are never in flight together: the engine sees to
// it).
//
// At most one sync is in flight, and flushes and groups of writes share it: the kernel tells a
// failed write-back to one sync of a descriptor only and takes the lost pages for clean, so that a
// second one beside it, or after it, succeeds and proves nothing.
#pragma once

#include <libaio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/fd.h"

namespace target::linux_shell {

// The system calls, so that a test can play a busy or a failing kernel. Results are the kernel's:
// a count, or -errno.
class AioCalls {
 public:
  virtual ~AioCalls() = default;
  virtual int submit(io_context_t context, std::span<iocb*> operations);
  virtual int get_events(io_context_t context, long at_least, std::span<io_event> events);
  virtual int sync_data(int fd);
};

struct DiskCompletion {
  std::uint32_t id = 0;
  engine::DiskStatus status = engine::DiskStatus::ok;
};

// When a write counts as done.
enum class WriteDurability : std::uint8_t {
  as_opened,         // when the kernel says so: O_DSYNC makes that durable
  by_flush,          // the same without O_DSYNC: it is a cache, and only a flush makes it durable
  synced_in_groups,  // when an fdatasync that began after it has ended: one for all that wait
};

struct DiskCounters {
  std::uint64_t submitted = 0;
  std::uint64_t group_syncs = 0;
  std::uint64_t submit_retries = 0;  // the kernel had no room for an operation at once
  std::uint64_t errors = 0;          // operations that the kernel failed
  std::uint64_t short_transfers = 0;
};

class AioDisk {
 public:
  // image_fd is borrowed. operations_max: how many may be outstanding at once. Throws StartError.
  AioDisk(int image_fd, std::string image_name, std::uint32_t operations_max,
          WriteDurability durability, AioCalls& calls);
  ~AioDisk();
  AioDisk(const AioDisk&) = delete;
  AioDisk& operator=(const AioDisk&) = delete;

  // Readable when operations have completed.
  [[nodiscard]] int event_fd() const { return event_fd_.get(); }

  // Starts operations, in one system call when the kernel lets us.
  void start(std::span<const engine::DiskOp> operations);
  // Appends what has completed, without waiting; starts what had to wait for room.
  void reap(std::vector<DiskCompletion>& completions);

  // Operations that were started and not yet reaped.
  [[nodiscard]] std::size_t outstanding() const { return outstanding_; }
  // Something waits for room and nothing is in flight whose end would make room: call reap() again
  // after a moment.
  [[nodiscard]] bool wants_retry() const {
    return (!waiting_.empty() || !written_.empty()) && in_kernel_ == 0;
  }
  [[nodiscard]] bool flushes_asynchronously() const { return fdsync_works_; }
  [[nodiscard]] const DiskCounters& counters() const { return counters_; }

  // Makes everything written durable, waiting for it; false (and errno) when the kernel fails it,
  // or when something that was answered as written has been lost before.
  bool sync_now();

 private:
  struct Operation {
    iocb control{};
    std::uint32_t id = 0;
    std::uint64_t bytes = 0;
    bool write = false;
    bool busy = false;
    bool doomed = false;  // a sync failed while it was in the kernel
  };

  void detect_fdsync();
  void prepare(Operation& operation, const engine::DiskOp& wanted);
  void submit_waiting();
  void finish(Operation& operation, std::int64_t result);
  Operation& take_free();
  void sync_group();
  void finish_group(std::int64_t result);
  void fail_what_may_be_lost(std::int64_t result);

  int image_fd_;
  std::string image_name_;
  AioCalls& calls_;
  UniqueFd event_fd_;
  io_context_t context_ = nullptr;
  bool fdsync_works_ = false;
  std::vector<Operation> operations_;
  std::vector<std::uint32_t> free_;  // indices of operations_
  std::deque<iocb*> waiting_;        // prepared, not yet in the kernel
  std::vector<DiskCompletion> finished_;
  WriteDurability durability_;
  std::vector<std::uint32_t> written_;  // ids of writes and flushes that wait for the next group
  std::vector<std::uint32_t> syncing_;  // ids of the group whose fdatasync is in flight
  iocb group_sync_{};                   // its completion carries no Operation
  std::int64_t lost_result_ = 0;        // by_flush: what the first sync that failed said; 0: none
  std::vector<iocb*> batch_;
  std::vector<io_event> events_;
  std::size_t outstanding_ = 0;
  std::size_t in_kernel_ = 0;
  DiskCounters counters_;
};

}  // namespace target::linux_shell
