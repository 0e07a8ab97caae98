// Family ata, questions at the edges: commands without data that carry a count, the upper bits of a
// 28-bit LBA, what a reply's LBA registers say, and whether a flush flushes. Writes go to scratch
// only.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::read_request;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;

namespace {

bool is_flush(const Bytes& q) {
  return is_ata_request(q) && (ata_code(q) == ata::flush || ata_code(q) == ata::flush_ext);
}

void register_counts(Registry& r) {
  r.add(remembers("ata-flush-count-dies", "ends when a flush carries a count above 100", [] {
    return Middleware([dead = false](const Bytes& q, ModelTarget&, const Forward& f) mutable {
      dead = dead || (is_flush(q) && value_of(q, F::ata_count) > 100);
      return dead ? Answers{} : f(q);
    });
  }));
  r.add(ignores("ata-power-count-silent", "does not answer a check power with a count above 2",
                [](const Bytes& q, const ModelTarget&) {
                  return is_ata_request(q) && ata_code(q) == ata::check_power &&
                         value_of(q, F::ata_count) > 2;
                }));
  r.add(remembers("ata-flush-count-brings-memory",
                  "answers a flush with as many sectors as its count says", [] {
                    return Middleware(
                        [memory = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
                          Answers answers = f(q);
                          if (is_flush(q) && value_of(q, F::ata_count) == 1 && !answers.empty() &&
                              memory.size() > at::ata_data) {
                            answers[0].bytes.insert(answers[0].bytes.end(),
                                                    memory.begin() + at::ata_data, memory.end());
                          }
                          if (q.size() > observer::kMinFrameBytes) {
                            memory = q;
                          }
                          return answers;
                        });
                  }));
  Case c;
  c.id = "ata.commands.counts-without-data";
  c.title =
      "Flush, check power and unknown commands with W clear and a count of 1 to 255 are answered "
      "like any other: nothing waits for data, and none comes back";
  c.clauses = {"ATA-FLUSH", "ATA-FORM", "LEAK-READ"};
  c.needs = {Need::second_initiator};
  c.hostile = true;
  c.fails_on = {"ata-flush-count-dies", "ata-power-count-silent", "ata-flush-count-brings-memory"};
  c.run = [](Context& t) {
    for (const uint8_t code : {ata::flush, ata::flush_ext, ata::check_power, uint8_t{0xff}}) {
      for (const uint8_t count : {1, 2, 3, 16, 64, 127, 128, 254, 255}) {
        Frame f = observer::ata_request(code, 0, count);
        f.set(F::ata_flag_write, 0);
        if (!t.may_send(f)) {
          continue;
        }
        if (count == 1) {
          t.plant(t.b());
        }
        t.clause("ATA-FLUSH");
        t.a().send(f);
        t.expect(t.barrier(),
                 fmt::format("a sign of life after command {:#04x} with count {}", code, count),
                 "silence, also to a read of another host");
        t.a().collect(SIZE_MAX, 0);
        const Exchange x = t.a().ask(f);
        t.expect_answer(x);
        t.clause("LEAK-READ");
        t.expect_not_planted(x);
        t.clause("ATA-FORM");
        t.expect(x.reply->size() <= observer::kMinFrameBytes, x,
                 fmt::format("no data in the reply to command {:#04x} with count {}", code, count),
                 fmt::format("{} bytes", x.reply->size()));
      }
    }
    t.expect_good_ata(t.a().ask(read_request(0, 1)));
  };
  r.add(c);
}

void register_lba(Registry& r) {
  r.add(edits_request("ata-28-uses-24", "takes the low 24 bits of a 28-bit LBA", [](Bytes& q) {
    if (is_transfer(q) && (ata_code(q) == ata::read || ata_code(q) == ata::write)) {
      set(q, F::ata_lba, value_of(q, F::ata_lba) & 0xffffff);
    }
  }));
  r.add({.id = "ata.read.bits-24-to-27",
         .title = "Bits 24 to 27 of a 28-bit LBA count: behind the disk they are refused, on it "
                  "they reach another sector",
         .clauses = {"ATA-LBA28"},
         .fails_on = {"ata-28-uses-24"},
         .run = [](Context& c) {
           unsigned asked = 0;
           for (unsigned bit = 24; bit < 28; ++bit) {
             const uint64_t lba = 1ULL << bit;
             if (lba < c.target().sectors) {
               continue;
             }
             ++asked;
             const Exchange x = c.a().ask(read_request(lba, 1, false));
             c.expect(!seen::good_ata(x), x,
                      fmt::format("a refusal: bit {} is behind the disk of {} sectors", bit,
                                  c.target().sectors),
                      "data of a sector with the bit cut off", {F::ata_lba});
             c.expect_ata_error(x, ata::error_idnf);
           }
           if (asked < 4) {
             c.info(fmt::format("the disk holds {} of the four addresses: those were not asked for",
                                4 - asked));
           }
         }});

  r.add(edits_reply("ata-reply-lba-reversed", "returns the LBA most significant byte first",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && reply.size() >= at::ata_data) {
                        uint64_t turned = 0;
                        const uint64_t lba = value_of(reply, F::ata_lba);
                        for (unsigned i = 0; i < 6; ++i) {
                          turned = turned << 8 | (lba >> (8 * i) & 0xff);
                        }
                        set(reply, F::ata_lba, turned);
                      }
                    }));
  r.add(edits_reply("ata-reply-lba-shifted", "returns the LBA one byte too far up",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && reply.size() >= at::ata_data) {
                        set(reply, F::ata_lba,
                            value_of(reply, F::ata_lba) << 8 & 0xffffffffffffULL);
                      }
                    }));
  r.add(
      {.id = "ata.registers.lba-in-the-reply",
       .title = "The LBA registers of a reply name a sector of the request or are empty; their "
                "bytes are not misplaced",
       .clauses = {"ATA-LBA-REPLY"},
       .level = Level::should,
       .fails_on = {"ata-reply-lba-reversed", "ata-reply-lba-shifted"},
       .run = [](Context& c) {
         const uint64_t end = std::min(c.target().sectors, kLba28End);
         for (const bool wide : {true, false}) {
           for (const uint64_t lba : {end - 1, end / 2 + 3, std::min<uint64_t>(0x1234, end - 1)}) {
             const Exchange x = c.a().ask(read_request(lba, 1, wide));
             c.expect_good_ata(x);
             const uint64_t got = x.field(F::ata_lba);
             if (got == lba || got == lba + 1 || got == 0) {
               continue;
             }
             // The device register shares the fourth byte of a 28-bit LBA.
             if (!wide && (got & (kLba28End - 1)) == lba) {
               continue;
             }
             std::array<uint8_t, 6> sent{};
             std::array<uint8_t, 6> came{};
             for (unsigned i = 0; i < 6; ++i) {
               sent[i] = static_cast<uint8_t>(lba >> (8 * i));
               came[i] = static_cast<uint8_t>(got >> (8 * i));
             }
             std::sort(sent.begin(), sent.end());
             std::sort(came.begin(), came.end());
             c.expect(sent != came, x, fmt::format("LBA {:#x}, or none", lba),
                      fmt::format("{:#x}, the same bytes in other places", got), {F::ata_lba});
             c.info("the LBA registers of a reply are neither the request's nor empty");
           }
         }
       }});
}

void register_flush(Registry& r) {
  Deviant lazy;
  lazy.name = "ata-flush-does-not-flush";
  lazy.story = "answers a flush and leaves what was written in memory, where a kill loses it";
  lazy.make = [] { return [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); }; };
  lazy.on_restart = [](ModelTarget& m) { m.disk.clear(); };
  r.add(lazy);
  r.add({.id = "ata.flush.survives-a-kill",
         .title = "What was written before a flush is there after the target was killed at once",
         .clauses = {"ATA-FLUSH"},
         .needs = {Need::write, Need::target_command},
         .fails_on = {"ata-flush-does-not-flush"},
         .run = [](Context& c) {
           for (const bool wide : {true, false}) {
             const uint8_t n = c.sectors_max();
             const uint64_t lba = scratch_lba(c, n);
             const Bytes data = sector_pattern(wide ? 870 : 871, n);
             put_sectors(c, c.a(), lba, data);
             const Exchange flush = c.a().ask(observer::flush_request(wide));
             c.expect_answer(flush);
             // How a flush is answered is asked elsewhere; one that was refused promises nothing.
             if (flush.is_error() ||
                 (flush.field(F::ata_status) & (ata::status_err | ata::status_df)) != 0) {
               c.info(fmt::format("{} is refused", wide ? "FLUSH CACHE EXT" : "FLUSH CACHE"));
               continue;
             }
             c.restart_target(Context::End::crash);
             expect_on_disk(c, c.a(), lba, data, "after a flush and a kill");
           }
         }});
}

}  // namespace

void register_ata_edges(Registry& r) {
  register_counts(r);
  register_lba(r);
  register_flush(r);
}

}  // namespace conformance
