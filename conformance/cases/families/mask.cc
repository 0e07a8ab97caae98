// Family mask: command 2, the list of source addresses that a target serves. It is exercised as a
// list (in every order, first, middle, last, full) and as a lock (who is not on it meets silence,
// whatever the command, and nothing that it asks for is done). Every case begins with an empty list
// and leaves the one that it found.

#include <fmt/format.h>

#include <utility>

#include "conformance/cases/sectors.h"
#include "conformance/links/gate.h"

namespace conformance {

using observer::Directive;
using observer::mask_request;
using observer::set;
namespace at = observer::at;
namespace dcmd = observer::dcmd;
namespace mcmd = observer::mcmd;
namespace aoe_error = observer::aoe_error;

namespace {

constexpr uint64_t kBadDirective = 2;
constexpr uint64_t kListFull = 3;
constexpr size_t kDirectivesAtOnce = 100;

using Macs = std::vector<Mac>;

// Addresses of nobody.
Mac nobody(unsigned i) {
  return {0x02, 0x5e, 0x11, 0x22, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
}

std::vector<Directive> directives(uint8_t command, const Macs& macs) {
  std::vector<Directive> out;
  for (const Mac& mac : macs) {
    out.push_back({0, command, mac});
  }
  return out;
}

std::string told(Macs macs) {
  std::sort(macs.begin(), macs.end());
  std::string out = fmt::format("{} addresses", macs.size());
  constexpr size_t shown = 6;
  for (size_t i = 0; i < std::min(shown, macs.size()); ++i) {
    out += (i == 0 ? ": " : ", ") + observer::to_string(macs[i]);
  }
  return out + (macs.size() > shown ? ", ..." : "");
}

Macs list_in(const Bytes& reply) {
  Macs macs;
  for (const Directive& d : observer::mask_list(reply).value_or(std::vector<Directive>{})) {
    macs.push_back(d.mac);
  }
  return macs;
}

// A good reply with a whole list in it: order is the target's affair, so the list comes back
// sorted.
Macs expect_list(Context& c, const Exchange& x) {
  c.expect_no_error(x);
  c.expect(x.reply->size() >= at::mask_list, x, "a reply with the fields of a mask list",
           fmt::format("{} bytes", x.reply->size()));
  c.expect_field(x, F::mask_merror, 0);
  Macs macs = list_in(*x.reply);
  c.expect(macs.size() == x.field(F::mask_count), x, "as many addresses as the count says",
           fmt::format("{} of {}", macs.size(), x.field(F::mask_count)), {F::mask_count});
  std::sort(macs.begin(), macs.end());
  return macs;
}

void expect_same(Context& c, const Exchange& x, const Macs& got, Macs want,
                 const std::string& story) {
  std::sort(want.begin(), want.end());
  c.expect(got == want, x, story + ": " + told(want), told(got),
           {observer::Mark(at::mask_list, want.size() * observer::kMaskEntryBytes)});
}

// The list as `who` reads it.
void expect_mask(Context& c, Initiator& who, const Macs& want, const std::string& story) {
  const Exchange x = who.ask(mask_request(mcmd::read));
  expect_same(c, x, expect_list(c, x), want, story);
}

Exchange edit(Initiator& who, const std::vector<Directive>& list) {
  return who.ask(mask_request(mcmd::edit, list));
}
void must_add(Context& c, Initiator& who, const Macs& macs) {
  expect_list(c, edit(who, directives(dcmd::add, macs)));
}
void must_delete(Context& c, Initiator& who, const Macs& macs) {
  expect_list(c, edit(who, directives(dcmd::del, macs)));
}

// Empties the list through whoever is admitted. Never throws for silence: it runs when things went
// wrong, too.
void clear_mask(Context& c) {
  constexpr int rounds = 8;
  for (int round = 0; round < rounds; ++round) {
    Macs macs;
    bool whole = true;  // a long list may not fit one reply
    Initiator* speaker = nullptr;
    for (const size_t i : {0U, 1U, 2U}) {
      Initiator& who = c.initiator(i);
      const auto tag = static_cast<uint32_t>(value_of(who.send(mask_request(mcmd::read)), F::tag));
      if (const auto f = who.await_tag(tag, c.patience_ns())) {
        macs = list_in(f->bytes);
        whole = value_of(f->bytes, F::mask_count) <= macs.size();
        speaker = &who;
        break;
      }
    }
    if (speaker == nullptr || macs.empty()) {
      return;
    }
    // The speaker goes last, or it could not go on.
    std::stable_partition(macs.begin(), macs.end(),
                          [&](const Mac& m) { return m != speaker->mac(); });
    if (!whole && macs.back() == speaker->mac()) {
      macs.pop_back();
    }
    const size_t at_once =
        std::min(kDirectivesAtOnce, (c.frame_max() - at::mask_list) / observer::kMaskEntryBytes);
    if (macs.size() > at_once) {
      macs.resize(at_once);
    }
    const auto tag = static_cast<uint32_t>(
        value_of(speaker->send(mask_request(mcmd::edit, directives(dcmd::del, macs))), F::tag));
    speaker->await_tag(tag, c.patience_ns());
  }
}

// An empty list to begin with, and the old one afterwards.
void begin(Context& c) {
  const Exchange x = c.a().ask(mask_request(mcmd::read));
  c.unsupported_if_refused(x, true);
  c.expect_no_error(x);
  const Macs before = list_in(*x.reply);
  c.after([&c, before] {
    clear_mask(c);
    if (!before.empty()) {
      c.a().send(mask_request(mcmd::edit, directives(dcmd::add, before)));
      c.a().collect(1, c.patience_ns());
    }
  });
  if (!before.empty()) {
    clear_mask(c);
  }
}

// The suite's own two who must stay able to speak: who asks, and who asks for signs of life.
Macs keepers(Context& c) {
  return {c.a().mac(), c.prober_mac()};
}

Macs plus(Macs macs, const Macs& more) {
  macs.insert(macs.end(), more.begin(), more.end());
  return macs;
}

// --- Deviants. ---
bool is_mask(const Bytes& q) {
  return is_command(q, observer::command::mask) && q.size() >= at::mask_list;
}
bool is_edit(const Bytes& q) {
  return is_mask(q) && value_of(q, F::mask_mcmd) == mcmd::edit;
}
std::vector<Directive> directives_of(const Bytes& q) {
  return observer::mask_list(q).value_or(std::vector<Directive>{});
}
bool admitted(const Bytes& q, const ModelTarget& m) {
  Mac mac{};
  std::copy_n(q.begin() + 6, mac.size(), mac.begin());
  return m.mask.empty() || std::find(m.mask.begin(), m.mask.end(), mac) != m.mask.end();
}
// Looks at the list before and after an edit.
Deviant after_edit(
    std::string name, std::string story,
    std::function<void(const Bytes&, ModelTarget&, const Macs& before, Answers&)> spoil) {
  return spoils(std::move(name), std::move(story),
                [spoil = std::move(spoil)](const Bytes& q, ModelTarget& m, const Forward& f) {
                  const Macs before = m.mask;
                  Answers answers = f(q);
                  if (is_edit(q)) {
                    spoil(q, m, before, answers);
                  }
                  return answers;
                });
}
Deviant edits_directives(std::string name, std::string story,
                         std::function<void(std::vector<Directive>&)> change) {
  return edits_request(std::move(name), std::move(story), [change = std::move(change)](Bytes& q) {
    if (!is_edit(q)) {
      return;
    }
    std::vector<Directive> list = directives_of(q);
    change(list);
    q.resize(at::mask_list);
    set(q, F::mask_count, list.size());
    for (const Directive& d : list) {
      q.push_back(d.reserved);
      q.push_back(d.dcmd);
      q.insert(q.end(), d.mac.begin(), d.mac.end());
    }
  });
}
// Serves a masked host: for some commands, with or without an answer.
Deviant lets_in(std::string name, std::string story, RequestTest when, bool answers_too) {
  return spoils(
      std::move(name), std::move(story),
      [when = std::move(when), answers_too](const Bytes& q, ModelTarget& m, const Forward& f) {
        if (!observer::is_aoe(q) || admitted(q, m) || !when(q)) {
          return f(q);
        }
        const Macs kept = m.mask;
        m.mask.clear();
        Answers answers = f(q);
        if (!is_edit(q)) {
          m.mask = kept;
        } else {
          m.mask.insert(m.mask.begin(), kept.begin(), kept.end());
        }
        return answers_too ? answers : Answers{};
      });
}

Case mask_case(std::string id, std::string title, std::vector<std::string> clauses,
               std::vector<std::string> fails_on, std::function<void(Context&)> run,
               Level level = Level::must) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = std::move(clauses);
  c.level = level;
  c.needs = {Need::lockout, Need::second_initiator};
  c.hostile =
      true;  // editing a list has killed targets, and the last edit is the one that cleans up
  c.fails_on = std::move(fails_on);
  c.run = [run = std::move(run)](Context& t) {
    begin(t);
    run(t);
  };
  return c;
}

void register_editing(Registry& r) {
  r.add(edits_reply("mask-empty-list-counts-one", "shows an empty list as one address of zeros",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_mask(q) && value_of(reply, F::mask_count) == 0 &&
                          value_of(reply, F::flag_error) == 0) {
                        set(reply, F::mask_count, 1);
                        reply.resize(at::mask_list + observer::kMaskEntryBytes, 0);
                      }
                    }));
  r.add(mask_case("mask.read.empty", "An empty list is read as no addresses, without error",
                  {"MASK-READ"}, {"mask-empty-list-counts-one"}, [](Context& c) {
                    const Exchange x = c.a().ask(mask_request(mcmd::read));
                    expect_same(c, x, expect_list(c, x), {}, "the list is empty");
                    c.expect_field(x, F::mask_mcmd, mcmd::read);
                  }));

  r.add(after_edit("mask-edit-shows-old-list", "answers an edit with the list from before it",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers& answers) {
                     if (answers.empty() || value_of(answers[0].bytes, F::mask_merror) != 0) {
                       return;
                     }
                     Bytes reply = m.reply_to(q, at::mask_list);
                     set(reply, F::mask_mcmd, mcmd::edit);
                     set(reply, F::mask_count, before.size());
                     for (const Mac& mac : before) {
                       reply.insert(reply.end(), {0, 0});
                       reply.insert(reply.end(), mac.begin(), mac.end());
                     }
                     answers[0].bytes = reply;
                   }));
  r.add(mask_case("mask.edit.reply-carries-the-new-list",
                  "The reply to an edit carries the list as it is after it, as a read does",
                  {"MASK-REPLY"}, {"mask-edit-shows-old-list"}, [](Context& c) {
                    const Exchange x = edit(c.a(), directives(dcmd::add, keepers(c)));
                    expect_same(c, x, expect_list(c, x), keepers(c), "the reply to an add");
                    const Exchange more = edit(c.a(), directives(dcmd::add, {nobody(1)}));
                    expect_same(c, more, expect_list(c, more), plus(keepers(c), {nobody(1)}),
                                "the reply to another add");
                    const Exchange less = edit(c.a(), directives(dcmd::del, {nobody(1)}));
                    expect_same(c, less, expect_list(c, less), keepers(c), "the reply to a delete");
                  }));

  const auto loses_nth = [](std::string name, std::string story, size_t n) {
    return edits_directives(std::move(name), std::move(story), [n](std::vector<Directive>& list) {
      if (list.size() > n) {
        list.erase(list.begin() + static_cast<ptrdiff_t>(n));
      }
    });
  };
  r.add(loses_nth("mask-third-directive-lost", "does not see the third directive of an edit", 2));
  r.add(edits_directives("mask-last-directive-lost",
                         "stops one directive before the last of several",
                         [](std::vector<Directive>& list) {
                           if (list.size() > 1) {
                             list.pop_back();
                           }
                         }));
  r.add(mask_case("mask.add.several-at-once", "One edit adds all of its addresses, few or many",
                  {"MASK-EDIT"}, {"mask-third-directive-lost", "mask-last-directive-lost"},
                  [](Context& c) {
                    Macs want = keepers(c);
                    must_add(c, c.a(), want);
                    for (const unsigned n : {3U, 8U, 16U}) {
                      Macs more;
                      for (unsigned i = 0; i < n; ++i) {
                        more.push_back(nobody(n * 100 + i));
                      }
                      must_add(c, c.a(), more);
                      expect_mask(c, c.a(), plus(want, more), fmt::format("{} were added", n));
                      must_delete(c, c.a(), more);
                    }
                  }));

  r.add(after_edit("mask-edit-replaces", "an edit that adds replaces the list",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                     const auto list = directives_of(q);
                     if (!list.empty() && list[0].dcmd == dcmd::add && before.size() >= 2) {
                       m.mask.erase(m.mask.begin() + 1,
                                    m.mask.begin() + static_cast<ptrdiff_t>(before.size()));
                     }
                   }));
  r.add(mask_case("mask.add.one-after-the-other",
                  "Edits add up: each leaves what the ones before it added", {"MASK-EDIT"},
                  {"mask-edit-replaces"}, [](Context& c) {
                    Macs want = keepers(c);
                    must_add(c, c.a(), want);
                    for (unsigned i = 0; i < 6; ++i) {
                      must_add(c, c.a(), {nobody(i)});
                      want.push_back(nobody(i));
                      expect_mask(c, c.a(), want, fmt::format("after {} adds", i + 1));
                    }
                  }));

  r.add(after_edit("mask-adds-twice", "keeps an address twice that is added twice",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                     for (const Directive& d : directives_of(q)) {
                       if (d.dcmd == dcmd::add &&
                           std::find(before.begin(), before.end(), d.mac) != before.end()) {
                         m.mask.push_back(d.mac);
                       }
                     }
                   }));
  r.add(edits_reply("mask-second-add-refused", "takes a second add in one edit for a bad directive",
                    [](const Bytes& q, Bytes& reply) {
                      const auto list = is_edit(q) ? directives_of(q) : std::vector<Directive>{};
                      if (list.size() == 2 && list[0] == list[1]) {
                        set(reply, F::mask_merror, kBadDirective);
                      }
                    }));
  r.add(mask_case("mask.add.twice",
                  "An address that is added twice stands once, and one delete removes it",
                  {"MASK-EDIT"}, {"mask-adds-twice", "mask-second-add-refused"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    must_add(c, c.a(), {nobody(1)});
                    must_add(c, c.a(), {nobody(1)});
                    expect_mask(c, c.a(), plus(keepers(c), {nobody(1)}), "added twice");
                    must_delete(c, c.a(), {nobody(1)});
                    expect_mask(c, c.a(), keepers(c), "deleted once");
                    must_add(c, c.a(), {nobody(2), nobody(2)});
                    expect_mask(c, c.a(), plus(keepers(c), {nobody(2)}), "added twice in one edit");
                  }));

  struct Place {
    const char* name;
    size_t index;
  };
  r.add(after_edit("mask-delete-takes-the-next-too", "deleting the first address loses the second",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                     const auto list = directives_of(q);
                     if (list.size() == 1 && list[0].dcmd == dcmd::del && before.size() > 3 &&
                         list[0].mac == before[2]) {
                       m.mask.erase(m.mask.begin() + 2);
                     }
                   }));
  r.add(after_edit(
      "mask-delete-cuts", "deleting from the middle cuts the list there",
      [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
        const auto list = directives_of(q);
        const auto it =
            list.empty() ? before.end() : std::find(before.begin(), before.end(), list[0].mac);
        const auto at = static_cast<size_t>(it - before.begin());
        if (it != before.end() && list[0].dcmd == dcmd::del && at > 2 && at + 1 < before.size()) {
          m.mask.resize(at);
        }
      }));
  r.add(after_edit("mask-delete-misses-the-last", "does not find the last address of the list",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                     const auto list = directives_of(q);
                     if (!list.empty() && list[0].dcmd == dcmd::del && before.size() > 2 &&
                         list[0].mac == before.back()) {
                       m.mask.push_back(before.back());
                     }
                   }));
  const std::pair<Place, const char*> places[] = {{{"first", 0}, "mask-delete-takes-the-next-too"},
                                                  {{"middle", 2}, "mask-delete-cuts"},
                                                  {{"last", 4}, "mask-delete-misses-the-last"}};
  for (const auto& [place, deviant] : places) {
    r.add(mask_case(
        fmt::format("mask.delete.{}", place.name),
        fmt::format("Deleting the {} of the added addresses leaves all the others", place.name),
        {"MASK-EDIT"}, {deviant}, [index = place.index](Context& c) {
          Macs five;
          for (unsigned i = 0; i < 5; ++i) {
            five.push_back(nobody(10 + i));
          }
          must_add(c, c.a(), plus(keepers(c), five));
          must_delete(c, c.a(), {five[index]});
          five.erase(five.begin() + static_cast<ptrdiff_t>(index));
          expect_mask(c, c.a(), plus(keepers(c), five), "all but the deleted one");
        }));
  }

  r.add(remembers("mask-two-deletes-lose-the-rest",
                  "loses an address when the list was deleted from both ends", [] {
                    return Middleware([high = false](const Bytes& q, ModelTarget& m,
                                                     const Forward& f) mutable {
                      const auto list = is_edit(q) ? directives_of(q) : std::vector<Directive>{};
                      const Macs before = m.mask;
                      Answers answers = f(q);
                      if (list.size() == 1 && list[0].dcmd == dcmd::del && before.size() > 3) {
                        if (high && list[0].mac == before[2]) {
                          m.mask.pop_back();
                        }
                        high = list[0].mac == before.back();
                      }
                      return answers;
                    });
                  }));
  r.add(mask_case("mask.delete.in-every-order",
                  "Three addresses can be deleted in each of the six orders", {"MASK-EDIT"},
                  {"mask-two-deletes-lose-the-rest"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    std::vector<unsigned> order = {0, 1, 2};
                    do {
                      Macs left = {nobody(0), nobody(1), nobody(2)};
                      must_add(c, c.a(), left);
                      for (const unsigned i : order) {
                        must_delete(c, c.a(), {nobody(i)});
                        left.erase(std::find(left.begin(), left.end(), nobody(i)));
                        expect_mask(c, c.a(), plus(keepers(c), left),
                                    fmt::format("order {}{}{}", order[0], order[1], order[2]));
                      }
                    } while (std::next_permutation(order.begin(), order.end()));
                  }));

  r.add(after_edit("mask-delete-of-absent-takes-last",
                   "deletes the last address when it does not find the one it is told",
                   [](const Bytes& q, ModelTarget& m, const Macs& before, Answers&) {
                     const auto list = directives_of(q);
                     if (list.size() == 1 && list[0].dcmd == dcmd::del && m.mask == before &&
                         m.mask.size() > 2) {
                       m.mask.pop_back();
                     }
                   }));
  r.add(mask_case("mask.delete.absent",
                  "Deleting an address that is not there is good and changes nothing",
                  {"MASK-EDIT"}, {"mask-delete-of-absent-takes-last"}, [](Context& c) {
                    const Macs want = plus(keepers(c), {nobody(1), nobody(2)});
                    must_add(c, c.a(), want);
                    must_delete(c, c.a(), {nobody(3)});
                    must_delete(c, c.a(), {nobody(4)});
                    expect_mask(c, c.a(), want, "after the delete of strangers");
                  }));

  r.add(remembers("mask-deleted-never-comes-back", "does not add again what was deleted once", [] {
    return Middleware([gone = Macs()](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
      const auto list = is_edit(q) ? directives_of(q) : std::vector<Directive>{};
      Answers answers = f(q);
      for (const Directive& d : list) {
        if (d.dcmd == dcmd::add && std::find(gone.begin(), gone.end(), d.mac) != gone.end()) {
          m.mask.erase(std::remove(m.mask.begin(), m.mask.end(), d.mac), m.mask.end());
        } else if (d.dcmd == dcmd::del) {
          gone.push_back(d.mac);
        }
      }
      return answers;
    });
  }));
  r.add(mask_case(
      "mask.add.again-after-delete", "What was deleted can be added again, several times over",
      {"MASK-EDIT"}, {"mask-deleted-never-comes-back"}, [](Context& c) {
        must_add(c, c.a(), plus(keepers(c), {nobody(1), nobody(2)}));
        for (int i = 0; i < 3; ++i) {
          must_delete(c, c.a(), {nobody(1)});
          expect_mask(c, c.a(), plus(keepers(c), {nobody(2)}), "deleted");
          must_add(c, c.a(), {nobody(1)});
          expect_mask(c, c.a(), plus(keepers(c), {nobody(1), nobody(2)}), "added again");
        }
      }));

  r.add(edits_directives("mask-deletes-first", "applies the deletes of an edit before its adds",
                         [](std::vector<Directive>& list) {
                           std::stable_partition(list.begin(), list.end(), [](const Directive& d) {
                             return d.dcmd == dcmd::del;
                           });
                         }));
  r.add(edits_directives("mask-adds-first", "applies the adds of an edit before its deletes",
                         [](std::vector<Directive>& list) {
                           std::stable_partition(list.begin(), list.end(), [](const Directive& d) {
                             return d.dcmd == dcmd::add;
                           });
                         }));
  r.add(mask_case(
      "mask.edit.in-order",
      "The directives of an edit apply in order: add, delete, add again, delete again",
      {"MASK-EDIT"}, {"mask-deletes-first", "mask-adds-first"}, [](Context& c) {
        must_add(c, c.a(), plus(keepers(c), {nobody(5)}));
        expect_list(c, edit(c.a(), {{0, dcmd::add, nobody(1)}, {0, dcmd::del, nobody(1)}}));
        expect_mask(c, c.a(), plus(keepers(c), {nobody(5)}), "added and deleted");
        expect_list(c, edit(c.a(), {{0, dcmd::del, nobody(5)}, {0, dcmd::add, nobody(5)}}));
        expect_mask(c, c.a(), plus(keepers(c), {nobody(5)}), "deleted and added");
        expect_list(c, edit(c.a(), {{0, dcmd::add, nobody(2)},
                                    {0, dcmd::del, nobody(5)},
                                    {0, dcmd::del, nobody(2)},
                                    {0, dcmd::add, nobody(2)}}));
        expect_mask(c, c.a(), plus(keepers(c), {nobody(2)}), "mixed");
      }));

  r.add(edits_directives("mask-nothing-adds", "takes the directive 0 for an add",
                         [](std::vector<Directive>& list) {
                           for (Directive& d : list) {
                             d.dcmd = d.dcmd == dcmd::nothing ? dcmd::add : d.dcmd;
                           }
                         }));
  r.add(edits_directives(
      "mask-nothing-ends-the-edit", "stops at the directive 0", [](std::vector<Directive>& list) {
        const auto it = std::find_if(list.begin(), list.end(),
                                     [](const Directive& d) { return d.dcmd == dcmd::nothing; });
        list.erase(it, list.end());
      }));
  r.add(mask_case("mask.edit.no-directive",
                  "The directive 0 does nothing, and what stands behind it is applied",
                  {"MASK-EDIT"}, {"mask-nothing-adds", "mask-nothing-ends-the-edit"},
                  [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    expect_list(c, edit(c.a(), {{0, dcmd::nothing, nobody(1)},
                                                {0, dcmd::add, nobody(2)},
                                                {0, dcmd::nothing, c.a().mac()},
                                                {0, dcmd::add, nobody(3)}}));
                    expect_mask(c, c.a(), plus(keepers(c), {nobody(2), nobody(3)}),
                                "with directives of nothing");
                  }));

  r.add(after_edit("mask-empty-edit-clears", "an edit without directives empties the list",
                   [](const Bytes& q, ModelTarget& m, const Macs&, Answers&) {
                     if (value_of(q, F::mask_count) == 0) {
                       m.mask.clear();
                     }
                   }));
  r.add(mask_case("mask.edit.without-directives",
                  "An edit of no directives is good and changes nothing", {"MASK-EDIT"},
                  {"mask-empty-edit-clears"}, [](Context& c) {
                    const Macs want = plus(keepers(c), {nobody(1)});
                    must_add(c, c.a(), want);
                    expect_list(c, edit(c.a(), {}));
                    expect_mask(c, c.a(), want, "after an edit of nothing");
                  }));

  r.add(edits_request("mask-read-edits", "takes a read that carries directives for an edit",
                      [](Bytes& q) {
                        if (is_mask(q) && value_of(q, F::mask_mcmd) == mcmd::read &&
                            value_of(q, F::mask_count) > 0) {
                          set(q, F::mask_mcmd, mcmd::edit);
                        }
                      }));
  r.add(mask_case("mask.read.ignores-directives", "A read that carries directives changes nothing",
                  {"MASK-READ"}, {"mask-read-edits"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    c.a().ask(mask_request(mcmd::read, directives(dcmd::add, {nobody(1)})));
                    c.a().ask(mask_request(mcmd::read, directives(dcmd::del, {c.prober_mac()})));
                    expect_mask(c, c.a(), keepers(c), "after reads with directives");
                  }));

  r.add(edits_directives(
      "mask-zero-address-ends", "takes an address of zeros for the end of the list",
      [](std::vector<Directive>& list) {
        const auto it = std::find_if(list.begin(), list.end(),
                                     [](const Directive& d) { return d.mac == Mac{}; });
        list.erase(it, list.end());
      }));
  r.add(mask_case(
      "mask.add.odd-addresses",
      "Zero, broadcast and multicast addresses are added and deleted like others", {"MASK-EDIT"},
      {"mask-zero-address-ends"},
      [](Context& c) {
        must_add(c, c.a(), keepers(c));
        const Macs odd = {Mac{}, observer::kBroadcastMac, Mac{0x01, 0x80, 0xc2, 0, 0, 0},
                          nobody(1)};
        must_add(c, c.a(), odd);
        expect_mask(c, c.a(), plus(keepers(c), odd), "odd addresses were added");
        must_delete(c, c.a(), {odd[0], odd[1]});
        expect_mask(c, c.a(), plus(keepers(c), {odd[2], odd[3]}), "two of them were deleted");
      },
      Level::should));

  r.add(edits_request("mask-reserved-byte-is-command",
                      "reads a directive's command from its reserved byte as well", [](Bytes& q) {
                        if (is_edit(q)) {
                          for (size_t i = at::mask_list; i + observer::kMaskEntryBytes <= q.size();
                               i += observer::kMaskEntryBytes) {
                            q[i + 1] = static_cast<uint8_t>(q[i + 1] | q[i]);
                          }
                        }
                      }));
  r.add(mask_case(
      "mask.edit.reserved-bytes-ignored",
      "Reserved bytes, the list's and the directives', and MError in a request are ignored",
      {"MASK-RESERVED"}, {"mask-reserved-byte-is-command"},
      [](Context& c) {
        must_add(c, c.a(), keepers(c));
        Frame f =
            mask_request(mcmd::edit, {{0xff, dcmd::add, nobody(1)}, {0x02, dcmd::add, nobody(2)}});
        f.set(F::mask_reserved, 0xff).set(F::mask_merror, 0xff);
        expect_list(c, c.a().ask(f));
        expect_mask(c, c.a(), plus(keepers(c), {nobody(1), nobody(2)}), "with reserved bytes set");
      },
      Level::should));
}

// Four directives, the bad one at `index`: what stands before it is applied, what stands behind it
// is not.
void expect_stops_at(Context& c, size_t index, uint8_t code) {
  must_add(c, c.a(), keepers(c));
  std::vector<Directive> list = directives(dcmd::add, {nobody(1), nobody(2), nobody(3), nobody(4)});
  list[index].dcmd = code;
  const Exchange x = edit(c.a(), list);
  c.expect_no_error(x);
  c.expect_field(x, F::mask_merror, kBadDirective);
  c.expect_field(x, F::mask_count, index);
  Macs want = keepers(c);
  for (size_t i = 0; i < index; ++i) {
    want.push_back(list[i].mac);
  }
  expect_mask(c, c.a(), want, fmt::format("directive {} of the edit was bad", index));
}

void register_errors(Registry& r) {
  r.add(after_edit("mask-error-rolls-back", "takes back the whole edit at a bad directive",
                   [](const Bytes&, ModelTarget& m, const Macs& before, Answers& answers) {
                     if (!answers.empty() && value_of(answers[0].bytes, F::mask_merror) != 0) {
                       m.mask = before;
                     }
                   }));
  r.add(spoils("mask-error-goes-on", "goes on behind a bad directive",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Answers answers = f(q);
                 if (is_edit(q) && !answers.empty() &&
                     value_of(answers[0].bytes, F::mask_merror) == kBadDirective) {
                   for (const Directive& d : directives_of(q)) {
                     if (d.dcmd == dcmd::add &&
                         std::find(m.mask.begin(), m.mask.end(), d.mac) == m.mask.end()) {
                       m.mask.push_back(d.mac);
                     }
                   }
                 }
                 return answers;
               }));
  r.add(edits_reply("mask-error-sets-e", "sets E and error 2 beside MError",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_edit(q) && value_of(reply, F::mask_merror) != 0) {
                        set(reply, F::flag_error, 1);
                        set(reply, F::error, aoe_error::bad_argument);
                      }
                    }));
  r.add(edits_reply("mask-error-counts-from-one", "counts the bad directive from one",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_edit(q) && value_of(reply, F::mask_merror) != 0) {
                        set(reply, F::mask_count, value_of(reply, F::mask_count) + 1);
                      }
                    }));
  r.add(mask_case("mask.error.bad-directive-in-the-middle",
                  "At an unknown directive the ones before it stay, the ones behind it are not "
                  "applied, MError is 2, "
                  "the count its index, and E clear",
                  {"MASK-ERROR"},
                  {"mask-error-rolls-back", "mask-error-goes-on", "mask-error-sets-e",
                   "mask-error-counts-from-one"},
                  [](Context& c) { expect_stops_at(c, 2, 3); }));
  r.add(edits_directives("mask-first-bad-directive-skipped",
                         "skips unknown directives at the start of an edit",
                         [](std::vector<Directive>& list) {
                           while (!list.empty() && list.front().dcmd > dcmd::del) {
                             list.erase(list.begin());
                           }
                         }));
  r.add(mask_case("mask.error.bad-directive-first",
                  "With an unknown directive at the start nothing is applied", {"MASK-ERROR"},
                  {"mask-first-bad-directive-skipped", "mask-error-goes-on"},
                  [](Context& c) { expect_stops_at(c, 0, 3); }));
  r.add(mask_case("mask.error.bad-directive-last",
                  "With an unknown directive at the end all the others are applied", {"MASK-ERROR"},
                  {"mask-error-rolls-back"}, [](Context& c) { expect_stops_at(c, 3, 3); }));
  r.add(edits_directives("mask-directive-code-masked", "looks at the low two bits of a directive",
                         [](std::vector<Directive>& list) {
                           for (Directive& d : list) {
                             d.dcmd &= 3;
                           }
                         }));
  r.add(mask_case("mask.error.every-unknown-directive",
                  "Every directive code from 3 to 255 is a bad directive", {"MASK-ERROR"},
                  {"mask-directive-code-masked"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    for (unsigned code = 3; code <= 0xff; ++code) {
                      const Exchange x = edit(c.a(), {{0, static_cast<uint8_t>(code), nobody(1)}});
                      c.expect_no_error(x);
                      c.expect_field(x, F::mask_merror, kBadDirective);
                    }
                    expect_mask(c, c.a(), keepers(c), "after bad directives only");
                  }));
  r.add(remembers("mask-merror-sticks", "keeps MError after a bad edit", [] {
    return Middleware([last = uint64_t{0}](const Bytes& q, ModelTarget&, const Forward& f) mutable {
      Answers answers = f(q);
      if (is_mask(q) && !answers.empty()) {
        last = std::max(last, value_of(answers[0].bytes, F::mask_merror));
        set(answers[0].bytes, F::mask_merror, last);
      }
      return answers;
    });
  }));
  r.add(mask_case("mask.error.does-not-stick",
                  "After a bad edit, reads and good edits are without MError", {"MASK-ERROR"},
                  {"mask-merror-sticks"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    edit(c.a(), {{0, 9, nobody(1)}});
                    expect_mask(c, c.a(), keepers(c), "after a bad edit");
                    must_add(c, c.a(), {nobody(2)});
                    expect_mask(c, c.a(), plus(keepers(c), {nobody(2)}), "after a good edit");
                  }));

  r.add(edits_request("mask-unknown-command-edits", "takes every MCmd but 0 for an edit",
                      [](Bytes& q) {
                        if (is_mask(q) && value_of(q, F::mask_mcmd) > mcmd::edit) {
                          set(q, F::mask_mcmd, mcmd::edit);
                        }
                      }));
  r.add(edits_request("mask-unknown-command-reads", "takes unknown MCmds for a read", [](Bytes& q) {
    if (is_mask(q) && value_of(q, F::mask_mcmd) > mcmd::edit) {
      set(q, F::mask_mcmd, mcmd::read);
    }
  }));
  r.add(mask_case("mask.command.unknown",
                  "Every MCmd from 2 to 255 gets error 2, and its directives are not applied",
                  {"MASK-COMMAND"}, {"mask-unknown-command-edits", "mask-unknown-command-reads"},
                  [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    for (unsigned code = 2; code <= 0xff; ++code) {
                      c.expect_error(c.a().ask(mask_request(static_cast<uint8_t>(code),
                                                            directives(dcmd::add, {nobody(1)}))),
                                     aoe_error::bad_argument);
                    }
                    expect_mask(c, c.a(), keepers(c), "after unknown commands");
                  }));

  r.add(spoils("mask-count-believed", "applies directives that are not in the frame",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 if (is_edit(q)) {
                   while (changed.size() <
                          at::mask_list + value_of(q, F::mask_count) * observer::kMaskEntryBytes) {
                     const Mac stale = nobody(static_cast<unsigned>(4000 + changed.size()));
                     changed.resize((changed.size() - at::mask_list) / observer::kMaskEntryBytes *
                                        observer::kMaskEntryBytes +
                                    at::mask_list);
                     changed.insert(changed.end(), {0, dcmd::add});
                     changed.insert(changed.end(), stale.begin(), stale.end());
                     if (m.mask.size() > 100) {
                       break;
                     }
                   }
                 }
                 return f(changed);
               }));
  r.add(mask_case(
      "mask.edit.count-beyond-the-frame",
      "A count of more directives than the frame holds adds nothing that the frame does not carry",
      {"MASK-BEYOND"}, {"mask-count-believed"}, [](Context& c) {
        must_add(c, c.a(), keepers(c));
        for (const unsigned claimed : {2U, 5U, 100U, 255U}) {
          Frame f = mask_request(mcmd::edit, directives(dcmd::add, {nobody(1)}))
                        .set(F::mask_count, claimed);
          const Exchange x = c.a().ask_once(f);
          c.judge(
              x, Outcomes()
                     .pass("error 2", seen::aoe_error(aoe_error::bad_argument))
                     .pass("MError",
                           [](const Exchange& e) {
                             return seen::no_error(e) && e.field(F::mask_merror) != 0;
                           })
                     .info("a count beyond the frame is met with silence", seen::silence)
                     .info("of a count beyond the frame, what is in the frame is applied",
                           seen::no_error)
                     .info("a count beyond the frame is refused with another error", seen::answer));
          const Exchange now = c.a().ask(mask_request(mcmd::read));
          Macs got = expect_list(c, now);
          got.erase(std::remove(got.begin(), got.end(), nobody(1)), got.end());
          expect_same(c, now, got, keepers(c), "but for what the frame carried");
          must_delete(c, c.a(), {nobody(1)});
        }
      }));
}

void register_full(Registry& r) {
  // Fills the list; the addresses on it afterwards. A list that never gets full within 8 bits of
  // count ends the case.
  // So that the whole list fits a reply's frame.
  const auto readable = [](Context& c, const Macs& on) {
    return on.size() <= (c.frame_max() - observer::at::mask_list) / observer::kMaskEntryBytes;
  };
  const auto fill = [](Context& c) {
    Macs on = keepers(c);
    must_add(c, c.a(), on);
    for (unsigned i = 0; on.size() <= 255; ++i) {
      const Exchange x = edit(c.a(), {{0, dcmd::add, nobody(1000 + i)}});
      c.expect_no_error(x);
      if (x.field(F::mask_merror) != 0) {
        c.expect_field(x, F::mask_merror, kListFull);
        return on;
      }
      on.push_back(nobody(1000 + i));
    }
    c.fail("the list never gets full",
           "MError 3 (list full) at 256 addresses at the latest: the count has 8 bits",
           fmt::format("{} addresses without an error", on.size()));
  };
  r.add(edits_reply("mask-full-unreported", "does not tell when the list is full",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_edit(q) && value_of(reply, F::mask_merror) == kListFull) {
                        set(reply, F::mask_merror, 0);
                      }
                    }));
  r.add(after_edit("mask-full-drops-oldest", "makes room on a full list by dropping an address",
                   [](const Bytes&, ModelTarget& m, const Macs&, Answers& answers) {
                     if (!answers.empty() &&
                         value_of(answers[0].bytes, F::mask_merror) == kListFull &&
                         m.mask.size() > 3) {
                       m.mask.erase(m.mask.begin() + 2);
                     }
                   }));
  r.add(mask_case(
      "mask.full.reported-and-harmless",
      "One address more than fits gets MError 3 and E clear, and the list stays as it was",
      {"MASK-FULL"}, {"mask-full-unreported", "mask-full-drops-oldest"},
      [fill, readable](Context& c) {
        const Macs on = fill(c);
        if (readable(c, on)) {
          expect_mask(c, c.a(), on, "the list is full");
        }
        const Exchange again = edit(c.a(), {{0, dcmd::add, on.back()}});
        c.judge(again,
                Outcomes()
                    .pass("good: it is on the list",
                          [](const Exchange& e) {
                            return seen::no_error(e) && e.field(F::mask_merror) == 0;
                          })
                    .info("adding what is on a full list already gets MError 3", seen::no_error));
      }));
  r.add(remembers("mask-full-for-good", "a list that was full once takes nothing any more", [] {
    return Middleware([full = false](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
      const Macs before = m.mask;
      Answers answers = f(q);
      if (full && m.mask.size() > before.size()) {
        m.mask = before;
      }
      full = full || (is_edit(q) && !answers.empty() &&
                      value_of(answers[0].bytes, F::mask_merror) == kListFull);
      return answers;
    });
  }));
  r.add(mask_case("mask.full.room-after-delete",
                  "A full list takes an address again when one was deleted, first, middle or last",
                  {"MASK-FULL"}, {"mask-full-for-good"}, [fill, readable](Context& c) {
                    Macs on = fill(c);
                    for (const size_t i : {on.size() - 1, on.size() / 2, size_t{2}}) {
                      const Mac gone = on[i];
                      must_delete(c, c.a(), {gone});
                      on.erase(on.begin() + static_cast<ptrdiff_t>(i));
                      const Mac fresh = nobody(static_cast<unsigned>(2000 + i));
                      const Exchange x = edit(c.a(), {{0, dcmd::add, fresh}});
                      c.expect_field(x, F::mask_merror, 0);
                      on.push_back(fresh);
                      const Exchange full = edit(c.a(), {{0, dcmd::add, gone}});
                      c.expect_field(full, F::mask_merror, kListFull);
                      if (readable(c, on)) {
                        expect_mask(c, c.a(), on, "one was exchanged");
                      }
                    }
                  }));
  r.add(mask_case("mask.full.in-the-middle-of-an-edit",
                  "An edit that fills the list on its way keeps what fitted, and its count is the "
                  "index of what did not",
                  {"MASK-FULL", "MASK-ERROR"},
                  {"mask-error-rolls-back", "mask-error-counts-from-one"}, [fill](Context& c) {
                    Macs on = fill(c);
                    must_delete(c, c.a(), {on[on.size() - 1], on[on.size() - 2]});
                    on.resize(on.size() - 2);
                    const Macs four = {nobody(3000), nobody(3001), nobody(3002), nobody(3003)};
                    const Exchange x = edit(c.a(), directives(dcmd::add, four));
                    c.expect_no_error(x);
                    c.expect_field(x, F::mask_merror, kListFull);
                    c.expect_field(x, F::mask_count, 2);
                    if (on.size() < 179) {
                      expect_mask(c, c.a(), plus(on, {four[0], four[1]}), "two of four fitted");
                    }
                  }));
  r.add(spoils("mask-looks-at-first-sixteen",
               "looks for a host among the first sixteen addresses only",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Mac mac{};
                 if (observer::is_aoe(q)) {
                   std::copy_n(q.begin() + 6, mac.size(), mac.begin());
                 }
                 const auto it = std::find(m.mask.begin(), m.mask.end(), mac);
                 return it != m.mask.end() && it - m.mask.begin() >= 16 ? Answers{} : f(q);
               }));
  r.add(mask_case("mask.admits.first-middle-and-last",
                  "Hosts at the start, in the middle and at the end of a long list are all served",
                  {"MASK-LOCK"}, {"mask-looks-at-first-sixteen"}, [](Context& c) {
                    Macs list = keepers(c);
                    for (unsigned i = 0; i < 12; ++i) {
                      list.push_back(nobody(i));
                    }
                    list.push_back(c.b().mac());
                    for (unsigned i = 12; i < 24; ++i) {
                      list.push_back(nobody(i));
                    }
                    list.push_back(c.c().mac());
                    must_add(c, c.a(), list);
                    for (Initiator* who : {&c.a(), &c.b(), &c.c()}) {
                      c.expect_good_ata(who->ask(observer::read_request(0, 1)));
                      c.expect_no_error(who->ask(observer::config_request(observer::ccmd::read)));
                    }
                  }));
}

// Nothing that b asks while it is masked is answered.
void lock_out_b(Context& c) {
  must_add(c, c.a(), keepers(c));
}

void register_lock(Registry& r) {
  r.add(ignores("mask-empty-admits-nobody-else", "an empty list admits only who emptied it",
                [](const Bytes& q, const ModelTarget& m) {
                  return m.mask.empty() && observer::is_aoe(q) && !is_mask(q) && q[6] == 0x02 &&
                         q[8] == 0xa0;
                }));
  r.add(mask_case("mask.empty.admits-everybody",
                  "Once the last address is deleted, everybody is served again", {"MASK-LOCK"},
                  {"mask-empty-admits-nobody-else"}, [](Context& c) {
                    must_add(c, c.a(), keepers(c));
                    must_delete(c, c.a(), {c.prober_mac(), c.a().mac()});
                    expect_mask(c, c.b(), {}, "read by another host");
                    for (Initiator* who : {&c.a(), &c.b(), &c.c()}) {
                      c.expect_good_ata(who->ask(observer::read_request(0, 1)));
                    }
                  }));

  struct Locked {
    const char* name;
    uint8_t command;
    Frame frame;
  };
  const std::vector<Locked> locked = {
      {"ata", observer::command::ata, observer::read_request(0, 1)},
      {"config", observer::command::config, observer::config_request(observer::ccmd::read)},
      {"mask", observer::command::mask, mask_request(mcmd::read)},
      {"reserve", observer::command::reserve, observer::reserve_request(observer::rcmd::read)},
      {"extensions", observer::command::extension, observer::extension_request({"reset"})},
      {"vendor", 0xf0, observer::header_only(0xf0)},
      {"unknown-command", 0x42, observer::header_only(0x42)},
  };
  for (const Locked& l : locked) {
    const std::string deviant = fmt::format("mask-answers-masked-{}", l.name);
    r.add(lets_in(
        deviant, fmt::format("answers {} whatever the mask list says", l.name),
        [command = l.command](const Bytes& q) { return value_of(q, F::command) == command; },
        true));
    Case silent = mask_case(fmt::format("mask.silence.{}", l.name),
                            fmt::format("Who is not on the list meets silence: {}", l.name),
                            {"MASK-LOCK"}, {deviant}, [frame = l.frame](Context& c) {
                              lock_out_b(c);
                              c.expect_silence(c.b(), frame);
                              c.expect_silence(c.c(), frame);
                            });
    if (links::permission_for(l.frame.bytes()) == "unknown") {
      silent.needs.push_back(Need::unknown);
    }
    r.add(silent);
  }
  r.add(lets_in(
      "mask-answers-masked-discovery", "answers a broadcast query whatever the mask list says",
      [](const Bytes& q) { return value_of(q, F::shelf) == 0xffff; }, true));
  r.add(mask_case("mask.silence.discovery",
                  "Who is not on the list does not find the target by a broadcast query, either",
                  {"MASK-LOCK"}, {"mask-answers-masked-discovery"}, [](Context& c) {
                    lock_out_b(c);
                    c.expect_silence(c.b(), observer::config_request(observer::ccmd::read)
                                                .dst(observer::kBroadcastMac)
                                                .set(F::shelf, 0xffff)
                                                .set(F::slot, 0xff));
                  }));
  r.add(lets_in(
      "mask-answers-masked-errors", "answers wrong requests of masked hosts with their error",
      [](const Bytes& q) {
        return value_of(q, F::version) != 1 || (is_mask(q) && value_of(q, F::mask_mcmd) > 1);
      },
      true));
  Case wrong = mask_case(
      "mask.silence.wrong-requests",
      "Who is not on the list gets no error reply for a wrong request, either", {"MASK-LOCK"},
      {"mask-answers-masked-errors"}, [](Context& c) {
        lock_out_b(c);
        c.expect_silence(c.b(), observer::config_request(observer::ccmd::read).set(F::version, 2));
        c.expect_silence(c.b(), mask_request(7));
        c.expect_silence(c.b(), observer::config_request(9));
        c.expect_silence(c.b(), observer::reserve_request(9));
        c.expect_silence(c.b(), observer::ata_request(0xff, 0, 0));
        c.expect_silence(c.b(), observer::read_request(c.target().sectors, 1));
      });
  wrong.needs.insert(wrong.needs.end(), {Need::config, Need::write});
  r.add(wrong);

  r.add(lets_in(
      "mask-executes-masked-write", "carries out the writes of masked hosts without an answer",
      [](const Bytes& q) { return is_write_request(q); }, false));
  Case write =
      mask_case("mask.silence.write-is-not-executed",
                "The write of a host that is not on the list is not carried out", {"MASK-LOCK"},
                {"mask-executes-masked-write"}, [](Context& c) {
                  const uint64_t lba = scratch_lba(c, 1);
                  const Bytes there = sector_pattern(400);
                  put_sectors(c, c.a(), lba, there);
                  lock_out_b(c);
                  c.expect_silence(c.b(), observer::write_request(lba, sector_pattern(401)));
                  expect_on_disk(c, c.a(), lba, there, "after a masked host's write");
                });
  write.needs.push_back(Need::write);
  r.add(write);
  r.add(lets_in(
      "mask-executes-masked-edit", "carries out the edits of masked hosts without an answer",
      [](const Bytes& q) { return is_edit(q); }, false));
  r.add(mask_case(
      "mask.silence.edit-is-not-executed", "A host that is not on the list cannot put itself there",
      {"MASK-LOCK"}, {"mask-executes-masked-edit"}, [](Context& c) {
        lock_out_b(c);
        c.expect_silence(c.b(), mask_request(mcmd::edit, directives(dcmd::add, {c.b().mac()})));
        expect_mask(c, c.a(), keepers(c), "after a masked host's edit");
        c.expect_silence(c.b(), observer::read_request(0, 1));
      }));
  r.add(lets_in(
      "mask-executes-masked-reserve",
      "carries out the reservations of masked hosts without an answer",
      [](const Bytes& q) { return is_command(q, observer::command::reserve); }, false));
  r.add(mask_case("mask.silence.reserve-is-not-executed",
                  "A host that is not on the list cannot reserve the target", {"MASK-LOCK"},
                  {"mask-executes-masked-reserve"}, [](Context& c) {
                    lock_out_b(c);
                    c.after([&c] {
                      c.a().send(observer::reserve_request(observer::rcmd::force_set));
                      c.a().collect(1, c.patience_ns());
                    });
                    c.expect_silence(
                        c.b(), observer::reserve_request(observer::rcmd::force_set, {c.b().mac()}));
                    c.expect_good_ata(c.a().ask(observer::read_request(0, 1)));
                  }));
  r.add(lets_in(
      "mask-executes-masked-config",
      "carries out the config sets of masked hosts without an answer",
      [](const Bytes& q) { return is_command(q, observer::command::config); }, false));
  Case config = mask_case(
      "mask.silence.config-is-not-executed",
      "A host that is not on the list cannot set the config string", {"MASK-LOCK"},
      {"mask-executes-masked-config"}, [](Context& c) {
        const Exchange before = c.a().ask(observer::config_request(observer::ccmd::read));
        c.expect_no_error(before);
        const auto text = observer::config_string(*before.reply);
        c.expect(text.has_value(), before, "a config reply", "a reply of another kind");
        lock_out_b(c);
        c.expect_silence(c.b(),
                         observer::config_request(observer::ccmd::force_set, "by a masked host"));
        c.expect_config_string(c.a().ask(observer::config_request(observer::ccmd::read)),
                               BytesView(*text));
      });
  config.needs.push_back(Need::config);
  r.add(config);

  r.add(spoils("mask-compares-five-bytes", "does not compare the last byte of an address",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 for (const Mac& mac : m.mask) {
                   if (observer::is_aoe(q) &&
                       std::equal(mac.begin(), mac.begin() + 5, q.begin() + 6)) {
                     std::copy(mac.begin(), mac.end(), changed.begin() + 6);
                   }
                 }
                 Answers answers = f(changed);
                 for (auto& a : answers) {
                   std::copy_n(q.begin() + 6, 6, a.bytes.begin());
                 }
                 return answers;
               }));
  r.add(spoils("mask-compares-last-four-bytes", "compares the last four bytes of an address",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Bytes changed = q;
                 for (const Mac& mac : m.mask) {
                   if (observer::is_aoe(q) &&
                       std::equal(mac.begin() + 2, mac.end(), q.begin() + 8)) {
                     std::copy(mac.begin(), mac.end(), changed.begin() + 6);
                   }
                 }
                 Answers answers = f(changed);
                 for (auto& a : answers) {
                   std::copy_n(q.begin() + 6, 6, a.bytes.begin());
                 }
                 return answers;
               }));
  r.add(mask_case("mask.match.all-six-bytes",
                  "An address that differs in any one byte is another host's", {"MASK-LOCK"},
                  {"mask-compares-five-bytes", "mask-compares-last-four-bytes"}, [](Context& c) {
                    Macs list = keepers(c);
                    for (size_t i = 0; i < 6; ++i) {
                      Mac near = c.b().mac();
                      near[i] ^= i == 0 ? 0x04 : 0x40;
                      list.push_back(near);
                    }
                    must_add(c, c.a(), list);
                    c.expect_silence(c.b(), observer::config_request(observer::ccmd::read));
                    c.expect_silence(c.b(), observer::read_request(0, 1));
                  }));

  r.add(ignores("mask-lockout-unanswered",
                "does not answer the edit with which a host removes itself",
                [](const Bytes& q, const ModelTarget& m) {
                  if (!is_edit(q) || m.mask.empty()) {
                    return false;
                  }
                  const auto list = directives_of(q);
                  return list.size() == 1 && list[0].dcmd == dcmd::del &&
                         std::equal(list[0].mac.begin(), list[0].mac.end(), q.begin() + 6);
                }));
  r.add(spoils("mask-first-host-always-admitted", "never locks out a host that was on the list",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 if (!is_edit(q)) {
                   return f(q);
                 }
                 const Macs before = m.mask;
                 Answers answers = f(q);
                 Mac mac{};
                 std::copy_n(q.begin() + 6, mac.size(), mac.begin());
                 if (m.mask.size() < before.size() && !m.mask.empty() &&
                     std::find(before.begin(), before.end(), mac) != before.end() &&
                     std::find(m.mask.begin(), m.mask.end(), mac) == m.mask.end()) {
                   m.mask.push_back(mac);
                 }
                 return answers;
               }));
  r.add(mask_case("mask.lockout.self",
                  "A host may delete itself: the edit is answered, then it meets silence, and "
                  "another lets it in again",
                  {"MASK-LOCK", "MASK-REPLY"},
                  {"mask-lockout-unanswered", "mask-first-host-always-admitted"}, [](Context& c) {
                    must_add(c, c.a(), plus(keepers(c), {c.b().mac()}));
                    const Exchange x = edit(c.a(), directives(dcmd::del, {c.a().mac()}));
                    // A repetition finds the asker locked out already: then silence is right.
                    if (x.sent == 1 || x.answered()) {
                      expect_same(c, x, expect_list(c, x), {c.prober_mac(), c.b().mac()},
                                  "the list without its editor");
                    } else {
                      c.expect_answer(x);
                    }
                    c.expect_silence(c.a(), observer::read_request(0, 1));
                    must_add(c, c.b(), {c.a().mac()});
                    c.expect_good_ata(c.a().ask(observer::read_request(0, 1)));
                  }));
  r.add(ignores("mask-only-founder-edits", "lets only the first address of the list edit it",
                [](const Bytes& q, const ModelTarget& m) {
                  return is_edit(q) && m.mask.size() > 2 &&
                         !std::equal(m.mask[0].begin(), m.mask[0].end(), q.begin() + 6);
                }));
  r.add(mask_case(
      "mask.edit.by-any-listed-host",
      "The list is the target's: every host on it reads and edits the same one", {"MASK-EDIT"},
      {"mask-only-founder-edits"}, [](Context& c) {
        must_add(c, c.a(), plus(keepers(c), {c.b().mac()}));
        must_add(c, c.b(), {nobody(1)});
        expect_mask(c, c.a(), plus(keepers(c), {c.b().mac(), nobody(1)}), "edited by b, read by a");
        must_delete(c, c.b(), {nobody(1)});
        must_delete(c, c.a(), {c.b().mac()});
        expect_mask(c, c.a(), keepers(c), "edited by both");
        c.expect_silence(c.b(), mask_request(mcmd::read));
      }));
  r.add(lets_in(
      "mask-only-b-lets-all-in", "a list of one address locks nobody out",
      [](const Bytes& q) { return !is_mask(q); }, true));
  r.add(mask_case("mask.lock.list-of-one",
                  "A list of a single address admits that host and nobody else", {"MASK-LOCK"},
                  {"mask-only-b-lets-all-in"}, [](Context& c) {
                    must_add(c, c.a(), {c.b().mac()});
                    c.barrier_by(c.b());
                    c.expect_silence(c.a(), observer::read_request(0, 1));
                    c.expect_silence(c.c(), observer::config_request(observer::ccmd::read));
                    c.expect_good_ata(c.b().ask(observer::read_request(0, 1)));
                    expect_mask(c, c.b(), {c.b().mac()}, "the list of one");
                  }));

  Deviant forgets = lets_in(
      "mask-forgotten-on-restart", "forgets the list with a restart",
      [](const Bytes&) { return false; }, true);
  forgets.on_restart = [](ModelTarget& m) { m.mask.clear(); };
  r.add(forgets);
  Case persists = mask_case(
      "mask.restart.kept-or-not",
      "Whether the list survives a restart is the target's choice: it is reported",
      {"MASK-RESTART"}, {"mask-forgotten-on-restart"},
      [](Context& c) {
        const Macs want = plus(keepers(c), {nobody(1), nobody(2)});
        must_add(c, c.a(), want);
        c.restart_target();
        const Exchange x = c.a().ask(mask_request(mcmd::read));
        Macs wanted = want;
        std::sort(wanted.begin(), wanted.end());
        const Macs got = expect_list(c, x);
        if (got.empty()) {
          c.info("the mask list does not survive a restart");
          return;
        }
        expect_same(c, x, got, want, "a list that survives a restart does so as a whole");
      },
      Level::may);
  persists.needs.push_back(Need::target_command);
  r.add(persists);
}

void register_beyond(Registry& r) {
  r.add(spoils("mask-five-octets", "compares five octets with the list",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 if (!is_read_request(q) || q[11] != 0x11) {
                   return f(q);
                 }
                 Bytes changed = q;
                 changed[11] = 0x10;
                 Answers answers = f(changed);
                 for (auto& a : answers) {
                   a.bytes[5] = 0x11;
                 }
                 return answers;
               }));
  r.add(mask_case("mask.silence.address-that-differs-in-the-last-octet",
                  "Who differs from an address of the list in the last octet only is not on it",
                  {"MASK-LOCK"}, {"mask-five-octets"}, [](Context& c) {
                    Mac one = c.c().mac();
                    Mac other = one;
                    one[5] = 0x10;
                    other[5] = 0x11;
                    Initiator listed(c, one);
                    Initiator unlisted(c, other);
                    must_add(c, c.a(), plus(keepers(c), {one}));
                    c.expect_good_ata(listed.ask(observer::read_request(0, 1)));
                    c.expect_silence(unlisted, observer::read_request(0, 1));
                  }));

  r.add(remembers(
      "mask-first-request-served", "looks at the list from a host's second ATA request on", [] {
        return Middleware(
            [seen = std::set<Mac>()](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
              Mac from{};
              std::copy_n(q.begin() + 6, from.size(), from.begin());
              if (!is_ata_request(q) || !seen.insert(from).second) {
                return f(q);
              }
              const Macs kept = std::exchange(m.mask, {});
              Answers answers = f(q);
              m.mask = kept;
              return answers;
            });
      }));
  Case first = mask_case(
      "mask.silence.first-request-of-a-host",
      "The first ATA request ever of a host that is not on the list meets silence, and writes "
      "nothing",
      {"MASK-LOCK"}, {"mask-first-request-served"}, [](Context& c) {
        const uint64_t lba = scratch_lba(c, 1);
        const Bytes there = sector_pattern(4710);
        put_sectors(c, c.a(), lba, there);
        if (c.can_restart()) {
          c.restart_target();  // whoever it has met before, it meets for the first time again
        }
        must_add(c, c.a(), keepers(c));
        constexpr unsigned unmet = 0xfe00;
        Initiator reader(c, nobody(unmet));
        Initiator writer(c, nobody(unmet + 1));
        Initiator asker(c, nobody(unmet + 2));
        c.expect_silence(reader, observer::read_request(0, 1));
        c.expect_silence(writer, observer::write_request(lba, sector_pattern(4711)));
        c.expect_silence(asker, observer::identify_request());
        expect_on_disk(c, c.a(), lba, there, "after the first write of a host that is locked out");
      });
  first.needs.push_back(Need::write);
  r.add(first);

  Deviant larger;
  larger.name = "mask-list-larger-than-its-reply";
  larger.story = "keeps 250 addresses, counts them all and sends those that fit its frame";
  larger.make = [] { return [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); }; };
  larger.configure = [](deviants::ModelConfig& config) { config.mask_max = 250; };
  r.add(larger);
  r.add(mask_case(
      "mask.reply.carries-what-it-counts",
      "However long the list grows, a reply carries as many addresses as it counts, or the edit is "
      "refused with MError 3",
      {"MASK-REPLY", "MASK-FULL"}, {"mask-list-larger-than-its-reply"}, [](Context& c) {
        must_add(c, c.a(), keepers(c));
        constexpr unsigned most = 255;
        constexpr unsigned step = 40;
        for (unsigned i = 0; i < most; i += step) {
          Macs more;
          for (unsigned n = i; n < std::min(i + step, most); ++n) {
            more.push_back(nobody(n));
          }
          const Exchange x = edit(c.a(), directives(dcmd::add, more));
          c.expect_no_error(x);
          const bool full = x.field(F::mask_merror) != 0;
          if (full) {
            c.clause("MASK-FULL");
            c.expect_field(x, F::mask_merror, kListFull);
          }
          const Exchange now = c.a().ask(mask_request(mcmd::read));
          c.clause("MASK-REPLY");
          c.expect_no_error(now);
          const size_t carried = list_in(*now.reply).size();
          c.expect(carried >= now.field(F::mask_count), now,
                   fmt::format("{} addresses, as the count says", now.field(F::mask_count)),
                   fmt::format("{} addresses in {} bytes", carried, now.reply->size()),
                   {F::mask_count});
          if (full) {
            c.info(fmt::format("the list holds {} addresses", now.field(F::mask_count)));
            return;
          }
        }
      }));
}

}  // namespace

void register_mask(Registry& r) {
  register_editing(r);
  register_errors(r);
  register_full(r);
  register_lock(r);
  register_beyond(r);
}

}  // namespace conformance
