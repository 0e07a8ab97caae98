// Family neighbours: two hosts whose addresses differ in the last octet only, as those of one
// maker's machines do. What a list or a session holds of one says nothing about the other. Edits
// mask and reserve lists, and empties them again.

#include <fmt/format.h>

#include "conformance/cases/families/negotiation.h"
#include "conformance/cases/sectors.h"

namespace conformance {

using observer::read_request;
using observer::reserve_request;
namespace at = observer::at;

namespace {

using Macs = std::vector<Mac>;

// The one who is on the list, and the one who is not.
struct Twins {
  Initiator one;
  Initiator other;
};

Twins twins(Context& t) {
  Mac one = t.c().mac();
  Mac other = one;
  one[5] = 0x10;
  other[5] = 0x11;
  return {Initiator(t, one), Initiator(t, other)};
}

// As a deviant sees them: addresses of five octets.
Mac cut(Mac mac) {
  mac[5] = 0x10;
  return mac;
}

Deviant asks_as_the_twin(std::string name, std::string story, RequestTest when) {
  return edits_request(std::move(name), std::move(story), [when = std::move(when)](Bytes& q) {
    if (observer::is_aoe(q) && q[11] == 0x11 && when(q)) {
      q[11] = 0x10;
    }
  });
}
// The answer goes back to who asked.
Deviant takes_for_the_twin(std::string name, std::string story, RequestTest when) {
  return spoils(std::move(name), std::move(story),
                [when = std::move(when)](const Bytes& q, ModelTarget&, const Forward& f) {
                  if (!observer::is_aoe(q) || q[11] != 0x11 || !when(q)) {
                    return f(q);
                  }
                  Bytes changed = q;
                  changed[11] = 0x10;
                  Answers answers = f(changed);
                  for (auto& a : answers) {
                    a.bytes[5] = 0x11;
                  }
                  return answers;
                });
}

Case twin_case(std::string id, std::string title, std::vector<std::string> clauses,
               std::vector<std::string> fails_on, std::function<void(Context&, Twins&)> run,
               std::vector<Need> needs) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = std::move(clauses);
  c.needs = std::move(needs);
  c.needs.push_back(Need::second_initiator);
  c.fails_on = std::move(fails_on);
  c.run = [run = std::move(run)](Context& t) {
    Twins pair = twins(t);
    run(t, pair);
  };
  return c;
}

}  // namespace

void register_neighbours(Registry& r) {
  r.add(asks_as_the_twin("reply-to-five-octets", "keeps five octets of the asker's address",
                         [](const Bytes& q) { return is_read_request(q); }));
  r.add(twin_case("neighbours.reply.to-the-asker",
                  "Of two hosts whose addresses differ in the last octet, each gets its own reply",
                  {"HDR-DESTINATION"}, {"reply-to-five-octets"},
                  [](Context& t, Twins& pair) {
                    for (Initiator* who : {&pair.one, &pair.other}) {
                      const Exchange x = who->ask(read_request(0, 1));
                      t.expect_good_ata(x);
                    }
                  },
                  {}));

  r.add(takes_for_the_twin("reserve-five-octets", "compares five octets with the reserve list",
                           [](const Bytes& q) { return is_ata_request(q); }));
  r.add(twin_case("neighbours.reserve.holds",
                  "A reservation holds against a host whose address differs in the last octet",
                  {"RES-ATA"}, {"reserve-five-octets"},
                  [](Context& t, Twins& pair) {
                    const Exchange before = t.a().ask(reserve_request(observer::rcmd::read));
                    t.unsupported_if_refused(before, true);
                    t.expect_no_error(before);
                    t.after([&t, list = observer::reserve_list(*before.reply).value_or(Macs{})] {
                      t.a().ask(reserve_request(observer::rcmd::force_set, list));
                    });
                    t.expect_no_error(
                        pair.one.ask(reserve_request(observer::rcmd::force_set, {pair.one.mac()})));
                    t.expect_good_ata(pair.one.ask(read_request(0, 1)));
                    t.expect_error(pair.other.ask(read_request(0, 1)),
                                   observer::aoe_error::reserved);
                  },
                  {Need::lockout}));

  using negotiation::Counter;
  using negotiation::Inc;
  r.add(spoils("session-of-five-octets", "keeps one session for addresses that share five octets",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (!observer::is_aoe(q) || q[11] != 0x11) {
                   return f(q);
                 }
                 const Mac own = negotiation::source_of(q);
                 m.sessions[own] = m.sessions[cut(own)];
                 Answers answers = f(q);
                 m.sessions[cut(own)] = m.sessions[own];
                 return answers;
               }));
  for (const Inc inc : {Inc::be, Inc::le}) {
    Case c =
        twin_case(fmt::format("neighbours.tags.own-window.{}", inc == Inc::be ? "be" : "le"),
                  "Two hosts whose addresses differ in the last octet have a tag window each",
                  {"TAG-OWN"}, {"session-of-five-octets"},
                  [inc](Context& t, Twins& pair) {
                    constexpr uint32_t first = 0x5000;
                    const uint64_t lba = negotiation::scratch_sector(t, 0);
                    negotiation::scratch_sector(t, 1);
                    Counter one(t, pair.one, inc, first);
                    Counter other(t, pair.other, inc, first);
                    t.after([&t, one_mac = pair.one.mac(), other_mac = pair.other.mac()] {
                      for (const Mac& mac : {one_mac, other_mac}) {
                        Initiator(t, mac).ask(negotiation::table(t, {"reset"}));
                      }
                    });
                    one.negotiate();
                    other.negotiate();
                    const Bytes mine = negotiation::sector_of("mine");
                    const uint32_t value = one.write_new(lba, negotiation::sector_of("other"));
                    t.expect_good_ata(other.write(lba + 1, mine, value));
                    other.jump(value + 1);
                    other.expect_disk(lba + 1, mine,
                                      "one host's tag made another's write look like a duplicate");
                  },
                  {Need::write});
    c.extensions = {"reset", negotiation::feature(inc)};
    r.add(c);
  }
}

}  // namespace conformance
