// The room between the engine's disk operations and the disk: it merges what is adjacent, reads
// ahead for sequential streams, and writes behind where the mode promises no more than a flush.
// Pure, like the engine: operations and completions come in, larger operations and completions go
// out. It owns what a durability mode means for data in memory, and must never know a file, a clock
// or a frame.
//
// What it relies on: operations that overlap are never handed in together (the engine's range gate
// sees to it), an operation's data is valid until its completion was taken, and the disk below may
// end operations in any order, also when they were merged here.
//
// What it promises (docs/aoe-target.md, durability):
//   write through    a write is done when the disk below says so, merged or not.
//   write behind     a write is done when it is in memory. A flush is done when everything that was
//                    done before it is below, and the disk's own flush behind that is done.
//   both             a read sees what was acknowledged, whoever asks.
// A write-behind that fails makes its sectors lost: reads of them fail until they are written anew,
// every flush fails while one is left, and each initiator who wrote one of them gets one failed
// write, so that nobody goes on in good faith.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "target/engine/engine.h"

namespace target::cache {

using engine::DiskDone;
using engine::DiskOp;
using engine::DiskOpKind;
using engine::DiskStatus;
using engine::kNever;
using engine::kSectorBytes;
using engine::Nanoseconds;

inline constexpr std::uint32_t kPageSectors = 8;
inline constexpr std::size_t kPageBytes = kPageSectors * kSectorBytes;

struct CacheConfig {
  std::uint64_t sectors = 0;  // of the image
  bool write_behind = false;
  // Memory for data, units of 4,096 bytes; 0: nothing is kept, operations are only merged.
  std::uint32_t pages = 0;
  std::uint32_t operation_sectors_max = 2048;   // the largest operation for the disk below
  std::uint32_t read_ahead_sectors_max = 2048;  // for each stream; 0: none
  std::uint32_t streams_max = 64;               // sequential readers that are followed at once
  std::uint32_t write_behind_depth = 4;         // operations that write behind, at once
  std::uint32_t flights_max = 512;              // operations that the disk below holds at once
  // How long a written sector may wait for neighbours to be written with.
  Nanoseconds write_behind_delay_ns = 20'000'000;
};

#define AOE_CACHE_COUNTERS(X)                                                         \
  X(hits)               /* reads answered from memory */                              \
  X(misses)             /* reads that asked the disk for at least one sector */       \
  X(read_ahead_sectors) /* sectors read before anybody asked */                       \
  X(merged)             /* operations that went below inside another's */             \
  X(split)              /* merged operations that failed and were tried one by one */ \
  X(behind_operations)  /* operations that wrote behind */                            \
  X(behind_sectors)                                                                   \
  X(behind_failed) /* sectors whose write-behind failed */                            \
  X(blocked)       /* operations that waited for room, or for a sector in flight */   \
  X(lost_sectors)  /* now: lost and not written anew */                               \
  X(dirty_pages)   /* now: with sectors that the disk below does not hold yet */

struct CacheCounters {
#define AOE_CACHE_COUNTER_MEMBER(name) std::uint64_t name = 0;
  AOE_CACHE_COUNTERS(AOE_CACHE_COUNTER_MEMBER)
#undef AOE_CACHE_COUNTER_MEMBER
};

// Pieces of memory in one operation for the disk below.
inline constexpr std::size_t kSegmentsMax = 512;

class Cache {
 public:
  explicit Cache(const CacheConfig& config);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // What came in one batch, in order of arrival.
  void start(std::span<const DiskOp> operations, Nanoseconds now);
  // An operation of to_start() has ended.
  void on_done(const DiskDone& done);
  void on_timer(Nanoseconds now);
  [[nodiscard]] Nanoseconds next_deadline() const;

  // Operations for the disk below, oldest first; the caller starts them all and calls started().
  // Their memory stays valid until on_done(id).
  [[nodiscard]] std::span<const DiskOp> to_start() const { return to_start_; }
  void started() { to_start_.clear(); }
  // Operations of start() that have ended. The caller takes them all and calls taken().
  [[nodiscard]] std::span<const DiskDone> finished() const { return finished_; }
  void taken() { finished_.clear(); }

  // Writes out everything that waits, whatever its age, without making it durable: for tests. A
  // program ends with a flush.
  void write_out();
  // Nothing is dirty, in flight or waiting.
  [[nodiscard]] bool idle() const;

  [[nodiscard]] const CacheCounters& counters() const { return counters_; }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  // Initiators who may be owed word of a failure at once. For whoever finds no place everything is
  // written through.
  static constexpr std::uint32_t kOwners = 64;
  static constexpr std::uint8_t kNoOwner = kOwners;
  using Mask = std::uint8_t;  // a bit for each sector of a page

  struct Page {
    std::uint64_t number = 0;    // LBA / kPageSectors
    std::uint64_t sequence = 0;  // of the dirtying that put it into the dirty list
    Nanoseconds dirty_since = 0;
    Mask valid = 0;          // memory holds what a read must see
    Mask dirty = 0;          // and the disk below does not
    Mask cleaning = 0;       // being written below
    Mask loading = 0;        // being read from below
    Mask lost = 0;           // acknowledged, and then the disk failed
    std::uint8_t owner = 0;  // who dirtied it last: whose share it takes
    // Who wrote each sector that is dirty or being cleaned: who is told when that fails.
    std::array<std::uint8_t, kPageSectors> writers{};
    std::uint32_t newer = kNone, older = kNone;              // by use
    std::uint32_t dirty_next = kNone, dirty_before = kNone;  // by age of the dirt
    [[nodiscard]] bool pinned() const { return (dirty | cleaning | loading | lost) != 0; }
  };

  // What waits until something ends.
  struct Blocked {
    DiskOp operation;
    bool bypass = false;  // a load of it has failed: ask the disk for just this
  };

  // A part of an operation that goes below without a page.
  struct Part {
    std::uint32_t operation = 0;  // index of pending_
    std::uint64_t lba = 0;
    std::span<std::byte> data;
    bool alone = false;  // it failed inside a larger one
  };

  enum class FlightKind : std::uint8_t { parts, load, clean, flush };
  struct Flight {
    FlightKind kind = FlightKind::parts;
    DiskOpKind op_kind = DiskOpKind::read;
    bool used = false;
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    std::uint64_t sequence = 0;  // clean: the oldest dirt in it
    std::vector<Part> parts;
    std::vector<std::span<std::byte>> segments;
  };

  // An operation of which parts are below.
  struct Pending {
    DiskOp operation;
    std::uint32_t parts_left = 0;
    DiskStatus status = DiskStatus::ok;
    bool used = false;
  };

  struct WaitingFlush {
    DiskOp operation;
    std::uint64_t sequence = 0;  // everything dirtied up to here must be below
  };

  struct Stream {
    std::uint64_t next_lba = 0;
    std::uint64_t ahead_end = 0;  // loaded, or being loaded, up to here
    std::uint32_t window = 0;     // sectors
    std::uint32_t length = 0;     // reads in a row
    std::uint64_t last_use = 0;
  };

  struct Owner {
    wire::MacAddress initiator;
    std::uint32_t dirty_pages = 0;
    std::uint32_t sectors = 0;  // that they wrote and that are dirty or being cleaned
    bool owed = false;          // a failed write-behind of theirs has not been told yet
    bool used = false;
  };

  enum class Outcome : std::uint8_t { done, below, blocked };

  // pages
  [[nodiscard]] std::uint32_t find(std::uint64_t number) const;
  std::uint32_t find_or_make(std::uint64_t number);
  [[nodiscard]] std::uint32_t evictable() const;
  void forgive(Page& page, Mask sectors);
  void table_insert(std::uint32_t page);
  void table_erase(std::uint64_t number);
  [[nodiscard]] std::size_t table_home(std::uint64_t number) const;
  void use_unlink(std::uint32_t page);
  void use_as_newest(std::uint32_t page);
  void use_as_oldest(std::uint32_t page);
  void dirty_append(std::uint32_t page);
  void dirty_unlink(std::uint32_t page);
  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t page, std::uint32_t sector,
                                           std::uint32_t sectors);

  // operations
  Outcome attempt(const DiskOp& operation, bool bypass);
  Outcome attempt_read(const DiskOp& operation, bool bypass);
  Outcome attempt_write_behind(const DiskOp& operation);
  Outcome attempt_write_through(const DiskOp& operation);
  void attempt_flush(const DiskOp& operation);
  void retry_blocked();
  void finish(const DiskOp& operation, DiskStatus status);
  std::uint32_t begin_pending(const DiskOp& operation);
  void end_part(const Part& part, DiskStatus status);
  void queue_parts_below();

  // streams
  bool follow(std::uint64_t lba, std::uint32_t sectors, std::uint64_t& ahead_from,
              std::uint64_t& ahead_to);
  bool load(std::uint64_t lba, std::uint64_t end);
  [[nodiscard]] bool is_being_written(std::uint64_t lba, std::uint64_t end) const;

  // write-behind
  [[nodiscard]] std::uint8_t owner_of(const wire::MacAddress& initiator);
  void dirty_by(Page& page, std::uint32_t first, std::uint32_t sectors, std::uint8_t owner);
  [[nodiscard]] std::uint32_t dirty_share() const;
  [[nodiscard]] bool has_room(std::uint32_t fresh, std::uint32_t kept) const;
  void pump();
  void clean_from(std::uint32_t page);
  void end_clean(const Flight& flight, DiskStatus status);
  void end_load(const Flight& flight, DiskStatus status);
  [[nodiscard]] bool below_up_to(std::uint64_t sequence) const;

  std::uint32_t begin_flight(FlightKind kind, DiskOpKind op_kind, std::uint64_t lba);
  void launch(std::uint32_t flight);

  CacheConfig config_;
  Nanoseconds now_ = 0;
  std::unique_ptr<std::byte[], void (*)(void*)> memory_;
  std::vector<Page> pages_;
  std::vector<std::uint32_t> table_;  // open addressing, linear probing; kNone: free
  std::size_t table_mask_ = 0;
  std::uint32_t free_page_ = kNone;  // chained by `older`
  std::uint32_t newest_ = kNone, oldest_ = kNone;
  std::uint32_t dirty_first_ = kNone, dirty_last_ = kNone;
  std::uint64_t sequence_ = 0;
  std::uint64_t uses_ = 0;
  std::uint64_t write_out_up_to_ = 0;  // dirt of this age and older goes below at once

  std::vector<Flight> flights_;
  std::vector<std::uint32_t> free_flights_;
  std::vector<Pending> pending_;
  std::vector<std::uint32_t> free_pending_;
  std::vector<Part> read_parts_, write_parts_;  // of this call, not yet below
  std::deque<Blocked> blocked_;
  std::deque<WaitingFlush> flushes_;  // for their dirt to be below
  std::vector<DiskOp> flushing_;      // the disk's own flush runs for these
  std::vector<Stream> streams_;
  std::vector<Owner> owners_;
  std::uint32_t cleaning_ = 0;  // flights that write behind
  std::uint32_t in_flight_ = 0;
  bool behind_is_urgent_ = false;  // an operation waits for room

  std::vector<DiskOp> to_start_;
  std::vector<DiskDone> finished_;
  CacheCounters counters_;
};

}  // namespace target::cache
