// What the target's cache promises of a disk that fails after a write was acknowledged
// (docs/aoe-target.md, durability): its sectors read as errors until they are written anew, no
// flush is good while one is left, and each initiator who wrote one of them gets one failed write.
// It sees the engine's operations above the cache and the disk's below, and must never know how the
// cache works.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/disk/stamp.h"
#include "target/engine/engine.h"

namespace sim::checkers {

class StoragePromise {
 public:
  StoragePromise(std::uint64_t sectors, Findings& findings);

  // Above: the engine starts an operation, and is told how it ended.
  void started(const target::engine::DiskOp& operation);
  void ended(std::uint32_t id, target::engine::DiskStatus status);
  // Below: the disk has ended an operation. `content`: of a write, all of it.
  void disk_ended(target::engine::DiskOpKind kind, std::uint64_t lba,
                  std::span<const std::byte> content, target::engine::DiskStatus status);
  // What was in memory is gone, and so are its debts.
  void crash();

  // Acknowledged, lost by the disk, and not written anew.
  [[nodiscard]] bool lost(std::uint64_t lba, std::uint32_t sectors) const;
  // Or nobody can tell.
  [[nodiscard]] bool perhaps_lost(std::uint64_t lba, std::uint32_t sectors) const {
    return doubtful_ || lost(lba, sectors);
  }
  [[nodiscard]] std::uint64_t losses() const { return losses_; }

 private:
  using Host = target::wire::MacAddress;
  struct Sector {
    bool acknowledged = false;
    disk::Version version = 0;  // the last that was acknowledged
    Host writer{};
    bool lost = false;
  };
  struct Open {
    target::engine::DiskOpKind kind{};
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    Host host{};
    std::vector<disk::Stamp> stamps;
    std::uint64_t failures = 0;  // of the disk, when it was started
    std::uint64_t debt = 0;      // of its host's, when it was started
    bool lost = false;           // it covered a lost sector when it was started
  };
  void complain(const char* signature, const Open& open, const char* what);

  std::vector<Sector> sectors_;
  std::map<std::uint32_t, Open> open_;
  std::map<Host, std::uint64_t> debts_;  // not yet told: the failure that it came from; 0: none
  std::uint64_t failures_ = 0;
  std::uint64_t lost_now_ = 0;
  std::uint64_t losses_ = 0;
  bool doubtful_ = false;      // something failed of which it cannot tell whose it was
  bool flush_failed_ = false;  // what the disk itself could not flush it never tells again
  Findings& findings_;
};

}  // namespace sim::checkers
