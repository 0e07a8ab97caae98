// The register on histories that are short enough to know the answer by heart.
#include "sim/checkers/sector_register.h"

#include <gtest/gtest.h>

namespace sim::checkers {
namespace {

constexpr std::uint64_t kSectors = 4;
constexpr std::uint64_t kLba = 2;

disk::Stamp stamp(Version version) {
  return {.state = disk::StampState::good, .version = version, .lba = kLba};
}

class SectorRegisterTest : public ::testing::Test {
 protected:
  Version ask() { return model_.ask_write(1, 0, kLba, 1, 0); }
  void done(Version version) { model_.write_done(version, kLba, 1, kNever); }
  // A disk operation that ends well.
  ApplyVerdict apply(Version version) {
    const ApplyVerdict verdict = model_.judge_apply(version, kLba);
    model_.reached(version, kLba);
    return verdict;
  }
  // A write from beginning to end.
  Version write() {
    const Version version = ask();
    EXPECT_EQ(apply(version), ApplyVerdict::good);
    done(version);
    return version;
  }
  bool read(Version found) { return model_.judge_read(stamp(found), kLba, model_.tick()); }
  bool crash_left(Version version, bool unfinished = false, bool volatile_cache = false) {
    return model_.judge_crash(stamp(version), kLba, unfinished, volatile_cache);
  }

  SectorRegister model_{kSectors};
};

TEST_F(SectorRegisterTest, AReadFindsTheLastWriteAndNoOlderOne) {
  const Version first = write();
  const Version second = write();
  EXPECT_TRUE(read(second));
  EXPECT_FALSE(read(first));
  EXPECT_FALSE(read(disk::kFormatted));
}

TEST_F(SectorRegisterTest, AWriteUnderWayMayOrMayNotHaveHappened) {
  const Version before = write();
  const Version under_way = ask();
  EXPECT_TRUE(read(before));
  EXPECT_TRUE(read(under_way));
}

TEST_F(SectorRegisterTest, WhatWasSeenHasHappened) {
  const Version before = write();
  const Version under_way = ask();
  EXPECT_TRUE(read(under_way));
  EXPECT_FALSE(read(before)) << "no way back";
}

TEST_F(SectorRegisterTest, AReadAskedForBeforeTheWriteWasDoneMayFindTheOldValue) {
  const Version before = write();
  const Version after = ask();
  const Order asked = model_.tick();
  done(after);
  EXPECT_TRUE(model_.judge_read(stamp(before), kLba, asked));
  EXPECT_FALSE(read(before));
}

TEST_F(SectorRegisterTest, OfTwoWritesAtOnceEitherMayBeLast) {
  const Version one = ask();
  const Version two = ask();
  done(one);
  done(two);
  EXPECT_TRUE(read(one));
  EXPECT_TRUE(read(two));
  EXPECT_FALSE(read(disk::kFormatted));
}

TEST_F(SectorRegisterTest, AWriteBelongsToItsOwnSectors) {
  const Version version = write();
  EXPECT_FALSE(model_.judge_read(stamp(version), kLba + 1, model_.tick()));
  disk::Stamp misplaced = stamp(version);
  misplaced.state = disk::StampState::misplaced;
  EXPECT_FALSE(model_.judge_read(misplaced, kLba, model_.tick()));
}

TEST_F(SectorRegisterTest, AWriteThatReachesTheDiskAfterALaterOneIsStale) {
  const Version first = write();
  const Version second = write();
  EXPECT_EQ(model_.judge_apply(first, kLba), ApplyVerdict::stale);
  EXPECT_EQ(model_.judge_apply(second, kLba), ApplyVerdict::good) << "the last one once more";
}

TEST_F(SectorRegisterTest, ARepetitionOfWhatWasNeverDoneIsNotStale) {
  const Version first = ask();
  const Version second = ask();
  EXPECT_EQ(apply(second), ApplyVerdict::good);
  EXPECT_EQ(apply(first), ApplyVerdict::good);
}

TEST_F(SectorRegisterTest, StaleDamageThatWasReportedIsWhatTheSectorHolds) {
  const Version first = write();
  write();
  EXPECT_EQ(model_.judge_apply(first, kLba), ApplyVerdict::stale);
  model_.accept(first, kLba);
  EXPECT_TRUE(read(first));
}

TEST_F(SectorRegisterTest, ACrashKeepsWhatWasAcknowledged) {
  const Version first = write();
  const Version second = write();
  EXPECT_FALSE(crash_left(first));
  EXPECT_TRUE(read(first)) << "reported once: the register goes on with what is there";
  EXPECT_FALSE(read(second));
}

TEST_F(SectorRegisterTest, AVolatileCacheMayLoseWhatWasNotFlushed) {
  model_.keep_for_crash(SectorRegister::Keeps::until_flush);
  const Version first = write();
  write();
  EXPECT_TRUE(crash_left(first, false, true));
}

TEST_F(SectorRegisterTest, AVolatileCacheKeepsWhatWasFlushed) {
  model_.keep_for_crash(SectorRegister::Keeps::until_flush);
  const Version first = write();
  write();
  model_.flush_done(model_.tick());
  EXPECT_FALSE(crash_left(first, false, true));
}

// The acknowledgement of a write that a cache held was on its way when the power failed.
TEST_F(SectorRegisterTest, WhatACrashTookStaysGoneOverTheNextOne) {
  model_.keep_for_crash(SectorRegister::Keeps::until_flush);
  const Version before = write();
  model_.flush_done(model_.tick());
  const Version lost = ask();
  EXPECT_EQ(apply(lost), ApplyVerdict::good);
  EXPECT_TRUE(crash_left(before, false, true));
  EXPECT_TRUE(crash_left(before, false, true));
  done(lost);
  EXPECT_TRUE(read(before));
}

TEST_F(SectorRegisterTest, WhatACrashTookStaysGoneWhenItsRepetitionFails) {
  model_.keep_for_crash(SectorRegister::Keeps::until_flush);
  const Version before = write();
  model_.flush_done(model_.tick());
  const Version lost = ask();
  EXPECT_EQ(apply(lost), ApplyVerdict::good);
  EXPECT_TRUE(crash_left(before, false, true));
  EXPECT_EQ(model_.judge_apply(lost, kLba), ApplyVerdict::good) << "and the disk says ENOSPC";
  done(lost);
  EXPECT_TRUE(read(before));
}

TEST_F(SectorRegisterTest, AWriteThatFailedOnTheDiskMakesNoOtherStale) {
  const Version first = write();
  const Version failed = ask();
  EXPECT_EQ(model_.judge_apply(failed, kLba), ApplyVerdict::good);
  EXPECT_EQ(model_.judge_apply(first, kLba), ApplyVerdict::good);
}

TEST_F(SectorRegisterTest, OnlyAnUnfinishedWriteMayBeTorn) {
  write();
  disk::Stamp torn{
      .state = disk::StampState::broken, .version = disk::kTorn, .lba = kLba, .digest = 77};
  EXPECT_FALSE(model_.judge_crash(torn, kLba, false, false));
  EXPECT_TRUE(model_.judge_crash(torn, kLba, true, false));
  EXPECT_TRUE(model_.judge_read(torn, kLba, model_.tick()));
  torn.digest = 78;
  EXPECT_FALSE(model_.judge_read(torn, kLba, model_.tick())) << "torn, but not like this";
}

TEST_F(SectorRegisterTest, OfATaintedSectorNothingIsSaid) {
  const Version first = write();
  write();
  model_.taint(kLba);
  EXPECT_TRUE(read(first));
  EXPECT_EQ(model_.judge_apply(first, kLba), ApplyVerdict::good);
  model_.taint(kSectors);  // beyond the end: a corrupted LBA
}

}  // namespace
}  // namespace sim::checkers
