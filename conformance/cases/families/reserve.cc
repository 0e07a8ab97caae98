// Family reserve: command 3, reserve and release. Who may set the list, what it keeps others from
// (ATA but identify) and what it does not (everything else). Two and three hosts take part. Every
// case begins with an empty list and leaves the one that it found.

#include <fmt/format.h>

#include <set>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::get;
using observer::read_request;
using observer::reserve_request;
using observer::set;
namespace at = observer::at;
namespace rcmd = observer::rcmd;
namespace aoe_error = observer::aoe_error;

namespace {

using Macs = std::vector<Mac>;

Mac nobody(unsigned i) {
  return {0x02, 0x5e, 0x33, 0x44, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
}

std::string told(const Macs& macs) {
  std::string out = fmt::format("{} addresses", macs.size());
  constexpr size_t shown = 6;
  for (size_t i = 0; i < std::min(shown, macs.size()); ++i) {
    out += (i == 0 ? ": " : ", ") + observer::to_string(macs[i]);
  }
  return out + (macs.size() > shown ? ", ..." : "");
}

Macs sorted(Macs macs) {
  std::sort(macs.begin(), macs.end());
  return macs;
}

// The list in a reply, good or refused: whole, and these addresses. Order is the target's affair.
void expect_list(Context& c, const Exchange& x, const Macs& want, const std::string& story) {
  c.expect_answer(x);
  c.expect(x.reply->size() >= at::reserve_list, x, "a reply with the fields of a reserve list",
           fmt::format("{} bytes", x.reply->size()));
  const Macs got = observer::reserve_list(*x.reply).value_or(Macs{});
  c.expect(got.size() == x.field(F::reserve_count), x, "as many addresses as the count says",
           fmt::format("{} of {}", got.size(), x.field(F::reserve_count)), {F::reserve_count});
  c.expect(sorted(got) == sorted(want), x, story + ": " + told(want), told(got),
           {observer::Mark(at::reserve_list, want.size() * observer::kReserveEntryBytes)});
}

void expect_reserved(Context& c, Initiator& who, const Macs& want, const std::string& story) {
  const Exchange x = who.ask(reserve_request(rcmd::read));
  c.expect_no_error(x);
  expect_list(c, x, want, story);
}

// Sets the list, and it is so.
void must_set(Context& c, Initiator& who, const Macs& macs, uint8_t command = rcmd::set) {
  const Exchange x = who.ask(reserve_request(command, macs));
  c.expect_no_error(x);
  expect_list(c, x, macs, "the list after a set");
}

void begin(Context& c) {
  const Exchange x = c.a().ask(reserve_request(rcmd::read));
  c.unsupported_if_refused(x, true);
  c.expect_no_error(x);
  const Macs before = observer::reserve_list(*x.reply).value_or(Macs{});
  const auto put = [&c](const Macs& macs) {
    const Bytes sent = c.a().send(reserve_request(rcmd::force_set, macs));
    c.a().await_tag(static_cast<uint32_t>(value_of(sent, F::tag)), c.patience_ns());
  };
  c.after([put, before] { put(before); });
  if (!before.empty()) {
    put({});
  }
}

Case reserve_case(std::string id, std::string title, std::vector<std::string> clauses,
                  std::vector<std::string> fails_on, std::function<void(Context&)> run,
                  Level level = Level::must) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = std::move(clauses);
  c.level = level;
  c.needs = {Need::lockout, Need::second_initiator};
  c.fails_on = std::move(fails_on);
  c.run = [run = std::move(run)](Context& t) {
    begin(t);
    run(t);
  };
  return c;
}

// --- Deviants. ---
bool is_reserve(const Bytes& q) {
  return is_command(q, observer::command::reserve) && q.size() >= at::reserve_list;
}
bool is_set(const Bytes& q) {
  return is_reserve(q) && value_of(q, F::reserve_rcmd) == rcmd::set;
}
bool is_force(const Bytes& q) {
  return is_reserve(q) && value_of(q, F::reserve_rcmd) == rcmd::force_set;
}
Mac source_of(const Bytes& q) {
  Mac mac{};
  std::copy_n(q.begin() + 6, mac.size(), mac.begin());
  return mac;
}
bool holds(const ModelTarget& m, const Bytes& q) {
  return std::find(m.reserved.begin(), m.reserved.end(), source_of(q)) != m.reserved.end();
}
// A set or force set that was carried out: the list may be spoilt.
Deviant after_set(
    std::string name, std::string story,
    std::function<void(const Bytes&, ModelTarget&, const Macs& before, Answers&)> spoil) {
  return spoils(std::move(name), std::move(story),
                [spoil = std::move(spoil)](const Bytes& q, ModelTarget& m, const Forward& f) {
                  const Macs before = m.reserved;
                  Answers answers = f(q);
                  if ((is_set(q) || is_force(q)) && !answers.empty()) {
                    spoil(q, m, before, answers);
                  }
                  return answers;
                });
}
// Works as if nothing were reserved.
Deviant forgets_for(std::string name, std::string story, RequestTest when) {
  return spoils(std::move(name), std::move(story),
                [when = std::move(when)](const Bytes& q, ModelTarget& m, const Forward& f) {
                  if (!observer::is_aoe(q) || !when(q)) {
                    return f(q);
                  }
                  const Macs kept = m.reserved;
                  m.reserved.clear();
                  Answers answers = f(q);
                  m.reserved = kept;
                  return answers;
                });
}
Deviant refuses_while_reserved(std::string name, std::string story, RequestTest when) {
  return spoils(std::move(name), std::move(story),
                [when = std::move(when)](const Bytes& q, ModelTarget& m, const Forward& f) {
                  return observer::is_aoe(q) && !observer::is_reply(q) && !m.reserved.empty() &&
                                 !holds(m, q) && when(q)
                             ? Answers{{m.error_reply(q, aoe_error::reserved, q.size()), 0}}
                             : f(q);
                });
}

void register_list(Registry& r) {
  r.add(edits_reply("reserve-read-counts-one", "shows an empty list as one address",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_reserve(q) && value_of(reply, F::reserve_count) == 0) {
                        set(reply, F::reserve_count, 1);
                        reply.resize(at::reserve_list + observer::kReserveEntryBytes, 0);
                      }
                    }));
  r.add(reserve_case("reserve.read.empty", "With nothing reserved a read brings no addresses",
                     {"RES-READ"}, {"reserve-read-counts-one"},
                     [](Context& c) { expect_reserved(c, c.b(), {}, "nothing is reserved"); }));

  r.add(after_set("reserve-set-answers-old-list", "answers a set with the list from before it",
                  [](const Bytes& q, ModelTarget& m, const Macs& before, Answers& answers) {
                    Bytes reply = m.reply_to(q, at::reserve_list);
                    set(reply, F::reserve_count, before.size());
                    for (const Mac& mac : before) {
                      reply.insert(reply.end(), mac.begin(), mac.end());
                    }
                    answers[0].bytes = reply;
                  }));
  r.add(after_set(
      "reserve-set-not-kept", "answers a set and does not keep it",
      [](const Bytes&, ModelTarget& m, const Macs& before, Answers&) { m.reserved = before; }));
  r.add(reserve_case(
      "reserve.set.on-empty",
      "A set on an empty list is carried out; its reply and a read by anybody carry the list",
      {"RES-SET", "RES-READ"}, {"reserve-set-answers-old-list", "reserve-set-not-kept"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        expect_reserved(c, c.a(), {c.a().mac()}, "read by the holder");
        expect_reserved(c, c.b(), {c.a().mac()}, "read by another");
      }));

  r.add(after_set("reserve-keeps-two", "keeps two addresses of a list at most",
                  [](const Bytes&, ModelTarget& m, const Macs&, Answers&) {
                    m.reserved.resize(std::min<size_t>(m.reserved.size(), 2));
                  }));
  r.add(after_set("reserve-adds-to-the-list", "a set adds to the list instead of replacing it",
                  [](const Bytes&, ModelTarget& m, const Macs& before, Answers&) {
                    if (!m.reserved.empty()) {
                      m.reserved.insert(m.reserved.end(), before.begin(), before.end());
                    }
                  }));
  r.add(reserve_case("reserve.set.several-addresses",
                     "A set keeps all of its addresses, few or many, and a read brings all of them",
                     {"RES-SET"}, {"reserve-keeps-two"}, [](Context& c) {
                       for (const unsigned n : {2U, 3U, 8U, 24U}) {
                         Macs list = {c.a().mac()};
                         for (unsigned i = 1; i < n; ++i) {
                           list.push_back(nobody(i));
                         }
                         must_set(c, c.a(), list);
                         expect_reserved(c, c.b(), list, fmt::format("{} addresses were set", n));
                       }
                     }));
  r.add(reserve_case("reserve.set.replaces", "A set replaces the list: longer, shorter, other",
                     {"RES-SET"}, {"reserve-adds-to-the-list"}, [](Context& c) {
                       const Mac a = c.a().mac();
                       for (const Macs& list :
                            {Macs{a}, Macs{a, nobody(1), nobody(2)}, Macs{nobody(3), a}, Macs{a}}) {
                         must_set(c, c.a(), list);
                         expect_reserved(c, c.a(), list, "the list that was set last");
                       }
                     }));

  r.add(edits_request("reserve-set-forces", "a set works for everybody", [](Bytes& q) {
    if (is_set(q)) {
      set(q, F::reserve_rcmd, rcmd::force_set);
    }
  }));
  r.add(after_set("reserve-refused-set-carried-out", "refuses a set and carries it out",
                  [](const Bytes& q, ModelTarget& m, const Macs&, Answers& answers) {
                    if (value_of(answers[0].bytes, F::error) == aoe_error::reserved) {
                      m.reserved = *observer::reserve_list(q);
                    }
                  }));
  r.add(edits_reply("reserve-refused-without-code", "refuses a set with error 2",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_set(q) && value_of(reply, F::flag_error) == 1) {
                        set(reply, F::error, aoe_error::bad_argument);
                      }
                    }));
  r.add(reserve_case(
      "reserve.set.by-another-host",
      "A set by a host that is not on the list gets error 6 and changes nothing", {"RES-SET"},
      {"reserve-set-forces", "reserve-refused-set-carried-out", "reserve-refused-without-code"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        c.expect_error(c.b().ask(reserve_request(rcmd::set, {c.b().mac()})), aoe_error::reserved);
        expect_reserved(c, c.a(), {c.a().mac()}, "after a refused set");
        c.expect_error(c.b().ask(reserve_request(rcmd::set, {c.a().mac(), c.b().mac()})),
                       aoe_error::reserved);
        expect_reserved(c, c.b(), {c.a().mac()}, "after a refused set that kept the holder");
      }));
  r.add(spoils("reserve-stranger-releases", "lets a set of no addresses release for everybody",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_set(q) && value_of(q, F::reserve_count) == 0) {
                   m.reserved.clear();
                 }
                 return f(q);
               }));
  r.add(reserve_case(
      "reserve.release.by-another-host",
      "A set of no addresses by a host that is not on the list gets error 6 and releases nothing",
      {"RES-SET", "RES-RELEASE"}, {"reserve-stranger-releases"}, [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        c.expect_error(c.b().ask(reserve_request(rcmd::set)), aoe_error::reserved);
        expect_reserved(c, c.a(), {c.a().mac()}, "after a refused release");
      }));
  r.add(after_set("reserve-release-ignored", "keeps the list at a set of no addresses",
                  [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                    if (value_of(q, F::reserve_count) == 0 && is_set(q)) {
                      m.reserved = before;
                    }
                  }));
  r.add(remembers("reserve-locked-for-good", "goes on refusing ATA of others after a release", [] {
    return Middleware([locked = false](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
      locked = locked || !m.reserved.empty();
      if (locked && m.reserved.empty() && is_ata_request(q) && q[8] == 0xa0) {
        return Answers{{m.error_reply(q, aoe_error::reserved, at::ata_data), 0}};
      }
      return f(q);
    });
  }));
  r.add(reserve_case("reserve.release.by-the-holder",
                     "A set of no addresses by the holder releases, and everybody is served again",
                     {"RES-RELEASE"}, {"reserve-release-ignored", "reserve-locked-for-good"},
                     [](Context& c) {
                       must_set(c, c.a(), {c.a().mac()});
                       c.expect_error(c.b().ask(read_request(0, 1)), aoe_error::reserved);
                       must_set(c, c.a(), {});
                       expect_reserved(c, c.b(), {}, "after a release");
                       for (Initiator* who : {&c.a(), &c.b(), &c.c()}) {
                         c.expect_good_ata(who->ask(read_request(0, 1)));
                       }
                       must_set(c, c.b(), {c.b().mac()});  // free for the next one
                       c.expect_error(c.a().ask(read_request(0, 1)), aoe_error::reserved);
                     }));

  r.add(edits_request("reserve-force-is-a-set", "a force set works like a set", [](Bytes& q) {
    if (is_force(q)) {
      set(q, F::reserve_rcmd, rcmd::set);
    }
  }));
  r.add(reserve_case(
      "reserve.force.by-another-host",
      "A force set by a host that is not on the list takes the target over", {"RES-FORCE"},
      {"reserve-force-is-a-set", "reserve-adds-to-the-list"}, [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        must_set(c, c.b(), {c.b().mac()}, rcmd::force_set);
        expect_reserved(c, c.a(), {c.b().mac()}, "after a force set");
        c.expect_error(c.a().ask(read_request(0, 1)), aoe_error::reserved);
        c.expect_good_ata(c.b().ask(read_request(0, 1)));
        c.expect_error(c.a().ask(reserve_request(rcmd::set, {c.a().mac()})), aoe_error::reserved);
      }));
  r.add(spoils("reserve-force-needs-an-address", "takes a force set of no addresses for a read",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 Bytes changed = q;
                 if (is_force(q) && value_of(q, F::reserve_count) == 0) {
                   set(changed, F::reserve_rcmd, rcmd::read);
                 }
                 return f(changed);
               }));
  r.add(reserve_case("reserve.force.releases",
                     "A force set of no addresses releases whatever is reserved, by anybody",
                     {"RES-FORCE", "RES-RELEASE"}, {"reserve-force-needs-an-address"},
                     [](Context& c) {
                       must_set(c, c.a(), {c.a().mac(), nobody(1)});
                       must_set(c, c.b(), {}, rcmd::force_set);
                       c.expect_good_ata(c.c().ask(read_request(0, 1)));
                     }));
  r.add(reserve_case("reserve.force.on-empty", "A force set works where nothing is reserved, too",
                     {"RES-FORCE"}, {"reserve-force-needs-a-holder"}, [](Context& c) {
                       must_set(c, c.b(), {c.b().mac()}, rcmd::force_set);
                       c.expect_error(c.a().ask(read_request(0, 1)), aoe_error::reserved);
                     }));
  r.add(spoils("reserve-force-needs-a-holder", "refuses a force set where nothing is reserved",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 return is_force(q) && m.reserved.empty() && value_of(q, F::reserve_count) > 0
                            ? Answers{{m.error_reply(q, aoe_error::bad_argument, at::reserve_list),
                                       0}}
                            : f(q);
               }));

  r.add(ignores(
      "reserve-only-first-may-set", "lets only the first address of the list set it again",
      [](const Bytes& q, const ModelTarget& m) {
        return is_set(q) && !m.reserved.empty() && holds(m, q) && m.reserved[0] != source_of(q);
      }));
  r.add(reserve_case("reserve.set.by-another-holder",
                     "Every host on the list may set it, not only the one that did so first",
                     {"RES-SET"}, {"reserve-only-first-may-set"}, [](Context& c) {
                       must_set(c, c.a(), {c.a().mac(), c.b().mac(), c.c().mac()});
                       must_set(c, c.c(), {c.c().mac(), c.b().mac()});
                       c.expect_error(c.a().ask(read_request(0, 1)), aoe_error::reserved);
                       must_set(c, c.b(), {});
                       c.expect_good_ata(c.a().ask(read_request(0, 1)));
                     }));
  r.add(after_set("reserve-adds-sender", "puts the sender on the list that it sets",
                  [](const Bytes& q, ModelTarget& m, const Macs&, Answers& answers) {
                    if (value_of(answers[0].bytes, F::flag_error) == 0 && !m.reserved.empty() &&
                        !holds(m, q)) {
                      m.reserved.push_back(source_of(q));
                    }
                  }));
  r.add(reserve_case("reserve.set.without-the-sender",
                     "A host may set a list on which it does not stand, and is locked out itself",
                     {"RES-SET"}, {"reserve-adds-sender"}, [](Context& c) {
                       must_set(c, c.a(), {c.b().mac()});
                       expect_reserved(c, c.a(), {c.b().mac()}, "the list without its sender");
                       c.expect_error(c.a().ask(read_request(0, 1)), aoe_error::reserved);
                       c.expect_good_ata(c.b().ask(read_request(0, 1)));
                       c.expect_error(c.a().ask(reserve_request(rcmd::set, {c.a().mac()})),
                                      aoe_error::reserved);
                     }));
  r.add(edits_request("reserve-read-sets", "takes a read that carries addresses for a set",
                      [](Bytes& q) {
                        if (is_reserve(q) && value_of(q, F::reserve_rcmd) == rcmd::read &&
                            value_of(q, F::reserve_count) > 0) {
                          set(q, F::reserve_rcmd, rcmd::set);
                        }
                      }));
  r.add(reserve_case("reserve.read.ignores-addresses",
                     "A read that carries addresses changes nothing", {"RES-READ"},
                     {"reserve-read-sets"}, [](Context& c) {
                       c.a().ask(reserve_request(rcmd::read, {c.a().mac()}));
                       expect_reserved(c, c.a(), {}, "after a read with an address");
                       must_set(c, c.a(), {c.a().mac()});
                       c.a().ask(reserve_request(rcmd::read, {c.a().mac(), nobody(1)}));
                       expect_reserved(c, c.a(), {c.a().mac()}, "after a read with two addresses");
                     }));

  r.add(edits_request("reserve-unknown-command-forces", "takes RCmds above 2 for a force set",
                      [](Bytes& q) {
                        if (is_reserve(q) && value_of(q, F::reserve_rcmd) > rcmd::force_set) {
                          set(q, F::reserve_rcmd, rcmd::force_set);
                        }
                      }));
  r.add(edits_request("reserve-unknown-command-reads", "takes RCmds above 2 for a read",
                      [](Bytes& q) {
                        if (is_reserve(q) && value_of(q, F::reserve_rcmd) > rcmd::force_set) {
                          set(q, F::reserve_rcmd, rcmd::read);
                        }
                      }));
  r.add(reserve_case(
      "reserve.command.unknown", "Every RCmd from 3 to 255 gets error 2 and changes nothing",
      {"RES-COMMAND"}, {"reserve-unknown-command-forces", "reserve-unknown-command-reads"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        for (unsigned code = 3; code <= 0xff; ++code) {
          c.expect_error(c.a().ask(reserve_request(static_cast<uint8_t>(code), {c.b().mac()})),
                         aoe_error::bad_argument);
        }
        expect_reserved(c, c.a(), {c.a().mac()}, "after unknown commands");
      }));

  r.add(spoils("reserve-count-believed", "takes addresses from behind the end of the frame",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 Bytes changed = q;
                 if (is_set(q) || is_force(q)) {
                   const size_t want = at::reserve_list +
                                       value_of(q, F::reserve_count) * observer::kReserveEntryBytes;
                   for (uint8_t stale = 1; changed.size() < want; ++stale) {
                     changed.push_back(stale);
                   }
                   set(changed, F::reserve_count,
                       std::min<uint64_t>(value_of(q, F::reserve_count), 100));
                 }
                 return f(changed);
               }));
  r.add(reserve_case(
      "reserve.set.count-beyond-the-frame",
      "A count of more addresses than the frame holds reserves for nobody that the frame does not "
      "name",
      {"RES-BEYOND"}, {"reserve-count-believed"}, [](Context& c) {
        for (const uint8_t command : {rcmd::set, rcmd::force_set}) {
          for (const unsigned claimed : {7U, 50U, 255U}) {
            Frame f = reserve_request(command, {c.a().mac()}).set(F::reserve_count, claimed);
            const Exchange x = c.a().ask_once(f);
            c.judge(x, Outcomes()
                           .pass("error 2", seen::aoe_error(aoe_error::bad_argument))
                           .info("a count beyond the frame is met with silence", seen::silence)
                           .info("a count beyond the frame is refused with another error",
                                 [](const Exchange& e) { return e.is_error(); })
                           .info("of a count beyond the frame, what is in the frame is taken",
                                 seen::no_error));
            const Exchange now = c.a().ask(reserve_request(rcmd::read));
            c.expect_no_error(now);
            for (const Mac& mac : observer::reserve_list(*now.reply).value_or(Macs{})) {
              c.expect(mac == c.a().mac() || mac == Mac{}, now,
                       "no address but the one that the frame carries (or its zero padding)",
                       observer::to_string(mac),
                       {observer::Mark(at::reserve_list, now.reply->size())});
            }
            c.expect_no_error(c.a().ask(reserve_request(rcmd::force_set)));
          }
        }
      }));

  r.add(after_set("reserve-long-list-cut", "keeps sixty addresses and says good",
                  [](const Bytes&, ModelTarget& m, const Macs&, Answers& answers) {
                    constexpr size_t kept = 60;
                    if (m.reserved.size() > kept &&
                        value_of(answers[0].bytes, F::flag_error) == 0) {
                      m.reserved.resize(kept);
                    }
                  }));
  r.add(reserve_case(
      "reserve.set.longest-list",
      "A list as long as frame and count allow is kept as a whole or refused as a whole",
      {"RES-SET"}, {"reserve-long-list-cut"}, [](Context& c) {
        const size_t room = (std::min<size_t>(c.frame_max(), 1514) - at::reserve_list) /
                            observer::kReserveEntryBytes;
        for (const size_t n : {size_t{64}, size_t{128}, size_t{200}, std::min<size_t>(room, 247),
                               std::min<size_t>(room, 255)}) {
          must_set(c, c.a(), {c.a().mac()});
          Macs list = {c.a().mac()};
          for (unsigned i = 1; i < n; ++i) {
            list.push_back(nobody(i));
          }
          const Exchange x = c.a().ask(reserve_request(rcmd::set, list));
          c.expect_answer(x);
          if (x.is_error()) {
            c.expect_error(x, aoe_error::bad_argument);
            expect_reserved(c, c.a(), {c.a().mac()}, "after a list that was refused");
            c.info(fmt::format("a list of {} addresses is refused", n));
            break;
          }
          expect_reserved(c, c.a(), list, fmt::format("{} addresses", n));
        }
      }));

  r.add(edits_reply("reserve-error-without-list", "sends no list with error 6",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_reserve(q) && value_of(reply, F::error) == aoe_error::reserved) {
                        reply.resize(at::reserve_list);
                        set(reply, F::reserve_count, 0);
                      }
                    }));
  r.add(reserve_case(
      "reserve.reply.list-with-the-refusal", "The refusal of a set tells who holds the target",
      {"RES-READ"}, {"reserve-error-without-list"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac(), nobody(1)});
        const Exchange x = c.b().ask(reserve_request(rcmd::set, {c.b().mac()}));
        c.expect_error(x, aoe_error::reserved);
        expect_list(c, x, {c.a().mac(), nobody(1)}, "the list in the refusal");
      },
      Level::should));
}

void register_lock(Registry& r) {
  r.add(forgets_for("reserve-reads-open", "keeps others from writing only",
                    [](const Bytes& q) { return is_read_request(q); }));
  r.add(reserve_case(
      "reserve.ata.reads-refused",
      "While reserved, reads of other hosts get error 6, with both commands, and no data",
      {"RES-ATA"}, {"reserve-reads-open"}, [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        for (const bool wide : {false, true}) {
          for (Initiator* who : {&c.b(), &c.c()}) {
            const Exchange x = who->ask(read_request(0, 1, wide));
            c.expect_error(x, aoe_error::reserved);
            c.expect(x.reply->size() <= observer::kMinFrameBytes, x, "no data",
                     fmt::format("{} bytes", x.reply->size()));
          }
        }
        c.expect_good_ata(c.a().ask(read_request(0, 1)));
      }));
  r.add(spoils("reserve-write-refused-and-done",
               "refuses the writes of others and carries them out",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_write_request(q) && !m.reserved.empty() && !holds(m, q)) {
                   const Macs kept = m.reserved;
                   m.reserved.clear();
                   f(q);
                   m.reserved = kept;
                 }
                 return f(q);
               }));
  Case write = reserve_case(
      "reserve.ata.writes-refused",
      "While reserved, writes of other hosts get error 6 and are not carried out", {"RES-ATA"},
      {"reserve-write-refused-and-done"}, [](Context& c) {
        const uint64_t lba = scratch_lba(c, 1);
        const Bytes there = sector_pattern(500);
        put_sectors(c, c.a(), lba, there);
        must_set(c, c.a(), {c.a().mac()});
        for (const bool wide : {false, true}) {
          c.expect_error(c.b().ask(observer::write_request(lba, sector_pattern(501), wide)),
                         aoe_error::reserved);
        }
        c.expect_error(
            c.b().ask(observer::write_request(lba, sector_pattern(502)).set(F::ata_flag_async, 1)),
            aoe_error::reserved);
        expect_on_disk(c, c.a(), lba, there, "after refused writes");
        must_set(c, c.a(), {});
        expect_on_disk(c, c.b(), lba, there, "after the release");
      });
  write.needs.push_back(Need::write);
  r.add(write);
  r.add(forgets_for("reserve-flush-open", "flushes for others", [](const Bytes& q) {
    return is_ata_request(q) &&
           (ata_code(q) == observer::ata::flush || ata_code(q) == observer::ata::check_power);
  }));
  r.add(reserve_case(
      "reserve.ata.flush-and-power-refused",
      "While reserved, flush and check power of other hosts get error 6", {"RES-ATA"},
      {"reserve-flush-open"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        for (const Frame& f : {observer::flush_request(false), observer::flush_request(true),
                               observer::ata_request(observer::ata::check_power, 0, 0)}) {
          c.judge(c.b().ask(f),
                  Outcomes()
                      .pass("error 6", seen::aoe_error(aoe_error::reserved))
                      .info("a flush or check power that the target does not have gets ABRT first",
                            seen::ata_abort)
                      .warn("a flush or check power of another host is served while reserved",
                            seen::good_ata));
        }
      },
      Level::should));
  r.add(ignores(
      "reserve-unknown-ata-silent", "does not answer unknown ATA commands of others while reserved",
      [](const Bytes& q, const ModelTarget& m) {
        return is_ata_request(q) && ata_code(q) == 0xff && !m.reserved.empty() && !holds(m, q);
      }));
  Case unknown =
      reserve_case("reserve.ata.unknown-command",
                   "While reserved, an unknown ATA command of another host gets error 6 or ABRT",
                   {"RES-ATA"}, {"reserve-unknown-ata-silent"}, [](Context& c) {
                     must_set(c, c.a(), {c.a().mac()});
                     c.judge(c.b().ask(observer::ata_request(0xff, 0, 0)),
                             Outcomes()
                                 .pass("error 6", seen::aoe_error(aoe_error::reserved))
                                 .pass("ABRT", seen::ata_abort));
                   });
  unknown.needs.push_back(Need::write);
  r.add(unknown);
  r.add(refuses_while_reserved(
      "reserve-identify-refused", "keeps others from identify",
      [](const Bytes& q) { return is_ata_request(q) && ata_code(q) == observer::ata::identify; }));
  r.add(reserve_case("reserve.ata.identify-stays-open",
                     "While reserved, identify is served to everybody", {"RES-OPEN"},
                     {"reserve-identify-refused"}, [](Context& c) {
                       must_set(c, c.a(), {c.a().mac()});
                       for (Initiator* who : {&c.a(), &c.b(), &c.c()}) {
                         const Exchange x = who->ask(observer::identify_request());
                         c.expect_good_ata(x);
                         c.expect(x.data().size() == observer::kSectorBytes, x, "512 bytes",
                                  fmt::format("{}", x.data().size()));
                       }
                     }));
  r.add(spoils("reserve-range-before-reservation",
               "tells a host without reservation where the disk ends",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const Macs kept = m.reserved;
                 if (is_transfer(q) && value_of(q, F::ata_lba) >= m.config.sectors) {
                   m.reserved.clear();
                 }
                 Answers answers = f(q);
                 m.reserved = kept;
                 return answers;
               }));
  r.add(reserve_case(
      "reserve.ata.before-other-errors",
      "While reserved, wrong reads of other hosts get error 6 as right ones do", {"RES-ATA"},
      {"reserve-range-before-reservation"},
      [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        c.expect_error(c.b().ask(read_request(c.target().sectors, 1)), aoe_error::reserved);
        c.expect_error(c.b().ask(read_request((1ULL << 48) - 1, 1)), aoe_error::reserved);
      },
      Level::should));

  struct Open {
    const char* name;
    uint8_t command;
    std::function<Frame(Context&)> frame;
    std::vector<Need> needs;
  };
  const std::vector<Open> open = {
      {"config-read",
       observer::command::config,
       [](Context&) { return observer::config_request(observer::ccmd::read); },
       {}},
      {"config-set",
       observer::command::config,
       [](Context&) {
         return observer::config_request(observer::ccmd::force_set, "while reserved");
       },
       {Need::config}},
      {"mask-read",
       observer::command::mask,
       [](Context&) { return observer::mask_request(observer::mcmd::read); },
       {}},
      {"mask-edit",
       observer::command::mask,
       [](Context&) {
         return observer::mask_request(observer::mcmd::edit, {{0, observer::dcmd::del, nobody(9)}});
       },
       {}},
      {"reserve-read",
       observer::command::reserve,
       [](Context&) { return reserve_request(rcmd::read); },
       {}},
  };
  for (const Open& o : open) {
    const std::string deviant = fmt::format("reserve-refuses-{}", o.name);
    const bool sub = std::string_view(o.name).find("read") == std::string_view::npos;
    r.add(refuses_while_reserved(deviant, fmt::format("keeps others from {}", o.name),
                                 [command = o.command, sub](const Bytes& q) {
                                   if (value_of(q, F::command) != command) {
                                     return false;
                                   }
                                   const uint64_t code = command == observer::command::config
                                                             ? value_of(q, F::cfg_ccmd)
                                                         : command == observer::command::mask
                                                             ? value_of(q, F::mask_mcmd)
                                                             : value_of(q, F::reserve_rcmd);
                                   return (code != 0) == sub;
                                 }));
    Case c = reserve_case(fmt::format("reserve.open.{}", o.name),
                          fmt::format("While reserved, every host may go on with {}", o.name),
                          {"RES-OPEN"}, {deviant}, [frame = o.frame](Context& t) {
                            must_set(t, t.a(), {t.a().mac()});
                            for (Initiator* who : {&t.b(), &t.a()}) {
                              const Exchange x = who->ask(frame(t));
                              t.unsupported_if_refused(x);
                              t.expect_no_error(x);
                            }
                          });
    c.needs.insert(c.needs.end(), o.needs.begin(), o.needs.end());
    r.add(c);
  }
  r.add(ignores("reserve-hides-from-discovery", "is not found by others while it is reserved",
                [](const Bytes& q, const ModelTarget& m) {
                  return is_command(q, observer::command::config) &&
                         value_of(q, F::shelf) == 0xffff && !m.reserved.empty() && !holds(m, q);
                }));
  r.add(reserve_case("reserve.open.discovery",
                     "While reserved, other hosts find the target by a broadcast query",
                     {"RES-OPEN"}, {"reserve-hides-from-discovery"}, [](Context& c) {
                       must_set(c, c.a(), {c.a().mac()});
                       c.expect_no_error(c.b().ask(observer::config_request(observer::ccmd::read)
                                                       .set(F::shelf, 0xffff)
                                                       .set(F::slot, 0xff)));
                     }));

  r.add(spoils("reserve-first-holder-only", "serves the first address of the list only",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (is_ata_request(q) && m.reserved.size() > 1 && m.reserved[0] != source_of(q)) {
                   return Answers{{m.error_reply(q, aoe_error::reserved, at::ata_data), 0}};
                 }
                 return f(q);
               }));
  r.add(spoils(
      "reserve-last-holder-forgotten", "does not see the last address of a list of several",
      [](const Bytes& q, ModelTarget& m, const Forward& f) {
        if (is_ata_request(q) && m.reserved.size() > 1 && m.reserved.back() == source_of(q)) {
          return Answers{{m.error_reply(q, aoe_error::reserved, at::ata_data), 0}};
        }
        return f(q);
      }));
  r.add(reserve_case(
      "reserve.holders.first-middle-and-last",
      "Every address of the list holds the target, wherever it stands", {"RES-ATA"},
      {"reserve-first-holder-only", "reserve-last-holder-forgotten"}, [](Context& c) {
        const Mac a = c.a().mac();
        const Mac b = c.b().mac();
        const Mac third = c.c().mac();
        for (const Macs& list : {Macs{a, b, third}, Macs{third, a, b}, Macs{b, third, a},
                                 Macs{a, nobody(1), b, nobody(2), third}}) {
          must_set(c, c.a(), list, rcmd::force_set);
          for (Initiator* who : {&c.a(), &c.b(), &c.c()}) {
            c.expect_good_ata(who->ask(read_request(0, 1)));
          }
        }
      }));
  r.add(spoils("reserve-compares-five-bytes", "does not compare the last byte of an address",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 const Macs kept = m.reserved;
                 for (const Mac& mac : kept) {
                   if (is_ata_request(q) &&
                       std::equal(mac.begin(), mac.begin() + 5, q.begin() + 6)) {
                     m.reserved.push_back(source_of(q));
                   }
                 }
                 Answers answers = f(q);
                 m.reserved = is_ata_request(q) ? kept : m.reserved;
                 return answers;
               }));
  r.add(reserve_case("reserve.match.all-six-bytes",
                     "An address that differs from a holder's in any one byte holds nothing",
                     {"RES-ATA"}, {"reserve-compares-five-bytes"}, [](Context& c) {
                       Macs list = {c.a().mac()};
                       for (size_t i = 0; i < 6; ++i) {
                         Mac near = c.b().mac();
                         near[i] ^= 0x40;
                         list.push_back(near);
                       }
                       must_set(c, c.a(), list);
                       c.expect_error(c.b().ask(read_request(0, 1)), aoe_error::reserved);
                       c.expect_error(c.b().ask(reserve_request(rcmd::set, {c.b().mac()})),
                                      aoe_error::reserved);
                     }));
  r.add(edits_reply("reserve-error-six-sticks-to-holder", "gives the holder error 6, too",
                    [](const Bytes& q, Bytes& reply) {
                      (void)q;
                      if (value_of(reply, F::error) == aoe_error::reserved &&
                          value_of(reply, F::command) == observer::command::ata) {
                        set(reply, F::flag_error, 0);
                      }
                    }));
  r.add(reserve_case(
      "reserve.ata.error-flag",
      "The refusal of an ATA command has the E flag: without it, it would look like a good reply",
      {"RES-ATA"}, {"reserve-error-six-sticks-to-holder"}, [](Context& c) {
        must_set(c, c.a(), {c.a().mac()});
        const Exchange x = c.b().ask(read_request(0, 1));
        c.expect_field(x, F::flag_error, 1);
        c.expect_field(x, F::error, aoe_error::reserved);
      }));
  r.add(remembers("reserve-handed-around-twice-is-lost", "forgets the third holder in a row", [] {
    return Middleware([sets = 0](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
      Answers answers = f(q);
      if ((is_set(q) || is_force(q)) && value_of(q, F::reserve_count) > 0 && ++sets % 3 == 0) {
        m.reserved.clear();
      }
      return answers;
    });
  }));
  r.add(reserve_case(
      "reserve.handed-around",
      "Three hosts hand the target around, and each time exactly one of them is served",
      {"RES-SET", "RES-ATA"}, {"reserve-handed-around-twice-is-lost"}, [](Context& c) {
        Initiator* hosts[] = {&c.a(), &c.b(), &c.c()};
        must_set(c, *hosts[0], {hosts[0]->mac()});
        for (size_t turn = 0; turn < 6; ++turn) {
          Initiator& holder = *hosts[turn % 3];
          for (Initiator* who : hosts) {
            const Exchange x = who->ask(read_request(0, 1));
            if (who == &holder) {
              c.expect_good_ata(x);
            } else {
              c.expect_error(x, aoe_error::reserved);
            }
          }
          must_set(c, holder, {hosts[(turn + 1) % 3]->mac()});
        }
      }));
  Deviant keeps =
      forgets_for("reserve-forgotten-on-restart", "forgets the reservation with a restart",
                  [](const Bytes&) { return false; });
  keeps.on_restart = [](ModelTarget& m) { m.reserved.clear(); };
  r.add(keeps);
  Case restart = reserve_case(
      "reserve.restart.kept-or-not",
      "Whether a reservation survives a restart is the target's choice: it is reported",
      {"RES-RESTART"}, {"reserve-forgotten-on-restart"},
      [](Context& c) {
        const Macs want = {c.a().mac(), nobody(1)};
        must_set(c, c.a(), want);
        c.restart_target();
        const Exchange x = c.a().ask(reserve_request(rcmd::read));
        c.expect_no_error(x);
        if (x.field(F::reserve_count) == 0) {
          c.info("the reservation does not survive a restart");
          return;
        }
        expect_list(c, x, want, "a reservation that survives a restart does so as a whole");
      },
      Level::may);
  restart.needs.push_back(Need::target_command);
  r.add(restart);

  r.add(remembers("reserve-first-request-served",
                  "serves the first ATA request of a host that it has not seen before", [] {
                    return Middleware([seen_before = std::set<Bytes>()](const Bytes& q,
                                                                        ModelTarget& m,
                                                                        const Forward& f) mutable {
                      if (!is_ata_request(q) ||
                          !seen_before.insert(Bytes(q.begin() + 6, q.begin() + 12)).second) {
                        return f(q);
                      }
                      const Macs kept = m.reserved;
                      m.reserved.clear();
                      Answers answers = f(q);
                      m.reserved = kept;
                      return answers;
                    });
                  }));
  Case first = reserve_case(
      "reserve.ata.first-request-ever",
      "The first ATA request that a fresh target gets from a host that is not on the list is "
      "refused like any later one",
      {"RES-ATA"}, {"reserve-first-request-served"}, [](Context& c) {
        c.restart_target();
        must_set(c, c.a(), {c.a().mac()}, rcmd::force_set);
        c.expect_error(c.b().ask(read_request(0, 1)), aoe_error::reserved);
        c.expect_error(c.b().ask(read_request(0, 1)), aoe_error::reserved);
      });
  first.needs.push_back(Need::target_command);
  r.add(first);
}

}  // namespace

void register_reserve(Registry& r) {
  register_list(r);
  register_lock(r);
}

}  // namespace conformance
