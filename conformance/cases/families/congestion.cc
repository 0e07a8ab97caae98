// Family congestion: the probe that makes a target stop taking frames for half a second, so that
// its initiator can count how many requests the target's buffers hold. Each pause costs half a
// second of the run: a case asks what it can in one.

#include "conformance/cases/families/burst.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace)
using links::kNsPerMs;

namespace {

// A reply cannot leave before the pause is over, so it may be early only by the clocks: one tick of
// the slowest kernel timer (100 a second). It may be late by the scheduling of two programs, five
// such ticks; later than that counts when it happens twice.
constexpr int64_t kEarlyNs = 10 * kNsPerMs;
constexpr int64_t kLateNs = 50 * kNsPerMs;
// What is answered within this was not held back: a tenth of the pause.
constexpr int64_t kAtOnceNs = kPauseNs / 10;
constexpr size_t kManyProbes = 1000;

std::string ms(int64_t ns) {
  return fmt::format("{:.1f} ms", static_cast<double>(ns) / kNsPerMs);
}

size_t few_probes(const Context& t) {
  return std::clamp<size_t>(t.target().buffer_count, 2, 32);
}

// The burst's pause, when there was one; fails the case otherwise.
// Copies are kept back (links/ledger.h): whose they are is the whole run's question.
void tell_copies(Context& t, uint64_t before) {
  if (t.ledger().counts().repeated > before) {
    t.info(
        "an answer to a probe came twice: from one end nobody can tell whether target or link "
        "doubled it");
  }
}

void expect_paused(Context& t, const Burst& burst) {
  if (burst.replies.empty()) {
    t.fail("no congestion probe was answered", "the first one, after half a second", "silence");
  }
  t.expect(burst.name(t) == "CONGESTION", "the first probe comes back as \"CONGESTION\"",
           observer::quoted(burst.name(t)));
  const int64_t pause_ns = burst.pause_ns().value_or(0);
  t.expect(pause_ns >= kPauseNs - kEarlyNs,
           "the first probe with a new id is answered after the pause", "after " + ms(pause_ns));
}

void expect_answered_at_once(Context& t, const Burst& burst, const std::string& story) {
  t.expect(burst.pause_ns().has_value(), story + " is answered", "silence");
  t.expect(*burst.pause_ns() < t.scaled(kAtOnceNs), story + " is answered at once",
           "after " + ms(*burst.pause_ns()));
}

// Waits for the answer to a probe that is out already: was it paused for?
bool granted(Context& t, const Bytes& probe) {
  const auto reply =
      t.a().await_tag(static_cast<uint32_t>(*observer::get(probe, F::tag)), t.scaled(3 * kPauseNs));
  t.expect(reply.has_value(), "a congestion probe is answered", "silence");
  const auto got = observer::ext_table(reply->bytes, t.target().ext_order);
  return !got || got->strings.at(0) != "congestion";
}

// --- Deviants ----------------------------------------------------------------------------------

bool pauses(const Bytes& q) {
  return names(q, "congestion");
}

// The pause that this request began, if it did, made another length.
Deviant other_pause(std::string name, std::string story, int64_t pause_ns) {
  return deviants::spoils(std::move(name), std::move(story),
                          [pause_ns](const Bytes& q, ModelTarget& model, const Forward& forward) {
                            const size_t before = model.pauses_ns.size();
                            Answers answers = forward(q);
                            if (pauses(q) && model.pauses_ns.size() > before) {
                              model.paused_until_ns = model.pauses_ns.back() + pause_ns;
                              answers.front().delay_ns = pause_ns;
                            }
                            return answers;
                          });
}

void add_deviants(Registry& r) {
  r.add(other_pause("congestion-no-pause", "says CONGESTION and does not pause", 0));
  r.add(other_pause("congestion-pauses-100-ms", "pauses for a tenth of a second", 100 * kNsPerMs));
  r.add(other_pause("congestion-pauses-2-s", "pauses for two seconds", 2000 * kNsPerMs));
  r.add(deviants::spoils("congestion-pauses-for-every-probe", "pauses for a known id, too",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (pauses(q)) {
                             model.congestion_id.reset();
                             model.pauses_ns.clear();
                           }
                           return forward(q);
                         }));
  r.add(deviants::spoils("congestion-pauses-once-only", "pauses for the first id of its life only",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (pauses(q) && !model.pauses_ns.empty()) {
                             model.congestion_id = observer::ext_table(q)->strings.at(1);
                           }
                           return forward(q);
                         }));
  r.add(deviants::spoils(
      "congestion-answers-twice", "answers the first probe at once and after the pause",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        const size_t before = model.pauses_ns.size();
        Answers answers = forward(q);
        if (pauses(q) && model.pauses_ns.size() > before) {
          answers.push_back({answers.front().bytes, answers.front().delay_ns + 1000});
        }
        return answers;
      }));
  Deviant loses;
  loses.name = "congestion-loses-probes";
  loses.story = "does not answer every fifth probe";
  loses.make = [] {
    auto count = std::make_shared<size_t>(0);
    return [count](const Bytes& q, ModelTarget&, const Forward& forward) {
      constexpr size_t fifth = 5;
      Answers answers = forward(q);
      return pauses(q) && ++*count % fifth == 0 ? Answers{} : answers;
    };
  };
  r.add(loses);
  Deviant one_tag;
  one_tag.name = "congestion-one-tag";
  one_tag.story = "answers the probes of a pause under the first one's tag";
  one_tag.make = [] {
    auto tag = std::make_shared<uint64_t>(0);
    return [tag](const Bytes& q, ModelTarget& model, const Forward& forward) {
      const size_t before = model.pauses_ns.size();
      Answers answers = forward(q);
      if (pauses(q)) {
        if (model.pauses_ns.size() > before) {
          *tag = *observer::get(q, F::tag);
        }
        observer::set(answers.front().bytes, F::tag, *tag);
      }
      return answers;
    };
  };
  r.add(one_tag);
  r.add(edits_table("congestion-id-lost", "returns the id as 0", [](Strings& strings) {
    for (size_t i = 1; i < strings.size(); ++i) {
      if (lower(strings[i - 1]) == "congestion") {
        strings[i] = "0";
      }
    }
  }));
  r.add(edits_table("congestion-ends-the-table", "looks at nothing behind the id",
                    [](Strings& strings) {
                      bool behind = false;
                      for (std::string& s : strings) {
                        s = behind ? lower(s) : s;
                        behind = behind || lower(s) == "congestion";
                      }
                    }));
  r.add(deviants::spoils("congestion-delays-its-answer-only",
                         "holds the answer to the probe back and serves everybody meanwhile",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           model.paused_until_ns = 0;
                           return answers;
                         }));
  Deviant drops;
  drops.name = "congestion-drops-what-waits";
  drops.story = "throws away the ordinary requests that came during the pause";
  drops.make = [] {
    auto waiting = std::make_shared<bool>(false);
    return [waiting](const Bytes& q, ModelTarget& model, const Forward& forward) {
      const size_t before = model.pauses_ns.size();
      if (*waiting && is_read(q)) {
        return Answers{};
      }
      Answers answers = forward(q);
      *waiting = model.pauses_ns.size() > before;
      return answers;
    };
  };
  r.add(drops);
  Deviant wait;
  wait.name = "congestion-writes-wait";
  wait.story =
      "answers all but the first of several writes half a second late, as if a pause held the disk";
  wait.make = [] {
    // A write by itself is quick: a target that is slow at all of them cannot be told from a slow
    // disk.
    auto write_before = std::make_shared<bool>(false);
    return [write_before](const Bytes& q, ModelTarget&, const Forward& forward) {
      Answers answers = forward(q);
      for (Answer& a : answers) {
        a.delay_ns += *write_before && is_write(q) ? kPauseNs : 0;
      }
      *write_before = is_write(q);
      return answers;
    };
  };
  r.add(wait);
  Deviant fickle;
  fickle.name = "congestion-count-fickle";
  fickle.story = "holds the whole of its buffers in one pause and a third of them in the next";
  fickle.make = [] {
    auto burst = std::make_shared<std::pair<size_t, size_t>>(0, 0);
    return [burst](const Bytes& q, ModelTarget& model, const Forward& forward) {
      const size_t before = model.pauses_ns.size();
      Answers answers = forward(q);
      if (pauses(q)) {
        const bool first = model.pauses_ns.size() > before;
        burst->first += first ? 1 : 0;
        constexpr size_t third = 3;
        if (!first && burst->first % 2 == 1 && ++burst->second % third != 0) {
          return Answers{};
        }
      }
      return answers;
    };
  };
  r.add(fickle);
  r.add(deviants::edits_reply("congestion-buffers-overstated",
                              "says ten times the buffers that it has",
                              [](const Bytes&, Bytes& reply) {
                                if (is_command(reply, observer::command::config)) {
                                  observer::set(reply, F::cfg_buffer_count,
                                                10 * *observer::get(reply, F::cfg_buffer_count));
                                }
                              }));
  r.add(beforehand(
      "congestion-sixteen-always", "has sixteen buffers, whatever it is told to have",
      [](const Bytes&, ModelTarget& model, Session&) { model.config.buffer_count = 16; }));
  r.add(deviants::ignores("congestion-silent-without-argument",
                          "is silent to `congestion` without an id",
                          [](const Bytes& q, const ModelTarget&) {
                            return pauses(q) && observer::ext_table(q)->strings.size() == 1;
                          }));
  r.add(deviants::spoils("congestion-no-budget", "pauses as often as anybody asks",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           model.pauses_ns.clear();
                           return forward(q);
                         }));
  r.add(edits_table("congestion-always-upper", "calls a probe active that its budget refused",
                    [](Strings& strings) {
                      for (std::string& s : strings) {
                        s = s == "congestion" ? upper(s) : s;
                      }
                    }));
}

// --- Cases -------------------------------------------------------------------------------------

Case congestion_case(std::string id, std::string title, std::string clause,
                     std::vector<std::string> fails_on, std::function<void(Context&)> run) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = {std::move(clause)};
  c.needs = {Need::stress};
  c.extensions = {"congestion"};
  c.fails_on = std::move(fails_on);
  c.run = std::move(run);
  return c;
}

void add_pause(Registry& r) {
  r.add(congestion_case(
      "congestion.pause.half-a-second", "The first probe with a new id is answered after 0.5 s",
      "CONG-PAUSE", {"congestion-no-pause", "congestion-pauses-100-ms", "congestion-pauses-2-s"},
      [](Context& t) {
        constexpr int attempts = 2;
        for (int i = 0; i < attempts; ++i) {
          const Burst burst = paused_burst(t, t.a(), 1);
          expect_paused(t, burst);
          const int64_t pause_ns = *burst.pause_ns();
          if (pause_ns <= kPauseNs + t.scaled(kLateNs) + t.rtt_ns()) {
            return;
          }
          t.expect(i + 1 < attempts, "a pause of 0.5 s", "twice longer, now " + ms(pause_ns));
        }
      }));

  r.add(congestion_case("congestion.pause.once-for-each-id",
                        "Each new id pauses once, and only the last one is remembered", "CONG-ONCE",
                        {"congestion-pauses-once-only", "congestion-pauses-for-every-probe"},
                        [](Context& t) {
                          const Burst first = paused_burst(t, t.a(), 1);
                          expect_paused(t, first);
                          const Burst again = send_burst(t, t.a(), first.id, 1);
                          expect_answered_at_once(t, again, "a second probe with the same id");
                          t.expect(again.name(t) == "CONGESTION",
                                   "a second probe with the same id comes back in upper case",
                                   observer::quoted(again.name(t)));
                          const Burst other = paused_burst(t, t.a(), 1);
                          expect_paused(t, other);
                        }));

  r.add(congestion_case(
      "congestion.pause.none-for-a-known-id",
      "Fifty probes with the id of the last pause are answered at once", "CONG-ONCE",
      {"congestion-pauses-for-every-probe"}, [](Context& t) {
        const Burst first = paused_burst(t, t.a(), 1);
        expect_paused(t, first);
        constexpr int probes = 50;
        const int64_t start_ns = t.now_ns();
        for (int i = 0; i < probes; ++i) {
          expect_table(t, t.a().ask(table(t, {"congestion", first.id})), {"CONGESTION", first.id});
        }
        t.expect(t.now_ns() - start_ns < t.scaled(kPauseNs), "fifty answers in less than one pause",
                 ms(t.now_ns() - start_ns));
      }));
}

void add_probes(Registry& r) {
  Case each_once = congestion_case(
      "congestion.probes.each-answered-once",
      "Of a burst that fits the buffers every probe is answered, exactly once, under its own tag",
      "CONG-EVERY", {"congestion-answers-twice", "congestion-loses-probes", "congestion-one-tag"},
      [](Context& t) {
        const uint64_t copies = t.ledger().counts().repeated;
        const Burst burst = paused_burst(t, t.a(), few_probes(t));
        tell_copies(t, copies);
        expect_paused(t, burst);
        t.expect(burst.strangers == 0 && burst.replies.size() == burst.answered(),
                 "no probe is answered twice",
                 fmt::format("{} replies to {} of {} probes",
                             burst.replies.size() + burst.strangers, burst.answered(), burst.sent));
        t.expect(burst.answered() == burst.sent,
                 fmt::format("all of {} probes are answered: the config reply promises {} buffers",
                             burst.sent, t.target().buffer_count),
                 fmt::format("{} are", burst.answered()));
      });
  each_once.clauses.push_back("HDR-ONCE");
  r.add(std::move(each_once));

  r.add(congestion_case(
      "congestion.probes.more-than-fit",
      "Of 1,000 probes as many are answered as the buffer count says or more, each once",
      "CONG-COUNT", {"congestion-buffers-overstated", "congestion-answers-twice"}, [](Context& t) {
        const uint64_t copies = t.ledger().counts().repeated;
        const Burst burst = paused_burst(t, t.a(), kManyProbes);
        tell_copies(t, copies);
        expect_paused(t, burst);
        t.expect(burst.strangers == 0 && burst.replies.size() == burst.answered(),
                 "no probe is answered twice",
                 fmt::format("{} replies to {} probes", burst.replies.size() + burst.strangers,
                             burst.answered()));
        const uint64_t buffers = t.target().buffer_count;
        t.level(Level::should);
        t.expect(
            burst.answered() >= std::min<uint64_t>(buffers, kManyProbes),
            fmt::format(
                "at least {} of 1,000 probes are answered, the buffer count of the config reply",
                buffers),
            fmt::format("{} are", burst.answered()));
        t.info(fmt::format("{} of 1,000 probes are answered; the config reply says {} buffers",
                           burst.answered(), buffers));
      }));

  r.add(congestion_case(
      "congestion.id.comes-back",
      "The id comes back unchanged in every reply, and names behind it are looked at", "CONG-ID",
      {"congestion-id-lost", "congestion-ends-the-table"}, [](Context& t) {
        const Burst burst = paused_burst(t, t.a(), 2);
        expect_paused(t, burst);
        for (size_t i = 0; i < burst.sent; ++i) {
          Exchange x;
          x.request = burst.requests[i];
          x.sent = 1;
          if (const auto* reply = burst.reply_to(i)) {
            x.reply = reply->bytes;
          }
          expect_table(t, x, {"CONGESTION", burst.id});
        }
        expect_table(t, t.a().ask(table(t, {"reset", "congestion", burst.id, "no_such", "reset"})),
                     {"RESET", "CONGESTION", burst.id, "no_such", "RESET"});
      }));

  r.add(edits_table("congestion-one-id-for-all", "returns the first id in the place of every id",
                    [](Strings& strings) {
                      std::string* first = nullptr;
                      for (size_t i = 0; i + 1 < strings.size(); ++i) {
                        if (lower(strings[i]) == "congestion") {
                          first = first == nullptr ? &strings[i + 1] : first;
                          strings[i + 1] = *first;
                        }
                      }
                    }));
  r.add(afterwards("congestion-keeps-the-first-id",
                   "remembers the first id of a table, not its last",
                   [](const Bytes& q, ModelTarget& model, Session&) {
                     const auto asked = pauses(q) ? observer::ext_table(q) : std::nullopt;
                     if (asked && asked->strings.size() > 3) {
                       model.congestion_id = asked->strings[1];
                     }
                   }));
  Case several = congestion_case(
      "congestion.table.several-ids",
      "A table with two new ids is answered once, after a pause, with both; the last one is known "
      "from then on",
      "CONG-ID", {"congestion-one-id-for-all", "congestion-keeps-the-first-id"}, [](Context& t) {
        std::string last;
        with_pause(t, [&] {
          const std::string one = new_congestion_id(t);
          last = new_congestion_id(t);
          const int64_t sent_ns = t.now_ns();
          Exchange x;
          x.request = t.a().send(table(t, {"congestion", one, "congestion", last}));
          x.sent = 1;
          const auto reply = t.a().await_tag(
              static_cast<uint32_t>(*observer::get(x.request, F::tag)), t.scaled(4 * kPauseNs));
          if (reply) {
            x.reply = reply->bytes;
          }
          const Strings got = strings_of(t, x);
          t.expect(got.size() == 4 && lower(got[0]) == "congestion" && got[1] == one &&
                       lower(got[2]) == "congestion" && got[3] == last,
                   x, "the table comes back with both ids as they were", joined(got));
          if (got[0] == "congestion" && got[2] == "congestion") {
            return false;  // the budget of pauses is spent
          }
          t.clause("CONG-PAUSE");
          t.expect(reply->at_ns - sent_ns >= kPauseNs - kEarlyNs, x, "an answer after the pause",
                   "after " + ms(reply->at_ns - sent_ns));
          return true;
        });
        t.clause("CONG-ONCE");
        const Burst burst = send_burst(t, t.a(), last, 2);
        expect_answered_at_once(t, burst, "a probe with the last id of the table");
      });
  several.clauses = {"CONG-ID", "CONG-PAUSE", "CONG-ONCE"};
  r.add(several);

  r.add([] {
    Case c = congestion_case("congestion.argument.missing",
                             "`congestion` without an id is answered, and stops nothing", "CONG-ID",
                             {"congestion-silent-without-argument"}, [](Context& t) {
                               const Exchange x = t.a().ask(table(t, {"congestion"}));
                               const Strings got = strings_of(t, x);
                               t.expect(got.size() == 1 && lower(got[0]) == "congestion", x,
                                        "the table comes back", joined(got));
                               t.expect(x.replied_ns - x.sent_ns < t.scaled(kAtOnceNs), x,
                                        "no pause without an id", ms(x.replied_ns - x.sent_ns));
                             });
    c.hostile = true;
    return c;
  }());
}

void add_meanwhile(Registry& r) {
  r.add(congestion_case(
      "congestion.requests.answered-after-it",
      "Ordinary requests of anybody that come during the pause are answered when it is over, and "
      "not before",
      "CONG-STOPS", {"congestion-delays-its-answer-only", "congestion-drops-what-waits"},
      [](Context& t) {
        std::vector<std::pair<Initiator*, uint32_t>> reads;
        int64_t sent_ns = 0;
        with_pause(t, [&] {
          reads.clear();
          sent_ns = t.now_ns();
          // The probe goes first, so that the pause has begun before the target can take what
          // follows.
          const Bytes probe = t.a().send(table(t, {"congestion", new_congestion_id(t)}));
          for (Initiator* who : {&t.a(), &t.b()}) {
            for (int i = 0; i < 2 && reads.size() + 1 < few_probes(t); ++i) {
              reads.emplace_back(who, who->next_tag());
              who->send(observer::read_request(0, 1).set(F::tag, reads.back().second));
            }
          }
          return granted(t, probe);
        });
        for (const auto& [who, tag] : reads) {
          const auto reply = who->await_tag(tag, t.patience_ns());
          t.expect(reply.has_value(), "a read that came during the pause is answered after it",
                   "silence");
          t.expect(reply->at_ns - sent_ns >= kPauseNs - kEarlyNs,
                   "a read that came during the pause waits for its end",
                   "answered after " + ms(reply->at_ns - sent_ns));
        }
      }));

  Case disk = congestion_case(
      "congestion.disk.goes-on",
      "Writes that the target took before the pause are answered during it", "CONG-DISK",
      {"congestion-writes-wait"}, [](Context& t) {
        const uint64_t lba = scratch_sector(t, 0);
        const size_t count = few_probes(t) / 2;
        std::vector<uint32_t> tags;
        int64_t sent_ns = 0;
        with_pause(t, [&] {
          tags.clear();
          t.b().collect(SIZE_MAX, 0);
          sent_ns = t.now_ns();
          for (size_t i = 0; i < count; ++i) {
            tags.push_back(t.b().next_tag());
            t.b().send(observer::write_request(lba + i, sector_of("before the pause"))
                           .set(F::tag, tags.back()));
          }
          return granted(t, t.a().send(table(t, {"congestion", new_congestion_id(t)})));
        });
        for (const uint32_t tag : tags) {
          const auto reply = t.b().await_tag(tag, t.patience_ns());
          t.expect(reply.has_value(), "a write ahead of the pause is answered", "silence");
          if (t.write_ns() * static_cast<int64_t>(count) >= kPauseNs / 4) {
            t.info(fmt::format("a write takes {} here: too long to tell it from the pause",
                               ms(t.write_ns())));
            break;
          }
          t.expect(reply->at_ns - sent_ns < kPauseNs / 2,
                   "a write ahead of the pause does not wait for its end",
                   "answered after " + ms(reply->at_ns - sent_ns));
        }
        t.expect_data(t.b().ask(observer::read_request(lba, 1)), sector_of("before the pause"));
      });
  disk.level = Level::should;
  disk.needs = {Need::write, Need::stress, Need::second_initiator};
  r.add(disk);
}

void add_counts(Registry& r) {
  Case stable = congestion_case(
      "congestion.count.stable", "Five bursts find the same count, within a tenth", "CONG-COUNT",
      {"congestion-count-fickle"}, [](Context& t) {
        constexpr int bursts = 5;
        std::vector<size_t> counts;
        std::string list;
        for (int i = 0; i < bursts; ++i) {
          const Burst burst = paused_burst(t, t.a(), kManyProbes);
          expect_paused(t, burst);
          counts.push_back(burst.answered());
          list += fmt::format("{}{}", i == 0 ? "" : ", ", counts.back());
        }
        const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
        // One frame more or less is how the first one was taken: before or after the buffers were
        // counted.
        constexpr size_t tenth = 10;
        t.expect(*most - *least <= std::max<size_t>(*most / tenth, 1),
                 "the counts of five bursts differ by less than a tenth", list);
        t.info(fmt::format("five bursts of 1,000 probes: {} answered", list));
      });
  stable.level = Level::should;
  r.add(stable);

  Case grows = congestion_case(
      "congestion.count.grows-with-the-buffers",
      "A target started with more buffers answers more probes, and no fewer than its buffer count "
      "says",
      "CONG-COUNT", {"congestion-sixteen-always"}, [](Context& t) {
        const uint64_t usual = t.target().buffer_count;
        t.after([&t, usual] { t.restart_with_buffers(usual); });
        size_t before = 0;
        std::string list;
        for (const uint64_t buffers : {uint64_t{8}, uint64_t{32}, uint64_t{128}}) {
          t.restart_with_buffers(buffers);
          const Burst burst = send_burst(t, t.a(), new_congestion_id(t), kManyProbes);
          expect_paused(t, burst);
          list +=
              fmt::format("{}{} buffers: {}", list.empty() ? "" : ", ", buffers, burst.answered());
          t.expect(burst.answered() >= buffers,
                   fmt::format("at least {} probes are answered with {} buffers", buffers, buffers),
                   list);
          t.expect(burst.answered() > before, "more buffers hold more probes", list);
          before = burst.answered();
        }
        t.info(list);
      });
  grows.level = Level::should;
  grows.needs = {Need::stress, Need::target_command};
  r.add(grows);

  Case budget = congestion_case(
      "congestion.budget",
      "Whether new ids may pause the target without end; a refused one is told so", "CONG-BUDGET",
      {"congestion-no-budget", "congestion-always-upper"}, [](Context& t) {
        constexpr int ids = 6;
        expect_paused(t, paused_burst(t, t.a(), 1));
        int granted = 1;
        for (int i = 1; i < ids; ++i) {
          const Burst burst = send_burst(t, t.a(), new_congestion_id(t), 1);
          t.expect(burst.pause_ns().has_value(), "each probe is answered", "silence");
          const bool paused = *burst.pause_ns() >= kPauseNs - kEarlyNs;
          t.expect(
              paused == !burst.refused(t),
              "upper case if the target paused, lower case if it did not",
              fmt::format("{} after {}", observer::quoted(burst.name(t)), ms(*burst.pause_ns())));
          if (!paused) {
            expect_answered_at_once(t, burst, "a probe beyond the budget");
            t.info(fmt::format(
                "a budget: after {} pause{} in a row a new id is answered at once, in lower case",
                granted, granted == 1 ? "" : "s"));
            return;
          }
          ++granted;
        }
        t.info(fmt::format("{} new ids in {:.1f} s each paused the target: anybody can stop it",
                           granted, granted * static_cast<double>(kPauseNs) / links::kNsPerSecond));
      });
  budget.level = Level::should;
  r.add(budget);
}

}  // namespace

void register_congestion(Registry& r) {
  add_deviants(r);
  add_pause(r);
  add_probes(r);
  add_meanwhile(r);
  add_counts(r);
}

}  // namespace conformance
