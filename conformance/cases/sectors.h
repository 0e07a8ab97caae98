#pragma once
// Words that the families on disks and lists share: recognisable sectors, the scratch range,
// reading and writing as a means to an end, and the shapes of deviants that look into ATA requests.
// Judges nothing by itself.

#include <algorithm>
#include <string>

#include "conformance/cases/registry.h"

namespace conformance {

// Content that is different for every seed and every sector, and has no two equal halves.
inline Bytes sector_pattern(uint64_t seed, size_t sectors = 1) {
  Bytes out;
  out.reserve(sectors * observer::kSectorBytes);
  uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ULL;
  while (out.size() < sectors * observer::kSectorBytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    out.push_back(static_cast<uint8_t>(state >> 32));
  }
  return out;
}

inline Bytes part(BytesView bytes, size_t offset, size_t size) {
  const BytesView view = bytes.subspan(offset, size);
  return {view.begin(), view.end()};
}

// How long the replies to many requests at once may be away: a durable write takes its time. Nobody
// waits that long when all of them come.
inline int64_t burst_wait_ns(Context& c) {
  return std::max(c.scaled(links::kNsPerSecond), c.disk_wait_ns());
}

// The first of `sectors` consecutive sectors that may be written to.
inline uint64_t scratch_lba(Context& c, uint64_t sectors) {
  if (c.scratch().count < sectors) {
    c.inconclusive("the scratch range has " + std::to_string(c.scratch().count) +
                   " sectors and this case needs " + std::to_string(sectors) +
                   ": give a larger --scratch");
  }
  return c.scratch().lba;
}

// How many sectors one request may ask for; the case ends where it is none.
inline size_t sectors_a_request(Context& c) {
  if (c.sectors_max() == 0) {
    c.inconclusive("the path does not carry a frame with a sector");
  }
  return c.sectors_max();
}

inline void put_sectors(Context& c, Initiator& from, uint64_t lba, BytesView data) {
  const size_t step = sectors_a_request(c) * observer::kSectorBytes;
  for (size_t at = 0; at < data.size(); at += step) {
    const size_t n = std::min(step, data.size() - at);
    c.expect_good_ata(
        from.ask(observer::write_request(lba + at / observer::kSectorBytes, data.subspan(at, n))));
  }
}

inline Bytes get_sectors(Context& c, Initiator& from, uint64_t lba, size_t count) {
  Bytes out;
  while (out.size() < count * observer::kSectorBytes) {
    const size_t done = out.size() / observer::kSectorBytes;
    const auto n = static_cast<uint8_t>(std::min<size_t>(sectors_a_request(c), count - done));
    const Exchange x = from.ask(observer::read_request(lba + done, n));
    c.expect_good_ata(x);
    const Bytes data = x.data();
    if (data.size() != size_t{n} * observer::kSectorBytes) {
      c.fail("a read brings less than it was asked for", std::to_string(n) + " sectors of data",
             std::to_string(data.size()) + " bytes", &x);
    }
    out.insert(out.end(), data.begin(), data.end());
  }
  return out;
}

// What stands on the disk, sector by sector.
inline void expect_on_disk(Context& c, Initiator& from, uint64_t lba, BytesView wanted,
                           const std::string& story) {
  const size_t sectors = wanted.size() / observer::kSectorBytes;
  const Bytes seen = get_sectors(c, from, lba, sectors);
  for (size_t i = 0; i < sectors; ++i) {
    const Bytes want = part(wanted, i * observer::kSectorBytes, observer::kSectorBytes);
    const Bytes got = part(seen, i * observer::kSectorBytes, observer::kSectorBytes);
    c.expect(want == got,
             story + ": sector " + std::to_string(lba + i) + " holds " + observer::hex(want, 16),
             observer::hex(got, 16));
  }
}

// --- Requests as a deviant sees them. ---
inline bool is_ata_request(BytesView f) {
  return observer::is_aoe(f) && !observer::is_reply(f) &&
         observer::get(f, F::command) == observer::command::ata &&
         f.size() >= observer::at::ata_data;
}
inline uint8_t ata_code(BytesView f) {
  return static_cast<uint8_t>(observer::get(f, F::ata_command).value_or(0));
}
inline bool is_read_request(BytesView f) {
  return is_ata_request(f) && observer::is_ata_read(ata_code(f));
}
inline bool is_write_request(BytesView f) {
  return is_ata_request(f) && observer::is_ata_write(ata_code(f));
}
inline bool is_transfer(BytesView f) {
  return is_read_request(f) || is_write_request(f);
}
inline bool is_command(BytesView f, uint8_t command) {
  return observer::is_aoe(f) && !observer::is_reply(f) && observer::get(f, F::command) == command;
}
inline uint64_t value_of(BytesView f, F id) {
  return observer::get(f, id).value_or(0);
}

using deviants::Answers;
using deviants::Deviant;
using deviants::edits_reply;
using deviants::edits_request;
using deviants::Forward;
using deviants::ignores;
using deviants::Middleware;
using deviants::ModelTarget;
using deviants::spoils;
using RequestTest = std::function<bool(const Bytes&)>;

// Answers with an AoE error where it should serve.
inline Deviant refuses(std::string name, std::string story, RequestTest when,
                       uint8_t error = observer::aoe_error::bad_argument) {
  return spoils(
      std::move(name), std::move(story),
      [when = std::move(when), error](const Bytes& q, ModelTarget& m, const Forward& f) {
        return when(q) ? Answers{{m.error_reply(q, error, observer::at::ata_data), 0}} : f(q);
      });
}

// A deviant with a memory of its own.
inline Deviant remembers(std::string name, std::string story, std::function<Middleware()> make) {
  Deviant d;
  d.name = std::move(name);
  d.story = std::move(story);
  d.make = std::move(make);
  return d;
}

}  // namespace conformance
