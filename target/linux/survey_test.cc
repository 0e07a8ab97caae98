// Every problem is found before anything is opened, and named with what to do.
#include "target/linux/survey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "target/linux/state_store.h"
#include "target/linux/test_files.h"
#include "target/linux/test_network.h"

namespace target::linux_shell {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SurveyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::enter_test_network()) {
      GTEST_SKIP() << *reason;
    }
    ExportOptions one;
    one.where = "here";
    one.file = directory_.image("image", 8192);
    one.interfaces = {"tgt0"};
    options_.exports = {one};
  }
  ExportOptions& one() { return options_.exports[0]; }

  testing::TestDirectory directory_;
  Options options_;
};

TEST_F(SurveyTest, FindsNothingWhereNothingIsWrong) {
  one().state_dir = directory_.path();
  const auto found = survey(options_);
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_THAT(found.warnings, IsEmpty());
}

TEST_F(SurveyTest, TellsWhatIsChosenAndWhatItTakes) {
  one().buffer_count = 256;
  testing::ip("link set tgt0 mtu 9000");
  EXPECT_THAT(survey(options_).facts,
              ::testing::Contains(HasSubstr("tgt0: MTU 9000, 17 sectors a request, 256 slots, ")));
  const auto said = [&](bool direct, Durability durability, std::uint64_t cache_bytes) {
    one().direct = direct;
    one().durability = durability;
    one().cache_bytes = cache_bytes;
    return survey(options_).facts.front();
  };
  constexpr std::uint64_t cache = std::uint64_t{48} << 20;
  EXPECT_THAT(said(false, Durability::write, cache),
              HasSubstr("the page cache, an answered write is durable"));
  EXPECT_THAT(said(true, Durability::write, cache),
              HasSubstr("48 MiB of memory for read-ahead, an answered"));
  EXPECT_THAT(
      said(true, Durability::flush, cache),
      HasSubstr("48 MiB of memory for read-ahead and write-behind, a write is durable at a flush"));
  EXPECT_THAT(said(true, Durability::flush, 0),
              HasSubstr("no cache, a write is durable at a flush"));
  one().read_only = true;
  EXPECT_THAT(said(true, Durability::flush, cache),
              HasSubstr("48 MiB of memory for read-ahead, read-only"));
}

TEST_F(SurveyTest, NamesTheInterfacesThatExist) {
  one().interfaces = {"eth7"};
  EXPECT_THAT(survey(options_).problems,
              ElementsAre(::testing::AllOf(HasSubstr("here: interface eth7 does not exist"),
                                           HasSubstr("tgt0"), HasSubstr("ini0"))));
}

TEST_F(SurveyTest, WantsEthernet) {
  one().interfaces = {"lo"};
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("lo is not Ethernet")));
}

TEST_F(SurveyTest, WantsAnMtuThatCarriesASector) {
  testing::ip("link set tgt0 mtu 575");
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("MTU of 575")));
  testing::ip("link set tgt0 mtu 576");
  EXPECT_THAT(survey(options_).problems, IsEmpty());
}

TEST_F(SurveyTest, AStringSavedAtALargerMtuHasToFit) {
  one().state_dir = directory_.path();
  engine::PersistentState state;
  state.config_string.assign(559, std::byte{'y'});
  const auto directory = open_state_directory(one().state_dir);
  ASSERT_EQ(StateStore(*directory, one().state_dir, one().shelf, one().slot).save(state),
            engine::DiskStatus::ok);
  EXPECT_THAT(survey(options_).problems, IsEmpty());
  testing::ip("link set tgt0 mtu 576");
  EXPECT_THAT(survey(options_).problems,
              ElementsAre(::testing::AllOf(HasSubstr("has 559 bytes"), HasSubstr("carries 558"))));
}

TEST_F(SurveyTest, WarnsOfADownInterfaceAndOfAnOddSize) {
  testing::ip("link set tgt0 down");
  one().file = directory_.image("odd", 8192 + 100);
  const auto found = survey(options_);
  EXPECT_THAT(found.problems, IsEmpty());
  EXPECT_THAT(found.warnings, ElementsAre(HasSubstr("last 100 bytes"), HasSubstr("tgt0 is down")));
}

TEST_F(SurveyTest, AnImageHasOneWriter) {
  options_.exports.push_back(one());
  options_.exports[1].where = "there";
  options_.exports[1].file = directory_ / "./image";
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("there: " + directory_.path())));
  options_.exports[1].read_only = true;
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("is exported already by here")));
  options_.exports[0].read_only = true;
  EXPECT_THAT(survey(options_).problems, IsEmpty());
}

TEST_F(SurveyTest, ReportsEverythingAtOnce) {
  one().file = directory_ / "none";
  one().interfaces = {"eth7"};
  one().state_dir = directory_ / "nowhere";
  options_.ready_fd = 999;
  EXPECT_THAT(survey(options_).problems,
              ElementsAre(HasSubstr("none"), HasSubstr("eth7"), HasSubstr("nowhere"),
                          HasSubstr("ready-fd 999 is not open")));
}

TEST_F(SurveyTest, ReadsTheStateFile) {
  one().state_dir = directory_.path();
  one().shelf = 1;
  one().slot = 1;
  (void)directory_.text("e1.1.state", "garbage");
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("is damaged")));
}

TEST_F(SurveyTest, BoundsTheReceiveBuffersByMemory) {
  testing::ip("link set tgt0 mtu 65535");
  one().buffer_count = 65535;  // 4 GiB each
  one().read_only = true;      // may share the image
  while (options_.exports.size() < 1024) {
    options_.exports.push_back(one());
  }
  EXPECT_THAT(survey(options_).problems, ElementsAre(HasSubstr("choose a smaller buffer-count")));
}

}  // namespace
}  // namespace target::linux_shell
