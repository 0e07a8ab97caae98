// Family crc8x4: the four check bytes behind the data of a write request and of a read reply. The
// check is calculated here from its definition, a bit at a time; neither a target's code nor the
// codec's is asked.

#include "conformance/cases/families/negotiation.h"

namespace conformance {

using namespace negotiation;  // NOLINT(google-build-using-namespace)

namespace {

constexpr size_t kLanes = 4;

// Byte i, from the ATA header on, belongs to lane i mod 4. Polynomial 0x4D (x^8 is implied), each
// byte and the result with their bits in reverse order, register preset to ones, no final
// inversion.
Bytes check_of(BytesView bytes) {
  const auto reversed = [](uint8_t value) {
    uint8_t out = 0;
    for (int bit = 0; bit < 8; ++bit) {
      out = static_cast<uint8_t>(out << 1 | (value >> bit & 1));
    }
    return out;
  };
  constexpr uint8_t polynomial = 0x4d;
  Bytes lanes(kLanes, 0xff);
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint8_t& lane = lanes[i % kLanes];
    lane ^= reversed(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) {
      lane = static_cast<uint8_t>((lane & 0x80) != 0 ? lane << 1 ^ polynomial : lane << 1);
    }
  }
  for (uint8_t& lane : lanes) {
    lane = reversed(lane);
  }
  return lanes;
}

// A write as it goes out, so that everything the check covers is fixed, with its check behind.
Bytes checked_write(Initiator& who, uint64_t lba, BytesView data,
                    std::optional<uint32_t> tag = std::nullopt) {
  Frame frame = observer::write_request(lba, data);
  if (tag) {
    frame.set(F::tag, *tag);
  }
  Bytes bytes = who.stamp(frame);
  const Bytes check = check_of(BytesView(bytes).subspan(observer::at::argument));
  bytes.insert(bytes.end(), check.begin(), check.end());
  return bytes;
}

void expect_on_disk(Context& t, uint64_t lba, BytesView data, const std::string& story) {
  const Exchange x =
      t.a().ask(observer::read_request(lba, static_cast<uint8_t>(data.size() / 512)));
  t.expect_good_ata(x);
  const Bytes got = x.data();
  t.expect(std::equal(got.begin(), got.end(), data.begin(), data.end()), x, story,
           observer::quoted(got, 24), {observer::Mark(observer::at::ata_data, got.size())});
}

// The reply to a read of `sectors` carries the right check, and nothing behind it.
void expect_checked(Context& t, const Exchange& x, size_t sectors) {
  t.expect_good_ata(x);
  const Bytes& reply = *x.reply;
  const size_t end = observer::at::ata_data + sectors * observer::kSectorBytes;
  t.expect(reply.size() == end + kLanes, x,
           fmt::format("a reply of {} bytes: header, data and four bytes of check", end + kLanes),
           fmt::format("{} bytes", reply.size()));
  const Bytes wanted =
      check_of(BytesView(reply).subspan(observer::at::argument, end - observer::at::argument));
  const Bytes got(reply.begin() + static_cast<ptrdiff_t>(end), reply.end());
  t.expect(got == wanted, x, "the check " + observer::hex(wanted), observer::hex(got),
           {observer::Mark(end, kLanes)});
}

// --- Deviants ----------------------------------------------------------------------------------

// A deviant that judges writes by a check of its own.
Deviant checks_by(std::string name, std::string story,
                  std::function<void(Bytes&)> before_the_check) {
  return deviants::edits_request(
      std::move(name), std::move(story), [edit = std::move(before_the_check)](Bytes& q) {
        const size_t data = is_write(q) ? observer::ata_data_bytes(q) : 0;
        const size_t end = observer::at::ata_data + data;
        if (data != 0 && q.size() == end + kLanes) {
          edit(q);
        }
      });
}

void put_good_check(Bytes& q) {
  q.resize(q.size() - kLanes);
  const Bytes check = check_of(BytesView(q).subspan(observer::at::argument));
  q.insert(q.end(), check.begin(), check.end());
}

bool carries_check(const Bytes& request, const Bytes& reply) {
  return is_read(request) && reply.size() > observer::at::ata_data + observer::kSectorBytes &&
         reply.size() % observer::kSectorBytes ==
             (observer::at::ata_data + kLanes) % observer::kSectorBytes;
}

void add_deviants(Registry& r) {
  r.add(checks_by("crc-not-checked", "takes writes whatever their check says", put_good_check));
  for (size_t lane = 0; lane < kLanes; ++lane) {
    r.add(checks_by(fmt::format("crc-lane-{}-not-checked", lane),
                    fmt::format("does not look at lane {} of the check", lane), [lane](Bytes& q) {
                      Bytes good = q;
                      put_good_check(good);
                      const size_t at = q.size() - kLanes + lane;
                      q[at] = good[at];
                    }));
  }
  r.add(checks_by("crc-covers-data-only", "leaves the ATA header out of the check", [](Bytes& q) {
    // Whoever sent a header that does not fit the check gets through.
    Bytes good = q;
    put_good_check(good);
    Bytes meant = q;
    meant[observer::field(F::ata_lba).offset] ^= 1;
    put_good_check(meant);
    if (std::equal(q.end() - kLanes, q.end(), meant.end() - kLanes)) {
      q = good;
    }
  }));
  r.add(checks_by("crc-drops-good-ones", "drops writes that carry a check",
                  [](Bytes& q) { q.back() ^= 0x40; }));
  r.add(deviants::ignores("crc-wants-a-check", "drops writes without a check once crc8x4 is active",
                          [](const Bytes& q, const ModelTarget& model) {
                            const auto it = model.sessions.find(
                                q.size() >= observer::at::argument ? source_of(q) : Mac{});
                            return is_write(q) && it != model.sessions.end() && it->second.crc &&
                                   q.size() == observer::at::ata_data + observer::ata_data_bytes(q);
                          }));
  r.add(deviants::spoils("crc-bad-ones-are-written",
                         "answers nothing to a bad check, and writes the data",
                         [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                           Answers answers = forward(q);
                           if (is_write(q) && answers.empty()) {
                             model.disk[*observer::get(q, F::ata_lba)] =
                                 Bytes(q.begin() + observer::at::ata_data,
                                       q.begin() + observer::at::ata_data + observer::kSectorBytes);
                           }
                           return answers;
                         }));
  r.add(
      deviants::spoils("crc-bad-ones-are-refused", "refuses a bad check with error 2",
                       [](const Bytes& q, ModelTarget& model, const Forward& forward) {
                         Answers answers = forward(q);
                         if (is_write(q) && answers.empty()) {
                           answers.push_back({model.error_reply(q, 2, observer::at::ata_data), 0});
                         }
                         return answers;
                       }));
  r.add(deviants::edits_reply("crc-reads-without", "sends reads without a check",
                              [](const Bytes& request, Bytes& reply) {
                                if (carries_check(request, reply)) {
                                  reply.resize(reply.size() - kLanes);
                                }
                              }));
  r.add(deviants::edits_reply("crc-lanes-reversed", "sends the four lanes in reverse order",
                              [](const Bytes& request, Bytes& reply) {
                                if (carries_check(request, reply)) {
                                  std::reverse(reply.end() - kLanes, reply.end());
                                }
                              }));
  r.add(deviants::edits_reply("crc-of-the-first-sector",
                              "calculates the check of a read over one sector",
                              [](const Bytes& request, Bytes& reply) {
                                if (carries_check(request, reply)) {
                                  const Bytes check = check_of(BytesView(reply).subspan(
                                      observer::at::argument, 12 + observer::kSectorBytes));
                                  std::copy(check.begin(), check.end(), reply.end() - kLanes);
                                }
                              }));
  r.add(beforehand("crc-without-asking", "keeps checks for who never asked for them",
                   [](const Bytes&, ModelTarget&, Session& s) { s.crc = true; }));
  r.add(deviants::edits_reply(
      "crc-behind-errors", "adds a check to errors, too", [](const Bytes& request, Bytes& reply) {
        if (is_read(request) && reply.size() == observer::at::ata_data) {
          const Bytes check = check_of(BytesView(reply).subspan(observer::at::argument));
          reply.insert(reply.end(), check.begin(), check.end());
        }
      }));
  r.add(deviants::spoils(
      "crc-bad-ones-are-remembered", "remembers the tag of a write that it dropped",
      [](const Bytes& q, ModelTarget& model, const Forward& forward) {
        Answers answers = forward(q);
        Session& s = model.sessions[source_of(q)];
        if (is_write(q) && answers.empty() && s.tags == Session::Tags::be) {
          model.remember_tag(s, static_cast<uint32_t>(*observer::get(q, F::tag)));
        }
        return answers;
      }));
  r.add(deviants::spoils("crc-first-coalesced-only", "checks the first of coalesced reads only",
                         [](const Bytes& q, ModelTarget&, const Forward& forward) {
                           Answers answers = forward(q);
                           for (size_t i = 1; i < answers.size(); ++i) {
                             if (carries_check(q, answers[i].bytes)) {
                               answers[i].bytes.back() ^= 1;
                             }
                           }
                           return answers;
                         }));
}

void add_writes(Registry& r) {
  r.add({
      .id = "crc8x4.write.good",
      .title =
          "A write with the right check is performed, for one sector and for the most that fit",
      .clauses = {"CRC-WRITE"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-drops-good-ones"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "crc8x4"});
            const uint64_t lba = scratch_sector(t, 0);
            for (const size_t sectors : {size_t{1}, size_t{t.sectors_max()}}) {
              if (observer::at::ata_data + sectors * observer::kSectorBytes + kLanes >
                  t.frame_max()) {
                continue;  // the check would not fit the frame
              }
              scratch_sector(t, sectors);
              const Bytes data = sector_of(fmt::format("checked {}", sectors), sectors);
              const Bytes bytes = checked_write(t.a(), lba, data);
              t.expect_good_ata(t.a().ask(Frame::raw(bytes)));
              expect_on_disk(t, lba, data, "what was written with a good check is on the disk");
            }
          },
  });
  r.add({
      .id = "crc8x4.write.without-check",
      .title = "A write without the four bytes is taken as it is",
      .clauses = {"CRC-ABSENT"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-wants-a-check"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "crc8x4"});
            const uint64_t lba = scratch_sector(t, 0);
            const Bytes data = sector_of("without a check");
            t.expect_good_ata(t.a().ask(observer::write_request(lba, data)));
            expect_on_disk(t, lba, data, "what was written without a check is on the disk");
          },
  });
  for (size_t lane = 0; lane < kLanes; ++lane) {
    r.add({
        .id = fmt::format("crc8x4.write.bad-lane-{}", lane),
        .title = fmt::format(
            "A write with a wrong check in lane {} gets no answer and writes nothing", lane),
        .clauses = {"CRC-BAD"},
        .needs = {Need::write},
        .extensions = {"reset", "crc8x4"},
        .fails_on = {fmt::format("crc-lane-{}-not-checked", lane), "crc-bad-ones-are-refused"},
        .run =
            [lane](Context& t) {
              const uint64_t lba = scratch_sector(t, 0);
              const Bytes before = sector_of("before");
              t.expect_good_ata(t.a().ask(observer::write_request(lba, before)));
              negotiate(t, t.a(), {"reset", "crc8x4"});
              for (const uint8_t flip : {0x01, 0x80, 0xff}) {
                Bytes bytes = checked_write(t.a(), lba, sector_of("damaged"));
                bytes[bytes.size() - kLanes + lane] ^= flip;
                t.expect_silence_bytes(t.a(), bytes);
              }
              expect_on_disk(t, lba, before, "the disk is as it was before the damaged writes");
            },
    });
  }
  r.add({
      .id = "crc8x4.write.damaged-data",
      .title = "A bit turned in the data, anywhere, gets no answer and writes nothing",
      .clauses = {"CRC-BAD"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-not-checked", "crc-bad-ones-are-written"},
      .run =
          [](Context& t) {
            const uint64_t lba = scratch_sector(t, 0);
            const Bytes before = sector_of("before");
            t.expect_good_ata(t.a().ask(observer::write_request(lba, before)));
            negotiate(t, t.a(), {"reset", "crc8x4"});
            for (const size_t at : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{255},
                                    size_t{510}, size_t{511}}) {
              Bytes bytes = checked_write(t.a(), lba, sector_of("damaged"));
              bytes[observer::at::ata_data + at] ^= static_cast<uint8_t>(1U << at % 8);
              t.expect_silence_bytes(t.a(), bytes);
            }
            expect_on_disk(t, lba, before, "the disk is as it was before the damaged writes");
          },
  });
  r.add({
      .id = "crc8x4.write.damaged-lba",
      .title = "A bit turned in the LBA gets no answer: the check covers the ATA header",
      .clauses = {"CRC-BAD"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-covers-data-only"},
      .run =
          [](Context& t) {
            const uint64_t lba = scratch_sector(t, 2) & ~uint64_t{1};
            const Bytes before = sector_of("before");
            t.expect_good_ata(t.a().ask(observer::write_request(lba, before)));
            t.expect_good_ata(t.a().ask(observer::write_request(lba + 1, before)));
            negotiate(t, t.a(), {"reset", "crc8x4"});
            Bytes bytes = checked_write(t.a(), lba, sector_of("damaged"));
            bytes[observer::field(F::ata_lba).offset] ^= 1;
            t.expect_silence_bytes(t.a(), bytes);
            expect_on_disk(t, lba, before, "the sector that was meant is as it was");
            expect_on_disk(t, lba + 1, before, "the sector that was named is as it was");
          },
  });
  r.add({
      .id = "crc8x4.write.not-negotiated",
      .title = "Without crc8x4 four bytes behind the data are no check: the write is performed",
      .clauses = {"CRC-OFF"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-without-asking"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset"});
            const uint64_t lba = scratch_sector(t, 0);
            const Bytes data = sector_of("with bytes behind");
            Bytes bytes = checked_write(t.a(), lba, data);
            bytes.back() ^= 1;
            t.expect_good_ata(t.a().ask(Frame::raw(bytes)));
            expect_on_disk(t, lba, data, "what was written is on the disk");
          },
  });
  r.add({
      .id = "crc8x4.write.dropped-is-not-done",
      .title = "A write dropped for its check is not remembered: under tag_inc its repetition is "
               "performed",
      .clauses = {"CRC-BAD", "TAG-ONLY-PERFORMED"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4", "tag_inc_be"},
      .fails_on = {"crc-bad-ones-are-remembered"},
      .run =
          [](Context& t) {
            Counter c(t, t.a(), Inc::be);
            c.negotiate();
            expect_table(t, t.a().ask(c.stamp(table(t, {"crc8x4"}), c.take())), {"CRC8X4"});
            const uint64_t lba = scratch_sector(t, 0);
            c.write_new(lba + 1, sector_of("before"));
            const uint32_t value = c.take();
            const Bytes data = sector_of("repeated");
            Bytes damaged = checked_write(t.a(), lba, data, c.wire(value));
            const Bytes good = damaged;
            damaged[observer::at::ata_data] ^= 1;
            t.expect_silence_bytes(t.a(), damaged);
            t.expect_good_ata(t.a().ask(Frame::raw(good)));
            c.expect_disk(lba, data,
                          "the repetition of a dropped write was answered and not performed");
          },
  });
}

void add_reads(Registry& r) {
  r.add({
      .id = "crc8x4.read.carries-it",
      .title = "A read carries its check behind the data, the lanes in order",
      .clauses = {"CRC-READ"},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-reads-without", "crc-lanes-reversed"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "crc8x4"});
            for (const uint64_t lba : {uint64_t{0}, uint64_t{1}, t.target().sectors - 1}) {
              expect_checked(t, t.a().ask(observer::read_request(lba, 1)), 1);
              expect_checked(t, t.a().ask(observer::read_request(lba, 1, false)), 1);
            }
          },
  });
  r.add({
      .id = "crc8x4.read.many-sectors",
      .title = "The check of a longer read covers all of it",
      .clauses = {"CRC-READ"},
      .needs = {Need::write},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-of-the-first-sector"},
      .run =
          [](Context& t) {
            const uint64_t lba = scratch_sector(t, 0);
            const uint8_t most = t.sectors_max();
            scratch_sector(t, most);
            t.expect_good_ata(
                t.a().ask(observer::write_request(lba, sector_of("to be checked", most))));
            negotiate(t, t.a(), {"reset", "crc8x4"});
            for (uint8_t sectors = 1; sectors <= most; ++sectors) {
              if (observer::at::ata_data + sectors * observer::kSectorBytes + kLanes <=
                  t.frame_max()) {
                expect_checked(t, t.a().ask(observer::read_request(lba, sectors)), sectors);
              }
            }
          },
  });
  r.add({
      .id = "crc8x4.read.failed",
      .title = "A read that fails has no data, and no check",
      .clauses = {"CRC-READ"},
      .level = Level::should,
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-behind-errors"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "crc8x4"});
            const Exchange x = t.a().ask(observer::read_request(t.target().sectors, 1));
            t.expect_ata_error(x, observer::ata::error_idnf);
            t.expect_clean_padding(x);
          },
  });
  r.add({
      .id = "crc8x4.read.coalesced",
      .title = "Each of coalesced reads carries a check of its own",
      .clauses = {"CRC-READ"},
      .extensions = {"reset", "crc8x4", "coalesced_read"},
      .fails_on = {"crc-first-coalesced-only"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset", "crc8x4", "coalesced_read"});
            Frame read = observer::read_request(0, 1);
            std::vector<observer::CoalescedEntry> entries;
            constexpr uint64_t further = 3;
            for (uint64_t i = 1; i <= further; ++i) {
              entries.push_back({t.a().next_tag(), i, 1});
            }
            observer::add_coalesced(read, entries);
            Exchange x;
            x.request = t.a().send(read);
            x.sent = 1;
            const auto replies = t.a().collect(further + 1, t.patience_ns());
            t.expect(replies.size() == further + 1, "four replies to four reads",
                     fmt::format("{} replies", replies.size()));
            for (const auto& reply : replies) {
              x.reply = reply.bytes;
              expect_checked(t, x, 1);
            }
          },
  });
  r.add({
      .id = "crc8x4.read.not-negotiated",
      .title = "Without crc8x4 a read carries no check",
      .clauses = {"CRC-OFF"},
      .extensions = {"reset", "crc8x4"},
      .fails_on = {"crc-without-asking"},
      .run =
          [](Context& t) {
            negotiate(t, t.a(), {"reset"});
            const Exchange x = t.a().ask(observer::read_request(0, 1));
            t.expect_good_ata(x);
            t.expect(x.reply->size() == observer::at::ata_data + observer::kSectorBytes, x,
                     "a reply of 548 bytes", fmt::format("{} bytes", x.reply->size()));
          },
  });
}

}  // namespace

void register_crc8x4(Registry& r) {
  add_deviants(r);
  add_writes(r);
  add_reads(r);
}

}  // namespace conformance
