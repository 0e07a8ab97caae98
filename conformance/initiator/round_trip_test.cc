#include "conformance/initiator/round_trip.h"

#include <gtest/gtest.h>

namespace conformance::initiator {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(RoundTrip, WaitsTheFirstWaitBeforeAnythingWasMeasured) {
  const RoundTrip r({100 * kMs, 10 * kMs, 1000 * kMs});
  EXPECT_FALSE(r.measured());
  EXPECT_EQ(r.wait_ns(0), 100 * kMs);
  EXPECT_EQ(r.wait_ns(1), 200 * kMs);
}

TEST(RoundTrip, TheFirstSampleSetsBothAsRfc6298Says) {
  RoundTrip r({100 * kMs, 1 * kMs, 1000 * kMs});
  r.sample(8 * kMs);
  EXPECT_EQ(r.smoothed_ns(), 8 * kMs);
  EXPECT_EQ(r.wait_ns(0), 8 * kMs + 4 * 4 * kMs);
}

TEST(RoundTrip, ASteadyLinkEndsAtTheLeastWaitAndNeverBelow) {
  RoundTrip r({100 * kMs, 20 * kMs, 1000 * kMs});
  for (int i = 0; i < 1000; ++i) {
    r.sample(17'000);
  }
  EXPECT_EQ(r.wait_ns(0), 20 * kMs);
}

TEST(RoundTrip, FollowsALinkThatBecomesSlow) {
  RoundTrip r({100 * kMs, 1 * kMs, 10'000 * kMs});
  r.sample(1 * kMs);
  for (int i = 0; i < 100; ++i) {
    r.sample(300 * kMs);
  }
  EXPECT_GE(r.wait_ns(0), 295 * kMs);
  EXPECT_LE(r.wait_ns(0), 400 * kMs);
}

TEST(RoundTrip, BackingOffDoublesAndEndsAtTheLongestWait) {
  const RoundTrip r({100 * kMs, 10 * kMs, 700 * kMs});
  EXPECT_EQ(r.wait_ns(2), 400 * kMs);
  EXPECT_EQ(r.wait_ns(3), 700 * kMs);
  EXPECT_EQ(r.wait_ns(4'000'000'000U), 700 * kMs);
}

}  // namespace
}  // namespace conformance::initiator
