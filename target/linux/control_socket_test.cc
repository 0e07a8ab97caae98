// Questions are answered, clients and memory are bounded, and nobody's socket is stolen.
#include "target/linux/control_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "target/linux/start_error.h"
#include "target/linux/test_files.h"

namespace target::linux_shell {
namespace {

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

void say(const UniqueFd& fd, const std::string& text) {
  ASSERT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(text.size()));
}

class ControlSocketTest : public ::testing::Test {
 protected:
  ControlSocketTest() : path_(directory_ / "control") {}
  void open() {
    socket_ = std::make_unique<ControlSocket>(
        loop_, path_, [](std::string_view question) { return "<" + std::string(question) + ">"; });
  }
  // Everything the server says until it has said so many bytes, or closed.
  std::string hear(const UniqueFd& fd, std::size_t bytes) {
    std::string text;
    char buffer[65536];
    while (text.size() < bytes) {
      loop_.run_once(0);
      const ssize_t count = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (count == 0) {
        return text + "EOF";
      }
      if (count > 0) {
        text.append(buffer, static_cast<std::size_t>(count));
      }
    }
    return text;
  }

  testing::TestDirectory directory_;
  std::string path_;
  EventLoop loop_;
  std::unique_ptr<ControlSocket> socket_;
};

TEST_F(ControlSocketTest, AnswersEachLineAndThenTheEnd) {
  open();
  const auto client = connect_to(path_);
  say(client, "one\ntwo\nthr");
  EXPECT_EQ(hear(client, 12), "<one>\n<two>\n");
  say(client, "ee\n");
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(hear(client, 100), "<three>\nEOF");
  EXPECT_EQ(socket_->clients(), 0U);
}

TEST_F(ControlSocketTest, OnlyItsOwnerMayAsk) {
  open();
  struct stat facts {};
  ASSERT_EQ(::stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
}

TEST_F(ControlSocketTest, ALineWithoutEndIsCutOff) {
  open();
  const auto client = connect_to(path_);
  say(client, std::string(kControlLineBytesMax + 1, 'x'));
  EXPECT_EQ(hear(client, 100), "error: the question is too long\nEOF");
}

TEST_F(ControlSocketTest, TheNumberOfClientsIsBounded) {
  open();
  std::vector<UniqueFd> clients;
  for (std::size_t i = 0; i < kControlClientsMax; ++i) {
    clients.push_back(connect_to(path_));
    loop_.run_once(0);
  }
  const auto one_more = connect_to(path_);
  EXPECT_EQ(hear(one_more, 100), "error: too many clients, try again later\nEOF");
  clients.pop_back();
  while (socket_->clients() == kControlClientsMax) {
    loop_.run_once(0);
  }
  const auto later = connect_to(path_);
  say(later, "x\n");
  EXPECT_EQ(hear(later, 4), "<x>\n");
}

TEST_F(ControlSocketTest, AClientThatNeverReadsIsClosed) {
  open();
  const auto client = connect_to(path_);
  loop_.run_once(0);
  ASSERT_EQ(socket_->clients(), 1U);
  const std::string questions(kControlLineBytesMax, '\n');
  for (int i = 0; i < 100'000 && socket_->clients() > 0; ++i) {
    ::send(client.get(), questions.data(), questions.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    loop_.run_once(0);
  }
  EXPECT_EQ(socket_->clients(), 0U);
}

TEST_F(ControlSocketTest, ReplacesAStaleFileAndRemovesItsOwn) {
  open();
  // A process that was killed leaves its file behind.
  ASSERT_EQ(::rename(path_.c_str(), (path_ + ".old").c_str()), 0);
  socket_.reset();
  ASSERT_EQ(::rename((path_ + ".old").c_str(), path_.c_str()), 0);
  open();
  const auto client = connect_to(path_);
  say(client, "x\n");
  EXPECT_EQ(hear(client, 4), "<x>\n");
  socket_.reset();
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST_F(ControlSocketTest, RefusesALiveSocketAndOtherFiles) {
  open();
  try {
    ControlSocket second(loop_, path_, [](std::string_view) { return std::string(); });
    FAIL() << "stole a live socket";
  } catch (const StartError& error) {
    EXPECT_NE(std::string(error.what()).find("another process listens there"), std::string::npos);
  }
  socket_.reset();
  path_ = directory_.text("file", "precious");
  EXPECT_THROW(open(), StartError);
  EXPECT_EQ(std::filesystem::file_size(path_), 8U);
  path_ = std::string(200, 'x');
  EXPECT_THROW(open(), StartError);
}

}  // namespace
}  // namespace target::linux_shell
