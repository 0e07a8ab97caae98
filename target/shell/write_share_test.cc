// A source that keeps more writes in operation than it was told it may leaves others their turn.
#include "target/shell/write_share.h"

#include <gtest/gtest.h>

#include "target/engine/test_frames.h"

namespace target::shell {
namespace {

using engine::DiskOp;
using engine::DiskOpKind;
using engine::test::FrameSpec;
using engine::test::mac;
using engine::test::read;
using engine::test::write;

constexpr Nanoseconds kSecond = 1'000'000'000;

std::vector<std::byte> from(FrameSpec frame, std::uint8_t source) {
  frame.source = mac(source);
  return frame.bytes();
}

class WriteShareTest : public ::testing::Test {
 protected:
  bool write_of(std::uint8_t source, Nanoseconds now) {
    return share_.admit(from(write(1, 1, 5, 0xAB), source), now);
  }
  bool read_of(std::uint8_t source, Nanoseconds now) {
    return share_.admit(from(read(1, 1, 5), source), now);
  }
  void start(std::uint32_t id, std::uint8_t source, DiskOpKind kind = DiskOpKind::write) {
    DiskOp operation{id, kind, id, 1, {}};
    operation.initiator = mac(source);
    share_.started(operation);
  }
  WriteShare share_{3};
};

TEST_F(WriteShareTest, WhoIsAloneHasAllThereIs) {
  for (std::uint32_t id = 0; id < 100; ++id) {
    EXPECT_TRUE(write_of(1, id));
    start(id, 1);
  }
  EXPECT_EQ(share_.dropped(), 0U);
}

TEST_F(WriteShareTest, BesideOthersASourceHasAsManyAsItWasTold) {
  EXPECT_TRUE(read_of(2, 0));
  for (std::uint32_t id = 0; id < 3; ++id) {
    EXPECT_TRUE(write_of(1, 1));
    start(id, 1);
  }
  EXPECT_FALSE(write_of(1, 2));
  EXPECT_EQ(share_.dropped(), 1U);
  EXPECT_TRUE(read_of(1, 2)) << "only writes pile up";
  EXPECT_TRUE(write_of(2, 2)) << "the other has its own";
  start(7, 2);
  share_.ended(1);
  EXPECT_TRUE(write_of(1, 3));
  start(1, 1);
  EXPECT_FALSE(write_of(1, 4));
}

TEST_F(WriteShareTest, AnotherWhoIsSilentForASecondIsNoOtherAnyMore) {
  EXPECT_TRUE(read_of(2, 0));
  for (std::uint32_t id = 0; id < 3; ++id) {
    EXPECT_TRUE(write_of(1, 1));
    start(id, 1);
  }
  EXPECT_FALSE(write_of(1, kSecond));
  EXPECT_TRUE(write_of(1, kSecond + 1));
}

// Places of sources whose writes have ended are used anew, and no other's count is touched.
TEST_F(WriteShareTest, ManySourcesOneAfterTheOther) {
  for (std::uint32_t round = 0; round < 50; ++round) {
    for (std::uint8_t source = 1; source <= 4; ++source) {
      const std::uint32_t id = round % 3 * 8 + source;
      share_.ended(id);
      EXPECT_TRUE(write_of(source, round)) << round;
      start(id, source);
    }
    EXPECT_TRUE(read_of(9, round));
  }
  EXPECT_FALSE(write_of(4, 50)) << "three of it are in operation";
}

TEST_F(WriteShareTest, WhatIsNoWriteIsNotCounted) {
  EXPECT_TRUE(read_of(2, 0));
  for (std::uint32_t id = 0; id < 9; ++id) {
    start(id, 1, id % 2 == 0 ? DiskOpKind::read : DiskOpKind::flush);
    share_.ended(100 + id);
  }
  EXPECT_TRUE(write_of(1, 1));
  EXPECT_TRUE(share_.admit(std::vector<std::byte>(20), 1)) << "too short to be anything";
}

}  // namespace
}  // namespace target::shell
