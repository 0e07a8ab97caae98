// The loop is never without a thread that runs it, and never has two.
#include "target/linux/handover.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
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

// However often it is lent, and at whatever moment somebody looks. A loaded machine may take the
// processor away in the middle of a call, which is then one that lasts: not every time.
TEST(Handover, CallsThatEndSoonCostNobodyTheLoop) {
  constexpr int kTries = 5;
  constexpr auto kSpan = std::chrono::milliseconds(100);
  int kept_throughout = 0;
  for (int i = 0; i < kTries; ++i) {
    std::optional<Handover> handover;
    int bodies = 0;
    handover.emplace([&] {
      if (++bodies > 1) {
        return true;
      }
      while (!handover->may_lend()) {
        std::this_thread::yield();
      }
      const auto end = std::chrono::steady_clock::now() + kSpan;
      while (std::chrono::steady_clock::now() < end) {
        const auto call_ends = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
        if (!handover->lend([&] {
              while (std::chrono::steady_clock::now() < call_ends) {
              }
            })) {
          return false;
        }
      }
      return true;
    });
    handover->start_thread();
    handover->run();
    kept_throughout += bodies == 1 ? 1 : 0;
  }
  EXPECT_GT(kept_throughout, 0);
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
      const int number = turns.run([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        return ++calls;
      });
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
