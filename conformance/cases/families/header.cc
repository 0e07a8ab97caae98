// Family header: what every frame has to begin with, whatever its command. Reads only.

#include <fmt/format.h>

#include <algorithm>

#include "conformance/cases/registry.h"

namespace conformance {

using deviants::Answers;
using deviants::Forward;
using deviants::ModelTarget;
using observer::config_request;
using observer::get;
using observer::identify_request;
using observer::read_request;
using observer::set;

namespace {

constexpr uint8_t kUnknownCommand = 0x40;
constexpr uint16_t kEveryShelf = 0xffff;
constexpr uint8_t kEverySlot = 0xff;

// One question for each way that a target builds a reply. What is unknown to a target is refused
// with a reply, too.
struct Question {
  std::string name;
  std::function<Frame()> make;
  std::function<bool(BytesView)> is;  // is this request such a question?
};

bool is_command(BytesView frame, uint8_t command) {
  return observer::is_aoe(frame) && get(frame, F::command) == command;
}

bool is_ata(BytesView frame, uint8_t command) {
  return is_command(frame, observer::command::ata) && get(frame, F::ata_command) == command;
}

const std::vector<Question>& questions() {
  static const std::vector<Question> all = {
      {"identify", identify_request,
       [](BytesView f) { return is_ata(f, observer::ata::identify); }},
      // Sector 1, so that a deviant may spoil this and leave the barrier's read of sector 0 alone.
      {"read", [] { return read_request(1, 1); },
       [](BytesView f) { return is_ata(f, observer::ata::read_ext) && get(f, F::ata_lba) == 1; }},
      {"config", [] { return config_request(observer::ccmd::read); },
       [](BytesView f) { return is_command(f, observer::command::config); }},
      {"mask", [] { return observer::mask_request(observer::mcmd::read); },
       [](BytesView f) { return is_command(f, observer::command::mask); }},
      {"reserve", [] { return observer::reserve_request(observer::rcmd::read); },
       [](BytesView f) { return is_command(f, observer::command::reserve); }},
      {"unknown-command", [] { return observer::header_only(kUnknownCommand); },
       [](BytesView f) { return is_command(f, kUnknownCommand); }},
  };
  return all;
}

// Those that the gate lets pass.
std::vector<Question> askable(const Context& t) {
  std::vector<Question> out;
  std::copy_if(questions().begin(), questions().end(), std::back_inserter(out),
               [&](const Question& q) { return t.may_send(q.make()); });
  return out;
}

std::vector<Need> needs_of(const Question& q) {
  return q.name == "unknown-command" ? std::vector<Need>{Need::unknown} : std::vector<Need>{};
}

// An answer, or nothing where silence is a target's right: to a command it does not know.
std::optional<Exchange> answer_to(Context& t, Initiator& who, const Question& q, Frame frame) {
  Exchange x = who.ask(std::move(frame));
  const bool optional_command =
      q.name == "unknown-command" || q.name == "mask" || q.name == "reserve";
  if (!x.answered() && x.strays.empty() && optional_command) {
    return std::nullopt;
  }
  t.expect_answer(x);
  return x;
}

// A read that is not the barrier's.
bool is_a_read(BytesView frame) {
  return is_ata(frame, observer::ata::read_ext) && get(frame, F::ata_lba) != 0U;
}

// A deviant that remembers something from frame to frame.
template <typename Memory, typename Step>
deviants::Deviant with_memory(std::string name, std::string story, Memory start, Step step) {
  deviants::Deviant d;
  d.name = std::move(name);
  d.story = std::move(story);
  d.make = [start, step]() -> deviants::Middleware {
    return [memory = std::make_shared<Memory>(start), step](const Bytes& request, ModelTarget&,
                                                            const Forward& f) {
      return step(*memory, request, f);
    };
  };
  return d;
}

// The question's own deviant: it spoils the replies to this one only.
std::string spoil_only(Registry& r, const Question& q, const std::string& what,
                       const std::string& story, std::function<void(const Bytes&, Bytes&)> edit) {
  std::string name = what + "-in-" + q.name;
  r.add(deviants::edits_reply(name, story + " in its reply to " + q.name,
                              [q, edit = std::move(edit)](const Bytes& request, Bytes& reply) {
                                if (q.is(request)) {
                                  edit(request, reply);
                                }
                              }));
  return name;
}

void register_tags(Registry& r) {
  r.add(deviants::edits_reply(
      "reply-tag-swapped", "returns the tag with its bytes in reverse order",
      [](const Bytes&, Bytes& reply) {
        set(reply, F::tag, __builtin_bswap32(static_cast<uint32_t>(*get(reply, F::tag))));
      }));
  for (const Question& q : questions()) {
    const std::string own = spoil_only(r, q, "tag-zero", "answers with tag 0",
                                       [](const Bytes&, Bytes& reply) { set(reply, F::tag, 0); });
    r.add({
        .id = "header.tag.returned-by-" + q.name,
        .title =
            fmt::format("The reply to {} carries the request's tag, whatever its value", q.name),
        .clauses = {"HDR-TAG"},
        .needs = needs_of(q),
        .fails_on = {"reply-tag-swapped", own},
        .run =
            [q](Context& t) {
              for (const uint32_t tag :
                   {0x01020304U, 0xfffefdfcU, 1U, 0U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
                const auto x = answer_to(t, t.a(), q, q.make().set(F::tag, tag));
                if (!x) {
                  t.unsupported("the command is met with silence");
                }
                t.expect_field(*x, F::tag, tag);
              }
            },
    });
  }
  r.add(with_memory(
      "remembers-tag", "drops a read whose tag it has seen before", std::set<uint64_t>{},
      [](std::set<uint64_t>& tags, const Bytes& request, const Forward& f) {
        return is_a_read(request) && !tags.insert(*get(request, F::tag)).second ? Answers{}
                                                                                : f(request);
      }));
  r.add({
      .id = "header.tag.means-nothing",
      .title = "A read with a tag that was used before is answered like any other",
      .clauses = {"HDR-TAG", "HDR-ALONE"},
      .fails_on = {"remembers-tag"},
      .run =
          [](Context& t) {
            const uint32_t tag = t.a().next_tag();
            for (int i = 0; i < 3; ++i) {
              t.expect_good_ata(t.a().ask(read_request(1, 1).set(F::tag, tag)));
            }
            t.expect_good_ata(t.b().ask(read_request(1, 1).set(F::tag, tag)));
          },
  });
}

void register_addresses(Registry& r) {
  for (const Question& q : questions()) {
    const std::string echoes =
        spoil_only(r, q, "shelf-slot-echoed", "returns the request's shelf and slot, not its own",
                   [](const Bytes& request, Bytes& reply) {
                     set(reply, F::shelf, *get(request, F::shelf));
                     set(reply, F::slot, *get(request, F::slot));
                   });
    r.add({
        .id = "header.broadcast.own-address-by-" + q.name,
        .title =
            fmt::format("{} sent to every shelf and slot is answered with the target's own shelf "
                        "and slot",
                        q.name),
        .clauses = {"HDR-BROADCAST", "HDR-OWN-ADDRESS"},
        .needs = needs_of(q),
        .fails_on = {echoes},
        .run =
            [q](Context& t) {
              Frame frame = q.make();
              frame.set(F::shelf, kEveryShelf).set(F::slot, kEverySlot);
              const auto x = answer_to(t, t.a(), q, frame);
              if (!x) {
                t.unsupported("the command is met with silence");
              }
              t.clause("HDR-OWN-ADDRESS");
              t.expect_field(*x, F::shelf, t.target().shelf);
              t.expect_field(*x, F::slot, t.target().slot);
            },
    });
  }

  struct Stranger {
    const char* name;
    const char* story;
    uint16_t (*shelf)(const TargetFacts&);
    uint8_t (*slot)(const TargetFacts&);
  };
  static const Stranger strangers[] = {
      {"other-shelf", "its slot, another shelf",
       [](const TargetFacts& f) { return static_cast<uint16_t>(f.shelf ^ 1); },
       [](const TargetFacts& f) { return f.slot; }},
      {"other-slot", "its shelf, another slot", [](const TargetFacts& f) { return f.shelf; },
       [](const TargetFacts& f) { return static_cast<uint8_t>(f.slot ^ 1); }},
      {"other-shelf-high-byte", "a shelf that differs in the high byte only",
       [](const TargetFacts& f) { return static_cast<uint16_t>(f.shelf ^ 0x0100); },
       [](const TargetFacts& f) { return f.slot; }},
      {"every-shelf-other-slot", "every shelf, another slot",
       [](const TargetFacts&) { return kEveryShelf; },
       [](const TargetFacts& f) { return static_cast<uint8_t>(f.slot ^ 1); }},
      {"other-shelf-every-slot", "another shelf, every slot",
       [](const TargetFacts& f) { return static_cast<uint16_t>(f.shelf ^ 1); },
       [](const TargetFacts&) { return kEverySlot; }},
      {"almost-every", "shelf 0xfffe and slot 0xfe, which are not the broadcast values",
       [](const TargetFacts&) { return static_cast<uint16_t>(0xfffe); },
       [](const TargetFacts&) { return static_cast<uint8_t>(0xfe); }},
      {"swapped-shelf", "its shelf with the bytes in reverse order",
       [](const TargetFacts& f) { return __builtin_bswap16(f.shelf); },
       [](const TargetFacts& f) { return f.slot; }},
  };
  for (const Stranger& s : strangers) {
    const std::string deviant = std::string("answers-for-") + s.name;
    r.add(deviants::spoils(deviant, fmt::format("answers a request for {}", s.story),
                           [s](const Bytes& request, ModelTarget& model, const Forward& f) {
                             TargetFacts facts;
                             facts.shelf = model.config.shelf;
                             facts.slot = model.config.slot;
                             if (!observer::is_aoe(request) ||
                                 get(request, F::shelf) != s.shelf(facts) ||
                                 get(request, F::slot) != s.slot(facts)) {
                               return f(request);
                             }
                             Bytes changed = request;
                             set(changed, F::shelf, facts.shelf);
                             set(changed, F::slot, facts.slot);
                             return f(changed);
                           }));
    r.add({
        .id = std::string("header.address.silent-to-") + s.name,
        .title = fmt::format("Requests for {} are not answered", s.story),
        .clauses = {"HDR-OTHERS"},
        .fails_on = {deviant},
        .run =
            [s](Context& t) {
              const uint16_t shelf = s.shelf(t.target());
              const uint8_t slot = s.slot(t.target());
              if ((shelf == t.target().shelf && slot == t.target().slot) ||
                  (shelf == kEveryShelf && slot == kEverySlot)) {
                t.info("this target's own address makes the question pointless");
                return;
              }
              for (const Question& q : askable(t)) {
                t.expect_silence(t.a(), q.make().set(F::shelf, shelf).set(F::slot, slot));
              }
            },
    });
  }

  r.add(deviants::ignores("no-part-broadcast",
                          "is silent when only one of shelf and slot is broadcast",
                          [](const Bytes& f, const ModelTarget&) {
                            return observer::is_aoe(f) && (get(f, F::shelf) == kEveryShelf) !=
                                                              (get(f, F::slot) == kEverySlot);
                          }));
  for (const bool shelf : {true, false}) {
    r.add({
        .id = fmt::format("header.broadcast.{}-only", shelf ? "shelf" : "slot"),
        .title =
            fmt::format("Its {} with every {}: answered, or the target tells that it knows full "
                        "broadcasts only",
                        shelf ? "slot" : "shelf", shelf ? "shelf" : "slot"),
        .clauses = {"HDR-PART-BROADCAST"},
        .level = Level::may,
        .fails_on = {"no-part-broadcast"},
        .run =
            [shelf](Context& t) {
              Frame frame = config_request(observer::ccmd::read);
              shelf ? frame.set(F::shelf, kEveryShelf) : frame.set(F::slot, kEverySlot);
              t.judge(t.a().ask(frame),
                      Outcomes{}
                          .pass("answered", seen::no_error)
                          .info("silence: only a full broadcast is one", seen::silence)
                          .fail("refused with an error", seen::answer));
            },
    });
  }
}

// What holds for the reply to every question.
struct Aspect {
  const char* id;
  const char* title;
  const char* clause;
  Level level;
  const char* deviant;
  const char* story;
  std::function<void(const Bytes&, Bytes&)> spoil;
  std::function<void(Context&, const Exchange&)> check;
};

void check_source(Context& t, const Exchange& x) {
  const Bytes& r = *x.reply;
  const bool multicast = (r[6] & 1) != 0;
  const bool zero = std::all_of(r.begin() + 6, r.begin() + 12, [](uint8_t b) { return b == 0; });
  const bool mine = std::equal(r.begin() + 6, r.begin() + 12, x.request.begin() + 6);
  t.expect(!multicast && !zero && !mine, x, "a source address of the target's own",
           observer::hex(BytesView(r).subspan(6, 6)), {F::eth_src});
}

void check_error_flag(Context& t, const Exchange& x) {
  const bool flag = x.field(F::flag_error) != 0;
  t.expect(flag == (x.error() != 0), x, "E set if and only if the error code is not zero",
           fmt::format("E = {}, error = {}", flag ? 1 : 0, x.error()), {F::flag_error, F::error});
}

void check_complete(Context& t, const Exchange& x) {
  const Bytes& r = *x.reply;
  size_t wanted = observer::at::argument;
  if (!x.is_error()) {
    switch (x.field(F::command)) {
      case observer::command::ata:
        wanted =
            observer::at::ata_data + (seen::good_ata(x) ? observer::ata_data_bytes(x.request) : 0);
        break;
      case observer::command::config:
        wanted = observer::at::cfg_string +
                 (r.size() < observer::at::cfg_string ? 0 : x.field(F::cfg_length));
        break;
      case observer::command::mask:
        wanted =
            observer::at::mask_list + (r.size() < observer::at::mask_list
                                           ? 0
                                           : x.field(F::mask_count) * observer::kMaskEntryBytes);
        break;
      case observer::command::reserve:
        wanted = observer::at::reserve_list +
                 (r.size() < observer::at::reserve_list
                      ? 0
                      : x.field(F::reserve_count) * observer::kReserveEntryBytes);
        break;
      default:
        break;
    }
  }
  t.expect(r.size() >= wanted, x,
           fmt::format("a reply of at least {} bytes, as its fields say", wanted),
           fmt::format("{} bytes", r.size()), {observer::Mark(r.size() - 1, 1)});
}

void register_aspects(Registry& r) {
  static const std::vector<Aspect> aspects = {
      {"header.version.is-one", "Replies carry version 1", "HDR-VERSION", Level::must,
       "version-two", "sends version 2 in its replies",
       [](const Bytes&, Bytes& reply) { set(reply, F::version, 2); },
       [](Context& t, const Exchange& x) { t.expect_field(x, F::version, 1); }},
      {"header.command.returned", "The reply carries the request's command", "HDR-COMMAND",
       Level::must, "command-zero", "answers other commands than ATA with command 0",
       [](const Bytes&, Bytes& reply) { set(reply, F::command, 0); },
       [](Context& t, const Exchange& x) {
         t.expect_field(x, F::command, *get(x.request, F::command));
       }},
      {"header.error.flag-and-code-agree", "E is set if and only if the error code is not zero",
       "HDR-E", Level::must, "error-flag-missing", "leaves E clear in error replies",
       [](const Bytes&, Bytes& reply) { set(reply, F::flag_error, 0); }, check_error_flag},
      {"header.flags.reserved-are-zero", "The reserved flag bits of a reply are zero",
       "HDR-RESERVED", Level::should, "reserved-flags-set",
       "sets reserved flag bits in its replies",
       [](const Bytes&, Bytes& reply) { set(reply, F::flags_reserved, 3); },
       [](Context& t, const Exchange& x) { t.expect_field(x, F::flags_reserved, 0); }},
      {"header.source.is-the-targets", "A reply comes from a unicast address of the target's",
       "HDR-SOURCE", Level::must, "source-broadcast", "sends replies from the broadcast address",
       [](const Bytes&, Bytes& reply) { std::fill_n(reply.begin() + 6, 6, 0xff); }, check_source},
      {"header.source.is-not-the-askers", "A reply does not come from the asker's own address",
       "HDR-SOURCE", Level::must, "source-echoed", "does not exchange the Ethernet addresses",
       [](const Bytes& request, Bytes& reply) {
         std::copy_n(request.begin() + 6, 6, reply.begin() + 6);
       },
       check_source},
      {"header.reply.is-complete", "A reply is as long as its fields say", "HDR-COMPLETE",
       Level::must, "reply-cut", "loses the last bytes of its replies",
       [](const Bytes&, Bytes& reply) { reply.resize(std::max<size_t>(24, reply.size() - 6)); },
       check_complete},
      {"header.version.error-replies-too", "Error replies carry version 1 and the response flag",
       "HDR-VERSION", Level::must, "version-zero-in-errors", "sends version 0 in error replies",
       [](const Bytes&, Bytes& reply) {
         if (get(reply, F::flag_error) == 1U) {
           set(reply, F::version, 0);
         }
       },
       [](Context& t, const Exchange& x) { t.expect_field(x, F::version, 1); }},
  };
  for (const Aspect& a : aspects) {
    r.add(deviants::edits_reply(a.deviant, a.story, a.spoil));
    r.add({
        .id = a.id,
        .title = a.title,
        .clauses = {a.clause},
        .level = a.level,
        .fails_on = {a.deviant},
        .run =
            [&a](Context& t) {
              for (const Question& q : askable(t)) {
                if (const auto x = answer_to(t, t.a(), q, q.make())) {
                  a.check(t, *x);
                }
              }
            },
    });
  }

  r.add(with_memory("reply-to-first-asker",
                    "answers config queries to the first address it heard of",
                    std::optional<Bytes>{},
                    [](std::optional<Bytes>& first, const Bytes& request, const Forward& f) {
                      Answers answers = f(request);
                      if (is_command(request, observer::command::config)) {
                        first = first.value_or(request);
                        for (auto& a : answers) {
                          std::copy_n(first->begin() + 6, 6, a.bytes.begin());
                        }
                      }
                      return answers;
                    }));
  r.add({
      .id = "header.destination.is-the-asker",
      .title = "Each of several initiators gets the reply to its own request, and nobody else does",
      .clauses = {"HDR-DESTINATION"},
      .needs = {Need::second_initiator},
      .fails_on = {"reply-to-first-asker"},
      .run =
          [](Context& t) {
            for (size_t i = 0; i < 4; ++i) {
              const Exchange x = t.initiator(i).ask(config_request(observer::ccmd::read));
              t.expect_answer(x);
              for (size_t j = 0; j < 4; ++j) {
                const auto others = j == i ? std::vector<links::ReceivedFrame>{}
                                           : t.initiator(j).collect(1, t.grace_ns() / 4);
                t.expect(others.empty(), x, "no copy of the reply to another address",
                         others.empty() ? "" : observer::summary(others.front().bytes));
              }
            }
          },
  });
}

void register_versions(Registry& r) {
  r.add(deviants::spoils("bad-version-refused-wrongly", "refuses an unknown version with error 1",
                         [](const Bytes& request, ModelTarget&, const Forward& f) {
                           Answers answers = f(request);
                           for (auto& a : answers) {
                             if (get(a.bytes, F::error) == observer::aoe_error::bad_version) {
                               set(a.bytes, F::error, observer::aoe_error::bad_command);
                             }
                           }
                           return answers;
                         }));
  r.add(deviants::spoils(
      "version-ignored", "performs whatever the version is, and returns that version",
      [](const Bytes& request, ModelTarget&, const Forward& f) {
        Bytes changed = request;
        const auto version = observer::is_aoe(request) ? *get(request, F::version) : 1;
        if (observer::is_aoe(request)) {
          set(changed, F::version, 1);
        }
        Answers answers = f(changed);
        for (auto& a : answers) {
          set(a.bytes, F::version, version);
        }
        return answers;
      }));
  for (const unsigned version : {0U, 2U, 3U, 15U}) {
    r.add({
        .id = fmt::format("header.version.{}-is-refused", version),
        .title = fmt::format(
            "A request of version {} is refused with error 5, or not taken for AoE", version),
        .clauses = {"HDR-BAD-VERSION"},
        .level = Level::should,
        .fails_on = {"bad-version-refused-wrongly", "version-ignored"},
        .run =
            [version](Context& t) {
              for (const Question& q : askable(t)) {
                t.judge(t.a().ask_once(q.make().set(F::version, version)),
                        Outcomes{}
                            .pass("error 5", seen::aoe_error(observer::aoe_error::bad_version))
                            .info("silence", seen::silence)
                            .info("the version is ignored: performed, or refused for its command",
                                  [&](const Exchange& x) {
                                    return seen::no_error(x) ||
                                           (q.name != "identify" && q.name != "read" &&
                                            q.name != "config" &&
                                            seen::aoe_error(observer::aoe_error::bad_command)(x));
                                  })
                            .warn("refused with another error than 5", seen::answer));
              }
            },
    });
  }
  r.add({
      .id = "header.version.unknown-does-not-write",
      .title = "A write of an unknown version is not performed: its meaning is unknown",
      .clauses = {"HDR-BAD-VERSION"},
      .level = Level::should,
      .needs = {Need::write},
      .fails_on = {"version-ignored"},
      .run =
          [](Context& t) {
            const uint64_t lba = t.scratch().lba;
            const Bytes before(observer::kSectorBytes, 0x11);
            const Bytes after(observer::kSectorBytes, 0x22);
            t.expect_good_ata(t.a().ask(observer::write_request(lba, before)));
            t.a().ask_once(observer::write_request(lba, after).set(F::version, 2));
            const Exchange x = t.a().ask(read_request(lba, 1));
            t.expect_good_ata(x);
            t.expect_data(x, before);
          },
  });
}

void register_requests(Registry& r) {
  r.add(deviants::edits_request("answers-replies", "takes a frame with R set for a request",
                                [](Bytes& request) {
                                  if (observer::is_aoe(request)) {
                                    set(request, F::flag_response, 0);
                                  }
                                }));
  r.add({
      .id = "header.flag-r.not-a-request",
      .title = "A frame with R set is not a request and is not answered",
      .clauses = {"HDR-R"},
      .fails_on = {"answers-replies"},
      .run =
          [](Context& t) {
            for (const Question& q : askable(t)) {
              t.expect_silence(t.a(), q.make().set(F::flag_response, 1));
            }
          },
  });
  r.add({
      .id = "header.flag-r.not-a-request-even-with-error",
      .title = "An error reply that comes in is not answered, nor one for every shelf and slot",
      .clauses = {"HDR-R"},
      .fails_on = {"answers-replies"},
      .run =
          [](Context& t) {
            for (const Question& q : askable(t)) {
              t.expect_silence(t.a(), q.make()
                                          .set(F::flag_response, 1)
                                          .set(F::flag_error, 1)
                                          .set(F::error, 1)
                                          .set(F::shelf, kEveryShelf)
                                          .set(F::slot, kEverySlot));
            }
          },
  });

  r.add(deviants::spoils("version-before-flag-r",
                         "refuses an unknown version before it looks at the R flag",
                         [](const Bytes& request, ModelTarget&, const Forward& f) {
                           Bytes changed = request;
                           if (observer::is_aoe(request) && get(request, F::version) != 1U) {
                             set(changed, F::flag_response, 0);
                           }
                           return f(changed);
                         }));
  r.add({
      .id = "header.flag-r.not-a-request-of-another-version",
      .title =
          "A frame with R set is not answered when its version is unknown, either: two targets "
          "must not refuse each other's refusals",
      .clauses = {"HDR-R"},
      .fails_on = {"version-before-flag-r"},
      .run =
          [](Context& t) {
            for (const unsigned version : {0U, 2U, 15U}) {
              for (const Question& q : askable(t)) {
                t.expect_silence(t.a(), q.make().set(F::flag_response, 1).set(F::version, version));
              }
            }
          },
  });

  r.add(deviants::edits_reply(
      "refusal-claims-a-list", "counts addresses in its refusals that it does not send",
      [](const Bytes& request, Bytes& reply) {
        if (get(reply, F::flag_error) != 1U) {
          return;
        }
        if (is_command(request, observer::command::mask) && reply.size() >= 28) {
          set(reply, F::mask_count, 5);
        }
        if (is_command(request, observer::command::reserve) && reply.size() >= 26) {
          set(reply, F::reserve_count, 7);
        }
      }));
  r.add(deviants::edits_reply(
      "refusal-claims-a-string", "gives a length in the refusals of config requests, and no string",
      [](const Bytes& request, Bytes& reply) {
        if (get(reply, F::flag_error) == 1U && is_command(request, observer::command::config) &&
            reply.size() >= observer::at::cfg_string) {
          reply.resize(observer::at::cfg_string);
          set(reply, F::cfg_length, 300);
        }
      }));
  r.add({
      .id = "header.reply.is-complete-in-refusals",
      .title = "The refusals of mask, reserve and config carry the lists and strings that their "
               "fields claim",
      .clauses = {"HDR-COMPLETE"},
      .needs = {Need::config, Need::lockout},
      .fails_on = {"refusal-claims-a-list", "refusal-claims-a-string"},
      .run =
          [](Context& t) {
            struct Claim {
              uint8_t command;
              F field;
              size_t begin;
              size_t entry;
            };
            static constexpr Claim claims[] = {
                {observer::command::mask, F::mask_count, observer::at::mask_list,
                 observer::kMaskEntryBytes},
                {observer::command::reserve, F::reserve_count, observer::at::reserve_list,
                 observer::kReserveEntryBytes},
                {observer::command::config, F::cfg_length, observer::at::cfg_string, 1}};
            for (Frame f : {observer::mask_request(9), observer::reserve_request(9),
                            config_request(9, "text"), config_request(15)}) {
              for (const bool bare : {false, true}) {
                const Exchange x = t.a().ask(bare ? f.unpadded() : f);
                if (!x.answered()) {
                  continue;
                }
                for (const Claim& claim : claims) {
                  if (x.field(F::command) != claim.command || x.reply->size() < claim.begin) {
                    continue;
                  }
                  const uint64_t claimed = x.field(claim.field);
                  if (claimed == get(x.request, claim.field)) {
                    continue;  // the request's own words, repeated
                  }
                  const size_t wanted = claim.begin + claimed * claim.entry;
                  t.expect(x.reply->size() >= wanted, x,
                           fmt::format("a refusal of at least {} bytes, as its fields say", wanted),
                           fmt::format("{} bytes", x.reply->size()), {claim.field});
                }
              }
            }
          },
  });

  r.add(deviants::edits_reply("unknown-command-succeeds",
                              "answers an unknown command as if it were done",
                              [](const Bytes&, Bytes& reply) {
                                if (get(reply, F::error) == observer::aoe_error::bad_command) {
                                  set(reply, F::flag_error, 0);
                                  set(reply, F::error, 0);
                                }
                              }));
  r.add(deviants::ignores("unknown-commands-met-with-silence", "is silent to what it does not know",
                          [](const Bytes& request, const ModelTarget&) {
                            const auto command = get(request, F::command);
                            return observer::is_aoe(request) &&
                                   command > observer::command::reserve &&
                                   command != observer::command::extension;
                          }));
  struct Range {
    const char* name;
    std::vector<uint8_t> commands;
  };
  static const std::vector<Range> ranges = {
      {"just-above", {4, 5, 6, 7, 8}},
      {"middle", {0x10, 0x22, 0x24, 0x40, 0x7f, 0x80}},
      {"high-bit", {0x81, 0x82, 0x83, 0xa3, 0xef}},  // the known ones with the highest bit set
  };
  for (const Range& range : ranges) {
    r.add({
        .id = std::string("header.command.unknown-") + range.name,
        .title = "Unknown commands are refused with error 1",
        .clauses = {"HDR-BAD-COMMAND"},
        .level = Level::should,
        .needs = {Need::unknown},
        .hostile = true,
        .fails_on = {"unknown-command-succeeds", "unknown-commands-met-with-silence"},
        .run =
            [&range](Context& t) {
              for (const uint8_t command : range.commands) {
                t.judge(t.a().ask(observer::header_only(command)),
                        Outcomes{}
                            .pass("error 1", seen::aoe_error(observer::aoe_error::bad_command))
                            .warn("silence", seen::silence)
                            .fail(fmt::format("command {:#04x} is answered otherwise", command),
                                  seen::answer),
                        {F::flag_error, F::error});
              }
            },
    });
  }
  r.add({
      .id = "header.command.vendor-range",
      .title = "A vendor's command that the target does not have is refused with error 1",
      .clauses = {"HDR-VENDOR"},
      .level = Level::may,
      .needs = {Need::unknown},
      .fails_on = {"unknown-command-succeeds"},
      .run =
          [](Context& t) {
            for (const uint8_t command : {0xf0, 0xf7, 0xff}) {
              t.judge(t.a().ask(observer::header_only(command)),
                      Outcomes{}
                          .pass("error 1", seen::aoe_error(observer::aoe_error::bad_command))
                          .info("silence", seen::silence)
                          .info(fmt::format("vendor command {:#04x} is known here", command),
                                seen::answer));
            }
          },
  });

  struct Oddity {
    const char* name;
    const char* title;
    std::function<void(Frame&)> edit;
    std::function<bool(BytesView)> is;
  };
  static const std::vector<Oddity> oddities = {
      {"reserved-flags", "Reserved flag bits of a request do not matter",
       [](Frame& f) { f.set(F::flags_reserved, 3); },
       [](BytesView f) { return get(f, F::flags_reserved) != 0U; }},
      {"error-flag", "An E flag in a request does not matter",
       [](Frame& f) { f.set(F::flag_error, 1); },
       [](BytesView f) { return get(f, F::flag_error) == 1U; }},
      {"error-code", "An error code in a request does not matter",
       [](Frame& f) { f.set(F::error, 0xa5); },
       [](BytesView f) { return get(f, F::error) == 0xa5U; }},
      {"broadcast-destination", "A request to the broadcast address is answered",
       [](Frame& f) { f.dst(observer::kBroadcastMac); }, [](BytesView f) { return f[0] == 0xff; }},
      {"foreign-destination", "A request to somebody else's address, had it come: answered or not",
       [](Frame& f) {
         f.dst({0x02, 0xde, 0xad, 0, 0, 1});
       },
       [](BytesView f) { return f[0] == 0x02 && f[1] == 0xde; }},
  };
  for (const Oddity& o : oddities) {
    const std::string deviant = std::string("drops-") + o.name;
    const bool may = std::string(o.name) != "broadcast-destination";
    r.add(deviants::ignores(
        deviant, fmt::format("is silent to requests with {}", o.name),
        [&o](const Bytes& f, const ModelTarget&) { return observer::is_aoe(f) && o.is(f); }));
    r.add({
        .id = std::string("header.request.") + o.name,
        .title = o.title,
        .clauses = {may ? "HDR-RESERVED" : "HDR-BROADCAST"},
        .level = may ? Level::may : Level::must,
        .fails_on = {deviant},
        .run =
            [&o, may](Context& t) {
              for (const char* name : {"identify", "read", "config"}) {
                const auto q = std::find_if(questions().begin(), questions().end(),
                                            [&](const Question& one) { return one.name == name; });
                Frame frame = q->make();
                o.edit(frame);
                Outcomes outcomes;
                outcomes.pass("served", seen::no_error);
                if (may) {
                  outcomes.info("silence", seen::silence)
                      .info("refused, or E comes back set", seen::answer);
                }
                t.judge(t.a().ask(frame), outcomes);
              }
            },
    });
  }

  r.add(deviants::ignores(
      "wants-60-bytes", "is silent to frames shorter than Ethernet's minimum",
      [](const Bytes& f, const ModelTarget&) { return f.size() < observer::kMinFrameBytes; }));
  r.add({
      .id = "header.length.unpadded-is-served",
      .title = "A request that ends with its fields is served: not every link pads to 60 bytes",
      .clauses = {"HDR-PADDING"},
      .level = Level::should,
      .fails_on = {"wants-60-bytes"},
      .run =
          [](Context& t) {
            t.expect_no_error(t.a().ask(config_request(observer::ccmd::read).unpadded()));
            t.expect_good_ata(t.a().ask(identify_request().unpadded()));
            t.expect_good_ata(t.a().ask(read_request(0, 1).unpadded()));
          },
  });
  r.add(deviants::spoils(
      "padding-is-data", "refuses config requests that are longer than their string",
      [](const Bytes& request, ModelTarget& model, const Forward& f) {
        if (is_command(request, observer::command::config) && request.size() > 60) {
          return Answers{{model.error_reply(request, 2, 32), 0}};
        }
        return f(request);
      }));
  r.add({
      .id = "header.length.long-padding-is-ignored",
      .title = "Bytes behind the end of a request do not change its meaning",
      .clauses = {"HDR-PADDING"},
      .fails_on = {"padding-is-data"},
      .run =
          [](Context& t) {
            // A plain initiator, to whom byte 36 of a read is padding.
            const Exchange plain = t.a().ask(read_request(1, 1));
            t.expect_good_ata(plain);
            for (const size_t size : {size_t{60}, size_t{200}, t.frame_max()}) {
              t.expect_no_error(t.a().ask(config_request(observer::ccmd::read).grow(size, 0xa5)));
              t.expect_good_ata(t.a().ask(identify_request().grow(size, 0xa5)));
              const Exchange x = t.a().ask(read_request(1, 1).grow(size, 0xa5));
              t.expect_good_ata(x);
              t.expect_data(x, plain.data());
            }
          },
  });
  r.add(deviants::spoils("answers-short-frames",
                         "answers a frame that ends inside its fixed argument",
                         [](const Bytes& request, ModelTarget&, const Forward& f) {
                           Bytes longer = request;
                           longer.resize(std::max(longer.size(), observer::kMinFrameBytes));
                           return f(longer);
                         }));
  r.add({
      .id = "header.length.cut-is-silent",
      .title = "A frame that ends inside its header or its fixed argument is not answered",
      .clauses = {"HDR-SHORT"},
      .hostile = true,
      .fails_on = {"answers-short-frames"},
      .run =
          [](Context& t) {
            for (const size_t size :
                 {size_t{14}, size_t{15}, size_t{19}, size_t{23}, size_t{24}, size_t{31}}) {
              t.expect_silence(t.a(), config_request(observer::ccmd::read).cut(size));
            }
            for (const size_t size : {size_t{24}, size_t{30}, size_t{35}}) {
              t.expect_silence(t.a(), identify_request().cut(size));
            }
          },
  });

  r.add(with_memory("one-asker-at-a-time", "forgets a read when the one before was another host's",
                    std::optional<Bytes>{},
                    [](std::optional<Bytes>& last, const Bytes& request, const Forward& f) {
                      if (!is_a_read(request)) {
                        return f(request);
                      }
                      const Bytes from(request.begin() + 6, request.begin() + 12);
                      const bool other = last && *last != from;
                      last = from;
                      return other ? Answers{} : f(request);
                    }));
  r.add({
      .id = "header.messages.stand-alone",
      .title = "Requests that several initiators send at once are each answered, with their own "
               "data and tag",
      .clauses = {"HDR-ALONE"},
      .needs = {Need::second_initiator},
      .fails_on = {"one-asker-at-a-time"},
      .run =
          [](Context& t) {
            const size_t each =
                std::max<size_t>(1, std::min<uint64_t>(t.target().buffer_count, 8) / 2);
            std::vector<std::pair<Initiator*, Bytes>> sent;
            for (size_t i = 0; i < each; ++i) {
              for (Initiator* who : {&t.a(), &t.b()}) {
                sent.emplace_back(who, who->send(read_request(1 + i, 1)));
              }
            }
            for (auto& [who, request] : sent) {
              const auto tag = static_cast<uint32_t>(*get(request, F::tag));
              if (who->await_tag(tag, t.patience_ns())) {
                continue;
              }
              // Lost on the way, perhaps: one by one it must be answered with the same bytes.
              who->send_bytes(request);
              t.expect(who->await_tag(tag, 4 * t.patience_ns()).has_value(),
                       fmt::format("an answer to tag {:#010x}, one of {} requests at once", tag,
                                   sent.size()),
                       "silence");
            }
          },
  });
}

}  // namespace

void register_header(Registry& r) {
  register_tags(r);
  register_addresses(r);
  register_aspects(r);
  register_versions(r);
  register_requests(r);
}

}  // namespace conformance
