// How often a congestion probe may stop the target: anybody can ask for it. Owns the budget; does
// not know what a pause is.
#pragma once

#include <array>
#include <cstddef>

#include "target/engine/values.h"

namespace target::engine {

inline constexpr std::size_t kPausesMax = 4;
inline constexpr Nanoseconds kPauseBudgetPeriod = 10'000'000'000;
inline constexpr Nanoseconds kPauseDuration = 500'000'000;

class PauseBudget {
 public:
  // True, and the pause is counted, if fewer than four began in the last 10 s.
  bool try_start(Nanoseconds now) {
    if (started_ >= kPausesMax && now - starts_[started_ % kPausesMax] < kPauseBudgetPeriod) {
      return false;
    }
    starts_[started_ % kPausesMax] = now;
    ++started_;
    return true;
  }

 private:
  std::array<Nanoseconds, kPausesMax> starts_{};  // the last four, the oldest at started_ % 4
  std::size_t started_ = 0;
};

}  // namespace target::engine
