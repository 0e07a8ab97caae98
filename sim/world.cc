// The loop of a world.
#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <string_view>

namespace sim {
namespace {

using target::engine::DiskOpKind;
using target::engine::EngineConfig;

constexpr std::int64_t kMillion = 1'000'000;
constexpr std::size_t kOutboxFramesMax = 65'536;  // bounds: a call may not ask for more
constexpr std::uint64_t kEventsMax = 20'000'000;  // a run that goes in circles

EngineConfig engine_config(const Settings& settings, const target::engine::PersistentState& state) {
  EngineConfig config;
  config.shelf = 1;
  config.slot = 1;
  config.sectors = static_cast<std::uint64_t>(settings.sectors);
  config.read_only = settings.read_only != 0;
  config.volatile_write_cache = settings.volatile_write_cache != 0;
  config.buffer_count = static_cast<std::uint16_t>(settings.buffer_count);
  config.ports = {
      {ethernet::Network::mac_of(kTargetHost), static_cast<std::uint16_t>(settings.mtu)}};
  config.freeze = {(settings.frozen & kFrozenConfig) != 0, (settings.frozen & kFrozenMask) != 0,
                   (settings.frozen & kFrozenReserve) != 0};
  config.persist = settings.persist != 0;
  if (config.persist) {
    config.state = state;
  }
  config.behind_window = settings.behind_window_perform != 0
                             ? target::engine::BehindWindow::perform
                             : target::engine::BehindWindow::reject_silently;
  config.reset_on = settings.reset_on_config_write != 0 ? target::engine::ResetOn::config_write
                                                        : target::engine::ResetOn::any_config;
  config.extensions = settings.extensions != 0;
  config.initiators_max = static_cast<std::uint32_t>(settings.initiators_max);
  config.operations_max = static_cast<std::uint32_t>(settings.operations_max);
  return config;
}

// A request with all its further reads needs a slot for each: fewer are no target.
Settings as_run(Settings settings) {
  const std::uint32_t least = target::engine::operations_min(engine_config(settings, {}));
  settings.operations_max = std::max<std::int64_t>(settings.operations_max, least);
  return settings;
}

}  // namespace

World::World(const Schedule& schedule, const std::optional<Swarm>& swarm)
    : schedule_(schedule),
      settings_(as_run(schedule.settings)),
      queue_(schedule.settings.tie),
      faults_(swarm ? Faults(schedule, *swarm) : Faults(schedule)),
      network_(schedule, queue_, tracer_, faults_),
      disk_(settings_, queue_, tracer_, faults_),
      sectors_(static_cast<std::uint64_t>(settings_.sectors)),
      reference_(settings_, ethernet::Network::mac_of(kTargetHost), findings_),
      storage_(static_cast<std::uint64_t>(settings_.sectors), findings_),
      known_stale_(static_cast<std::size_t>(settings_.sectors)) {
  using Keeps = checkers::SectorRegister::Keeps;
  sectors_.keep_for_crash(settings_.volatile_write_cache != 0 ? Keeps::until_flush
                          : settings_.synced_in_groups != 0   ? Keeps::until_done
                                                              : Keeps::nothing);
  const auto oldest_read = [this] {
    checkers::Order oldest = checkers::kNever;
    for (const auto& each : initiators_) {
      oldest = std::min(oldest, each->oldest_read());
    }
    return oldest;
  };
  const auto known_damage = [this](std::uint64_t lba, disk::Version version) {
    const std::vector<disk::Version>& known = known_stale_[lba];
    return std::find(known.begin(), known.end(), version) != known.end();
  };
  const auto lost = [this](std::uint64_t lba, std::uint32_t sectors) {
    return storage_.perhaps_lost(lba, sectors);
  };
  for (std::size_t i = 0; i < schedule.initiators.size(); ++i) {
    const auto host = static_cast<std::uint32_t>(i + 1);
    const InitiatorSpec& spec = schedule.initiators[i];
    const clients::Surroundings surroundings{settings_,    queue_,  network_,  sectors_,
                                             findings_,    tracer_, coverage_, oldest_read,
                                             known_damage, lost};
    if (spec.kind == InitiatorKind::library) {
      initiators_.push_back(std::make_unique<clients::Library>(host, spec, surroundings));
    } else {
      initiators_.push_back(std::make_unique<clients::Initiator>(host, spec, surroundings));
    }
  }
}

World::~World() = default;

Result World::run() {
  for (std::size_t i = 0; i < schedule_.host_events.size(); ++i) {
    queue_.at(schedule_.host_events[i].at, EventKind::host_event, 0, i);
  }
  host_events_left_ = schedule_.host_events.size();
  start_target();
  for (const auto& each : initiators_) {
    each->start(now_);
  }
  while (phase_ != Phase::end && !queue_.empty()) {
    const Event event = queue_.pop();
    assert(event.time >= now_);
    now_ = event.time;
    findings_.set_time(now_);
    if (now_ > settings_.limit_ns || tracer_.events() > kEventsMax) {
      give_up();
      break;
    }
    dispatch(event);
    if (quiet()) {
      next_phase();
    }
  }
  if (phase_ != Phase::end && queue_.empty() && !findings_.failed()) {
    give_up();
  }
  return result();
}

void World::dispatch(const Event& event) {
  switch (event.kind) {
    case EventKind::frame_arrives: {
      const ethernet::FrameId id =
          network_.arrive(event.who, static_cast<ethernet::FrameId>(event.arg), now_);
      if (id != ethernet::kNoFrame) {
        frame_at_host(event.who / 2, id, event.who);
      }
      break;
    }
    case EventKind::held_frame_expires:
      network_.expire_held(event.who, static_cast<ethernet::FrameId>(event.arg), now_);
      break;
    case EventKind::target_wakes:
      if (shell_ != nullptr && event.arg == wake_token_) {
        wake_at_ = -1;
        shell_->on_frames(0);
        run_target();
      }
      break;
    case EventKind::disk_done: {
      const disk::Disk::Completion completion = disk_.complete(event.arg, now_);
      if (completion.current && shell_ != nullptr) {
        // With the cache in between a write stands where it can be read when the cache says so.
        if (!cache_) {
          judge_written(completion.lba, completion.written);
        } else if (!completion.save) {
          storage_.disk_ended(completion.kind, completion.first, completion.content,
                              completion.done.status);
        }
        auto& ended = completion.save ? target_store_.ended : target_disk_.ended;
        ended.push_back({completion.done.id, completion.done.status});
        run_target();
      }
      break;
    }
    case EventKind::initiator_timer:
      initiators_[event.who - 1]->on_timer(event.arg, now_);
      break;
    case EventKind::host_event:
      --host_events_left_;
      host_event(schedule_.host_events[event.arg]);
      break;
  }
}

// ---- hosts
// ----------------------------------------------------------------------------------------

void World::frame_at_host(std::uint32_t host, ethernet::FrameId id, LinkId link) {
  const ethernet::Frame& frame = network_.frame(id);
  const bool target = host == kTargetHost;
  const bool down = target && shell_ == nullptr;
  const bool full = target && ring_.size() >= static_cast<std::size_t>(settings_.buffer_count);
  if (down || full) {
    coverage_.ring_full += full ? 1 : 0;
    tracer_.emit({.time = now_,
                  .kind = TraceKind::frame_lost,
                  .detail = static_cast<std::uint8_t>(down ? LostBecause::host_down
                                                           : LostBecause::ring_full),
                  .host = link,
                  .serial = frame.serial});
    network_.release(id);
    return;
  }
  tracer_.emit({.time = now_,
                .kind = TraceKind::frame_received,
                .host = host,
                .serial = frame.serial,
                .bytes = frame.bytes()});
  coverage_.tainted_frames += frame.tainted ? 1 : 0;
  if (target) {
    ring_.push_back(id);
    wake_target(now_ + settings_.wake_ns);
    return;
  }
  initiators_[host - 1]->receive(frame, now_);
  network_.release(id);
}

void World::host_event(const HostEvent& event) {
  tracer_.emit({.time = now_,
                .kind = TraceKind::host_event,
                .detail = static_cast<std::uint8_t>(event.kind),
                .host = event.host,
                .amount = event.amount});
  switch (event.kind) {
    case HostEventKind::crash:
      if (shell_ != nullptr) {
        crash(event.amount);
      }
      break;
    case HostEventKind::restart:
      if (shell_ == nullptr) {
        ++coverage_.restarts;
        start_target();
      }
      break;
    case HostEventKind::clear:
      if (shell_ != nullptr) {
        crash(0);
      }
      disk_.forget_saved();
      reference_.cleared();
      start_target();
      break;
    case HostEventKind::partition_both:
      ++coverage_.partitions;
      network_.set_partition(event.host, true, true);
      break;
    case HostEventKind::partition_in:
      ++coverage_.partitions;
      network_.set_partition(event.host, true, false);
      break;
    case HostEventKind::partition_out:
      ++coverage_.partitions;
      network_.set_partition(event.host, false, true);
      break;
    case HostEventKind::heal:
      network_.set_partition(event.host, false, false);
      network_.set_mtu(event.host, settings_.mtu);
      break;
    case HostEventKind::mtu:
      network_.set_mtu(event.host, event.amount);
      break;
  }
}

void World::stop_counting() {
  const target::engine::Counters& last = shell_->engine().counters();
#define AOE_SIM_ADD_COUNTER(name) counters_.name += last.name;
  AOE_ENGINE_COUNTERS(AOE_SIM_ADD_COUNTER)
#undef AOE_SIM_ADD_COUNTER
}

void World::crash(std::int64_t choice) {
  ++coverage_.crashes;
  tracer_.emit({.time = now_, .kind = TraceKind::crash, .amount = choice});
  disk_.crash(choice, now_, [this](std::uint64_t lba, bool unfinished) {
    const disk::Stamp left = disk::read_stamp(disk_.sector(lba), lba);
    const bool allowed = sectors_.judge_crash(
        left, lba, unfinished,
        settings_.volatile_write_cache != 0 || settings_.synced_in_groups != 0);
    // Where a stale write came between, the register cannot say what is durable.
    if (!allowed && known_stale_[lba].empty()) {
      findings_.add(
          checkers::Severity::safety, "durability",
          fmt::format("after the crash sector {} does not hold what was acknowledged", lba));
    }
  });
  stop_counting();
  shell_.reset();
  cache_.reset();
  cached_writes_.clear();
  storage_.crash();
  target_disk_.ended.clear();
  target_store_.ended.clear();
  for (const ethernet::FrameId id : ring_) {
    network_.release(id);
  }
  ring_.clear();
  ++wake_token_;
  wake_at_ = -1;
  reference_.crash();
}

void World::start_target() {
  tracer_.emit({.time = now_, .kind = TraceKind::restart});
  reference_.start(disk_.saved());
  using target::shell::WriteDurability;
  commit_.emplace(target_disk_, settings_.volatile_write_cache != 0 ? WriteDurability::by_flush
                                : settings_.synced_in_groups != 0
                                    ? WriteDurability::synced_in_groups
                                    : WriteDurability::as_written);
  if (settings_.cache_pages > 0) {
    target::cache::CacheConfig cache;
    cache.sectors = static_cast<std::uint64_t>(settings_.sectors);
    cache.write_behind = settings_.volatile_write_cache != 0;
    cache.pages = static_cast<std::uint32_t>(settings_.cache_pages);
    cache.read_ahead_sectors_max = static_cast<std::uint32_t>(settings_.read_ahead_sectors);
    cache.flights_max = static_cast<std::uint32_t>(settings_.cache_flights);
    cache.write_behind_delay_ns = settings_.write_behind_ns;
    target::shell::Clock& clock = *this;
    cache_.emplace(*commit_, clock, cache);
  }
  shell_ = std::make_unique<target::shell::Shell>(
      engine_config(settings_, disk_.saved()), target::shell::Surroundings{.clock = *this,
                                                                           .intake = *this,
                                                                           .sender = *this,
                                                                           .disk = target_disk(),
                                                                           .store = &target_store_,
                                                                           .witness = this});
  frame_handed_in_ = false;
  frames_seen_ = 0;
  ops_seen_ = 0;
  saves_seen_ = 0;
  results_.clear();
  run_target();
}

// ---- the target
// ------------------------------------------------------------------

Nanoseconds World::target_clock(Nanoseconds now) const {
  return now + now / kMillion * settings_.target_clock_ppm + settings_.target_clock_offset_ns;
}

// The first instant of the world at which the target's clock has reached this.
Nanoseconds World::world_time_of(Nanoseconds target_time) const {
  const Nanoseconds reached = target_time - settings_.target_clock_offset_ns;
  Nanoseconds guess =
      reached - reached / (kMillion + settings_.target_clock_ppm) * settings_.target_clock_ppm;
  guess = std::max(guess, now_);
  while (target_clock(guess) < target_time) {
    guess += std::max<Nanoseconds>(target_time - target_clock(guess), 1);
  }
  return guess;
}

void World::wake_target(Nanoseconds when) {
  if (wake_at_ >= 0 && wake_at_ <= when) {
    return;
  }
  wake_at_ = when;
  queue_.at(when, EventKind::target_wakes, 0, ++wake_token_);
}

void World::run_target() {
  const bool more = shell_->work();
  if (const Nanoseconds deadline = shell_->deadline(); deadline != target::engine::kNever) {
    wake_target(world_time_of(deadline));
  }
  if (more) {
    wake_target(now_ + settings_.wake_ns);
  }
}

std::uint32_t World::waiting(std::uint16_t /*port*/, std::uint32_t limit) {
  return std::min(limit, static_cast<std::uint32_t>(ring_.size()));
}

std::optional<std::span<const std::byte>> World::front(std::uint16_t /*port*/) {
  return network_.frame(ring_.front()).bytes();
}

void World::pop(std::uint16_t /*port*/) {
  network_.release(ring_.front());
  ring_.pop_front();
}

target::shell::SendResult World::send(std::uint16_t /*port*/,
                                      std::span<const target::shell::FrameView> frames) {
  for (const target::shell::FrameView bytes : frames) {
    const ethernet::FrameId id = network_.allocate();
    ethernet::Frame& frame = network_.frame(id);
    const std::size_t size = std::min(bytes.size(), frame.storage.size());
    std::copy_n(bytes.begin(), size, frame.storage.begin());
    frame.size = static_cast<std::uint32_t>(size);
    network_.send(kTargetHost, id, now_);
  }
  return {frames.size()};
}

void World::TargetDisk::start(std::span<const target::engine::DiskOp> operations) {
  for (const auto& op : operations) {
    world_.disk_.start(op, world_.now_);
  }
}

void World::TargetDisk::reap(std::vector<target::shell::DiskCompletion>& completions) {
  completions.insert(completions.end(), ended.begin(), ended.end());
  ended.clear();
}

void World::TargetStore::start(const target::engine::Save& save) {
  id = save.id;
  world_.disk_.start(save, world_.now_);
}

void World::TargetStore::reap(std::vector<target::shell::DiskCompletion>& completions) {
  completions.insert(completions.end(), ended.begin(), ended.end());
  ended.clear();
}

void World::before(const target::engine::FrameIn& in) {
  const ethernet::Frame& frame = network_.frame(ring_.front());
  const bool hostile = frame.sender != kTargetHost &&
                       schedule_.initiators[frame.sender - 1].kind == InitiatorKind::hostile;
  if (frame.tainted || hostile) {
    taint_target_of(frame);
  }
  if (frame.tainted && !hostile && frame.size >= clients::kHeaderBytes) {
    // The source may have become another's: then that one is answered.
    const clients::MacAddress source = clients::View(frame.bytes()).source();
    reference_.corrupted(source);
    for (std::uint32_t host = 1; host <= initiators_.size(); ++host) {
      if (host == frame.sender || source == ethernet::Network::mac_of(host)) {
        initiators_[host - 1]->distrust(frame.bytes());
      }
    }
  }
  reference_.set_time(in.now);
  reference_.frame_in(in.bytes, in.batch);
  frame_handed_in_ = true;
  dropped_before_ = shell_->engine().counters().duplicates_in_ring;
}

void World::before(const target::engine::DiskDone& done) {
  reference_.set_time(done.now);
  if (done.id != target_store_.id) {
    reference_.disk_done(done.id, done.status);
    if (cache_) {
      storage_.ended(done.id, done.status);
    }
    if (const auto written = cached_writes_.find(done.id); written != cached_writes_.end()) {
      if (done.status == target::engine::DiskStatus::ok) {
        judge_written(written->second.lba, written->second.data);
      }
      cached_writes_.erase(written);
    }
  } else {
    reference_.save_done(done.status);
  }
}

// Shows the checkers what is new in the outbox.
void World::after_event(const target::engine::Engine& engine) {
  if (frame_handed_in_) {
    reference_.frame_taken(engine.counters().duplicates_in_ring != dropped_before_);
  }
  frame_handed_in_ = false;
  const target::engine::Outbox& outbox = engine.outbox();
  for (; ops_seen_ < outbox.disk_ops.size(); ++ops_seen_) {
    judge_disk_op(outbox.disk_ops[ops_seen_]);
  }
  for (; saves_seen_ < outbox.saves.size(); ++saves_seen_) {
    reference_.save_started(*outbox.saves[saves_seen_].state);
  }
  reference_.set_time(target_clock(now_));
  for (Results& results : results_) {
    results.seen = reference_.results_out(outbox.frames[results.frame].bytes, results.seen);
  }
  for (; frames_seen_ < outbox.frames.size(); ++frames_seen_) {
    const target::engine::FrameOut& out = outbox.frames[frames_seen_];
    if (reference_.frame_out(out.bytes)) {
      results_.push_back({frames_seen_, reference_.results_out(out.bytes, 0)});
    }
  }
  if (outbox.frames.size() > kOutboxFramesMax || outbox.disk_ops.size() > kOutboxFramesMax) {
    findings_.add(checkers::Severity::safety, "bounds:outbox", "the outbox grows without bound");
  }
  if (engine.counters().sessions > static_cast<std::uint64_t>(settings_.initiators_max)) {
    findings_.add(checkers::Severity::safety, "bounds:sessions", "more sessions than allowed");
  }
}

void World::after_flush(const target::engine::Outbox& outbox) {
  for (const auto& note : outbox.notes) {
    tracer_.emit({.time = now_,
                  .kind = TraceKind::note,
                  .detail = static_cast<std::uint8_t>(note.kind),
                  .amount = static_cast<std::int64_t>(note.value)});
  }
  frames_seen_ = 0;
  ops_seen_ = 0;
  saves_seen_ = 0;
  results_.clear();
}

// ---- checkers
// -------------------------------------------------------------------------------------

void World::judge_disk_op(const target::engine::DiskOp& op) {
  const bool inside = op.lba + op.sectors <= sectors_.sectors();
  if (op.kind != DiskOpKind::flush && !inside) {
    findings_.add(checkers::Severity::safety, "bounds:lba",
                  fmt::format("a disk operation on {}+{} past the end", op.lba, op.sectors));
    return;
  }
  const checkers::Reference::Admission admission = reference_.disk_started(op);
  if (cache_) {
    storage_.started(op);
  }
  if (op.kind != DiskOpKind::write) {
    return;
  }
  if (cache_) {
    cached_writes_[op.id] = {op.lba, {op.data.begin(), op.data.end()}};
  }
  for (std::uint32_t i = 0; i < op.sectors; ++i) {
    const std::uint64_t lba = op.lba + i;
    const disk::Stamp stamp = disk::read_stamp(
        std::span<const std::byte>(op.data).subspan(i * disk::kSectorBytes, disk::kSectorBytes),
        lba);
    if (stamp.state == disk::StampState::good && sectors_.known(stamp.version)) {
      judge_stale(stamp.version, lba, admission);
    }
  }
}

void World::judge_written(std::uint64_t first, std::span<const std::byte> data) {
  for (std::size_t i = 0; i * disk::kSectorBytes < data.size(); ++i) {
    const disk::Stamp stamp =
        disk::read_stamp(data.subspan(i * disk::kSectorBytes, disk::kSectorBytes), first + i);
    if (stamp.state == disk::StampState::good && sectors_.known(stamp.version)) {
      sectors_.reached(stamp.version, first + i);
    }
  }
}

// The cause of stale damage: a write that was done reaches the disk again after a later one.
void World::judge_stale(disk::Version version, std::uint64_t lba,
                        const checkers::Reference::Admission& admission) {
  const checkers::Write& write = sectors_.write(version);
  if (first_epoch_.size() <= version) {
    first_epoch_.resize(version + 1, kNotPerformed);
  }
  if (first_epoch_[version] == kNotPerformed) {
    first_epoch_[version] = admission.epoch;
  }
  if (sectors_.judge_apply(version, lba) == checkers::ApplyVerdict::good) {
    return;
  }
  // Only the window of one session can know: a restart, a reset or a late duplicate of a
  // negotiation empties it.
  const bool protected_write = admission.windowed && first_epoch_[version] == admission.epoch;
  const std::string text =
      fmt::format("an outdated write (host {} #{}, asked for at {} ns) reaches sector {} again{}",
                  schedule_.host_name(write.initiator), write.op, write.asked_ns, lba,
                  protected_write ? "" : ": the protocol cannot prevent it");
  tracer_.emit({.time = now_, .kind = TraceKind::finding, .serial = lba, .text = text});
  if (protected_write) {
    findings_.add(checkers::Severity::safety, "stale:write", text);
    sectors_.accept(version, lba);
    return;
  }
  ++coverage_.stale_applied_known;
  findings_.add(checkers::Severity::known, "stale:known", text);
  known_stale_[lba].push_back(version);
}

// Whatever a corrupted or hostile frame may write is anybody's guess from now on.
void World::taint_target_of(const ethernet::Frame& frame) {
  const clients::View view(frame.bytes());
  if (!view.aoe() || !view.ata() || view.command() != clients::kAta ||
      !clients::is_write(view.ata_command())) {
    return;
  }
  const std::uint64_t lba =
      view.ata_command() == clients::kWrite28 ? view.lba() & 0x0fffffffU : view.lba();
  for (std::uint64_t i = 0; i < view.sectors() && lba + i < sectors_.sectors(); ++i) {
    sectors_.taint(lba + i);
  }
}

bool World::quiet() const {
  if (network_.travelling() != 0 || disk_.in_flight() != 0 || host_events_left_ != 0 ||
      !ring_.empty()) {
    return false;
  }
  for (const auto& each : initiators_) {
    if (!each->idle()) {
      return false;
    }
  }
  return shell_ == nullptr || shell_->deadline() == target::engine::kNever;
}

void World::next_phase() {
  if (phase_ == Phase::work) {
    phase_ = Phase::sweep;
    tracer_.emit({.time = now_, .kind = TraceKind::phase, .detail = 1});
    bool everything = true;
    for (const auto& each : initiators_) {
      each->sweep(everything, now_);
      everything = everything && each->spec().kind == InitiatorKind::hostile;
    }
    if (!quiet()) {
      return;
    }
  }
  phase_ = Phase::end;
  tracer_.emit({.time = now_, .kind = TraceKind::phase, .detail = 2});
  reference_.finish();
}

void World::give_up() {
  std::string text;
  for (const auto& each : initiators_) {
    if (!each->idle()) {
      text += (text.empty() ? "" : "; ") + each->unfinished();
    }
  }
  findings_.add(checkers::Severity::liveness, "liveness:stuck",
                fmt::format("no end after {}: {}", print_duration(now_), text));
}

Result World::result() {
  Result result;
  result.findings = findings_.list();
  for (const checkers::Finding& finding : result.findings) {
    const Outcome outcome = finding.severity == checkers::Severity::safety ? Outcome::safety
                            : finding.severity == checkers::Severity::liveness
                                ? Outcome::liveness
                                : Outcome::known_damage;
    // Safety before liveness before what is known; of each the first, but damage that was seen says
    // more than its cause.
    const bool stronger =
        result.outcome == Outcome::intact ||
        (outcome == Outcome::safety && result.outcome != Outcome::safety) ||
        (outcome == Outcome::liveness && result.outcome == Outcome::known_damage) ||
        (outcome == Outcome::known_damage && result.outcome == Outcome::known_damage &&
         finding.signature == "damage:stale-read" && result.signature != finding.signature);
    if (stronger) {
      result.outcome = outcome;
      result.signature = finding.signature;
    }
  }
  if (shell_ != nullptr) {
    stop_counting();
  }
  for (const FrameFault& fault : faults_.frame_faults()) {
    coverage_.frames_dropped += fault.kind == FrameFaultKind::drop ? 1 : 0;
    coverage_.frames_duplicated += fault.kind == FrameFaultKind::duplicate ? 1 : 0;
    coverage_.frames_delayed += fault.kind == FrameFaultKind::delay ? 1 : 0;
  }
  coverage_.disk_errors = disk_.errors();
  coverage_.torn_sectors = disk_.torn();
  coverage_.saves = disk_.saves();
  result.coverage = coverage_;
  result.counters = counters_;
  result.events = tracer_.events();
  result.frames = network_.frames_sent();
  result.hash = tracer_.hash();
  result.virtual_ns = now_;
  return result;
}

Schedule World::written() const {
  Schedule schedule = schedule_;
  schedule.frame_faults = faults_.frame_faults();
  schedule.disk_faults = faults_.disk_faults();
  return schedule;
}

}  // namespace sim
