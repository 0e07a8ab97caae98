// One export, running: the shell around its engine, and what the kernel has to give to it (image,
// state file, receive rings, senders, log). The loop is the shell's, the rules of the protocol are
// the engine's, and the waiting is the event loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "target/cache/cached_disk.h"
#include "target/linux/aio_disk.h"
#include "target/linux/event_loop.h"
#include "target/linux/image.h"
#include "target/linux/options.h"
#include "target/linux/packet_ring.h"
#include "target/linux/packet_sender.h"
#include "target/linux/save_worker.h"
#include "target/linux/state_store.h"
#include "target/linux/worker_disk.h"
#include "target/shell/group_commit.h"
#include "target/shell/shell.h"

namespace target::linux_shell {

class Export final : private shell::Clock,
                     private shell::Intake,
                     private shell::Sender,
                     private shell::Notes {
 public:
  // Opens everything; throws StartError.
  Export(const ExportOptions& options, EventLoop& loop, Handover& handover);
  ~Export() override;
  Export(const Export&) = delete;
  Export& operator=(const Export&) = delete;

  // With the privileges that the export will run with: locks the state file, and can it still be
  // saved? Throws StartError.
  void prove_state_is_writable();

  // As shell::Shell's.
  bool work();
  [[nodiscard]] engine::Nanoseconds deadline() const;

  // Frames that were taken so far, and how many may be taken in one work().
  [[nodiscard]] std::uint64_t frames_taken() const { return shell_->frames_taken(); }
  void set_turn(std::uint32_t frames) { shell_->set_turn(frames); }
  // As ImageDisk's, after work().
  [[nodiscard]] Turn carry_out_here() { return disk_->carry_out_here(); }
  void leave_to_threads() { disk_->leave_to_threads(); }

  // With the privileges that the export will run with: the threads of its disk. Throws StartError.
  void start_threads();

  // Something about the interfaces changed.
  void look_at_interfaces();

  // No frame is taken from here on; work() goes on until idle().
  void stop_intake();
  [[nodiscard]] bool disk_idle() const { return shell_->disk_idle(); }
  [[nodiscard]] bool send_idle() const { return shell_->send_idle(); }
  // Makes everything durable, if the disk is idle.
  void start_last_flush();
  [[nodiscard]] bool last_flush_ended() const { return !flushing_ || disk_idle(); }
  // How it ended; false (and a log line) when it failed, or when the disk does not answer.
  [[nodiscard]] bool ended_well() const;
  // Closes every socket: nobody is served any more, and another target may have the address.
  void release_address();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string interface_list() const;
  [[nodiscard]] std::uint64_t sectors() const { return image_.size.sectors; }
  nlohmann::ordered_json counters();
  [[nodiscard]] nlohmann::ordered_json describe() const;
  // What the network may have changed, and who has extensions.
  [[nodiscard]] nlohmann::ordered_json show() const;
  [[nodiscard]] nlohmann::ordered_json sessions() const;
  // The operator's order. False: another one is under way.
  bool clear(engine::StatePart part);
  // What became of the last one: none, under way, done or failed.
  [[nodiscard]] std::string cleared() const;

 private:
  struct Port {
    std::string name;
    InterfaceFacts configured;            // as the engine knows it
    std::optional<InterfaceFacts> facts;  // as it is; nullopt: gone
    std::unique_ptr<PacketRing> ring;
    std::unique_ptr<PacketSender> sender;
    EventLoop::Token ring_token = 0;
    EventLoop::Token sender_token = 0;
    bool muted = false;           // the loop does not watch the ring: intake is closed
    bool waits_writable = false;  // the loop watches for room
    RingCounters ring_before;     // of rings that were closed
    std::uint64_t reopened = 0;
    engine::Nanoseconds reopen_at = engine::kNever;
  };

  // What the shell asks.
  engine::Nanoseconds now() override { return monotonic_now(); }
  std::uint32_t waiting(std::uint16_t port, std::uint32_t limit) override;
  std::optional<std::span<const std::byte>> front(std::uint16_t port) override;
  void pop(std::uint16_t port) override;
  shell::SendResult send(std::uint16_t port, std::span<const shell::FrameView> frames) override;
  void tell(const engine::Note& note, std::uint64_t left_out) override;
  void tell_unsendable(std::uint16_t port, const wire::MacAddress& host,
                       std::size_t frame_bytes) override;

  [[nodiscard]] engine::EngineConfig engine_config() const;
  void open_port(Port& port);
  void watch_port(std::uint16_t index);
  void close_port(std::uint16_t index);
  void look_at(std::uint16_t index);
  void on_ring(std::uint16_t index, std::uint32_t events);
  void on_sender(std::uint16_t index);
  void follow_shell();

  ExportOptions options_;
  std::string name_;
  EventLoop& loop_;
  Image image_;
  AioCalls aio_calls_;
  FileCalls file_calls_;
  SendCalls send_calls_;
  UniqueFd state_lock_;
  std::unique_ptr<StateDirectory> state_directory_;
  std::unique_ptr<StateStore> store_;
  engine::PersistentState loaded_;
  std::vector<Port> ports_;
  std::unique_ptr<ImageDisk> disk_;
  std::unique_ptr<shell::GroupCommit> commit_;
  std::unique_ptr<cache::CachedDisk> cache_;
  std::unique_ptr<shell::Shell> shell_;
  EventLoop::Token disk_token_ = 0;
  bool stopping_ = false;
  bool flushing_ = false;
  std::unique_ptr<SaveWorker> saver_;  // ends before what it saves
  EventLoop::Token saver_token_ = 0;
  std::uint64_t save_failures_told_ = 0;
};

}  // namespace target::linux_shell
