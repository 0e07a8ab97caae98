// Carries disk operations to an image on the page cache: see worker_disk.h.
#include "target/linux/worker_disk.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "target/linux/event_loop.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

constexpr std::int64_t kSectorBytes = engine::kSectorBytes;

}  // namespace

std::int64_t FileCalls::read_cached(int fd, Pieces to, std::int64_t offset_bytes) {
  const ssize_t count =
      ::preadv2(fd, to.data(), static_cast<int>(to.size()), offset_bytes, RWF_NOWAIT);
  return count >= 0 ? count : -errno;
}

std::int64_t FileCalls::read(int fd, Pieces to, std::int64_t offset_bytes) {
  const ssize_t count = ::preadv(fd, to.data(), static_cast<int>(to.size()), offset_bytes);
  return count >= 0 ? count : -errno;
}

std::int64_t FileCalls::write(int fd, Pieces from, std::int64_t offset_bytes) {
  const ssize_t count = ::pwritev(fd, from.data(), static_cast<int>(from.size()), offset_bytes);
  return count >= 0 ? count : -errno;
}

int FileCalls::sync_data(int fd) {
  return ::fdatasync(fd) == 0 ? 0 : -errno;
}

WorkerDisk::WorkerDisk(int image_fd, std::string image_name, FileCalls& calls)
    : image_fd_(image_fd),
      image_name_(std::move(image_name)),
      calls_(calls),
      event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_fd_.valid()) {
    throw StartError(fmt::format("{}: cannot make an eventfd: {}: raise the limit of open files",
                                 image_name_, errno_text(errno)));
  }
}

WorkerDisk::~WorkerDisk() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    reads_.filled.notify_all();
    writes_.filled.notify_all();
    syncs_.filled.notify_all();
  }
  for (std::thread& one : threads_) {
    one.join();
  }
}

void WorkerDisk::start_threads() {
  if (!threads_.empty()) {
    return;
  }
  try {
    for (std::size_t i = 0; i < kReaderThreads; ++i) {
      threads_.emplace_back([this] { work(reads_); });
    }
    threads_.emplace_back([this] { work(writes_); });
    threads_.emplace_back([this] { work(syncs_); });
  } catch (const std::system_error& error) {
    throw StartError(
        fmt::format("{}: cannot start {} threads: {}: raise the limit of processes (ulimit -u)",
                    image_name_, kReaderThreads + 2, error.what()));
  }
}

bool WorkerDisk::read_at_once(const engine::DiskOp& op) {
  if (!nowait_works_) {
    return false;
  }
  pieces_of(op, pieces_);
  const std::int64_t count =
      calls_.read_cached(image_fd_, pieces_, static_cast<std::int64_t>(op.lba) * kSectorBytes);
  if (count == -EOPNOTSUPP) {
    nowait_works_ = false;
  }
  // Whatever else went wrong, or is only half in memory, a thread finds out.
  if (count != static_cast<std::int64_t>(bytes_of(op))) {
    return false;
  }
  ++counters_.hot_reads;
  finished_.push_back({op.id, engine::DiskStatus::ok});
  return true;
}

void WorkerDisk::start(std::span<const engine::DiskOp> operations) {
  if (operations.empty()) {
    return;
  }
  const engine::Nanoseconds now = monotonic_now();
  std::unique_lock lock(mutex_, std::defer_lock);
  for (const engine::DiskOp& op : operations) {
    ++counters_.submitted;
    if (op.kind == engine::DiskOpKind::read && read_at_once(op)) {
      continue;
    }
    times_.started(op, now);
    if (!lock.owns_lock()) {
      start_threads();
      lock.lock();
    }
    switch (op.kind) {
      case engine::DiskOpKind::read:
        reads_.operations.push_back(op);
        break;
      case engine::DiskOpKind::write:
        writes_.operations.push_back(op);
        break;
      case engine::DiskOpKind::flush:
        syncs_.operations.push_back(op);
        break;
    }
  }
  if (!lock.owns_lock()) {
    return;
  }
  // A thread that works looks again by itself; waking costs more than what it would do.
  std::array<std::size_t, 3> wake{};
  const std::array<Queue*, 3> queues{&reads_, &writes_, &syncs_};
  for (std::size_t i = 0; i < queues.size(); ++i) {
    wake.at(i) = std::min(queues.at(i)->idle, queues.at(i)->operations.size());
  }
  lock.unlock();
  for (std::size_t i = 0; i < queues.size(); ++i) {
    for (; wake.at(i) > 0; --wake.at(i)) {
      queues.at(i)->filled.notify_one();
    }
  }
}

std::int64_t WorkerDisk::carry_out(const engine::DiskOp& op, std::vector<iovec>& pieces) {
  pieces_of(op, pieces);
  const auto offset_bytes = static_cast<std::int64_t>(op.lba) * kSectorBytes;
  std::int64_t result = 0;
  do {
    switch (op.kind) {
      case engine::DiskOpKind::read:
        result = calls_.read(image_fd_, pieces, offset_bytes);
        break;
      case engine::DiskOpKind::write:
        result = calls_.write(image_fd_, pieces, offset_bytes);
        break;
      case engine::DiskOpKind::flush:
        result = calls_.sync_data(image_fd_);
        break;
    }
  } while (result == -EINTR);
  return result;
}

void WorkerDisk::work(Queue& queue) {
  std::vector<iovec> pieces;
  std::unique_lock lock(mutex_);
  while (true) {
    ++queue.idle;
    queue.filled.wait(lock, [&] { return closing_ || !queue.operations.empty(); });
    --queue.idle;
    if (queue.operations.empty()) {
      return;
    }
    const engine::DiskOp op = queue.operations.front();
    queue.operations.pop_front();
    lock.unlock();
    const std::int64_t result = carry_out(op, pieces);
    lock.lock();
    const bool first = ended_.empty();
    ended_.push_back({op.id, result, bytes_of(op)});
    if (first) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t told = ::write(event_fd_.get(), &one, sizeof one);
    }
  }
}

shell::DiskCompletion WorkerDisk::judge(const Ended& ended) {
  if (ended.result < 0) {
    ++counters_.errors;
    return {ended.id, status_of_errno(static_cast<int>(-ended.result))};
  }
  if (static_cast<std::uint64_t>(ended.result) != ended.bytes) {
    // The image shrank under us, or the disk is nearly full: the rest did not happen.
    ++counters_.short_transfers;
    return {ended.id, engine::DiskStatus::io_error};
  }
  return {ended.id, engine::DiskStatus::ok};
}

void WorkerDisk::reap(std::vector<shell::DiskCompletion>& completions) {
  completions.insert(completions.end(), finished_.begin(), finished_.end());
  finished_.clear();
  if (times_.count() == 0) {
    return;
  }
  taken_.clear();
  {
    const std::lock_guard lock(mutex_);
    taken_.swap(ended_);
  }
  for (const Ended& one : taken_) {
    times_.ended(one.id);
    completions.push_back(judge(one));
  }
}

}  // namespace target::linux_shell
