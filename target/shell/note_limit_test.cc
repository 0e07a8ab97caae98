// A flood of notes is a few lines, and what was left out is counted in the next one.
#include "target/shell/note_limit.h"

#include <gtest/gtest.h>

namespace target::shell {
namespace {

using engine::NoteKind;

TEST(NoteLimit, TellsSoManyInAWindowAndThenHowManyItLeftOut) {
  NoteLimit limit;
  for (std::uint32_t i = 0; i < kNoteLinesPerWindow; ++i) {
    EXPECT_EQ(limit.admit(NoteKind::disk_error, 5), 0U);
  }
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(limit.admit(NoteKind::disk_error, 5 + kNoteWindow_ns - 1), std::nullopt);
  }
  EXPECT_EQ(limit.admit(NoteKind::disk_error, 5 + kNoteWindow_ns), 7U);
  EXPECT_EQ(limit.admit(NoteKind::disk_error, 5 + kNoteWindow_ns), 0U);
}

TEST(NoteLimit, OneKindTakesNothingFromAnother) {
  NoteLimit limit;
  for (std::uint32_t i = 0; i < 2 * kNoteLinesPerWindow; ++i) {
    (void)limit.admit(NoteKind::disk_error, 5);
  }
  EXPECT_EQ(limit.admit(NoteKind::save_failed, 5), 0U);
}

}  // namespace
}  // namespace target::shell
