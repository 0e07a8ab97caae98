// What each verdict does to a frame between two hosts, in virtual time.
#include "sim/ethernet/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace sim::ethernet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint32_t kInitiator = 1;
constexpr std::uint32_t kFrameBytes = 100;
constexpr std::size_t kNumberOffset = 20;

struct Arrival {
  int number = 0;
  Nanoseconds time = 0;
  std::uint32_t size = 0;
  bool tainted = false;
  std::vector<std::byte> bytes;
};

class NetworkTest : public ::testing::Test {
 protected:
  void given(const std::string& text) {
    schedule_ = parse_schedule("aoe-sim 1\ninitiator a linux\n" + text);
    faults_.emplace(schedule_);
    network_.emplace(schedule_, queue_, tracer_, *faults_);
  }
  void send(int number) {
    const FrameId id = network_->allocate();
    Frame& frame = network_->frame(id);
    std::fill(frame.storage.begin(), frame.storage.end(), std::byte{0});
    const MacAddress to = Network::mac_of(kTargetHost);
    for (std::size_t i = 0; i < to.octets.size(); ++i) {
      frame.storage[i] = std::byte{to.octets[i]};
    }
    frame.storage[kNumberOffset] = static_cast<std::byte>(number);
    frame.size = kFrameBytes;
    network_->send(kInitiator, id, now_);
  }
  std::vector<Arrival> run() {
    std::vector<Arrival> arrivals;
    while (!queue_.empty()) {
      const Event event = queue_.pop();
      now_ = event.time;
      const auto id = static_cast<FrameId>(event.arg);
      if (event.kind == EventKind::held_frame_expires) {
        network_->expire_held(event.who, id, now_);
        continue;
      }
      if (network_->arrive(event.who, id, now_) == kNoFrame) {
        continue;
      }
      EXPECT_EQ(event.who, link_down(kTargetHost));
      const Frame& frame = network_->frame(id);
      arrivals.push_back({static_cast<int>(frame.bytes()[kNumberOffset]),
                          now_,
                          frame.size,
                          frame.tainted,
                          {frame.bytes().begin(), frame.bytes().end()}});
      network_->release(id);
    }
    EXPECT_EQ(network_->travelling(), 0U) << "every frame is somewhere in the end";
    return arrivals;
  }
  std::vector<int> send_and_run(int count) {
    for (int number = 1; number <= count; ++number) {
      send(number);
    }
    std::vector<int> numbers;
    for (const Arrival& arrival : run()) {
      numbers.push_back(arrival.number);
    }
    return numbers;
  }
  // How long one frame takes, line rate and latency of two links.
  [[nodiscard]] Nanoseconds undisturbed() const {
    return 2 *
           (kFrameBytes * schedule_.settings.link_ns_per_byte + schedule_.settings.link_latency_ns);
  }

  Schedule schedule_;
  EventQueue queue_{0};
  Tracer tracer_;
  std::optional<Faults> faults_;
  std::optional<Network> network_;
  Nanoseconds now_ = 0;
};

TEST_F(NetworkTest, WithoutVerdictsFramesComeInOrderAndAtLineRate) {
  given("");
  send(1);
  send(2);
  const std::vector<Arrival> arrivals = run();
  ASSERT_EQ(arrivals.size(), 2U);
  EXPECT_EQ(arrivals[0].time, undisturbed());
  EXPECT_EQ(arrivals[1].time, undisturbed() + kFrameBytes * schedule_.settings.link_ns_per_byte);
  EXPECT_EQ(arrivals[1].number, 2);
}

TEST_F(NetworkTest, ADroppedFrameAndOneWithABadFcsDoNotCome) {
  given("frame a>sw 0 drop\nframe sw>t 0 bad-fcs\nframe a>sw 2 full\n");
  EXPECT_THAT(send_and_run(4), ElementsAre(4));
}

TEST_F(NetworkTest, ADelayedFrameComesLaterByJustThat) {
  given("frame sw>t 0 delay 7ms\n");
  send(1);
  const std::vector<Arrival> arrivals = run();
  ASSERT_EQ(arrivals.size(), 1U);
  EXPECT_EQ(arrivals[0].time, undisturbed() + 7 * kMillisecond);
}

TEST_F(NetworkTest, ADuplicateComesLaterByJustThat) {
  given("frame a>sw 0 duplicate 7ms\n");
  send(1);
  const std::vector<Arrival> arrivals = run();
  ASSERT_EQ(arrivals.size(), 2U);
  EXPECT_EQ(arrivals[0].time, undisturbed());
  EXPECT_EQ(arrivals[1].time, undisturbed() + 7 * kMillisecond);
  EXPECT_EQ(arrivals[0].bytes, arrivals[1].bytes);
}

TEST_F(NetworkTest, AHeldFrameIsOvertakenByAsManyAsSaid) {
  given("frame a>sw 0 hold 2\n");
  EXPECT_THAT(send_and_run(4), ElementsAre(2, 3, 1, 4));
}

TEST_F(NetworkTest, AHeldFrameThatNothingOvertakesComesAfterASecond) {
  given("frame a>sw 0 hold 1\n");
  send(1);
  const std::vector<Arrival> arrivals = run();
  ASSERT_EQ(arrivals.size(), 1U);
  EXPECT_GE(arrivals[0].time, kSecond);
}

TEST_F(NetworkTest, AFrameIsCutPaddedAndFlippedAndADuplicateOfItIsNot) {
  given(
      "frame a>sw 0 truncate 40\nframe a>sw 1 pad 12\nframe a>sw 2 duplicate 1ms\n"
      "frame sw>t 2 flip 161\n");
  for (int number = 1; number <= 3; ++number) {
    send(number);
  }
  const std::vector<Arrival> arrivals = run();
  ASSERT_EQ(arrivals.size(), 4U);
  EXPECT_EQ(arrivals[0].size, 40U);
  EXPECT_EQ(arrivals[1].size, kFrameBytes + 12);
  EXPECT_EQ(arrivals[2].number, 3 ^ 2);
  EXPECT_TRUE(arrivals[2].tainted);
  EXPECT_EQ(arrivals[3].number, 3);
  EXPECT_FALSE(arrivals[3].tainted);
}

TEST_F(NetworkTest, AFullQueueLosesTheRest) {
  given("set queue_bytes 250\n");
  EXPECT_THAT(send_and_run(5), ElementsAre(1, 2, 3)) << "two and a half frames wait at most";
}

TEST_F(NetworkTest, APartitionLosesInItsDirectionOnly) {
  given("");
  network_->set_partition(kTargetHost, false, true);
  EXPECT_THAT(send_and_run(1), ElementsAre(1));
  network_->set_partition(kTargetHost, true, false);
  EXPECT_THAT(send_and_run(1), IsEmpty());
  network_->set_partition(kTargetHost, false, false);
  EXPECT_THAT(send_and_run(1), ElementsAre(1));
}

TEST_F(NetworkTest, WhatIsLongerThanAHostsMtuIsLost) {
  given("");
  network_->set_mtu(kTargetHost, kFrameBytes - 14 - 1);
  EXPECT_THAT(send_and_run(1), IsEmpty());
  network_->set_mtu(kTargetHost, kFrameBytes - 14);
  EXPECT_THAT(send_and_run(1), ElementsAre(1));
}

}  // namespace
}  // namespace sim::ethernet
