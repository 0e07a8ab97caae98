// Carries the engine's disk operations to the image by libaio: see aio_disk.h.
#include "target/linux/aio_disk.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <ctime>
#include <system_error>

#include "target/linux/event_loop.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

constexpr std::size_t kEventsPerCall = 64;
constexpr std::int64_t kSectorBytes = engine::kSectorBytes;

// How long a kernel without room for an operation is left alone.
constexpr timespec kSubmitRetry{0, 1'000'000};

}  // namespace

int AioCalls::submit(io_context_t context, std::span<iocb*> operations) {
  return ::io_submit(context, static_cast<long>(operations.size()), operations.data());
}

int AioCalls::get_events(io_context_t context, long at_least, std::span<io_event> events) {
  timespec no_wait{};
  return ::io_getevents(context, at_least, static_cast<long>(events.size()), events.data(),
                        at_least == 0 ? &no_wait : nullptr);
}

int AioCalls::sync_data(int fd) {
  return ::fdatasync(fd) == 0 ? 0 : -errno;
}

AioDisk::AioDisk(int image_fd, std::string image_name, std::uint32_t operations_max,
                 AioCalls& calls, Handover* loop)
    : image_fd_(image_fd),
      image_name_(std::move(image_name)),
      calls_(calls),
      event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      operations_(operations_max + 1),
      events_(kEventsPerCall),
      loan_(loop) {
  if (!event_fd_.valid()) {
    throw StartError(fmt::format("{}: cannot make an eventfd: {}: raise the limit of open files",
                                 image_name_, errno_text(errno)));
  }
  // One more: a sync.
  const int error = ::io_setup(static_cast<int>(operations_max) + 1, &context_);
  if (error != 0) {
    throw StartError(
        fmt::format("{}: cannot prepare {} asynchronous operations: {}: raise "
                    "fs.aio-max-nr (sysctl)",
                    image_name_, operations_max, errno_text(-error)));
  }
  for (std::uint32_t i = operations_max + 1; i > 0; --i) {
    free_.push_back(i - 1);
  }
  detect_fdsync();
}

AioDisk::~AioDisk() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    filled_.notify_all();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
  if (context_ != nullptr) {
    // Waits for what is in flight: the engine's memory must outlive it.
    ::io_destroy(context_);
  }
}

void AioDisk::detect_fdsync() {
  iocb control{};
  iocb* one = &control;
  ::io_prep_fdsync(&control, image_fd_);
  // io_destroy() waits for it should the wait below be interrupted.
  if (calls_.submit(context_, std::span(&one, 1)) != 1) {
    return;
  }
  io_event event{};
  int count = 0;
  do {
    count = calls_.get_events(context_, 1, std::span(&event, 1));
  } while (count == -EINTR);
  fdsync_works_ = count == 1 && static_cast<std::int64_t>(event.res) == 0;
}

AioDisk::Operation& AioDisk::take_free() {
  assert(!free_.empty());  // the engine holds no more than operations_max at once
  Operation& operation = operations_[free_.back()];
  free_.pop_back();
  operation.busy = true;
  return operation;
}

void AioDisk::prepare(Operation& operation, const engine::DiskOp& wanted) {
  operation.id = wanted.id;
  operation.bytes = bytes_of(wanted);
  pieces_of(wanted, operation.pieces);
  const auto count = static_cast<int>(operation.pieces.size());
  const auto offset_bytes = static_cast<std::int64_t>(wanted.lba) * kSectorBytes;
  switch (wanted.kind) {
    case engine::DiskOpKind::read:
      ::io_prep_preadv(&operation.control, image_fd_, operation.pieces.data(), count, offset_bytes);
      break;
    case engine::DiskOpKind::write:
      ::io_prep_pwritev(&operation.control, image_fd_, operation.pieces.data(), count,
                        offset_bytes);
      break;
    case engine::DiskOpKind::flush:
      ::io_prep_fdsync(&operation.control, image_fd_);
      break;
  }
  ::io_set_eventfd(&operation.control, event_fd_.get());
  operation.control.data = &operation;
}

void AioDisk::start_threads() {
  if (thread_.joinable()) {
    return;
  }
  try {
    thread_ = std::thread([this] { submit_all(); });
  } catch (const std::system_error& error) {
    throw StartError(
        fmt::format("{}: cannot start a thread: {}: raise the limit of processes (ulimit -u)",
                    image_name_, error.what()));
  }
}

void AioDisk::start(std::span<const engine::DiskOp> operations) {
  if (operations.empty()) {
    return;
  }
  start_threads();
  const engine::Nanoseconds now = monotonic_now();
  for (const auto& wanted : operations) {
    Operation& operation = take_free();
    prepare(operation, wanted);
    times_.started(wanted, now);
    here_.push_back(&operation.control);
  }
  // A flush that the kernel does not do by itself waits for the disk, and does not just submit.
  const bool waits = !fdsync_works_ && std::any_of(operations.begin(), operations.end(),
                                                   [](const engine::DiskOp& one) {
                                                     return one.kind == engine::DiskOpKind::flush;
                                                   });
  if (waits || !loan_.possible(now)) {
    leave_to_thread(here_);
  }
}

void AioDisk::leave_to_thread(std::vector<iocb*>& prepared) {
  const std::lock_guard lock(mutex_);
  waiting_.insert(waiting_.end(), prepared.begin(), prepared.end());
  prepared.clear();
  filled_.notify_one();
}

Turn AioDisk::carry_out_here() {
  if (here_.empty()) {
    return Turn::idle;
  }
  if (!loan_.possible(monotonic_now())) {
    leave_to_thread(here_);
    return Turn::idle;
  }
  in_hand_.swap(here_);
  const bool kept = loan_.use([this] {
    const int result = calls_.submit(context_, in_hand_);
    if (result > 0) {
      submitted_ += static_cast<std::uint64_t>(result);
      in_hand_.erase(in_hand_.begin(), in_hand_.begin() + result);
    }
  });
  // What the kernel refuses, or has no room for, takes time to be dealt with.
  if (!in_hand_.empty()) {
    leave_to_thread(in_hand_);
  }
  return kept ? Turn::idle : Turn::another;
}

void AioDisk::leave_to_threads() {
  loan_.end();
  if (!here_.empty()) {
    leave_to_thread(here_);
  }
}

// The thread's whole life.
void AioDisk::submit_all() {
  std::vector<iocb*> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      filled_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) {
        return;
      }
      batch.swap(waiting_);
    }
    submit(batch);
  }
}

void AioDisk::refuse(iocb* control, std::int64_t result) {
  const std::lock_guard lock(mutex_);
  refused_.emplace_back(static_cast<Operation*>(control->data), result);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t told = ::write(event_fd_.get(), &one, sizeof one);
}

void AioDisk::submit(std::vector<iocb*>& batch) {
  while (!batch.empty()) {
    if (batch.front()->aio_lio_opcode == IO_CMD_FDSYNC && !fdsync_works_) {
      refuse(batch.front(), calls_.sync_data(image_fd_));
      batch.erase(batch.begin());
      continue;
    }
    // Up to the next one that the kernel does not do.
    const auto end =
        fdsync_works_ ? batch.end() : std::find_if(batch.begin(), batch.end(), [](const iocb* one) {
          return one->aio_lio_opcode == IO_CMD_FDSYNC;
        });
    const int result = calls_.submit(context_, std::span(batch.begin(), end));
    if (result > 0) {
      submitted_ += static_cast<std::uint64_t>(result);
      batch.erase(batch.begin(), batch.begin() + result);
    } else if (result == -EAGAIN || result == 0) {
      ++submit_retries_;
      ::nanosleep(&kSubmitRetry, nullptr);
    } else if (result != -EINTR) {
      // The kernel refuses the first one, and only that one.
      refuse(batch.front(), result);
      batch.erase(batch.begin());
    }
  }
}

DiskCounters AioDisk::counters() const {
  DiskCounters counters = counters_;
  counters.submitted = submitted_;
  counters.submit_retries = submit_retries_;
  counters.lasted = loan_.lasted();
  return counters;
}

void AioDisk::finish(Operation& operation, std::int64_t result,
                     std::vector<shell::DiskCompletion>& completions) {
  assert(operation.busy);
  shell::DiskCompletion completion{operation.id, engine::DiskStatus::ok};
  if (result < 0) {
    ++counters_.errors;
    completion.status = status_of_errno(static_cast<int>(-result));
  } else if (static_cast<std::uint64_t>(result) != operation.bytes) {
    // The image shrank under us, or the disk is nearly full: the rest did not happen.
    ++counters_.short_transfers;
    completion.status = engine::DiskStatus::io_error;
  }
  operation.busy = false;
  free_.push_back(static_cast<std::uint32_t>(&operation - operations_.data()));
  times_.ended(operation.id);
  completions.push_back(completion);
}

void AioDisk::reap(std::vector<shell::DiskCompletion>& completions) {
  if (times_.count() == 0) {
    return;
  }
  while (true) {
    const int count = calls_.get_events(context_, 0, events_);
    if (count == -EINTR) {
      continue;
    }
    for (int i = 0; i < count; ++i) {
      const auto& event = events_[static_cast<std::size_t>(i)];
      finish(*static_cast<Operation*>(event.data), static_cast<std::int64_t>(event.res),
             completions);
    }
    if (count < static_cast<int>(events_.size())) {
      break;
    }
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [operation, result] : refused_) {
    finish(*operation, result, completions);
  }
  refused_.clear();
}

}  // namespace target::linux_shell
