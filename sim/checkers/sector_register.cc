// A regular register per sector, with observation: a value that was read has happened.
#include "sim/checkers/sector_register.h"

#include <algorithm>

namespace sim::checkers {
namespace {

constexpr std::size_t kPruneAbove = 6;

}  // namespace

SectorRegister::SectorRegister(std::uint64_t sectors) : sectors_(sectors) {
  writes_.push_back({.sectors = static_cast<std::uint32_t>(sectors), .asked_ns = 0, .asked = -1});
  for (Sector& sector : sectors_) {
    sector.values.reserve(kPruneAbove + 2);
    sector.values.push_back({.version = disk::kFormatted, .asked = -1, .done = -1});
  }
}

Version SectorRegister::ask_write(std::uint32_t initiator, std::uint32_t op, std::uint64_t lba,
                                  std::uint32_t sectors, Nanoseconds now) {
  const auto version = static_cast<Version>(writes_.size());
  const Order asked = tick();
  writes_.push_back({.initiator = initiator,
                     .op = op,
                     .lba = lba,
                     .sectors = sectors,
                     .asked_ns = now,
                     .asked = asked});
  for (std::uint64_t at = lba; at < lba + sectors && at < sectors_.size(); ++at) {
    sectors_[at].values.push_back({.version = version, .asked = asked});
  }
  return version;
}

void SectorRegister::supersede(Sector& sector, Order asked, Order now, Order oldest_read,
                               bool keep_all) {
  for (Value& value : sector.values) {
    if (value.done < asked) {
      value.superseded = std::min(value.superseded, now);
    }
  }
  if (sector.values.size() > kPruneAbove) {
    std::erase_if(sector.values, [&](const Value& value) {
      return value.superseded < oldest_read && (!keep_all || value.durably_superseded);
    });
  }
}

void SectorRegister::write_done(Version version, std::uint64_t lba, std::uint32_t sectors,
                                Order oldest_read) {
  const Order now = tick();
  const Order asked = writes_[version].asked;
  for (std::uint64_t at = lba; at < lba + sectors && at < sectors_.size(); ++at) {
    Sector& sector = sectors_[at];
    bool gone = false;
    for (Value& value : sector.values) {
      if (value.version == version) {
        value.done = std::min(value.done, now);
        // The acknowledgement was on its way when a crash took what it acknowledged.
        gone = value.gone;
        if (gone && value.superseded == kNever) {
          value.superseded = now;
          value.superseded_by_loss = true;
        }
      }
    }
    if (gone) {
      continue;
    }
    supersede(sector, asked, now, oldest_read, keeps_ != Keeps::nothing);
    if (keeps_ == Keeps::until_done) {
      for (Value& old : sector.values) {
        old.durably_superseded = old.durably_superseded || old.done < asked;
      }
    }
  }
}

void SectorRegister::flush_done(Order asked) {
  for (Sector& sector : sectors_) {
    for (Value& old : sector.values) {
      for (const Value& newer : sector.values) {
        if (!newer.gone && newer.done < asked && old.done < newer.asked) {
          old.durably_superseded = true;
        }
      }
    }
  }
}

ApplyVerdict SectorRegister::judge_apply(Version version, std::uint64_t lba) {
  Sector& sector = sectors_[lba];
  if (sector.tainted) {
    return ApplyVerdict::good;
  }
  const auto mine = std::find_if(sector.values.begin(), sector.values.end(),
                                 [&](const Value& value) { return value.version == version; });
  if (mine == sector.values.end()) {
    return ApplyVerdict::stale;  // so old that it has been forgotten
  }
  const bool replaced = std::any_of(
      sector.values.begin(), sector.values.end(),
      [&](const Value& value) { return value.applied && !value.gone && mine->done < value.asked; });
  return mine->superseded != kNever || replaced ? ApplyVerdict::stale : ApplyVerdict::good;
}

void SectorRegister::reached(Version version, std::uint64_t lba) {
  for (Value& value : sectors_[lba].values) {
    if (value.version == version) {
      value.applied = true;
      value.gone = false;
      // Its repetition was on its way already when the acknowledgement of what a crash had taken
      // came.
      if (value.superseded_by_loss) {
        value.superseded = kNever;
        value.superseded_by_loss = false;
      }
      return;
    }
  }
}

void SectorRegister::accept(Version version, std::uint64_t lba) {
  for (Value& value : sectors_[lba].values) {
    if (value.version == version) {
      value.superseded = kNever;
      value.durably_superseded = false;
      return;
    }
  }
  // It had been forgotten: so it was done.
  const Order asked = writes_[version].asked;
  sectors_[lba].values.push_back({.version = version, .asked = asked, .done = asked});
}

bool SectorRegister::judge_read(const disk::Stamp& found, std::uint64_t lba, Order asked) {
  const Order now = tick();
  Sector& sector = sectors_[lba];
  if (sector.tainted) {
    return true;
  }
  if (found.state == disk::StampState::misplaced) {
    return false;
  }
  for (const Value& value : sector.values) {
    const bool same = value.version == found.version &&
                      (found.version != disk::kTorn || value.digest == found.digest);
    if (!same || value.superseded <= asked) {
      continue;
    }
    // It has been seen, so it has happened: what was done before it was asked for is gone. What was
    // already superseded when it was seen proves nothing, nor does what a crash took while the
    // answer was on its way.
    if (value.superseded == kNever && !value.gone) {
      const Order happened = value.asked;
      for (Value& other : sector.values) {
        if (other.done < happened) {
          other.superseded = std::min(other.superseded, now);
        }
      }
    }
    return true;
  }
  return false;
}

bool SectorRegister::judge_crash(const disk::Stamp& left, std::uint64_t lba, bool torn_allowed,
                                 bool volatile_cache) {
  const Order now = tick();
  Sector& sector = sectors_[lba];
  if (sector.tainted) {
    return true;
  }
  bool allowed = left.state == disk::StampState::broken && torn_allowed;
  bool present = false;
  for (Value& value : sector.values) {
    const bool same = value.version == left.version && left.state != disk::StampState::misplaced &&
                      (left.version != disk::kTorn || value.digest == left.digest);
    if (same) {
      allowed =
          allowed || value.superseded == kNever || (volatile_cache && !value.durably_superseded);
      value.superseded = kNever;
      value.durably_superseded = false;
      present = true;
      continue;
    }
    // Once gone, gone until it is put there again, however many crashes follow.
    value.gone = value.gone || value.done != kNever || value.applied;
    value.applied = false;
    if (value.done != kNever) {
      value.superseded = std::min(value.superseded, now);
      value.durably_superseded = true;
    }
  }
  if (!present) {
    sector.values.push_back(
        {.version = left.version, .asked = -1, .done = now, .digest = left.digest});
  }
  return allowed;
}

void SectorRegister::taint(std::uint64_t lba) {
  if (lba < sectors_.size()) {
    sectors_[lba].tainted = true;
  }
}

}  // namespace sim::checkers
