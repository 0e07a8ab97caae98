// What must hold, whatever the design (docs/architecture.md): one test for each of the seven, on
// the whole engine, in the plainest form in which it could break.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "target/engine/engine.h"
#include "target/engine/hand_cranked.h"
#include "target/engine/tag_window.h"

namespace target::engine::test {
namespace {

using testing::IsEmpty;

TEST(Invariant1, ADuplicateOfAWriteInFlightIsNotAnsweredBeforeTheOriginalIsOnDisk) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.give(write(10, 1, 5, 1));
  crank.give(write(10, 1, 5, 1));
  crank.give(write(10, 1, 5, 1));
  EXPECT_THAT(crank.flush(), IsEmpty());
  ASSERT_EQ(crank.in_flight.size(), 1U);
  EXPECT_EQ(crank.counters().duplicates_in_flight, 2U);
  crank.end_disk(0);
  const std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 3U);
  for (const Reply& reply : replies) {
    EXPECT_TRUE(reply.is_good_ata());
  }
  EXPECT_EQ(crank.writes_performed, 1U);
}

TEST(Invariant1, NorWhenTheOriginalIsHeldBehindAnotherOperation) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.give(from(kBob, read(10, 1, 1)));
  crank.give(write(10, 1, 5, 1));
  crank.give(write(10, 1, 5, 1));
  EXPECT_THAT(crank.flush(), IsEmpty());
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 1U) << "Bob's read";
  ASSERT_EQ(crank.in_flight.size(), 1U);
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 2U);
}

TEST(Invariant1, ADuplicateOfAWriteThatFailsIsToldSo) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.give(write(10, 1, 5, 1));
  crank.give(write(10, 1, 5, 1));
  crank.flush();
  crank.end_disk(0, DiskStatus::io_error);
  const std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].ata_status(), 0x61);
  EXPECT_EQ(replies[1].ata_status(), 0x61);
}

TEST(Invariant2, AWriteWhoseDiskOperationFailedIsNotRemembered) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.give(write(10, 1, 5, 1));
  crank.flush();
  crank.end_disk(0, DiskStatus::io_error);
  crank.flush();
  EXPECT_TRUE(crank.ask_one(write(10, 1, 5, 1)).is_good_ata());
  EXPECT_EQ(crank.disk_byte(10), 1);
  crank.ask(write(10, 1, 5, 2));
  EXPECT_EQ(crank.disk_byte(10), 1) << "now it is";
}

TEST(Invariant2, ARefusedWriteIsNotRemembered) {
  struct Refusal {
    const char* why;
    FrameSpec refused;
  };
  FrameSpec too_short = write(10, 1, 5, 1);
  too_short.argument.resize(100);
  for (const Refusal& refusal :
       {Refusal{"too many sectors", write(10, 3, 5, 1)}, Refusal{"none", write(10, 0, 5, 1)},
        Refusal{"too little payload", too_short},
        Refusal{"past the end", write(kDiskSectors, 1, 5, 1)}}) {
    HandCranked crank;
    crank.ask(extensions({"tag_inc_be"}));
    crank.ask(refusal.refused);
    crank.ask(write(10, 1, 5, 7));
    EXPECT_EQ(crank.disk_byte(10), 7) << refusal.why;
  }
}

TEST(Invariant2, AWriteRefusedForAReservationIsNotRemembered) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(from(kBob, reserve(2, {kBob})));
  EXPECT_EQ(crank.ask_one(write(10, 1, 5, 1)).error(), 6);
  crank.ask(from(kBob, reserve(1)));
  crank.ask(write(10, 1, 5, 7));
  EXPECT_EQ(crank.disk_byte(10), 7);
}

TEST(Invariant2, ARefusedWriteDoesNotMoveTheWindow) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(10, 1, 5, 1));
  crank.ask(write(kDiskSectors, 1, 5 + kTagWindowTags, 1));
  EXPECT_TRUE(crank.ask_one(write(10, 1, 5, 2)).is_good_ata());
  EXPECT_EQ(crank.disk_byte(10), 1) << "still remembered";
}

TEST(Invariant3, OverlappingOperationsKeepTheirOrderOfArrival) {
  HandCranked crank;
  crank.give(write(10, 2, 1, 1));
  crank.give(write(11, 2, 2, 2));
  crank.give(from(kBob, read(11, 1, 3)));
  crank.give(from(kBob, write(10, 1, 4, 4)));
  crank.flush();
  ASSERT_EQ(crank.in_flight.size(), 1U) << "the first alone is at the disk";
  const std::vector<Reply> replies = crank.run();
  ASSERT_EQ(replies.size(), 4U);
  EXPECT_EQ(crank.disk_byte(10), 4);
  EXPECT_EQ(crank.disk_byte(11), 2);
  EXPECT_EQ(crank.disk_byte(12), 2);
  for (const Reply& reply : replies) {
    if (reply.tag() == 3) {
      EXPECT_EQ(reply.data(36, 512), sectors_of(1, 2)) << "what was written before it";
    }
  }
  EXPECT_EQ(crank.counters().gate_held, 3U);
}

TEST(Invariant3, AFlushIsAnsweredAfterTheWritesBeforeIt) {
  HandCranked crank;
  crank.give(write(10, 1, 1, 1));
  crank.give(ata(wire::ata::kFlushCacheExt, 0, 0, 2));
  crank.flush();
  ASSERT_EQ(crank.in_flight.size(), 1U);
  EXPECT_EQ(crank.in_flight[0].kind, DiskOpKind::write);
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 1U);
  EXPECT_EQ(crank.in_flight.at(0).kind, DiskOpKind::flush);
}

TEST(Invariant4, OneInitiatorsTagsNeverTouchAnothersWindow) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(from(kBob, extensions({"tag_inc_be"})));
  crank.ask(write(10, 1, 5, 1));
  crank.ask(from(kBob, write(11, 1, 5, 2)));
  EXPECT_EQ(crank.disk_byte(11), 2) << "Alice's tag is not Bob's";
  crank.ask(from(kBob, write(11, 1, 1'000'000, 3)));
  crank.ask(write(10, 1, 5, 9));
  EXPECT_EQ(crank.disk_byte(10), 1) << "Bob's window moved, Alice's did not";
}

TEST(Invariant4, OneInitiatorsResetOrConfigNeverTouchesAnothersWindow) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(10, 1, 5, 1));
  crank.ask(from(kBob, extensions({"reset", "tag_inc_le"})));
  crank.ask(from(kBob, config(0, "")));
  crank.ask(from(kBob, config(4, "bob")));
  crank.ask(from(kBob, extensions({"reset"})));
  crank.ask(write(10, 1, 5, 9));
  EXPECT_EQ(crank.disk_byte(10), 1);
}

TEST(Invariant4, TheSameAddressOnAnotherPortIsAnotherInitiator) {
  EngineConfig settings = plain_config();
  settings.ports.push_back({mac(0xDD), 1500});
  HandCranked crank(settings);
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(10, 1, 5, 1));
  FrameSpec other_port = write(10, 1, 5, 2);
  other_port.destination = mac(0xDD);
  crank.give(other_port.bytes(), 1000, 1);
  crank.run();
  EXPECT_EQ(crank.disk_byte(10), 2);
}

TEST(Invariant5, AFullTableProtectsThoseInIt) {
  EngineConfig settings = plain_config();
  settings.initiators_max = 2;
  HandCranked crank(settings);
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(10, 1, 5, 1));
  crank.ask(from(kBob, extensions({"coalesced_read"})));
  crank.ask(from(kBob, write(11, 1, 5, 1)));
  for (std::uint8_t i = 10; i < 60; ++i) {
    const Reply reply = crank.ask_one(from(mac(i), extensions({"tag_inc_be", "congestion", "5"})));
    EXPECT_EQ(reply.names(), (std::vector<std::string>{"tag_inc_be", "congestion", "5"}));
  }
  EXPECT_EQ(crank.counters().sessions, 2U);
  EXPECT_EQ(crank.counters().sessions_refused, 50U);
  crank.ask(write(10, 1, 5, 9));
  EXPECT_EQ(crank.disk_byte(10), 1);
  crank.ask(from(kBob, extensions({"reset"})));
  EXPECT_EQ(crank.ask_one(from(mac(10), extensions({"tag_inc_be"}))).names().at(0), "TAG_INC_BE");
}

// Whoever forges addresses fills the table: he must not keep those out who come to write.
TEST(Invariant5, ATableFullOfThoseWhoNeverWroteShutsNobodyOut) {
  EngineConfig settings = plain_config();
  settings.initiators_max = 4;
  HandCranked crank(settings);
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(10, 1, 5, 1));
  for (std::uint8_t i = 10; i < 60; ++i) {
    crank.ask(from(mac(i), extensions({"tag_inc_be"})));
  }
  EXPECT_EQ(crank.ask_one(from(kBob, extensions({"tag_inc_be"}))).names().at(0), "TAG_INC_BE");
  crank.ask(from(kBob, write(11, 1, 5, 1)));
  for (std::uint8_t i = 10; i < 60; ++i) {
    crank.ask(from(mac(i), extensions({"tag_inc_be"})));
  }
  crank.ask(write(10, 1, 5, 9));
  crank.ask(from(kBob, write(11, 1, 5, 9)));
  EXPECT_EQ(crank.disk_byte(10), 1) << "its duplicate is still known";
  EXPECT_EQ(crank.disk_byte(11), 1);
  EXPECT_GT(crank.counters().sessions_evicted, 0U);
  EXPECT_EQ(crank.counters().sessions_refused, 0U);
}

TEST(Invariant5, NoNumberOfDuplicatesInFlightTakesMoreThanItsRoom) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  std::size_t given = 0;
  while (crank.intake_open()) {
    crank.give(write(10, 1, 5, 1));
    ASSERT_LE(++given, 1000U);
  }
  EXPECT_EQ(crank.run().size(), given);
  EXPECT_EQ(crank.writes_performed, 1U);
  EXPECT_TRUE(crank.intake_open());
}

TEST(Invariant6, NothingFromAnotherRequestLeaves) {
  // Bob fills every slot with a secret, and makes the engine work in all of them.
  constexpr std::uint8_t kSecret = 0xD7;
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  HandCranked crank(settings);
  for (int round = 0; round < 3; ++round) {
    while (crank.intake_open()) {
      crank.give(from(kBob, write(2000, 2, 1, kSecret)));
    }
    crank.run();
  }
  FrameSpec lying_string = config(4, "x");
  wire::store_be16(lying_string.argument, 6, 600);
  FrameSpec lying_mask = mask(1, {{1, kAlice}});
  wire::store_u8(lying_mask.argument, 3, 100);
  FrameSpec lying_reserve = reserve(1, {kAlice});
  wire::store_u8(lying_reserve.argument, 1, 100);
  FrameSpec unknown;
  unknown.command = 0x77;
  FrameSpec version = read(0, 1, 1);
  version.version = 9;
  for (const FrameSpec& frame : {read(0, 2, 1),
                                 read(0, 200, 1),
                                 read(kDiskSectors, 1, 1),
                                 write(0, 1, 1, 1),
                                 write(kDiskSectors, 1, 1, 1),
                                 config(0, ""),
                                 lying_string,
                                 config(4, "short"),
                                 mask(0),
                                 lying_mask,
                                 mask(1, {{0, kAlice}}),
                                 mask(1, {{9, kAlice}}),
                                 mask(7),
                                 reserve(0),
                                 lying_reserve,
                                 reserve(9),
                                 extensions({"tag_inc_be", "x"}),
                                 extensions({"reset"}),
                                 unknown,
                                 version,
                                 ata(wire::ata::kIdentifyDevice, 0, 1, 1),
                                 ata(wire::ata::kCheckPowerMode, 0, 0, 1),
                                 ata(wire::ata::kFlushCache, 0, 0, 1),
                                 ata(0xB0, 0, 0, 1)}) {
    const Reply reply = crank.ask_one(frame);
    EXPECT_THAT(reply.bytes, testing::Not(testing::Contains(std::byte{kSecret})))
        << "command " << int{frame.command};
  }
}

TEST(Invariant6, AReadThatFailedCarriesNothing) {
  HandCranked crank;
  crank.give(read(0, 2, 1));
  crank.flush();
  std::fill(crank.in_flight[0].data.begin(), crank.in_flight[0].data.end(), std::byte{0xD7});
  crank.end_disk(0, DiskStatus::io_error);
  EXPECT_THAT(crank.flush().at(0).bytes, testing::Not(testing::Contains(std::byte{0xD7})));
}

// The protocol cannot stop this one; the test says what happens, as docs/extensions.md does.
TEST(Invariant7, AWriteThatCrossesARestartMeetsAnEmptyWindow) {
  HandCranked before;
  before.ask(extensions({"tag_inc_be"}));
  before.ask(write(10, 1, 5, 1));
  before.ask(write(10, 1, 6, 2));
  HandCranked after;
  EXPECT_EQ(after.announcements.size(), 1U) << "the only sign of a restart";
  after.ask(extensions({"tag_inc_be"}));
  after.ask(write(10, 1, 5, 1));
  EXPECT_EQ(after.writes_performed, 1U) << "performed again: a stale write";
}

}  // namespace
}  // namespace target::engine::test
