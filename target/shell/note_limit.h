// At most so many lines of a kind in each second: a note is for people, and a flood of frames must
// not become a flood of lines.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "target/engine/values.h"

namespace target::shell {

inline constexpr engine::Nanoseconds kNoteWindow_ns = 1'000'000'000;
inline constexpr std::uint32_t kNoteLinesPerWindow = 10;

class NoteLimit {
 public:
  // Nothing: leave it out. A number: tell it, and that so many of its kind were left out before.
  std::optional<std::uint64_t> admit(engine::NoteKind kind, engine::Nanoseconds now) {
    OfKind& limit = kinds_.at(static_cast<std::size_t>(kind));
    if (limit.lines == 0 || now - limit.window_start >= kNoteWindow_ns) {
      limit.window_start = now;
      limit.lines = 0;
    }
    if (limit.lines == kNoteLinesPerWindow) {
      ++limit.left_out;
      return std::nullopt;
    }
    ++limit.lines;
    const std::uint64_t before = limit.left_out;
    limit.left_out = 0;
    return before;
  }

 private:
  struct OfKind {
    engine::Nanoseconds window_start = 0;
    std::uint32_t lines = 0;
    std::uint64_t left_out = 0;
  };
  std::array<OfKind, 16> kinds_;
};

}  // namespace target::shell
