#include "pcaps/tool/text.h"

#include <gtest/gtest.h>

namespace pcaps {
namespace {

TEST(Text, InstantsAreAbsoluteAndKeepTheirPrecision) {
  constexpr Nanoseconds kSecond = 1'000'000'000;
  EXPECT_EQ(time_text(0), "1970-01-01 00:00:00.000000 UTC");
  EXPECT_EQ(time_text(1'795'344'822 * kSecond + 414'593'000), "2026-11-22 10:53:42.414593 UTC");
  EXPECT_EQ(time_iso(1'795'344'822 * kSecond + 414'593'001), "2026-11-22T10:53:42.414593001Z");
}

TEST(Text, CountsHaveSeparators) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1'000), "1,000");
  EXPECT_EQ(count_text(1'234'567), "1,234,567");
}

TEST(Text, OnlyNothingIsZeroPercent) {
  EXPECT_EQ(share_text(0, 10), "0 %");
  EXPECT_EQ(share_text(1, 1'000'000), "less than 0.1 %");
  EXPECT_EQ(share_text(25, 181), "13.8 %");
}

}  // namespace
}  // namespace pcaps
