#include "conformance/hostile/cases.h"

#include <gtest/gtest.h>

#include <set>

#include "conformance/deviants/model_link.h"
#include "conformance/observer/build.h"

namespace conformance::hostile {
namespace {

using deviants::ModelLink;

Verdict worst(const Seen& seen) {
  Verdict out = Verdict::pass;
  for (const Finding& f : seen.findings) {
    out = out == Verdict::fail ? out : f.verdict;
  }
  return out;
}

TEST(InitiatorCases, HaveIdsOfTheirOwnAndAClause) {
  std::set<std::string> ids;
  for (const InitiatorCase& c : initiator_cases()) {
    EXPECT_TRUE(ids.insert(c.id).second) << c.id;
    EXPECT_TRUE(c.play) << c.id;
    EXPECT_EQ(c.clause.rfind("INIT-", 0), 0U) << c.id;
  }
  EXPECT_GE(ids.size(), 12U);
}

// What was said of the work against what stands on the disk.
TEST(InitiatorCases, WorkThatIsSaidToBeDoneIsDone) {
  using Work = InitiatorCase::Work;
  struct Row {
    Work work;
    bool in_time, good, right;
    Verdict verdict;
  };
  const Row rows[] = {
      {Work::done, true, true, true, Verdict::pass},
      {Work::done, true, true, false, Verdict::fail},
      {Work::done, true, false, true, Verdict::fail},
      {Work::done, false, false, true, Verdict::fail},
      {Work::refused, true, false, false, Verdict::pass},
      {Work::refused, true, true, true, Verdict::fail},
      {Work::refused, false, false, false, Verdict::warn},
      {Work::either, true, true, true, Verdict::pass},
      {Work::either, true, false, false, Verdict::pass},
      {Work::either, true, true, false, Verdict::fail},
      {Work::either, false, false, false, Verdict::warn},
  };
  for (const Row& row : rows) {
    ModelLink link;
    Player player(link, {});
    InitiatorCase c;
    c.clause = "INIT-DATA";
    c.work = row.work;
    const Ended ended{true, row.in_time, row.good, row.right, row.right, "ended"};
    Seen seen{player, ended, {}, false, {}};
    judge_work(c, seen);
    EXPECT_EQ(worst(seen), row.verdict)
        << static_cast<int>(row.work) << row.in_time << row.good << row.right;
  }
}

// Serves a frame that came, and says what its form was.
std::set<std::string> form_of(const Bytes& frame) {
  class OneFrame : public ModelLink {
   public:
    std::optional<links::ReceivedFrame> receive(int64_t deadline_ns) override {
      if (frame.empty()) {
        return ModelLink::receive(deadline_ns);
      }
      return links::ReceivedFrame{std::exchange(frame, {}), now_ns()};
    }
    Bytes frame;
  };
  OneFrame link;
  deviants::ModelConfig config;
  Player player(link, config);
  link.frame = frame;
  player.serve(link.now_ns() + links::kNsPerMs, [] { return false; });
  const Ended ended;
  Seen seen{player, ended, {}, false, {}};
  judge_form(seen);
  std::set<std::string> out;
  for (const Finding& f : seen.findings) {
    out.insert(f.headline);
  }
  return out;
}

Bytes request(observer::Frame frame) {
  const deviants::ModelConfig config;
  return frame.src({2, 0, 0, 0, 0, 1})
      .dst(config.mac)
      .set(observer::F::shelf, config.shelf)
      .set(observer::F::slot, config.slot)
      .bytes();
}

TEST(InitiatorCases, TheFormOfARequest) {
  const Bytes data(512, 1);
  EXPECT_EQ(form_of(request(observer::write_request(1, data))), std::set<std::string>{});
  EXPECT_EQ(form_of(request(observer::read_request(1, 1))), std::set<std::string>{});
  observer::Frame other = observer::read_request(1, 1);
  other.set(observer::F::version, 2);
  EXPECT_EQ(form_of(request(other)), std::set<std::string>{"a request of another version"});
  observer::Frame flags = observer::read_request(1, 1);
  flags.set(observer::F::error, 3);
  EXPECT_EQ(form_of(request(flags)), std::set<std::string>{"flags or an error code in a request"});
  observer::Frame bare = observer::write_request(1, data);
  bare.set(observer::F::ata_flag_write, 0);
  EXPECT_EQ(form_of(request(bare)), std::set<std::string>{"a write without the W flag"});
  observer::Frame longer = observer::write_request(1, data);
  longer.set(observer::F::ata_count, 2);
  EXPECT_EQ(form_of(request(longer)), std::set<std::string>{"a write with less data than it says"});
}

}  // namespace
}  // namespace conformance::hostile
