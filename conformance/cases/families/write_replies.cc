// Family write_replies: coalesced_write_reply (docs/extensions.md), the results of several writes
// in one frame. Nothing obliges a target to put two results together: where none travelled together
// in several bursts, the case says so and judges what came. Writes go to scratch only.

#include "conformance/cases/families/negotiation.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace)
using observer::get;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;

namespace {

constexpr const char* kFeature = "coalesced_write_reply";
constexpr size_t kEntryBytes = observer::kCoalescedEntryBytes;
constexpr size_t kTagBytes = 4;
constexpr size_t kArgumentBytes = at::ata_data - at::argument;

bool is_list(BytesView reply) {
  return get(reply, F::command) == observer::command::ata && get(reply, F::ata_flag_write) == 1U &&
         get(reply, F::flag_error) == 0U && reply.size() > at::coalesced &&
         reply[at::coalesced] != 0;
}

// How one write ended, and where that was told.
struct Result {
  std::shared_ptr<const Bytes> frame;
  size_t offset = 0;  // of the entry in it; 0: the frame is this write's own
  size_t place = 0;   // in the order in which results came
  // As the reply that the write would have got alone.
  Bytes alone() const {
    Bytes reply(frame->begin(), frame->begin() + at::ata_data);
    if (offset != 0) {
      const auto entry = frame->begin() + static_cast<ptrdiff_t>(offset);
      std::copy_n(entry, kTagBytes, reply.begin() + at::argument - kTagBytes);
      std::copy_n(entry + kTagBytes, kArgumentBytes, reply.begin() + at::argument);
    }
    reply.resize(observer::kMinFrameBytes, 0);
    return reply;
  }
};

// Requests that are sent at once, and every result that comes for them.
class Batch {
 public:
  Batch(Context& t, Initiator& who) : t_(t), who_(who) {}

  // Gives the frame a tag unless it has one.
  size_t add(Frame frame) {
    requests_.push_back(who_.stamp(std::move(frame)));
    tags_[tag_of(requests_.back())] = requests_.size() - 1;
    return requests_.size() - 1;
  }
  size_t missing() const {
    return static_cast<size_t>(
        std::count_if(results_.begin(), results_.end(), [](const auto& r) { return r.empty(); }));
  }

  // Sends all, and takes results until each has one. What got none goes out again under its tag.
  void ask(int attempts = 3) {
    results_.assign(requests_.size(), {});
    who_.collect(SIZE_MAX, 0);
    for (int attempt = 0; attempt < attempts && missing() > 0; ++attempt) {
      for (size_t i = 0; i < requests_.size(); ++i) {
        if (results_[i].empty()) {
          who_.send_bytes(requests_[i]);
        }
      }
      const int64_t wait_ns =
          std::max(attempt == 0 ? 2 * t_.patience_ns() : t_.patience_ns(), t_.disk_wait_ns());
      while (missing() > 0) {
        const auto got = who_.collect(1, wait_ns);
        if (got.empty()) {
          break;
        }
        take(got);
      }
    }
    t_.barrier();
    take(who_.collect(2 * requests_.size(), t_.grace_ns()));
  }

  // The only result of a request; fails the case when there is none.
  const Result& of(size_t i) const {
    t_.expect(!results_[i].empty(), alone(i), "a result, in a frame of its own or in a list",
              "none");
    return results_[i].front();
  }
  // A request and the frame that tells how it ended.
  Exchange seen(size_t i) const {
    Exchange x = alone(i);
    if (!results_[i].empty()) {
      x.reply = *results_[i].front().frame;
    }
    return x;
  }
  observer::Marks marks(size_t i) const {
    const size_t offset = results_[i].empty() ? 0 : results_[i].front().offset;
    return offset == 0 ? observer::Marks{observer::Mark(at::argument, kArgumentBytes)}
                       : observer::Marks{observer::Mark(offset, kEntryBytes)};
  }
  // Frames that carry more than one result.
  const std::vector<std::shared_ptr<const Bytes>>& lists() const { return lists_; }
  const std::vector<std::shared_ptr<const Bytes>>& frames() const { return frames_; }

  // Lists are whole, and name only what was asked.
  void expect_form() const {
    for (const auto& frame : lists_) {
      const size_t further = (*frame)[at::coalesced];
      const size_t end = at::coalesced + 1 + further * kEntryBytes;
      Exchange x;
      x.request = requests_.at(tags_.count(tag_of(*frame)) != 0 ? tags_.at(tag_of(*frame)) : 0);
      x.reply = *frame;
      x.sent = 1;
      t_.expect(
          end <= frame->size(), x,
          fmt::format("{} further results of {} bytes, {} bytes in all", further, kEntryBytes, end),
          fmt::format("a frame of {} bytes", frame->size()), {observer::Mark(at::coalesced, 1)});
      for (size_t i = 0; i < further; ++i) {
        const size_t offset = at::coalesced + 1 + i * kEntryBytes;
        const auto tag = static_cast<uint32_t>(observer::load_be(*frame, offset, kTagBytes));
        t_.expect(tags_.count(tag) != 0, x,
                  fmt::format("further result {} names one of the writes that were sent", i),
                  fmt::format("tag {:#010x}", tag), {observer::Mark(offset, kTagBytes)});
        const uint64_t reserved = observer::load_be(*frame, offset + 14, 2);
        t_.expect(reserved == 0, x,
                  fmt::format("the reserved bytes of further result {} are zero", i),
                  fmt::format("{:#06x}", reserved), {observer::Mark(offset + 14, 2)});
      }
      for (size_t i = end; i < frame->size(); ++i) {
        t_.expect((*frame)[i] == 0, x, fmt::format("zeros behind the list, from byte {} on", end),
                  fmt::format("byte {}: {:#04x}", i, (*frame)[i]),
                  {observer::Mark(i, frame->size() - i)});
      }
    }
  }
  // Every request has one result, and no more than were sent.
  void expect_each_once() const {
    for (size_t i = 0; i < requests_.size(); ++i) {
      of(i);
      size_t listed = 0;  // a link may repeat a frame, and no entry of one
      for (const Result& r : results_[i]) {
        listed += r.frame == results_[i].front().frame ? 1 : 0;
      }
      t_.expect(listed == 1, seen(i), "one result for each write in a frame",
                fmt::format("{} for the one under tag {:#010x}", listed, tag_of(requests_[i])),
                marks(i));
    }
  }
  // It ended as a plain reply of these registers would say.
  void expect_status(size_t i, uint8_t status, uint8_t error) const {
    const Bytes reply = of(i).alone();
    const auto got_status = static_cast<uint8_t>(*get(reply, F::ata_status));
    const auto got_error = static_cast<uint8_t>(*get(reply, F::ata_error));
    t_.expect(get(reply, F::flag_error) == 0U && got_status == status &&
                  (got_error & error) == error && (error != 0 || got_error == 0),
              seen(i), fmt::format("status {:#04x} and error register {:#04x}", status, error),
              get(reply, F::flag_error) == 0U
                  ? fmt::format("status {:#04x} and error register {:#04x}", got_status, got_error)
                  : fmt::format("AoE error {}", *get(reply, F::error)),
              marks(i));
  }
  void expect_good(size_t i) const { expect_status(i, ata::status_drdy, 0); }

 private:
  static uint32_t tag_of(BytesView frame) { return static_cast<uint32_t>(*get(frame, F::tag)); }
  Exchange alone(size_t i) const {
    Exchange x;
    x.request = requests_[i];
    x.sent = 1;
    return x;
  }
  void note(uint32_t tag, const std::shared_ptr<const Bytes>& frame, size_t offset) {
    const auto it = tags_.find(tag);
    if (it != tags_.end()) {
      results_[it->second].push_back({frame, offset, place_++});
    }
  }
  void take(const std::vector<links::ReceivedFrame>& got) {
    for (const links::ReceivedFrame& f : got) {
      const auto frame = std::make_shared<const Bytes>(f.bytes);
      const auto first = tags_.find(tag_of(*frame));
      if (first == tags_.end() || frame->size() < at::ata_data) {
        continue;
      }
      frames_.push_back(frame);
      note(first->first, frame, 0);
      const bool write = is_write(requests_[first->second]);
      if (!write || !is_list(*frame)) {
        continue;
      }
      lists_.push_back(frame);
      for (size_t i = 0; i < (*frame)[at::coalesced]; ++i) {
        const size_t offset = at::coalesced + 1 + i * kEntryBytes;
        if (offset + kEntryBytes > frame->size()) {
          break;
        }
        note(static_cast<uint32_t>(observer::load_be(*frame, offset, kTagBytes)), frame, offset);
      }
    }
  }

  Context& t_;
  Initiator& who_;
  std::vector<Bytes> requests_;
  std::map<uint32_t, size_t> tags_;
  std::vector<std::vector<Result>> results_;
  std::vector<std::shared_ptr<const Bytes>> lists_;
  std::vector<std::shared_ptr<const Bytes>> frames_;
  size_t place_ = 0;
};

// As many writes as the target holds at once, and no more than a case needs.
size_t at_once(const Context& t, size_t most = 16) {
  const uint64_t buffers = t.target().buffer_count;
  return std::clamp<size_t>(static_cast<size_t>(buffers / 2), 2, most);
}

// The same experiment until results travelled together; says so when they never did.
void until_listed(Context& t, const std::function<bool()>& experiment) {
  constexpr int bursts = 8;
  for (int i = 0; i < bursts; ++i) {
    if (experiment()) {
      return;
    }
  }
  t.info(fmt::format("no two results travelled together in {} bursts", bursts));
}

Bytes content(size_t i) {
  return sector_of(fmt::format("write {}", i));
}

// `count` good writes of one sector each.
void add_writes(Context& t, Batch& batch, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    batch.add(observer::write_request(scratch_sector(t, i), content(i)));
  }
}

Case about(std::string id, std::string title, std::string clause, std::vector<std::string> fails_on,
           std::function<void(Context&)> run) {
  Case c;
  c.id = "write_replies." + id;
  c.title = std::move(title);
  c.clauses = {std::move(clause)};
  c.needs = {Need::write};
  c.extensions = {"reset", kFeature};
  c.fails_on = std::move(fails_on);
  c.run = std::move(run);
  return c;
}

// --- Deviants ----------------------------------------------------------------------------------

// The frame of results that the model is about to send, changed. (It passes a deviant like an
// answer to nobody: with R set.)
Deviant edits_list(std::string name, std::string story,
                   std::function<void(Bytes& frame, ModelTarget&)> edit) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes& q, ModelTarget& model, const Forward& forward) {
        Answers answers = forward(q);
        if (observer::is_reply(q) && is_list(q)) {
          for (Answer& a : answers) {
            edit(a.bytes, model);
          }
        }
        return answers;
      });
}

std::span<uint8_t> entry(Bytes& frame, size_t i) {
  return std::span<uint8_t>(frame).subspan(at::coalesced + 1 + i * kEntryBytes, kEntryBytes);
}

bool is_on(const ModelTarget& model, const Bytes& q) {
  const auto it = model.sessions.find(source_of(q));
  return it != model.sessions.end() && it->second.coalesced_writes;
}

void add_list_deviants(Registry& r) {
  r.add(edits_list("wrep-counts-the-first-too", "counts the first result among the further ones",
                   [](Bytes& frame, ModelTarget&) { ++frame[at::coalesced]; }));
  r.add(edits_list("wrep-entries-of-20-bytes", "writes four bytes more for each entry",
                   [](Bytes& frame, ModelTarget&) {
                     for (size_t i = frame[at::coalesced]; i-- > 0;) {
                       frame.insert(frame.begin() + static_cast<ptrdiff_t>(at::coalesced + 1 +
                                                                           (i + 1) * kEntryBytes),
                                    4, 0);
                     }
                   }));
  r.add(edits_list("wrep-reserved-bytes-of-memory", "leaves rests in an entry's reserved bytes",
                   [](Bytes& frame, ModelTarget&) { entry(frame, 0)[15] = 0xa5; }));
  r.add(edits_list("wrep-rests-behind-the-list", "sends rests of its buffer behind the list",
                   [](Bytes& frame, ModelTarget&) { frame.insert(frame.end(), 7, 0xa5); }));
  r.add(edits_list("wrep-tells-one-twice", "lists the first write again as a further one",
                   [](Bytes& frame, ModelTarget&) {
                     std::copy_n(frame.begin() + at::argument - kTagBytes, kEntryBytes,
                                 entry(frame, 0).begin());
                   }));
  r.add(edits_list("wrep-loses-the-last", "does not tell the last result of a list",
                   [](Bytes& frame, ModelTarget&) {
                     --frame[at::coalesced];
                     frame.resize(frame.size() - kEntryBytes);
                   }));
  r.add(edits_list("wrep-status-of-the-first", "tells the first write's status for all of them",
                   [](Bytes& frame, ModelTarget&) {
                     for (size_t i = 0; i < frame[at::coalesced]; ++i) {
                       entry(frame, i)[5] = frame[at::argument + 1];
                       entry(frame, i)[7] = frame[at::argument + 3];
                     }
                   }));
  r.add(edits_list("wrep-stops-at-an-error", "tells nothing behind a write that failed",
                   [](Bytes& frame, ModelTarget&) {
                     for (size_t i = 0; i < frame[at::coalesced]; ++i) {
                       if ((entry(frame, i)[7] & ata::status_err) != 0) {
                         frame[at::coalesced] = static_cast<uint8_t>(i + 1);
                         frame.resize(at::coalesced + 1 + (i + 1) * kEntryBytes);
                         return;
                       }
                     }
                   }));
  r.add(edits_list("wrep-lba-of-the-first", "tells the first write's LBA with every result",
                   [](Bytes& frame, ModelTarget&) {
                     for (size_t i = 0; i < frame[at::coalesced]; ++i) {
                       std::copy_n(frame.begin() + at::argument + 4, 6,
                                   entry(frame, i).begin() + 8);
                     }
                   }));
  r.add(edits_list(
      "wrep-newest-first", "lists the results in the opposite order",
      [](Bytes& frame, ModelTarget&) {
        std::vector<Bytes> all;
        all.emplace_back(frame.begin() + at::argument - kTagBytes, frame.begin() + at::ata_data);
        for (size_t i = 0; i < frame[at::coalesced]; ++i) {
          all.emplace_back(entry(frame, i).begin(), entry(frame, i).end());
        }
        std::reverse(all.begin(), all.end());
        std::copy(all[0].begin(), all[0].end(), frame.begin() + at::argument - kTagBytes);
        for (size_t i = 1; i < all.size(); ++i) {
          std::copy(all[i].begin(), all[i].end(), entry(frame, i - 1).begin());
        }
      }));
  Deviant long_lists;
  long_lists.name = "wrep-longer-than-the-mtu";
  long_lists.story = "lists as many results as are ready, whatever the MTU";
  long_lists.make = [] {
    return [](const Bytes& q, ModelTarget& model, const Forward& forward) {
      Answers answers = forward(q);
      constexpr size_t far_too_much = 9000;
      const size_t mtu = std::min<size_t>(model.config.mtu, 1500);
      // What is put together next does not know the MTU; everything else does.
      model.config.mtu = is_write(q) && is_on(model, q) ? far_too_much : mtu;
      return answers;
    };
  };
  long_lists.configure = [](deviants::ModelConfig& config) { config.buffer_count = 256; };
  r.add(long_lists);
}

void add_session_deviants(Registry& r) {
  r.add(beforehand("wrep-without-asking", "puts results together for who did not ask for it",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     session.coalesced_writes = session.coalesced_writes || is_write(q);
                   }));
  Deviant sticks;
  sticks.name = "wrep-outlives-reset";
  sticks.story = "goes on to put results together after `reset`";
  sticks.make = [] {
    auto who = std::make_shared<std::set<Mac>>();
    return [who](const Bytes& q, ModelTarget& model, const Forward& forward) {
      Answers answers = forward(q);
      if (names(q, kFeature)) {
        who->insert(source_of(q));
      }
      if (names(q, "reset") && who->count(source_of(q)) != 0) {
        model.sessions[source_of(q)].coalesced_writes = true;
      }
      return answers;
    };
  };
  r.add(sticks);
  r.add(deviants::spoils("wrep-w-as-asked", "returns the W bit as the request had it",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (!observer::is_reply(q) && is_command(q, observer::command::ata) &&
                               q.size() >= at::ata_data && is_on(model, q)) {
                             for (Answer& a : answers) {
                               set(a.bytes, F::ata_flag_write, *get(q, F::ata_flag_write));
                             }
                             if (is_write(q) && !model.results.empty()) {
                               set(model.results.back(), F::ata_flag_write,
                                   *get(q, F::ata_flag_write));
                             }
                           }
                           return answers;
                         }));
  r.add(deviants::spoils(
      "wrep-padding-echoes-the-request", "pads the reply to a write with the data of its request",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        const bool alone = is_write(q) && is_on(model, q);
        Answers answers = forward(q);
        if (alone && model.results.size() == 1) {
          answers.push_back({model.results.front(), ModelTarget::kDiskNs});
          model.results.clear();
          Bytes& reply = answers.back().bytes;
          reply.insert(reply.end(), q.begin() + at::ata_data, q.begin() + observer::kMinFrameBytes);
        }
        return answers;
      }));
  r.add(deviants::spoils("wrep-error-heads-a-list", "puts an AoE error at the head of a list",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (is_write(q) && is_on(model, q) && !answers.empty() &&
                               get(answers.front().bytes, F::flag_error) == 1U &&
                               !model.results.empty()) {
                             Bytes& head = answers.front().bytes;
                             head.resize(at::ata_data);
                             head.push_back(static_cast<uint8_t>(model.results.size()));
                             for (const Bytes& result : model.results) {
                               head.insert(head.end(), result.begin() + at::argument - kTagBytes,
                                           result.begin() + at::ata_data);
                             }
                             model.results.clear();
                           }
                           return answers;
                         }));
  r.add(deviants::spoils("wrep-error-becomes-a-result",
                         "lists a refused write as one that was done",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (is_write(q) && is_on(model, q) && !answers.empty() &&
                               get(answers.front().bytes, F::flag_error) == 1U) {
                             Bytes result = answers.front().bytes;
                             set(result, F::flag_error, 0);
                             set(result, F::error, 0);
                             set(result, F::ata_status, ata::status_drdy);
                             model.results.push_back(result);
                             answers.clear();
                           }
                           return answers;
                         }));
  r.add(deviants::spoils("wrep-one-frame-for-two-hosts",
                         "puts the results of all hosts into one frame, to one of them",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           for (Bytes& result : model.results) {
                             std::copy_n(model.results.front().begin(), 6, result.begin());
                           }
                           return answers;
                         }));
  r.add(afterwards("wrep-listed-writes-are-forgotten",
                   "does not remember the tags of writes whose results it puts together",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     if (is_write(q) && session.coalesced_writes) {
                       session.done.clear();
                     }
                   }));
  r.add(deviants::spoils("wrep-waits-for-company",
                         "keeps a result for a while, in case another one comes",
                         [](const Bytes& q, ModelTarget&, const Forward& forward) {
                           Answers answers = forward(q);
                           if (observer::is_reply(q) && get(q, F::ata_flag_write) == 1U &&
                               get(q, F::command) == observer::command::ata) {
                             for (Answer& a : answers) {
                               a.delay_ns += 150 * links::kNsPerMs;
                             }
                           }
                           return answers;
                         }));
  r.add(deviants::spoils("wrep-w-in-reads", "sets the W bit in every reply of a session with it",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (is_read(q) && is_on(model, q)) {
                             for (Answer& a : answers) {
                               set(a.bytes, F::ata_flag_write, 1);
                             }
                           }
                           return answers;
                         }));
}

// --- Cases -------------------------------------------------------------------------------------

void add_list_cases(Registry& r) {
  r.add(about("list.form",
              "A list is a count and so many entries of 16 bytes, each for one of the "
              "writes that were sent, and zeros behind it",
              "WREP-FORM",
              {"wrep-counts-the-first-too", "wrep-entries-of-20-bytes",
               "wrep-reserved-bytes-of-memory", "wrep-rests-behind-the-list"},
              [](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                until_listed(t, [&] {
                  Batch batch(t, t.a());
                  add_writes(t, batch, at_once(t));
                  batch.ask();
                  batch.expect_form();
                  return !batch.lists().empty();
                });
              }));
  r.add(about("list.each-write-once",
              "Of writes that are sent at once each has one result, and its "
              "data is on the disk",
              "WREP-EACH", {"wrep-tells-one-twice", "wrep-loses-the-last"}, [](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                // A link loses a result now and then, and a target that forgets one does so always.
                constexpr int losses_max = 5;
                int losses = 0;
                until_listed(t, [&] {
                  Batch batch(t, t.a());
                  const size_t n = at_once(t, 4);
                  add_writes(t, batch, n);
                  batch.ask(1);
                  if (batch.missing() > 0 && ++losses < losses_max) {
                    return false;
                  }
                  batch.expect_each_once();
                  for (size_t i = 0; i < n; ++i) {
                    batch.expect_good(i);
                    const Exchange x = t.a().ask(observer::read_request(scratch_sector(t, i), 1));
                    t.expect_good_ata(x);
                    t.expect_data(x, content(i));
                  }
                  return !batch.lists().empty();
                });
              }));
  r.add(about(
      "list.statuses", "Good writes and ones past the end, sent at once: each result is its own",
      "WREP-STATUS", {"wrep-status-of-the-first", "wrep-stops-at-an-error"}, [](Context& t) {
        negotiate(t, t.a(), {"reset", kFeature});
        until_listed(t, [&] {
          Batch batch(t, t.a());
          const size_t n = at_once(t);
          for (size_t i = 0; i < n; ++i) {
            batch.add(i % 3 == 1 ? observer::write_request(t.target().sectors + i, content(i))
                                 : observer::write_request(scratch_sector(t, i), content(i)));
          }
          batch.ask();
          for (size_t i = 0; i < n; ++i) {
            if (i % 3 == 1) {
              batch.expect_status(i, ata::status_drdy | ata::status_err, ata::error_idnf);
            } else {
              batch.expect_good(i);
            }
          }
          return !batch.lists().empty();
        });
      }));
  r.add(about("list.entry-is-the-reply",
              "An entry holds the ATA argument that the same write's own reply carries",
              "WREP-FORM", {"wrep-lba-of-the-first"}, [](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                until_listed(t, [&] {
                  const auto make = [&](size_t i) {
                    return i % 4 == 3 ? observer::write_request(t.target().sectors + i, content(i))
                                      : observer::write_request(scratch_sector(t, i), content(i));
                  };
                  Batch batch(t, t.a());
                  const size_t n = at_once(t, 8);
                  for (size_t i = 0; i < n; ++i) {
                    batch.add(make(i));
                  }
                  batch.ask();
                  for (size_t i = 0; i < n; ++i) {
                    const Exchange alone = t.a().ask(make(i));
                    t.expect_answer(alone);
                    const BytesView wanted =
                        BytesView(*alone.reply).subspan(at::argument, kArgumentBytes);
                    const Bytes told = batch.of(i).alone();
                    const BytesView got = BytesView(told).subspan(at::argument, kArgumentBytes);
                    t.expect(std::equal(wanted.begin(), wanted.end(), got.begin(), got.end()),
                             batch.seen(i),
                             fmt::format("as in the reply to it alone: {}", observer::hex(wanted)),
                             observer::hex(got), batch.marks(i));
                  }
                  return !batch.lists().empty();
                });
              }));
  Case order = about(
      "list.order", "Overlapping writes end in their order, and so stand their results",
      "WREP-ORDER", {"wrep-newest-first"}, [](Context& t) {
        Counter c(t, t.a(), Inc::be);
        c.negotiate();
        t.expect_no_error(t.a().ask(c.stamp(table(t, {kFeature}), c.take())));
        until_listed(t, [&] {
          Batch batch(t, t.a());
          const size_t n = at_once(t, 8);
          for (size_t i = 0; i < n; ++i) {
            batch.add(c.stamp(observer::write_request(scratch_sector(t, 0), content(i)), c.take()));
          }
          batch.ask();
          for (size_t i = 1; i < n; ++i) {
            t.expect(batch.of(i - 1).place < batch.of(i).place, batch.seen(i),
                     fmt::format("the result of write {} of {} to one sector ahead of that of the "
                                 "next one",
                                 i, n),
                     "behind it", batch.marks(i));
          }
          return !batch.lists().empty();
        });
      });
  order.extensions.push_back("tag_inc_be");
  r.add(order);
  r.add(about(
      "list.fits-the-link",
      "However many results are ready, a frame is no longer than the link carries, and holds "
      "256 at most",
      "WREP-ROOM", {"wrep-longer-than-the-mtu"}, [](Context& t) {
        negotiate(t, t.a(), {"reset", kFeature});
        const size_t n = std::min<size_t>(std::max<uint64_t>(t.target().buffer_count, 2), 300);
        until_listed(t, [&] {
          Batch batch(t, t.a());
          for (size_t i = 0; i < n; ++i) {
            batch.add(observer::write_request(scratch_sector(t, i % 64), content(i % 64)));
          }
          batch.ask();
          for (const auto& frame : batch.lists()) {
            t.expect(frame->size() <= t.frame_max(),
                     fmt::format("at most {} bytes in a frame", t.frame_max()),
                     fmt::format("{} bytes, with {} further results", frame->size(),
                                 (*frame)[at::coalesced]));
          }
          for (size_t i = 0; i < n; ++i) {
            batch.expect_good(i);
          }
          return !batch.lists().empty();
        });
      }));
}

void add_error_cases(Registry& r) {
  r.add(about(
      "errors.travel-alone",
      "A write that is refused with an AoE error is told so in a frame of its own, among good ones",
      "WREP-ERROR", {"wrep-error-heads-a-list", "wrep-error-becomes-a-result"}, [](Context& t) {
        negotiate(t, t.a(), {"reset", kFeature});
        until_listed(t, [&] {
          Batch batch(t, t.a());
          const size_t n = at_once(t);
          const size_t bad = n / 2;
          for (size_t i = 0; i < n; ++i) {
            Frame write = observer::write_request(scratch_sector(t, i), content(i));
            if (i == bad) {  // claims two sectors and carries half of one
              write.set(F::ata_count, 2).cut(at::ata_data + observer::kSectorBytes / 2);
            }
            batch.add(std::move(write));
          }
          batch.ask();
          const Result& refused = batch.of(bad);
          const Bytes reply = refused.alone();
          const bool aborted = get(reply, F::flag_error) == 0U &&
                               (*get(reply, F::ata_status) & ata::status_err) != 0;
          t.expect(aborted || get(reply, F::flag_error) == 1U, batch.seen(bad),
                   "the write that carries less than it claims is refused", "success",
                   batch.marks(bad));
          for (const auto& frame : batch.frames()) {
            if (get(*frame, F::flag_error) == 1U) {
              Exchange x = batch.seen(bad);
              x.reply = *frame;
              const size_t rest = frame->size() - at::ata_data;
              t.expect(std::all_of(frame->begin() + at::ata_data, frame->end(),
                                   [](uint8_t b) { return b == 0; }),
                       x, "no list behind a reply with E set", fmt::format("{} bytes", rest),
                       {observer::Mark(at::ata_data, rest)});
            }
          }
          for (size_t i = 0; i < n; ++i) {
            if (i != bad) {
              batch.expect_good(i);
            }
          }
          return !batch.lists().empty();
        });
      }));
  r.add(about("padding.is-zero",
              "Behind a result that travels alone, byte 36 included, stand zeros", "WREP-PADDING",
              {"wrep-padding-echoes-the-request"}, [](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                for (const size_t sectors : {size_t{1}, size_t{t.sectors_max()}}) {
                  scratch_sector(t, sectors);
                  const Exchange x = t.a().ask(observer::write_request(
                      scratch_sector(t, 0), sector_of("own bytes are no padding", sectors)));
                  t.expect_good_ata(x);
                  for (size_t i = at::ata_data; i < x.reply->size(); ++i) {
                    t.expect((*x.reply)[i] == 0, x, "zeros from byte 36 on",
                             fmt::format("byte {}: {:#04x}", i, (*x.reply)[i]),
                             {observer::Mark(i, x.reply->size() - i)});
                  }
                }
              }));
  r.add(about("w-bit.tells-writes",
              "W is set in every reply to a write and clear in every other one, "
              "whatever the request said",
              "WREP-W", {"wrep-w-as-asked", "wrep-w-in-reads"}, [](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                const uint64_t lba = scratch_sector(t, 0);
                for (const uint64_t w : {0U, 1U}) {
                  const Exchange write = t.a().ask(
                      observer::write_request(lba, sector_of("w")).set(F::ata_flag_write, w));
                  t.expect_answer(write);
                  t.expect_field(write, F::ata_flag_write, 1);
                  for (const Frame& f :
                       {observer::read_request(lba, 1), observer::identify_request(),
                        observer::flush_request(), observer::ata_request(ata::check_power, 0, 0)}) {
                    Frame asked = f;
                    const Exchange x = t.a().ask(asked.set(F::ata_flag_write, w));
                    t.expect_answer(x);
                    if (get(*x.reply, F::flag_error) == 0U) {
                      t.expect_field(x, F::ata_flag_write, 0);
                    }
                  }
                }
              }));
}

void add_session_cases(Registry& r) {
  // Every write's reply is a frame of its own.
  const auto expect_apart = [](Context& t, Initiator& who, const std::string& story) {
    constexpr int bursts = 3;
    for (int i = 0; i < bursts; ++i) {
      Batch batch(t, who);
      const size_t n = at_once(t);
      add_writes(t, batch, n);
      batch.ask();
      t.expect(batch.lists().empty(), batch.seen(0),
               fmt::format("{}: each write's reply in a frame of its own", story),
               batch.lists().empty()
                   ? ""
                   : fmt::format("a frame with {} further results",
                                 static_cast<unsigned>((*batch.lists()[0])[at::coalesced])));
      for (size_t k = 0; k < n; ++k) {
        batch.expect_good(k);
      }
    }
  };
  Case off = about("off.not-negotiated",
                   "Who did not ask for it gets a reply for each write, while "
                   "another has it",
                   "WREP-OFF", {"wrep-without-asking"}, [expect_apart](Context& t) {
                     negotiate(t, t.b(), {"reset", kFeature});
                     expect_apart(t, t.a(), "not negotiated");
                   });
  off.needs.push_back(Need::second_initiator);
  r.add(off);
  r.add(about("off.after-reset", "After `reset` each write has a reply of its own again",
              "WREP-OFF", {"wrep-outlives-reset"}, [expect_apart](Context& t) {
                negotiate(t, t.a(), {"reset", kFeature});
                negotiate(t, t.a(), {"reset"});
                expect_apart(t, t.a(), "after `reset`");
              }));
  Case own = about(
      "own.results", "Of two hosts that write at once each gets its own results, and no other's",
      "WREP-OWN", {"wrep-one-frame-for-two-hosts"}, [](Context& t) {
        negotiate(t, t.a(), {"reset", kFeature});
        negotiate(t, t.b(), {"reset", kFeature});
        const size_t n = at_once(t, 8) / 2;
        std::map<Initiator*, std::map<uint32_t, Bytes>> sent;
        for (Initiator* who : {&t.a(), &t.b()}) {
          who->collect(SIZE_MAX, 0);
          for (size_t i = 0; i < n; ++i) {
            const Bytes request =
                who->stamp(observer::write_request(scratch_sector(t, i), content(i)));
            sent[who][static_cast<uint32_t>(*get(request, F::tag))] = request;
          }
        }
        for (size_t i = 0; i < n; ++i) {  // in turn
          for (auto& [who, requests] : sent) {
            who->send_bytes(std::next(requests.begin(), static_cast<ptrdiff_t>(i))->second);
          }
        }
        for (auto& [who, requests] : sent) {
          std::set<uint32_t> told;
          while (told.size() < n) {
            const auto got = who->collect(1, std::max(2 * t.patience_ns(), t.disk_wait_ns()));
            if (got.empty()) {
              break;
            }
            const Bytes& frame = got.front().bytes;
            told.insert(static_cast<uint32_t>(*get(frame, F::tag)));
            for (size_t i = 0; is_list(frame) && i < frame[at::coalesced]; ++i) {
              const size_t offset = at::coalesced + 1 + i * kEntryBytes;
              if (offset + kEntryBytes > frame.size()) {
                break;
              }
              const auto tag = static_cast<uint32_t>(observer::load_be(frame, offset, kTagBytes));
              told.insert(tag);
              Exchange x;
              x.request = requests.begin()->second;
              x.reply = frame;
              x.sent = 1;
              t.expect(requests.count(tag) != 0, x, "results of the host that it goes to, only",
                       fmt::format("one under tag {:#010x}, which this host did not send", tag),
                       {observer::Mark(offset, kEntryBytes)});
            }
          }
          t.expect(told.size() == n,
                   fmt::format("{} results for {}", n, observer::to_string(who->mac())),
                   fmt::format("{}", told.size()));
        }
      });
  own.needs.push_back(Need::second_initiator);
  r.add(own);
  Case window = about(
      "window.duplicates",
      "Under tag_inc a burst that comes again is answered from the window, in "
      "whatever frames, and not performed",
      "WREP-WINDOW", {"wrep-listed-writes-are-forgotten"}, [](Context& t) {
        Counter c(t, t.a(), Inc::be);
        c.negotiate();
        t.expect_no_error(t.a().ask(c.stamp(table(t, {kFeature}), c.take())));
        const size_t n = at_once(t, 8);
        const uint32_t first = c.next();
        c.jump(first + static_cast<uint32_t>(n));
        for (const bool again : {false, true}) {
          Batch batch(t, t.a());
          for (size_t i = 0; i < n; ++i) {
            batch.add(c.stamp(observer::write_request(scratch_sector(t, i),
                                                      again ? sector_of("again") : content(i)),
                              first + static_cast<uint32_t>(i)));
          }
          batch.ask();
          for (size_t i = 0; i < n; ++i) {
            batch.expect_good(i);
          }
        }
        for (size_t i = 0; i < n; ++i) {
          c.expect_disk(scratch_sector(t, i), content(i), "a duplicate was performed");
        }
      });
  window.extensions.push_back("tag_inc_be");
  r.add(window);
  Case prompt = about(
      "prompt.alone-at-once",
      "A write that is alone is answered as soon as without the extension: "
      "nothing waits for company",
      "WREP-PROMPT", {"wrep-waits-for-company"}, [](Context& t) {
        constexpr size_t writes = 9;
        const auto median = [&] {
          std::vector<int64_t> took;
          for (size_t i = 0; i < writes; ++i) {
            const Exchange x = t.a().ask(observer::write_request(scratch_sector(t, 0), content(i)));
            t.expect_good_ata(x);
            took.push_back(x.replied_ns - x.sent_ns);
          }
          std::sort(took.begin(), took.end());
          return took[took.size() / 2];
        };
        negotiate(t, t.a(), {"reset"});
        const int64_t plain = median();
        negotiate(t, t.a(), {kFeature});
        const int64_t with = median();
        constexpr int64_t times = 4;
        const int64_t most = times * plain + t.scaled(20 * links::kNsPerMs);
        t.expect(with <= most,
                 fmt::format("an answer within {} us, as {} us without the extension allow",
                             most / links::kNsPerUs, plain / links::kNsPerUs),
                 fmt::format("{} us", with / links::kNsPerUs));
      });
  prompt.level = Level::should;
  r.add(prompt);
}

}  // namespace

void register_write_replies(Registry& r) {
  add_list_deviants(r);
  add_session_deviants(r);
  add_list_cases(r);
  add_error_cases(r);
  add_session_cases(r);
}

}  // namespace conformance
