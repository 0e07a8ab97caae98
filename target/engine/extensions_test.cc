// The AoEde extensions, and ours, through the whole engine: tag window, duplicates in the ring,
// coalesced reads, coalesced write replies, crc8x4, congestion, what resets a session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "target/engine/engine.h"
#include "target/engine/hand_cranked.h"
#include "target/engine/tag_window.h"
#include "target/wire/crc8x4.h"

namespace target::engine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Names = std::vector<std::string>;

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kSecond = 1'000'000'000;

std::uint32_t swapped(std::uint32_t tag) {
  return __builtin_bswap32(tag);
}

// --- negotiation on the wire

TEST(Negotiate, TheReplyIsTheTableInTheOrderItWasAskedIn) {
  for (const bool big_endian : {false, true}) {
    HandCranked crank;
    const Reply reply = crank.ask_one(
        extensions({"reset", "tag_inc_le", "coalesced_read", "no_such_feature"}, 7, big_endian));
    EXPECT_EQ(reply.u8(19), 0x23);
    EXPECT_EQ(reply.tag(), 7U);
    EXPECT_FALSE(reply.has_error());
    EXPECT_EQ(reply.names(big_endian),
              (Names{"RESET", "TAG_INC_LE", "COALESCED_READ", "no_such_feature"}));
    EXPECT_EQ(reply.bytes.size(), 26U + 49U);
    EXPECT_EQ(crank.counters().sessions, 1U);
  }
}

TEST(Negotiate, AMalformedTableGetsNoAnswer) {
  HandCranked crank;
  FrameSpec request = extensions({"reset"});
  wire::store_le16(request.argument, 0, 5);
  EXPECT_THAT(crank.ask(request), IsEmpty());
  wire::store_le16(request.argument, 0, 2000);
  EXPECT_THAT(crank.ask(request), IsEmpty());
  EXPECT_EQ(crank.counters().ignored_short, 2U);
}

TEST(Negotiate, ATableOfAWholeFrameComesBack) {
  HandCranked crank;
  Names names(1, "tag_inc_be");
  names.push_back(std::string(1472 - 10, 'x'));
  const Reply reply = crank.ask_one(extensions(names));
  EXPECT_EQ(reply.bytes.size(), 1500U + 1U);
  EXPECT_EQ(reply.names()[0], "TAG_INC_BE");
}

TEST(Negotiate, ATargetWithoutExtensionsSaysError1) {
  EngineConfig settings = plain_config();
  settings.extensions = false;
  HandCranked crank(settings);
  const Reply reply = crank.ask_one(extensions({"tag_inc_be"}, 9));
  EXPECT_EQ(reply.error(), 1);
  EXPECT_EQ(reply.tag(), 9U);
  EXPECT_EQ(crank.counters().sessions, 0U);
}

TEST(Negotiate, TheTableIsMetWithSilenceByTheMask) {
  HandCranked crank;
  crank.ask(mask(1, {{1, kBob}}));
  EXPECT_THAT(crank.ask(extensions({"tag_inc_be"})), IsEmpty());
}

// --- tag window

class Tagged : public testing::Test {
 protected:
  Tagged() { crank_.ask(extensions({"reset", "tag_inc_be"})); }
  HandCranked crank_;
};

TEST_F(Tagged, ADuplicateIsAnsweredAsASuccessAndNotPerformed) {
  EXPECT_TRUE(crank_.ask_one(write(100, 1, 1000, 'A')).is_good_ata());
  EXPECT_TRUE(crank_.ask_one(write(100, 1, 1001, 'B')).is_good_ata());
  const Reply reply = crank_.ask_one(write(100, 1, 1000, 'A'));
  EXPECT_TRUE(reply.is_good_ata());
  EXPECT_EQ(reply.tag(), 1000U);
  EXPECT_EQ(reply.ata_count(), 0);
  EXPECT_EQ(crank_.disk_byte(100), 'B');
  EXPECT_EQ(crank_.writes_performed, 2U);
  EXPECT_EQ(crank_.counters().duplicates_rejected, 1U);
}

TEST_F(Tagged, ReadsAndOtherCommandsAreNeverRejected) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(crank_.ask_one(read(0, 1, 5)).is_good_ata());
    EXPECT_TRUE(crank_.ask_one(ata(wire::ata::kFlushCache, 0, 0, 5)).is_good_ata());
    EXPECT_TRUE(crank_.ask_one(ata(wire::ata::kIdentifyDevice, 0, 1, 5)).is_good_ata());
  }
  crank_.ask(write(0, 1, 5, 1));
  EXPECT_EQ(crank_.writes_performed, 1U) << "a read's tag is not remembered as a write's";
  EXPECT_EQ(crank_.counters().reads, 3U);
  EXPECT_EQ(crank_.counters().flushes, 3U);
}

TEST_F(Tagged, WhatLiesBehindTheWindowIsRejectedSilently) {
  crank_.ask(write(0, 1, 1000, 1));
  crank_.ask(write(1, 1, 1000 + kTagWindowTags - 1, 2));
  EXPECT_TRUE(crank_.ask_one(write(0, 1, 1000, 1)).is_good_ata());
  EXPECT_EQ(crank_.counters().duplicates_rejected, 1U);
  crank_.ask(write(1, 1, 1000 + kTagWindowTags, 3));
  EXPECT_THAT(crank_.ask(write(0, 1, 1000, 9)), IsEmpty());
  EXPECT_EQ(crank_.disk_byte(0), 1);
  EXPECT_EQ(crank_.counters().behind_window, 1U);
  EXPECT_EQ(crank_.notes.back().kind, NoteKind::behind_window_rejected);
  EXPECT_EQ(crank_.notes.back().value, 1000U);
}

TEST_F(Tagged, ALateFirstArrivalInsideTheWindowIsPerformed) {
  crank_.ask(write(0, 1, 1000, 1));
  crank_.ask(write(1, 1, 1010, 2));
  EXPECT_TRUE(crank_.ask_one(write(2, 1, 1005, 3)).is_good_ata());
  EXPECT_EQ(crank_.disk_byte(2), 3);
  EXPECT_TRUE(crank_.ask_one(write(2, 1, 1005, 4)).is_good_ata());
  EXPECT_EQ(crank_.disk_byte(2), 3);
}

TEST_F(Tagged, TagsGoOnPastTheEndOfNumbers) {
  for (const std::uint32_t tag : {0xFFFF'FFFEU, 0xFFFF'FFFFU, 0U, 1U}) {
    crank_.ask(write(0, 1, tag, 1));
  }
  EXPECT_EQ(crank_.writes_performed, 4U);
  crank_.ask(write(0, 1, 0xFFFF'FFFE, 9));
  crank_.ask(write(0, 1, 0, 9));
  EXPECT_EQ(crank_.writes_performed, 4U);
}

TEST_F(Tagged, AResetForgets) {
  crank_.ask(write(0, 1, 5, 1));
  crank_.ask(extensions({"reset"}));
  crank_.ask(write(0, 1, 5, 2));
  EXPECT_EQ(crank_.disk_byte(0), 2);
  EXPECT_EQ(crank_.counters().session_resets, 1U);
  EXPECT_EQ(crank_.counters().sessions, 0U);
}

TEST(TagModes, LittleEndianTagsAreReadLittleEndian) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_le"}));
  for (std::uint32_t counter = 250; counter < 260; ++counter) {
    EXPECT_TRUE(crank.ask_one(write(0, 1, swapped(counter), 1)).is_good_ata());
  }
  EXPECT_EQ(crank.writes_performed, 10U);
  const Reply duplicate = crank.ask_one(write(0, 1, swapped(250), 2));
  EXPECT_TRUE(duplicate.is_good_ata());
  EXPECT_EQ(duplicate.tag(), swapped(250)) << "the tag itself comes back as it was";
  EXPECT_EQ(crank.writes_performed, 10U);
}

TEST(TagModes, TheWrongByteOrderLooksLikeVeryOldTags) {
  HandCranked crank;
  crank.ask(extensions({"tag_inc_be"}));
  crank.ask(write(0, 1, swapped(0x50), 1));
  EXPECT_THAT(crank.ask(write(0, 1, swapped(0x100), 2)), IsEmpty());
  EXPECT_EQ(crank.counters().behind_window, 1U);
}

TEST(TagModes, RandomTagsRejectNoWrite) {
  HandCranked crank;
  crank.ask(extensions({"tag_random"}));
  crank.ask(write(0, 1, 5, 1));
  crank.ask(write(0, 1, 5, 2));
  EXPECT_EQ(crank.disk_byte(0), 2);
}

TEST(TagModes, WithoutAnyEveryDuplicateIsPerformed) {
  HandCranked crank;
  crank.ask(write(0, 1, 5, 1));
  crank.ask(write(0, 1, 5, 2));
  EXPECT_EQ(crank.disk_byte(0), 2);
}

class BehindWindowPerform : public testing::Test {
 protected:
  static EngineConfig settings() {
    EngineConfig config = plain_config();
    config.behind_window = BehindWindow::perform;
    return config;
  }
  BehindWindowPerform() : crank_(settings()) { crank_.ask(extensions({"tag_inc_be"})); }
  HandCranked crank_;
};

TEST_F(BehindWindowPerform, RestartsTheWindowThere) {
  crank_.ask(write(0, 1, 100'000, 1));
  EXPECT_TRUE(crank_.ask_one(write(0, 1, 5, 2)).is_good_ata());
  EXPECT_EQ(crank_.disk_byte(0), 2);
  EXPECT_EQ(crank_.notes.back().kind, NoteKind::behind_window_performed);
  crank_.ask(write(0, 1, 5, 3));
  EXPECT_EQ(crank_.disk_byte(0), 2) << "remembered in the new window";
  crank_.ask(write(0, 1, 100'000, 4));
  EXPECT_EQ(crank_.disk_byte(0), 4) << "the old window is forgotten";
}

TEST_F(BehindWindowPerform, ARefusedWriteRestartsNothing) {
  crank_.ask(write(0, 1, 100'000, 1));
  EXPECT_EQ(crank_.ask_one(write(0, 200, 5, 2)).error(), 2);
  EXPECT_EQ(crank_.ask_one(write(kDiskSectors, 1, 5, 2)).ata_error(), 0x10);
  crank_.ask(write(0, 1, 100'000, 4));
  EXPECT_EQ(crank_.disk_byte(0), 1);
}

TEST_F(BehindWindowPerform, WhatWasInFlightIsNoPartOfTheNewWindow) {
  crank_.give(write(0, 1, 100'000, 1));
  crank_.give(write(1, 1, 5, 2));
  crank_.run();
  EXPECT_EQ(crank_.writes_performed, 2U);
  crank_.ask(write(0, 1, 100'000, 3));
  EXPECT_EQ(crank_.writes_performed, 3U);
}

// --- duplicates in the ring

TEST(Ring, ADuplicateInTheSameBatchIsDropped) {
  for (const char* mode : {"tag_inc_be", "tag_inc_le", "tag_random"}) {
    HandCranked crank;
    crank.ask(extensions({mode}));
    const Bytes frame = read(0, 1, 77).bytes();
    crank.give(frame, 1000);
    crank.give(frame, 1000);
    crank.give(from(kBob, read(0, 1, 77)).bytes(), 1000);
    crank.give(read(0, 1, 78).bytes(), 1000);
    crank.give(frame, 1001);
    EXPECT_EQ(crank.run().size(), 4U);
    EXPECT_EQ(crank.counters().duplicates_in_ring, 1U);
  }
}

TEST(Ring, PlainInitiatorsGetAReplyForEachDuplicate) {
  HandCranked crank;
  crank.ask(extensions({"coalesced_read"}));
  const Bytes frame = read(0, 1, 77).bytes();
  crank.give(frame, 1000);
  crank.give(frame, 1000);
  EXPECT_EQ(crank.run().size(), 2U);
}

// --- coalesced read

FrameSpec coalesced(FrameSpec header_read, const std::vector<FrameSpec>& further,
                    std::size_t count) {
  header_read.argument.push_back(static_cast<std::byte>(count));
  for (const FrameSpec& entry : further) {
    Bytes bytes(16);
    wire::store_be32(bytes, 0, entry.tag);
    std::memcpy(bytes.data() + 4, entry.argument.data() + 4, 6);
    bytes[15] = entry.argument[2];
    append(header_read.argument, bytes);
  }
  return header_read;
}

FrameSpec coalesced(const FrameSpec& header_read, const std::vector<FrameSpec>& further) {
  return coalesced(header_read, further, further.size());
}

std::vector<std::uint32_t> tags_of(const std::vector<Reply>& replies) {
  std::vector<std::uint32_t> tags;
  for (const Reply& reply : replies) {
    tags.push_back(reply.tag());
  }
  return tags;
}

class Coalesced : public testing::Test {
 protected:
  Coalesced() {
    for (std::uint64_t lba = 0; lba < 100; ++lba) {
      crank_.fill_disk(lba, 1, static_cast<std::uint8_t>(lba));
    }
    crank_.ask(extensions({"coalesced_read"}));
  }
  HandCranked crank_;
};

TEST_F(Coalesced, EachReadGetsItsOwnReply) {
  crank_.give(coalesced(read(10, 1, 100), {read(20, 2, 101), read(30, 1, 102)}));
  EXPECT_THAT(crank_.flush(), IsEmpty());
  EXPECT_EQ(crank_.in_flight.size(), 3U) << "one batch of disk operations";
  const std::vector<Reply> replies = crank_.run();
  EXPECT_THAT(tags_of(replies), ElementsAre(100, 101, 102));
  EXPECT_EQ(wire::load_le48(replies[1].bytes, 28), 20U);
  EXPECT_EQ(replies[1].bytes.size(), 36U + 1024U);
  EXPECT_EQ(replies[2].data(36, 512), sectors_of(1, 30));
  EXPECT_EQ(crank_.counters().coalesced_reads, 2U);
}

TEST_F(Coalesced, RepliesKeepTheirOrderWhateverTheDiskDoes) {
  crank_.give(coalesced(read(10, 1, 100), {read(20, 1, 101), read(30, 1, 102), read(40, 1, 103)}));
  crank_.flush();
  crank_.end_disk(3);
  crank_.end_disk(1);
  EXPECT_THAT(crank_.flush(), IsEmpty());
  crank_.end_disk(0);
  EXPECT_THAT(tags_of(crank_.flush()), ElementsAre(100, 101));
  crank_.end_disk(0);
  EXPECT_THAT(tags_of(crank_.flush()), ElementsAre(102, 103));
}

TEST_F(Coalesced, AnErrorDoesNotEndTheOthers) {
  crank_.give(coalesced(read(10, 1, 100),
                        {read(20, 3, 101), read(kDiskSectors, 1, 102), read(40, 1, 103)}));
  const std::vector<Reply> replies = crank_.run();
  ASSERT_EQ(replies.size(), 4U);
  EXPECT_THAT(tags_of(replies), ElementsAre(100, 101, 102, 103));
  EXPECT_TRUE(replies[0].is_good_ata());
  EXPECT_EQ(replies[1].error(), 2);
  EXPECT_EQ(replies[2].ata_error(), 0x10);
  EXPECT_EQ(replies[3].data(36, 512), sectors_of(1, 40));
}

TEST_F(Coalesced, TheFirstMayFailToo) {
  crank_.give(coalesced(read(0, 0, 100), {read(20, 1, 101)}));
  const std::vector<Reply> replies = crank_.run();
  EXPECT_THAT(tags_of(replies), ElementsAre(100, 101));
  EXPECT_EQ(replies[0].error(), 2);
  EXPECT_TRUE(replies[1].is_good_ata());
}

TEST_F(Coalesced, TheCommandIsTheHeaders) {
  FrameSpec header = ata(wire::ata::kReadSectors, 10, 1, 100, {}, 0);
  crank_.give(coalesced(header, {read(0xF000'0000 + 20, 1, 101)}));
  const std::vector<Reply> replies = crank_.run();
  EXPECT_EQ(replies.at(1).data(36, 512), sectors_of(1, 20)) << "28 bits for all of them";
}

TEST_F(Coalesced, AFullFrameOf1514BytesAsksFor93Reads) {
  std::vector<FrameSpec> further;
  for (std::uint32_t i = 0; i < 92; ++i) {
    further.push_back(read(i, 1, 1000 + i));
  }
  crank_.give(coalesced(read(0, 2, 999), further, 255));
  EXPECT_EQ(crank_.run().size(), 93U);
}

TEST_F(Coalesced, EntriesThatDoNotFitTheFrameAreNotServed) {
  FrameSpec request = coalesced(read(10, 1, 100), {read(20, 1, 101), read(30, 1, 102)}, 5);
  request.argument.pop_back();
  EXPECT_THAT(tags_of(crank_.ask(request)), ElementsAre(100, 101));
}

TEST_F(Coalesced, IsAReadsBusinessOnly) {
  FrameSpec request = ata(wire::ata::kIdentifyDevice, 0, 1, 100);
  EXPECT_EQ(crank_.ask(coalesced(request, {read(20, 1, 101)})).size(), 1U);
}

TEST_F(Coalesced, ReservationKeepsEachReadAway) {
  crank_.ask(from(kBob, reserve(2, {kBob})));
  const std::vector<Reply> replies = crank_.ask(coalesced(read(10, 1, 100), {read(20, 1, 101)}));
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].error(), 6);
  EXPECT_EQ(replies[1].error(), 6);
}

TEST_F(Coalesced, WaitsForAWriteThatItOverlaps) {
  crank_.give(write(20, 1, 50, 0xAA));
  crank_.give(coalesced(read(10, 1, 100), {read(20, 1, 101), read(30, 1, 102)}));
  crank_.flush();
  ASSERT_EQ(crank_.in_flight.size(), 3U);
  crank_.end_disk(1);
  crank_.end_disk(1);
  EXPECT_THAT(tags_of(crank_.flush()), ElementsAre(100)) << "102 is read, and waits for 101";
  const std::vector<Reply> replies = crank_.run();
  EXPECT_THAT(tags_of(replies), ElementsAre(50, 101, 102));
  EXPECT_EQ(replies[1].data(36, 512), sectors_of(1, 0xAA));
}

TEST_F(Coalesced, NothingWithoutNegotiation) {
  EXPECT_EQ(crank_.ask(from(kBob, coalesced(read(10, 1, 100), {read(20, 1, 101)}))).size(), 1U);
}

TEST_F(Coalesced, IntakeKeepsRoomForTheLargestRequest) {
  while (crank_.intake_open()) {
    std::vector<FrameSpec> further;
    for (std::uint32_t i = 0; i < 92; ++i) {
      further.push_back(read(i, 1, i));
    }
    crank_.give(coalesced(read(0, 1, 1), further));
  }
  crank_.flush();
  EXPECT_LE(crank_.in_flight.size(), 512U);
  EXPECT_EQ(crank_.in_flight.size() % 93, 0U);
}

// --- crc8x4

Bytes with_check(FrameSpec frame, std::size_t data_bytes) {
  const auto check = wire::crc8x4(std::span(frame.argument).first(12 + data_bytes));
  frame.argument.resize(12 + data_bytes);
  frame.argument.insert(frame.argument.end(), check.begin(), check.end());
  return frame.bytes();
}

class Check : public testing::Test {
 protected:
  Check() { crank_.ask(extensions({"crc8x4", "tag_inc_be"})); }
  HandCranked crank_;
};

TEST_F(Check, AGoodWriteIsPerformed) {
  crank_.give(with_check(write(5, 2, 1, 0x5A), 1024), 100);
  EXPECT_TRUE(crank_.run().at(0).is_good_ata());
  EXPECT_EQ(crank_.disk_byte(6), 0x5A);
}

TEST_F(Check, ADamagedWriteIsDroppedAndItsRepetitionPerformed) {
  const Bytes good = with_check(write(5, 1, 1, 0x5A), 512);
  for (const std::size_t damaged : {24U, 28U, 36U, 300U, 547U, 548U, 551U}) {
    Bytes bad = good;
    bad[damaged] ^= std::byte{0x10};
    crank_.give(bad, 100);
    EXPECT_THAT(crank_.run(), IsEmpty()) << damaged;
  }
  EXPECT_EQ(crank_.counters().crc_failed, 7U);
  EXPECT_EQ(crank_.writes_performed, 0U);
  crank_.give(good, 100);  // in the same batch: a damaged frame does not make a duplicate
  EXPECT_TRUE(crank_.run().at(0).is_good_ata());
  EXPECT_EQ(crank_.writes_performed, 1U);
}

TEST_F(Check, AWriteWithoutTheFourBytesIsTakenAsItIs) {
  EXPECT_TRUE(crank_.ask_one(write(5, 1, 1, 0x5A)).is_good_ata());
}

TEST_F(Check, ReadsCarryIt) {
  crank_.fill_disk(5, 2, 0x77);
  const Reply reply = crank_.ask_one(read(5, 2, 2));
  ASSERT_EQ(reply.bytes.size(), 36U + 1024U + 4U);
  const auto check = wire::crc8x4(std::span(reply.bytes).subspan(24, 12 + 1024));
  EXPECT_EQ(reply.data(1060, 4), Bytes(check.begin(), check.end()));
  EXPECT_EQ(crank_.ask_one(from(kBob, read(5, 2, 2))).bytes.size(), 36U + 1024U);
  EXPECT_EQ(crank_.ask_one(ata(wire::ata::kIdentifyDevice, 0, 1, 3)).bytes.size(), 36U + 512U);
  EXPECT_EQ(crank_.ask_one(read(kDiskSectors, 1, 4)).bytes.size(), 60U);
}

TEST_F(Check, MustFitTheFrame) {
  HandCranked crank(plain_config(1046));
  EXPECT_TRUE(crank.ask_one(read(0, 2, 1)).is_good_ata());
  crank.ask(extensions({"crc8x4"}));
  EXPECT_EQ(crank.ask_one(read(0, 2, 1)).error(), 2);
  EXPECT_TRUE(crank.ask_one(read(0, 1, 1)).is_good_ata());
  EXPECT_TRUE(crank.ask_one(write(0, 2, 1, 1)).is_good_ata());
}

// --- coalesced write reply (docs/extensions.md)

class WriteReply : public testing::Test {
 protected:
  WriteReply() { crank_.ask(extensions({"coalesced_write_reply", "tag_inc_be"})); }
  std::size_t end_all_in_one_batch(DiskStatus status = DiskStatus::ok) {
    crank_.flush();
    const std::size_t count = crank_.in_flight.size();
    while (!crank_.in_flight.empty()) {
      crank_.end_disk(0, status);
    }
    return count;
  }
  HandCranked crank_;
};

TEST_F(WriteReply, OneIsAPlainReply) {
  const Reply reply = crank_.ask_one(write(5, 1, 1, 1));
  EXPECT_TRUE(reply.is_good_ata());
  EXPECT_EQ(reply.bytes.size(), 60U);
  EXPECT_EQ(reply.data(36, 24), Bytes(24));
}

TEST_F(WriteReply, WritesThatEndInOneBatchShareAFrame) {
  for (std::uint32_t i = 0; i < 3; ++i) {
    crank_.give(write(100 + i, 1, 1000 + i, 1));
  }
  end_all_in_one_batch();
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 1U);
  const Reply& reply = replies[0];
  EXPECT_EQ(reply.tag(), 1000U);
  EXPECT_TRUE(reply.is_good_ata());
  EXPECT_EQ(reply.bytes.size(), 37U + 2 * 16U);
  EXPECT_EQ(reply.u8(36), 2);
  for (std::uint32_t i = 1; i < 3; ++i) {
    const std::size_t at = 37 + 16 * (i - 1);
    EXPECT_EQ(wire::load_be32(reply.bytes, at), 1000 + i);
    EXPECT_EQ(reply.u8(at + 4), 0x41);
    EXPECT_EQ(reply.u8(at + 5), 0);
    EXPECT_EQ(reply.u8(at + 6), 0);
    EXPECT_EQ(reply.u8(at + 7), 0x40);
    EXPECT_EQ(wire::load_le48(reply.bytes, at + 8), 100 + i);
    EXPECT_EQ(reply.be16(at + 14), 0);
  }
  EXPECT_EQ(crank_.counters().coalesced_write_replies, 2U);
}

TEST_F(WriteReply, NothingWaitsForALaterBatch) {
  crank_.give(write(0, 1, 1, 1));
  crank_.give(write(1, 1, 2, 1));
  crank_.flush();
  crank_.end_disk(0);
  EXPECT_EQ(crank_.flush().size(), 1U);
  crank_.end_disk(0);
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].tag(), 2U);
  EXPECT_EQ(replies[0].u8(36), 0);
}

TEST_F(WriteReply, AtaErrorsTravelAlongAndAoeErrorsAlone) {
  crank_.give(write(0, 1, 1, 1));
  crank_.give(write(1, 1, 2, 1));
  crank_.flush();
  crank_.end_disk(0);
  crank_.end_disk(0, DiskStatus::io_error);
  crank_.give(write(kDiskSectors, 1, 3, 1));
  crank_.give(write(0, 200, 4, 1));
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].u8(36), 2);
  EXPECT_EQ(replies[0].u8(37 + 7), 0x61);
  EXPECT_EQ(wire::load_be32(replies[0].bytes, 53), 3U);
  EXPECT_EQ(replies[0].u8(53 + 5), 0x10);
  EXPECT_EQ(replies[0].u8(53 + 6), 1) << "what is left";
  EXPECT_EQ(replies[1].error(), 2);
  EXPECT_EQ(replies[1].tag(), 4U);
}

TEST_F(WriteReply, DuplicatesTravelAlong) {
  crank_.give(write(0, 1, 1, 1));
  crank_.give(write(0, 1, 1, 1));
  end_all_in_one_batch();
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].u8(36), 1);
  EXPECT_EQ(wire::load_be32(replies[0].bytes, 37), 1U);
  EXPECT_EQ(replies[0].bytes.size(), 60U);
  EXPECT_EQ(replies[0].data(53, 7), Bytes(7)) << "padding after the only entry";
  EXPECT_EQ(crank_.writes_performed, 1U);
}

TEST_F(WriteReply, InitiatorsAndReadsAreApart) {
  crank_.ask(from(kBob, extensions({"coalesced_write_reply"})));
  crank_.give(write(0, 1, 1, 1));
  crank_.give(from(kBob, write(1, 1, 1, 1)));
  crank_.give(read(5, 1, 2));
  crank_.give(from(mac(7), write(2, 1, 1, 1)));
  crank_.give(write(3, 1, 3, 1));
  crank_.give(from(kBob, write(4, 1, 2, 1)));
  crank_.give(from(mac(7), write(6, 1, 2, 1)));
  end_all_in_one_batch();
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 5U);
  EXPECT_EQ(replies[0].address(0), kAlice);
  EXPECT_EQ(replies[0].u8(36), 1);
  EXPECT_EQ(replies[1].address(0), kBob);
  EXPECT_EQ(replies[1].u8(36), 1);
  EXPECT_EQ(replies[2].bytes.size(), 36U + 512U);
  EXPECT_EQ(replies[3].address(0), mac(7)) << "a plain initiator's frames are plain";
  EXPECT_EQ(replies[3].data(36, 24), Bytes(24));
  EXPECT_EQ(replies[4].address(0), mac(7));
}

TEST_F(WriteReply, AFrameHoldsWhatFits) {
  for (const std::uint16_t mtu : {1500, 9000}) {
    EngineConfig settings = plain_config(mtu);
    settings.operations_max = 600;
    HandCranked crank(settings);
    crank.ask(extensions({"coalesced_write_reply"}));
    const std::size_t limit = mtu == 1500 ? 93 : 256;
    for (std::uint32_t i = 0; i < limit + 2; ++i) {
      crank.give(write(i, 1, i, 1));
    }
    crank.flush();
    while (!crank.in_flight.empty()) {
      crank.end_disk(0);
    }
    const std::vector<Reply> replies = crank.flush();
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[0].u8(36), limit - 1);
    EXPECT_EQ(replies[0].bytes.size(), 37 + 16 * (limit - 1));
    EXPECT_EQ(replies[1].u8(36), 1);
  }
}

TEST_F(WriteReply, AWriteFromBeforeAResetIsAnsweredPlainly) {
  crank_.give(write(0, 1, 1, 1));
  crank_.give(write(1, 1, 2, 1));
  crank_.give(extensions({"reset"}));
  end_all_in_one_batch();
  const std::vector<Reply> replies = crank_.flush();
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].u8(36), 0);
  EXPECT_EQ(replies[1].u8(36), 0);
}

TEST_F(WriteReply, SaysThatItIsAWriteEvenIfTheRequestDidNot) {
  FrameSpec request = write(0, 1, 1, 1);
  request.argument[0] = std::byte{0x40};
  EXPECT_EQ(crank_.ask_one(request).u8(24), 0x41);
  EXPECT_EQ(crank_.ask_one(from(kBob, request)).u8(24), 0x40);
  FrameSpec read_with_w = ata(wire::ata::kReadSectorsExt, 0, 1, 2, {}, 0x41);
  EXPECT_EQ(crank_.ask_one(read_with_w).u8(24), 0x40);
  EXPECT_EQ(crank_.ask_one(from(kBob, read_with_w)).u8(24), 0x41);
}

TEST_F(WriteReply, TheReplyOfCrc8x4InitiatorsCarriesNoCheck) {
  crank_.ask(extensions({"crc8x4"}));
  crank_.give(with_check(write(0, 1, 1, 1), 512), 500);
  crank_.give(with_check(write(1, 1, 2, 1), 512), 500);
  end_all_in_one_batch();
  EXPECT_EQ(crank_.flush().at(0).bytes.size(), 60U);
}

// --- what resets

TEST(ResetOn, AnyConfigCommandUnlessItIsMalformed) {
  struct Case {
    FrameSpec frame;
    bool resets;
  };
  for (const Case& c :
       {Case{config(0, ""), true}, Case{config(1, "no"), true}, Case{config(2, "no"), true},
        Case{config(3, "x"), true}, Case{config(4, "x"), true}, Case{config(9, ""), false},
        Case{mask(0), false}, Case{reserve(0), false}}) {
    HandCranked crank;
    crank.ask(extensions({"tag_inc_be"}));
    crank.ask(c.frame);
    EXPECT_EQ(crank.counters().sessions, c.resets ? 0U : 1U);
    EXPECT_EQ(crank.counters().session_resets, c.resets ? 1U : 0U);
  }
}

TEST(ResetOn, ConfigWriteMeansOneThatSucceeded) {
  EngineConfig settings = plain_config();
  settings.reset_on = ResetOn::config_write;
  settings.state.config_string = bytes_of("present");
  for (const FrameSpec& frame : {config(0, ""), config(1, "present"), config(3, "other")}) {
    HandCranked crank(settings);
    crank.ask(extensions({"tag_inc_be"}));
    crank.ask(frame);
    EXPECT_EQ(crank.counters().sessions, 1U);
  }
  for (const FrameSpec& frame : {config(3, "present"), config(4, "other")}) {
    HandCranked crank(settings);
    crank.ask(extensions({"tag_inc_be"}));
    crank.ask(frame);
    EXPECT_EQ(crank.counters().sessions, 0U);
  }
  settings.persist = true;
  for (const DiskStatus status : {DiskStatus::ok, DiskStatus::io_error}) {
    HandCranked crank(settings);
    crank.ask(extensions({"tag_inc_be"}));
    crank.give(config(4, "other"));
    crank.flush();
    EXPECT_EQ(crank.counters().sessions, 1U);
    crank.end_save(status);
    EXPECT_EQ(crank.counters().sessions, status == DiskStatus::ok ? 0U : 1U);
  }
}

// --- congestion

TEST(Congestion, ANewIdStopsTheTakingOfFramesForHalfASecond) {
  HandCranked crank;
  const FrameSpec probe = extensions({"congestion", "41"}, 500);
  crank.give(probe);
  EXPECT_FALSE(crank.intake_open());
  EXPECT_THAT(crank.flush(), IsEmpty());
  EXPECT_FALSE(crank.intake_open());
  EXPECT_EQ(crank.engine().next_deadline(), crank.now() + 500 * kMillisecond);
  crank.advance(499 * kMillisecond);
  EXPECT_THAT(crank.flush(), IsEmpty());
  crank.advance(1 * kMillisecond);
  EXPECT_TRUE(crank.intake_open());
  const std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].names(), (Names{"CONGESTION", "41"}));
  EXPECT_EQ(replies[0].tag(), 500U);
  EXPECT_EQ(crank.engine().next_deadline(), kNever);
  EXPECT_EQ(crank.ask_one(probe).names(), (Names{"CONGESTION", "41"})) << "the same id: at once";
  EXPECT_EQ(crank.counters().pauses, 1U);
}

TEST(Congestion, DiskWorkEndsDuringThePause) {
  HandCranked crank;
  crank.give(read(0, 1, 1));
  crank.give(write(0, 1, 2, 1));
  crank.give(extensions({"congestion", "41"}));
  crank.flush();
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 1U);
  ASSERT_EQ(crank.in_flight.size(), 1U) << "the write that waited for the read has started";
  crank.end_disk(0);
  EXPECT_EQ(crank.flush().size(), 1U);
  EXPECT_FALSE(crank.intake_open());
}

TEST(Congestion, TheBudgetIsFourPausesInTenSeconds) {
  HandCranked crank;
  for (const char* id : {"1", "2", "3", "4"}) {
    crank.give(extensions({"congestion", id}));
    crank.flush();
    crank.advance(500 * kMillisecond);
    EXPECT_EQ(crank.flush().at(0).names(), (Names{"CONGESTION", id}));
  }
  const Reply refused = crank.ask_one(extensions({"congestion", "5"}));
  EXPECT_EQ(refused.names(), (Names{"congestion", "5"}));
  EXPECT_TRUE(crank.intake_open());
  EXPECT_EQ(crank.counters().pauses_refused, 1U);
  EXPECT_EQ(crank.notes.back().kind, NoteKind::pause_refused);
  crank.advance(8 * kSecond);
  crank.give(extensions({"congestion", "6"}));
  EXPECT_FALSE(crank.intake_open());
}

// --- the document

// docs/extensions.md shows a coalesced write reply byte by byte. It is the one that the engine
// sends.
TEST(Document, TheExampleOfACoalescedWriteReplyIsWhatTheEngineSends) {
  std::ifstream file(std::string(AOE_SOURCE_DIR) + "/docs/extensions.md");
  ASSERT_TRUE(file) << "docs/extensions.md";
  std::stringstream text;
  text << file.rdbuf();
  const std::string document = text.str();
  const std::size_t begin = document.find("<!-- example: coalesced_write_reply -->");
  ASSERT_NE(begin, std::string::npos);
  const std::size_t end = document.find("<!-- end -->", begin);
  std::stringstream example(document.substr(begin, end - begin));
  Bytes expected;
  for (std::string line; std::getline(example, line);) {
    static const std::regex kLine(R"(^[0-9a-f]{4}  (([0-9a-f]{2} ?)+).*)");
    std::smatch match;
    if (std::regex_match(line, match, kLine)) {
      std::stringstream digits(match[1]);
      for (std::string byte; digits >> byte;) {
        expected.push_back(static_cast<std::byte>(std::stoul(byte, nullptr, 16)));
      }
    }
  }
  HandCranked crank;
  crank.ask(extensions({"reset", "tag_inc_be", "coalesced_write_reply"}));
  crank.give(write(100, 2, 0x3E8, 1));
  crank.give(write(102, 2, 0x3E9, 2));
  crank.flush();
  crank.end_disk(0);
  crank.end_disk(0);
  crank.give(write(4095, 2, 0x3EA, 3));
  const std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].bytes, expected);
}

TEST(ExtensionsFor, OthersAreToldThatNothingIsActive) {
  EngineConfig settings = plain_config();
  settings.extensions_for = {kBob};
  HandCranked crank(settings);
  EXPECT_EQ(crank.ask_one(extensions({"TAG_INC_BE", "congestion", "7", "reset"})).names(),
            (std::vector<std::string>{"tag_inc_be", "congestion", "7", "RESET"}));
  EXPECT_EQ(crank.ask_one(from(kBob, extensions({"tag_inc_be"}))).names().at(0), "TAG_INC_BE");
  EXPECT_EQ(crank.counters().sessions, 1U);
  EXPECT_EQ(crank.counters().sessions_refused, 1U);
  // So a forged negotiation makes no plain host's repeated tag a duplicate.
  crank.ask(write(10, 1, 5, 1));
  crank.ask(write(10, 1, 5, 2));
  EXPECT_EQ(crank.disk_byte(10), 2);
}

}  // namespace
}  // namespace target::engine::test
