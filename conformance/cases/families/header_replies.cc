// Family header: what makes a frame a reply at all, asked of each way in which a target builds one.
// Reads only.

#include <fmt/format.h>

#include <algorithm>

#include "conformance/cases/registry.h"

namespace conformance {

using observer::get;
using observer::set;

namespace {

constexpr uint8_t kUnknownCommand = 0x41;

struct Question {
  const char* name;
  Frame (*make)();
  bool optional;  // silence is a target's right
};

// The read is of sector 1: sector 0 is the barrier's, and a deviant leaves that alone.
const Question kQuestions[] = {
    {"identify", [] { return observer::identify_request(); }, false},
    {"read", [] { return observer::read_request(1, 1); }, false},
    {"config", [] { return observer::config_request(observer::ccmd::read); }, false},
    {"mask", [] { return observer::mask_request(observer::mcmd::read); }, true},
    {"reserve", [] { return observer::reserve_request(observer::rcmd::read); }, true},
    {"unknown-command", [] { return observer::header_only(kUnknownCommand); }, true},
};

// Whether a frame asks the same as the question.
bool is(const Question& q, BytesView frame) {
  const Frame made = q.make();
  const BytesView wanted = made.bytes();
  const bool ata = get(wanted, F::command) == observer::command::ata;
  return observer::is_aoe(frame) && get(frame, F::command) == get(wanted, F::command) &&
         (!ata || (get(frame, F::ata_command) == get(wanted, F::ata_command) &&
                   get(frame, F::ata_lba) == get(wanted, F::ata_lba)));
}

// What a reply needs so that its asker can take it for one.
struct Mark {
  const char* id;
  const char* title;
  const char* clause;
  const char* deviant;
  const char* story;
  void (*spoil)(Bytes& reply);
};

const Mark kMarks[] = {
    {"header.response.flag-set-by-", "carries the response flag", "HDR-RESPONSE",
     "replies-without-r", "leaves the response flag clear",
     [](Bytes& reply) { set(reply, F::flag_response, 0); }},
    {"header.destination.asker-by-", "goes to the asker's address", "HDR-DESTINATION",
     "replies-to-broadcast", "sends to the broadcast address",
     [](Bytes& reply) { std::fill_n(reply.begin(), 6, 0xff); }},
    {"header.reply.is-a-frame-by-", "is a frame with a header", "HDR-COMPLETE", "replies-of-zeros",
     "sends nothing but zeros", [](Bytes& reply) { std::fill(reply.begin(), reply.end(), 0); }},
};

}  // namespace

void register_header_replies(Registry& r) {
  for (const Mark& mark : kMarks) {
    r.add(deviants::edits_reply(mark.deviant, fmt::format("{} in all its replies", mark.story),
                                [&mark](const Bytes&, Bytes& reply) { mark.spoil(reply); }));
    for (const Question& q : kQuestions) {
      const std::string own = fmt::format("{}-to-{}", mark.deviant, q.name);
      r.add(deviants::edits_reply(own, fmt::format("{} in its reply to {}", mark.story, q.name),
                                  [&mark, &q](const Bytes& request, Bytes& reply) {
                                    if (is(q, request)) {
                                      mark.spoil(reply);
                                    }
                                  }));
      r.add({
          .id = std::string(mark.id) + q.name,
          .title = fmt::format("The reply to {} {}", q.name, mark.title),
          .clauses = {mark.clause},
          .needs = std::string_view(q.name) == "unknown-command" ? std::vector<Need>{Need::unknown}
                                                                 : std::vector<Need>{},
          .fails_on = {mark.deviant, own},
          .run =
              [&q](Context& t) {
                const Exchange x = t.a().ask(q.make());
                if (q.optional && seen::silence(x)) {
                  t.unsupported("the command is met with silence");
                }
                t.expect_answer(x);
              },
      });
    }
  }
}

}  // namespace conformance
