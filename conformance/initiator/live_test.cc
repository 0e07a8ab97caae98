#include "conformance/initiator/live.h"

#include <gtest/gtest.h>

namespace conformance::initiator {
namespace {

TEST(TagOfNow, AProcessFiveMillisecondsLaterIsAheadByMoreThanAWindow) {
  const int64_t begin = now_ns();
  const uint32_t first = tag_of_now();
  while (now_ns() < begin + 5'000'000) {
  }
  const uint32_t later = tag_of_now();
  EXPECT_GT(later - first, 32768U);
  EXPECT_LT(later - first, 0x8000'0000U);
}

TEST(InterfaceFacts, SaysWhichInterfacesThereAre) {
  try {
    interface_facts("nowhere0");
    FAIL();
  } catch (const LinkError& e) {
    EXPECT_NE(std::string(e.what()).find("nowhere0"), std::string::npos);
  }
}

TEST(OwnAddress, IsOfOurOwnAndNeverHeldTwice) {
  InterfaceFacts facts;
  facts.index = 4'000'000;  // nobody's
  facts.mac = {0x52, 0x54, 0, 1, 2, 3};
  OwnAddress one(facts);
  {
    const OwnAddress two(facts);
    EXPECT_NE(one.mac(), two.mac());
    for (const Mac& mac : {one.mac(), two.mac()}) {
      EXPECT_EQ(mac[0] & 3U, 2U);
      EXPECT_NE(mac, facts.mac);
    }
    EXPECT_THROW(OwnAddress(facts, two.mac()), LinkError);
  }
  const Mac first = one.mac();
  const OwnAddress moved = std::move(one);
  EXPECT_THROW(OwnAddress(facts, first), LinkError);
  EXPECT_NO_THROW(OwnAddress(facts, {2, 0, 0, 0, 0, 1}));
}

}  // namespace
}  // namespace conformance::initiator
