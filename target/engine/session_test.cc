// Places in the table: who gets one, who may lose one, and what a reference to one is worth later.
#include "target/engine/session.h"

#include <gtest/gtest.h>

namespace target::engine {
namespace {

wire::MacAddress mac(std::uint8_t last) {
  return {{2, 0, 0, 0, 0, last}};
}

TEST(SessionTable, IsByPortAndAddress) {
  SessionTable table(4);
  EXPECT_EQ(table.find(0, mac(1)), nullptr);
  Session* session = table.open(0, mac(1));
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(table.open(0, mac(1)), session);
  EXPECT_EQ(table.find(1, mac(1)), nullptr);
  EXPECT_NE(table.open(1, mac(1)), session);
  EXPECT_EQ(table.size(), 2U);
}

TEST(SessionTable, WhoIsProtectedKeepsHisPlace) {
  SessionTable table(2);
  table.open(0, mac(1))->features.tag_mode = TagMode::increment_be;
  table.open(0, mac(2))->features.coalesced_read = true;
  table.find(0, mac(1))->wrote = true;
  table.find(0, mac(2))->wrote = true;
  EXPECT_EQ(table.open(0, mac(3)), nullptr);
  EXPECT_NE(table.find(0, mac(1)), nullptr);
  EXPECT_NE(table.find(0, mac(2)), nullptr);
  EXPECT_EQ(table.with_coalesced_read(), 1U);
}

TEST(SessionTable, AProbeGivesWayToAFeature) {
  SessionTable table(2);
  table.open(0, mac(1))->features.crc8x4 = true;
  table.open(0, mac(2))->congestion_id = 41;
  EXPECT_NE(table.open(0, mac(3)), nullptr);
  EXPECT_EQ(table.find(0, mac(2)), nullptr);
  EXPECT_NE(table.find(0, mac(1)), nullptr);
}

TEST(SessionTable, WhoNeverWroteGivesWayAndTheLongestSilentFirst) {
  SessionTable table(3);
  for (std::uint8_t i = 1; i <= 3; ++i) {
    table.open(0, mac(i))->features.tag_mode = TagMode::increment_be;
  }
  table.find(0, mac(1))->wrote = true;
  table.hear(*table.find(0, mac(2)));
  ASSERT_NE(table.open(0, mac(4)), nullptr);
  EXPECT_EQ(table.find(0, mac(3)), nullptr) << "silent for longer than 2";
  table.find(0, mac(4))->features.crc8x4 = true;
  ASSERT_NE(table.open(0, mac(5)), nullptr);
  EXPECT_EQ(table.find(0, mac(2)), nullptr);
  EXPECT_NE(table.find(0, mac(1)), nullptr) << "it wrote, however long it has been silent";
  EXPECT_EQ(table.evicted(), 2U);
}

TEST(SessionTable, ANewWindowHasSeenNoWrite) {
  SessionTable table(1);
  Session* session = table.open(0, mac(1));
  session->features.tag_mode = TagMode::increment_be;
  session->wrote = true;
  table.restart_window(*session);
  EXPECT_NE(table.open(0, mac(2)), nullptr);
}

TEST(SessionTable, ResetFreesThePlaceAndEndsReferences) {
  SessionTable table(1);
  Session* session = table.open(0, mac(1));
  session->features.tag_mode = TagMode::increment_be;
  const SessionRef ref = SessionTable::ref(*session);
  EXPECT_EQ(table.find(ref), session);
  table.reset(*session);
  EXPECT_EQ(table.find(ref), nullptr);
  EXPECT_EQ(table.find(0, mac(1)), nullptr);
  Session* other = table.open(0, mac(2));
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(table.find(ref), nullptr) << "the place's next owner is somebody else";
  EXPECT_EQ(other->features, Features{});
}

TEST(SessionTable, ResetKeepsTheCongestionId) {
  SessionTable table(1);
  Session* session = table.open(0, mac(1));
  session->features.tag_mode = TagMode::random;
  session->congestion_id = 41;
  table.reset(*session);
  ASSERT_EQ(table.find(0, mac(1)), session);
  EXPECT_EQ(session->features, Features{});
  EXPECT_EQ(session->congestion_id, 41U);
}

TEST(SessionTable, ARestartedWindowIsEmptyAndForgetsWhatWasInFlight) {
  SessionTable table(1);
  Session* session = table.open(0, mac(1));
  table.restart_window(*session);
  session->window->begin(5);
  const SessionRef ref = SessionTable::ref(*session);
  table.restart_window(*session);
  EXPECT_EQ(table.find(ref), nullptr);
  EXPECT_EQ(session->window->classify(5), TagState::fresh);
}

TEST(SessionTable, NoPlacesAtAll) {
  SessionTable table(0);
  EXPECT_EQ(table.open(0, mac(1)), nullptr);
}

TEST(Session, ReadsATagAsACounter) {
  Session session;
  session.features.tag_mode = TagMode::increment_be;
  EXPECT_EQ(session.counter(0x01020304), 0x01020304U);
  session.features.tag_mode = TagMode::increment_le;
  EXPECT_EQ(session.counter(0x01020304), 0x04030201U);
}

}  // namespace
}  // namespace target::engine
