#include "conformance/runner/undo_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "conformance/deviants/model_link.h"
#include "conformance/runner/put_back.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"

namespace conformance {
namespace {

namespace fs = std::filesystem;
using deviants::ModelLink;
using ::testing::HasSubstr;

UndoRecord record() {
  UndoRecord r;
  r.mac = {2, 0, 0, 0, 0, 1};
  r.shelf = 7;
  r.slot = 3;
  r.sectors = 4096;
  r.serial = std::string("S\0\xff", 3);  // whatever a target says
  r.model = "model";
  r.link = "ini0";
  r.began_ns = 17;
  r.config = Bytes{1, 2, 0};
  r.mask = std::vector<Mac>{};
  r.reserved = std::vector<Mac>{{2, 0, 0, 0, 0, 9}};
  r.scratch_lba = 4000;
  r.scratch = Bytes(2 * observer::kSectorBytes, 0x5a);
  r.listed = {{2, 0, 0, 0, 0, 7}};
  return r;
}

TEST(UndoRecord, IsTheSameAfterItsText) {
  for (const bool everything : {true, false}) {
    UndoRecord r = record();
    if (!everything) {
      r.config.reset();
      r.mask.reset();
      r.reserved.reset();
      r.scratch.clear();
      r.listed.clear();
    }
    const std::string text = to_text(r);
    const UndoRecord again = undo_record_from(text, "f");
    EXPECT_EQ(to_text(again), text);
    EXPECT_EQ(again.serial, r.serial);
    EXPECT_EQ(again.config, r.config);
    EXPECT_EQ(again.mask, r.mask);
    EXPECT_EQ(again.reserved, r.reserved);
    EXPECT_EQ(again.scratch, r.scratch);
    EXPECT_EQ(again.listed, r.listed);
  }
}

// Wherever it was cut or changed: said, or what was cut off is a last line that says nothing yet.
TEST(UndoRecord, OneThatIsNotWholeIsSaid) {
  const std::string text = to_text(record());
  const size_t first = text.find('\n');
  for (size_t size = 0; size < text.size(); size += 7) {
    if (size > first) {
      EXPECT_NO_THROW(undo_record_from(text.substr(0, size), "f"));
    } else {
      EXPECT_THROW(undo_record_from(text.substr(0, size), "f"), UsageError) << size;
    }
  }
  std::string changed = text;
  changed[text.find("5a5a")] = '6';
  EXPECT_THROW(undo_record_from(changed, "f"), UsageError);
  EXPECT_THROW(undo_record_from("{}\n", "f"), UsageError);
  EXPECT_THROW(undo_record_from("[1]\n", "f"), UsageError);
  try {
    undo_record_from("{\"format\": \"another\"}\n", "f");
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(), HasSubstr("another format"));
  }
}

// A folder of the test's own.
class UndoFileTest : public testing::Test {
 protected:
  UndoFileTest() {
    std::string name = fs::temp_directory_path() / "undo-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~UndoFileTest() override { fs::remove_all(folder_); }
  std::string folder() const { return folder_ / "state"; }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder()), fs::directory_iterator()));
  }
  static RunConfig config(UndoFile& undo, const std::vector<std::string>& patterns) {
    RunConfig c;
    Selection selection;
    selection.cases = patterns;
    c.cases = select(Registry::all(), selection);
    c.allowed = {"write", "config", "lockout", "stress", "unknown"};
    c.undo = &undo;
    return c;
  }
  fs::path folder_;
};

TEST_F(UndoFileTest, IsForItsOwnerAloneAndGoesWhenItIsDiscarded) {
  UndoFile file("", folder());
  file.keep(record());
  struct stat facts {};
  ASSERT_EQ(::stat(file.kept().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  TargetFacts target;
  target.mac = record().mac;
  target.shelf = 7;
  target.slot = 3;
  target.serial = record().serial;
  target.sectors = 4096;
  file.list({2, 0, 0, 0, 0, 8});
  const UndoFile later("", folder());
  ASSERT_TRUE(later.pending(target));
  EXPECT_EQ(later.pending(target)->listed.size(), 2U);
  TargetFacts moved = target;
  moved.mac[5] = 99;  // the same disk at another address
  EXPECT_TRUE(later.pending(moved));
  moved.serial = "another";
  EXPECT_FALSE(later.pending(moved));
  file.discard();
  EXPECT_FALSE(later.pending(target));
  EXPECT_EQ(files(), 0U);
}

TEST_F(UndoFileTest, ADestinationThatCannotBeIsSaid) {
  EXPECT_THROW(UndoFile(folder_.string(), ""), UsageError);
  EXPECT_THROW(UndoFile("/dev/null", ""), UsageError);
  EXPECT_THROW(UndoFile("", "/dev/null/state"), UsageError);
  EXPECT_THROW(UndoFile(folder_ / "missing" / "file", ""), UsageError);
}

TEST_F(UndoFileTest, AWholeRunLeavesNone) {
  UndoFile file("", folder());
  ModelLink link;
  const report::Report report =
      run_suite(link, config(file, {"config.set.*", "ata.write.*", "mask.edit.*"}));
  EXPECT_EQ(report.undo_file, "");
  EXPECT_EQ(files(), 0U);
}

struct Killed {};

// After so many frames whoever sends is gone, as with kill -9: nothing more is done by it.
class CutLink : public ModelLink {
 public:
  uint64_t left = 0;  // 0: never
  void send(BytesView frame) override {
    if (left > 0 && --left == 0) {
      throw Killed();
    }
    ModelLink::send(frame);
  }
};

struct Standing {
  Bytes config;
  std::vector<Mac> mask, reserved;
  std::map<uint64_t, Bytes> disk;
  bool operator==(const Standing&) const = default;
};

Standing standing(const deviants::ModelTarget& model) {
  Standing s{model.config_string, model.mask, model.reserved, {}};
  for (const auto& [lba, data] : model.disk) {
    if (std::any_of(data.begin(), data.end(), [](uint8_t byte) { return byte != 0; })) {
      s.disk[lba] = data;
    }
  }
  return s;
}

class Cuts : public UndoFileTest, public testing::WithParamInterface<const char*> {};

// Cut after every so many frames until thirty runs had left something changed: the next run
// refuses, and with --restore-first it finds what stood there.
TEST_P(Cuts, WhatAKilledRunLeftIsPutBack) {
  unsigned changed = 0;
  constexpr unsigned wanted = 30;
  constexpr uint64_t frames_max = 6000;
  for (uint64_t frames = 61; frames < frames_max && changed < wanted; frames += 11) {
    CutLink link;
    link.model().config_string = {1, 2, 3};
    for (uint64_t lba = 65000; lba < 65064; ++lba) {
      link.model().disk[lba] = Bytes(observer::kSectorBytes, static_cast<uint8_t>(lba));
    }
    const Standing before = standing(link.model());
    std::string kept;
    {
      UndoFile file("", folder());
      RunConfig c = config(file, {GetParam()});
      c.scratch = Scratch{65000, 64};
      link.left = frames;
      try {
        run_suite(link, c);
        break;  // so many it does not send
      } catch (const Killed&) {
        kept = file.kept();
      }
    }
    link.left = 0;
    if (kept.empty()) {
      EXPECT_EQ(standing(link.model()), before) << "changed before it was kept, frame " << frames;
      continue;
    }
    const bool differs = standing(link.model()) != before;
    changed += differs ? 1 : 0;
    link.model().restart();  // sessions are nobody's concern
    UndoFile file("", folder());
    RunConfig c = config(file, {"header.version.is-one"});
    std::string refusal;
    try {
      refusal = run_suite(link, c).trouble;
    } catch (const UsageError& e) {
      refusal = e.what();
    }
    if (!differs) {  // nothing is left to be put back, and nobody is bothered with it
      EXPECT_EQ(refusal, "");
      EXPECT_EQ(files(), 0U);
      continue;
    }
    EXPECT_THAT(refusal, HasSubstr("aoe-conformance restore"));
    std::vector<std::string> unreadable;
    const std::vector<UndoRecord> left = file.all(unreadable);
    ASSERT_EQ(left.size(), 1U);
    TargetFacts facts;
    Context context(link, facts, {}, {});
    const PutBack done = put_back(context, left.front(), false);
    EXPECT_EQ(done.trouble, "") << GetParam() << ", frame " << frames;
    EXPECT_EQ(standing(link.model()), before) << GetParam() << ", frame " << frames;
    file.discard_earlier(left.front());
    EXPECT_EQ(files(), 0U);
  }
  EXPECT_EQ(changed, wanted) << "too few cuts fell where something was changed";
}

INSTANTIATE_TEST_SUITE_P(Undo, Cuts,
                         testing::Values("ata.write*", "tags.*", "config.*", "mask.*", "reserve.*"),
                         [](const auto& one) {
                           const std::string name = one.param;
                           return name.substr(0, name.find('.'));
                         });

TEST_F(UndoFileTest, AnotherDiskGetsNothing) {
  ModelLink link;
  UndoRecord r = record();
  r.mac = link.model().config.mac;
  TargetFacts facts;
  Context context(link, facts, {}, {});
  const Standing before = standing(link.model());
  const PutBack done = put_back(context, r, false);
  EXPECT_TRUE(done.other);
  EXPECT_THAT(done.trouble, HasSubstr("nothing was put back"));
  EXPECT_EQ(standing(link.model()), before);
}

TEST_F(UndoFileTest, ATargetThatIsGoneKeepsItsFile) {
  ModelLink link({},
                 deviants::ignores("silent", "", [](const Bytes&, const auto&) { return true; }));
  TargetFacts facts;
  Context context(link, facts, {}, {});
  const PutBack done = put_back(context, record(), false);
  EXPECT_FALSE(done.reached);
  EXPECT_THAT(done.trouble, HasSubstr("does not answer"));
}

}  // namespace
}  // namespace conformance
