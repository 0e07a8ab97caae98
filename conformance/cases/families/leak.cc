// Family leak: nothing of one host may reach another. Before anything is asked, another source
// address fills the target's buffers with bytes that nobody else sends; then every place where
// stale memory could show is looked at: padding, strings and lists that claim more than their
// frame, failed reads, refusals, what a short write leaves on disk.

#include <fmt/format.h>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::config_request;
using observer::Directive;
using observer::header_only;
using observer::identify_request;
using observer::kSectorBytes;
using observer::mask_request;
using observer::read_request;
using observer::reserve_request;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;
namespace aoe_error = observer::aoe_error;

namespace {

using Macs = std::vector<Mac>;

// Neither planted bytes nor anything else that is not the asker's own.
void expect_clean(Context& c, const Exchange& x) {
  if (!x.answered()) {
    return;
  }
  c.expect_not_planted(x);
  c.expect_clean_padding(x);
}

// Everything in turn, each with fresh bytes planted before it; padded as on a wire, and bare as on
// a virtual link.
void expect_all_clean(Context& c, const std::vector<Frame>& frames) {
  for (const Frame& frame : frames) {
    if (!c.may_send(frame)) {
      continue;
    }
    for (const bool bare : {false, true}) {
      c.plant(c.b());
      Frame f = frame;
      if (bare) {
        f.unpadded();
      }
      expect_clean(c, c.a().ask(f));
    }
  }
}

// --- Deviants: all of them remember the longest frame that went by last. ---
using Spoil = std::function<void(const Bytes& q, const Bytes& stale, Answers& answers)>;
Deviant stale(std::string name, std::string story, Spoil spoil) {
  return remembers(std::move(name), std::move(story), [spoil = std::move(spoil)] {
    return Middleware(
        [spoil, memory = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          Answers answers = f(q);
          if (!answers.empty()) {
            spoil(q, memory, answers);
          }
          if (q.size() > observer::kMinFrameBytes) {
            memory = q;
          }
          return answers;
        });
  });
}
// Pads its replies to `size` with what stands in the buffer.
Deviant stale_padding(std::string name, std::string story, size_t size, RequestTest when) {
  return stale(
      std::move(name), std::move(story),
      [size, when = std::move(when)](const Bytes& q, const Bytes& memory, Answers& answers) {
        Bytes& reply = answers[0].bytes;
        if (when(q) && reply.size() < size && memory.size() >= size) {
          reply.insert(reply.end(), memory.begin() + static_cast<ptrdiff_t>(reply.size()),
                       memory.begin() + static_cast<ptrdiff_t>(size));
        }
      });
}
// Completes a request with what stands in the buffer behind its end.
Deviant stale_request(std::string name, std::string story,
                      std::function<size_t(const Bytes&)> wanted) {
  return remembers(std::move(name), std::move(story), [wanted = std::move(wanted)] {
    return Middleware(
        [wanted, memory = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
          Bytes changed = q;
          const size_t size = std::min(wanted(q), memory.size());
          if (size > q.size()) {
            changed.insert(changed.end(), memory.begin() + static_cast<ptrdiff_t>(q.size()),
                           memory.begin() + static_cast<ptrdiff_t>(size));
          }
          if (q.size() > observer::kMinFrameBytes) {
            memory = q;
          }
          return f(changed);
        });
  });
}

constexpr size_t kJunkBytes = 200;  // where a reply ends that brings stale memory along

Case leak_case(std::string id, std::string title, std::vector<std::string> clauses,
               std::vector<std::string> fails_on, std::function<void(Context&)> run,
               std::vector<Need> needs = {}) {
  Case c;
  c.id = std::move(id);
  c.title = std::move(title);
  c.clauses = std::move(clauses);
  c.needs = std::move(needs);
  c.needs.push_back(Need::second_initiator);
  c.hostile = true;  // most of it claims what is not there
  c.fails_on = std::move(fails_on);
  c.run = std::move(run);
  return c;
}

bool is_config(const Bytes& q) {
  return is_command(q, observer::command::config) && q.size() >= at::cfg_string;
}
bool is_mask(const Bytes& q) {
  return is_command(q, observer::command::mask) && q.size() >= at::mask_list;
}
bool is_reserve(const Bytes& q) {
  return is_command(q, observer::command::reserve) && q.size() >= at::reserve_list;
}

void register_padding(Registry& r) {
  const auto brings_no_data = [](const Bytes& q) {
    return is_ata_request(q) && !is_read_request(q) && ata_code(q) != ata::identify;
  };
  r.add(stale_padding("leak-ata-padding",
                      "pads ATA replies without data with what stood in the buffer",
                      observer::kMinFrameBytes, brings_no_data));
  r.add(leak_case("leak.padding.ata",
                  "Replies to flush, check power and unknown ATA commands are padded with zeros or "
                  "the asker's bytes",
                  {"LEAK-PADDING"}, {"leak-ata-padding"}, [](Context& c) {
                    expect_all_clean(c,
                                     {observer::flush_request(true), observer::flush_request(false),
                                      observer::ata_request(ata::check_power, 0, 0),
                                      observer::ata_request(0xff, 0, 0)});
                  }));
  r.add(stale_padding(
      "leak-write-padding", "pads the replies to writes with what stood in the buffer",
      observer::kMinFrameBytes, [](const Bytes& q) { return is_write_request(q); }));
  r.add(leak_case(
      "leak.padding.write", "The reply to a write carries nothing of another host's write",
      {"LEAK-PADDING"}, {"leak-write-padding"},
      [](Context& c) {
        const uint64_t lba = scratch_lba(c, 1);
        for (const bool wide : {true, false}) {
          c.plant(c.b());
          const Exchange x = c.a().ask(observer::write_request(lba, sector_pattern(600), wide));
          c.expect_good_ata(x);
          expect_clean(c, x);
        }
      },
      {Need::write}));
  r.add(stale_padding("leak-config-padding", "pads config replies with what stood in the buffer",
                      kJunkBytes, is_config));
  r.add(leak_case(
      "leak.padding.config",
      "Config replies carry the string and nothing behind it but zeros or the asker's bytes",
      {"LEAK-PADDING"}, {"leak-config-padding"}, [](Context& c) {
        expect_all_clean(c,
                         {config_request(observer::ccmd::read), config_request(observer::ccmd::read)
                                                                    .set(F::shelf, 0xffff)
                                                                    .set(F::slot, 0xff)
                                                                    .dst(observer::kBroadcastMac)});
      }));
  r.add(stale_padding("leak-mask-padding", "pads mask replies with what stood in the buffer",
                      observer::kMinFrameBytes, is_mask));
  r.add(leak_case("leak.padding.mask", "Mask list replies carry the list and nothing behind it",
                  {"LEAK-PADDING"}, {"leak-mask-padding"},
                  [](Context& c) {
                    expect_all_clean(c, {mask_request(observer::mcmd::read),
                                         mask_request(observer::mcmd::edit)});
                  },
                  {Need::lockout}));
  r.add(stale_padding("leak-reserve-padding", "pads reserve replies with what stood in the buffer",
                      observer::kMinFrameBytes, is_reserve));
  r.add(leak_case("leak.padding.reserve", "Reserve replies carry the list and nothing behind it",
                  {"LEAK-PADDING"}, {"leak-reserve-padding"}, [](Context& c) {
                    expect_all_clean(c, {reserve_request(observer::rcmd::read)});
                  }));
  r.add(stale_padding("leak-extension-padding",
                      "pads replies to command 0x23 with what stood in the buffer",
                      observer::kMinFrameBytes,
                      [](const Bytes& q) { return is_command(q, observer::command::extension); }));
  r.add(leak_case("leak.padding.extensions",
                  "Replies and refusals of command 0x23 carry nothing of another host",
                  {"LEAK-PADDING", "LEAK-ERROR"}, {"leak-extension-padding"}, [](Context& c) {
                    const Frame good = observer::extension_request({"reset"}, c.target().ext_order);
                    const Frame unknown =
                        observer::extension_request({"no such feature"}, c.target().ext_order);
                    // Lengths that are not the table's: silence, or a reply of nothing foreign.
                    const Frame beyond =
                        observer::extension_raw(observer::bytes_of(std::string("reset\0\0", 7)),
                                                1000, c.target().ext_order);
                    expect_all_clean(c, {good, unknown});
                    c.plant(c.b());
                    expect_clean(c, c.a().ask_once(beyond));
                    expect_clean(c, c.a().ask_once(Frame(beyond).unpadded()));
                  }));
}

void register_errors(Registry& r) {
  r.add(stale_padding("leak-errors",
                      "answers unknown commands with a buffer full of what stood there", kJunkBytes,
                      [](const Bytes& q) { return is_command(q, 0x77); }));
  r.add(stale_padding("leak-subcommand-errors",
                      "answers unknown sub-commands with a buffer full of what stood there",
                      kJunkBytes, [](const Bytes& q) {
                        return (is_mask(q) && value_of(q, F::mask_mcmd) > 1) ||
                               (is_reserve(q) && value_of(q, F::reserve_rcmd) > 2);
                      }));
  r.add(leak_case("leak.error.refusals",
                  "Refusals of every kind carry nothing of another host: command, version, "
                  "sub-command, arguments",
                  {"LEAK-ERROR"}, {"leak-errors", "leak-subcommand-errors"}, [](Context& c) {
                    expect_all_clean(
                        c, {header_only(0x77), header_only(0xef), header_only(0xf3),
                            config_request(9), mask_request(9), reserve_request(9),
                            config_request(observer::ccmd::read).set(F::version, 2),
                            read_request(0, 255), identify_request().set(F::ata_count, 2)});
                  }));

  const auto reads_with_junk = [](std::string name, std::string story,
                                  std::function<bool(const Bytes&, const Bytes&)> when) {
    return stale(std::move(name), std::move(story),
                 [when = std::move(when)](const Bytes& q, const Bytes& memory, Answers& answers) {
                   Bytes& reply = answers[0].bytes;
                   if (is_read_request(q) && reply.size() == at::ata_data &&
                       memory.size() > at::ata_data && when(q, reply)) {
                     reply.insert(reply.end(), memory.begin() + at::ata_data, memory.end());
                   }
                 });
  };
  r.add(reads_with_junk("leak-failed-read-brings-buffer",
                        "sends its buffer along with a read that failed",
                        [](const Bytes&, const Bytes& reply) {
                          return (value_of(reply, F::ata_status) & ata::status_err) != 0;
                        }));
  r.add(leak_case(
      "leak.read.past-end", "A read that fails at the end of the disk brings no data of anybody",
      {"LEAK-READ"}, {"leak-failed-read-brings-buffer"}, [](Context& c) {
        const uint64_t end = c.target().sectors;
        std::vector<Frame> frames = {read_request(end, 1), read_request((1ULL << 48) - 1, 1)};
        if (c.sectors_max() >= 2) {
          frames.push_back(read_request(end - 1, 2));
          frames.push_back(read_request(end - 1, c.sectors_max()));
        }
        for (const Frame& f : frames) {
          c.plant(c.b());
          const Exchange x = c.a().ask(f);
          // Only what was planted is known to be another's; how the end is refused is asked
          // elsewhere.
          c.expect_not_planted(x);
          if (!x.answered() || seen::good_ata(x)) {
            c.info("a read past the end is not refused: ata.read.past-end judges that");
          } else if (x.reply->size() > std::max(observer::kMinFrameBytes, x.request.size())) {
            c.info(
                fmt::format("the refusal of a read past the end has {} bytes; none of them was "
                            "planted",
                            x.reply->size()));
          }
        }
      }));
  r.add(reads_with_junk(
      "leak-refused-read-brings-buffer",
      "sends its buffer along with a read that asked for too much",
      [](const Bytes&, const Bytes& reply) { return value_of(reply, F::flag_error) == 1; }));
  r.add(leak_case(
      "leak.read.too-much", "A read of more sectors than the limit brings no data of anybody",
      {"LEAK-READ"}, {"leak-refused-read-brings-buffer"}, [](Context& c) {
        for (const unsigned n : {c.sectors_max() + 1U, 64U, 255U}) {
          if (n <= c.sectors_max()) {
            continue;
          }
          c.plant(c.b());
          const Exchange x =
              c.a().ask(read_request(c.target().sectors / 2, static_cast<uint8_t>(n)));
          if (x.answered() && !seen::good_ata(x)) {
            c.expect_not_planted(x);
            if (x.reply->size() > observer::kMinFrameBytes) {
              c.info("a refusal with more than the minimum of bytes; none of them was planted");
            }
          }
        }
      }));
  r.add(reads_with_junk(
      "leak-zero-read-brings-buffer", "sends its buffer along with a read of 0 sectors",
      [](const Bytes& q, const Bytes&) { return value_of(q, F::ata_count) == 0; }));
  r.add(leak_case("leak.read.zero-sectors", "A read of 0 sectors brings no data of anybody",
                  {"LEAK-READ"}, {"leak-zero-read-brings-buffer"}, [](Context& c) {
                    expect_all_clean(c, {read_request(0, 0), read_request(0, 0, false)});
                  }));
  r.add(stale(
      "leak-aborted-command-brings-buffer", "sends its buffer along with a command that it aborts",
      [](const Bytes& q, const Bytes& memory, Answers& answers) {
        if (is_ata_request(q) && value_of(answers[0].bytes, F::ata_error) == ata::error_abrt &&
            memory.size() > kJunkBytes) {
          answers[0].bytes.insert(answers[0].bytes.end(), memory.begin() + at::ata_data,
                                  memory.begin() + kJunkBytes);
        }
      }));
  r.add(leak_case(
      "leak.error.aborted-commands",
      "Commands that are aborted (READ DMA, SMART, PACKET IDENTIFY...) bring no data of anybody",
      {"LEAK-ERROR"}, {"leak-aborted-command-brings-buffer"},
      [](Context& c) {
        for (const uint8_t code : {0x25, 0xc8, 0xb0, 0xa1, 0xc4, 0x29, 0x22, 0xff, 0xe4, 0x2f}) {
          c.plant(c.b());
          const Exchange x =
              c.a().ask(observer::ata_request(code, 0, 1).set(F::ata_flag_extended, 1));
          c.expect_not_planted(x);
          if (seen::ata_abort(x)) {
            c.expect_clean_padding(x);
          }
        }
      },
      {Need::write}));
  r.add(stale("leak-reserved-read-brings-buffer", "sends its buffer along with error 6",
              [](const Bytes& q, const Bytes& memory, Answers& answers) {
                if (is_ata_request(q) &&
                    value_of(answers[0].bytes, F::error) == aoe_error::reserved &&
                    memory.size() > kJunkBytes) {
                  answers[0].bytes.resize(at::ata_data);
                  answers[0].bytes.insert(answers[0].bytes.end(), memory.begin() + at::ata_data,
                                          memory.end());
                }
              }));
  r.add(leak_case(
      "leak.error.reserved",
      "The refusal of a read while another host holds the target brings no data of that host",
      {"LEAK-ERROR"}, {"leak-reserved-read-brings-buffer"},
      [](Context& c) {
        const Exchange before = c.a().ask(reserve_request(observer::rcmd::read));
        c.unsupported_if_refused(before, true);
        c.after([&c, list = observer::reserve_list(*before.reply).value_or(Macs{})] {
          c.a().send(reserve_request(observer::rcmd::force_set, list));
          c.a().collect(1, c.patience_ns());
        });
        c.expect_no_error(c.b().ask(reserve_request(observer::rcmd::force_set, {c.b().mac()})));
        for (const Frame& f :
             {read_request(0, 1), read_request(0, c.sectors_max()), read_request(0, 1, false),
              reserve_request(observer::rcmd::set, {c.a().mac()})}) {
          c.plant(c.b());
          const Exchange x = c.a().ask(f);
          c.expect_error(x, aoe_error::reserved);
          c.expect_not_planted(x);
          if (x.reply->size() > observer::kMinFrameBytes) {
            c.info("a refusal with more than the minimum of bytes; none of them was planted");
          }
        }
      },
      {Need::lockout}));

  r.add(stale("leak-registers-of-the-request-before",
              "returns the LBA and the AFlags of the ATA request before",
              [](const Bytes& q, const Bytes& memory, Answers& answers) {
                if (is_ata_request(q) && is_ata_request(memory) &&
                    answers[0].bytes.size() >= at::ata_data) {
                  set(answers[0].bytes, F::ata_lba, value_of(memory, F::ata_lba));
                }
              }));
  r.add(leak_case(
      "leak.registers.of-another-request",
      "The LBA registers of a reply are its own request's, not those of the request before",
      {"LEAK-READ"}, {"leak-registers-of-the-request-before"}, [](Context& c) {
        constexpr uint64_t strange = 0x00c0ffee1234;
        for (const Frame& f : {read_request(0, 1), identify_request(), observer::flush_request()}) {
          Frame before = read_request(strange, 1);
          before.grow(observer::kMinFrameBytes + 100);
          c.b().ask(before);
          const Exchange x = c.a().ask(f);
          c.expect_answer(x);
          c.expect(x.field(F::ata_lba) != strange, x, "an LBA that has to do with this request",
                   fmt::format("{:#x}, which another host asked for", strange), {F::ata_lba});
        }
      }));
}

void register_strings(Registry& r) {
  r.add(stale_request("leak-config-beyond-frame",
                      "takes a config string from behind the end of its frame", [](const Bytes& q) {
                        return is_config(q) &&
                                       value_of(q, F::cfg_length) <= observer::kConfigStringMax
                                   ? at::cfg_string + value_of(q, F::cfg_length)
                                   : 0;
                      }));
  r.add(leak_case(
      "leak.config.set-beyond-the-frame",
      "A set whose length is beyond its frame does not make a string of what another host sent",
      {"LEAK-STRING"}, {"leak-config-beyond-frame"},
      [](Context& c) {
        for (const uint8_t ccmd : {observer::ccmd::force_set, observer::ccmd::set}) {
          // Short ones too: what is believed up to the buffer's or the longer frame's end shows
          // there only.
          for (const unsigned length :
               {4U, 5U, 8U, 16U, 27U, 28U, 29U, 32U, 64U, 100U, 200U, 500U, 1000U, 1024U}) {
            c.expect_no_error(
                c.a().ask(config_request(observer::ccmd::force_set, std::string_view())));
            c.plant(c.b());
            const Exchange x =
                c.a().ask_once(config_request(ccmd, "own").set(F::cfg_length, length).unpadded());
            c.expect_not_planted(x);
            const Exchange now = c.c().ask(config_request(observer::ccmd::read));
            c.expect_no_error(now);
            c.expect_not_planted(now);
          }
        }
      },
      {Need::config}));
  r.add(stale("leak-config-read-length-believed",
              "returns as many bytes as the length of a config read says",
              [](const Bytes& q, const Bytes& memory, Answers& answers) {
                const size_t want = at::cfg_string + value_of(q, F::cfg_length);
                if (is_config(q) && value_of(q, F::cfg_ccmd) == observer::ccmd::read &&
                    want <= memory.size() && answers[0].bytes.size() < want) {
                  answers[0].bytes.insert(
                      answers[0].bytes.end(),
                      memory.begin() + static_cast<ptrdiff_t>(answers[0].bytes.size()),
                      memory.begin() + static_cast<ptrdiff_t>(want));
                }
              }));
  r.add(leak_case(
      "leak.config.read-beyond-the-frame",
      "Reads and tests whose length is beyond their frame bring nothing of another host",
      {"LEAK-STRING"}, {"leak-config-read-length-believed"}, [](Context& c) {
        for (const uint8_t ccmd :
             {observer::ccmd::read, observer::ccmd::test, observer::ccmd::prefix, uint8_t{9}}) {
          for (const unsigned length :
               {1U, 2U, 8U, 16U, 27U, 28U, 29U, 32U, 64U, 200U, 500U, 1024U, 0xffffU}) {
            if (!c.may_send(config_request(ccmd))) {
              continue;
            }
            c.plant(c.b());
            expect_clean(
                c, c.a().ask_once(config_request(ccmd).set(F::cfg_length, length).unpadded()));
          }
        }
      }));
  r.add(remembers(
      "leak-rest-of-longer-string",
      "sends the rest of a longer string that was set before behind a shorter one", [] {
        return Middleware(
            [longest = Bytes()](const Bytes& q, ModelTarget& m, const Forward& f) mutable {
              Answers answers = f(q);
              if (is_config(q) && !answers.empty()) {
                Bytes& reply = answers[0].bytes;
                const size_t end = std::min<size_t>(longest.size(), 28);
                if (m.config_string.size() < end && reply.size() < observer::kMinFrameBytes) {
                  reply.insert(reply.end(),
                               longest.begin() + static_cast<ptrdiff_t>(m.config_string.size()),
                               longest.begin() + static_cast<ptrdiff_t>(end));
                }
                longest = m.config_string.size() > longest.size() ? m.config_string : longest;
              }
              return answers;
            });
      }));
  r.add(
      leak_case("leak.config.rest-of-a-longer-string",
                "Nothing of a longer string that another host had set stands behind a shorter one",
                {"LEAK-STRING", "LEAK-PADDING"}, {"leak-rest-of-longer-string"},
                [](Context& c) {
                  c.expect_no_error(
                      c.b().ask(config_request(observer::ccmd::force_set, std::string(1024, 'S'))));
                  c.expect_no_error(c.b().ask(config_request(observer::ccmd::force_set, "x")));
                  for (const bool bare : {false, true}) {
                    Frame f = config_request(observer::ccmd::read);
                    const Exchange x = c.a().ask(bare ? f.unpadded() : f);
                    c.expect_config_string(x, "x");
                    c.expect_clean_padding(x);
                  }
                },
                {Need::config}));
}

// Another host's frame that reads like a list of directives or addresses where a list would be.
void send_addresses(Context& c, Initiator& from, size_t offset, size_t entry) {
  Frame f = header_only(0x77);
  f.grow(offset);
  for (unsigned i = 0; f.size() + entry <= std::min<size_t>(c.frame_max(), 1514); ++i) {
    const uint8_t directive[2] = {0, observer::dcmd::add};
    const uint8_t mac[6] = {
        0x02, 0xfa, 0xce, 0x0d, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
    if (entry == observer::kMaskEntryBytes) {
      f.append(directive);
    }
    f.append(mac);
  }
  from.ask(f);
}
bool is_strange(const Mac& mac) {
  return mac[1] == 0xfa && mac[2] == 0xce && mac[3] == 0x0d;
}

void register_lists(Registry& r) {
  r.add(stale_request("leak-mask-beyond-frame", "takes directives from behind the end of the frame",
                      [](const Bytes& q) {
                        return is_mask(q) && value_of(q, F::mask_mcmd) == observer::mcmd::edit
                                   ? at::mask_list +
                                         value_of(q, F::mask_count) * observer::kMaskEntryBytes
                                   : 0;
                      }));
  r.add(leak_case(
      "leak.mask.edit-beyond-the-frame",
      "Addresses that another host's frame left behind do not get onto the mask list",
      {"LEAK-LIST"}, {"leak-mask-beyond-frame"},
      [](Context& c) {
        const Exchange before = c.a().ask(mask_request(observer::mcmd::read));
        c.unsupported_if_refused(before, true);
        const std::vector<Directive> keep = {{0, observer::dcmd::add, c.a().mac()},
                                             {0, observer::dcmd::add, c.b().mac()},
                                             {0, observer::dcmd::add, c.prober_mac()}};
        c.expect_no_error(c.a().ask(mask_request(observer::mcmd::edit, keep)));
        c.after(
            [&c,
             before =
                 *before.reply] {  // what stands there now and did not before goes; ourselves last
              const auto old = observer::mask_list(before).value_or(std::vector<Directive>{});
              for (int round = 0; round < 4; ++round) {
                const Bytes ask = c.a().send(mask_request(observer::mcmd::read));
                const auto now =
                    c.a().await_tag(static_cast<uint32_t>(value_of(ask, F::tag)), c.patience_ns());
                std::vector<Directive> edits;
                for (const Directive& d :
                     now ? observer::mask_list(now->bytes).value_or(std::vector<Directive>{})
                         : std::vector<Directive>{}) {
                  const bool was = std::any_of(old.begin(), old.end(),
                                               [&](const Directive& o) { return o.mac == d.mac; });
                  if (!was && d.mac != c.a().mac() && edits.size() < 100) {
                    edits.push_back({0, observer::dcmd::del, d.mac});
                  }
                }
                if (edits.size() < 100) {
                  edits.push_back({0, observer::dcmd::del, c.a().mac()});
                }
                c.a().send(mask_request(observer::mcmd::edit, edits));
                c.a().collect(1, c.patience_ns());
                if (edits.size() < 100) {
                  return;
                }
              }
            });
        for (const unsigned claimed : {3U, 40U, 180U, 255U}) {
          send_addresses(c, c.b(), at::mask_list, observer::kMaskEntryBytes);
          Frame f = mask_request(observer::mcmd::edit, {{0, observer::dcmd::nothing, c.a().mac()}})
                        .set(F::mask_count, claimed);
          const Exchange x = c.a().ask_once(f.unpadded());
          const Exchange now = c.a().ask(mask_request(observer::mcmd::read));
          c.expect_no_error(now);
          for (const Exchange* e : {&x, &now}) {
            for (const Directive& d :
                 e->answered() ? observer::mask_list(*e->reply).value_or(std::vector<Directive>{})
                               : std::vector<Directive>{}) {
              c.expect(!is_strange(d.mac), *e, "no address that only another host's frame held",
                       observer::to_string(d.mac));
            }
          }
        }
      },
      {Need::lockout, Need::unknown}));
  r.add(stale_request("leak-reserve-beyond-frame",
                      "takes addresses from behind the end of the frame", [](const Bytes& q) {
                        return is_reserve(q) && value_of(q, F::reserve_rcmd) != observer::rcmd::read
                                   ? at::reserve_list + value_of(q, F::reserve_count) *
                                                            observer::kReserveEntryBytes
                                   : 0;
                      }));
  r.add(leak_case(
      "leak.reserve.set-beyond-the-frame",
      "Addresses that another host's frame left behind do not get onto the reserve list",
      {"LEAK-LIST"}, {"leak-reserve-beyond-frame"},
      [](Context& c) {
        const Exchange before = c.a().ask(reserve_request(observer::rcmd::read));
        c.unsupported_if_refused(before, true);
        c.after([&c, list = observer::reserve_list(*before.reply).value_or(Macs{})] {
          c.a().send(reserve_request(observer::rcmd::force_set, list));
          c.a().collect(1, c.patience_ns());
        });
        for (const unsigned claimed : {3U, 40U, 200U, 255U}) {
          send_addresses(c, c.b(), at::reserve_list, observer::kReserveEntryBytes);
          Frame f = reserve_request(observer::rcmd::force_set, {c.a().mac()})
                        .set(F::reserve_count, claimed);
          const Exchange x = c.a().ask_once(f.unpadded());
          const Exchange now = c.a().ask(reserve_request(observer::rcmd::read));
          c.expect_no_error(now);
          for (const Exchange* e : {&x, &now}) {
            for (const Mac& mac :
                 e->answered() ? observer::reserve_list(*e->reply).value_or(Macs{}) : Macs{}) {
              c.expect(!is_strange(mac), *e, "no address that only another host's frame held",
                       observer::to_string(mac));
            }
          }
        }
      },
      {Need::lockout, Need::unknown}));
  r.add(remembers("leak-rest-of-longer-reserve-list",
                  "sends the rest of a longer list behind a shorter one", [] {
                    return Middleware([longest = Macs()](const Bytes& q, ModelTarget& m,
                                                         const Forward& f) mutable {
                      Answers answers = f(q);
                      if (is_reserve(q) && !answers.empty()) {
                        for (size_t i = m.reserved.size(); i < longest.size(); ++i) {
                          answers[0].bytes.insert(answers[0].bytes.end(), longest[i].begin(),
                                                  longest[i].end());
                        }
                        longest = m.reserved.size() > longest.size() ? m.reserved : longest;
                      }
                      return answers;
                    });
                  }));
  r.add(leak_case("leak.reserve.rest-of-a-longer-list",
                  "Nothing of a longer reserve list stands behind a shorter one",
                  {"LEAK-LIST", "LEAK-PADDING"}, {"leak-rest-of-longer-reserve-list"},
                  [](Context& c) {
                    const Exchange before = c.a().ask(reserve_request(observer::rcmd::read));
                    c.unsupported_if_refused(before, true);
                    c.after([&c, list = observer::reserve_list(*before.reply).value_or(Macs{})] {
                      c.a().send(reserve_request(observer::rcmd::force_set, list));
                      c.a().collect(1, c.patience_ns());
                    });
                    Macs list = {c.b().mac()};
                    for (uint8_t i = 0; i < 20; ++i) {
                      list.push_back({0x02, 0xfa, 0xce, 0x0d, 0, i});
                    }
                    c.expect_no_error(c.b().ask(reserve_request(observer::rcmd::force_set, list)));
                    c.expect_no_error(c.b().ask(reserve_request(observer::rcmd::force_set)));
                    for (const bool bare : {false, true}) {
                      Frame f = reserve_request(observer::rcmd::read);
                      const Exchange x = c.a().ask(bare ? f.unpadded() : f);
                      c.expect_field(x, F::reserve_count, 0);
                      c.expect_clean_padding(x);
                    }
                  },
                  {Need::lockout}));
}

void register_disk(Registry& r) {
  r.add(stale_request("leak-short-write-completed",
                      "completes a short write with what stood in the buffer", [](const Bytes& q) {
                        return is_write_request(q)
                                   ? at::ata_data + value_of(q, F::ata_count) * kSectorBytes
                                   : 0;
                      }));
  r.add(leak_case(
      "leak.write.short-payload", "A short write does not put another host's bytes on the disk",
      {"LEAK-WRITE"}, {"leak-short-write-completed"},
      [](Context& c) {
        const uint8_t n = c.sectors_max();
        const uint64_t lba = scratch_lba(c, uint64_t{2} * n) + n;  // behind what planting writes
        const Bytes there = sector_pattern(700, n);
        put_sectors(c, c.a(), lba, there);
        for (const size_t carried : {size_t{0}, size_t{16}, size_t{511}, kSectorBytes}) {
          const auto count = static_cast<uint8_t>(carried == kSectorBytes ? n : 1);
          if (count * kSectorBytes <= carried) {
            continue;
          }
          c.plant(c.b());
          Frame f = observer::write_request(lba, sector_pattern(701, count));
          f.cut(at::ata_data + carried);
          expect_clean(c, c.a().ask(f));
          expect_on_disk(c, c.a(), lba, there,
                         fmt::format("after a write that carried {} bytes", carried));
        }
      },
      {Need::write}));
  r.add(remembers(
      "leak-read-of-another-host",
      "gives a host what the host before it has read, when the sector is the same distance away",
      [] {
        return Middleware(
            [memory = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
              Answers answers = f(q);
              if (is_read_request(q) && !answers.empty() &&
                  answers[0].bytes.size() > at::ata_data + kSectorBytes) {
                Bytes& reply = answers[0].bytes;
                if (memory.size() == reply.size() &&
                    !std::equal(reply.begin(), reply.begin() + 6, memory.begin())) {
                  std::copy(memory.end() - 16, memory.end(), reply.end() - 16);
                }
                memory = reply;
              }
              return answers;
            });
      }));
  r.add(leak_case(
      "leak.read.sectors-never-written-by-others",
      "A read brings its own sectors to the last byte, after another host's read of others",
      {"LEAK-READ"}, {"leak-read-of-another-host"},
      [](Context& c) {
        const uint8_t n = c.sectors_max();
        const uint64_t lba = scratch_lba(c, uint64_t{2} * n) + n;
        const Bytes mine = sector_pattern(710, n);
        put_sectors(c, c.a(), lba, mine);
        for (int i = 0; i < 3; ++i) {
          c.plant(c.b());  // writes and reads as many sectors before ours
          const Exchange x = c.a().ask(read_request(lba, n));
          c.expect_good_ata(x);
          c.expect_data(x, mine);
          c.expect_not_planted(x);
        }
      },
      {Need::write}));
  r.add(stale("leak-identify-brings-buffer", "leaves words of identify as the buffer was",
              [](const Bytes& q, const Bytes& memory, Answers& answers) {
                if (is_ata_request(q) && ata_code(q) == ata::identify && memory.size() >= 600 &&
                    answers[0].bytes.size() >= at::ata_data + kSectorBytes) {
                  std::copy_n(memory.begin() + 400, 40, answers[0].bytes.begin() + 400);
                }
              }));
  r.add(leak_case(
      "leak.identify",
      "Identify's words and texts are the target's own, not what another host's frames left behind",
      {"LEAK-READ"}, {"leak-identify-brings-buffer"}, [](Context& c) {
        for (const Frame& f : {identify_request(), identify_request().unpadded(),
                               identify_request().set(F::ata_flag_extended, 1)}) {
          c.plant(c.b());
          const Exchange x = c.a().ask(f);
          c.expect_good_ata(x);
          expect_clean(c, x);
        }
      }));
  r.add(remembers(
      "leak-long-after-short", "sends a short reply with the length of the long one before it", [] {
        return Middleware(
            [memory = Bytes()](const Bytes& q, ModelTarget&, const Forward& f) mutable {
              Answers answers = f(q);
              if (!answers.empty()) {
                Bytes& reply = answers[0].bytes;
                if (is_config(q) && memory.size() > reply.size()) {
                  reply.insert(reply.end(), memory.begin() + static_cast<ptrdiff_t>(reply.size()),
                               memory.end());
                }
                memory = reply;
              }
              return answers;
            });
      }));
  r.add(leak_case("leak.reply.short-after-long",
                  "A short reply right behind another host's long one carries nothing of it",
                  {"LEAK-PADDING", "LEAK-READ"}, {"leak-long-after-short"},
                  [](Context& c) {
                    const std::vector<Frame> shorts = {config_request(observer::ccmd::read),
                                                       read_request(c.target().sectors, 1),
                                                       header_only(0x77),
                                                       mask_request(observer::mcmd::read),
                                                       reserve_request(observer::rcmd::read),
                                                       read_request(0, 0)};
                    const uint64_t lba = scratch_lba(c, 1);
                    c.plant(c.b());
                    for (const Frame& f : shorts) {
                      if (!c.may_send(f)) {
                        continue;
                      }
                      c.b().ask(read_request(lba, c.sectors_max()));
                      expect_clean(c, c.a().ask(f));
                      // Without a moment between them.
                      c.b().send(read_request(lba, c.sectors_max()));
                      expect_clean(c, c.a().ask(f));
                      c.b().collect(1, c.grace_ns());
                    }
                  },
                  {Need::write}));
}

}  // namespace

void register_leak(Registry& r) {
  register_padding(r);
  register_errors(r);
  register_strings(r);
  register_lists(r);
  register_disk(r);
}

}  // namespace conformance
