// Family ata, writing: exactly the sectors that were named, with exactly the bytes that came, once
// it has been answered, for everybody; and nothing at all when it is refused. Every case writes
// inside the scratch range only; one that aims elsewhere sends what stands there already.

#include <fmt/format.h>

#include <set>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::get;
using observer::kSectorBytes;
using observer::read_request;
using observer::set;
using observer::write_request;
namespace at = observer::at;
namespace ata = observer::ata;
namespace aoe_error = observer::aoe_error;

namespace {

size_t payload_of(const Bytes& q) {
  return q.size() > at::ata_data ? q.size() - at::ata_data : 0;
}
size_t promised_by(const Bytes& q) {
  return value_of(q, F::ata_count) * kSectorBytes;
}
bool is_short_write(const Bytes& q) {
  return is_write_request(q) && payload_of(q) < promised_by(q);
}

// Good, and nothing is done.
Answers pretend(const Bytes& q, const Forward& f) {
  Bytes changed = q;
  set(changed, F::ata_command, ata::flush);
  return f(changed);
}

Deviant loses(std::string name, std::string story, RequestTest when) {
  return spoils(std::move(name), std::move(story),
                [when = std::move(when)](const Bytes& q, ModelTarget&, const Forward& f) {
                  return is_write_request(q) && when(q) ? pretend(q, f) : f(q);
                });
}

// Three sectors of scratch that are known, and what they hold.
struct Known {
  uint64_t lba;
  Bytes data;
};
Known known_sectors(Context& c, uint64_t seed, size_t sectors) {
  Known k{scratch_lba(c, sectors), sector_pattern(seed, sectors)};
  put_sectors(c, c.a(), k.lba, k.data);
  return k;
}

Outcomes refused(const std::string& what) {
  return Outcomes()
      .pass("error 2", seen::aoe_error(aoe_error::bad_argument))
      .pass("ABRT", seen::ata_abort)
      .fail(what + " is answered as good", seen::good_ata)
      .info(what + " is refused with another AoE error",
            [](const Exchange& x) { return x.is_error(); });
}

constexpr uint64_t kLargeDiskMore = 4096;
void large_disk(deviants::ModelConfig& config) {
  config.sectors = kLba28End + kLargeDiskMore;
}

// Two sectors below 2^28 and two above it may be written to; says so when not.
bool holds_lba28_edge(Context& c) {
  constexpr uint64_t beside = 2;
  if (c.target().sectors < kLba28End + beside) {
    c.info(fmt::format("the disk has {} sectors: 2^28 is not inside", c.target().sectors));
    return false;
  }
  if (!c.scratch().holds(kLba28End - beside, 2 * beside)) {
    c.info(fmt::format("--scratch {}:{} does not hold both sides of 2^28: nothing is written there",
                       c.scratch().lba, c.scratch().count));
    return false;
  }
  return true;
}

void register_placing(Registry& r) {
  r.add(spoils("ata-write-spills", "clears the sector behind the one that it writes",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Answers answers = f(q);
                 if (is_write_request(q)) {
                   m.disk[value_of(q, F::ata_lba) + value_of(q, F::ata_count)] =
                       Bytes(kSectorBytes, 0);
                 }
                 return answers;
               }));
  r.add(edits_request(
      "ata-write-one-too-early", "writes a 48-bit write one sector before its place", [](Bytes& q) {
        if (is_write_request(q) && ata_code(q) == ata::write_ext && value_of(q, F::ata_lba) > 0) {
          set(q, F::ata_lba, value_of(q, F::ata_lba) - 1);
        }
      }));
  r.add({.id = "ata.write.lands-where-it-should",
         .title = "A write changes its own sectors, and neither the one before nor the one behind",
         .clauses = {"ATA-WRITE"},
         .needs = {Need::write},
         .fails_on = {"ata-write-spills"},
         .run = [](Context& c) {
           const uint8_t n = c.sectors_max();
           Known k = known_sectors(c, 20, n + 2U);
           const Bytes fresh = sector_pattern(21, n);
           for (uint8_t count : std::set<uint8_t>{1, n}) {
             const Bytes data = part(fresh, 0, count * kSectorBytes);
             c.expect_good_ata(c.a().ask(write_request(k.lba + 1, data)));
             std::copy(data.begin(), data.end(), k.data.begin() + kSectorBytes);
             expect_on_disk(c, c.a(), k.lba, k.data, fmt::format("after a write of {}", count));
           }
         }});

  r.add(edits_request("ata-write28-off-by-one", "writes a 28-bit write one sector behind its place",
                      [](Bytes& q) {
                        if (is_write_request(q) && ata_code(q) == ata::write) {
                          set(q, F::ata_lba, value_of(q, F::ata_lba) + 1);
                        }
                      }));
  r.add({.id = "ata.write.both-widths-agree",
         .title = "A 28-bit write is found by a 48-bit read, and the other way round",
         .clauses = {"ATA-WRITE", "ATA-LBA28"},
         .needs = {Need::write},
         .fails_on = {"ata-write28-off-by-one", "ata-write-one-too-early"},
         .run = [](Context& c) {
           c.needs_scratch_28(3);
           const Known k = known_sectors(c, 22, 3);
           for (const bool wide : {false, true}) {
             const Bytes data = sector_pattern(wide ? 23 : 24);
             c.expect_good_ata(c.a().ask(write_request(k.lba + 1, data, wide)));
             const Exchange x = c.a().ask(read_request(k.lba + 1, 1, !wide));
             c.expect_good_ata(x);
             c.expect_data(x, data);
           }
         }});

  r.add(edits_request(
      "ata-write-sectors-reversed", "writes the sectors of a write in reverse order", [](Bytes& q) {
        if (is_write_request(q) && !is_short_write(q)) {
          const Bytes old = q;
          const size_t n = value_of(q, F::ata_count);
          for (size_t i = 0; i < n; ++i) {
            std::copy_n(
                old.begin() + static_cast<ptrdiff_t>(at::ata_data + i * kSectorBytes), kSectorBytes,
                q.begin() + static_cast<ptrdiff_t>(at::ata_data + (n - 1 - i) * kSectorBytes));
          }
        }
      }));
  r.add(spoils("ata-full-write-loses-last-sector",
               "does not write the last sector of a write of several",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const uint64_t last = value_of(q, F::ata_lba) + value_of(q, F::ata_count) - 1;
                 const Bytes before = m.read_sector(last);
                 Answers answers = f(q);
                 if (is_write_request(q) && value_of(q, F::ata_count) > 1) {
                   m.disk[last] = before;
                 }
                 return answers;
               }));
  r.add({.id = "ata.write.every-count-to-the-limit",
         .title = "Writes of 1 sector to the advertised limit store all their sectors in order",
         .clauses = {"ATA-WRITE", "ATA-LIMIT"},
         .needs = {Need::write},
         .fails_on = {"ata-write-sectors-reversed", "ata-full-write-loses-last-sector"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, c.sectors_max());
           for (unsigned n = 1; n <= c.sectors_max(); ++n) {
             const Bytes data = sector_pattern(30 + n, n);
             c.expect_good_ata(c.a().ask(write_request(lba, data)));
             for (unsigned i = 0; i < n;
                  ++i) {  // one by one, so that a read's order does not hide a write's
               const Exchange x = c.a().ask(read_request(lba + i, 1));
               c.expect_good_ata(x);
               c.expect_data(x, part(data, i * kSectorBytes, kSectorBytes));
             }
           }
         }});

  r.add(edits_request("ata-lba-bit-dropped", "does not wire bit 2 of the LBA", [](Bytes& q) {
    if (is_transfer(q)) {
      set(q, F::ata_lba, value_of(q, F::ata_lba) & ~uint64_t{4});
    }
  }));
  r.add(
      {.id = "ata.write.no-two-addresses-share-a-sector",
       .title =
           "Sectors written with different contents stay different: no bit of the address is lost",
       .clauses = {"ATA-WRITE"},
       .needs = {Need::write},
       .fails_on = {"ata-lba-bit-dropped"},
       .run = [](Context& c) {
         const uint64_t n = std::clamp<uint64_t>(c.scratch().count, 16, 64);
         const uint64_t lba = scratch_lba(c, n);
         const Bytes data = sector_pattern(60, n);
         for (uint64_t i = 0; i < n; ++i) {
           c.expect_good_ata(
               c.a().ask(write_request(lba + i, part(data, i * kSectorBytes, kSectorBytes))));
         }
         expect_on_disk(c, c.a(), lba, data, "after distinct writes");
       }});

  const auto narrows = [](std::string name, std::string story, unsigned bits) {
    return edits_request(std::move(name), std::move(story), [bits](Bytes& q) {
      if (is_write_request(q)) {
        set(q, F::ata_lba, value_of(q, F::ata_lba) & ((1ULL << bits) - 1));
      }
    });
  };
  r.add(narrows("ata-write-lba-32-bits", "writes with 32 bits of the LBA", 32));
  r.add(narrows("ata-write-lba-28-bits", "writes with 28 bits of the LBA", 28));
  r.add({.id = "ata.write.high-lba-is-not-truncated",
         .title = "A write far behind the disk is refused and does not come down on a low sector",
         .clauses = {"ATA-RANGE", "ATA-LBA48"},
         .needs = {Need::write},
         .fails_on = {"ata-write-lba-32-bits", "ata-write-lba-28-bits"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 61, 1);
           for (unsigned bit = 28; bit < 48; ++bit) {
             const uint64_t lba = k.lba | 1ULL << bit;
             if (lba < c.target().sectors || lba == k.lba) {
               continue;
             }
             c.expect_ata_error(c.a().ask(write_request(lba, sector_pattern(62))), ata::error_idnf);
             expect_on_disk(c, c.a(), k.lba, k.data,
                            fmt::format("after a write to LBA {:#x}", lba));
           }
         }});

  Deviant cuts = edits_request(
      "ata-large-disk-write-cut", "a write right above 2^28 comes down on the start of the disk",
      [](Bytes& q) {
        const uint64_t lba = value_of(q, F::ata_lba);
        if (is_write_request(q) && lba >= kLba28End && lba < kLba28End + kLargeDiskMore) {
          set(q, F::ata_lba, lba % kLba28End);
        }
      });
  cuts.configure = large_disk;
  r.add(cuts);
  Deviant ends_early = edits_request(
      "ata-large-disk-write-split",
      "of a write across 2^28, writes the part above it to the start of the disk", [](Bytes& q) {
        const uint64_t lba = value_of(q, F::ata_lba);
        if (is_write_request(q) && lba < kLba28End && lba + value_of(q, F::ata_count) > kLba28End) {
          set(q, F::ata_lba, 0);
        }
      });
  ends_early.configure = large_disk;
  r.add(ends_early);
  r.add({.id = "ata.write.across-2-to-the-28",
         .title = "On a disk that is that large, 48-bit writes reach both sides of 2^28, and not "
                  "the start of the disk",
         .clauses = {"ATA-WRITE", "ATA-LBA48"},
         .needs = {Need::write},
         .fails_on = {"ata-large-disk-write-cut", "ata-large-disk-write-split"},
         .run = [](Context& c) {
           if (!holds_lba28_edge(c)) {
             return;
           }
           const Bytes start = get_sectors(c, c.a(), 0, 2);
           Bytes edge = sector_pattern(170, 4);
           const uint64_t lba = kLba28End - 2;
           for (uint64_t i = 0; i < 4; ++i) {
             put_sectors(c, c.a(), lba + i, part(edge, i * kSectorBytes, kSectorBytes));
           }
           expect_on_disk(c, c.a(), lba, edge, "after single writes");
           expect_on_disk(c, c.a(), 0, start, "after single writes around 2^28");
           if (c.sectors_max() >= 2) {
             const Bytes both = sector_pattern(171, 2);
             c.expect_good_ata(c.a().ask(write_request(kLba28End - 1, both)));
             std::copy(both.begin(), both.end(), edge.begin() + kSectorBytes);
             expect_on_disk(c, c.a(), lba, edge, "after a write across 2^28");
             expect_on_disk(c, c.a(), 0, start, "after a write across 2^28");
           }
         }});

  Deviant wraps =
      edits_request("ata-28-wraps-at-its-end",
                    "a 28-bit range across 2^28 is taken for one at the start", [](Bytes& q) {
                      const uint64_t lba = value_of(q, F::ata_lba);
                      const bool narrow = ata_code(q) == ata::write || ata_code(q) == ata::read;
                      if (is_transfer(q) && narrow && lba + value_of(q, F::ata_count) > kLba28End) {
                        set(q, F::ata_lba, 0);
                      }
                    });
  wraps.configure = large_disk;
  r.add(wraps);
  Deviant beside = edits_request("ata-28-last-reads-beside",
                                 "the last 28-bit address brings the sector before", [](Bytes& q) {
                                   if (is_read_request(q) && ata_code(q) == ata::read &&
                                       value_of(q, F::ata_lba) == kLba28End - 1) {
                                     set(q, F::ata_lba, kLba28End - 2);
                                   }
                                 });
  beside.configure = large_disk;
  r.add(beside);
  r.add({.id = "ata.read.last-28-bit-address",
         .title = "28-bit commands reach what lies below 2^28 of a larger disk; a 28-bit range "
                  "across it goes on or is refused, and does not begin again at zero",
         .clauses = {"ATA-LBA28"},
         .needs = {Need::write},
         .fails_on = {"ata-28-last-reads-beside", "ata-28-wraps-at-its-end"},
         .run = [](Context& c) {
           if (!holds_lba28_edge(c)) {
             return;
           }
           const Bytes edge = sector_pattern(172, 3);
           put_sectors(c, c.a(), kLba28End - 2, edge);
           const auto one = [&](size_t i) { return part(edge, i * kSectorBytes, kSectorBytes); };
           const Exchange before = c.a().ask(read_request(kLba28End - 2, 1, false));
           c.expect_good_ata(before);
           c.expect_data(before, one(0));
           // 0x0FFFFFFF sectors are all that words 60-61 can promise: the last address is one more.
           const Exchange last = c.a().ask(read_request(kLba28End - 1, 1, false));
           c.judge(last, Outcomes()
                             .pass("good", seen::good_ata)
                             .info("the address 0x0FFFFFFF is refused", seen::ata_idnf)
                             .info("the address 0x0FFFFFFF is refused", seen::ata_abort));
           if (seen::good_ata(last)) {
             c.expect_data(last, one(1));
           }
           if (c.sectors_max() < 2) {
             return;
           }
           const Exchange across = c.a().ask(read_request(kLba28End - 1, 2, false));
           c.judge(across, Outcomes()
                               .pass("good", seen::good_ata)
                               .pass("refused", seen::ata_idnf)
                               .pass("refused", seen::ata_abort)
                               .pass("refused", seen::aoe_error(aoe_error::bad_argument)));
           if (seen::good_ata(across)) {
             c.expect_data(across, part(edge, kSectorBytes, 2 * kSectorBytes));
           }
         }});

  r.add(spoils("ata-write-past-end-good", "says good to a write past the end, and drops it",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 return is_write_request(q) && value_of(q, F::ata_lba) >= m.config.sectors
                            ? pretend(q, f)
                            : f(q);
               }));
  r.add({.id = "ata.write.past-end",
         .title = "A write behind the last sector is refused with IDNF, with both commands",
         .clauses = {"ATA-RANGE"},
         .needs = {Need::write},
         .fails_on = {"ata-write-past-end-good"},
         .run = [](Context& c) {
           const uint64_t end = c.target().sectors;
           c.expect_ata_error(c.a().ask(write_request(end, sector_pattern(63))), ata::error_idnf);
           c.expect_ata_error(c.a().ask(write_request((1ULL << 48) - 1, sector_pattern(63))),
                              ata::error_idnf);
           if (end < 1ULL << 28) {
             c.expect_ata_error(c.a().ask(write_request(end, sector_pattern(63), false)),
                                ata::error_idnf);
           }
         }});

  r.add(spoils("ata-write-up-to-the-end",
               "writes what fits of a write across the end, and refuses it then",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const uint64_t lba = value_of(q, F::ata_lba);
                 if (is_write_request(q) && !is_short_write(q) && lba < m.config.sectors &&
                     lba + value_of(q, F::ata_count) > m.config.sectors) {
                   m.disk[lba] = part(q, at::ata_data, kSectorBytes);
                 }
                 return f(q);
               }));
  r.add(spoils("ata-write-across-end-good", "says good to a write across the end",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const uint64_t lba = value_of(q, F::ata_lba);
                 return is_write_request(q) && lba < m.config.sectors &&
                                lba + value_of(q, F::ata_count) > m.config.sectors
                            ? pretend(q, f)
                            : f(q);
               }));
  r.add({.id = "ata.write.spanning-end",
         .title = "A write across the end is refused with IDNF, and nothing of it is written",
         .clauses = {"ATA-RANGE"},
         .needs = {Need::write},
         .fails_on = {"ata-write-up-to-the-end", "ata-write-across-end-good"},
         .run = [](Context& c) {
           if (c.sectors_max() < 2) {
             c.unsupported("the target carries one sector in a frame: no range can span the end");
           }
           const uint64_t last = c.target().sectors - 1;
           const Bytes there = c.may_rewrite(c.a(), last);
           const bool may_change =
               c.scratch().lba <= last && last < c.scratch().lba + c.scratch().count;
           // Outside scratch it sends what is there already: wrong, it does no harm.
           Bytes data = may_change ? sector_pattern(64) : there;
           const Bytes second = sector_pattern(65);
           data.insert(data.end(), second.begin(), second.end());
           c.expect_ata_error(c.a().ask(write_request(last, data)), ata::error_idnf);
           expect_on_disk(c, c.a(), last, there, "after a refused write");
         }});

  r.add(edits_request("ata-nul-ends-data", "stops writing at four zero bytes", [](Bytes& q) {
    if (is_write_request(q) && payload_of(q) > 0) {
      const Bytes nul(4, 0);
      const auto from = std::search(q.begin() + at::ata_data, q.end(), nul.begin(), nul.end());
      std::fill(from, q.end(), 0);
    }
  }));
  r.add(edits_request("ata-data-seven-bits", "writes seven bits of every byte", [](Bytes& q) {
    if (is_write_request(q)) {
      for (size_t i = at::ata_data; i < q.size(); ++i) {
        q[i] &= 0x7f;
      }
    }
  }));
  r.add({.id = "ata.write.data-is-transparent",
         .title = "Every byte value at every place, zeros, ones, and a frame inside a sector come "
                  "back as written",
         .clauses = {"ATA-WRITE"},
         .needs = {Need::write},
         .fails_on = {"ata-nul-ends-data", "ata-data-seven-bits"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           std::vector<Bytes> sectors = {Bytes(kSectorBytes, 0), Bytes(kSectorBytes, 0xff)};
           for (const uint8_t start : {0, 1, 0x80}) {
             Bytes ramp(kSectorBytes);
             for (size_t i = 0; i < ramp.size(); ++i) {
               ramp[i] = static_cast<uint8_t>(start + i);
             }
             sectors.push_back(ramp);
           }
           Bytes frame = c.a().stamp(read_request(0, 1));
           frame.resize(kSectorBytes, 0xaa);
           sectors.push_back(frame);
           for (const Bytes& data : sectors) {
             c.expect_good_ata(c.a().ask(write_request(lba, data)));
             const Exchange x = c.a().ask(read_request(lba, 1));
             c.expect_good_ata(x);
             c.expect_data(x, data);
           }
         }});
}

void register_payload(Registry& r) {
  r.add(spoils("ata-short-write-zero-filled", "fills a short write up with zeros",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 if (is_short_write(q) && value_of(q, F::ata_count) <= m.max_sectors()) {
                   changed.resize(at::ata_data + promised_by(q), 0);
                 }
                 return f(changed);
               }));
  r.add(spoils("ata-short-write-executed-then-refused",
               "fills a short write up with zeros, writes it and refuses it",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_short_write(q) && value_of(q, F::ata_count) <= m.max_sectors()) {
                   Bytes changed = q;
                   changed.resize(at::ata_data + promised_by(q), 0);
                   f(changed);
                 }
                 return f(q);
               }));
  r.add(ignores("ata-short-write-silent", "does not answer a short write",
                [](const Bytes& q, const ModelTarget&) { return is_short_write(q); }));
  const std::vector<std::string> short_deviants = {"ata-short-write-zero-filled",
                                                   "ata-short-write-executed-then-refused"};
  r.add({.id = "ata.write.without-payload",
         .title = "A write that carries no data is refused and nothing is written",
         .clauses = {"ATA-SHORT"},
         .needs = {Need::write},
         .fails_on = {"ata-short-write-zero-filled", "ata-short-write-executed-then-refused",
                      "ata-short-write-silent"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 70, 1);
           for (const bool padded : {true, false}) {
             Frame f = write_request(k.lba, BytesView(k.data));
             f.cut(padded ? observer::kMinFrameBytes : at::ata_data);
             const Exchange x = c.a().ask(f);
             c.judge(x, refused("a write without data"));
             expect_on_disk(c, c.a(), k.lba, k.data, "after a write without data");
           }
         }});
  r.add({.id = "ata.write.payload-cut",
         .title = "A write of one sector with 1, 24, 256, 508 or 511 bytes is refused and nothing "
                  "is written",
         .clauses = {"ATA-SHORT"},
         .needs = {Need::write},
         .fails_on = short_deviants,
         .run = [](Context& c) {
           const Known k = known_sectors(c, 71, 1);
           for (const size_t n : {size_t{1}, size_t{24}, size_t{256}, size_t{508}, size_t{511}}) {
             Frame f = write_request(k.lba, BytesView(sector_pattern(72)));
             f.cut(at::ata_data + n);
             c.judge(c.a().ask(f), refused(fmt::format("a write with {} bytes of data", n)));
             expect_on_disk(c, c.a(), k.lba, k.data, fmt::format("after a write with {} bytes", n));
           }
         }});

  r.add(spoils("ata-short-write-whole-sectors",
               "writes the whole sectors of a short write and refuses it then",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_short_write(q)) {
                   for (size_t i = 0; (i + 1) * kSectorBytes <= payload_of(q); ++i) {
                     m.disk[value_of(q, F::ata_lba) + i] =
                         part(q, at::ata_data + i * kSectorBytes, kSectorBytes);
                   }
                 }
                 return f(q);
               }));
  r.add({.id = "ata.write.payload-of-fewer-sectors",
         .title = "A write of two sectors that carries one, or one and a half, writes neither",
         .clauses = {"ATA-SHORT"},
         .needs = {Need::write},
         .fails_on = {"ata-short-write-whole-sectors", "ata-short-write-zero-filled"},
         .run = [](Context& c) {
           if (c.sectors_max() < 2) {
             c.unsupported("the target carries one sector in a frame");
           }
           const Known k = known_sectors(c, 73, 2);
           for (const size_t n : {kSectorBytes, kSectorBytes + 256, 2 * kSectorBytes - 1}) {
             Frame f = write_request(k.lba, BytesView(sector_pattern(74, 2)));
             f.cut(at::ata_data + n);
             c.judge(c.a().ask(f), refused(fmt::format("a write of two sectors with {} bytes", n)));
             expect_on_disk(c, c.a(), k.lba, k.data, fmt::format("after a write with {} bytes", n));
           }
         }});

  r.add(edits_request("ata-payload-decides-count", "writes as many sectors as the frame holds",
                      [](Bytes& q) {
                        if (is_write_request(q) && payload_of(q) >= kSectorBytes) {
                          set(q, F::ata_count, payload_of(q) / kSectorBytes);
                        }
                      }));
  r.add({.id = "ata.write.payload-too-long",
         .title = "What a write carries beyond its count is not written",
         .clauses = {"ATA-WRITE"},
         .needs = {Need::write},
         .fails_on = {"ata-payload-decides-count"},
         .run = [](Context& c) {
           if (c.sectors_max() < 2) {
             c.unsupported("no frame has room for more than one sector");
           }
           Known k = known_sectors(c, 75, 2);
           const Bytes data = sector_pattern(76, 2);
           const Exchange x = c.a().ask(write_request(k.lba, data).set(F::ata_count, 1));
           c.judge(x, Outcomes()
                          .pass("good", seen::good_ata)
                          .info("a write with more data than its count is refused", seen::answer));
           if (seen::good_ata(x)) {
             std::copy_n(data.begin(), kSectorBytes, k.data.begin());
           }
           expect_on_disk(c, c.a(), k.lba, k.data, "after a write of one sector with two");
         }});
  r.add({.id = "ata.write.zero-sectors",
         .title = "A write of 0 sectors writes nothing, even when it carries data",
         .clauses = {"ATA-ZERO"},
         .needs = {Need::write},
         .fails_on = {"ata-payload-decides-count"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 77, 1);
           const Exchange x =
               c.a().ask(write_request(k.lba, sector_pattern(78)).set(F::ata_count, 0));
           c.judge(x, Outcomes()
                          .pass("good", seen::good_ata)
                          .info("a write of 0 sectors is refused with ABRT", seen::ata_abort)
                          .info("a write of 0 sectors is refused with error 2",
                                seen::aoe_error(aoe_error::bad_argument)));
           expect_on_disk(c, c.a(), k.lba, k.data, "after a write of 0 sectors");
         }});

  r.add(spoils("ata-over-limit-write-truncated",
               "writes what came of a write of too many sectors, and says good",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 if (is_write_request(q) && value_of(q, F::ata_count) > m.max_sectors()) {
                   set(changed, F::ata_count,
                       std::min(payload_of(q) / kSectorBytes, m.max_sectors()));
                 }
                 return f(changed);
               }));
  r.add({.id = "ata.write.more-than-the-limit",
         .title = "A write that claims more sectors than the limit is refused as a whole",
         .clauses = {"ATA-LIMIT", "ATA-SHORT"},
         .needs = {Need::write},
         .fails_on = {"ata-over-limit-write-truncated"},
         .run = [](Context& c) {
           const uint8_t n = c.sectors_max();
           const Known k = known_sectors(c, 79, n);
           for (const unsigned claimed : {n + 1U, 128U, 255U}) {
             if (claimed <= n) {
               continue;
             }
             const Exchange x =
                 c.a().ask(write_request(k.lba, sector_pattern(80, n)).set(F::ata_count, claimed));
             c.judge(x, refused(fmt::format("a write that claims {} sectors", claimed)));
             expect_on_disk(c, c.a(), k.lba, k.data,
                            fmt::format("after a write that claims {}", claimed));
           }
         }});
}

void register_flags(Registry& r) {
  r.add(loses("ata-write-needs-w", "says good to a write without W and does not write",
              [](const Bytes& q) { return value_of(q, F::ata_flag_write) == 0; }));
  r.add({.id = "ata.flags.w-missing-in-write",
         .title = "A write command without the W flag writes, or is refused; it is not answered as "
                  "good and dropped",
         .clauses = {"ATA-W"},
         .needs = {Need::write},
         .fails_on = {"ata-write-needs-w"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 81, 1);
           const Bytes data = sector_pattern(82);
           const Exchange x = c.a().ask(write_request(k.lba, data).set(F::ata_flag_write, 0));
           c.judge(x, Outcomes()
                          .pass("good", seen::good_ata)
                          .info("a write without W is refused", seen::answer));
           expect_on_disk(c, c.a(), k.lba, seen::good_ata(x) ? data : k.data,
                          "after a write without W");
         }});

  r.add(loses("ata-async-write-lost", "answers an asynchronous write and forgets it",
              [](const Bytes& q) { return value_of(q, F::ata_flag_async) == 1; }));
  r.add(ignores("ata-async-write-unanswered", "does not answer an asynchronous write",
                [](const Bytes& q, const ModelTarget&) {
                  return is_write_request(q) && value_of(q, F::ata_flag_async) == 1;
                }));
  r.add({.id = "ata.flags.a-in-write",
         .title = "An asynchronous write is answered, and read back at once by anybody",
         .clauses = {"ATA-FLAGS", "ATA-VISIBLE"},
         .needs = {Need::write},
         .fails_on = {"ata-async-write-lost", "ata-async-write-unanswered"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (int i = 0; i < 4; ++i) {
             const Bytes data = sector_pattern(90U + static_cast<unsigned>(i));
             c.expect_good_ata(c.a().ask(write_request(lba, data).set(F::ata_flag_async, 1)));
             const Exchange x = c.b().ask(read_request(lba, 1));
             c.expect_good_ata(x);
             c.expect_data(x, data);
           }
         }});

  r.add(edits_reply("ata-write-echoes-payload", "sends the data of a write back",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_write_request(q) && payload_of(q) >= kSectorBytes) {
                        reply.resize(at::ata_data);
                        reply.insert(reply.end(), q.begin() + at::ata_data, q.end());
                      }
                    }));
  r.add({.id = "ata.write.reply-without-data",
         .title = "The reply to a write carries no data",
         .clauses = {"ATA-FORM"},
         .level = Level::should,
         .needs = {Need::write},
         .fails_on = {"ata-write-echoes-payload"},
         .run = [](Context& c) {
           const Exchange x = c.a().ask(write_request(scratch_lba(c, 1), sector_pattern(95)));
           c.expect_good_ata(x);
           c.expect(x.reply->size() <= observer::kMinFrameBytes, x, "a reply of at most 60 bytes",
                    fmt::format("{}", x.reply->size()));
         }});
  r.add(edits_reply("ata-write-status-zero", "answers a write with status 0",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_write_request(q) && reply.size() >= at::ata_data) {
                        set(reply, F::ata_status, 0);
                      }
                    }));
  r.add({.id = "ata.write.status",
         .title = "A good write ends with DRDY, no error bits, and an error register of zero",
         .clauses = {"ATA-STATUS"},
         .needs = {Need::write},
         .fails_on = {"ata-write-status-zero"},
         .run = [](Context& c) {
           const Exchange x = c.a().ask(write_request(scratch_lba(c, 1), sector_pattern(96)));
           c.expect_good_ata(x);
           c.expect_field(x, F::ata_error, 0);
         }});
}

void register_alone(Registry& r) {
  r.add(remembers("ata-reads-cached-per-host",
                  "serves a host's reads from what that host saw before", [] {
                    return Middleware([cache = std::map<std::pair<Bytes, Bytes>, Bytes>()](
                                          const Bytes& q, ModelTarget&, const Forward& f) mutable {
                      Answers answers = f(q);
                      if (is_transfer(q) && !answers.empty()) {
                        const std::pair key{part(q, 6, 6), part(q, 28, 6)};
                        if (is_write_request(q)) {
                          cache.erase(key);
                        } else if (const auto it = cache.find(key); it != cache.end()) {
                          const auto tag = value_of(q, F::tag);
                          answers[0].bytes = it->second;
                          set(answers[0].bytes, F::tag, tag);
                        } else {
                          cache[key] = answers[0].bytes;
                        }
                      }
                      return answers;
                    });
                  }));
  r.add({.id = "ata.write.visible-to-another-host",
         .title = "What one host wrote, another reads, also where it had read before",
         .clauses = {"ATA-VISIBLE"},
         .needs = {Need::write, Need::second_initiator},
         .fails_on = {"ata-reads-cached-per-host"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (unsigned i = 0; i < 3; ++i) {
             const Bytes data = sector_pattern(100 + i);
             Initiator& writer = i % 2 == 0 ? c.a() : c.b();
             Initiator& reader = i % 2 == 0 ? c.b() : c.a();
             c.expect_good_ata(writer.ask(write_request(lba, data)));
             for (Initiator* who : {&reader, &writer, &c.c()}) {
               const Exchange x = who->ask(read_request(lba, 1));
               c.expect_good_ata(x);
               c.expect_data(x, data);
             }
           }
         }});

  r.add(remembers("ata-refused-write-remembered",
                  "takes the repetition of a refused write for done", [] {
                    return Middleware([refused_tags = std::set<uint64_t>()](
                                          const Bytes& q, ModelTarget&, const Forward& f) mutable {
                      if (is_write_request(q) && refused_tags.count(value_of(q, F::tag)) != 0) {
                        return pretend(q, f);
                      }
                      Answers answers = f(q);
                      if (is_write_request(q) && !answers.empty() &&
                          value_of(answers[0].bytes, F::flag_error) == 1) {
                        refused_tags.insert(value_of(q, F::tag));
                      }
                      return answers;
                    });
                  }));
  r.add({.id = "ata.write.refused-then-right",
         .title = "After a refused write, a right one with the same tag is carried out",
         .clauses = {"ATA-ALONE", "ATA-SHORT"},
         .needs = {Need::write},
         .fails_on = {"ata-refused-write-remembered"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 110, 1);
           const Bytes data = sector_pattern(111);
           constexpr uint32_t tag = 0x5a5a0010;
           Frame wrong = write_request(k.lba, data).set(F::tag, tag);
           wrong.cut(at::ata_data + 100);
           c.judge(c.a().ask(wrong), refused("a short write"));
           c.expect_good_ata(c.a().ask(write_request(k.lba, data).set(F::tag, tag)));
           expect_on_disk(c, c.a(), k.lba, data, "after the right write");
         }});

  r.add(remembers(
      "ata-writes-deduped-by-tag", "performs one write for each tag, without being asked to", [] {
        return Middleware(
            [tags = std::set<uint64_t>()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
              return is_write_request(q) && !tags.insert(value_of(q, F::tag)).second ? pretend(q, f)
                                                                                     : f(q);
            });
      }));
  r.add({.id = "ata.write.same-tag-other-data",
         .title = "Without a negotiated tag window, two writes with one tag are two writes",
         .clauses = {"ATA-ALONE"},
         .needs = {Need::write},
         .fails_on = {"ata-writes-deduped-by-tag"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (unsigned i = 0; i < 3; ++i) {
             const Bytes data = sector_pattern(120 + i);
             c.expect_good_ata(c.a().ask(write_request(lba, data).set(F::tag, 0x5a5a0011)));
             expect_on_disk(c, c.a(), lba, data, "after a write with a used tag");
           }
         }});

  r.add(remembers(
      "ata-writes-reordered", "performs a write again after the next one to the same place", [] {
        return Middleware([last = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          Answers answers = f(q);
          if (is_write_request(q)) {
            if (!last.empty() && part(last, 28, 6) == part(q, 28, 6)) {
              f(last);
            }
            last = q;
          }
          return answers;
        });
      }));
  r.add({.id = "ata.write.overlapping-in-order",
         .title = "Of writes to one sector that are sent at once, the last one is what stays",
         .clauses = {"ATA-ORDER"},
         .level = Level::should,
         .needs = {Need::write},
         .fails_on = {"ata-writes-reordered"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           const uint64_t n = std::clamp<uint64_t>(c.target().buffer_count, 2, 8);
           for (unsigned round = 0; round < 4; ++round) {
             std::vector<uint64_t> tags;
             for (unsigned i = 0; i < n; ++i) {
               tags.push_back(value_of(
                   c.a().send(write_request(lba, sector_pattern(round * 16 + i + 130))), F::tag));
             }
             const auto replies = c.a().collect(n, burst_wait_ns(c));
             if (replies.size() < n) {
               continue;  // one was lost: its order tells nothing
             }
             expect_on_disk(c, c.a(), lba, sector_pattern(round * 16 + n - 1 + 130),
                            fmt::format("after {} writes at once", n));
           }
         }});
  r.add({.id = "ata.write.read-behind-a-write",
         .title =
             "A read that is sent right behind a write to the same sector brings what was written",
         .clauses = {"ATA-ORDER"},
         .level = Level::should,
         .needs = {Need::write},
         .fails_on = {"ata-reads-overtake-writes"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (unsigned round = 0; round < 4; ++round) {
             const Bytes data = sector_pattern(200 + round);
             c.a().send(write_request(lba, data));
             const Exchange x = c.a().ask(read_request(lba, 1));
             c.expect_good_ata(x);
             if (x.sent == 1) {
               c.expect_data(x, data);
             }
             c.a().collect(1, c.grace_ns());
           }
         }});
  r.add(remembers(
      "ata-reads-overtake-writes", "serves a read that follows a write from before the write", [] {
        return Middleware([lba = ~uint64_t{0}, old = Bytes()](const Bytes& q, ModelTarget& m,
                                                              const Forward& f) mutable {
          const uint64_t here = value_of(q, F::ata_lba);
          if (is_write_request(q)) {
            lba = here;
            old = m.read_sector(here);
            return f(q);
          }
          Answers answers = f(q);
          if (is_read_request(q) && here == lba &&
              answers[0].bytes.size() == at::ata_data + kSectorBytes) {
            std::copy(old.begin(), old.end(), answers[0].bytes.begin() + at::ata_data);
          }
          lba = ~uint64_t{0};
          return answers;
        });
      }));

  r.add(remembers(
      "ata-burst-loses-a-write", "answers three writes in a row and forgets the third", [] {
        return Middleware([row = 0](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          row = is_write_request(q) ? row + 1 : 0;
          return row == 3 ? pretend(q, f) : f(q);
        });
      }));
  r.add({.id = "ata.write.burst",
         .title = "Every one of many writes at once that is answered as good is on the disk",
         .clauses = {"ATA-MANY", "ATA-WRITE"},
         .needs = {Need::write},
         .fails_on = {"ata-burst-loses-a-write"},
         .run = [](Context& c) {
           const uint64_t n = std::clamp<uint64_t>(c.target().buffer_count, 3, 16);
           const uint64_t lba = scratch_lba(c, n);
           const Bytes data = sector_pattern(210, n);
           std::map<uint64_t, uint64_t> sector_by_tag;
           for (uint64_t i = 0; i < n; ++i) {
             const uint64_t sector = (i * 5 + 1) % n;
             const Bytes sent = c.a().send(
                 write_request(lba + sector, part(data, sector * kSectorBytes, kSectorBytes)));
             sector_by_tag[value_of(sent, F::tag)] = sector;
           }
           const auto replies = c.a().collect(n, burst_wait_ns(c));
           c.expect(!replies.empty(), "replies to a burst of writes", "none");
           for (const auto& f : replies) {
             const auto it = sector_by_tag.find(value_of(f.bytes, F::tag));
             if (it != sector_by_tag.end() && value_of(f.bytes, F::flag_error) == 0 &&
                 (value_of(f.bytes, F::ata_status) & ata::status_err) == 0) {
               expect_on_disk(c, c.a(), lba + it->second,
                              part(data, it->second * kSectorBytes, kSectorBytes),
                              "after a burst of writes");
             }
           }
         }});
}

void register_not_executed(Registry& r) {
  r.add(edits_request("ata-unknown-version-executed", "serves a version that it does not know",
                      [](Bytes& q) {
                        if (observer::is_aoe(q) && value_of(q, F::version) != 1) {
                          set(q, F::version, 1);
                        }
                      }));
  r.add({.id = "ata.write.unknown-version",
         .title = "A write of a version that the target does not know is not carried out",
         .clauses = {"ATA-VERSION"},
         .level = Level::should,
         .needs = {Need::write},
         .fails_on = {"ata-unknown-version-executed"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 220, 1);
           for (const uint8_t version : {0, 2, 3, 15}) {
             c.a().ask_once(write_request(k.lba, sector_pattern(221)).set(F::version, version));
             expect_on_disk(c, c.a(), k.lba, k.data,
                            fmt::format("after a write of version {}", version));
           }
         }});

  const auto executes_silently = [](std::string name, std::string story, RequestTest when) {
    return spoils(std::move(name), std::move(story),
                  [when = std::move(when)](const Bytes& q, ModelTarget& m, const Forward& f) {
                    const bool ours = !observer::is_reply(q) &&
                                      value_of(q, F::shelf) == m.config.shelf &&
                                      value_of(q, F::slot) == m.config.slot;
                    if (!observer::is_aoe(q) || ours || !when(q)) {
                      return f(q);
                    }
                    Bytes changed = q;
                    set(changed, F::flag_response, 0);
                    set(changed, F::shelf, m.config.shelf);
                    set(changed, F::slot, m.config.slot);
                    f(changed);
                    return Answers{};
                  });
  };
  const auto expect_ignored = [](Context& c, const Known& k, Frame f, const std::string& what) {
    c.expect_silence(c.a(), std::move(f));
    expect_on_disk(c, c.a(), k.lba, k.data, "after a write " + what);
  };
  r.add(executes_silently("ata-executes-replies",
                          "carries out a frame with R set, without an answer",
                          [](const Bytes& q) { return observer::is_reply(q); }));
  r.add({.id = "ata.write.with-response-flag",
         .title = "A write with the R flag is not a request: neither answered nor carried out",
         .clauses = {"ATA-ADDRESS"},
         .needs = {Need::write},
         .fails_on = {"ata-executes-replies"},
         .run = [expect_ignored](Context& c) {
           const Known k = known_sectors(c, 222, 1);
           expect_ignored(c, k, write_request(k.lba, sector_pattern(223)).set(F::flag_response, 1),
                          "with R set");
         }});
  r.add(executes_silently("ata-executes-other-slots", "carries out what is meant for another slot",
                          [](const Bytes& q) { return value_of(q, F::slot) != 0xff; }));
  r.add(executes_silently("ata-executes-other-shelves",
                          "carries out what is meant for another shelf",
                          [](const Bytes& q) { return value_of(q, F::shelf) != 0xffff; }));
  r.add({.id = "ata.write.to-another-target",
         .title =
             "A write to another shelf or slot, near or far, is neither answered nor carried out",
         .clauses = {"ATA-ADDRESS"},
         .needs = {Need::write},
         .fails_on = {"ata-takes-other-slots", "ata-takes-other-shelves",
                      "ata-executes-other-slots", "ata-executes-other-shelves"},
         .run = [expect_ignored](Context& c) {
           const Known k = known_sectors(c, 224, 1);
           const uint16_t shelf = c.target().shelf;
           const uint8_t slot = c.target().slot;
           for (const int other : {slot + 1, slot - 1, slot ^ 0x80, 0xfe}) {
             const auto s = static_cast<uint8_t>(other);
             if (s != slot && s != 0xff) {
               expect_ignored(c, k, write_request(k.lba, sector_pattern(225)).set(F::slot, s),
                              fmt::format("to slot {}", s));
             }
           }
           for (const int other :
                {shelf + 1, shelf - 1, shelf ^ 0x100, shelf ^ 0x8000, shelf << 8 | shelf >> 8}) {
             const auto s = static_cast<uint16_t>(other);
             if (s != shelf && s != 0xffff) {
               expect_ignored(c, k, write_request(k.lba, sector_pattern(226)).set(F::shelf, s),
                              fmt::format("to shelf {}", s));
             }
           }
         }});
  r.add(edits_request("ata-takes-other-slots", "looks at seven bits of the slot", [](Bytes& q) {
    if (is_ata_request(q) && value_of(q, F::slot) != 0xff) {
      set(q, F::slot, value_of(q, F::slot) & 0x7f);
    }
  }));
  r.add(
      edits_request("ata-takes-other-shelves", "looks at the low byte of the shelf", [](Bytes& q) {
        if (is_ata_request(q) && value_of(q, F::shelf) != 0xffff) {
          set(q, F::shelf, value_of(q, F::shelf) & 0xff);
        }
      }));
}

void register_lasting(Registry& r) {
  Deviant forgets = loses("ata-write-lost-on-restart", "loses what was written with a restart",
                          [](const Bytes&) { return false; });
  forgets.on_restart = [](ModelTarget& m) { m.disk.clear(); };
  r.add(forgets);
  r.add({.id = "ata.write.survives-a-restart",
         .title = "What was written and flushed is still there when the target has been restarted",
         .clauses = {"ATA-VISIBLE", "ATA-FLUSH"},
         .needs = {Need::write, Need::target_command},
         .fails_on = {"ata-write-lost-on-restart"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 230, c.sectors_max());
           c.a().ask(observer::flush_request());
           c.restart_target();
           expect_on_disk(c, c.a(), k.lba, k.data, "after a restart");
         }});

  r.add(spoils("ata-flush-discards", "throws away at a flush what was written",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_ata_request(q) &&
                     (ata_code(q) == ata::flush || ata_code(q) == ata::flush_ext)) {
                   m.disk.clear();
                 }
                 return f(q);
               }));
  r.add({.id = "ata.flush.keeps-what-was-written",
         .title = "After a flush everything written before is there",
         .clauses = {"ATA-FLUSH"},
         .needs = {Need::write},
         .fails_on = {"ata-flush-discards"},
         .run = [](Context& c) {
           const Known k = known_sectors(c, 231, 4);
           for (const bool wide : {false, true}) {
             c.a().ask(observer::flush_request(wide));
             expect_on_disk(c, c.b(), k.lba, k.data, "after a flush");
           }
         }});

  r.add(
      remembers("ata-write-lost-after-broadcast", "after a broadcast, forgets the next write", [] {
        return Middleware(
            [broadcast = false](const Bytes& q, ModelTarget&, const Forward& f) mutable {
              const bool lose = broadcast && is_write_request(q);
              if (value_of(q, F::shelf) == 0xffff || is_write_request(q)) {
                broadcast = value_of(q, F::shelf) == 0xffff;
              }
              return lose ? pretend(q, f) : f(q);
            });
      }));
  r.add({.id = "ata.write.between-broadcasts",
         .title = "Writes between broadcast queries of other hosts are carried out",
         .clauses = {"ATA-WRITE", "ATA-ADDRESS"},
         .needs = {Need::write, Need::second_initiator},
         .fails_on = {"ata-write-lost-after-broadcast"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (unsigned i = 0; i < 3; ++i) {
             c.b().ask(observer::config_request(observer::ccmd::read)
                           .set(F::shelf, 0xffff)
                           .set(F::slot, 0xff)
                           .dst(observer::kBroadcastMac));
             const Bytes data = sector_pattern(240 + i);
             c.expect_good_ata(c.a().ask(write_request(lba, data)));
             expect_on_disk(c, c.a(), lba, data, "after a broadcast and a write");
           }
         }});
}

}  // namespace

void register_ata_write(Registry& r) {
  register_placing(r);
  register_payload(r);
  register_flags(r);
  register_alone(r);
  register_not_executed(r);
  register_lasting(r);
}

}  // namespace conformance
