// Lines for a descriptor that may not take them: see line_writer.h.
#include "target/linux/line_writer.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace target::linux_shell {
namespace {

constexpr int kRetry_ms = 100;

}  // namespace

LineWriter& LineWriter::for_fd(int fd) {
  static auto* out = new LineWriter(STDOUT_FILENO);
  static auto* err = new LineWriter(STDERR_FILENO);
  return fd == STDOUT_FILENO ? *out : *err;
}

void LineWriter::start_thread() {
  const std::lock_guard lock(mutex_);
  if (!threaded_) {
    std::thread([this] { work(); }).detach();
    threaded_ = true;
  }
}

// False: it was not taken, and never will be.
bool LineWriter::write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count > 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (count < 0 && errno == EAGAIN) {
      // Somebody made it non-blocking.
      pollfd room{fd, POLLOUT, 0};
      ::poll(&room, 1, kRetry_ms);
    } else if (count == 0 || errno != EINTR) {
      return false;
    }
  }
  return true;
}

void LineWriter::write(std::string_view line) {
  std::unique_lock lock(mutex_);
  if (!threaded_) {
    lost_ += write_all(fd_, line) ? 0 : 1;
    return;
  }
  if (waiting_bytes_ + line.size() > kLineBytesWaitingMax) {
    ++lost_;
    return;
  }
  waiting_.emplace_back(line);
  waiting_bytes_ += line.size();
  changed_.notify_all();
}

void LineWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !waiting_.empty(); });
    std::string text = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= text.size();
    writing_ = true;
    lock.unlock();
    const bool taken = write_all(fd_, text);
    lock.lock();
    lost_ += taken ? 0 : 1;
    if (taken && waiting_.empty() && lost_ != lost_told_ && fd_ == STDERR_FILENO) {
      text = fmt::format("aoe-target: {} lines of this log were lost: nobody read it\n",
                         lost_ - lost_told_);
      lost_told_ = lost_;
      lock.unlock();
      (void)write_all(fd_, text);
      lock.lock();
    }
    writing_ = false;
    changed_.notify_all();
  }
}

void LineWriter::drain(std::int64_t limit_ms) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(limit_ms),
                    [this] { return !threaded_ || (waiting_.empty() && !writing_); });
}

std::uint64_t LineWriter::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

}  // namespace target::linux_shell
