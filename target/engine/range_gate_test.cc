// The range gate: what waits for what, and that everything ends, in any order in which a disk may
// end operations.
#include "target/engine/range_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <vector>

namespace target::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
constexpr auto kRead = DiskOpKind::read;
constexpr auto kWrite = DiskOpKind::write;
constexpr auto kFlush = DiskOpKind::flush;

TEST(RangeGate, ReadsNeverWaitForReads) {
  RangeGate gate(4);
  EXPECT_TRUE(gate.enter(0, kRead, 10, 4));
  EXPECT_TRUE(gate.enter(1, kRead, 10, 4));
  EXPECT_THAT(gate.leave(0), IsEmpty());
}

TEST(RangeGate, WhatOverlapsAWriteWaits) {
  RangeGate gate(8);
  EXPECT_TRUE(gate.enter(0, kWrite, 10, 4));
  EXPECT_FALSE(gate.enter(1, kRead, 13, 1));
  EXPECT_FALSE(gate.enter(2, kWrite, 9, 2));
  EXPECT_TRUE(gate.enter(3, kWrite, 14, 1)) << "it starts where the first ends";
  EXPECT_TRUE(gate.enter(4, kRead, 8, 1));
  EXPECT_THAT(gate.leave(0), ElementsAre(1, 2));
}

TEST(RangeGate, AWriteWaitsForAReadOfTheSameSectors) {
  RangeGate gate(2);
  EXPECT_TRUE(gate.enter(0, kRead, 0, 2));
  EXPECT_FALSE(gate.enter(1, kWrite, 1, 1));
  EXPECT_THAT(gate.leave(0), ElementsAre(1));
}

TEST(RangeGate, WhatOverlapsAHeldOperationWaitsBehindIt) {
  RangeGate gate(4);
  EXPECT_TRUE(gate.enter(0, kWrite, 0, 2));
  EXPECT_FALSE(gate.enter(1, kWrite, 1, 2));
  EXPECT_FALSE(gate.enter(2, kRead, 2, 1)) << "it must see what 1 writes";
  EXPECT_THAT(gate.leave(0), ElementsAre(1));
  EXPECT_THAT(gate.leave(1), ElementsAre(2));
}

TEST(RangeGate, WaitsForEveryOneThatItOverlaps) {
  RangeGate gate(4);
  gate.enter(0, kRead, 0, 1);
  gate.enter(1, kRead, 1, 1);
  EXPECT_FALSE(gate.enter(2, kWrite, 0, 2));
  EXPECT_THAT(gate.leave(1), IsEmpty());
  EXPECT_THAT(gate.leave(0), ElementsAre(2));
}

TEST(RangeGate, AFlushWaitsForTheWritesBeforeIt) {
  RangeGate gate(8);
  gate.enter(0, kWrite, 0, 1);
  gate.enter(1, kRead, 50, 1);
  gate.enter(2, kWrite, 100, 1);
  EXPECT_FALSE(gate.enter(3, kFlush, 0, 0));
  EXPECT_TRUE(gate.enter(4, kWrite, 200, 1)) << "a write after the flush is none of its business";
  EXPECT_THAT(gate.leave(2), IsEmpty());
  EXPECT_THAT(gate.leave(0), ElementsAre(3));
  EXPECT_THAT(gate.leave(4), IsEmpty());
}

TEST(RangeGate, AFlushAloneStartsAtOnce) {
  RangeGate gate(2);
  gate.enter(0, kRead, 0, 1);
  EXPECT_TRUE(gate.enter(1, kFlush, 0, 0));
}

TEST(RangeGate, TheLastSectorsOfA48BitDisk) {
  RangeGate gate(2);
  EXPECT_TRUE(gate.enter(0, kWrite, 0xFFFF'FFFF'FFFE, 1));
  EXPECT_TRUE(gate.enter(1, kWrite, 0xFFFF'FFFF'FFFF, 1));
}

// --- any arrivals, any order of ends

struct Operation {
  DiskOpKind kind = kRead;
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
};

bool overlap(const Operation& a, const Operation& b) {
  return a.lba < b.lba + b.sectors && b.lba < a.lba + a.sectors;
}

// What must keep its order, in the words of the invariant.
bool ordered(const Operation& earlier, const Operation& later) {
  if (later.kind == kFlush) {
    return earlier.kind == kWrite;
  }
  return earlier.kind != kFlush && overlap(earlier, later) &&
         (earlier.kind == kWrite || later.kind == kWrite);
}

TEST(RangeGate, NeverLetsOverlappingOperationsFlyTogetherAndNeverDeadlocks) {
  EXPECT_TRUE(rc::check("order of arrival", [] {
    const auto count = *rc::gen::inRange<std::uint32_t>(1, 30);
    std::vector<Operation> operations(count);
    for (Operation& operation : operations) {
      operation.kind = *rc::gen::element(kRead, kRead, kWrite, kWrite, kFlush);
      operation.lba = operation.kind == kFlush ? 0 : *rc::gen::inRange<std::uint64_t>(0, 12);
      operation.sectors = operation.kind == kFlush ? 0 : *rc::gen::inRange<std::uint32_t>(1, 5);
    }
    RangeGate gate(count);
    std::vector<std::uint32_t> flying;
    std::vector<std::uint32_t> ended;
    std::vector<bool> has_arrived(count);
    const auto start = [&](std::uint32_t id) {
      for (std::uint32_t earlier = 0; earlier < id; ++earlier) {
        const bool done = std::find(ended.begin(), ended.end(), earlier) != ended.end();
        RC_ASSERT(done || !ordered(operations[earlier], operations[id]));
      }
      flying.push_back(id);
    };
    std::uint32_t arrived = 0;
    while (ended.size() < count) {
      // Nothing flies and nothing is left to come, yet not everything has ended: a deadlock.
      RC_ASSERT(arrived < count || !flying.empty());
      if (arrived < count && (flying.empty() || *rc::gen::arbitrary<bool>())) {
        const Operation& operation = operations[arrived];
        if (gate.enter(arrived, operation.kind, operation.lba, operation.sectors)) {
          start(arrived);
        }
        ++arrived;
        continue;
      }
      const auto at = *rc::gen::inRange<std::size_t>(0, flying.size());
      const std::uint32_t id = flying[at];
      flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(at));
      ended.push_back(id);
      const auto released = gate.leave(id);
      RC_ASSERT(std::is_sorted(released.begin(), released.end()));
      for (const std::uint32_t next : released) {
        start(next);
      }
    }
    RC_ASSERT(gate.size() == 0U);
  }));
}

// Nothing waits that need not: an operation that is held has somebody before it that it overlaps.
TEST(RangeGate, HoldsNobodyWithoutAReason) {
  EXPECT_TRUE(rc::check("a reason to wait", [] {
    RangeGate gate(20);
    std::vector<Operation> present;
    for (std::uint32_t id = 0; id < 20; ++id) {
      Operation operation{*rc::gen::element(kRead, kWrite), *rc::gen::inRange<std::uint64_t>(0, 40),
                          *rc::gen::inRange<std::uint32_t>(1, 5)};
      const bool free = std::none_of(present.begin(), present.end(), [&](const Operation& other) {
        return ordered(other, operation);
      });
      RC_ASSERT(gate.enter(id, operation.kind, operation.lba, operation.sectors) == free);
      present.push_back(operation);
    }
  }));
}

}  // namespace
}  // namespace target::engine
