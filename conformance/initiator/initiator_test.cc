// The initiator against the model target, in virtual time, on wires of every quality.

#include "conformance/initiator/initiator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conformance/initiator/test_wire.h"

namespace conformance::initiator {
namespace {

using observer::F;
using observer::get;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSec = 1'000 * kMs;
constexpr Mac kOwn{0x02, 0, 0, 0, 0, 0x11};
constexpr Mac kOwnToo{0x02, 0, 0, 0, 0, 0x12};

Config config_with(const std::string& features, size_t mtu = 1500) {
  std::string wrong;
  Config config;
  config.shelf = 7;
  config.slot = 3;
  config.paths = {{kOwn, mtu}};
  config.wished = *features_from_string(features, wrong);
  return config;
}

deviants::ModelConfig model_with(size_t mtu = 1500, uint64_t sectors = 4096) {
  deviants::ModelConfig model;
  model.mtu = mtu;
  model.sectors = sectors;
  return model;
}

size_t count_seen(const TestWire& wire, uint8_t command, int ata = -1) {
  size_t n = 0;
  for (const Bytes& f : wire.seen) {
    n += get(f, F::command) == command && (ata < 0 || get(f, F::ata_command) == ata) ? 1 : 0;
  }
  return n;
}

TEST(Initiator, FeaturesByName) {
  std::string wrong;
  const auto f = features_from_string("tag_inc_be,coalesced_read,crc8x4", wrong);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->tags, Tags::increment_be);
  EXPECT_TRUE(f->coalesced_read);
  EXPECT_TRUE(f->crc8x4);
  EXPECT_FALSE(f->coalesced_write_reply);
  EXPECT_EQ(to_string(*f), "tag_inc_be,coalesced_read,crc8x4");
  EXPECT_FALSE(features_from_string("coalesced_raed", wrong));
  EXPECT_EQ(wrong, "coalesced_raed");
  EXPECT_FALSE(features_from_string("tag_inc_be,tag_random", wrong));
  EXPECT_TRUE(features_from_string("", wrong));
}

TEST(Initiator, LearnsWhatTheTargetSaysOfItself) {
  TestWire wire(config_with(""), model_with());
  ASSERT_TRUE(wire.until_ready());
  const Device& d = wire.initiator.device();
  EXPECT_EQ(d.buffer_count, 32);
  EXPECT_EQ(d.sectors, 4096U);
  EXPECT_EQ(d.model, "AoE conformance model target");
  EXPECT_EQ(d.sectors_per_frame, 2U);
  EXPECT_FALSE(d.active.any());
  EXPECT_EQ(count_seen(wire, observer::command::extension), 0U);
}

TEST(Initiator, NegotiatesWhatIsWishedAndSaysWhatIsActive) {
  TestWire wire(config_with("tag_inc_be,coalesced_read,crc8x4", 9000), model_with(9000));
  ASSERT_TRUE(wire.until_ready());
  EXPECT_EQ(to_string(wire.initiator.device().active), "tag_inc_be,coalesced_read,crc8x4");
  EXPECT_EQ(wire.initiator.device().sectors_per_frame, 17U);
}

TEST(Initiator, DoesWithoutWhereTheTargetKnowsNoExtensions) {
  auto model = model_with();
  model.extensions = false;
  TestWire wire(config_with("tag_inc_be"), model);
  ASSERT_TRUE(wire.until_ready());
  EXPECT_FALSE(wire.initiator.device().active.any());
}

TEST(Initiator, DoesWithoutWhereTheTargetIsSilentToThem) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  wire.on_way_to_target = [](Bytes& f) { return get(f, F::command) != 0x23; };
  ASSERT_TRUE(wire.until_ready());
  EXPECT_FALSE(wire.initiator.device().active.any());
  wire.submit(Kind::write, 5, 1, 0x55);
  ASSERT_TRUE(wire.until_done(1));
  EXPECT_EQ(wire.done[0].result, Result::done);
}

TEST(Initiator, SpeaksTheOtherByteOrderToATargetThatHasIt) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  wire.on_way_to_target = [](Bytes& f) {
    return get(f, F::command) != 0x23 || observer::ext_table(f, observer::Order::big);
  };
  ASSERT_TRUE(wire.until_ready());
  EXPECT_EQ(wire.initiator.device().active.tags, Tags::increment_be);
}

TEST(Initiator, RequiredMeansThatNothingIsDoneWithout) {
  auto model = model_with();
  model.extensions = false;
  auto config = config_with("tag_inc_be");
  config.features_required = true;
  TestWire wire(config, model);
  wire.submit(Kind::write, 0, 1, 1);
  EXPECT_FALSE(wire.until_ready(60 * kSec));
  EXPECT_TRUE(wire.target.disk.empty());
  wire.target.config.extensions = true;
  EXPECT_TRUE(wire.until_done(1));
  EXPECT_TRUE(wire.initiator.device().active.any());
}

TEST(Initiator, WritesReadsAndFlushes) {
  TestWire wire(config_with("tag_inc_be,coalesced_read"), model_with());
  wire.submit(Kind::write, 10, 21, 0xab);
  ASSERT_TRUE(wire.until_done(1));
  wire.submit(Kind::flush, 0, 0);
  wire.submit(Kind::read, 9, 23);
  ASSERT_TRUE(wire.until_done(3));
  for (const Completion& c : wire.done) {
    EXPECT_EQ(c.result, Result::done) << describe(c);
  }
  const auto read = std::find_if(wire.done.begin(), wire.done.end(),
                                 [](const Completion& c) { return c.kind == Kind::read; });
  ASSERT_NE(read, wire.done.end());
  Bytes expected(23 * 512, 0xab);
  std::fill_n(expected.begin(), 512, 0);
  std::fill_n(expected.end() - 512, 512, 0);
  EXPECT_EQ(read->data, expected);
  EXPECT_EQ(count_seen(wire, observer::command::ata, observer::ata::flush_ext), 1U);
}

TEST(Initiator, ReadsTravelTogetherWhenAgreed) {
  TestWire wire(config_with("coalesced_read"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.seen.clear();
  wire.submit(Kind::read, 0, 64);  // 32 requests
  ASSERT_TRUE(wire.until_done(1));
  EXPECT_EQ(count_seen(wire, observer::command::ata), 1U);
}

TEST(Initiator, TheWindowIsWhatTheTargetCanHold) {
  auto model = model_with();
  model.buffer_count = 4;
  TestWire wire(config_with(""), model);
  ASSERT_TRUE(wire.until_ready());
  wire.submit(Kind::read, 0, 64);
  wire.turn();
  EXPECT_EQ(wire.initiator.outstanding(), 4U);
  ASSERT_TRUE(wire.until_done(1));
}

TEST(Initiator, ErrorsAreTheirOwnWords) {
  TestWire wire(config_with(""), model_with());
  wire.submit(Kind::read, 4095, 2);
  ASSERT_TRUE(wire.until_done(1));
  EXPECT_EQ(wire.done[0].result, Result::failed);
  EXPECT_EQ(wire.done[0].ata_error, observer::ata::error_idnf);
  wire.target.reserved = {kOwnToo};
  wire.submit(Kind::write, 0, 1, 1);
  ASSERT_TRUE(wire.until_done(2));
  EXPECT_EQ(wire.done[1].result, Result::refused);
  EXPECT_EQ(wire.done[1].aoe_error, observer::aoe_error::reserved);
  EXPECT_THAT(describe(wire.done[1]), testing::HasSubstr("reserved"));
}

TEST(Initiator, AFailedJobOfManyRequestsEndsOnceAndLeavesNothingBehind) {
  TestWire wire(config_with("coalesced_read"), model_with());
  for (int i = 0; i < 50; ++i) {
    wire.submit(Kind::read, 4000, 512, 0, static_cast<uint64_t>(i));
  }
  ASSERT_TRUE(wire.until_done(50));
  wire.run_for(10 * kSec);
  EXPECT_EQ(wire.done.size(), 50U);
  EXPECT_EQ(wire.initiator.jobs(), 0U);
  EXPECT_EQ(wire.initiator.outstanding(), 0U);
}

TEST(Initiator, ASectorThatTheCommandCannotNameIsNeverAskedFor) {
  TestWire wire(config_with(""), model_with());
  wire.submit(Kind::write, 1ULL << 48, 1, 1);
  wire.submit(Kind::write, ~uint64_t{0}, 2, 1);
  ASSERT_TRUE(wire.until_done(2));
  EXPECT_EQ(wire.done[0].result, Result::failed);
  EXPECT_TRUE(wire.target.disk.empty());
}

TEST(Initiator, RepeatsUnderTheSameTag) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.seen.clear();
  int lost = 0;
  wire.on_way_back = [&](Bytes& f) { return get(f, F::command) != 0 || ++lost > 3; };
  wire.submit(Kind::write, 8, 1, 0x77);
  ASSERT_TRUE(wire.until_done(1));
  std::set<uint64_t> tags;
  size_t writes = 0;
  for (const Bytes& f : wire.seen) {
    if (get(f, F::ata_command) == observer::ata::write_ext) {
      ++writes;
      tags.insert(*get(f, F::tag));
    }
  }
  EXPECT_GE(writes, 4U);
  EXPECT_EQ(tags.size(), 1U);
}

TEST(Initiator, BacksOffAndIsThereWhenTheTargetIsBack) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.target_up = false;
  wire.seen.clear();
  wire.submit(Kind::write, 8, 1, 0x77);
  wire.run_for(60 * kSec);
  EXPECT_LT(wire.seen.size(), 50U);
  EXPECT_GT(wire.seen.size(), 20U);
  EXPECT_TRUE(wire.done.empty());
  wire.target_up = true;
  wire.restart_target();
  ASSERT_TRUE(wire.until_done(1, 10 * kSec));
  EXPECT_EQ(wire.done[0].result, Result::done);
  EXPECT_EQ(wire.target.read_sector(8), Bytes(512, 0x77));
}

TEST(Initiator, GivesUpWhenToldAndSaysThatNobodyKnows) {
  auto config = config_with("tag_inc_be");
  config.give_up_ns = 5 * kSec;
  TestWire wire(config, model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.target_up = false;
  wire.submit(Kind::write, 8, 100, 0x77);
  wire.submit(Kind::read, 8, 1);
  ASSERT_TRUE(wire.until_done(2, 20 * kSec));
  EXPECT_EQ(wire.done[0].result, Result::unknown);
  EXPECT_EQ(wire.done[1].result, Result::unknown);
  EXPECT_EQ(wire.initiator.outstanding(), 0U);
}

TEST(Initiator, GivesUpAlsoWhatWasNeverSentToATargetThatIsNotThere) {
  auto config = config_with("");
  config.give_up_ns = 5 * kSec;
  TestWire wire(config, model_with());
  wire.target_up = false;
  wire.submit(Kind::read, 8, 1);
  ASSERT_TRUE(wire.until_done(1, 20 * kSec));
  EXPECT_EQ(wire.done[0].result, Result::unknown);
}

// The copy of a write that was given up comes after a newer write to its sectors was acknowledged.
TEST(Initiator, ACopyOfAWriteThatWasGivenUpComesTooLate) {
  auto config = config_with("tag_inc_be");
  config.give_up_ns = 3 * kSec;
  TestWire wire(config, model_with());
  ASSERT_TRUE(wire.until_ready());
  Bytes old;
  wire.on_way_to_target = [&](Bytes& f) {
    if (get(f, F::ata_command) == observer::ata::write_ext && f[36] == 0x11) {
      old = f;
      return false;
    }
    return true;
  };
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1));
  ASSERT_EQ(wire.done[0].result, Result::unknown);
  wire.on_way_to_target = [](Bytes&) { return true; };
  wire.submit(Kind::write, 8, 1, 0x22);
  ASSERT_TRUE(wire.until_done(2));
  wire.inject_to_target(old, kMs);
  wire.run_for(kSec);
  EXPECT_EQ(wire.target.read_sector(8), Bytes(512, 0x22));
}

// The seed's scenario: the target restarts, and a copy from before comes when newer data is there.
TEST(Initiator, ACopyFromBeforeARestartIsBehindTheNewWindow) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.seen.clear();
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1));
  const Bytes old = wire.seen.front();
  wire.restart_target();
  wire.run_for(kSec);
  ASSERT_TRUE(wire.until_ready());
  EXPECT_EQ(wire.initiator.counters().sessions_lost, 1U);
  wire.submit(Kind::write, 8, 1, 0x22);
  ASSERT_TRUE(wire.until_done(2));
  wire.inject_to_target(old, kMs);
  wire.run_for(kSec);
  EXPECT_EQ(wire.target.read_sector(8), Bytes(512, 0x22));
}

TEST(Initiator, ARestartThatNobodyAnnouncesIsNoticedBeforeTheNextWriteAfterAPause) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1));
  wire.restart_target(false);
  wire.run_for(2 * kSec);
  wire.submit(Kind::write, 9, 1, 0x12);
  ASSERT_TRUE(wire.until_done(2));
  EXPECT_EQ(wire.initiator.counters().sessions_lost, 1U);
  EXPECT_EQ(wire.target.sessions[kOwn].tags, deviants::Session::Tags::be);
  EXPECT_FALSE(wire.target.sessions[kOwn].window_empty);
}

// The target says no; a copy of the same write comes when a newer one was acknowledged.
TEST(Initiator, ACopyOfAWriteThatFailedComesTooLate) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  ASSERT_TRUE(wire.until_ready());
  Bytes old;
  wire.on_way_to_target = [&](Bytes& f) {
    if (get(f, F::ata_command) == observer::ata::write_ext && old.empty()) {
      old = f;
      wire.target.reserved = {kOwnToo};
    }
    return true;
  };
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1));
  ASSERT_EQ(wire.done[0].result, Result::refused);
  wire.target.reserved.clear();
  wire.submit(Kind::write, 8, 1, 0x22);
  ASSERT_TRUE(wire.until_done(2));
  wire.inject_to_target(old, kMs);
  wire.run_for(kSec);
  EXPECT_EQ(wire.target.read_sector(8), Bytes(512, 0x22));
}

TEST(Initiator, JobsThatShareSectorsKeepTheirOrder) {
  TestWire wire(config_with("coalesced_read"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.seen.clear();
  wire.submit(Kind::write, 8, 2, 0x11);
  wire.submit(Kind::write, 9, 2, 0x22);
  wire.submit(Kind::read, 10, 1);
  wire.turn();
  EXPECT_EQ(wire.initiator.outstanding(), 1U);
  ASSERT_TRUE(wire.until_done(3));
  EXPECT_EQ(wire.done[2].data, Bytes(512, 0x22));
  EXPECT_EQ(wire.target.read_sector(9), Bytes(512, 0x22));
  // Reads wait for nobody but writes.
  wire.submit(Kind::read, 8, 2);
  wire.submit(Kind::read, 8, 2);
  wire.turn();
  EXPECT_EQ(wire.initiator.outstanding(), 2U);
}

TEST(Initiator, AForgedAnnouncementCostsAQuestionAndNotTheSession) {
  for (const char* features : {"tag_inc_be", "tag_inc_be,crc8x4", "crc8x4"}) {
    TestWire wire(config_with(features), model_with());
    ASSERT_TRUE(wire.until_ready());
    wire.submit(Kind::write, 8, 1, 0x11);
    ASSERT_TRUE(wire.until_done(1));
    wire.inject(0, wire.target.announcement(), kMs);
    wire.run_for(kSec);
    EXPECT_TRUE(wire.initiator.ready());
    EXPECT_EQ(wire.initiator.counters().checks, 1U) << features;
    EXPECT_EQ(wire.initiator.counters().sessions_lost, 0U) << features;
    EXPECT_EQ(wire.initiator.counters().negotiations, 1U) << features;
  }
}

TEST(Initiator, APlainReplyWhereFourMoreBytesWereAgreedEndsTheSession) {
  TestWire wire(config_with("crc8x4"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.restart_target(false);
  wire.submit(Kind::read, 8, 2);
  ASSERT_TRUE(wire.until_done(1));
  EXPECT_EQ(wire.initiator.counters().sessions_lost, 1U);
  EXPECT_TRUE(wire.initiator.device().active.crc8x4);
}

TEST(Initiator, DamageThatTheChecksumShowsIsNotBelieved) {
  TestWire wire(config_with("crc8x4"), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.target.disk[8] = Bytes(512, 0x42);
  int damaged = 0;
  wire.on_way_back = [&](Bytes& f) {
    if (f.size() > 500 && damaged < 3) {
      f[100] ^= 4;
      ++damaged;
    }
    return true;
  };
  wire.submit(Kind::read, 8, 1);
  ASSERT_TRUE(wire.until_done(1));
  EXPECT_EQ(wire.done[0].data, Bytes(512, 0x42));
  EXPECT_EQ(wire.initiator.counters().malformed, 3U);
}

TEST(Initiator, ShortDataIsNoAnswerAndInTheEndAnError) {
  TestWire wire(config_with(""), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.on_way_back = [&](Bytes& f) {
    f.resize(std::min<size_t>(f.size(), 300));
    return true;
  };
  wire.submit(Kind::read, 8, 1);
  ASSERT_TRUE(wire.until_done(1, 60 * kSec));
  EXPECT_EQ(wire.done[0].result, Result::malformed);
}

// A reply that was cut and filled up with zeros on its way says status 0 where "ready" should
// stand.
TEST(Initiator, AWriteIsNotDoneByAReplyThatIsNotReady) {
  for (const uint8_t status : {0x00, 0x80, 0x48}) {
    TestWire wire(config_with(""), model_with());
    ASSERT_TRUE(wire.until_ready());
    unsigned spoiled = 0;
    wire.on_way_back = [&](Bytes& f) {
      f[27] = spoiled++ == 0 ? status : f[27];
      return true;
    };
    wire.submit(Kind::write, 8, 1);
    ASSERT_TRUE(wire.until_done(1, 60 * kSec));
    EXPECT_EQ(wire.done[0].result, Result::done);
    EXPECT_EQ(spoiled, 2U) << "asked again";
    EXPECT_EQ(wire.initiator.counters().malformed, 1U);
  }
}

// A target that never says "ready" has no other word for success.
TEST(Initiator, ATargetThatNeverSaysReadyIsServedAllTheSame) {
  TestWire wire(config_with(""), model_with());
  wire.on_way_back = [&](Bytes& f) {
    if (get(f, F::command) == observer::command::ata) {
      f[27] = static_cast<uint8_t>(f[27] & ~0x40U);
    }
    return true;
  };
  ASSERT_TRUE(wire.until_ready());
  wire.submit(Kind::write, 8, 1);
  ASSERT_TRUE(wire.until_done(1, 60 * kSec));
  EXPECT_EQ(wire.done[0].result, Result::done);
}

TEST(Initiator, WhatIsNotFromTheTargetIsNotBelieved) {
  TestWire wire(config_with(""), model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.on_way_back = [&](Bytes& f) {
    f[11] ^= 1;  // another source address
    return true;
  };
  wire.submit(Kind::read, 8, 1);
  EXPECT_FALSE(wire.until_done(1, 5 * kSec));
  EXPECT_GT(wire.initiator.counters().stranger, 0U);
}

TEST(Initiator, FindsTheFrameThatThePathCarries) {
  for (const bool towards : {true, false}) {
    TestWire wire(config_with("tag_inc_be", 9000), model_with(9000));
    (towards ? wire.to_target_max : wire.from_target_max) = 4500;
    ASSERT_TRUE(wire.until_ready());
    EXPECT_EQ(wire.initiator.device().sectors_per_frame, 8U);
    wire.submit(Kind::write, 0, 40, 0x31);
    ASSERT_TRUE(wire.until_done(1, 2 * kSec));
  }
}

TEST(Initiator, APathThatBecomesNarrowIsNoticedAndThePiecesAreAskedForAgain) {
  TestWire wire(config_with("tag_inc_be", 9000), model_with(9000));
  ASSERT_TRUE(wire.until_ready());
  EXPECT_EQ(wire.initiator.device().sectors_per_frame, 17U);
  wire.to_target_max = 1514;
  wire.submit(Kind::write, 0, 40, 0x31);
  for (int i = 0; i < 40; ++i) {
    wire.submit(Kind::read, 100, 1);
    wire.run_for(50 * kMs);
  }
  ASSERT_TRUE(wire.until_done(41, 60 * kSec));
  EXPECT_EQ(wire.initiator.device().sectors_per_frame, 2U);
  for (uint64_t lba = 0; lba < 40; ++lba) {
    EXPECT_EQ(wire.target.read_sector(lba), Bytes(512, 0x31));
  }
}

TEST(Initiator, GoesToTheOtherPathAndItsWritesWaitForOldCopies) {
  auto config = config_with("tag_inc_be");
  config.paths = {{kOwn, 1500}, {kOwnToo, 1500}};
  TestWire wire(config, model_with());
  ASSERT_TRUE(wire.until_ready());
  ASSERT_EQ(wire.initiator.path(), 0U);
  wire.cut.insert(0);
  const int64_t cut_at = wire.now_ns;
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1, 20 * kSec));
  EXPECT_EQ(wire.initiator.path(), 1U);
  EXPECT_EQ(wire.initiator.counters().failovers, 1U);
  const int64_t first_ns = wire.now_ns;
  EXPECT_LT(first_ns - cut_at, 3 * kSec);
  wire.submit(Kind::write, 8, 1, 0x22);
  ASSERT_TRUE(wire.until_done(2, 20 * kSec));
  EXPECT_GE(wire.now_ns - first_ns, kSec);
  wire.submit(Kind::write, 9, 1, 0x22);
  wire.submit(Kind::write, 8, 1, 0x23);
  ASSERT_TRUE(wire.until_done(4, kSec));
}

TEST(Initiator, AFlushAfterARestartWithAVolatileCacheIsNotDone) {
  TestWire wire(config_with("tag_inc_be"), model_with());
  wire.on_way_back = [](Bytes& f) {  // identify: the write cache is on
    if (f.size() >= 36 + 512 && observer::identify_word(BytesView(f).subspan(36), 80) == 0x78) {
      f[36 + 2 * 85] |= 0x20;
    }
    return true;
  };
  ASSERT_TRUE(wire.until_ready());
  ASSERT_TRUE(wire.initiator.device().volatile_write_cache);
  wire.submit(Kind::write, 8, 1, 0x11);
  ASSERT_TRUE(wire.until_done(1));
  wire.restart_target();
  wire.run_for(kSec);
  wire.submit(Kind::flush, 0, 0);
  ASSERT_TRUE(wire.until_done(2));
  EXPECT_EQ(wire.done[1].result, Result::lost);
  wire.submit(Kind::flush, 0, 0);
  ASSERT_TRUE(wire.until_done(3));
  EXPECT_EQ(wire.done[2].result, Result::done);
}

TEST(Initiator, MoreJobsThanFitAreRefusedAndUntouched) {
  auto config = config_with("");
  config.jobs_max = 2;
  TestWire wire(config, model_with());
  wire.target_up = false;
  wire.submit(Kind::write, 0, 1, 1);
  wire.submit(Kind::write, 1, 1, 1);
  Job job;
  job.kind = Kind::write;
  job.sectors = 1;
  job.data.assign(512, 9);
  EXPECT_FALSE(wire.initiator.submit(job, wire.now_ns));
  EXPECT_EQ(job.data.size(), 512U);
}

// Whatever arrives: nothing is read beyond a frame, nothing is believed.
TEST(Initiator, LivesThroughNoise) {
  std::mt19937_64 random(7);
  TestWire wire(config_with("tag_inc_be,coalesced_read,coalesced_write_reply,crc8x4"),
                model_with());
  ASSERT_TRUE(wire.until_ready());
  wire.submit(Kind::write, 0, 64, 0x5a);
  wire.submit(Kind::read, 64, 64);
  for (int i = 0; i < 20'000; ++i) {
    Bytes frame = wire.target.announcement();
    frame.resize(random() % 100);
    for (int k = 0; k < 8 && !frame.empty(); ++k) {
      frame[random() % frame.size()] = static_cast<uint8_t>(random());
    }
    if (frame.size() > 24 && random() % 2 == 0) {
      std::copy(kOwn.begin(), kOwn.end(), frame.begin());
      frame[19] = static_cast<uint8_t>(random() % 4);
    }
    wire.initiator.on_frame(random() % 3, frame, wire.now_ns);
  }
  ASSERT_TRUE(wire.until_done(2));
  wire.submit(Kind::read, 0, 64);
  ASSERT_TRUE(wire.until_done(3));
  EXPECT_EQ(wire.done[2].result, Result::done);
  EXPECT_EQ(wire.done[2].data, Bytes(64 * 512, 0x5a));
}

// What a wire may do, from seeds; and what the sectors hold is what was acknowledged last.
class Hostile : public testing::TestWithParam<int> {};

TEST_P(Hostile, NothingIsReportedDoneThatWasNot) {
  const int seed = GetParam();
  std::mt19937_64 random(static_cast<uint64_t>(seed) * 7919 + 1);
  const char* features[] = {"tag_inc_be", "tag_inc_le,coalesced_read", "tag_inc_be,crc8x4",
                            "tag_inc_be,coalesced_read,crc8x4"};
  const size_t mtu = seed % 3 == 0 ? 9000 : 1500;
  auto config = config_with(features[seed % 4], mtu);
  config.first_tag = static_cast<uint32_t>(random());
  if (seed % 5 == 0) {
    config.first_tag = 0xffff'fff0 - static_cast<uint32_t>(random() % 100'000);  // it wraps
  }
  const Weather weather{0.01 * static_cast<double>(random() % 20),
                        0.01 * static_cast<double>(random() % 20),
                        0.01 * static_cast<double>(random() % 20), 200 * kMs};
  TestWire wire(config, model_with(mtu, 256), static_cast<uint64_t>(seed), weather);
  constexpr uint64_t areas = 16;
  constexpr uint32_t area_sectors = 16;
  // One job at a time for each area: what it may hold is then known.
  struct Area {
    bool busy = false;
    bool writes = false;
    uint8_t holds = 0;
    uint8_t next = 0;
  };
  std::vector<Area> state(areas);
  size_t finished = 0;
  size_t wrong = 0;
  std::vector<Completion> arrived;
  wire.sink = &arrived;
  const size_t total = 600;
  size_t started = 0;
  size_t restarts_left = seed % 2 == 1 ? 3 : 0;
  const auto step = [&] {
    for (Completion& c : arrived) {
      Area& area = state[c.cookie];
      ++finished;
      area.busy = false;
      EXPECT_EQ(c.result, Result::done) << describe(c);
      if (c.kind == Kind::write) {
        area.holds = area.next;
      } else if (c.kind == Kind::read && c.data != Bytes(area_sectors * 512, area.holds)) {
        ++wrong;
      }
    }
    arrived.clear();
    while (started < total) {
      const uint64_t at = random() % areas;
      Area& area = state[at];
      if (area.busy) {
        break;
      }
      area.busy = true;
      ++started;
      area.writes = random() % 2 == 0;
      if (area.writes) {
        area.next = static_cast<uint8_t>(random() % 255 + 1);
      }
      wire.submit(area.writes ? Kind::write : Kind::read, at * area_sectors, area_sectors,
                  area.next, at);
    }
    return finished >= total;
  };
  const bool ended = wire.run_until(wire.now_ns + 3600 * kSec, [&] {
    if (restarts_left > 0 && finished > total / 4 * (4 - restarts_left)) {
      --restarts_left;
      // Copies from before the restart, and from before the new session, are what the protocol
      // cannot stop: there are none until the new window has seen its first write.
      wire.lose_what_travels();
      wire.restart_target(restarts_left % 2 == 0);
      wire.weather.late = wire.weather.twice = 0;
    }
    const auto& session = wire.target.sessions[kOwn];
    if (session.tags != deviants::Session::Tags::none && !session.window_empty) {
      wire.weather = weather;
    }
    return step();
  });
  EXPECT_TRUE(ended) << finished << " of " << total;
  EXPECT_EQ(wrong, 0U);
  for (uint64_t i = 0; i < areas; ++i) {
    if (!state[i].busy) {
      EXPECT_EQ(wire.target.read_sector(i * area_sectors + 3), Bytes(512, state[i].holds));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Hostile, testing::Range(0, 24));

}  // namespace
}  // namespace conformance::initiator
