// The count that a congestion probe finds is one number wherever it is asked: query config's buffer
// count, in the simulated target and in the suite's model. (aoe-target itself: program_test.cc.)
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "conformance/deviants/model_link.h"
#include "sim/link/engine_link.h"

namespace sim::link {
namespace {

using conformance::links::Bytes;
using conformance::links::Link;

constexpr std::uint32_t kProbes = 200;
constexpr std::size_t kFlags = 14;
constexpr std::size_t kCommand = 19;
constexpr std::size_t kTag = 20;
constexpr std::size_t kAnnouncementTag = 0;
constexpr std::int64_t kLong_ns = 5'000'000'000;

Bytes probe(const Link& link, std::uint8_t tag) {
  Bytes frame(60);
  std::fill_n(frame.begin(), 6, 0xFF);
  const auto source = link.mac();
  std::copy(source.begin(), source.end(), frame.begin() + 6);
  frame[12] = 0x88;
  frame[13] = 0xA2;
  frame[kFlags] = 0x10;
  frame[16] = frame[17] = frame[18] = 0xFF;  // any shelf, any slot
  frame[kCommand] = 0x23;
  frame[kTag + 3] = tag;
  const std::string table(
      "congestion\0"
      "17\0\0",
      15);
  frame[24] = static_cast<std::uint8_t>(table.size());
  std::copy(table.begin(), table.end(), frame.begin() + 26);
  return frame;
}

// How many of many probes with one id are answered, the pause over.
std::uint32_t count(Link& link) {
  for (std::uint32_t tag = 1; tag <= kProbes; ++tag) {
    link.send(probe(link, static_cast<std::uint8_t>(tag)));
  }
  std::uint32_t answered = 0;
  while (const auto reply = link.receive(link.now_ns() + kLong_ns)) {
    answered += reply->bytes[kCommand] == 0x23 && reply->bytes[kTag + 3] != kAnnouncementTag;
  }
  return answered;
}

class CongestionCount : public ::testing::TestWithParam<std::uint16_t> {};

TEST_P(CongestionCount, IsTheNumberOfBuffersInTheSimulatedTarget) {
  EngineLink link(1500);
  link.set_buffers(GetParam());
  link.restart();
  EXPECT_EQ(count(link), GetParam());
}

TEST_P(CongestionCount, IsTheNumberOfBuffersInTheModel) {
  conformance::deviants::ModelConfig config;
  config.buffer_count = GetParam();
  conformance::deviants::ModelLink link(config);
  EXPECT_EQ(count(link), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Buffers, CongestionCount, ::testing::Values(2, 8, 32, 64));

}  // namespace
}  // namespace sim::link
