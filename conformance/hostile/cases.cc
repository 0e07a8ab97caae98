#include "conformance/hostile/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>

#include "conformance/observer/build.h"

namespace conformance::hostile {

using deviants::Answer;
using deviants::Answers;
using deviants::Forward;
using deviants::ModelTarget;
using observer::F;
using observer::get;
using observer::set;
namespace ata = observer::ata;
namespace at = observer::at;

namespace {

constexpr int64_t kMs = links::kNsPerMs;

bool is_ata(BytesView q) {
  return get(q, F::command) == observer::command::ata && q.size() >= at::ata_data;
}
uint8_t ata_command(BytesView q) {
  return static_cast<uint8_t>(*get(q, F::ata_command));
}
bool is_read_request(BytesView q) {
  return is_ata(q) && (ata_command(q) == ata::read || ata_command(q) == ata::read_ext);
}
bool is_write_request(BytesView q) {
  return is_ata(q) && (ata_command(q) == ata::write || ata_command(q) == ata::write_ext);
}
bool moves_data(BytesView q) {
  return is_read_request(q) || is_write_request(q);
}

// What is asked for, whatever the tag: a repetition is known by it.
using Asked = std::tuple<uint8_t, uint64_t>;
Asked asked(BytesView q) {
  return {ata_command(q), *get(q, F::ata_lba)};
}

// The first time that this is asked for, in this case.
class First {
 public:
  bool operator()(BytesView q) { return moves_data(q) && seen_.insert(asked(q)).second; }

 private:
  std::set<Asked> seen_;
};

// Each first answer is changed, and data in it is not what the disk holds: who takes it has it
// wrong.
deviants::Middleware first_answers(std::function<void(Bytes& reply)> change, bool spoil_data) {
  auto first = std::make_shared<First>();
  return [first, change = std::move(change), spoil_data](const Bytes& q, ModelTarget&,
                                                         const Forward& forward) {
    const bool is_first = (*first)(q);
    Answers answers = forward(q);
    for (Answer& a : answers) {
      if (!is_first) {
        continue;
      }
      if (spoil_data && is_read_request(q)) {
        std::fill(a.bytes.begin() + static_cast<ptrdiff_t>(std::min(a.bytes.size(), at::ata_data)),
                  a.bytes.end(), 0xbd);
      }
      change(a.bytes);
    }
    return answers;
  };
}

Bytes refusal(const Bytes& q, ModelTarget& model, uint8_t status, uint8_t error) {
  Bytes reply = model.reply_to(q, at::ata_data);
  std::copy(q.begin() + at::argument, q.begin() + at::ata_data, reply.begin() + at::argument);
  set(reply, F::ata_status, status);
  set(reply, F::ata_error, error);
  return reply;
}

size_t times_asked(const Seen& seen, const Asked& what) {
  size_t n = 0;
  for (const Heard* q : seen.ata()) {
    n += asked(q->bytes) == what ? 1 : 0;
  }
  return n;
}

void asks_again(Seen& seen) {
  std::set<Asked> lost;
  for (const Heard* q : seen.ata()) {
    if (moves_data(q->bytes) && lost.insert(asked(q->bytes)).second &&
        times_asked(seen, asked(q->bytes)) == 1 && seen.ended.started && !seen.ended.good) {
      seen.say(Verdict::fail, "INIT-REPEAT", "a request without an answer is not repeated",
               "the same command for the same sectors once more",
               fmt::format("LBA {} was asked for once", std::get<1>(asked(q->bytes))), q);
      return;
    }
  }
}

std::vector<InitiatorCase> make() {
  using Work = InitiatorCase::Work;
  std::vector<InitiatorCase> out;

  out.push_back({"silence.is-asked-again", "A request that meets silence is repeated",
                 "INIT-REPEAT",
                 [](Player& p) {
                   auto first = std::make_shared<First>();
                   p.misbehave([first](const Bytes& q, ModelTarget&, const Forward& forward) {
                     return (*first)(q) ? Answers{} : forward(q);
                   });
                 },
                 asks_again, Work::done});

  out.push_back(
      {"silence.is-not-hammered", "A target that is silent for two seconds is asked less and less",
       "INIT-BACKOFF",
       [](Player& p) {
         auto since = std::make_shared<int64_t>(-1);
         auto* link = &p.link();
         p.misbehave([since, link](const Bytes& q, ModelTarget&, const Forward& forward) {
           if (!moves_data(q)) {
             return forward(q);
           }
           *since = *since < 0 ? link->now_ns() : *since;
           return link->now_ns() - *since < 2'000 * kMs ? Answers{} : forward(q);
         });
       },
       [](Seen& seen) {
         constexpr size_t most = 40;
         const auto all = seen.ata();
         const auto first = std::find_if(all.begin(), all.end(),
                                         [](const Heard* q) { return moves_data(q->bytes); });
         if (first == all.end()) {
           return;
         }
         size_t times = 0;
         for (const Heard* q : all) {
           times +=
               asked(q->bytes) == asked((*first)->bytes) && q->at_ns - (*first)->at_ns < 2'000 * kMs
                   ? 1
                   : 0;
         }
         if (times > most) {
           seen.say(Verdict::warn, "INIT-BACKOFF", "one request is repeated without a pause",
                    fmt::format("at most {} times in two seconds of silence", most),
                    fmt::format("{} times", times), *first);
         }
         seen.remark = fmt::format("the first request went out {} times in two seconds", times);
       },
       Work::done});

  out.push_back({"reply.late",
                 "Answers that come 700 ms late, after a repetition perhaps, do no harm",
                 "INIT-DATA",
                 [](Player& p) {
                   auto first = std::make_shared<First>();
                   p.misbehave([first](const Bytes& q, ModelTarget&, const Forward& forward) {
                     const bool late = (*first)(q);
                     Answers answers = forward(q);
                     for (Answer& a : answers) {
                       a.delay_ns += late ? 700 * kMs : 0;
                     }
                     return answers;
                   });
                 },
                 nullptr, Work::done});

  out.push_back({"reply.doubled", "Every answer twice does no harm", "INIT-DATA",
                 [](Player& p) {
                   p.misbehave([](const Bytes& q, ModelTarget&, const Forward& forward) {
                     Answers answers = forward(q);
                     const size_t n = answers.size();
                     for (size_t i = 0; i < n; ++i) {
                       answers.push_back({answers[i].bytes, answers[i].delay_ns + kMs / 20});
                     }
                     return answers;
                   });
                 },
                 nullptr, Work::done});

  out.push_back({"reply.of-an-older-read",
                 "A copy of an older answer is not taken for the one that is awaited", "INIT-TAG",
                 [](Player& p) {
                   auto older = std::make_shared<Bytes>();
                   p.misbehave([older](const Bytes& q, ModelTarget&, const Forward& forward) {
                     Answers answers = forward(q);
                     if (!is_read_request(q) || answers.empty()) {
                       return answers;
                     }
                     const Bytes now = answers.front().bytes;
                     if (!older->empty()) {
                       for (Answer& a : answers) {
                         a.delay_ns += kMs;
                       }
                       answers.insert(answers.begin(), {*older, 0});
                     }
                     *older = now;
                     return answers;
                   });
                 },
                 nullptr, Work::done});

  out.push_back({"reply.under-another-tag", "An answer under a tag that nobody used is not taken",
                 "INIT-TAG",
                 [](Player& p) {
                   p.misbehave(first_answers(
                       [](Bytes& r) { set(r, F::tag, *get(r, F::tag) ^ 0x5a5a5a5aU); }, true));
                 },
                 nullptr, Work::done});

  out.push_back(
      {"reply.from-another-slot", "An answer of another shelf and slot is not taken",
       "INIT-ADDRESS",
       [](Player& p) {
         p.misbehave(first_answers([](Bytes& r) { set(r, F::slot, *get(r, F::slot) ^ 1U); }, true));
       },
       nullptr, Work::done});

  out.push_back({"reply.without-the-flag", "A frame without the response flag is no answer",
                 "INIT-RESPONSE",
                 [](Player& p) {
                   p.misbehave(first_answers([](Bytes& r) { set(r, F::flag_response, 0); }, true));
                 },
                 nullptr, Work::done});

  out.push_back({"data.short", "Less data than was asked for is not taken for all of it",
                 "INIT-DATA",
                 [](Player& p) {
                   auto first = std::make_shared<First>();
                   p.misbehave([first](const Bytes& q, ModelTarget&, const Forward& forward) {
                     const bool cut = (*first)(q) && is_read_request(q);
                     Answers answers = forward(q);
                     for (Answer& a : answers) {
                       if (cut) {
                         a.bytes.resize(std::min<size_t>(a.bytes.size(), at::ata_data + 200));
                       }
                     }
                     return answers;
                   });
                 },
                 nullptr, Work::either});

  out.push_back({"error.uncorrectable", "A read that fails on the disk is told as failed",
                 "INIT-ERROR",
                 [](Player& p) {
                   p.misbehave([](const Bytes& q, ModelTarget& model, const Forward& forward) {
                     const bool bad = is_read_request(q) && *get(q, F::ata_lba) >= kJobLba &&
                                      *get(q, F::ata_lba) < kJobLba + kJobSectors;
                     return bad ? Answers{{refusal(q, model, ata::status_drdy | ata::status_err,
                                                   ata::error_unc),
                                           0}}
                                : forward(q);
                   });
                 },
                 nullptr, Work::refused});

  out.push_back(
      {"error.write-fails", "A write that fails is told as failed", "INIT-ERROR",
       [](Player& p) {
         p.misbehave([](const Bytes& q, ModelTarget& model, const Forward& forward) {
           return is_write_request(q)
                      ? Answers{{refusal(q, model,
                                         ata::status_drdy | ata::status_df | ata::status_err,
                                         ata::error_abrt),
                                 0}}
                      : forward(q);
         });
       },
       nullptr, Work::refused});

  out.push_back(
      {"error.aoe", "An AoE error in answer to each request at first is no success", "INIT-ERROR",
       [](Player& p) {
         auto first = std::make_shared<First>();
         p.misbehave([first](const Bytes& q, ModelTarget& model, const Forward& forward) {
           return (*first)(q) ? Answers{{model.error_reply(q, observer::aoe_error::unavailable,
                                                           at::ata_data),
                                         0}}
                              : forward(q);
         });
       },
       nullptr, Work::either});

  out.push_back(
      {"limit.buffer-count", "No more requests are outstanding than the target has buffers",
       "INIT-BUFFERS", [](Player& p) { p.model().config.buffer_count = 2; },
       [](Seen& seen) {
         // An answer takes 20 ms here, so what came within it was outstanding together.
         const auto all = seen.ata();
         size_t most = 0;
         for (size_t i = 0; i < all.size(); ++i) {
           std::set<Asked> together;
           for (size_t j = i; j < all.size() && all[j]->at_ns - all[i]->at_ns < 15 * kMs; ++j) {
             if (moves_data(all[j]->bytes)) {
               together.insert(asked(all[j]->bytes));
             }
           }
           most = std::max(most, together.size());
         }
         if (most > 2) {
           seen.say(Verdict::warn, "INIT-BUFFERS", "more requests are outstanding than buffers",
                    "at most 2, as query config says", fmt::format("{}", most));
         }
         seen.remark = fmt::format("at most {} outstanding", most);
       },
       Work::done});
  out.back().play = [](Player& p) {
    p.model().config.buffer_count = 2;
    p.misbehave([](const Bytes& q, ModelTarget&, const Forward& forward) {
      Answers answers = forward(q);
      for (Answer& a : answers) {
        a.delay_ns += moves_data(q) ? 20 * kMs : 0;
      }
      return answers;
    });
  };

  out.push_back({"limit.sector-count", "No request is for more sectors than query config allows",
                 "INIT-SECTORS",
                 [](Player& p) {
                   p.misbehave([](const Bytes& q, ModelTarget&, const Forward& forward) {
                     Answers answers = forward(q);
                     for (Answer& a : answers) {
                       if (get(a.bytes, F::command) == observer::command::config) {
                         set(a.bytes, F::cfg_sector_count, 1);
                       }
                     }
                     return answers;
                   });
                 },
                 [](Seen& seen) {
                   for (const Heard* q : seen.ata()) {
                     if (moves_data(q->bytes) && *get(q->bytes, F::ata_count) > 1) {
                       seen.say(Verdict::fail, "INIT-SECTORS",
                                "a request is for more sectors than allowed",
                                "1 sector, as query config says",
                                fmt::format("{} sectors", *get(q->bytes, F::ata_count)), q);
                       return;
                     }
                   }
                 },
                 Work::done});

  out.push_back({"restart.in-the-middle",
                 "A target that is gone for half a second and announces itself is gone on with",
                 "INIT-RESTART",
                 [](Player& p) {
                   struct State {
                     unsigned asked = 0;
                     int64_t back_at_ns = -1;
                   };
                   auto state = std::make_shared<State>();
                   auto* player = &p;
                   p.misbehave(
                       [state, player](const Bytes& q, ModelTarget& model, const Forward& forward) {
                         const int64_t now_ns = player->link().now_ns();
                         state->asked += moves_data(q) ? 1 : 0;
                         if (state->asked == 4 && state->back_at_ns < 0) {
                           state->back_at_ns = now_ns + 500 * kMs;
                           model.restart();
                           player->send_at(state->back_at_ns, model.announcement());
                         }
                         return now_ns < state->back_at_ns ? Answers{} : forward(q);
                       });
                 },
                 nullptr, Work::done});

  out.push_back(
      {"extensions.in-lower-case", "What comes back in lower case is not used", "INIT-EXTENSIONS",
       [](Player& p) {
         p.misbehave([](const Bytes& q, ModelTarget&, const Forward& forward) {
           Answers answers = forward(q);
           if (get(q, F::command) == observer::command::extension) {
             for (Answer& a : answers) {  // the table as it was asked
               std::copy(q.begin() + at::ext_table,
                         q.begin() + static_cast<ptrdiff_t>(std::min(q.size(), a.bytes.size())),
                         a.bytes.begin() + at::ext_table);
             }
           }
           return answers;
         });
       },
       [](Seen& seen) {
         bool asked_for = false;
         for (const Heard& q : seen.player.heard()) {
           asked_for = asked_for || get(q.bytes, F::command) == observer::command::extension;
         }
         if (!asked_for) {
           seen.unsupported = true;
           seen.remark = "it asks for no extensions";
           return;
         }
         for (const Heard* q : seen.ata()) {
           if (is_read_request(q->bytes) && q->bytes.size() > at::coalesced + 16 &&
               q->bytes[at::coalesced] != 0) {
             seen.say(Verdict::fail, "INIT-EXTENSIONS", "coalesced reads without the extension",
                      "zeros behind the 36 bytes of a read",
                      fmt::format("{} further reads", q->bytes[at::coalesced]), q);
             return;
           }
         }
       },
       Work::done});

  out.push_back({"disk.smaller", "A disk that ends before the sectors that are wanted",
                 "INIT-CAPACITY", [](Player& p) { p.model().config.sectors = kJobLba + 8; },
                 [](Seen& seen) {
                   for (const Heard* q : seen.ata()) {
                     const uint64_t lba = moves_data(q->bytes) ? *get(q->bytes, F::ata_lba) : 0;
                     if (lba >= kJobLba + 8) {
                       seen.say(Verdict::warn, "INIT-CAPACITY", "it asks past the end of the disk",
                                fmt::format("LBAs below {}, as identify says", kJobLba + 8),
                                fmt::format("LBA {}", lba), q);
                       return;
                     }
                   }
                 },
                 Work::refused});
  return out;
}

}  // namespace

void Seen::say(Verdict verdict, const std::string& clause, const std::string& headline,
               const std::string& expected, const std::string& got, const Heard* frame) {
  Finding f;
  f.verdict = verdict;
  f.clause = clause;
  f.headline = headline;
  f.expected = expected;
  f.got = got;
  if (frame != nullptr) {
    f.frames.push_back({FrameRole::request, frame->bytes, {}, frame->at_ns, 0});
  }
  findings.push_back(std::move(f));
}

std::vector<const Heard*> Seen::ata() const {
  std::vector<const Heard*> out;
  for (const Heard& q : player.heard()) {
    if (is_ata(q.bytes)) {
      out.push_back(&q);
    }
  }
  return out;
}

const std::vector<InitiatorCase>& initiator_cases() {
  static const std::vector<InitiatorCase> cases = make();
  return cases;
}

void judge_work(const InitiatorCase& c, Seen& seen) {
  const Ended& e = seen.ended;
  if (!e.started) {
    return;
  }
  if (e.good && !(e.disk_is_right && e.read_is_right)) {
    seen.say(Verdict::fail, "INIT-DATA", "work is said to be done, and is not",
             "what was to be written stands on the disk, and was read back",
             !e.disk_is_right ? "the disk holds something else"
                              : "something else was read than the disk holds");
    return;
  }
  switch (c.work) {
    case InitiatorCase::Work::done:
      if (!e.good) {
        seen.say(Verdict::fail, c.clause, "the work was not done", "an initiator that gets over it",
                 e.in_time ? e.how : "no end in time");
      }
      break;
    case InitiatorCase::Work::refused:
      if (e.good) {
        seen.say(Verdict::fail, c.clause, "a failure is told as success",
                 "an exit code that is not 0", "exit code 0");
      } else if (!e.in_time) {
        seen.say(Verdict::warn, c.clause, "a failure is not told in time", "an end with an error",
                 "no end in time");
      }
      break;
    case InitiatorCase::Work::either:
      if (!e.in_time) {
        seen.say(Verdict::warn, c.clause, "neither done nor given up", "an end", "no end in time");
      }
      break;
  }
}

void judge_form(Seen& seen) {
  std::set<std::string> said;
  const auto once = [&](const char* clause, const std::string& headline,
                        const std::string& expected, const std::string& got, const Heard& q) {
    if (said.insert(headline).second) {
      seen.say(Verdict::fail, clause, headline, expected, got, &q);
    }
  };
  const auto& config = seen.player.model().config;
  for (const Heard& q : seen.player.heard()) {
    const Bytes& b = q.bytes;
    if (get(b, F::version) != 1U) {
      once("INIT-FORM", "a request of another version", "version 1",
           fmt::format("version {}", *get(b, F::version)), q);
    }
    if (get(b, F::flags_reserved) != 0U || get(b, F::flag_error) != 0U || get(b, F::error) != 0U) {
      once("INIT-FORM", "flags or an error code in a request", "zeros",
           fmt::format("flags {:#x}, error {}", *get(b, F::flags_reserved), *get(b, F::error)), q);
    }
    if (is_ata(b) && get(b, F::shelf) == 0xffffU) {
      once("INIT-FORM", "an ATA request to every shelf", "the shelf and slot of one target",
           "a broadcast address", q);
    }
    if (is_write_request(b)) {
      const size_t wanted = at::ata_data + *get(b, F::ata_count) * observer::kSectorBytes;
      if (b.size() < wanted) {
        once("INIT-FORM", "a write with less data than it says", fmt::format("{} bytes", wanted),
             fmt::format("{} bytes", b.size()), q);
      }
      if (get(b, F::ata_flag_write) != 1U) {
        once("INIT-FORM", "a write without the W flag", "W set", "W clear", q);
      }
    }
    if (b.size() > config.mtu + 14) {
      once("INIT-FORM", "a frame beyond the MTU", fmt::format("{} bytes", config.mtu + 14),
           fmt::format("{} bytes", b.size()), q);
    }
  }
}

}  // namespace conformance::hostile
