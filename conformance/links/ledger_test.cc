#include "conformance/links/ledger.h"

#include <gtest/gtest.h>

#include <deque>

#include "conformance/observer/build.h"

namespace conformance::links {
namespace {

using observer::F;
using observer::Frame;
using observer::get;
using observer::set;

const Mac kOurs{0x02, 0, 0, 0, 0, 1};
const Mac kOthers{0x02, 0, 0, 0, 0, 2};
const Mac kTarget{0x02, 0, 0, 0, 0, 9};

// What is sent goes nowhere; what comes is what the test puts there.
class Desk : public Link {
 public:
  void send(BytesView frame) override { sent.emplace_back(frame.begin(), frame.end()); }
  std::optional<ReceivedFrame> receive(int64_t) override {
    if (coming.empty()) {
      return std::nullopt;
    }
    ReceivedFrame frame = coming.front();
    coming.pop_front();
    return frame;
  }
  int64_t now_ns() override { return now; }
  Mac mac() const override { return kOurs; }
  size_t mtu() const override { return 1500; }
  std::string name() const override { return "desk"; }

  std::vector<Bytes> sent;
  std::deque<ReceivedFrame> coming;
  int64_t now = kNsPerSecond;
};

Bytes question(uint32_t tag, Frame frame = observer::read_request(5, 1), const Mac& from = kOurs) {
  frame.dst(kTarget).src(from).set(F::shelf, 1).set(F::slot, 2).set(F::tag, tag);
  return frame.bytes();
}

Bytes answer(const Bytes& to, uint8_t content = 0) {
  Bytes reply = to;
  std::copy_n(to.begin() + 6, 6, reply.begin());
  std::copy(kTarget.begin(), kTarget.end(), reply.begin() + 6);
  set(reply, F::flag_response, 1);
  reply.push_back(content);
  return reply;
}

struct LedgerTest : testing::Test {
  Desk desk;
  Ledger ledger{desk};

  void ask(const Bytes& q) { ledger.send(q); }
  // Whether the frame is handed on.
  bool come(const Bytes& frame, int64_t after_ns = kNsPerMs) {
    desk.now += after_ns;
    desk.coming.push_back({frame, desk.now});
    return ledger.receive(desk.now).has_value();
  }
};

TEST_F(LedgerTest, AnAnswerIsHandedOnAndItsCopyIsNot) {
  const Bytes q = question(1);
  ask(q);
  EXPECT_TRUE(come(answer(q)));
  EXPECT_FALSE(come(answer(q)));
  ledger.settle(q, 1);
  EXPECT_EQ(ledger.counts().asked, 1U);
  EXPECT_EQ(ledger.counts().repeated, 1U);
  EXPECT_EQ(ledger.counts().doubled, 0U);
  EXPECT_EQ(ledger.unanswered(), 0U);
  EXPECT_TRUE(ledger.counts().interfered());
}

TEST_F(LedgerTest, ASecondAnswerUnlikeTheFirstSaysThatTheQuestionWasDoubled) {
  const Bytes q = question(1);
  ask(q);
  EXPECT_TRUE(come(answer(q, 'a')));
  EXPECT_FALSE(come(answer(q, 'b')));
  EXPECT_EQ(ledger.counts().doubled, 1U);
  EXPECT_EQ(ledger.counts().repeated, 0U);
}

TEST_F(LedgerTest, WhatWasAskedTwiceMayBeAnsweredTwice) {
  const Bytes q = question(1);
  ask(q);
  ask(q);
  EXPECT_TRUE(come(answer(q)));
  EXPECT_TRUE(come(answer(q)));
  EXPECT_FALSE(come(answer(q)));
  ledger.settle(q, 2);
  EXPECT_EQ(ledger.counts().lost, 0U);
}

TEST_F(LedgerTest, AskedAgainAndAnsweredOnceOneWasLostUntilItTurnsUp) {
  const Bytes q = question(1);
  ask(q);
  ask(q);
  EXPECT_TRUE(come(answer(q)));
  ledger.settle(q, 3);
  EXPECT_EQ(ledger.counts().lost, 1U);
  EXPECT_FALSE(come(answer(q), 300 * kNsPerMs)) << "late: the question is settled";
  EXPECT_EQ(ledger.counts().lost, 0U);
  EXPECT_EQ(ledger.counts().late, 1U);
  EXPECT_GE(ledger.lateness_ns(), 300 * kNsPerMs);
}

// Else each wait of the rest of the run is as long as the one slow moment.
TEST_F(LedgerTest, ASlowMomentIsForgottenAlthoughLesserOnesGoOn) {
  const auto late_by = [&](uint32_t tag, int64_t ns) {
    const Bytes q = question(tag);
    ask(q);
    EXPECT_TRUE(come(answer(q)));
    ledger.settle(q, 1);
    if (ns > 0) {
      come(answer(q), ns);
    }
  };
  late_by(1, 500 * kNsPerMs);
  for (uint32_t tag = 2; tag < 300; ++tag) {
    late_by(tag, tag % 50 == 0 ? 20 * kNsPerMs : 0);
    ASSERT_GE(ledger.lateness_ns(), 500 * kNsPerMs);
  }
  for (uint32_t tag = 300; tag < 700; ++tag) {
    late_by(tag, tag % 50 == 0 ? 20 * kNsPerMs : 0);
  }
  EXPECT_GE(ledger.lateness_ns(), 20 * kNsPerMs);
  EXPECT_LT(ledger.lateness_ns(), 100 * kNsPerMs);
}

TEST_F(LedgerTest, ALatecomerOfAnEarlierPageBreaksNoSilence) {
  const Bytes q = question(1);
  ask(q);
  ledger.settle(q, 1);
  ledger.new_page();
  EXPECT_FALSE(come(answer(q)));
  EXPECT_EQ(ledger.counts().late, 1U);
}

TEST_F(LedgerTest, AddressTagAndCommandMakeAQuestion) {
  const Bytes read = question(7);
  const Bytes config = question(7, observer::config_request(0));
  const Bytes others = question(7, observer::read_request(5, 1), kOthers);
  for (const Bytes& q : {read, config, others}) {
    ask(q);
  }
  EXPECT_EQ(ledger.unanswered(), 3U);
  for (const Bytes& q : {config, others, read}) {
    EXPECT_TRUE(come(answer(q)));
  }
  EXPECT_EQ(ledger.unanswered(), 0U);
  EXPECT_EQ(ledger.counts().repeated, 0U);
}

TEST_F(LedgerTest, WhatAnswersNoQuestionIsForTheCaseToJudge) {
  EXPECT_TRUE(come(answer(question(99))));
  Bytes other(60, 0);
  EXPECT_TRUE(come(other));
  EXPECT_FALSE(ledger.counts().interfered());
}

TEST_F(LedgerTest, EachEntryOfACoalescedReadIsAQuestion) {
  Frame read = observer::read_request(5, 1);
  observer::add_coalesced(read, {{11, 6, 1}, {12, 7, 1}});
  ask(question(10, read));
  EXPECT_EQ(ledger.unanswered(), 3U);
  EXPECT_TRUE(come(answer(question(12))));
  EXPECT_TRUE(come(answer(question(10))));
  EXPECT_EQ(ledger.unanswered(), 1U);
}

// A write's answer, with the results of others behind it.
Bytes list(const Bytes& to, const std::vector<uint32_t>& further) {
  Bytes reply = answer(to);
  reply.resize(observer::at::ata_data);
  set(reply, F::ata_flag_write, 1);
  reply.push_back(static_cast<uint8_t>(further.size()));
  for (const uint32_t tag : further) {
    Bytes entry(observer::kCoalescedEntryBytes, 0);
    entry[2] = static_cast<uint8_t>(tag >> 8);
    entry[3] = static_cast<uint8_t>(tag);
    reply.insert(reply.end(), entry.begin(), entry.end());
  }
  return reply;
}

TEST_F(LedgerTest, AListOfWriteResultsAnswersAllOfThem) {
  const Frame write = observer::write_request(5, Bytes(512, 'x'));
  for (const uint32_t tag : {1U, 2U, 3U}) {
    ask(question(tag, write));
  }
  EXPECT_TRUE(come(list(question(1, write), {2})));
  EXPECT_EQ(ledger.unanswered(), 1U);
  EXPECT_TRUE(come(answer(question(3, write))));
  EXPECT_EQ(ledger.unanswered(), 0U);
  EXPECT_FALSE(ledger.counts().interfered());
}

TEST_F(LedgerTest, WhatFollowsTheRegistersOfAReadIsNoList) {
  const Frame write = observer::write_request(5, Bytes(512, 'x'));
  ask(question(1));
  ask(question(2, write));
  EXPECT_TRUE(come(list(question(1), {2})));  // data that looks like one
  EXPECT_EQ(ledger.unanswered(), 1U);
}

TEST_F(LedgerTest, AnswersThatOvertakeEachOtherAreToldWhileItIsMeasured) {
  ledger.measure(true);
  const Bytes a = question(1);
  const Bytes b = question(2);
  ask(a);
  ask(b);
  EXPECT_TRUE(come(answer(b)));
  EXPECT_TRUE(come(answer(a)));
  EXPECT_EQ(ledger.counts().reordered, 1U);
  EXPECT_TRUE(ledger.disorders());
  EXPECT_TRUE(ledger.rests_on_order());
}

TEST_F(LedgerTest, TargetsThatAnswerABroadcastAreNoCopies) {
  Frame query = observer::config_request(0);
  Bytes q = question(1, query);
  set(q, F::shelf, 0xffff);
  set(q, F::slot, 0xff);
  ask(q);
  Bytes one = answer(q);
  set(one, F::shelf, 1);
  set(one, F::slot, 1);
  Bytes other = one;
  set(other, F::slot, 2);
  EXPECT_TRUE(come(one));
  EXPECT_TRUE(come(other));
  EXPECT_FALSE(come(one));
  EXPECT_EQ(ledger.counts().repeated, 1U);
}

TEST_F(LedgerTest, TheChanceOfSilenceGrowsWithWhatTheLinkLoses) {
  for (uint32_t tag = 1; tag <= 50; ++tag) {
    const Bytes q = question(tag);
    ask(q);
    if (tag % 5 == 0) {
      ask(q);
    }
    come(answer(q));
    ledger.settle(q, 3);
  }
  EXPECT_EQ(ledger.counts().lost, 10U);
  EXPECT_GT(ledger.loss(), 0.1);
  ledger.new_page();
  const Bytes silent = question(1000);
  ask(silent);
  ledger.settle(silent, 1);
  const double once = ledger.chance_of_silence();
  ledger.new_page();
  const Bytes firmly = question(1001);
  ask(firmly);
  ask(firmly);
  ask(firmly);
  ledger.settle(firmly, 3);
  const double alone = ledger.chance_of_silence();
  EXPECT_GT(once, 10 * alone);
  // What was asked once and answered makes it no likelier.
  for (uint32_t tag = 2000; tag < 2100; ++tag) {
    const Bytes q = question(tag);
    ask(q);
    come(answer(q));
  }
  EXPECT_DOUBLE_EQ(ledger.chance_of_silence(), alone);
  ask(question(3000));  // but one that was asked once and was not
  EXPECT_GT(ledger.chance_of_silence(), once);
}

}  // namespace
}  // namespace conformance::links
