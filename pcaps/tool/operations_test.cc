#include "pcaps/tool/operations.h"

#include <gtest/gtest.h>

#include "conformance/observer/test_frames.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in

constexpr Nanoseconds kSecondNs = 1'000'000'000;

struct Felt {
  Scene scene;
  Operations operations;
  explicit Felt(std::uint32_t kept = kOperationsKept) : operations(nullptr, kept) {
    scene.tracker().add_observer(&operations);
  }
  OperationCounts end() {
    scene.finish();
    return operations.sum();
  }
};

TEST(Operations, AReadAskedAgainUnderANewTagIsOneThatTookLong) {
  Felt felt;
  felt.scene.add(read_request(kAlice, 1, 5, 2))
      .wait(4 * kSecondNs)
      .add(read_request(kAlice, 2, 5, 2))
      .wait(8 * kSecondNs)
      .add(read_request(kAlice, 3, 5, 2))
      .add(read_reply(kAlice, 3, 5, 'a', 2));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 1U);
  EXPECT_EQ(c.answered, 1U);
  EXPECT_EQ(c.never, 0U);
  EXPECT_EQ(c.askings, 3U);
  EXPECT_EQ(c.lost, 2U);
  EXPECT_EQ(c.again_new_tag, 2U);
  EXPECT_EQ(c.latency.max_ns(), 12 * kSecondNs + 3 * kStepNs);
  EXPECT_EQ(c.again_after.min_ns(), 4 * kSecondNs + kStepNs);
  EXPECT_EQ(c.again_after.max_ns(), 8 * kSecondNs + kStepNs);
  ASSERT_EQ(felt.operations.slowest().size(), 1U);
  const Operation& slow = felt.operations.slowest()[0];
  ASSERT_EQ(slow.askings.size(), 3U);
  EXPECT_EQ(slow.askings[0].tag, 1U);
  EXPECT_EQ(slow.askings[2].frame, 3U);
  EXPECT_EQ(slow.answer_frame, 4U);
}

TEST(Operations, ALateAnswerToAnEarlierAskingEndsIt) {
  Felt felt;
  felt.scene.add(read_request(kAlice, 1, 5))
      .add(read_request(kAlice, 2, 5))
      .add(read_reply(kAlice, 1, 5, 'a'))
      .add(read_reply(kAlice, 2, 5, 'a'));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.answered, 1U);
  EXPECT_EQ(c.lost, 0U) << "both askings had a reply";
  EXPECT_EQ(c.latency.max_ns(), 2 * kStepNs);
}

TEST(Operations, OneThatWasSplitEndsWithItsLastPart) {
  Felt felt;
  felt.scene.add(write_request(kAlice, 1, 100, 'a', 4))
      .wait(kSecondNs)
      .add(write_request(kAlice, 2, 100, 'a', 2))
      .add(write_request(kAlice, 3, 102, 'a', 2))
      .add(write_reply(kAlice, 2, 100))
      .add(write_reply(kAlice, 3, 102));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 1U);
  EXPECT_EQ(c.answered, 1U);
  EXPECT_EQ(c.again_in_part, 2U);
  EXPECT_EQ(c.latency.max_ns(), kSecondNs + 4 * kStepNs);
  EXPECT_EQ(c.lost, 1U);
}

TEST(Operations, AnotherWriteToTheSameSectorIsAnotherOperation) {
  Felt felt;
  felt.scene.add(write_request(kAlice, 1, 5, 'a'))
      .add(write_request(kAlice, 2, 5, 'b'))
      .add(write_reply(kAlice, 1, 5))
      .add(write_reply(kAlice, 2, 5));
  EXPECT_EQ(felt.end().operations, 2U);
}

TEST(Operations, AProbeUnderAnotherTagIsAnotherProbe) {
  Felt felt;
  for (std::uint32_t tag = 1; tag <= 20; ++tag) {
    felt.scene.add(table(request(kAlice, kCommandExtensions, tag), "congestion,7"));
  }
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 20U);
  EXPECT_EQ(c.again_new_tag, 0U);
}

TEST(Operations, TheDriversDiscoveryOnceAMinuteIsANewRequestEachTime) {
  Felt felt;
  felt.scene.add(config(request(kAlice, kCommandConfig, 0), 0, ""))
      .wait(60 * kSecondNs)
      .add(config(request(kAlice, kCommandConfig, 0), 0, ""))
      .add(config(reply(kAlice, kCommandConfig, 0), 0, ""));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 2U);
  EXPECT_EQ(c.never, 1U);
  EXPECT_EQ(c.lost, 1U);
  EXPECT_EQ(c.latency.max_ns(), kStepNs);
}

TEST(Operations, WhatWaitsIsKeptLongerThanWhatIsDone) {
  Felt felt(100);
  felt.scene.add(read_request(kAlice, 1, 7));
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    felt.scene.add(read_request(kAlice, 10 + i, 1'000 + i));
    felt.scene.add(read_reply(kAlice, 10 + i, 1'000 + i, 'a'));
  }
  felt.scene.add(read_request(kAlice, 2, 7)).add(read_reply(kAlice, 2, 7, 'a'));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 1'001U);
  EXPECT_EQ(c.never, 0U);
  EXPECT_EQ(c.latency.max_ns(), 2'002 * kStepNs);
}

TEST(Operations, AFloodThatNobodyAnswersIsCountedToTheLast) {
  Felt felt(100);
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    felt.scene.add(read_request(kAlice, i, i));
  }
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 1'000U);
  EXPECT_EQ(c.never, 1'000U);
  EXPECT_EQ(c.lost, 1'000U);
}

TEST(Operations, ALongChainKeepsItsFirstAndItsLastAskings) {
  Felt felt;
  for (std::uint32_t tag = 1; tag <= 1'000; ++tag) {
    felt.scene.add(read_request(kAlice, tag, 5));
  }
  felt.scene.add(read_reply(kAlice, 1'000, 5, 'a'));
  const OperationCounts c = felt.end();
  EXPECT_EQ(c.operations, 1U);
  EXPECT_EQ(c.lost, 999U);
  const Operation& slow = felt.operations.slowest().at(0);
  EXPECT_EQ(slow.asked(), 1'000U);
  EXPECT_EQ(slow.askings.front().tag, 1U);
  EXPECT_EQ(slow.askings.back().tag, 1'000U);
  EXPECT_LE(slow.askings.size(), kAskingsKept);
}

}  // namespace
}  // namespace pcaps
