#include "conformance/observer/shadow_disk.h"

#include <gtest/gtest.h>

namespace conformance::observer {
namespace {

TEST(ShadowDisk, RemembersSectorsByTargetAndLba) {
  ShadowDisk disk;
  disk.obtain(0, 7).current = 1;
  disk.obtain(1, 7).current = 2;
  ASSERT_NE(disk.find(0, 7), nullptr);
  EXPECT_EQ(disk.find(0, 7)->current, 1U);
  EXPECT_EQ(disk.find(1, 7)->current, 2U);
  EXPECT_EQ(disk.find(0, 8), nullptr);
}

TEST(ShadowDisk, ForgetsWhatItIsTold) {
  ShadowDisk disk;
  disk.obtain(3, 9).known = true;
  disk.forget(3, 9);
  EXPECT_EQ(disk.find(3, 9), nullptr);
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
