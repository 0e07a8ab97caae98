#include "conformance/initiator/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace conformance::initiator {
namespace {

TEST(Histogram, OfNothing) {
  const Histogram h;
  EXPECT_EQ(h.total(), 0U);
  EXPECT_EQ(h.percentile_ns(0.99), 0);
}

TEST(Histogram, PercentilesAreRightToAThirtySecondOfThemselves) {
  std::mt19937_64 random(3);
  Histogram h;
  std::vector<int64_t> all;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<int64_t>(random() >> (random() % 60 + 4));
    all.push_back(value);
    h.add(value);
  }
  std::sort(all.begin(), all.end());
  for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto exact =
        static_cast<double>(all[static_cast<size_t>(share * static_cast<double>(all.size())) - 1]);
    const auto told = static_cast<double>(h.percentile_ns(share));
    EXPECT_GE(told, exact * (1 - 1e-9)) << share;
    EXPECT_LE(told, exact * (1 + 2.0 / 32) + 1) << share;
  }
  EXPECT_EQ(h.percentile_ns(1), all.back());
}

TEST(Histogram, TakesWhateverThereIs) {
  Histogram h;
  for (const int64_t ns : {int64_t{-5}, int64_t{0}, INT64_MAX}) {
    h.add(ns);
  }
  EXPECT_EQ(h.max_ns(), INT64_MAX);
  EXPECT_EQ(h.percentile_ns(1), INT64_MAX);
}

}  // namespace
}  // namespace conformance::initiator
