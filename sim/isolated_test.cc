#include "sim/isolated.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/swarm.h"

namespace sim {
namespace {

using ::testing::StartsWith;

Schedule one_host() {
  Schedule schedule;
  schedule.initiators.emplace_back();
  schedule.initiators[0].name = "a";
  return schedule;
}

TEST(Isolated, ARunThatEndsIsTheSameRun) {
  const RandomRun random = make_random(3, "aoede");
  World world(random.schedule, random.swarm);
  const Result here = world.run();
  const Isolated there = run_isolated(random.schedule, random.swarm);
  EXPECT_EQ(there.hash, here.hash);
  EXPECT_EQ(there.outcome, here.outcome);
  EXPECT_EQ(there.written, world.written());
}

TEST(Isolated, ABrokenAssertionSaysWhere) {
  Schedule schedule = one_host();
  schedule.settings.mtu = 100;  // the engine asserts that a config reply fits
  const Isolated result = run_isolated(schedule, std::nullopt);
  EXPECT_EQ(result.outcome, Outcome::crash);
  EXPECT_THAT(result.signature, StartsWith("crash:"));
  EXPECT_THAT(result.signature, ::testing::HasSubstr("kMtuMin"));
  EXPECT_EQ(result.written.settings, schedule.settings);
}

TEST(Isolated, ARunWithoutEndIsAHang) {
  Schedule schedule = one_host();
  schedule.settings.limit_ns = 1'000'000 * kSecond;
  schedule.initiators[0].rto_ns = kMicrosecond;
  schedule.host_events.push_back({0, HostEventKind::partition_both, kTargetHost, 0});
  const Isolated result = run_isolated(schedule, std::nullopt, 1);
  EXPECT_EQ(result.outcome, Outcome::hang);
  EXPECT_EQ(result.signature, "hang");
}

TEST(Isolated, AssertionsAreToldApartByPlace) {
  EXPECT_EQ(assertion_signature("a < b && \"why\"", "../target/engine/engine.cc",
                                "void target::engine::Engine::Impl::take_frame(const FrameIn&)"),
            "crash:engine.cc:take_frame:a<b&&\"why\"");
  EXPECT_EQ(assertion_signature("false", "x.cc", "main"), "crash:x.cc:main:false");
}

}  // namespace
}  // namespace sim
