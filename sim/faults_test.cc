#include "sim/faults.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sim {
namespace {

constexpr std::uint64_t kFrames = 4'000;
constexpr std::uint64_t kRate = 30'000;

Schedule two_hosts() {
  Schedule schedule;
  schedule.initiators.resize(1);
  return schedule;
}

// Every verdict of this kind that a swarm passes on one link.
std::vector<FrameFault> verdicts(const Swarm& swarm, FrameFaultKind kind) {
  const Schedule schedule = two_hosts();
  Faults faults(schedule, swarm);
  std::vector<FrameFault> all;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    for (const FrameFault& fault : faults.next_frame(1, 0, 500)) {
      if (fault.kind == kind) {
        all.push_back(fault);
      }
    }
  }
  return all;
}

Swarm only(std::uint64_t Swarm::*rate) {
  Swarm swarm;
  swarm.seed = 7;
  swarm.delay_max = kSecond;
  swarm.duplicate_max = kSecond;
  swarm.heal_at = kSecond;
  swarm.*rate = kRate;
  return swarm;
}

TEST(Faults, AnotherKindOfFaultShiftsNoVerdict) {
  const std::vector<FrameFault> alone =
      verdicts(only(&Swarm::duplicate), FrameFaultKind::duplicate);
  ASSERT_GT(alone.size(), kFrames / 100);
  Swarm more = only(&Swarm::duplicate);
  more.delay = kRate;
  more.flip = kRate;
  more.truncate = kRate;
  more.disk_error = kRate;
  EXPECT_EQ(verdicts(more, FrameFaultKind::duplicate), alone);
  // A frame that is lost meets nothing else; the others meet what they met before.
  more.drop = kRate;
  const std::vector<FrameFault> fewer = verdicts(more, FrameFaultKind::duplicate);
  EXPECT_LT(fewer.size(), alone.size());
  for (const FrameFault& fault : fewer) {
    EXPECT_NE(std::find(alone.begin(), alone.end(), fault), alone.end());
  }
}

TEST(Faults, AVerdictDependsOnTheFramesNumberAlone) {
  const Schedule schedule = two_hosts();
  const Swarm swarm = only(&Swarm::drop);
  Faults one(schedule, swarm);
  Faults other(schedule, swarm);
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    other.next_frame(2, 0, 60);
    other.next_disk(0, true, 2);
    EXPECT_EQ(one.next_frame(1, 0, 500), other.next_frame(1, 5, 60));
  }
}

TEST(Faults, ABurstIsARunOfLosses) {
  Swarm swarm = only(&Swarm::burst);
  swarm.burst = 2'000;
  const std::vector<FrameFault> lost = verdicts(swarm, FrameFaultKind::drop);
  std::size_t neighbours = 0;
  for (std::size_t i = 1; i < lost.size(); ++i) {
    neighbours += lost[i].index == lost[i - 1].index + 1 ? 1 : 0;
  }
  EXPECT_GT(neighbours * 10, lost.size() * 6);
}

TEST(Faults, AnOutageStrikesEveryLinkAtOnce) {
  const Schedule schedule = two_hosts();
  Swarm swarm = only(&Swarm::outage);
  Faults faults(schedule, swarm);
  bool all_lost = false;
  bool none_lost = false;
  for (Nanoseconds span = 0; span < 190; ++span) {
    std::size_t lost = 0;
    for (LinkId link = 0; link < 4; ++link) {
      for (int frame = 0; frame < 8; ++frame) {
        lost += faults.next_frame(link, span * 5 * kMillisecond, 60).size();
      }
    }
    all_lost = all_lost || lost > 16;
    none_lost = none_lost || lost == 0;
    EXPECT_TRUE(lost == 0 || lost > 8) << lost;
  }
  EXPECT_TRUE(all_lost);
  EXPECT_TRUE(none_lost);
}

TEST(Faults, NothingStrikesOnceItHasHealed) {
  const Schedule schedule = two_hosts();
  Swarm swarm = only(&Swarm::drop);
  swarm.drop = 1'000'000;
  Faults faults(schedule, swarm);
  EXPECT_FALSE(faults.next_frame(0, 0, 60).empty());
  EXPECT_TRUE(faults.next_frame(0, kSecond, 60).empty());
}

}  // namespace
}  // namespace sim
