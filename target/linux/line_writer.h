// Writes lines to a descriptor that may not take them (a pipe that nobody reads, a terminal that
// was stopped, a full disk): a thread writes, and whoever has a line never waits. What waits is
// bounded; beyond it lines are lost, counted, and told when somebody reads again.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace target::linux_shell {

inline constexpr std::size_t kLineBytesWaitingMax = std::size_t{256} << 10;

class LineWriter {
 public:
  // For the life of the process: its thread may be held by the kernel for ever, so it is never
  // destroyed. fd is borrowed.
  static LineWriter& for_fd(int fd);

  // From here on lines are written by a thread; until then at once. After the privileges were given
  // up, for a thread keeps those it began with. Throws std::system_error.
  void start_thread();
  // A line, with its end.
  void write(std::string_view line);
  // Waits until everything was written, so long at most.
  void drain(std::int64_t limit_ms);
  [[nodiscard]] std::uint64_t lost() const;

  explicit LineWriter(int fd) : fd_(fd) {}
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

 private:
  void work();
  static bool write_all(int fd, std::string_view text);

  int fd_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool writing_ = false;
  bool threaded_ = false;
  std::uint64_t lost_ = 0;
  std::uint64_t lost_told_ = 0;
};

}  // namespace target::linux_shell
