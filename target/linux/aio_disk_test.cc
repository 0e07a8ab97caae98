// Operations reach the image, and whatever the kernel answers becomes the right status, once.
#include "target/linux/aio_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "target/linux/test_files.h"

namespace target::linux_shell {
namespace {

using engine::DiskOp;
using engine::DiskOpKind;
using engine::DiskStatus;

constexpr std::uint32_t kDepth = 16;

struct AlignedBuffer {
  explicit AlignedBuffer(std::size_t sectors, int fill = 0)
      : bytes(static_cast<std::byte*>(std::aligned_alloc(4096, (sectors * 512 + 4095) & ~4095UL))),
        size(sectors * 512) {
    std::memset(bytes.get(), fill, size);
  }
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  [[nodiscard]] std::span<std::byte> span() const { return {bytes.get(), size}; }
  std::unique_ptr<std::byte, Free> bytes;
  std::size_t size;
};

DiskOp operation(std::uint32_t id, DiskOpKind kind, std::uint64_t lba,
                 const AlignedBuffer& buffer) {
  return {id, kind, lba, static_cast<std::uint32_t>(buffer.size / 512), buffer.span()};
}

// Answers submissions as scripted, then passes them on; may also bend the results.
class ScriptedCalls : public AioCalls {
 public:
  int submit(io_context_t context, std::span<iocb*> operations) override {
    sizes.push_back(operations.size());
    if (script.empty()) {
      return AioCalls::submit(context, operations);
    }
    const int answer = script.front();
    script.pop_front();
    return answer <= 0
               ? answer
               : AioCalls::submit(context, operations.first(static_cast<std::size_t>(answer)));
  }
  int get_events(io_context_t context, long at_least, std::span<io_event> events) override {
    const int count = AioCalls::get_events(context, at_least, events);
    for (int i = 0; i < count && !results.empty(); ++i) {
      events[static_cast<std::size_t>(i)].res = static_cast<unsigned long>(results.front());
      results.pop_front();
    }
    return count;
  }
  int sync_data(int fd) override {
    ++syncs;
    return sync_result != 0 ? sync_result : AioCalls::sync_data(fd);
  }
  std::deque<int> script;
  std::deque<long> results;
  std::vector<std::size_t> sizes;
  int syncs = 0;
  int sync_result = 0;
};

class AioDiskTest : public ::testing::Test {
 protected:
  void open(int flags = O_RDWR) {
    path_ = directory_.image("image", 64 * 512);
    fd_.reset(::open(path_.c_str(), flags | O_CLOEXEC));
    ASSERT_TRUE(fd_.valid());
    disk_ = std::make_unique<AioDisk>(fd_.get(), path_, kDepth, calls_);
    calls_.sizes.clear();
  }

  std::vector<shell::DiskCompletion> wait_all() { return wait_all(*disk_); }
  static std::vector<shell::DiskCompletion> wait_all(AioDisk& disk) {
    std::vector<shell::DiskCompletion> all;
    disk.reap(all);
    while (disk.outstanding() > 0) {
      pollfd waited{disk.event_fd(), POLLIN, 0};
      EXPECT_EQ(::poll(&waited, 1, 5000), 1);
      disk.reap(all);
    }
    return all;
  }

  testing::TestDirectory directory_;
  std::string path_;
  UniqueFd fd_;
  ScriptedCalls calls_;
  std::unique_ptr<AioDisk> disk_;
};

TEST_F(AioDiskTest, WritesReadsAndFlushes) {
  for (const int flags : {O_RDWR, O_RDWR | O_DSYNC}) {
    open(flags);
    const AlignedBuffer out(3, 0xA7);
    disk_->start({{operation(1, DiskOpKind::write, 10, out)}});
    ASSERT_EQ(wait_all().at(0).status, DiskStatus::ok);
    const AlignedBuffer in(5);
    disk_->start({{operation(2, DiskOpKind::read, 9, in), DiskOp{3, DiskOpKind::flush, 0, 0, {}}}});
    const auto done = wait_all();
    ASSERT_EQ(done.size(), 2U);
    for (const auto& one : done) {
      EXPECT_EQ(one.status, DiskStatus::ok) << one.id;
    }
    const auto bytes = in.span();
    EXPECT_EQ(bytes[511], std::byte{9});
    EXPECT_EQ(bytes[512], std::byte{0xA7});
    EXPECT_EQ(bytes[4 * 512 - 1], std::byte{0xA7});
    EXPECT_EQ(bytes[4 * 512], std::byte{13});
  }
}

// Where the loop can be lent it submits by itself; what the kernel does not take at once is the
// thread's.
TEST_F(AioDiskTest, TheLoopSubmitsItselfWhatTheKernelTakes) {
  std::optional<Handover> handover;
  handover.emplace([&] {
    while (!handover->may_lend()) {
      std::this_thread::yield();
    }
    const AlignedBuffer buffer(1);
    disk_->start({{operation(1, DiskOpKind::read, 1, buffer)}});
    EXPECT_TRUE(calls_.sizes.empty()) << "not with the loop on the stack";
    EXPECT_EQ(disk_->carry_out_here(), Turn::idle);
    EXPECT_EQ(calls_.sizes, (std::vector<std::size_t>{1}));
    EXPECT_EQ(wait_all().at(0).status, DiskStatus::ok);

    calls_.script = {1, -EAGAIN, -EINVAL};
    disk_->start(
        {{operation(1, DiskOpKind::read, 1, buffer), operation(2, DiskOpKind::read, 2, buffer),
          operation(3, DiskOpKind::read, 3, buffer)}});
    EXPECT_EQ(disk_->carry_out_here(), Turn::idle);
    std::map<std::uint32_t, DiskStatus> done;
    for (const auto& one : wait_all()) {
      done.emplace(one.id, one.status);
    }
    EXPECT_EQ(done, (std::map<std::uint32_t, DiskStatus>{
                        {1, DiskStatus::ok}, {2, DiskStatus::io_error}, {3, DiskStatus::ok}}));

    disk_->start({{operation(1, DiskOpKind::read, 1, buffer)}});
    disk_->leave_to_threads();
    EXPECT_EQ(wait_all().at(0).status, DiskStatus::ok);
    return true;
  });
  open();
  disk_ = std::make_unique<AioDisk>(fd_.get(), path_, kDepth, calls_, &*handover);
  calls_.sizes.clear();
  handover->start_thread();
  handover->run();
}

TEST_F(AioDiskTest, OneOutboxIsOneSystemCall) {
  open();
  const AlignedBuffer buffer(1);
  std::vector<DiskOp> operations;
  for (std::uint32_t i = 0; i < kDepth; ++i) {
    operations.push_back(operation(i, DiskOpKind::read, i, buffer));
  }
  disk_->start(operations);
  EXPECT_EQ(wait_all().size(), kDepth);
  EXPECT_EQ(calls_.sizes, (std::vector<std::size_t>{kDepth}));
  EXPECT_EQ(disk_->outstanding(), 0U);
}

TEST_F(AioDiskTest, APartialSubmissionIsContinued) {
  open();
  const AlignedBuffer a(1), b(1), c(1);
  calls_.script = {1, -EINTR, 1};
  disk_->start({{operation(1, DiskOpKind::read, 1, a), operation(2, DiskOpKind::read, 2, b),
                 operation(3, DiskOpKind::read, 3, c)}});
  EXPECT_EQ(wait_all().size(), 3U);
  EXPECT_EQ(calls_.sizes, (std::vector<std::size_t>{3, 2, 2, 1}));
  EXPECT_EQ(a.span()[0], std::byte{1});
  EXPECT_EQ(c.span()[0], std::byte{3});
}

TEST_F(AioDiskTest, ABusyKernelIsAskedAgain) {
  open();
  const AlignedBuffer a(1), b(1);
  calls_.script = {-EAGAIN, -EAGAIN};
  disk_->start({{operation(1, DiskOpKind::read, 1, a), operation(2, DiskOpKind::read, 2, b)}});
  EXPECT_EQ(wait_all().size(), 2U);
  EXPECT_EQ(disk_->counters().submit_retries, 2U);
}

TEST_F(AioDiskTest, ARefusedOperationFailsAloneAndTheRestGoesOn) {
  open();
  const AlignedBuffer a(1), b(1);
  calls_.script = {-EINVAL};
  disk_->start({{operation(1, DiskOpKind::read, 1, a), operation(2, DiskOpKind::read, 2, b)}});
  const auto done = wait_all();
  ASSERT_EQ(done.size(), 2U);
  for (const auto& one : done) {
    EXPECT_EQ(one.status, one.id == 1 ? DiskStatus::io_error : DiskStatus::ok) << one.id;
  }
}

TEST_F(AioDiskTest, AShortTransferIsAnError) {
  open();
  ASSERT_EQ(::ftruncate(fd_.get(), 11 * 512 + 100), 0);
  const AlignedBuffer a(2), b(1), c(1);
  disk_->start({{operation(1, DiskOpKind::read, 11, a)}});
  EXPECT_EQ(wait_all().at(0).status, DiskStatus::io_error);
  disk_->start({{operation(2, DiskOpKind::read, 40, b)}});  // beyond the end: nothing at all
  EXPECT_EQ(wait_all().at(0).status, DiskStatus::io_error);
  calls_.results = {511};
  disk_->start({{operation(3, DiskOpKind::write, 1, c)}});
  EXPECT_EQ(wait_all().at(0).status, DiskStatus::io_error);
  EXPECT_EQ(disk_->counters().short_transfers, 3U);
}

TEST_F(AioDiskTest, ResultsOfTheKernelBecomeStatuses) {
  open();
  const AlignedBuffer a(1);
  const std::pair<long, DiskStatus> cases[] = {{512, DiskStatus::ok},
                                               {-EIO, DiskStatus::io_error},
                                               {-EROFS, DiskStatus::io_error},
                                               {-ENOSPC, DiskStatus::no_space},
                                               {-EDQUOT, DiskStatus::no_space}};
  std::uint32_t id = 0;
  for (const auto& [result, status] : cases) {
    calls_.results = {result};
    disk_->start({{operation(++id, DiskOpKind::write, 1, a)}});
    const auto done = wait_all();
    ASSERT_EQ(done.size(), 1U);
    EXPECT_EQ(done[0].id, id);
    EXPECT_EQ(done[0].status, status) << result;
  }
  EXPECT_EQ(disk_->counters().errors, 4U);
}

TEST_F(AioDiskTest, WithoutAsynchronousFlushItFlushesItself) {
  path_ = directory_.image("image", 64 * 512);
  fd_.reset(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  calls_.script = {-EINVAL};  // to the question at the start
  AioDisk disk(fd_.get(), path_, kDepth, calls_);
  EXPECT_FALSE(disk.flushes_asynchronously());
  const AlignedBuffer a(1, 0x5A);
  disk.start({{operation(1, DiskOpKind::write, 1, a), DiskOp{2, DiskOpKind::flush, 0, 0, {}},
               operation(3, DiskOpKind::read, 2, a)}});
  auto done = wait_all(disk);
  ASSERT_EQ(done.size(), 3U);
  for (const auto& one : done) {
    EXPECT_EQ(one.status, DiskStatus::ok);
  }
  EXPECT_EQ(calls_.syncs, 1);
  calls_.sync_result = -EIO;
  disk.start({{DiskOp{2, DiskOpKind::flush, 0, 0, {}}}});
  done = wait_all(disk);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].status, DiskStatus::io_error);
}

TEST_F(AioDiskTest, AFullFileSystemIsNoSpace) {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "cannot mount a small file system: needs root";
  }
  const auto path = directory_ / "sparse";
  fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::ftruncate(fd_.get(), 1 << 20), 0);
  AioDisk disk(fd_.get(), path, kDepth, calls_);
  const AlignedBuffer a(8, 1);
  std::vector<shell::DiskCompletion> done;
  int good = 0;
  for (std::uint32_t i = 0; i < 32 && (done.empty() || done.back().status == DiskStatus::ok); ++i) {
    done.clear();
    disk.start({{operation(i, DiskOpKind::write, std::uint64_t{i} * 8, a)}});
    while (done.empty()) {
      disk.reap(done);
    }
    good += done.back().status == DiskStatus::ok ? 1 : 0;
  }
  EXPECT_EQ(done.back().status, DiskStatus::no_space);
  EXPECT_GT(good, 0);
  fd_.reset();
  ::umount2(directory_.path().c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace target::linux_shell
