// Family tags: tag_inc_le, tag_inc_be and tag_random, and the window of 32,768 tags that keeps a
// late duplicate of a write from damaging what was written since. The proof is always on the disk:
// a duplicate carries other data than its original. All requests of an initiator under tag_inc
// carry the next tag, reads too, as it has promised.

#include <random>

#include "conformance/cases/families/negotiation.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace)

namespace {

constexpr uint32_t kWindowTags = 32768;
constexpr uint32_t kFirst = 0x1000;

// The same question under both orders of the tag: two cases.
void add_both(Registry& r, Case c, const std::function<void(Context&, Inc)>& ask) {
  const std::string id = c.id;
  const auto more = c.extensions;
  if (std::find(c.needs.begin(), c.needs.end(), Need::write) == c.needs.end()) {
    c.needs.insert(c.needs.begin(), Need::write);
  }
  for (const Inc inc : {Inc::be, Inc::le}) {
    c.id = fmt::format("{}.{}", id, inc == Inc::be ? "be" : "le");
    c.extensions = {"reset", feature(inc)};
    c.extensions.insert(c.extensions.end(), more.begin(), more.end());
    c.run = [ask, inc](Context& t) { ask(t, inc); };
    r.add(c);
  }
}

// Answered as if it had been performed.
void expect_answered_as_done(Context& t, const Exchange& x) {
  t.expect_good_ata(x);
  t.expect_field(x, F::ata_error, 0);
  t.expect_field(x, F::ata_count, 0);
}

void expect_duplicate_rejected(Context& t, Counter& c, uint64_t lba, uint32_t value,
                               BytesView original) {
  expect_answered_as_done(t, c.write(lba, sector_of("duplicate"), value));
  c.expect_disk(lba, original, "the duplicate of a write was performed");
}

// A write that must be performed, whatever its tag.
void expect_performed(Context& t, Counter& c, uint64_t lba, uint32_t value,
                      const std::string& story) {
  const Bytes data = sector_of(fmt::format("performed {:#x}", value));
  const Exchange x = c.write(lba, data, value);
  t.expect(x.answered(), x, story + " is answered", "silence");
  t.expect_good_ata(x);
  c.expect_disk(lba, data, story + " was answered as done and not performed");
}

enum class Fate { silent, performed, answered_only };

// What becomes of a write whose tag lies behind the window.
Fate fate_of(Context& t, Counter& c, uint64_t lba, uint32_t value) {
  const Bytes before = sector_of("before");
  const Bytes late = sector_of("late");
  c.write_new(lba, before);
  const Exchange x = c.write_once(lba, late, value);
  if (x.answered()) {
    t.expect_good_ata(x);
  }
  const Exchange after = c.read(lba);
  t.expect_good_ata(after);
  const Bytes got = after.data();
  t.expect(got == before || got == late, after, "what one of the two writes wrote",
           observer::quoted(got, 24));
  if (got == late) {
    t.expect(x.answered(), x, "an answer to a write that is performed", "silence");
    return Fate::performed;
  }
  return x.answered() ? Fate::answered_only : Fate::silent;
}

// --- Deviants
// --------------------------------------------------------------------------------------

bool windowed(const Session& s) {
  return s.tags == Session::Tags::be || s.tags == Session::Tags::le;
}

uint32_t serial_in(const Bytes& q, const Session& s) {
  return ModelTarget::serial_of(s, static_cast<uint32_t>(*observer::get(q, F::tag)));
}

bool is_duplicate(const Bytes& q, ModelTarget& model) {
  if (!is_write(q)) {
    return false;
  }
  const Session& s = model.sessions[source_of(q)];
  return windowed(s) && s.done.count(serial_in(q, s)) != 0;
}

// The reply to a write that the target takes for done.
Answers as_done(const Bytes& q, const ModelTarget& model) {
  Bytes reply = model.reply_to(q, observer::at::ata_data);
  std::copy_n(q.begin() + observer::at::argument, observer::at::ata_data - observer::at::argument,
              reply.begin() + observer::at::argument);
  observer::set(reply, F::ata_error, 0);
  observer::set(reply, F::ata_count, 0);
  observer::set(reply, F::ata_status, observer::ata::status_drdy);
  return {{reply, 0}};
}

Deviant small_window(uint32_t tags) {
  return beforehand(fmt::format("tag-window-of-{}", tags),
                    fmt::format("remembers the last {} tags only", tags),
                    [tags](const Bytes& q, ModelTarget& model, Session& s) {
                      if (!is_duplicate(q, model)) {
                        return;
                      }
                      for (auto it = s.done.begin(); it != s.done.end();) {
                        it = s.highest - *it >= tags ? s.done.erase(it) : std::next(it);
                      }
                    });
}

Deviant edits_duplicates(std::string name, std::string story,
                         std::function<void(const Bytes&, Bytes&)> edit) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes& q, ModelTarget& model, const Forward& forward) {
        const bool duplicate = is_duplicate(q, model);
        Answers answers = forward(q);
        for (Answer& a : answers) {
          if (duplicate) {
            edit(q, a.bytes);
          }
        }
        return answers;
      });
}

void add_window_deviants(Registry& r) {
  r.add(beforehand("tag-no-window", "performs every write, duplicate or not",
                   [](const Bytes&, ModelTarget&, Session& s) { s.done.clear(); }));
  for (const uint32_t tags : {1U, 1023U, kWindowTags - 1}) {
    r.add(small_window(tags));
  }
  r.add(afterwards("tag-order-swapped",
                   "reads the tag little-endian for tag_inc_be, and the reverse",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_table(q) && windowed(s)) {
                       s.tags = s.tags == Session::Tags::be ? Session::Tags::le : Session::Tags::be;
                     }
                   }));
  r.add(deviants::spoils("tag-compares-plainly",
                         "compares tags as plain numbers: 0 is older than all",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           if (is_write(q) && windowed(s) && !s.window_empty) {
                             const uint32_t serial = serial_in(q, s);
                             if (serial < s.highest && s.highest - serial >= kWindowTags) {
                               return Answers{};
                             }
                           }
                           return forward(q);
                         }));
  r.add(beforehand("tag-forgets-at-the-wrap", "starts an empty window when the counter wraps",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_write(q) && windowed(s)) {
                       const uint32_t serial = serial_in(q, s);
                       if (static_cast<int32_t>(serial - s.highest) > 0 && serial < s.highest) {
                         s.done.clear();
                       }
                     }
                   }));
  r.add(deviants::spoils("tag-highest-only", "takes every tag below the highest for a duplicate",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           const bool old = is_write(q) && windowed(s) && !s.window_empty &&
                                            static_cast<int32_t>(serial_in(q, s) - s.highest) <= 0;
                           return old ? as_done(q, model) : forward(q);
                         }));
  Deviant dirty;
  dirty.name = "tag-window-not-cleared";
  dirty.story =
      "keeps a bit for each tag modulo 32,768 and does not clear it when the window moves on";
  dirty.make = [] {
    auto bits = std::make_shared<std::map<Mac, std::set<uint32_t>>>();
    return [bits](const Bytes& q, ModelTarget& model, const Forward& forward) {
      const Mac from = source_of(q);
      Session& s = model.sessions[from];
      if (is_table(q)) {
        bits->erase(from);
      }
      if (!is_write(q) || !windowed(s)) {
        return forward(q);
      }
      const uint32_t serial = serial_in(q, s);
      const bool old = !s.window_empty && static_cast<int32_t>(serial - s.highest) <= 0;
      if (!(*bits)[from].insert(serial % kWindowTags).second && old) {
        return as_done(q, model);
      }
      return forward(q);
    };
  };
  r.add(dirty);
  r.add(afterwards("tag-zero-is-seen",
                   "begins with a window of zeros, in which tag 0 is remembered",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_table(q) && windowed(s)) {
                       s.window_empty = false;
                       s.highest = 0;
                       s.done = {0};
                     }
                   }));
  r.add(afterwards("tag-zero-not-remembered", "takes tag 0 for no tag",
                   [](const Bytes&, ModelTarget&, Session& s) { s.done.erase(0); }));
}

// --- Cases
// -----------------------------------------------------------------------------------------

void add_duplicates(Registry& r) {
  struct Row {
    const char* id;
    const char* story;
    uint32_t newer;
    bool all_of_them;  // really writes them; otherwise one write with the last of those tags
    std::vector<std::string> fails_on;
  };
  const std::vector<Row> rows = {
      {"at-once", "right behind its original", 0, true, {"tag-no-window"}},
      {"after-1", "after one newer write", 1, true, {"tag-window-of-1", "tag-order-swapped"}},
      {"after-1023", "after 1,023 newer writes", 1023, true, {"tag-window-of-1023"}},
      {"after-32767",
       "after 32,767 newer writes, the last place of the window",
       kWindowTags - 1,
       true,
       {"tag-window-of-32767"}},
      {"after-a-jump-of-32767",
       "after one write whose tag is 32,767 higher",
       kWindowTags - 1,
       false,
       {"tag-window-of-32767", "tag-order-swapped"}},
  };
  for (const Row& row : rows) {
    const bool stress = row.all_of_them && row.newer > 1023;
    add_both(
        r,
        {
            .id = fmt::format("tags.duplicate.{}", row.id),
            .title = fmt::format("A duplicate of a write {} is answered as done and not performed",
                                 row.story),
            .clauses = {"TAG-DUP"},
            .needs = stress ? std::vector{Need::write, Need::stress} : std::vector{Need::write},
            .fails_on = row.fails_on,
        },
        [row](Context& t, Inc inc) {
          Counter c(t, t.a(), inc, kFirst);
          c.negotiate();
          const uint64_t lba = scratch_sector(t, 0);
          const Bytes original = sector_of("original");
          const uint32_t value = c.write_new(lba, original);
          constexpr uint64_t others = 512;
          if (row.all_of_them) {
            scratch_sector(t, others);
            c.write_many(row.newer, lba + 1, others);
          } else {
            c.jump(value + row.newer);
            c.write_new(lba + 1, sector_of("newer"));
          }
          expect_duplicate_rejected(t, c, lba, value, original);
        });
  }

  r.add(edits_duplicates("tag-dup-count-not-zero",
                         "answers a duplicate with the request's sector count",
                         [](const Bytes& q, Bytes& reply) {
                           observer::set(reply, F::ata_count, *observer::get(q, F::ata_count));
                         }));
  r.add(edits_duplicates("tag-dup-refused", "answers a duplicate with error 2",
                         [](const Bytes&, Bytes& reply) {
                           observer::set(reply, F::flag_error, 1);
                           observer::set(reply, F::error, observer::aoe_error::bad_argument);
                         }));
  r.add(
      edits_duplicates("tag-dup-not-ready", "answers a duplicate with status 0",
                       [](const Bytes&, Bytes& reply) { observer::set(reply, F::ata_status, 0); }));
  add_both(
      r,
      {
          .id = "tags.duplicate.reply",
          .title = "A duplicate is answered with DRDY, error 0 and sector count 0, under its tag",
          .clauses = {"TAG-REPLY"},
          .fails_on = {"tag-dup-count-not-zero", "tag-dup-refused", "tag-dup-not-ready"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const uint32_t value = c.write_new(lba, sector_of("original"));
        const Exchange x = c.write(lba, sector_of("duplicate"), value);
        t.expect_no_error(x);
        t.expect_field(x, F::command, observer::command::ata);
        t.expect_field(x, F::ata_status, observer::ata::status_drdy);
        t.expect_field(x, F::ata_error, 0);
        t.expect_field(x, F::ata_count, 0);
        t.expect_field(x, F::tag, c.wire(value));
      });

  r.add(deviants::spoils("tag-dup-not-answered", "is silent to a duplicate",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           return is_duplicate(q, model) ? Answers{} : forward(q);
                         }));
  add_both(r,
           {
               .id = "tags.duplicate.again-and-again",
               .title = "Twenty duplicates of one write are each answered, and none is performed",
               .clauses = {"TAG-DUP"},
               .fails_on = {"tag-no-window", "tag-dup-not-answered"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t value = c.write_new(lba, original);
             constexpr int copies = 20;
             for (int i = 0; i < copies; ++i) {
               expect_answered_as_done(t,
                                       c.write(lba, sector_of(fmt::format("copy {}", i)), value));
             }
             c.expect_disk(lba, original, "a duplicate of a write was performed");
           });

  r.add(deviants::spoils("tag-compares-the-lba-too",
                         "takes a tag for a duplicate only at the same LBA",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (is_duplicate(q, model) && *observer::get(q, F::ata_lba) % 2 == 1) {
                             model.sessions[source_of(q)].done.clear();
                           }
                           return forward(q);
                         }));
  add_both(
      r,
      {
          .id = "tags.duplicate.at-another-lba",
          .title =
              "The tag alone makes a duplicate: the same tag at another LBA writes nothing there",
          .clauses = {"TAG-DUP"},
          .fails_on = {"tag-compares-the-lba-too"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t even = scratch_sector(t, 2) & ~uint64_t{1};
        const Bytes there = sector_of("there before");
        c.write_new(even + 1, there);
        const uint32_t value = c.write_new(even, sector_of("original"));
        expect_answered_as_done(t, c.write(even + 1, sector_of("duplicate"), value));
        c.expect_disk(even + 1, there, "a write under a used tag was performed at another LBA");
      });

  r.add(beforehand("tag-48-bit-only", "keeps no window for 28-bit writes",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_write(q) && observer::get(q, F::ata_command) == observer::ata::write) {
                       s.done.clear();
                     }
                   }));
  add_both(
      r,
      {
          .id = "tags.duplicate.of-a-28-bit-write",
          .title = "28-bit writes are protected like 48-bit ones",
          .clauses = {"TAG-DUP"},
          .fails_on = {"tag-48-bit-only"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        t.needs_scratch_28(1);
        const uint64_t lba = scratch_sector(t, 0);
        const Bytes original = sector_of("original");
        const uint32_t value = c.take();
        t.expect_good_ata(t.a().ask(c.stamp(observer::write_request(lba, original, false), value)));
        expect_answered_as_done(
            t,
            t.a().ask(c.stamp(observer::write_request(lba, sector_of("duplicate"), false), value)));
        c.expect_disk(lba, original, "the duplicate of a 28-bit write was performed");
      });

  r.add(beforehand("tag-one-sector-only", "keeps no window for writes of several sectors",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_write(q) && *observer::get(q, F::ata_count) > 1) {
                       s.done.clear();
                     }
                   }));
  add_both(r,
           {
               .id = "tags.duplicate.of-a-full-frame",
               .title = "A duplicate of the largest write is not performed, in none of its sectors",
               .clauses = {"TAG-DUP"},
               .fails_on = {"tag-one-sector-only"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint8_t sectors = t.sectors_max();
             const uint64_t lba = scratch_sector(t, 0);
             scratch_sector(t, sectors);
             const Bytes original = sector_of("original", sectors);
             const uint32_t value = c.write_new(lba, original);
             expect_answered_as_done(t, c.write(lba, sector_of("duplicate", sectors), value));
             const Exchange x = c.read(lba, sectors);
             t.expect_good_ata(x);
             t.expect_data(x, original);
           });

  r.add(beforehand("tag-async-unprotected", "keeps no window for writes with the A flag",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_write(q) && observer::get(q, F::ata_flag_async) == 1) {
                       s.done.clear();
                     }
                   }));
  add_both(r,
           {
               .id = "tags.duplicate.of-an-asynchronous-write",
               .title = "A write with the A flag is protected like any other",
               .clauses = {"TAG-DUP"},
               .fails_on = {"tag-async-unprotected"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t value = c.take();
             Frame first = observer::write_request(lba, original);
             Frame second = observer::write_request(lba, sector_of("duplicate"));
             t.expect_good_ata(t.a().ask(c.stamp(first.set(F::ata_flag_async, 1), value)));
             expect_answered_as_done(t,
                                     t.a().ask(c.stamp(second.set(F::ata_flag_async, 1), value)));
             c.expect_disk(lba, original, "the duplicate of an asynchronous write was performed");
           });

  Deviant leaky;
  leaky.name = "tag-dup-padded-with-the-frame-before";
  leaky.story = "pads the reply to a duplicate with what another frame left in the buffer";
  leaky.make = [] {
    auto before = std::make_shared<Bytes>();
    return [before](const Bytes& q, ModelTarget& model, const Forward& forward) {
      const bool duplicate = is_duplicate(q, model);
      Answers answers = forward(q);
      for (Answer& a : answers) {
        for (size_t i = a.bytes.size();
             duplicate && i < observer::kMinFrameBytes && i < before->size(); ++i) {
          a.bytes.push_back((*before)[i]);
        }
      }
      if (q.size() > observer::kMinFrameBytes) {
        *before = q;
      }
      return answers;
    };
  };
  r.add(leaky);
  add_both(r,
           {
               .id = "tags.duplicate.reply-carries-nothing-else",
               .title = "Behind the reply to a duplicate stand no bytes of another host",
               .clauses = {"TAG-REPLY"},
               .needs = {Need::write, Need::second_initiator},
               .fails_on = {"tag-dup-padded-with-the-frame-before"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 64);  // plant() writes to the first ones
             const uint32_t value = c.write_new(lba, sector_of("original"));
             t.plant(t.b());
             const Exchange x = c.write(lba, sector_of("duplicate"), value);
             expect_answered_as_done(t, x);
             t.expect_not_planted(x);
             t.expect_clean_padding(x);
           });
}

void add_window(Registry& r) {
  add_both(r,
           {
               .id = "tags.window.behind-it",
               .title = "A duplicate after 32,768 newer writes: silence, or it is performed",
               .clauses = {"TAG-BEHIND"},
               .level = Level::may,
               .needs = {Need::write, Need::stress},
               .fails_on = {"tag-behind-is-performed"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             constexpr uint64_t others = 512;
             scratch_sector(t, others);
             const uint32_t value = c.write_new(lba, sector_of("original"));
             c.write_many(kWindowTags - 1, lba + 1, others);  // fate_of adds one more
             switch (fate_of(t, c, lba, value)) {
               case Fate::silent:
                 t.info("a write behind the window is met with silence");
                 break;
               case Fate::performed:
                 t.info("a write behind the window is performed, as with AoEde");
                 break;
               case Fate::answered_only:
                 t.info("the window remembers more than 32,768 tags");
                 break;
             }
           });
  r.add(deviants::spoils(
      "tag-behind-is-performed", "performs a write behind the window, as AoEde does",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        Session& s = model.sessions[source_of(q)];
        if (is_write(q) && windowed(s) && !s.window_empty &&
            model.judge_tag(s, serial_in(q, s)) == ModelTarget::TagVerdict::behind) {
          s.done.clear();
          s.window_empty = true;
        }
        return forward(q);
      }));
  add_both(r,
           {
               .id = "tags.window.behind-it-and-never-seen",
               .title = "A write behind the window that never came before is not answered as done",
               .clauses = {"TAG-BEHIND", "TAG-ONLY-PERFORMED"},
               .fails_on = {"tag-highest-only"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             c.write_new(lba + 1, sector_of("first"));
             const uint32_t never_sent = c.take();
             c.jump(never_sent + 2 * kWindowTags);
             switch (fate_of(t, c, lba, never_sent)) {
               case Fate::silent:
                 t.info("a write behind the window is met with silence");
                 break;
               case Fate::performed:
                 t.info("a write behind the window is performed, as with AoEde");
                 break;
               case Fate::answered_only:
                 t.fail("a write that was never performed was answered as done",
                        "silence, or the write on the disk", "success, and nothing on the disk");
             }
           });

  add_both(
      r,
      {
          .id = "tags.window.late-first-arrival",
          .title = "A tag that was left out and arrives late, inside the window, is performed once",
          .clauses = {"TAG-GAPS"},
          .fails_on = {"tag-highest-only"},
      },
      [](Context& t, Inc inc) {
        for (const uint32_t distance : {1U, 2U, 31U, 64U, 1000U, kWindowTags - 1}) {
          Counter c(t, t.a(), inc, kFirst);
          c.negotiate();
          const uint64_t lba = scratch_sector(t, 0);
          c.write_new(lba + 1, sector_of("before the gap"));
          const uint32_t late = c.take();
          c.jump(late + distance);
          t.expect_good_ata(c.write(lba + 1, sector_of("behind the gap"), late + distance));
          const Bytes data = sector_of("late");
          const Exchange x = c.write(lba, data, late);
          t.expect(x.answered(), x,
                   fmt::format("a first arrival {} tags late is answered", distance), "silence");
          t.expect_good_ata(x);
          const Exchange again = c.write(lba, sector_of("late again"), late);
          expect_answered_as_done(t, again);
          c.jump(late + distance + 1);
          c.expect_disk(
              lba, data,
              fmt::format("a write that came {} tags late is not what is on the disk", distance));
        }
      });
  add_both(
      r,
      {
          .id = "tags.window.every-gap",
          .title =
              "Of tags that arrive in reverse order each is performed, and its duplicate is not",
          .clauses = {"TAG-GAPS", "TAG-DUP"},
          .fails_on = {"tag-highest-only", "tag-no-window"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        constexpr uint32_t count = 130;  // over two words of any bitmap
        const uint32_t base = c.next();
        const uint64_t lba = scratch_sector(t, 0);
        scratch_sector(t, count);
        for (uint32_t i = count; i-- > 0;) {
          t.expect_good_ata(c.write(lba + i, sector_of(fmt::format("reverse {}", i)), base + i));
        }
        for (uint32_t i = 0; i < count; ++i) {
          expect_answered_as_done(t, c.write(lba + i, sector_of("duplicate"), base + i));
        }
        c.jump(base + count);
        for (uint32_t i = 0; i < count; ++i) {
          c.expect_disk(lba + i, sector_of(fmt::format("reverse {}", i)),
                        fmt::format("tag {:#x} was lost, or its duplicate performed", base + i));
        }
      });
  add_both(r,
           {
               .id = "tags.window.moves-on-clean",
               .title = "Tags 32,768 above used ones are new when they arrive late",
               .clauses = {"TAG-GAPS"},
               .fails_on = {"tag-window-not-cleared"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             constexpr uint32_t count = 10;
             const uint32_t base = c.next();
             for (uint32_t i = 0; i < count; ++i) {
               c.write_new(lba + i, sector_of("old"));
             }
             c.jump(base + kWindowTags + count);
             c.write_new(lba + count, sector_of("far ahead"));
             const uint32_t ahead = c.next();
             for (uint32_t i = 0; i < count; ++i) {
               const Bytes data = sector_of(fmt::format("new {}", i));
               t.expect_good_ata(c.write(lba + i, data, base + kWindowTags + i));
             }
             c.jump(ahead);
             for (uint32_t i = 0; i < count; ++i) {
               c.expect_disk(lba + i, sector_of(fmt::format("new {}", i)),
                             "a new tag was taken for one that stood in its place before");
             }
           });
  add_both(
      r,
      {
          .id = "tags.window.jump-beyond-it",
          .title = "After a jump of more than the window every tag below is new, and new ones too",
          .clauses = {"TAG-GAPS"},
          .fails_on = {"tag-window-not-cleared", "tag-highest-only"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const uint32_t used = c.write_new(lba, sector_of("old"));
        for (const uint32_t jump : {2 * kWindowTags, 5 * kWindowTags, 1U << 30}) {
          // The late tag is the used one modulo the window.
          const uint32_t late = used + jump;
          c.jump(late + 7);
          c.write_new(lba + 1, sector_of("far ahead"));
          expect_performed(t, c, lba, late, "a first arrival behind a jump");
        }
      });
  add_both(
      r,
      {
          .id = "tags.window.random-walk",
          .title =
              "2,000 writes with gaps, late arrivals, duplicates and jumps leave what a model says",
          .clauses = {"TAG-DUP", "TAG-GAPS"},
          .needs = {Need::write, Need::stress},
          .fails_on = {"tag-window-of-1023", "tag-window-not-cleared", "tag-no-window"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, 0xffffe000);  // the walk crosses the wrap
        c.negotiate();
        constexpr uint32_t sectors = 64;
        constexpr int steps = 2000;
        constexpr uint32_t reach =
            kWindowTags - 256;  // behind the window the target has its choice
        const uint64_t lba = scratch_sector(t, 0);
        scratch_sector(t, sectors);
        std::mt19937 random(20090219);  // the same walk each time
        std::map<uint64_t, Bytes> disk;
        std::vector<uint32_t> done;
        const auto was_done = [&](uint32_t value) {
          return std::find(done.begin(), done.end(), value) != done.end();
        };
        for (int step = 0; step < steps; ++step) {
          const uint32_t choice = random() % 100;
          uint32_t value = 0;
          if (choice < 15 && !done.empty()) {
            value = done[random() % done.size()];
          } else if (choice < 40) {
            value = c.next() - 1 - random() % (choice < 25 ? 200 : reach);
          } else {
            c.jump(c.next() + (choice < 60    ? random() % 100
                               : choice == 99 ? random() % (uint64_t{2} * kWindowTags)
                                              : 0));
            value = c.take();
          }
          const uint32_t behind = c.next() - value;
          if (behind > reach) {
            continue;
          }
          const Bytes data = sector_of(fmt::format("step {} tag {:#x}", step, value));
          const uint64_t at = lba + value % sectors;
          expect_answered_as_done(t, c.write(at, data, value));
          if (!was_done(value)) {
            done.push_back(value);
            disk[at] = data;
          }
          if (behind > 1 && disk.count(at) != 0) {
            c.expect_disk(at, disk[at], "a late write was lost, or a duplicate performed");
          }
        }
        for (const auto& [at, data] : disk) {
          c.expect_disk(at, data, "the disk is not what the model says");
        }
      });

  add_both(r,
           {
               .id = "tags.window.begins-anywhere",
               .title = "A new window takes any first tag: 0, 0xffffffff, the middle",
               .clauses = {"TAG-START"},
               .fails_on = {"tag-zero-is-seen"},
           },
           [](Context& t, Inc inc) {
             for (const uint32_t first :
                  {0U, 1U, 0x7fffffffU, 0x80000000U, 0x80000001U, 0xfffffffeU, 0xffffffffU}) {
               Counter c(t, t.a(), inc, first - 1);
               c.negotiate();
               expect_performed(t, c, scratch_sector(t, 0), c.take(),
                                fmt::format("a first write under tag {:#x}", first));
             }
           });
  add_both(r,
           {
               .id = "tags.window.tag-zero",
               .title = "Tag 0 is a tag like any other: performed once, and its duplicate rejected",
               .clauses = {"TAG-START", "TAG-DUP"},
               .fails_on = {"tag-zero-not-remembered", "tag-zero-is-seen"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, 0xffffffff);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             expect_performed(t, c, lba, c.take(), "a first write under tag 0");
             const Exchange x = c.read(lba);
             t.expect_good_ata(x);
             expect_duplicate_rejected(t, c, lba, 0, x.data());
           });

  add_both(r,
           {
               .id = "tags.wrap.new-tags",
               .title = "0 follows 0xffffffff: writes on both sides of the wrap are performed",
               .clauses = {"TAG-WRAP"},
               .fails_on = {"tag-compares-plainly"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, 0xfffffffb);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             constexpr uint32_t writes = 9;
             for (uint32_t i = 0; i < writes; ++i) {
               const uint32_t value = c.take();
               const Exchange x = c.write(lba + i, sector_of(fmt::format("wrap {}", i)), value);
               t.expect(x.answered(), x,
                        fmt::format("a new write under tag {:#x} is answered", value), "silence");
               t.expect_good_ata(x);
             }
             for (uint32_t i = 0; i < writes; ++i) {
               c.expect_disk(lba + i, sector_of(fmt::format("wrap {}", i)),
                             "a new write beside the wrap was not performed");
             }
           });
  add_both(r,
           {
               .id = "tags.wrap.duplicates",
               .title = "A duplicate from before the wrap is rejected after it",
               .clauses = {"TAG-WRAP", "TAG-DUP"},
               .fails_on = {"tag-forgets-at-the-wrap"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, 0xfffffffd);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t first = c.write_new(lba, original);
             const uint32_t second = c.write_new(lba + 1, original);
             c.write_new(lba + 2, sector_of("behind the wrap"));
             c.write_new(lba + 2, sector_of("behind the wrap"));
             expect_duplicate_rejected(t, c, lba, first, original);
             expect_duplicate_rejected(t, c, lba + 1, second, original);
             c.jump(kWindowTags - 10);
             c.write_new(lba + 2, sector_of("nearly a window later"));
             expect_duplicate_rejected(t, c, lba + 1, second, original);
           });
  add_both(r,
           {
               .id = "tags.wrap.late-first-arrival",
               .title = "A tag from before the wrap that was left out is performed after it",
               .clauses = {"TAG-WRAP", "TAG-GAPS"},
               .fails_on = {"tag-highest-only", "tag-compares-plainly"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, 0xfffffff0);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             c.write_new(lba + 1, sector_of("before"));
             const uint32_t late = c.take();
             c.jump(3);
             c.write_new(lba + 1, sector_of("behind"));
             expect_performed(t, c, lba, late, "a first arrival from before the wrap");
           });
}

void add_order(Registry& r) {
  add_both(r,
           {
               .id = "tags.wrong-order.new-writes",
               .title = "Who counts in the other order than it named loses no write",
               .clauses = {"TAG-ONLY-PERFORMED"},
               .fails_on = {"tag-compares-plainly"},
           },
           [](Context& t, Inc inc) {
             Counter named(t, t.a(), inc, kFirst);
             named.negotiate();
             Counter c(t, t.a(), inc == Inc::be ? Inc::le : Inc::be, 0xff80);
             constexpr uint32_t writes = 300;  // over a carry into the second and third byte
             const uint64_t lba = scratch_sector(t, 0);
             scratch_sector(t, writes);
             for (uint32_t i = 0; i < writes; ++i) {
               c.write_new(lba + i, sector_of(fmt::format("write {}", i)));
             }
             for (uint32_t i = 0; i < writes; ++i) {
               c.expect_disk(lba + i, sector_of(fmt::format("write {}", i)),
                             "a new write was taken for a duplicate");
             }
           });
  add_both(r,
           {
               .id = "tags.wrong-order.duplicate-at-once",
               .title = "With the wrong order named the last write is still protected",
               .clauses = {"TAG-DUP"},
               .fails_on = {"tag-no-window"},
           },
           [](Context& t, Inc inc) {
             Counter named(t, t.a(), inc, kFirst);
             named.negotiate();
             Counter c(t, t.a(), inc == Inc::be ? Inc::le : Inc::be, kFirst);
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t value = c.write_new(lba, original);
             expect_answered_as_done(t, c.write(lba, sector_of("duplicate"), value));
             c.expect_disk(lba, original, "the duplicate of the last write was performed");
           });
  add_both(
      r,
      {
          .id = "tags.wrong-order.name-decides",
          .title =
              "The name decides how the tag is read: counted the other way, tags are far apart",
          .clauses = {"TAG-SERIAL"},
          .level = Level::should,
          .fails_on = {"tag-order-swapped"},
      },
      [](Context& t, Inc inc) {
        Counter named(t, t.a(), inc, kFirst);
        named.negotiate();
        Counter c(t, t.a(), inc == Inc::be ? Inc::le : Inc::be, kFirst);
        const uint64_t lba = scratch_sector(t, 0);
        const uint32_t value = c.write_new(lba, sector_of("original"));
        switch (fate_of(t, c, lba, value)) {
          case Fate::silent:
            t.info("a tag of before, counted in the order not named, is met with silence");
            break;
          case Fate::performed:
            t.info("a tag of before, counted in the order not named, is performed");
            break;
          case Fate::answered_only:
            t.fail("the tag is read in the other order than the one named",
                   "silence, or the write performed: the tag lies 2^24 behind",
                   "answered as a duplicate");
        }
      });

  r.add(afterwards("tag-first-order-wins", "of two tag features in a table takes the first",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     const auto asked = is_table(q) ? observer::ext_table(q) : std::nullopt;
                     if (!asked) {
                       return;
                     }
                     for (const std::string& name : asked->strings) {
                       if (name.starts_with("tag_inc")) {
                         s.tags = name == "tag_inc_be" ? Session::Tags::be : Session::Tags::le;
                         return;
                       }
                     }
                   }));
  add_both(r,
           {
               .id = "tags.order.last-one-named",
               .title = "Of both orders in one table the last one named wins",
               .clauses = {"TAG-LAST"},
               .extensions = {"tag_inc_le", "tag_inc_be"},
               .fails_on = {"tag-first-order-wins"},
           },
           [](Context& t, Inc inc) {
             const Inc other = inc == Inc::be ? Inc::le : Inc::be;
             Counter c(t, t.a(), inc, kFirst);
             const Exchange x =
                 t.a().ask(c.stamp(table(t, {"reset", feature(other), feature(inc)}), c.take()));
             const Strings got = strings_of(t, x);
             t.expect(got.size() == 3 && got[2] == upper(feature(inc)), x,
                      "the last one named is active", joined(got));
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t value = c.write_new(lba, original);
             c.write_new(lba + 1, sector_of("newer"));
             expect_duplicate_rejected(t, c, lba, value, original);
             if (got[1] == upper(feature(other))) {
               t.info("the order that did not win comes back in upper case, too");
             }
           });
  add_both(r,
           {
               .id = "tags.order.named-later",
               .title = "A later table with the other order switches over to it",
               .clauses = {"TAG-LAST", "TAG-EMPTY"},
               .extensions = {"tag_inc_le", "tag_inc_be"},
               .fails_on = {"tag-first-table-wins"},
           },
           [](Context& t, Inc inc) {
             Counter before(t, t.a(), inc == Inc::be ? Inc::le : Inc::be, kFirst);
             before.negotiate();
             before.write_new(scratch_sector(t, 0), sector_of("under the other order"));
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate(false);
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("original");
             const uint32_t value = c.write_new(lba, original);
             c.write_new(lba + 1, sector_of("newer"));
             expect_duplicate_rejected(t, c, lba, value, original);
           });
  r.add(deviants::spoils("tag-first-table-wins", "keeps the tag order of the first table",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session::Tags before = model.sessions[source_of(q)].tags;
                           Answers answers = forward(q);
                           Session& s = model.sessions[source_of(q)];
                           if (is_table(q) && !names(q, "reset") && before != Session::Tags::none) {
                             s.tags = before;
                           }
                           return answers;
                         }));
}

void add_others(Registry& r) {
  r.add(deviants::spoils("tag-rejects-reads", "takes a read under a used tag for a duplicate",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           const bool used =
                               is_read(q) && windowed(s) && s.done.count(serial_in(q, s)) != 0;
                           return used ? as_done(q, model) : forward(q);
                         }));
  add_both(
      r,
      {
          .id = "tags.reads.never-rejected",
          .title = "A read is served whatever its tag, also under the tag of a write and twice",
          .clauses = {"TAG-WRITES-ONLY"},
          .fails_on = {"tag-rejects-reads"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const Bytes data = sector_of("to be read");
        const uint32_t value = c.write_new(lba, data);
        constexpr int times = 3;
        for (int i = 0; i < times; ++i) {
          const Exchange x = t.a().ask(c.stamp(observer::read_request(lba, 1), value));
          t.expect_good_ata(x);
          t.expect_data(x, data);
        }
        const uint32_t read = c.take();
        for (int i = 0; i < times; ++i) {
          t.expect_data(t.a().ask(c.stamp(observer::read_request(lba, 1), read)), data);
        }
      });

  r.add(deviants::spoils("tag-rejects-all-commands", "is silent to other commands under a used tag",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           const bool used = q.size() >= observer::at::argument && !is_write(q) &&
                                             !is_read(q) && windowed(s) &&
                                             s.done.count(serial_in(q, s)) != 0;
                           return used ? Answers{} : forward(q);
                         }));
  add_both(
      r,
      {
          .id = "tags.other-commands.never-rejected",
          .title = "Identify and the list commands are served under the tag of a write",
          .clauses = {"TAG-WRITES-ONLY"},
          .fails_on = {"tag-rejects-all-commands"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint32_t value = c.write_new(scratch_sector(t, 0), sector_of("written"));
        const Exchange identify = t.a().ask(c.stamp(observer::identify_request(), value));
        t.expect_good_ata(identify);
        t.expect(identify.reply->size() >= observer::at::ata_data + observer::kSectorBytes,
                 identify, "identify data", fmt::format("{} bytes", identify.reply->size()));
        const Exchange reserve =
            t.a().ask(c.stamp(observer::reserve_request(observer::rcmd::read), value));
        t.expect_answer(reserve);
        // Last, for it may reset the session.
        t.expect_answer(t.a().ask(c.stamp(observer::config_request(observer::ccmd::read), value)));
      });

  r.add(afterwards("tag-reads-mark", "remembers the tags of reads",
                   [](const Bytes& q, ModelTarget& model, Session& s) {
                     if (is_read(q) && windowed(s)) {
                       model.remember_tag(s, serial_in(q, s));
                     }
                   }));
  add_both(
      r,
      {
          .id = "tags.reads.do-not-mark",
          .title =
              "A write under the tag of a read is performed: only performed writes are remembered",
          .clauses = {"TAG-ONLY-PERFORMED"},
          .fails_on = {"tag-reads-mark"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        c.write_new(lba, sector_of("before"));
        const uint32_t value = c.take();
        t.expect_good_ata(t.a().ask(c.stamp(observer::read_request(lba, 1), value)));
        expect_performed(t, c, lba, value, "a write under the tag of a read");
      });
}

void add_in_flight(Registry& r) {
  Deviant forgets;
  forgets.name = "tag-forgets-writes-in-flight";
  forgets.story = "performs a duplicate that comes while its original is in flight";
  forgets.make = [] {
    auto last = std::make_shared<std::vector<uint32_t>>();
    return [last](const Bytes& q, ModelTarget& model, const Forward& forward) {
      if (is_write(q)) {
        Session& s = model.sessions[source_of(q)];
        const auto tag = static_cast<uint32_t>(*observer::get(q, F::tag));
        if (std::find(last->begin(), last->end(), tag) != last->end()) {
          s.done.erase(serial_in(q, s));
        }
        last->push_back(tag);
      } else {
        last->clear();  // whatever else is asked, the disk had time
      }
      return forward(q);
    };
  };
  r.add(forgets);
  add_both(
      r,
      {
          .id = "tags.in-flight.duplicate",
          .title = "A duplicate right behind its original, before any answer, is not performed",
          .clauses = {"TAG-IN-FLIGHT"},
          .fails_on = {"tag-forgets-writes-in-flight"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const Bytes original = sector_of("original");
        constexpr int pairs = 32;
        for (int i = 0; i < pairs; ++i) {
          const uint32_t value = c.take();
          const Frame second = c.stamp(observer::write_request(lba, sector_of("duplicate")), value);
          t.a().collect(SIZE_MAX, 0);
          t.a().send(c.stamp(observer::write_request(lba, original), value));
          t.a().send(second);
          // The first answer of either says that the original is on disk: so it must be there now.
          const auto first = t.a().await_tag(c.wire(value), t.patience_ns());
          if (!first) {
            expect_answered_as_done(t, t.a().ask(second));
          }
          const Exchange x = c.read(lba);
          t.expect_good_ata(x);
          t.expect(x.data() == original, x, "the original's data once either was answered",
                   observer::quoted(x.data(), 24),
                   {observer::Mark(observer::at::ata_data, observer::kSectorBytes)});
          t.barrier();
        }
        c.expect_disk(lba, original, "a duplicate in flight was performed");
      });
  add_both(r,
           {
               .id = "tags.in-flight.eight-copies",
               .title = "Of eight copies of a write sent at once only the first is performed",
               .clauses = {"TAG-IN-FLIGHT"},
               .fails_on = {"tag-forgets-writes-in-flight"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             constexpr int copies = 8;
             constexpr int rounds = 8;
             for (int round = 0; round < rounds; ++round) {
               const uint32_t value = c.take();
               for (int i = 0; i < copies; ++i) {
                 t.a().send(c.stamp(
                     observer::write_request(lba, sector_of(fmt::format("copy {}", i))), value));
               }
               if (!t.a().await_tag(c.wire(value), t.patience_ns())) {
                 expect_answered_as_done(t, c.write(lba, sector_of("copy 0"), value));
               }
               t.barrier();
               c.expect_disk(lba, sector_of("copy 0"), "a copy of a write in flight was performed");
             }
           });
  add_both(
      r,
      {
          .id = "tags.in-flight.burst-sent-twice",
          .title = "A burst of writes, sent whole and again with other data, leaves the first data",
          .clauses = {"TAG-IN-FLIGHT"},
          .fails_on = {"tag-forgets-writes-in-flight"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const auto count =
            static_cast<uint32_t>(std::clamp<uint64_t>(t.target().buffer_count / 2, 1, 32));
        const uint32_t base = c.next();
        c.jump(base + count);
        for (const char* story : {"original", "duplicate"}) {
          for (uint32_t i = 0; i < count; ++i) {
            t.a().send(c.stamp(observer::write_request(lba + i, sector_of(story)), base + i));
          }
        }
        std::set<uint32_t> answered;
        for (const auto& reply : t.a().collect(size_t{2} * count, t.patience_ns())) {
          answered.insert(static_cast<uint32_t>(*observer::get(reply.bytes, F::tag)));
        }
        for (uint32_t i = 0; i < count; ++i) {
          if (answered.count(c.wire(base + i)) == 0) {
            t.inconclusive(
                fmt::format("neither of two writes under tag {:#x} was answered: the "
                            "target or the link loses a burst of {} frames",
                            base + i, 2 * count));
          }
        }
        for (uint32_t i = 0; i < count; ++i) {
          c.expect_disk(lba + i, sector_of("original"), "a duplicate in flight was performed");
        }
      });

  Deviant reorders;
  reorders.name = "tag-reorders-overlapping-writes";
  reorders.story = "lets the first of two writes of one sector reach the disk last";
  reorders.make = [] {
    auto before = std::make_shared<Bytes>();
    return [before](const Bytes& q, ModelTarget& model, const Forward& forward) {
      Answers answers = forward(q);
      if (is_write(q) && is_write(*before) &&
          observer::get(q, F::ata_lba) == observer::get(*before, F::ata_lba)) {
        model.disk[*observer::get(q, F::ata_lba)] =
            Bytes(before->begin() + observer::at::ata_data,
                  before->begin() + observer::at::ata_data + observer::kSectorBytes);
      }
      *before = q;
      return answers;
    };
  };
  r.add(reorders);
  add_both(
      r,
      {
          .id = "tags.in-flight.overlapping-writes",
          .title = "Two new writes of one sector, both in flight, reach the disk in their order",
          .clauses = {"TAG-OVERLAP"},
          .fails_on = {"tag-reorders-overlapping-writes"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        constexpr int pairs = 32;
        for (int i = 0; i < pairs; ++i) {
          const uint32_t first = c.take();
          const uint32_t second = c.take();
          t.a().send(c.stamp(observer::write_request(lba, sector_of("earlier")), first));
          t.a().send(c.stamp(observer::write_request(lba, sector_of("later")), second));
          const auto answers = t.a().collect(2, t.patience_ns());
          if (answers.size() != 2) {
            t.inconclusive("one of two writes was not answered");
          }
          c.expect_disk(lba, sector_of("later"), "the earlier of two writes reached the disk last");
        }
      });
}

void add_failed(Registry& r) {
  r.add(deviants::spoils("tag-remembers-failed-writes",
                         "remembers the tag of a write that it refused",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           Session& s = model.sessions[source_of(q)];
                           if (is_write(q) && windowed(s)) {
                             model.remember_tag(s, serial_in(q, s));
                           }
                           return answers;
                         }));
  // A refusal that is answered from the window on its repetition.
  r.add(deviants::spoils("tag-asks-the-window-first",
                         "answers from the window before it checks anything",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Session& s = model.sessions[source_of(q)];
                           if (!is_write(q) || !windowed(s)) {
                             return forward(q);
                           }
                           const uint32_t serial = serial_in(q, s);
                           if (s.done.count(serial) != 0) {
                             return as_done(q, model);
                           }
                           Answers answers = forward(q);
                           model.remember_tag(model.sessions[source_of(q)], serial);
                           return answers;
                         }));
  struct Row {
    const char* id;
    const char* story;
    std::function<Frame(Context&)> frame;
  };
  const std::vector<Row> rows = {
      {"past-the-end", "past the end",
       [](Context& t) { return observer::write_request(t.target().sectors, sector_of("beyond")); }},
      {"across-the-end", "that crosses the end",
       [](Context& t) {
         const uint64_t last = t.target().sectors - 1;
         Bytes data = sector_of("beyond", 2);
         if (!t.scratch().holds(last, 1)) {  // should it be performed, it does no harm
           const Bytes there = t.may_rewrite(t.b(), last);
           std::copy(there.begin(), there.end(), data.begin());
         }
         return observer::write_request(last, data);
       }},
      {"too-many-sectors", "of more sectors than the target takes",
       [](Context& t) {
         Frame frame =
             observer::write_request(t.scratch().lba, sector_of("too many", t.sectors_max()));
         return frame.set(F::ata_count, 255);
       }},
      {"short-payload", "with less data than its count says",
       [](Context& t) {
         Frame frame = observer::write_request(t.scratch().lba, sector_of("too short"));
         return frame.set(F::ata_count, 2);
       }},
  };
  for (const Row& row : rows) {
    add_both(r,
             {
                 .id = fmt::format("tags.failed.{}", row.id),
                 .title = fmt::format(
                     "A write {} is not remembered: its repetition fails too, and a good "
                     "write under its tag is performed",
                     row.story),
                 .clauses = {"TAG-ONLY-PERFORMED"},
                 .fails_on = {"tag-remembers-failed-writes", "tag-asks-the-window-first"},
             },
             [row](Context& t, Inc inc) {
               Counter c(t, t.a(), inc, kFirst);
               c.negotiate();
               const uint64_t lba = scratch_sector(t, 0);
               c.write_new(lba, sector_of("before"));
               const uint32_t value = c.take();
               const auto attempt = [&] { return t.a().ask_once(c.stamp(row.frame(t), value)); };
               const Exchange first = attempt();
               if (seen::good_ata(first)) {
                 t.inconclusive("the write that should fail was performed");
               }
               const Exchange second = attempt();
               t.expect(!seen::good_ata(second), second,
                        "the repetition of a failed write fails as well", "success");
               expect_performed(t, c, lba, value, "a good write under the tag of a failed one");
             });
  }

  add_both(
      r,
      {
          .id = "tags.failed.reserved",
          .title = "A write refused with error 6 is not remembered: its retry is performed after "
                   "the release",
          .clauses = {"TAG-ONLY-PERFORMED"},
          .needs = {Need::write, Need::lockout, Need::second_initiator},
          .fails_on = {"tag-remembers-failed-writes"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        c.write_new(lba, sector_of("before"));
        t.after([&t] { t.b().ask(observer::reserve_request(observer::rcmd::force_set)); });
        const Exchange reserve =
            t.b().ask(observer::reserve_request(observer::rcmd::set, {t.b().mac()}));
        t.unsupported_if_refused(reserve);
        t.expect_no_error(reserve);
        const uint32_t value = c.take();
        t.expect_error(c.write(lba, sector_of("while reserved"), value),
                       observer::aoe_error::reserved);
        t.expect_error(c.write(lba, sector_of("while reserved"), value),
                       observer::aoe_error::reserved);
        t.expect_no_error(t.b().ask(observer::reserve_request(observer::rcmd::set)));
        expect_performed(t, c, lba, value, "the retry of a write that was refused with error 6");
      });
}

void add_ends(Registry& r) {
  add_both(r,
           {
               .id = "tags.initiators.same-tags",
               .title = "Two initiators with the same tags: each has its own window",
               .clauses = {"TAG-OWN"},
               .needs = {Need::write, Need::second_initiator},
               .fails_on = {"ext-one-session-for-all"},
           },
           [](Context& t, Inc inc) {
             Counter a(t, t.a(), inc, kFirst);
             Counter b(t, t.b(), inc, kFirst);
             a.negotiate();
             b.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const uint32_t value = a.write_new(lba, sector_of("of a"));
             expect_performed(t, b, lba + 1, value, "another initiator's write under the same tag");
             expect_duplicate_rejected(t, a, lba, value, sector_of("of a"));
           });
  add_both(r,
           {
               .id = "tags.initiators.far-ahead",
               .title = "One initiator's tags do not move another's window",
               .clauses = {"TAG-OWN"},
               .needs = {Need::write, Need::second_initiator},
               .fails_on = {"ext-one-session-for-all"},
           },
           [](Context& t, Inc inc) {
             Counter a(t, t.a(), inc, kFirst);
             Counter b(t, t.b(), inc, kFirst + 4 * kWindowTags);
             a.negotiate();
             b.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const Bytes original = sector_of("of a");
             const uint32_t value = a.write_new(lba, original);
             b.write_new(lba + 1, sector_of("of b, far ahead"));
             expect_duplicate_rejected(t, a, lba, value, original);
             expect_performed(t, a, lba, a.take(), "the next write");
           });
  r.add(beforehand("tag-protects-everybody", "keeps a window for who never asked for one",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_write(q) && s.tags == Session::Tags::none) {
                       s.tags = Session::Tags::be;
                     }
                   }));
  r.add({
      .id = "tags.initiators.plain",
      .title = "A plain initiator may use a tag twice: both writes are performed",
      .clauses = {"TAG-PLAIN"},
      .needs = {Need::write},
      .extensions = {"reset"},
      .fails_on = {"tag-protects-everybody"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset"});
            const uint64_t lba = scratch_sector(t, 0);
            for (const char* story : {"first", "second"}) {
              t.expect_good_ata(
                  t.a().ask(observer::write_request(lba, sector_of(story)).set(F::tag, kFirst)));
            }
            t.expect_data(t.a().ask(observer::read_request(lba, 1)), sector_of("second"));
          },
  });

  r.add(deviants::spoils("tag-reset-keeps-the-window", "does not end the protection at `reset`",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (!names(q, "reset")) {
                             return forward(q);
                           }
                           const Session before = model.sessions[source_of(q)];
                           Answers answers = forward(q);
                           Session& s = model.sessions[source_of(q)];
                           if (windowed(before)) {
                             const bool again = windowed(s);
                             s = before;
                             s.tags = again ? s.tags : before.tags;
                           }
                           return answers;
                         }));
  add_both(r,
           {
               .id = "tags.reset.ends-the-window",
               .title = "After `reset` a used tag is performed again",
               .clauses = {"TAG-EMPTY", "EXT-RESET"},
               .fails_on = {"tag-reset-keeps-the-window"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const uint32_t value = c.write_new(lba, sector_of("original"));
             negotiate(t, t.a(), {"reset"});
             expect_performed(t, c, lba, value, "a write after reset");
           });
  add_both(
      r,
      {
          .id = "tags.reset.and-again",
          .title = "After `reset` and a new tag_inc the window is empty: a used tag is performed",
          .clauses = {"TAG-EMPTY"},
          .fails_on = {"tag-reset-keeps-the-window"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        const uint32_t value = c.write_new(lba, sector_of("original"));
        c.negotiate();
        expect_performed(t, c, lba, value, "a write under a tag of before the reset");
        const Exchange x = c.read(lba);
        expect_duplicate_rejected(t, c, lba, value, x.data());
      });
  r.add(deviants::spoils("tag-window-survives-negotiation",
                         "keeps its window when tag_inc is named again",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (!is_table(q) || names(q, "reset")) {
                             return forward(q);
                           }
                           const Session before = model.sessions[source_of(q)];
                           Answers answers = forward(q);
                           Session& s = model.sessions[source_of(q)];
                           if (windowed(before) && windowed(s)) {
                             s = before;
                           }
                           return answers;
                         }));
  add_both(r,
           {
               .id = "tags.negotiated-again",
               .title = "Naming tag_inc again, without `reset`, starts an empty window",
               .clauses = {"TAG-EMPTY"},
               .fails_on = {"tag-window-survives-negotiation"},
           },
           [](Context& t, Inc inc) {
             Counter c(t, t.a(), inc, kFirst);
             c.negotiate();
             const uint64_t lba = scratch_sector(t, 0);
             const uint32_t value = c.write_new(lba, sector_of("original"));
             c.negotiate(false);
             expect_performed(t, c, lba, value, "a write under a tag of the window before");
           });

  r.add(afterwards("tag-random-rejects", "takes tag_random for tag_inc_be",
                   [](const Bytes&, ModelTarget&, Session& s) {
                     if (s.tags == Session::Tags::random) {
                       s.tags = Session::Tags::be;
                     }
                   }));
  r.add({
      .id = "tags.random.rejects-nothing",
      .title =
          "Under tag_random a write under a used tag is performed once its original was answered",
      .clauses = {"TAG-RANDOM"},
      .needs = {Need::write},
      .extensions = {"tag_random"},
      .fails_on = {"tag-random-rejects"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "tag_random"});
            const uint64_t lba = scratch_sector(t, 0);
            for (const uint32_t tag : {0U, 7U, 0x80000000U, 5U}) {
              for (const char* story : {"first", "second"}) {
                t.expect_good_ata(
                    t.a().ask(observer::write_request(lba, sector_of(story)).set(F::tag, tag)));
                t.barrier();  // nothing of it waits in the receive ring any more
              }
              t.expect_data(t.a().ask(observer::read_request(lba, 1)), sector_of("second"));
            }
          },
  });
  r.add(deviants::spoils("tag-random-drops-by-half", "takes tags apart in their lowest byte only",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           const bool drop = is_write(q) && s.tags == Session::Tags::random &&
                                             *observer::get(q, F::tag) % 2 == 1;
                           return drop ? Answers{} : forward(q);
                         }));
  r.add({
      .id = "tags.random.any-order",
      .title = "Under tag_random distinct tags in any order, near and far, are all performed",
      .clauses = {"TAG-RANDOM"},
      .needs = {Need::write},
      .extensions = {"tag_random"},
      .fails_on = {"tag-random-drops-by-half"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "tag_random"});
            std::mt19937 random(1);
            const uint64_t lba = scratch_sector(t, 0);
            constexpr uint32_t writes = 64;
            for (uint32_t i = 0; i < writes; ++i) {
              const auto tag = static_cast<uint32_t>(random());
              const Exchange x =
                  t.a().ask(observer::write_request(lba + i, sector_of(fmt::format("random {}", i)))
                                .set(F::tag, tag));
              t.expect(x.answered(), x, "an answer to a write under a new tag", "silence");
              t.expect_good_ata(x);
            }
            for (uint32_t i = 0; i < writes; ++i) {
              t.expect_data(t.a().ask(observer::read_request(lba + i, 1)),
                            sector_of(fmt::format("random {}", i)));
            }
          },
  });
}

void add_config(Registry& r) {
  r.add(deviants::spoils("tag-config-keeps-the-session",
                         "lets a session outlive every config command",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (!is_command(q, observer::command::config)) {
                             return forward(q);
                           }
                           const Session before = model.sessions[source_of(q)];
                           Answers answers = forward(q);
                           model.sessions[source_of(q)] = before;
                           return answers;
                         }));
  struct Row {
    const char* id;
    const char* story;
    bool must_reset;
    std::function<Frame(const std::string& present)> frame;
    bool answered;
  };
  const std::vector<Row> rows = {
      {"read", "a config read", false,
       [](const std::string&) { return observer::config_request(observer::ccmd::read); }, true},
      {"test", "a config test that matches", false,
       [](const std::string& p) { return observer::config_request(observer::ccmd::test, p); },
       true},
      {"test-without-answer", "a config test that does not match", false,
       [](const std::string&) { return observer::config_request(observer::ccmd::test, "another"); },
       false},
      {"prefix", "a prefix test that matches", false,
       [](const std::string& p) {
         return observer::config_request(observer::ccmd::prefix, p.substr(0, 3));
       },
       true},
      {"set-refused", "a set that is refused", false,
       [](const std::string&) { return observer::config_request(observer::ccmd::set, "another"); },
       true},
      {"set", "a set that succeeds", true,
       [](const std::string&) { return observer::config_request(observer::ccmd::set, "set here"); },
       true},
      {"force-set", "a force set", true,
       [](const std::string&) {
         return observer::config_request(observer::ccmd::force_set, "forced");
       },
       true},
  };
  for (const Row& row : rows) {
    add_both(r,
             {
                 .id = fmt::format("tags.config.{}", row.id),
                 .title = row.must_reset
                              ? fmt::format(
                                    "After {} its sender is plain again: a used tag is performed",
                                    row.story)
                              : fmt::format("Whether {} ends the window of its sender", row.story),
                 .clauses = {row.must_reset ? "TAG-CONFIG" : "TAG-CONFIG-ANY"},
                 .level = row.must_reset ? Level::must : Level::may,
                 .needs = {Need::write, Need::config},
                 .fails_on = {"tag-config-keeps-the-session"},
             },
             [row](Context& t, Inc inc) {
               Counter c(t, t.a(), inc, kFirst);
               const std::string present = std::string(row.id) == "set" ? "" : "conformance";
               t.expect_no_error(
                   t.a().ask(observer::config_request(observer::ccmd::force_set, present)));
               c.negotiate();
               const uint64_t lba = scratch_sector(t, 0);
               const uint32_t value = c.write_new(lba, sector_of("original"));
               const Exchange config = t.a().ask_once(c.stamp(row.frame(present), c.take()));
               if (row.must_reset) {
                 t.expect_no_error(config);
               }
               if (config.answered() != row.answered) {
                 t.inconclusive("the config command was not answered as it should be");
               }
               const Bytes again = sector_of("again");
               t.expect_good_ata(c.write(lba, again, value));
               const Exchange x = c.read(lba);
               t.expect_good_ata(x);
               const bool reset = x.data() == again;
               if (row.must_reset) {
                 t.expect(reset, x, "the session is reset: the write is performed",
                          "the write was answered as a duplicate");
               } else {
                 t.info(reset ? fmt::format("{} resets the session, as the wiki says", row.story)
                              : fmt::format("{} leaves the session, as the AoEde program does",
                                            row.story));
               }
             });
  }
}

// What moves a window, and what does not; its edges to the tag; who must not get past it.
void add_edges(Registry& r) {
  r.add(afterwards("tag-old-read-restarts", "takes a read with an older tag for a restart",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_read(q) && windowed(s) && !s.window_empty &&
                         static_cast<int32_t>(serial_in(q, s) - s.highest) < 0) {
                       s.done.clear();
                       s.window_empty = true;
                     }
                   }));
  r.add(afterwards("tag-read-moves-window", "moves the window on with the tags of reads",
                   [](const Bytes& q, ModelTarget&, Session& s) {
                     if (is_read(q) && windowed(s) && !s.window_empty &&
                         static_cast<int32_t>(serial_in(q, s) - s.highest) > 0) {
                       s.highest = serial_in(q, s);
                     }
                   }));
  const auto survives = [](const char* story, uint32_t (*tag_of_the_read)(uint32_t)) {
    return [story, tag_of_the_read](Context& t, Inc inc) {
      Counter c(t, t.a(), inc, kFirst);
      c.negotiate();
      const uint64_t lba = scratch_sector(t, 0);
      const Bytes original = sector_of("original");
      const uint32_t value = c.write_new(lba, original);
      const Exchange read =
          t.a().ask(c.stamp(observer::read_request(lba, 1), tag_of_the_read(value)));
      t.expect(read.answered(), read, story, "silence");
      t.expect_good_ata(read);
      c.jump(value + 1);
      expect_duplicate_rejected(t, c, lba, value, original);
    };
  };
  add_both(r,
           {
               .id = "tags.window.older-read-leaves-it",
               .title = "A read with an older tag is answered, and the window stays as it is",
               .clauses = {"TAG-DUP", "TAG-WRITES-ONLY"},
               .fails_on = {"tag-old-read-restarts"},
           },
           survives("a read with an older tag is answered", [](uint32_t v) { return v - 100; }));
  add_both(
      r,
      {
          .id = "tags.window.newer-read-leaves-it",
          .title = "A read whose tag is 32,769 ahead does not push writes out of the window",
          .clauses = {"TAG-DUP", "TAG-WRITES-ONLY"},
          .fails_on = {"tag-read-moves-window"},
      },
      survives("a read far ahead is answered", [](uint32_t v) { return v + kWindowTags + 1; }));
  r.add(deviants::spoils("tag-edge-is-done",
                         "answers a first arrival 32,768 tags behind the newest as done",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const Session& s = model.sessions[source_of(q)];
                           return is_write(q) && windowed(s) && !s.window_empty &&
                                          s.highest - serial_in(q, s) == kWindowTags
                                      ? as_done(q, model)
                                      : forward(q);
                         }));
  add_both(
      r,
      {
          .id = "tags.window.edge-of-32768",
          .title = "Exactly 32,768 behind the newest tag a first arrival is silent or performed, "
                   "one nearer it is performed",
          .clauses = {"TAG-ONLY-PERFORMED", "TAG-GAPS"},
          .fails_on = {"tag-edge-is-done"},
      },
      [](Context& t, Inc inc) {
        Counter c(t, t.a(), inc, kFirst);
        c.negotiate();
        const uint64_t lba = scratch_sector(t, 0);
        scratch_sector(t, 1);
        c.write_new(lba + 1, sector_of("first"));
        const uint32_t newest = c.next() + kWindowTags + 10;
        c.jump(newest);
        c.write_new(lba + 1, sector_of("newest"));
        const Bytes near = sector_of("near");
        t.clause("TAG-GAPS");
        const Exchange x = c.write(lba, near, newest - (kWindowTags - 1));
        t.expect(x.answered(), x, "a first arrival 32,767 behind the newest is answered",
                 "silence");
        t.expect_good_ata(x);
        c.jump(newest + 1);
        c.expect_disk(lba, near, "a first arrival inside the window was not performed");
        t.clause("TAG-ONLY-PERFORMED");
        const Bytes edge = sector_of("edge");
        const Exchange y = c.write_once(lba, edge, newest - kWindowTags);
        const Exchange after = c.read(lba);
        t.expect_good_ata(after);
        t.expect(!y.answered() || !seen::good_ata(y) || after.data() == edge, y,
                 "silence, or a write that is performed", "success, and nothing on the disk");
        t.info(y.answered() ? "a write 32,768 behind is performed, as with AoEde"
                            : "a write 32,768 behind is met with silence");
      });

  r.add(deviants::spoils("tag-duplicate-before-access",
                         "answers a duplicate before it looks at who may ask",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           return is_duplicate(q, model) ? as_done(q, model) : forward(q);
                         }));
  Case locked_out{
      .id = "tags.duplicate.of-a-host-without-reservation",
      .title =
          "A duplicate of a write that was done, from a host that a reservation shuts out by "
          "now, gets error 6 and no success",
      .clauses = {"RES-ATA"},
      .needs = {Need::write, Need::lockout, Need::second_initiator},
      .fails_on = {"tag-duplicate-before-access"},
  };
  add_both(r, locked_out, [](Context& t, Inc inc) {
    using Macs = std::vector<Mac>;
    const Exchange before = t.b().ask(observer::reserve_request(observer::rcmd::read));
    t.unsupported_if_refused(before, true);
    t.expect_no_error(before);
    Counter c(t, t.a(), inc, kFirst);
    c.negotiate();
    const uint64_t lba = scratch_sector(t, 0);
    const Bytes original = sector_of("original");
    const uint32_t value = c.write_new(lba, original);
    t.after([&t, list = observer::reserve_list(*before.reply).value_or(Macs{})] {
      t.b().ask(observer::reserve_request(observer::rcmd::force_set, list));
    });
    t.expect_no_error(
        t.b().ask(observer::reserve_request(observer::rcmd::force_set, {t.b().mac()})));
    t.expect_error(c.write(lba, sector_of("duplicate"), value), observer::aoe_error::reserved);
  });

  Case masked_out{
      .id = "tags.duplicate.of-a-host-off-the-mask-list",
      .title =
          "A duplicate of a write that was done, from a host that is not on the mask list by "
          "now, meets silence",
      .clauses = {"MASK-LOCK"},
      .needs = {Need::write, Need::lockout, Need::second_initiator},
      .fails_on = {"tag-duplicate-before-access"},
  };
  add_both(r, masked_out, [](Context& t, Inc inc) {
    using Directives = std::vector<observer::Directive>;
    const Exchange before = t.b().ask(observer::mask_request(observer::mcmd::read));
    t.unsupported_if_refused(before, true);
    t.expect_no_error(before);
    if (!observer::mask_list(*before.reply).value_or(Directives{}).empty()) {
      t.inconclusive("a mask list is there already: who is on it is the user's");
    }
    Counter c(t, t.a(), inc, kFirst);
    c.negotiate();
    const uint64_t lba = scratch_sector(t, 0);
    const Bytes original = sector_of("original");
    const uint32_t value = c.write_new(lba, original);
    const auto edit = [&t](uint8_t what) {
      return t.b().ask(observer::mask_request(observer::mcmd::edit,
                                              {{0, what, t.prober_mac()}, {0, what, t.b().mac()}}));
    };
    t.after([edit] { edit(observer::dcmd::del); });
    t.expect_no_error(edit(observer::dcmd::add));
    t.expect_silence(t.a(), c.stamp(observer::write_request(lba, sector_of("duplicate")), value));
    const Exchange now = t.b().ask(observer::read_request(lba, 1));
    t.expect_good_ata(now);
    t.expect_data(now, original);
  });
}

}  // namespace

void register_tags(Registry& r) {
  add_window_deviants(r);
  add_duplicates(r);
  add_window(r);
  add_order(r);
  add_others(r);
  add_in_flight(r);
  add_failed(r);
  add_ends(r);
  add_config(r);
  add_edges(r);
}

}  // namespace conformance
