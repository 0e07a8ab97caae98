// What every reply carries, and the announcement.
#include "target/engine/engine.h"

#include <gtest/gtest.h>

#include "target/engine/hand_cranked.h"

namespace target::engine::test {
namespace {

TEST(Announcement, IsABroadcastConfigReplyOnEveryPort) {
  EngineConfig config = plain_config();
  config.ports.push_back({mac(0xDD), 9000});
  config.state.config_string = bytes_of("present");
  HandCranked crank(config);
  ASSERT_EQ(crank.announcements.size(), 2U);
  for (std::uint16_t port = 0; port < 2; ++port) {
    const Reply& reply = crank.announcements[port];
    EXPECT_EQ(reply.port, port);
    EXPECT_EQ(reply.address(0), wire::kBroadcastMac);
    EXPECT_EQ(reply.tag(), 0U);
    EXPECT_EQ(reply.u8(19), 1);
    EXPECT_EQ(reply.u8(29), 0x10);
    EXPECT_EQ(reply.config_string(), "present");
  }
  EXPECT_EQ(crank.announcements[0].u8(28), 2);
  EXPECT_EQ(crank.announcements[1].u8(28), 17);
  EXPECT_EQ(crank.engine().next_deadline(), kNever);
}

TEST(Announcement, IsDueAtOnceAndMadeOnce) {
  Engine engine(plain_config());
  EXPECT_EQ(engine.next_deadline(), 0);
  engine.on_timer(5);
  EXPECT_EQ(engine.outbox().frames.size(), 1U);
  engine.on_timer(6);
  EXPECT_EQ(engine.outbox().frames.size(), 1U);
}

TEST(Header, ReplyCarriesOwnAddressesTagAndCommand) {
  HandCranked crank;
  FrameSpec request = config(0, "", 0xCAFE1234);
  request.destination = wire::kBroadcastMac;
  request.shelf = 0xFFFF;
  request.slot = 0xFF;
  const Reply reply = crank.ask_one(request);
  EXPECT_EQ(reply.address(0), kAlice);
  EXPECT_EQ(reply.address(6), kTargetMac);
  EXPECT_EQ(reply.be16(16), kShelf);
  EXPECT_EQ(reply.u8(18), kSlot);
  EXPECT_EQ(reply.u8(19), 1);
  EXPECT_EQ(reply.tag(), 0xCAFE1234U);
}

TEST(Header, ErrorBitsOfARequestAreNotEchoed) {
  HandCranked crank;
  FrameSpec request = config(0, "");
  request.flags = 0x7;
  request.error = 0x55;
  EXPECT_EQ(crank.ask_one(request).u8(14), 0x18);
}

TEST(Ata, ReservedAFlagsAreNotEchoed) {
  HandCranked crank;
  EXPECT_EQ(crank.ask_one(ata(wire::ata::kReadSectors, 0, 1, 1, {}, 0xFF)).u8(24), 0x53);
}

}  // namespace
}  // namespace target::engine::test
