#include "sim/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/swarm.h"
#include "sim/world.h"

namespace sim {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_schedule(text);
  } catch (const ScheduleError& error) {
    return error.what();
  }
  return "none";
}

TEST(Schedule, WhatIsPrintedReadsBackTheSame) {
  for (const std::string_view profile : profiles()) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const RandomRun random = make_random(seed, profile);
      World world(random.schedule, random.swarm);
      const Result result = world.run();
      const Schedule written = world.written();
      const Schedule read = parse_schedule(print_schedule(written));
      ASSERT_EQ(read, written) << profile << " " << seed;
      World replayed(read);
      ASSERT_EQ(replayed.run().hash, result.hash) << profile << " " << seed;
    }
  }
}

TEST(Schedule, MistakesAreNamedWithTheirLine) {
  using testing::HasSubstr;
  EXPECT_THAT(error_of(""), HasSubstr("aoe-sim 1"));
  EXPECT_THAT(error_of("aoe-sim 2"), HasSubstr("line 1"));
  EXPECT_THAT(error_of("aoe-sim 1\nfoo"), HasSubstr("line 2: \"foo\" is no statement"));
  EXPECT_THAT(error_of("aoe-sim 1\nset speed 3"), HasSubstr("\"speed\" is no setting"));
  EXPECT_THAT(error_of("aoe-sim 1\ninitiator t aoede"), HasSubstr("taken"));
  EXPECT_THAT(error_of("aoe-sim 1\nop a read 0 1"), HasSubstr("no host \"a\""));
  EXPECT_THAT(error_of("aoe-sim 1\ninitiator a aoede\nframe a>sw 0 delay 3"), HasSubstr("units"));
  EXPECT_THAT(error_of("aoe-sim 1\ninitiator a aoede\nop a wait 9999999999999999s"),
              HasSubstr("duration"));
  EXPECT_THAT(error_of("aoe-sim 1\ninitiator a aoede\nop a read 0 1 2"), HasSubstr("too much"));
}

}  // namespace
}  // namespace sim
