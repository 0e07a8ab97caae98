// The program itself, as its users have it: started as a process, asked over a veth pair, ended by
// signals.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "target/linux/event_loop.h"
#include "target/linux/test_files.h"
#include "target/linux/test_network.h"

namespace target::linux_shell {
namespace {

using ::testing::HasSubstr;
using testing::make_read;
using testing::make_request;
using testing::make_write;
using testing::RawPort;

constexpr int kWait_ms = 10'000;

std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  ssize_t count = 0;
  while ((count = ::read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// A child process with its output caught. It ends with its owner at the latest.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    int ready[2];
    int out[2];
    int err[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC) | ::pipe2(err, O_CLOEXEC), 0);
    ready_.reset(ready[0]);
    out_.reset(out[0]);
    err_.reset(err[0]);
    std::vector<char*> argv;
    for (auto& one : arguments) {
      argv.push_back(one.data());
    }
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], 1);
      ::dup2(err[1], 2);
      ::dup2(ready[1], kReadyFd);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(ready[1]);
    ::close(out[1]);
    ::close(err[1]);
  }
  ~Program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Waits for --ready-fd; false when the program ended instead.
  bool ready() {
    pollfd waited{ready_.get(), POLLIN, 0};
    char byte = 0;
    return ::poll(&waited, 1, kWait_ms) == 1 && ::read(ready_.get(), &byte, 1) == 1;
  }
  void signal(int number) const { ASSERT_EQ(::kill(pid_, number), 0); }
  // The exit code, or minus the signal.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  // After the end: all of it.
  std::string errors() { return read_all(err_.get()); }
  std::string output() { return read_all(out_.get()); }
  std::string output_line() {
    std::string line;
    char one = 0;
    while (::read(out_.get(), &one, 1) == 1 && one != '\n') {
      line += one;
    }
    return line;
  }
  void close_output() { out_.reset(); }
  [[nodiscard]] pid_t pid() const { return pid_; }

  static constexpr int kReadyFd = 42;

 private:
  pid_t pid_ = -1;
  UniqueFd ready_;
  UniqueFd out_;
  UniqueFd err_;
};

class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override {
    enter(1500);
    image_ = directory_.image("image", 64 * 512);
  }

  void enter(std::uint32_t mtu) {
    if (const auto reason = testing::enter_test_network(mtu)) {
      GTEST_SKIP() << *reason;
    }
  }

  [[nodiscard]] std::vector<std::string> command(std::vector<std::string> more = {},
                                                 std::vector<std::string> before = {}) const {
    auto all = std::move(before);
    all.insert(all.end(), {AOE_TARGET_PROGRAM, "--interface", "tgt0", "--shelf", "1", "--slot", "1",
                           "--ready-fd", std::to_string(Program::kReadyFd)});
    all.insert(all.end(), more.begin(), more.end());
    all.push_back(image_);
    return all;
  }

  std::string ask_control(const std::string& path, const std::string& question) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::write(fd.get(), question.data(), question.size()),
              static_cast<ssize_t>(question.size()));
    ::shutdown(fd.get(), SHUT_WR);
    return read_all(fd.get());
  }

  testing::TestDirectory directory_;
  std::string image_;
};

constexpr std::uint8_t kConfigRead[8] = {0, 0, 0, 0, 0, 0x10, 0, 0};

std::vector<std::uint8_t> config_set(const std::string& text) {
  std::vector<std::uint8_t> argument = {0, 0,    0, 0,
                                        0, 0x14, 0, static_cast<std::uint8_t>(text.size())};
  argument.insert(argument.end(), text.begin(), text.end());
  return argument;
}

std::vector<std::byte> ask(const RawPort& port, const std::vector<std::byte>& request) {
  port.send(request);
  const auto wanted = testing::tag_of(request);
  while (auto reply = port.receive_reply()) {
    if (testing::tag_of(*reply) == wanted) {
      return *reply;
    }
  }
  ADD_FAILURE() << "no reply to tag " << wanted;
  return std::vector<std::byte>(2048);
}

TEST_F(ProgramTest, ServesReadsAndWritesAtBothMtus) {
  for (const std::uint32_t mtu : {1500U, 9000U}) {
    for (const auto& options : std::vector<std::vector<std::string>>{{}, {"--write-cache"}}) {
      enter(mtu);
      Program target(command(options));
      ASSERT_TRUE(target.ready());
      const RawPort initiator("ini0");
      const std::vector<std::byte> data((mtu - 22) / 512 * 512, std::byte{0xC3});
      const auto written = ask(initiator, make_write({.tag = 1}, 7, data));
      EXPECT_EQ(written[14], std::byte{0x18});
      EXPECT_EQ(written[27], std::byte{0x40});
      const auto read = ask(initiator, make_read({.tag = 2}, 6, 2));
      ASSERT_EQ(read.size(), 36U + 1024);
      EXPECT_EQ(read[36], std::byte{6});
      EXPECT_EQ(read[36 + 512], std::byte{0xC3});
      target.signal(SIGTERM);
      EXPECT_EQ(target.wait(), 0);
      const UniqueFd file(::open(image_.c_str(), O_RDONLY));
      std::vector<std::byte> stored(data.size());
      ASSERT_EQ(::pread(file.get(), stored.data(), stored.size(), 7 * 512),
                static_cast<ssize_t>(stored.size()));
      EXPECT_EQ(stored, data);
    }
  }
}

TEST_F(ProgramTest, AnnouncesItselfAndSaysThatItIsReady) {
  const RawPort initiator("ini0");
  Program target(command({"--log-level", "off"}));
  ASSERT_TRUE(target.ready());
  const auto announced = initiator.receive_reply();
  ASSERT_TRUE(announced.has_value());
  EXPECT_EQ(testing::tag_of(*announced), 0U);
  EXPECT_EQ((*announced)[19], std::byte{1});
  target.signal(SIGINT);
  EXPECT_EQ(target.wait(), 0);
  EXPECT_EQ(target.errors(), "ready: e1.1 on tgt0, 64 sectors\n");
}

TEST_F(ProgramTest, AProbeDuringThePauseIsAnsweredOncePerSlot) {
  constexpr std::uint32_t kProbes = 1000;
  for (const auto& [mtu, slots] : {std::pair{1500U, 32U}, std::pair{9000U, 127U}}) {
    enter(mtu);
    Program target(command({"--buffer-count", std::to_string(slots)}));
    ASSERT_TRUE(target.ready());
    const RawPort initiator("ini0");
    const std::string table(
        "congestion\0"
        "17\0\0",
        15);
    std::vector<std::uint8_t> argument = {static_cast<std::uint8_t>(table.size()), 0};
    argument.insert(argument.end(), table.begin(), table.end());
    for (std::uint32_t tag = 1; tag <= kProbes; ++tag) {
      initiator.send(make_request({.command = 0x23, .tag = tag}, argument));
    }
    std::vector<std::uint32_t> tags;
    while (tags.size() < slots) {
      const auto reply = initiator.receive_reply();
      ASSERT_TRUE(reply.has_value()) << tags.size();
      if (testing::tag_of(*reply) != 0) {  // the announcement
        tags.push_back(testing::tag_of(*reply));
      }
    }
    // The first so many, each once, and no more: a barrier comes next.
    for (std::uint32_t i = 0; i < slots; ++i) {
      EXPECT_EQ(tags[i], i + 1);
    }
    initiator.send(make_request({.tag = 0xBA}, kConfigRead));
    const auto barrier = initiator.receive_reply();
    ASSERT_TRUE(barrier.has_value());
    EXPECT_EQ(testing::tag_of(*barrier), 0xBAU);
    target.signal(SIGUSR1);
    const auto counters = nlohmann::json::parse(target.output_line());
    EXPECT_EQ(counters["exports"][0]["interfaces"][0]["ring_drops"], kProbes - slots);
    EXPECT_EQ(counters["exports"][0]["interfaces"][0]["ring_slots"], slots);
    EXPECT_EQ(counters["exports"][0]["engine"]["pauses"], 1);
  }
}

TEST_F(ProgramTest, AnOrderlyEndAnswersWhatWasBegun) {
  Program target(command({"--buffer-count", "1000"}));
  ASSERT_TRUE(target.ready());
  const RawPort initiator("ini0");
  constexpr std::uint32_t kWrites = 300;
  for (std::uint32_t tag = 1; tag <= kWrites; ++tag) {
    const std::vector<std::byte> data(512, static_cast<std::byte>(tag));
    initiator.send(make_write({.tag = tag}, tag % 64, data));
  }
  std::uint32_t answered = 0;
  std::uint32_t last = 0;
  target.signal(SIGTERM);
  EXPECT_EQ(target.wait(), 0);
  while (const auto reply = initiator.receive_reply(0)) {
    if (testing::tag_of(*reply) != 0) {
      ++answered;
      last = std::max(last, testing::tag_of(*reply));
      EXPECT_EQ((*reply)[27], std::byte{0x40});
    }
  }
  // Frames are taken in order, so what was begun is a beginning, and all of it was answered; and
  // what was answered is on the disk.
  EXPECT_EQ(answered, last);
  const UniqueFd file(::open(image_.c_str(), O_RDONLY));
  for (std::uint32_t lba = 0; lba < 64; ++lba) {
    std::uint32_t newest = lba;  // the image's own content
    for (std::uint32_t tag = 1; tag <= last; ++tag) {
      newest = tag % 64 == lba ? tag : newest;
    }
    unsigned char stored = 0;
    ASSERT_EQ(::pread(file.get(), &stored, 1, lba * 512), 1);
    EXPECT_EQ(stored, newest & 0xFF) << "sector " << lba;
  }
}

TEST_F(ProgramTest, StateSurvivesAKill) {
  const auto arguments = command({"--state-dir", directory_.path()});
  const RawPort initiator("ini0");
  {
    Program target(arguments);
    ASSERT_TRUE(target.ready());
    const auto reply = ask(initiator, make_request({.tag = 1}, config_set("kept")));
    ASSERT_EQ(reply[14], std::byte{0x18});
    target.signal(SIGKILL);
    EXPECT_EQ(target.wait(), -SIGKILL);
  }
  Program target(arguments);
  ASSERT_TRUE(target.ready());
  const auto reply = ask(initiator, make_request({.tag = 2}, kConfigRead));
  ASSERT_GE(reply.size(), 36U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&reply[32]), 4), "kept");
}

TEST_F(ProgramTest, ServesAgainWhenTheInterfaceComesBack) {
  const auto control = directory_ / "control";
  Program target(command({"--control", control}));
  ASSERT_TRUE(target.ready());
  testing::ip("link set tgt0 down");
  testing::ip("link set tgt0 up");
  (void)ask(RawPort("ini0"), make_request({.tag = 1}, kConfigRead));
  testing::ip("link del tgt0");
  testing::ip("link add tgt0 type veth peer name ini0");
  testing::ip("link set tgt0 up");
  testing::ip("link set ini0 up");
  // The kernel's news and our question travel by different ways: wait for the news.
  const auto give_up = monotonic_now() + std::int64_t{kWait_ms} * 1'000'000;
  for (int reopened = 0; reopened == 0;) {
    ASSERT_LT(monotonic_now(), give_up);
    const auto counters = nlohmann::json::parse(ask_control(control, "counters\n"));
    reopened = counters["exports"][0]["interfaces"][0]["reopened"];
  }
  const auto reply = ask(RawPort("ini0"), make_request({.tag = 2}, kConfigRead));
  const auto now = testing::facts_of("tgt0");
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(reply[6 + i], static_cast<std::byte>(now.mac.octets[i]));
  }
  // An initiator answers to the address that it saw.
  (void)ask(RawPort("ini0"), make_request({.tag = 3, .destination = now.mac}, kConfigRead));
}

TEST_F(ProgramTest, AStateFileHasOneOwner) {
  Program first(command({"--state-dir", directory_.path()}));
  ASSERT_TRUE(first.ready());
  image_ = directory_.image("other", 64 * 512);
  Program check(command({"--state-dir", directory_.path(), "--check"}));
  EXPECT_EQ(check.wait(), 0);
  Program second(command({"--state-dir", directory_.path()}));
  ASSERT_FALSE(second.ready());
  EXPECT_EQ(second.wait(), 2);
  EXPECT_THAT(second.errors(), HasSubstr("another target keeps the state of e1.1 there"));
}

TEST_F(ProgramTest, OutlivesTheReaderOfItsOutput) {
  const auto control = directory_ / "control";
  std::string text;
  for (const std::string slot : {"1", "2", "3", "4", "5", "6"}) {  // more than the buffer of stdout
    text += "[[export]]\nfile = \"" + directory_.image("image" + slot, 512) +
            "\"\ninterface = [\"tgt0\"]\nshelf = 1\nslot = " + slot + "\n";
  }
  Program target({AOE_TARGET_PROGRAM, "--config", directory_.text("t.toml", text), "--control",
                  control, "--ready-fd", std::to_string(Program::kReadyFd)});
  ASSERT_TRUE(target.ready());
  target.close_output();
  target.signal(SIGUSR1);
  EXPECT_THAT(ask_control(control, "counters\n"), HasSubstr("e1.6"));
  target.signal(SIGTERM);
  EXPECT_EQ(target.wait(), 0);
}

TEST_F(ProgramTest, NamesAFileThatIsNotUtf8) {
  const auto control = directory_ / "control";
  image_ = directory_.image("caf\xe9", 64 * 512);
  Program target(command({"--control", control}));
  ASSERT_TRUE(target.ready());
  EXPECT_THAT(ask_control(control, "exports\n"), HasSubstr("\xef\xbf\xbd"));
  target.signal(SIGTERM);
  EXPECT_EQ(target.wait(), 0);
}

TEST_F(ProgramTest, SeveralExportsOnSeveralInterfacesFromAFile) {
  testing::ip("link add tgt1 type veth peer name ini1");
  testing::ip("link set tgt1 up");
  testing::ip("link set ini1 up");
  const auto second = directory_.image("second", 8 * 512);
  const auto file = directory_.text(
      "t.toml", "[[export]]\nfile = \"" + image_ +
                    "\"\ninterface = [\"tgt0\", \"tgt1\"]\nshelf = 1\nslot = 1\n[[export]]\n"
                    "file = \"" +
                    second + "\"\ninterface = [\"tgt1\"]\nshelf = 1\nslot = 2\n");
  const auto control = directory_ / "control";
  Program target({AOE_TARGET_PROGRAM, "--config", file, "--control", control, "--ready-fd",
                  std::to_string(Program::kReadyFd)});
  ASSERT_TRUE(target.ready());
  const RawPort first("ini0");
  const RawPort other("ini1");
  EXPECT_EQ(ask(first, make_read({.slot = 1, .tag = 1}, 5, 1))[36], std::byte{5});
  EXPECT_EQ(ask(other, make_read({.slot = 1, .tag = 2}, 5, 1))[36], std::byte{5});
  EXPECT_EQ(ask(other, make_read({.slot = 2, .tag = 3}, 5, 1))[36], std::byte{5});
  // A broadcast on the second interface reaches both.
  std::set<int> slots;
  other.send(make_request({.shelf = 0xFFFF, .slot = 0xFF, .tag = 4}, kConfigRead));
  while (slots.size() < 2) {
    const auto reply = other.receive_reply();
    ASSERT_TRUE(reply.has_value());
    if (testing::tag_of(*reply) == 4) {
      slots.insert(std::to_integer<int>((*reply)[18]));
    }
  }
  EXPECT_EQ(slots, (std::set<int>{1, 2}));
  const auto exports = nlohmann::json::parse(ask_control(control, "exports\n"));
  EXPECT_EQ(exports["exports"].size(), 2U);
  EXPECT_EQ(exports["exports"][1]["sectors"], 8);
  EXPECT_THAT(ask_control(control, "what\n"), HasSubstr("error:"));
  target.signal(SIGTERM);
  EXPECT_EQ(target.wait(), 0);
  EXPECT_NE(::access(control.c_str(), F_OK), 0);
}

TEST_F(ProgramTest, ChecksAndRefusesInOneLineEach) {
  Program good(command({"--check"}));
  EXPECT_EQ(good.wait(), 0);
  EXPECT_EQ(good.errors(), "");
  Program bad({AOE_TARGET_PROGRAM, "--check", "--interface", "none0", "--shelf", "1", "--slot", "1",
               directory_ / "none"});
  EXPECT_EQ(bad.wait(), 2);
  const auto text = bad.errors();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, HasSubstr("none0 does not exist"));
  Program first(command());
  ASSERT_TRUE(first.ready());
  Program second(command());
  EXPECT_FALSE(second.ready());
  EXPECT_EQ(second.wait(), 2);
  EXPECT_THAT(second.errors(), HasSubstr("another target exports it already"));
}

std::string status_of(pid_t pid) {
  const UniqueFd fd(::open(("/proc/" + std::to_string(pid) + "/status").c_str(), O_RDONLY));
  return read_all(fd.get());
}

constexpr const char* kOnlyNetRaw = "0000000000002000";

TEST_F(ProgramTest, KeepsNoPrivilegeButNetRaw) {
  Program target(command());
  ASSERT_TRUE(target.ready());
  const auto status = status_of(target.pid());
  EXPECT_THAT(status, HasSubstr(std::string("CapEff:\t") + kOnlyNetRaw));
  EXPECT_THAT(status, HasSubstr(std::string("CapPrm:\t") + kOnlyNetRaw));
  EXPECT_THAT(status, HasSubstr("CapAmb:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
}

// Needs another user to become: root of the machine, not of a user namespace with one user.
class OrdinaryUserTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    if (::chown(image_.c_str(), kNobody, kNobody) != 0 ||
        ::chown(directory_.path().c_str(), kNobody, kNobody) != 0) {
      GTEST_SKIP() << "needs root, to become another user";
    }
    // A build directory may be closed to others; the program is copied to where it is not.
    std::filesystem::copy_file(AOE_TARGET_PROGRAM, directory_ / "aoe-target");
  }
  [[nodiscard]] std::vector<std::string> as_nobody(const std::vector<std::string>& capabilities,
                                                   std::vector<std::string> more) const {
    std::vector<std::string> before = {"setpriv", "--reuid", "65534",
                                       "--regid", "65534",   "--clear-groups"};
    before.insert(before.end(), capabilities.begin(), capabilities.end());
    auto all = command(std::move(more), before);
    all[before.size()] = directory_ / "aoe-target";
    return all;
  }
  static constexpr uid_t kNobody = 65534;
};

TEST_F(OrdinaryUserTest, StartsWithNetRawAlone) {
  Program target(as_nobody({"--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw"},
                           {"--state-dir", directory_.path()}));
  ASSERT_TRUE(target.ready()) << target.errors();
  const auto status = status_of(target.pid());
  EXPECT_THAT(status, HasSubstr("Uid:\t65534\t65534"));
  EXPECT_THAT(status, HasSubstr(std::string("CapEff:\t") + kOnlyNetRaw));
  const auto reply = ask(RawPort("ini0"), make_request({.tag = 1}, config_set("user")));
  EXPECT_EQ(reply[14], std::byte{0x18});
  target.signal(SIGTERM);
  EXPECT_EQ(target.wait(), 0);
}

TEST_F(OrdinaryUserTest, SaysWhatIsMissingWithoutIt) {
  Program target(as_nobody({"--inh-caps", "-all"}, {}));
  EXPECT_FALSE(target.ready());
  EXPECT_EQ(target.wait(), 2);
  EXPECT_THAT(target.errors(), HasSubstr("CAP_NET_RAW"));
}

TEST_F(OrdinaryUserTest, RootRefusesAStateDirectoryItCannotUseLater) {
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  Program target(command({"--state-dir", directory_.path()}));
  EXPECT_FALSE(target.ready());
  EXPECT_EQ(target.wait(), 2);
  EXPECT_THAT(target.errors(), HasSubstr("let the user who runs aoe-target write there"));
}

}  // namespace
}  // namespace target::linux_shell
