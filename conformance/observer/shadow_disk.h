// What a target's sectors may hold, by what was seen: for each a few candidates (hashes) with the
// stretch of the capture in which each was written. A read may bring a candidate that no other has
// surely overwritten before the read began; what was seen too little of is a wildcard. A bounded
// cache: when it is full the least lucky sector is forgotten and no longer checked. Never the data.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "conformance/observer/frame.h"

namespace conformance::observer {

struct Candidate {
  enum class Kind : std::uint8_t {
    empty,        // a free place
    wildcard,     // anything: nobody saw what was written or stood there
    seen,         // a read brought it
    written,      // a write's data
    failed,       // a write that failed: there, not there, or in part
    late_copy,    // a copy of a write, which plain AoE performs again whenever it comes
    renewed,      // a write that was repeated under another tag: nothing stops its first frame
    window_copy,  // a copy that the tag window must not let through
    refused,      // a write that was refused: nothing of it may be there
  };
  std::uint64_t hash = 0;
  std::uint32_t begin = 0;  // the frame that asked for it; 0: before the capture
  std::uint32_t end = 0;    // the frame that answered it; kOpen: may still be performed
  std::uint32_t gone = 0;   // the frame by which something else had surely taken its place; 0: none
  Kind kind = Kind::empty;
  static constexpr std::uint32_t kOpen = 0xFFFF'FFFF;
};

// How what a read brought is explained, the most innocent explanation first.
enum class Explanation : std::uint8_t {
  expected,  // written, or seen, and not overwritten
  unknown,   // a wildcard: it had not been seen yet
  hazard,    // plain AoE could not prevent it: a late copy, or a repetition's first frame
  window,    // a copy that the tag window should have stopped
  refused,   // a write that was refused has been performed
  old,       // it had been overwritten before the read began
  foreign,   // nobody wrote it there
};

struct Reading {
  Explanation explanation = Explanation::expected;
  Candidate by;      // the candidate that explains it
  Candidate newest;  // the answered write that should have been read; kind empty if there is none
  // A late copy that would have changed what was read, and did not; kind empty if there is none.
  Candidate not_performed;
};

class Sector {
 public:
  static constexpr std::size_t kCandidates = 4;

  [[nodiscard]] std::uint64_t key() const { return key_; }
  void start(std::uint64_t key);  // empty it: anything may be in it

  void write(Candidate::Kind kind, std::uint64_t hash, std::uint32_t begin);
  // The write of `begin` was answered at `end`. A good one takes the place of all that had ended
  // before it began; the others leave `kind` behind.
  void answered(std::uint32_t begin, std::uint32_t end, bool good, Candidate::Kind kind);
  void renew(std::uint32_t begin);  // it is repeated under another tag
  // Any write at all, ended at `end`, begun nobody knows when.
  void unseen_write(std::uint32_t end);
  // The write of `begin` may have been performed once more, behind the tap, until `end`.
  void maybe_again(std::uint32_t begin, std::uint32_t end);
  Reading read(std::uint64_t hash, std::uint32_t begin, std::uint32_t end);

  // Is there a candidate that may be read from `begin` on for which accepts(candidate) is true?
  template <typename Accepts>
  [[nodiscard]] bool may_hold(std::uint32_t begin, Accepts&& accepts) const {
    for (const Candidate& c : candidates_) {
      if (c.kind != Candidate::Kind::empty && (c.gone == 0 || begin <= c.gone) && accepts(c)) {
        return true;
      }
    }
    return false;
  }

 private:
  Candidate& room();

  std::uint64_t key_ = 0;  // target and LBA, plus one: 0 is an empty place
  std::array<Candidate, kCandidates> candidates_{};
};

class ShadowDisk {
 public:
  // Room for 4 * sets sectors; a power of two.
  explicit ShadowDisk(std::uint32_t sets = kSets);
  static constexpr std::uint32_t kSets = 1 << 18;  // 1 Mi sectors: 512 MiB of disk
  // Null if the sector is not in the cache.
  Sector* find(std::uint32_t target, std::uint64_t lba);
  // Makes room if need be.
  Sector& obtain(std::uint32_t target, std::uint64_t lba);
  [[nodiscard]] std::uint64_t forgotten() const { return forgotten_; }

 private:
  static constexpr std::uint32_t kWays = 4;
  struct Free {
    void operator()(Sector* p) const;
  };
  static std::uint64_t key_of(std::uint32_t target, std::uint64_t lba);
  [[nodiscard]] Sector* set_of(std::uint64_t key) const;

  std::unique_ptr<Sector[], Free> sectors_;  // zero pages until they are touched
  std::uint32_t sets_;
  std::uint64_t forgotten_ = 0;
  std::uint32_t victim_ = 0;
};

}  // namespace conformance::observer
