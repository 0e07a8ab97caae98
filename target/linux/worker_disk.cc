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

// What a writer takes from its queue at once: enough that waking it, and the loop, costs little.
constexpr std::size_t kWritesAtOnce = 32;
// IOV_MAX of Linux.
constexpr std::size_t kPiecesTogether = 1024;
// How long what has ended may wait for what is carried out after it.
constexpr engine::Nanoseconds kToldWithin_ns = 100'000;

// How long the loop makes writes itself before it looks at what else there is.
constexpr engine::Nanoseconds kHere_ns = 25'000;

std::size_t pieces_in(const engine::DiskOp& op) {
  return op.segments.size() + (op.data.empty() ? 0 : 1);
}

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

WorkerDisk::WorkerDisk(int image_fd, std::string image_name, FileCalls& calls, Handover* loop)
    : image_fd_(image_fd),
      image_name_(std::move(image_name)),
      calls_(calls),
      loan_(loop),
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
      threads_.emplace_back([this] { serve(reads_, 1); });
    }
    threads_.emplace_back([this] { serve(writes_, kWritesAtOnce); });
    threads_.emplace_back([this] { serve(syncs_, 1); });
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
  const bool here = loan_.possible(now);
  std::unique_lock lock(mutex_, std::defer_lock);
  for (const engine::DiskOp& op : operations) {
    ++counters_.submitted;
    if (op.kind == engine::DiskOpKind::read && read_at_once(op)) {
      continue;
    }
    times_.started(op, now);
    if (here && op.kind == engine::DiskOpKind::write) {
      here_.push_back(op);
      continue;
    }
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

DiskCounters WorkerDisk::counters() const {
  DiskCounters counters = counters_;
  counters.lasted = loan_.lasted();
  return counters;
}

void WorkerDisk::leave_to_thread(std::vector<engine::DiskOp>& writes) {
  start_threads();
  const std::lock_guard lock(mutex_);
  writes_.operations.insert(writes_.operations.end(), writes.begin(), writes.end());
  writes.clear();
  writes_.filled.notify_one();
}

void WorkerDisk::leave_to_threads() {
  loan_.end();
  if (!here_.empty()) {
    leave_to_thread(here_);
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

// As one system call; when that does not do the whole, each by itself, so that each has its own
// result.
void WorkerDisk::carry_out_together(std::span<const engine::DiskOp> adjacent, Work& work) {
  if (adjacent.size() > 1) {
    work.pieces.clear();
    std::uint64_t bytes = 0;
    for (const engine::DiskOp& op : adjacent) {
      append_pieces_of(op, work.pieces);
      bytes += bytes_of(op);
    }
    const std::int64_t result = calls_.write(
        image_fd_, work.pieces, static_cast<std::int64_t>(adjacent.front().lba) * kSectorBytes);
    if (result == static_cast<std::int64_t>(bytes)) {
      for (const engine::DiskOp& op : adjacent) {
        work.ended.push_back({op.id, static_cast<std::int64_t>(bytes_of(op)), bytes_of(op)});
      }
      return;
    }
  }
  for (const engine::DiskOp& op : adjacent) {
    work.ended.push_back({op.id, carry_out(op, work.pieces), bytes_of(op)});
  }
}

// How many of the first ones are one system call.
std::size_t WorkerDisk::count_adjacent(std::span<const engine::DiskOp> operations) {
  std::size_t count = 1;
  std::size_t pieces = pieces_in(operations.front());
  while (count < operations.size() && operations.front().kind == engine::DiskOpKind::write) {
    const engine::DiskOp& last = operations[count - 1];
    const engine::DiskOp& next = operations[count];
    pieces += pieces_in(next);
    if (next.lba != last.lba + last.sectors || pieces > kPiecesTogether) {
      break;
    }
    ++count;
  }
  return count;
}

// What has ended is told together: to wake the loop costs as much as a write into the page cache.
// But no result waits long for others.
void WorkerDisk::carry_out_all(Work& work) {
  engine::Nanoseconds told = monotonic_now();
  for (std::span<const engine::DiskOp> left = work.taken; !left.empty();) {
    const std::size_t count = count_adjacent(left);
    carry_out_together(left.first(count), work);
    left = left.subspan(count);
    const engine::Nanoseconds now = monotonic_now();
    if (left.empty() || now - told > kToldWithin_ns) {
      told = now;
      tell_ended(work.ended);
    }
  }
  work.taken.clear();
}

Turn WorkerDisk::carry_out_here() {
  if (here_.empty()) {
    return Turn::idle;
  }
  const engine::Nanoseconds now = monotonic_now();
  if (!loan_.possible(now)) {
    leave_to_thread(here_);
    return Turn::idle;
  }
  here_work_.taken.swap(here_);
  std::span<const engine::DiskOp> left = here_work_.taken;
  bool kept = true;
  do {
    const auto adjacent = left.first(count_adjacent(left));
    left = left.subspan(adjacent.size());
    const auto write = [&] { carry_out_together(adjacent, here_work_); };
    if (kept) {
      kept = loan_.use(write);
    } else {
      write();
    }
  } while (!left.empty() && (!kept || monotonic_now() - now < kHere_ns));
  if (!kept) {
    here_work_.taken.clear();
    tell_ended(here_work_.ended);
    return Turn::another;
  }
  here_.assign(left.begin(), left.end());
  here_work_.taken.clear();
  for (const Ended& one : here_work_.ended) {
    times_.ended(one.id);
    finished_.push_back(judge(one));
  }
  here_work_.ended.clear();
  return Turn::more;
}

void WorkerDisk::tell_ended(std::vector<Ended>& ended) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = ended_.empty();
    ended_.insert(ended_.end(), ended.begin(), ended.end());
  }
  ended.clear();
  if (first) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t told = ::write(event_fd_.get(), &one, sizeof one);
  }
}

// A thread's whole life.
void WorkerDisk::serve(Queue& queue, std::size_t at_once) {
  Work work;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      ++queue.idle;
      queue.filled.wait(lock, [&] { return closing_ || !queue.operations.empty(); });
      --queue.idle;
      if (queue.operations.empty()) {
        return;
      }
      const auto count = static_cast<std::ptrdiff_t>(std::min(at_once, queue.operations.size()));
      const auto end = queue.operations.begin() + count;
      work.taken.assign(queue.operations.begin(), end);
      queue.operations.erase(queue.operations.begin(), end);
    }
    carry_out_all(work);
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
