// What happened at least once, summed over a batch of runs: a checker that never saw an event
// proves nothing about it.
#pragma once

#include <cstdint>

namespace sim {

#define AOE_SIM_COVERAGE(X)                                           \
  X(reads_done)                                                       \
  X(writes_done)                                                      \
  X(flushes_done)                                                     \
  X(identifies_done)                                                  \
  X(configs_done)                                                     \
  X(negotiations_done)                                                \
  X(coalesced_done)                                                   \
  X(congestions_done)                                                 \
  X(operations_failed) /* the disk or the target said no, for good */ \
  X(operations_given_up)                                              \
  X(repetitions)    /* same tag again */                              \
  X(splits)         /* new tags, in halves */                         \
  X(sectors_judged) /* of read replies */                             \
  X(late_replies)                                                     \
  X(stale_applied_known) /* stale writes the protocol cannot stop */  \
  X(frames_dropped)                                                   \
  X(frames_duplicated)                                                \
  X(frames_delayed)                                                   \
  X(ring_full)                                                        \
  X(disk_errors)                                                      \
  X(crashes)                                                          \
  X(restarts)                                                         \
  X(partitions)                                                       \
  X(torn_sectors)                                                     \
  X(hostile_frames)                                                   \
  X(tainted_frames)                                                   \
  X(saves)

struct Coverage {
#define AOE_SIM_COVERAGE_MEMBER(name) std::uint64_t name = 0;
  AOE_SIM_COVERAGE(AOE_SIM_COVERAGE_MEMBER)
#undef AOE_SIM_COVERAGE_MEMBER
};

}  // namespace sim
