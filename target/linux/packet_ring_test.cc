// The receive ring holds exactly what it promises, and lets in only what is ours.
#include "target/linux/packet_ring.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>
#include <fstream>
#include <string>

#include "target/linux/start_error.h"
#include "target/linux/test_network.h"

namespace target::linux_shell {
namespace {

using testing::facts_of;
using testing::ip;
using testing::make_request;
using testing::RawPort;
using testing::RequestFields;

constexpr std::uint8_t kNoArgument[8] = {};

TEST(RingLayout, HoldsExactlyTheWantedFramesAtEveryMtu) {
  for (const std::uint32_t mtu : {534U, 1500U, 4000U, 9000U, 65535U}) {
    for (const std::uint16_t slots : {2, 3, 7, 64, 127, 128, 1000, 65535}) {
      const auto layout = ring_layout(mtu, slots);
      ASSERT_EQ(layout.frames_per_block * layout.blocks, slots) << mtu;
      ASSERT_EQ(layout.block_bytes / layout.frame_bytes, layout.frames_per_block) << mtu;
      ASSERT_EQ(layout.block_bytes % 4096, 0U);
      ASSERT_EQ(layout.frame_bytes % 16, 0U);
      // The kernel's header, padding, the Ethernet header and the payload.
      ASSERT_GE(layout.frame_bytes, 66 + 14 + mtu) << slots;
    }
  }
}

class PacketRingTest : public ::testing::Test {
 protected:
  void enter(std::uint32_t mtu = 1500) {
    if (const auto reason = testing::enter_test_network(mtu)) {
      GTEST_SKIP() << *reason;
    }
  }

  // Frames on a veth pair arrive before send() returns or a moment later, in a softirq: a barrier
  // frame at the end says that all before it have been decided on.
  static std::vector<std::uint32_t> tags_up_to(PacketRing& ring, std::uint32_t barrier) {
    std::vector<std::uint32_t> tags;
    for (;;) {
      pollfd waited{ring.fd(), POLLIN, 0};
      if (::poll(&waited, 1, 5000) != 1) {
        ADD_FAILURE() << "the barrier frame did not arrive";
        return tags;
      }
      while (ring.waiting(1) == 1) {
        const auto bytes = ring.front();
        const auto tag = bytes ? testing::tag_of(*bytes) : 0;
        ring.pop();
        if (tag == barrier) {
          return tags;
        }
        tags.push_back(tag);
      }
    }
  }
};

constexpr std::uint32_t kBarrier = 0xBA221E2;

TEST_F(PacketRingTest, AFloodLeavesExactlyBufferCountFrames) {
  for (const std::uint32_t mtu : {1500U, 9000U}) {
    for (const std::uint16_t slots : {2, 5, 64, 128}) {
      enter(mtu);
      if (IsSkipped()) {
        return;
      }
      PacketRing ring("tgt0", facts_of("tgt0"), {1, 1}, slots);
      const RawPort initiator("ini0");
      std::vector<std::uint8_t> argument(mtu - 10, 0x5A);
      for (std::uint32_t tag = 0; tag < 2U * slots; ++tag) {
        initiator.send(make_request({.tag = tag}, argument));
      }
      // Every frame has been decided on when the kernel has counted it.
      while (ring.counters().drops < slots) {
        pollfd nothing{-1, 0, 0};
        ::poll(&nothing, 1, 1);
      }
      ASSERT_EQ(ring.waiting(0xFFFF), slots) << mtu;
      for (std::uint32_t tag = 0; tag < slots; ++tag) {
        ASSERT_EQ(ring.waiting(1), 1U);
        const auto bytes = ring.front();
        ASSERT_TRUE(bytes.has_value());
        EXPECT_EQ(testing::tag_of(*bytes), tag);
        EXPECT_EQ(bytes->size(), mtu + 14);
        EXPECT_EQ(bytes->back(), std::byte{0x5A});
        ring.pop();
      }
      EXPECT_EQ(ring.waiting(1), 0U);
      EXPECT_EQ(ring.counters().drops, slots);
    }
  }
}

TEST_F(PacketRingTest, ASlotThatIsHeldCounts) {
  enter();
  constexpr std::uint16_t kSlots = 4;
  PacketRing ring("tgt0", facts_of("tgt0"), {1, 1}, kSlots);
  const RawPort initiator("ini0");
  initiator.send(make_request({.tag = 1}, kNoArgument));
  pollfd waited{ring.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&waited, 1, 5000), 1);
  ASSERT_TRUE(ring.front().has_value());  // and no pop()
  for (std::uint32_t tag = 2; tag < 10; ++tag) {
    initiator.send(make_request({.tag = tag}, kNoArgument));
  }
  while (ring.counters().drops < 5) {
    pollfd nothing{-1, 0, 0};
    ::poll(&nothing, 1, 1);
  }
  EXPECT_EQ(ring.waiting(0xFFFF), kSlots);
}

TEST_F(PacketRingTest, LetsInOwnAndBroadcastAddressesOnly) {
  enter();
  PacketRing ring("tgt0", facts_of("tgt0"), {0x0102, 3}, 64);
  const RawPort initiator("ini0");
  const auto send = [&](RequestFields fields) {
    initiator.send(make_request(fields, kNoArgument));
  };
  send({.shelf = 0x0102, .slot = 3, .tag = 1});
  send({.shelf = 0xFFFF, .slot = 3, .tag = 2});
  send({.shelf = 0x0102, .slot = 0xFF, .tag = 3});
  send({.shelf = 0xFFFF, .slot = 0xFF, .tag = 4});
  send({.shelf = 0x0103, .slot = 3, .tag = 100});
  send({.shelf = 0x0202, .slot = 3, .tag = 101});
  send({.shelf = 0x0102, .slot = 4, .tag = 102});
  send({.shelf = 0xFFFF, .slot = 4, .tag = 103});
  send({.shelf = 0xFFFE, .slot = 0xFF, .tag = 104});
  send({.shelf = 0x0102, .slot = 3, .tag = 105, .flags = 0x8});
  send({.shelf = 0x0102, .slot = 3, .tag = kBarrier});
  EXPECT_EQ(tags_up_to(ring, kBarrier), (std::vector<std::uint32_t>{1, 2, 3, 4}));
}

TEST_F(PacketRingTest, LeavesOtherEtherTypesTagsAndShortFramesOut) {
  enter();
  const auto facts = facts_of("tgt0");
  PacketRing ring("tgt0", facts, {1, 1}, 64);
  const RawPort initiator("ini0");
  auto other_type = make_request({.tag = 100}, kNoArgument);
  other_type[12] = std::byte{0x08};
  other_type[13] = std::byte{0x00};
  initiator.send(other_type);
  for (const auto& destination : {facts.mac, RequestFields{}.destination}) {
    auto tagged = make_request({.tag = 101, .destination = destination}, kNoArgument);
    const std::vector<std::byte> tag = {std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{5}};
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    initiator.send(tagged);
  }
  auto cut = make_request({.tag = 102}, kNoArgument);
  cut.resize(18);
  initiator.send(cut);
  initiator.send(make_request({.tag = 1, .destination = facts.mac}, kNoArgument));
  initiator.send(make_request({.tag = kBarrier}, kNoArgument));
  EXPECT_EQ(tags_up_to(ring, kBarrier), (std::vector<std::uint32_t>{1}));
}

// A host that is not allowed takes no slot from those that are, however many frames it sends.
TEST_F(PacketRingTest, LetsInAllowedSourcesOnly) {
  enter();
  if (IsSkipped()) {
    return;
  }
  const RawPort initiator("ini0");
  const auto own = facts_of("ini0").mac;
  for (const std::size_t others : {std::size_t{0}, std::size_t{1}, kFilterAllowMax - 1}) {
    RingAddress address{1, 1};
    for (std::size_t i = 0; i < others; ++i) {
      address.allow.push_back(
          {{2, 0, 0, 9, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)}});
    }
    address.allow.push_back(own);
    PacketRing ring("tgt0", facts_of("tgt0"), address, 4);
    for (std::size_t octet = 0; octet < 6; ++octet) {
      auto foreign = make_request({.tag = 7}, {});
      std::memcpy(foreign.data() + 6, own.octets.data(), own.octets.size());
      foreign[6 + octet] ^= std::byte{0x10};
      for (int i = 0; i < 10; ++i) {
        initiator.send_as_is(foreign);
      }
    }
    initiator.send(make_request({.tag = 1}, {}));
    initiator.send(make_request({.tag = kBarrier}, {}));
    const auto tags = tags_up_to(ring, kBarrier);
    EXPECT_EQ(tags, (std::vector<std::uint32_t>{1})) << others;
  }
}

// More than the filter has room for: the engine alone sorts.
TEST_F(PacketRingTest, ALongAllowListIsTheEngines) {
  enter();
  if (IsSkipped()) {
    return;
  }
  const RawPort initiator("ini0");
  RingAddress address{1, 1};
  address.allow.resize(kFilterAllowMax + 1);
  PacketRing ring("tgt0", facts_of("tgt0"), address, 4);
  initiator.send(make_request({.tag = 1}, {}));
  initiator.send(make_request({.tag = kBarrier}, {}));
  EXPECT_EQ(tags_up_to(ring, kBarrier), (std::vector<std::uint32_t>{1}));
}

TEST_F(PacketRingTest, AFrameForAnotherStationTakesNoSlot) {
  enter();
  const auto facts = facts_of("tgt0");
  PacketRing ring("tgt0", facts, {1, 1}, 64);
  const RawPort initiator("ini0");
  ip("link set tgt0 promisc on");
  auto other = facts.mac;
  other.octets[5] ^= 1U;
  initiator.send(make_request({.tag = 100, .destination = other}, kNoArgument));
  initiator.send(make_request({.tag = 1, .destination = facts.mac}, kNoArgument));
  initiator.send(make_request({.tag = kBarrier}, kNoArgument));
  EXPECT_EQ(tags_up_to(ring, kBarrier), (std::vector<std::uint32_t>{1}));
}

TEST_F(PacketRingTest, IgnoresWhatThisMachineSendsItself) {
  enter();
  PacketRing ring("tgt0", facts_of("tgt0"), {1, 1}, 64);
  const RawPort neighbour("tgt0");
  neighbour.send(make_request({.tag = 100}, kNoArgument));
  const RawPort initiator("ini0");
  initiator.send(make_request({.tag = kBarrier}, kNoArgument));
  EXPECT_TRUE(tags_up_to(ring, kBarrier).empty());
}

TEST_F(PacketRingTest, SurvivesTheLinkGoingDownAndUp) {
  enter();
  PacketRing ring("tgt0", facts_of("tgt0"), {1, 1}, 4);
  const RawPort initiator("ini0");
  ip("link set tgt0 down");
  EXPECT_NE(ring.take_error(), 0);
  ip("link set tgt0 up");
  EXPECT_EQ(ring.take_error(), 0);
  initiator.send(make_request({.tag = kBarrier}, kNoArgument));
  EXPECT_TRUE(tags_up_to(ring, kBarrier).empty());
}

std::size_t mapped_rings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find("socket:[") != std::string::npos ? 1 : 0;
  }
  return count;
}

TEST_F(PacketRingTest, AnInterfaceThatVanishesLeavesNoMemoryBehind) {
  enter();
  if (IsSkipped()) {
    return;
  }
  auto facts = facts_of("tgt0");
  {
    const PacketRing ring("tgt0", facts, {1, 1}, 4);
    EXPECT_EQ(mapped_rings(), 1U);
  }
  facts.index = 4711;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(PacketRing("tgt0", facts, {1, 1}, 4), StartError);
  }
  EXPECT_EQ(mapped_rings(), 0U);
}

TEST_F(PacketRingTest, NamesAnInterfaceThatIsGone) {
  enter();
  auto facts = facts_of("tgt0");
  facts.index = 4711;
  try {
    PacketRing ring("tgt0", facts, {1, 1}, 4);
    FAIL() << "bound to nothing";
  } catch (const StartError& error) {
    EXPECT_NE(std::string(error.what()).find("cannot bind to tgt0"), std::string::npos);
  }
}

}  // namespace
}  // namespace target::linux_shell
