// Merging, read-ahead and write-behind: see cache.h.
#include "target/cache/cache.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

namespace target::cache {
namespace {

// A stream begins to be read ahead at its third read in a row: two may be chance, or one read that
// an initiator split.
constexpr std::uint32_t kStreamLengthMin = 3;
constexpr std::uint32_t kWindowStartSectors = 128;
// Requests of one stream overtake each other on the wire and in an initiator's queue.
constexpr std::uint64_t kStreamSlackSectors = 64;
// Dirt beyond this part of all pages goes below at once; writes wait at the larger part.
constexpr std::uint32_t kDirtyStartPart = 8;
constexpr std::uint32_t kDirtyMaxPart = 2;

constexpr std::uint8_t mask_of(std::uint32_t sector, std::uint32_t sectors) {
  return static_cast<std::uint8_t>(((1U << sectors) - 1U) << sector);
}

// The part of [lba, end) that lies in a page.
struct Slice {
  std::uint64_t page;
  std::uint32_t sector;
  std::uint32_t sectors;
  std::size_t offset;  // of its first byte in the operation's data
  [[nodiscard]] std::uint8_t mask() const { return mask_of(sector, sectors); }
};

template <typename Do>
void for_each_slice(std::uint64_t lba, std::uint64_t sectors, Do&& act) {
  const std::uint64_t end = lba + sectors;
  for (std::uint64_t at = lba; at < end;) {
    const auto sector = static_cast<std::uint32_t>(at % kPageSectors);
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(kPageSectors - sector, end - at));
    act(Slice{at / kPageSectors, sector, count, static_cast<std::size_t>(at - lba) * kSectorBytes});
    at += count;
  }
}

bool overlaps(std::uint64_t a, std::uint64_t a_end, std::uint64_t b, std::uint64_t b_end) {
  return a < b_end && b < a_end;
}

}  // namespace

Cache::Cache(const CacheConfig& config) : config_(config), memory_(nullptr, [](void*) {}) {
  assert(config.sectors > 0 && config.operation_sectors_max >= kPageSectors);
  assert(!config.write_behind || config.pages > 0);
  if (config_.pages > 0) {
    auto* memory =
        static_cast<std::byte*>(std::aligned_alloc(kPageBytes, config_.pages * kPageBytes));
    if (memory == nullptr) {
      throw std::bad_alloc();
    }
    memory_ = {memory, [](void* p) { std::free(p); }};
  }
  pages_.resize(config_.pages);
  for (std::uint32_t i = config_.pages; i > 0; --i) {
    pages_[i - 1].older = free_page_;
    free_page_ = i - 1;
  }
  table_.assign(std::bit_ceil<std::size_t>(std::size_t{config_.pages} * 2 + 2), kNone);
  table_mask_ = table_.size() - 1;
  streams_.resize(config_.pages > 0 && config_.read_ahead_sectors_max > 0 ? config_.streams_max
                                                                          : 0);
  owners_.resize(kOwners);
}

Cache::~Cache() = default;

// ---------------------------------------------------------------------------------------------------
// Pages

std::size_t Cache::table_home(std::uint64_t number) const {
  return static_cast<std::size_t>((number * 0x9e3779b97f4a7c15ULL) >> 20U) & table_mask_;
}

std::uint32_t Cache::find(std::uint64_t number) const {
  for (std::size_t at = table_home(number); table_[at] != kNone; at = (at + 1) & table_mask_) {
    if (pages_[table_[at]].number == number) {
      return table_[at];
    }
  }
  return kNone;
}

void Cache::table_insert(std::uint32_t page) {
  std::size_t at = table_home(pages_[page].number);
  while (table_[at] != kNone) {
    at = (at + 1) & table_mask_;
  }
  table_[at] = page;
}

void Cache::table_erase(std::uint64_t number) {
  std::size_t hole = table_home(number);
  while (pages_[table_[hole]].number != number) {
    hole = (hole + 1) & table_mask_;
  }
  // What lies behind the hole moves up, so that no search ends before it.
  for (std::size_t at = (hole + 1) & table_mask_; table_[at] != kNone;
       at = (at + 1) & table_mask_) {
    const std::size_t home = table_home(pages_[table_[at]].number);
    if (((at - home) & table_mask_) >= ((at - hole) & table_mask_)) {
      table_[hole] = table_[at];
      hole = at;
    }
  }
  table_[hole] = kNone;
}

void Cache::use_unlink(std::uint32_t page) {
  Page& p = pages_[page];
  (p.newer == kNone ? newest_ : pages_[p.newer].older) = p.older;
  (p.older == kNone ? oldest_ : pages_[p.older].newer) = p.newer;
  p.newer = p.older = kNone;
}

void Cache::use_as_newest(std::uint32_t page) {
  pages_[page].older = newest_;
  pages_[page].newer = kNone;
  (newest_ == kNone ? oldest_ : pages_[newest_].newer) = page;
  newest_ = page;
}

void Cache::use_as_oldest(std::uint32_t page) {
  pages_[page].newer = oldest_;
  pages_[page].older = kNone;
  (oldest_ == kNone ? newest_ : pages_[oldest_].older) = page;
  oldest_ = page;
}

void Cache::dirty_append(std::uint32_t page) {
  Page& p = pages_[page];
  p.sequence = ++sequence_;
  p.dirty_since = now_;
  p.dirty_before = dirty_last_;
  p.dirty_next = kNone;
  (dirty_last_ == kNone ? dirty_first_ : pages_[dirty_last_].dirty_next) = page;
  dirty_last_ = page;
  ++counters_.dirty_pages;
  ++owners_[p.owner].dirty_pages;
}

void Cache::dirty_unlink(std::uint32_t page) {
  Page& p = pages_[page];
  (p.dirty_before == kNone ? dirty_first_ : pages_[p.dirty_before].dirty_next) = p.dirty_next;
  (p.dirty_next == kNone ? dirty_last_ : pages_[p.dirty_next].dirty_before) = p.dirty_before;
  p.dirty_next = p.dirty_before = kNone;
  --counters_.dirty_pages;
  --owners_[p.owner].dirty_pages;
}

std::span<std::byte> Cache::bytes(std::uint32_t page, std::uint32_t sector, std::uint32_t sectors) {
  return {memory_.get() + page * kPageBytes + sector * kSectorBytes, sectors * kSectorBytes};
}

// The least recently used page that nothing holds. What is dirty or in flight was used of late, so
// that the search is short; only lost pages make it longer.
std::uint32_t Cache::evictable() const {
  for (std::uint32_t page = oldest_; page != kNone; page = pages_[page].newer) {
    if (!pages_[page].pinned()) {
      return page;
    }
  }
  return kNone;
}

std::uint32_t Cache::find_or_make(std::uint64_t number) {
  std::uint32_t page = find(number);
  if (page != kNone) {
    use_unlink(page);
    use_as_newest(page);
    return page;
  }
  page = free_page_;
  if (page != kNone) {
    free_page_ = pages_[page].older;
  } else {
    page = evictable();
    if (page == kNone) {
      return kNone;
    }
    use_unlink(page);
    table_erase(pages_[page].number);
  }
  pages_[page] = Page{};
  pages_[page].number = number;
  table_insert(page);
  use_as_newest(page);
  return page;
}

// Written anew: what was lost there does not matter any more.
void Cache::forgive(Page& page, Mask sectors) {
  counters_.lost_sectors -=
      static_cast<std::uint64_t>(std::popcount(static_cast<Mask>(page.lost & sectors)));
  page.lost &= static_cast<Mask>(~sectors);
}

// ---------------------------------------------------------------------------------------------------
// Flights: operations for the disk below

std::uint32_t Cache::begin_flight(FlightKind kind, DiskOpKind op_kind, std::uint64_t lba) {
  if (free_flights_.empty()) {
    free_flights_.push_back(static_cast<std::uint32_t>(flights_.size()));
    flights_.emplace_back();
  }
  const std::uint32_t index = free_flights_.back();
  free_flights_.pop_back();
  Flight& flight = flights_[index];
  flight.kind = kind;
  flight.op_kind = op_kind;
  flight.used = true;
  flight.lba = lba;
  flight.sectors = 0;
  flight.sequence = 0;
  flight.parts.clear();
  flight.segments.clear();
  ++in_flight_;
  return index;
}

// The segments' storage is the flight's own, and stays where it is when flights_ grows.
void Cache::launch(std::uint32_t index) {
  Flight& flight = flights_[index];
  for (const auto& segment : flight.segments) {
    flight.sectors += static_cast<std::uint32_t>(segment.size() / kSectorBytes);
  }
  DiskOp& operation = to_start_.emplace_back();
  operation.id = index;
  operation.kind = flight.op_kind;
  operation.lba = flight.lba;
  operation.sectors = flight.sectors;
  if (flight.segments.size() == 1) {
    operation.data = flight.segments.front();
  } else {
    operation.segments = flight.segments;
  }
}

void Cache::on_done(const DiskDone& done) {
  now_ = std::max(now_, done.now);
  assert(done.id < flights_.size() && flights_[done.id].used);
  --in_flight_;
  Flight& flight = flights_[done.id];
  flight.used = false;
  switch (flight.kind) {
    case FlightKind::parts: {
      if (done.status != DiskStatus::ok && flight.parts.size() > 1) {
        // Which of them the disk means, only the disk can say.
        ++counters_.split;
        const std::vector<Part> parts = flight.parts;
        const DiskOpKind kind = flight.op_kind;
        free_flights_.push_back(done.id);
        auto& waiting = kind == DiskOpKind::read ? read_parts_ : write_parts_;
        for (Part part : parts) {
          part.alone = true;
          waiting.push_back(part);
        }
        queue_parts_below();
        return;
      }
      for (const Part& part : flight.parts) {
        end_part(part, done.status);
      }
      break;
    }
    case FlightKind::load:
      end_load(flight, done.status);
      break;
    case FlightKind::clean:
      --cleaning_;
      end_clean(flight, done.status);
      break;
    case FlightKind::flush:
      for (const DiskOp& operation : flushing_) {
        // Lost meanwhile: what was acknowledged before this flush is not all there.
        finish(operation, done.status == DiskStatus::ok && counters_.lost_sectors > 0
                              ? DiskStatus::io_error
                              : done.status);
      }
      flushing_.clear();
      break;
  }
  free_flights_.push_back(done.id);
  retry_blocked();
  pump();
}

// ---------------------------------------------------------------------------------------------------
// Operations

void Cache::finish(const DiskOp& operation, DiskStatus status) {
  finished_.push_back({operation.id, status, now_});
}

std::uint32_t Cache::begin_pending(const DiskOp& operation) {
  if (free_pending_.empty()) {
    free_pending_.push_back(static_cast<std::uint32_t>(pending_.size()));
    pending_.emplace_back();
  }
  const std::uint32_t index = free_pending_.back();
  free_pending_.pop_back();
  pending_[index] = {operation, 0, DiskStatus::ok, true};
  return index;
}

void Cache::end_part(const Part& part, DiskStatus status) {
  Pending& pending = pending_[part.operation];
  if (status != DiskStatus::ok) {
    pending.status = status;
  }
  if (--pending.parts_left > 0) {
    return;
  }
  const DiskOp& operation = pending.operation;
  if (operation.kind == DiskOpKind::write) {
    // Memory follows the disk: the new data when it is there, nothing when nobody knows.
    for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
      const std::uint32_t page = find(slice.page);
      if (page == kNone) {
        return;
      }
      Page& p = pages_[page];
      if (pending.status == DiskStatus::ok) {
        std::memcpy(bytes(page, slice.sector, slice.sectors).data(),
                    operation.data.data() + slice.offset, slice.sectors * kSectorBytes);
        p.valid |= slice.mask();
        forgive(p, slice.mask());
      }
    });
  }
  finish(operation, pending.status);
  pending.used = false;
  free_pending_.push_back(part.operation);
}

void Cache::start(std::span<const DiskOp> operations, Nanoseconds now) {
  now_ = std::max(now_, now);
  for (const DiskOp& operation : operations) {
    assert(operation.kind == DiskOpKind::flush ||
           (operation.sectors > 0 && operation.lba + operation.sectors <= config_.sectors &&
            operation.data.size() == operation.sectors * kSectorBytes));
    if (attempt(operation, false) == Outcome::blocked) {
      ++counters_.blocked;
      blocked_.push_back({operation, false});
    }
  }
  queue_parts_below();
  pump();
}

Cache::Outcome Cache::attempt(const DiskOp& operation, bool bypass) {
  switch (operation.kind) {
    case DiskOpKind::read:
      return attempt_read(operation, bypass);
    case DiskOpKind::write:
      return config_.write_behind ? attempt_write_behind(operation)
                                  : attempt_write_through(operation);
    case DiskOpKind::flush:
      attempt_flush(operation);
      return Outcome::done;
  }
  return Outcome::done;
}

void Cache::retry_blocked() {
  behind_is_urgent_ = false;
  for (std::size_t left = blocked_.size(); left > 0; --left) {
    const Blocked entry = blocked_.front();
    blocked_.pop_front();
    if (attempt(entry.operation, entry.bypass) == Outcome::blocked) {
      blocked_.push_back(entry);
    }
  }
  queue_parts_below();
}

Cache::Outcome Cache::attempt_read(const DiskOp& operation, bool bypass) {
  const std::uint64_t end = operation.lba + operation.sectors;
  Mask any_lost = 0;
  bool any_loading = false;
  bool all_valid = config_.pages > 0;
  if (config_.pages > 0) {
    for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
      const std::uint32_t page = find(slice.page);
      if (page == kNone) {
        all_valid = false;
        return;
      }
      const Page& p = pages_[page];
      any_lost |= static_cast<Mask>(p.lost & slice.mask());
      any_loading = any_loading || (p.loading & slice.mask()) != 0;
      all_valid = all_valid && (p.valid & slice.mask()) == slice.mask();
    });
  }
  if (any_lost != 0) {
    finish(operation, DiskStatus::io_error);
    return Outcome::done;
  }
  // The stream moves on with the first attempt only: one that was blocked is not read twice.
  std::uint64_t ahead_from = 0;
  std::uint64_t ahead_to = 0;
  const bool sequential =
      !bypass && !any_loading && follow(operation.lba, operation.sectors, ahead_from, ahead_to);
  if (all_valid) {
    ++counters_.hits;
    for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
      const std::uint32_t page = find(slice.page);
      std::memcpy(operation.data.data() + slice.offset,
                  bytes(page, slice.sector, slice.sectors).data(), slice.sectors * kSectorBytes);
      use_unlink(page);
      // A stream does not come back: what it has read to the end makes room first.
      if (sequential && slice.sector + slice.sectors == kPageSectors && !pages_[page].pinned()) {
        use_as_oldest(page);
      } else {
        use_as_newest(page);
      }
    });
    finish(operation, DiskStatus::ok);
    if (sequential && ahead_to > ahead_from) {
      load(ahead_from, ahead_to);
    }
    return Outcome::done;
  }
  if (any_loading && !bypass) {
    return Outcome::blocked;
  }
  ++counters_.misses;
  if (sequential && ahead_to > ahead_from && load(operation.lba, std::max(end, ahead_to))) {
    return Outcome::blocked;
  }
  // What memory has is copied now; what it has not comes from the disk, straight to where it is
  // wanted.
  const std::uint32_t index = begin_pending(operation);
  std::uint64_t run_lba = operation.lba;
  std::uint32_t run = 0;
  const auto end_run = [&] {
    if (run > 0) {
      read_parts_.push_back(
          {index, run_lba,
           operation.data.subspan((run_lba - operation.lba) * kSectorBytes, run * kSectorBytes)});
      ++pending_[index].parts_left;
    }
    run = 0;
  };
  for (std::uint64_t lba = operation.lba; lba < end; ++lba) {
    const std::uint32_t page = config_.pages > 0 ? find(lba / kPageSectors) : kNone;
    const auto sector = static_cast<std::uint32_t>(lba % kPageSectors);
    if (page != kNone && (pages_[page].valid & mask_of(sector, 1)) != 0) {
      std::memcpy(operation.data.data() + (lba - operation.lba) * kSectorBytes,
                  bytes(page, sector, 1).data(), kSectorBytes);
      end_run();
      continue;
    }
    if (run == 0) {
      run_lba = lba;
    }
    ++run;
  }
  end_run();
  if (pending_[index].parts_left == 0) {  // bypass, and loaded meanwhile
    pending_[index].used = false;
    free_pending_.push_back(index);
    finish(operation, DiskStatus::ok);
    return Outcome::done;
  }
  return Outcome::below;
}

Cache::Outcome Cache::attempt_write_through(const DiskOp& operation) {
  bool busy = false;
  if (config_.pages > 0) {
    for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
      const std::uint32_t page = find(slice.page);
      if (page != kNone) {
        busy = busy || ((pages_[page].loading | pages_[page].cleaning) & slice.mask()) != 0;
      }
    });
    if (busy) {
      return Outcome::blocked;
    }
    for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
      const std::uint32_t page = find(slice.page);
      if (page != kNone) {
        assert((pages_[page].dirty & slice.mask()) == 0);
        pages_[page].valid &= static_cast<Mask>(~slice.mask());
      }
    });
  }
  const std::uint32_t index = begin_pending(operation);
  pending_[index].parts_left = 1;
  write_parts_.push_back({index, operation.lba, operation.data});
  return Outcome::below;
}

// Parts that follow each other on the disk go below as one. An operation that failed as a whole is
// tried again part by part, so that nobody's operation fails for another's sector.
void Cache::queue_parts_below() {
  for (auto* parts : {&write_parts_, &read_parts_}) {
    if (parts->empty()) {
      continue;
    }
    const DiskOpKind kind = parts == &read_parts_ ? DiskOpKind::read : DiskOpKind::write;
    std::stable_sort(parts->begin(), parts->end(),
                     [](const Part& a, const Part& b) { return a.lba < b.lba; });
    std::size_t i = 0;
    while (i < parts->size() && in_flight_ < config_.flights_max) {
      const std::uint32_t index = begin_flight(FlightKind::parts, kind, (*parts)[i].lba);
      Flight& flight = flights_[index];
      std::uint64_t end = (*parts)[i].lba;
      std::uint32_t sectors = 0;
      do {
        const Part& part = (*parts)[i];
        const auto more = static_cast<std::uint32_t>(part.data.size() / kSectorBytes);
        if (!flight.parts.empty()) {
          if (part.lba != end || part.alone || flight.parts.back().alone ||
              sectors + more > config_.operation_sectors_max ||
              flight.segments.size() == kSegmentsMax) {
            break;
          }
          ++counters_.merged;
        }
        flight.parts.push_back(part);
        flight.segments.push_back(part.data);
        end += more;
        sectors += more;
        ++i;
      } while (i < parts->size());
      launch(index);
    }
    // The rest when the disk has room.
    parts->erase(parts->begin(), parts->begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// ---------------------------------------------------------------------------------------------------
// Reading ahead

// Is this the next read of a stream? Then what should be read before it is asked for. The window
// doubles as long as the stream goes on; a jump ends it, for a jump finds no stream.
bool Cache::follow(std::uint64_t lba, std::uint32_t sectors, std::uint64_t& ahead_from,
                   std::uint64_t& ahead_to) {
  if (streams_.empty()) {
    return false;
  }
  const std::uint64_t end = lba + sectors;
  Stream* victim = &streams_.front();
  for (Stream& stream : streams_) {
    const bool near = lba <= stream.next_lba + kStreamSlackSectors &&
                      lba + kStreamSlackSectors >= stream.next_lba;
    // Before it has proven itself a stream goes on only exactly where it ended.
    if (stream.length > 0 && (stream.length < kStreamLengthMin ? lba == stream.next_lba : near)) {
      stream.last_use = ++uses_;
      stream.next_lba = std::max(stream.next_lba, end);
      if (stream.length < kStreamLengthMin && ++stream.length < kStreamLengthMin) {
        return false;
      }
      if (stream.window == 0) {
        stream.window = std::min(kWindowStartSectors, config_.read_ahead_sectors_max);
        stream.ahead_end = stream.next_lba;
      }
      // Half a window is left: ask for the next one, so that the disk is never waited for.
      if (stream.ahead_end < stream.next_lba + stream.window / 2) {
        ahead_from = std::max(stream.ahead_end, end);
        ahead_to = std::min(config_.sectors, stream.next_lba + stream.window);
        stream.ahead_end = std::max(stream.ahead_end, ahead_to);
        stream.window = std::min(stream.window * 2, config_.read_ahead_sectors_max);
      }
      return true;
    }
    if (stream.last_use < victim->last_use) {
      victim = &stream;
    }
  }
  *victim = {.next_lba = end, .ahead_end = 0, .window = 0, .length = 1, .last_use = ++uses_};
  return false;
}

bool Cache::is_being_written(std::uint64_t lba, std::uint64_t end) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    const DiskOp& operation = pending.operation;
    return pending.used && operation.kind == DiskOpKind::write &&
           overlaps(lba, end, operation.lba, operation.lba + operation.sectors);
  });
}

// Reads [lba, end) into pages, as far as it is not there, not on its way and not being written.
// False: no page could be had for the first sector that is missing.
bool Cache::load(std::uint64_t lba, std::uint64_t end) {
  std::uint32_t flight = kNone;
  bool began = false;
  const bool writes_there = is_being_written(lba, end);
  const auto close = [&] {
    if (flight != kNone) {
      launch(flight);
      flight = kNone;
    }
  };
  for (std::uint64_t at = lba; at < end; ++at) {
    const auto sector = static_cast<std::uint32_t>(at % kPageSectors);
    const Mask bit = mask_of(sector, 1);
    std::uint32_t page = find(at / kPageSectors);
    if (page != kNone &&
        ((pages_[page].valid | pages_[page].loading | pages_[page].lost | pages_[page].cleaning) &
         bit) != 0) {
      began = began || (pages_[page].loading & bit) != 0;
      close();
      continue;
    }
    if (writes_there && is_being_written(at, at + 1)) {
      close();
      continue;
    }
    if (page == kNone) {
      page = find_or_make(at / kPageSectors);
    }
    if (page == kNone) {
      break;
    }
    if (flight != kNone && (at - flights_[flight].lba >= config_.operation_sectors_max ||
                            flights_[flight].segments.size() == kSegmentsMax)) {
      close();
    }
    if (flight == kNone && in_flight_ >= config_.flights_max) {
      break;
    }
    pages_[page].loading |= bit;
    ++counters_.read_ahead_sectors;
    began = true;
    const auto memory = bytes(page, sector, 1);
    if (flight == kNone) {
      flight = begin_flight(FlightKind::load, DiskOpKind::read, at);
    }
    auto& segments = flights_[flight].segments;
    if (!segments.empty() && segments.back().data() + segments.back().size() == memory.data()) {
      segments.back() = {segments.back().data(), segments.back().size() + memory.size()};
    } else {
      segments.push_back(memory);
    }
  }
  close();
  return began;
}

void Cache::end_load(const Flight& flight, DiskStatus status) {
  for_each_slice(flight.lba, flight.sectors, [&](const Slice& slice) {
    const std::uint32_t page = find(slice.page);
    assert(page != kNone);
    pages_[page].loading &= static_cast<Mask>(~slice.mask());
    if (status == DiskStatus::ok) {
      pages_[page].valid |= slice.mask();
    }
  });
  if (status != DiskStatus::ok) {
    // Whoever waited asks for just what is wanted: the bad sector may be one that nobody wants.
    for (Blocked& entry : blocked_) {
      entry.bypass = entry.bypass ||
                     overlaps(entry.operation.lba, entry.operation.lba + entry.operation.sectors,
                              flight.lba, flight.lba + flight.sectors);
    }
    for (Stream& stream : streams_) {
      if (stream.length > 0 &&
          overlaps(stream.next_lba, stream.ahead_end, flight.lba, flight.lba + flight.sectors)) {
        stream = {};
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------
// Writing behind

// A place is free again when nothing of theirs can fail any more, and they were told what has.
std::uint8_t Cache::owner_of(const wire::MacAddress& initiator) {
  std::uint8_t free = kNoOwner;
  for (std::uint8_t i = 0; i < kOwners; ++i) {
    Owner& owner = owners_[i];
    if (owner.used && owner.initiator == initiator) {
      return i;
    }
    if (free == kNoOwner &&
        (!owner.used || (owner.sectors == 0 && owner.dirty_pages == 0 && !owner.owed))) {
      free = i;
    }
  }
  if (free != kNoOwner) {
    owners_[free] = {initiator, 0, 0, false, true};
  }
  return free;
}

// These sectors are this owner's now, whoever wrote what is not below yet.
void Cache::dirty_by(Page& page, std::uint32_t first, std::uint32_t sectors, std::uint8_t owner) {
  for (std::uint32_t sector = first; sector < first + sectors; ++sector) {
    if ((page.dirty & mask_of(sector, 1)) != 0) {
      --owners_[page.writers[sector]].sectors;
    }
    page.writers[sector] = owner;
  }
  owners_[owner].sectors += sectors;
  page.dirty |= mask_of(first, sectors);
}

// What one initiator may have in memory: an equal share among those that have something there.
std::uint32_t Cache::dirty_share() const {
  std::uint32_t active = 0;
  for (const Owner& owner : owners_) {
    active += owner.dirty_pages > 0 ? 1U : 0U;
  }
  return std::max(1U, config_.pages / kDirtyMaxPart / std::max(1U, active));
}

Cache::Outcome Cache::attempt_write_behind(const DiskOp& operation) {
  const std::uint8_t owner = owner_of(operation.initiator);
  if (owner != kNoOwner && owners_[owner].owed) {
    owners_[owner].owed = false;
    finish(operation, DiskStatus::io_error);
    return Outcome::done;
  }
  bool busy = false;
  bool dirty = false;
  std::uint32_t fresh = 0;
  std::uint32_t kept = 0;  // pages of its own that could be evicted, and must not
  for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
    const std::uint32_t page = find(slice.page);
    if (page == kNone) {
      ++fresh;
      return;
    }
    busy = busy || ((pages_[page].loading | pages_[page].cleaning) & slice.mask()) != 0;
    dirty = dirty || (pages_[page].dirty & slice.mask()) != 0;
    kept += pages_[page].pinned() ? 0U : 1U;
  });
  if (busy) {
    return Outcome::blocked;
  }
  if (owner == kNoOwner) {
    behind_is_urgent_ = behind_is_urgent_ || dirty;
    return dirty ? Outcome::blocked : attempt_write_through(operation);
  }
  // Room for all of it or none: one that takes what there is and waits for the rest would keep
  // another such one waiting for ever.
  if (owners_[owner].dirty_pages >= dirty_share() ||
      counters_.dirty_pages >= std::max(1U, config_.pages / kDirtyMaxPart) ||
      !has_room(fresh, kept)) {
    if (counters_.dirty_pages > 0 || in_flight_ > 0) {
      behind_is_urgent_ = true;
      return Outcome::blocked;
    }
    return attempt_write_through(operation);  // lost pages fill the memory: nothing makes room
  }
  for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
    if (find(slice.page) != kNone) {
      find_or_make(slice.page);  // the newest now, and not evicted for the rest
    }
  });
  for_each_slice(operation.lba, operation.sectors, [&](const Slice& slice) {
    const std::uint32_t page = find_or_make(slice.page);
    assert(page != kNone);
    Page& p = pages_[page];
    std::memcpy(bytes(page, slice.sector, slice.sectors).data(),
                operation.data.data() + slice.offset, slice.sectors * kSectorBytes);
    forgive(p, slice.mask());
    p.valid |= slice.mask();
    if (p.dirty == 0) {
      p.owner = owner;
      dirty_append(page);
    } else if (p.owner != owner) {
      --owners_[p.owner].dirty_pages;
      ++owners_[owner].dirty_pages;
      p.owner = owner;
    }
    dirty_by(p, slice.sector, slice.sectors, owner);
  });
  finish(operation, DiskStatus::ok);
  return Outcome::done;
}

bool Cache::has_room(std::uint32_t fresh, std::uint32_t kept) const {
  std::uint32_t room = 0;
  for (std::uint32_t page = free_page_; page != kNone && room < fresh; page = pages_[page].older) {
    ++room;
  }
  if (room >= fresh) {
    return true;
  }
  for (std::uint32_t page = oldest_; page != kNone && room < fresh + kept;
       page = pages_[page].newer) {
    room += pages_[page].pinned() ? 0U : 1U;
  }
  return room >= fresh + kept;
}

void Cache::attempt_flush(const DiskOp& operation) {
  if (counters_.lost_sectors > 0) {
    finish(operation, DiskStatus::io_error);
    return;
  }
  flushes_.push_back({operation, sequence_});
  write_out_up_to_ = sequence_;
}

bool Cache::below_up_to(std::uint64_t sequence) const {
  if (dirty_first_ != kNone && pages_[dirty_first_].sequence <= sequence) {
    return false;
  }
  return std::none_of(flights_.begin(), flights_.end(), [&](const Flight& flight) {
    return flight.used && flight.kind == FlightKind::clean && flight.sequence <= sequence;
  });
}

void Cache::write_out() {
  write_out_up_to_ = sequence_;
  pump();
}

void Cache::on_timer(Nanoseconds now) {
  now_ = std::max(now_, now);
  pump();
}

Nanoseconds Cache::next_deadline() const {
  // Where no operation may go below now, the end of one of them is waited for.
  if (dirty_first_ == kNone || cleaning_ >= config_.write_behind_depth ||
      in_flight_ >= config_.flights_max) {
    return kNever;
  }
  return pages_[dirty_first_].dirty_since + config_.write_behind_delay_ns;
}

// Starts what is due: dirt that is old, wanted by a flush, or too much; then the flushes whose dirt
// is below.
void Cache::pump() {
  while (dirty_first_ != kNone && cleaning_ < config_.write_behind_depth &&
         in_flight_ < config_.flights_max) {
    const Page& page = pages_[dirty_first_];
    const bool due = page.sequence <= write_out_up_to_ || behind_is_urgent_ ||
                     counters_.dirty_pages > config_.pages / kDirtyStartPart ||
                     now_ - page.dirty_since >= config_.write_behind_delay_ns;
    if (!due) {
      break;
    }
    clean_from(dirty_first_);
  }
  if (!flushing_.empty()) {
    return;  // one at a time; whoever comes meanwhile makes the next one
  }
  while (!flushes_.empty() && below_up_to(flushes_.front().sequence)) {
    if (counters_.lost_sectors > 0) {
      finish(flushes_.front().operation, DiskStatus::io_error);
    } else {
      flushing_.push_back(flushes_.front().operation);
    }
    flushes_.pop_front();
  }
  if (!flushing_.empty()) {
    launch(begin_flight(FlightKind::flush, DiskOpKind::flush, 0));
  }
}

// One operation with the dirt around the first dirty sector of this page: back and forth as far as
// dirt goes on without a gap.
void Cache::clean_from(std::uint32_t page) {
  const std::uint64_t first = pages_[page].number * kPageSectors +
                              static_cast<std::uint64_t>(std::countr_zero(pages_[page].dirty));
  const auto is_dirty = [&](std::uint64_t lba) {
    const std::uint32_t at = find(lba / kPageSectors);
    return at != kNone &&
           (pages_[at].dirty & mask_of(static_cast<std::uint32_t>(lba % kPageSectors), 1)) != 0 &&
           (pages_[at].cleaning & mask_of(static_cast<std::uint32_t>(lba % kPageSectors), 1)) == 0;
  };
  std::uint64_t begin = first;
  while (begin > 0 && first - begin < config_.operation_sectors_max / 2 && is_dirty(begin - 1)) {
    --begin;
  }
  std::uint64_t end = first + 1;
  const std::uint64_t most =
      std::min<std::uint64_t>(config_.operation_sectors_max, (kSegmentsMax - 1) * kPageSectors);
  while (end - begin < most && end < config_.sectors && is_dirty(end)) {
    ++end;
  }
  const std::uint32_t index = begin_flight(FlightKind::clean, DiskOpKind::write, begin);
  std::uint64_t sequence = ~std::uint64_t{0};
  for_each_slice(begin, end - begin, [&](const Slice& slice) {
    const std::uint32_t at = find(slice.page);
    Page& p = pages_[at];
    sequence = std::min(sequence, p.sequence);
    p.cleaning |= slice.mask();
    p.dirty &= static_cast<Mask>(~slice.mask());
    if (p.dirty == 0) {
      dirty_unlink(at);
    }
    flights_[index].segments.push_back(bytes(at, slice.sector, slice.sectors));
  });
  flights_[index].sequence = sequence;
  ++cleaning_;
  ++counters_.behind_operations;
  counters_.behind_sectors += end - begin;
  launch(index);
}

void Cache::end_clean(const Flight& flight, DiskStatus status) {
  for_each_slice(flight.lba, flight.sectors, [&](const Slice& slice) {
    Page& p = pages_[find(slice.page)];
    p.cleaning &= static_cast<Mask>(~slice.mask());
    for (std::uint32_t sector = slice.sector; sector < slice.sector + slice.sectors; ++sector) {
      Owner& writer = owners_[p.writers[sector]];
      --writer.sectors;
      writer.owed = writer.owed || status != DiskStatus::ok;
    }
    if (status != DiskStatus::ok) {
      p.valid &= static_cast<Mask>(~slice.mask());
      p.lost |= slice.mask();
      counters_.lost_sectors += slice.sectors;
      counters_.behind_failed += slice.sectors;
    }
  });
}

bool Cache::idle() const {
  return in_flight_ == 0 && blocked_.empty() && flushes_.empty() && dirty_first_ == kNone;
}

}  // namespace target::cache
