// Where slots lie: aligned data, room for every header, nothing shared.
#include "target/engine/slots.h"

#include <gtest/gtest.h>

#include <cstring>

namespace target::engine {
namespace {

TEST(Slots, DataIsAlignedAndFollowsTheHeader) {
  for (const std::size_t frame_bytes : {1514U, 4132U, 9014U, 65549U}) {
    Slots slots(5, frame_bytes);
    for (std::uint32_t i = 0; i < 5; ++i) {
      const std::uint32_t slot = slots.take();
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slots.data(slot).data()) % kDataAlignmentBytes,
                0U);
      EXPECT_EQ(slots.frame(slot).size(), frame_bytes);
      EXPECT_EQ(slots.data(slot).data(), slots.frame(slot).data() + 36);
    }
  }
}

TEST(Slots, WholeFramesDoNotTouchEachOther) {
  for (const std::size_t frame_bytes : {1514U, 4096U - 64U + 36U, 4096U - 63U + 36U, 9014U}) {
    Slots slots(3, frame_bytes);
    for (std::uint32_t slot = 0; slot < 3; ++slot) {
      std::memset(slots.frame(slot).data(), static_cast<int>(slot + 1), frame_bytes);
    }
    for (std::uint32_t slot = 0; slot < 3; ++slot) {
      for (const std::byte byte : slots.frame(slot)) {
        ASSERT_EQ(byte, static_cast<std::byte>(slot + 1));
      }
    }
  }
}

TEST(Slots, CountsWhatIsFree) {
  Slots slots(2, 1514);
  EXPECT_EQ(slots.free_count(), 2U);
  const std::uint32_t first = slots.take();
  const std::uint32_t second = slots.take();
  EXPECT_NE(first, second);
  EXPECT_EQ(slots.free_count(), 0U);
  slots.give_back(first);
  EXPECT_EQ(slots.take(), first);
}

}  // namespace
}  // namespace target::engine
