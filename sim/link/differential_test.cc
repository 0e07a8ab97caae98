// Two targets that were written apart, side by side on the same random dialogue: the suite's model
// and the real engine. Whatever frames, in whatever order, restarts between: each difference is a
// freedom with a name here, or a bug of one of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "conformance/deviants/model_link.h"
#include "conformance/observer/build.h"
#include "sim/link/engine_link.h"

namespace sim::link {
namespace {

namespace observer = conformance::observer;
using conformance::links::Bytes;
using conformance::links::BytesView;
using conformance::links::Link;
using conformance::links::Mac;
using observer::F;

constexpr std::int64_t kQuietNs =
    1'500'000'000;  // longer than a pause, and all that waits behind it
constexpr std::uint64_t kSectors = 8'192;
constexpr int kDialogues = 400;
constexpr int kSteps = 40;
constexpr std::uint16_t kMtu = 1500;

const std::vector<Mac> kHosts{{0x02, 0xae, 0, 0, 0, 1}, {0x02, 0xae, 0, 0, 0, 2}};

conformance::deviants::ModelConfig like_the_engine() {
  conformance::deviants::ModelConfig config;
  config.mac = {0x02, 0xae, 0, 0, 0, 0xa0};
  config.shelf = 1;
  config.slot = 1;
  config.sectors = kSectors;
  config.config_string = "";
  return config;
}

class Dialogue {
 public:
  explicit Dialogue(std::uint64_t seed) : random_(seed) {}

  // A step: a frame to send, or nothing, which is a restart.
  std::optional<Bytes> next() {
    if (pick(60) == 0) {
      return std::nullopt;
    }
    observer::Frame frame = any();
    frame.src(kHosts[pick(kHosts.size())]);
    frame.dst({0x02, 0xae, 0, 0, 0, 0xa0});
    const bool to_all = pick(12) == 0;
    frame.set(F::shelf, to_all ? 0xFFFF : pick(30) == 0 ? 2 : 1);
    frame.set(F::slot, to_all ? 0xFF : pick(30) == 0 ? 2 : 1);
    frame.set(F::tag, 0x100 + pick(12));
    if (pick(40) == 0) {
      frame.set(F::flag_response, 1);
    }
    if (pick(40) == 0) {
      frame.cut(14 + pick(frame.size() - 13));
      return frame.bytes();
    }
    frame.grow(observer::kMinFrameBytes);
    return frame.bytes();
  }

 private:
  std::uint64_t pick(std::uint64_t n) { return random_() % n; }

  std::string text() {
    static const std::vector<std::string> all{"", "a", "ab", "abc", std::string(1024, 'x')};
    return all[pick(all.size())];
  }
  std::vector<Mac> macs() {
    std::vector<Mac> out;
    for (std::uint64_t i = pick(3); i > 0; --i) {
      out.push_back(kHosts[pick(kHosts.size())]);
    }
    return out;
  }
  Bytes data(std::uint64_t sectors) {
    return Bytes(sectors * observer::kSectorBytes, static_cast<std::uint8_t>(random_()));
  }
  std::uint64_t lba() { return pick(15) == 0 ? kSectors - 1 : pick(6); }

  observer::Frame any() {
    switch (pick(12)) {
      case 0: {
        observer::Frame frame =
            observer::config_request(static_cast<std::uint8_t>(pick(7)), text());
        if (pick(10) == 0) {
          frame.set(F::cfg_length, pick(2) == 0 ? 1025 : 1400);
        }
        return frame;
      }
      case 1: {
        std::vector<observer::Directive> directives;
        for (std::uint64_t i = pick(4); i > 0; --i) {
          directives.push_back({0, static_cast<std::uint8_t>(pick(8) == 0 ? 7 : pick(3)),
                                kHosts[pick(kHosts.size())]});
        }
        // Mostly asked; and mostly emptied, for a target that is silent shows nothing.
        if (pick(3) != 0) {
          directives.assign({{0, 2, kHosts[0]}, {0, 2, kHosts[1]}});
        }
        return observer::mask_request(static_cast<std::uint8_t>(pick(12) == 0 ? 7 : pick(2)),
                                      directives);
      }
      case 2:
        return observer::reserve_request(static_cast<std::uint8_t>(pick(4)), macs());
      case 3:
      case 4: {
        static const std::vector<std::string> names{"reset",          "tag_inc_le", "tag_inc_be",
                                                    "tag_random",     "crc8x4",     "nonsense",
                                                    "coalesced_read", "Tag_Inc_Be"};
        std::vector<std::string> strings;
        for (std::uint64_t i = pick(4); i > 0; --i) {
          strings.push_back(names[pick(names.size())]);
        }
        observer::Frame frame = observer::extension_request(
            strings, pick(3) == 0 ? observer::Order::big : observer::Order::little);
        if (pick(12) == 0) {
          frame.set(F::ext_length, pick(300));
        }
        return frame;
      }
      case 5:
      case 6: {
        observer::Frame frame = observer::write_request(lba(), data(1 + pick(2)), pick(2) == 0);
        if (pick(3) == 0) {
          observer::add_crc8x4(frame);
        }
        if (pick(12) == 0) {
          frame.set(F::ata_count, pick(5));
        }
        return frame;
      }
      case 7:
        return pick(2) == 0 ? observer::identify_request() : observer::flush_request();
      case 8:
        return observer::ata_request(static_cast<std::uint8_t>(pick(2) == 0 ? 0x6B : 0xE5), 0, 0);
      case 9:
        return pick(2) == 0 ? observer::header_only(static_cast<std::uint8_t>(4 + pick(20)))
                            : observer::read_request(lba(), 1).set(F::version, pick(3));
      default: {
        observer::Frame frame =
            observer::read_request(lba(), static_cast<std::uint8_t>(pick(4)), pick(2) == 0);
        if (pick(2) == 0) {
          std::vector<observer::CoalescedEntry> entries;
          for (std::uint64_t i = pick(3); i > 0; --i) {
            entries.push_back(
                {static_cast<std::uint32_t>(0x200 + i), lba(), static_cast<std::uint8_t>(pick(3))});
          }
          observer::add_coalesced(frame, entries);
        }
        return frame;
      }
    }
  }

  std::mt19937_64 random_;
};

// Does the request ask under this tag for no sectors?
bool asks_for_none(const Bytes& request, std::uint64_t tag) {
  if (observer::get(request, F::command) != observer::command::ata ||
      observer::get(request, F::ata_command).value_or(0) > observer::ata::write_ext) {
    return false;
  }
  for (const observer::CoalescedEntry& entry : observer::coalesced_tail(request)) {
    if (entry.tag == tag) {
      return entry.count == 0;
    }
  }
  return observer::get(request, F::ata_count) == 0;
}

// What both must send alike. The freedoms, by name:
//   padding        the engine pads to 60 bytes, the model does not
//   registers      what stands in the ATA registers beside an AoE error
//   aflags         which of the request's AFlags come back
//   count          the count register of a good reply or an error
//   zero sectors   a read or write of none is good without data, or refused (ATA-ZERO)
//   order of checks   a write that could not be performed, under a tag that the window knows or has
//                  left behind: the engine looks at the tag first, the model at the range. No
//                  initiator that keeps its promise can tell, for what was performed is in range.
//   identity       identify's texts, firmware version, buffer and sector counts
std::string essence(BytesView reply, const Bytes& request) {
  Bytes b(reply.begin(), reply.end());
  const auto value = [&b](F id) { return observer::get(b, id).value_or(0); };
  std::string out = fmt::format("to {} tag {:x} flags {:x} error {} command {:x}",
                                observer::hex(BytesView(b).first(6)), value(F::tag),
                                unsigned{b[14]}, value(F::error), value(F::command));
  out += fmt::format(" e{}.{}", value(F::shelf), value(F::slot));
  if (value(F::flag_error) != 0) {
    return out;
  }
  switch (value(F::command)) {
    case observer::command::ata: {
      if (b.size() < observer::at::ata_data) {
        return out + " short";
      }
      out += fmt::format(" status {:x} error {:x} lba {}", value(F::ata_status),
                         value(F::ata_error), value(F::ata_lba));
      const bool good = (value(F::ata_status) & observer::ata::status_err) == 0;
      const auto asked = observer::get(request, F::ata_command).value_or(0);
      if (good && observer::is_ata_read(static_cast<std::uint8_t>(asked))) {
        out += " data " + observer::hex(BytesView(b).subspan(observer::at::ata_data), 4);
        out += b.size() > observer::kMinFrameBytes ? fmt::format(" of {}", b.size()) : "";
      }
      return out;
    }
    case observer::command::config: {
      const auto text = observer::config_string(b);
      return out + fmt::format(" ccmd {} text {}", value(F::cfg_ccmd),
                               text ? observer::quoted(*text) : "none");
    }
    case observer::command::mask: {
      out += fmt::format(" mcmd {} merror {} count {}", value(F::mask_mcmd), value(F::mask_merror),
                         value(F::mask_count));
      if (value(F::mask_merror) == 0) {
        std::vector<std::string> macs;
        const auto list = observer::mask_list(b);
        for (const observer::Directive& d : *list) {
          macs.push_back(observer::to_string(d.mac));
        }
        std::sort(macs.begin(), macs.end());
        out += fmt::format(" {}", fmt::join(macs, ","));
      }
      return out;
    }
    case observer::command::reserve: {
      std::vector<std::string> macs;
      const auto list = observer::reserve_list(b);
      for (const Mac& mac : *list) {
        macs.push_back(observer::to_string(mac));
      }
      std::sort(macs.begin(), macs.end());
      return out + fmt::format(" {}", fmt::join(macs, ","));
    }
    case observer::command::extension: {
      const auto table = observer::ext_table(b);
      return out + (table
                        ? fmt::format(" {} {}", table->order == observer::Order::big ? "be" : "le",
                                      fmt::join(table->strings, ","))
                        : " no table");
    }
    default:
      return out;
  }
}

bool by_order_of_checks(const Bytes& request, const std::vector<std::string>& by_engine) {
  const auto cmd = observer::get(request, F::ata_command).value_or(0);
  if (observer::get(request, F::command) != observer::command::ata ||
      !observer::is_ata_write(static_cast<std::uint8_t>(cmd))) {
    return false;
  }
  const auto count = observer::get(request, F::ata_count).value_or(0);
  const auto lba = observer::get(request, F::ata_lba).value_or(0);
  const bool impossible = lba + count > kSectors ||
                          request.size() < observer::at::ata_data + count * observer::kSectorBytes;
  return impossible &&
         (by_engine.empty() || by_engine[0].find("status 40 error 0") != std::string::npos);
}

// A write whose crc8x4 fails is dropped. Before the reservation is looked at (the engine: what
// fails its check is not believed, whoever sent it) or after it (the model): docs/protocol.md
// leaves that open.
bool dropped_for_its_check(const Bytes& request, const std::vector<std::string>& by_model,
                           const std::vector<std::string>& by_engine) {
  const auto count = observer::get(request, F::ata_count).value_or(0);
  return observer::get(request, F::command) == observer::command::ata && by_engine.empty() &&
         by_model.size() == 1 && by_model[0].find("error 6") != std::string::npos &&
         request.size() >=
             observer::at::ata_data + count * observer::kSectorBytes + observer::kCrc8x4Bytes;
}

std::vector<std::string> answers(Link& link, const Bytes& request) {
  link.send(request);
  std::vector<std::string> out;
  const std::int64_t deadline = link.now_ns() + kQuietNs;
  while (const auto received = link.receive(deadline)) {
    const auto tag = observer::get(received->bytes, F::tag).value_or(0);
    if (!asks_for_none(request, tag)) {
      out.push_back(essence(received->bytes, request));
    }
  }
  return out;
}

TEST(Differential, TheModelAndTheEngineAnswerAlike) {
  int told = 0;
  std::uint64_t frames = 0;
  for (int seed = 1; seed <= kDialogues && told < 5; ++seed) {
    conformance::deviants::ModelLink model(like_the_engine());
    EngineLink engine(kMtu);
    while (engine.receive(engine.now_ns() + kQuietNs)) {
    }
    Dialogue dialogue(static_cast<std::uint64_t>(seed));
    std::string story;
    for (int step = 0; step < kSteps; ++step) {
      const std::optional<Bytes> frame = dialogue.next();
      if (!frame) {
        story += "restart\n";
        model.restart();
        engine.restart();
        while (model.receive(model.now_ns() + kQuietNs)) {
        }
        while (engine.receive(engine.now_ns() + kQuietNs)) {
        }
        continue;
      }
      ++frames;
      story += observer::summary(*frame) + fmt::format(" ({} bytes)\n", frame->size());
      const auto by_model = answers(model, *frame);
      const auto by_engine = answers(engine, *frame);
      if (by_model != by_engine && !by_order_of_checks(*frame, by_engine) &&
          !dropped_for_its_check(*frame, by_model, by_engine)) {
        ++told;
        ADD_FAILURE() << "dialogue " << seed << ", step " << step << ":\n"
                      << story << "model:  " << fmt::format("{}", fmt::join(by_model, "\n        "))
                      << "\nengine: " << fmt::format("{}", fmt::join(by_engine, "\n        "));
        break;
      }
    }
  }
  EXPECT_TRUE(told != 0 || frames > 10'000) << frames;
}

}  // namespace
}  // namespace sim::link
