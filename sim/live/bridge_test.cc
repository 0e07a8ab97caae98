// The bridge in given time: what comes out, when, and what is told of it.
#include "sim/live/bridge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/live/profile.h"

namespace sim::live {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kFrameBytes = 60;
constexpr std::size_t kMostBytes = 100;

std::vector<std::byte> frame(int number) {
  std::vector<std::byte> bytes(kFrameBytes);
  bytes[12] = std::byte{0x88};
  bytes[13] = std::byte{0xa2};
  bytes[14] = static_cast<std::byte>(number);
  return bytes;
}

class BridgeTest : public ::testing::Test {
 protected:
  void given(const std::string& verdicts) {
    schedule_ = parse_schedule("aoe-sim 1\ninitiator a linux\n" + verdicts);
    faults_.emplace(schedule_);
    bridge_.emplace(*faults_, true, std::array{kMostBytes, kMostBytes},
                    [this](Side to, std::span<const std::byte> bytes) {
                      sent_[static_cast<std::size_t>(to)].emplace_back(bytes.begin(), bytes.end());
                      return wire_takes_;
                    });
  }
  // The numbers of the frames that came out, and none from now on.
  std::vector<int> numbers(Side side = Side::t) {
    std::vector<int> found;
    for (const auto& bytes : sent_[static_cast<std::size_t>(side)]) {
      found.push_back(static_cast<int>(bytes[14]));
    }
    sent_[static_cast<std::size_t>(side)].clear();
    return found;
  }

  Schedule schedule_;
  std::optional<Faults> faults_;
  std::optional<Bridge> bridge_;
  std::array<std::vector<std::vector<std::byte>>, kSides> sent_;
  bool wire_takes_ = true;
};

TEST_F(BridgeTest, PassesBothWaysAtOnceWithoutVerdicts) {
  given("");
  bridge_->come_in(Side::a, frame(1), 0);
  bridge_->come_in(Side::t, frame(2), 0);
  EXPECT_THAT(numbers(Side::t), ElementsAre(1));
  EXPECT_THAT(numbers(Side::a), ElementsAre(2));
  EXPECT_EQ(bridge_->next(), std::nullopt);
  EXPECT_THAT(bridge_->done(), IsEmpty());
}

TEST_F(BridgeTest, ADelayedFrameComesInItsTimeAndNotBefore) {
  given("frame a>sw 0 delay 5ms\n");
  bridge_->come_in(Side::a, frame(1), 100);
  bridge_->come_in(Side::a, frame(2), 200);
  EXPECT_THAT(numbers(), ElementsAre(2));
  EXPECT_EQ(bridge_->next(), 5 * kMillisecond + 100);
  bridge_->run(5 * kMillisecond + 99);
  EXPECT_THAT(numbers(), IsEmpty());
  bridge_->run(5 * kMillisecond + 100);
  EXPECT_THAT(numbers(), ElementsAre(1));
}

TEST_F(BridgeTest, DelaysOfBothLinksAddUp) {
  given("frame a>sw 0 delay 5ms\nframe sw>t 0 delay 2ms\n");
  bridge_->come_in(Side::a, frame(1), 0);
  bridge_->run(5 * kMillisecond);
  EXPECT_THAT(numbers(), IsEmpty());
  EXPECT_EQ(bridge_->next(), 7 * kMillisecond);
}

TEST_F(BridgeTest, ADuplicateComesAfterTheFrameItself) {
  given("frame a>sw 0 duplicate 3ms\n");
  bridge_->come_in(Side::a, frame(1), 0);
  EXPECT_THAT(numbers(), ElementsAre(1));
  bridge_->run(3 * kMillisecond);
  EXPECT_THAT(numbers(), ElementsAre(1));
  EXPECT_EQ(bridge_->counters(Side::a).out, 2U);
}

TEST_F(BridgeTest, AHeldFrameIsOvertakenByAsManyAsSaid) {
  given("frame a>sw 0 hold 2\n");
  for (int number = 1; number <= 4; ++number) {
    bridge_->come_in(Side::a, frame(number), 0);
  }
  EXPECT_THAT(numbers(), ElementsAre(2, 3, 1, 4));
}

TEST_F(BridgeTest, AHeldFrameThatNothingOvertakesComesAfterASecond) {
  given("frame t>sw 0 hold 1\n");
  bridge_->come_in(Side::t, frame(1), 0);
  EXPECT_EQ(bridge_->waiting(), 1U);
  EXPECT_EQ(bridge_->next(), kSecond);
  bridge_->run(kSecond);
  EXPECT_THAT(numbers(Side::a), ElementsAre(1));
  EXPECT_EQ(bridge_->waiting(), 0U);
}

TEST_F(BridgeTest, WhatIsDroppedIsCountedAndTold) {
  given("frame a>sw 0 drop\nframe a>sw 2 bad-fcs\nframe a>sw 3 full\n");
  for (int number = 1; number <= 4; ++number) {
    bridge_->come_in(Side::a, frame(number), 0);
  }
  EXPECT_THAT(numbers(), ElementsAre(2));
  EXPECT_EQ(describe(Side::a, bridge_->counters(Side::a)),
            "a>t in 4 out 1 drop 1 bad-fcs 1 full 1");
  EXPECT_EQ(bridge_->done(), schedule_.frame_faults);
}

TEST_F(BridgeTest, BytesAreCutPaddedAndFlipped) {
  given(
      "frame a>sw 0 truncate 20\nframe a>sw 1 pad 8\nframe a>sw 2 pad 5000\n"
      "frame a>sw 3 flip 113\nframe a>sw 4 truncate 13\n");
  for (int number = 1; number <= 5; ++number) {
    bridge_->come_in(Side::a, frame(number), 0);
  }
  const auto& sent = sent_[static_cast<std::size_t>(Side::t)];
  ASSERT_EQ(sent.size(), 4U);
  EXPECT_EQ(sent[0].size(), 20U);
  EXPECT_EQ(sent[1].size(), kFrameBytes + 8);
  EXPECT_EQ(sent[2].size(), kMostBytes) << "no longer than the interface takes";
  EXPECT_EQ(sent[3][14], std::byte{4 ^ 2});
  EXPECT_EQ(bridge_->counters(Side::a).unsent, 1U) << "shorter than a header";
}

TEST_F(BridgeTest, NeighboursAreNeitherJudgedNorNumbered) {
  given("frame a>sw 0 drop\n");
  std::vector<std::byte> arp = frame(9);
  arp[13] = std::byte{0x06};
  bridge_->come_in(Side::a, arp, 0);
  bridge_->come_in(Side::a, frame(1), 0);
  EXPECT_THAT(numbers(), ElementsAre(9));
  EXPECT_EQ(bridge_->judged(), 1U);
}

TEST_F(BridgeTest, WhatTheWireRefusesIsNotCountedAsOut) {
  given("");
  wire_takes_ = false;
  bridge_->come_in(Side::a, frame(1), 0);
  EXPECT_EQ(bridge_->counters(Side::a).out, 0U);
  EXPECT_EQ(bridge_->counters(Side::a).unsent, 1U);
}

TEST(BridgeProfile, RatesAreReadAndMistakesNameTheirLine) {
  const Swarm swarm = parse_rates("# comment\n\ndrop 10\n delay 20 3ms\n");
  EXPECT_EQ(swarm.drop, 10U);
  EXPECT_EQ(swarm.delay, 20U);
  EXPECT_EQ(swarm.delay_max, 3 * kMillisecond);
  EXPECT_EQ(swarm.duplicate, 0U);
  for (const auto& [text, said] : std::vector<std::pair<std::string, std::string>>{
           {"drop 10\ndrip 1\n", "line 2: \"drip\" is no kind of fault"},
           {"drop 1000001\n", "a whole number up to 1000000"},
           {"drop\n", "not \"\""},
           {"drop 5 3ms\n", "\"3ms\" is too much"},
           {"delay 5\n", "such as 20ms"},
           {"delay 5 20ns\n", "at least 1us"}}) {
    try {
      parse_rates(text);
      ADD_FAILURE() << "taken: " << text;
    } catch (const ScheduleError& error) {
      EXPECT_THAT(error.what(), HasSubstr(said));
    }
  }
}

// A write of one sector, and its reply, as rules read them.
std::vector<std::byte> write(std::uint8_t tag, std::uint8_t fill) {
  std::vector<std::byte> bytes(36 + 512, static_cast<std::byte>(fill));
  const std::array<int, 36> head = {2,    0,    0,    0,    0, 9, 2, 0, 0, 0, 0, 1,
                                    0x88, 0xa2, 0x10, 0,    0, 1, 1, 0, 0, 0, 0, 0,
                                    0x41, 0,    1,    0x34, 5, 0, 0, 0, 0, 0, 0, 0};
  for (std::size_t i = 0; i < head.size(); ++i) {
    bytes[i] = static_cast<std::byte>(head[i]);
  }
  bytes[23] = static_cast<std::byte>(tag);
  return bytes;
}
std::vector<std::byte> done(std::uint8_t tag) {
  std::vector<std::byte> bytes = write(tag, 0);
  bytes.resize(60);
  bytes[5] = std::byte{1};
  bytes[11] = std::byte{9};
  bytes[14] = std::byte{0x18};
  bytes[27] = std::byte{0x40};
  return bytes;
}

class RuleTest : public ::testing::Test {
 protected:
  void given(WriteRule rule, const std::string& verdicts) {
    schedule_ = parse_schedule("aoe-sim 1\ninitiator a linux\n" + verdicts);
    faults_.emplace(schedule_);
    bridge_.emplace(*faults_, true, std::array<std::size_t, 2>{1514, 1514},
                    [this](Side to, std::span<const std::byte> bytes) {
                      if (to == Side::t) {
                        fills_.push_back(static_cast<int>(bytes[40]));
                      }
                      return true;
                    });
    bridge_->obey(rule, {});
  }
  Schedule schedule_;
  std::optional<Faults> faults_;
  std::optional<Bridge> bridge_;
  std::vector<int> fills_;
};

TEST_F(RuleTest, ACopyFollowsTheAnswerToANewerWriteAndIsInTheRecordAsADuplicate) {
  given(WriteRule::hold_copies, "");
  bridge_->come_in(Side::a, write(1, 0xaa), 100);
  bridge_->come_in(Side::t, done(1), 200);
  bridge_->come_in(Side::a, write(2, 0xbb), 300);
  EXPECT_THAT(fills_, ElementsAre(0xaa, 0xbb));
  bridge_->come_in(Side::t, done(2), 400);
  EXPECT_THAT(fills_, ElementsAre(0xaa, 0xbb, 0xaa));
  const FrameFault told{link_up(kInitiatorHost), 0, FrameFaultKind::duplicate, 300};
  EXPECT_THAT(bridge_->done(), ElementsAre(told));
  EXPECT_THAT(describe(Side::a, bridge_->counters(Side::a)), HasSubstr("copied 1"));
}

TEST_F(RuleTest, ALateCopyIsHeldBackAndTheRecordDoesNotHaveIt) {
  given(WriteRule::newest_last, "frame a>sw 0 duplicate 1ms\nframe a>sw 1 delay 5ms\n");
  bridge_->come_in(Side::a, write(1, 0xaa), 0);
  bridge_->come_in(Side::a, write(2, 0xbb), 100);
  bridge_->come_in(Side::a, write(3, 0xcc), 200);
  bridge_->run(kSecond);
  EXPECT_THAT(fills_, ElementsAre(0xaa, 0xcc));
  EXPECT_THAT(describe(Side::a, bridge_->counters(Side::a)), HasSubstr("ruled 2"));
  const FrameFault late{link_up(kInitiatorHost), 1, FrameFaultKind::delay, 5 * kMillisecond};
  const FrameFault lost{link_up(kInitiatorHost), 1, FrameFaultKind::drop, 0};
  EXPECT_THAT(bridge_->done(), ElementsAre(late, lost));
}

}  // namespace
}  // namespace sim::live
