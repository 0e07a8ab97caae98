// What an export needs of the disk under its image, beside what the shell asks: something to wait
// for, counters, and what the kernel holds. No call of it waits for the disk: a disk that hangs
// takes its own export and nothing else.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "target/shell/surroundings.h"

namespace target::linux_shell {

struct DiskCounters {
  std::uint64_t submitted = 0;
  std::uint64_t hot_reads = 0;       // from the page cache, at once
  std::uint64_t submit_retries = 0;  // the kernel had no room for an operation at once
  std::uint64_t errors = 0;          // operations that the kernel failed
  std::uint64_t short_transfers = 0;
  std::uint64_t lasted = 0;  // calls in the loop's own thread that cost it the loop
};

// An operation that the kernel has not ended.
struct HeldOperation {
  engine::DiskOpKind kind = engine::DiskOpKind::read;
  std::uint64_t lba = 0;
  engine::Nanoseconds since = 0;
};

// What became of the loop while a disk used it.
enum class Turn : std::uint8_t {
  idle,     // there was nothing to do
  more,     // something has ended
  another,  // it lasted, and another thread has the loop
};

class ImageDisk : public shell::Disk {
 public:
  // Readable when operations have ended.
  [[nodiscard]] virtual int event_fd() const = 0;
  // Starts the threads it needs, once the process has the privileges that it keeps. Throws
  // StartError.
  virtual void start_threads() = 0;
  // Carries out some of what was started, in the loop's own thread, with nothing of the loop on the
  // stack. After `another` the caller touches nothing that the loop owns.
  [[nodiscard]] virtual Turn carry_out_here() { return Turn::idle; }
  // From here on carry_out_here() is not called any more.
  virtual void leave_to_threads() {}
  [[nodiscard]] virtual std::size_t outstanding() const = 0;
  [[nodiscard]] virtual DiskCounters counters() const = 0;
  // The one that was started first.
  [[nodiscard]] virtual std::optional<HeldOperation> oldest() const = 0;
};

// The memory of an operation, piece by piece, as the kernel takes it.
void pieces_of(const engine::DiskOp& op, std::vector<iovec>& pieces);
void append_pieces_of(const engine::DiskOp& op, std::vector<iovec>& pieces);
// Bytes that an operation transfers.
[[nodiscard]] std::uint64_t bytes_of(const engine::DiskOp& op);

// What an error of the kernel means for the initiator.
engine::DiskStatus status_of_errno(int error);

// When each operation that has not ended was started.
class StartTimes {
 public:
  void started(const engine::DiskOp& op, engine::Nanoseconds now);
  void ended(std::uint32_t id);
  [[nodiscard]] std::optional<HeldOperation> oldest() const;
  [[nodiscard]] std::size_t count() const { return held_.size(); }

 private:
  struct Held {
    std::uint32_t id = 0;
    HeldOperation operation;
  };
  std::vector<Held> held_;
};

}  // namespace target::linux_shell
