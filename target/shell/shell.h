// The loop around the engine, the only one: intake and batches, the held slot, the order in which
// an outbox is flushed, saves, deadlines, sending with its bounds, notes. Pure as the engine is: it
// must never know a clock, a socket, a file or a thread but through its surroundings. The kernel's
// shell, the simulator and the suite's link to the engine run this one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "target/engine/engine.h"
#include "target/shell/note_limit.h"
#include "target/shell/reply_budget.h"
#include "target/shell/send_queue.h"
#include "target/shell/surroundings.h"
#include "target/shell/write_share.h"

namespace target::shell {

// Frames handed in before the outbox is flushed. What waits together is taken in several turns, so
// that its asker works on the first replies while the last requests are served: otherwise the two
// wait for each other, each idle for half of the time (docs/performance.md).
inline constexpr std::uint32_t kTurnsPerBatch = 4;
inline constexpr std::uint32_t kLeastFramesPerTurn = 2;
inline constexpr std::uint32_t kFramesPerTurn = 64;  // at most
// The same while others are served by the same thread: their frames wait for the end of a turn.
inline constexpr std::uint32_t kFramesPerTurnBesideOthers = 8;
inline constexpr Nanoseconds kDiskRetry_ns = 1'000'000;

struct ShellOptions {
  std::uint64_t reply_budget = 0;  // bytes a second for each source that is not allowed; 0: none
};

class Shell {
 public:
  // The surroundings must outlive it. What engine::Engine asserts of its configuration holds.
  Shell(const engine::EngineConfig& config, const Surroundings& surroundings,
        const ShellOptions& options = {});
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  // Frames wait on this port.
  void on_frames(std::uint16_t port);
  // This port takes frames again.
  void on_writable(std::uint16_t port);
  // The receive buffer and the interface of this port are gone, or new ones: what waited is lost.
  void on_new_port(std::uint16_t port);

  // The most frames handed in before the outbox is flushed and work() returns.
  void set_turn(std::uint32_t frames) { most_per_turn_ = frames; }

  // Does what is due now. True: more can be done at once, call again without waiting.
  bool work();
  // When work() wants to be called although nothing has happened.
  [[nodiscard]] Nanoseconds deadline() const;

  // False: there is no use in waking for frames.
  [[nodiscard]] bool intake_open() const { return engine_.intake_open() && !stopping_; }

  // No frame is taken from here on; work() goes on until idle.
  void stop_intake() { stopping_ = true; }
  [[nodiscard]] bool disk_idle() const { return at_disk_ == 0 && saving_ == 0; }
  [[nodiscard]] bool send_idle() const;
  // Once the disk is idle: makes everything durable. The outcome comes by last_flush().
  void start_last_flush();
  [[nodiscard]] std::optional<engine::DiskStatus> last_flush() const { return last_flush_; }

  // The operator's order; work() carries it out. Not while engine().last_clear() is under_way.
  void clear(engine::StatePart part) { engine_.on_clear(part); }

  [[nodiscard]] const engine::Engine& engine() const { return engine_; }
  [[nodiscard]] const ReplyBudget& reply_budget() const { return budget_; }
  [[nodiscard]] const WriteShare& write_share() const { return share_; }
  // Frames that were taken from the receive buffers.
  [[nodiscard]] std::uint64_t frames_taken() const { return frames_taken_; }
  [[nodiscard]] const SendQueue& queue(std::uint16_t port) const { return ports_[port].queue; }
  [[nodiscard]] std::uint64_t disk_operations_in_flight() const { return at_disk_; }

 private:
  struct Port {
    std::uint64_t batch = 0;       // number of the batch that is being taken
    std::uint32_t batch_left = 0;  // frames of it that wait
    std::uint32_t turn = 0;        // of it, frames in a turn
    bool readable = false;         // frames may wait
    bool holding = false;          // the oldest slot is that of the frame that closed intake
    SendQueue queue;
    std::vector<FrameView> outgoing;
  };

  void take_frames(std::uint16_t port);
  void reap();
  void flush_outbox();
  void send_frames();
  void tell_notes();
  void learn_who_is_known();

  Surroundings around_;
  std::uint16_t slots_;
  std::vector<wire::MacAddress> allow_;
  engine::Engine engine_;
  ReplyBudget budget_;
  WriteShare share_;
  std::uint32_t most_per_turn_ = kFramesPerTurn;
  std::uint64_t frames_taken_ = 0;
  std::uint64_t lists_changed_ = 0;  // as often when it was last learnt who is known
  std::vector<Port> ports_;
  std::vector<DiskCompletion> completions_;
  NoteLimit note_limit_;
  std::uint64_t batches_ = 0;
  std::uint64_t at_disk_ = 0;
  std::uint64_t saving_ = 0;
  std::optional<engine::DiskStatus> last_flush_;
  Nanoseconds disk_retry_ = kNever;
  bool stopping_ = false;
};

}  // namespace target::shell
