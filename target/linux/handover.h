// Lets the thread that runs the loop make a call that may wait for a disk, without the loop waiting
// for it. Such a call nearly always ends at once, and then costs no change of thread; when it
// lasts, a second thread takes the loop and goes on, and the first one, when the kernel lets go of
// it, becomes the second. It must never know what the loop does.
//
// Only with nothing of the loop on the stack: whoever takes it begins a turn of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace target::linux_shell {

class Handover {
 public:
  // Runs the loop until it has ended (true), or until lend() said that another thread has it
  // (false): then the body returns at once, and touches nothing that the loop owns.
  using Body = std::function<bool()>;
  explicit Handover(Body body) : body_(std::move(body)) {}
  // The loop has ended, or was never run.
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // Starts the second thread. Throws std::system_error; without it there is nobody to lend to.
  void start_thread();
  // Returns when the loop has ended, and throws what it threw, in whichever thread.
  void run();

  // By the thread that has the loop: there is somebody who would take it.
  [[nodiscard]] bool may_lend() const { return watched_.load(std::memory_order_acquire); }
  // Makes the call. False: it lasted, and another thread has the loop.
  template <typename Call>
  bool lend(Call&& call) {
    const std::uint64_t lent = state_.fetch_add(1) + 1;
    if (asleep_.load()) {
      wake();
    }
    call();
    std::uint64_t expected = lent;
    return state_.compare_exchange_strong(expected, lent + 1);
  }

 private:
  // Waits until the loop must be taken (true) or is over (false).
  bool watch();
  void wake();
  void run_body();

  Body body_;
  // Counts the beginnings and the ends of calls: odd while the loop is lent.
  std::atomic<std::uint64_t> state_{0};
  std::atomic<bool> watched_{false};
  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::exception_ptr thrown_;
  std::thread second_;
};

// One user of the loop's own thread, and how it has fared: after a call that lasted, what it has to
// do is left to threads of its own for a while, so that a slow disk does not take a look's time
// from the others again and again.
class Loan {
 public:
  // Null: never.
  explicit Loan(Handover* loop) : loop_(loop) {}
  // By whoever has the loop.
  [[nodiscard]] bool possible(std::int64_t now_ns) const {
    return loop_ != nullptr && loop_->may_lend() &&
           now_ns >= again_at_ns_.load(std::memory_order_relaxed);
  }
  template <typename Call>
  bool use(Call&& call) {
    const bool kept = loop_->lend(std::forward<Call>(call));
    if (!kept) {
      it_lasted();
    }
    return kept;
  }
  void end() { loop_ = nullptr; }
  // How often a call lasted.
  [[nodiscard]] std::uint64_t lasted() const { return lasted_.load(std::memory_order_relaxed); }

 private:
  void it_lasted();

  Handover* loop_;
  std::atomic<std::int64_t> again_at_ns_{0};
  std::atomic<std::uint64_t> lasted_{0};
};

}  // namespace target::linux_shell
