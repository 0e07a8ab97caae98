// Frames leave in order whatever the interface answers, and the queue is bounded.
#include "target/linux/packet_sender.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <deque>

#include "target/linux/test_network.h"

namespace target::linux_shell {
namespace {

// Answers as scripted, then takes everything.
class ScriptedCalls : public SendCalls {
 public:
  int send(int, std::span<const std::span<const std::byte>> frames,
           std::span<const std::byte>) override {
    int answer = static_cast<int>(frames.size());
    if (!script.empty()) {
      answer = script.front();
      script.pop_front();
    }
    for (int i = 0; i < answer; ++i) {
      sent.push_back(std::to_integer<int>(frames[static_cast<std::size_t>(i)][0]));
    }
    return answer;
  }
  std::deque<int> script;
  std::vector<int> sent;
};

class PacketSenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::enter_test_network()) {
      GTEST_SKIP() << *reason;
    }
    facts_ = testing::facts_of("tgt0");
    sender_ = std::make_unique<PacketSender>("tgt0", facts_, facts_.mac, calls_);
  }

  void send(std::initializer_list<int> names) {
    std::vector<std::vector<std::byte>> frames;
    std::vector<std::span<const std::byte>> spans;
    for (const int name : names) {
      frames.emplace_back(60, static_cast<std::byte>(name));
    }
    for (const auto& frame : frames) {
      spans.emplace_back(frame);
    }
    sender_->send(spans);
  }

  InterfaceFacts facts_;
  ScriptedCalls calls_;
  std::unique_ptr<PacketSender> sender_;
};

TEST_F(PacketSenderTest, KeepsOrderWhenTheSocketIsFull) {
  calls_.script = {2, -EAGAIN};
  send({1, 2, 3, 4});
  EXPECT_EQ(sender_->wait(), SendWait::writable);
  EXPECT_EQ(sender_->queued_frames(), 2U);
  send({5});  // must not overtake
  EXPECT_EQ(calls_.sent, (std::vector<int>{1, 2}));
  sender_->flush();
  EXPECT_EQ(calls_.sent, (std::vector<int>{1, 2, 3, 4, 5}));
  EXPECT_EQ(sender_->wait(), SendWait::nothing);
  EXPECT_EQ(sender_->counters().frames, 5U);
  EXPECT_EQ(sender_->counters().queued, 3U);
}

TEST_F(PacketSenderTest, TriesAgainLaterWhenTheInterfaceQueueIsFull) {
  calls_.script = {-ENOBUFS};
  send({1});
  EXPECT_EQ(sender_->wait(), SendWait::retry);
  calls_.script = {-ENOBUFS};
  sender_->flush();
  EXPECT_EQ(sender_->wait(), SendWait::retry);
  sender_->flush();
  EXPECT_EQ(calls_.sent, (std::vector<int>{1}));
}

TEST_F(PacketSenderTest, LosesWhatADeadLinkLoses) {
  calls_.script = {1, -ENETDOWN};
  send({1, 2, 3});
  EXPECT_EQ(calls_.sent, (std::vector<int>{1, 3}));
  EXPECT_EQ(sender_->counters().drops_link, 1U);
  EXPECT_EQ(sender_->wait(), SendWait::nothing);
}

TEST_F(PacketSenderTest, AnInterruptedCallIsRepeated) {
  calls_.script = {-EINTR};
  send({1});
  EXPECT_EQ(calls_.sent, (std::vector<int>{1}));
  EXPECT_EQ(sender_->counters().drops_link, 0U);
}

TEST_F(PacketSenderTest, TheQueueIsBounded) {
  const std::vector<std::byte> frame(9014);
  const std::span<const std::byte> one(frame);
  const std::size_t fit = kSendQueueBytesMax / frame.size();
  calls_.script = {-EAGAIN};
  for (std::size_t i = 0; i < fit + 3; ++i) {
    sender_->send(std::span(&one, 1));
  }
  EXPECT_EQ(sender_->queued_frames(), fit);
  EXPECT_EQ(sender_->counters().drops_full, 3U);
}

TEST_F(PacketSenderTest, ReallySendsMoreFramesThanOneCallTakes) {
  SendCalls real;
  PacketSender sender("tgt0", facts_, facts_.mac, real);
  const testing::RawPort initiator("ini0");
  std::vector<std::vector<std::byte>> frames;
  std::vector<std::span<const std::byte>> spans;
  for (std::uint32_t tag = 0; tag < 200; ++tag) {
    frames.push_back(testing::make_request({.tag = tag, .flags = 0x8}, {}));
  }
  for (const auto& frame : frames) {
    spans.emplace_back(frame);
  }
  sender.send(spans);
  for (const auto& frame : frames) {
    const auto got = initiator.receive_reply();
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(*got, frame);
  }
}

TEST_F(PacketSenderTest, AnInterfaceWithANewAddressSendsWithIt) {
  SendCalls real;
  wire::MacAddress old = facts_.mac;
  old.octets[5] ^= 1;
  PacketSender sender("tgt0", facts_, old, real);
  const testing::RawPort initiator("ini0");
  auto frame = testing::make_request({.tag = 7, .flags = 0x8}, {});
  const std::span<const std::byte> span(frame);
  sender.send(std::span(&span, 1));
  const auto got = initiator.receive_reply();
  ASSERT_TRUE(got.has_value());
  for (std::size_t i = 0; i < 6; ++i) {
    frame[6 + i] = static_cast<std::byte>(facts_.mac.octets[i]);
  }
  EXPECT_EQ(*got, frame);
}

}  // namespace
}  // namespace target::linux_shell
