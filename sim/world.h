// A world: the real engine in virtual time, with network, disk, initiators and checkers around it.
// It owns the loop and nothing of the protocol. One world, one thread, no clock but its own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/checkers/reference.h"
#include "sim/checkers/sector_register.h"
#include "sim/clients/initiator.h"
#include "sim/coverage.h"
#include "sim/disk/disk.h"
#include "sim/ethernet/network.h"
#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/schedule.h"
#include "sim/trace.h"
#include "target/engine/engine.h"

namespace sim {

enum class Outcome : std::uint8_t { intact, known_damage, safety, liveness };

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

class World {
 public:
  // swarm: draw the verdicts and write them down; without: read them from the schedule. The
  // schedule must outlive the world.
  explicit World(const Schedule& schedule, const std::optional<Swarm>& swarm = std::nullopt);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

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

  // The shell around the engine, as target/linux has one.
  void wake_target(Nanoseconds when);
  void run_target(bool timer);
  void take_frames();
  void look_at_outbox();
  void flush_outbox();
  void schedule_deadline();
  [[nodiscard]] Nanoseconds target_clock(Nanoseconds now) const;
  [[nodiscard]] Nanoseconds world_time_of(Nanoseconds target_time) const;

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
  const Settings& settings_;
  Tracer tracer_;
  EventQueue queue_;
  Faults faults_;
  ethernet::Network network_;
  disk::Disk disk_;
  checkers::Findings findings_;
  checkers::SectorRegister sectors_;
  checkers::Reference reference_;
  Coverage coverage_;
  std::vector<std::unique_ptr<clients::Initiator>> initiators_;

  std::unique_ptr<target::engine::Engine> engine_;
  target::engine::Counters counters_;
  std::vector<ethernet::FrameId> ring_;
  std::size_t frames_seen_ = 0;  // of the outbox, by the checkers
  std::size_t ops_seen_ = 0;
  std::uint64_t batch_ = 0;
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
