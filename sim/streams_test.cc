#include "sim/streams.h"

#include <gtest/gtest.h>

namespace sim {
namespace {

TEST(Streams, SayTheSameEverywhere) {
  Stream stream(42, "link", 3);
  EXPECT_EQ(stream.next(), 2774338478641718071ULL);
  EXPECT_EQ(stream.next(), 6360385229527811140ULL);
}

TEST(Streams, NamesAndIdsTellThemApart) {
  EXPECT_NE(hash(1, "link", 0), hash(1, "link", 1));
  EXPECT_NE(hash(1, "link", 0), hash(1, "disk", 0));
  EXPECT_NE(hash(1, "link", 0), hash(2, "link", 0));
}

TEST(Streams, StayInRange) {
  Stream stream(7, "x", 0);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = stream.between(3, 5);
    EXPECT_GE(value, 3U);
    EXPECT_LE(value, 5U);
  }
  EXPECT_EQ(stream.below(0), 0U);
  EXPECT_FALSE(stream.per_million(0));
  EXPECT_TRUE(stream.per_million(1'000'000));
}

}  // namespace
}  // namespace sim
