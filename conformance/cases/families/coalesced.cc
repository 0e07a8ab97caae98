// Family coalesced: coalesced_read, one request frame that carries further reads, each with a reply
// of its own.

#include "conformance/cases/families/negotiation.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace)
using observer::CoalescedEntry;

namespace {

constexpr uint64_t kLba28 = 1ULL << 28;
constexpr size_t kEntriesMax = 255;

size_t entries_that_fit(const Context& t) {
  return std::min(kEntriesMax,
                  (t.frame_max() - observer::at::coalesced - 1) / observer::kCoalescedEntryBytes);
}

// One of the reads that travel together.
struct Read {
  uint64_t lba = 0;
  uint8_t count = 1;
  uint32_t tag = 0;
};

// A coalesced request, and what came back.
class Together {
 public:
  Together(Context& t, Initiator& who, std::vector<Read> reads, bool lba48 = true)
      : t_(t), who_(who), reads_(std::move(reads)), lba48_(lba48) {
    for (Read& r : reads_) {
      r.tag = who.next_tag();
    }
  }
  std::vector<Read>& reads() { return reads_; }

  // The request frame. `claims`: the count it gives, when that is not the number of entries.
  Frame frame(std::optional<uint8_t> claims = std::nullopt) const {
    Frame frame = observer::read_request(reads_[0].lba, reads_[0].count, lba48_);
    frame.set(F::tag, reads_[0].tag);
    std::vector<CoalescedEntry> entries;
    for (size_t i = 1; i < reads_.size(); ++i) {
      entries.push_back({reads_[i].tag, reads_[i].lba, reads_[i].count});
    }
    observer::add_coalesced(frame, entries);
    if (claims) {
      frame.byte(observer::at::coalesced, *claims);
    }
    return frame;
  }

  // Sends it, and takes every reply until a barrier behind it is answered. Once more when something
  // was lost.
  void ask(const Frame& request, size_t expected) {
    for (int attempt = 0; attempt < 2 && replies_.size() < expected; ++attempt) {
      who_.collect(SIZE_MAX, 0);
      request_ = who_.send(request);
      replies_.clear();
      for (auto& f : who_.collect(expected, t_.patience_ns())) {
        replies_.push_back(std::move(f.bytes));
      }
    }
    t_.barrier();
    for (auto& f : who_.collect(kEntriesMax, t_.grace_ns())) {
      replies_.push_back(std::move(f.bytes));
    }
  }
  void ask() { ask(frame(), reads_.size()); }

  const std::vector<Bytes>& replies() const { return replies_; }

  void expect_replies(size_t count) {
    t_.expect(replies_.size() == count,
              fmt::format("{} replies to {} reads in one frame", count, reads_.size()),
              fmt::format("{} replies", replies_.size()));
  }

  // The reply to one of them, as if it had been asked for alone.
  Exchange of(size_t index) const {
    const Read& r = reads_[index];
    Exchange x;
    x.request = who_.stamp(observer::read_request(r.lba, r.count, lba48_).set(F::tag, r.tag));
    x.sent = 1;
    for (const Bytes& reply : replies_) {
      if (observer::get(reply, F::tag) == r.tag) {
        x.reply = reply;
        break;
      }
    }
    return x;
  }

  // It brought just its data.
  void expect_data(size_t index, BytesView data) {
    const Exchange x = of(index);
    t_.expect_good_ata(x);
    t_.expect_field(x, F::ata_lba, reads_[index].lba);
    t_.expect_data(x, data);
    t_.expect_clean_padding(x);
  }

 private:
  Context& t_;
  Initiator& who_;
  std::vector<Read> reads_;
  bool lba48_;
  Bytes request_;
  std::vector<Bytes> replies_;
};

Bytes content(uint64_t index) {
  return sector_of(fmt::format("sector {}", index));
}

Bytes content(uint64_t index, size_t sectors) {
  Bytes data;
  for (size_t i = 0; i < sectors; ++i) {
    const Bytes one = content(index + i);
    data.insert(data.end(), one.begin(), one.end());
  }
  return data;
}

// Fills the first scratch sectors with what tells them apart, and negotiates.
void prepare(Context& t, size_t sectors) {
  scratch_sector(t, sectors);
  const size_t at_once = t.sectors_max();
  for (size_t i = 0; i < sectors; i += at_once) {
    t.expect_good_ata(t.a().ask(
        observer::write_request(t.scratch().lba + i, content(i, std::min(at_once, sectors - i)))));
  }
  negotiate(t, t.a(), {"reset", "coalesced_read"});
}

// `count` further reads of one sector each, in an order that is not the disk's.
std::vector<Read> scattered(const Context& t, size_t count) {
  std::vector<Read> reads;
  constexpr size_t stride = 7;
  for (size_t i = 0; i < count + 1; ++i) {
    reads.push_back({t.scratch().lba + (i * stride) % (count + 1), 1, 0});
  }
  return reads;
}

void judge_scattered(Context& t, size_t count) {
  prepare(t, count + 1);
  Together together(t, t.a(), scattered(t, count));
  together.ask();
  together.expect_replies(count + 1);
  for (size_t i = 0; i < together.reads().size(); ++i) {
    together.expect_data(i, content(together.reads()[i].lba - t.scratch().lba));
  }
}

// --- Deviants ----------------------------------------------------------------------------------

Deviant edits_answers(std::string name, std::string story,
                      std::function<void(const Bytes&, ModelTarget&, Answers&)> edit) {
  return deviants::spoils(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes& q, ModelTarget& model, const Forward& forward) {
        const bool on = is_read(q) && model.sessions[source_of(q)].coalesced;
        Answers answers = forward(q);
        if (on && q.size() > observer::at::coalesced && q[observer::at::coalesced] != 0) {
          edit(q, model, answers);
        }
        return answers;
      });
}

bool failed(const Bytes& reply) {
  return observer::get(reply, F::flag_error) != 0U ||
         (*observer::get(reply, F::ata_status) & observer::ata::status_err) != 0;
}

void add_deviants(Registry& r) {
  r.add(edits_answers("coal-one-tag", "answers every read under the header's tag",
                      [](const Bytes& q, ModelTarget&, Answers& answers) {
                        for (Answer& a : answers) {
                          observer::set(a.bytes, F::tag, *observer::get(q, F::tag));
                        }
                      }));
  r.add(edits_answers("coal-reversed", "answers the last read first",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        for (size_t i = 0; i < answers.size() / 2; ++i) {
                          std::swap(answers[i].bytes, answers[answers.size() - 1 - i].bytes);
                        }
                      }));
  r.add(edits_answers("coal-lba-of-the-header", "returns the header's LBA with every read",
                      [](const Bytes& q, ModelTarget&, Answers& answers) {
                        for (Answer& a : answers) {
                          observer::set(a.bytes, F::ata_lba, *observer::get(q, F::ata_lba));
                        }
                      }));
  r.add(edits_answers("coal-data-of-the-first", "answers every read with the first one's data",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        for (Answer& a : answers) {
                          std::copy_n(answers.front().bytes.begin() + observer::at::ata_data,
                                      std::min(answers.front().bytes.size(), a.bytes.size()) -
                                          observer::at::ata_data,
                                      a.bytes.begin() + observer::at::ata_data);
                        }
                      }));
  r.add(edits_answers("coal-stops-at-an-error", "serves nothing behind a read that failed",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        const auto it =
                            std::find_if(answers.begin(), answers.end(),
                                         [](const Answer& a) { return failed(a.bytes); });
                        if (it != answers.end()) {
                          answers.erase(std::next(it), answers.end());
                        }
                      }));
  r.add(edits_answers("coal-header-only", "serves the header's own read only",
                      [](const Bytes&, ModelTarget&, Answers& answers) { answers.resize(1); }));
  r.add(edits_answers("coal-sixteen-at-most", "serves sixteen reads of a frame",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        constexpr size_t limit = 16;
                        answers.resize(std::min(answers.size(), limit));
                      }));
  r.add(edits_answers("coal-loses-the-last", "does not serve the last entry of a frame",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        answers.resize(answers.size() > 1 ? answers.size() - 1 : 1);
                      }));
  r.add(edits_answers(
      "coal-believes-its-count", "serves as many entries as it is told, from zeros",
      [](const Bytes& q, ModelTarget& model, Answers& answers) {
        while (answers.size() < size_t{q[observer::at::coalesced]} + 1) {
          answers.push_back({model.perform_read(q, 0, 0, 1, Session{}), answers.back().delay_ns});
        }
      }));
  r.add(edits_answers("coal-all-or-nothing",
                      "serves no entry when the frame holds fewer than its count",
                      [](const Bytes& q, ModelTarget&, Answers& answers) {
                        if (observer::coalesced_tail(q).size() < q[observer::at::coalesced]) {
                          answers.resize(1);
                        }
                      }));
  r.add(beforehand("coal-without-asking", "takes byte 36 of every read for a count",
                   [](const Bytes& q, ModelTarget&, Session& session) {
                     session.coalesced = session.coalesced || is_read(q);
                   }));
  r.add(
      deviants::spoils("coal-on-every-command", "takes byte 36 of writes for a count, too",
                       [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                         Answers answers = forward(q);
                         if (is_command(q, observer::command::ata) && !is_read(q) &&
                             model.sessions[source_of(q)].coalesced) {
                           for (const CoalescedEntry& e : observer::coalesced_tail(q)) {
                             answers.push_back({model.perform_read(q, e.tag, 0, 1, Session{}), 0});
                           }
                         }
                         return answers;
                       }));
  r.add(edits_answers("coal-28-bit-unmasked", "reads entries of a 28-bit request with 48 bits",
                      [](const Bytes& q, ModelTarget& model, Answers& answers) {
                        const auto entries = observer::coalesced_tail(q);
                        for (size_t i = 0; i < entries.size() && i + 1 < answers.size(); ++i) {
                          answers[i + 1].bytes = model.perform_read(
                              q, entries[i].tag, entries[i].lba, entries[i].count, Session{});
                        }
                      }));
  r.add(edits_answers("coal-48-bit-masked", "reads entries of a 48-bit request with 28 bits",
                      [](const Bytes& q, ModelTarget& model, Answers& answers) {
                        const auto entries = observer::coalesced_tail(q);
                        for (size_t i = 0; i < entries.size() && i + 1 < answers.size(); ++i) {
                          answers[i + 1].bytes =
                              model.perform_read(q, entries[i].tag, entries[i].lba % kLba28,
                                                 entries[i].count, Session{});
                        }
                      }));
  r.add(edits_answers("coal-one-sector-each", "reads one sector for each entry, whatever its count",
                      [](const Bytes& q, ModelTarget& model, Answers& answers) {
                        const auto entries = observer::coalesced_tail(q);
                        for (size_t i = 0; i < entries.size() && i + 1 < answers.size(); ++i) {
                          answers[i + 1].bytes =
                              model.perform_read(q, entries[i].tag, entries[i].lba, 1, Session{});
                        }
                      }));
  r.add(edits_answers("coal-clips", "serves an entry of too many sectors as far as it goes",
                      [](const Bytes& q, ModelTarget& model, Answers& answers) {
                        const auto entries = observer::coalesced_tail(q);
                        for (size_t i = 0; i < entries.size() && i + 1 < answers.size(); ++i) {
                          const auto most = static_cast<unsigned>(model.max_sectors());
                          answers[i + 1].bytes = model.perform_read(
                              q, entries[i].tag, entries[i].lba,
                              std::min<unsigned>(entries[i].count, most), Session{});
                        }
                      }));
  r.add(edits_answers("coal-reads-reserved-bytes",
                      "wants the reserved bytes of an entry to be zero",
                      [](const Bytes& q, ModelTarget&, Answers& answers) {
                        constexpr size_t reserved_at = observer::at::coalesced + 1 + 10;
                        if (q.size() > reserved_at && q[reserved_at] != 0) {
                          answers.resize(1);
                        }
                      }));
  r.add(edits_answers("coal-errors-carry-bytes", "sends an error with the data of the read before",
                      [](const Bytes&, ModelTarget&, Answers& answers) {
                        for (size_t i = 1; i < answers.size(); ++i) {
                          const Bytes& good = answers[i - 1].bytes;
                          Bytes& bad = answers[i].bytes;
                          if (failed(bad) && good.size() > bad.size()) {
                            bad.insert(bad.end(), good.begin() + observer::at::ata_data,
                                       good.end());
                          }
                        }
                      }));
  Deviant leaky;
  leaky.name = "coal-short-replies-carry-the-frame-before";
  leaky.story = "fills errors of a coalesced request with what another frame left in the buffer";
  leaky.make = [] {
    auto before = std::make_shared<Bytes>();
    return [before](const Bytes& q, ModelTarget&, const Forward& forward) {
      Answers answers = forward(q);
      for (Answer& a : answers) {
        for (size_t i = a.bytes.size();
             answers.size() > 1 && i < observer::kMinFrameBytes && i < before->size(); ++i) {
          a.bytes.push_back((*before)[i]);
        }
      }
      if (q.size() >= observer::kMinFrameBytes * 2) {
        *before = q;
      }
      return answers;
    };
  };
  r.add(leaky);
  Deviant overtakes;
  overtakes.name = "coal-overtakes-writes";
  overtakes.story = "serves coalesced reads before the write that came ahead of them";
  overtakes.make = [] {
    auto old = std::make_shared<std::map<uint64_t, Bytes>>();
    return [old](const Bytes& q, ModelTarget& model, const Forward& forward) {
      if (is_write(q)) {
        (*old)[*observer::get(q, F::ata_lba)] = model.read_sector(*observer::get(q, F::ata_lba));
        return forward(q);
      }
      const bool coalesced = is_read(q) && q.size() > observer::kMinFrameBytes;
      const std::map<uint64_t, Bytes> now = model.disk;
      for (const auto& [lba, data] : *old) {
        if (coalesced) {
          model.disk[lba] = data;
        }
      }
      old->clear();
      Answers answers = forward(q);
      if (coalesced) {
        model.disk = now;
      }
      return answers;
    };
  };
  r.add(overtakes);
  r.add(afterwards("coal-marks-its-tags",
                   "remembers the tags of coalesced reads as if they were writes",
                   [](const Bytes& q, ModelTarget& model, Session& s) {
                     if (is_read(q) && s.coalesced && s.tags != Session::Tags::none) {
                       for (const CoalescedEntry& e : observer::coalesced_tail(q)) {
                         model.remember_tag(s, ModelTarget::serial_of(s, e.tag));
                       }
                     }
                   }));
  r.add(deviants::spoils(
      "coal-ignores-reservations", "serves further reads to who is locked out",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        Answers answers = forward(q);
        if (is_read(q) && !model.reserved.empty() && !answers.empty() &&
            observer::get(answers[0].bytes, F::error) == observer::aoe_error::reserved &&
            model.sessions[source_of(q)].coalesced) {
          for (const CoalescedEntry& e : observer::coalesced_tail(q)) {
            answers.push_back({model.perform_read(q, e.tag, e.lba, e.count, Session{}), 0});
          }
        }
        return answers;
      }));
  r.add(edits_answers("coal-ends-at-an-empty-entry", "serves nothing behind an entry of no sectors",
                      [](const Bytes& q, ModelTarget&, Answers& answers) {
                        const auto entries = observer::coalesced_tail(q);
                        for (size_t i = 0; i < entries.size(); ++i) {
                          if (entries[i].count == 0 && answers.size() > i + 1) {
                            answers.resize(i + 1);
                          }
                        }
                      }));
}

void add_counts(Registry& r) {
  struct Row {
    const char* id;
    const char* story;
    std::function<size_t(const Context&)> count;
    std::vector<std::string> fails_on;
  };
  const std::vector<Row> rows = {
      {"one", "one further read", [](const Context&) { return size_t{1}; }, {"coal-header-only"}},
      {"two",
       "two further reads",
       [](const Context&) { return size_t{2}; },
       {"coal-loses-the-last", "coal-data-of-the-first"}},
      {"seventeen",
       "seventeen further reads",
       [](const Context&) { return size_t{17}; },
       {"coal-sixteen-at-most", "coal-lba-of-the-header"}},
      {"as-many-as-fit",
       "as many further reads as the frame holds, 255 at most",
       entries_that_fit,
       {"coal-sixteen-at-most", "coal-loses-the-last"}},
  };
  for (const Row& row : rows) {
    r.add({
        .id = fmt::format("coalesced.count.{}", row.id),
        .title = fmt::format("A read with {}: each is answered with its own tag, LBA and data",
                             row.story),
        .clauses = {"COAL-EACH"},
        .needs = {Need::write},
        .extensions = {"reset", "coalesced_read"},
        .fails_on = row.fails_on,
        .run = [row](Context& t) { judge_scattered(t, row.count(t)); },
    });
  }

  r.add({
      .id = "coalesced.count.zero",
      .title = "A count of 0 means an ordinary read, whatever follows",
      .clauses = {"COAL-FRAME"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-counts-entries-itself"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(), {{0, 1}, {1, 1}, {2, 1}});
            together.ask(together.frame(uint8_t{0}), 1);
            together.expect_replies(1);
          },
  });
  r.add(deviants::spoils(
      "coal-counts-entries-itself", "serves the entries of a frame without its count",
      [](const Bytes& q, ModelTarget&, const Forward& forward) {
        Bytes changed = q;
        if (is_read(q) && q.size() > observer::kMinFrameBytes) {
          changed[observer::at::coalesced] = static_cast<uint8_t>(
              (q.size() - observer::at::coalesced - 1) / observer::kCoalescedEntryBytes);
        }
        return forward(changed);
      }));

  r.add({
      .id = "coalesced.frame.one-more-than-fits",
      .title = "A count one above what the frame holds: what is there is served, and nothing else",
      .clauses = {"COAL-FRAME"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .hostile = true,
      .fails_on = {"coal-believes-its-count", "coal-all-or-nothing"},
      .run =
          [](Context& t) {
            // Where the frame could hold more than a count can say, the count stays at its limit.
            const size_t count = std::min(entries_that_fit(t), kEntriesMax - 1);
            prepare(t, count + 1);
            Together together(t, t.a(), scattered(t, count));
            together.ask(together.frame(static_cast<uint8_t>(count + 1)), count + 1);
            together.expect_replies(count + 1);
            for (size_t i = 0; i < together.reads().size(); ++i) {
              together.expect_data(i, content(together.reads()[i].lba - t.scratch().lba));
            }
          },
  });
  r.add({
      .id = "coalesced.frame.count-255",
      .title = "A count of 255 in a frame of five entries: five are served",
      .clauses = {"COAL-FRAME"},
      .extensions = {"reset", "coalesced_read"},
      .hostile = true,
      .fails_on = {"coal-believes-its-count", "coal-all-or-nothing"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(), {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}});
            together.ask(together.frame(uint8_t{255}), 6);
            together.expect_replies(6);
          },
  });
  r.add(edits_answers(
      "coal-serves-a-cut-entry", "serves an entry that the frame cuts",
      [](const Bytes& q, ModelTarget& model, Answers& answers) {
        const size_t tail = q.size() - observer::at::coalesced - 1;
        if (tail % observer::kCoalescedEntryBytes != 0) {
          answers.push_back({model.perform_read(q, 0, 0, 1, Session{}), answers.back().delay_ns});
        }
      }));
  r.add({
      .id = "coalesced.frame.cut-entry",
      .title =
          "An entry that the frame cuts, after any of its bytes, is not served; those before are",
      .clauses = {"COAL-FRAME"},
      .extensions = {"reset", "coalesced_read"},
      .hostile = true,
      .fails_on = {"coal-serves-a-cut-entry", "coal-all-or-nothing"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            for (size_t missing = 1; missing <= observer::kCoalescedEntryBytes; ++missing) {
              Together together(t, t.a(), {{0, 1}, {1, 1}, {2, 1}, {3, 1}});
              Frame frame = together.frame();
              frame.cut(frame.size() - missing);
              together.ask(frame, 3);
              together.expect_replies(3);
            }
          },
  });
  r.add({
      .id = "coalesced.frame.padding-is-no-entry",
      .title = "A count in a frame of the minimum length: the padding behind the entry is not "
               "served twice",
      .clauses = {"COAL-FRAME"},
      .extensions = {"reset", "coalesced_read"},
      .hostile = true,
      .fails_on = {"coal-believes-its-count"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            // 37 bytes and one entry are 53; the padding to 60 does not hold a second one.
            Together together(t, t.a(), {{0, 1}, {1, 1}});
            together.ask(together.frame(uint8_t{3}), 2);
            together.expect_replies(2);
          },
  });
}

void add_entries(Registry& r) {
  r.add({
      .id = "coalesced.replies.in-order",
      .title = "The header's own read is answered first, the others in the order of the list",
      .clauses = {"COAL-ORDER"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-reversed"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(),
                              {{7, 1}, {3, 1}, {5, 1}, {0, 1}, {6, 1}, {1, 1}, {4, 1}, {2, 1}});
            together.ask();
            together.expect_replies(together.reads().size());
            for (size_t i = 0; i < together.reads().size(); ++i) {
              t.expect(observer::get(together.replies()[i], F::tag) == together.reads()[i].tag,
                       fmt::format("reply {} carries tag {:#010x}", i, together.reads()[i].tag),
                       fmt::format("tag {:#010x}", *observer::get(together.replies()[i], F::tag)));
            }
          },
  });
  r.add({
      .id = "coalesced.replies.own-tags",
      .title =
          "Each reply carries the tag of its own entry, any 32 bits, and the rules of the header",
      .clauses = {"COAL-EACH"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-one-tag"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(), {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}});
            const uint32_t tags[] = {0x01020304, 0, 0xffffffff, 0x80000000, 0x04030201};
            for (size_t i = 0; i < together.reads().size(); ++i) {
              together.reads()[i].tag = tags[i];
            }
            together.ask();
            together.expect_replies(together.reads().size());
            for (size_t i = 0; i < together.reads().size(); ++i) {
              const Exchange x = together.of(i);
              t.expect_good_ata(x);
              t.expect_field(x, F::flag_response, 1);
              t.expect_field(x, F::shelf, t.target().shelf);
              t.expect_field(x, F::slot, t.target().slot);
              t.expect_field(x, F::command, observer::command::ata);
            }
          },
  });
  r.add({
      .id = "coalesced.entry.many-sectors",
      .title = "Each entry has its own sector count, from one to the most that a frame carries",
      .clauses = {"COAL-EACH"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-one-sector-each"},
      .run =
          [](Context& t) {
            const uint8_t most = t.sectors_max();
            prepare(t, size_t{4} * most);
            std::vector<Read> reads = {{t.scratch().lba, 1}};
            for (uint8_t n = most; n > 0; --n) {
              reads.push_back({t.scratch().lba + n, n});
            }
            Together together(t, t.a(), reads);
            together.ask();
            together.expect_replies(reads.size());
            for (size_t i = 0; i < reads.size(); ++i) {
              together.expect_data(i, content(reads[i].lba - t.scratch().lba, reads[i].count));
            }
          },
  });
  r.add({
      .id = "coalesced.entry.same-sector",
      .title = "One sector asked for by every entry is sent as often as it is asked for",
      .clauses = {"COAL-EACH"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-loses-the-last"},
      .run =
          [](Context& t) {
            prepare(t, 1);
            Together together(t, t.a(), std::vector<Read>(9, {t.scratch().lba, 1}));
            together.ask();
            together.expect_replies(9);
            for (size_t i = 0; i < 9; ++i) {
              together.expect_data(i, content(0));
            }
          },
  });
  r.add({
      .id = "coalesced.entry.28-bit",
      .title = "A 28-bit read carries 28-bit reads: the upper bits of an entry's LBA are not read",
      .clauses = {"COAL-COMMAND"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-28-bit-unmasked"},
      .run =
          [](Context& t) {
            t.needs_scratch_28(4);
            prepare(t, 4);
            const uint64_t lba = t.scratch().lba;
            Together together(
                t, t.a(), {{lba, 1}, {lba + 1, 1}, {(0x5aULL << 40) + kLba28 + lba + 2, 1}}, false);
            together.ask();
            together.expect_replies(3);
            together.expect_data(0, content(0));
            together.expect_data(1, content(1));
            const Exchange x = together.of(2);
            t.level(Level::should);
            t.expect_good_ata(x);
            t.expect_data(x, content(2));
          },
  });
  r.add({
      .id = "coalesced.entry.48-bit",
      .title = "A 48-bit read carries 48-bit reads: an LBA of more than 28 bits is not cut",
      .clauses = {"COAL-COMMAND"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-48-bit-masked"},
      .run =
          [](Context& t) {
            prepare(t, 3);
            const uint64_t lba = t.scratch().lba;
            const uint64_t high = (1ULL << 40) + lba + 1;
            if (high < t.target().sectors) {
              t.inconclusive("the disk is larger than this question");
            }
            Together together(t, t.a(), {{lba, 1}, {high, 1}, {lba + 2, 1}});
            together.ask();
            together.expect_replies(3);
            together.expect_data(0, content(0));
            t.expect_ata_error(together.of(1), observer::ata::error_idnf);
            together.expect_data(2, content(2));
          },
  });
  r.add({
      .id = "coalesced.entry.reserved-bytes",
      .title = "The reserved bytes of an entry are not read",
      .clauses = {"COAL-EACH"},
      .level = Level::should,
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-reads-reserved-bytes"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(), {{0, 1}, {1, 1}});
            Frame frame = together.frame();
            constexpr size_t reserved_at = observer::at::coalesced + 1 + 10;
            constexpr size_t reserved_bytes = 5;
            for (size_t i = 0; i < reserved_bytes; ++i) {
              frame.byte(reserved_at + i, 0xa5);
            }
            together.ask(frame, 2);
            together.expect_replies(2);
            t.expect_good_ata(together.of(1));
          },
  });
  r.add({
      .id = "coalesced.entry.no-sectors",
      .title = "An entry of no sectors does not end the others",
      .clauses = {"COAL-ERRORS"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-ends-at-an-empty-entry"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Together together(t, t.a(), {{0, 1}, {1, 0}, {2, 1}});
            together.ask();
            t.expect_good_ata(together.of(0));
            t.expect_good_ata(together.of(2));
            const Exchange empty = together.of(1);
            t.judge(empty, Outcomes()
                               .pass("a good reply without data", seen::good_ata)
                               .info("an entry of no sectors is aborted", seen::ata_abort)
                               .info("an entry of no sectors gets error 2", seen::aoe_error(2))
                               .info("an entry of no sectors is not answered", seen::silence));
          },
  });
}

void add_errors(Registry& r) {
  struct Row {
    const char* id;
    const char* story;
    std::vector<size_t> bad;
  };
  const std::vector<Row> rows = {
      {"in-the-middle", "An entry past the end, in the middle", {2}},
      {"first", "A header past the end", {0}},
      {"last", "A last entry past the end", {4}},
      {"all-but-one", "All but one past the end", {0, 1, 2, 4}},
  };
  for (const Row& row : rows) {
    const bool last_only = std::string(row.id) == "last";
    r.add({
        .id = fmt::format("coalesced.error.{}", row.id),
        .title = fmt::format("{}: IDNF for it, data for the others", row.story),
        .clauses = {"COAL-ERRORS"},
        .needs = {Need::write},
        .extensions = {"reset", "coalesced_read"},
        .fails_on = {last_only ? "coal-loses-the-last" : "coal-stops-at-an-error"},
        .run =
            [row](Context& t) {
              prepare(t, 5);
              std::vector<Read> reads;
              for (uint64_t i = 0; i < 5; ++i) {
                const bool bad = std::find(row.bad.begin(), row.bad.end(), i) != row.bad.end();
                reads.push_back({bad ? t.target().sectors + i : t.scratch().lba + i, 1});
              }
              Together together(t, t.a(), reads);
              together.ask();
              together.expect_replies(5);
              for (size_t i = 0; i < 5; ++i) {
                if (reads[i].lba >= t.target().sectors) {
                  t.expect_ata_error(together.of(i), observer::ata::error_idnf);
                } else {
                  together.expect_data(i, content(i));
                }
              }
            },
    });
  }
  r.add({
      .id = "coalesced.error.too-many-sectors",
      .title = "An entry of more sectors than a frame carries is refused, the others are served",
      .clauses = {"COAL-ERRORS"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-clips"},
      .run =
          [](Context& t) {
            prepare(t, 4);
            const uint64_t lba = t.scratch().lba;
            Together together(t, t.a(), {{lba, 1}, {lba + 1, 255}, {lba + 2, 1}});
            together.ask();
            together.expect_replies(3);
            together.expect_data(0, content(0));
            together.expect_data(2, content(2));
            t.judge(together.of(1),
                    Outcomes()
                        .pass("error 2", seen::aoe_error(2))
                        .info("too many sectors are answered with an ATA abort", seen::ata_abort)
                        .fail("too many sectors were served", seen::good_ata));
          },
  });
  r.add({
      .id = "coalesced.error.carries-no-data",
      .title = "The reply to a failed entry carries no data of the entries beside it",
      .clauses = {"COAL-CLEAN"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-errors-carry-bytes"},
      .run =
          [](Context& t) {
            prepare(t, 4);
            const uint64_t lba = t.scratch().lba;
            Together together(t, t.a(),
                              {{lba, 1}, {t.target().sectors, 1}, {lba + 1, 255}, {lba + 2, 1}});
            together.ask();
            for (const size_t i : {size_t{1}, size_t{2}}) {
              const Exchange x = together.of(i);
              const Bytes& reply = t.expect_answer(x);
              for (size_t at = observer::at::ata_data; at < reply.size(); ++at) {
                t.expect(reply[at] == 0, x, "nothing but zeros behind the ATA registers",
                         observer::hex(BytesView(reply).subspan(at), 16),
                         {observer::Mark(at, reply.size() - at)});
              }
            }
          },
  });
  r.add({
      .id = "coalesced.replies.carry-nothing-else",
      .title = "In the replies to coalesced reads, good or failed, stand no bytes of another host",
      .clauses = {"COAL-CLEAN"},
      .needs = {Need::second_initiator},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-short-replies-carry-the-frame-before"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            t.plant(t.b());
            Together together(t, t.a(),
                              {{0, 1}, {t.target().sectors, 1}, {1, 255}, {1, 1}, {2, 0}});
            together.ask();
            for (const Bytes& reply : together.replies()) {
              t.expect_not_planted(together.of(0).request, reply);
            }
            for (size_t i = 0; i < 4; ++i) {
              t.expect_clean_padding(together.of(i));
            }
          },
  });
}

void add_not_meant(Registry& r) {
  r.add({
      .id = "coalesced.not-negotiated.padding-is-no-count",
      .title = "Without coalesced_read bytes behind the header of a read are padding, not a count",
      .clauses = {"COAL-OFF"},
      .extensions = {"command"},
      .fails_on = {"coal-without-asking"},
      .run =
          [](Context& t) {
            for (const uint8_t count : {1, 2, 255}) {
              Together together(t, t.a(), {{0, 1}, {1, 1}});
              together.ask(together.frame(count), 1);
              together.expect_replies(1);
              t.expect_good_ata(together.of(0));
            }
          },
  });
  r.add({
      .id = "coalesced.not-negotiated.with-other-features",
      .title = "Other features do not make a count of byte 36",
      .clauses = {"COAL-OFF"},
      .extensions = {"reset", "tag_random"},
      .fails_on = {"coal-without-asking"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "tag_random"});
            Together together(t, t.a(), {{0, 1}, {1, 1}});
            together.ask(together.frame(), 1);
            together.expect_replies(1);
          },
  });
  r.add({
      .id = "coalesced.writes.data-is-no-list",
      .title = "The data of a write that looks like a list of reads is data",
      .clauses = {"COAL-READS-ONLY"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-on-every-command"},
      .run =
          [](Context& t) {
            prepare(t, 2);
            Together list(t, t.a(), {{0, 1}, {1, 1}, {2, 1}, {3, 1}});
            const Frame as_read = list.frame();
            Bytes data(as_read.bytes().begin() + observer::at::coalesced, as_read.bytes().end());
            data.resize(observer::kSectorBytes, 0x11);
            const Bytes request = t.a().send(observer::write_request(t.scratch().lba, data));
            auto replies = t.a().collect(1, t.patience_ns());
            t.barrier();
            const auto more = t.a().collect(4, t.grace_ns());
            t.expect(replies.size() == 1 && more.empty(), "one reply to a write",
                     fmt::format("{} replies", replies.size() + more.size()));
            t.expect(observer::get(replies[0].bytes, F::tag) == observer::get(request, F::tag),
                     "the reply to the write", observer::summary(replies[0].bytes));
            t.expect_data(t.a().ask(observer::read_request(t.scratch().lba, 1)), data);
          },
  });
  r.add({
      .id = "coalesced.other-commands.no-list",
      .title = "Identify with bytes behind its header is answered once",
      .clauses = {"COAL-READS-ONLY"},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-on-every-command"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            Frame identify = observer::identify_request();
            observer::add_coalesced(identify, {{t.a().next_tag(), 0, 1}});
            t.a().send(identify);
            const auto replies = t.a().collect(1, t.patience_ns());
            t.barrier();
            const auto more = t.a().collect(1, t.grace_ns());
            t.expect(replies.size() == 1 && more.empty(), "one reply to identify",
                     fmt::format("{} replies", replies.size() + more.size()));
          },
  });
  r.add({
      .id = "coalesced.reserved.nothing-is-read",
      .title = "While another host holds the reservation no entry brings data",
      .clauses = {"COAL-RESERVED"},
      .needs = {Need::lockout, Need::second_initiator},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-ignores-reservations"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "coalesced_read"});
            t.after([&t] { t.b().ask(observer::reserve_request(observer::rcmd::force_set)); });
            const Exchange reserve =
                t.b().ask(observer::reserve_request(observer::rcmd::set, {t.b().mac()}));
            t.unsupported_if_refused(reserve);
            t.expect_no_error(reserve);
            Together together(t, t.a(), {{0, 1}, {1, 1}, {2, 1}});
            together.ask(together.frame(), 1);
            t.expect_error(together.of(0), observer::aoe_error::reserved);
            for (const Bytes& reply : together.replies()) {
              Exchange x = together.of(0);
              x.reply = reply;
              t.expect_error(x, observer::aoe_error::reserved);
            }
            t.info(fmt::format("while reserved, {} reads in one frame get {} errors", 3,
                               together.replies().size()));
          },
  });
}

void add_with_others(Registry& r) {
  r.add({
      .id = "coalesced.after-a-write.sees-it",
      .title = "A coalesced read right behind a write of the same sectors sees what was written",
      .clauses = {"COAL-OVERLAP"},
      .needs = {Need::write},
      .extensions = {"reset", "coalesced_read"},
      .fails_on = {"coal-overtakes-writes"},
      .run =
          [](Context& t) {
            prepare(t, 4);
            const uint64_t lba = t.scratch().lba;
            constexpr int rounds = 16;
            for (int i = 0; i < rounds; ++i) {
              const Bytes data = sector_of(fmt::format("round {}", i));
              Together together(t, t.a(), {{lba, 1}, {lba + 1, 1}, {lba + 2, 1}});
              const uint32_t tag = t.a().next_tag();
              t.a().collect(SIZE_MAX, 0);
              t.a().send(observer::write_request(lba + 1, data).set(F::tag, tag));
              t.a().send(together.frame());
              bool written = false;
              std::optional<Bytes> read;
              for (const auto& f : t.a().collect(4, t.patience_ns())) {
                written = written || observer::get(f.bytes, F::tag) == tag;
                if (observer::get(f.bytes, F::tag) == together.reads()[1].tag) {
                  read = f.bytes;
                }
              }
              if (!written || !read) {
                t.inconclusive("a write or the read behind it was not answered");
              }
              Exchange x = together.of(1);
              x.reply = read;
              t.expect_good_ata(x);
              t.expect_data(x, data);
            }
          },
  });

  for (const Inc inc : {Inc::be, Inc::le}) {
    const char* order = inc == Inc::be ? "be" : "le";
    r.add({
        .id = fmt::format("coalesced.with-tag-inc.served-again.{}", order),
        .title = "Under tag_inc a coalesced read that comes again is served again, every entry",
        .clauses = {"COAL-TAGS"},
        .needs = {Need::write},
        .extensions = {"reset", "coalesced_read", feature(inc)},
        .fails_on = {"coal-header-only", "coal-rejects-used-tags"},
        .run =
            [inc](Context& t) {
              prepare(t, 4);
              Counter c(t, t.a(), inc);
              c.negotiate(false);
              const uint64_t lba = t.scratch().lba;
              Together together(t, t.a(), {{lba, 1}, {lba + 1, 1}, {lba + 2, 1}, {lba + 3, 1}});
              for (Read& read : together.reads()) {
                read.tag = c.wire(c.take());
              }
              constexpr int times = 3;
              for (int i = 0; i < times; ++i) {
                Together again = together;
                again.ask();
                again.expect_replies(4);
                for (size_t n = 0; n < 4; ++n) {
                  again.expect_data(n, content(n));
                }
              }
            },
    });
    r.add({
        .id = fmt::format("coalesced.with-tag-inc.marks-nothing.{}", order),
        .title = "Under tag_inc the tags of coalesced reads are not remembered, those of writes "
                 "still are",
        .clauses = {"COAL-TAGS"},
        .needs = {Need::write},
        .extensions = {"reset", "coalesced_read", feature(inc)},
        .fails_on = {"coal-marks-its-tags"},
        .run =
            [inc](Context& t) {
              prepare(t, 4);
              Counter c(t, t.a(), inc);
              c.negotiate(false);
              const uint64_t lba = t.scratch().lba;
              const Bytes original = sector_of("original");
              const uint32_t written = c.write_new(lba, original);
              Together together(t, t.a(), {{lba, 1}, {lba + 1, 1}, {lba + 2, 1}});
              const uint32_t first = c.next();
              for (Read& read : together.reads()) {
                read.tag = c.wire(c.take());
              }
              together.ask();
              together.expect_replies(3);
              t.expect_good_ata(c.write(lba, sector_of("duplicate"), written));
              c.expect_disk(lba, original, "a duplicate behind a coalesced read was performed");
              const Bytes data = sector_of("under a read's tag");
              t.expect_good_ata(c.write(lba + 1, data, first + 1));
              c.expect_disk(lba + 1, data,
                            "a write under the tag of a coalesced read was not performed");
            },
    });
  }
  r.add(edits_answers("coal-rejects-used-tags",
                      "answers coalesced reads that come again without data",
                      [](const Bytes& q, ModelTarget& model, Answers& answers) {
                        Session& s = model.sessions[source_of(q)];
                        if (s.tags == Session::Tags::none) {
                          return;
                        }
                        const auto tag = static_cast<uint32_t>(*observer::get(q, F::tag));
                        if (!s.done.insert(tag).second) {
                          answers.resize(1);
                        }
                      }));
}

}  // namespace

void register_coalesced(Registry& r) {
  add_deviants(r);
  add_counts(r);
  add_entries(r);
  add_errors(r);
  add_not_meant(r);
  add_with_others(r);
}

}  // namespace conformance
