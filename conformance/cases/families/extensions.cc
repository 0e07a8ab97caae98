// Family extensions: AoEde's command 0x23, how features are asked for, what comes back, and what
// switches them off. What the features do is judged by the families named after them.

#include "conformance/cases/families/negotiation.h"
#include "conformance/cases/sectors.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace): this family speaks of nothing
                              // else
using observer::extension_raw;
using observer::extension_request;

namespace {

const Strings kPlainFeatures = {"reset",      "tag_inc_le",     "tag_inc_be",
                                "tag_random", "coalesced_read", "coalesced_write_reply",
                                "crc8x4"};

const char* name_of(Order order) {
  return order == Order::little ? "little-endian" : "big-endian";
}

// The target answers a table whose length is in this byte order.
bool speaks(Context& t, Order order) {
  if (order == t.target().ext_order) {
    return true;
  }
  const Exchange x = t.a().ask_once(extension_request({"reset"}, order));
  return seen::no_error(x) && observer::ext_table(*x.reply, order).has_value();
}

// The same question in both byte orders of the length: two cases. The order that a target does not
// speak makes its case `unsupported`, for a target needs only one.
void add_in_both_orders(Registry& r, Case c, const std::function<void(Context&, Order)>& ask) {
  const std::string id = c.id;
  for (const Order order : {Order::little, Order::big}) {
    c.id = fmt::format("{}.{}", id, name_of(order));
    c.run = [ask, order](Context& t) {
      if (!speaks(t, order)) {
        t.unsupported(fmt::format("the target does not take a {} length", name_of(order)));
      }
      ask(t, order);
    };
    r.add(c);
  }
}

// Names padded with a counter, `bytes` long with both final NULs, `last` at the end.
Strings table_of_bytes(size_t bytes, const std::string& last) {
  Strings strings;
  constexpr size_t name_bytes = 12;  // with its NUL
  size_t left = bytes - 1 - (last.size() + 1);
  while (left > 2 * name_bytes) {
    strings.push_back(fmt::format("unknown{:04}", strings.size()));
    left -= name_bytes;
  }
  if (left > 0) {
    strings.push_back(std::string(left - 1, 'x'));
  }
  strings.push_back(last);
  return strings;
}

// Refused as an unknown command has to be; ends the case as `unsupported`.
void judge_refusal(Context& t, const Exchange& x) {
  if (!x.answered()) {
    t.unsupported("command 0x23 is met with silence");
  }
  if (!x.is_error()) {
    return;
  }
  t.expect_error(x, observer::aoe_error::bad_command);
  t.expect_field(x, F::command, observer::command::extension);
  t.expect_field(x, F::tag, *observer::get(x.request, F::tag));
  t.expect_field(x, F::flag_response, 1);
}

void add_command(Registry& r) {
  r.add(deviants::spoils(
      "ext-refused-with-error-2", "refuses command 0x23 with error 2",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        return is_table(q) ? Answers{{model.error_reply(q, 2, 24), 0}} : forward(q);
      }));
  r.add({
      .id = "extensions.command.answered-or-refused",
      .title = "Command 0x23 is answered with its table, or refused as an unknown command",
      .clauses = {"EXT-REFUSED", "EXT-TABLE"},
      .fails_on = {"ext-refused-with-error-2"},
      .run =
          [](Context& t) {
            const Exchange x = t.a().ask(table(t, {"reset"}));
            judge_refusal(t, x);
            if (x.is_error()) {
              t.unsupported("refused with error 1 (unrecognized command)");
            }
            expect_table(t, x, {"RESET"});
          },
  });

  r.add(afterwards("ext-table-becomes-config-string", "stores the table as its config string",
                   [](const Bytes& q, ModelTarget& model, Session&) {
                     if (is_table(q)) {
                       model.config_string.assign(q.begin() + observer::at::ext_table, q.end());
                     }
                   }));
  r.add({
      .id = "extensions.command.changes-nothing-else",
      .title = "Asking for extensions changes neither the config string nor the disk, even when it "
               "is refused",
      .clauses = {"EXT-REFUSED"},
      .fails_on = {"ext-table-becomes-config-string"},
      .run =
          [](Context& t) {
            const Exchange config = t.a().ask(observer::config_request(observer::ccmd::read));
            const Exchange sector = t.a().ask(observer::read_request(0, 1));
            t.expect_good_ata(sector);
            const Exchange x = t.a().ask(table(t, {"reset", "no_such_feature"}));
            const auto text =
                config.answered() ? observer::config_string(*config.reply) : std::nullopt;
            if (text) {
              t.expect_config_string(t.a().ask(observer::config_request(observer::ccmd::read)),
                                     *text);
            }
            t.expect_data(t.a().ask(observer::read_request(0, 1)), sector.data());
            judge_refusal(t, x);
            if (x.is_error()) {
              t.unsupported("refused with error 1, and without side effects");
            }
          },
  });

  Deviant leaky;
  leaky.name = "ext-reply-padded-with-the-frame-before";
  leaky.story = "pads the reply to command 0x23 with what another frame left in the buffer";
  leaky.make = [] {
    auto before = std::make_shared<Bytes>();
    return [before](const Bytes& q, ModelTarget&, const Forward& forward) {
      Answers answers = forward(q);
      if (is_table(q)) {
        for (Answer& a : answers) {
          for (size_t i = a.bytes.size(); i < observer::kMinFrameBytes && i < before->size(); ++i) {
            a.bytes.push_back((*before)[i]);
          }
        }
      } else if (q.size() > observer::kMinFrameBytes) {
        *before = q;
      }
      return answers;
    };
  };
  r.add(leaky);
  r.add({
      .id = "extensions.reply.carries-nothing-else",
      .title =
          "Behind the table of the reply, or behind the refusal, stand no bytes of anybody else",
      .clauses = {"EXT-CLEAN"},
      .needs = {Need::second_initiator},
      .fails_on = {"ext-reply-padded-with-the-frame-before"},
      .run =
          [](Context& t) {
            for (const Strings& strings : {Strings{"reset"}, Strings{"x"}, Strings{"reset", "y"}}) {
              t.plant(t.b());
              const Exchange x = t.a().ask(table(t, strings));
              if (!x.answered()) {
                t.unsupported("command 0x23 is met with silence");
              }
              t.expect_clean_padding(x);
              t.expect_not_planted(x);
              judge_refusal(t, x);
              if (x.is_error()) {
                t.unsupported("refused with error 1, and with clean padding");
              }
            }
          },
  });
}

void add_names(Registry& r) {
  r.add(edits_table("ext-active-stays-lower", "activates a feature and returns its name as it came",
                    [](Strings& strings) {
                      std::transform(strings.begin(), strings.end(), strings.begin(), lower);
                    }));
  for (const std::string& name : kPlainFeatures) {
    r.add({
        .id = "extensions.name." + name,
        .title = fmt::format("'{}' comes back in upper case, for it is active then", name),
        .clauses = {"EXT-UPPER"},
        .extensions = {name},
        .fails_on = {"ext-active-stays-lower"},
        .run = [name](Context& t) { expect_table(t, t.a().ask(table(t, {name})), {upper(name)}); },
    });
  }

  r.add(edits_table("ext-reply-sorted", "returns the strings in alphabetical order",
                    [](Strings& strings) { std::sort(strings.begin(), strings.end()); }));
  add_in_both_orders(
      r,
      {
          .id = "extensions.name.all-at-once",
          .title =
              "A table of every feature that the target offers comes back with each in upper case",
          .clauses = {"EXT-UPPER", "EXT-TABLE", "EXT-ORDER"},
          .extensions = {"command"},
          .fails_on = {"ext-active-stays-lower", "ext-reply-sorted"},
      },
      [](Context& t, Order order) {
        Strings asked;
        Strings wanted;
        for (const std::string& name : kPlainFeatures) {
          asked.push_back(name);
          wanted.push_back(offers(t, name) ? upper(name) : name);
        }
        // Whether the tag order that was not named last is still called active is the target's
        // choice.
        const Exchange x = t.a().ask(extension_request(asked, order));
        Strings got = strings_of(t, x, order);
        for (size_t i = 0; i < got.size() && i < asked.size(); ++i) {
          if (asked[i].starts_with("tag_") && got[i] == asked[i]) {
            wanted[i] = asked[i];
          }
        }
        t.expect(got == wanted, x, "the table comes back as " + joined(wanted), joined(got),
                 {observer::Mark(observer::at::ext_table, x.reply->size())});
        const bool one_tag = std::any_of(got.begin(), got.end(),
                                         [](const auto& s) { return s.starts_with("TAG_"); });
        t.expect(one_tag || !offers(t, "tag_random"), x, "at least one tag feature is active",
                 joined(got));
      });

  r.add(edits_table("ext-second-naming-lower", "returns a name that stands twice in lower case",
                    [](Strings& strings) {
                      for (size_t i = 1; i < strings.size(); ++i) {
                        if (strings[i] == strings[i - 1]) {
                          strings[i] = lower(strings[i]);
                        }
                      }
                    }));
  r.add({
      .id = "extensions.name.twice",
      .title = "A feature that is named twice is active, and upper case both times",
      .clauses = {"EXT-UPPER"},
      .level = Level::should,
      .extensions = {"command"},
      .fails_on = {"ext-second-naming-lower"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "reset"});
          },
  });
}

void add_unknown(Registry& r) {
  r.add(deviants::spoils(
      "ext-unknown-is-an-error", "refuses a table with an unknown name, error 2",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        return names(q, "no_such_feature") ? Answers{{model.error_reply(q, 2, 24), 0}} : forward(q);
      }));
  r.add(edits_table(
      "ext-drops-unknown", "leaves unknown names out of the reply", [](Strings& strings) {
        strings.erase(std::remove_if(strings.begin(), strings.end(),
                                     [](const std::string& s) { return s.starts_with("no_such"); }),
                      strings.end());
      }));
  add_in_both_orders(r,
                     {
                         .id = "extensions.unknown.alone",
                         .title = "An unknown name is no error: it comes back as it was",
                         .clauses = {"EXT-UNKNOWN", "EXT-ORDER"},
                         .extensions = {"command"},
                         .fails_on = {"ext-unknown-is-an-error", "ext-drops-unknown"},
                     },
                     [](Context& t, Order order) {
                       expect_table(t, t.a().ask(extension_request({"no_such_feature"}, order)),
                                    {"no_such_feature"}, order);
                     });

  r.add(edits_table("ext-unknown-ends-the-table", "looks at nothing behind an unknown name",
                    [](Strings& strings) {
                      bool stop = false;
                      for (std::string& s : strings) {
                        stop = stop || s.starts_with("no_such");
                        s = stop ? lower(s) : s;
                      }
                    }));
  add_in_both_orders(
      r,
      {
          .id = "extensions.unknown.among-known",
          .title = "Unknown names before, between and behind known ones change nothing for these",
          .clauses = {"EXT-UNKNOWN", "EXT-TABLE"},
          .extensions = {"command"},
          .fails_on = {"ext-unknown-ends-the-table", "ext-drops-unknown"},
      },
      [](Context& t, Order order) {
        const Strings asked = {"no_such_one", "reset", "no_such_two", "reset", "no_such_three"};
        const Strings wanted = {"no_such_one", "RESET", "no_such_two", "RESET", "no_such_three"};
        expect_table(t, t.a().ask(extension_request(asked, order)), wanted, order);
      });

  r.add(edits_table("ext-compares-prefixes", "takes a name that begins like a feature for it",
                    [](Strings& strings) {
                      for (std::string& s : strings) {
                        for (const std::string& name : kPlainFeatures) {
                          s = s.starts_with(name) ? upper(s) : s;
                        }
                      }
                    }));
  r.add({
      .id = "extensions.unknown.lookalikes",
      .title = "A name that only begins or ends like a feature is unknown",
      .clauses = {"EXT-UNKNOWN"},
      .extensions = {"command"},
      .fails_on = {"ext-compares-prefixes"},
      .run =
          [](Context& t) {
            const Strings asked = {"rese",      "reset_",          "tag_inc",  "tag_inc_bee",
                                   "tag_rando", "coalesced_reads", "crc8x",    "xreset",
                                   " reset",    "reset ",          "congestio"};
            expect_table(t, t.a().ask(table(t, asked)), asked);
          },
  });

  r.add(edits_table("ext-strips-the-high-bit", "returns seven bits of each byte of a name",
                    [](Strings& strings) {
                      for (std::string& s : strings) {
                        for (char& c : s) {
                          c = static_cast<char>(c & 0x7f);
                        }
                      }
                    }));
  r.add({
      .id = "extensions.unknown.any-bytes",
      .title = "An unknown name of any bytes but NUL comes back byte by byte",
      .clauses = {"EXT-UNKNOWN"},
      .extensions = {"command"},
      .fails_on = {"ext-strips-the-high-bit"},
      .run =
          [](Context& t) {
            std::string every;
            for (int c = 1; c <= 0xff; ++c) {
              every += static_cast<char>(c);
            }
            expect_table(t, t.a().ask(table(t, {every, "reset"})), {every, "RESET"});
          },
  });

  r.add(edits_table("ext-raises-everything", "returns every string in upper case",
                    [](Strings& strings) {
                      std::transform(strings.begin(), strings.end(), strings.begin(), upper);
                    }));
  r.add({
      .id = "extensions.argument.unchanged",
      .title = "A string that is no name, an argument, comes back as it was",
      .clauses = {"EXT-ARGUMENT"},
      .extensions = {"command"},
      .fails_on = {"ext-raises-everything"},
      .run =
          [](Context& t) {
            expect_table(t, t.a().ask(table(t, {"no_such_feature", "Argument=17 kB", "reset"})),
                         {"no_such_feature", "Argument=17 kB", "RESET"});
          },
  });
}

void add_sizes(Registry& r) {
  constexpr size_t long_table_bytes = 1400;
  r.add(deviants::ignores("ext-table-limited-to-256", "is silent to a table above 256 bytes",
                          [](const Bytes& q, const ModelTarget&) {
                            constexpr size_t limit = 256;
                            return is_table(q) && q.size() > observer::at::ext_table + limit;
                          }));
  add_in_both_orders(
      r,
      {
          .id = "extensions.table.1400-bytes",
          .title = "A table of 1,400 bytes comes back whole, and its last name is looked at",
          .clauses = {"EXT-TABLE"},
          .extensions = {"command"},
          .fails_on = {"ext-table-limited-to-256"},
      },
      [](Context& t, Order order) {
        Strings strings = table_of_bytes(long_table_bytes, "reset");
        const Exchange x = t.a().ask(extension_request(strings, order));
        strings.back() = "RESET";
        expect_table(t, x, strings, order);
      });

  r.add(deviants::ignores("ext-many-names-limit", "is silent to a table of more than 64 strings",
                          [](const Bytes& q, const ModelTarget&) {
                            constexpr size_t limit = 64;
                            const auto asked = is_table(q) ? observer::ext_table(q) : std::nullopt;
                            return asked && asked->strings.size() > limit;
                          }));
  r.add({
      .id = "extensions.table.of-many-names",
      .title = "A table of 600 names of one letter comes back whole",
      .clauses = {"EXT-TABLE"},
      .extensions = {"command"},
      .fails_on = {"ext-many-names-limit"},
      .run =
          [](Context& t) {
            constexpr size_t count = 600;
            Strings strings(count, "n");
            strings.emplace_back("reset");
            const Exchange x = t.a().ask(table(t, strings));
            strings.back() = "RESET";
            expect_table(t, x, strings);
          },
  });
  r.add({
      .id = "extensions.table.of-one-long-name",
      .title = "A name of 1,300 bytes comes back whole",
      .clauses = {"EXT-TABLE"},
      .extensions = {"command"},
      .fails_on = {"ext-table-limited-to-256"},
      .run =
          [](Context& t) {
            constexpr size_t name_bytes = 1300;
            const std::string name(name_bytes, 'u');
            expect_table(t, t.a().ask(table(t, {name, "reset"})), {name, "RESET"});
          },
  });
  r.add({
      .id = "extensions.table.as-long-as-the-frame",
      .title = "A table that fills the largest frame of the link comes back whole",
      .clauses = {"EXT-TABLE"},
      .extensions = {"command"},
      .fails_on = {"ext-table-limited-to-256"},
      .run =
          [](Context& t) {
            Strings strings = table_of_bytes(t.frame_max() - observer::at::ext_table, "reset");
            const Exchange x = t.a().ask(table(t, strings));
            t.expect(x.request.size() == t.frame_max(), "the request fills the frame",
                     fmt::format("{} bytes", x.request.size()));
            strings.back() = "RESET";
            expect_table(t, x, strings);
          },
  });

  r.add(deviants::spoils("ext-empty-table-refused", "refuses the empty table with error 2",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const auto asked = is_table(q) ? observer::ext_table(q) : std::nullopt;
                           return asked && asked->strings.empty()
                                      ? Answers{{model.error_reply(q, 2, 24), 0}}
                                      : forward(q);
                         }));
  r.add({
      .id = "extensions.table.empty",
      .title = "The empty table, two NULs, comes back as it is or is met with silence",
      .clauses = {"EXT-TABLE"},
      .extensions = {"command"},
      .fails_on = {"ext-empty-table-refused"},
      .run =
          [](Context& t) {
            const Exchange x = t.a().ask_once(table(t, {}));
            const auto same = [&](const Exchange& y) {
              if (!seen::no_error(y)) {
                return false;
              }
              const auto reply = observer::ext_table(*y.reply, t.target().ext_order);
              return reply && reply->strings.empty() &&
                     observer::get(*y.reply, F::ext_length) ==
                         observer::get(y.request, F::ext_length);
            };
            t.judge(x, Outcomes()
                           .pass("the empty table comes back", same)
                           .info("the empty table is met with silence", seen::silence));
          },
  });
}

void add_malformed(Registry& r) {
  // A target that serves what it can find, well-formed or not: its own idea of the table's end.
  const auto lax = [](std::string name, std::string story,
                      std::function<bool(uint16_t, bool)> when) {
    return deviants::spoils(
        std::move(name), std::move(story),
        [when = std::move(when)](const Bytes& q, ModelTarget& model, const Forward& forward) {
          if (!is_table(q) || q.size() < observer::at::ext_table || observer::ext_table(q)) {
            return forward(q);
          }
          const auto le = static_cast<uint16_t>(observer::load_le(q, observer::at::argument, 2));
          const auto be = static_cast<uint16_t>(observer::load_be(q, observer::at::argument, 2));
          const size_t room = q.size() - observer::at::ext_table;
          const bool inside = std::min(le, be) <= room;
          if (!when(std::min(le, be), inside)) {
            return forward(q);
          }
          model.sessions[source_of(q)].coalesced = true;
          Bytes reply = model.reply_to(q, observer::at::ext_table);
          std::copy_n(q.begin() + observer::at::argument, 2,
                      reply.begin() + observer::at::argument);
          return Answers{{reply, 0}};
        });
  };
  r.add(lax("ext-believes-a-length-beyond-the-frame",
            "serves a table that is longer than its frame",
            [](uint16_t, bool inside) { return !inside; }));
  r.add(lax("ext-needs-no-terminator", "serves a table that does not end in two NULs",
            [](uint16_t length, bool inside) { return inside && length > 1; }));
  r.add(lax("ext-serves-length-zero", "answers a table of no bytes, or of one",
            [](uint16_t length, bool) { return length <= 1; }));

  const Bytes good = {'c', 'o', 'a', 'l', 'e', 's', 'c', 'e', 'd', '_', 'r', 'e', 'a', 'd', 0, 0};
  struct Malformed {
    const char* id;
    const char* title;
    const char* deviant;
    Bytes bytes;
    uint16_t length;
  };
  const auto size = static_cast<uint16_t>(good.size());
  const std::vector<Malformed> all = {
      {"length-too-long", "A length that reaches beyond the frame",
       "ext-believes-a-length-beyond-the-frame", good, 2000},
      {"length-too-short", "A length that ends inside a name", "ext-needs-no-terminator", good,
       static_cast<uint16_t>(size - 4)},
      {"length-one-short", "A length that leaves the last NUL out", "ext-needs-no-terminator", good,
       static_cast<uint16_t>(size - 1)},
      {"length-zero", "A length of zero", "ext-serves-length-zero", good, 0},
      {"length-one", "A length of one", "ext-serves-length-zero", good, 1},
      {"no-terminator", "A table without any NUL", "ext-needs-no-terminator",
       Bytes(good.begin(), good.end() - 2), static_cast<uint16_t>(size - 2)},
      {"one-nul", "A table that ends in one NUL", "ext-needs-no-terminator",
       Bytes(good.begin(), good.end() - 1), static_cast<uint16_t>(size - 1)},
  };
  for (const Malformed& m : all) {
    add_in_both_orders(
        r,
        {
            .id = fmt::format("extensions.malformed.{}", m.id),
            .title = fmt::format("{} gets no answer, and activates nothing", m.title),
            .clauses = {"EXT-MALFORMED"},
            .extensions = {"command"},
            .hostile = true,
            .fails_on = {m.deviant},
        },
        [m](Context& t, Order order) {
          t.expect_silence(t.a(), extension_raw(m.bytes, m.length, order));
          if (offers(t, "coalesced_read")) {
            expect_coalescing(t, t.a(), false, "after the malformed table");
          }
        });
  }

  r.add(deviants::spoils("ext-answers-cut-frames", "answers a 0x23 frame that has no length",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           return is_table(q) && q.size() < observer::at::ext_table
                                      ? Answers{{model.reply_to(q, observer::at::ext_table), 0}}
                                      : forward(q);
                         }));
  r.add({
      .id = "extensions.malformed.cut-before-the-table",
      .title = "A frame that ends before or inside the length, or with it, gets no answer",
      .clauses = {"EXT-MALFORMED"},
      .extensions = {"command"},
      .hostile = true,
      .fails_on = {"ext-answers-cut-frames"},
      .run =
          [](Context& t) {
            for (size_t bytes = observer::at::argument; bytes <= observer::at::ext_table; ++bytes) {
              t.expect_silence(t.a(), table(t, {"reset"}).cut(bytes));
            }
          },
  });
  r.add({
      .id = "extensions.malformed.cut-inside-the-table",
      .title = "A table that the frame cuts, at any length, gets no answer and activates nothing",
      .clauses = {"EXT-MALFORMED"},
      .extensions = {"coalesced_read"},
      .hostile = true,
      .fails_on = {"ext-believes-a-length-beyond-the-frame"},
      .run =
          [](Context& t) {
            const Frame whole = table(t, {"coalesced_read"});
            for (size_t bytes = observer::at::ext_table + 1; bytes < whole.size(); ++bytes) {
              Frame frame = whole;
              t.expect_silence(t.a(), frame.cut(bytes));
            }
            expect_coalescing(t, t.a(), false, "after the cut tables");
          },
  });

  r.add(beforehand("ext-reads-beyond-its-length", "takes names from behind the table's end",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     const Bytes name = observer::bytes_of("coalesced_read");
                     session.coalesced =
                         session.coalesced ||
                         (is_table(q) &&
                          std::search(q.begin(), q.end(), name.begin(), name.end()) != q.end());
                   }));
  r.add({
      .id = "extensions.table.what-follows-is-not-read",
      .title =
          "Names behind the table's end, but inside the frame, are neither returned nor activated",
      .clauses = {"EXT-TABLE"},
      .extensions = {"coalesced_read"},
      .fails_on = {"ext-reads-beyond-its-length"},
      .run =
          [](Context& t) {
            Frame frame = table(t, {"no_such_feature"});
            frame.append(std::string_view("coalesced_read\0\0", 16));
            expect_table(t, t.a().ask(frame), {"no_such_feature"});
            expect_coalescing(t, t.a(), false, "named behind the table's end only");
          },
  });
}

void add_orders(Registry& r) {
  r.add(deviants::edits_reply(
      "ext-length-in-the-other-order", "answers with the length's two bytes swapped",
      [](const Bytes&, Bytes& reply) {
        if (is_table(reply) && reply.size() >= observer::at::ext_table) {
          std::swap(reply[observer::at::argument], reply[observer::at::argument + 1]);
        }
      }));
  r.add({
      .id = "extensions.order.answered-as-asked",
      .title = "The reply's length is in the byte order of the request's",
      .clauses = {"EXT-ORDER"},
      .extensions = {"command"},
      .fails_on = {"ext-length-in-the-other-order"},
      .run =
          [](Context& t) {
            for (const Order order : {Order::little, Order::big}) {
              const Exchange x = t.a().ask_once(extension_request({"reset", "unknown"}, order));
              if (x.answered()) {
                expect_table(t, x, {"RESET", "unknown"}, order);
              } else {
                t.expect(order != t.target().ext_order, x, "an answer in the order it speaks",
                         "silence");
              }
            }
          },
  });

  r.add(deviants::ignores("ext-little-endian-only", "takes the length in little-endian order only",
                          [](const Bytes& q, const ModelTarget&) {
                            return is_table(q) && !observer::ext_table(q, Order::little);
                          }));
  r.add({
      .id = "extensions.order.which",
      .title = "Which byte orders of the table's length the target takes",
      .clauses = {"EXT-ORDER"},
      .level = Level::may,
      .extensions = {"command"},
      .fails_on = {"ext-little-endian-only"},
      .run =
          [](Context& t) {
            const bool little = speaks(t, Order::little);
            const bool big = speaks(t, Order::big);
            t.info(fmt::format("the target takes the table's length {}",
                               little && big ? "in both byte orders"
                               : little      ? "little-endian only, as AoEde does"
                                             : "big-endian only"));
          },
  });
}

void add_letter_case(Registry& r) {
  Deviant as_aoede = deviants::spoils(
      "ext-upper-case-is-not-read", "returns a name in upper case unchanged and activates nothing",
      [](const Bytes& q, ModelTarget&, const Forward& forward) {
        const auto asked = is_table(q) ? observer::ext_table(q) : std::nullopt;
        if (!asked) {
          return forward(q);
        }
        Bytes hidden = q;  // what has a capital letter is a name nobody knows
        edit_table(hidden, [](Strings& strings) {
          for (std::string& s : strings) {
            s = s == lower(s) ? s : std::string(s.size(), '\x01');
          }
        });
        Answers answers = forward(hidden);
        for (Answer& a : answers) {
          edit_table(a.bytes, [&](Strings& strings) {
            for (size_t i = 0; i < strings.size(); ++i) {
              strings[i] = strings[i].starts_with('\x01') ? asked->strings[i] : strings[i];
            }
          });
        }
        return answers;
      });
  r.add(as_aoede);
  struct Spelling {
    const char* id;
    const char* text;
  };
  for (const Spelling& spelling :
       {Spelling{"upper", "COALESCED_READ"}, Spelling{"mixed", "Coalesced_Read"}}) {
    const std::string name = spelling.text;
    r.add({
        .id = fmt::format("extensions.case.{}", spelling.id),
        .title = fmt::format("What '{}' does: upper case in the reply must mean active", name),
        .clauses = {"EXT-CASE"},
        .level = Level::should,
        .extensions = {"coalesced_read"},
        .fails_on = {"ext-upper-case-is-not-read"},
        .run =
            [name](Context& t) {
              const Strings got = strings_of(t, t.a().ask(table(t, {name})));
              t.expect(got.size() == 1 && lower(got[0]) == lower(name),
                       "the same name, whatever its case", joined(got));
              const bool active = replies_to_coalesced(t, t.a()) == 2;
              const bool looks_active = got[0] == upper(name);
              t.expect(looks_active || !active, "an active feature comes back in upper case",
                       joined(got) + " though it is active");
              if (!active && looks_active) {
                t.info(
                    fmt::format("'{}' comes back in upper case and is not active: to its sender it "
                                "looks active, as with AoEde",
                                name));
              } else if (!active) {
                t.info(fmt::format("'{}' is not taken for the feature, and does not look active",
                                   name));
              }
            },
    });
  }
}

void add_reset(Registry& r) {
  r.add(deviants::spoils("ext-reset-keeps-coalesced", "leaves coalesced_read on at `reset`",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const bool on = model.sessions[source_of(q)].coalesced;
                           Answers answers = forward(q);
                           if (names(q, "reset") && on) {
                             model.sessions[source_of(q)].coalesced = true;
                           }
                           return answers;
                         }));
  r.add({
      .id = "extensions.reset.ends-coalesced-read",
      .title = "After `reset` byte 36 of a read is padding again",
      .clauses = {"EXT-RESET"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"ext-reset-keeps-coalesced"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"coalesced_read"});
            expect_coalescing(t, t.a(), true, "negotiated");
            negotiate(t, t.a(), {"reset"});
            expect_coalescing(t, t.a(), false, "after reset");
          },
  });

  r.add(deviants::spoils("ext-reset-keeps-crc", "leaves crc8x4 on at `reset`",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           const bool on = model.sessions[source_of(q)].crc;
                           Answers answers = forward(q);
                           if (names(q, "reset") && on) {
                             model.sessions[source_of(q)].crc = true;
                           }
                           return answers;
                         }));
  r.add({
      .id = "extensions.reset.ends-crc8x4",
      .title = "After `reset` a read is as long as it was before crc8x4",
      .clauses = {"EXT-RESET"},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"ext-reset-keeps-crc"},
      .run =
          [](Context& t) {
            const Exchange before = t.a().ask(observer::read_request(0, 1));
            t.expect_good_ata(before);
            negotiate(t, t.a(), {"crc8x4"});
            negotiate(t, t.a(), {"reset"});
            const Exchange after = t.a().ask(observer::read_request(0, 1));
            t.expect_good_ata(after);
            t.expect(after.reply->size() == before.reply->size(), after,
                     fmt::format("a reply of {} bytes, as before", before.reply->size()),
                     fmt::format("{} bytes", after.reply->size()));
          },
  });

  r.add(afterwards("ext-reset-applied-last", "applies `reset` after the rest of its table",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     if (names(q, "reset")) {
                       session = Session{};
                     }
                   }));
  r.add({
      .id = "extensions.reset.first-in-its-table",
      .title = "What follows `reset` in the same table is active",
      .clauses = {"EXT-RESET"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"ext-reset-applied-last"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            expect_coalescing(t, t.a(), true, "named behind reset");
          },
  });

  r.add(afterwards("ext-reset-applied-first", "applies `reset` before what stands ahead of it",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     if (names(q, "reset") && names(q, "coalesced_read")) {
                       session.coalesced = true;
                     }
                   }));
  r.add({
      .id = "extensions.reset.last-in-its-table",
      .title = "What stands ahead of `reset` in the same table is not active",
      .clauses = {"EXT-RESET"},
      .level = Level::should,
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"ext-reset-applied-first"},
      .run =
          [](Context& t) {
            const Exchange x = t.a().ask(table(t, {"coalesced_read", "reset"}));
            const Strings got = strings_of(t, x);
            t.expect(got.size() == 2 && got[1] == "RESET", x, "both strings, RESET at the end",
                     joined(got));
            expect_coalescing(t, t.a(), false, "named ahead of reset");
            if (got[0] == "COALESCED_READ") {
              t.info("a feature that the same table resets again comes back in upper case");
            }
          },
  });

  r.add(beforehand("ext-each-table-starts-anew", "forgets what earlier tables activated",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     if (is_table(q)) {
                       session = Session{};
                     }
                   }));
  r.add({
      .id = "extensions.table.adds",
      .title = "A later table adds to what is active; only `reset` takes away",
      .clauses = {"EXT-ADDS"},
      .level = Level::should,
      .extensions = {"coalesced_read", "tag_random"},
      .fails_on = {"ext-each-table-starts-anew"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"coalesced_read"});
            negotiate(t, t.a(), {"tag_random"});
            t.a().ask(table(t, {"no_such_feature"}));
            expect_coalescing(t, t.a(), true, "negotiated two tables ago");
          },
  });
}

void add_initiators(Registry& r) {
  Deviant shared;
  shared.name = "ext-one-session-for-all";
  shared.story = "keeps one session for all initiators, as AoEde does without a mask list";
  shared.make = [] {
    auto common = std::make_shared<Session>();
    return [common](const Bytes& q, ModelTarget& model, const Forward& forward) {
      if (q.size() < observer::at::argument) {
        return forward(q);
      }
      const Mac from = source_of(q);
      model.sessions[from] = std::move(*common);
      Answers answers = forward(q);
      *common = std::move(model.sessions[from]);
      model.sessions.erase(from);
      return answers;
    };
  };
  r.add(shared);
  r.add({
      .id = "extensions.initiators.another-does-not-switch-on",
      .title = "What one initiator negotiates is not active for another",
      .clauses = {"EXT-OWN"},
      .needs = {Need::second_initiator},
      .extensions = {"coalesced_read"},
      .fails_on = {"ext-one-session-for-all"},
      .run =
          [](Context& t) {
            negotiate(t, t.b(), {"coalesced_read"});
            expect_coalescing(t, t.a(), false, "negotiated by another initiator only");
            expect_coalescing(t, t.b(), true, "negotiated by this one");
          },
  });
  r.add({
      .id = "extensions.initiators.another-does-not-reset",
      .title = "One initiator's `reset` leaves another's features on",
      .clauses = {"EXT-OWN"},
      .needs = {Need::second_initiator},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"ext-one-session-for-all"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"coalesced_read"});
            negotiate(t, t.b(), {"coalesced_read"});
            negotiate(t, t.b(), {"reset"});
            expect_coalescing(t, t.a(), true, "after another initiator's reset");
          },
  });
  r.add(afterwards("ext-config-resets-everybody",
                   "resets every session at anybody's config command",
                   [](const Bytes& q, ModelTarget& model, Session&) {
                     if (is_command(q, observer::command::config)) {
                       model.sessions.clear();
                     }
                   }));
  r.add({
      .id = "extensions.initiators.another-asks-for-the-config",
      .title = "One initiator's config query leaves another's features on",
      .clauses = {"EXT-OWN"},
      .needs = {Need::second_initiator},
      .extensions = {"coalesced_read"},
      .fails_on = {"ext-config-resets-everybody"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"coalesced_read"});
            t.expect_answer(t.b().ask(observer::config_request(observer::ccmd::read)));
            expect_coalescing(t, t.a(), true, "after another initiator's config query");
          },
  });
  r.add({
      .id = "extensions.initiators.another-sets-the-config",
      .title = "One initiator's force set leaves another's features on",
      .clauses = {"EXT-OWN"},
      .needs = {Need::config, Need::second_initiator},
      .extensions = {"coalesced_read"},
      .fails_on = {"ext-config-resets-everybody"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"coalesced_read"});
            t.expect_no_error(
                t.b().ask(observer::config_request(observer::ccmd::force_set, "set by another")));
            expect_coalescing(t, t.a(), true, "after another initiator's force set");
          },
  });

  // The table of sessions is bounded; both deviants fill up at 32.
  const auto bounded = [](std::string name, std::string story, bool evicts) {
    Deviant d;
    d.name = std::move(name);
    d.story = std::move(story);
    d.make = [evicts] {
      auto seen = std::make_shared<std::vector<Mac>>();
      return [seen, evicts](const Bytes& q, ModelTarget& model, const Forward& forward) {
        Answers answers = forward(q);
        constexpr size_t limit = 32;
        const Mac from = is_table(q) ? source_of(q) : Mac{};
        if (names(q, "coalesced_read") &&
            std::find(seen->begin(), seen->end(), from) == seen->end()) {
          seen->push_back(from);
          if (seen->size() > limit) {
            model.sessions.erase(evicts ? seen->front() : from);
            seen->erase(evicts ? seen->begin() : seen->end() - 1);
          }
        }
        return answers;
      };
    };
    return d;
  };
  r.add(bounded("ext-evicts-the-oldest", "forgets the oldest initiator when its table is full",
                true));
  r.add(bounded("ext-full-table-lies", "answers in upper case when its table of initiators is full",
                false));
  r.add({
      .id = "extensions.initiators.more-than-there-is-room-for",
      .title =
          "With many initiators nobody who is protected loses it, and who gets no room is told so",
      .clauses = {"EXT-ROOM"},
      .needs = {Need::stress, Need::second_initiator, Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"ext-evicts-the-oldest", "ext-full-table-lies"},
      .run =
          [](Context& t) {
            constexpr size_t crowd = 200;
            constexpr size_t first = 16;  // behind the addresses that other cases use
            // Nobody is protected who has written nothing: a target may give his place away.
            const uint64_t lba = scratch_lba(t, 1);
            const auto writes = [&](Initiator& who) {
              put_sectors(t, who, lba, sector_pattern(500));
            };
            negotiate(t, t.a(), {"coalesced_read"});
            writes(t.a());
            size_t admitted = 0;
            Initiator* refused = nullptr;
            Initiator* last = &t.a();
            for (size_t i = 0; i < crowd && refused == nullptr; ++i) {
              Initiator& who = t.initiator(first + i);
              const Exchange x = who.ask(table(t, {"coalesced_read"}));
              const Strings got = strings_of(t, x);
              t.expect(got.size() == 1 && lower(got[0]) == "coalesced_read", x,
                       "the name, in upper case or in lower", joined(got));
              if (got[0] == "COALESCED_READ") {
                ++admitted;
                last = &who;
                writes(who);
              } else {
                refused = &who;
              }
            }
            expect_coalescing(t, t.a(), true, fmt::format("after {} newer initiators", admitted));
            expect_coalescing(t, *last, true, "told that it is active");
            if (refused != nullptr) {
              expect_coalescing(t, *refused, false, "told that it is not active");
              t.info(fmt::format("there is room for {} initiators with extensions", admitted + 1));
              negotiate(t, t.initiator(first), {"reset"});
              expect_table(t, refused->ask(table(t, {"coalesced_read"})), {"COALESCED_READ"});
            } else {
              t.info(fmt::format("{} initiators with extensions all found room", admitted + 1));
            }
          },
  });

  r.add(deviants::spoils("ext-ignores-the-mask", "negotiates with who is not on the mask list",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           if (!is_table(q)) {
                             return forward(q);
                           }
                           const auto mask = std::exchange(model.mask, {});
                           Answers answers = forward(q);
                           model.mask = mask;
                           return answers;
                         }));
  r.add({
      .id = "extensions.initiators.not-on-the-mask-list",
      .title = "Who is not on the MAC mask list gets no answer to command 0x23 either",
      .clauses = {"EXT-MASK"},
      .needs = {Need::lockout, Need::second_initiator},
      .extensions = {"command"},
      .fails_on = {"ext-ignores-the-mask"},
      .run =
          [](Context& t) {
            const std::vector<observer::Directive> add = {{0, observer::dcmd::add, t.a().mac()}};
            const std::vector<observer::Directive> del = {{0, observer::dcmd::del, t.a().mac()}};
            t.barrier_by(t.a());
            t.after([&t, del] { t.a().ask(observer::mask_request(observer::mcmd::edit, del)); });
            const Exchange edit = t.a().ask(observer::mask_request(observer::mcmd::edit, add));
            t.unsupported_if_refused(edit);
            t.expect_no_error(edit);
            t.expect_silence(t.b(), table(t, {"reset"}));
            expect_table(t, t.a().ask(table(t, {"reset"})), {"RESET"});
          },
  });
}

void add_header(Registry& r) {
  r.add(deviants::edits_reply("ext-reply-echoes-broadcast",
                              "answers command 0x23 with the shelf and slot of the request",
                              [](const Bytes& request, Bytes& reply) {
                                if (is_table(reply)) {
                                  observer::set(reply, F::shelf, *observer::get(request, F::shelf));
                                  observer::set(reply, F::slot, *observer::get(request, F::slot));
                                }
                              }));
  r.add({
      .id = "extensions.header.broadcast",
      .title = "A table for every shelf and slot is answered with the target's own",
      .clauses = {"EXT-HEADER"},
      .extensions = {"command"},
      .fails_on = {"ext-reply-echoes-broadcast"},
      .run =
          [](Context& t) {
            const Exchange x =
                t.a().ask(table(t, {"reset"}).set(F::shelf, 0xffff).set(F::slot, 0xff));
            expect_table(t, x, {"RESET"});
            t.expect_field(x, F::shelf, t.target().shelf);
            t.expect_field(x, F::slot, t.target().slot);
          },
  });

  r.add(deviants::edits_reply("ext-tag-zero", "answers command 0x23 with tag 0",
                              [](const Bytes&, Bytes& reply) {
                                if (is_table(reply)) {
                                  observer::set(reply, F::tag, 0);
                                }
                              }));
  r.add({
      .id = "extensions.header.of-the-reply",
      .title = "The reply has R, version 1, no error, and the request's command and tag",
      .clauses = {"EXT-HEADER"},
      .extensions = {"command"},
      .fails_on = {"ext-tag-zero"},
      .run =
          [](Context& t) {
            const Exchange x = t.a().ask(table(t, {"reset", "no_such_feature"}));
            t.expect_no_error(x);
            t.expect_field(x, F::version, 1);
            t.expect_field(x, F::command, observer::command::extension);
            t.expect_field(x, F::tag, *observer::get(x.request, F::tag));
            t.expect_field(x, F::flags_reserved, 0);
          },
  });

  r.add(deviants::edits_request("ext-answers-replies", "takes a 0x23 reply for a request",
                                [](Bytes& request) {
                                  if (is_table(request)) {
                                    observer::set(request, F::flag_response, 0);
                                  }
                                }));
  r.add(deviants::edits_request("ext-answers-other-shelves", "negotiates for any shelf and slot",
                                [](Bytes& request) {
                                  if (is_table(request)) {
                                    observer::set(request, F::shelf, 0xffff);
                                    observer::set(request, F::slot, 0xff);
                                  }
                                }));
  r.add({
      .id = "extensions.header.not-for-this-target",
      .title = "A table with R set, or for another shelf or slot, gets no answer",
      .clauses = {"EXT-HEADER"},
      .extensions = {"command"},
      .fails_on = {"ext-answers-replies", "ext-answers-other-shelves"},
      .run =
          [](Context& t) {
            t.expect_silence(t.a(), table(t, {"reset"}).set(F::flag_response, 1));
            t.expect_silence(t.a(), table(t, {"reset"}).set(F::shelf, t.target().shelf ^ 1U));
            t.expect_silence(t.a(), table(t, {"reset"}).set(F::slot, t.target().slot ^ 1U));
          },
  });

  r.add(deviants::spoils("ext-marks-reads", "adds a byte to every read of who has extensions",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (is_read(q) && model.sessions[source_of(q)].coalesced) {
                             answers.front().bytes.push_back(1);
                           }
                           return answers;
                         }));
  r.add({
      .id = "extensions.plain.reads-stay-as-they-were",
      .title =
          "With tag_inc and coalesced_read active an ordinary read is answered as before, once",
      .clauses = {"EXT-PLAIN"},
      .extensions = {"reset", "tag_random", "coalesced_read"},
      .fails_on = {"ext-marks-reads"},
      .run =
          [](Context& t) {
            const Exchange before = t.a().ask(observer::read_request(0, 1));
            t.expect_good_ata(before);
            negotiate(t, t.a(), {"tag_random", "coalesced_read"});
            const Bytes request = t.a().send(observer::read_request(0, 1));
            auto got = t.a().collect(1, t.patience_ns());
            t.barrier();
            const auto more = t.a().collect(1, t.grace_ns());
            got.insert(got.end(), more.begin(), more.end());
            t.expect(got.size() == 1, "one reply to an ordinary read",
                     fmt::format("{} replies", got.size()));
            Bytes wanted = *before.reply;
            observer::set(wanted, F::tag, *observer::get(request, F::tag));
            t.expect(got[0].bytes == wanted, "the reply of before, but for the tag",
                     observer::hexdump(got[0].bytes));
          },
  });
}

}  // namespace

void register_extensions(Registry& r) {
  add_command(r);
  add_names(r);
  add_unknown(r);
  add_sizes(r);
  add_malformed(r);
  add_orders(r);
  add_letter_case(r);
  add_reset(r);
  add_initiators(r);
  add_header(r);
}

}  // namespace conformance
