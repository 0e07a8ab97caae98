// Family config: command 1, query config. Cases that change the string need `config`; the string is
// put back.

#include <fmt/format.h>

#include <algorithm>

#include "conformance/cases/registry.h"

namespace conformance {

using deviants::Answers;
using deviants::Forward;
using deviants::ModelTarget;
using observer::config_request;
using observer::get;
using observer::set;
namespace ccmd = observer::ccmd;

namespace {

bool is_config(BytesView frame) {
  return observer::is_aoe(frame) && get(frame, F::command) == observer::command::config &&
         frame.size() >= observer::at::cfg_string;
}

bool is_config(BytesView frame, uint8_t cmd) {
  return is_config(frame) && get(frame, F::cfg_ccmd) == cmd;
}

// Changes config replies only.
deviants::Deviant edits_config_reply(std::string name, std::string story,
                                     std::function<void(const Bytes&, Bytes&)> edit) {
  return deviants::edits_reply(std::move(name), std::move(story),
                               [edit = std::move(edit)](const Bytes& request, Bytes& reply) {
                                 if (is_config(request) && is_config(reply)) {
                                   edit(request, reply);
                                 }
                               });
}

// Takes requests with one CCmd for another.
deviants::Deviant takes_for(std::string name, std::string story, uint8_t from, uint8_t to) {
  return deviants::edits_request(std::move(name), std::move(story), [from, to](Bytes& request) {
    if (is_config(request, from)) {
      set(request, F::cfg_ccmd, to);
    }
  });
}

// Does something to the model's string after the request was served.
deviants::Deviant mangles_string(std::string name, std::string story,
                                 std::function<void(const Bytes& request, Bytes& text)> mangle) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [mangle = std::move(mangle)](const Bytes& request, ModelTarget& model, const Forward& f) {
        Answers answers = f(request);
        if (is_config(request)) {
          mangle(request, model.config_string);
        }
        return answers;
      });
}

void put(Context& t, std::string_view text) {
  const Exchange x = t.a().ask(config_request(ccmd::force_set, text));
  if (!seen::no_error(x)) {
    t.expect_no_error(x);
  }
}

Exchange read_back(Context& t) {
  return t.a().ask(config_request(ccmd::read));
}

// Whatever came of the request, the string is what it was. It is the request that is told of, and
// not the read behind it, which only says what is there.
void expect_kept(Context& t, const Exchange& by, std::string_view text) {
  const Exchange now = read_back(t);
  t.expect_no_error(now);
  const auto got = observer::config_string(*now.reply);
  t.expect(got == observer::bytes_of(text), by,
           fmt::format("the config string stays {}", observer::quoted(text)),
           fmt::format("a read behind it brings {}", got ? observer::quoted(*got) : "no string"));
}

std::string pattern_text(size_t size) {
  std::string out;
  for (size_t i = 0; out.size() < size; ++i) {
    out += fmt::format("{:04x}.", i * 5);
  }
  out.resize(size);
  return out;
}

void register_reading(Registry& r) {
  r.add(edits_config_reply("buffer-count-zero", "advertises a buffer count of 0",
                           [](const Bytes&, Bytes& reply) { set(reply, F::cfg_buffer_count, 0); }));
  r.add({
      .id = "config.buffer-count.at-least-two",
      .title = "The buffer count is at least 2: the Linux driver is unusable below",
      .clauses = {"CFG-BUFFERS"},
      .level = Level::interop,
      .fails_on = {"buffer-count-zero"},
      .run =
          [](Context& t) {
            const Exchange x = read_back(t);
            t.expect_no_error(x);
            t.expect(x.field(F::cfg_buffer_count) >= 2, x, "a buffer count of at least 2",
                     fmt::format("{}", x.field(F::cfg_buffer_count)), {F::cfg_buffer_count});
          },
  });

  r.add({"holds-half-its-buffers", "drops what exceeds half of its buffer count", [] {
           struct Memory {
             int64_t burst = 0;
           };
           auto memory = std::make_shared<Memory>();
           return [memory](const Bytes& request, ModelTarget& model, const Forward& f) {
             const bool read = observer::is_aoe(request) &&
                               get(request, F::ata_command) == observer::ata::read_ext;
             if (!read || get(request, F::ata_lba) == 0U) {
               memory->burst = 0;
               return f(request);
             }
             return ++memory->burst > model.config.buffer_count / 2 ? Answers{} : f(request);
           };
         }});
  r.add({
      .id = "config.buffer-count.is-held",
      .title = "As many reads as the buffer count says, sent at once, are all answered",
      .clauses = {"CFG-BUFFERS-HELD"},
      .level = Level::should,
      .fails_on = {"holds-half-its-buffers"},
      .run =
          [](Context& t) {
            constexpr uint64_t burst_max =
                512;  // more says more about the link than about the target
            const uint64_t n = std::min(t.target().buffer_count, burst_max);
            const uint64_t sectors = std::max<uint64_t>(t.target().sectors, 2);
            size_t best = 0;
            for (int round = 0; round < 3 && best < n;
                 ++round) {  // a lost frame is not the target's fault
              for (uint64_t i = 0; i < n; ++i) {
                t.a().send(observer::read_request(1 + i % (sectors - 1), 1));
              }
              best = std::max(best, t.a().collect(n, t.patience_ns()).size());
              t.barrier();
            }
            t.expect(best == n, fmt::format("{} answers to {} reads at once", n, n),
                     fmt::format("{} at best, in three rounds", best));
          },
  });

  r.add(edits_config_reply("config-version-zero", "sends 0 for the AoE version of a config reply",
                           [](const Bytes&, Bytes& reply) { set(reply, F::cfg_version, 0); }));
  r.add({
      .id = "config.version.is-one",
      .title = "The config reply names AoE version 1",
      .clauses = {"CFG-VERSION"},
      .fails_on = {"config-version-zero"},
      .run = [](Context& t) { t.expect_field(read_back(t), F::cfg_version, 1); },
  });

  r.add(edits_config_reply("ccmd-zero", "does not return the CCmd",
                           [](const Bytes&, Bytes& reply) { set(reply, F::cfg_ccmd, 0); }));
  r.add({
      .id = "config.ccmd.returned",
      .title = "The reply carries the CCmd of its request",
      .clauses = {"CFG-CCMD"},
      .level = Level::should,
      .needs = {Need::config},
      .fails_on = {"ccmd-zero"},
      .run =
          [](Context& t) {
            put(t, "same");
            for (const uint8_t cmd : {ccmd::read, ccmd::test, ccmd::prefix, ccmd::force_set}) {
              t.expect_field(t.a().ask(config_request(cmd, "same")), F::cfg_ccmd, cmd);
            }
          },
  });

  r.add(
      edits_config_reply("sector-count-huge", "advertises 255 sectors on any link",
                         [](const Bytes&, Bytes& reply) { set(reply, F::cfg_sector_count, 255); }));
  r.add({
      .id = "config.sector-count.fits-the-link",
      .title = "As many sectors as the config reply says can be read at once (0 means 2)",
      .clauses = {"CFG-SECTORS"},
      .level = Level::interop,
      .fails_on = {"sector-count-huge"},
      .run =
          [](Context& t) {
            const Exchange config = read_back(t);
            t.expect_no_error(config);
            const uint64_t said = config.field(F::cfg_sector_count);
            const uint64_t n = std::min<uint64_t>(said == 0 ? 2 : said, t.target().sectors);
            const uint64_t room = (t.frame_max() - observer::at::ata_data) / observer::kSectorBytes;
            // The target's side may carry jumbo frames where ours does not.
            constexpr uint64_t jumbo_room = 17;
            if (n > room && n <= jumbo_room) {
              t.info(
                  fmt::format("{} sectors are advertised; a frame of this link holds {}: the "
                              "two ends' MTUs may differ",
                              n, room));
              return;
            }
            if (n > room) {
              t.warn(
                  fmt::format("{} sectors are advertised; a frame of this link holds {}", n, room),
                  &config, {F::cfg_sector_count});
              return;
            }
            const Exchange x = t.a().ask(observer::read_request(0, static_cast<uint8_t>(n)));
            t.expect_good_ata(x);
            t.expect(x.reply->size() >= observer::at::ata_data + n * observer::kSectorBytes, x,
                     fmt::format("{} sectors of data", n),
                     fmt::format("{} bytes", x.reply->size()));
          },
  });

  r.add(edits_config_reply("fields-echoed",
                           "returns the request's buffer count, firmware and sector count",
                           [](const Bytes& request, Bytes& reply) {
                             std::copy_n(request.begin() + observer::at::argument, 5,
                                         reply.begin() + observer::at::argument);
                           }));
  r.add({
      .id = "config.fields.are-the-targets",
      .title = "What a request says for buffer count, firmware and sector count is ignored",
      .clauses = {"CFG-FIELDS"},
      .fails_on = {"fields-echoed"},
      .run =
          [](Context& t) {
            Frame frame = config_request(ccmd::read);
            frame.set(F::cfg_buffer_count, 0x7ffe)
                .set(F::cfg_firmware, 0xa55a)
                .set(F::cfg_sector_count, 0xee);
            const Exchange x = t.a().ask(frame);
            t.expect_no_error(x);
            t.expect_field(x, F::cfg_buffer_count, t.target().buffer_count);
            t.expect_field(x, F::cfg_firmware, t.target().firmware);
            t.expect_field(x, F::cfg_sector_count, t.target().sector_count);
          },
  });

  r.add(deviants::ignores("wants-version-nibble-zero",
                          "is silent when the request names a version in byte 29",
                          [](const Bytes& f, const ModelTarget&) {
                            return is_config(f) && get(f, F::cfg_version) != 0U;
                          }));
  r.add({
      .id = "config.request.version-nibble",
      .title = "The version nibble of a request does not matter",
      .clauses = {"CFG-FIELDS"},
      .fails_on = {"wants-version-nibble-zero"},
      .run =
          [](Context& t) {
            for (const unsigned version : {1U, 2U, 15U}) {
              t.expect_no_error(t.a().ask(config_request(ccmd::read).set(F::cfg_version, version)));
            }
          },
  });

  r.add(deviants::ignores("not-found-by-broadcast", "is silent to broadcast config queries",
                          [](const Bytes& f, const ModelTarget&) {
                            return is_config(f) && get(f, F::shelf) == 0xffffU;
                          }));
  r.add({
      .id = "config.discovery.by-broadcast",
      .title = "A broadcast config query for every shelf and slot finds the target, with an "
               "address of its own",
      .clauses = {"CFG-DISCOVERY"},
      .level = Level::interop,
      .fails_on = {"not-found-by-broadcast"},
      .run =
          [](Context& t) {
            Frame frame = config_request(ccmd::read);
            frame.dst(observer::kBroadcastMac).set(F::shelf, 0xffff).set(F::slot, 0xff);
            const Exchange x = t.a().ask(frame);
            t.expect_no_error(x);
            // The Linux driver has no place for a target that names itself by a broadcast value.
            t.expect(x.field(F::shelf) != 0xffff && x.field(F::slot) != 0xff, x,
                     "a shelf and slot that are no broadcast values",
                     fmt::format("{}.{}", x.field(F::shelf), x.field(F::slot)),
                     {F::shelf, F::slot});
          },
  });

  r.add(takes_for("read-writes", "takes a read that carries a string for a force set", ccmd::read,
                  ccmd::force_set));
  r.add({
      .id = "config.read.ignores-its-string",
      .title = "A read that carries a string answers the present one, and stores nothing",
      .clauses = {"CFG-READ"},
      .needs = {Need::config},
      .fails_on = {"read-writes"},
      .run =
          [](Context& t) {
            put(t, "stays");
            const Exchange x = t.a().ask(config_request(ccmd::read, "intruder"));
            t.expect_config_string(x, "stays");
            expect_kept(t, x, "stays");
          },
  });
}

void register_testing(Registry& r) {
  r.add(takes_for("config-test-answers-all", "answers a test whatever its string", ccmd::test,
                  ccmd::read));
  r.add(takes_for("test-as-prefix", "takes a test for a prefix test", ccmd::test, ccmd::prefix));
  r.add(takes_for("prefix-as-test", "takes a prefix test for a test", ccmd::prefix, ccmd::test));
  r.add(takes_for("prefix-answers-all", "answers a prefix test whatever its string", ccmd::prefix,
                  ccmd::read));
  r.add(deviants::edits_request(
      "folds-case", "compares config strings without regard to case", [](Bytes& request) {
        if (is_config(request, ccmd::test) || is_config(request, ccmd::prefix)) {
          std::transform(request.begin() + observer::at::cfg_string, request.end(),
                         request.begin() + observer::at::cfg_string,
                         [](uint8_t c) { return std::tolower(c); });
        }
      }));
  r.add(deviants::edits_request(
      "strings-end-at-nul", "takes a NUL for the end of a config string", [](Bytes& request) {
        if (is_config(request)) {
          const auto from = request.begin() + observer::at::cfg_string;
          const auto nul = std::find(from, request.end(), 0);
          set(request, F::cfg_length,
              std::min<uint64_t>(*get(request, F::cfg_length), static_cast<uint64_t>(nul - from)));
        }
      }));
  r.add(deviants::ignores("test-never-answers", "is silent to tests and prefix tests",
                          [](const Bytes& f, const ModelTarget&) {
                            return is_config(f, ccmd::test) || is_config(f, ccmd::prefix);
                          }));

  r.add(deviants::spoils("prefix-of-the-old-string",
                         "compares a prefix with what an emptied string has left in its buffer",
                         [old = std::make_shared<Bytes>()](const Bytes& request, ModelTarget& model,
                                                           const Forward& f) {
                           if (!model.config_string.empty()) {
                             *old = model.config_string;
                           }
                           if (!is_config(request, ccmd::prefix) || !model.config_string.empty()) {
                             return f(request);
                           }
                           model.config_string = *old;
                           Answers answers = f(request);
                           model.config_string.clear();
                           return answers;
                         }));
  // string, question, does a test answer, does a prefix test answer
  struct Row {
    const char* name;
    std::string present;
    std::string asked;
    bool test;
    bool prefix;
    std::vector<std::string> test_fails_on;
    std::vector<std::string> prefix_fails_on;
  };
  using namespace std::string_literals;
  static const std::vector<Row> rows = {
      {"equal",
       "exactly this",
       "exactly this",
       true,
       true,
       {"test-never-answers"},
       {"test-never-answers"}},
      {"first-byte", "exactly this", "e", false, true, {"test-as-prefix"}, {"prefix-as-test"}},
      {"all-but-last",
       "exactly this",
       "exactly thi",
       false,
       true,
       {"test-as-prefix"},
       {"prefix-as-test"}},
      {"longer",
       "exactly this",
       "exactly this and more",
       false,
       false,
       {"config-test-answers-all"},
       {"prefix-answers-all"}},
      {"other-last-byte",
       "exactly this",
       "exactly thiz",
       false,
       false,
       {"config-test-answers-all"},
       {"prefix-answers-all"}},
      {"other-first-byte",
       "exactly this",
       "Xxactly this",
       false,
       false,
       {"config-test-answers-all"},
       {"prefix-answers-all"}},
      {"suffix",
       "exactly this",
       "this",
       false,
       false,
       {"config-test-answers-all"},
       {"prefix-answers-all"}},
      {"nothing", "exactly this", "", false, true, {"test-as-prefix"}, {"prefix-as-test"}},
      {"other-case", "exactly this", "Exactly This", false, false, {"folds-case"}, {"folds-case"}},
      {"behind-a-nul",
       "ab\0cd"s,
       "ab\0XX"s,
       false,
       false,
       {"config-test-answers-all"},
       {"strings-end-at-nul"}},
      {"something-of-nothing",
       "",
       "a",
       false,
       false,
       {"config-test-answers-all"},
       {"prefix-answers-all", "prefix-of-the-old-string"}},
      {"nothing-of-nothing", "", "", true, true, {"test-never-answers"}, {"test-never-answers"}},
  };
  for (const Row& row : rows) {
    for (const bool prefix : {false, true}) {
      const bool answers = prefix ? row.prefix : row.test;
      r.add({
          .id = fmt::format("config.{}.{}", prefix ? "prefix" : "test", row.name),
          .title = fmt::format("{} {} of {} is {}", prefix ? "A prefix test with" : "A test with",
                               observer::quoted(row.asked), observer::quoted(row.present),
                               answers ? "answered with the string" : "met with silence"),
          .clauses = {prefix ? "CFG-PREFIX" : "CFG-TEST"},
          .needs = {Need::config},
          .fails_on = prefix ? row.prefix_fails_on : row.test_fails_on,
          .run =
              [&row, prefix, answers](Context& t) {
                // A string that begins like what is asked for went before, whatever ran before
                // this.
                put(t, row.asked + " went before");
                put(t, row.present);
                const Frame frame = config_request(prefix ? ccmd::prefix : ccmd::test, row.asked);
                if (answers) {
                  const Exchange x = t.a().ask(frame);
                  t.expect_no_error(x);
                  t.expect_config_string(x, row.present);
                } else {
                  t.expect_silence(t.a(), frame);
                }
              },
      });
    }
  }
}

void register_setting(Registry& r) {
  r.add(takes_for("config-set-overwrites", "replaces a string that is there already", ccmd::set,
                  ccmd::force_set));
  r.add(takes_for("set-does-nothing", "answers a set as done and stores nothing", ccmd::set,
                  ccmd::read));
  r.add(takes_for("force-does-nothing", "answers a force set as done and stores nothing",
                  ccmd::force_set, ccmd::read));
  r.add(takes_for("force-as-set", "takes a force set for a set", ccmd::force_set, ccmd::set));
  r.add({
      .id = "config.set.refuses-when-present",
      .title = "A set with another string present is refused with error 4 and changes nothing",
      .clauses = {"CFG-SET"},
      .needs = {Need::config},
      .fails_on = {"config-set-overwrites"},
      .run =
          [](Context& t) {
            put(t, "first");
            const Exchange x = t.a().ask(config_request(ccmd::set, "second"));
            t.expect_error(x, observer::aoe_error::config_present);
            expect_kept(t, x, "first");
          },
  });
  r.add({
      .id = "config.set.refuses-to-empty",
      .title = "A set of nothing with a string present does not remove it",
      .clauses = {"CFG-SET"},
      .needs = {Need::config},
      .fails_on = {"config-set-overwrites"},
      .run =
          [](Context& t) {
            put(t, "first");
            const Exchange x = t.a().ask(config_request(ccmd::set));
            t.expect_error(x, observer::aoe_error::config_present);
            expect_kept(t, x, "first");
          },
  });
  r.add({
      .id = "config.set.refuses-a-longer-one",
      .title = "A set of a string that only begins like the present one is refused",
      .clauses = {"CFG-SET"},
      .needs = {Need::config},
      .fails_on = {"config-set-overwrites"},
      .run =
          [](Context& t) {
            put(t, "first");
            for (const char* other : {"first and second", "fir"}) {
              const Exchange x = t.a().ask(config_request(ccmd::set, other));
              t.expect_error(x, observer::aoe_error::config_present);
              expect_kept(t, x, "first");
            }
          },
  });
  r.add({
      .id = "config.set.stores-when-empty",
      .title = "A set with no string present stores it",
      .clauses = {"CFG-SET"},
      .needs = {Need::config},
      .fails_on = {"set-does-nothing"},
      .run =
          [](Context& t) {
            put(t, "");
            // Sent once: a repetition would meet its own string, where targets differ.
            const Exchange x = t.a().ask_once(config_request(ccmd::set, "stored"));
            if (x.answered()) {
              t.expect_no_error(x);
            }
            t.expect_config_string(read_back(t), "stored");
          },
  });
  r.add(deviants::spoils("set-same-clears", "clears the string when it is set to what it is",
                         [](const Bytes& request, ModelTarget& model, const Forward& f) {
                           const Bytes before = model.config_string;
                           Answers answers = f(request);
                           if (is_config(request, ccmd::set) && !before.empty() &&
                               before == observer::config_string(request)) {
                             model.config_string.clear();
                           }
                           return answers;
                         }));
  r.add({
      .id = "config.set.same-string",
      .title = "A set to the string that is there: done or refused with error 4, and it stays",
      .clauses = {"CFG-SET-SAME"},
      .level = Level::may,
      .needs = {Need::config},
      .fails_on = {"set-same-clears"},
      .run =
          [](Context& t) {
            put(t, "same");
            t.judge(t.a().ask(config_request(ccmd::set, "same")),
                    Outcomes{}
                        .info("answered as done", seen::no_error)
                        .info("refused with error 4",
                              seen::aoe_error(observer::aoe_error::config_present)));
            t.level(Level::must);
            t.expect_config_string(read_back(t), "same");
          },
  });
  r.add(edits_config_reply("error-without-string", "sends no string along with error 4",
                           [](const Bytes&, Bytes& reply) {
                             if (get(reply, F::error) == observer::aoe_error::config_present) {
                               set(reply, F::cfg_length, 0);
                               reply.resize(observer::at::cfg_string);
                             }
                           }));
  r.add({
      .id = "config.set.error-carries-the-present-string",
      .title = "Error 4 comes with the string that is there",
      .clauses = {"CFG-SET-ERROR"},
      .level = Level::may,
      .needs = {Need::config},
      .fails_on = {"error-without-string"},
      .run =
          [](Context& t) {
            put(t, "present");
            const Exchange x = t.a().ask(config_request(ccmd::set, "other"));
            t.expect_error(x, observer::aoe_error::config_present);
            t.judge(x, Outcomes{}
                           .pass("the present string",
                                 [](const Exchange& e) {
                                   return observer::config_string(*e.reply) ==
                                          observer::bytes_of("present");
                                 })
                           .info("no string",
                                 [](const Exchange& e) {
                                   return e.reply->size() < observer::at::cfg_string ||
                                          e.field(F::cfg_length) == 0;
                                 })
                           .info("the refused string comes back", [](const Exchange& e) {
                             return observer::config_string(*e.reply) ==
                                    observer::bytes_of("other");
                           }));
          },
  });
  r.add(deviants::spoils("each-its-own-string", "keeps a string for each initiator",
                         [](const Bytes& request, ModelTarget& model, const Forward& f) {
                           Answers answers = f(request);
                           if (is_config(request, ccmd::read) && (request[6] & 2) != 0 &&
                               request[7] != model.config.mac[1]) {
                             for (auto& a : answers) {
                               set(a.bytes, F::cfg_length, 0);
                               a.bytes.resize(observer::at::cfg_string);
                             }
                           }
                           return answers;
                         }));
  r.add({
      .id = "config.string.is-everybodys",
      .title = "What one initiator stored, another reads",
      .clauses = {"CFG-READ"},
      .needs = {Need::config, Need::second_initiator},
      .fails_on = {"each-its-own-string"},
      .run =
          [](Context& t) {
            put(t, "for all to see");
            t.expect_config_string(t.b().ask(config_request(ccmd::read)), "for all to see");
          },
  });
  r.add({
      .id = "config.set.only-the-first-of-two",
      .title = "Of two initiators that set at once one succeeds, the other gets error 4",
      .clauses = {"CFG-SET"},
      .needs = {Need::config, Need::second_initiator},
      .fails_on = {"config-set-overwrites"},
      .run =
          [](Context& t) {
            put(t, "");
            const Bytes first = t.a().send(config_request(ccmd::set, "of A"));
            const Bytes second = t.b().send(config_request(ccmd::set, "of B"));
            const auto a =
                t.a().await_tag(static_cast<uint32_t>(*get(first, F::tag)), t.patience_ns());
            const auto b =
                t.b().await_tag(static_cast<uint32_t>(*get(second, F::tag)), t.patience_ns());
            if (!a || !b) {
              t.inconclusive("one of the two answers did not come, and a set may not be repeated");
            }
            const auto error = [](const links::ReceivedFrame& f) {
              return *get(f.bytes, F::error);
            };
            const bool a_won = error(*a) == 0;
            const uint64_t loser = error(a_won ? *b : *a);
            t.expect(error(*a) == 0 || error(*b) == 0, "one success", "two errors");
            t.expect(loser == observer::aoe_error::config_present, "error 4 for the second",
                     fmt::format("error {}", loser));
            t.expect_config_string(read_back(t), a_won ? "of A" : "of B");
          },
  });

  r.add({
      .id = "config.force.replaces",
      .title = "A force set replaces the string, by a shorter and by a longer one",
      .clauses = {"CFG-FORCE"},
      .needs = {Need::config},
      .fails_on = {"force-does-nothing", "force-as-set"},
      .run =
          [](Context& t) {
            for (const char* text : {"one", "another one", "x"}) {
              put(t, text);
              t.expect_config_string(read_back(t), text);
            }
          },
  });
  r.add(deviants::spoils(
      "force-keeps-tail", "leaves the end of a longer string when a shorter one is stored",
      [](const Bytes& request, ModelTarget& model, const Forward& f) {
        const Bytes before = model.config_string;
        Answers answers = f(request);
        if (is_config(request, ccmd::force_set) && before.size() > model.config_string.size()) {
          model.config_string.insert(
              model.config_string.end(),
              before.begin() + static_cast<ptrdiff_t>(model.config_string.size()), before.end());
        }
        return answers;
      }));
  r.add({
      .id = "config.force.empties",
      .title = "A force set of nothing removes the string; a set works again",
      .clauses = {"CFG-FORCE"},
      .needs = {Need::config},
      .fails_on = {"force-keeps-tail"},
      .run =
          [](Context& t) {
            put(t, "to be removed");
            put(t, "");
            t.expect_config_string(read_back(t), "");
            t.expect_no_error(t.a().ask_once(config_request(ccmd::set, "again")));
            t.expect_config_string(read_back(t), "again");
          },
  });
  r.add(edits_config_reply("force-answers-nothing", "sends no string in the reply to a force set",
                           [](const Bytes& request, Bytes& reply) {
                             if (is_config(request, ccmd::force_set)) {
                               set(reply, F::cfg_length, 0);
                               reply.resize(observer::at::cfg_string);
                             }
                           }));
  r.add({
      .id = "config.force.reply-carries-the-string",
      .title = "The reply to a force set carries the string that is there now",
      .clauses = {"CFG-CURRENT"},
      .level = Level::may,
      .needs = {Need::config},
      .fails_on = {"force-answers-nothing"},
      .run =
          [](Context& t) {
            put(t, "old");
            const Exchange x = t.a().ask(config_request(ccmd::force_set, "new"));
            t.expect_no_error(x);
            const auto text = [](const char* s) {
              return [s](const Exchange& e) {
                return observer::config_string(*e.reply) == observer::bytes_of(s);
              };
            };
            t.judge(x, Outcomes{}
                           .pass("the new string", text("new"))
                           .info("no string", text(""))
                           .fail("another string", seen::anything));
          },
  });
}

void register_lengths(Registry& r) {
  r.add(mangles_string("string-byte-length", "counts the string's length in one byte",
                       [](const Bytes& request, Bytes& text) {
                         if (is_config(request, ccmd::force_set)) {
                           text.resize(text.size() & 0xff);
                         }
                       }));
  r.add(mangles_string("string-max-1023", "loses the last of 1,024 bytes",
                       [](const Bytes&, Bytes& text) {
                         text.resize(std::min<size_t>(text.size(), observer::kConfigStringMax - 1));
                       }));
  r.add(mangles_string("string-last-byte-lost", "loses the last byte of what is stored",
                       [](const Bytes& request, Bytes& text) {
                         if (is_config(request, ccmd::force_set) && !text.empty()) {
                           text.pop_back();
                         }
                       }));
  struct Length {
    const char* name;
    std::vector<size_t> sizes;
    std::vector<std::string> fails_on;
  };
  static const std::vector<Length> lengths = {
      {"short", {1, 2, 3}, {"string-last-byte-lost"}},
      {"around-the-minimum-frame", {27, 28, 29}, {"string-last-byte-lost"}},
      {"around-a-byte", {254, 255, 256, 257}, {"string-byte-length"}},
      {"around-512", {511, 512, 513}, {"string-byte-length"}},
      {"maximum", {1023, 1024}, {"string-max-1023"}},
  };
  for (const Length& length : lengths) {
    r.add({
        .id = std::string("config.length.") + length.name,
        .title = "Strings of these lengths are stored, tested and returned whole",
        .clauses = {"CFG-LENGTH"},
        .needs = {Need::config},
        .fails_on = length.fails_on,
        .run =
            [&length](Context& t) {
              for (const size_t size : length.sizes) {
                const std::string text = pattern_text(size);
                put(t, text);
                t.expect_config_string(read_back(t), text);
                t.expect_answer(t.a().ask(config_request(ccmd::test, text)));
              }
            },
    });
  }

  r.add(deviants::spoils("stores-too-long", "stores more than 1,024 bytes",
                         [](const Bytes& request, ModelTarget& model, const Forward& f) {
                           const uint64_t n = is_config(request) ? *get(request, F::cfg_length) : 0;
                           if (n > observer::kConfigStringMax && !is_config(request, ccmd::read) &&
                               request.size() >= observer::at::cfg_string + n) {
                             const auto from = request.begin() + observer::at::cfg_string;
                             model.config_string.assign(from, from + static_cast<ptrdiff_t>(n));
                             Bytes read = request;
                             set(read, F::cfg_ccmd, ccmd::read);
                             return f(read);
                           }
                           return f(request);
                         }));
  r.add(deviants::spoils(
      "stores-beyond-frame", "stores as much as the length says, whatever the frame holds",
      [](const Bytes& request, ModelTarget& model, const Forward& f) {
        const uint64_t n = is_config(request) ? *get(request, F::cfg_length) : 0;
        if (n <= observer::kConfigStringMax && !is_config(request, ccmd::read) &&
            request.size() < observer::at::cfg_string + n) {
          model.config_string.assign(request.begin() + observer::at::cfg_string, request.end());
          model.config_string.resize(n, 0x5a);
          Bytes read = request;
          set(read, F::cfg_ccmd, ccmd::read);
          return f(read);
        }
        return f(request);
      }));
  static const std::pair<const char*, uint8_t> kinds[] = {{"test", ccmd::test},
                                                          {"prefix", ccmd::prefix},
                                                          {"set", ccmd::set},
                                                          {"force", ccmd::force_set}};
  const auto refused = [](bool test) {
    Outcomes o;
    o.pass("error 2", seen::aoe_error(observer::aoe_error::bad_argument));
    if (test) {
      o.pass("silence: it does not match", seen::silence);
    } else {
      o.info("silence", seen::silence)
          .info("error 4", seen::aoe_error(observer::aoe_error::config_present));
    }
    return o.fail("it was answered as if the string were good", seen::no_error);
  };
  for (const auto& [name, cmd] : kinds) {
    const bool test = cmd == ccmd::test || cmd == ccmd::prefix;
    r.add({
        .id = std::string("config.length.above-maximum-in-") + name,
        .title =
            fmt::format("A {} of 1,025 bytes and more is not done, and the string stays", name),
        .clauses = {"CFG-LENGTH-MAX"},
        .needs = {Need::config},
        .hostile = true,
        .fails_on = {"stores-too-long"},
        .run =
            [cmd = cmd, test, refused](Context& t) {
              put(t, "stays");
              for (const size_t size :
                   {size_t{1025}, size_t{1280}, t.frame_max() - observer::at::cfg_string}) {
                if (size <= observer::kConfigStringMax) {
                  continue;  // no longer frame than that goes over this link
                }
                const std::string text = "stays" + pattern_text(size - 5);
                const Exchange x = t.a().ask(config_request(cmd, text));
                t.judge(x, refused(test));
                expect_kept(t, x, "stays");
              }
            },
    });
    r.add({
        .id = std::string("config.length.beyond-the-frame-in-") + name,
        .title = fmt::format(
            "A {} whose length reaches beyond its frame is not done, and the string stays", name),
        .clauses = {"CFG-LENGTH-FRAME"},
        .needs = {Need::config},
        .hostile = true,
        .fails_on = {"stores-beyond-frame"},
        .run =
            [cmd = cmd, test, refused](Context& t) {
              put(t, "stays");
              for (const uint64_t claimed : {29U, 64U, 1000U, 1024U}) {
                const Exchange x =
                    t.a().ask(config_request(cmd, "stays").set(F::cfg_length, claimed));
                t.judge(x, refused(test));
                expect_kept(t, x, "stays");
              }
            },
    });
  }
  r.add({
      .id = "config.length.absurd",
      .title = "A length of 65,535 is believed by no CCmd",
      .clauses = {"CFG-LENGTH-FRAME"},
      .needs = {Need::config},
      .hostile = true,
      .fails_on = {"believes-any-length"},
      .run =
          [](Context& t) {
            put(t, "stays");
            for (const uint8_t cmd :
                 {ccmd::read, ccmd::test, ccmd::prefix, ccmd::set, ccmd::force_set}) {
              for (const uint64_t claimed : {0x8000U, 0xfffeU, 0xffffU}) {
                const Exchange x =
                    t.a().ask(config_request(cmd, "stays").set(F::cfg_length, claimed));
                if (cmd == ccmd::read && seen::no_error(x)) {
                  t.expect_config_string(x, "stays");  // a read's string is ignored
                }
              }
            }
            t.expect_config_string(read_back(t), "stays");
          },
  });
  r.add(edits_config_reply("believes-any-length", "returns the length that the request claims",
                           [](const Bytes& request, Bytes& reply) {
                             if (is_config(request, ccmd::read) &&
                                 *get(request, F::cfg_length) > 1024) {
                               set(reply, F::cfg_length, *get(request, F::cfg_length));
                             }
                           }));
  r.add(deviants::edits_request(
      "length-from-frame", "takes all of the frame for the string", [](Bytes& request) {
        if (is_config(request) && !is_config(request, ccmd::read) &&
            *get(request, F::cfg_length) > 0) {
          set(request, F::cfg_length, request.size() - observer::at::cfg_string);
        }
      }));
  r.add({
      .id = "config.length.shorter-than-the-frame",
      .title = "Only as much of the frame as the length says is the string",
      .clauses = {"CFG-LENGTH"},
      .needs = {Need::config},
      .fails_on = {"length-from-frame"},
      .run =
          [](Context& t) {
            t.expect_no_error(t.a().ask(
                config_request(ccmd::force_set, "kept and dropped").set(F::cfg_length, 4)));
            t.expect_config_string(read_back(t), "kept");
          },
  });

  r.add(mangles_string("string-seven-bits", "keeps seven bits of each byte",
                       [](const Bytes& request, Bytes& text) {
                         if (is_config(request, ccmd::force_set)) {
                           for (uint8_t& b : text) {
                             b &= 0x7f;
                           }
                         }
                       }));
  r.add({
      .id = "config.string.is-bytes",
      .title = "Every byte value is kept in a config string, NUL included",
      .clauses = {"CFG-BYTES"},
      .needs = {Need::config},
      .fails_on = {"string-seven-bits", "strings-end-at-nul"},
      .run =
          [](Context& t) {
            Bytes text;
            for (unsigned b = 0; b < 256; ++b) {
              text.push_back(static_cast<uint8_t>(b));
            }
            t.expect_no_error(t.a().ask(config_request(ccmd::force_set, BytesView(text))));
            t.expect_config_string(read_back(t), BytesView(text));
            const Bytes zeros(16, 0);
            t.expect_no_error(t.a().ask(config_request(ccmd::force_set, BytesView(zeros))));
            t.expect_config_string(read_back(t), BytesView(zeros));
          },
  });

  r.add(deviants::edits_request(
      "unknown-ccmd-forces", "takes every CCmd above 4 for a force set", [](Bytes& request) {
        if (is_config(request) && *get(request, F::cfg_ccmd) > ccmd::force_set) {
          set(request, F::cfg_ccmd, ccmd::force_set);
        }
      }));
  r.add({
      .id = "config.ccmd.unknown",
      .title = "A CCmd above 4 is refused with error 2 and changes nothing",
      .clauses = {"CFG-BAD-CCMD"},
      .needs = {Need::config},
      .hostile = true,
      .fails_on = {"unknown-ccmd-forces"},
      .run =
          [](Context& t) {
            put(t, "stays");
            for (unsigned cmd = 5; cmd <= 15; ++cmd) {
              const Exchange x = t.a().ask(config_request(static_cast<uint8_t>(cmd), "other"));
              t.judge(x, Outcomes{}
                             .pass("error 2", seen::aoe_error(observer::aoe_error::bad_argument))
                             .info("error 1", seen::aoe_error(observer::aoe_error::bad_command))
                             .warn("silence", seen::silence));
              expect_kept(t, x, "stays");
            }
          },
  });
}

void register_restarts(Registry& r) {
  deviants::Deviant forgets =
      deviants::spoils("string-lost-at-restart", "forgets its config string when it is restarted",
                       [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); });
  forgets.on_restart = [](ModelTarget& m) { m.config_string.clear(); };
  r.add(forgets);
  deviants::Deviant tears =
      deviants::spoils("string-torn-by-crash", "has a mixture of two strings after a crash",
                       [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); });
  tears.on_restart = [](ModelTarget& m) {
    if (m.config_string == observer::bytes_of("old") ||
        m.config_string == observer::bytes_of("new")) {
      m.config_string = observer::bytes_of("nld");
    }
  };
  r.add(tears);
  r.add(
      deviants::ignores("no-announcement", "does not announce itself",
                        [](const Bytes& f, const ModelTarget&) { return observer::is_reply(f); }));
  r.add(deviants::edits_reply("announces-nobody",
                              "announces itself without shelf and slot's config",
                              [](const Bytes& request, Bytes& reply) {
                                if (observer::is_reply(request)) {
                                  set(reply, F::cfg_buffer_count, 0);
                                  set(reply, F::tag, 7);
                                }
                              }));
  r.add({
      .id = "config.restart.string",
      .title = "The config string is there again after an orderly restart, or it is gone",
      .clauses = {"CFG-RESTART"},
      .level = Level::may,
      .needs = {Need::config, Need::target_command},
      .fails_on = {"string-lost-at-restart"},
      .run =
          [](Context& t) {
            put(t, "across a restart");
            t.restart_target();
            const auto text = observer::config_string(t.expect_answer(read_back(t)));
            if (text == observer::bytes_of("across a restart")) {
              return;
            }
            t.info(fmt::format("the string is lost with a restart; it is {} then",
                               observer::quoted(text.value_or(Bytes{}))));
          },
  });
  r.add({
      .id = "config.restart.crash-leaves-old-or-new",
      .title = "After a crash the config string is one that was stored, or the one of a fresh "
               "start; never a mixture",
      .clauses = {"CFG-RESTART"},
      .needs = {Need::config, Need::target_command},
      .fails_on = {"string-torn-by-crash"},
      .run =
          [](Context& t) {
            t.restart_target();
            const auto fresh = observer::config_string(t.expect_answer(read_back(t)));
            put(t, "old");
            for (int i = 0; i < 3; ++i) {
              // Sent, and killed before or after it is done.
              t.a().send(config_request(ccmd::force_set, "new"));
              t.restart_target(Context::End::crash);
              const Exchange x = read_back(t);
              const auto text = observer::config_string(t.expect_answer(x));
              const bool whole = text == fresh || text == observer::bytes_of("old") ||
                                 text == observer::bytes_of("new");
              t.expect(whole, x, "\"old\", \"new\", or what a fresh start has",
                       observer::quoted(text.value_or(Bytes{})), {F::cfg_length});
              put(t, "old");
            }
          },
  });
  r.add({
      .id = "config.announcement.at-start",
      .title = "A target that starts announces itself with a config reply, tag 0, to everybody",
      .clauses = {"CFG-ANNOUNCE"},
      .level = Level::may,
      .needs = {Need::target_command},
      .fails_on = {"no-announcement", "announces-nobody"},
      .run =
          [](Context& t) {
            const auto hello = t.restart_target();
            if (!hello) {
              t.info("no announcement came before the first answer");
              return;
            }
            Exchange x;
            x.request = *hello;
            x.reply = *hello;
            t.level(Level::should);
            t.expect_field(x, F::tag, 0);
            t.expect_field(x, F::version, 1);
            t.expect_no_error(x);
            t.expect_field(x, F::cfg_ccmd, ccmd::read);
            t.expect_field(x, F::cfg_buffer_count, t.target().buffer_count);
            t.expect_field(x, F::cfg_sector_count, t.target().sector_count);
            t.expect(hello->size() >= observer::at::cfg_string + x.field(F::cfg_length), x,
                     "an announcement that holds its string",
                     fmt::format("{} bytes", hello->size()), {F::cfg_length});
          },
  });
}

}  // namespace

void register_config(Registry& r) {
  register_reading(r);
  register_testing(r);
  register_setting(r);
  register_lengths(r);
  register_restarts(r);
}

}  // namespace conformance
