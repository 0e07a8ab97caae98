// A world: the real shell and engine in virtual time, with network, disk, initiators and checkers
// around them. It owns what happens when, and neither the target's loop nor anything of the
// protocol. One world, one thread, no clock but its own.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/checkers/reference.h"
#include "sim/checkers/sector_register.h"
#include "sim/checkers/storage_promise.h"
#include "sim/clients/initiator.h"
#include "sim/clients/library.h"
#include "sim/coverage.h"
#include "sim/disk/disk.h"
#include "sim/ethernet/network.h"
#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/schedule.h"
#include "sim/trace.h"
#include "target/cache/cached_disk.h"
#include "target/shell/group_commit.h"
#include "target/shell/shell.h"

namespace sim {

// crash and hang: of a run in a process of its own (sim/isolated.h).
enum class Outcome : std::uint8_t { intact, known_damage, safety, liveness, crash, hang };

struct Result {
  Outcome outcome = Outcome::intact;
  std::string signature;  // of the first finding that decides the outcome
  std::vector<checkers::Finding> findings;
  Coverage coverage;
  target::engine::Counters counters;  // of all lives of the target
  std::uint64_t events = 0;
  std::uint64_t frames = 0;
  std::uint64_t hash = 0;
  Nanoseconds virtual_ns = 0;
};

class World final : private target::shell::Clock,
                    private target::shell::Intake,
                    private target::shell::Sender,
                    private target::shell::Witness {
 public:
  // swarm: draw the verdicts and write them down; without: read them from the schedule. The
  // schedule must outlive the world.
  explicit World(const Schedule& schedule, const std::optional<Swarm>& swarm = std::nullopt);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() override;

  void add_sink(TraceSink* sink) { tracer_.add_sink(sink); }
  Result run();
  // The schedule with every verdict that was drawn: replaying it is the same run.
  [[nodiscard]] Schedule written() const;

 private:
  enum class Phase : std::uint8_t { work, sweep, end };

  void dispatch(const Event& event);
  void frame_at_host(std::uint32_t host, ethernet::FrameId id, LinkId link);
  void host_event(const HostEvent& event);
  void crash(std::int64_t choice);
  void start_target();
  void stop_counting();

  // The target's disk and store: the simulated disk, whose ends wait here until the shell asks.
  class TargetDisk final : public target::shell::Disk {
   public:
    explicit TargetDisk(World& world) : world_(world) {}
    void start(std::span<const target::engine::DiskOp> operations) override;
    void reap(std::vector<target::shell::DiskCompletion>& completions) override;
    std::vector<target::shell::DiskCompletion> ended;

   private:
    World& world_;
  };
  class TargetStore final : public target::shell::Store {
   public:
    explicit TargetStore(World& world) : world_(world) {}
    void start(const target::engine::Save& save) override;
    void reap(std::vector<target::shell::DiskCompletion>& completions) override;
    std::vector<target::shell::DiskCompletion> ended;
    std::uint32_t id = 0xFFFF'FFFF;  // of the last save; no operation has the first one

   private:
    World& world_;
  };

  // What the target's shell asks.
  Nanoseconds now() override { return target_clock(now_); }
  std::uint32_t waiting(std::uint16_t port, std::uint32_t limit) override;
  std::optional<std::span<const std::byte>> front(std::uint16_t port) override;
  void pop(std::uint16_t port) override;
  target::shell::SendResult send(std::uint16_t port,
                                 std::span<const target::shell::FrameView> frames) override;

  // What the checkers see of it.
  void before(const target::engine::FrameIn& frame) override;
  void before(const target::engine::DiskDone& done) override;
  void after_event(const target::engine::Engine& engine) override;
  void after_flush(const target::engine::Outbox& outbox) override;

  void wake_target(Nanoseconds when);
  void run_target();
  [[nodiscard]] Nanoseconds target_clock(Nanoseconds now) const;
  [[nodiscard]] Nanoseconds world_time_of(Nanoseconds target_time) const;

  target::shell::Disk& target_disk() {
    return cache_ ? static_cast<target::shell::Disk&>(*cache_) : *commit_;
  }
  void judge_disk_op(const target::engine::DiskOp& op);
  void judge_written(std::uint64_t first, std::span<const std::byte> data);
  void judge_stale(disk::Version version, std::uint64_t lba,
                   const checkers::Reference::Admission& admission);
  void taint_target_of(const ethernet::Frame& frame);

  [[nodiscard]] bool quiet() const;
  void next_phase();
  void give_up();
  Result result();

  const Schedule& schedule_;
  const Settings settings_;  // operations_max as the engine has it
  Tracer tracer_;
  EventQueue queue_;
  Faults faults_;
  ethernet::Network network_;
  disk::Disk disk_;
  checkers::Findings findings_;
  checkers::SectorRegister sectors_;
  checkers::Reference reference_;
  checkers::StoragePromise storage_;
  Coverage coverage_;
  std::vector<std::unique_ptr<clients::Client>> initiators_;

  TargetDisk target_disk_{*this};
  TargetStore target_store_{*this};
  std::optional<target::shell::GroupCommit> commit_;  // over target_disk_, as long as the shell
  std::optional<target::cache::CachedDisk> cache_;    // over commit_, as long, where there is one
  // Writes that the cache has, by the operation's id: what stands there once it says that it does.
  struct CachedWrite {
    std::uint64_t lba = 0;
    std::vector<std::byte> data;
  };
  std::map<std::uint32_t, CachedWrite> cached_writes_;
  std::unique_ptr<target::shell::Shell> shell_;  // nullptr: the target is down
  target::engine::Counters counters_;
  std::deque<ethernet::FrameId> ring_;
  bool frame_handed_in_ = false;
  std::uint64_t dropped_before_ = 0;
  std::size_t frames_seen_ = 0;  // of the outbox, by the checkers
  std::size_t ops_seen_ = 0;
  std::size_t saves_seen_ = 0;
  struct Results {
    std::size_t frame = 0;
    std::size_t seen = 0;
  };
  std::vector<Results> results_;  // frames of the outbox that may still grow
  std::uint64_t wake_token_ = 0;
  Nanoseconds wake_at_ = -1;

  static constexpr std::uint64_t kNotPerformed = ~std::uint64_t{0};
  std::vector<std::uint64_t>
      first_epoch_;  // by version: the session in which it was first performed
  std::vector<std::vector<disk::Version>> known_stale_;  // by LBA: stale writes nobody can stop
  std::size_t host_events_left_ = 0;
  Nanoseconds now_ = 0;
  Phase phase_ = Phase::work;
};

}  // namespace sim
