// Who is admitted, as a table.
#include "target/engine/access.h"

#include <gtest/gtest.h>

#include <vector>

namespace target::engine {
namespace {

const wire::MacAddress kPort{{2, 0, 0, 0, 0, 0xEE}};
const wire::MacAddress kAlice{{2, 0, 0, 0, 0, 1}};
const wire::MacAddress kBob{{2, 0, 0, 0, 0, 2}};

class AccessTest : public testing::Test {
 protected:
  AccessTest() {
    config_.shelf = 7;
    config_.slot = 3;
    header_.destination = kPort;
    header_.source = kAlice;
    header_.shelf = 7;
    header_.slot = 3;
  }
  Access admitted() const { return admit(header_, kPort, config_, mask_); }

  EngineConfig config_;
  wire::Header header_;
  std::vector<wire::MacAddress> mask_;
};

TEST_F(AccessTest, ShelfAndSlotAreBroadcastEachForItself) {
  for (const std::uint16_t shelf : {7, 0xFFFF, 8, 0x00FF}) {
    for (const std::uint8_t slot : {3, 0xFF, 4}) {
      header_.shelf = shelf;
      header_.slot = slot;
      const bool named = (shelf == 7 || shelf == 0xFFFF) && (slot == 3 || slot == 0xFF);
      EXPECT_EQ(admitted(), named ? Access::admitted : Access::wrong_address)
          << shelf << "." << slot;
    }
  }
}

TEST_F(AccessTest, OtherStationsFramesAreNotOurs) {
  header_.destination = kBob;
  EXPECT_EQ(admitted(), Access::wrong_address);
  header_.destination = {};
  EXPECT_EQ(admitted(), Access::wrong_address);
  header_.destination = wire::kBroadcastMac;
  EXPECT_EQ(admitted(), Access::admitted);
}

TEST_F(AccessTest, GroupsAreNoSources) {
  header_.source = wire::kBroadcastMac;
  EXPECT_EQ(admitted(), Access::wrong_address);
  header_.source = {{1, 0, 0, 0, 0, 0}};
  EXPECT_EQ(admitted(), Access::wrong_address);
  header_.source = {};
  EXPECT_EQ(admitted(), Access::admitted);
}

TEST_F(AccessTest, BothListsMustAdmit) {
  mask_ = {kBob};
  EXPECT_EQ(admitted(), Access::masked);
  mask_ = {kBob, kAlice};
  EXPECT_EQ(admitted(), Access::admitted);
  config_.allow = {kBob};
  EXPECT_EQ(admitted(), Access::masked);
  config_.allow = {kAlice};
  EXPECT_EQ(admitted(), Access::admitted);
}

TEST(Reserved, AgainstEverybodyNotListedButForIdentify) {
  const std::vector<wire::MacAddress> none;
  const std::vector<wire::MacAddress> alice{kAlice};
  EXPECT_FALSE(reserved_against(kBob, wire::ata::kReadSectors, none));
  EXPECT_TRUE(reserved_against(kBob, wire::ata::kReadSectors, alice));
  EXPECT_TRUE(reserved_against(kBob, wire::ata::kFlushCache, alice));
  EXPECT_TRUE(reserved_against(kBob, 0x00, alice));
  EXPECT_FALSE(reserved_against(kBob, wire::ata::kIdentifyDevice, alice));
  EXPECT_FALSE(reserved_against(kAlice, wire::ata::kWriteSectors, alice));
}

}  // namespace
}  // namespace target::engine
