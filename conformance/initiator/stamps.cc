// Writes, reads and judges stamps.

#include "conformance/initiator/stamps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <stdexcept>

namespace conformance::initiator {

using observer::BytesView;
using observer::kSectorBytes;
using observer::load_le;
using observer::store_le;

namespace {

constexpr size_t kWordBytes = 8;
constexpr size_t kWords = kSectorBytes / kWordBytes;
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
constexpr uint64_t kStep = 0xd6e8feb86659fd93ULL;

// The finalizer of SplitMix64.
uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

uint64_t base_of(uint64_t version, uint64_t lba) {
  return mix(version + kGolden) ^ mix(lba ^ kStep);
}

}  // namespace

void write_stamp(std::span<uint8_t> sector, uint32_t version, uint64_t lba) {
  assert(sector.size() == kSectorBytes);
  const uint64_t base = base_of(version, lba);
  for (size_t i = 0; i < kWords; ++i) {
    const uint64_t word = i == 0 ? version : i == 1 ? lba : base + i * kStep;
    store_le(sector, i * kWordBytes, kWordBytes, word);
  }
}

Stamp read_stamp(BytesView sector, uint64_t lba) {
  assert(sector.size() == kSectorBytes);
  const uint64_t version = load_le(sector, 0, kWordBytes);
  Stamp stamp;
  stamp.lba = load_le(sector, kWordBytes, kWordBytes);
  const uint64_t base = base_of(version, stamp.lba);
  for (size_t i = 2; i < kWords; ++i) {
    if (load_le(sector, i * kWordBytes, kWordBytes) != base + i * kStep) {
      return stamp;
    }
  }
  if (version > UINT32_MAX) {
    return stamp;
  }
  stamp.version = static_cast<uint32_t>(version);
  stamp.state = stamp.lba == lba ? StampState::good : StampState::misplaced;
  return stamp;
}

void Ledger::asked(uint64_t lba, uint32_t sectors, uint32_t version) {
  for (uint64_t i = 0; i < sectors; ++i) {
    entries_.at(lba - lba_ + i).asked = version;
  }
}

void Ledger::acknowledged(uint64_t lba, uint32_t sectors, uint32_t version) {
  for (uint64_t i = 0; i < sectors; ++i) {
    Entry& e = entries_.at(lba - lba_ + i);
    e.acknowledged = std::max(e.acknowledged, version);
  }
}

std::optional<Ledger::Finding> Ledger::judge(uint64_t lba, BytesView sector) const {
  const Entry& e = entries_.at(lba - lba_);
  if (e.asked == 0) {
    return std::nullopt;  // never ours
  }
  const auto finding = [&](std::string what) {
    return Finding{lba, fmt::format("{}; acknowledged was write {}, asked for write {}",
                                    std::move(what), e.acknowledged, e.asked)};
  };
  const Stamp stamp = read_stamp(sector, lba);
  switch (stamp.state) {
    case StampState::broken:
      if (e.acknowledged == 0) {
        return std::nullopt;  // what was there before may still be there
      }
      return finding("holds what is no stamp of ours, or parts of two");
    case StampState::misplaced:
      return finding(fmt::format("holds write {} of sector {}", stamp.version, stamp.lba));
    case StampState::good:
      break;
  }
  if (stamp.version < e.acknowledged) {
    return finding(fmt::format("holds an outdated write, {}", stamp.version));
  }
  if (stamp.version > e.asked) {
    return finding(fmt::format("holds write {}, which nobody asked for", stamp.version));
  }
  return std::nullopt;
}

uint32_t Ledger::next_version() const {
  uint32_t highest = 0;
  for (const Entry& e : entries_) {
    highest = std::max(highest, e.asked);
  }
  return highest + 1;
}

std::string Ledger::text() const {
  std::string out = fmt::format("aoe-ledger 1 {} {}\n", lba_, entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].asked != 0) {
      out += fmt::format("{} {} {}\n", lba_ + i, entries_[i].acknowledged, entries_[i].asked);
    }
  }
  return out;
}

Ledger Ledger::parse(std::string_view text) {
  size_t number = 0;
  std::optional<Ledger> ledger;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    ++number;
    const auto wrong = [&](const char* why) {
      throw std::runtime_error(fmt::format("line {}: {}", number, why));
    };
    constexpr std::string_view head = "aoe-ledger 1 ";
    if (!ledger) {
      if (line.substr(0, head.size()) != head) {
        wrong("a ledger begins with \"aoe-ledger 1 LBA SECTORS\"");
      }
      line.remove_prefix(head.size());
    }
    uint64_t values[3] = {};
    size_t count = 0;
    while (!line.empty() && count < 3) {
      const auto [end, error] =
          std::from_chars(line.data(), line.data() + line.size(), values[count]);
      if (error != std::errc{}) {
        wrong("not a number");
      }
      ++count;
      line.remove_prefix(static_cast<size_t>(end - line.data()));
      line.remove_prefix(std::min<size_t>(line.size(), line.substr(0, 1) == " " ? 1 : 0));
    }
    if (!line.empty() || count != (ledger ? 3U : 2U)) {
      wrong("three numbers: LBA, acknowledged, asked for");
    }
    constexpr uint64_t sectors_max = 1ULL << 31;
    if (!ledger) {
      if (values[1] == 0 || values[1] > sectors_max) {
        wrong("the number of sectors is not possible");
      }
      ledger.emplace(values[0], values[1]);
      continue;
    }
    if (values[0] < ledger->lba_ || values[0] - ledger->lba_ >= ledger->entries_.size() ||
        values[1] > values[2] || values[2] > UINT32_MAX) {
      wrong("outside the ledger, or acknowledged before it was asked for");
    }
    ledger->entries_[values[0] - ledger->lba_] = {static_cast<uint32_t>(values[1]),
                                                  static_cast<uint32_t>(values[2])};
  }
  if (!ledger) {
    throw std::runtime_error("it is empty");
  }
  return *std::move(ledger);
}

}  // namespace conformance::initiator
