// At most four pauses begin in any 10 s.
#include "target/engine/pause_budget.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <vector>

namespace target::engine {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

TEST(PauseBudget, FourThenNoneUntilTheFirstIsTenSecondsOld) {
  PauseBudget budget;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(budget.try_start(i * kSecond));
  }
  EXPECT_FALSE(budget.try_start(4 * kSecond));
  EXPECT_FALSE(budget.try_start(10 * kSecond - 1));
  EXPECT_TRUE(budget.try_start(10 * kSecond));
  EXPECT_FALSE(budget.try_start(11 * kSecond - 1));
  EXPECT_TRUE(budget.try_start(11 * kSecond));
}

TEST(PauseBudget, NeverMoreThanFourInAnyTenSeconds) {
  EXPECT_TRUE(rc::check("four in ten seconds", [] {
    PauseBudget budget;
    Nanoseconds now = 0;
    std::vector<Nanoseconds> granted;
    for (int i = 0; i < 60; ++i) {
      now += *rc::gen::inRange<Nanoseconds>(1, 4) * kSecond / 2;
      const auto recent = std::count_if(granted.begin(), granted.end(), [&](Nanoseconds start) {
        return now - start < kPauseBudgetPeriod;
      });
      const bool may = recent < 4;
      RC_ASSERT(budget.try_start(now) == may);
      if (may) {
        granted.push_back(now);
      }
    }
  }));
}

}  // namespace
}  // namespace target::engine
