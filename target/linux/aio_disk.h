// Carries disk operations to the image by libaio. It owns submission, completion and what the
// kernel's results mean as a DiskStatus; it must never know the protocol, the order that operations
// need, nor when a write is durable (target/shell/group_commit.h).
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
#include "target/shell/surroundings.h"

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

struct DiskCounters {
  std::uint64_t submitted = 0;
  std::uint64_t submit_retries = 0;  // the kernel had no room for an operation at once
  std::uint64_t errors = 0;          // operations that the kernel failed
  std::uint64_t short_transfers = 0;
};

class AioDisk final : public shell::Disk {
 public:
  // image_fd is borrowed. operations_max: how many may be outstanding at once. Throws StartError.
  AioDisk(int image_fd, std::string image_name, std::uint32_t operations_max, AioCalls& calls);
  ~AioDisk() override;
  AioDisk(const AioDisk&) = delete;
  AioDisk& operator=(const AioDisk&) = delete;

  // Readable when operations have completed.
  [[nodiscard]] int event_fd() const { return event_fd_.get(); }

  // Starts operations, in one system call when the kernel lets us.
  void start(std::span<const engine::DiskOp> operations) override;
  // Appends what has completed, without waiting; starts what had to wait for room.
  void reap(std::vector<shell::DiskCompletion>& completions) override;

  // Operations that were started and not yet reaped.
  [[nodiscard]] std::size_t outstanding() const { return outstanding_; }
  // Something waits for room and nothing is in flight whose end would make room: call reap() again
  // after a moment.
  [[nodiscard]] bool wants_retry() const override { return !waiting_.empty() && in_kernel_ == 0; }
  [[nodiscard]] bool flushes_asynchronously() const { return fdsync_works_; }
  [[nodiscard]] const DiskCounters& counters() const { return counters_; }

 private:
  struct Operation {
    iocb control{};
    std::uint32_t id = 0;
    std::uint64_t bytes = 0;
    bool busy = false;
  };

  void detect_fdsync();
  void prepare(Operation& operation, const engine::DiskOp& wanted);
  void submit_waiting();
  void finish(Operation& operation, std::int64_t result);
  Operation& take_free();

  int image_fd_;
  std::string image_name_;
  AioCalls& calls_;
  UniqueFd event_fd_;
  io_context_t context_ = nullptr;
  bool fdsync_works_ = false;
  std::vector<Operation> operations_;
  std::vector<std::uint32_t> free_;  // indices of operations_
  std::deque<iocb*> waiting_;        // prepared, not yet in the kernel
  std::vector<shell::DiskCompletion> finished_;
  std::vector<iocb*> batch_;
  std::vector<io_event> events_;
  std::size_t outstanding_ = 0;
  std::size_t in_kernel_ = 0;
  DiskCounters counters_;
};

}  // namespace target::linux_shell
