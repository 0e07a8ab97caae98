// The cache against a disk that ends operations in any order, fails some, and loses what was not
// flushed; and against a reader and writers who remember what they were told.
#include "target/cache/cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <string>

namespace target::cache {
namespace {

constexpr std::uint64_t kSectors = 256;
constexpr wire::MacAddress kHosts[] = {
    {{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, {{2, 0, 0, 0, 0, 3}}};

// Each sector carries one number eight times over, so that a torn or misplaced one shows.
void stamp(std::span<std::byte> sector, std::uint64_t value) {
  for (std::size_t at = 0; at < kSectorBytes; at += 8) {
    std::memcpy(sector.data() + at, &value, 8);
  }
}
std::uint64_t stamp_of(std::span<const std::byte> sector) {
  std::uint64_t first = 0;
  std::memcpy(&first, sector.data(), 8);
  for (std::size_t at = 8; at < kSectorBytes; at += 8) {
    std::uint64_t value = 0;
    std::memcpy(&value, sector.data() + at, 8);
    EXPECT_EQ(value, first) << "a torn sector";
  }
  return first;
}

// The disk below, and the operations of the engine above.
class Bench {
 public:
  explicit Bench(const CacheConfig& config) : config_(config), cache_(config) {
    visible_.assign(kSectors, 0);
    durable_ = visible_;
  }

  // --- above ---
  std::uint32_t read(std::uint64_t lba, std::uint32_t sectors, int host = 0) {
    return ask(DiskOpKind::read, lba, sectors, host, 0);
  }
  std::uint32_t write(std::uint64_t lba, std::uint32_t sectors, std::uint64_t value, int host = 0) {
    return ask(DiskOpKind::write, lba, sectors, host, value);
  }
  std::uint32_t write_by(std::uint64_t lba, const wire::MacAddress& host) {
    const std::uint32_t id = ask(DiskOpKind::write, lba, 1, 0, 3);
    batch_.back().initiator = host;
    return id;
  }
  std::uint32_t flush(int host = 0) { return ask(DiskOpKind::flush, 0, 0, host, 0); }
  std::uint32_t ask(DiskOpKind kind, std::uint64_t lba, std::uint32_t sectors, int host,
                    std::uint64_t value) {
    const std::uint32_t id = next_id_++;
    auto& buffer = buffers_[id];
    buffer.assign(sectors * kSectorBytes, std::byte{0xee});
    for (std::uint32_t i = 0; kind == DiskOpKind::write && i < sectors; ++i) {
      stamp(std::span(buffer).subspan(i * kSectorBytes, kSectorBytes), value + i);
    }
    batch_.push_back({id, kind, lba, sectors, buffer, kHosts[host]});
    return id;
  }
  void go() {
    cache_.start(batch_, now);
    batch_.clear();
    take();
  }
  std::uint64_t got(std::uint32_t id, std::uint32_t sector = 0) {
    return stamp_of(std::span(buffers_.at(id)).subspan(sector * kSectorBytes, kSectorBytes));
  }
  [[nodiscard]] bool ended(std::uint32_t id) const { return ends_.count(id) != 0; }
  DiskStatus end_of(std::uint32_t id) { return ends_.at(id); }

  // --- below ---
  struct Below {
    DiskOp operation;
    std::vector<std::span<std::byte>> segments;
  };
  std::vector<Below> below;
  void end(std::size_t index, DiskStatus status = DiskStatus::ok) {
    const Below one = below.at(index);
    below.erase(below.begin() + static_cast<std::ptrdiff_t>(index));
    std::uint64_t lba = one.operation.lba;
    if (status == DiskStatus::ok && one.operation.kind == DiskOpKind::flush) {
      durable_ = visible_;
    }
    for (const auto& segment : one.segments) {
      for (std::size_t at = 0; at < segment.size(); at += kSectorBytes, ++lba) {
        const auto sector = segment.subspan(at, kSectorBytes);
        if (one.operation.kind == DiskOpKind::write) {
          // A write that failed may have happened, or not.
          if (status == DiskStatus::ok || (lba + fails_) % 2 == 0) {
            visible_[lba] = stamp_of(sector);
          }
        } else {
          stamp(sector, status == DiskStatus::ok ? visible_[lba] : 0xbadbadbad);
        }
      }
    }
    fails_ += status == DiskStatus::ok ? 0U : 1U;
    cache_.on_done({one.operation.id, status, now});
    take();
  }
  void end_all() {
    for (int turns = 0; !below.empty(); ++turns) {
      ASSERT_LT(turns, 100000);
      end(0);
    }
  }
  void timer(Nanoseconds at) {
    now = at;
    cache_.on_timer(now);
    take();
  }
  void write_out() {
    cache_.write_out();
    take();
  }
  [[nodiscard]] std::uint64_t on_disk(std::uint64_t lba) const { return visible_[lba]; }
  [[nodiscard]] std::uint64_t durable(std::uint64_t lba) const { return durable_[lba]; }
  void put_on_disk(std::uint64_t lba, std::uint64_t value) { visible_[lba] = value; }
  Cache& cache() { return cache_; }
  Nanoseconds now = 0;
  std::vector<std::uint32_t> ended_now;

 private:
  void take() {
    for (const DiskOp& operation : cache_.to_start()) {
      Below one{operation, {operation.segments.begin(), operation.segments.end()}};
      if (operation.segments.empty() && !operation.data.empty()) {
        one.segments.push_back(operation.data);
      }
      std::uint64_t bytes = 0;
      for (const auto& segment : one.segments) {
        bytes += segment.size();
      }
      EXPECT_EQ(bytes, operation.sectors * kSectorBytes);
      EXPECT_LE(operation.sectors, config_.operation_sectors_max);
      EXPECT_LE(operation.lba + operation.sectors, kSectors);
      // The rule of the disk below: nothing that overlaps a write is in flight beside it.
      for (const Below& other : below) {
        const bool apart = operation.lba + operation.sectors <= other.operation.lba ||
                           other.operation.lba + other.operation.sectors <= operation.lba;
        EXPECT_TRUE(apart || (operation.kind != DiskOpKind::write &&
                              other.operation.kind != DiskOpKind::write))
            << "operations at " << operation.lba << " and " << other.operation.lba << " overlap";
      }
      below.push_back(std::move(one));
    }
    for (const DiskDone& done : cache_.finished()) {
      EXPECT_EQ(ends_.count(done.id), 0U) << "ended twice";
      ends_[done.id] = done.status;
      ended_now.push_back(done.id);
    }
    cache_.started();
    cache_.taken();
  }

  CacheConfig config_;
  Cache cache_;
  std::vector<DiskOp> batch_;
  std::map<std::uint32_t, std::vector<std::byte>> buffers_;
  std::map<std::uint32_t, DiskStatus> ends_;
  std::vector<std::uint64_t> visible_, durable_;
  std::uint32_t next_id_ = 1;
  unsigned fails_ = 0;
};

CacheConfig through(std::uint32_t pages = 0) {
  return {.sectors = kSectors, .write_behind = false, .pages = pages};
}
CacheConfig behind(std::uint32_t pages = 16) {
  return {.sectors = kSectors, .write_behind = true, .pages = pages};
}

TEST(Merge, WhatIsAdjacentInABatchGoesBelowAsOne) {
  Bench t(through());
  const auto b = t.write(6, 2, 300);
  const auto a = t.write(4, 2, 100);
  const auto far = t.write(20, 1, 900);
  t.go();
  ASSERT_EQ(t.below.size(), 2U);
  EXPECT_EQ(t.below[0].operation.lba, 4U);
  EXPECT_EQ(t.below[0].operation.sectors, 4U);
  EXPECT_FALSE(t.ended(a));
  t.end(0);
  EXPECT_TRUE(t.ended(a) && t.ended(b));
  EXPECT_FALSE(t.ended(far));
  EXPECT_EQ(t.on_disk(4), 100U);
  EXPECT_EQ(t.on_disk(7), 301U);
}

TEST(Merge, AReadAndAWriteAreNeverOneOperation) {
  Bench t(through());
  t.write(4, 2, 100);
  t.read(6, 2);
  t.go();
  EXPECT_EQ(t.below.size(), 2U);
}

TEST(Merge, NotBeyondTheLargestOperation) {
  auto config = through();
  config.operation_sectors_max = 8;
  Bench t(config);
  for (std::uint64_t i = 0; i < 10; ++i) {
    t.write(i * 2, 2, i);
  }
  t.go();
  EXPECT_EQ(t.below.size(), 3U);
}

TEST(Merge, AFailureOfAllIsTheFailureOfOne) {
  Bench t(through());
  const auto a = t.write(4, 2, 100);
  const auto b = t.write(6, 2, 300);
  t.go();
  t.end(0, DiskStatus::io_error);
  ASSERT_EQ(t.below.size(), 2U);
  t.end(0);
  t.end(0, DiskStatus::io_error);
  EXPECT_EQ(t.end_of(a), DiskStatus::ok);
  EXPECT_EQ(t.end_of(b), DiskStatus::io_error);
}

TEST(ReadAhead, AStreamIsReadBeforeItIsAskedFor) {
  Bench t(through(32));
  for (std::uint64_t i = 0; i < kSectors; ++i) {
    t.put_on_disk(i, 1000 + i);
  }
  std::size_t asked = 0;
  for (std::uint64_t lba = 0; lba < 128; lba += 2) {
    const auto id = t.read(lba, 2);
    t.go();
    asked += t.below.size();
    t.end_all();
    ASSERT_EQ(t.end_of(id), DiskStatus::ok);
    EXPECT_EQ(t.got(id), 1000 + lba);
    EXPECT_EQ(t.got(id, 1), 1001 + lba);
  }
  EXPECT_LE(asked, 10U);
  EXPECT_GE(t.cache().counters().hits, 55U);
}

TEST(ReadAhead, SeveralStreamsAtOnce) {
  Bench t(through(64));
  std::size_t asked = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    for (const std::uint64_t base : {0U, 64U, 128U, 192U}) {
      t.read(base + i, 1);
    }
    t.go();
    asked += t.below.size();
    t.end_all();
  }
  EXPECT_LE(asked, 60U);  // of 160
}

TEST(ReadAhead, RandomReadsCostNothingMore) {
  Bench t(through(16));
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    const auto before = t.cache().counters().read_ahead_sectors;
    t.read(random() % 120 * 2, 1);  // never the sector behind another
    t.go();
    ASSERT_EQ(t.below.size(), 1U);
    ASSERT_EQ(t.below[0].operation.sectors, 1U);
    t.end_all();
    ASSERT_EQ(t.cache().counters().read_ahead_sectors, before);
  }
}

TEST(ReadAhead, ABadSectorAheadFailsNobodyWhoDidNotAskForIt) {
  Bench t(through(16));
  t.put_on_disk(3, 33);
  t.read(0, 1);
  t.go();
  t.end_all();
  t.read(1, 1);
  t.go();
  t.end_all();
  const auto third = t.read(2, 1);
  t.go();
  ASSERT_EQ(t.below.size(), 1U);
  ASSERT_GT(t.below[0].operation.sectors, 1U);
  t.end(0, DiskStatus::io_error);
  ASSERT_EQ(t.below.size(), 1U);  // just what was asked for
  EXPECT_EQ(t.below[0].operation.sectors, 1U);
  t.end(0);
  EXPECT_EQ(t.end_of(third), DiskStatus::ok);
}

TEST(ReadAhead, SeesAWriteThatCameMeanwhile) {
  Bench t(through(32));
  for (std::uint64_t lba = 0; lba < 3; ++lba) {
    t.read(lba, 1);
    t.go();
  }
  // The load that runs now has perhaps read sector 40 already: the write waits for it.
  const auto w = t.write(40, 1, 77);
  t.go();
  t.end_all();
  ASSERT_EQ(t.end_of(w), DiskStatus::ok);
  const auto r = t.read(40, 1);
  t.go();
  t.end_all();
  EXPECT_EQ(t.got(r), 77U);
}

TEST(WriteBehind, IsAnsweredFromMemoryAndWrittenInOne) {
  Bench t(behind());
  for (std::uint64_t i = 0; i < 8; ++i) {
    const auto id = t.write(i * 2, 2, 10 * i);
    t.go();
    EXPECT_TRUE(t.ended(id));
  }
  EXPECT_TRUE(t.below.empty());
  EXPECT_EQ(t.cache().next_deadline(), 20'000'000);
  t.timer(20'000'000);
  ASSERT_EQ(t.below.size(), 1U);
  EXPECT_EQ(t.below[0].operation.sectors, 16U);
  t.end_all();
  EXPECT_TRUE(t.cache().idle());
  EXPECT_EQ(t.on_disk(15), 71U);
}

TEST(WriteBehind, AFlushWaitsForWhatWasAnsweredAndForTheDisk) {
  Bench t(behind());
  t.write(0, 1, 5);
  t.write(100, 1, 6);
  t.go();
  const auto flush = t.flush();
  t.go();
  ASSERT_EQ(t.below.size(), 2U);
  t.end(1);
  EXPECT_EQ(t.below.size(), 1U);  // not yet the flush
  t.end(0);
  ASSERT_EQ(t.below.size(), 1U);
  EXPECT_EQ(t.below[0].operation.kind, DiskOpKind::flush);
  EXPECT_FALSE(t.ended(flush));
  t.end(0);
  EXPECT_EQ(t.end_of(flush), DiskStatus::ok);
  EXPECT_EQ(t.durable(0), 5U);
  EXPECT_EQ(t.durable(100), 6U);
}

TEST(WriteBehind, AFlushDoesNotWaitForWhatCameAfterIt) {
  Bench t(behind());
  t.write(0, 1, 5);
  t.go();
  t.flush();
  t.go();
  t.write(100, 1, 6);
  t.go();
  ASSERT_EQ(t.below.size(), 1U);
  t.end(0);
  ASSERT_EQ(t.below.size(), 1U);
  EXPECT_EQ(t.below[0].operation.kind, DiskOpKind::flush);
}

TEST(WriteBehind, WhatFailedIsToldToEverybodyItConcerns) {
  Bench t(behind());
  t.write(0, 2, 5, 0);
  t.write(2, 2, 7, 1);
  t.go();
  t.write_out();
  ASSERT_EQ(t.below.size(), 1U);
  t.end(0, DiskStatus::io_error);
  // Reads of it fail until it is written anew, whoever asks; others do not.
  const auto lost = t.read(1, 1, 2);
  const auto fine = t.read(4, 1, 2);
  const auto flush = t.flush(2);
  // Both wrote a part of it, and each is told by a failed write.
  const auto told = t.write(50, 1, 1, 1);
  const auto after = t.write(50, 1, 1, 1);
  t.go();
  t.end_all();
  EXPECT_EQ(t.end_of(lost), DiskStatus::io_error);
  EXPECT_EQ(t.end_of(fine), DiskStatus::ok);
  EXPECT_EQ(t.end_of(flush), DiskStatus::io_error);
  EXPECT_EQ(t.end_of(told), DiskStatus::io_error);
  EXPECT_EQ(t.end_of(after), DiskStatus::ok);
  // Written anew, all of it: then a flush is honest again.
  t.write(0, 4, 20, 2);
  t.go();
  const auto good = t.flush(2);
  t.go();
  t.end_all();
  EXPECT_EQ(t.end_of(good), DiskStatus::ok);
  EXPECT_EQ(t.durable(3), 23U);
}

// Two initiators share a page: each is told of their own sectors, whoever wrote last.
TEST(WriteBehind, EachWriterOfAPageIsTold) {
  Bench t(behind());
  t.write(0, 2, 5, 0);
  t.write(2, 2, 7, 1);
  t.go();
  t.write_out();
  t.end(0, DiskStatus::io_error);
  const auto told_first = t.write(50, 1, 1, 0);
  const auto told_second = t.write(58, 1, 1, 1);
  const auto not_concerned = t.write(66, 1, 1, 2);
  t.go();
  EXPECT_EQ(t.end_of(told_first), DiskStatus::io_error);
  EXPECT_EQ(t.end_of(told_second), DiskStatus::io_error);
  EXPECT_EQ(t.end_of(not_concerned), DiskStatus::ok);
}

// A sector that was written over before it went below is its last writer's.
TEST(WriteBehind, WhoWasWrittenOverIsOwedNothing) {
  Bench t(behind());
  t.write(0, 2, 5, 0);
  t.go();
  t.write(0, 2, 7, 1);
  t.go();
  t.write_out();
  t.end(0, DiskStatus::io_error);
  const auto first = t.write(50, 1, 1, 0);
  const auto second = t.write(58, 1, 1, 1);
  t.go();
  EXPECT_EQ(t.end_of(first), DiskStatus::ok);
  EXPECT_EQ(t.end_of(second), DiskStatus::io_error);
}

// While one of theirs is on its way below, its writer's place is not given to another.
TEST(WriteBehind, AWriterKeepsTheirPlaceUntilTheirDataIsBelow) {
  Bench t(behind());
  t.write(0, 1, 5, 0);
  t.go();
  t.write_out();
  t.write(80, 1, 1, 1);
  t.write(160, 1, 1, 2);
  t.go();
  t.end(0, DiskStatus::io_error);
  const auto told = t.write(50, 1, 1, 0);
  t.go();
  EXPECT_EQ(t.end_of(told), DiskStatus::io_error);
}

// More initiators than there are places: theirs is written through, and nobody waits for ever.
TEST(WriteBehind, WhoFindsNoPlaceIsWrittenThrough) {
  Bench t(behind(256));
  for (std::uint64_t i = 0; i < 70; ++i) {
    const auto id = t.write_by(i * 2, {{2, 0, 0, 1, 0, static_cast<std::uint8_t>(i)}});
    t.go();
    EXPECT_EQ(t.ended(id), i < 64) << i;
  }
  // Where somebody's data waits in memory, it goes below first.
  const auto over = t.write_by(0, {{2, 0, 0, 1, 0, 99}});
  t.go();
  EXPECT_FALSE(t.ended(over));
  t.end_all();
  EXPECT_EQ(t.end_of(over), DiskStatus::ok);
  t.write_out();
  t.end_all();
  EXPECT_TRUE(t.cache().idle());
}

// With as many operations below as may be, there is nothing to be called for at any time: a
// deadline that has passed already would make the caller turn without an end.
TEST(WriteBehind, ADiskThatIsFullIsWaitedForByItsOperations) {
  CacheConfig config = behind();
  config.flights_max = 1;
  Bench t(config);
  t.write(0, 1, 5);
  t.go();
  t.read(100, 1);
  t.go();
  ASSERT_EQ(t.below.size(), 1U);
  t.timer(1'000'000'000);
  EXPECT_TRUE(t.cache().next_deadline() > 1'000'000'000);
  t.end_all();
  EXPECT_TRUE(t.cache().idle());
}

TEST(WriteBehind, AFlushIsNotGoodWhenItsDirtFails) {
  Bench t(behind());
  t.write(0, 1, 5);
  t.go();
  const auto flush = t.flush();
  t.go();
  t.end(0, DiskStatus::no_space);
  EXPECT_EQ(t.end_of(flush), DiskStatus::io_error);
  EXPECT_TRUE(t.below.empty());
}

TEST(WriteBehind, OneInitiatorLeavesTheOthersTheirShare) {
  Bench t(behind(16));
  std::vector<std::uint32_t> flood;
  t.write(200, 1, 1, 1);
  t.go();
  for (std::uint64_t i = 0; i < 20; ++i) {
    flood.push_back(t.write(i * 8, 1, i, 0));
  }
  t.go();
  EXPECT_FALSE(t.ended(flood.back()));
  const auto other = t.write(208, 1, 2, 1);
  t.go();
  EXPECT_TRUE(t.ended(other)) << "another's flood took the room";
  t.end_all();
  for (const auto id : flood) {
    EXPECT_TRUE(t.ended(id));
  }
}

TEST(WriteBehind, LostPagesThatFillTheMemoryStopNobody) {
  Bench t(behind(16));
  for (std::uint64_t i = 0; i < 8; ++i) {
    t.write(i * 8, 1, i);
    t.go();
  }
  for (std::uint64_t i = 8; i < 30; ++i) {
    t.write(i * 8, 1, i);
    t.go();
    while (!t.below.empty()) {
      t.end(0, DiskStatus::io_error);
    }
  }
  const auto id = t.write(250, 2, 5, 2);
  t.go();
  t.end_all();
  EXPECT_TRUE(t.ended(id));
}

// Everything at once, from a seed: whatever the disk does, what was acknowledged is what is read,
// and what was flushed is there after a crash.
class Random : public ::testing::TestWithParam<std::tuple<bool, std::uint32_t, bool>> {};

TEST_P(Random, WhatWasAcknowledgedIsRead) {
  const bool write_behind = std::get<0>(GetParam());
  const std::uint32_t pages = std::get<1>(GetParam());
  const bool fails = std::get<2>(GetParam());
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed * 977 + pages);
    CacheConfig config{.sectors = kSectors,
                       .write_behind = write_behind,
                       .pages = pages,
                       .operation_sectors_max = 16,
                       .read_ahead_sectors_max = 64,
                       .streams_max = 3,
                       .write_behind_depth = 2,
                       .flights_max = 5};
    Bench t(config);
    // By sector: the values that a read may see. One, unless a write failed or is not answered.
    std::vector<std::vector<std::uint64_t>> may(kSectors, {0});
    struct Asked {
      DiskOp operation;
      std::uint64_t value = 0;
      std::vector<std::uint64_t> acknowledged;  // of a flush: what must be durable then
    };
    std::map<std::uint32_t, Asked> open;
    std::vector<bool> doubtful(kSectors, false);
    std::uint64_t value = 1000;
    std::uint64_t sequential = 0;
    const auto free = [&](std::uint64_t lba, std::uint32_t sectors) {
      return std::none_of(open.begin(), open.end(), [&](const auto& entry) {
        const DiskOp& o = entry.second.operation;
        return o.kind != DiskOpKind::flush && lba < o.lba + o.sectors && o.lba < lba + sectors;
      });
    };
    const auto look = [&] {
      for (const std::uint32_t id : t.ended_now) {
        const Asked asked = open.at(id);
        open.erase(id);
        const DiskOp& o = asked.operation;
        const bool ok = t.end_of(id) == DiskStatus::ok;
        for (std::uint32_t i = 0; i < o.sectors; ++i) {
          auto& values = may[o.lba + i];
          if (o.kind == DiskOpKind::write && ok) {
            values = {asked.value + i};
            doubtful[o.lba + i] = false;
          } else if (o.kind == DiskOpKind::write) {
            values.push_back(asked.value + i);
            doubtful[o.lba + i] = true;
          } else if (ok) {
            ASSERT_NE(std::find(values.begin(), values.end(), t.got(id, i)), values.end())
                << "sector " << o.lba + i << " read as " << t.got(id, i);
          } else {
            ASSERT_TRUE(fails);
          }
        }
        if (o.kind == DiskOpKind::flush && ok) {
          for (std::uint64_t lba = 0; lba < kSectors; ++lba) {
            // Unless it is being written, has been since, or a write of it failed: then it may be
            // another.
            if (free(lba, 1) && asked.acknowledged[lba] != 0 && may[lba].size() == 1 &&
                may[lba][0] == asked.acknowledged[lba] && !doubtful[lba]) {
              ASSERT_EQ(t.durable(lba), asked.acknowledged[lba]) << "sector " << lba;
            }
          }
        }
      }
      t.ended_now.clear();
    };
    for (int step = 0; step < 600; ++step) {
      const auto dice = random() % 10;
      if (dice < 6 && open.size() < 12) {
        for (auto n = 1 + random() % 4; n > 0; --n) {
          const auto sectors = static_cast<std::uint32_t>(1 + random() % 10);
          auto lba = random() % (kSectors - sectors + 1);
          if (random() % 2 == 0) {
            lba = sequential % (kSectors - sectors + 1);
          }
          if (!free(lba, sectors)) {
            continue;
          }
          sequential = lba + sectors;
          const int host = static_cast<int>(random() % 3);
          if (random() % 2 == 0) {
            const auto id = t.write(lba, sectors, value, host);
            open[id] = {{id, DiskOpKind::write, lba, sectors, {}, {}}, value, {}};
            value += 100;
          } else {
            const auto id = t.read(lba, sectors, host);
            open[id] = {{id, DiskOpKind::read, lba, sectors, {}, {}}, 0, {}};
          }
        }
        if (random() % 8 == 0) {
          const auto id = t.flush(static_cast<int>(random() % 3));
          Asked asked{{id, DiskOpKind::flush, 0, 0, {}, {}}, 0, {}};
          for (std::uint64_t lba = 0; lba < kSectors; ++lba) {
            asked.acknowledged.push_back(may[lba].size() == 1 ? may[lba][0] : 0);
          }
          open[id] = asked;
        }
        t.go();
      } else if (dice < 9 && !t.below.empty()) {
        const bool bad = fails && random() % 12 == 0;
        t.end(random() % t.below.size(), bad ? DiskStatus::io_error : DiskStatus::ok);
      } else {
        t.timer(t.now + static_cast<Nanoseconds>(random() % 15'000'000));
      }
      look();
      if (HasFatalFailure()) {
        return;
      }
    }
    t.write_out();
    for (int turns = 0; !t.below.empty(); ++turns) {
      ASSERT_LT(turns, 10000);
      t.end(0);
      look();
      t.write_out();
    }
    ASSERT_TRUE(open.empty()) << "an operation never ended";
    ASSERT_TRUE(t.cache().idle());
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, Random,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(4U, 16U, 64U),
                                            ::testing::Bool()));

}  // namespace
}  // namespace target::cache
