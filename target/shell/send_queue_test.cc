// Replies leave in order and in turns, and whatever cannot leave takes nothing from the others.
#include "target/shell/send_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/shell/fake_surroundings.h"

namespace target::shell::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SendQueueTest : public ::testing::Test {
 protected:
  // A frame for a host, with a name in its last byte.
  static Bytes frame(int host, int name, std::size_t bytes = 60) {
    Bytes result(bytes);
    result[5] = static_cast<std::byte>(host);
    result.back() = static_cast<std::byte>(name);
    return result;
  }
  void send(const std::vector<Bytes>& frames) {
    std::vector<FrameView> views(frames.begin(), frames.end());
    queue_.send(0, views, around_);
  }
  void flush_after(Nanoseconds wait) {
    clock_.time += wait;
    queue_.flush(0, around_);
  }
  std::vector<int> sent() {
    std::vector<int> names;
    for (const Bytes& one : sender_.sent) {
      names.push_back(std::to_integer<int>(one.back()));
    }
    sender_.sent.clear();
    return names;
  }

  FakeClock clock_;
  FakeIntake intake_{1};
  FakeSender sender_;
  FakeDisk disk_;
  FakeNotes notes_;
  Surroundings around_{
      .clock = clock_, .intake = intake_, .sender = sender_, .disk = disk_, .notes = &notes_};
  SendQueue queue_;
};

SendStop full(FrameView) {
  return SendStop::full;
}
SendStop dead(FrameView frame) {
  return frame[5] == std::byte{9} ? SendStop::lost_link : SendStop::none;
}
// The MTU of host 9 is smaller.
SendStop small_mtu(FrameView frame) {
  return frame[5] == std::byte{9} && frame.size() > 1514 ? SendStop::not_now : SendStop::none;
}
SendStop nobody_now(FrameView) {
  return SendStop::not_now;
}

TEST_F(SendQueueTest, WhatIsTakenAtOnceIsOneCallAndNotCopied) {
  send({frame(1, 1), frame(2, 2), frame(1, 3)});
  EXPECT_THAT(sent(), ElementsAre(1, 2, 3));
  EXPECT_EQ(sender_.calls, 1U);
  EXPECT_EQ(queue_.wait(), SendWait::nothing);
  EXPECT_EQ(queue_.counters().frames, 3U);
  EXPECT_EQ(queue_.counters().queued, 0U);
}

TEST_F(SendQueueTest, AFullInterfaceIsWaitedForAndEachHostKeepsItsOrder) {
  sender_.refuse = full;
  send({frame(1, 1), frame(1, 2), frame(2, 3)});
  EXPECT_EQ(queue_.wait(), SendWait::writable);
  EXPECT_EQ(queue_.retry_at(), kNever);
  const std::size_t calls = sender_.calls;
  send({frame(1, 4)});  // must not overtake, nor ask again
  EXPECT_EQ(sender_.calls, calls);
  sender_.refuse = nullptr;
  flush_after(0);
  EXPECT_THAT(sent(), ElementsAre(1, 3, 2, 4)) << "hosts take turns";
  EXPECT_EQ(queue_.wait(), SendWait::nothing);
  EXPECT_EQ(queue_.frames(), 0U);
  EXPECT_EQ(queue_.bytes(), 0U);
}

TEST_F(SendQueueTest, ADeadLinkLosesFramesAndNothingWaits) {
  sender_.refuse = dead;
  send({frame(1, 1), frame(9, 2), frame(1, 3)});
  EXPECT_THAT(sent(), ElementsAre(1, 3));
  EXPECT_EQ(queue_.counters().drops_link, 1U);
  EXPECT_EQ(queue_.frames(), 0U);
}

TEST_F(SendQueueTest, AReplyThatCannotBeSentHoldsUpNobodyElse) {
  sender_.refuse = small_mtu;
  send({frame(9, 1, 4096), frame(1, 2), frame(1, 3)});
  EXPECT_THAT(sent(), ElementsAre(2, 3)) << "past it, at once";
  EXPECT_EQ(queue_.wait(), SendWait::retry);
  send({frame(1, 4), frame(9, 5)});
  EXPECT_THAT(sent(), ElementsAre(4)) << "its own host's order is kept";
  for (std::uint32_t i = 1; i < kSendTriesMax; ++i) {
    EXPECT_EQ(queue_.counters().drops_unsendable, 0U);
    EXPECT_EQ(queue_.retry_at(), clock_.time + kSendRetry_ns);
    flush_after(kSendRetry_ns);
  }
  EXPECT_EQ(queue_.counters().drops_unsendable, 1U);
  flush_after(kSendRetry_ns);
  EXPECT_THAT(sent(), ElementsAre(5)) << "the next goes out";
  EXPECT_EQ(queue_.wait(), SendWait::nothing);
  ASSERT_EQ(notes_.unsendable.size(), 1U);
  EXPECT_EQ(notes_.unsendable[0].first.octets[5], 9);
  EXPECT_EQ(notes_.unsendable[0].second, 4096U);
}

TEST_F(SendQueueTest, AHostThatRefusedAFrameGetsNoSecondTryForTheNextAndOneLineInAll) {
  sender_.refuse = small_mtu;
  send({frame(9, 1, 4096)});
  for (std::uint32_t i = 1; i < kSendTriesMax; ++i) {
    flush_after(kSendRetry_ns);
  }
  ASSERT_EQ(queue_.frames(), 0U);
  for (int i = 0; i < 100; ++i) {
    send({frame(9, 2, 4096), frame(9, 3)});
    EXPECT_EQ(queue_.frames(), 0U);
    EXPECT_THAT(sent(), ElementsAre(3));
    clock_.time += kSendSuspicion_ns / 2;
  }
  EXPECT_EQ(queue_.counters().drops_unsendable, 101U);
  EXPECT_EQ(notes_.unsendable.size(), 1U);
  // It may have been repaired: after a while without a refusal it is tried again.
  clock_.time += 2 * kSendSuspicion_ns;
  send({frame(9, 4, 4096)});
  EXPECT_EQ(queue_.frames(), 1U);
  sender_.refuse = nullptr;
  flush_after(kSendRetry_ns);
  EXPECT_THAT(sent(), ElementsAre(4));
}

TEST_F(SendQueueTest, AnInterfaceThatTakesNothingIsNotAskedForEveryHost) {
  sender_.refuse = nobody_now;
  std::vector<Bytes> frames;
  for (int host = 1; host <= 40; ++host) {
    frames.push_back(frame(host, host));
  }
  send(frames);
  EXPECT_EQ(sender_.calls, kSendFailuresPerFlush);
  sender_.calls = 0;
  flush_after(kSendRetry_ns);
  EXPECT_EQ(sender_.calls, kSendFailuresPerFlush);
  sender_.refuse = nullptr;
  flush_after(kSendRetry_ns);
  EXPECT_EQ(sent().size(), 40U);
}

TEST_F(SendQueueTest, WhatWaitedTooLongIsOld) {
  sender_.refuse = full;
  send({frame(1, 1)});
  clock_.time += kSendAge_ns_max;
  send({frame(2, 2)});
  sender_.refuse = nullptr;
  flush_after(1);
  EXPECT_THAT(sent(), ElementsAre(2));
  EXPECT_EQ(queue_.counters().drops_old, 1U);
}

TEST_F(SendQueueTest, AHostsShareIsBoundedAndSoIsTheQueue) {
  sender_.refuse = full;
  constexpr std::size_t kBytes = 9014;
  const std::size_t share = kSendHostBytesMax / kBytes;
  for (std::size_t i = 0; i < share + 3; ++i) {
    send({frame(1, 1, kBytes)});
  }
  EXPECT_EQ(queue_.frames(), share);
  EXPECT_EQ(queue_.counters().drops_full, 3U);
  for (int host = 2; host < 12; ++host) {
    for (std::size_t i = 0; i < share; ++i) {
      send({frame(host, 1, kBytes)});
    }
  }
  EXPECT_LE(queue_.bytes(), kSendQueueBytesMax);
  // Whoever fills it pays: a newcomer finds room.
  const std::uint64_t drops = queue_.counters().drops_full;
  send({frame(100, 77)});
  sender_.refuse = nullptr;
  flush_after(0);
  EXPECT_THAT(sent(), ::testing::Contains(77));
  EXPECT_LE(queue_.counters().drops_full, drops + 1);
}

TEST_F(SendQueueTest, AnInterfaceThatGoesTakesWhatWaitedWithIt) {
  sender_.refuse = full;
  send({frame(1, 1), frame(2, 2)});
  queue_.lose_everything();
  EXPECT_EQ(queue_.counters().drops_link, 2U);
  EXPECT_EQ(queue_.wait(), SendWait::nothing);
  sender_.refuse = nullptr;
  flush_after(0);
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(SendQueueTest, KnownHostsGoFirst) {
  queue_.set_known({{{0, 0, 0, 0, 0, 7}}});
  sender_.refuse = full;
  send({frame(1, 10), frame(2, 20), frame(7, 70), frame(7, 71)});
  sender_.refuse = nullptr;
  flush_after(kSendRetry_ns);
  EXPECT_THAT(sent(), ElementsAre(70, 71, 10, 20));
}

// Addresses are forged at will: together they hold no more than half, and cost a known one nothing.
TEST_F(SendQueueTest, AllOtherHostsTogetherHoldAShare) {
  queue_.set_known({{{0, 0, 0, 0, 0, 7}}});
  sender_.refuse = full;
  constexpr std::size_t kBytes = 60'000;
  for (int i = 0; i < 300; ++i) {
    send({frame(8 + i % 200, i % 100, kBytes)});
    EXPECT_LE(queue_.bytes(), kSendOthersBytesMax);
  }
  send({frame(7, 70, kBytes)});
  EXPECT_GT(queue_.bytes(), kSendOthersBytesMax - 2 * kBytes);
  sender_.refuse = nullptr;
  flush_after(kSendRetry_ns);
  EXPECT_EQ(sent().front(), 70);
}

TEST_F(SendQueueTest, WhoBecomesKnownWhileHeWaitsKeepsHisOrder) {
  sender_.refuse = full;
  send({frame(1, 10)});
  queue_.set_known({{{0, 0, 0, 0, 0, 1}}});
  send({frame(1, 11), frame(2, 20)});
  sender_.refuse = nullptr;
  flush_after(kSendRetry_ns);
  EXPECT_THAT(sent(), ElementsAre(10, 20, 11));
}

}  // namespace
}  // namespace target::shell::test
