// Family profile: what initiators other than the Linux driver need of a target, each from its
// behaviour. A target may serve all that the documents say and be of no use to one of these; what
// counts is the user's choice (--profile). Reads only.

#include <fmt/format.h>

#include <algorithm>

#include "conformance/cases/registry.h"

namespace conformance {

using deviants::Deviant;
using deviants::edits_reply;
using observer::get;
using observer::identify_request;
using observer::identify_word;
using observer::kSectorBytes;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;

namespace {

constexpr uint64_t kEveryShelf = 0xffff;

bool is_ata(BytesView frame, uint8_t command) {
  return observer::is_aoe(frame) && get(frame, F::command) == observer::command::ata &&
         get(frame, F::ata_command) == command;
}

bool is_read(BytesView frame) {
  return is_ata(frame, ata::read) || is_ata(frame, ata::read_ext);
}

bool to_broadcast(BytesView frame) {
  return std::all_of(frame.begin(), frame.begin() + 6, [](uint8_t b) { return b == 0xff; });
}

Deviant identifies(const char* name, const char* story, void (*edit)(std::span<uint8_t>)) {
  return edits_reply(name, story, [edit](const Bytes& q, Bytes& reply) {
    if (is_ata(q, ata::identify) && reply.size() >= at::ata_data + kSectorBytes) {
      edit(std::span<uint8_t>(reply).subspan(at::ata_data, kSectorBytes));
    }
  });
}

Case need(const char* id, const char* title, const char* clause, const char* deviant,
          std::function<void(Context&)> run) {
  return {.id = id,
          .title = title,
          .clauses = {clause},
          .level = Level::interop,
          .fails_on = {deviant},
          .run = std::move(run)};
}

Bytes identify(Context& t, Frame question) {
  const Exchange x = t.a().ask(std::move(question));
  t.expect_good_ata(x);
  t.expect(x.data().size() == kSectorBytes, x, "512 bytes of identify data",
           fmt::format("{} bytes", x.data().size()));
  return x.data();
}

void register_ipxe(Registry& r) {
  r.add(deviants::ignores(
      "named-broadcasts-ignored", "is silent to a broadcast frame that names its shelf and slot",
      [](const Bytes& q, const deviants::ModelTarget&) {
        return observer::is_aoe(q) && to_broadcast(q) && get(q, F::shelf) != kEveryShelf;
      }));
  r.add(need("profile.ipxe.discovery",
             "iPXE finds a target by a short broadcast config query for its shelf and slot",
             "IPXE-DISCOVERY", "named-broadcasts-ignored", [](Context& t) {
               // iPXE's tags have this upper half.
               constexpr uint32_t magic = 0xebed0000;
               Frame query = observer::config_request(observer::ccmd::read);
               query.dst(observer::kBroadcastMac).unpadded();
               query.set(F::tag, magic | (t.a().next_tag() & 0xffff));
               t.expect_no_error(t.a().ask(query));
             }));

  constexpr uint64_t device_bits = 0xe0;
  r.add(
      deviants::edits_request("device-bits-are-lba", "reads 32 bits of a 28-bit LBA", [](Bytes& q) {
        constexpr unsigned fourth_byte = 24;
        if (is_ata(q, ata::read) && q.size() >= at::ata_data &&
            (*get(q, F::ata_lba) >> fourth_byte & 0xf0) != 0) {
          set(q, F::ata_command, ata::read_ext);
          set(q, F::ata_flag_extended, 1);
        }
      }));
  r.add(need("profile.ipxe.device-bits",
             "A 28-bit read and an identify with iPXE's device bits behind the LBA are served",
             "IPXE-DEVICE", "device-bits-are-lba", [](Context& t) {
               constexpr unsigned fourth_byte = 24;
               Frame read = observer::read_request(1, 1, false);
               read.set(F::ata_lba, 1 | device_bits << fourth_byte);
               const Exchange plain = t.a().ask(observer::read_request(1, 1, false));
               t.expect_good_ata(plain);
               const Exchange x = t.a().ask(read);
               t.expect_good_ata(x);
               t.expect_data(x, plain.data());
               Frame question = identify_request();
               question.set(F::ata_lba, device_bits << fourth_byte);
               identify(t, question);
             }));
}

void register_plan9(Registry& r) {
  r.add(edits_reply("read-replies-padded", "adds four bytes behind the data of a read",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_read(q) && reply.size() >= at::ata_data + kSectorBytes) {
                        reply.resize(reply.size() + 4);
                      }
                    }));
  r.add(need("profile.plan9.read-length", "The reply to a read is exactly as long as its data says",
             "P9-LENGTH", "read-replies-padded", [](Context& t) {
               for (const uint8_t sectors : {uint8_t{1}, t.sectors_max()}) {
                 for (const bool wide : {true, false}) {
                   const Exchange x = t.a().ask(observer::read_request(0, sectors, wide));
                   t.expect_good_ata(x);
                   const size_t wanted = at::ata_data + sectors * kSectorBytes;
                   t.expect(x.reply->size() == wanted, x, fmt::format("{} bytes", wanted),
                            fmt::format("{} bytes", x.reply->size()),
                            {observer::Mark(std::min(wanted, x.reply->size() - 1), 1)});
                 }
               }
             }));

  constexpr uint16_t lba_bit = 1U << 9;
  r.add(identifies(
      "identify-claims-no-lba", "serves LBAs, and does not claim them in word 49",
      [](std::span<uint8_t> d) { d[2 * 49 + 1] &= static_cast<uint8_t>(~(lba_bit >> 8)); }));
  r.add(need("profile.plan9.lba-bit", "Word 49 of identify claims LBA", "P9-LBA",
             "identify-claims-no-lba", [](Context& t) {
               const uint16_t word = identify_word(identify(t, identify_request()), 49);
               t.expect((word & lba_bit) != 0, "bit 9 of word 49 is set",
                        fmt::format("word 49 is {:#06x}", word));
             }));

  r.add(edits_reply(
      "advertises-no-sectors", "advertises a sector count of 0", [](const Bytes& q, Bytes& reply) {
        if (get(q, F::command) == observer::command::config && reply.size() >= at::cfg_string) {
          set(reply, F::cfg_sector_count, 0);
        }
      }));
  r.add(need("profile.plan9.sector-count", "The advertised sector count is not 0", "P9-SECTORS",
             "advertises-no-sectors", [](Context& t) {
               const Exchange x = t.a().ask(observer::config_request(observer::ccmd::read));
               t.expect_no_error(x);
               t.expect(x.field(F::cfg_sector_count) != 0, x, "a sector count of at least 1", "0",
                        {F::cfg_sector_count});
             }));

  r.add(deviants::ignores("identify-wants-lba-zero", "is silent to an identify whose LBA is not 0",
                          [](const Bytes& q, const deviants::ModelTarget&) {
                            return is_ata(q, ata::identify) && q.size() >= at::ata_data &&
                                   get(q, F::ata_lba) != 0U;
                          }));
  r.add(need("profile.plan9.identify", "Identify with 0xA0 in the LBA's fourth byte is served",
             "P9-IDENTIFY", "identify-wants-lba-zero", [](Context& t) {
               constexpr uint64_t obsolete_bits = 0xa0ULL << 24;
               Frame question = identify_request();
               question.set(F::ata_lba, obsolete_bits);
               identify(t, question);
             }));
}

void register_winaoe(Registry& r) {
  r.add(deviants::ignores("identify-wants-no-e", "is silent to an identify with the E flag",
                          [](const Bytes& q, const deviants::ModelTarget&) {
                            return is_ata(q, ata::identify) && get(q, F::ata_flag_extended) == 1U;
                          }));
  r.add(need("profile.winaoe.identify", "A broadcast identify with the E flag is served",
             "WIN-IDENTIFY", "identify-wants-no-e", [](Context& t) {
               Frame question = identify_request();
               question.dst(observer::kBroadcastMac).set(F::ata_flag_extended, 1);
               identify(t, question);
             }));

  constexpr size_t capacity_at = 200;
  r.add(identifies("identify-leaves-words-100-empty",
                   "tells the capacity of a small disk in words 60-61 only",
                   [](std::span<uint8_t> d) { observer::store_le(d, capacity_at, 8, 0); }));
  r.add(need("profile.winaoe.capacity", "Words 100 to 103 of identify hold the capacity",
             "WIN-CAPACITY", "identify-leaves-words-100-empty", [](Context& t) {
               const Bytes d = identify(t, identify_request());
               const uint64_t small = observer::load_le(d, 120, 4);
               const uint64_t got = observer::load_le(d, capacity_at, 8);
               t.expect(got != 0 && got >= small,
                        fmt::format("at least {} in words 100-103", small), fmt::format("{}", got));
             }));
}

}  // namespace

void register_profile(Registry& r) {
  register_ipxe(r);
  register_plan9(r);
  register_winaoe(r);
}

}  // namespace conformance
