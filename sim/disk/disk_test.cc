// The simulated disk: what is transferred when, and what a crash leaves of it.
#include "sim/disk/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/disk/stamp.h"

namespace sim::disk {
namespace {

using target::engine::DiskOp;
using target::engine::DiskOpKind;
using target::engine::DiskStatus;

constexpr std::uint64_t kLba = 3;
constexpr std::uint32_t kSectors = 8;

class DiskTest : public ::testing::Test {
 protected:
  void given(const std::string& text = "") {
    schedule_ = parse_schedule("aoe-sim 1\ninitiator a linux\nset sectors 16\n" + text);
    faults_.emplace(schedule_);
    disk_.emplace(schedule_.settings, queue_, tracer_, *faults_);
  }
  void start_write(Version version, std::uint32_t sectors = 1) {
    data_.assign(sectors * kSectorBytes, std::byte{0});
    for (std::uint32_t i = 0; i < sectors; ++i) {
      write_stamp(std::span(data_).subspan(i * kSectorBytes, kSectorBytes), version, kLba + i);
    }
    disk_->start(DiskOp{.id = version,
                        .kind = DiskOpKind::write,
                        .lba = kLba,
                        .sectors = sectors,
                        .data = data_},
                 now_);
  }
  Disk::Completion finish() {
    const Event event = queue_.pop();
    now_ = event.time;
    return disk_->complete(event.arg, now_);
  }
  void write(Version version, std::uint32_t sectors = 1) {
    start_write(version, sectors);
    EXPECT_EQ(finish().done.status, DiskStatus::ok);
  }
  void flush() {
    disk_->start(DiskOp{.id = 0, .kind = DiskOpKind::flush, .lba = 0, .sectors = 0, .data = {}},
                 now_);
    EXPECT_EQ(finish().done.status, DiskStatus::ok);
  }
  // The LBAs that an unfinished write covered, as the disk told its judge.
  std::vector<std::uint64_t> crash(std::int64_t choice) {
    std::vector<std::uint64_t> unfinished;
    std::uint64_t judged = 0;
    disk_->crash(choice, now_, [&](std::uint64_t lba, bool covered) {
      ++judged;
      if (covered) {
        unfinished.push_back(lba);
      }
    });
    EXPECT_EQ(judged, static_cast<std::uint64_t>(schedule_.settings.sectors));
    return unfinished;
  }
  [[nodiscard]] Stamp at(std::uint64_t lba) const { return read_stamp(disk_->sector(lba), lba); }

  Schedule schedule_;
  EventQueue queue_{0};
  Tracer tracer_;
  std::optional<Faults> faults_;
  std::optional<Disk> disk_;
  std::vector<std::byte> data_;
  Nanoseconds now_ = 0;
};

TEST_F(DiskTest, AWriteIsThereWhenItIsDoneAndNotBefore) {
  given();
  start_write(1);
  EXPECT_EQ(at(kLba).version, kFormatted);
  const Disk::Completion completion = finish();
  EXPECT_TRUE(completion.current);
  EXPECT_EQ(completion.done.id, 1U);
  EXPECT_EQ(now_, schedule_.settings.disk_write_ns);
  EXPECT_EQ(at(kLba).version, 1U);
  EXPECT_EQ(at(kLba).state, StampState::good);
}

TEST_F(DiskTest, VerdictsDelayAndFail) {
  given("disk 0 delay 5ms\ndisk 1 eio\ndisk 2 enospc\ndisk 3 short 2\n");
  write(1);
  EXPECT_EQ(now_, schedule_.settings.disk_write_ns + 5 * kMillisecond);
  start_write(2);
  EXPECT_EQ(finish().done.status, DiskStatus::io_error);
  start_write(3);
  EXPECT_EQ(finish().done.status, DiskStatus::no_space);
  EXPECT_EQ(at(kLba).version, 1U) << "nothing was transferred";
  start_write(4, 3);
  EXPECT_EQ(finish().done.status, DiskStatus::io_error);
  EXPECT_EQ(at(kLba).version, 4U);
  EXPECT_EQ(at(kLba + 1).version, 4U);
  EXPECT_EQ(at(kLba + 2).version, kFormatted) << "the third sector of a short write";
  EXPECT_EQ(disk_->errors(), 3U);
}

TEST_F(DiskTest, ACrashWithoutAChoiceLeavesUnfinishedSectorsOldAndDoneOnesNew) {
  given();
  write(1);
  start_write(2, 2);
  EXPECT_THAT(crash(0), ::testing::ElementsAre(kLba, kLba + 1));
  EXPECT_EQ(at(kLba).version, 1U);
  EXPECT_EQ(at(kLba + 1).version, kFormatted);
  EXPECT_EQ(disk_->in_flight(), 0U);
}

TEST_F(DiskTest, ACompletionOfALifeThatACrashEndedChangesNothing) {
  given();
  start_write(1);
  crash(0);
  EXPECT_FALSE(finish().current);
  EXPECT_EQ(at(kLba).version, kFormatted);
}

TEST_F(DiskTest, ACrashLeavesEachUnfinishedSectorOldNewOrTornAndTheSameForTheSameChoice) {
  std::set<std::string> outcomes;
  for (std::int64_t choice = 1; choice <= 20; ++choice) {
    std::string first;
    for (int again = 0; again < 2; ++again) {
      given();
      write(1, kSectors);
      start_write(2, kSectors);
      crash(choice);
      queue_.pop();
      std::string left;
      std::uint64_t torn = 0;
      for (std::uint64_t lba = kLba; lba < kLba + kSectors; ++lba) {
        const Stamp stamp = at(lba);
        const bool broken = stamp.state == StampState::broken;
        torn += broken ? 1 : 0;
        left += broken ? 't' : stamp.version == 1 ? 'o' : 'n';
      }
      EXPECT_EQ(disk_->torn(), torn);
      if (again == 0) {
        first = left;
      }
      EXPECT_EQ(left, first);
    }
    outcomes.insert(first);
  }
  const auto any = [&](char letter) {
    return std::any_of(outcomes.begin(), outcomes.end(), [&](const std::string& outcome) {
      return outcome.find(letter) != std::string::npos;
    });
  };
  EXPECT_TRUE(any('o') && any('n') && any('t'));
  EXPECT_GT(outcomes.size(), 10U) << "choices differ";
}

TEST_F(DiskTest, AVolatileCacheLosesWhatWasNotFlushed) {
  given("set volatile_write_cache 1\n");
  write(1);
  flush();
  write(2);
  EXPECT_EQ(at(kLba).version, 2U);
  EXPECT_THAT(crash(0), ::testing::IsEmpty());
  EXPECT_EQ(at(kLba).version, 1U);
}

TEST_F(DiskTest, WithoutACacheACrashLosesNothingThatWasDone) {
  given();
  write(1);
  crash(0);
  EXPECT_EQ(at(kLba).version, 1U);
}

TEST(Stamp, ASectorTellsWhereItCameFromAndEveryByteCounts) {
  std::vector<std::byte> sector(kSectorBytes);
  write_stamp(sector, 9, 5);
  EXPECT_EQ(read_stamp(sector, 5).state, StampState::good);
  EXPECT_EQ(read_stamp(sector, 5).version, 9U);
  EXPECT_EQ(read_stamp(sector, 6).state, StampState::misplaced);
  for (std::size_t i = 0; i < kSectorBytes; ++i) {
    sector[i] ^= std::byte{1};
    EXPECT_NE(read_stamp(sector, 5).state, StampState::good) << "byte " << i;
    sector[i] ^= std::byte{1};
  }
}

TEST_F(DiskTest, AFlushCoversWhatHadEndedWhenItBegan) {
  given("set synced_in_groups 1\n");
  write(1);
  disk_->start(DiskOp{.id = 9, .kind = DiskOpKind::flush, .lba = 0, .sectors = 0, .data = {}},
               now_);
  const Event flush_ends = queue_.pop();
  start_write(2);
  now_ = flush_ends.time;
  EXPECT_EQ(disk_->complete(queue_.pop().arg, now_).done.id, 2U);
  EXPECT_EQ(disk_->complete(flush_ends.arg, now_).done.status, DiskStatus::ok);
  EXPECT_EQ(at(kLba).version, 2U);
  crash(0);
  EXPECT_EQ(at(kLba).version, 1U);
}

TEST_F(DiskTest, WhatAFailedFlushLostNoLaterOneBringsBack) {
  given("set synced_in_groups 1\ndisk 1 eio\n");
  write(1);
  disk_->start(DiskOp{.id = 9, .kind = DiskOpKind::flush, .lba = 0, .sectors = 0, .data = {}},
               now_);
  EXPECT_EQ(finish().done.status, DiskStatus::io_error);
  flush();
  EXPECT_EQ(at(kLba).version, 1U) << "a read still finds it";
  crash(0);
  EXPECT_EQ(at(kLba).version, kFormatted);
}

}  // namespace
}  // namespace sim::disk
