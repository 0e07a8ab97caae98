// What the kernel answers becomes what the shell understands, and frames leave as they are.
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
    result_ = sender_->send(spans);
  }

  InterfaceFacts facts_;
  ScriptedCalls calls_;
  std::unique_ptr<PacketSender> sender_;
  shell::SendResult result_;
};

TEST_F(PacketSenderTest, SaysHowManyWereTakenAndWhyNotTheNext) {
  const std::pair<int, shell::SendStop> cases[] = {{-EAGAIN, shell::SendStop::full},
                                                   {-ENOBUFS, shell::SendStop::not_now},
                                                   {-ENETDOWN, shell::SendStop::lost_link},
                                                   {-EMSGSIZE, shell::SendStop::lost_link}};
  for (const auto& [answer, stop] : cases) {
    calls_.sent.clear();
    calls_.script = {1, 1, answer};
    send({1, 2, 3, 4});
    EXPECT_EQ(result_.taken, 2U);
    EXPECT_EQ(result_.stop, stop) << answer;
    EXPECT_EQ(calls_.sent, (std::vector<int>{1, 2}));
  }
}

TEST_F(PacketSenderTest, AnInterruptedCallIsRepeated) {
  calls_.script = {-EINTR};
  send({1});
  EXPECT_EQ(calls_.sent, (std::vector<int>{1}));
  EXPECT_EQ(result_.taken, 1U);
  EXPECT_EQ(result_.stop, shell::SendStop::none);
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
