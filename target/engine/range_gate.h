// Keeps disk operations that touch the same sectors in order of arrival: of two that overlap,
// unless both read, the second is not started before the first has ended. A flush waits for the
// writes that arrived before it. Owns the order and nothing else; never knows whose operation it
// is.
//
// Why: a disk queue promises no order, and a stale write could arise in the target itself, without
// any help from the network.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "target/engine/values.h"

namespace target::engine {

class RangeGate {
 public:
  // Ids are below capacity, each in the gate at most once.
  explicit RangeGate(std::uint32_t capacity);

  // The operation has arrived; true if it may start at once. A held one is given by a later
  // leave().
  bool enter(std::uint32_t id, DiskOpKind kind, std::uint64_t lba, std::uint32_t sectors);

  // An operation that was started has ended. The ids that may start now, in order of arrival; valid
  // until the next call.
  std::span<const std::uint32_t> leave(std::uint32_t id);

  [[nodiscard]] std::uint32_t size() const { return size_; }

 private:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  struct Entry {
    DiskOpKind kind = DiskOpKind::read;
    std::uint64_t lba = 0;
    std::uint64_t end = 0;
    std::uint32_t waits_for = 0;  // earlier operations in the gate that it may not overtake
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
  };
  // Whether `later` has to wait for `earlier`.
  static bool must_wait(const Entry& earlier, const Entry& later);
  void unlink(std::uint32_t id);

  std::vector<Entry> entries_;  // by id
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint32_t size_ = 0;
  std::uint32_t writes_ = 0;  // in the gate: without any, nobody waits for anybody
  std::vector<std::uint32_t> released_;
};

}  // namespace target::engine
