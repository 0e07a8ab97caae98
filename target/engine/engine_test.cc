// AoEr11 through the whole engine: header, ATA, query config, MAC mask list, reserve/release. The
// extensions have tests of their own (extensions_test.cc), as have the invariants.
#include "target/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/engine/fake_shell.h"

namespace target::engine::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// --- start and header

TEST(Announcement, IsABroadcastConfigReplyOnEveryPort) {
  EngineConfig config = plain_config();
  config.ports.push_back({mac(0xDD), 9000});
  config.state.config_string = bytes_of("present");
  Shell shell(config);
  ASSERT_EQ(shell.announcements.size(), 2U);
  for (std::uint16_t port = 0; port < 2; ++port) {
    const Reply& reply = shell.announcements[port];
    EXPECT_EQ(reply.port, port);
    EXPECT_EQ(reply.address(0), wire::kBroadcastMac);
    EXPECT_EQ(reply.tag(), 0U);
    EXPECT_EQ(reply.u8(19), 1);
    EXPECT_EQ(reply.u8(29), 0x10);
    EXPECT_EQ(reply.config_string(), "present");
  }
  EXPECT_EQ(shell.announcements[0].u8(28), 2);
  EXPECT_EQ(shell.announcements[1].u8(28), 17);
  EXPECT_EQ(shell.engine().next_deadline(), kNever);
}

TEST(Announcement, IsDueAtOnceAndMadeOnce) {
  Engine engine(plain_config());
  EXPECT_EQ(engine.next_deadline(), 0);
  Outbox outbox;
  engine.on_timer(5, outbox);
  EXPECT_EQ(outbox.frames.size(), 1U);
  engine.on_timer(6, outbox);
  EXPECT_EQ(outbox.frames.size(), 1U);
}

TEST(Header, ReplyCarriesOwnAddressesTagAndCommand) {
  Shell shell;
  FrameSpec request = config(0, "", 0xCAFE1234);
  request.destination = wire::kBroadcastMac;
  request.shelf = 0xFFFF;
  request.slot = 0xFF;
  const Reply reply = shell.ask_one(request);
  EXPECT_EQ(reply.address(0), kAlice);
  EXPECT_EQ(reply.address(6), kTargetMac);
  EXPECT_EQ(reply.be16(16), kShelf);
  EXPECT_EQ(reply.u8(18), kSlot);
  EXPECT_EQ(reply.u8(19), 1);
  EXPECT_EQ(reply.tag(), 0xCAFE1234U);
}

struct AddressCase {
  std::uint16_t shelf;
  std::uint8_t slot;
  bool answered;
};

class HeaderAddress : public testing::TestWithParam<AddressCase> {};

TEST_P(HeaderAddress, DecidesWhetherTheTargetAnswers) {
  Shell shell;
  FrameSpec request = config(0, "");
  request.shelf = GetParam().shelf;
  request.slot = GetParam().slot;
  EXPECT_EQ(shell.ask(request).size(), GetParam().answered ? 1U : 0U);
  EXPECT_EQ(shell.counters().ignored_address, GetParam().answered ? 0U : 1U);
}

INSTANTIATE_TEST_SUITE_P(
    All, HeaderAddress,
    testing::Values(AddressCase{kShelf, kSlot, true}, AddressCase{0xFFFF, 0xFF, true},
                    AddressCase{0xFFFF, kSlot, true}, AddressCase{kShelf, 0xFF, true},
                    AddressCase{kShelf + 1, kSlot, false}, AddressCase{kShelf, kSlot + 1, false},
                    AddressCase{kShelf + 1, 0xFF, false}, AddressCase{0xFFFF, kSlot + 1, false},
                    AddressCase{0x0700, kSlot, false}));

TEST(Header, AnotherStationsFrameIsIgnored) {
  Shell shell;
  FrameSpec request = config(0, "");
  request.destination = kBob;
  EXPECT_THAT(shell.ask(request), IsEmpty());
  request.destination = {{0x01, 0x80, 0xC2, 0, 0, 1}};
  EXPECT_EQ(shell.ask(request).size(), 1U) << "multicast reaches us on purpose";
}

TEST(Header, AGroupAddressAsSourceIsIgnored) {
  Shell shell;
  for (const wire::MacAddress& source :
       {wire::kBroadcastMac, wire::MacAddress{{0x03, 0, 0, 0, 0, 1}}}) {
    FrameSpec request = config(0, "");
    request.source = source;
    EXPECT_THAT(shell.ask(request), IsEmpty());
  }
  FrameSpec request = config(0, "");
  request.source = {};
  EXPECT_EQ(shell.ask_one(request).address(0), wire::MacAddress{});
}

TEST(Header, AnotherVersionGetsError5AndIsNotExecuted) {
  Shell shell;
  for (const std::uint8_t version : {0, 2, 3, 15}) {
    FrameSpec request = write(10, 1, version, 0xAA);
    request.version = version;
    const Reply reply = shell.ask_one(request);
    EXPECT_EQ(reply.error(), 5);
    EXPECT_EQ(reply.tag(), version);
  }
  EXPECT_EQ(shell.writes_performed, 0U);
}

TEST(Header, UnknownCommandsGetError1) {
  Shell shell;
  for (const std::uint8_t command : {4, 5, 0x22, 0x24, 0x80, 0xEF, 0xF0, 0xFF}) {
    FrameSpec request;
    request.command = command;
    request.tag = command;
    const Reply reply = shell.ask_one(request);
    EXPECT_EQ(reply.error(), 1) << int{command};
    EXPECT_EQ(reply.u8(19), command);
  }
  EXPECT_EQ(shell.counters().errors_answered, 8U);
}

TEST(Header, AResponseIsNotARequest) {
  Shell shell;
  FrameSpec request = config(0, "");
  request.flags = wire::flag::kResponse;
  EXPECT_THAT(shell.ask(request), IsEmpty());
  EXPECT_EQ(shell.counters().ignored_not_request, 1U);
}

TEST(Header, ErrorBitsOfARequestAreNotEchoed) {
  Shell shell;
  FrameSpec request = config(0, "");
  request.flags = 0x7;
  request.error = 0x55;
  EXPECT_EQ(shell.ask_one(request).u8(14), 0x18);
}

TEST(Header, FramesCutShortAreSilent) {
  for (const FrameSpec& whole : {read(0, 1, 1), config(0, ""), mask(0), reserve(0)}) {
    const std::size_t fixed = whole.bytes().size();
    for (std::size_t length = 0; length < fixed; ++length) {
      Shell shell;
      Bytes frame = whole.bytes();
      frame.resize(length);
      shell.give(frame, 1);
      EXPECT_THAT(shell.run(), IsEmpty()) << length;
      EXPECT_EQ(shell.counters().ignored_short, 1U);
    }
    Shell shell;
    shell.give(whole.bytes(), 1);
    EXPECT_EQ(shell.run().size(), 1U) << "unpadded, as over a veth pair";
  }
}

// --- ATA

TEST(Ata, WritesAndReadsBack) {
  Shell shell;
  const Reply written = shell.ask_one(write(100, 2, 5, 0xA5));
  EXPECT_TRUE(written.is_good_ata());
  EXPECT_EQ(written.bytes.size(), 60U);
  EXPECT_EQ(written.ata_count(), 0);
  EXPECT_EQ(wire::load_le48(written.bytes, 28), 100U);
  const Reply reply = shell.ask_one(read(100, 2, 6));
  EXPECT_TRUE(reply.is_good_ata());
  EXPECT_EQ(reply.bytes.size(), 36U + 1024U);
  EXPECT_EQ(reply.data(36, 1024), sectors_of(2, 0xA5));
}

TEST(Ata, Uses28BitsOf28BitCommands) {
  Shell shell;
  EXPECT_TRUE(shell
                  .ask_one(ata(wire::ata::kWriteSectors, 0xABCDE0000000 + 7, 1, 1,
                               sectors_of(1, 0x77), 0x01))
                  .is_good_ata());
  EXPECT_EQ(shell.disk_byte(7), 0x77);
  // The flag E says 48 bits, the command 28: the command decides.
  const Reply reply = shell.ask_one(ata(wire::ata::kReadSectors, 0x10000000 + 7, 1, 2, {}, 0x40));
  EXPECT_EQ(reply.data(36, 512), sectors_of(1, 0x77));
  EXPECT_EQ(wire::load_le48(reply.bytes, 28), 0x10000007U) << "the LBA comes back as it was sent";
}

TEST(Ata, PastTheEndIsNotFound) {
  Shell shell;
  struct Case {
    std::uint64_t lba;
    std::uint8_t count;
    bool good;
  };
  for (const Case& c :
       {Case{kDiskSectors - 1, 1, true}, Case{kDiskSectors - 2, 2, true},
        Case{kDiskSectors - 1, 2, false}, Case{kDiskSectors, 1, false},
        Case{0xFFFF'FFFF'FFFF, 2, false}, Case{kDiskSectors + 0x1'0000'0000, 1, false}}) {
    for (const FrameSpec& request : {read(c.lba, c.count, 1), write(c.lba, c.count, 2, 9)}) {
      const Reply reply = shell.ask_one(request);
      EXPECT_FALSE(reply.has_error());
      EXPECT_EQ(reply.ata_status(), c.good ? 0x40 : 0x41) << c.lba;
      EXPECT_EQ(reply.ata_error(), c.good ? 0 : 0x10) << c.lba;
    }
  }
}

TEST(Ata, A28BitRangeMayCrossTheLast28BitSector) {
  EngineConfig config = plain_config();
  config.sectors = 0x1000'0010;
  Engine engine(config);
  Outbox outbox;
  const Bytes frame = ata(wire::ata::kReadSectors, 0x0FFF'FFFF, 2, 1, {}, 0).bytes();
  engine.on_frame({0, 1, frame, 0}, outbox);
  ASSERT_EQ(outbox.disk_ops.size(), 1U);
  EXPECT_EQ(outbox.disk_ops[0].lba, 0x0FFF'FFFFU);
}

TEST(Ata, CountsThatNoFrameHoldsGetError2) {
  for (const std::uint16_t mtu : {1500, 9000}) {
    const int limit = mtu == 1500 ? 2 : 17;
    Shell shell(plain_config(mtu));
    for (int count = 0; count < 256; ++count) {
      const auto sectors = static_cast<std::uint8_t>(count);
      const bool good = count >= 1 && count <= limit;
      EXPECT_EQ(shell.ask_one(read(0, sectors, 1)).error(), good ? 0 : 2) << count;
      EXPECT_EQ(shell.ask_one(write(0, sectors, 2, 3)).error(), good ? 0 : 2) << count;
    }
  }
}

TEST(Ata, AWriteWithTooLittlePayloadWritesNothing) {
  Shell shell;
  for (const std::size_t missing : {1U, 512U, 1023U, 1024U}) {
    FrameSpec request = write(0, 2, 1, 0x55);
    request.argument.resize(request.argument.size() - missing);
    EXPECT_EQ(shell.ask_one(request).error(), 2);
  }
  EXPECT_EQ(shell.writes_performed, 0U);
  // More than was announced does no harm.
  FrameSpec request = write(0, 1, 1, 0x55);
  request.argument.resize(request.argument.size() + 100);
  EXPECT_TRUE(shell.ask_one(request).is_good_ata());
}

TEST(Ata, OtherCommandsAreAborted) {
  Shell shell;
  for (int command = 0; command < 256; ++command) {
    switch (command) {
      case 0x20:
      case 0x24:
      case 0x30:
      case 0x34:
      case 0xE5:
      case 0xE7:
      case 0xEA:
      case 0xEC:
        continue;
      default:
        break;
    }
    const Reply reply = shell.ask_one(ata(static_cast<std::uint8_t>(command), 0, 1, 1));
    EXPECT_FALSE(reply.has_error());
    EXPECT_EQ(reply.ata_status(), 0x41) << command;
    EXPECT_EQ(reply.ata_error(), 0x04) << command;
  }
}

TEST(Ata, ReservedAFlagsAreNotEchoed) {
  Shell shell;
  EXPECT_EQ(shell.ask_one(ata(wire::ata::kReadSectors, 0, 1, 1, {}, 0xFF)).u8(24), 0x53);
}

TEST(Ata, FlushAndPowerMode) {
  Shell shell;
  for (const std::uint8_t command : {wire::ata::kFlushCache, wire::ata::kFlushCacheExt}) {
    shell.give(ata(command, 0, 0, 1));
    EXPECT_THAT(shell.flush(), IsEmpty());
    ASSERT_EQ(shell.in_flight.size(), 1U);
    EXPECT_EQ(shell.in_flight[0].kind, DiskOpKind::flush);
    EXPECT_TRUE(shell.run().at(0).is_good_ata());
  }
  const Reply power = shell.ask_one(ata(wire::ata::kCheckPowerMode, 0, 0, 1));
  EXPECT_TRUE(power.is_good_ata());
  EXPECT_EQ(power.ata_count(), 0xFF);
}

TEST(Ata, DiskErrorsAreAtaErrorsAndCarryNoData) {
  Shell shell;
  shell.give(read(0, 2, 1));
  shell.flush();
  std::memset(shell.in_flight[0].data.data(), 0xEE, 1024);  // half read, then failed
  shell.end_disk(0, DiskStatus::io_error);
  const std::vector<Reply> replies = shell.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].ata_status(), 0x41);
  EXPECT_EQ(replies[0].ata_error(), 0x40);
  EXPECT_EQ(replies[0].bytes.size(), 60U);

  shell.give(write(0, 1, 2, 1));
  shell.flush();
  shell.end_disk(0, DiskStatus::no_space);
  const Reply failed = shell.flush().at(0);
  EXPECT_EQ(failed.ata_status(), 0x61);
  EXPECT_EQ(failed.ata_error(), 0x04);
  EXPECT_EQ(shell.counters().disk_errors, 2U);
  EXPECT_EQ(shell.notes.size(), 2U);
}

TEST(Ata, AReadOnlyExportAbortsWrites) {
  EngineConfig config = plain_config();
  config.read_only = true;
  Shell shell(config);
  const Reply reply = shell.ask_one(write(0, 1, 1, 1));
  EXPECT_EQ(reply.ata_status(), 0x41);
  EXPECT_EQ(reply.ata_error(), 0x04);
  EXPECT_TRUE(shell.ask_one(read(0, 1, 2)).is_good_ata());
}

TEST(Ata, IdentifyIsServedWhateverTheCount) {
  Shell shell;
  for (const std::uint8_t count : {0, 1, 2, 255}) {
    const Reply reply = shell.ask_one(ata(wire::ata::kIdentifyDevice, 0, count, 1, {}, 0));
    EXPECT_TRUE(reply.is_good_ata());
    ASSERT_EQ(reply.bytes.size(), 36U + 512U);
    EXPECT_EQ(wire::load_le16(reply.bytes, 36 + 60 * 2), kDiskSectors);
  }
}

// --- query config

TEST(Config, TellsWhoTheTargetIs) {
  EngineConfig settings = plain_config();
  settings.buffer_count = 0x1234;
  settings.firmware_version = 0x5678;
  Shell shell(settings);
  const Reply reply = shell.ask_one(config(0, ""));
  EXPECT_EQ(reply.be16(24), 0x1234);
  EXPECT_EQ(reply.be16(26), 0x5678);
  EXPECT_EQ(reply.u8(28), 2);
  EXPECT_EQ(reply.u8(29), 0x10);
  EXPECT_EQ(reply.be16(30), 0);
}

TEST(Config, SetTestAndRead) {
  Shell shell;
  EXPECT_EQ(shell.ask_one(config(3, "hello")).config_string(), "hello");
  EXPECT_EQ(shell.ask_one(config(0, "")).config_string(), "hello");
  EXPECT_EQ(shell.ask(config(1, "hello")).size(), 1U);
  EXPECT_THAT(shell.ask(config(1, "hell")), IsEmpty());
  EXPECT_THAT(shell.ask(config(1, "hello!")), IsEmpty());
  EXPECT_EQ(shell.ask_one(config(2, "hell")).config_string(), "hello");
  EXPECT_EQ(shell.ask(config(2, "")).size(), 1U);
  EXPECT_THAT(shell.ask(config(2, "ello")), IsEmpty());
  EXPECT_THAT(shell.ask(config(2, "hello!")), IsEmpty());
}

TEST(Config, SetRefusesWhenAnotherStringIsPresent) {
  Shell shell;
  shell.ask(config(3, "hello"));
  const Reply refused = shell.ask_one(config(3, "other"));
  EXPECT_EQ(refused.error(), 4);
  EXPECT_EQ(refused.config_string(), "hello");
  EXPECT_EQ(shell.ask_one(config(3, "hello")).error(), 0);
  const Reply forced = shell.ask_one(config(4, "other"));
  EXPECT_EQ(forced.error(), 0);
  EXPECT_EQ(forced.config_string(), "other");
  EXPECT_EQ(shell.ask_one(config(4, "")).config_string(), "");
  EXPECT_EQ(shell.ask_one(config(3, "third")).config_string(), "third");
}

TEST(Config, ImpossibleLengthsAreABadArgumentExceptInARead) {
  Shell shell;
  shell.ask(config(3, "hello"));
  for (const std::uint8_t ccmd : {1, 2, 3, 4}) {
    FrameSpec beyond = config(ccmd, "hello");
    wire::store_be16(beyond.argument, 6, 200);
    EXPECT_EQ(shell.ask_one(beyond).error(), 2);
    EXPECT_EQ(shell.ask_one(config(ccmd, std::string(1025, 'x'))).error(), 2);
  }
  FrameSpec read_request = config(0, "");
  wire::store_be16(read_request.argument, 6, 0xFFFF);
  EXPECT_EQ(shell.ask_one(read_request).config_string(), "hello");
  const std::string longest(1024, 'y');
  EXPECT_EQ(shell.ask_one(config(4, longest)).config_string(), longest);
}

TEST(Config, UnknownCcmdIsABadArgument) {
  Shell shell;
  for (std::uint8_t ccmd = 5; ccmd < 16; ++ccmd) {
    EXPECT_EQ(shell.ask_one(config(ccmd, "")).error(), 2);
  }
}

// --- MAC mask list

TEST(Mask, AdmitsOnlyThoseListed) {
  Shell shell;
  EXPECT_THAT(shell.ask_one(mask(0)).mask_list(), IsEmpty());
  EXPECT_THAT(shell.ask_one(mask(1, {{1, kAlice}, {1, mac(9)}})).mask_list(),
              ElementsAre(kAlice, mac(9)));
  for (FrameSpec request : {read(0, 1, 1), config(0, ""), mask(0), reserve(0)}) {
    request.source = kBob;
    EXPECT_THAT(shell.ask(request), IsEmpty());
    request.source = kAlice;
    EXPECT_EQ(shell.ask(request).size(), 1U);
  }
  FrameSpec unknown = config(0, "");
  unknown.source = kBob;
  unknown.version = 2;
  EXPECT_THAT(shell.ask(unknown), IsEmpty());
  EXPECT_EQ(shell.counters().ignored_masked, 5U);
}

TEST(Mask, DirectivesApplyInOrder) {
  Shell shell;
  EXPECT_THAT(shell
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
  EXPECT_THAT(shell.ask_one(mask(1, {{2, kAlice}, {2, mac(9)}, {2, mac(8)}})).mask_list(),
              IsEmpty());
}

TEST(Mask, ABadDirectiveStopsTheEditThere) {
  Shell shell;
  const Reply reply = shell.ask_one(mask(1, {{1, kAlice}, {1, mac(8)}, {3, mac(9)}, {1, mac(10)}}));
  EXPECT_FALSE(reply.has_error());
  EXPECT_EQ(reply.u8(26), wire::merror::kBadDirective);
  EXPECT_EQ(reply.u8(27), 2) << "the index of the bad one";
  EXPECT_THAT(reply.mask_list(), ElementsAre(kAlice, mac(8)));
  EXPECT_THAT(shell.ask_one(mask(0)).mask_list(), ElementsAre(kAlice, mac(8)));
}

TEST(Mask, ListIsFullWhenItsReplyWouldNotFit) {
  struct Case {
    std::uint16_t mtu;
    std::size_t limit;
  };
  for (const Case& c : {Case{1500, 185}, Case{9000, 255}}) {
    Shell shell(plain_config(c.mtu));
    shell.ask(mask(1, {{1, kAlice}}));
    for (std::size_t i = 1; i < c.limit; ++i) {
      const wire::MacAddress next{{2, 1, 0, 0, 0, static_cast<std::uint8_t>(i)}};
      ASSERT_EQ(shell.ask_one(mask(1, {{1, next}})).u8(26), 0);
    }
    const Reply full = shell.ask_one(mask(1, {{1, kAlice}, {1, mac(99)}}));
    EXPECT_EQ(full.u8(26), wire::merror::kListFull);
    EXPECT_EQ(full.u8(27), 1);
    EXPECT_EQ(shell.ask_one(mask(0)).mask_list().size(), c.limit);
    EXPECT_EQ(shell.ask_one(mask(1, {{2, kAlice}, {1, kBob}, {2, kBob}, {1, kAlice}})).u8(26), 0);
  }
}

TEST(Mask, WhatItClaimsIsNotBelievedBeyondTheFrame) {
  Shell shell;
  FrameSpec request = mask(1, {{1, kAlice}});
  wire::store_u8(request.argument, 3, 200);
  EXPECT_EQ(shell.ask_one(request).error(), 2);
  EXPECT_THAT(shell.ask_one(mask(0)).mask_list(), IsEmpty());
  EXPECT_EQ(shell.ask_one(mask(2)).error(), 2);
  EXPECT_EQ(shell.ask_one(mask(255)).error(), 2);
}

TEST(Mask, OneMayLockOneselfOut) {
  Shell shell;
  EXPECT_THAT(shell.ask_one(mask(1, {{1, kBob}})).mask_list(), ElementsAre(kBob));
  EXPECT_THAT(shell.ask(config(0, "")), IsEmpty());
}

TEST(Allow, SilencesOthersAndCannotBeEdited) {
  EngineConfig settings = plain_config();
  settings.allow = {kBob};
  Shell shell(settings);
  EXPECT_THAT(shell.ask(config(0, "")), IsEmpty());
  FrameSpec edit = mask(1, {{1, kAlice}, {1, kBob}});
  edit.source = kBob;
  EXPECT_EQ(shell.ask(edit).size(), 1U);
  EXPECT_THAT(shell.ask(config(0, "")), IsEmpty());
}

// --- reserve/release

TEST(Reserve, KeepsOthersFromTheData) {
  Shell shell;
  EXPECT_THAT(shell.ask_one(reserve(1, {kAlice})).reserve_list(), ElementsAre(kAlice));
  FrameSpec request = read(0, 1, 1);
  EXPECT_TRUE(shell.ask_one(request).is_good_ata());
  request.source = kBob;
  const Reply refused = shell.ask_one(request);
  EXPECT_EQ(refused.error(), 6);
  EXPECT_NE(refused.ata_status() & wire::ata::kStatusError, 0);
  request = write(0, 1, 2, 1);
  request.source = kBob;
  EXPECT_EQ(shell.ask_one(request).error(), 6);
  EXPECT_EQ(shell.writes_performed, 0U);
  request = ata(wire::ata::kIdentifyDevice, 0, 1, 1, {}, 0);
  request.source = kBob;
  EXPECT_TRUE(shell.ask_one(request).is_good_ata());
  for (FrameSpec open : {config(0, ""), config(4, "bob"), mask(0), reserve(0)}) {
    open.source = kBob;
    EXPECT_EQ(shell.ask_one(open).error(), 0);
  }
}

TEST(Reserve, SetAndForceSet) {
  Shell shell;
  shell.ask(reserve(1, {kAlice}));
  FrameSpec request = reserve(1, {kBob});
  request.source = kBob;
  const Reply refused = shell.ask_one(request);
  EXPECT_EQ(refused.error(), 6);
  EXPECT_THAT(refused.reserve_list(), ElementsAre(kAlice)) << "who holds it";
  request = reserve(2, {kBob});
  request.source = kBob;
  EXPECT_THAT(shell.ask_one(request).reserve_list(), ElementsAre(kBob));
  EXPECT_EQ(shell.ask_one(reserve(1)).error(), 6);
  request = reserve(1);
  request.source = kBob;
  EXPECT_THAT(shell.ask_one(request).reserve_list(), IsEmpty());
  EXPECT_TRUE(shell.ask_one(read(0, 1, 1)).is_good_ata());
}

TEST(Reserve, BadArguments) {
  Shell shell;
  EXPECT_EQ(shell.ask_one(reserve(3)).error(), 2);
  FrameSpec lying = reserve(1, {kAlice});
  wire::store_u8(lying.argument, 1, 100);
  EXPECT_EQ(shell.ask_one(lying).error(), 2);
  EXPECT_EQ(shell.ask_one(reserve(1, std::vector<wire::MacAddress>(249, kAlice))).error(), 2);
  EXPECT_THAT(shell.ask_one(reserve(0)).reserve_list(), IsEmpty());
  EXPECT_EQ(shell.ask_one(reserve(1, std::vector<wire::MacAddress>(248, kAlice))).error(), 0);
}

// --- persistence

TEST(Persistence, AChangeIsAnsweredOnlyWhenItIsSaved) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  for (const FrameSpec& request :
       {config(3, "hello"), mask(1, {{1, kAlice}}), reserve(1, {kAlice})}) {
    Shell shell(settings);
    shell.give(request);
    EXPECT_FALSE(shell.outbox().intake_open);
    EXPECT_THAT(shell.flush(), IsEmpty());
    EXPECT_FALSE(shell.outbox().intake_open) << "clearing the outbox does not end the save";
    EXPECT_EQ(shell.engine().state(), PersistentState{});
    shell.end_save();
    EXPECT_TRUE(shell.outbox().intake_open);
    const std::vector<Reply> replies = shell.flush();
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].error(), 0);
    EXPECT_EQ(shell.engine().state(), shell.saved);
    EXPECT_NE(shell.saved, PersistentState{});
  }
}

TEST(Persistence, AFailedSaveLeavesTheStateAndSaysSo) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  for (const FrameSpec& request :
       {config(3, "hello"), mask(1, {{1, kAlice}}), reserve(1, {kAlice})}) {
    Shell shell(settings);
    shell.give(request);
    shell.flush();
    shell.end_save(DiskStatus::no_space);
    EXPECT_EQ(shell.flush().at(0).error(), 3);
    EXPECT_EQ(shell.engine().state(), PersistentState{});
    EXPECT_EQ(shell.notes.at(0).kind, NoteKind::save_failed);
    EXPECT_EQ(shell.counters().config_changes + shell.counters().mask_edits +
                  shell.counters().reserve_changes,
              0U);
  }
}

TEST(Persistence, WhatChangesNothingIsNotSaved) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  settings.state.config_string = bytes_of("hello");
  Shell shell(settings);
  EXPECT_EQ(shell.ask_one(config(0, "")).config_string(), "hello");
  EXPECT_EQ(shell.ask_one(config(3, "hello")).error(), 0);
  EXPECT_EQ(shell.ask_one(mask(1, {{2, kBob}})).error(), 0);
  EXPECT_EQ(shell.ask_one(reserve(1)).error(), 0);
  EXPECT_THAT(shell.saves, IsEmpty());
}

TEST(Persistence, DiskWorkEndsWhileASaveIsUnderWay) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  Shell shell(settings);
  shell.give(read(0, 1, 1));
  shell.give(config(3, "hello"));
  shell.flush();
  shell.end_disk(0);
  EXPECT_EQ(shell.flush().size(), 1U);
  EXPECT_FALSE(shell.outbox().intake_open);
}

// --- room

TEST(Room, IntakeClosesBeforeItOverflowsAndOpensAgain) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  Shell shell(settings);
  std::uint32_t taken = 0;
  while (shell.outbox().intake_open) {
    shell.give(read(taken, 1, taken));
    ++taken;
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(shell.counters().intake_closed, 1U);
  EXPECT_EQ(taken, settings.operations_max) << "all of it, and not one more";
  EXPECT_THAT(shell.flush(), IsEmpty());
  EXPECT_FALSE(shell.outbox().intake_open);
  shell.end_disk(0);
  EXPECT_FALSE(shell.outbox().intake_open) << "the reply still lies in the slot";
  EXPECT_EQ(shell.flush().size(), 1U);
  EXPECT_TRUE(shell.outbox().intake_open) << "or nobody would ever call the engine again";
  EXPECT_EQ(shell.run().size(), taken - 1);
}

TEST(Room, RepliesAloneCloseIntakeUntilTheyAreSent) {
  EngineConfig settings = plain_config();
  settings.operations_max = operations_min(settings);
  Shell shell(settings);
  std::uint32_t taken = 0;
  while (shell.outbox().intake_open) {
    shell.give(config(0, "", ++taken));
    ASSERT_LE(taken, settings.operations_max);
  }
  EXPECT_EQ(shell.flush().size(), taken);
  EXPECT_TRUE(shell.outbox().intake_open);
  EXPECT_EQ(shell.ask(config(0, "")).size(), 1U);
}

TEST(Room, IgnoredFramesTakeNone) {
  Shell shell;
  for (int i = 0; i < 5000; ++i) {
    FrameSpec request = config(0, "");
    request.shelf = kShelf + 1;
    shell.give(request);
  }
  EXPECT_TRUE(shell.outbox().intake_open);
}

}  // namespace
}  // namespace target::engine::test
