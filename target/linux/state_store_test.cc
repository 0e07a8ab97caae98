// A crash at any system call leaves the old state or the new one, never a mixture; a damaged file
// is refused.
#include "target/linux/state_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

using engine::DiskStatus;
using engine::PersistentState;

PersistentState make_state(std::size_t config_bytes, std::size_t mask, std::size_t reserve,
                           std::uint8_t seed) {
  PersistentState state;
  for (std::size_t i = 0; i < config_bytes; ++i) {
    state.config_string.push_back(static_cast<std::byte>(i + seed));
  }
  for (std::size_t i = 0; i < mask; ++i) {
    state.mask_list.push_back({{2, seed, 0, 0, 1, static_cast<std::uint8_t>(i)}});
  }
  for (std::size_t i = 0; i < reserve; ++i) {
    state.reserve_list.push_back({{2, seed, 0, 0, 2, static_cast<std::uint8_t>(i)}});
  }
  return state;
}

TEST(StateFormat, ReadsBackWhatItWrote) {
  for (const auto& state : {PersistentState{}, make_state(5, 1, 0, 1), make_state(0, 0, 2, 2),
                            make_state(1024, 255, 255, 3)}) {
    const auto decoded = decode_state(7, 9, encode_state(7, 9, state));
    ASSERT_TRUE(std::holds_alternative<PersistentState>(decoded));
    EXPECT_EQ(std::get<PersistentState>(decoded), state);
  }
}

TEST(StateFormat, IsTheDocumentedOne) {
  PersistentState state;
  state.config_string = {std::byte{'h'}, std::byte{'i'}};
  state.mask_list = {{{1, 2, 3, 4, 5, 6}}};
  const auto bytes = encode_state(0x0102, 3, state);
  const std::vector<unsigned> expected = {'A', 'O', 'E', 'S', 'T', 'A', 'T', 'E', 0, 1, 1, 2, 3, 0,
                                          0, 2, 0, 1, 0, 0, 'h', 'i', 1, 2, 3, 4, 5, 6,
                                          // CRC-32 as computed by Python's zlib.crc32
                                          0x20, 0x9A, 0x6F, 0xDA};
  ASSERT_EQ(bytes.size(), expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(std::to_integer<unsigned>(bytes[i]), expected[i]) << "offset " << i;
  }
}

TEST(StateFormat, RefusesEveryDamagedByteAndEveryLength) {
  const auto good = encode_state(1, 1, make_state(20, 3, 2, 1));
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_TRUE(std::holds_alternative<std::string>(decode_state(1, 1, bad))) << "offset " << i;
    EXPECT_TRUE(std::holds_alternative<std::string>(decode_state(1, 1, std::span(good).first(i))));
  }
  EXPECT_TRUE(std::holds_alternative<std::string>(decode_state(1, 2, good)));
  EXPECT_TRUE(std::holds_alternative<std::string>(decode_state(2, 1, good)));
}

// A file system of which a crash keeps only what was made durable, and possibly some of the rest.
// The power fails after a given number of calls: what comes later does not happen.
class ForgetfulDirectory : public StateDirectory {
 public:
  using Bytes = std::vector<std::byte>;
  struct File {
    Bytes now;
    Bytes durable;
  };

  explicit ForgetfulDirectory(int calls_left) : calls_left_(calls_left) {}

  std::variant<Bytes, int> read_file(const std::string& name) override {
    const auto found = names_.find(name);
    if (found == names_.end()) {
      return -ENOENT;
    }
    return files_[found->second].now;
  }
  int create(const std::string& name) override {
    if (!powered()) {
      return -EIO;
    }
    names_[name] = files_.size();
    files_.emplace_back();
    return static_cast<int>(files_.size()) - 1;
  }
  long write(int fd, std::span<const std::byte> bytes) override {
    if (!powered()) {
      return -EIO;
    }
    // Never more than 7 bytes at once: a partial write is a legal answer.
    const auto count = std::min<std::size_t>(bytes.size(), 7);
    auto& now = files_[static_cast<std::size_t>(fd)].now;
    now.insert(now.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    return static_cast<long>(count);
  }
  int sync_file(int fd) override {
    if (!powered()) {
      return -EIO;
    }
    auto& file = files_[static_cast<std::size_t>(fd)];
    file.durable = file.now;
    return 0;
  }
  int close_file(int) override { return powered() ? 0 : -EIO; }
  int rename(const std::string& from, const std::string& to) override {
    if (!powered()) {
      return -EIO;
    }
    names_[to] = names_[from];
    names_.erase(from);
    return 0;
  }
  int sync_directory() override {
    if (!powered() || failing_directory_syncs_-- > 0) {
      return -EIO;
    }
    durable_names_ = names_;
    return 0;
  }

  // The file as it may be found after the crash: with or without what was not made durable of
  // names, and of content (whole, cut at any byte, or none).
  std::vector<std::optional<Bytes>> after_crash(const std::string& name) const {
    std::vector<std::optional<Bytes>> views;
    for (const auto* names : {&names_, &durable_names_}) {
      const auto found = names->find(name);
      if (found == names->end()) {
        views.emplace_back(std::nullopt);
        continue;
      }
      const auto& file = files_[found->second];
      views.emplace_back(file.durable);
      for (std::size_t length = file.durable.size(); length <= file.now.size(); ++length) {
        views.emplace_back(
            Bytes(file.now.begin(), file.now.begin() + static_cast<std::ptrdiff_t>(length)));
      }
    }
    return views;
  }

  void power_on(int calls) { calls_left_ = calls; }
  void fail_directory_syncs(int count) { failing_directory_syncs_ = count; }
  [[nodiscard]] bool lost_power() const { return lost_power_; }

 private:
  bool powered() {
    lost_power_ = lost_power_ || calls_left_-- <= 0;
    return !lost_power_;
  }

  int calls_left_;
  int failing_directory_syncs_ = 0;
  bool lost_power_ = false;
  std::vector<File> files_;
  std::map<std::string, std::size_t> names_;
  std::map<std::string, std::size_t> durable_names_;
};

TEST(StateStore, ACrashAtAnyCallLeavesOldOrNew) {
  constexpr int kUnlimited = 1'000'000;
  const auto before = make_state(10, 2, 0, 1);
  const auto after = make_state(600, 255, 3, 2);
  int crashes = 0;
  bool saw_old = false;
  bool saw_new = false;
  for (int calls = 0;; ++calls) {
    ForgetfulDirectory directory(kUnlimited);
    StateStore store(directory, "dir", 1, 1);
    ASSERT_EQ(store.save(before), DiskStatus::ok);
    directory.power_on(calls);
    const auto status = store.save(after);
    for (const auto& bytes : directory.after_crash("e1.1.state")) {
      ASSERT_TRUE(bytes.has_value()) << "the file vanished, after call " << calls;
      const auto decoded = decode_state(1, 1, *bytes);
      ASSERT_TRUE(std::holds_alternative<PersistentState>(decoded))
          << "a mixture after call " << calls << ": " << std::get<std::string>(decoded);
      const auto& state = std::get<PersistentState>(decoded);
      ASSERT_TRUE(state == before || state == after) << calls;
      if (status == DiskStatus::ok) {
        ASSERT_EQ(state, after) << "said to be durable, and was not";
      }
      saw_old = saw_old || state == before;
      saw_new = saw_new || (state == after && status != DiskStatus::ok);
    }
    if (!directory.lost_power()) {
      break;
    }
    ASSERT_NE(status, DiskStatus::ok);
    ++crashes;
  }
  // create, some writes, fsync, close, rename, fsync of the directory
  EXPECT_GT(crashes, 5);
  EXPECT_TRUE(saw_old);
  EXPECT_TRUE(saw_new);
}

TEST(StateStore, AChangeThatWasAnsweredAsFailedIsNotThereAtTheNextStart) {
  const auto before = make_state(10, 2, 0, 1);
  for (const bool first : {false, true}) {
    for (const int failures : {1, 2}) {
      ForgetfulDirectory directory(1'000'000);
      StateStore store(directory, "dir", 1, 1);
      if (!first) {
        ASSERT_EQ(store.save(before), DiskStatus::ok);
      }
      directory.fail_directory_syncs(failures);
      EXPECT_EQ(store.save(make_state(600, 255, 3, 2)), DiskStatus::io_error);
      EXPECT_NE(store.last_error().find("make the new name durable"), std::string::npos);
      EXPECT_EQ(store.load(), first ? PersistentState{} : before);
    }
  }
}

class StateDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/aoe-state-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    path_ = name;
  }
  void TearDown() override {
    for (const char* name : {"/e1.1.state", "/e1.1.state.new"}) {
      ::unlink((path_ + name).c_str());
    }
    ::rmdir(path_.c_str());
  }
  std::string path_;
};

TEST_F(StateDirectoryTest, KeepsTheStateInARealDirectory) {
  const auto directory = open_state_directory(path_);
  StateStore store(*directory, path_, 1, 1);
  EXPECT_EQ(store.load(), PersistentState{});
  const auto state = make_state(100, 4, 2, 1);
  ASSERT_EQ(store.save(state), DiskStatus::ok) << store.last_error();
  const auto reopened = open_state_directory(path_);
  EXPECT_EQ(StateStore(*reopened, path_, 1, 1).load(), state);
  struct stat facts {};
  ASSERT_EQ(::stat((path_ + "/e1.1.state").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  EXPECT_NE(::stat((path_ + "/e1.1.state.new").c_str(), &facts), 0);
}

TEST_F(StateDirectoryTest, RefusesADamagedFileAndSaysWhatToDo) {
  std::ofstream(path_ + "/e1.1.state") << "not a state";
  const auto directory = open_state_directory(path_);
  try {
    StateStore(*directory, path_, 1, 1).load();
    FAIL() << "took a damaged file";
  } catch (const StartError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find(path_ + "/e1.1.state is damaged"), std::string::npos) << text;
    EXPECT_NE(text.find("remove it"), std::string::npos) << text;
  }
}

TEST_F(StateDirectoryTest, SaysWhichStepFailed) {
  const auto directory = open_state_directory(path_);
  StateStore store(*directory, path_, 1, 1);
  ASSERT_EQ(::mkdir((path_ + "/e1.1.state.new").c_str(), 0700), 0);
  EXPECT_EQ(store.save({}), DiskStatus::io_error);
  EXPECT_NE(store.last_error().find("cannot create the new file"), std::string::npos);
  ::rmdir((path_ + "/e1.1.state.new").c_str());
}

TEST(OpenStateDirectory, NamesADirectoryThatIsMissing) {
  try {
    open_state_directory("/nonexistent/aoe");
    FAIL();
  } catch (const StartError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/aoe"), std::string::npos);
  }
}

}  // namespace
}  // namespace target::linux_shell
