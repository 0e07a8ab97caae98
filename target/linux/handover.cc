// Who runs the loop: see handover.h.
#include "target/linux/handover.h"

#include <chrono>

#include "target/linux/event_loop.h"

namespace target::linux_shell {
namespace {

// A call that is seen in two looks lasts. Long beside a write into the page cache, short beside
// what a network does to a frame.
constexpr std::chrono::milliseconds kLook{4};
// Looks at a loop that lends nothing, before the watching stops.
constexpr unsigned kLooksInVain = 25;

constexpr std::int64_t kLeftToThreads_ns = 250'000'000;

}  // namespace

void Loan::it_lasted() {
  lasted_.fetch_add(1, std::memory_order_relaxed);
  again_at_ns_.store(monotonic_now() + kLeftToThreads_ns, std::memory_order_relaxed);
}

Handover::~Handover() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  if (second_.joinable()) {
    second_.join();
  }
}

void Handover::start_thread() {
  // Before anybody lends: whoever starts it has the loop.
  second_ = std::thread([this] {
    while (watch()) {
      run_body();
    }
  });
}

void Handover::run() {
  do {
    run_body();
  } while (watch());
  if (thrown_) {
    std::rethrow_exception(thrown_);
  }
}

void Handover::run_body() {
  std::exception_ptr thrown;
  try {
    if (!body_()) {
      return;
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  over_ = true;
  thrown_ = thrown;
  changed_.notify_all();
}

bool Handover::watch() {
  std::unique_lock lock(mutex_);
  watched_.store(true, std::memory_order_release);
  std::uint64_t seen = state_.load();
  unsigned in_vain = 0;
  while (!over_) {
    if (in_vain == kLooksInVain) {
      // Either this sees that something was lent since, or the lender sees that we sleep.
      asleep_.store(true);
      if (state_.load() == seen) {
        changed_.wait(lock, [this] { return over_ || !asleep_.load(); });
      }
      asleep_.store(false);
      seen = state_.load();
      in_vain = 0;
    }
    changed_.wait_for(lock, kLook, [this] { return over_; });
    std::uint64_t now = state_.load();
    if (now == seen && now % 2 == 1) {
      // Before the loop changes hands: whoever has it finds nobody to lend to.
      watched_.store(false, std::memory_order_relaxed);
      if (state_.compare_exchange_strong(now, now + 1)) {
        return true;
      }
      watched_.store(true, std::memory_order_release);
    }
    in_vain = now == seen ? in_vain + 1 : 0;
    seen = now;
  }
  return false;
}

void Handover::wake() {
  const std::lock_guard lock(mutex_);
  asleep_.store(false);
  changed_.notify_all();
}

}  // namespace target::linux_shell
