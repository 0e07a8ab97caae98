// Family ata, reading: the range that is asked for, the whole of it and nothing else; limits and
// ends; what the flags and registers of a reply say; many requests at once. Changes nothing but
// scratch sectors, and those only where a case says `write`.

#include <fmt/format.h>

#include <bit>
#include <set>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::ata_request;
using observer::get;
using observer::read_request;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;

namespace {

constexpr uint64_t kLba48End = 1ULL << 48;
constexpr uint8_t kStatusBusy = 0x80;

uint64_t end_of(const Bytes& q) {
  return value_of(q, F::ata_lba) + value_of(q, F::ata_count);
}

// What lies beyond the end is refused, and nothing comes along.
void expect_past_end(Context& c, const Exchange& x) {
  c.expect_ata_error(x, ata::error_idnf);
  c.expect((x.field(F::ata_status) & ata::status_drdy) != 0, x, "status DRDY|ERR",
           fmt::format("{:#04x}", x.field(F::ata_status)), {F::ata_status});
}

// Served with another idea of where the disk ends.
Deviant believes_in_end(std::string name, std::string story, RequestTest when) {
  return spoils(std::move(name), std::move(story),
                [when = std::move(when)](const Bytes& q, ModelTarget& m, const Forward& f) {
                  const uint64_t sectors = m.config.sectors;
                  if (is_transfer(q) && when(q)) {
                    m.config.sectors = ~uint64_t{0} >> 1;
                  }
                  Answers answers = f(q);
                  m.config.sectors = sectors;
                  return answers;
                });
}

Deviant moves_lba(std::string name, std::string story, std::function<uint64_t(const Bytes&)> to) {
  return edits_request(std::move(name), std::move(story), [to = std::move(to)](Bytes& q) {
    if (is_transfer(q)) {
      set(q, F::ata_lba, to(q));
    }
  });
}

void register_ranges(Registry& r) {
  r.add(moves_lba(
      "ata-read28-off-by-one", "a 28-bit read brings the next sector",
      [](const Bytes& q) { return value_of(q, F::ata_lba) + (ata_code(q) == ata::read ? 1 : 0); }));
  r.add({.id = "ata.read.both-widths-agree",
         .title = "READ SECTORS and READ SECTORS EXT bring the same sectors",
         .clauses = {"ATA-READ", "ATA-LBA28"},
         .needs = {Need::write},
         .fails_on = {"ata-read28-off-by-one"},
         .run = [](Context& c) {
           c.needs_scratch_28(4);
           const uint64_t lba = scratch_lba(c, 4);
           const Bytes data = sector_pattern(1, 4);
           put_sectors(c, c.a(), lba, data);
           for (uint64_t i = 0; i < 4; ++i) {
             const Bytes want = part(data, i * observer::kSectorBytes, observer::kSectorBytes);
             for (const bool wide : {false, true}) {
               const Exchange x = c.a().ask(read_request(lba + i, 1, wide));
               c.expect_good_ata(x);
               c.expect_data(x, want);
             }
           }
         }});

  r.add(spoils(
      "ata-first-sector-refused", "takes LBA 0 for a mistake",
      [](const Bytes& q, ModelTarget& m, const Forward& f) {
        return is_read_request(q) && value_of(q, F::ata_lba) == 0 && value_of(q, F::ata_count) == 1
                   ? Answers{{m.error_reply(q, observer::aoe_error::bad_argument, at::ata_data), 0}}
                   : f(q);
      }));
  r.add({.id = "ata.read.first-sector",
         .title = "The first sector of the disk can be read, with both commands",
         .clauses = {"ATA-READ"},
         .fails_on = {"ata-first-sector-refused"},
         .run = [](Context& c) {
           const Exchange wide = c.a().ask(read_request(0, 1));
           c.expect_good_ata(wide);
           const Exchange narrow = c.a().ask(read_request(0, 1, false));
           c.expect_good_ata(narrow);
           c.expect_data(narrow, wide.data());
           c.expect(wide.data().size() == observer::kSectorBytes, wide, "512 bytes of data",
                    fmt::format("{} bytes", wide.data().size()));
         }});

  r.add(spoils("ata-last-sector-refused", "takes the last sector for one past the end",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const uint64_t sectors = m.config.sectors;
                 m.config.sectors -= is_transfer(q) ? 1 : 0;
                 Answers answers = f(q);
                 m.config.sectors = sectors;
                 return answers;
               }));
  r.add({.id = "ata.read.last-sector",
         .title = "The last sector that identify promises can be read, alone and as the end of a "
                  "longer read",
         .clauses = {"ATA-READ", "ATA-CAPACITY"},
         .fails_on = {"ata-last-sector-refused"},
         .run = [](Context& c) {
           const uint64_t sectors = c.target().sectors;
           c.expect_good_ata(c.a().ask(read_request(sectors - 1, 1)));
           const uint8_t n = c.sectors_max();
           if (sectors >= n) {
             const Exchange x = c.a().ask(read_request(sectors - n, n));
             c.expect_good_ata(x);
             c.expect(x.data().size() == size_t{n} * observer::kSectorBytes, x, "all of the data",
                      fmt::format("{} bytes", x.data().size()));
           }
           if (sectors <= kLba28End) {
             c.expect_good_ata(c.a().ask(read_request(sectors - 1, 1, false)));
           }
         }});

  r.add(believes_in_end("ata-one-past-end-served",
                        "is off by one at the end of the disk, at its start of the range",
                        [](const Bytes& q) { return value_of(q, F::ata_count) == 1; }));
  r.add({.id = "ata.read.one-past-end",
         .title = "The sector behind the last one does not exist: DRDY|ERR with IDNF",
         .clauses = {"ATA-RANGE", "ATA-CAPACITY"},
         .fails_on = {"ata-one-past-end-served", "ata-range-refused-by-aoe-error"},
         .run = [](Context& c) {
           expect_past_end(c, c.a().ask(read_request(c.target().sectors, 1)));
         }});
  r.add(spoils(
      "ata-range-refused-by-aoe-error", "meets a range past the end with AoE error 2",
      [](const Bytes& q, ModelTarget& m, const Forward& f) {
        return is_transfer(q) && end_of(q) > m.config.sectors
                   ? Answers{{m.error_reply(q, observer::aoe_error::bad_argument, at::ata_data), 0}}
                   : f(q);
      }));

  r.add(spoils("ata-end-checked-at-start-only", "looks only at where a range begins",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const uint64_t sectors = m.config.sectors;
                 m.config.sectors +=
                     is_transfer(q) && value_of(q, F::ata_lba) < m.config.sectors ? 255 : 0;
                 Answers answers = f(q);
                 m.config.sectors = sectors;
                 return answers;
               }));
  r.add({.id = "ata.read.spanning-end",
         .title = "A read that begins inside and ends behind the disk is refused as a whole",
         .clauses = {"ATA-RANGE"},
         .fails_on = {"ata-end-checked-at-start-only"},
         .run = [](Context& c) {
           const uint8_t n = c.sectors_max();
           if (n < 2) {
             c.unsupported("the target carries one sector in a frame: no range can span the end");
           }
           expect_past_end(c, c.a().ask(read_request(c.target().sectors - 1, 2)));
           expect_past_end(c, c.a().ask(read_request(c.target().sectors - n + 1, n)));
         }});

  r.add(believes_in_end(
      "ata-28-unbounded", "checks the range of 48-bit commands only",
      [](const Bytes& q) { return ata_code(q) == ata::read || ata_code(q) == ata::write; }));
  r.add({.id = "ata.read.past-end-28",
         .title = "28-bit reads past the end are refused like 48-bit ones",
         .clauses = {"ATA-RANGE", "ATA-LBA28"},
         .fails_on = {"ata-28-unbounded"},
         .run = [](Context& c) {
           const uint64_t sectors = c.target().sectors;
           if (sectors >= kLba28End) {
             c.info("the disk is larger than 28 bits reach: no 28-bit address is past its end");
             return;
           }
           expect_past_end(c, c.a().ask(read_request(sectors, 1, false)));
           expect_past_end(c, c.a().ask(read_request(kLba28End - 1, 1, false)));
         }});

  r.add(moves_lba("ata-lba-32-bits", "keeps 32 bits of an LBA",
                  [](const Bytes& q) { return value_of(q, F::ata_lba) & 0xffffffffU; }));
  r.add(moves_lba("ata-lba-40-bits", "keeps 40 bits of an LBA",
                  [](const Bytes& q) { return value_of(q, F::ata_lba) & 0xffffffffffU; }));
  r.add(moves_lba("ata-48-treated-as-28", "keeps 28 bits of every LBA",
                  [](const Bytes& q) { return value_of(q, F::ata_lba) & (kLba28End - 1); }));
  r.add({.id = "ata.read.every-lba-bit",
         .title = "Each of the 48 bits of an LBA counts: with one that is past the end the read is "
                  "refused",
         .clauses = {"ATA-LBA48", "ATA-RANGE"},
         .fails_on = {"ata-lba-32-bits", "ata-lba-40-bits", "ata-48-treated-as-28"},
         .run = [](Context& c) {
           for (unsigned bit = 0; bit < 48; ++bit) {
             const uint64_t lba = 1ULL << bit;
             const Exchange x = c.a().ask(read_request(lba, 1));
             if (lba < c.target().sectors) {
               c.expect_good_ata(x);
             } else {
               expect_past_end(c, x);
             }
           }
         }});

  r.add(believes_in_end("ata-top-of-lba48-wraps",
                        "adds the count to an LBA in 48 bits, and believes the sum",
                        [](const Bytes& q) { return end_of(q) >= kLba48End; }));
  r.add({.id = "ata.read.lba48-top",
         .title = "At the very top of 48 bits the end of a range does not wrap to zero",
         .clauses = {"ATA-RANGE", "ATA-LBA48"},
         .fails_on = {"ata-top-of-lba48-wraps"},
         .run = [](Context& c) {
           expect_past_end(c, c.a().ask(read_request(kLba48End - 1, 1)));
           if (c.sectors_max() >= 2) {
             expect_past_end(c, c.a().ask(read_request(kLba48End - 1, 2)));
             expect_past_end(c, c.a().ask(read_request(kLba48End - 2, 2)));
           }
         }});

  r.add(believes_in_end("ata-sum-wraps-at-32-bits", "computes the end of a range in 32 bits",
                        [](const Bytes& q) {
                          return value_of(q, F::ata_lba) < 1ULL << 32 && end_of(q) >= 1ULL << 32;
                        }));
  r.add({.id = "ata.read.sum-at-power-of-two",
         .title =
             "A range whose end passes 2^28, 2^31 or 2^32 is not taken for one that begins at zero",
         .clauses = {"ATA-RANGE", "ATA-LBA48"},
         .fails_on = {"ata-sum-wraps-at-32-bits"},
         .run = [](Context& c) {
           for (const unsigned bit : {28U, 31U, 32U, 40U}) {
             const uint64_t end = 1ULL << bit;
             for (const uint64_t lba : {end - 1, end}) {
               const uint8_t n = std::min<uint8_t>(2, c.sectors_max());
               const Exchange x = c.a().ask(read_request(lba, n));
               if (lba + n <= c.target().sectors) {
                 c.expect_good_ata(x);
               } else {
                 expect_past_end(c, x);
               }
             }
           }
         }});

  r.add(
      edits_request("ata-28-uses-48", "takes all six LBA bytes of a 28-bit command", [](Bytes& q) {
        if (is_transfer(q) && (ata_code(q) == ata::read || ata_code(q) == ata::write)) {
          set(q, F::ata_command, ata_code(q) == ata::read ? ata::read_ext : ata::write_ext);
        }
      }));
  r.add({.id = "ata.read.upper-bytes-of-28-bit-command",
         .title = "A 28-bit command uses the low 28 bits: what stands above them does not move it",
         .clauses = {"ATA-LBA28"},
         .fails_on = {"ata-28-uses-48"},
         .run = [](Context& c) {
           const uint64_t lba = std::min(c.target().sectors, kLba28End) - 1;
           const Exchange plain = c.a().ask(read_request(lba, 1, false));
           c.expect_good_ata(plain);
           for (const uint64_t above :
                {0xfULL << 28, 0xffULL << 32, 0xffULL << 40, 0xe0ULL << 24 & ~(kLba28End - 1)}) {
             const Exchange x = c.a().ask(read_request(lba | above, 1, false));
             c.expect_good_ata(x);
             c.expect_data(x, plain.data());
           }
         }});

  r.add(edits_request(
      "ata-lba-big-endian", "reads the LBA most significant byte first", [](Bytes& q) {
        if (is_transfer(q)) {
          const auto from = q.begin() + static_cast<ptrdiff_t>(observer::field(F::ata_lba).offset);
          std::reverse(from, from + 6);
        }
      }));
  r.add({.id = "ata.read.lba-byte-order",
         .title = "The LBA stands least significant byte first",
         .clauses = {"ATA-LBA48", "ATA-LBA28"},
         .fails_on = {"ata-lba-big-endian"},
         .run = [](Context& c) {
           for (const bool wide : {false, true}) {
             c.expect_good_ata(c.a().ask(read_request(1, 1, wide)));
             c.expect_good_ata(
                 c.a().ask(read_request(std::min(c.target().sectors, kLba28End) - 1, 1, wide)));
           }
           // Byte for byte, so that a mistake of the suite's own codec would show as well.
           Frame f = ata_request(ata::read_ext, 0, 1).set(F::ata_flag_extended, 1);
           f.byte(28, 1);
           c.expect_good_ata(c.a().ask(f));
           Frame g = ata_request(ata::read_ext, 0, 1).set(F::ata_flag_extended, 1);
           g.byte(33, 1);
           if (c.target().sectors <= 1ULL << 40) {
             expect_past_end(c, c.a().ask(g));
           }
         }});

  r.add({.id = "ata.read.across-2-to-the-28",
         .title = "On a disk that is that large, 48-bit reads reach both sides of 2^28",
         .clauses = {"ATA-LBA48"},
         .fails_on = {"ata-large-disk-treated-as-28"},
         .run = [](Context& c) {
           if (c.target().sectors <= kLba28End + 1) {
             c.info(fmt::format("the disk has {} sectors: 2^28 is not inside", c.target().sectors));
             return;
           }
           c.expect_good_ata(c.a().ask(read_request(kLba28End - 1, 1)));
           c.expect_good_ata(c.a().ask(read_request(kLba28End, 1)));
           if (c.sectors_max() >= 2) {
             c.expect_good_ata(c.a().ask(read_request(kLba28End - 1, 2)));
           }
         }});
  Deviant large =
      spoils("ata-large-disk-treated-as-28", "a large disk ends at 28 bits for every command",
             [](const Bytes& q, ModelTarget& m, const Forward& f) {
               const uint64_t sectors = m.config.sectors;
               m.config.sectors = is_transfer(q) ? kLba28End - 1 : sectors;
               Answers answers = f(q);
               m.config.sectors = sectors;
               return answers;
             });
  large.configure = [](deviants::ModelConfig& config) { config.sectors = kLba28End + 4096; };
  r.add(large);
}

void register_counts(Registry& r) {
  r.add(ignores("ata-zero-read-silent", "does not answer a read of 0 sectors",
                [](const Bytes& q, const ModelTarget&) {
                  return is_read_request(q) && value_of(q, F::ata_count) == 0;
                }));
  r.add(edits_reply("ata-zero-read-brings-data", "a read of 0 sectors brings one",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && value_of(q, F::ata_count) == 0) {
                        reply.resize(at::ata_data + observer::kSectorBytes, 0x55);
                      }
                    }));
  r.add({.id = "ata.read.zero-sectors",
         .title = "A read of 0 sectors is good without data, or refused; never silence, never data",
         .clauses = {"ATA-ZERO"},
         .fails_on = {"ata-zero-read-silent", "ata-zero-read-brings-data"},
         .run = [](Context& c) {
           for (const bool wide : {false, true}) {
             const Exchange x = c.a().ask(read_request(0, 0, wide));
             c.judge(x, Outcomes()
                            .pass("good", seen::good_ata)
                            .info("0 sectors are refused with ABRT", seen::ata_abort)
                            .info("0 sectors are refused with error 2",
                                  seen::aoe_error(observer::aoe_error::bad_argument)));
             c.expect(x.reply->size() <= observer::kMinFrameBytes, x, "no data",
                      fmt::format("{} bytes of reply", x.reply->size()));
           }
         }});

  r.add(spoils(
      "ata-limit-one-less", "refuses as many sectors as it advertises",
      [](const Bytes& q, ModelTarget& m, const Forward& f) {
        return is_transfer(q) && value_of(q, F::ata_count) == m.max_sectors()
                   ? Answers{{m.error_reply(q, observer::aoe_error::bad_argument, at::ata_data), 0}}
                   : f(q);
      }));
  r.add(edits_reply("ata-full-read-cut", "a read of the most sectors misses its last one",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) &&
                          reply.size() > at::ata_data + observer::kSectorBytes) {
                        reply.resize(reply.size() - observer::kSectorBytes);
                      }
                    }));
  r.add({.id = "ata.read.every-count-to-the-limit",
         .title = "Every count from 1 to the advertised limit is served in full",
         .clauses = {"ATA-LIMIT", "ATA-READ"},
         .fails_on = {"ata-limit-one-less", "ata-full-read-cut"},
         .run = [](Context& c) {
           for (unsigned n = 1; n <= c.sectors_max(); ++n) {
             const Exchange x = c.a().ask(read_request(0, static_cast<uint8_t>(n)));
             c.expect_good_ata(x);
             c.expect(x.data().size() == n * observer::kSectorBytes, x,
                      fmt::format("{} bytes of data", n * observer::kSectorBytes),
                      fmt::format("{}", x.data().size()));
           }
         }});

  r.add(spoils("ata-over-limit-truncated",
               "serves as much as fits when asked for more, and says good",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 if (is_read_request(q) && value_of(q, F::ata_count) > m.max_sectors()) {
                   set(changed, F::ata_count, m.max_sectors());
                 }
                 return f(changed);
               }));
  r.add(ignores("ata-over-limit-silent", "does not answer who asks for more than the limit",
                [](const Bytes& q, const ModelTarget& m) {
                  return is_read_request(q) && value_of(q, F::ata_count) > m.max_sectors();
                }));
  r.add({.id = "ata.read.more-than-the-limit",
         .title = "Every count above the limit is refused: error 2, or ABRT",
         .clauses = {"ATA-LIMIT"},
         .fails_on = {"ata-over-limit-truncated", "ata-over-limit-silent"},
         .run = [](Context& c) {
           // The target's own limit: between the link's and that nothing need be refused.
           const uint64_t limit = std::max<uint64_t>(c.sectors_max(), c.target().max_sectors());
           for (auto n = static_cast<unsigned>(limit) + 1U; n <= 255; ++n) {
             const Exchange x = c.a().ask(read_request(0, static_cast<uint8_t>(n)));
             c.judge(x,
                     Outcomes()
                         .pass("error 2", seen::aoe_error(observer::aoe_error::bad_argument))
                         .info("more sectors than the limit are refused with ABRT", seen::ata_abort)
                         .info("more sectors than advertised are served, in full",
                               [](const Exchange& e) {
                                 return seen::good_ata(e) &&
                                        e.data().size() == observer::ata_data_bytes(e.request);
                               }));
           }
         }});

  r.add(edits_reply(
      "ata-sectors-reversed", "sends the sectors of a read in reverse order",
      [](const Bytes& q, Bytes& reply) {
        if (is_read_request(q) && reply.size() >= at::ata_data + 2 * observer::kSectorBytes) {
          const Bytes old = reply;
          const size_t n = (reply.size() - at::ata_data) / observer::kSectorBytes;
          for (size_t i = 0; i < n; ++i) {
            std::copy_n(
                old.begin() + static_cast<ptrdiff_t>(at::ata_data + i * observer::kSectorBytes),
                observer::kSectorBytes,
                reply.begin() +
                    static_cast<ptrdiff_t>(at::ata_data + (n - 1 - i) * observer::kSectorBytes));
          }
        }
      }));
  r.add(edits_reply("ata-first-sector-repeated", "fills a read with its first sector",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q)) {
                        for (size_t i = at::ata_data + observer::kSectorBytes; i < reply.size();
                             ++i) {
                          reply[i] = reply[i - observer::kSectorBytes];
                        }
                      }
                    }));
  r.add({.id = "ata.read.sectors-in-order",
         .title = "A read of several sectors is the sectors one after the other",
         .clauses = {"ATA-READ"},
         .needs = {Need::write},
         .fails_on = {"ata-sectors-reversed", "ata-first-sector-repeated"},
         .run = [](Context& c) {
           const uint8_t n = c.sectors_max();
           if (n < 2) {
             c.unsupported("the target carries one sector in a frame");
           }
           const uint64_t lba = scratch_lba(c, n);
           const Bytes data = sector_pattern(2, n);
           for (uint8_t i = 0; i < n;
                ++i) {  // one by one, so that a write's order does not hide a read's
             put_sectors(c, c.a(), lba + i,
                         part(data, i * observer::kSectorBytes, observer::kSectorBytes));
           }
           for (const bool wide : {false, true}) {
             if (!wide && lba + n > kLba28End) {
               continue;
             }
             const Exchange x = c.a().ask(read_request(lba, n, wide));
             c.expect_good_ata(x);
             c.expect_data(x, data);
           }
         }});
}

// A read that differs from the plain one in something that must not matter.
void expect_same_as_plain(Context& c, const Frame& odd, const char* what) {
  const Exchange plain = c.a().ask(read_request(1, 1));
  c.expect_good_ata(plain);
  const Exchange x = c.a().ask(odd);
  c.judge(x, Outcomes()
                 .pass("good", seen::good_ata)
                 .fail(fmt::format("a read with {} is met with silence", what), seen::silence)
                 .warn(fmt::format("a read with {} is refused", what), seen::answer));
  if (seen::good_ata(x)) {
    c.expect_data(x, plain.data());
  }
}

void register_registers(Registry& r) {
  r.add(refuses("ata-flag-a-refused", "refuses a read with the A flag", [](const Bytes& q) {
    return is_read_request(q) && value_of(q, F::ata_flag_async) == 1;
  }));
  r.add({.id = "ata.flags.a-in-read",
         .title = "The A flag is for writes; a read that carries it is served",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-flag-a-refused"},
         .run = [](Context& c) {
           expect_same_as_plain(c, read_request(1, 1).set(F::ata_flag_async, 1), "the A flag");
         }});

  r.add(refuses("ata-flag-d-refused", "refuses a read with the D flag", [](const Bytes& q) {
    return is_read_request(q) && value_of(q, F::ata_flag_device) == 1;
  }));
  r.add({.id = "ata.flags.d",
         .title = "The D flag, a bit of the device register, does not change what is read, with E "
                  "or without",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-flag-d-refused"},
         .run = [](Context& c) {
           expect_same_as_plain(c, read_request(1, 1, false).set(F::ata_flag_device, 1),
                                "the D flag");
           expect_same_as_plain(c, read_request(1, 1).set(F::ata_flag_device, 1),
                                "the D and the E flag");
         }});

  r.add(refuses("ata-reserved-flags-refused", "refuses reserved AFlags", [](const Bytes& q) {
    return is_read_request(q) && value_of(q, F::ata_flags_reserved) != 0;
  }));
  r.add({.id = "ata.flags.reserved-bits",
         .title = "Each reserved bit of AFlags is ignored",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-reserved-flags-refused"},
         .run = [](Context& c) {
           for (const uint8_t bit : {0x80, 0x20, 0x08, 0x04}) {
             Frame f = read_request(1, 1);
             f.byte(at::argument, static_cast<uint8_t>(f.bytes()[at::argument] | bit));
             expect_same_as_plain(c, f, "a reserved bit of AFlags");
           }
         }});

  r.add(refuses(
      "ata-feature-refused", "refuses a read with a feature register",
      [](const Bytes& q) { return is_read_request(q) && value_of(q, F::ata_feature) != 0; }));
  r.add({.id = "ata.registers.feature-ignored",
         .title = "A read does not depend on the feature register",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-feature-refused"},
         .run = [](Context& c) {
           for (const uint8_t feature : {0x01, 0x03, 0x80, 0xff}) {
             expect_same_as_plain(c, read_request(1, 1).set(F::ata_feature, feature),
                                  "a feature register");
           }
         }});

  r.add(refuses(
      "ata-reserved-bytes-refused", "refuses a read whose reserved bytes are set",
      [](const Bytes& q) { return is_read_request(q) && value_of(q, F::ata_reserved) != 0; }));
  r.add({.id = "ata.registers.reserved-bytes-ignored",
         .title = "The two reserved bytes of an ATA request are ignored",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-reserved-bytes-refused"},
         .run = [](Context& c) {
           expect_same_as_plain(c, read_request(1, 1).set(F::ata_reserved, 0x0001),
                                "a reserved byte");
           expect_same_as_plain(c, read_request(1, 1).set(F::ata_reserved, 0xffff),
                                "reserved bytes");
         }});

  r.add(ignores("ata-read-with-w-silent", "does not answer a read with the W flag",
                [](const Bytes& q, const ModelTarget&) {
                  return is_read_request(q) && value_of(q, F::ata_flag_write) == 1;
                }));
  r.add(spoils("ata-w-makes-a-write", "writes when W is set, whatever the command",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 Bytes changed = q;
                 if (is_read_request(q) && value_of(q, F::ata_flag_write) == 1) {
                   set(changed, F::ata_command,
                       ata_code(q) == ata::read ? ata::write : ata::write_ext);
                 }
                 return f(changed);
               }));
  r.add(
      {.id = "ata.flags.w-in-read",
       .title =
           "A read with the W flag reads, with its data or without, or is refused; it never writes",
       .clauses = {"ATA-W"},
       .needs = {Need::write},
       .fails_on = {"ata-read-with-w-silent", "ata-w-makes-a-write"},
       .run = [](Context& c) {
         const uint64_t lba = scratch_lba(c, 1);
         const Bytes there = sector_pattern(3);
         put_sectors(c, c.a(), lba, there);
         Frame f = read_request(lba, 1).set(F::ata_flag_write, 1);
         f.append(sector_pattern(4));
         const Exchange x = c.a().ask(f);
         const auto brings = [&](const Exchange& e) {
           return seen::good_ata(e) && e.data() == there;
         };
         c.judge(x, Outcomes()
                        .pass("good, with the data", brings)
                        .info("a read with W is good and brings no data",
                              [](const Exchange& e) {
                                return seen::good_ata(e) &&
                                       e.reply->size() <= observer::kMinFrameBytes;
                              })
                        .fail("a read with W brings bytes that are not on the disk", seen::good_ata)
                        .info("a read with W is refused", seen::answer));
         expect_on_disk(c, c.a(), lba, there, "a read with W writes nothing");
       }});

  r.add(refuses("ata-e-must-agree", "refuses commands whose width and E flag disagree",
                [](const Bytes& q) {
                  const bool wide = ata_code(q) == ata::read_ext || ata_code(q) == ata::write_ext;
                  return is_transfer(q) && wide != (value_of(q, F::ata_flag_extended) == 1);
                }));
  r.add({.id = "ata.flags.e-disagrees-low-lba",
         .title = "Where 28 bits suffice, it does not matter whether E flag and command agree",
         .clauses = {"ATA-E"},
         .level = Level::should,
         .fails_on = {"ata-e-must-agree"},
         .run = [](Context& c) {
           expect_same_as_plain(c, read_request(1, 1).set(F::ata_flag_extended, 0),
                                "0x24 and E clear");
           expect_same_as_plain(c, read_request(1, 1, false).set(F::ata_flag_extended, 1),
                                "0x20 and E set");
         }});

  r.add(ignores("ata-e-disagrees-silent", "does not answer when E flag and command disagree",
                [](const Bytes& q, const ModelTarget&) {
                  const bool wide = ata_code(q) == ata::read_ext || ata_code(q) == ata::write_ext;
                  return is_transfer(q) && wide != (value_of(q, F::ata_flag_extended) == 1);
                }));
  r.add(
      {.id = "ata.flags.e-disagrees-high-lba",
       .title = "Above 2^28, command or E flag decides how wide the LBA is; either, but an answer",
       .clauses = {"ATA-E"},
       .fails_on = {"ata-e-disagrees-silent"},
       .run = [](Context& c) {
         // Past the end in 48 bits, inside in 28.
         const uint64_t lba = std::max(kLba28End, std::bit_ceil(c.target().sectors)) + 1;
         const Exchange no_e = c.a().ask(read_request(lba, 1).set(F::ata_flag_extended, 0));
         c.judge(no_e,
                 Outcomes()
                     .pass("refused: 48 bits by the command", seen::ata_idnf)
                     .info("0x24 without E: the flag decides, 28 bits are used", seen::good_ata)
                     .info("0x24 without E is refused", seen::answer));
         const Exchange with_e =
             c.a().ask(read_request(lba, 1, false).set(F::ata_flag_extended, 1));
         c.judge(with_e,
                 Outcomes()
                     .pass("good: 28 bits by the command", seen::good_ata)
                     .info("0x20 with E: the flag decides, 48 bits are used", seen::ata_idnf)
                     .info("0x20 with E is refused", seen::answer));
       }});

  r.add(edits_reply("ata-busy-left", "leaves BSY in the status", [](const Bytes& q, Bytes& reply) {
    if (is_ata_request(q) && reply.size() >= at::ata_data) {
      set(reply, F::ata_status, value_of(reply, F::ata_status) | kStatusBusy);
    }
  }));
  r.add(edits_reply("ata-drq-left", "leaves DRQ in the status", [](const Bytes& q, Bytes& reply) {
    if (is_ata_request(q) && reply.size() >= at::ata_data) {
      set(reply, F::ata_status, value_of(reply, F::ata_status) | ata::status_drq);
    }
  }));
  r.add({.id = "ata.registers.status-of-good-replies",
         .title = "A good reply has none of BSY, DF, DRQ and ERR: the Linux driver takes any of "
                  "them for a failure",
         .clauses = {"ATA-STATUS"},
         .level = Level::interop,
         .fails_on = {"ata-busy-left", "ata-drq-left"},
         .run = [](Context& c) {
           for (const Frame& f :
                {read_request(0, 1), read_request(0, 1, false), observer::identify_request()}) {
             const Exchange x = c.a().ask(f);
             c.expect_good_ata(x);
             constexpr uint64_t bad =
                 kStatusBusy | ata::status_df | ata::status_drq | ata::status_err;
             c.expect((x.field(F::ata_status) & bad) == 0, x, "a status without BSY, DF, DRQ, ERR",
                      fmt::format("{:#04x}", x.field(F::ata_status)), {F::ata_status});
           }
         }});

  r.add(remembers("ata-error-register-sticks", "keeps the error register of the last error", [] {
    return Middleware([last = uint64_t{0}](const Bytes& q, ModelTarget&, const Forward& f) mutable {
      Answers answers = f(q);
      for (auto& a : answers) {
        if (is_ata_request(q) && a.bytes.size() >= at::ata_data) {
          const uint64_t now = value_of(a.bytes, F::ata_error);
          last = now != 0 ? now : last;
          set(a.bytes, F::ata_error, last);
        }
      }
      return answers;
    });
  }));
  r.add(remembers("ata-status-sticks", "keeps ERR in the status of the command after an error", [] {
    return Middleware([failed = false](const Bytes& q, ModelTarget&, const Forward& f) mutable {
      Answers answers = f(q);
      for (auto& a : answers) {
        if (is_ata_request(q) && a.bytes.size() >= at::ata_data) {
          const uint64_t now = value_of(a.bytes, F::ata_status);
          set(a.bytes, F::ata_status, now | (failed ? ata::status_err : 0));
          failed = (now & ata::status_err) != 0;
        }
      }
      return answers;
    });
  }));
  r.add(
      {.id = "ata.registers.errors-do-not-stick",
       .title = "After a failed command the next one is good again, with an error register of zero",
       .clauses = {"ATA-STATUS"},
       .fails_on = {"ata-error-register-sticks", "ata-status-sticks"},
       .run = [](Context& c) {
         expect_past_end(c, c.a().ask(read_request(c.target().sectors, 1)));
         for (int i = 0; i < 2; ++i) {
           const Exchange x = c.a().ask(read_request(0, 1));
           c.expect_good_ata(x);
           c.expect_field(x, F::ata_error, 0);
         }
         expect_past_end(c, c.a().ask(read_request(c.target().sectors, 1)));
         c.expect_good_ata(c.b().ask(read_request(0, 1)));
       }});

  r.add(edits_reply("ata-count-register-wild", "returns 0x77 in the sector count register",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && reply.size() >= at::ata_data) {
                        set(reply, F::ata_count, 0x77);
                      }
                    }));
  r.add({.id = "ata.registers.count-in-the-reply",
         .title =
             "The sector count register of a good reply is what is left, 0, or the request's own",
         .clauses = {"ATA-STATUS"},
         .level = Level::should,
         .fails_on = {"ata-count-register-wild"},
         .run = [](Context& c) {
           for (const uint8_t n : {uint8_t{1}, c.sectors_max()}) {
             const Exchange x = c.a().ask(read_request(0, n));
             c.expect_good_ata(x);
             c.judge(x,
                     Outcomes()
                         .pass("0", [](const Exchange& e) { return e.field(F::ata_count) == 0; })
                         .pass("the request's",
                               [n](const Exchange& e) { return e.field(F::ata_count) == n; })
                         .warn("the sector count register is neither 0 nor the request's",
                               seen::anything),
                     {F::ata_count});
           }
         }});

  r.add(edits_reply("ata-trailing-bytes", "sends four bytes behind the data",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && reply.size() > at::ata_data) {
                        reply.insert(reply.end(), {0, 0, 0, 0});
                      }
                    }));
  r.add({.id = "ata.read.exact-length",
         .title = "A reply with data ends with its data",
         .clauses = {"ATA-FORM"},
         .level = Level::should,
         .fails_on = {"ata-trailing-bytes"},
         .run = [](Context& c) {
           for (unsigned n = 1; n <= c.sectors_max(); ++n) {
             const Exchange x = c.a().ask(read_request(0, static_cast<uint8_t>(n)));
             c.expect_good_ata(x);
             const size_t want = at::ata_data + n * observer::kSectorBytes;
             c.expect(x.reply->size() == want, x, fmt::format("a frame of {} bytes", want),
                      fmt::format("{} bytes", x.reply->size()));
           }
         }});

  r.add(edits_reply("ata-aflags-lost", "returns AFlags of zero", [](const Bytes& q, Bytes& reply) {
    if (is_ata_request(q) && reply.size() > at::argument) {
      reply[at::argument] = 0;
    }
  }));
  r.add({.id = "ata.registers.aflags-echoed",
         .title = "The reply carries the request's AFlags",
         .clauses = {"ATA-FORM"},
         .level = Level::should,
         .fails_on = {"ata-aflags-lost"},
         .run = [](Context& c) {
           c.expect_field(c.a().ask(read_request(0, 1)), F::ata_flag_extended, 1);
           c.expect_field(c.a().ask(read_request(0, 1, false)), F::ata_flag_extended, 0);
         }});
}

using TagKey = std::pair<Mac, uint64_t>;
TagKey key_of(const Bytes& q) {
  Mac mac{};
  std::copy_n(q.begin() + 6, mac.size(), mac.begin());
  return {mac, value_of(q, F::tag)};
}

void register_many(Registry& r) {
  r.add(remembers("ata-read-deduped", "answers a read once for each source and tag", [] {
    return Middleware(
        [known = std::set<TagKey>()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          return is_read_request(q) && !known.insert(key_of(q)).second ? Answers{} : f(q);
        });
  }));
  r.add({.id = "ata.read.duplicates-are-answered",
         .title = "A read that arrives three times is answered three times",
         .clauses = {"ATA-ALONE"},
         .level = Level::should,
         .fails_on = {"ata-read-deduped"},
         .run = [](Context& c) {
           const Bytes frame = c.a().stamp(read_request(0, 1));
           for (int i = 0; i < 3; ++i) {
             c.a().send_bytes(frame);
           }
           const auto replies = c.a().collect(3, burst_wait_ns(c));
           c.expect(replies.size() == 3, "three replies to three equal reads",
                    fmt::format("{}", replies.size()));
           for (const auto& f : replies) {
             c.expect(f.bytes == replies.front().bytes, "equal replies to equal reads",
                      "replies that differ");
           }
         }});

  r.add(remembers("ata-reply-cached-by-tag",
                  "sends again what it sent to this tag before, without a look at the rest", [] {
                    return Middleware([cache = std::map<uint64_t, Bytes>()](
                                          const Bytes& q, ModelTarget&, const Forward& f) mutable {
                      if (!is_read_request(q)) {
                        return f(q);
                      }
                      const auto it = cache.find(value_of(q, F::tag));
                      if (it != cache.end()) {
                        Bytes again = it->second;
                        std::copy_n(q.begin() + 6, 6, again.begin());
                        return Answers{{again, 0}};
                      }
                      Answers answers = f(q);
                      if (!answers.empty()) {
                        cache[value_of(q, F::tag)] = answers[0].bytes;
                      }
                      return answers;
                    });
                  }));
  r.add(
      {.id = "ata.read.same-tag-other-sector",
       .title = "A tag is no name of a request: two reads with one tag each bring their own sector",
       .clauses = {"ATA-ALONE"},
       .needs = {Need::write},
       .fails_on = {"ata-reply-cached-by-tag"},
       .run = [](Context& c) {
         const uint64_t lba = scratch_lba(c, 2);
         const Bytes data = sector_pattern(5, 2);
         put_sectors(c, c.a(), lba, data);
         for (const uint64_t i : {0U, 1U}) {
           const Exchange x = c.a().ask(read_request(lba + i, 1).set(F::tag, 0x5a5a0001));
           c.expect_good_ata(x);
           c.expect_data(x, part(data, i * observer::kSectorBytes, observer::kSectorBytes));
         }
       }});
  r.add({.id = "ata.read.same-tag-two-hosts",
         .title = "Two hosts that use one tag at the same time each get what they asked for",
         .clauses = {"ATA-ALONE"},
         .needs = {Need::write, Need::second_initiator},
         .fails_on = {"ata-reply-cached-by-tag"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 2);
           const Bytes data = sector_pattern(6, 2);
           put_sectors(c, c.a(), lba, data);
           constexpr uint32_t tag = 0x5a5a0002;
           const Bytes first = c.a().send(read_request(lba, 1).set(F::tag, tag));
           const Bytes second = c.b().send(read_request(lba + 1, 1).set(F::tag, tag));
           const auto check = [&](Initiator& who, const Bytes& request, size_t at) {
             Exchange x;
             x.request = request;
             x.sent = 1;
             if (const auto f = who.await_tag(tag, 4 * c.patience_ns())) {
               x.reply = f->bytes;
             }
             c.expect_good_ata(x);
             c.expect_data(x, part(data, at, observer::kSectorBytes));
           };
           check(c.a(), first, 0);
           check(c.b(), second, observer::kSectorBytes);
         }});

  r.add(edits_reply("buffer-count-boast", "advertises eight times the requests that it can hold",
                    [](const Bytes&, Bytes& reply) {
                      if (get(reply, F::command) == observer::command::config) {
                        set(reply, F::cfg_buffer_count, 8 * value_of(reply, F::cfg_buffer_count));
                      }
                    }));
  r.add({.id = "ata.read.buffer-count-outstanding",
         .title = "As many reads as the buffer count says, sent at once, are all answered",
         .clauses = {"ATA-MANY"},
         .fails_on = {"buffer-count-boast"},
         .run = [](Context& c) {
           constexpr uint64_t burst_max =
               256;  // more than that is a matter of the link, not of the target
           const uint64_t n = std::min(c.target().buffer_count, burst_max);
           size_t best = 0;
           for (int attempt = 0; attempt < 3 && best < n; ++attempt) {  // a link may lose a frame
             std::set<uint32_t> tags;
             for (uint64_t i = 0; i < n; ++i) {
               tags.insert(static_cast<uint32_t>(value_of(
                   c.a().send(read_request(i % std::max<uint64_t>(c.target().sectors, 1), 1)),
                   F::tag)));
             }
             std::set<uint32_t> answered;
             for (const auto& f : c.a().collect(n, burst_wait_ns(c))) {
               answered.insert(static_cast<uint32_t>(value_of(f.bytes, F::tag)));
             }
             best = std::max(best, answered.size());
           }
           c.expect(best == n, fmt::format("{} replies to {} reads at once", n, n),
                    fmt::format("{}", best));
         }});

  r.add(remembers(
      "ata-burst-answers-mixed", "gives a read the data of the read before it when both wait", [] {
        return Middleware([last = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          Answers answers = f(q);
          if (is_read_request(q) && !answers.empty() && answers[0].bytes.size() > at::ata_data) {
            const Bytes now = answers[0].bytes;
            if (last.size() == now.size()) {
              std::copy(last.begin() + at::ata_data, last.end(),
                        answers[0].bytes.begin() + at::ata_data);
            }
            last = now;
          } else {
            last.clear();
          }
          return answers;
        });
      }));
  r.add({.id = "ata.read.burst-keeps-tag-and-data-together",
         .title = "Each of many reads at once gets the data of its own sector",
         .clauses = {"ATA-MANY", "ATA-READ"},
         .needs = {Need::write},
         .fails_on = {"ata-burst-answers-mixed"},
         .run = [](Context& c) {
           const uint64_t n = std::clamp<uint64_t>(c.target().buffer_count, 1, 16);
           const uint64_t lba = scratch_lba(c, n);
           const Bytes data = sector_pattern(7, n);
           put_sectors(c, c.a(), lba, data);
           std::map<uint32_t, uint64_t> sector_by_tag;
           std::map<uint32_t, Bytes> request_by_tag;
           for (uint64_t i = 0; i < n; ++i) {
             const uint64_t sector = (i * 7 + 3) % n;  // not in order
             const Bytes sent = c.a().send(read_request(lba + sector, 1));
             const auto tag = static_cast<uint32_t>(value_of(sent, F::tag));
             sector_by_tag[tag] = sector;
             request_by_tag[tag] = sent;
           }
           const auto replies = c.a().collect(n, burst_wait_ns(c));
           c.expect(!replies.empty(), "replies to a burst of reads", "none");
           for (const auto& f : replies) {
             const auto tag = static_cast<uint32_t>(value_of(f.bytes, F::tag));
             if (sector_by_tag.count(tag) == 0) {
               continue;
             }
             Exchange x;
             x.request = request_by_tag[tag];
             x.reply = f.bytes;
             x.sent = 1;
             c.expect_good_ata(x);
             c.expect_data(x, part(data, sector_by_tag[tag] * observer::kSectorBytes,
                                   observer::kSectorBytes));
           }
         }});

  r.add(ignores("ata-broadcast-read-silent", "does not answer ATA to every shelf and slot",
                [](const Bytes& q, const ModelTarget&) {
                  return is_ata_request(q) && value_of(q, F::shelf) == 0xffff;
                }));
  r.add(edits_reply("ata-broadcast-read-answered-as-broadcast",
                    "returns the broadcast shelf and slot", [](const Bytes& q, Bytes& reply) {
                      if (is_ata_request(q)) {
                        set(reply, F::shelf, value_of(q, F::shelf));
                        set(reply, F::slot, value_of(q, F::slot));
                      }
                    }));
  r.add(
      {.id = "ata.read.broadcast-shelf-and-slot",
       .title = "A read to every shelf and slot is answered, from the target's own shelf and slot",
       .clauses = {"ATA-ADDRESS"},
       .fails_on = {"ata-broadcast-read-silent", "ata-broadcast-read-answered-as-broadcast"},
       .run = [](Context& c) {
         const Exchange x = c.a().ask(read_request(0, 1).set(F::shelf, 0xffff).set(F::slot, 0xff));
         c.judge(x, Outcomes()
                        .info("ATA to every shelf and slot is met with silence", seen::silence)
                        .pass("answered", seen::answer));
         if (x.answered()) {
           c.expect_good_ata(x);
           c.expect_field(x, F::shelf, c.target().shelf);
           c.expect_field(x, F::slot, c.target().slot);
         }
       }});

  r.add(remembers("ata-broadcast-stays-in-buffer",
                  "after a broadcast to every slot, the next reply carries that slot", [] {
                    return Middleware(
                        [stuck = false](const Bytes& q, ModelTarget&, const Forward& f) mutable {
                          Answers answers = f(q);
                          if (stuck && !answers.empty()) {
                            set(answers[0].bytes, F::slot, 0xff);
                          }
                          stuck = value_of(q, F::slot) == 0xff;
                          return answers;
                        });
                  }));
  r.add({.id = "ata.read.after-broadcasts",
         .title = "Reads are served as before after broadcast queries and broadcast reads",
         .clauses = {"ATA-ADDRESS"},
         .fails_on = {"ata-broadcast-stays-in-buffer"},
         .run = [](Context& c) {
           c.b().ask(observer::config_request(observer::ccmd::read)
                         .set(F::shelf, 0xffff)
                         .set(F::slot, 0xff));
           const Exchange x = c.a().ask(read_request(0, 1));
           c.expect_good_ata(x);
           c.expect_field(x, F::shelf, c.target().shelf);
           c.expect_field(x, F::slot, c.target().slot);
         }});
}

}  // namespace

void register_ata_read(Registry& r) {
  register_ranges(r);
  register_counts(r);
  register_registers(r);
  register_many(r);
}

}  // namespace conformance
