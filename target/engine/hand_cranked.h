// Moves an engine by hand for its unit tests, with a disk in memory. It checks at every flush what
// must hold for any output: lengths, reply header, padding. It is no shell: what the loop does is
// target/shell's, and tested there.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "target/engine/engine.h"
#include "target/engine/test_frames.h"

namespace target::engine::test {

// An engine moved by hand, call by call: a frame without anything else, disk operations that end
// when the test says so, in the order that it chooses.
class HandCranked {
 public:
  explicit HandCranked(EngineConfig config = plain_config())
      : config_(config), engine_(std::move(config)), disk_(config_.sectors * kSectorBytes) {
    now_ = 1'000'000'000;
    engine_.on_timer(now_);
    announcements = flush();
  }

  // Hands a frame in, with no other event.
  void give(const Bytes& frame, std::uint64_t batch, std::uint16_t port = 0) {
    ASSERT_TRUE(engine_.intake_open());
    engine_.on_frame({port, batch, frame, now_});
  }
  void give(const FrameSpec& frame) { give(padded(frame.bytes()), ++last_batch_); }

  // Takes what the outbox holds: operations and saves to the lists, frames to the caller.
  std::vector<Reply> flush() {
    std::vector<Reply> replies;
    for (const FrameOut& frame : engine_.outbox().frames) {
      replies.push_back({frame.port, {frame.bytes.begin(), frame.bytes.end()}});
      check_frame(replies.back());
    }
    for (const DiskOp& op : engine_.outbox().disk_ops) {
      check_operation(op);
      in_flight.push_back(op);
    }
    saves.insert(saves.end(), engine_.outbox().saves.begin(), engine_.outbox().saves.end());
    notes.insert(notes.end(), engine_.outbox().notes.begin(), engine_.outbox().notes.end());
    engine_.clear_outbox();
    return replies;
  }

  // Does the operation at `index` of those in flight, and tells the engine.
  void end_disk(std::size_t index, DiskStatus status = DiskStatus::ok) {
    ASSERT_LT(index, in_flight.size());
    const DiskOp op = in_flight[index];
    in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(index));
    std::byte* at = disk_.data() + op.lba * kSectorBytes;
    if (status == DiskStatus::ok && op.kind == DiskOpKind::read) {
      std::memcpy(op.data.data(), at, op.data.size());
    } else if (status == DiskStatus::ok && op.kind == DiskOpKind::write) {
      std::memcpy(at, op.data.data(), op.data.size());
      ++writes_performed;
    }
    engine_.on_disk_done({op.id, status, now_});
  }

  void end_save(DiskStatus status = DiskStatus::ok) {
    ASSERT_EQ(saves.size(), 1U);
    const Save save = saves.front();
    saves.clear();
    if (status == DiskStatus::ok) {
      saved = *save.state;
    }
    engine_.on_disk_done({save.id, status, now_});
  }

  // Ends everything in flight, in order, until nothing is left; all replies.
  std::vector<Reply> run() {
    std::vector<Reply> replies = flush();
    while (!in_flight.empty()) {
      end_disk(0);
      const std::vector<Reply> more = flush();
      replies.insert(replies.end(), more.begin(), more.end());
    }
    return replies;
  }

  // One request, everything done, its replies.
  std::vector<Reply> ask(const FrameSpec& frame) {
    give(frame);
    return run();
  }
  Reply ask_one(const FrameSpec& frame) {
    const std::vector<Reply> replies = ask(frame);
    EXPECT_EQ(replies.size(), 1U);
    return replies.empty() ? Reply{0, Bytes(2000)} : replies.front();
  }

  void advance(Nanoseconds duration) {
    now_ += duration;
    if (now_ >= engine_.next_deadline()) {
      engine_.on_timer(now_);
    }
  }

  [[nodiscard]] std::uint8_t disk_byte(std::uint64_t lba) const {
    return static_cast<std::uint8_t>(disk_[lba * kSectorBytes]);
  }
  void fill_disk(std::uint64_t lba, std::size_t sectors, std::uint8_t fill) {
    std::memset(disk_.data() + lba * kSectorBytes, fill, sectors * kSectorBytes);
  }

  Engine& engine() { return engine_; }
  [[nodiscard]] const Counters& counters() const { return engine_.counters(); }
  [[nodiscard]] bool intake_open() const { return engine_.intake_open(); }
  [[nodiscard]] Nanoseconds now() const { return now_; }

  std::vector<DiskOp> in_flight;
  std::vector<Save> saves;
  std::vector<Note> notes;
  std::vector<Reply> announcements;
  PersistentState saved;
  std::size_t writes_performed = 0;

 private:
  // Where the fields of a reply end; what follows is padding and must be zero. Judged from the
  // frame alone: whether a read's data is right is for the tests to say.
  static std::size_t fields_end(const Reply& reply) {
    switch (reply.u8(19)) {
      case 0:
        return ata_fields_end(reply);
      case 1:
        return reply.error() == 1 || reply.error() == 5 ? 24 : 32U + reply.be16(30);
      case 2:
        return reply.error() == 5 ? 24 : 28U + 8U * reply.u8(27);
      case 3:
        return reply.error() == 5 ? 24 : 26U + 6U * reply.u8(25);
      default:
        return reply.has_error() ? 24 : reply.bytes.size();
    }
  }

  static std::size_t ata_fields_end(const Reply& reply) {
    if (reply.error() == 5) {
      return 24;
    }
    const std::size_t further = reply.u8(36);
    const std::size_t list_end = 37 + 16 * further;
    const bool is_write_reply = (reply.u8(24) & wire::aflag::kWrite) != 0;
    if (is_write_reply && further != 0 &&
        reply.bytes.size() == std::max(list_end, wire::kFrameBytesMin)) {
      return list_end;
    }
    return reply.bytes.size() > wire::kFrameBytesMin ? reply.bytes.size() : 36;
  }

  void check_frame(const Reply& reply) {
    const PortConfig& port = config_.ports[reply.port];
    ASSERT_GE(reply.bytes.size(), wire::kFrameBytesMin);
    ASSERT_LE(reply.bytes.size(), wire::kEthernetHeaderBytes + port.mtu);
    EXPECT_EQ(reply.address(6), port.mac);
    EXPECT_EQ(reply.be16(12), wire::kEtherType);
    EXPECT_EQ(reply.u8(14) & 0xFB, 0x18) << "version 1, R, E or not, reserved flags zero";
    EXPECT_EQ(reply.has_error(), reply.error() != 0);
    EXPECT_EQ(reply.be16(16), config_.shelf);
    EXPECT_EQ(reply.u8(18), config_.slot);
    for (std::size_t i = fields_end(reply); i < reply.bytes.size(); ++i) {
      ASSERT_EQ(reply.u8(i), 0) << "padding at byte " << i;
    }
  }

  void check_operation(const DiskOp& op) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(op.data.data()) % 4096, 0U);
    EXPECT_EQ(op.data.size(), op.sectors * kSectorBytes);
    EXPECT_LE(op.lba + op.sectors, config_.sectors);
    for (const DiskOp& other : in_flight) {
      const bool overlap = op.lba < other.lba + other.sectors && other.lba < op.lba + op.sectors;
      EXPECT_FALSE(overlap && (op.kind != DiskOpKind::read || other.kind != DiskOpKind::read))
          << "operations that overlap are in flight together";
      EXPECT_NE(op.id, other.id);
    }
  }

  EngineConfig config_;
  Engine engine_;
  Bytes disk_;
  Nanoseconds now_ = 0;
  std::uint64_t last_batch_ = 0;
};

}  // namespace target::engine::test
