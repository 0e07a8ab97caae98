#include "conformance/observer/shadow_disk.h"

#include <gtest/gtest.h>

namespace conformance::observer {
namespace {

using Kind = Candidate::Kind;

TEST(Sector, BringsWhatWasWrittenLast) {
  Sector s;
  s.start(1);
  EXPECT_EQ(s.read(7, 2, 3).explanation, Explanation::unknown);
  s.write(Kind::written, 8, 4);
  s.answered(4, 5, true, Kind::written);
  EXPECT_EQ(s.read(7, 6, 7).explanation, Explanation::old);
  EXPECT_EQ(s.read(7, 8, 9).explanation, Explanation::expected) << "what was told once is learnt";
}

TEST(Sector, TakesEitherOfTwoWritesThatWereInFlightTogether) {
  for (const std::uint64_t read : {8, 9}) {
    Sector s;
    s.start(1);
    s.write(Kind::written, 8, 2);
    s.write(Kind::written, 9, 3);
    s.answered(2, 4, true, Kind::written);
    s.answered(3, 5, true, Kind::written);
    EXPECT_EQ(s.read(read, 6, 7).explanation, Explanation::expected);
    EXPECT_EQ(s.read(read == 8 ? 9 : 8, 8, 9).explanation, Explanation::old)
        << "a read has shown which of them ended last";
  }
}

TEST(Sector, TakesOldOrNewWhileAWriteIsInFlight) {
  Sector s;
  s.start(1);
  s.read(1, 2, 3);
  s.write(Kind::written, 2, 5);
  s.answered(5, 7, true, Kind::written);
  EXPECT_EQ(s.read(1, 6, 8).explanation, Explanation::expected) << "it began before the answer";
}

TEST(Sector, AWriteWithoutAnAnswerMayBeThereAtAnyTime) {
  Sector s;
  s.start(1);
  s.read(1, 2, 3);
  s.write(Kind::written, 2, 5);
  EXPECT_EQ(s.read(1, 6, 7).explanation, Explanation::expected);
  EXPECT_EQ(s.read(2, 8, 9).explanation, Explanation::expected);
  EXPECT_EQ(s.read(1, 10, 11).explanation, Explanation::old) << "and then it stays";
}

TEST(Sector, AFailedWriteMayBeThereInPartAndARefusedOneMayNot) {
  Sector failed;
  failed.start(1);
  failed.read(1, 2, 3);
  failed.write(Kind::written, 2, 5);
  failed.answered(5, 6, false, Kind::failed);
  EXPECT_EQ(failed.read(2, 7, 8).explanation, Explanation::expected);
  Sector refused;
  refused.start(1);
  refused.read(1, 2, 3);
  refused.write(Kind::written, 2, 5);
  refused.answered(5, 6, false, Kind::refused);
  EXPECT_EQ(refused.read(2, 7, 8).explanation, Explanation::refused);
}

TEST(Sector, ARepetitionUnderAnotherTagIsAHazardOnlyOverNewerData) {
  Sector s;
  s.start(1);
  s.write(Kind::written, 1, 2);
  s.renew(2);
  s.write(Kind::written, 1, 3);
  s.answered(3, 4, true, Kind::written);
  EXPECT_EQ(s.read(1, 5, 6).explanation, Explanation::expected);
  s.write(Kind::written, 2, 7);
  s.answered(7, 8, true, Kind::written);
  EXPECT_EQ(s.read(1, 9, 10).explanation, Explanation::hazard);
}

TEST(Sector, MoreInFlightThanItCanHoldAccusesNobody) {
  Sector s;
  s.start(1);
  for (std::uint32_t frame = 2; frame < 12; ++frame) {
    s.write(Kind::written, frame, frame);
  }
  EXPECT_EQ(s.read(77, 20, 21).explanation, Explanation::unknown);
}

TEST(ShadowDisk, RemembersSectorsByTargetAndLba) {
  ShadowDisk disk;
  disk.obtain(0, 7).read(1, 2, 3);
  disk.obtain(1, 7).read(2, 2, 3);
  ASSERT_NE(disk.find(0, 7), nullptr);
  EXPECT_EQ(disk.find(0, 7)->read(1, 4, 5).explanation, Explanation::expected);
  EXPECT_EQ(disk.find(1, 7)->read(2, 4, 5).explanation, Explanation::expected);
  EXPECT_EQ(disk.find(0, 8), nullptr);
}

TEST(ShadowDisk, StaysBoundedAndCountsWhatItForgets) {
  ShadowDisk disk;
  constexpr std::uint64_t kPlaces = (1 << 20) - 1;
  for (std::uint64_t lba = 0; lba < kPlaces; ++lba) {
    disk.obtain(0, lba);
  }
  EXPECT_EQ(disk.forgotten(), 0U) << "a run of sectors fills every place before one is forgotten";
  disk.obtain(0, kPlaces);
  EXPECT_EQ(disk.forgotten(), 1U);
}

}  // namespace
}  // namespace conformance::observer
