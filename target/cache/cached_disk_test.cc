// The cache between a shell's disk interface and a scripted disk, on a scripted clock.
#include "target/cache/cached_disk.h"

#include <gtest/gtest.h>

#include <array>

#include "target/shell/fake_surroundings.h"

namespace target::cache {
namespace {

using shell::DiskCompletion;

class CachedDiskTest : public ::testing::Test {
 protected:
  static CacheConfig config() { return {.sectors = 64, .write_behind = true, .pages = 16}; }
  shell::test::FakeClock clock;
  shell::test::FakeDisk below;
  CachedDisk disk{below, clock, config()};
  std::array<std::byte, kSectorBytes> data{};
  std::vector<DiskCompletion> done;
};

TEST_F(CachedDiskTest, WakesByItselfForWhatIsToBeWritten) {
  disk.start({{engine::DiskOp{7, DiskOpKind::write, 3, 1, data}}});
  disk.reap(done);
  ASSERT_EQ(done.size(), 1U);  // from memory
  EXPECT_EQ(done[0].id, 7U);
  EXPECT_TRUE(below.in_flight.empty());
  EXPECT_GT(disk.deadline(), clock.time);
  clock.time = disk.deadline() - 1;
  disk.reap(done);
  EXPECT_TRUE(below.in_flight.empty());
  clock.time += 1;
  disk.reap(done);
  ASSERT_EQ(below.in_flight.size(), 1U);
  EXPECT_EQ(disk.deadline(), kNever);
  below.end(0);
  disk.reap(done);
  EXPECT_EQ(done.size(), 1U);  // nobody is told twice
  EXPECT_TRUE(disk.cache().idle());
}

TEST_F(CachedDiskTest, AFlushGoesBelowWhenItsDirtIs) {
  disk.start({{engine::DiskOp{1, DiskOpKind::write, 3, 1, data},
               engine::DiskOp{2, DiskOpKind::flush, 0, 0, {}}}});
  disk.reap(done);
  ASSERT_EQ(below.in_flight.size(), 1U);
  EXPECT_EQ(below.in_flight[0].kind, DiskOpKind::write);
  below.end(0);
  disk.reap(done);
  ASSERT_EQ(below.in_flight.size(), 1U);
  EXPECT_EQ(below.in_flight[0].kind, DiskOpKind::flush);
  EXPECT_EQ(done.size(), 1U);
  below.end(0);
  disk.reap(done);
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[1].id, 2U);
  EXPECT_EQ(done[1].status, DiskStatus::ok);
}

}  // namespace
}  // namespace target::cache
