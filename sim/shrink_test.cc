#include "sim/shrink.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/isolated.h"
#include "sim/swarm.h"

namespace sim {
namespace {

TEST(Shrink, LowersWhatAnOperationCounts) {
  Schedule schedule;
  schedule.initiators.emplace_back();
  schedule.initiators[0].name = "a";
  schedule.initiators[0].ops = {{OpKind::skip, 0, 0, 40'000},
                                {OpKind::coalesced, 0, 1, 50},
                                {OpKind::congestion, 0, 40, 900}};
  const ShrinkResult small = shrink(schedule, [](const Schedule& candidate) {
    const std::vector<Op>& ops = candidate.initiators[0].ops;
    return ops.size() == 3 && ops[0].amount >= 32'768 && ops[1].amount >= 7 && ops[2].sectors >= 3;
  });
  const std::vector<Op>& ops = small.schedule.initiators[0].ops;
  EXPECT_EQ(ops[0].amount, 32'768);
  EXPECT_EQ(ops[1].amount, 7);
  EXPECT_EQ(ops[2].sectors, 3U);
  EXPECT_EQ(ops[2].amount, 0);
}

// A shorter MTU is one of the first things that are tried.
TEST(Shrink, ASmallerWorldIsAWorld) {
  const RandomRun random = make_random(13'591, "aoede");
  Schedule schedule = random.schedule;
  schedule.settings.mtu = 9'000;
  for (InitiatorSpec& spec : schedule.initiators) {
    spec.frame_sectors = 17;
  }
  std::uint64_t crashes = 0;
  const ShrinkResult small = shrink(
      schedule,
      [&](const Schedule& candidate) {
        const Isolated result = run_isolated(candidate, std::nullopt);
        crashes += result.outcome == Outcome::crash ? 1 : 0;
        return true;
      },
      200);
  EXPECT_EQ(crashes, 0U);
  EXPECT_LT(small.schedule.choices(), schedule.choices());
}

// An engine that breaks an assertion when it is started.
TEST(Shrink, ABrokenAssertionShrinks) {
  Schedule schedule = make_random(5, "plain").schedule;
  schedule.settings.mtu = 100;
  const Isolated original = run_isolated(schedule, std::nullopt);
  ASSERT_EQ(original.outcome, Outcome::crash);
  const ShrinkResult small = shrink(schedule, [&](const Schedule& candidate) {
    return run_isolated(candidate, std::nullopt).signature == original.signature;
  });
  EXPECT_LE(small.schedule.choices(), 2U);
  EXPECT_EQ(small.schedule.settings.mtu, 100);
}

}  // namespace
}  // namespace sim
