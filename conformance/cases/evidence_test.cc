// The frames of a case: all of a short one, beginning and end of a long one, each with its role.

#include "conformance/cases/evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conformance/deviants/model_link.h"
#include "conformance/runner/judge.h"

namespace conformance {
namespace {

CaseFrame frame_at(int64_t at_ns) {
  CaseFrame frame;
  frame.at_ns = at_ns;
  return frame;
}

TEST(FrameLog, KeepsBeginningAndEndAndCountsTheRest) {
  FrameLog log;
  constexpr int64_t frames = 1000;
  for (int64_t i = 0; i < frames; ++i) {
    log.add(frame_at(i));
  }
  EXPECT_EQ(log.omitted(), frames - FrameLog::kFirst - FrameLog::kLast);
  const auto kept = log.take();
  ASSERT_EQ(kept.size(), FrameLog::kFirst + FrameLog::kLast);
  EXPECT_EQ(kept[FrameLog::kFirst - 1].at_ns, int64_t{FrameLog::kFirst} - 1);
  EXPECT_EQ(kept[FrameLog::kFirst].at_ns, frames - int64_t{FrameLog::kLast});
  EXPECT_EQ(kept.back().at_ns, frames - 1);
}

TEST(FrameLog, LeavesNothingOutOfAShortCase) {
  FrameLog log;
  log.add(frame_at(1));
  log.add(frame_at(2));
  EXPECT_EQ(log.omitted(), 0U);
  EXPECT_EQ(log.take().size(), 2U);
  EXPECT_TRUE(log.take().empty());
}

TEST(Evidence, TellsSetupRequestReplyBarrierAndUndoApart) {
  deviants::ModelLink link;
  TargetFacts facts;
  facts.mac = link.model().config.mac;
  facts.shelf = link.model().config.shelf;
  facts.slot = link.model().config.slot;
  Context context(link, facts, {}, {});
  Case c;
  c.id = "test.roles";
  c.clauses = {"test"};
  c.run = [](Context& t) {
    t.after([&t] { t.a().ask(observer::config_request(observer::ccmd::read)); });
    t.a().ask(observer::identify_request());
    EXPECT_TRUE(t.barrier());
    const Exchange x = t.a().ask(observer::read_request(3, 1));
    t.expect_field(x, F::ata_status, 0x99);
  };
  const CaseResult result = run_case(context, c);
  ASSERT_EQ(result.verdict, Verdict::fail);
  std::string roles;
  for (const CaseFrame& f : result.frames) {
    roles += (f.outgoing ? ">" : "<") + to_string(f.role) + " ";
  }
  EXPECT_EQ(roles, ">setup <setup >barrier <barrier >request <reply >undo <undo ");
  ASSERT_EQ(result.findings.size(), 1U);
  const auto& shown = result.findings[0].frames;
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(shown[0].role, FrameRole::request);
  EXPECT_EQ(shown[0].sent, 1U);
  EXPECT_EQ(shown[1].role, FrameRole::reply);
  ASSERT_EQ(shown[1].marks.size(), 1U);
  EXPECT_EQ(shown[1].marks[0].only, F::ata_status);
  EXPECT_GE(shown[1].at_ns, shown[0].at_ns);
}

}  // namespace
}  // namespace conformance
