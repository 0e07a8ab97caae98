// What memory holds is read at once; everything else is done by threads, and whatever the kernel
// answers, or does not, becomes the right status, once.
#include "target/linux/worker_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "target/linux/test_files.h"

namespace target::linux_shell {
namespace {

using engine::DiskOp;
using engine::DiskOpKind;
using engine::DiskStatus;

// A kernel that holds operations while it is told to, and answers as it is told.
class ScriptedFile : public FileCalls {
 public:
  std::int64_t read_cached(int fd, Pieces to, std::int64_t offset) override {
    return cached == 0 ? FileCalls::read_cached(fd, to, offset) : cached;
  }
  std::int64_t read(int fd, Pieces to, std::int64_t offset) override {
    wait(holds_reads);
    return FileCalls::read(fd, to, offset);
  }
  std::int64_t write(int fd, Pieces from, std::int64_t offset) override {
    {
      const std::lock_guard lock(mutex_);
      ++writes;
      last_writer_ = std::this_thread::get_id();
    }
    wait(holds_writes);
    return write_result != 0 ? write_result : FileCalls::write(fd, from, offset);
  }
  int sync_data(int fd) override {
    wait(holds_syncs);
    return sync_result != 0 ? sync_result : FileCalls::sync_data(fd);
  }
  void hold(bool ScriptedFile::*what, bool value) {
    const std::lock_guard lock(mutex_);
    this->*what = value;
    changed_.notify_all();
  }
  std::thread::id last_writer() {
    const std::lock_guard lock(mutex_);
    return last_writer_;
  }
  bool holds_reads = false;
  bool holds_writes = false;
  bool holds_syncs = false;
  std::int64_t cached = 0;
  std::int64_t write_result = 0;
  int sync_result = 0;
  int writes = 0;

 private:
  void wait(const bool& held) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held; });
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread::id last_writer_;
};

class WorkerDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = directory_.image("image", 64 * 512);
    fd_.reset(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd_.valid());
    disk_ = std::make_unique<WorkerDisk>(fd_.get(), path_, calls_);
  }
  DiskOp op(std::uint32_t id, DiskOpKind kind, std::uint64_t lba, std::uint32_t sectors = 1,
            int fill = 0) {
    auto& bytes = buffers_[id];
    bytes.assign(sectors * 512, static_cast<std::byte>(fill));
    return {id, kind, lba, sectors, bytes};
  }
  void start(std::vector<DiskOp> operations) { disk_->start(operations); }
  // Waits for so many to end.
  std::map<std::uint32_t, DiskStatus> wait(std::size_t count) {
    std::vector<shell::DiskCompletion> all;
    disk_->reap(all);
    while (all.size() < count) {
      pollfd waited{disk_->event_fd(), POLLIN, 0};
      EXPECT_EQ(::poll(&waited, 1, 5000), 1);
      disk_->reap(all);
    }
    std::map<std::uint32_t, DiskStatus> result;
    for (const auto& one : all) {
      EXPECT_TRUE(result.emplace(one.id, one.status).second) << one.id << " ended twice";
    }
    return result;
  }

  testing::TestDirectory directory_;
  std::string path_;
  UniqueFd fd_;
  ScriptedFile calls_;
  std::map<std::uint32_t, std::vector<std::byte>> buffers_;
  std::unique_ptr<WorkerDisk> disk_;
};

TEST_F(WorkerDiskTest, WritesReadsAndFlushes) {
  start({op(1, DiskOpKind::write, 10, 3, 0xA7)});
  EXPECT_EQ(wait(1).at(1), DiskStatus::ok);
  start({op(2, DiskOpKind::read, 9, 5), DiskOp{3, DiskOpKind::flush, 0, 0, {}}});
  const auto done = wait(2);
  EXPECT_EQ(done.at(2), DiskStatus::ok);
  EXPECT_EQ(done.at(3), DiskStatus::ok);
  const auto& bytes = buffers_[2];
  EXPECT_EQ(bytes[511], std::byte{9});
  EXPECT_EQ(bytes[512], std::byte{0xA7});
  EXPECT_EQ(bytes[4 * 512 - 1], std::byte{0xA7});
  EXPECT_EQ(bytes[4 * 512], std::byte{13});
  EXPECT_EQ(disk_->outstanding(), 0U);
}

TEST_F(WorkerDiskTest, WhatMemoryHoldsIsReadWithoutAThread) {
  calls_.holds_reads = true;  // a thread would never end it
  start({op(1, DiskOpKind::read, 3)});
  if (disk_->counters().hot_reads == 0) {
    calls_.hold(&ScriptedFile::holds_reads, false);
    wait(1);
    GTEST_SKIP() << "this file system does not read without waiting";
  }
  std::vector<shell::DiskCompletion> done;
  disk_->reap(done);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].status, DiskStatus::ok);
  EXPECT_EQ(buffers_[1][0], std::byte{3});
}

TEST_F(WorkerDiskTest, AFileSystemThatCannotReadAtOnceIsAskedOnce) {
  calls_.cached = -EOPNOTSUPP;
  start({op(1, DiskOpKind::read, 3), op(2, DiskOpKind::read, 4)});
  EXPECT_FALSE(disk_->reads_at_once());
  const auto done = wait(2);
  EXPECT_EQ(done.at(1), DiskStatus::ok);
  EXPECT_EQ(buffers_[2][0], std::byte{4});
}

// Each kind of work has threads of its own.
TEST_F(WorkerDiskTest, AnOperationThatHangsHoldsUpNoOtherKind) {
  calls_.cached = -EAGAIN;
  for (const auto held :
       {&ScriptedFile::holds_reads, &ScriptedFile::holds_writes, &ScriptedFile::holds_syncs}) {
    calls_.hold(held, true);
    start({op(1, DiskOpKind::read, 3), op(2, DiskOpKind::write, 4),
           DiskOp{3, DiskOpKind::flush, 0, 0, {}}});
    EXPECT_EQ(wait(2).size(), 2U);
    ASSERT_TRUE(disk_->oldest().has_value());
    EXPECT_EQ(disk_->outstanding(), 1U);
    calls_.hold(held, false);
    EXPECT_EQ(wait(1).size(), 1U);
    EXPECT_FALSE(disk_->oldest().has_value());
  }
}

TEST_F(WorkerDiskTest, OneColdReadThatHangsHoldsUpNoOther) {
  calls_.cached = -EAGAIN;
  calls_.hold(&ScriptedFile::holds_reads, true);
  start({op(1, DiskOpKind::read, 3)});
  // It is with a thread, or will be; a thread that is free takes the next one.
  calls_.cached = 0;
  start({op(2, DiskOpKind::write, 5, 1, 9)});
  EXPECT_EQ(wait(1).at(2), DiskStatus::ok);
  EXPECT_EQ(disk_->oldest()->lba, 3U);
  EXPECT_EQ(disk_->oldest()->kind, DiskOpKind::read);
  calls_.hold(&ScriptedFile::holds_reads, false);
  EXPECT_EQ(wait(1).at(1), DiskStatus::ok);
}

TEST_F(WorkerDiskTest, AdjacentWritesThatWaitAreOneCallAndEachHasItsResult) {
  calls_.hold(&ScriptedFile::holds_writes, true);
  start({op(1, DiskOpKind::write, 40, 1, 1)});
  start({op(2, DiskOpKind::write, 10, 2, 2), op(3, DiskOpKind::write, 12, 3, 3),
         op(4, DiskOpKind::write, 16, 1, 4)});
  calls_.hold(&ScriptedFile::holds_writes, false);
  EXPECT_EQ(wait(4).size(), 4U);
  // The first alone, unless the thread had not yet taken it.
  EXPECT_LE(calls_.writes, 3);
  start({op(5, DiskOpKind::read, 10, 7)});
  wait(1);
  EXPECT_EQ(buffers_[5][0], std::byte{2});
  EXPECT_EQ(buffers_[5][2 * 512], std::byte{3});
  EXPECT_EQ(buffers_[5][5 * 512], std::byte{15});
  EXPECT_EQ(buffers_[5][6 * 512], std::byte{4});
  // A disk that does only half of them: each is tried alone.
  calls_.write_result = 512;
  start({op(6, DiskOpKind::write, 20, 1, 1), op(7, DiskOpKind::write, 21, 2, 2)});
  const auto done = wait(2);
  EXPECT_EQ(done.at(6), DiskStatus::ok);
  EXPECT_EQ(done.at(7), DiskStatus::io_error);
}

// A loop that can be lent, and what it does: see Handover::Body.
class WorkerDiskInALoop : public WorkerDiskTest {
 protected:
  void run_loop(Handover::Body body) {
    handover_.emplace(std::move(body));
    disk_ = std::make_unique<WorkerDisk>(fd_.get(), path_, calls_, &*handover_);
    handover_->start_thread();
    handover_->run();
  }
  void await_second_thread() const {
    while (!handover_->may_lend()) {
      std::this_thread::yield();
    }
  }
  Turn write(std::uint32_t id) {
    start({op(id, DiskOpKind::write, 10 + id, 1, 7)});
    return disk_->carry_out_here();
  }
  std::optional<Handover> handover_;
};

TEST_F(WorkerDiskInALoop, MakesWritesInItsOwnThread) {
  bool made_here = false;
  run_loop([&] {
    // On a loaded machine a write may last, and then the loop goes on in the other thread.
    while (!made_here) {
      await_second_thread();
      const Turn turn = write(1);
      if (turn == Turn::another) {
        return false;
      }
      EXPECT_EQ(wait(1).at(1), DiskStatus::ok);
      made_here = turn == Turn::more && calls_.last_writer() == std::this_thread::get_id();
    }
    EXPECT_EQ(disk_->carry_out_here(), Turn::idle);
    return true;
  });
  EXPECT_TRUE(made_here);
}

TEST_F(WorkerDiskInALoop, AWriteThatLastsHoldsUpNobody) {
  calls_.hold(&ScriptedFile::holds_writes, true);
  int bodies = 0;
  run_loop([&] {
    if (++bodies == 1) {
      await_second_thread();
      EXPECT_EQ(write(2), Turn::another);
      return false;
    }
    EXPECT_EQ(disk_->outstanding(), 1U);
    EXPECT_EQ(disk_->oldest()->lba, 12U);
    start({op(3, DiskOpKind::read, 3)});
    EXPECT_EQ(wait(1).at(3), DiskStatus::ok);
    calls_.hold(&ScriptedFile::holds_writes, false);
    EXPECT_EQ(wait(1).at(2), DiskStatus::ok);
    EXPECT_EQ(disk_->counters().lasted, 1U);
    // For a while its writes are the thread's.
    EXPECT_EQ(write(4), Turn::idle);
    EXPECT_EQ(wait(1).at(4), DiskStatus::ok);
    return true;
  });
  EXPECT_EQ(bodies, 2);
}

// What was left to the loop, and the loop ends.
TEST_F(WorkerDiskInALoop, WhatItDoesNotMakeTheThreadMakes) {
  run_loop([&] {
    await_second_thread();
    start({op(1, DiskOpKind::write, 10, 1, 7)});
    disk_->leave_to_threads();
    EXPECT_EQ(disk_->carry_out_here(), Turn::idle);
    EXPECT_EQ(wait(1).at(1), DiskStatus::ok);
    EXPECT_EQ(write(2), Turn::idle);
    EXPECT_EQ(wait(1).at(2), DiskStatus::ok);
    return true;
  });
}

TEST_F(WorkerDiskTest, ResultsOfTheKernelBecomeStatuses) {
  const std::pair<std::int64_t, DiskStatus> cases[] = {
      {-EIO, DiskStatus::io_error},    {-EROFS, DiskStatus::io_error},
      {-EFBIG, DiskStatus::io_error},  {-ENOSPC, DiskStatus::no_space},
      {-EDQUOT, DiskStatus::no_space}, {511, DiskStatus::io_error}};
  for (const auto& [result, status] : cases) {
    calls_.write_result = result;
    start({op(1, DiskOpKind::write, 1)});
    EXPECT_EQ(wait(1).at(1), status) << result;
  }
  EXPECT_EQ(disk_->counters().errors, 5U);
  EXPECT_EQ(disk_->counters().short_transfers, 1U);
  calls_.sync_result = -ENOSPC;
  start({DiskOp{2, DiskOpKind::flush, 0, 0, {}}});
  EXPECT_EQ(wait(1).at(2), DiskStatus::no_space);
}

TEST_F(WorkerDiskTest, AReadBeyondTheEndIsAnError) {
  ASSERT_EQ(::ftruncate(fd_.get(), 11 * 512 + 100), 0);
  start({op(1, DiskOpKind::read, 11, 2), op(2, DiskOpKind::read, 40)});
  const auto done = wait(2);
  EXPECT_EQ(done.at(1), DiskStatus::io_error);
  EXPECT_EQ(done.at(2), DiskStatus::io_error);
}

}  // namespace
}  // namespace target::linux_shell
