#include "conformance/observer/shadow_disk.h"

#include <cstdlib>
#include <new>

namespace conformance::observer {

namespace {
constexpr std::uint32_t kTargetShift = 48;
constexpr std::uint64_t kSpread = 0x9E37'79B9'7F4A'7C15;
constexpr std::uint32_t kBeforeAll = 0;  // the end of what stood there before the capture

using Kind = Candidate::Kind;

// What may rightly be there, in itself.
bool innocent(const Candidate& c) {
  return c.kind == Kind::seen || c.kind == Kind::written || c.kind == Kind::failed;
}
bool may_be_read(const Candidate& c, std::uint32_t read_begins) {
  return c.gone == 0 || read_begins <= c.gone;
}
bool ended_before(const Candidate& c, std::uint32_t frame) {
  return c.end != Candidate::kOpen && c.end < frame;
}
}  // namespace

void Sector::start(std::uint64_t key) {
  key_ = key;
  candidates_ = {};
  candidates_[0].kind = Kind::wildcard;
  candidates_[0].end = kBeforeAll;
}

// The least useful place: a free one, one that is gone (the longest), one that only accuses. When
// all count, one of them turns into a wildcard, which accuses nobody.
Candidate& Sector::room() {
  Candidate* gone = nullptr;
  Candidate* accuser = nullptr;
  for (Candidate& c : candidates_) {
    if (c.kind == Kind::empty) {
      return c;
    }
    if (c.gone != 0 && (gone == nullptr || c.gone < gone->gone)) {
      gone = &c;
    }
    if (c.kind == Kind::refused || c.kind == Kind::window_copy) {
      accuser = &c;
    }
  }
  if (gone != nullptr) {
    return *gone;
  }
  if (accuser != nullptr) {
    return *accuser;
  }
  Candidate& merged = candidates_[0];
  for (const Candidate& c : candidates_) {  // one that covers them all
    merged.end = c.end > merged.end ? c.end : merged.end;
  }
  merged.kind = Kind::wildcard;
  merged.begin = 0;
  return candidates_[1];
}

void Sector::write(Kind kind, std::uint64_t hash, std::uint32_t begin) {
  if (kind == Kind::late_copy || kind == Kind::window_copy) {
    for (Candidate& c : candidates_) {
      if (c.kind == kind && c.hash == hash && c.gone == 0) {
        c.begin = begin;
        c.end = Candidate::kOpen;
        return;
      }
    }
  }
  room() = Candidate{hash, begin, Candidate::kOpen, 0, kind};
}

void Sector::answered(std::uint32_t begin, std::uint32_t end, bool good, Kind kind) {
  Candidate* own = nullptr;
  for (Candidate& c : candidates_) {
    if (c.begin == begin && c.end == Candidate::kOpen && c.kind != Kind::empty) {
      own = &c;
      break;
    }
  }
  if (own == nullptr) {
    return;
  }
  own->end = end;
  if (!good) {
    own->kind = kind;
    return;
  }
  if (own->kind == Kind::late_copy || own->kind == Kind::window_copy || own->kind == Kind::failed) {
    return;  // performed or not, it was answered: what else may be there, may still be
  }
  for (Candidate& c : candidates_) {
    if (c.gone == 0 && c.kind != Kind::empty && ended_before(c, begin)) {
      c.gone = end;
    }
  }
}

void Sector::renew(std::uint32_t begin) {
  for (Candidate& c : candidates_) {
    if (c.begin == begin && c.kind == Kind::written) {
      c.kind = Kind::renewed;
    }
  }
}

void Sector::unseen_write(std::uint32_t end) {
  room() = Candidate{0, 0, end, 0, Kind::wildcard};
}

void Sector::maybe_again(std::uint32_t begin, std::uint32_t end) {
  for (const Candidate& c : candidates_) {
    if (c.kind != Kind::empty && c.begin == begin) {
      const Candidate copy{c.hash, begin, end, 0,
                           c.kind == Kind::wildcard ? Kind::wildcard : Kind::late_copy};
      room() = copy;
      return;
    }
  }
  unseen_write(end);
}

Reading Sector::read(std::uint64_t hash, std::uint32_t begin, std::uint32_t end) {
  Reading reading;
  reading.explanation = Explanation::foreign;
  const Candidate* late = nullptr;
  for (const Candidate& c : candidates_) {
    if (c.kind == Kind::empty) {
      continue;
    }
    if (c.gone == 0 && c.kind == Kind::written && c.end != Candidate::kOpen &&
        (reading.newest.kind == Kind::empty || c.begin > reading.newest.begin)) {
      reading.newest = c;
    }
    if (c.gone == 0 && (c.kind == Kind::late_copy || c.kind == Kind::window_copy) &&
        c.hash != hash && ended_before(c, begin)) {
      late = &c;
    }
    Explanation explanation = Explanation::foreign;
    if (c.kind == Kind::wildcard) {
      explanation = may_be_read(c, begin) ? Explanation::unknown : Explanation::foreign;
    } else if (c.hash != hash) {
      continue;
    } else if (!may_be_read(c, begin)) {
      explanation = innocent(c) ? Explanation::old : Explanation::foreign;
    } else {
      explanation = innocent(c)                   ? Explanation::expected
                    : c.kind == Kind::window_copy ? Explanation::window
                    : c.kind == Kind::refused     ? Explanation::refused
                                                  : Explanation::hazard;
    }
    if (explanation < reading.explanation) {
      reading.explanation = explanation;
      reading.by = c;
    }
  }
  if (late != nullptr && reading.explanation == Explanation::expected) {
    reading.not_performed = *late;
  }
  // From here on the sector holds what was read, or what has been written since.
  bool held = false;
  for (Candidate& c : candidates_) {
    if (c.kind == Kind::empty || c.gone != 0) {
      continue;
    }
    if (c.hash == hash && innocent(c)) {
      held = true;
    } else if (ended_before(c, begin)) {
      c.gone = end;
    }
  }
  if (!held) {
    room() = Candidate{hash, begin, end, 0, Kind::seen};
  }
  return reading;
}

void ShadowDisk::Free::operator()(Sector* p) const {
  std::free(p);
}

ShadowDisk::ShadowDisk(std::uint32_t sets)
    : sectors_(static_cast<Sector*>(
          std::calloc(static_cast<std::size_t>(sets) * kWays, sizeof(Sector)))),
      sets_(sets) {
  if (sectors_ == nullptr) {
    throw std::bad_alloc();
  }
}

std::uint64_t ShadowDisk::key_of(std::uint32_t target, std::uint64_t lba) {
  return (static_cast<std::uint64_t>(target) << kTargetShift | lba) + 1;
}

Sector* ShadowDisk::set_of(std::uint64_t key) const {
  // Neighbouring sectors go to neighbouring sets: runs are what disks are read in.
  const std::uint64_t high = (key >> 18) * kSpread >> 40;
  return &sectors_[((key ^ high) % sets_) * kWays];
}

Sector* ShadowDisk::find(std::uint32_t target, std::uint64_t lba) {
  const std::uint64_t key = key_of(target, lba);
  Sector* set = set_of(key);
  for (std::uint32_t way = 0; way < kWays; ++way) {
    if (set[way].key() == key) {
      return &set[way];
    }
  }
  return nullptr;
}

Sector& ShadowDisk::obtain(std::uint32_t target, std::uint64_t lba) {
  const std::uint64_t key = key_of(target, lba);
  Sector* set = set_of(key);
  Sector* empty = nullptr;
  for (std::uint32_t way = 0; way < kWays; ++way) {
    if (set[way].key() == key) {
      return set[way];
    }
    if (set[way].key() == 0 && empty == nullptr) {
      empty = &set[way];
    }
  }
  if (empty == nullptr) {
    empty = &set[victim_++ % kWays];
    ++forgotten_;
  }
  empty->start(key);
  return *empty;
}

}  // namespace conformance::observer
