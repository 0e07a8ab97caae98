// Rules by content: which copies go, when, and which never.
#include "sim/live/write_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "sim/clients/frames.h"

namespace sim::live {
namespace {

using clients::Builder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr target::wire::MacAddress kInitiator{{2, 0, 0, 0, 0, 1}};
constexpr target::wire::MacAddress kTarget{{2, 0, 0, 0, 0, 9}};

std::vector<std::byte> write_frame(std::uint32_t tag, std::uint64_t lba, std::uint8_t sectors,
                                   std::uint8_t fill) {
  std::vector<std::byte> storage(2000);
  Builder builder(storage, kTarget, kInitiator, 1, 1, clients::kAta, tag);
  builder.ata(clients::kWrite48, lba, sectors);
  for (std::byte& b : builder.room(sectors * clients::kSectorBytes)) {
    b = static_cast<std::byte>(fill);
  }
  storage.resize(builder.size());
  return storage;
}

std::vector<std::byte> reply_frame(std::uint32_t tag, std::uint8_t status = 0x40) {
  std::vector<std::byte> storage(60);
  Builder builder(storage, kInitiator, kTarget, 1, 1, clients::kAta, tag);
  builder.ata(status, 0, 0);
  builder.pad();
  storage[14] |= std::byte{8};
  storage[24] = std::byte{0x41};
  return storage;
}

TEST(HoldCopies, ACopyGoesWhenANewerWriteToItsSectorsWasAnswered) {
  WriteRules rules(WriteRule::hold_copies);
  const auto old = write_frame(1, 10, 2, 0xaa);
  rules.came_in(old, 5);
  EXPECT_THAT(rules.answered(reply_frame(1)), IsEmpty());
  rules.came_in(write_frame(2, 12, 2, 0xbb), 6);
  EXPECT_THAT(rules.answered(reply_frame(2)), IsEmpty());  // beside it
  rules.came_in(write_frame(3, 11, 1, 0xcc), 7);
  EXPECT_THAT(rules.answered(reply_frame(3, 0x41)), IsEmpty());  // it failed
  const auto gone = rules.answered(reply_frame(3));
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_EQ(gone[0].bytes, old);
  EXPECT_EQ(gone[0].index, 5U);
  EXPECT_THAT(rules.answered(reply_frame(3)), IsEmpty());  // once
  EXPECT_EQ(rules.let_go(), 1U);
}

TEST(HoldCopies, ARepetitionUnderTheSameTagIsNoNewerWrite) {
  WriteRules rules(WriteRule::hold_copies);
  rules.came_in(write_frame(1, 10, 2, 0xaa), 0);
  rules.came_in(write_frame(1, 10, 2, 0xaa), 1);
  EXPECT_THAT(rules.answered(reply_frame(1)), IsEmpty());
}

TEST(HoldCopies, AListOfResultsIsReadWhole) {
  WriteRules rules(WriteRule::hold_copies);
  rules.came_in(write_frame(1, 10, 1, 0xaa), 0);
  rules.came_in(write_frame(2, 20, 1, 0xaa), 1);
  rules.came_in(write_frame(3, 10, 1, 0xbb), 2);
  auto reply = reply_frame(2);
  reply[36] = std::byte{1};
  reply[40] = std::byte{3};     // tag
  reply[44] = std::byte{0x40};  // status
  EXPECT_THAT(rules.answered(reply), SizeIs(1));
}

TEST(HoldCopies, OnlyTheSectorsThatWereNamed) {
  WriteRules rules(WriteRule::hold_copies, {100, 8});
  rules.came_in(write_frame(1, 10, 1, 0xaa), 0);
  rules.came_in(write_frame(2, 10, 1, 0xbb), 1);
  EXPECT_THAT(rules.answered(reply_frame(2)), IsEmpty());
  rules.came_in(write_frame(3, 99, 2, 0xaa), 2);
  rules.came_in(write_frame(4, 99, 2, 0xbb), 3);
  EXPECT_THAT(rules.answered(reply_frame(4)), SizeIs(1));
}

TEST(NewestLast, AnOlderWriteDoesNotLeaveAfterANewerOne) {
  WriteRules rules(WriteRule::newest_last);
  const auto old = write_frame(1, 10, 2, 0xaa);
  const auto newer = write_frame(2, 11, 2, 0xbb);
  const auto beside = write_frame(3, 13, 1, 0xcc);
  rules.came_in(old, 0);
  rules.came_in(newer, 1);
  rules.came_in(beside, 2);
  EXPECT_TRUE(rules.may_leave(old));
  EXPECT_TRUE(rules.may_leave(old));
  EXPECT_TRUE(rules.may_leave(newer));
  EXPECT_FALSE(rules.may_leave(old));
  EXPECT_TRUE(rules.may_leave(newer));
  EXPECT_TRUE(rules.may_leave(beside));
  EXPECT_EQ(rules.held_back(), 1U);
}

TEST(NewestLast, ARepetitionUnderANewTagIsNew) {
  WriteRules rules(WriteRule::newest_last);
  const auto first = write_frame(1, 10, 2, 0xaa);
  const auto newer = write_frame(2, 10, 2, 0xbb);
  const auto again = write_frame(3, 10, 2, 0xaa);
  for (const auto* frame : {&first, &newer, &again}) {
    rules.came_in(*frame, 0);
  }
  EXPECT_TRUE(rules.may_leave(newer));
  EXPECT_FALSE(rules.may_leave(first));
  EXPECT_TRUE(rules.may_leave(again));
}

TEST(NewestLast, WhatWasForgottenIsTooOldToLeave) {
  WriteRules rules(WriteRule::newest_last);
  const auto old = write_frame(1, 10, 1, 0xaa);
  rules.came_in(old, 0);
  EXPECT_TRUE(rules.may_leave(old));
  for (std::uint32_t tag = 2; tag < 20'000; ++tag) {
    rules.came_in(write_frame(tag, 100, 1, 0xbb), tag);
  }
  EXPECT_FALSE(rules.may_leave(old));
}

TEST(Rules, LiveThroughFramesOfEveryLength) {
  for (const WriteRule rule : {WriteRule::hold_copies, WriteRule::newest_last}) {
    WriteRules rules(rule);
    const auto frame = write_frame(1, 10, 2, 0xff);
    auto reply = reply_frame(1);
    reply[36] = std::byte{255};
    for (std::size_t n = 0; n <= 60; ++n) {
      rules.came_in(std::span(frame).first(n), 0);
      rules.may_leave(std::span(frame).first(n));
      rules.answered(std::span(reply).first(n));
    }
  }
}

TEST(Rules, WordsOfTheCommandLine) {
  EXPECT_EQ(parse_write_rule("hold-write-copies"), WriteRule::hold_copies);
  EXPECT_EQ(parse_write_rule("newest-write-last"), WriteRule::newest_last);
  EXPECT_EQ(parse_sector_range("8:16").sectors, 16U);
  for (const char* wrong : {"", "8", "8:", "8:0", "a:1", "1:2x", ":3"}) {
    EXPECT_THROW(parse_sector_range(wrong), std::runtime_error) << wrong;
  }
  try {
    parse_write_rule("held");
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("hold-write-copies"));
  }
}

}  // namespace
}  // namespace sim::live
