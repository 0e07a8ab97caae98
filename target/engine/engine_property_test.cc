// Any frames, in any order, with a disk that ends operations in any order and sometimes fails: the
// engine never breaks a rule of its output, answers what it took, gives all its room back, and does
// the same thing twice. And in steady state it allocates nothing.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <vector>

#include "target/engine/allocation_counter.h"
#include "target/engine/engine.h"
#include "target/engine/hand_cranked.h"

namespace target::engine::test {
namespace {

// A generator of its own, so that a failing run is named by one number and costs no shrinking time.
class Choices {
 public:
  explicit Choices(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  std::uint64_t below(std::uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 11) % limit;
  }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

const std::vector<std::string> kNames{
    "reset",  "tag_inc_le", "tag_inc_be", "tag_random", "congestion",           "coalesced_read",
    "crc8x4", "41",         "TAG_INC_BE", "unknown",    "coalesced_write_reply"};

FrameSpec any_request(Choices& choose) {
  const auto tag = static_cast<std::uint32_t>(choose.below(64));
  const std::uint64_t lba = choose.one_in(8) ? kDiskSectors - choose.below(3) : choose.below(8);
  const auto count =
      static_cast<std::uint8_t>(choose.one_in(8) ? choose.below(256) : 1 + choose.below(2));
  switch (choose.below(10)) {
    case 0: {
      FrameSpec request = write(lba, count, tag, 1);
      request.argument.resize(request.argument.size() + 4);  // where crc8x4 has its check
      return request;
    }
    case 1:
    case 2:
      return write(lba, count, tag, static_cast<std::uint8_t>(choose.below(256)));
    case 3:
    case 4:
      return read(lba, count, tag);
    case 5: {
      FrameSpec request = read(lba, count, tag);
      const std::uint64_t further = choose.below(93);
      request.argument.push_back(static_cast<std::byte>(choose.one_in(4) ? 255 : further));
      for (std::uint64_t i = 0; i < further * 16; ++i) {
        request.argument.push_back(
            static_cast<std::byte>(choose.one_in(4) ? choose.below(256) : 0));
      }
      return request;
    }
    case 6:
      return ata(static_cast<std::uint8_t>(choose.one_in(2) ? 0xEA : choose.below(256)), lba, count,
                 tag);
    case 7: {
      if (choose.one_in(3)) {
        return extensions({"congestion", std::to_string(choose.below(1000))}, tag);
      }
      std::vector<std::string> names;
      for (std::uint64_t i = choose.below(5); i > 0; --i) {
        names.push_back(kNames[choose.below(kNames.size())]);
        if (names.back() == "congestion" && !choose.one_in(4)) {
          names.push_back(std::to_string(choose.below(1000)));
        }
      }
      return extensions(names, tag, choose.one_in(2));
    }
    case 8:
      return config(static_cast<std::uint8_t>(choose.below(6)),
                    std::string(choose.below(choose.one_in(4) ? 1100 : 4), 'c'), tag);
    default:
      if (choose.one_in(2)) {
        return mask(static_cast<std::uint8_t>(choose.below(3)),
                    {{static_cast<std::uint8_t>(choose.below(4)), kAlice},
                     {static_cast<std::uint8_t>(choose.below(3)), kBob}});
      }
      return reserve(static_cast<std::uint8_t>(choose.below(4)),
                     std::vector<wire::MacAddress>(choose.below(3), kAlice));
  }
}

Bytes any_frame(Choices& choose) {
  FrameSpec request = any_request(choose);
  request.source = choose.one_in(2) ? kAlice : kBob;
  if (choose.one_in(16)) {
    request.source = mac(static_cast<std::uint8_t>(choose.below(256)));
  }
  Bytes frame = choose.one_in(2) ? padded(request.bytes()) : request.bytes();
  if (choose.one_in(4)) {  // a frame that nobody should send
    for (std::uint64_t i = choose.below(4); i > 0; --i) {
      frame[choose.below(frame.size())] ^= std::byte{1} << choose.below(8);
    }
    if (choose.one_in(4)) {
      frame.resize(choose.below(frame.size() + 1));
    }
  }
  return frame;
}

struct Settings {
  std::uint16_t mtu = 1500;
  bool persist = false;
  BehindWindow behind_window = BehindWindow::reject_silently;
  ResetOn reset_on = ResetOn::any_config;
};

EngineConfig config_of(const Settings& settings) {
  EngineConfig config = plain_config(settings.mtu);
  config.persist = settings.persist;
  config.behind_window = settings.behind_window;
  config.reset_on = settings.reset_on;
  config.initiators_max = 3;
  config.operations_max = operations_min(config);
  return config;
}

void add(Counters& sum, const Counters& more) {
#define AOE_ADD(name) sum.name += more.name;
  AOE_ENGINE_COUNTERS(AOE_ADD)
#undef AOE_ADD
}

// Everything that one seed makes an engine say.
std::vector<Bytes> life(std::uint64_t seed, const Settings& settings, Counters& counters) {
  Choices choose(seed);
  EngineConfig config = config_of(settings);
  config.freeze.mask_list = choose.one_in(4);
  if (choose.one_in(4)) {
    config.extensions_for = {kAlice};
  }
  HandCranked crank(config);
  std::vector<Bytes> said;
  const auto collect = [&](const std::vector<Reply>& replies) {
    for (const Reply& reply : replies) {
      said.push_back(reply.bytes);
    }
  };
  std::uint64_t batch = 1'000'000;
  for (int step = 0; step < 300; ++step) {
    if (crank.intake_open() && !choose.one_in(3)) {
      crank.give(any_frame(choose), batch);
    } else if (!crank.in_flight.empty()) {
      for (std::uint64_t ends = 1 + choose.below(crank.in_flight.size()); ends > 0; --ends) {
        crank.end_disk(choose.below(crank.in_flight.size()),
                       choose.one_in(8) ? DiskStatus::io_error : DiskStatus::ok);
      }
    } else if (!crank.saves.empty()) {
      crank.end_save(choose.one_in(4) ? DiskStatus::io_error : DiskStatus::ok);
    } else {
      crank.advance(250'000'000);  // two of them end a pause
    }
    if (choose.one_in(3)) {
      collect(crank.flush());
      ++batch;
    }
    if (choose.one_in(40) && crank.engine().last_clear() != ClearStatus::under_way) {
      crank.engine().on_clear(choose.one_in(2) ? StatePart::mask_list : StatePart::config_string);
    }
  }
  // Everything ends: disk, save, pause; then there is room again for the largest request.
  collect(crank.run());
  while (!crank.saves.empty()) {
    crank.end_save();
    collect(crank.flush());
  }
  crank.advance(1'000'000'000);
  collect(crank.run());
  EXPECT_TRUE(crank.intake_open()) << "seed " << seed;
  add(counters, crank.counters());
  return said;
}

// A counter that no life has moved yet.
bool reached_everything(const Counters& counters, bool persist) {
  bool all = true;
#define AOE_REACHED(name) all = all && reached.name != 0;
  Counters reached = counters;
  if (!persist) {
    reached.changes_waited = reached.changes_dropped = 1;
  }
  AOE_ENGINE_COUNTERS(AOE_REACHED)
#undef AOE_REACHED
  return all;
}

class AnyLife : public testing::TestWithParam<Settings> {};

TEST_P(AnyLife, BreaksNoRuleAndIsTheSameTwice) {
  Counters counters;
  const std::uint64_t seeds = GetParam().mtu > 1500 ? 250 : 400;
  // Compilers draw in different orders: a rare thing may come later.
  const std::uint64_t seeds_max = seeds * 8;
  for (std::uint64_t seed = 1;
       seed <= seeds || (seed <= seeds_max && !reached_everything(counters, GetParam().persist));
       ++seed) {
    const std::vector<Bytes> once = life(seed, GetParam(), counters);
    ASSERT_FALSE(testing::Test::HasFailure()) << "seed " << seed;
    // Some other memory lies between the two.
    const std::vector<Bytes> ballast(seed, Bytes(seed));
    ASSERT_EQ(life(seed, GetParam(), counters), once) << "seed " << seed;
    ASSERT_FALSE(once.empty());
  }
  // The lives are worth something only if they go everywhere. Nothing waits where nothing is saved.
  if (!GetParam().persist) {
    EXPECT_EQ(counters.changes_waited + counters.changes_dropped, 0U);
    counters.changes_waited = counters.changes_dropped = 1;
  }
#define AOE_REACHED(name) EXPECT_NE(counters.name, 0U) << #name;
  AOE_ENGINE_COUNTERS(AOE_REACHED)
#undef AOE_REACHED
}

INSTANTIATE_TEST_SUITE_P(
    Settings, AnyLife,
    testing::Values(Settings{}, Settings{9000}, Settings{1500, true},
                    Settings{1042, true, BehindWindow::perform, ResetOn::config_write}),
    [](const auto& test) {
      return "mtu" + std::to_string(test.param.mtu) + (test.param.persist ? "_persist" : "") +
             (test.param.behind_window == BehindWindow::perform ? "_perform" : "");
    });

// Frames of nothing but noise behind a good EtherType.
TEST(AnyFrame, OfNoiseNeverBreaksARule) {
  EXPECT_TRUE(rc::check("noise", [](const std::vector<std::uint8_t>& noise, bool whole_header) {
    HandCranked crank;
    Bytes frame(noise.size());
    std::transform(noise.begin(), noise.end(), frame.begin(),
                   [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
    if (whole_header) {
      FrameSpec request;
      request.command = noise.empty() ? 0 : noise[0] % 4;
      request.argument = frame;
      frame = request.bytes();
    }
    crank.give(frame, 7);
    RC_ASSERT(crank.run().size() <= 1U);
    RC_ASSERT(!testing::Test::HasFailure());
  }));
}

TEST(SteadyState, AllocatesNothingForAFrame) {
  EngineConfig config = plain_config();
  Engine engine(config);
  engine.on_timer(0);
  engine.clear_outbox();
  std::vector<Bytes> frames;
  for (const char* name : {"tag_inc_be", "coalesced_read", "crc8x4"}) {
    const Bytes negotiation = extensions({name}).bytes();
    engine.on_frame({0, 0, negotiation, 0});
  }
  engine.clear_outbox();
  frames.push_back(read(0, 2, 1).bytes());
  FrameSpec coalesced = read(8, 1, 2);
  coalesced.argument.push_back(std::byte{40});
  coalesced.argument.resize(coalesced.argument.size() + 40 * 16);
  frames.push_back(coalesced.bytes());
  frames.push_back(ata(wire::ata::kIdentifyDevice, 0, 1, 3).bytes());
  frames.push_back(ata(wire::ata::kFlushCache, 0, 0, 4).bytes());
  Bytes written = write(4, 2, 0, 1).bytes();
  std::vector<std::uint32_t> ids;
  ids.reserve(600);
  std::size_t replies = 0;
  std::uint64_t batch = 0;
  std::uint32_t tag = 100;
  const auto round = [&] {
    ++batch;
    for (const Bytes& frame : frames) {
      engine.on_frame({0, batch, frame, 0});
    }
    wire::store_be32(written, 20, ++tag);
    for (int twice = 0; twice < 2; ++twice) {
      engine.on_frame({0, batch + 1'000'000 * static_cast<std::uint64_t>(twice), written, 0});
    }
    while (!engine.outbox().disk_ops.empty()) {
      ids.clear();
      for (const DiskOp& op : engine.outbox().disk_ops) {
        ids.push_back(op.id);
      }
      replies += engine.outbox().frames.size();
      engine.clear_outbox();
      for (const std::uint32_t id : ids) {
        engine.on_disk_done({id, DiskStatus::ok, 0});
      }
    }
    replies += engine.outbox().frames.size();
    engine.clear_outbox();
  };
  for (int i = 0; i < 10; ++i) {
    round();
  }
  const std::size_t before = allocations();
  replies = 0;
  for (int i = 0; i < 1000; ++i) {
    round();
  }
  EXPECT_EQ(allocations(), before);
  EXPECT_EQ(replies, 1000U * (1 + 41 + 1 + 1 + 2));
}

}  // namespace
}  // namespace target::engine::test
