// A save never makes its caller wait, and ends once.
#include "target/linux/save_worker.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>

namespace target::linux_shell {
namespace {

using engine::DiskStatus;

// A directory whose files become durable only when the test lets them.
class SlowDirectory : public StateDirectory {
 public:
  std::variant<std::vector<std::byte>, int> read_file(const std::string&) override {
    return -ENOENT;
  }
  int create(const std::string&) override { return 1; }
  long write(int, std::span<const std::byte> bytes) override {
    return static_cast<long>(bytes.size());
  }
  int sync_file(int) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
    return result;
  }
  int close_file(int) override { return 0; }
  int rename(const std::string&, const std::string&) override { return 0; }
  int sync_directory() override { return 0; }
  void let_go() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  int result = 0;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

std::vector<shell::DiskCompletion> wait(SaveWorker& worker) {
  std::vector<shell::DiskCompletion> done;
  worker.reap(done);
  while (done.empty()) {
    pollfd waited{worker.event_fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&waited, 1, 5000), 1);
    worker.reap(done);
  }
  return done;
}

TEST(SaveWorker, AStartDoesNotWaitForTheDisk) {
  SlowDirectory directory;
  StateStore store(directory, "dir", 1, 1);
  SaveWorker worker(store);
  const engine::PersistentState state;
  worker.start({17, &state});
  std::vector<shell::DiskCompletion> done;
  worker.reap(done);
  EXPECT_TRUE(done.empty());
  EXPECT_TRUE(worker.under_way().has_value());
  directory.let_go();
  done = wait(worker);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].id, 17U);
  EXPECT_EQ(done[0].status, DiskStatus::ok);
  EXPECT_FALSE(worker.under_way().has_value());
  EXPECT_EQ(worker.saves(), 1U);
}

TEST(SaveWorker, AFailureIsToldWithItsReason) {
  SlowDirectory directory;
  directory.result = -ENOSPC;
  directory.let_go();
  StateStore store(directory, "dir", 1, 1);
  SaveWorker worker(store);
  const engine::PersistentState state;
  worker.start({17, &state});
  EXPECT_EQ(wait(worker).at(0).status, DiskStatus::no_space);
  EXPECT_EQ(worker.failures(), 1U);
  EXPECT_NE(worker.last_error().find("make the new file durable"), std::string::npos);
}

}  // namespace
}  // namespace target::linux_shell
