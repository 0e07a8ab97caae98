// Two bitmaps that are reused as the window slides. A tag's bits mean something only while the tag
// is inside the window, and they are cleared when the window slides onto its position.
//
// Which requests move the window: writes alone, for it remembers "the last 32,768 tags of writes";
// a reader's tags would push remembered writes out, and a late duplicate of one of them would no
// longer be known. There is one exception, see observe().
#include "target/engine/tag_window.h"

#include <algorithm>
#include <cassert>

namespace target::engine {

namespace {

constexpr std::uint32_t kBitsPerWord = 64;
// RFC 1982: a is newer than b when it is less than half the number circle ahead.
constexpr std::uint32_t kSerialHalf = 0x8000'0000U;
// An initiator that only reads for 2^30 tags takes the window along: past 2^31 its next write would
// look older than the last.
constexpr std::uint32_t kObserveAhead = 0x4000'0000U;

bool newer(std::uint32_t a, std::uint32_t b) {
  return a != b && a - b < kSerialHalf;
}

bool test(const std::vector<std::uint64_t>& bits, std::uint32_t position) {
  return (bits[position / kBitsPerWord] >> (position % kBitsPerWord) & 1U) != 0;
}

void set(std::vector<std::uint64_t>& bits, std::uint32_t position) {
  bits[position / kBitsPerWord] |= std::uint64_t{1} << (position % kBitsPerWord);
}

void clear(std::vector<std::uint64_t>& bits, std::uint32_t position) {
  bits[position / kBitsPerWord] &= ~(std::uint64_t{1} << (position % kBitsPerWord));
}

}  // namespace

TagWindow::TagWindow(std::uint32_t size)
    : size_(size),
      answered_((size + kBitsPerWord - 1) / kBitsPerWord),
      in_flight_((size + kBitsPerWord - 1) / kBitsPerWord) {
  assert(size != 0 && (size & (size - 1)) == 0 && size <= kObserveAhead);
}

void TagWindow::restart() {
  std::fill(answered_.begin(), answered_.end(), 0);
  std::fill(in_flight_.begin(), in_flight_.end(), 0);
  empty_ = true;
  highest_ = 0;
}

bool TagWindow::contains(std::uint32_t tag) const {
  return !empty_ && highest_ - tag < size_;
}

TagState TagWindow::classify(std::uint32_t tag) const {
  if (empty_ || newer(tag, highest_)) {
    return TagState::fresh;
  }
  if (!contains(tag)) {
    return TagState::stale;
  }
  const std::uint32_t position = tag % size_;
  if (test(answered_, position)) {
    return TagState::answered;
  }
  return test(in_flight_, position) ? TagState::in_flight : TagState::fresh;
}

void TagWindow::forget(std::uint32_t tag) {
  clear(answered_, tag % size_);
  clear(in_flight_, tag % size_);
}

void TagWindow::slide_to(std::uint32_t tag) {
  if (empty_ || tag - highest_ >= size_) {
    restart();
  } else {
    for (std::uint32_t next = highest_ + 1; next != tag + 1; ++next) {
      forget(next);
    }
  }
  empty_ = false;
  highest_ = tag;
}

void TagWindow::begin(std::uint32_t tag) {
  assert(classify(tag) == TagState::fresh);
  if (empty_ || newer(tag, highest_)) {
    slide_to(tag);
  }
  set(in_flight_, tag % size_);
}

void TagWindow::finish(std::uint32_t tag, bool performed) {
  const std::uint32_t position = tag % size_;
  if (!contains(tag) || !test(in_flight_, position)) {
    return;
  }
  clear(in_flight_, position);
  if (performed) {
    set(answered_, position);
  }
}

void TagWindow::observe(std::uint32_t tag) {
  if (!empty_ && newer(tag, highest_) && tag - highest_ >= kObserveAhead) {
    slide_to(tag);
  }
}

}  // namespace target::engine
