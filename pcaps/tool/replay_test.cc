#include "pcaps/tool/replay.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "conformance/deviants/model_link.h"
#include "conformance/observer/test_frames.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in
using conformance::deviants::ModelConfig;
using conformance::deviants::ModelLink;
using testing_frames::read_request;

// A model target that is e1.1, in virtual time: no test here waits for a clock.
ModelConfig model_config() {
  ModelConfig config;
  config.shelf = 1;
  config.slot = 1;
  config.config_string = "";
  return config;
}

class Replay : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() /
             (std::string("replay-test-") +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".pcap"))
                .string();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void capture(const std::vector<Bytes>& frames) {
    std::string error;
    const auto writer = CaptureWriter::create(path_, error);
    ASSERT_NE(writer, nullptr) << error;
    Nanoseconds time_ns = 1'000'000'000;
    for (const Bytes& frame : frames) {
      writer->write(frame, time_ns);
      time_ns += kStepNs;
    }
    ASSERT_TRUE(writer->finish(error)) << error;
  }

  ReplayResult replay(ModelLink& link, ReplayOptions options = {}) {
    options.from = options.from ? options.from : TargetAddress{1, 1, {}};
    options.to = options.to ? options.to : TargetAddress{1, 1, {}};
    std::string error;
    const auto survey = ReplayPlan::survey(path_, options.from, error);
    EXPECT_TRUE(survey) << error;
    const auto plan = ReplayPlan::open(path_, options.from, error);
    EXPECT_NE(plan, nullptr) << error;
    Replayer replayer(link, options, survey->initiators);
    ReplayResult result;
    EXPECT_TRUE(replayer.run(*plan, result, error)) << error;
    return result;
  }

  std::string path_;
};

TEST_F(Replay, FindsEqualDataEqual) {
  capture({write_request(kAlice, 1, 5, 'a'), write_reply(kAlice, 1, 5), read_request(kAlice, 2, 5),
           read_reply(kAlice, 2, 5, 'a')});
  ModelLink link(model_config());
  const ReplayResult result = replay(link);
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(result.sectors_equal, 1U);
  EXPECT_EQ(result.answered, 2U);
}

TEST_F(Replay, NamesDataThatDiffer) {
  capture({read_request(kAlice, 2, 5), read_reply(kAlice, 2, 5, 'a')});
  ModelLink link(model_config());
  const ReplayResult result = replay(link);
  EXPECT_FALSE(result.passed());
  EXPECT_EQ(result.refused[static_cast<std::size_t>(Difference::data)], 1U);
  ASSERT_EQ(result.examples.size(), 1U);
  EXPECT_EQ(result.examples[0].differences, "data");
  EXPECT_EQ(result.examples[0].detail, "first at LBA 5");
}

TEST_F(Replay, NeverOvertakesAWriteWithAReadOfTheSameSectors) {
  // In the capture all were sent at once; the order on the wire still says what was meant.
  std::vector<Bytes> frames;
  std::vector<Bytes> replies;
  for (std::uint32_t i = 0; i < 20; ++i) {
    const char fill = static_cast<char>('a' + i);
    frames.push_back(write_request(kAlice, 100 + 2 * i, 5, fill));
    frames.push_back(read_request(kAlice, 101 + 2 * i, 5));
    replies.push_back(write_reply(kAlice, 100 + 2 * i, 5));
    replies.push_back(read_reply(kAlice, 101 + 2 * i, 5, fill));
  }
  frames.insert(frames.end(), replies.begin(), replies.end());
  capture(frames);
  ModelLink link(model_config());
  ReplayOptions options;
  options.speed = 0;
  options.outstanding = 64;
  const ReplayResult result = replay(link, options);
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(result.sectors_equal, 20U);
}

TEST_F(Replay, KeepsTheCapturedRhythmAtTheSpeedAskedFor) {
  std::vector<Bytes> frames;
  for (std::uint32_t i = 0; i < 10; ++i) {
    frames.push_back(read_request(kAlice, i, i));
    frames.push_back(read_reply(kAlice, i, i, 0));
  }
  capture(frames);
  ReplayOptions options;
  for (const double speed : {1.0, 2.0}) {
    ModelLink link(model_config());
    options.speed = speed;
    const ReplayResult result = replay(link, options);
    EXPECT_TRUE(result.passed()) << result.to_text();
    const auto expected = static_cast<Nanoseconds>(18.0 * kStepNs / speed);
    EXPECT_GE(result.took_ns, expected);
    EXPECT_LT(result.took_ns, expected + kStepNs);
  }
}

TEST_F(Replay, AsksAgainWhenAReplyIsLost) {
  capture({read_request(kAlice, 2, 5), read_reply(kAlice, 2, 5, 'a')});
  ModelConfig config = model_config();
  config.config_string = "";
  ModelLink link(config);
  link.model().disk[5] = conformance::observer::Bytes(kSectorBytes, 'a');
  // Nobody answers while the mask keeps us out: every try goes unanswered, and is counted.
  ReplayOptions options;
  options.tries_max = 3;
  ReplayResult result;
  std::string error;
  const auto survey = ReplayPlan::survey(path_, TargetAddress{1, 1, {}}, error);
  const auto plan = ReplayPlan::open(path_, TargetAddress{1, 1, {}}, error);
  options.from = options.to = TargetAddress{1, 1, {}};
  struct Deaf : ModelLink {
    using ModelLink::ModelLink;
    std::optional<conformance::links::ReceivedFrame> receive(std::int64_t deadline_ns) override {
      auto received = ModelLink::receive(deadline_ns);
      if (received && received->bytes[19] == kCommandAta && lost++ < to_lose) {
        return std::nullopt;
      }
      return received;
    }
    int lost = 0;
    int to_lose = 2;
  };
  Deaf deaf(config);
  deaf.model().disk[5] = conformance::observer::Bytes(kSectorBytes, 'a');
  Replayer replayer(deaf, options, survey->initiators);
  ASSERT_TRUE(replayer.run(*plan, result, error)) << error;
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(result.retries, 2U);
  EXPECT_EQ(result.requests, 1U);
}

TEST_F(Replay, SaysWhenAReplyNeverComes) {
  // The capture's target had LBA 5 of slot 1; the lists keep everybody but Bob out meanwhile.
  capture({read_request(kAlice, 2, 5), read_reply(kAlice, 2, 5, 0),
           mask(request(kAlice, kCommandMask, 3), 1, {{1, kBob}}),
           mask(reply(kAlice, kCommandMask, 3), 1, {{0, kBob}}), read_request(kAlice, 4, 5),
           read_reply(kAlice, 4, 5, 0)});
  ModelLink link(model_config());
  const ReplayResult result = replay(link);
  EXPECT_FALSE(result.passed());
  EXPECT_EQ(result.refused[static_cast<std::size_t>(Difference::missing)], 1U);
}

TEST_F(Replay, MapsTheTargetsAddress) {
  capture({write_request(kAlice, 1, 5, 'a'), write_reply(kAlice, 1, 5), read_request(kAlice, 2, 5),
           read_reply(kAlice, 2, 5, 'a')});
  ModelConfig config = model_config();
  config.shelf = 40;
  config.slot = 7;
  ModelLink link(config);
  ReplayOptions options;
  options.to = TargetAddress{40, 7, {}};
  const ReplayResult result = replay(link, options);
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(link.model().disk[5], conformance::observer::Bytes(kSectorBytes, 'a'));
}

TEST_F(Replay, MapsTheInitiatorsInMaskLists) {
  capture({mask(request(kAlice, kCommandMask, 1), 1, {{1, kAlice}}),
           mask(reply(kAlice, kCommandMask, 1), 1, {{0, kAlice}}), read_request(kAlice, 2, 5),
           read_reply(kAlice, 2, 5, 0)});
  ModelLink link(model_config());
  const ReplayResult result = replay(link);
  EXPECT_TRUE(result.passed()) << result.to_text();
  ASSERT_EQ(link.model().mask.size(), 1U);
  EXPECT_EQ(link.model().mask[0], link.mac());
}

TEST_F(Replay, ShiftsTagsInThePromisedByteOrder) {
  capture({table(request(kAlice, kCommandExtensions, 1), "reset,tag_inc_le"),
           table(reply(kAlice, kCommandExtensions, 1), "RESET,TAG_INC_LE"),
           write_request(kAlice, 0xFF00'0000, 5, 'a'), write_reply(kAlice, 0xFF00'0000, 5),
           write_request(kAlice, 0x0001'0000, 5, 'b'), write_reply(kAlice, 0x0001'0000, 5),
           write_request(kAlice, 0xFF00'0000, 5, 'a'), write_reply(kAlice, 0xFF00'0000, 5),
           read_request(kAlice, 0x0101'0000, 5), read_reply(kAlice, 0x0101'0000, 5, 'b')});
  ModelLink link(model_config());
  ReplayOptions options;
  options.tag_offset = 0x1234;
  const ReplayResult result = replay(link, options);
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(result.sectors_equal, 1U) << "the late copy must not be executed";
}

TEST_F(Replay, TakesAllRepliesOfACoalescedRead) {
  Bytes asked = read_request(kAlice, 10, 5);
  asked.push_back(1);
  Bytes entry(kCoalescedEntryBytes, 0);
  put_be(entry, 0, 11, 4);
  entry[4] = 6;
  entry[15] = 1;
  asked.insert(asked.end(), entry.begin(), entry.end());
  capture({table(request(kAlice, kCommandExtensions, 1), "reset,coalesced_read"),
           table(reply(kAlice, kCommandExtensions, 1), "RESET,COALESCED_READ"), asked,
           read_reply(kAlice, 10, 5, 0), read_reply(kAlice, 11, 6, 0)});
  ModelLink link(model_config());
  const ReplayResult result = replay(link);
  EXPECT_TRUE(result.passed()) << result.to_text();
  EXPECT_EQ(result.answered, 3U);
  EXPECT_EQ(result.sectors_equal, 2U);
}

TEST_F(Replay, RefusesWhatIgnoreAllows) {
  capture({config(request(kAlice, kCommandConfig, 1), 0, ""),
           config(reply(kAlice, kCommandConfig, 1), 0, "then")});
  ReplayOptions options;
  ModelLink strict(model_config());
  EXPECT_FALSE(replay(strict, options).passed());
  options.allowed[static_cast<std::size_t>(Difference::config_string)] = true;
  ModelLink lenient(model_config());
  EXPECT_TRUE(replay(lenient, options).passed());
}

TEST_F(Replay, TwoTablesUnderOneTagKeepTheirOwnReplies) {
  capture({table(request(kAlice, kCommandExtensions, 7), "tag_inc_le"),
           table(request(kAlice, kCommandExtensions, 7), "coalesced_read,reset"),
           table(reply(kAlice, kCommandExtensions, 7), "TAG_INC_LE"),
           table(reply(kAlice, kCommandExtensions, 7), "coalesced_read,RESET")});
  std::string error;
  const auto plan = ReplayPlan::open(path_, TargetAddress{1, 1, {}}, error);
  ASSERT_NE(plan, nullptr) << error;
  const auto first = plan->next();
  const auto second = plan->next();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->expected.front().reply_frame, 3U);
  EXPECT_EQ(second->expected.front().reply_frame, 4U);
}

TEST_F(Replay, TheSurveyKnowsTheLongestFrameOfBothDirections) {
  capture({read_request(kAlice, 2, 5, 8), read_reply(kAlice, 2, 5, 'a', 8)});
  std::string error;
  const auto survey = ReplayPlan::survey(path_, std::nullopt, error);
  ASSERT_TRUE(survey) << error;
  EXPECT_EQ(survey->frame_bytes_max, kAtaDataOffset + 8 * kSectorBytes);
}

}  // namespace
}  // namespace pcaps
