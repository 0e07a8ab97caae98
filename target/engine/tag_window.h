// The memory of one initiator's write tags: which were performed, which are in flight, which are
// too old to know. Owns serial number arithmetic; never knows what a tag's write was about.
//
// Positions run from highest - (size - 1) to highest. The window slides when a write with a newer
// tag begins, and its new positions are unused: a tag between two that were used may still arrive.
#pragma once

#include <cstdint>
#include <vector>

namespace target::engine {

inline constexpr std::uint32_t kTagWindowTags = 32768;

enum class TagState : std::uint8_t {
  fresh,      // never seen, or un-marked: perform it
  in_flight,  // its write is not on disk yet
  answered,   // performed: answer a duplicate as a success
  stale,      // behind the window: nobody knows
};

class TagWindow {
 public:
  // size: a power of two, at most 2^30. Tests take a small one to try everything.
  explicit TagWindow(std::uint32_t size = kTagWindowTags);

  // An empty window, in which every tag is fresh. What was in flight before is forgotten: its
  // finish() must not be called.
  void restart();

  [[nodiscard]] TagState classify(std::uint32_t tag) const;

  // A write with a fresh tag goes to the disk. The window slides up to it if it is the newest.
  void begin(std::uint32_t tag);

  // Its disk operation ended: remembered when it was performed, un-marked when it failed. A tag
  // that fell out of the window while in flight leaves no trace.
  void finish(std::uint32_t tag, bool performed);

  // Another request than a write showed this tag. It moves the window only when it is so far ahead
  // that the next writes would seem to lie behind.
  void observe(std::uint32_t tag);

 private:
  [[nodiscard]] bool contains(std::uint32_t tag) const;
  void slide_to(std::uint32_t tag);
  void forget(std::uint32_t tag);

  std::uint32_t size_;
  bool empty_ = true;
  std::uint32_t highest_ = 0;
  // One bit for each tag modulo size.
  std::vector<std::uint64_t> answered_;
  std::vector<std::uint64_t> in_flight_;
};

}  // namespace target::engine
