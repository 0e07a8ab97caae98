// Family frames: frames nobody should send. Cut at every length, with garbage where padding
// belongs, with lengths and counts that lie, from and to odd addresses, for somebody else, too many
// at once. Silence or a proper answer, never bytes from beyond the frame, and the target lives on.
// Nothing here changes the target's state when it is right.

#include <fmt/format.h>

#include <set>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::config_request;
using observer::header_only;
using observer::identify_request;
using observer::mask_request;
using observer::read_request;
using observer::reserve_request;
using observer::set;
namespace at = observer::at;
namespace aoe_error = observer::aoe_error;

namespace {

constexpr size_t kEthernetHeader = 14;
constexpr size_t kUndefinedFirst = 0x04;
constexpr size_t kVendorFirst = 0xf0;
constexpr size_t kPadded = observer::kMinFrameBytes;
constexpr size_t kRepliesMax = 100000;

Exchange sent_as(const Bytes& request) {
  Exchange x;
  x.request = request;
  x.sent = 1;
  return x;
}

// The target is there; if not, these bytes are what it died of.
void expect_alive(Context& c, const Bytes& suspect, const std::string& story) {
  if (!c.barrier()) {
    const Exchange x = sent_as(suspect);
    c.fail("the target gives no sign of life any more",
           "reads of another host are answered after " + story, "silence", &x);
  }
}

// Everything that comes back to `who` for these bytes.
std::vector<Bytes> replies_to(Context& c, Initiator& who, const Bytes& bytes,
                              const std::string& story) {
  who.send_bytes(bytes);
  expect_alive(c, bytes, story);
  std::vector<Bytes> out;
  constexpr size_t replies_max = 300;
  for (auto& f : who.collect(replies_max, c.grace_ns())) {
    out.push_back(std::move(f.bytes));
  }
  return out;
}

// The header of a reply is the target's and answers this request, as far as the request had one.
void expect_reply_header(Context& c, const Bytes& request, const Bytes& reply) {
  Exchange x = sent_as(request);
  x.reply = reply;
  c.expect_field(x, F::shelf, c.target().shelf);
  c.expect_field(x, F::slot, c.target().slot);
  c.expect_field(x, F::command, value_of(request, F::command));
  c.expect_field(x, F::tag, value_of(request, F::tag));
  c.expect((x.error() != 0) == x.is_error(), x, "E set if and only if the error code is not zero",
           fmt::format("E = {}, error = {}", x.field(F::flag_error), x.error()),
           {F::flag_error, F::error});
}

// --- Deviants. ---
Deviant dies(std::string name, std::string story, RequestTest of) {
  return remembers(std::move(name), std::move(story), [of = std::move(of)] {
    return Middleware([of, dead = false](const Bytes& q, ModelTarget&, const Forward& f) mutable {
      dead = dead || of(q);
      return dead ? Answers{} : f(q);
    });
  });
}
// Lives until it has seen `limit` frames of a kind: something of each is never given back.
Deviant leaks(std::string name, std::string story, size_t limit, RequestTest what) {
  return remembers(std::move(name), std::move(story), [limit, what = std::move(what)] {
    return Middleware(
        [limit, what, n = size_t{0}](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          n += what(q) ? 1 : 0;
          return n >= limit ? Answers{} : f(q);
        });
  });
}
bool has_ethertype(const Bytes& q) {
  return q.size() >= kEthernetHeader && q[12] == 0x88 && q[13] == 0xa2;
}

struct Kind {
  const char* name;
  uint8_t command;
  size_t fixed;  // bytes up to the end of its fixed argument
  Frame frame;
};
std::vector<Kind> kinds() {
  return {
      {"ata", observer::command::ata, at::ata_data, read_request(0, 1)},
      {"config", observer::command::config, at::cfg_string, config_request(observer::ccmd::read)},
      {"mask", observer::command::mask, at::mask_list, mask_request(observer::mcmd::read)},
      {"reserve", observer::command::reserve, at::reserve_list,
       reserve_request(observer::rcmd::read)},
      {"extensions", observer::command::extension, at::ext_table + 2,
       observer::extension_request({})},
      {"unknown", 0x77, at::argument, header_only(0x77)}};
}
// Those that the gate lets pass.
std::vector<Kind> kinds(const Context& c) {
  std::vector<Kind> out = kinds();
  out.erase(
      std::remove_if(out.begin(), out.end(), [&](const Kind& k) { return !c.may_send(k.frame); }),
      out.end());
  return out;
}

Case frame_case(std::string id, std::string title, std::vector<std::string> clauses,
                std::vector<std::string> fails_on, std::function<void(Context&)> run,
                std::vector<Need> needs = {}, Level level = Level::must) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = std::move(clauses);
  c.level = level;
  c.needs = std::move(needs);
  c.hostile = true;
  c.fails_on = std::move(fails_on);
  c.run = std::move(run);
  return c;
}

void register_cut(Registry& r) {
  for (const Kind& k : kinds()) {
    const std::string deviant = fmt::format("frames-cut-{}-completed", k.name);
    r.add(remembers(
        deviant,
        fmt::format("completes a cut frame ({}) with what stood in the buffer before", k.name),
        [command = k.command, fixed = k.fixed] {
          return Middleware([command, fixed, stale = Bytes()](const Bytes& q, ModelTarget&,
                                                              const Forward& f) mutable {
            Bytes changed = q;
            const bool of_kind = q.size() < 20 || q[19] == command;
            if (has_ethertype(q) && of_kind && q.size() < std::max(fixed, at::argument) &&
                stale.size() >= kPadded) {
              changed.insert(changed.end(), stale.begin() + static_cast<ptrdiff_t>(q.size()),
                             stale.begin() + kPadded);
              changed[14] = 0x10;
              changed[19] = command;
            }
            if (q.size() >= kPadded) {
              stale = q;
            }
            return f(changed);
          });
        }));
    r.add(frame_case(
        fmt::format("frames.cut.{}", k.name),
        fmt::format("A frame ({}) cut at any length before the end of its fixed part is not "
                    "completed with foreign bytes",
                    k.name),
        {"ROB-SHORT"}, {deviant},
        [k](Context& c) {
          // Where 0x23 is unknown, its header is all there is to it.
          const bool unknown = k.command == observer::command::extension && !c.target().extensions;
          const size_t fixed = unknown ? at::argument : k.fixed;
          bool answered = false;
          for (size_t n = kEthernetHeader; n < fixed; ++n) {
            // Another host's frame goes before, with bytes that are in no cut frame.
            c.b().ask(config_request(observer::ccmd::read)
                          .set(F::tag, 0xd3c1b2a0)
                          .fill_after(at::cfg_string, observer::bytes_of("\xd1\xd2\xd3\xd4\xd5"),
                                      kPadded));
            Frame f = k.frame;
            f.set(F::tag, 0x11121314);
            Bytes cut = c.a().stamp(f);
            cut.resize(n);
            for (const Bytes& reply :
                 replies_to(c, c.a(), cut, fmt::format("a frame of {} bytes", n))) {
              answered = true;
              Bytes padded = cut;  // what a real wire makes of it: zeros up to the minimum frame
              padded.resize(kPadded, 0);
              Exchange x = sent_as(cut);
              x.reply = reply;
              c.expect_field(x, F::tag, value_of(padded, F::tag));
              c.expect(value_of(reply, F::command) == value_of(padded, F::command), x,
                       "the command of the frame as it came",
                       fmt::format("{:#04x}", value_of(reply, F::command)), {F::command});
              c.expect_not_planted(x);
            }
          }
          if (answered) {
            c.info("frames that end before their fixed part are answered as if padded with zeros");
          }
        },
        {Need::second_initiator}));
  }

  r.add(ignores(
      "frames-unpadded-ignored", "does not look at frames below the minimum of a real wire",
      [](const Bytes& q, const ModelTarget&) { return q.size() < kPadded && is_ata_request(q); }));
  r.add(frame_case("frames.unpadded.served",
                   "Requests without Ethernet's padding, as virtual links carry them, are served",
                   {"ROB-PADDING"}, {"frames-unpadded-ignored"}, [](Context& c) {
                     c.expect_good_ata(c.a().ask(read_request(0, 1).unpadded()));
                     c.expect_good_ata(c.a().ask(identify_request().unpadded()));
                     c.expect_no_error(c.a().ask(config_request(observer::ccmd::read).unpadded()));
                     for (Frame f : {mask_request(observer::mcmd::read),
                                     reserve_request(observer::rcmd::read), header_only(0x77)}) {
                       if (!c.may_send(f)) {
                         continue;
                       }
                       const Exchange padded = c.a().ask(f);
                       const Exchange bare = c.a().ask(f.unpadded());
                       c.expect(
                           padded.answered() == bare.answered() && padded.error() == bare.error(),
                           bare, "the same answer as with padding",
                           bare.answered() ? observer::summary(*bare.reply) : "silence");
                     }
                   }));

  const auto same_with_tail = [](Context& c, size_t until) {
    const Bytes garbage = observer::bytes_of("\xff\x5c\x01\xa7\x80\x03");
    const struct {
      Frame frame;
      size_t fixed;
    } requests[] = {{read_request(0, 1), at::ata_data},
                    {read_request(0, 1, false), at::ata_data},
                    {identify_request(), at::ata_data},
                    {config_request(observer::ccmd::read), at::cfg_string},
                    {mask_request(observer::mcmd::read), at::mask_list},
                    {reserve_request(observer::rcmd::read), at::reserve_list}};
    for (const auto& q : requests) {
      const Exchange plain = c.a().ask(q.frame);
      Frame f = q.frame;
      f.fill_after(q.fixed, garbage, until);
      const Exchange x = c.a().ask(f);
      c.expect(plain.answered() == x.answered(), x,
               plain.answered() ? "an answer, as without the tail" : "silence, as without the tail",
               x.answered() ? "an answer" : "silence");
      if (!plain.answered()) {
        continue;
      }
      // The same but for the tag, and for padding, which may echo the request's own.
      observer::Hints hints;
      hints.request = &x.request;
      const size_t end =
          std::min(observer::described_end(*plain.reply, hints), plain.reply->size());
      c.expect(x.reply->size() >= end, x, fmt::format("{} bytes of reply", end),
               fmt::format("{}", x.reply->size()));
      for (size_t i = at::argument; i < end; ++i) {
        c.expect((*x.reply)[i] == (*plain.reply)[i], x,
                 fmt::format("byte {} as without the tail: {:#04x}", i, (*plain.reply)[i]),
                 fmt::format("{:#04x}", (*x.reply)[i]), {observer::Mark(i, 1)});
      }
      c.a().collect(1, c.grace_ns());
    }
  };
  r.add(refuses("frames-padding-judged", "refuses an ATA request whose padding is not zero",
                [](const Bytes& q) {
                  return is_ata_request(q) && q.size() == kPadded &&
                         std::any_of(q.begin() + at::ata_data, q.end(),
                                     [](uint8_t b) { return b != 0; });
                }));
  r.add(edits_reply(
      "frames-config-padding-is-string", "returns the padding of a config read as its string",
      [](const Bytes& q, Bytes& reply) {
        if (is_command(q, observer::command::config) && q.size() > at::cfg_string &&
            q[at::cfg_string] == 0xff) {
          std::copy(q.begin() + at::cfg_string,
                    q.begin() + static_cast<ptrdiff_t>(std::min(q.size(), reply.size())),
                    reply.begin() + at::cfg_string);
        }
      }));
  r.add(frame_case("frames.padding.garbage",
                   "Padding up to 60 bytes is not looked at, whatever stands in it",
                   {"ROB-PADDING"}, {"frames-padding-judged", "frames-config-padding-is-string"},
                   [same_with_tail](Context& c) { same_with_tail(c, kPadded); }));
  r.add(ignores("frames-long-requests-ignored",
                "does not look at requests that are longer than they need be",
                [](const Bytes& q, const ModelTarget&) {
                  return q.size() > 1000 && is_command(q, observer::command::config) &&
                         value_of(q, F::cfg_length) == 0;
                }));
  r.add(frame_case(
      "frames.trailing.full-size",
      "Requests with garbage behind them up to the size of the link are served as without it",
      {"ROB-PADDING"}, {"frames-long-requests-ignored", "frames-config-padding-is-string"},
      [same_with_tail](Context& c) { same_with_tail(c, c.frame_max()); }));

  r.add(spoils("frames-coalesced-for-everybody",
               "takes byte 36 of every read for a count of further reads",
               [](const Bytes& q, ModelTarget& m, const Forward& f) {
                 Mac mac{};
                 if (q.size() >= kEthernetHeader) {
                   std::copy_n(q.begin() + 6, mac.size(), mac.begin());
                 }
                 m.sessions[mac].coalesced = true;
                 return f(q);
               }));
  r.add(frame_case(
      "frames.lie.coalesced-count",
      "Without negotiation, byte 36 of a read is padding: one read, one reply, nothing to other "
      "tags",
      {"ROB-PADDING"}, {"frames-coalesced-for-everybody"}, [](Context& c) {
        for (const uint8_t count : {1, 2, 255}) {
          Frame f = read_request(0, 1);
          f.fill_after(at::ata_data, observer::bytes_of(std::string(16, '\x01')), kPadded + 40);
          f.byte(at::coalesced, count);
          const Bytes sent = c.a().stamp(f);
          const auto replies = replies_to(c, c.a(), sent, "a read with a count in its padding");
          c.expect(replies.size() == 1, "one reply", fmt::format("{}", replies.size()));
          expect_reply_header(c, sent, replies.front());
        }
      }));
}

void register_commands(Registry& r) {
  r.add(edits_request(
      "frames-command-low-nibble", "looks at the low four bits of the command", [](Bytes& q) {
        if (observer::is_aoe(q) && !observer::is_reply(q) && value_of(q, F::command) == 0x51) {
          set(q, F::command, 0x01);
        }
      }));
  r.add(ignores("frames-one-command-silent", "does not answer the unknown command 0x80",
                [](const Bytes& q, const ModelTarget&) { return is_command(q, 0x80); }));
  r.add(dies("frames-dies-of-a-command", "dies of the unknown command 0xC3",
             [](const Bytes& q) { return is_command(q, 0xc3); }));
  r.add(frame_case(
      "frames.command.undefined",
      "Every command from 0x04 to 0xEF, but 0x23, is refused with error 1 (or all are met with "
      "silence)",
      {"ROB-COMMAND"},
      {"frames-command-low-nibble", "frames-one-command-silent", "frames-dies-of-a-command"},
      [](Context& c) {
        unsigned answered = 0;
        unsigned silent = 0;
        for (size_t command = kUndefinedFirst; command < kVendorFirst; ++command) {
          if (command == observer::command::extension) {
            continue;
          }
          const Frame f = header_only(static_cast<uint8_t>(command));
          const Bytes sent = c.a().stamp(f);
          auto replies = replies_to(c, c.a(), sent, fmt::format("command {:#04x}", command));
          if (replies.empty() && answered > 0) {  // lost, or is this one silent?
            replies = replies_to(c, c.a(), sent, fmt::format("command {:#04x}", command));
          }
          if (replies.empty()) {
            ++silent;
            c.expect(answered == 0,
                     fmt::format("error 1 for command {:#04x}, as for those before", command),
                     "silence");
            continue;
          }
          Exchange x = sent_as(sent);
          x.reply = replies.front();
          c.expect(silent == 0, x, "silence, as for the commands before",
                   observer::summary(*x.reply));
          ++answered;
          c.expect_error(x, aoe_error::bad_command);
          expect_reply_header(c, sent, replies.front());
        }
        if (silent > 0) {
          c.info("unknown commands are met with silence");
        }
      },
      {Need::unknown}));
  r.add(dies("frames-dies-of-a-vendor-command", "dies of the vendor command 0xF7",
             [](const Bytes& q) { return is_command(q, 0xf7); }));
  r.add(edits_reply("frames-vendor-tag-lost", "answers vendor commands with tag 0",
                    [](const Bytes& q, Bytes& reply) {
                      if (value_of(q, F::command) >= kVendorFirst && observer::is_aoe(q)) {
                        set(reply, F::tag, 0);
                      }
                    }));
  r.add(frame_case("frames.command.vendor",
                   "Vendor commands 0xF0 to 0xFF are refused, met with silence, or the vendor's "
                   "own: with a proper header, and harmless",
                   {"ROB-COMMAND"}, {"frames-dies-of-a-vendor-command", "frames-vendor-tag-lost"},
                   [](Context& c) {
                     unsigned own = 0;
                     for (size_t command = kVendorFirst; command <= 0xff; ++command) {
                       const Bytes sent = c.a().stamp(header_only(static_cast<uint8_t>(command)));
                       for (const Bytes& reply :
                            replies_to(c, c.a(), sent, fmt::format("command {:#04x}", command))) {
                         expect_reply_header(c, sent, reply);
                         own += value_of(reply, F::flag_error) == 0 ? 1 : 0;
                       }
                     }
                     if (own > 0) {
                       c.info(fmt::format("{} vendor commands are served", own));
                     }
                   },
                   {Need::unknown}));

  r.add(edits_reply("frames-error-without-e", "puts an error code into a reply without setting E",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_command(q, observer::command::config) &&
                          value_of(reply, F::error) != 0) {
                        set(reply, F::flag_error, 0);
                      }
                    }));
  r.add(edits_reply("frames-e-without-error", "sets E in the refusal of a read and no error code",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read_request(q) && value_of(reply, F::error) != 0) {
                        set(reply, F::error, 0);
                      }
                    }));
  r.add(frame_case(
      "frames.errors.flag-and-code",
      "In the refusals of all commands, E is set if and only if the error code is not zero",
      {"ROB-ERROR"}, {"frames-error-without-e", "frames-e-without-error"}, [](Context& c) {
        const std::vector<Frame> wrong = {header_only(0x66),
                                          config_request(9),
                                          mask_request(9),
                                          reserve_request(9),
                                          read_request(0, 255),
                                          read_request(c.target().sectors, 1),
                                          identify_request().set(F::ata_count, 0),
                                          observer::ata_request(0xff, 0, 0),
                                          config_request(observer::ccmd::read),
                                          read_request(0, 1)};
        for (const Frame& f : wrong) {
          if (!c.may_send(f)) {
            continue;
          }
          const Exchange x = c.a().ask(f);
          if (x.answered()) {
            expect_reply_header(c, x.request, *x.reply);
          }
        }
      }));

  r.add(refuses(
      "frames-reserved-header-bits-refused", "refuses requests with reserved header flags",
      [](const Bytes& q) { return is_read_request(q) && value_of(q, F::flags_reserved) != 0; }));
  r.add(refuses("frames-error-byte-refused", "refuses requests with an error byte",
                [](const Bytes& q) { return is_read_request(q) && value_of(q, F::error) != 0; }));
  r.add(frame_case(
      "frames.header.bits-of-no-meaning",
      "Reserved flags, the E flag and the error byte mean nothing in a request: it is served",
      {"ROB-RESERVED"}, {"frames-reserved-header-bits-refused", "frames-error-byte-refused"},
      [](Context& c) {
        for (const Frame& f :
             {read_request(0, 1).set(F::flags_reserved, 1),
              read_request(0, 1).set(F::flags_reserved, 2),
              read_request(0, 1).set(F::flags_reserved, 3),
              read_request(0, 1).set(F::flag_error, 1), read_request(0, 1).set(F::error, 6),
              read_request(0, 1).set(F::error, 0xff).set(F::flag_error, 1)}) {
          const Exchange x = c.a().ask(f);
          c.expect_answer(x);
          // Some echo the bits: data and ATA status say whether it was served.
          c.expect(x.data().size() == observer::kSectorBytes &&
                       (x.field(F::ata_status) & observer::ata::status_err) == 0,
                   x, "the sector", observer::summary(*x.reply));
        }
      },
      {}, Level::should));
}

void register_lengths(Registry& r) {
  r.add(dies("frames-dies-of-config-length",
             "dies of a config read whose length is beyond its frame", [](const Bytes& q) {
               return is_command(q, observer::command::config) && value_of(q, F::cfg_ccmd) == 0 &&
                      value_of(q, F::cfg_length) > 60000;
             }));
  r.add(edits_reply("frames-config-read-length-echoed",
                    "returns the length of a config read as the string's",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_command(q, observer::command::config) &&
                          value_of(q, F::cfg_ccmd) == 0 && value_of(q, F::cfg_length) > 0) {
                        set(reply, F::cfg_length, value_of(q, F::cfg_length));
                      }
                    }));
  r.add(frame_case(
      "frames.lie.config-read-length",
      "A config read with a length beyond the frame, up to 65535: silence, a refusal, or the "
      "string that is there",
      {"ROB-LENGTH"}, {"frames-dies-of-config-length", "frames-config-read-length-echoed"},
      [](Context& c) {
        const Exchange plain = c.a().ask(config_request(observer::ccmd::read));
        c.expect_no_error(plain);
        const Bytes there = observer::config_string(*plain.reply).value_or(Bytes{});
        for (const unsigned length : {1U, 29U, 1024U, 1025U, 0x7fffU, 0x8000U, 0xffe0U, 0xffffU}) {
          const Bytes sent =
              c.a().stamp(config_request(observer::ccmd::read).set(F::cfg_length, length));
          for (const Bytes& reply :
               replies_to(c, c.a(), sent, fmt::format("a config read of length {}", length))) {
            Exchange x = sent_as(sent);
            x.reply = reply;
            if (x.is_error()) {
              continue;
            }
            c.expect_config_string(x, BytesView(there));
          }
        }
      }));
  r.add(spoils("frames-config-set-length-believed",
               "stores a config string as long as it says, whatever the frame holds",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 Bytes changed = q;
                 if (is_command(q, observer::command::config) &&
                     value_of(q, F::cfg_length) <= observer::kConfigStringMax) {
                   while (changed.size() < at::cfg_string + value_of(q, F::cfg_length)) {
                     changed.push_back(0xee);
                   }
                 }
                 return f(changed);
               }));
  r.add(frame_case(
      "frames.lie.config-set-length",
      "A set or force set with a length beyond its frame is not carried out", {"ROB-LENGTH"},
      {"frames-config-set-length-believed"},
      [](Context& c) {
        c.expect_no_error(c.a().ask(config_request(observer::ccmd::force_set, "before")));
        for (const uint8_t ccmd : {observer::ccmd::set, observer::ccmd::force_set}) {
          for (const unsigned length : {29U, 100U, 1024U, 1025U, 0x8000U, 0xffffU}) {
            const Bytes sent =
                c.a().stamp(config_request(ccmd, "after").set(F::cfg_length, length));
            replies_to(c, c.a(), sent, fmt::format("a set of length {}", length));
            c.expect_config_string(c.a().ask(config_request(observer::ccmd::read)), "before");
          }
        }
      },
      {Need::config}));
  r.add(edits_request("frames-config-test-length-cut",
                      "cuts the length of a test to what the frame holds", [](Bytes& q) {
                        if (is_command(q, observer::command::config) && q.size() > at::cfg_string &&
                            value_of(q, F::cfg_length) > q.size() - at::cfg_string) {
                          set(q, F::cfg_length, 6);
                        }
                      }));
  r.add(frame_case(
      "frames.lie.config-test-length",
      "A test or prefix test with a length beyond its frame matches nothing", {"ROB-LENGTH"},
      {"frames-config-test-length-cut"},
      [](Context& c) {
        c.expect_no_error(c.a().ask(config_request(observer::ccmd::force_set, "before")));
        for (const uint8_t ccmd : {observer::ccmd::test, observer::ccmd::prefix}) {
          for (const unsigned length : {100U, 1024U, 0xffffU}) {
            const Bytes sent =
                c.a().stamp(config_request(ccmd, "before").set(F::cfg_length, length));
            for (const Bytes& reply :
                 replies_to(c, c.a(), sent, fmt::format("a test of length {}", length))) {
              Exchange x = sent_as(sent);
              x.reply = reply;
              c.expect(x.is_error(), x, "silence or a refusal", observer::summary(reply));
            }
          }
        }
      },
      {Need::config}));
  r.add(
      dies("frames-dies-of-write-count", "dies of a write that claims 255 sectors",
           [](const Bytes& q) { return is_write_request(q) && value_of(q, F::ata_count) == 255; }));
  r.add(frame_case(
      "frames.lie.write-count",
      "A write that claims 255 sectors in a minimum frame is refused, and the target lives",
      {"ROB-LENGTH"}, {"frames-dies-of-write-count"},
      [](Context& c) {
        for (const uint8_t count : {2, 127, 128, 255}) {
          Frame f = observer::ata_request(observer::ata::write_ext, scratch_lba(c, 1), count)
                        .set(F::ata_flag_write, 1)
                        .set(F::ata_flag_extended, 1);
          const Bytes sent = c.a().stamp(f);
          const auto replies =
              replies_to(c, c.a(), sent, fmt::format("a write of {} sectors without data", count));
          for (const Bytes& reply : replies) {
            Exchange x = sent_as(sent);
            x.reply = reply;
            c.expect(!seen::good_ata(x), x, "a refusal", "good");
          }
        }
      },
      {Need::write}));
}

void register_addresses(Registry& r) {
  r.add(edits_request("frames-slot-ignored-by-config", "answers config queries for every slot",
                      [](Bytes& q) {
                        if (is_command(q, observer::command::config)) {
                          set(q, F::slot, 0xff);
                        }
                      }));
  r.add(edits_request("frames-shelf-ignored-by-unknown", "refuses unknown commands for every shelf",
                      [](Bytes& q) {
                        if (is_command(q, 0x77)) {
                          set(q, F::shelf, 0xffff);
                        }
                      }));
  r.add(frame_case(
      "frames.address.other-shelf-or-slot",
      "No command for another shelf or slot is answered, not even with an error", {"ROB-ADDRESS"},
      {"frames-slot-ignored-by-config", "frames-shelf-ignored-by-unknown"}, [](Context& c) {
        const auto slot = static_cast<uint8_t>(c.target().slot == 0xfe ? 1 : c.target().slot + 1);
        const auto shelf =
            static_cast<uint16_t>(c.target().shelf == 0xfffe ? 1 : c.target().shelf + 1);
        for (const Kind& k : kinds(c)) {
          for (const Frame& f :
               {Frame(k.frame).set(F::slot, slot), Frame(k.frame).set(F::shelf, shelf),
                Frame(k.frame).set(F::slot, slot).set(F::shelf, 0xffff),
                Frame(k.frame).set(F::shelf, shelf).set(F::slot, 0xff)}) {
            c.expect_silence(c.a(), f);
          }
        }
      }));
  r.add(edits_request("frames-unknown-replies-answered",
                      "answers frames with R set when their command is unknown", [](Bytes& q) {
                        if (observer::is_aoe(q) && observer::is_reply(q) &&
                            value_of(q, F::command) > 3) {
                          set(q, F::flag_response, 0);
                        }
                      }));
  r.add(frame_case(
      "frames.reply.of-every-command",
      "Frames with R set are not answered, whatever their command: two targets must not talk for "
      "ever",
      {"ROB-ADDRESS"}, {"frames-unknown-replies-answered"}, [](Context& c) {
        for (const Kind& k : kinds(c)) {
          c.expect_silence(c.a(), Frame(k.frame).set(F::flag_response, 1));
          c.expect_silence(
              c.a(),
              Frame(k.frame).set(F::flag_response, 1).set(F::flag_error, 1).set(F::error, 1));
          c.expect_silence(c.a(), Frame(k.frame)
                                      .set(F::flag_response, 1)
                                      .dst(observer::kBroadcastMac)
                                      .set(F::shelf, 0xffff)
                                      .set(F::slot, 0xff));
        }
      }));
  r.add(edits_request(
      "frames-own-replies-answered", "takes what it has sent itself for a request", [](Bytes& q) {
        if (observer::is_aoe(q) && observer::is_reply(q) && q.size() > at::ata_data + 500) {
          set(q, F::flag_response, 0);
        }
      }));
  r.add(frame_case(
      "frames.reply.reflected", "The target's own replies, sent back to it, are not answered",
      {"ROB-ADDRESS"}, {"frames-own-replies-answered"},
      [](Context& c) {
        for (const Frame& f :
             {read_request(0, 1), config_request(observer::ccmd::read), identify_request()}) {
          const Exchange x = c.a().ask(f);
          c.expect_answer(x);
          Bytes back = *x.reply;
          std::copy(c.target().mac.begin(), c.target().mac.end(), back.begin());
          std::copy(c.a().mac().begin(), c.a().mac().end(), back.begin() + 6);
          set(back, F::tag, c.a().next_tag());
          c.expect_silence_bytes(c.a(), back);
        }
      },
      // Taken for a request, a good reply's status is ATA command 0x40.
      {Need::write}));

  const auto odd_source = [](const Bytes& q) {
    return observer::is_aoe(q) &&
           ((q[6] & 1) != 0 ||
            std::all_of(q.begin() + 6, q.begin() + 12, [](uint8_t b) { return b == 0; }));
  };
  r.add(dies("frames-dies-of-odd-source", "dies of a broadcast, multicast or zero source address",
             odd_source));
  r.add(frame_case(
      "frames.ethernet.odd-sources",
      "Requests from a broadcast, multicast or zero address do no harm, answered or not",
      {"ROB-ETHERNET"}, {"frames-dies-of-odd-source"}, [](Context& c) {
        for (const Mac& mac : {observer::kBroadcastMac, Mac{0x01, 0, 0x5e, 0, 0, 1}, Mac{}}) {
          for (const Kind& k : kinds(c)) {
            const Bytes sent = c.a().stamp(Frame(k.frame).src(mac));
            replies_to(c, c.a(), sent, "a request from " + observer::to_string(mac));
          }
        }
        c.expect_good_ata(c.a().ask(read_request(0, 1)));
      }));
  r.add(spoils("frames-answers-a-group", "answers requests from group addresses, to the group",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 if (!observer::is_aoe(q) || observer::is_reply(q) || (q[6] & 1) == 0) {
                   return f(q);
                 }
                 Bytes own = q;
                 own[6] &= 0xfe;
                 Answers answers = f(own);
                 for (auto& a : answers) {
                   a.bytes[0] = q[6];
                 }
                 return answers;
               }));
  Case group = frame_case(
      "frames.ethernet.group-source",
      "A request from a broadcast or multicast address is not answered: the answer would go to "
      "everybody",
      {"ROB-GROUP"}, {"frames-answers-a-group"}, [](Context& c) {
        for (const Mac& mac :
             {observer::kBroadcastMac, Mac{0x01, 0, 0x5e, 0, 0, 1}, Mac{0x33, 0x33, 0, 0, 0, 1}}) {
          Initiator everybody(c, mac);
          for (const Kind& k : kinds(c)) {
            c.expect_silence(everybody, k.frame);
          }
        }
      });
  group.level = Level::should;
  r.add(group);
  r.add(dies("frames-talks-to-itself",
             "answers itself for ever when a request comes from its own address",
             [](const Bytes& q) {
               return observer::is_aoe(q) && q[5] == q[11] &&
                      std::equal(q.begin(), q.begin() + 6, q.begin() + 6);
             }));
  r.add(frame_case("frames.ethernet.source-is-the-target",
                   "A request that claims to come from the target itself does no harm",
                   {"ROB-ETHERNET"}, {"frames-talks-to-itself"}, [](Context& c) {
                     for (const Kind& k : kinds(c)) {
                       const Bytes sent = c.a().stamp(Frame(k.frame).src(c.target().mac));
                       replies_to(c, c.a(), sent, "a request from the target's own address");
                     }
                     c.expect_good_ata(c.a().ask(read_request(0, 1)));
                   }));
  r.add(edits_request("frames-ethertype-unchecked", "does not look at the EtherType", [](Bytes& q) {
    if (q.size() >= at::argument && q[12] == 0x88) {
      q[13] = 0xa2;
    }
  }));
  r.add(frame_case(
      "frames.ethernet.other-ethertype",
      "Frames of other EtherTypes are not answered, near ones and an 802.3 length included",
      {"ROB-ETHERNET"}, {"frames-ethertype-unchecked"}, [](Context& c) {
        for (const unsigned type : {0x88a3U, 0x88a0U, 0x88b5U, 0x002eU, 0xa288U}) {
          c.expect_silence(c.a(), read_request(0, 1).set(F::eth_type, type));
          c.expect_silence(c.a(), config_request(observer::ccmd::read).set(F::eth_type, type));
        }
      }));
  r.add(edits_request("frames-vlan-tag-skipped", "skips a VLAN tag and answers without it",
                      [](Bytes& q) {
                        if (q.size() > 18 && q[12] == 0x81 && q[13] == 0x00) {
                          q.erase(q.begin() + 12, q.begin() + 16);
                        }
                      }));
  r.add(dies("frames-dies-of-vlan-tag", "dies of a VLAN tag",
             [](const Bytes& q) { return q.size() > 18 && q[12] == 0x81 && q[13] == 0x00; }));
  r.add(frame_case(
      "frames.ethernet.vlan-tag",
      "A request with a VLAN tag is not the target's; an answer outside the VLAN is reported",
      {"ROB-ETHERNET"}, {"frames-vlan-tag-skipped", "frames-dies-of-vlan-tag"}, [](Context& c) {
        Bytes tagged = c.a().stamp(read_request(0, 1));
        const uint8_t tag[] = {0x81, 0x00, 0x00, 0x0a};
        tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
        if (!replies_to(c, c.a(), tagged, "a frame with a VLAN tag").empty()) {
          c.info("a request with a VLAN tag is answered without one");
        }
      }));
  r.add(ignores("frames-own-address-only",
                "answers only what is sent to its address or to everybody",
                [](const Bytes& q, const ModelTarget& m) {
                  return is_ata_request(q) && q[0] != 0xff &&
                         !std::equal(m.config.mac.begin(), m.config.mac.end(), q.begin());
                }));
  r.add(frame_case(
      "frames.ethernet.other-destination",
      "A request to another unicast or a multicast address does no harm, answered or not",
      {"ROB-ETHERNET"}, {"frames-own-address-only"},
      [](Context& c) {
        unsigned answered = 0;
        for (const Mac& mac : {Mac{0x02, 1, 2, 3, 4, 5}, Mac{0x01, 0, 0x5e, 0, 0, 1}, Mac{}}) {
          const Bytes sent = c.a().stamp(read_request(0, 1).dst(mac));
          for (const Bytes& reply :
               replies_to(c, c.a(), sent, "a request to " + observer::to_string(mac))) {
            expect_reply_header(c, sent, reply);
            ++answered;
          }
        }
        c.info(fmt::format(
            "of three requests to addresses that are not the target's, {} are answered", answered));
      },
      {}, Level::may));
}

// A small generator: the same frames every run.
struct Dice {
  uint64_t state = 0x9e3779b97f4a7c15ULL;
  uint32_t roll() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>(state >> 32);
  }
};

void register_floods(Registry& r) {
  r.add(remembers(
      "frames-replies-out-of-step",
      "in a burst of different commands, answers with the header of the one before", [] {
        return Middleware([last = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          Answers answers = f(q);
          if (!answers.empty() && !last.empty() && q[6] == last[6] &&
              value_of(last, F::command) != value_of(q, F::command)) {
            set(answers[0].bytes, F::command, value_of(last, F::command));
          }
          last = q;
          return answers;
        });
      }));
  r.add(
      frame_case("frames.burst.mixed-commands",
                 "Different commands sent at once are each answered with their own command and tag",
                 {"ROB-FLOOD"}, {"frames-replies-out-of-step"}, [](Context& c) {
                   std::map<uint64_t, Bytes> sent;
                   for (int round = 0; round < 3; ++round) {
                     for (const Kind& k : kinds(c)) {
                       const Bytes bytes = c.a().send(k.frame);
                       sent[value_of(bytes, F::tag)] = bytes;
                     }
                   }
                   const auto replies = c.a().collect(sent.size(), burst_wait_ns(c));
                   c.expect(!replies.empty(), "replies to a burst", "none");
                   for (const auto& f : replies) {
                     const auto it = sent.find(value_of(f.bytes, F::tag));
                     if (it != sent.end()) {
                       expect_reply_header(c, it->second, f.bytes);
                     }
                   }
                 }));

  const auto after_flood = [](Context& c, const Bytes& last, const std::string& story) {
    expect_alive(c, last, story);
    c.a().collect(kRepliesMax, c.patience_ns());  // what was on its way
    for (Initiator* who : {&c.a(), &c.b()}) {
      const Exchange x = who->ask(read_request(0, 1));
      c.expect_good_ata(x);
    }
    // No reply is lost for good: as many at once as before are answered.
    const uint64_t n = std::clamp<uint64_t>(c.target().buffer_count, 1, 16);
    size_t best = 0;
    for (int attempt = 0; attempt < 3 && best < n; ++attempt) {
      for (uint64_t i = 0; i < n; ++i) {
        c.a().send(read_request(0, 1));
      }
      best = std::max(best, c.a().collect(n, burst_wait_ns(c)).size());
    }
    c.expect(best >= n, fmt::format("after {}, {} reads at once are answered", story, n),
             fmt::format("{}", best));
  };
  r.add(leaks("frames-leaks-read-buffers", "loses a buffer with each of many reads", 400,
              [](const Bytes& q) { return is_read_request(q); }));
  r.add(frame_case("frames.flood.reads",
                   "Thousands of reads, far more at once than the buffer count, leave the target "
                   "as able as before",
                   {"ROB-FLOOD"}, {"frames-leaks-read-buffers"},
                   [after_flood](Context& c) {
                     Bytes last;
                     for (unsigned i = 0; i < 2000; ++i) {
                       last = c.a().send(
                           read_request(i % std::max<uint64_t>(c.target().sectors, 1), 1));
                       if (i % 128 == 127) {
                         expect_alive(c, last, "reads without a pause");
                         c.a().collect(kRepliesMax, 0);
                       }
                     }
                     after_flood(c, last, "thousands of reads");
                   },
                   {Need::stress}));
  r.add(leaks("frames-leaks-on-cut-frames", "loses a buffer with each frame that it drops", 1000,
              [](const Bytes& q) { return q.size() < at::ata_data; }));
  r.add(frame_case("frames.flood.cut-frames",
                   "Thousands of frames that cannot be answered leave the target as able as before",
                   {"ROB-FLOOD"}, {"frames-leaks-on-cut-frames"},
                   [after_flood](Context& c) {
                     const Bytes whole = c.a().stamp(read_request(0, 1));
                     Bytes last;
                     for (unsigned i = 0; i < 3000; ++i) {
                       last = whole;
                       last.resize(kEthernetHeader + i % (at::ata_data - kEthernetHeader));
                       c.a().send_bytes(last);
                       if (i % 64 == 0) {
                         expect_alive(c, last, "cut frames");
                         c.a().collect(kRepliesMax, 0);
                       }
                     }
                     after_flood(c, last, "thousands of cut frames");
                   },
                   {Need::stress}));
  r.add(leaks("frames-leaks-on-errors", "loses a buffer with each error that it answers", 1000,
              [](const Bytes& q) { return is_command(q, 0x77); }));
  r.add(frame_case("frames.flood.errors",
                   "Thousands of requests that are refused leave the target as able as before",
                   {"ROB-FLOOD"}, {"frames-leaks-on-errors"},
                   [after_flood](Context& c) {
                     Bytes last;
                     for (unsigned i = 0; i < 3000; ++i) {
                       last = c.a().send(i % 2 == 0 ? header_only(0x77)
                                                    : read_request(c.target().sectors, 1));
                       if (i % 16 == 0) {
                         expect_alive(c, last, "refused requests");
                         c.a().collect(kRepliesMax, 0);
                       }
                     }
                     after_flood(c, last, "thousands of refused requests");
                   },
                   {Need::stress, Need::unknown}));
  r.add(remembers("frames-source-table-fills",
                  "serves the first 256 source addresses that it sees and nobody after them", [] {
                    return Middleware([known = std::set<Bytes>()](const Bytes& q, ModelTarget&,
                                                                  const Forward& f) mutable {
                      if (q.size() < kEthernetHeader) {
                        return f(q);
                      }
                      const Bytes source = part(q, 6, 6);
                      constexpr size_t table = 256;
                      if (known.size() >= table && known.count(source) == 0) {
                        return Answers{};
                      }
                      known.insert(source);
                      return f(q);
                    });
                  }));
  r.add(frame_case(
      "frames.flood.many-sources",
      "A thousand source addresses do not keep a new host from being served", {"ROB-FLOOD"},
      {"frames-source-table-fills"},
      [after_flood](Context& c) {
        Bytes last;
        for (unsigned i = 0; i < 1024; ++i) {
          const Mac mac{
              0x06, 0x5e, 0x55, 0x66, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
          last = c.a().send(
              (i % 2 == 0 ? read_request(0, 1) : config_request(observer::ccmd::read)).src(mac));
          if (i % 16 == 0) {
            expect_alive(c, last, "requests from many sources");
            c.a().collect(kRepliesMax, 0);
          }
        }
        Initiator& fresh = c.initiator(8);
        c.expect_good_ata(fresh.ask(read_request(0, 1)));
        after_flood(c, last, "a thousand sources");
      },
      {Need::stress}));
  r.add(dies("frames-dies-of-a-random-frame", "dies of a mask read that counts more than 200",
             [](const Bytes& q) {
               return is_command(q, observer::command::mask) && value_of(q, F::mask_count) > 200;
             }));
  r.add(edits_reply("frames-random-slot-echoed",
                    "returns the slot of the request when it refuses an unknown MCmd",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_command(q, observer::command::mask) &&
                          value_of(reply, F::flag_error) == 1) {
                        set(reply, F::slot, value_of(q, F::slot) ^ 1);
                      }
                    }));
  r.add(frame_case(
      "frames.random.well-addressed",
      "Random bytes behind a right header, the same in every run: every reply is proper, and the "
      "target lives",
      {"ROB-FLOOD"}, {"frames-dies-of-a-random-frame", "frames-random-slot-echoed"},
      [](Context& c) {
        Dice dice;
        for (int i = 0; i < 1000; ++i) {
          // Sub-commands that would change something are left out.
          static constexpr uint8_t safe_ata[] = {observer::ata::read, observer::ata::read_ext,
                                                 observer::ata::identify,
                                                 observer::ata::check_power};
          const uint32_t kind = dice.roll() % 6;
          const auto low = [&](uint8_t first_unknown) {
            return dice.roll() % 4 == 0
                       ? uint8_t{0}
                       : static_cast<uint8_t>(first_unknown + dice.roll() % (256U - first_unknown));
          };
          Frame f = header_only(static_cast<uint8_t>(kind < 4 ? kind : 4 + dice.roll() % 31));
          const size_t size =
              at::argument +
              dice.roll() % (dice.roll() % 3 == 0 ? c.frame_max() - at::argument : 100);
          Bytes noise;
          for (size_t n = 0; n < 97; ++n) {
            noise.push_back(static_cast<uint8_t>(dice.roll()));
          }
          f.fill_after(at::argument, noise, std::max(size, at::ata_data));
          if (kind == observer::command::ata) {
            f.set(F::ata_command, safe_ata[dice.roll() % std::size(safe_ata)]);
          } else if (kind == observer::command::config) {
            f.set(F::cfg_ccmd, dice.roll() % 2 == 0 ? 0 : 5 + dice.roll() % 11);
          } else if (kind == observer::command::mask) {
            f.set(F::mask_mcmd, low(2));
          } else if (kind == observer::command::reserve) {
            f.set(F::reserve_rcmd, low(3));
          }
          f.cut(size);
          const Bytes sent = c.a().stamp(f);
          for (const Bytes& reply : replies_to(c, c.a(), sent, "random bytes")) {
            if (value_of(reply, F::tag) == value_of(sent, F::tag)) {
              expect_reply_header(c, sent, reply);
            }
          }
        }
      },
      {Need::stress, Need::unknown, Need::config, Need::lockout}));
}

}  // namespace

void register_frames(Registry& r) {
  register_cut(r);
  register_commands(r);
  register_lengths(r);
  register_addresses(r);
  register_floods(r);
}

}  // namespace conformance
