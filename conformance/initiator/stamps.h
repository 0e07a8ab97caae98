#pragma once
// Sectors that say who wrote them and where they belong: the simulator's stamps, byte for byte
// (sim/disk/stamp.h), so that one judge reads what either wrote. A sector is eight-byte words,
// least significant byte first: the number of the write, the LBA, then a pattern that depends on
// both over the rest, so that a torn, misplaced, stale or foreign sector is known for what it is.

#include <string>

#include "conformance/observer/bytes.h"

namespace conformance::initiator {

enum class StampState : uint8_t { good, misplaced, broken };

struct Stamp {
  StampState state = StampState::broken;
  uint32_t version = 0;
  uint64_t lba = 0;  // that it names
};

// One sector of 512 bytes.
void write_stamp(std::span<uint8_t> sector, uint32_t version, uint64_t lba);
Stamp read_stamp(observer::BytesView sector, uint64_t lba);

// What a range of sectors must hold, sector by sector: between what was acknowledged last and what
// was asked for last. Judges; knows no wire.
class Ledger {
 public:
  Ledger(uint64_t lba, uint64_t sectors) : lba_(lba), entries_(sectors) {}

  void asked(uint64_t lba, uint32_t sectors, uint32_t version);
  void acknowledged(uint64_t lba, uint32_t sectors, uint32_t version);

  struct Finding {
    uint64_t lba = 0;
    std::string what;
  };
  // Of one sector as read; nullopt when it may be so.
  std::optional<Finding> judge(uint64_t lba, observer::BytesView sector) const;

  // For the next write: more than any so far.
  uint32_t next_version() const;

  uint64_t lba() const { return lba_; }
  uint64_t sectors() const { return entries_.size(); }
  // One line a sector that was written: "LBA ACKNOWLEDGED ASKED".
  std::string text() const;
  // Throws std::runtime_error with the line's number.
  static Ledger parse(std::string_view text);

 private:
  struct Entry {
    uint32_t acknowledged = 0;  // 0: none of ours
    uint32_t asked = 0;
  };
  uint64_t lba_;
  std::vector<Entry> entries_;
};

}  // namespace conformance::initiator
