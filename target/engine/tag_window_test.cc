// The tag window against a slow and obvious model: a million random steps on the real size, every
// sequence of a small world on a window of 8, and the cases that the documents name.
#include "target/engine/tag_window.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace target::engine {
namespace {

// The obvious model: it remembers everything that ever happened to every tag, and asks how far the
// newest tag is ahead.
class Model {
 public:
  explicit Model(std::uint32_t size) : size_(size) {}

  [[nodiscard]] TagState classify(std::uint32_t tag) const {
    if (!started_ || ahead(tag)) {
      return TagState::fresh;
    }
    if (behind(tag)) {
      return TagState::stale;
    }
    if (answered_.contains(tag)) {
      return TagState::answered;
    }
    return in_flight_.contains(tag) ? TagState::in_flight : TagState::fresh;
  }
  void begin(std::uint32_t tag) {
    if (!started_ || ahead(tag)) {
      started_ = true;
      highest_ = tag;
      drop_what_is_behind();
    }
    in_flight_.insert(tag);
  }
  void finish(std::uint32_t tag, bool performed) {
    if (in_flight_.erase(tag) != 0 && performed) {
      answered_.insert(tag);
    }
  }
  void observe(std::uint32_t tag) {
    if (started_ && ahead(tag) && tag - highest_ >= 0x4000'0000U) {
      highest_ = tag;
      drop_what_is_behind();
    }
  }
  void restart() { *this = Model(size_); }

 private:
  [[nodiscard]] bool ahead(std::uint32_t tag) const {
    return static_cast<std::int32_t>(tag - highest_) > 0;
  }
  [[nodiscard]] bool behind(std::uint32_t tag) const {
    return static_cast<std::uint32_t>(highest_ - tag) >= size_;
  }
  void drop_what_is_behind() {
    std::erase_if(in_flight_, [this](std::uint32_t tag) { return behind(tag); });
    std::erase_if(answered_, [this](std::uint32_t tag) { return behind(tag); });
  }
  std::uint32_t size_;
  bool started_ = false;
  std::uint32_t highest_ = 0;
  std::set<std::uint32_t> answered_;
  std::set<std::uint32_t> in_flight_;
};

// One small step of either; what a target does with a write that arrives with this tag.
enum class Step : std::uint8_t { write_ok, write_failed, write_stays, end_ok, end_failed, read };

template <typename Window>
void take(Window& window, Step step, std::uint32_t tag) {
  switch (step) {
    case Step::write_ok:
    case Step::write_failed:
    case Step::write_stays:
      if (window.classify(tag) == TagState::fresh) {
        window.begin(tag);
        if (step != Step::write_stays) {
          window.finish(tag, step == Step::write_ok);
        }
      }
      return;
    case Step::end_ok:
      return window.finish(tag, true);
    case Step::end_failed:
      return window.finish(tag, false);
    case Step::read:
      return window.observe(tag);
  }
}

TEST(TagWindow, AnEmptyWindowTakesAnyTag) {
  const TagWindow window;
  for (const std::uint32_t tag : {0U, 1U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    EXPECT_EQ(window.classify(tag), TagState::fresh);
  }
}

TEST(TagWindow, RemembersExactly32768Tags) {
  TagWindow window;
  for (std::uint32_t tag = 100; tag < 100 + kTagWindowTags; ++tag) {
    ASSERT_EQ(window.classify(tag), TagState::fresh);
    window.begin(tag);
    ASSERT_EQ(window.classify(tag), TagState::in_flight);
    window.finish(tag, true);
    ASSERT_EQ(window.classify(tag), TagState::answered);
    ASSERT_EQ(window.classify(100), TagState::answered) << "after " << tag - 100 << " newer writes";
  }
  window.begin(100 + kTagWindowTags);
  EXPECT_EQ(window.classify(100), TagState::stale);
  EXPECT_EQ(window.classify(101), TagState::answered);
}

TEST(TagWindow, ZeroFollowsTheHighestNumber) {
  TagWindow window;
  for (std::uint32_t tag = 0xFFFF'FFF0U; tag != 0x10; ++tag) {
    ASSERT_EQ(window.classify(tag), TagState::fresh) << tag;
    window.begin(tag);
    window.finish(tag, true);
  }
  for (std::uint32_t tag = 0xFFFF'FFF0U; tag != 0x10; ++tag) {
    EXPECT_EQ(window.classify(tag), TagState::answered) << tag;
  }
}

TEST(TagWindow, TagsBetweenTwoThatWereUsedAreUnused) {
  TagWindow window;
  window.begin(1000);
  window.finish(1000, true);
  window.begin(1010);
  EXPECT_EQ(window.classify(1005), TagState::fresh);
  window.begin(1005);
  window.finish(1005, true);
  EXPECT_EQ(window.classify(1005), TagState::answered);
  EXPECT_EQ(window.classify(1010), TagState::in_flight) << "a late one does not move the window";
  EXPECT_EQ(window.classify(990), TagState::fresh) << "before the first, and inside";
}

TEST(TagWindow, AFailedWriteIsUnmarked) {
  TagWindow window;
  window.begin(7);
  window.finish(7, false);
  EXPECT_EQ(window.classify(7), TagState::fresh);
  window.begin(7);
  window.finish(7, true);
  EXPECT_EQ(window.classify(7), TagState::answered);
}

TEST(TagWindow, ATagThatFellOutWhileInFlightLeavesNoTrace) {
  TagWindow window(8);
  window.begin(1);
  window.begin(1 + 8);  // takes the same place
  EXPECT_EQ(window.classify(1), TagState::stale);
  window.finish(1, true);
  EXPECT_EQ(window.classify(9), TagState::in_flight);
  window.finish(9, false);
  EXPECT_EQ(window.classify(9), TagState::fresh);
}

TEST(TagWindow, ReadsMoveItOnlyWhenItWouldTurnAround) {
  TagWindow window;
  window.begin(5);
  window.finish(5, true);
  window.observe(5 + 1'000'000);
  EXPECT_EQ(window.classify(5), TagState::answered);
  // An initiator that reads 3 * 2^30 times between two writes.
  for (std::uint32_t i = 1; i <= 3; ++i) {
    window.observe(5 + i * 0x4000'0000U);
  }
  EXPECT_EQ(window.classify(6 + 3 * 0x4000'0000U), TagState::fresh);
  EXPECT_EQ(window.classify(5), TagState::fresh) << "half a circle on, 5 is ahead again";
}

// Every sequence of five steps in a world of tags around a window of 8, and around the end of
// numbers.
TEST(TagWindow, AgreesWithTheModelOnEverySequenceInASmallWorld) {
  constexpr std::uint32_t kSize = 8;
  constexpr std::array<std::uint32_t, 7> kOffsets{0, 1, 2, 7, 8, 9, 16};
  constexpr std::array<Step, 4> kSteps{Step::write_ok, Step::write_failed, Step::write_stays,
                                       Step::end_ok};
  constexpr std::size_t kMoves = kOffsets.size() * kSteps.size();
  constexpr std::size_t kLength = 4;
  std::size_t sequences = 1;
  for (std::size_t i = 0; i < kLength; ++i) {
    sequences *= kMoves;
  }
  for (const std::uint32_t base : {0U, 0xFFFF'FFF8U}) {
    for (std::size_t sequence = 0; sequence < sequences; ++sequence) {
      TagWindow window(kSize);
      Model model(kSize);
      std::size_t rest = sequence;
      for (std::size_t i = 0; i < kLength; ++i) {
        const std::size_t move = rest % kMoves;
        rest /= kMoves;
        const std::uint32_t tag = base + kOffsets[move / kSteps.size()];
        const Step step = kSteps[move % kSteps.size()];
        take(window, step, tag);
        take(model, step, tag);
      }
      for (std::uint32_t offset = 0; offset < 20; ++offset) {
        ASSERT_EQ(window.classify(base - 2 + offset), model.classify(base - 2 + offset))
            << "sequence " << sequence << " base " << base << " offset " << offset;
      }
    }
  }
}

// One random walk: mostly the next tags, sometimes a repetition, a late one, a jump.
class Walk {
 public:
  explicit Walk(std::uint64_t seed, std::uint32_t size) : state_(seed * 2 + 1), size_(size) {
    next_ = static_cast<std::uint32_t>(random(8)) - 4;
  }
  std::uint64_t random(std::uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % limit;
  }
  std::uint32_t tag() {
    switch (random(8)) {
      case 0:
        return next_ - static_cast<std::uint32_t>(random(4));
      case 1:
        return next_ - static_cast<std::uint32_t>(random(size_ + 4));
      case 2:
        return next_ + static_cast<std::uint32_t>(random(size_ * 2));
      case 3:
        return next_ += static_cast<std::uint32_t>(random(size_ / 2));
      case 4:
        if (random(64) == 0) {
          return next_ += static_cast<std::uint32_t>(random(0x9000'0000U));
        }
        return next_++;
      default:
        return next_++;
    }
  }

 private:
  std::uint64_t state_;
  std::uint32_t size_;
  std::uint32_t next_;
};

// All the tags that matter near one: itself, its neighbours, the edges of the window from it.
template <typename Check>
void for_tags_near(std::uint32_t tag, std::uint32_t size, Check check) {
  for (const std::uint32_t offset : {0U, 1U, 0U - 1U, size, 0U - size, size - 1, 1U - size}) {
    check(tag + offset);
  }
}

TEST(TagWindow, AgreesWithTheModelOnAMillionSequences) {
  constexpr std::uint32_t kSize = 8;
  constexpr std::size_t kSequences = 1'000'000;
  constexpr std::size_t kLength = 12;
  for (std::uint64_t seed = 1; seed <= kSequences; ++seed) {
    Walk walk(seed, kSize);
    TagWindow window(kSize);
    Model model(kSize);
    for (std::size_t i = 0; i < kLength; ++i) {
      const std::uint32_t tag = walk.tag();
      const auto step = static_cast<Step>(walk.random(6));
      ASSERT_EQ(window.classify(tag), model.classify(tag)) << "seed " << seed << " step " << i;
      take(window, step, tag);
      take(model, step, tag);
      ASSERT_EQ(window.classify(tag), model.classify(tag)) << "seed " << seed << " step " << i;
    }
  }
}

TEST(TagWindow, AgreesWithTheModelOnAMillionSteps) {
  Walk walk(20090211, kTagWindowTags);
  TagWindow window;
  Model model(kTagWindowTags);
  for (std::size_t i = 0; i < 1'000'000; ++i) {
    const std::uint32_t tag = walk.tag();
    const auto step = static_cast<Step>(walk.random(6));
    take(window, step, tag);
    take(model, step, tag);
    for_tags_near(tag, kTagWindowTags, [&](std::uint32_t near) {
      ASSERT_EQ(window.classify(near), model.classify(near)) << "step " << i;
    });
    if (walk.random(50'000) == 0) {
      window.restart();
      model.restart();
    }
  }
}

TEST(TagWindow, AgreesWithTheModelOnAnyShortSequence) {
  EXPECT_TRUE(rc::check("window and model", [](const std::vector<std::uint8_t>& choices) {
    TagWindow window(8);
    Model model(8);
    for (const std::uint8_t choice : choices) {
      const std::uint32_t tag = 0xFFFF'FFF4U + (choice & 0x1F);
      const auto step = static_cast<Step>((choice >> 5) % 6);
      take(window, step, tag);
      take(model, step, tag);
      for (std::uint32_t near = 0xFFFF'FFE0U; near != 0x30; ++near) {
        RC_ASSERT(window.classify(near) == model.classify(near));
      }
    }
  }));
}

}  // namespace
}  // namespace target::engine
