// When intake closes, and that it always opens again.
#include "target/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/engine/hand_cranked.h"

namespace target::engine::test {
namespace {

using testing::IsEmpty;

// --- room

TEST(Room, IntakeClosesBeforeItOverflowsAndOpensAgain) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  HandCranked crank(settings);
  std::uint32_t taken = 0;
  while (crank.intake_open()) {
    crank.give(read(taken, 1, taken));
    ++taken;
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(crank.counters().intake_closed, 1U);
  EXPECT_EQ(taken, settings.operations_max) << "all of it, and not one more";
  EXPECT_THAT(crank.flush(), IsEmpty());
  EXPECT_FALSE(crank.intake_open());
  crank.end_disk(0);
  EXPECT_FALSE(crank.intake_open()) << "the reply still lies in the slot";
  EXPECT_EQ(crank.flush().size(), 1U);
  EXPECT_TRUE(crank.intake_open()) << "or nobody would ever call the engine again";
  EXPECT_EQ(crank.run().size(), taken - 1);
}

TEST(Room, RepliesAloneCloseIntakeUntilTheyAreSent) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  HandCranked crank(settings);
  std::uint32_t taken = 0;
  while (crank.intake_open()) {
    crank.give(config(0, "", ++taken));
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(crank.flush().size(), taken);
  EXPECT_TRUE(crank.intake_open());
  EXPECT_EQ(crank.ask(config(0, "")).size(), 1U);
}

TEST(Room, IgnoredFramesTakeNone) {
  HandCranked crank;
  for (int i = 0; i < 5000; ++i) {
    FrameSpec request = config(0, "");
    request.shelf = kShelf + 1;
    crank.give(request);
  }
  EXPECT_TRUE(crank.intake_open());
}

}  // namespace
}  // namespace target::engine::test
