// The loop around the engine: what is handed in when, and what leaves in which order.
#include "target/shell/shell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "target/engine/test_frames.h"
#include "target/shell/fake_surroundings.h"

namespace target::shell::test {
namespace {

using engine::DiskOpKind;
using engine::DiskStatus;
using engine::EngineConfig;
using engine::test::config;
using engine::test::extensions;
using engine::test::FrameSpec;
using engine::test::mask;
using engine::test::plain_config;
using engine::test::read;
using engine::test::Reply;
using engine::test::write;

class ShellTest : public ::testing::Test {
 protected:
  // Starts, and takes the announcement away.
  void start(EngineConfig config = plain_config()) {
    intake_ = std::make_unique<FakeIntake>(config.buffer_count);
    shell_ = std::make_unique<Shell>(config, Surroundings{.clock = clock_,
                                                          .intake = *intake_,
                                                          .sender = sender_,
                                                          .disk = disk_,
                                                          .store = &store_,
                                                          .notes = &notes_,
                                                          .witness = &witness_});
    EXPECT_EQ(shell_->deadline(), 0);
    EXPECT_FALSE(shell_->work());
    EXPECT_EQ(sender_.sent.size(), config.ports.size());
    sender_.sent.clear();
  }
  bool arrive(const FrameSpec& request) { return intake_->arrive(request.bytes()); }
  // As the event loop does: works until there is nothing to do at once.
  void run() {
    shell_->on_frames(0);
    for (int i = 0; shell_->work(); ++i) {
      ASSERT_LT(i, 100'000) << "the shell never rests";
    }
  }
  std::vector<Reply> replies() {
    std::vector<Reply> result;
    for (Bytes& one : sender_.sent) {
      result.push_back({0, std::move(one)});
    }
    sender_.sent.clear();
    return result;
  }

  struct BatchWitness final : Witness {
    void before(const engine::FrameIn& frame) override { batches.push_back(frame.batch); }
    std::vector<std::uint64_t> batches;
  };

  FakeClock clock_;
  std::unique_ptr<FakeIntake> intake_;
  FakeSender sender_;
  FakeDisk disk_;
  FakeStore store_;
  FakeNotes notes_;
  BatchWitness witness_;
  std::unique_ptr<Shell> shell_;
};

// The count that a probe finds: the probe's own frame keeps its slot until it is answered, and
// whatever finds no free slot is lost.
class CongestionCount : public ShellTest, public ::testing::WithParamInterface<int> {};

TEST_P(CongestionCount, IsTheNumberOfBuffers) {
  EngineConfig settings = plain_config();
  settings.buffer_count = static_cast<std::uint16_t>(GetParam());
  start(settings);
  ASSERT_TRUE(arrive(extensions({"congestion", "7"}, 1)));
  run();
  EXPECT_TRUE(replies().empty()) << "the pause has begun";
  int taken = 1;
  for (std::uint32_t tag = 2; tag < 200; ++tag) {
    taken += arrive(config(0, "", tag)) ? 1 : 0;
  }
  run();
  EXPECT_TRUE(replies().empty());
  clock_.time = shell_->deadline();
  run();
  EXPECT_EQ(static_cast<int>(replies().size()), GetParam());
  EXPECT_EQ(taken, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Buffers, CongestionCount, ::testing::Values(2, 8, 32, 64));

TEST_F(ShellTest, FramesThatWaitedTogetherAreOneBatchHoweverLongItTakes) {
  EngineConfig settings = plain_config();
  settings.extensions = false;
  settings.operations_max = 2;  // intake closes on the way
  settings.buffer_count = 200;
  start(settings);
  for (std::uint32_t tag = 0; tag < 100; ++tag) {
    ASSERT_TRUE(arrive(read(tag, 1, tag)));
  }
  run();
  EXPECT_FALSE(shell_->intake_open());
  ASSERT_TRUE(arrive(read(7, 1, 1000)));
  while (!disk_.in_flight.empty()) {
    disk_.end(0);
    run();
  }
  ASSERT_EQ(witness_.batches.size(), 101U);
  EXPECT_EQ(witness_.batches[0], witness_.batches[99]);
  EXPECT_NE(witness_.batches[99], witness_.batches[100]);
  EXPECT_EQ(replies().size(), 101U);
}

TEST_F(ShellTest, ManyFramesAreTakenInTurnsSoThatTheFirstReplyLeavesEarly) {
  EngineConfig settings = plain_config();
  settings.buffer_count = 3 * kFramesPerTurn;
  start(settings);
  for (std::uint32_t tag = 0; tag < 2 * kFramesPerTurn; ++tag) {
    ASSERT_TRUE(arrive(config(0, "", tag)));
  }
  shell_->on_frames(0);
  for (std::uint32_t turn = 1; turn <= kTurnsPerBatch; ++turn) {
    EXPECT_EQ(shell_->work(), turn < kTurnsPerBatch) << "turn " << turn;
    EXPECT_EQ(replies().size(), 2 * kFramesPerTurn / kTurnsPerBatch) << "turn " << turn;
  }
}

TEST_F(ShellTest, FewFramesAreTakenTwoByTwo) {
  start();
  for (std::uint32_t tag = 0; tag < kLeastFramesPerTurn + 1; ++tag) {
    ASSERT_TRUE(arrive(config(0, "", tag)));
  }
  shell_->on_frames(0);
  EXPECT_TRUE(shell_->work());
  EXPECT_EQ(replies().size(), kLeastFramesPerTurn);
  EXPECT_FALSE(shell_->work());
  EXPECT_EQ(replies().size(), 1U);
}

TEST_F(ShellTest, AFloodOnOnePortLeavesTheOtherItsTurn) {
  EngineConfig settings = plain_config();
  settings.ports.push_back({engine::test::mac(0xDD), 1500});
  settings.buffer_count = 1000;
  start(settings);
  for (std::uint32_t tag = 0; tag < 1000; ++tag) {
    ASSERT_TRUE(intake_->arrive(config(0, "", tag).bytes(), 0));
  }
  FrameSpec other = config(0, "", 7777);
  other.destination = engine::test::mac(0xDD);
  ASSERT_TRUE(intake_->arrive(other.bytes(), 1));
  shell_->on_frames(0);
  shell_->on_frames(1);
  EXPECT_TRUE(shell_->work());
  const std::vector<Reply> first = replies();
  EXPECT_EQ(first.back().tag(), 7777U);
  EXPECT_EQ(first.size(), kFramesPerTurn + 1U);
}

TEST_F(ShellTest, ATurnIsAsLongAsItIsTold) {
  EngineConfig settings = plain_config();
  settings.buffer_count = 2 * kTurnsPerBatch * kFramesPerTurnBesideOthers;
  start(settings);
  shell_->set_turn(kFramesPerTurnBesideOthers);
  for (std::uint32_t tag = 0; tag < settings.buffer_count; ++tag) {
    ASSERT_TRUE(arrive(config(0, "", tag)));
  }
  shell_->on_frames(0);
  EXPECT_TRUE(shell_->work());
  EXPECT_EQ(replies().size(), kFramesPerTurnBesideOthers);
  EXPECT_EQ(shell_->frames_taken(), kFramesPerTurnBesideOthers);
}

// Writes of one source that are at the disk, while another asks too: no more than its buffer count.
TEST_F(ShellTest, AFloodOfWritesStopsAtTheBufferCountWhileOthersAsk) {
  EngineConfig settings = plain_config();
  settings.buffer_count = 4;
  start(settings);
  for (std::uint32_t i = 0; i < 3 * settings.buffer_count; ++i) {
    ASSERT_TRUE(arrive(engine::test::from(engine::test::kBob, config(0, "", 1000 + i))));
    ASSERT_TRUE(arrive(write(8 * i, 1, i, 0xAB)));
    run();
  }
  EXPECT_EQ(disk_.in_flight.size(), settings.buffer_count);
  EXPECT_EQ(shell_->write_share().dropped(), 2U * settings.buffer_count);
  disk_.end(0);
  ASSERT_TRUE(arrive(write(800, 1, 99, 0xAB)));
  run();
  run();
  EXPECT_EQ(disk_.in_flight.size(), settings.buffer_count);
  EXPECT_EQ(shell_->write_share().dropped(), 2U * settings.buffer_count);
}

TEST_F(ShellTest, AWriteIsAnsweredWhenTheDiskSaysSo) {
  start();
  ASSERT_TRUE(arrive(write(3, 1, 5, 0xAB)));
  run();
  ASSERT_EQ(disk_.in_flight.size(), 1U);
  EXPECT_FALSE(shell_->disk_idle());
  EXPECT_TRUE(replies().empty());
  disk_.end(0);
  EXPECT_FALSE(shell_->work());
  ASSERT_EQ(replies().size(), 1U);
  EXPECT_TRUE(shell_->disk_idle());
}

TEST_F(ShellTest, ASaveHoldsNobodyUp) {
  EngineConfig settings = plain_config();
  settings.persist = true;
  start(settings);
  ASSERT_TRUE(arrive(config(3, "name", 1)));
  ASSERT_TRUE(arrive(read(0, 1, 2)));
  run();
  ASSERT_EQ(store_.saves.size(), 1U);
  EXPECT_EQ(disk_.in_flight.size(), 1U);
  EXPECT_TRUE(shell_->intake_open());
  disk_.end(0);
  run();
  EXPECT_EQ(replies().size(), 1U) << "the read";
  EXPECT_FALSE(shell_->disk_idle()) << "a save is under way";
  store_.end();
  run();
  EXPECT_EQ(replies().size(), 1U) << "the change";
  EXPECT_TRUE(shell_->disk_idle());
}

TEST_F(ShellTest, ABusyDiskIsAskedAgainByTime) {
  start();
  disk_.busy = true;
  shell_->work();
  EXPECT_EQ(shell_->deadline(), clock_.time + kDiskRetry_ns);
  disk_.busy = false;
  shell_->work();
  EXPECT_EQ(shell_->deadline(), kNever);
}

TEST_F(ShellTest, TheEndTakesNoFrameAnswersWhatWasBegunAndFlushes) {
  start();
  ASSERT_TRUE(arrive(write(3, 1, 5, 0xAB)));
  run();
  shell_->stop_intake();
  ASSERT_TRUE(arrive(write(4, 1, 6, 0xAB)));
  run();
  ASSERT_EQ(disk_.in_flight.size(), 1U);
  disk_.end(0);
  run();
  EXPECT_EQ(replies().size(), 1U);
  ASSERT_TRUE(shell_->disk_idle());
  shell_->start_last_flush();
  ASSERT_EQ(disk_.in_flight.size(), 1U);
  EXPECT_EQ(disk_.in_flight[0].kind, DiskOpKind::flush);
  EXPECT_EQ(shell_->last_flush(), std::nullopt);
  disk_.end(0, DiskStatus::io_error);
  run();
  EXPECT_EQ(shell_->last_flush(), DiskStatus::io_error);
}

TEST_F(ShellTest, ANewPortBeginsWithoutTheHeldSlotOfTheOldOne) {
  start();
  ASSERT_TRUE(arrive(extensions({"congestion", "7"}, 1)));
  run();
  intake_->rings[0].clear();
  shell_->on_new_port(0);
  ASSERT_TRUE(arrive(config(0, "", 9)));
  clock_.time = shell_->deadline();
  run();
  const std::vector<Reply> got = replies();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[1].tag(), 9U);
  EXPECT_TRUE(intake_->rings[0].empty());
}

TEST_F(ShellTest, NotesAreToldAndAFloodOfThemIsNot) {
  start();
  for (std::uint32_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(arrive(read(i, 1, i)));
  }
  run();
  while (!disk_.in_flight.empty()) {
    disk_.end(0, DiskStatus::io_error);
  }
  run();
  EXPECT_EQ(notes_.told.size(), kNoteLinesPerWindow);
  EXPECT_EQ(replies().size(), 40U);
}

}  // namespace
}  // namespace target::shell::test
