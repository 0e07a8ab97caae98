// Nobody is sent more than the budget, whatever he asks for and however many addresses he forges.
#include "target/shell/reply_budget.h"

#include <gtest/gtest.h>

namespace target::shell {
namespace {

constexpr std::uint64_t kBudget = std::uint64_t{1} << 20;
constexpr Nanoseconds kMillisecond = 1'000'000;

wire::MacAddress mac(std::uint32_t number) {
  return {{2, 0, 0, static_cast<std::uint8_t>(number >> 16U),
           static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number)}};
}

// What a source gets that asks for a frame of 1,500 bytes every 100 us.
std::uint64_t sent_in(ReplyBudget& budget, const wire::MacAddress& source, Nanoseconds from,
                      Nanoseconds duration) {
  std::uint64_t bytes = 0;
  for (Nanoseconds now = from; now < from + duration; now += kMillisecond / 10) {
    bytes += budget.admit(source, 1500, now) ? 1500 : 0;
  }
  return bytes;
}

TEST(ReplyBudgetTest, NoneIsNoLimit) {
  ReplyBudget budget(0, {});
  EXPECT_EQ(sent_in(budget, mac(1), 0, 1000 * kMillisecond), 1500U * 10'000);
  EXPECT_EQ(budget.dropped(), 0U);
}

TEST(ReplyBudgetTest, ASourceGetsItsBytesASecondAndABurst) {
  ReplyBudget budget(kBudget, {});
  const std::uint64_t first = sent_in(budget, mac(1), 0, 1000 * kMillisecond);
  const std::uint64_t second = sent_in(budget, mac(1), 1000 * kMillisecond, 1000 * kMillisecond);
  EXPECT_LE(first, kBudget + kBudget / 10 + 1500);
  EXPECT_GE(first, kBudget);
  EXPECT_NEAR(static_cast<double>(second), static_cast<double>(kBudget), 3000);
  EXPECT_GT(budget.dropped(), 0U);
}

TEST(ReplyBudgetTest, OneTakesNothingFromAnother) {
  ReplyBudget budget(kBudget, {});
  sent_in(budget, mac(1), 0, 100 * kMillisecond);
  EXPECT_TRUE(budget.admit(mac(2), 9000, 100 * kMillisecond));
}

TEST(ReplyBudgetTest, WhoIsAllowedIsExempt) {
  ReplyBudget budget(kBudget, {mac(1)});
  EXPECT_EQ(sent_in(budget, mac(1), 0, 1000 * kMillisecond), 1500U * 10'000);
}

// Each forged address is somebody who must not be flooded; and those who find no bucket share one.
TEST(ReplyBudgetTest, AHundredThousandForgedAddressesAreBoundedToo) {
  ReplyBudget budget(kBudget, {});
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    bytes += budget.admit(mac(i), 9000, 0) ? 9000 : 0;
  }
  EXPECT_LE(bytes, kBudgetSourcesMax * 9000 + kBudget / 10 + 9000);
  EXPECT_TRUE(budget.admit(mac(200'000), 1500, 1000 * kMillisecond)) << "a second later";
}

}  // namespace
}  // namespace target::shell
