#include "pcaps/tool/selection.h"

#include <gtest/gtest.h>

#include "conformance/observer/test_frames.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in

constexpr Nanoseconds kSecondNs = 1'000'000'000;
constexpr Nanoseconds kStartNs = 1'795'344'822 * kSecondNs;  // 2026-11-22 10:53:42 UTC

// The numbers of the frames that the terms admit; a second between frames.
std::string admitted(const std::vector<std::string>& terms, const std::vector<Bytes>& frames) {
  std::string error;
  auto selection = Selection::parse(terms, error);
  if (!selection) {
    return error;
  }
  std::string out;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    CapturedFrame frame;
    frame.number = i + 1;
    frame.time_ns = kStartNs + static_cast<Nanoseconds>(i) * kSecondNs;
    frame.bytes = frames[i];
    frame.wire_length = static_cast<std::uint32_t>(frames[i].size());
    out += selection->admits(frame) ? std::to_string(i + 1) : "";
  }
  return out;
}

Bytes of_slot(Bytes frame, std::uint8_t slot) {
  frame[18] = slot;
  return frame;
}
Bytes in_vlan(Bytes frame, std::uint8_t vlan) {
  frame.insert(frame.begin() + 12, {0x81, 0x00, 0x00, vlan});
  return frame;
}

TEST(Selection, AdmitsByEachKindOfTerm) {
  const std::vector<Bytes> frames{read_request(kAlice, 1, 5),
                                  read_reply(kAlice, 1, 5, 'a'),
                                  of_slot(read_request(kBob, 2, 5), 9),
                                  in_vlan(read_request(kBob, 3, 5), 5),
                                  of_slot(read_request(kAlice, 4, 5), kBroadcastSlot),
                                  Bytes(60, 0)};
  EXPECT_EQ(admitted({}, frames), "123456");
  EXPECT_EQ(admitted({"target=e1.1"}, frames), "1245");
  EXPECT_EQ(admitted({"target=e1.1@5"}, frames), "4");
  EXPECT_EQ(admitted({"target=e1.1@none", "target=e1.9"}, frames), "1235");
  EXPECT_EQ(admitted({"initiator=" + mac_text(kBob)}, frames), "34");
  EXPECT_EQ(admitted({"initiator=" + mac_text(kBob), "vlan=none"}, frames), "3");
  EXPECT_EQ(admitted({"vlan=5"}, frames), "4");
  EXPECT_EQ(admitted({"frames=2-3", "frames=6"}, frames), "236");
  EXPECT_EQ(admitted({"frames=5-"}, frames), "56");
  EXPECT_EQ(admitted({"time=2026-11-22T10:53:43/2026-11-22 10:53:44.5Z"}, frames), "23");
  EXPECT_EQ(admitted({"time=+4/"}, frames), "56");
  EXPECT_EQ(admitted({"time=/+0.5"}, frames), "1");
}

TEST(Selection, SaysWhatATermMayBe) {
  for (const char* bad :
       {"", "target", "target=", "target=1", "initiator=52:54", "vlan=4096", "frames=0x1",
        "frames=3-2", "time=now", "time=/", "time=2026-13-01T0:0:0/", "time=+-1/", "disk=1"}) {
    std::string error;
    EXPECT_FALSE(Selection::parse({bad}, error)) << bad;
    EXPECT_NE(error.find("--only"), std::string::npos);
  }
}

}  // namespace
}  // namespace pcaps
