// What each sector may hold: a register with the set of values allowed. A write counts from when it
// was asked for to when its initiator saw it succeed; one that never succeeded may have happened or
// may yet happen. It judges reads (the symptom), writes as they reach the disk (the cause of stale
// damage), and what a crash left (durability). It must never know how the target works.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/disk/stamp.h"
#include "sim/schedule.h"

namespace sim::checkers {

// Before and after are told by a count, not by the clock: what is asked for at the instant at which
// something else was done comes after it.
using Order = std::int64_t;
inline constexpr Order kNever = INT64_MAX;
using disk::Version;

struct Write {
  std::uint32_t initiator = 0;
  std::uint32_t op = 0;
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
  Nanoseconds asked_ns = 0;
  Order asked = 0;
};

enum class ApplyVerdict : std::uint8_t {
  good,
  stale,
};

class SectorRegister {
 public:
  // What comes back after a crash, and is kept for that: values until a flush, or until what was
  // written over them is done.
  enum class Keeps : std::uint8_t { nothing, until_flush, until_done };
  explicit SectorRegister(std::uint64_t sectors);
  void keep_for_crash(Keeps keeps) { keeps_ = keeps; }

  // The moment at which something is asked for, or done.
  Order tick() { return ++order_; }

  Version ask_write(std::uint32_t initiator, std::uint32_t op, std::uint64_t lba,
                    std::uint32_t sectors, Nanoseconds now);
  // Sectors of a write were acknowledged. oldest_read: when the oldest read that is still
  // outstanding was asked for.
  void write_done(Version version, std::uint64_t lba, std::uint32_t sectors, Order oldest_read);
  // A flush that was asked for at `asked` has succeeded.
  void flush_done(Order asked);

  // The target is about to put this version into this sector. Stale: the write was done before
  // another was asked for that has been put there since.
  ApplyVerdict judge_apply(Version version, std::uint64_t lba);
  // It is there now. Until then nothing has changed: the operation may fail, and what a crash took
  // is still gone.
  void reached(Version version, std::uint64_t lba);
  // Stale damage that was reported: from now on the value is what the sector holds.
  void accept(Version version, std::uint64_t lba);

  // Whether a read that was asked for at `asked` may find this; it has been seen from now on.
  bool judge_read(const disk::Stamp& found, std::uint64_t lba, Order asked);

  // What a crash left in the sector; torn_allowed: an unfinished write covered it. False:
  // durability is broken. The register goes on with what is there.
  bool judge_crash(const disk::Stamp& left, std::uint64_t lba, bool torn_allowed,
                   bool volatile_cache);

  // Anything may be there from now on (a corrupted frame, a hostile host).
  void taint(std::uint64_t lba);

  [[nodiscard]] const Write& write(Version version) const { return writes_[version]; }
  [[nodiscard]] std::uint64_t sectors() const { return sectors_.size(); }
  [[nodiscard]] bool known(Version version) const { return version < writes_.size(); }

 private:
  struct Value {
    Version version = 0;
    Order asked = 0;
    Order done = kNever;
    Order superseded = kNever;  // when a write that was asked for after this was done, was done
    bool durably_superseded = false;
    bool applied = false;             // it stands on the disk, or stood there
    bool gone = false;                // a crash took it
    bool superseded_by_loss = false;  // only because it was gone when it was acknowledged
    std::uint64_t digest = 0;         // of a torn sector
  };
  struct Sector {
    std::vector<Value> values;
    bool tainted = false;
  };
  static void supersede(Sector& sector, Order asked, Order now, Order oldest_read, bool keep_all);

  std::vector<Sector> sectors_;
  std::vector<Write> writes_;
  Order order_ = 0;
  Keeps keeps_ = Keeps::nothing;
};

}  // namespace sim::checkers
