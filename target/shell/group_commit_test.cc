// When writes and flushes are done, whatever the syncs say: each exactly once, none too early.
#include "target/shell/group_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "target/shell/fake_surroundings.h"

namespace target::shell::test {
namespace {

using engine::DiskOp;
using engine::DiskOpKind;
using engine::DiskStatus;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

DiskOp write(std::uint32_t id) {
  return {id, DiskOpKind::write, id, 1, {}};
}
DiskOp read(std::uint32_t id) {
  return {id, DiskOpKind::read, id, 1, {}};
}
DiskOp flush(std::uint32_t id) {
  return {id, DiskOpKind::flush, 0, 0, {}};
}

class GroupCommitTest : public ::testing::Test {
 protected:
  void with(WriteDurability durability) { commit_.emplace(disk_, durability); }
  void start(std::vector<DiskOp> operations) { commit_->start(operations); }
  std::vector<std::pair<std::uint32_t, DiskStatus>> reap() {
    std::vector<DiskCompletion> done;
    commit_->reap(done);
    std::vector<std::pair<std::uint32_t, DiskStatus>> result;
    for (const DiskCompletion& one : done) {
      result.emplace_back(one.id, one.status);
    }
    return result;
  }
  [[nodiscard]] bool syncing() const {
    return !disk_.in_flight.empty() && disk_.in_flight.back().kind == DiskOpKind::flush;
  }
  static std::pair<std::uint32_t, DiskStatus> good(std::uint32_t id) {
    return {id, DiskStatus::ok};
  }
  static std::pair<std::uint32_t, DiskStatus> bad(std::uint32_t id) {
    return {id, DiskStatus::io_error};
  }

  FakeDisk disk_;
  std::optional<GroupCommit> commit_;
};

TEST_F(GroupCommitTest, AGroupOfWritesIsDoneAfterOneSync) {
  with(WriteDurability::synced_in_groups);
  start({write(1), write(2), read(3)});
  disk_.end(0);
  disk_.end(0);
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(3)));  // a read waits for no sync
  ASSERT_TRUE(syncing());
  EXPECT_THAT(reap(), IsEmpty());
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(1), good(2)));
  EXPECT_EQ(commit_->counters().syncs, 1U);
  EXPECT_THAT(disk_.in_flight, IsEmpty());
}

TEST_F(GroupCommitTest, AWriteThatEndsDuringASyncWaitsForTheNext) {
  with(WriteDurability::synced_in_groups);
  start({write(1)});
  disk_.end(0);
  reap();
  ASSERT_TRUE(syncing());
  start({write(2)});
  disk_.end(1);  // ended while the sync runs
  EXPECT_THAT(reap(), IsEmpty());
  ASSERT_EQ(disk_.in_flight.size(), 1U) << "one sync at a time";
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(1)));
  ASSERT_TRUE(syncing());
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(2)));
}

TEST_F(GroupCommitTest, AFailedSyncFailsItsGroupAndWhatEndedOrWasAtTheDiskMeanwhile) {
  with(WriteDurability::synced_in_groups);
  start({write(1)});
  disk_.end(0);
  reap();
  start({write(2), write(3)});
  disk_.end(1);  // 2 has ended, 3 is at the disk
  reap();
  disk_.end(0, DiskStatus::no_space);  // the sync
  EXPECT_THAT(reap(), ElementsAre(std::pair(1U, DiskStatus::no_space),
                                  std::pair(2U, DiskStatus::no_space)));
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(bad(3)));
  // What begins after the failure is not touched by it.
  start({write(3)});
  disk_.end(0);
  reap();
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(3)));
}

TEST_F(GroupCommitTest, AFailedWriteIsToldAtOnceAndSyncsNothing) {
  with(WriteDurability::synced_in_groups);
  start({write(1)});
  disk_.end(0, DiskStatus::no_space);
  EXPECT_THAT(reap(), ElementsAre(std::pair(1U, DiskStatus::no_space)));
  EXPECT_THAT(disk_.in_flight, IsEmpty());
}

TEST_F(GroupCommitTest, FlushesShareOneSyncWithTheWrites) {
  with(WriteDurability::synced_in_groups);
  start({flush(1), write(2), flush(3)});
  ASSERT_EQ(disk_.in_flight.size(), 2U);  // the write, and one sync
  EXPECT_EQ(disk_.in_flight[0].id, 2U);
  disk_.end(1, DiskStatus::io_error);
  EXPECT_THAT(reap(), ElementsAre(bad(1), bad(3)));
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(bad(2))) << "it was at the disk when the sync failed";
}

TEST_F(GroupCommitTest, DurableWritesWaitForNothing) {
  with(WriteDurability::as_written);
  start({write(1), flush(2)});
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(1)));
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(2)));
}

// The writes were answered as good, and the reply that says they are lost may itself be lost: the
// initiator that repeats its flush, and the one beside it, must hear it too.
TEST_F(GroupCommitTest, ACacheThatLostWritesNeverFlushesWellAgain) {
  with(WriteDurability::by_flush);
  start({write(1)});
  disk_.end(0);
  EXPECT_THAT(reap(), ElementsAre(good(1)));
  start({flush(2)});
  disk_.end(0, DiskStatus::io_error);
  EXPECT_THAT(reap(), ElementsAre(bad(2)));
  start({flush(3), write(4)});
  disk_.end(0);
  disk_.end(0);
  EXPECT_THAT(reap(), ::testing::UnorderedElementsAre(bad(3), good(4)));
}

}  // namespace
}  // namespace target::shell::test
