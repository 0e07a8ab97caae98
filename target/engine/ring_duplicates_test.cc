// What counts as the same frame in one batch, and what happens when a batch is too large.
#include "target/engine/ring_duplicates.h"

#include <gtest/gtest.h>

namespace target::engine {
namespace {

TEST(RingDuplicates, SameSessionCommandAndTagInOneBatch) {
  RingDuplicates ring;
  EXPECT_FALSE(ring.seen(1, 10, 5, 0));
  EXPECT_TRUE(ring.seen(1, 10, 5, 0));
  EXPECT_FALSE(ring.seen(1, 11, 5, 0)) << "another initiator's tag";
  EXPECT_FALSE(ring.seen(1, 10, 6, 0));
  EXPECT_FALSE(ring.seen(1, 10, 5, 1)) << "another command";
  EXPECT_FALSE(ring.seen(2, 10, 5, 0)) << "the next batch";
  EXPECT_TRUE(ring.seen(2, 10, 5, 0));
}

TEST(RingDuplicates, TheFirstBatchMayHaveAnyNumber) {
  RingDuplicates ring;
  EXPECT_FALSE(ring.seen(0, 0, 0, 0));
  EXPECT_TRUE(ring.seen(0, 0, 0, 0));
}

TEST(RingDuplicates, ALargeBatchIsBoundedAndNeverWrong) {
  RingDuplicates ring;
  for (std::uint32_t tag = 0; tag < 100'000; ++tag) {
    ASSERT_FALSE(ring.seen(1, 10, tag, 0));
  }
  EXPECT_TRUE(ring.seen(1, 10, 0, 0));
  EXPECT_FALSE(ring.seen(1, 10, 99'999, 0)) << "beyond the bound nothing is dropped";
}

}  // namespace
}  // namespace target::engine
