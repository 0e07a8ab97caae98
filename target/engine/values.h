// The values that the engine is made of and speaks in: its configuration, its events, what it wants
// done, what it counts. Shapes and units only, no behaviour; every room of the engine may include
// this, and none needs the engine itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "target/wire/mac.h"

namespace target::engine {

// An instant on the shell's monotonic clock, or a duration. The origin is the shell's; the engine
// only compares.
using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds kNever = std::numeric_limits<Nanoseconds>::max();

inline constexpr std::size_t kSectorBytes = 512;

// The least MTU of a port: a sector, its ATA header and a check fit with room to spare, and every
// IPv4 link carries that much (RFC 791). What a reply over the smallest port cannot carry is not
// taken in either: a config string above kMtuMin - 18 bytes, long lists (lists.h).
inline constexpr std::uint16_t kMtuMin = 576;

// One interface the engine answers on. mtu counts the bytes after the Ethernet header.
// mtu is at least kMtuMin.
struct PortConfig {
  wire::MacAddress mac;
  std::uint16_t mtu = 1500;
};

// What a target remembers across a restart when the shell has somewhere to keep it (QC-, MM-, RR-
// clauses).
struct PersistentState {
  std::vector<std::byte> config_string;        // at most 1,024 bytes
  std::vector<wire::MacAddress> mask_list;     // at most 255
  std::vector<wire::MacAddress> reserve_list;  // at most 255
  bool operator==(const PersistentState&) const = default;
};

enum class BehindWindow : std::uint8_t { reject_silently, perform };  // perform: AoEde's way
enum class ResetOn : std::uint8_t { any_config, config_write };       // config_write: AoEde's way

// What nobody may change by the network.
struct Freeze {
  bool config_string = false;
  bool mask_list = false;
  bool reserve_list = false;
};

struct EngineConfig {
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint64_t sectors = 0;  // capacity of the export, units of 512 bytes
  bool read_only = false;
  bool volatile_write_cache =
      false;  // completed writes may be lost by a crash until a flush: claimed in identify
  std::uint16_t buffer_count =
      64;  // frames that the shell's receive buffer really holds, told in query config
  std::uint16_t firmware_version = 1;  // told in query config
  std::string model = "aoe-target";
  std::string firmware = "0.1";
  std::string serial = "0";
  std::vector<PortConfig> ports;
  std::vector<wire::MacAddress>
      allow;  // when not empty, every other source is met with silence; not editable on the wire
  PersistentState state;  // as loaded at start
  bool persist = false;   // true: a change of state is answered only when its Save is done
  BehindWindow behind_window = BehindWindow::reject_silently;
  ResetOn reset_on = ResetOn::any_config;
  bool extensions = true;  // false: command 0x23 is unknown, a plain AoEr11 target
  // When not empty, every other source is told of each feature that it is not active.
  std::vector<wire::MacAddress> extensions_for;
  Freeze freeze;
  std::uint32_t initiators_max = 64;  // sessions with extensions; each tag window costs about 8 KiB
  std::uint32_t operations_max =
      512;  // disk operations held at once (in flight and behind the range gate)
};

// A frame as received. frames that waited together in the receive ring carry the same batch number:
// only there may a duplicate be dropped as a "duplicate in the ring". bytes need not outlive the
// call.
struct FrameIn {
  std::uint16_t port = 0;
  std::uint64_t batch = 0;
  std::span<const std::byte> bytes;
  Nanoseconds now = 0;
};

enum class DiskOpKind : std::uint8_t { read, write, flush };

// A disk operation to start. data is owned by the engine, aligned to 4,096 bytes, valid until
// on_disk_done(id) has been called; it is sectors * 512 bytes long (empty for a flush). Operations
// that overlap are never in flight together, so the shell may complete them in any order.
struct DiskOp {
  std::uint32_t id = 0;
  DiskOpKind kind = DiskOpKind::read;
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
  std::span<std::byte> data;
  wire::MacAddress initiator{};  // who asked: for shares and streams, never for permission
  // Of an operation that was put together from several (target/cache): the pieces of memory, in
  // order; data is empty then. The engine's own have none.
  std::span<const std::span<std::byte>> segments{};
};

// New persistent state to be stored, all or nothing. Ends with on_disk_done(id) like a disk
// operation; the engine starts one at a time, and its id is never a disk operation's. state is
// valid until then.
struct Save {
  std::uint32_t id = 0;
  const PersistentState* state = nullptr;
};

enum class StatePart : std::uint8_t { config_string, mask_list, reserve_list };

// What became of the operator's last order to clear a part of the state.
enum class ClearStatus : std::uint8_t { none, under_way, done, failed };

// ok: all of data was transferred. A read that came up short is an io_error: what else lies in data
// may be another initiator's.
enum class DiskStatus : std::uint8_t { ok, io_error, no_space };

struct DiskDone {
  std::uint32_t id = 0;
  DiskStatus status = DiskStatus::ok;
  Nanoseconds now = 0;
};

// bytes: a whole Ethernet frame, destination first; valid until the next clear_outbox().
struct FrameOut {
  std::uint16_t port = 0;
  std::span<const std::byte> bytes;
};

enum class NoteKind : std::uint8_t {
  behind_window_rejected,   // value: the tag
  behind_window_performed,  // value: the tag
  sessions_full,            // a new initiator got no extensions
  pause_started,            // value: the congestion id
  pause_refused,            // value: the congestion id
  session_reset,
  disk_error,  // value: LBA
  save_failed,
};

// Something worth a log line; never needed for correctness.
struct Note {
  NoteKind kind{};
  std::uint16_t port = 0;
  wire::MacAddress initiator;
  std::uint64_t value = 0;
};

// What the engine wants done since it was last cleared, in order. Bounded: the engine closes intake
// before it could overflow.
struct Outbox {
  std::vector<FrameOut> frames;
  std::vector<DiskOp> disk_ops;
  std::vector<Save> saves;
  std::vector<Note> notes;
};

// A session as an operator sees it.
struct SessionFacts {
  std::uint16_t port = 0;
  wire::MacAddress initiator;
  std::vector<std::string> features;  // by the names of command 0x23
  bool wrote = false;                 // a write was performed under them: its place is safe
};

// Everything the engine counts, in the order it is printed. One list, so that no printer can forget
// one.
#define AOE_ENGINE_COUNTERS(X)                                                          \
  X(frames_in)           /* frames handed in */                                         \
  X(frames_out)          /* frames put into the outbox */                               \
  X(ignored_short)       /* shorter than the header, the fixed argument or the table */ \
  X(ignored_not_request) /* not AoE, or the R flag set */                               \
  X(ignored_address)     /* another shelf, slot or station; a source that is a group */ \
  X(ignored_masked)      /* source not on the mask list or the allow list */            \
  X(errors_answered)     /* AoE error replies */                                        \
  X(ata_errors_answered) /* ATA replies with ERR set */                                 \
  X(reads)               /* read operations completed */                                \
  X(writes)              /* write operations completed */                               \
  X(flushes)             /* flush operations completed */                               \
  X(sectors_read)                                                                       \
  X(sectors_written)                                                                    \
  X(disk_errors)                                                                        \
  X(gate_held)     /* operations that waited for an overlapping one */                  \
  X(intake_closed) /* times that intake closed for lack of room */                      \
  X(config_queries)                                                                     \
  X(config_changes)                                                                     \
  X(mask_edits)                                                                         \
  X(reserve_changes)                                                                    \
  X(changes_frozen)  /* refused: nobody may change this by the network */               \
  X(changes_waited)  /* that came while another was being saved */                      \
  X(changes_dropped) /* ... from a host of which one waited, or beyond the room */      \
  X(extension_requests)                                                                 \
  X(sessions)         /* initiators with extensions now */                              \
  X(sessions_refused) /* refused for lack of room */                                    \
  X(sessions_evicted) /* lost to a newcomer, having written nothing */                  \
  X(session_resets)                                                                     \
  X(duplicates_rejected)     /* answered from the tag window, not performed */          \
  X(duplicates_in_flight)    /* held until the original was on disk */                  \
  X(duplicates_in_ring)      /* dropped: the same tag waited ahead in the batch */      \
  X(behind_window)           /* writes with a tag behind the window */                  \
  X(coalesced_reads)         /* further reads served from a coalesced request */        \
  X(coalesced_write_replies) /* write replies that travelled in another's frame */      \
  X(pauses)                                                                             \
  X(pauses_refused)                                                                     \
  X(crc_failed) /* writes dropped for a bad check */

struct Counters {
#define AOE_ENGINE_COUNTER_MEMBER(name) std::uint64_t name = 0;
  AOE_ENGINE_COUNTERS(AOE_ENGINE_COUNTER_MEMBER)
#undef AOE_ENGINE_COUNTER_MEMBER
};

}  // namespace target::engine
