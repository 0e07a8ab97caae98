#include "conformance/output/output_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace output {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// A folder of the test's own, gone at its end.
class OutputFileTest : public ::testing::Test {
 protected:
  OutputFileTest() {
    std::string name = fs::temp_directory_path() / "output-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~OutputFileTest() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string at(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] static std::string content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      out.push_back(entry.path().filename());
    }
    return out;
  }
  fs::path folder_;
};

TEST_F(OutputFileTest, ANewFileHasItsContentAndNothingElseIsLeft) {
  write_file(at("new"), "text");
  EXPECT_EQ(content(at("new")), "text");
  EXPECT_THAT(names(), ::testing::ElementsAre("new"));
}

TEST_F(OutputFileTest, UntilItIsWholeTheOldFileStands) {
  put(at("old"), "before");
  {
    OutputFile file(at("old"));
    file.write("half");
    std::fflush(file.stream());
    EXPECT_EQ(content(at("old")), "before");
  }
  EXPECT_EQ(content(at("old")), "before") << "given up without commit()";
  EXPECT_THAT(names(), ::testing::ElementsAre("old"));
}

TEST_F(OutputFileTest, AReplacedFileKeepsItsMode) {
  put(at("old"), "before");
  ASSERT_EQ(::chmod(at("old").c_str(), 0640), 0);
  write_file(at("old"), "after");
  struct stat facts {};
  ASSERT_EQ(::stat(at("old").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0640U);
  EXPECT_EQ(content(at("old")), "after");
}

TEST_F(OutputFileTest, ASymlinkStaysAndItsTargetIsWritten) {
  fs::create_directory(at("elsewhere"));
  put(at("elsewhere/real"), "before");
  fs::create_symlink("elsewhere/real", at("second"));
  fs::create_symlink(at("second"), at("link"));
  write_file(at("link"), "after");
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_TRUE(fs::is_symlink(at("second")));
  EXPECT_EQ(content(at("elsewhere/real")), "after");
}

TEST_F(OutputFileTest, ASymlinkToNothingMakesItsTarget) {
  fs::create_symlink("not-there-yet", at("link"));
  write_file(at("link"), "text");
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(content(at("not-there-yet")), "text");
}

TEST_F(OutputFileTest, ACircleOfSymlinksIsSaid) {
  fs::create_symlink("b", at("a"));
  fs::create_symlink("a", at("b"));
  EXPECT_THAT([&] { write_file(at("a"), ""); }, ThrowsMessage<OutputError>(HasSubstr("circle")));
}

TEST_F(OutputFileTest, AFifoIsWrittenInPlace) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = content(at("fifo")); });
  write_file(at("fifo"), "through it");
  reader.join();
  EXPECT_EQ(got, "through it");
  EXPECT_TRUE(fs::is_fifo(at("fifo")));
}

// A node of our own with the numbers of /dev/full, so that a broken helper breaks no machine.
// Without the right to make one (an ordinary user) the system's own is asked: an ordinary user
// cannot replace it.
TEST_F(OutputFileTest, AFullDeviceIsAnErrorAndStaysADevice) {
  std::string device = at("full");
  if (::mknod(device.c_str(), S_IFCHR | 0666, makedev(1, 7)) != 0) {
    device = "/dev/full";
  } else if (const int fd = ::open(device.c_str(), O_WRONLY); fd >= 0) {
    ::close(fd);
  } else {
    device = "/dev/full";  // the file system takes no devices (nodev)
  }
  struct stat before {};
  ASSERT_EQ(::stat(device.c_str(), &before), 0);
  EXPECT_THAT([&] { write_file(device, "text"); },
              ThrowsMessage<OutputError>(HasSubstr("No space left on device")));
  EXPECT_THAT([&] { write_file(device, std::string(1 << 20, 'x')); },
              ThrowsMessage<OutputError>(HasSubstr("No space left on device")));
  struct stat after {};
  ASSERT_EQ(::lstat(device.c_str(), &after), 0);
  EXPECT_TRUE(S_ISCHR(after.st_mode));
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(after.st_uid, before.st_uid);
  EXPECT_EQ(after.st_mode, before.st_mode);
}

TEST_F(OutputFileTest, StandardOutputByEachOfItsNames) {
  const int kept = ::dup(STDOUT_FILENO);
  for (const char* name : {"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}) {
    std::fflush(stdout);
    const int file = ::open(at("out").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    ASSERT_GE(file, 0);
    ::dup2(file, STDOUT_FILENO);
    ::close(file);
    std::printf("before ");
    write_file(name, "this ");
    std::printf("after");
    std::fflush(stdout);
    ::dup2(kept, STDOUT_FILENO);
    EXPECT_EQ(content(at("out")), "before this after") << name;
  }
  ::close(kept);
}

TEST_F(OutputFileTest, AnInputIsRefusedByWhateverName) {
  put(at("evidence"), "kept");
  fs::create_symlink("evidence", at("symlink"));
  fs::create_hard_link(at("evidence"), at("hard"));
  for (const char* name : {"evidence", "symlink", "hard"}) {
    EXPECT_THAT(
        [&] {
          OutputFile file(at(name), {"", at("evidence")});
        },
        ThrowsMessage<OutputError>(HasSubstr("which is read")))
        << name;
    EXPECT_THAT([&] { try_destinations({at(name)}, {at("evidence")}); },
                ThrowsMessage<OutputError>(HasSubstr("which is read")))
        << name;
  }
  EXPECT_EQ(content(at("evidence")), "kept");
}

TEST_F(OutputFileTest, StandardInputIsAnInput) {
  put(at("evidence"), "kept");
  const int kept = ::dup(STDIN_FILENO);
  const int file = ::open(at("evidence").c_str(), O_RDONLY);
  ::dup2(file, STDIN_FILENO);
  ::close(file);
  EXPECT_THAT([&] { OutputFile out(at("evidence"), {"-"}); },
              ThrowsMessage<OutputError>(HasSubstr("standard input, which is read")));
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
}

TEST_F(OutputFileTest, FoldersAndMissingFoldersAreSaid) {
  EXPECT_THAT([&] { OutputFile file(folder_); }, ThrowsMessage<OutputError>(HasSubstr("a folder")));
  EXPECT_THAT([&] { OutputFile file(at("no/such/name")); },
              ThrowsMessage<OutputError>(HasSubstr("No such file or directory")));
}

TEST_F(OutputFileTest, TryingLeavesNoTrace) {
  put(at("old"), "before");
  fs::create_symlink("not-there", at("link"));
  try_destinations({"", "-", at("old"), at("new"), at("link"), "/dev/null"});
  EXPECT_EQ(content(at("old")), "before");
  EXPECT_THAT(names(), ::testing::UnorderedElementsAre("old", "link"));
}

TEST_F(OutputFileTest, TwoOutputsThatAreOneFileAreRefused) {
  put(at("old"), "before");
  fs::create_hard_link(at("old"), at("hard"));
  fs::create_symlink("new", at("link"));
  EXPECT_THAT(
      [&] {
        try_destinations({at("old"), at("hard")});
      },
      ThrowsMessage<OutputError>(HasSubstr("they are one file")));
  EXPECT_THAT(
      [&] {
        try_destinations({at("new"), at("link")});
      },
      ThrowsMessage<OutputError>(HasSubstr("they are one file")));
  try_destinations({"/dev/null", "/dev/null", "-", "-"});  // no file: nothing is lost
  EXPECT_THAT(names(), ::testing::UnorderedElementsAre("old", "hard", "link"));
}

TEST_F(OutputFileTest, AFullDiskLeavesWhatWasThere) {
  put(at("old"), "before");
  OutputFile file(at("old"));
  // The limit of a file's size stands for a disk that is full: it fails a write in its middle just
  // so.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{4096, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  file.write(std::string(100'000, 'x'));
  EXPECT_THAT([&] { file.commit(); },
              ThrowsMessage<OutputError>(HasSubstr("what was there before is untouched")));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(content(at("old")), "before");
  EXPECT_THAT(names(), ::testing::ElementsAre("old"));
}

}  // namespace
}  // namespace output
