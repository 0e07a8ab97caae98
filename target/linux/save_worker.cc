// Saves by a thread: see save_worker.h.
#include "target/linux/save_worker.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "target/linux/event_loop.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {

SaveWorker::SaveWorker(StateStore& store)
    : store_(store), event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_fd_.valid()) {
    throw StartError(fmt::format("cannot make an eventfd: {}: raise the limit of open files",
                                 errno_text(errno)));
  }
}

SaveWorker::~SaveWorker() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void SaveWorker::start_thread() {
  if (thread_.joinable()) {
    return;
  }
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    throw StartError(
        fmt::format("cannot start a thread for the state: {}: raise the limit of "
                    "processes (ulimit -u)",
                    error.what()));
  }
}

void SaveWorker::start(const engine::Save& save) {
  start_thread();
  since_ = monotonic_now();
  const std::lock_guard lock(mutex_);
  assert(!wanted_ && !ended_);
  wanted_ = save;
  changed_.notify_all();
}

void SaveWorker::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || wanted_; });
    if (!wanted_) {
      return;
    }
    // What is asked for is saved, the end of the process or not.
    const auto rest_ns = std::max<engine::Nanoseconds>(0, rest_until_ - monotonic_now());
    changed_.wait_for(lock, std::chrono::nanoseconds(rest_ns), [this] { return closing_; });
    const engine::Save save = *wanted_;
    wanted_.reset();
    lock.unlock();
    const engine::Nanoseconds began = monotonic_now();
    const auto status = store_.save(*save.state);
    const engine::Nanoseconds ended = monotonic_now();
    lock.lock();
    rest_until_ = ended + std::max(kSaveRest_ns, ended - began);
    error_ = store_.last_error();
    ended_ = shell::DiskCompletion{save.id, status};
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t told = ::write(event_fd_.get(), &one, sizeof one);
  }
}

void SaveWorker::reap(std::vector<shell::DiskCompletion>& completions) {
  if (!since_) {
    return;
  }
  const std::lock_guard lock(mutex_);
  if (!ended_) {
    return;
  }
  since_.reset();
  ++saves_;
  if (ended_->status != engine::DiskStatus::ok) {
    ++failures_;
    last_error_ = error_;
  }
  completions.push_back(*ended_);
  ended_.reset();
}

}  // namespace target::linux_shell
