#include "pcaps/tool/statistics.h"

#include <gtest/gtest.h>

#include "conformance/observer/test_frames.h"
#include "pcaps/tool/html_page.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in

TEST(TimeLine, DoublesItsBinsAndLosesNothing) {
  TimeLine line;
  for (Nanoseconds ns = 0; ns < 10'000'000; ns += 1'000) {
    ++line.at(ns).requests;
  }
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < line.used(); ++i) {
    sum += line.bins()[i].requests;
  }
  EXPECT_EQ(sum, 10'000U);
  EXPECT_GT(line.used(), TimeLine::kBins / 2 - 1);
  EXPECT_LE(line.used(), TimeLine::kBins);
}

struct Told {
  Scene scene;
  Statistics statistics{scene.tracker()};
  Told() { scene.tracker().add_observer(&statistics); }
  const SessionStatistics& only() { return statistics.sessions().at(0); }
  const OperationCounts& counts() { return statistics.operations().of_session(0); }
};

TEST(Statistics, TellsTheThreeKindsOfAgainApart) {
  Told told;
  told.scene.add(write_request(kAlice, 1, 5, 'a'))
      .add(write_request(kAlice, 1, 5, 'a'))  // the same tag, still waiting
      .add(write_reply(kAlice, 1, 5))
      .add(write_request(kAlice, 1, 5, 'a'))  // the same tag, answered
      .add(read_request(kAlice, 2, 9, 2))
      .add(read_request(kAlice, 3, 9, 2))   // Linux: a new tag
      .add(read_request(kAlice, 4, 9, 1));  // and in parts
  told.scene.finish();
  EXPECT_EQ(told.only().retransmitted, 1U);
  EXPECT_EQ(told.only().copied_late, 1U);
  EXPECT_EQ(told.only().renewed, 2U);
  EXPECT_EQ(told.only().requests, 4U);
}

TEST(Statistics, AnEqualQuestionAfterItsAnswerIsANewQuestion) {
  Told told;
  told.scene.add(read_request(kAlice, 1, 5))
      .add(read_reply(kAlice, 1, 5, 'a'))
      .add(read_request(kAlice, 1, 5))
      .add(read_reply(kAlice, 1, 5, 'a'));
  told.scene.finish();
  EXPECT_EQ(told.only().requests, 2U);
  EXPECT_EQ(told.only().copied_late, 0U);
  EXPECT_EQ(told.only().duplicate_replies, 0U);
}

TEST(Statistics, MeasuresFromTheFirstCopy) {
  Told told;
  told.scene.add(read_request(kAlice, 1, 5))
      .add(read_request(kAlice, 1, 5))
      .add(read_reply(kAlice, 1, 5, 'a'));
  told.scene.finish();
  EXPECT_EQ(told.counts().latency.max_ns(), 2 * kStepNs);
}

TEST(Statistics, CountsWhatStaysUnanswered) {
  Told told;
  told.scene.add(read_request(kAlice, 1, 5)).add(read_request(kAlice, 2, 6));
  told.scene.add(read_reply(kAlice, 2, 6, 'a'));
  told.scene.finish();
  EXPECT_EQ(told.counts().never, 1U);
  EXPECT_EQ(told.only().outstanding_max, 2U);
}

TEST(Statistics, WhatWaitsGoesOnWaitingWhileNothingIsSeen) {
  Told told;
  told.scene.add(read_request(kAlice, 1, 5)).add(read_request(kAlice, 2, 6));
  for (std::uint32_t tag = 100; tag < 110; ++tag) {
    told.scene.add(read_request(kBob, tag, tag)).add(read_reply(kBob, tag, tag, 'a'));
  }
  told.scene.finish();
  const TimeLine& line = told.statistics.time_line();
  for (std::uint32_t i = line.used() / 4; i < line.used(); ++i) {
    EXPECT_GE(line.bins()[i].outstanding_max, 2U) << "bin " << i;
  }
}

TEST(Tracker, ForgetsOldRequestsInsteadOfGrowing) {
  Told told;
  for (std::uint32_t tag = 0; tag < kRequestsKept + 100; ++tag) {
    told.scene.add(read_request(kAlice, tag, tag));
  }
  EXPECT_EQ(told.only().requests, kRequestsKept + 100);
  EXPECT_GE(told.counts().never, 100U);
  told.scene.finish();
  EXPECT_EQ(told.counts().never, kRequestsKept + 100);
}

TEST(Tracker, StopsAtItsLimitOfSessions) {
  Told told;
  for (std::uint64_t i = 0; i < kSessionsMax + 5; ++i) {
    told.scene.add(read_request(kAlice + i, 1, 1));
  }
  told.scene.finish();
  EXPECT_EQ(told.scene.tracker().counters().untracked, 5U);
}

TEST(HtmlPage, AsksTheNetworkForNothingAndLetsNoNameOutOfItsScript) {
  Told told;
  Judge judge(told.scene.tracker(), 3);
  told.scene.tracker().add_observer(&judge);
  told.scene.add(read_request(kAlice, 1, 5)).add(read_reply(kAlice, 1, 5, 'a'));
  told.scene.finish();
  const std::string page = html_page("</script><b>&.pcap\xff", told.statistics, judge);
  EXPECT_EQ(page.find("<b>&"), std::string::npos);
  EXPECT_NE(page.find("\\u003c/script>\\u003cb>&.pcap"), std::string::npos);
  EXPECT_EQ(page.find("@AOE_PCAP_DATA@"), std::string::npos);
  for (const char* outside : {"http:", "https:", "src=", "url(", "@import", "<link"}) {
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  }
}

}  // namespace
}  // namespace pcaps
