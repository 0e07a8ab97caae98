// Header and ATA through the whole engine. Changes of state, replies, room and the extensions have
// tests of their own, as have the invariants.
#include "target/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/engine/hand_cranked.h"

namespace target::engine::test {
namespace {

using testing::IsEmpty;

// --- header

struct AddressCase {
  std::uint16_t shelf;
  std::uint8_t slot;
  bool answered;
};

class HeaderAddress : public testing::TestWithParam<AddressCase> {};

TEST_P(HeaderAddress, DecidesWhetherTheTargetAnswers) {
  HandCranked crank;
  FrameSpec request = config(0, "");
  request.shelf = GetParam().shelf;
  request.slot = GetParam().slot;
  EXPECT_EQ(crank.ask(request).size(), GetParam().answered ? 1U : 0U);
  EXPECT_EQ(crank.counters().ignored_address, GetParam().answered ? 0U : 1U);
}

INSTANTIATE_TEST_SUITE_P(
    All, HeaderAddress,
    testing::Values(AddressCase{kShelf, kSlot, true}, AddressCase{0xFFFF, 0xFF, true},
                    AddressCase{0xFFFF, kSlot, true}, AddressCase{kShelf, 0xFF, true},
                    AddressCase{kShelf + 1, kSlot, false}, AddressCase{kShelf, kSlot + 1, false},
                    AddressCase{kShelf + 1, 0xFF, false}, AddressCase{0xFFFF, kSlot + 1, false},
                    AddressCase{0x0700, kSlot, false}));

TEST(Header, AnotherStationsFrameIsIgnored) {
  HandCranked crank;
  FrameSpec request = config(0, "");
  request.destination = kBob;
  EXPECT_THAT(crank.ask(request), IsEmpty());
  request.destination = {{0x01, 0x80, 0xC2, 0, 0, 1}};
  EXPECT_EQ(crank.ask(request).size(), 1U) << "multicast reaches us on purpose";
}

TEST(Header, AGroupAddressAsSourceIsIgnored) {
  HandCranked crank;
  for (const wire::MacAddress& source :
       {wire::kBroadcastMac, wire::MacAddress{{0x03, 0, 0, 0, 0, 1}}}) {
    FrameSpec request = config(0, "");
    request.source = source;
    EXPECT_THAT(crank.ask(request), IsEmpty());
  }
  FrameSpec request = config(0, "");
  request.source = {};
  EXPECT_EQ(crank.ask_one(request).address(0), wire::MacAddress{});
}

TEST(Header, AnotherVersionGetsError5AndIsNotExecuted) {
  HandCranked crank;
  for (const std::uint8_t version : {0, 2, 3, 15}) {
    FrameSpec request = write(10, 1, version, 0xAA);
    request.version = version;
    const Reply reply = crank.ask_one(request);
    EXPECT_EQ(reply.error(), 5);
    EXPECT_EQ(reply.tag(), version);
  }
  EXPECT_EQ(crank.writes_performed, 0U);
}

TEST(Header, UnknownCommandsGetError1) {
  HandCranked crank;
  for (const std::uint8_t command : {4, 5, 0x22, 0x24, 0x80, 0xEF, 0xF0, 0xFF}) {
    FrameSpec request;
    request.command = command;
    request.tag = command;
    const Reply reply = crank.ask_one(request);
    EXPECT_EQ(reply.error(), 1) << int{command};
    EXPECT_EQ(reply.u8(19), command);
  }
  EXPECT_EQ(crank.counters().errors_answered, 8U);
}

TEST(Header, AResponseIsNotARequest) {
  HandCranked crank;
  FrameSpec request = config(0, "");
  request.flags = wire::flag::kResponse;
  EXPECT_THAT(crank.ask(request), IsEmpty());
  EXPECT_EQ(crank.counters().ignored_not_request, 1U);
}

TEST(Header, FramesCutShortAreSilent) {
  for (const FrameSpec& whole : {read(0, 1, 1), config(0, ""), mask(0), reserve(0)}) {
    const std::size_t fixed = whole.bytes().size();
    for (std::size_t length = 0; length < fixed; ++length) {
      HandCranked crank;
      Bytes frame = whole.bytes();
      frame.resize(length);
      crank.give(frame, 1);
      EXPECT_THAT(crank.run(), IsEmpty()) << length;
      EXPECT_EQ(crank.counters().ignored_short, 1U);
    }
    HandCranked crank;
    crank.give(whole.bytes(), 1);
    EXPECT_EQ(crank.run().size(), 1U) << "unpadded, as over a veth pair";
  }
}

// --- ATA

TEST(Ata, WritesAndReadsBack) {
  HandCranked crank;
  const Reply written = crank.ask_one(write(100, 2, 5, 0xA5));
  EXPECT_TRUE(written.is_good_ata());
  EXPECT_EQ(written.bytes.size(), 60U);
  EXPECT_EQ(written.ata_count(), 0);
  EXPECT_EQ(wire::load_le48(written.bytes, 28), 100U);
  const Reply reply = crank.ask_one(read(100, 2, 6));
  EXPECT_TRUE(reply.is_good_ata());
  EXPECT_EQ(reply.bytes.size(), 36U + 1024U);
  EXPECT_EQ(reply.data(36, 1024), sectors_of(2, 0xA5));
}

TEST(Ata, Uses28BitsOf28BitCommands) {
  HandCranked crank;
  EXPECT_TRUE(crank
                  .ask_one(ata(wire::ata::kWriteSectors, 0xABCDE0000000 + 7, 1, 1,
                               sectors_of(1, 0x77), 0x01))
                  .is_good_ata());
  EXPECT_EQ(crank.disk_byte(7), 0x77);
  // The flag E says 48 bits, the command 28: the command decides.
  const Reply reply = crank.ask_one(ata(wire::ata::kReadSectors, 0x10000000 + 7, 1, 2, {}, 0x40));
  EXPECT_EQ(reply.data(36, 512), sectors_of(1, 0x77));
  EXPECT_EQ(wire::load_le48(reply.bytes, 28), 0x10000007U) << "the LBA comes back as it was sent";
}

TEST(Ata, PastTheEndIsNotFound) {
  HandCranked crank;
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
      const Reply reply = crank.ask_one(request);
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
  const Bytes frame = ata(wire::ata::kReadSectors, 0x0FFF'FFFF, 2, 1, {}, 0).bytes();
  engine.on_frame({0, 1, frame, 0});
  ASSERT_EQ(engine.outbox().disk_ops.size(), 1U);
  EXPECT_EQ(engine.outbox().disk_ops[0].lba, 0x0FFF'FFFFU);
}

TEST(Ata, CountsThatNoFrameHoldsGetError2) {
  for (const std::uint16_t mtu : {1500, 9000}) {
    const int limit = mtu == 1500 ? 2 : 17;
    HandCranked crank(plain_config(mtu));
    for (int count = 0; count < 256; ++count) {
      const auto sectors = static_cast<std::uint8_t>(count);
      const bool good = count >= 1 && count <= limit;
      EXPECT_EQ(crank.ask_one(read(0, sectors, 1)).error(), good ? 0 : 2) << count;
      EXPECT_EQ(crank.ask_one(write(0, sectors, 2, 3)).error(), good ? 0 : 2) << count;
    }
  }
}

TEST(Ata, AWriteWithTooLittlePayloadWritesNothing) {
  HandCranked crank;
  for (const std::size_t missing : {1U, 512U, 1023U, 1024U}) {
    FrameSpec request = write(0, 2, 1, 0x55);
    request.argument.resize(request.argument.size() - missing);
    EXPECT_EQ(crank.ask_one(request).error(), 2);
  }
  EXPECT_EQ(crank.writes_performed, 0U);
  // More than was announced does no harm.
  FrameSpec request = write(0, 1, 1, 0x55);
  request.argument.resize(request.argument.size() + 100);
  EXPECT_TRUE(crank.ask_one(request).is_good_ata());
}

TEST(Ata, OtherCommandsAreAborted) {
  HandCranked crank;
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
    const Reply reply = crank.ask_one(ata(static_cast<std::uint8_t>(command), 0, 1, 1));
    EXPECT_FALSE(reply.has_error());
    EXPECT_EQ(reply.ata_status(), 0x41) << command;
    EXPECT_EQ(reply.ata_error(), 0x04) << command;
  }
}

TEST(Ata, FlushAndPowerMode) {
  HandCranked crank;
  for (const std::uint8_t command : {wire::ata::kFlushCache, wire::ata::kFlushCacheExt}) {
    crank.give(ata(command, 0, 0, 1));
    EXPECT_THAT(crank.flush(), IsEmpty());
    ASSERT_EQ(crank.in_flight.size(), 1U);
    EXPECT_EQ(crank.in_flight[0].kind, DiskOpKind::flush);
    EXPECT_TRUE(crank.run().at(0).is_good_ata());
  }
  const Reply power = crank.ask_one(ata(wire::ata::kCheckPowerMode, 0, 0, 1));
  EXPECT_TRUE(power.is_good_ata());
  EXPECT_EQ(power.ata_count(), 0xFF);
}

TEST(Ata, DiskErrorsAreAtaErrorsAndCarryNoData) {
  HandCranked crank;
  crank.give(read(0, 2, 1));
  crank.flush();
  std::memset(crank.in_flight[0].data.data(), 0xEE, 1024);  // half read, then failed
  crank.end_disk(0, DiskStatus::io_error);
  const std::vector<Reply> replies = crank.flush();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].ata_status(), 0x41);
  EXPECT_EQ(replies[0].ata_error(), 0x40);
  EXPECT_EQ(replies[0].bytes.size(), 60U);

  crank.give(write(0, 1, 2, 1));
  crank.flush();
  crank.end_disk(0, DiskStatus::no_space);
  const Reply failed = crank.flush().at(0);
  EXPECT_EQ(failed.ata_status(), 0x61);
  EXPECT_EQ(failed.ata_error(), 0x04);
  EXPECT_EQ(crank.counters().disk_errors, 2U);
  EXPECT_EQ(crank.notes.size(), 2U);
}

TEST(Ata, AReadOnlyExportAbortsWrites) {
  EngineConfig config = plain_config();
  config.read_only = true;
  HandCranked crank(config);
  const Reply reply = crank.ask_one(write(0, 1, 1, 1));
  EXPECT_EQ(reply.ata_status(), 0x41);
  EXPECT_EQ(reply.ata_error(), 0x04);
  EXPECT_TRUE(crank.ask_one(read(0, 1, 2)).is_good_ata());
}

TEST(Ata, IdentifyIsServedWhateverTheCount) {
  HandCranked crank;
  for (const std::uint8_t count : {0, 1, 2, 255}) {
    const Reply reply = crank.ask_one(ata(wire::ata::kIdentifyDevice, 0, count, 1, {}, 0));
    EXPECT_TRUE(reply.is_good_ata());
    ASSERT_EQ(reply.bytes.size(), 36U + 512U);
    EXPECT_EQ(wire::load_le16(reply.bytes, 36 + 60 * 2), kDiskSectors);
  }
}

}  // namespace
}  // namespace target::engine::test
