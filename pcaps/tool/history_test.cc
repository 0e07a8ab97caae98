#include "pcaps/tool/history.h"

#include <gtest/gtest.h>

#include "conformance/observer/test_frames.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in

struct Told {
  Scene scene;
  std::vector<HistoryEvent> events;
  History history;
  explicit Told(const HistoryOptions& options)
      : history(scene.tracker(), options,
                [this](const HistoryEvent& event) { events.push_back(event); }) {
    scene.tracker().add_observer(&history);
  }
  [[nodiscard]] std::string last() const { return events.back().text; }
};

TEST(History, NamesAStaleWriteAndTheCopyThatDidIt) {
  Told told({.lba = 5, .tag = {}});
  told.scene.add(write_request(kAlice, 1, 5, 'a'))
      .add(write_reply(kAlice, 1, 5))
      .add(write_request(kBob, 2, 4, 'b', 2))
      .add(write_reply(kBob, 2, 4))
      .add(read_request(kAlice, 3, 5))
      .add(read_reply(kAlice, 3, 5, 'b'));
  EXPECT_FALSE(told.events.back().stale);
  EXPECT_NE(told.last().find("of the write of frame 3"), std::string::npos) << told.last();
  told.scene.add(write_request(kAlice, 1, 5, 'a'));
  EXPECT_NE(told.last().find("a late copy of frame 1"), std::string::npos) << told.last();
  EXPECT_NE(told.last().find("a stale write, if it is performed"), std::string::npos);
  told.scene.add(write_reply(kAlice, 1, 5)).add(read_request(kBob, 4, 5));
  told.scene.add(read_reply(kBob, 4, 5, 'a'));
  EXPECT_TRUE(told.events.back().stale);
  for (const char* words : {"of the write of frame 1", "STALE", "frame 3 wrote", "answered in 4",
                            "the late copy in frame 7 was performed"}) {
    EXPECT_NE(told.last().find(words), std::string::npos) << words << " in " << told.last();
  }
}

TEST(History, ACopyThatWasRefusedIsNotCalledStale) {
  Told told({.lba = 5, .tag = {}});
  told.scene.add(write_request(kAlice, 1, 5, 'a'))
      .add(write_reply(kAlice, 1, 5))
      .add(write_request(kAlice, 2, 5, 'b'))
      .add(write_reply(kAlice, 2, 5))
      .add(write_request(kAlice, 1, 5, 'a'))
      .add(write_reply(kAlice, 1, 5))
      .add(read_request(kAlice, 3, 5))
      .add(read_reply(kAlice, 3, 5, 'b'));
  EXPECT_FALSE(told.events.back().stale);
}

TEST(History, TellsDataThatNobodyWrote) {
  Told told({.lba = 5, .tag = {}});
  told.scene.add(read_request(kAlice, 1, 5)).add(read_reply(kAlice, 1, 5, 'x'));
  EXPECT_NE(told.last().find("no write in this capture left"), std::string::npos) << told.last();
  EXPECT_FALSE(told.events.back().stale) << "before any write that is what stood there";
  told.scene.add(write_request(kAlice, 2, 5, 'a')).add(write_reply(kAlice, 2, 5));
  told.scene.add(read_request(kAlice, 3, 5)).add(read_reply(kAlice, 3, 5, 'x'));
  EXPECT_TRUE(told.events.back().stale);
}

TEST(History, LeavesOutWhatDoesNotTouchTheSector) {
  Told told({.lba = 5, .tag = {}});
  told.scene.add(write_request(kAlice, 1, 6, 'a')).add(write_reply(kAlice, 1, 6));
  told.scene.add(read_request(kAlice, 2, 3, 2)).add(read_reply(kAlice, 2, 3, 'a', 2));
  EXPECT_TRUE(told.events.empty());
}

TEST(History, FollowsATag) {
  Told told({.lba = {}, .tag = 7});
  told.scene.add(write_request(kAlice, 7, 6, 'a'))
      .add(write_request(kAlice, 8, 7, 'a'))
      .add(write_request(kAlice, 7, 6, 'a'))
      .add(write_reply(kAlice, 7, 6))
      .add(write_reply(kAlice, 7, 6))
      .add(reply(kBob, kCommandAta, 7));
  ASSERT_EQ(told.events.size(), 5U);
  EXPECT_NE(told.events[1].text.find("the same again as in frame 1"), std::string::npos);
}

}  // namespace
}  // namespace pcaps
