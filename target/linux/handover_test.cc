// The loop is never without a thread that runs it, and never has two.
#include "target/linux/handover.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <vector>

namespace target::linux_shell {
namespace {

// A call that lasts until it is let go.
class Gate {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Turns of a loop, each by the thread that has it.
class Turns {
 public:
  bool runs_two() const { return two_; }
  template <typename Work>
  auto run(Work&& work) {
    two_ = two_ || running_.exchange(true);
    struct End {
      std::atomic<bool>& running;
      ~End() { running = false; }
    } const end{running_};
    return work();
  }

 private:
  std::atomic<bool> running_{false};
  std::atomic<bool> two_{false};
};

TEST(Handover, CallsThatEndAtOnceChangeNoThread) {
  std::thread::id first;
  bool all_the_same = true;
  int calls = 0;
  std::optional<Handover> handover;
  handover.emplace([&] {
    first = std::this_thread::get_id();
    while (calls < 100'000) {
      if (!handover->lend([&] { ++calls; })) {
        return false;  // this machine took the processor away from us in the call
      }
      all_the_same = all_the_same && std::this_thread::get_id() == first;
    }
    return true;
  });
  handover->start_thread();
  handover->run();
  EXPECT_EQ(calls, 100'000);
  EXPECT_TRUE(all_the_same);
}

TEST(Handover, ACallThatLastsCostsTheCallerTheLoop) {
  Gate gate;
  Turns turns;
  std::atomic<int> bodies{0};
  std::thread::id lender;
  std::optional<bool> kept;
  std::optional<Handover> handover;
  handover.emplace([&] {
    if (bodies.fetch_add(1) == 0) {
      lender = std::this_thread::get_id();
      while (!handover->may_lend()) {
        std::this_thread::yield();
      }
      turns.run([] {});
      kept = handover->lend([&] { gate.wait(); });
      return *kept;
    }
    return turns.run([&] {
      EXPECT_NE(std::this_thread::get_id(), lender);
      EXPECT_FALSE(handover->may_lend()) << "the only other thread is in a call";
      gate.open();
      // It watches again once its call has ended.
      while (!handover->may_lend()) {
        std::this_thread::yield();
      }
      return true;
    });
  });
  handover->start_thread();
  handover->run();
  EXPECT_EQ(bodies, 2);
  EXPECT_EQ(kept, std::optional(false));
  EXPECT_FALSE(turns.runs_two());
}

// Back and forth, with calls of every length about the one that changes hands.
TEST(Handover, TheLoopIsNeverRunTwice) {
  Turns turns;
  int calls = 0;  // no lock: whoever has the loop has it
  std::optional<Handover> handover;
  handover.emplace([&] {
    while (true) {
      if (!handover->may_lend()) {
        std::this_thread::yield();
        continue;
      }
      const int number = turns.run([&] { return ++calls; });
      if (number > 60) {
        return true;
      }
      const auto length = std::chrono::microseconds(number % 6 == 0 ? 12'000 : 100 * number);
      if (!handover->lend([&] { std::this_thread::sleep_for(length); })) {
        return false;
      }
    }
  });
  handover->start_thread();
  handover->run();
  EXPECT_FALSE(turns.runs_two());
  EXPECT_GT(calls, 60);
}

TEST(Handover, WhatTheBodyThrowsReachesTheOneWhoStartedIt) {
  for (const bool in_the_second : {false, true}) {
    Gate gate;
    std::atomic<int> bodies{0};
    std::optional<Handover> handover;
    handover.emplace([&]() -> bool {
      if (in_the_second && bodies.fetch_add(1) == 0) {
        while (!handover->may_lend()) {
          std::this_thread::yield();
        }
        return handover->lend([&] { gate.wait(); });
      }
      gate.open();
      throw std::runtime_error("the end");
    });
    handover->start_thread();
    EXPECT_THROW(handover->run(), std::runtime_error) << in_the_second;
  }
}

TEST(Loan, AfterACallThatLastedThereIsNoneForAWhile) {
  Gate gate;
  std::atomic<int> bodies{0};
  std::optional<Handover> handover;
  std::optional<Loan> loan;
  handover.emplace([&] {
    if (bodies.fetch_add(1) == 0) {
      while (!handover->may_lend()) {
        std::this_thread::yield();
      }
      EXPECT_TRUE(loan->possible(0));
      return loan->use([&] { gate.wait(); });
    }
    gate.open();
    while (!handover->may_lend()) {
      std::this_thread::yield();
    }
    EXPECT_FALSE(loan->possible(0));
    EXPECT_EQ(loan->lasted(), 1U);
    constexpr std::int64_t kFarAway_ns = 1LL << 60;
    EXPECT_TRUE(loan->possible(kFarAway_ns));
    loan->end();
    EXPECT_FALSE(loan->possible(kFarAway_ns));
    return true;
  });
  loan.emplace(&*handover);
  handover->start_thread();
  handover->run();
  EXPECT_FALSE(Loan(nullptr).possible(0));
}

}  // namespace
}  // namespace target::linux_shell
