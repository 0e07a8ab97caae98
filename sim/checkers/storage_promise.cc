// What is promised of a disk that fails later: see storage_promise.h.
#include "sim/checkers/storage_promise.h"

#include <fmt/format.h>

#include <algorithm>

namespace sim::checkers {

using target::engine::DiskOpKind;
using target::engine::DiskStatus;

namespace {

bool same(const disk::Stamp& stamp, disk::Version version) {
  return stamp.state == disk::StampState::good && stamp.version == version;
}

}  // namespace

StoragePromise::StoragePromise(std::uint64_t sectors, Findings& findings)
    : sectors_(sectors), findings_(findings) {}

void StoragePromise::complain(const char* signature, const Open& open, const char* what) {
  findings_.add(Severity::safety, signature,
                fmt::format("{} of {}+{}: {}",
                            open.kind == DiskOpKind::read    ? "a read"
                            : open.kind == DiskOpKind::write ? "a write"
                                                             : "a flush",
                            open.lba, open.sectors, what));
}

void StoragePromise::started(const target::engine::DiskOp& operation) {
  Open open{operation.kind, operation.lba, operation.sectors, operation.initiator, {}, failures_};
  open.lost =
      operation.kind == DiskOpKind::flush ? lost_now_ > 0 : lost(operation.lba, operation.sectors);
  if (operation.kind == DiskOpKind::write) {
    for (std::uint32_t i = 0; i < operation.sectors; ++i) {
      open.stamps.push_back(disk::read_stamp(
          operation.data.subspan(i * disk::kSectorBytes, disk::kSectorBytes), operation.lba + i));
    }
    open.debt = debts_[operation.initiator];
  }
  open_[operation.id] = std::move(open);
}

void StoragePromise::ended(std::uint32_t id, DiskStatus status) {
  const auto at = open_.find(id);
  if (at == open_.end()) {
    return;
  }
  const Open open = std::move(at->second);
  open_.erase(at);
  const bool good = status == DiskStatus::ok;
  std::uint64_t& debt = debts_[open.host];
  if (!good) {
    const bool told = open.kind == DiskOpKind::write && debt != 0;
    debt = told ? 0 : debt;
    // While it was open the disk failed somebody: perhaps for this one.
    const bool explained = doubtful_ || told || open.lost || open.failures != failures_ ||
                           (open.kind == DiskOpKind::flush && (lost_now_ > 0 || flush_failed_));
    if (!explained) {
      complain("storage:refused", open, "it failed, and nothing below had");
    }
    return;
  }
  switch (open.kind) {
    case DiskOpKind::read:
      // What was lost while it was open, it may have read before.
      if (open.lost && lost(open.lba, open.sectors) && open.failures == failures_) {
        complain("storage:lost-read", open, "what the disk has lost was read as if it were there");
      }
      break;
    case DiskOpKind::flush:
      if (lost_now_ > 0 && open.lost && open.failures == failures_) {
        complain("storage:false-flush", open, "it was good although acknowledged data is lost");
      }
      break;
    case DiskOpKind::write:
      // It was owed before, and nothing has told it meanwhile.
      if (open.debt != 0 && debt == open.debt) {
        complain("storage:untold", open,
                 "its initiator's earlier data was lost, and this write was to say so");
      }
      for (std::uint32_t i = 0; i < open.sectors; ++i) {
        Sector& sector = sectors_[open.lba + i];
        lost_now_ -= sector.lost ? 1 : 0;
        sector = {open.stamps[i].state == disk::StampState::good, open.stamps[i].version, open.host,
                  false};
      }
      break;
  }
}

void StoragePromise::disk_ended(DiskOpKind kind, std::uint64_t lba,
                                std::span<const std::byte> content, DiskStatus status) {
  if (status == DiskStatus::ok) {
    return;
  }
  ++failures_;
  flush_failed_ = flush_failed_ || kind == DiskOpKind::flush;
  for (std::size_t i = 0; kind == DiskOpKind::write && i * disk::kSectorBytes < content.size();
       ++i) {
    Sector& sector = sectors_[lba + i];
    const disk::Stamp stamp =
        disk::read_stamp(content.subspan(i * disk::kSectorBytes, disk::kSectorBytes), lba + i);
    // A write that waits for the disk fails by itself: nobody was told that it is done. Where a
    // copy of what was acknowledged waits, it may have been that.
    const bool copy_waits = std::any_of(open_.begin(), open_.end(), [&](const auto& each) {
      const Open& open = each.second;
      return open.kind == DiskOpKind::write && lba + i >= open.lba &&
             lba + i < open.lba + open.sectors &&
             same(open.stamps[lba + i - open.lba], sector.version);
    });
    if (sector.acknowledged && same(stamp, sector.version) && copy_waits) {
      doubtful_ = true;
      continue;
    }
    if (sector.acknowledged && !sector.lost && same(stamp, sector.version)) {
      sector.lost = true;
      ++lost_now_;
      ++losses_;
      std::uint64_t& debt = debts_[sector.writer];
      debt = debt == 0 ? failures_ : debt;
    }
  }
}

void StoragePromise::crash() {
  open_.clear();
  debts_.clear();
  flush_failed_ = doubtful_ = false;
  lost_now_ = 0;
  for (Sector& sector : sectors_) {
    sector = {};
  }
}

bool StoragePromise::lost(std::uint64_t lba, std::uint32_t sectors) const {
  for (std::uint64_t at = lba; at < lba + sectors && at < sectors_.size(); ++at) {
    if (sectors_[at].lost) {
      return true;
    }
  }
  return false;
}

}  // namespace sim::checkers
