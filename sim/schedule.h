// A schedule: configuration, story, workload, verdicts and expectation of one run, as values, and
// the .sim text that a person reads and writes (grammar in docs/simulator.md). Random mode writes
// one, replay reads one; scenarios, regressions and shrunk failures are all this. It must never
// know how a run goes.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds kMicrosecond = 1'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kSecond = 1'000'000'000;

// Links are directed and numbered: host h sends on 2h ("a>sw") and receives on 2h+1 ("sw>a").
// Host 0 is the target, "t"; initiators follow in the order of the file.
using LinkId = std::uint32_t;
inline constexpr std::uint32_t kTargetHost = 0;
constexpr LinkId link_up(std::uint32_t host) {
  return 2 * host;
}
constexpr LinkId link_down(std::uint32_t host) {
  return 2 * host + 1;
}

// What happens to one frame on one link; a frame without a verdict passes.
enum class FrameFaultKind : std::uint8_t {
  drop,
  delay,      // amount: nanoseconds later than it would have been
  duplicate,  // amount: how much later than the original the copy comes
  hold,       // amount: frames of this link that overtake it (or 1 s, whichever is first)
  truncate,   // amount: bytes left
  pad,        // amount: zero bytes added behind the frame
  bad_fcs,    // reaches the receiver's interface, which drops it
  flip,       // amount: bit flipped, with a good FCS: the sectors it can reach are tainted
  full,       // no room in the switch's queue
};

enum class DiskFaultKind : std::uint8_t {
  delay,        // amount: nanoseconds slower
  io_error,     // nothing is transferred
  no_space,     // nothing is transferred
  short_write,  // amount: sectors transferred before an error
};

enum class HostEventKind : std::uint8_t {
  crash,           // the target; amount seeds old, new or torn for each sector of unfinished writes
  restart,         // the target, with an empty memory
  partition_both,  // a host cut off
  partition_in,    // frames to it are lost
  partition_out,   // frames from it are lost
  heal,
  clear,  // an operator stops the target, removes what it has stored, and starts it again
  mtu,    // amount: bytes after the Ethernet header that fit from now on; longer are lost
};

enum class OpKind : std::uint8_t {
  read,
  write,
  flush,
  identify,
  config,      // query config, read
  set_config,  // query config, force set of a string that amount names
  negotiate,   // the extensions again
  wait,        // amount: nanoseconds
  skip,        // amount: tags used elsewhere (on another target)
  coalesced,   // amount: further reads in the one frame
  congestion,  // amount: the id, count: probes
  garbage,     // amount: what to send, hashed; hostile only
  lists,       // amount: a change of the mask list or the reserve list, hashed; nobody waits for it
};

struct FrameFault {
  LinkId link = 0;
  std::uint32_t index = 0;  // of the frame on its link, from 0
  FrameFaultKind kind{};
  std::int64_t amount = 0;
  bool operator==(const FrameFault&) const = default;
};

struct DiskFault {
  std::uint32_t index = 0;  // of the disk operation, from 0
  DiskFaultKind kind{};
  std::int64_t amount = 0;
  bool operator==(const DiskFault&) const = default;
};

struct HostEvent {
  Nanoseconds at = 0;
  HostEventKind kind{};
  std::uint32_t host = kTargetHost;
  std::int64_t amount = 0;
  bool operator==(const HostEvent&) const = default;
};

struct Op {
  OpKind kind{};
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
  std::int64_t amount = 0;
  bool operator==(const Op&) const = default;
};

enum class InitiatorKind : std::uint8_t {
  aoede,    // negotiates, repeats a request under the SAME tag
  linux_,   // the Linux driver's shape: repeats under a NEW tag, split in two; no extensions
  hostile,  // sends anything
  library,  // conformance/initiator, as people use it
};
enum class TagMode : std::uint8_t { none, increment_be, increment_le, random };

// Every setting has a name in the .sim text, a default, and is an integer.
#define AOE_SIM_SETTINGS(X)                                                             \
  X(sectors, 128) /* of the export */                                                   \
  X(mtu, 1500)    /* bytes after the Ethernet header */                                 \
  X(pad_to_60, 1) /* a real wire pads, veth does not */                                 \
  X(link_latency_ns, 10'000)                                                            \
  X(link_ns_per_byte, 8) /* 8: a gigabit per second */                                  \
  X(queue_bytes, 65'536) /* before each link: what does not fit is lost */              \
  X(buffer_count, 32)    /* the target's receive buffer, frames */                      \
  X(wake_ns, 2'000)      /* from a frame's arrival to the target's look */              \
  X(disk_read_ns, 80'000)                                                               \
  X(disk_write_ns, 120'000)                                                             \
  X(disk_flush_ns, 300'000)                                                             \
  X(read_only, 0)                                                                       \
  X(volatile_write_cache, 0)                                                            \
  X(synced_in_groups, 0) /* a write is durable, and done, with the sync of its group */ \
  X(cache_pages, 0)      /* 4,096 bytes each, as with --direct; 0: none */              \
  X(read_ahead_sectors, 64)                                                             \
  X(write_behind_ns, 20'000'000) /* a written sector waits for neighbours so long */    \
  X(cache_flights, 512)          /* operations that the cache has at the disk */        \
  X(behind_window_perform, 0)                                                           \
  X(reset_on_config_write, 0)                                                           \
  X(frozen, 0) /* what the network may not change: config 1, mask 2, reserve 4 */       \
  X(extensions, 1)                                                                      \
  X(persist, 0)                                                                         \
  X(initiators_max, 64)                                                                 \
  X(operations_max, 512)                                                                \
  X(target_clock_ppm, 0)                                                                \
  X(target_clock_offset_ns, 0)                                                          \
  X(tie, 0)                    /* permutes events of one instant; 0: as they came */    \
  X(limit_ns, 300'000'000'000) /* progress: everything is done by then */

// The bits of `frozen`.
constexpr std::int64_t kFrozenConfig = 1;
constexpr std::int64_t kFrozenMask = 2;
constexpr std::int64_t kFrozenReserve = 4;

struct Settings {
#define AOE_SIM_SETTING_MEMBER(name, value) std::int64_t name = value;
  AOE_SIM_SETTINGS(AOE_SIM_SETTING_MEMBER)
#undef AOE_SIM_SETTING_MEMBER
  bool operator==(const Settings&) const = default;
};

#define AOE_SIM_INITIATOR_SETTINGS(X)                                                      \
  X(window, 4)          /* requests outstanding */                                         \
  X(rto_ns, 20'000'000) /* wait before the first repetition; doubles up to 8 times that */ \
  X(retries, 0)         /* then the operation has failed; 0: for ever */                   \
  X(tag_start, 1)                                                                          \
  X(tag_seed, 0)      /* random tags */                                                    \
  X(frame_sectors, 2) /* most sectors in one frame */                                      \
  X(crc, 0)           /* crc8x4 */                                                         \
  X(joins, 0)         /* coalesced_write_reply */                                          \
  X(big_endian, 0)    /* the length of its extension table */                              \
  X(overlap, 0)       /* may have overlapping operations outstanding */                    \
  X(clock_ppm, 0)

struct InitiatorSpec {
  std::string name;
  InitiatorKind kind = InitiatorKind::aoede;
  TagMode tags = TagMode::none;
#define AOE_SIM_INITIATOR_MEMBER(name, value) std::int64_t name = value;
  AOE_SIM_INITIATOR_SETTINGS(AOE_SIM_INITIATOR_MEMBER)
#undef AOE_SIM_INITIATOR_MEMBER
  std::vector<Op> ops;
  bool operator==(const InitiatorSpec&) const = default;
};

enum class Expectation : std::uint8_t {
  intact,   // no finding at all
  known,    // damage that the protocol cannot prevent, named by signature
  failure,  // a failure, named by signature
};

struct Schedule {
  std::vector<std::string> story;
  std::uint64_t seed = 0;
  std::string profile = "aoede";
  Settings settings;
  std::vector<InitiatorSpec> initiators;
  std::vector<HostEvent> host_events;    // by time
  std::vector<FrameFault> frame_faults;  // by link and index
  std::vector<DiskFault> disk_faults;    // by index
  Expectation expectation = Expectation::intact;
  std::string signature;
  bool operator==(const Schedule&) const = default;

  // Choices: what shrinking makes fewer.
  [[nodiscard]] std::size_t choices() const;
  [[nodiscard]] std::string host_name(std::uint32_t host) const;
  [[nodiscard]] std::string link_name(LinkId link) const;
};

// A user's mistake in a .sim text: one line, with the line's number.
class ScheduleError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

Schedule parse_schedule(std::string_view text);
// What no target and no wire can be: throws ScheduleError.
void check_settings(const Settings& settings);
std::string print_schedule(const Schedule& schedule);

std::string print_duration(Nanoseconds duration);
// "20ms"; none when it is no duration, or too long.
std::optional<Nanoseconds> parse_duration(std::string_view text);
std::string_view frame_fault_name(FrameFaultKind kind);
std::string_view disk_fault_name(DiskFaultKind kind);
std::string_view host_event_name(HostEventKind kind);
std::string_view op_name(OpKind kind);
std::string_view tag_mode_name(TagMode mode);
// Throws ScheduleError.
TagMode parse_tag_mode(std::string_view word);

}  // namespace sim
