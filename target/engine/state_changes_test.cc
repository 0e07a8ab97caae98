// Query config, MAC mask list, reserve/release, and what waits until it is saved, through the whole
// engine.
#include "target/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "target/engine/hand_cranked.h"

namespace target::engine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// --- query config

TEST(Config, TellsWhoTheTargetIs) {
  EngineConfig settings = plain_config();
  settings.buffer_count = 0x1234;
  settings.firmware_version = 0x5678;
  HandCranked crank(settings);
  const Reply reply = crank.ask_one(config(0, ""));
  EXPECT_EQ(reply.be16(24), 0x1234);
  EXPECT_EQ(reply.be16(26), 0x5678);
  EXPECT_EQ(reply.u8(28), 2);
  EXPECT_EQ(reply.u8(29), 0x10);
  EXPECT_EQ(reply.be16(30), 0);
}

TEST(Config, SetTestAndRead) {
  HandCranked crank;
  EXPECT_EQ(crank.ask_one(config(3, "hello")).config_string(), "hello");
  EXPECT_EQ(crank.ask_one(config(0, "")).config_string(), "hello");
  EXPECT_EQ(crank.ask(config(1, "hello")).size(), 1U);
  EXPECT_THAT(crank.ask(config(1, "hell")), IsEmpty());
  EXPECT_THAT(crank.ask(config(1, "hello!")), IsEmpty());
  EXPECT_EQ(crank.ask_one(config(2, "hell")).config_string(), "hello");
  EXPECT_EQ(crank.ask(config(2, "")).size(), 1U);
  EXPECT_THAT(crank.ask(config(2, "ello")), IsEmpty());
  EXPECT_THAT(crank.ask(config(2, "hello!")), IsEmpty());
}

TEST(Config, SetRefusesWhenAnotherStringIsPresent) {
  HandCranked crank;
  crank.ask(config(3, "hello"));
  const Reply refused = crank.ask_one(config(3, "other"));
  EXPECT_EQ(refused.error(), 4);
  EXPECT_EQ(refused.config_string(), "hello");
  EXPECT_EQ(crank.ask_one(config(3, "hello")).error(), 0);
  const Reply forced = crank.ask_one(config(4, "other"));
  EXPECT_EQ(forced.error(), 0);
  EXPECT_EQ(forced.config_string(), "other");
  EXPECT_EQ(crank.ask_one(config(4, "")).config_string(), "");
  EXPECT_EQ(crank.ask_one(config(3, "third")).config_string(), "third");
}

TEST(Config, ImpossibleLengthsAreABadArgumentExceptInARead) {
  HandCranked crank;
  crank.ask(config(3, "hello"));
  for (const std::uint8_t ccmd : {1, 2, 3, 4}) {
    FrameSpec beyond = config(ccmd, "hello");
    wire::store_be16(beyond.argument, 6, 200);
    EXPECT_EQ(crank.ask_one(beyond).error(), 2);
    EXPECT_EQ(crank.ask_one(config(ccmd, std::string(1025, 'x'))).error(), 2);
  }
  FrameSpec read_request = config(0, "");
  wire::store_be16(read_request.argument, 6, 0xFFFF);
  EXPECT_EQ(crank.ask_one(read_request).config_string(), "hello");
  const std::string longest(1024, 'y');
  EXPECT_EQ(crank.ask_one(config(4, longest)).config_string(), longest);
}

TEST(Config, UnknownCcmdIsABadArgument) {
  HandCranked crank;
  for (std::uint8_t ccmd = 5; ccmd < 16; ++ccmd) {
    EXPECT_EQ(crank.ask_one(config(ccmd, "")).error(), 2);
  }
}

// --- MAC mask list

TEST(Mask, AdmitsOnlyThoseListed) {
  HandCranked crank;
  EXPECT_THAT(crank.ask_one(mask(0)).mask_list(), IsEmpty());
  EXPECT_THAT(crank.ask_one(mask(1, {{1, kAlice}, {1, mac(9)}})).mask_list(),
              ElementsAre(kAlice, mac(9)));
  for (FrameSpec request : {read(0, 1, 1), config(0, ""), mask(0), reserve(0)}) {
    request.source = kBob;
    EXPECT_THAT(crank.ask(request), IsEmpty());
    request.source = kAlice;
    EXPECT_EQ(crank.ask(request).size(), 1U);
  }
  FrameSpec unknown = config(0, "");
  unknown.source = kBob;
  unknown.version = 2;
  EXPECT_THAT(crank.ask(unknown), IsEmpty());
  EXPECT_EQ(crank.counters().ignored_masked, 5U);
}

TEST(Mask, DirectivesApplyInOrder) {
  HandCranked crank;
  EXPECT_THAT(crank
                  .ask_one(mask(1, {{1, kAlice},
                                    {1, mac(8)},
                                    {1, mac(9)},
                                    {1, mac(8)},
                                    {2, mac(8)},
                                    {2, mac(8)},
                                    {0, mac(7)},
                                    {1, mac(8)}}))
                  .mask_list(),
              ElementsAre(kAlice, mac(9), mac(8)));
  EXPECT_THAT(crank.ask_one(mask(1, {{2, kAlice}, {2, mac(9)}, {2, mac(8)}})).mask_list(),
              IsEmpty());
}

TEST(Mask, ABadDirectiveStopsTheEditThere) {
  HandCranked crank;
  const Reply reply = crank.ask_one(mask(1, {{1, kAlice}, {1, mac(8)}, {3, mac(9)}, {1, mac(10)}}));
  EXPECT_FALSE(reply.has_error());
  EXPECT_EQ(reply.u8(26), wire::merror::kBadDirective);
  EXPECT_EQ(reply.u8(27), 2) << "the index of the bad one";
  EXPECT_THAT(reply.mask_list(), ElementsAre(kAlice, mac(8)));
  EXPECT_THAT(crank.ask_one(mask(0)).mask_list(), ElementsAre(kAlice, mac(8)));
}

TEST(Mask, ListIsFullWhenItsReplyWouldNotFit) {
  struct Case {
    std::uint16_t mtu;
    std::size_t limit;
  };
  for (const Case& c : {Case{1500, 185}, Case{9000, 255}}) {
    HandCranked crank(plain_config(c.mtu));
    crank.ask(mask(1, {{1, kAlice}}));
    for (std::size_t i = 1; i < c.limit; ++i) {
      const wire::MacAddress next{{2, 1, 0, 0, 0, static_cast<std::uint8_t>(i)}};
      ASSERT_EQ(crank.ask_one(mask(1, {{1, next}})).u8(26), 0);
    }
    const Reply full = crank.ask_one(mask(1, {{1, kAlice}, {1, mac(99)}}));
    EXPECT_EQ(full.u8(26), wire::merror::kListFull);
    EXPECT_EQ(full.u8(27), 1);
    EXPECT_EQ(crank.ask_one(mask(0)).mask_list().size(), c.limit);
    EXPECT_EQ(crank.ask_one(mask(1, {{2, kAlice}, {1, kBob}, {2, kBob}, {1, kAlice}})).u8(26), 0);
  }
}

TEST(Mask, WhatItClaimsIsNotBelievedBeyondTheFrame) {
  HandCranked crank;
  FrameSpec request = mask(1, {{1, kAlice}});
  wire::store_u8(request.argument, 3, 200);
  EXPECT_EQ(crank.ask_one(request).error(), 2);
  EXPECT_THAT(crank.ask_one(mask(0)).mask_list(), IsEmpty());
  EXPECT_EQ(crank.ask_one(mask(2)).error(), 2);
  EXPECT_EQ(crank.ask_one(mask(255)).error(), 2);
}

TEST(Mask, OneMayLockOneselfOut) {
  HandCranked crank;
  EXPECT_THAT(crank.ask_one(mask(1, {{1, kBob}})).mask_list(), ElementsAre(kBob));
  EXPECT_THAT(crank.ask(config(0, "")), IsEmpty());
}

TEST(Allow, SilencesOthersAndCannotBeEdited) {
  EngineConfig settings = plain_config();
  settings.allow = {kBob};
  HandCranked crank(settings);
  EXPECT_THAT(crank.ask(config(0, "")), IsEmpty());
  FrameSpec edit = mask(1, {{1, kAlice}, {1, kBob}});
  edit.source = kBob;
  EXPECT_EQ(crank.ask(edit).size(), 1U);
  EXPECT_THAT(crank.ask(config(0, "")), IsEmpty());
}

// --- reserve/release

TEST(Reserve, KeepsOthersFromTheData) {
  HandCranked crank;
  EXPECT_THAT(crank.ask_one(reserve(1, {kAlice})).reserve_list(), ElementsAre(kAlice));
  FrameSpec request = read(0, 1, 1);
  EXPECT_TRUE(crank.ask_one(request).is_good_ata());
  request.source = kBob;
  const Reply refused = crank.ask_one(request);
  EXPECT_EQ(refused.error(), 6);
  EXPECT_NE(refused.ata_status() & wire::ata::kStatusError, 0);
  request = write(0, 1, 2, 1);
  request.source = kBob;
  EXPECT_EQ(crank.ask_one(request).error(), 6);
  EXPECT_EQ(crank.writes_performed, 0U);
  request = ata(wire::ata::kIdentifyDevice, 0, 1, 1, {}, 0);
  request.source = kBob;
  EXPECT_TRUE(crank.ask_one(request).is_good_ata());
  for (FrameSpec open : {config(0, ""), config(4, "bob"), mask(0), reserve(0)}) {
    open.source = kBob;
    EXPECT_EQ(crank.ask_one(open).error(), 0);
  }
}

TEST(Reserve, SetAndForceSet) {
  HandCranked crank;
  crank.ask(reserve(1, {kAlice}));
  FrameSpec request = reserve(1, {kBob});
  request.source = kBob;
  const Reply refused = crank.ask_one(request);
  EXPECT_EQ(refused.error(), 6);
  EXPECT_THAT(refused.reserve_list(), ElementsAre(kAlice)) << "who holds it";
  request = reserve(2, {kBob});
  request.source = kBob;
  EXPECT_THAT(crank.ask_one(request).reserve_list(), ElementsAre(kBob));
  EXPECT_EQ(crank.ask_one(reserve(1)).error(), 6);
  request = reserve(1);
  request.source = kBob;
  EXPECT_THAT(crank.ask_one(request).reserve_list(), IsEmpty());
  EXPECT_TRUE(crank.ask_one(read(0, 1, 1)).is_good_ata());
}

TEST(Reserve, BadArguments) {
  HandCranked crank;
  EXPECT_EQ(crank.ask_one(reserve(3)).error(), 2);
  FrameSpec lying = reserve(1, {kAlice});
  wire::store_u8(lying.argument, 1, 100);
  EXPECT_EQ(crank.ask_one(lying).error(), 2);
  EXPECT_EQ(crank.ask_one(reserve(1, std::vector<wire::MacAddress>(249, kAlice))).error(), 2);
  EXPECT_THAT(crank.ask_one(reserve(0)).reserve_list(), IsEmpty());
  EXPECT_EQ(crank.ask_one(reserve(1, std::vector<wire::MacAddress>(248, kAlice))).error(), 0);
}

// --- persistence

TEST(Persistence, AChangeIsAnsweredOnlyWhenItIsSaved) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  for (const FrameSpec& request :
       {config(3, "hello"), mask(1, {{1, kAlice}}), reserve(1, {kAlice})}) {
    HandCranked crank(settings);
    crank.give(request);
    EXPECT_THAT(crank.flush(), IsEmpty());
    EXPECT_EQ(crank.engine().state(), PersistentState{});
    crank.end_save();
    const std::vector<Reply> replies = crank.flush();
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].error(), 0);
    EXPECT_EQ(crank.engine().state(), crank.saved);
    EXPECT_NE(crank.saved, PersistentState{});
  }
}

TEST(Persistence, AFailedSaveLeavesTheStateAndSaysSo) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  for (const FrameSpec& request :
       {config(3, "hello"), mask(1, {{1, kAlice}}), reserve(1, {kAlice})}) {
    HandCranked crank(settings);
    crank.give(request);
    crank.flush();
    crank.end_save(DiskStatus::no_space);
    EXPECT_EQ(crank.flush().at(0).error(), 3);
    EXPECT_EQ(crank.engine().state(), PersistentState{});
    EXPECT_EQ(crank.notes.at(0).kind, NoteKind::save_failed);
    EXPECT_EQ(crank.counters().config_changes + crank.counters().mask_edits +
                  crank.counters().reserve_changes,
              0U);
  }
}

TEST(Persistence, WhatChangesNothingIsNotSaved) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  settings.state.config_string = bytes_of("hello");
  HandCranked crank(settings);
  EXPECT_EQ(crank.ask_one(config(0, "")).config_string(), "hello");
  EXPECT_EQ(crank.ask_one(config(3, "hello")).error(), 0);
  EXPECT_EQ(crank.ask_one(mask(1, {{2, kBob}})).error(), 0);
  EXPECT_EQ(crank.ask_one(reserve(1)).error(), 0);
  EXPECT_THAT(crank.saves, IsEmpty());
}

TEST(Persistence, EverybodyIsServedWhileASaveIsUnderWay) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  HandCranked crank(settings);
  crank.give(read(0, 1, 1));
  crank.give(config(3, "hello"));
  crank.flush();
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 1U);
  EXPECT_TRUE(crank.intake_open());
  EXPECT_EQ(crank.ask_one(from(kBob, read(3, 1, 2))).error(), 0);
  EXPECT_EQ(crank.ask_one(from(kBob, config(0, ""))).config_string(), "")
      << "nobody has been told of the new string yet";
  crank.end_save();
  EXPECT_EQ(crank.flush().at(0).config_string(), "hello");
}

// A flood of changes costs one save for all that came meanwhile, and one change of each host.
TEST(Persistence, ChangesThatComeDuringASaveShareTheNextOne) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  HandCranked crank(settings);
  crank.give(config(4, "first"));
  for (int i = 0; i < 100; ++i) {
    crank.give(config(4, i == 0 ? "second" : "third"));
  }
  crank.give(from(kBob, mask(1, {{1, kAlice}, {1, kBob}})));
  crank.give(from(mac(9), reserve(1, {mac(9)})));
  EXPECT_THAT(crank.flush(), IsEmpty());
  EXPECT_EQ(crank.saves.size(), 1U);
  EXPECT_EQ(crank.counters().changes_dropped, 99U);
  EXPECT_EQ(crank.counters().changes_waited, 3U);
  crank.end_save();
  std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].config_string(), "first");
  EXPECT_EQ(crank.engine().state().config_string, bytes_of("first"));
  crank.end_save();
  replies = crank.flush();
  ASSERT_EQ(replies.size(), 3U) << "three changes, one save";
  EXPECT_EQ(replies[0].config_string(), "second");
  EXPECT_THAT(crank.saves, IsEmpty());
  EXPECT_EQ(crank.saved.config_string, bytes_of("second"));
  EXPECT_EQ(crank.saved.mask_list, (std::vector<wire::MacAddress>{kAlice, kBob}));
  EXPECT_EQ(crank.saved.reserve_list, std::vector<wire::MacAddress>{mac(9)});
}

TEST(Persistence, WhatComesToNothingIsAnsweredWhenItsReasonIsSaved) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  HandCranked crank(settings);
  crank.give(mask(1, {{1, kAlice}, {1, kBob}}));
  crank.give(config(3, "mine"));
  crank.give(from(kBob, config(3, "no, mine")));
  crank.flush();
  crank.end_save();
  EXPECT_EQ(crank.flush().size(), 1U) << "Bob's refusal depends on Alice's string";
  crank.end_save(DiskStatus::io_error);
  std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].error(), 3);
  ASSERT_EQ(crank.saves.size(), 1U) << "so that Bob's set is good after all";
  crank.end_save();
  EXPECT_EQ(crank.flush().at(0).config_string(), "no, mine");
}

TEST(Persistence, WhoWaitsTakesAtMostAQuarterOfTheRoom) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  settings.operations_max = operations_min(settings);
  HandCranked crank(settings);
  crank.give(config(4, "first"));
  for (std::uint8_t i = 10; i < 200; ++i) {
    crank.give(from(mac(i), config(4, "x")));
    crank.flush();
  }
  EXPECT_EQ(crank.counters().changes_waited, std::min(16U, settings.operations_max / 4));
  EXPECT_EQ(crank.ask_one(read(1, 1, 1)).error(), 0);
}

// --- what an operator may forbid, and do

TEST(Freeze, WhatIsFrozenCanBeReadAndNotChanged) {
  EngineConfig settings = plain_config();
  settings.state.config_string = bytes_of("hello");
  settings.freeze = {.config_string = true, .mask_list = true, .reserve_list = true};
  HandCranked crank(settings);
  EXPECT_EQ(crank.ask_one(config(4, "other")).error(), 3);
  EXPECT_EQ(crank.ask_one(config(3, "hello")).error(), 0) << "it changes nothing";
  EXPECT_EQ(crank.ask_one(config(0, "")).config_string(), "hello");
  EXPECT_EQ(crank.ask_one(mask(1, {{1, kBob}})).error(), 3);
  EXPECT_EQ(crank.ask_one(mask(0)).error(), 0);
  EXPECT_EQ(crank.ask_one(reserve(2, {kBob})).error(), 3);
  EXPECT_EQ(crank.ask_one(reserve(0)).error(), 0);
  EXPECT_EQ(crank.counters().changes_frozen, 3U);
  EXPECT_EQ(crank.engine().state(), settings.state);
}

TEST(Freeze, EachPartByItself) {
  EngineConfig settings = plain_config();
  settings.freeze.mask_list = true;
  HandCranked crank(settings);
  EXPECT_EQ(crank.ask_one(mask(1, {{1, kAlice}})).error(), 3);
  EXPECT_EQ(crank.ask_one(config(4, "other")).error(), 0);
  EXPECT_EQ(crank.ask_one(reserve(1, {kAlice})).error(), 0);
}

TEST(Clear, AnOperatorGetsEverybodyBackIn) {
  EngineConfig settings = plain_config();
  settings.state.mask_list = {wire::MacAddress{}};
  settings.freeze.mask_list = true;
  HandCranked crank(settings);
  EXPECT_THAT(crank.ask(read(1, 1, 1)), IsEmpty());
  crank.engine().on_clear(StatePart::mask_list);
  EXPECT_EQ(crank.engine().last_clear(), ClearStatus::done);
  EXPECT_EQ(crank.ask(read(1, 1, 1)).size(), 1U);
}

TEST(Clear, IsSavedAsEveryChangeAndWaitsForTheOneUnderWay) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  settings.state.reserve_list = {kBob};
  HandCranked crank(settings);
  crank.give(config(4, "first"));
  crank.engine().on_clear(StatePart::reserve_list);
  EXPECT_THAT(crank.flush(), IsEmpty());
  EXPECT_EQ(crank.engine().last_clear(), ClearStatus::under_way);
  crank.end_save();
  EXPECT_EQ(crank.flush().size(), 1U);
  EXPECT_EQ(crank.engine().last_clear(), ClearStatus::under_way);
  crank.end_save(DiskStatus::no_space);
  EXPECT_EQ(crank.engine().last_clear(), ClearStatus::failed);
  EXPECT_EQ(crank.engine().state().reserve_list.size(), 1U);
  crank.engine().on_clear(StatePart::reserve_list);
  crank.flush();
  crank.end_save();
  EXPECT_EQ(crank.engine().last_clear(), ClearStatus::done);
  EXPECT_THAT(crank.flush(), IsEmpty()) << "nobody on the network asked";
  EXPECT_THAT(crank.saved.reserve_list, IsEmpty());
}

}  // namespace
}  // namespace target::engine::test
