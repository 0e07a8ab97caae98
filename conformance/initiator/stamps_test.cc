#include "conformance/initiator/stamps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace conformance::initiator {
namespace {

using observer::Bytes;
using observer::BytesView;

Bytes stamped(uint32_t version, uint64_t lba) {
  Bytes sector(512);
  write_stamp(sector, version, lba);
  return sector;
}

TEST(Stamp, SaysWhichWriteAndWhere) {
  const Stamp s = read_stamp(stamped(7, 1000), 1000);
  EXPECT_EQ(s.state, StampState::good);
  EXPECT_EQ(s.version, 7U);
  EXPECT_EQ(read_stamp(stamped(7, 1000), 1001).state, StampState::misplaced);
  EXPECT_EQ(read_stamp(Bytes(512, 0), 0).state, StampState::broken);
}

TEST(Stamp, EveryFlippedBitShows) {
  std::mt19937 random(1);
  for (size_t bit = 0; bit < 512 * 8; ++bit) {
    Bytes sector = stamped(99, 12);
    sector[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    EXPECT_NE(read_stamp(sector, 12).state, StampState::good) << bit;
  }
}

TEST(Ledger, JudgesBetweenAcknowledgedAndAskedFor) {
  Ledger ledger(100, 8);
  EXPECT_FALSE(ledger.judge(100, Bytes(512, 9)));  // never ours
  ledger.asked(100, 2, 1);
  EXPECT_FALSE(ledger.judge(100, Bytes(512, 9)));  // may not have arrived
  EXPECT_FALSE(ledger.judge(100, stamped(1, 100)));
  EXPECT_TRUE(ledger.judge(100, stamped(2, 100)));  // nobody asked
  ledger.acknowledged(100, 2, 1);
  EXPECT_TRUE(ledger.judge(100, Bytes(512, 9)));
  EXPECT_FALSE(ledger.judge(101, stamped(1, 101)));
  ledger.asked(100, 1, 2);
  EXPECT_FALSE(ledger.judge(100, stamped(1, 100)));
  EXPECT_FALSE(ledger.judge(100, stamped(2, 100)));
  ledger.acknowledged(100, 1, 2);
  const auto stale = ledger.judge(100, stamped(1, 100));
  ASSERT_TRUE(stale);
  EXPECT_THAT(stale->what, testing::HasSubstr("outdated write, 1"));
  const auto misplaced = ledger.judge(100, stamped(2, 104));
  ASSERT_TRUE(misplaced);
  EXPECT_THAT(misplaced->what, testing::HasSubstr("of sector 104"));
  EXPECT_EQ(ledger.next_version(), 3U);
}

TEST(Ledger, IsReadBackAsItWasWritten) {
  Ledger ledger(5, 1000);
  ledger.asked(10, 4, 3);
  ledger.acknowledged(10, 4, 3);
  ledger.asked(12, 1, 9);
  const Ledger again = Ledger::parse(ledger.text());
  EXPECT_EQ(again.text(), ledger.text());
  EXPECT_TRUE(again.judge(10, stamped(2, 10)));
}

TEST(Ledger, SaysWhatIsWrongWithAFileAndInWhichLine) {
  const auto said = [](std::string_view text) -> std::string {
    try {
      Ledger::parse(text);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(said(""), testing::HasSubstr("empty"));
  EXPECT_THAT(said("hello\n"), testing::HasSubstr("line 1"));
  EXPECT_THAT(said("aoe-ledger 1 0 8\n1 1 1\n9 1 1\n"), testing::HasSubstr("line 3"));
  EXPECT_THAT(said("aoe-ledger 1 0 8\n1 2 1\n"), testing::HasSubstr("before"));
  EXPECT_THAT(said("aoe-ledger 1 0 8\n1 2\n"), testing::HasSubstr("three numbers"));
  EXPECT_THAT(said("aoe-ledger 1 0 99999999999999\n"), testing::HasSubstr("not possible"));
}

}  // namespace
}  // namespace conformance::initiator
