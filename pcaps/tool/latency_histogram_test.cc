#include "pcaps/tool/latency_histogram.h"

#include <gtest/gtest.h>

namespace pcaps {
namespace {

TEST(LatencyHistogram, QuantilesAreWithinASixteenth) {
  LatencyHistogram h;
  for (Nanoseconds ns = 1; ns <= 100'000; ++ns) {
    h.add(ns);
  }
  for (const double share : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const double exact = share * 100'000;
    EXPECT_GE(static_cast<double>(h.quantile_ns(share)), exact);
    EXPECT_LE(static_cast<double>(h.quantile_ns(share)), exact * (1 + 1.0 / 16));
  }
  EXPECT_EQ(h.max_ns(), 100'000);
  EXPECT_EQ(h.min_ns(), 1);
}

}  // namespace
}  // namespace pcaps
