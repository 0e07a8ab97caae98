// One export, running: its engine and everything the engine must never know (image, state file,
// receive rings, senders). It owns the loop of a shell as target/engine/engine.h describes it; the
// rules of the protocol are the engine's, and the waiting is the event loop's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/aio_disk.h"
#include "target/linux/event_loop.h"
#include "target/linux/image.h"
#include "target/linux/options.h"
#include "target/linux/packet_ring.h"
#include "target/linux/packet_sender.h"
#include "target/linux/state_store.h"

namespace target::linux_shell {

class Export {
 public:
  // Opens everything; throws StartError.
  Export(const ExportOptions& options, EventLoop& loop);
  ~Export();
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;

  // With the privileges that the export will run with: locks the state file, and can it still be
  // saved? Throws StartError.
  void prove_state_is_writable();

  // Does what is due now. True: more frames wait, call again without waiting.
  bool work();
  // When work() wants to be called although no descriptor is ready.
  [[nodiscard]] engine::Nanoseconds deadline() const;

  // Something about the interfaces changed.
  void look_at_interfaces();

  // No frame is taken from here on; work() goes on until idle().
  void stop_intake();
  [[nodiscard]] bool disk_idle() const;
  [[nodiscard]] bool send_idle() const;
  // Makes everything durable; false (and a log line) when that fails.
  bool sync();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string interface_list() const;
  [[nodiscard]] std::uint64_t sectors() const { return image_.size.sectors; }
  nlohmann::ordered_json counters();
  [[nodiscard]] nlohmann::ordered_json describe() const;

 private:
  struct Port {
    std::string name;
    InterfaceFacts configured;            // as the engine knows it
    std::optional<InterfaceFacts> facts;  // as it is; nullopt: gone
    std::unique_ptr<PacketRing> ring;
    std::unique_ptr<PacketSender> sender;
    EventLoop::Token ring_token = 0;
    EventLoop::Token sender_token = 0;
    std::uint64_t batch = 0;       // number of the batch being taken
    std::uint32_t batch_left = 0;  // frames of it that wait
    bool readable = false;         // frames may wait
    bool muted = false;            // the loop does not watch the ring: intake is closed
    bool holding = false;          // the oldest slot is that of the frame that closed intake
    engine::Nanoseconds send_retry = engine::kNever;
    RingCounters ring_before;  // of rings that were closed
    SendCounters send_before;
    std::uint64_t reopened = 0;
    std::vector<std::span<const std::byte>> outgoing;
  };

  // At most so many lines of a kind in each second: a note is for people, and a flood of frames
  // must not become a flood of lines.
  struct NoteLimit {
    engine::Nanoseconds window_start = 0;
    std::uint32_t lines = 0;
    std::uint64_t suppressed = 0;
  };

  [[nodiscard]] engine::EngineConfig engine_config() const;
  void open_port(Port& port);
  void watch_port(Port& port);
  void close_port(Port& port);
  void look_at(Port& port);
  void on_ring(Port& port);
  void on_sender(Port& port);
  void watch_sender(Port& port);
  void follow_intake();
  void take_frames(Port& port, std::uint16_t index);
  void complete(const std::vector<DiskCompletion>& completions);
  void flush_outbox();
  void start_saves();
  void send_frames();
  void log_notes();

  ExportOptions options_;
  std::string name_;
  EventLoop& loop_;
  Image image_;
  AioCalls aio_calls_;
  SendCalls send_calls_;
  UniqueFd state_lock_;
  std::unique_ptr<StateDirectory> state_directory_;
  std::unique_ptr<StateStore> store_;
  engine::PersistentState loaded_;
  std::vector<Port> ports_;
  // The disk stands behind the engine, so it ends first: the kernel may still write into the
  // engine's memory until then.
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<AioDisk> disk_;
  std::vector<DiskCompletion> completions_;
  EventLoop::Token disk_token_ = 0;
  std::uint64_t batches_ = 0;
  bool stopping_ = false;
  engine::Nanoseconds disk_retry_ = engine::kNever;
  std::uint64_t save_failures_ = 0;
  std::uint64_t saves_ = 0;
  std::array<NoteLimit, 16> note_limits_;
};

}  // namespace target::linux_shell
