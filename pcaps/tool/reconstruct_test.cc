#include "pcaps/tool/reconstruct.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "conformance/observer/test_frames.h"

namespace pcaps {
namespace {

using namespace testing_frames;  // NOLINT: frames by hand are what these tests are written in

class Reconstruct : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  // The first byte of each of the image's sectors; "?" where nothing is known.
  std::string image(const std::vector<Bytes>& frames, ReconstructOptions options = {}) {
    path_ = (std::filesystem::temp_directory_path() /
             (std::string("reconstruct-test-") +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".img"))
                .string();
    std::string error;
    const auto file = ImageFile::create(path_, {}, error);
    EXPECT_NE(file, nullptr) << error;
    Scene scene;
    Reconstructor reconstructor(scene.tracker(), *file, options);
    scene.tracker().add_observer(&reconstructor);
    for (const Bytes& frame : frames) {
      scene.add(frame);
    }
    scene.finish();
    error_ = reconstructor.error();
    map_ = reconstructor.map_text();
    EXPECT_TRUE(file->finish(reconstructor.image_sectors())) << file->error();
    std::ifstream in(path_, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    std::string out;
    for (std::size_t at = 0; at < bytes.size(); at += kSectorBytes) {
      const Known known = reconstructor.known_at(at / kSectorBytes);
      out += known == Known::unknown || known == Known::lost ? '?' : bytes[at];
    }
    return out;
  }

  static ReconstructOptions before() {
    ReconstructOptions options;
    options.before = true;
    return options;
  }

  std::string path_, map_, error_;
};

std::vector<Bytes> written_then_read() {
  return {read_request(kAlice, 1, 0),       read_reply(kAlice, 1, 0, 'a'),
          write_request(kAlice, 2, 0, 'b'), write_reply(kAlice, 2, 0),
          write_request(kAlice, 3, 1, 'c'), write_reply(kAlice, 3, 1),
          read_request(kAlice, 4, 1),       read_reply(kAlice, 4, 1, 'c'),
          read_request(kAlice, 5, 2),       read_reply(kAlice, 5, 2, 'd')};
}

TEST_F(Reconstruct, BeforeIsWhatReadsSawUntilAWriteCame) {
  EXPECT_EQ(image(written_then_read(), before()), "a?d");
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t1\tread\n1\t1\toverwritten-unread\n2\t1\tread\n");
}

TEST_F(Reconstruct, AfterIsWhatWritesLeft) {
  EXPECT_EQ(image(written_then_read()), "bcd");
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t2\twritten\n2\t1\tread\n");
}

TEST_F(Reconstruct, AsOfAFrameTakesNothingLater) {
  ReconstructOptions options;
  options.last_frame = 3;  // the write is sent, not answered
  EXPECT_EQ(image(written_then_read(), options), "b");
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t1\tunsure\n");
  options.last_frame = 2;
  EXPECT_EQ(image(written_then_read(), options), "a");
}

TEST_F(Reconstruct, ARefusedWriteLeavesNothing) {
  Bytes refused = write_reply(kAlice, 2, 0);
  refused[27] = kStatusDrdy | kStatusErr;
  EXPECT_EQ(image({read_request(kAlice, 1, 0), read_reply(kAlice, 1, 0, 'a'),
                   write_request(kAlice, 2, 0, 'b'), refused}),
            "a");
}

TEST_F(Reconstruct, OverlappingWritesKeepTheOrderInWhichTheyWereSent) {
  EXPECT_EQ(image({write_request(kAlice, 1, 0, 'a'), write_request(kAlice, 2, 0, 'b'),
                   write_reply(kAlice, 2, 0), write_reply(kAlice, 1, 0)}),
            "b");
}

TEST_F(Reconstruct, AReadThatMayBeOlderThanAWriteDoesNotUndoIt) {
  EXPECT_EQ(image({read_request(kBob, 1, 0), write_request(kAlice, 2, 0, 'b'),
                   write_reply(kAlice, 2, 0), read_reply(kBob, 1, 0, 'a')}),
            "b");
}

TEST_F(Reconstruct, ALateCopyInPlainAoeLeavesDoubt) {
  image({write_request(kAlice, 1, 0, 'a'), write_reply(kAlice, 1, 0),
         write_request(kAlice, 2, 0, 'b'), write_reply(kAlice, 2, 0),
         write_request(kAlice, 1, 0, 'a'), write_reply(kAlice, 1, 0)});
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t1\tunsure\n");
}

TEST_F(Reconstruct, AsksWhichOfTwoTargetsIsMeant) {
  Bytes other_request = read_request(kAlice, 2, 0);
  other_request[18] = 2;
  Bytes other_reply = read_reply(kAlice, 2, 0, 'z');
  other_reply[18] = 2;
  const std::vector<Bytes> frames{read_request(kAlice, 1, 0), read_reply(kAlice, 1, 0, 'a'),
                                  other_request, other_reply};
  image(frames);
  EXPECT_EQ(error_, "the capture has data of e1.1 and of e1.2: choose one with --target");
  ReconstructOptions options;
  options.target = TargetAddress{1, 2, {}};
  EXPECT_EQ(image(frames, options), "z");
  EXPECT_EQ(error_, "");
}

TEST(ParseAddress, TakesShelfAndSlotOnly) {
  EXPECT_EQ(parse_address("e7.3")->slot, 3);
  EXPECT_EQ(parse_address("65534.254")->shelf, 65534);
  for (const char* bad : {"", "e", "7", "7.", ".3", "e7.3x", "70000.1", "1.300", "65535.1"}) {
    EXPECT_FALSE(parse_address(bad)) << bad;
  }
}

TEST_F(Reconstruct, ALaterReadKnowsMoreThanAnUnansweredWrite) {
  const std::string got = image({read_request(kAlice, 1, 0), read_reply(kAlice, 1, 0, 'a'),
                                 write_request(kAlice, 2, 0, 'b'),  // no answer
                                 read_request(kAlice, 3, 0), read_reply(kAlice, 3, 0, 'a')});
  EXPECT_EQ(got, "a");
  EXPECT_NE(map_.find("0\t1\tread"), std::string::npos) << map_;
}

TEST_F(Reconstruct, AReadThatWasAskedBeforeAnUnansweredWriteDoesNotSettleIt) {
  EXPECT_EQ(image({read_request(kAlice, 1, 0), write_request(kAlice, 2, 0, 'b'),
                   read_reply(kAlice, 1, 0, 'a')}),
            "b");
  EXPECT_NE(map_.find("unsure"), std::string::npos) << map_;
}

Bytes to_everybody(Bytes frame) {
  put_be(frame, 16, kBroadcastShelf, 2);
  frame[18] = kBroadcastSlot;
  return frame;
}

TEST_F(Reconstruct, ABroadcastWriteCounts) {
  EXPECT_EQ(image({write_request(kAlice, 1, 0, 'a'), write_reply(kAlice, 1, 0),
                   to_everybody(write_request(kAlice, 2, 0, 'b')), write_reply(kAlice, 2, 0)}),
            "b");
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t1\twritten\n");
}

TEST_F(Reconstruct, ABroadcastWriteThatTheTargetDidNotAnswerIsUnsure) {
  EXPECT_EQ(image({write_request(kAlice, 1, 0, 'a'), write_reply(kAlice, 1, 0),
                   to_everybody(write_request(kAlice, 2, 0, 'b'))}),
            "b");
  EXPECT_NE(map_.find("unsure"), std::string::npos) << map_;
}

TEST_F(Reconstruct, AWriteThatFailedOnTheDiskLeavesItsSectorsUnsure) {
  Bytes failed = write_reply(kAlice, 2, 0);
  failed[25] = 0x40;  // UNC
  failed[27] = 0x41;
  EXPECT_EQ(image({read_request(kAlice, 1, 0, 2), read_reply(kAlice, 1, 0, 'a', 2),
                   write_request(kAlice, 2, 0, 'b'), failed}),
            "aa")
      << "what was there is the best guess";
  EXPECT_NE(map_.find("0\t1\tunsure\n1\t1\tread"), std::string::npos) << map_;
}

TEST_F(Reconstruct, AWriteThatWasRefusedLeavesNoDoubt) {
  Bytes refused = write_reply(kAlice, 2, 0);
  refused[25] = 0x04;  // ABRT
  refused[27] = 0x41;
  image({read_request(kAlice, 1, 0), read_reply(kAlice, 1, 0, 'a'),
         write_request(kAlice, 2, 0, 'b'), refused, write_request(kAlice, 3, 0, 'c'),
         error(write_reply(kAlice, 3, 0), kErrorReserved)});
  EXPECT_EQ(map_, "# LBA\tsectors\tknown from\n0\t1\tread\n");
}

Bytes in_vlan(Bytes frame, std::uint8_t vlan) {
  frame.insert(frame.begin() + 12, {0x81, 0x00, 0x00, vlan});
  return frame;
}

TEST_F(Reconstruct, OneAddressInTwoVlansIsTwoTargets) {
  const std::vector<Bytes> frames{write_request(kAlice, 1, 0, 'a'), write_reply(kAlice, 1, 0),
                                  in_vlan(write_request(kAlice, 1, 0, 'b'), 5),
                                  in_vlan(write_reply(kAlice, 1, 0), 5)};
  image(frames);
  EXPECT_NE(error_.find("e1.1 and of e1.1@5"), std::string::npos) << error_;
  ReconstructOptions options;
  options.target = parse_address("e1.1@5");
  EXPECT_EQ(image(frames, options), "b");
  options.target = parse_address("e1.1@none");
  EXPECT_EQ(image(frames, options), "a");
}

TEST(ParseAddress, TakesAVlanAndNothingElseBehindTheSlot) {
  EXPECT_EQ(parse_address("e1.1@5")->vlan, 5U);
  EXPECT_EQ(parse_address("1.1@none")->vlan, kNoVlan);
  EXPECT_FALSE(parse_address("e1.1")->vlan);
  for (const char* bad : {"e1.1@", "e1.1@4096", "e1.1@5x", "e1.1x", "e1.1@-1", "e1.1 "}) {
    EXPECT_FALSE(parse_address(bad)) << bad;
  }
}

TEST_F(Reconstruct, AnImageInPlaceKeepsItsSize) {
  const std::string path = testing::TempDir() + "in-place-" + std::to_string(::getpid()) + ".img";
  std::ofstream(path, std::ios::binary) << std::string(2 * kSectorBytes, 'x');
  std::string why;
  const auto file = ImageFile::open_in_place(path, why);
  ASSERT_NE(file, nullptr) << why;
  Scene scene;
  Reconstructor reconstructor(scene.tracker(), *file, before());
  scene.tracker().add_observer(&reconstructor);
  scene.add(read_request(kAlice, 1, 1, 2)).add(read_reply(kAlice, 1, 1, 'a', 2));
  scene.add(read_request(kAlice, 2, 1'000'000)).add(read_reply(kAlice, 2, 1'000'000, 'a'));
  scene.finish();
  EXPECT_TRUE(file->finish(0));
  EXPECT_EQ(file->beyond(), 2U);
  EXPECT_EQ(std::filesystem::file_size(path), 2 * kSectorBytes);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace pcaps
