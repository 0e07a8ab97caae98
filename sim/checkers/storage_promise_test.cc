#include "sim/checkers/storage_promise.h"

#include <gtest/gtest.h>

#include <array>

namespace sim::checkers {
namespace {

using target::engine::DiskOp;
using target::engine::DiskOpKind;
using target::engine::DiskStatus;

constexpr target::wire::MacAddress kAlice{{2, 0, 0, 0, 0, 1}};
constexpr target::wire::MacAddress kBob{{2, 0, 0, 0, 0, 2}};

// One sector at a time, and what is said of it.
class Told {
 public:
  std::uint32_t write(std::uint64_t lba, disk::Version version,
                      const target::wire::MacAddress& who = kAlice) {
    disk::write_stamp(sector_, version, lba);
    return start(
        {.kind = DiskOpKind::write, .lba = lba, .sectors = 1, .data = sector_, .initiator = who});
  }
  std::uint32_t read(std::uint64_t lba) {
    return start(
        {.kind = DiskOpKind::read, .lba = lba, .sectors = 1, .data = sector_, .initiator = kBob});
  }
  std::uint32_t flush() { return start({.kind = DiskOpKind::flush, .data = {}}); }
  void good(std::uint32_t id) { promise.ended(id, DiskStatus::ok); }
  void bad(std::uint32_t id) { promise.ended(id, DiskStatus::io_error); }
  void fails_below(std::uint64_t lba, disk::Version version) {
    std::array<std::byte, disk::kSectorBytes> content{};
    disk::write_stamp(content, version, lba);
    promise.disk_ended(DiskOpKind::write, lba, content, DiskStatus::io_error);
  }
  std::string said() const {
    return findings.list().empty() ? std::string() : findings.list().front().signature;
  }
  Findings findings;
  StoragePromise promise{64, findings};

 private:
  std::uint32_t start(DiskOp operation) {
    operation.id = ++id_;
    promise.started(operation);
    return operation.id;
  }
  std::array<std::byte, disk::kSectorBytes> sector_{};
  std::uint32_t id_ = 0;
};

// A write that was acknowledged and then lost by the disk.
void lose(Told& t, std::uint64_t lba = 3) {
  t.good(t.write(lba, 7));
  t.fails_below(lba, 7);
  EXPECT_TRUE(t.promise.lost(lba, 1));
}

TEST(StoragePromise, WhatIsLostReadsAsAnErrorUntilItIsWrittenAnew) {
  Told t;
  lose(t);
  t.bad(t.read(3));
  t.bad(t.write(9, 8));  // Alice is told
  t.good(t.write(3, 9));
  t.good(t.read(3));
  t.good(t.flush());
  EXPECT_EQ(t.said(), "");
}

TEST(StoragePromise, ReadingItAllTheSameIsFound) {
  Told t;
  lose(t);
  t.good(t.read(3));
  EXPECT_EQ(t.said(), "storage:lost-read");
}

TEST(StoragePromise, AGoodFlushIsFound) {
  Told t;
  lose(t);
  t.good(t.flush());
  EXPECT_EQ(t.said(), "storage:false-flush");
}

TEST(StoragePromise, WhoWasNotToldIsFoundAndOnlyWhoWroteItIsOwedThat) {
  Told t;
  lose(t);
  t.good(t.write(20, 8, kBob));
  EXPECT_EQ(t.said(), "");
  t.good(t.write(21, 9, kAlice));
  EXPECT_EQ(t.said(), "storage:untold");
}

TEST(StoragePromise, ARefusalWithoutAReasonIsFound) {
  Told t;
  t.bad(t.read(1));
  EXPECT_EQ(t.said(), "storage:refused");
}

TEST(StoragePromise, AWriteThatWaitsForTheDiskFailsByItself) {
  Told t;
  const auto through = t.write(5, 4);
  t.fails_below(5, 4);
  t.bad(through);
  EXPECT_FALSE(t.promise.lost(5, 1));
  t.good(t.read(5));
  t.good(t.write(6, 5));
  EXPECT_EQ(t.said(), "");
}

TEST(StoragePromise, ACrashEndsAllDebts) {
  Told t;
  lose(t);
  t.promise.crash();
  t.good(t.read(3));
  t.good(t.write(9, 8));
  EXPECT_EQ(t.said(), "");
}

}  // namespace
}  // namespace sim::checkers
