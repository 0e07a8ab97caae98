// Carries disk operations to an image opened with O_DIRECT, by libaio. It owns submission,
// completion and what the kernel's results mean as a DiskStatus; it must never know the protocol,
// the order that operations need, nor when a write is durable (target/shell/group_commit.h).
//
// A thread submits, for io_submit may wait for the disk; what has ended is read in the loop.
#pragma once

#include <libaio.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/handover.h"
#include "target/linux/image_disk.h"

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

class AioDisk final : public ImageDisk {
 public:
  // image_fd is borrowed. operations_max: how many may be outstanding at once. loop: as
  // WorkerDisk's. Throws StartError.
  AioDisk(int image_fd, std::string image_name, std::uint32_t operations_max, AioCalls& calls,
          Handover* loop = nullptr);
  ~AioDisk() override;
  AioDisk(const AioDisk&) = delete;
  AioDisk& operator=(const AioDisk&) = delete;

  void start(std::span<const engine::DiskOp> operations) override;
  void reap(std::vector<shell::DiskCompletion>& completions) override;

  [[nodiscard]] int event_fd() const override { return event_fd_.get(); }
  void start_threads() override;
  [[nodiscard]] Turn carry_out_here() override;
  void leave_to_threads() override;
  [[nodiscard]] std::size_t outstanding() const override { return times_.count(); }
  [[nodiscard]] DiskCounters counters() const override;
  [[nodiscard]] std::optional<HeldOperation> oldest() const override { return times_.oldest(); }
  [[nodiscard]] bool flushes_asynchronously() const { return fdsync_works_; }

 private:
  struct Operation {
    iocb control{};
    std::uint32_t id = 0;
    std::uint64_t bytes = 0;
    std::vector<iovec> pieces;
    bool busy = false;
  };

  void detect_fdsync();
  void prepare(Operation& operation, const engine::DiskOp& wanted);
  void finish(Operation& operation, std::int64_t result,
              std::vector<shell::DiskCompletion>& completions);
  Operation& take_free();
  void submit_all();
  void submit(std::vector<iocb*>& batch);
  void leave_to_thread(std::vector<iocb*>& prepared);
  void refuse(iocb* control, std::int64_t result);

  int image_fd_;
  std::string image_name_;
  AioCalls& calls_;
  UniqueFd event_fd_;
  io_context_t context_ = nullptr;
  bool fdsync_works_ = false;
  std::vector<Operation> operations_;
  std::vector<std::uint32_t> free_;  // indices of operations_
  std::vector<io_event> events_;
  StartTimes times_;
  DiskCounters counters_;
  Loan loan_;
  // As WorkerDisk's: for the loop to submit itself, and what it has in hand.
  std::vector<iocb*> here_;
  std::vector<iocb*> in_hand_;

  // Shared with the thread that submits.
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<iocb*> waiting_;  // prepared, for the thread
  std::vector<std::pair<Operation*, std::int64_t>> refused_;
  bool closing_ = false;
  std::atomic<std::uint64_t> submitted_ = 0;
  std::atomic<std::uint64_t> submit_retries_ = 0;
  std::thread thread_;
};

}  // namespace target::linux_shell
