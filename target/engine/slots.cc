// Layout: one page of which only the end is used, then a stride for each slot. The header of slot i
// lies in the last bytes of the stride before, which the data of slot i - 1 leaves free.
#include "target/engine/slots.h"

#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

#include "target/wire/aoe.h"

namespace target::engine {

namespace {

constexpr std::size_t kHeaderRoomBytes = 64;  // 36 used, a whole cache line kept free
static_assert(kHeaderRoomBytes >= wire::kAtaArgumentEnd);

std::size_t round_up(std::size_t bytes) {
  return (bytes + kDataAlignmentBytes - 1) / kDataAlignmentBytes * kDataAlignmentBytes;
}

}  // namespace

void Slots::FreeAligned::operator()(std::byte* memory) const {
  std::free(memory);
}

Slots::Slots(std::uint32_t count, std::size_t frame_bytes_max)
    : count_(count),
      frame_bytes_max_(frame_bytes_max),
      stride_bytes_(round_up(frame_bytes_max - wire::kAtaArgumentEnd + kHeaderRoomBytes)) {
  const std::size_t bytes = kDataAlignmentBytes + count * stride_bytes_;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kDataAlignmentBytes, bytes)));
  if (memory_ == nullptr) {
    throw std::bad_alloc();
  }
  std::memset(memory_.get(), 0, bytes);
  free_.reserve(count);
  for (std::uint32_t slot = count; slot-- > 0;) {
    free_.push_back(slot);
  }
}

std::uint32_t Slots::take() {
  assert(!free_.empty());
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void Slots::give_back(std::uint32_t slot) {
  assert(slot < count_ && free_.size() < count_);
  free_.push_back(slot);
}

std::span<std::byte> Slots::frame(std::uint32_t slot) {
  std::byte* data = memory_.get() + kDataAlignmentBytes + slot * stride_bytes_;
  return {data - wire::kAtaArgumentEnd, frame_bytes_max_};
}

std::span<std::byte> Slots::data(std::uint32_t slot) {
  return frame(slot).subspan(wire::kAtaArgumentEnd);
}

}  // namespace target::engine
