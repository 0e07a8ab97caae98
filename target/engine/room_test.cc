// When intake closes, and that it always opens again.
#include "target/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/engine/fake_shell.h"

namespace target::engine::test {
namespace {

using testing::IsEmpty;

// --- room

TEST(Room, IntakeClosesBeforeItOverflowsAndOpensAgain) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  Shell shell(settings);
  std::uint32_t taken = 0;
  while (shell.intake_open()) {
    shell.give(read(taken, 1, taken));
    ++taken;
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(shell.counters().intake_closed, 1U);
  EXPECT_EQ(taken, settings.operations_max) << "all of it, and not one more";
  EXPECT_THAT(shell.flush(), IsEmpty());
  EXPECT_FALSE(shell.intake_open());
  shell.end_disk(0);
  EXPECT_FALSE(shell.intake_open()) << "the reply still lies in the slot";
  EXPECT_EQ(shell.flush().size(), 1U);
  EXPECT_TRUE(shell.intake_open()) << "or nobody would ever call the engine again";
  EXPECT_EQ(shell.run().size(), taken - 1);
}

TEST(Room, RepliesAloneCloseIntakeUntilTheyAreSent) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  Shell shell(settings);
  std::uint32_t taken = 0;
  while (shell.intake_open()) {
    shell.give(config(0, "", ++taken));
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(shell.flush().size(), taken);
  EXPECT_TRUE(shell.intake_open());
  EXPECT_EQ(shell.ask(config(0, "")).size(), 1U);
}

TEST(Room, IgnoredFramesTakeNone) {
  Shell shell;
  for (int i = 0; i < 5000; ++i) {
    FrameSpec request = config(0, "");
    request.shelf = kShelf + 1;
    shell.give(request);
  }
  EXPECT_TRUE(shell.intake_open());
}

}  // namespace
}  // namespace target::engine::test
