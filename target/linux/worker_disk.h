// Carries disk operations to an image on the page cache. What the cache holds is read at once, in
// the loop and without waiting (RWF_NOWAIT). Writes nearly always end at once: the loop makes them
// itself where it can be lent (handover.h). Everything else is done by threads: cold reads by a
// few, writes by one, what is adjacent together, syncs by one. The threads belong to this image
// alone. It must never know the protocol, nor when a write is durable
// (target/shell/group_commit.h).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/handover.h"
#include "target/linux/image_disk.h"

namespace target::linux_shell {

using Pieces = std::span<const iovec>;

// The system calls, so that a test can play a slow or a failing kernel. Results are the kernel's: a
// count, or -errno. Called by several threads at once.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  // Without waiting: -EAGAIN when the bytes are not in memory.
  virtual std::int64_t read_cached(int fd, Pieces to, std::int64_t offset_bytes);
  virtual std::int64_t read(int fd, Pieces to, std::int64_t offset_bytes);
  virtual std::int64_t write(int fd, Pieces from, std::int64_t offset_bytes);
  virtual int sync_data(int fd);
};

// Enough to keep a disk busy; a disk that hangs holds no more.
inline constexpr std::size_t kReaderThreads = 4;

class WorkerDisk final : public ImageDisk {
 public:
  // image_fd is borrowed. loop: who runs the loop that calls this; null: it is never lent. Throws
  // StartError.
  WorkerDisk(int image_fd, std::string image_name, FileCalls& calls, Handover* loop = nullptr);
  // Waits for what the kernel holds: the memory that it writes into must outlive it.
  ~WorkerDisk() override;
  WorkerDisk(const WorkerDisk&) = delete;
  WorkerDisk& operator=(const WorkerDisk&) = delete;

  void start(std::span<const engine::DiskOp> operations) override;
  void reap(std::vector<shell::DiskCompletion>& completions) override;

  [[nodiscard]] int event_fd() const override { return event_fd_.get(); }
  void start_threads() override;
  [[nodiscard]] Turn carry_out_here() override;
  void leave_to_threads() override;
  [[nodiscard]] std::size_t outstanding() const override { return times_.count(); }
  [[nodiscard]] DiskCounters counters() const override;
  [[nodiscard]] std::optional<HeldOperation> oldest() const override { return times_.oldest(); }
  // Reads can be tried without waiting on this file system.
  [[nodiscard]] bool reads_at_once() const { return nowait_works_; }

 private:
  struct Ended {
    std::uint32_t id = 0;
    std::int64_t result = 0;
    std::uint64_t bytes = 0;  // that should have been transferred
  };
  // One queue for each kind of work, so that none waits behind another.
  struct Queue {
    std::deque<engine::DiskOp> operations;
    std::condition_variable filled;
    std::size_t idle = 0;  // threads that wait for it
  };

  // What a thread has in hand.
  struct Work {
    std::vector<engine::DiskOp> taken;
    std::vector<Ended> ended;
    std::vector<iovec> pieces;
  };

  void leave_to_thread(std::vector<engine::DiskOp>& writes);
  bool read_at_once(const engine::DiskOp& op);
  void serve(Queue& queue, std::size_t at_once);
  void carry_out_all(Work& work);
  static std::size_t count_adjacent(std::span<const engine::DiskOp> operations);
  void carry_out_together(std::span<const engine::DiskOp> adjacent, Work& work);
  void tell_ended(std::vector<Ended>& ended);
  std::int64_t carry_out(const engine::DiskOp& op, std::vector<iovec>& pieces);
  shell::DiskCompletion judge(const Ended& ended);

  int image_fd_;
  std::string image_name_;
  FileCalls& calls_;
  Loan loan_;
  UniqueFd event_fd_;
  bool nowait_works_ = true;
  StartTimes times_;
  std::vector<shell::DiskCompletion> finished_;
  std::vector<Ended> taken_;
  std::vector<iovec> pieces_;
  DiskCounters counters_;
  // Writes that the loop makes itself. Whoever runs it has them; while somebody else had to take
  // it, the one who was in a write goes on with what it holds, and nothing is added.
  std::vector<engine::DiskOp> here_;
  Work here_work_;

  // Shared with the threads.
  std::mutex mutex_;
  Queue reads_;
  Queue writes_;
  Queue syncs_;
  std::vector<Ended> ended_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace target::linux_shell
