#pragma once
// What the families of AoEde's extensions share: asking for features and reading the answer, an
// initiator that keeps the promise of tag_inc_*, sectors that tell themselves apart, and how
// deviants get at tables and sessions. Names no clause and gives no verdict on its own but through
// the Context's verifiers.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "conformance/cases/registry.h"

namespace conformance::negotiation {

using observer::Order;
using Strings = std::vector<std::string>;

inline std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') {
      c = static_cast<char>(c - 'a' + 'A');
    }
  }
  return text;
}

inline std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return text;
}

inline std::string joined(const Strings& strings) {
  std::string out;
  for (const std::string& s : strings) {
    out += (out.empty() ? "" : " ") + observer::quoted(s, 40);
  }
  return out.empty() ? "(no strings)" : out;
}

inline bool offers(const Context& t, const std::string& name) {
  const Strings& active = t.target().active_extensions;
  return std::find(active.begin(), active.end(), name) != active.end();
}

inline Frame table(const Context& t, const Strings& strings) {
  return observer::extension_request(strings, t.target().ext_order);
}

// The strings of a reply; fails the case when it is not a table in the byte order that was asked
// in.
inline Strings strings_of(Context& t, const Exchange& x, Order order) {
  t.expect_no_error(x);
  const auto reply = observer::ext_table(*x.reply, order);
  t.expect(reply.has_value(), x,
           fmt::format("a table in the byte order of the request ({}-endian), ended by two NULs",
                       order == Order::little ? "little" : "big"),
           "none", {F::ext_length});
  return reply->strings;
}

inline Strings strings_of(Context& t, const Exchange& x) {
  return strings_of(t, x, t.target().ext_order);
}

// The reply is the request's table, of the same length, with just these strings.
inline void expect_table(Context& t, const Exchange& x, const Strings& wanted, Order order) {
  const Strings got = strings_of(t, x, order);
  const size_t length = order == Order::little
                            ? observer::load_le(x.request, observer::at::argument, 2)
                            : observer::load_be(x.request, observer::at::argument, 2);
  const size_t replied = order == Order::little
                             ? observer::load_le(*x.reply, observer::at::argument, 2)
                             : observer::load_be(*x.reply, observer::at::argument, 2);
  t.expect(replied == length, x, fmt::format("the table keeps its length, {} bytes", length),
           fmt::format("{} bytes", replied), {F::ext_length});
  t.expect(got == wanted, x, "the table comes back as " + joined(wanted), joined(got),
           {observer::Mark(observer::at::ext_table, length)});
}

inline void expect_table(Context& t, const Exchange& x, const Strings& wanted) {
  expect_table(t, x, wanted, t.target().ext_order);
}

// Asks for features and expects each of them active.
inline void negotiate(Context& t, Initiator& who, const Strings& names) {
  Strings wanted;
  for (const std::string& name : names) {
    wanted.push_back(upper(name));
  }
  expect_table(t, who.ask(table(t, names)), wanted);
}

// How many replies a read of sector 0 with one further read of sector 0 brings: 2 when
// coalesced_read is active for the asker, 1 when it is not and byte 36 is padding.
inline size_t replies_to_coalesced(Context& t, Initiator& who) {
  Frame read = observer::read_request(0, 1);
  const uint32_t tags[2] = {who.next_tag(), who.next_tag()};
  read.set(F::tag, tags[0]);
  observer::add_coalesced(read, {{tags[1], 0, 1}});
  who.collect(SIZE_MAX, 0);
  who.send(read);
  size_t got = who.collect(1, t.patience_ns()).size();
  if (got == 0) {
    who.send(read);
    got = who.collect(1, t.patience_ns()).size();
  }
  if (got == 0) {
    t.fail("a read was not answered", "one reply, or two", "silence");
  }
  t.barrier();
  return got + who.collect(1, t.grace_ns()).size();
}

inline void expect_coalescing(Context& t, Initiator& who, bool wanted, const std::string& story) {
  const size_t replies = replies_to_coalesced(t, who);
  t.expect((replies == 2) == wanted,
           fmt::format("{}: a read with one further read brings {}", story,
                       wanted ? "two replies" : "one reply, for byte 36 is padding"),
           fmt::format("{} replies", replies));
}

inline uint64_t scratch_sector(const Context& t, uint64_t index) {
  if (index >= t.scratch().count) {
    throw CaseEnd(Verdict::skip, fmt::format("needs a scratch range of {} sectors, has {}",
                                             index + 1, t.scratch().count));
  }
  return t.scratch().lba + index;
}

// A sector full of a text that nothing else writes.
inline Bytes sector_of(const std::string& text, size_t sectors = 1) {
  Bytes data;
  const std::string piece = "<" + text + ">";
  while (data.size() < sectors * observer::kSectorBytes) {
    data.insert(data.end(), piece.begin(), piece.end());
  }
  data.resize(sectors * observer::kSectorBytes);
  return data;
}

enum class Inc { le, be };
inline const char* feature(Inc inc) {
  return inc == Inc::le ? "tag_inc_le" : "tag_inc_be";
}

// An initiator that keeps the promise of tag_inc_*: each new request carries the next value of its
// counter.
class Counter {
 public:
  Counter(Context& t, Initiator& who, Inc inc, uint32_t first = 0x1000)
      : t_(t), who_(who), inc_(inc), next_(first) {}

  Initiator& who() { return who_; }
  uint32_t next() const { return next_; }
  uint32_t take() { return next_++; }
  void jump(uint32_t to) { next_ = to; }
  // The value as the tag field, which is read big-endian, has to hold it.
  uint32_t wire(uint32_t value) const { return inc_ == Inc::be ? value : __builtin_bswap32(value); }

  // A fresh window, with an optional reset before it.
  void negotiate(bool reset = true) {
    Strings names = {feature(inc_)};
    if (reset) {
      names.insert(names.begin(), "reset");
    }
    Strings wanted;
    for (const std::string& name : names) {
      wanted.push_back(upper(name));
    }
    expect_table(t_, who_.ask(stamp(table(t_, names), take())), wanted);
  }

  Frame stamp(Frame frame, uint32_t value) const {
    frame.set(F::tag, wire(value));
    return frame;
  }

  // A write under the given value of the counter, new or old.
  Exchange write(uint64_t lba, BytesView data, uint32_t value) {
    return who_.ask(stamp(observer::write_request(lba, data), value));
  }
  Exchange write_once(uint64_t lba, BytesView data, uint32_t value) {
    return who_.ask_once(stamp(observer::write_request(lba, data), value));
  }
  // A new write; returns its value.
  uint32_t write_new(uint64_t lba, BytesView data) {
    const uint32_t value = take();
    t_.expect_good_ata(write(lba, data, value));
    return value;
  }
  Exchange read(uint64_t lba, uint8_t count = 1) {
    return who_.ask(stamp(observer::read_request(lba, count), take()));
  }

  // What the sector holds, by a read with the next value.
  void expect_disk(uint64_t lba, BytesView data, const std::string& headline) {
    const Exchange x = read(lba);
    t_.expect_good_ata(x);
    const Bytes got = x.data();
    if (!std::equal(got.begin(), got.end(), data.begin(), data.end())) {
      t_.fail(headline, fmt::format("sector {} holds {}", lba, observer::quoted(data, 24)),
              observer::quoted(got, 24), &x,
              {observer::Mark(observer::at::ata_data, observer::kSectorBytes)});
    }
  }

  // `count` new writes of one sector each, over `sectors` sectors from `lba` on, as many
  // outstanding as the target can hold. What is lost is sent again under its tag: that is what the
  // window is for.
  void write_many(uint32_t count, uint64_t lba, uint64_t sectors) {
    const uint64_t buffers = t_.target().buffer_count;
    const auto outstanding = static_cast<uint32_t>(std::clamp<uint64_t>(buffers / 2, 1, 64));
    const Bytes data = sector_of("newer");
    constexpr int rounds_max = 8;
    while (count > 0) {
      std::map<uint32_t, Bytes> pending;
      for (uint32_t i = 0; i < std::min(outstanding, count); ++i) {
        const uint32_t value = take();
        Bytes bytes =
            who_.stamp(stamp(observer::write_request(lba + value % sectors, data), value));
        pending.emplace(wire(value), std::move(bytes));
      }
      count -= static_cast<uint32_t>(pending.size());
      for (int round = 0; !pending.empty(); ++round) {
        if (round == rounds_max) {
          t_.inconclusive(fmt::format("{} of {} writes were not answered, each sent {} times",
                                      pending.size(), outstanding, rounds_max));
        }
        for (const auto& [tag, bytes] : pending) {
          who_.send_bytes(bytes);
        }
        for (const auto& reply : who_.collect(pending.size(), t_.patience_ns())) {
          pending.erase(static_cast<uint32_t>(observer::get(reply.bytes, F::tag).value_or(0)));
        }
      }
    }
  }

 private:
  Context& t_;
  Initiator& who_;
  Inc inc_;
  uint32_t next_;
};

// --- For deviants. ---

using deviants::Answer;
using deviants::Answers;
using deviants::Deviant;
using deviants::Forward;
using deviants::ModelTarget;
using deviants::Session;

inline Mac source_of(const Bytes& frame) {
  Mac mac{};
  std::copy_n(frame.begin() + 6, mac.size(), mac.begin());
  return mac;
}

inline bool is_command(const Bytes& frame, uint8_t command) {
  return observer::is_aoe(frame) && observer::get(frame, F::command) == command;
}

inline bool is_table(const Bytes& frame) {
  return is_command(frame, observer::command::extension);
}

inline bool is_write(const Bytes& frame) {
  return is_command(frame, observer::command::ata) && frame.size() >= observer::at::ata_data &&
         observer::is_ata_write(static_cast<uint8_t>(*observer::get(frame, F::ata_command)));
}

inline bool is_read(const Bytes& frame) {
  return is_command(frame, observer::command::ata) && frame.size() >= observer::at::ata_data &&
         observer::is_ata_read(static_cast<uint8_t>(*observer::get(frame, F::ata_command)));
}

inline bool names(const Bytes& frame, const std::string& feature) {
  const auto asked = is_table(frame) ? observer::ext_table(frame) : std::nullopt;
  return asked && std::any_of(asked->strings.begin(), asked->strings.end(),
                              [&](const std::string& s) { return lower(s) == feature; });
}

// The table of a frame, changed; its length follows.
inline void edit_table(Bytes& frame, const std::function<void(Strings&)>& edit) {
  const auto now = is_table(frame) ? observer::ext_table(frame) : std::nullopt;
  if (!now) {
    return;
  }
  Strings strings = now->strings;
  edit(strings);
  const Frame rebuilt = observer::extension_request(strings, now->order);
  frame.resize(observer::at::argument);
  frame.insert(frame.end(), rebuilt.bytes().begin() + observer::at::argument,
               rebuilt.bytes().end());
}

// A deviant that changes the strings of the replies.
inline Deviant edits_table(std::string name, std::string story,
                           std::function<void(Strings&)> edit) {
  return deviants::edits_reply(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes&, Bytes& reply) { edit_table(reply, edit); });
}

// A deviant that does something to the sender's session, or to the whole model, once a frame was
// served.
inline Deviant afterwards(std::string name, std::string story,
                          std::function<void(const Bytes&, ModelTarget&, Session&)> spoil) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [spoil = std::move(spoil)](const Bytes& request, ModelTarget& model, const Forward& forward) {
        Answers answers = forward(request);
        if (request.size() >= observer::at::argument) {
          spoil(request, model, model.sessions[source_of(request)]);
        }
        return answers;
      });
}

// ... before it is served.
inline Deviant beforehand(std::string name, std::string story,
                          std::function<void(const Bytes&, ModelTarget&, Session&)> spoil) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [spoil = std::move(spoil)](const Bytes& request, ModelTarget& model, const Forward& forward) {
        if (request.size() >= observer::at::argument) {
          spoil(request, model, model.sessions[source_of(request)]);
        }
        return forward(request);
      });
}

}  // namespace conformance::negotiation
