// Transfers, errors, crashes.
#include "sim/disk/disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace sim::disk {
namespace {

using target::engine::DiskOpKind;
using target::engine::DiskStatus;
constexpr std::uint8_t kLostInCrash = 3;
// What becomes of a sector of an unfinished write.
constexpr std::uint64_t kOld = 0;
constexpr std::uint64_t kNew = 1;
constexpr std::uint64_t kTornSector = 2;
constexpr std::uint64_t kCrashChoices = 3;

// The operation's bytes from the first on, wherever they lie.
void bring_in(const target::engine::DiskOp& op, std::span<const std::byte> from) {
  if (op.segments.empty()) {
    std::copy(from.begin(), from.end(), op.data.begin());
  }
  for (const auto& segment : op.segments) {
    const auto part = from.first(std::min(from.size(), segment.size()));
    std::copy(part.begin(), part.end(), segment.begin());
    from = from.subspan(part.size());
  }
}
std::vector<std::byte> content_of(const target::engine::DiskOp& op) {
  std::vector<std::byte> out(op.data.begin(), op.data.end());
  for (const auto& segment : op.segments) {
    out.insert(out.end(), segment.begin(), segment.end());
  }
  return out;
}

std::string_view kind_name(DiskOpKind kind) {
  switch (kind) {
    case DiskOpKind::read:
      return "read";
    case DiskOpKind::write:
      return "WRITE";
    default:
      return "flush";
  }
}

}  // namespace

Disk::Disk(const Settings& settings, EventQueue& queue, Tracer& tracer, Faults& faults)
    : settings_(settings),
      queue_(queue),
      tracer_(tracer),
      faults_(faults),
      visible_(static_cast<std::size_t>(settings.sectors) * kSectorBytes) {
  for (std::uint64_t lba = 0; lba < static_cast<std::uint64_t>(settings.sectors); ++lba) {
    write_stamp(std::span(visible_).subspan(lba * kSectorBytes, kSectorBytes), kFormatted, lba);
  }
  if (settings.volatile_write_cache != 0 || settings.synced_in_groups != 0) {
    durable_ = visible_;
    dirty_.resize(static_cast<std::size_t>(settings.sectors));
  }
}

std::size_t Disk::take_slot() {
  ++in_flight_;
  if (free_.empty()) {
    flights_.emplace_back();
    return flights_.size() - 1;
  }
  const std::size_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void Disk::start(const target::engine::DiskOp& op, Nanoseconds now) {
  const std::size_t slot = take_slot();
  InFlight& flight = flights_[slot];
  flight = {.op = op,
            .state = nullptr,
            .index = next_index_++,
            .transferred = op.sectors,
            .status = DiskStatus::ok,
            .used = true};
  if (op.kind != DiskOpKind::flush &&
      op.lba + op.sectors > static_cast<std::uint64_t>(settings_.sectors)) {
    flight.status = DiskStatus::io_error;  // as a disk says to what lies past its end
    flight.transferred = 0;
    flight.op.lba = 0;
    flight.op.sectors = 0;
  }
  Nanoseconds latency = op.kind == DiskOpKind::read    ? settings_.disk_read_ns
                        : op.kind == DiskOpKind::write ? settings_.disk_write_ns
                                                       : settings_.disk_flush_ns;
  for (const DiskFault& fault : faults_.next_disk(now, op.kind == DiskOpKind::write, op.sectors)) {
    switch (fault.kind) {
      case DiskFaultKind::delay:
        latency += fault.amount;
        break;
      case DiskFaultKind::io_error:
        flight.status = DiskStatus::io_error;
        flight.transferred = 0;
        break;
      case DiskFaultKind::no_space:
        flight.status = DiskStatus::no_space;
        flight.transferred = 0;
        break;
      case DiskFaultKind::short_write:
        flight.status = DiskStatus::io_error;
        flight.transferred =
            static_cast<std::uint32_t>(std::clamp<std::int64_t>(fault.amount, 0, op.sectors));
        break;
    }
  }
  if (op.kind == DiskOpKind::flush && !durable_.empty()) {
    begin_flush(flight);
  }
  // Every other read has its data long before it tells: what is written meanwhile it does not see.
  // Only with a cache can a read and a write of one sector be at the disk together.
  if (op.kind == DiskOpKind::read && settings_.cache_pages > 0 && flight.index % 2 == 0) {
    const auto from = visible_.begin() + static_cast<std::ptrdiff_t>(flight.op.lba * kSectorBytes);
    flight.content.assign(from,
                          from + static_cast<std::ptrdiff_t>(flight.op.sectors * kSectorBytes));
  }
  const std::string text = tracer_.watched()
                               ? fmt::format("{} {}+{}", kind_name(op.kind), op.lba, op.sectors)
                               : std::string();
  tracer_.emit({.time = now,
                .kind = TraceKind::disk_started,
                .detail = static_cast<std::uint8_t>(op.kind),
                .serial = flight.index,
                .amount = static_cast<std::int64_t>(op.lba),
                .text = text});
  queue_.at(now + latency, EventKind::disk_done, 0,
            (static_cast<std::uint64_t>(flight.index) << 32U) | slot);
}

void Disk::start(const target::engine::Save& save, Nanoseconds now) {
  const std::size_t slot = take_slot();
  InFlight& flight = flights_[slot];
  flight = InFlight{};
  flight.op.id = save.id;
  flight.state = save.state;
  flight.index = next_index_++;
  flight.used = true;
  for (const DiskFault& fault : faults_.next_disk(now, true, 0)) {
    if (fault.kind != DiskFaultKind::delay) {
      flight.status = DiskStatus::io_error;
    }
  }
  tracer_.emit({.time = now,
                .kind = TraceKind::disk_started,
                .detail = 3,
                .serial = flight.index,
                .text = "save"});
  queue_.at(now + settings_.disk_flush_ns, EventKind::disk_done, 0,
            (static_cast<std::uint64_t>(flight.index) << 32U) | slot);
}

// What is written from here on is for the next one.
void Disk::begin_flush(InFlight& flight) {
  flight.flushed.clear();
  flight.content.clear();
  for (std::uint64_t lba = 0; lba < dirty_.size(); ++lba) {
    if (dirty_[lba] != 0) {
      dirty_[lba] = 0;
      flight.flushed.push_back(lba);
      const std::span<const std::byte> now = sector(lba);
      flight.content.insert(flight.content.end(), now.begin(), now.end());
    }
  }
}

// When it fails everything counts as clean all the same, as in a kernel, also what was written
// while it ran: no later flush brings it to the disk.
void Disk::end_flush(const InFlight& flight) {
  if (flight.status != DiskStatus::ok) {
    std::fill(dirty_.begin(), dirty_.end(), 0);
    return;
  }
  for (std::size_t i = 0; i < flight.flushed.size(); ++i) {
    std::copy_n(flight.content.begin() + static_cast<std::ptrdiff_t>(i * kSectorBytes),
                kSectorBytes,
                durable_.begin() + static_cast<std::ptrdiff_t>(flight.flushed[i] * kSectorBytes));
  }
}

void Disk::transfer(const InFlight& flight) {
  const auto& op = flight.op;
  const std::size_t bytes = std::size_t{flight.transferred} * kSectorBytes;
  const auto at = static_cast<std::ptrdiff_t>(op.lba * kSectorBytes);
  switch (op.kind) {
    case DiskOpKind::read:
      bring_in(op, flight.content.empty()
                       ? std::span<const std::byte>(visible_).subspan(static_cast<std::size_t>(at),
                                                                      bytes)
                       : std::span<const std::byte>(flight.content).first(bytes));
      break;
    case DiskOpKind::write:
      if (op.segments.empty()) {
        std::copy_n(op.data.begin(), bytes, visible_.begin() + at);
      } else {
        std::copy_n(content_of(op).begin(), bytes, visible_.begin() + at);
      }
      for (std::uint32_t i = 0; i < flight.transferred && !dirty_.empty(); ++i) {
        dirty_[op.lba + i] = 1;
      }
      break;
    case DiskOpKind::flush:
      end_flush(flight);
      break;
  }
}

Disk::Completion Disk::complete(std::uint64_t arg, Nanoseconds now) {
  const std::size_t slot = arg & 0xffffffffU;
  const auto index = static_cast<std::uint32_t>(arg >> 32U);
  Completion completion;
  if (slot >= flights_.size() || !flights_[slot].used || flights_[slot].index != index) {
    return completion;
  }
  InFlight& flight = flights_[slot];
  completion.current = true;
  completion.save = flight.state != nullptr;
  completion.done = {.id = flight.op.id, .status = flight.status, .now = now};
  if (completion.save) {
    if (flight.status == DiskStatus::ok) {
      saved_ = *flight.state;
      ++saves_;
    }
  } else {
    transfer(flight);
    completion.kind = flight.op.kind;
    completion.first = flight.op.lba;
    if (flight.op.kind == DiskOpKind::write) {
      completion.lba = flight.op.lba;
      const std::size_t bytes = std::size_t{flight.transferred} * kSectorBytes;
      if (flight.op.segments.empty()) {
        completion.content = flight.op.data;
      } else {
        gathered_ = content_of(flight.op);
        completion.content = gathered_;
      }
      completion.written = completion.content.first(std::min(bytes, completion.content.size()));
    }
  }
  errors_ += flight.status == DiskStatus::ok ? 0 : 1;
  flight.used = false;
  free_.push_back(slot);
  --in_flight_;
  tracer_.emit({.time = now,
                .kind = TraceKind::disk_done,
                .detail = static_cast<std::uint8_t>(completion.done.status),
                .serial = index});
  return completion;
}

void Disk::crash_write(const InFlight& flight, std::int64_t choice, std::vector<char>& unfinished) {
  const std::vector<std::byte> content = content_of(flight.op);
  for (std::uint32_t i = 0; i < flight.op.sectors; ++i) {
    const std::uint64_t lba = flight.op.lba + i;
    unfinished[lba] = 1;
    const std::uint64_t pick = choice == 0 ? kOld
                                           : hash(static_cast<std::uint64_t>(choice), "sector",
                                                  (std::uint64_t{flight.index} << 8U) + i) %
                                                 kCrashChoices;
    const std::size_t bytes = pick == kNew          ? kSectorBytes
                              : pick == kTornSector ? kSectorBytes / 2
                                                    : 0;
    torn_ += pick == kTornSector ? 1 : 0;
    std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(i * kSectorBytes), bytes,
                visible_.begin() + static_cast<std::ptrdiff_t>(lba * kSectorBytes));
  }
}

void Disk::crash(std::int64_t choice, Nanoseconds now,
                 const std::function<void(std::uint64_t lba, bool unfinished)>& judge) {
  const auto sectors = static_cast<std::uint64_t>(settings_.sectors);
  std::vector<char> unfinished(sectors, 0);
  for (std::uint64_t lba = 0; lba < sectors && !durable_.empty(); ++lba) {
    const bool lost =
        choice == 0 || hash(static_cast<std::uint64_t>(choice), "cache", lba) % 2 == 0;
    if (lost) {
      std::copy_n(durable_.begin() + static_cast<std::ptrdiff_t>(lba * kSectorBytes), kSectorBytes,
                  visible_.begin() + static_cast<std::ptrdiff_t>(lba * kSectorBytes));
    }
  }
  for (std::size_t slot = 0; slot < flights_.size(); ++slot) {
    InFlight& flight = flights_[slot];
    if (!flight.used) {
      continue;
    }
    if (flight.state == nullptr && flight.op.kind == DiskOpKind::write) {
      crash_write(flight, choice, unfinished);
    }
    tracer_.emit({.time = now,
                  .kind = TraceKind::disk_done,
                  .detail = kLostInCrash,
                  .serial = flight.index});
    flight.used = false;
    free_.push_back(slot);
    --in_flight_;
  }
  if (!durable_.empty()) {
    durable_ = visible_;
    std::fill(dirty_.begin(), dirty_.end(), 0);
  }
  for (std::uint64_t lba = 0; lba < sectors; ++lba) {
    judge(lba, unfinished[lba] != 0);
  }
}

}  // namespace sim::disk
