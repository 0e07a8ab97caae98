// One export, running: see export.h.
#include "target/linux/export.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "target/linux/start_error.h"
#include "target/linux/survey.h"

namespace target::linux_shell {
namespace {

using engine::kNever;
using engine::Nanoseconds;

// Frames handed in before the outbox is flushed: enough to submit and send in batches, few enough
// that the first reply does not wait for long.
constexpr std::uint32_t kFramesPerTurn = 64;
constexpr Nanoseconds kDiskRetry_ns = 1'000'000;
constexpr Nanoseconds kNoteWindow_ns = 1'000'000'000;
constexpr std::uint32_t kNoteLinesPerWindow = 10;

void add(RingCounters& sum, const RingCounters& more) {
  sum.frames += more.frames;
  sum.drops += more.drops;
  sum.unusable += more.unusable;
}

void add(SendCounters& sum, const SendCounters& more) {
  sum.frames += more.frames;
  sum.queued += more.queued;
  sum.drops_full += more.drops_full;
  sum.drops_link += more.drops_link;
}

std::string note_text(const engine::Note& note) {
  switch (note.kind) {
    case engine::NoteKind::behind_window_rejected:
      return fmt::format("a write with tag {:#010x}, behind the tag window, was not performed",
                         note.value);
    case engine::NoteKind::behind_window_performed:
      return fmt::format("a write with tag {:#010x}, behind the tag window, was performed",
                         note.value);
    case engine::NoteKind::sessions_full:
      return "no extensions: too many initiators have them already";
    case engine::NoteKind::pause_started:
      return fmt::format("congestion probe {}: pause", note.value);
    case engine::NoteKind::pause_refused:
      return fmt::format("congestion probe {}: no pause, too many of late", note.value);
    case engine::NoteKind::session_reset:
      return "extensions reset";
    case engine::NoteKind::disk_error:
      return fmt::format("the disk failed at sector {}", note.value);
    case engine::NoteKind::save_failed:
      return "a change of state could not be saved";
  }
  return "unknown note";
}

spdlog::level::level_enum note_level(engine::NoteKind kind) {
  switch (kind) {
    case engine::NoteKind::disk_error:
    case engine::NoteKind::save_failed:
      return spdlog::level::err;
    case engine::NoteKind::behind_window_rejected:
    case engine::NoteKind::behind_window_performed:
    case engine::NoteKind::sessions_full:
    case engine::NoteKind::pause_refused:
      return spdlog::level::warn;
    case engine::NoteKind::pause_started:
    case engine::NoteKind::session_reset:
      return spdlog::level::debug;
  }
  return spdlog::level::info;
}

}  // namespace

Export::Export(const ExportOptions& options, EventLoop& loop)
    : options_(options),
      name_(export_name(options.shelf, options.slot)),
      loop_(loop),
      image_(open_image({options.file, options.read_only, options.direct, options.write_cache})) {
  if (!options_.state_dir.empty()) {
    state_directory_ = open_state_directory(options_.state_dir);
    store_ = std::make_unique<StateStore>(*state_directory_, options_.state_dir, options_.shelf,
                                          options_.slot);
    loaded_ = store_->load();
  }
  ports_.resize(options_.interfaces.size());
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    Port& port = ports_[i];
    port.name = options_.interfaces[i];
    port.facts = look_up_interface(port.name);
    if (!port.facts) {
      throw StartError(fmt::format("interface {} does not exist any more", port.name));
    }
    port.configured = *port.facts;
    open_port(port);
  }
  const auto config = engine_config();
  engine_ = std::make_unique<engine::Engine>(config);
  // Direct writes are durable one by one (O_DSYNC), and the kernel carries them out asynchronously.
  // On the page cache O_DSYNC would make io_submit wait for every single one: a group is as
  // durable.
  const auto durability = options_.write_cache ? WriteDurability::by_flush
                          : options_.direct    ? WriteDurability::as_opened
                                               : WriteDurability::synced_in_groups;
  disk_ = std::make_unique<AioDisk>(image_.fd.get(), options_.file, config.operations_max,
                                    durability, aio_calls_);
  for (Port& port : ports_) {
    watch_port(port);
  }
  // Edge-triggered and never read: every completion makes a new edge, and each edge is reaped.
  disk_token_ = loop_.add(disk_->event_fd(), EPOLLIN | EPOLLET, [](std::uint32_t) {});
}

Export::~Export() {
  loop_.remove(disk_token_);
  for (Port& port : ports_) {
    close_port(port);
  }
}

engine::EngineConfig Export::engine_config() const {
  engine::EngineConfig config;
  config.shelf = options_.shelf;
  config.slot = options_.slot;
  config.sectors = image_.size.sectors;
  config.read_only = options_.read_only;
  config.volatile_write_cache = options_.write_cache && !options_.read_only;
  config.buffer_count = options_.buffer_count;
  config.serial = options_.serial;
  for (const Port& port : ports_) {
    config.ports.push_back({port.configured.mac, static_cast<std::uint16_t>(port.configured.mtu)});
  }
  config.allow = options_.allow;
  config.state = loaded_;
  config.persist = store_ != nullptr;
  config.behind_window = options_.behind_window;
  config.reset_on = options_.reset_on;
  config.extensions = options_.extensions;
  return config;
}

void Export::open_port(Port& port) {
  assert(port.facts);
  port.ring = std::make_unique<PacketRing>(port.name, *port.facts,
                                           RingAddress{options_.shelf, options_.slot},
                                           options_.buffer_count, port.configured.mac);
  port.sender =
      std::make_unique<PacketSender>(port.name, *port.facts, port.configured.mac, send_calls_);
}

void Export::watch_port(Port& port) {
  Port* const self = &port;
  port.ring_token =
      loop_.add(port.ring->fd(), EPOLLIN, [this, self](std::uint32_t) { on_ring(*self); });
  port.sender_token =
      loop_.add(port.sender->fd(), 0, [this, self](std::uint32_t) { on_sender(*self); });
  port.readable = true;
  port.muted = false;
}

void Export::close_port(Port& port) {
  if (port.ring_token != 0) {
    loop_.remove(port.ring_token);
    port.ring_token = 0;
  }
  if (port.sender_token != 0) {
    loop_.remove(port.sender_token);
    port.sender_token = 0;
  }
  if (port.ring) {
    add(port.ring_before, port.ring->counters());
    port.ring.reset();
  }
  if (port.sender) {
    add(port.send_before, port.sender->counters());
    port.send_before.drops_link += port.sender->queued_frames();
    port.sender.reset();
  }
  port.batch_left = 0;
  port.readable = false;
  port.holding = false;
  port.send_retry = kNever;
}

void Export::look_at_interfaces() {
  for (Port& port : ports_) {
    look_at(port);
  }
}

void Export::look_at(Port& port) {
  const auto now = look_up_interface(port.name);
  const auto before = port.facts;
  if (now == before) {
    return;
  }
  port.facts = now;
  if (!now) {
    spdlog::warn("{}: interface {} is gone; waiting for it to come back", name_, port.name);
    return;
  }
  if (!before || before->up != now->up) {
    spdlog::info("{}: interface {} is {}", name_, port.name, now->up ? "up" : "down");
  }
  if (now->mtu != port.configured.mtu && (!before || before->mtu != now->mtu)) {
    spdlog::warn(
        "{}: interface {} has an MTU of {} now and had {} at the start: restart aoe-target "
        "to use it",
        name_, port.name, now->mtu, port.configured.mtu);
  }
  const bool other_interface = !before || before->index != now->index;
  if ((!other_interface && before->mac == now->mac) || stopping_) {
    return;
  }
  close_port(port);
  try {
    open_port(port);
    watch_port(port);
    ++port.reopened;
    spdlog::info("{}: serving on {} again, address {}", name_, port.name, format_mac(now->mac));
  } catch (const StartError& error) {
    spdlog::error("{}: {}", name_, error.what());
    close_port(port);
    port.facts.reset();  // tried again when the next change is reported
  }
}

void Export::on_ring(Port& port) {
  // The kernel reports a link that went down once; what it means, look_at_interfaces() finds out.
  port.ring->take_error();
  port.readable = true;
  if (!engine_->intake_open() && !port.muted) {
    loop_.modify(port.ring_token, 0);
    port.muted = true;
  }
}

void Export::on_sender(Port& port) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(port.sender->fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  port.sender->flush();
  watch_sender(port);
}

void Export::watch_sender(Port& port) {
  const auto wait = port.sender->wait();
  const std::uint32_t events = wait == SendWait::writable ? EPOLLOUT : 0U;
  loop_.modify(port.sender_token, events);
  port.send_retry = wait == SendWait::retry ? monotonic_now() + kSendRetry_ns : kNever;
}

void Export::follow_intake() {
  if (!engine_->intake_open()) {
    return;
  }
  for (Port& port : ports_) {
    if (port.muted && port.ring_token != 0) {
      loop_.modify(port.ring_token, EPOLLIN);
      port.muted = false;
      port.readable = true;
    }
    if (port.holding) {
      port.readable = true;
    }
  }
}

void Export::take_frames(Port& port, std::uint16_t index) {
  if (port.holding) {
    port.ring->pop();
    --port.batch_left;
    port.holding = false;
  }
  if (port.batch_left == 0) {
    // What waits at this moment has waited together; what comes while it is served has not.
    port.batch_left = port.ring->waiting(options_.buffer_count);
    port.batch = ++batches_;
    port.readable = port.batch_left > 0;
  }
  std::uint32_t turn = std::min(port.batch_left, kFramesPerTurn);
  while (turn-- > 0) {
    if (const auto bytes = port.ring->front()) {
      engine_->on_frame({index, port.batch, *bytes, monotonic_now()});
    }
    if (!engine_->intake_open()) {
      // Its slot stays taken: the buffer holds exactly buffer_count frames, this one included.
      port.holding = true;
      return;
    }
    port.ring->pop();
    --port.batch_left;
  }
}

void Export::complete(const std::vector<DiskCompletion>& completions) {
  for (const auto& one : completions) {
    engine_->on_disk_done({one.id, one.status, monotonic_now()});
  }
}

void Export::start_saves() {
  for (const auto& save : engine_->outbox().saves) {
    assert(store_ != nullptr);
    const auto status = store_->save(*save.state);
    ++saves_;
    if (status != engine::DiskStatus::ok) {
      ++save_failures_;
      spdlog::error("{}: {}", name_, store_->last_error());
    }
    completions_.push_back({save.id, status});
  }
}

void Export::send_frames() {
  for (const auto& frame : engine_->outbox().frames) {
    ports_[frame.port].outgoing.push_back(frame.bytes);
  }
  for (Port& port : ports_) {
    if (port.outgoing.empty()) {
      continue;
    }
    if (port.sender) {
      const auto waited = port.sender->wait();
      port.sender->send(port.outgoing);
      if (port.sender->wait() != waited) {
        watch_sender(port);
      }
    } else {
      port.send_before.drops_link += port.outgoing.size();
    }
    port.outgoing.clear();
  }
}

void Export::log_notes() {
  for (const auto& note : engine_->outbox().notes) {
    auto& limit = note_limits_.at(static_cast<std::size_t>(note.kind));
    const auto now = monotonic_now();
    if (now - limit.window_start >= kNoteWindow_ns) {
      if (limit.suppressed > 0) {
        spdlog::log(note_level(note.kind), "{}: {} more lines like this were left out: {}", name_,
                    limit.suppressed, note_text(note));
      }
      limit = {now, 0, 0};
    }
    if (limit.lines++ < kNoteLinesPerWindow) {
      spdlog::log(note_level(note.kind), "{} {} {}: {}", name_, ports_.at(note.port).name,
                  format_mac(note.initiator), note_text(note));
    } else {
      ++limit.suppressed;
    }
  }
}

void Export::flush_outbox() {
  do {
    completions_.clear();
    log_notes();
    start_saves();
    disk_->start(engine_->outbox().disk_ops);
    send_frames();
    engine_->clear_outbox();
    // A buffered image completes while it is submitted: no reason to go round the loop for it.
    disk_->reap(completions_);
    complete(completions_);
  } while (!completions_.empty());
  disk_retry_ = disk_->wants_retry() ? monotonic_now() + kDiskRetry_ns : kNever;
}

bool Export::work() {
  for (Port& port : ports_) {
    if (port.send_retry <= monotonic_now()) {
      port.sender->flush();
      watch_sender(port);
    }
  }
  completions_.clear();
  disk_->reap(completions_);
  complete(completions_);
  if (const auto now = monotonic_now(); engine_->next_deadline() <= now) {
    engine_->on_timer(now);
  }
  flush_outbox();
  follow_intake();
  bool more = false;
  for (std::size_t i = 0; i < ports_.size() && !stopping_; ++i) {
    Port& port = ports_[i];
    if (port.readable && port.ring && engine_->intake_open()) {
      take_frames(port, static_cast<std::uint16_t>(i));
      flush_outbox();
    }
    more = more || port.readable;
  }
  return more && !stopping_ && engine_->intake_open();
}

Nanoseconds Export::deadline() const {
  Nanoseconds earliest = std::min(engine_->next_deadline(), disk_retry_);
  for (const Port& port : ports_) {
    earliest = std::min(earliest, port.send_retry);
  }
  return earliest;
}

void Export::stop_intake() {
  stopping_ = true;
  for (Port& port : ports_) {
    if (port.ring_token != 0) {
      loop_.remove(port.ring_token);
      port.ring_token = 0;
    }
  }
}

bool Export::disk_idle() const {
  return disk_->outstanding() == 0;
}

bool Export::send_idle() const {
  return std::all_of(ports_.begin(), ports_.end(), [](const Port& port) {
    return !port.sender || port.sender->queued_frames() == 0;
  });
}

bool Export::sync() {
  if (options_.read_only || disk_->sync_now()) {
    return true;
  }
  spdlog::error("{}: {}: cannot make everything durable: {}", name_, options_.file,
                errno_text(errno));
  return false;
}

void Export::prove_state_is_writable() {
  if (!store_) {
    return;
  }
  // Only now: a lock that root makes in another user's directory would shut that user out.
  state_lock_ = lock_state(options_.state_dir, options_.shelf, options_.slot);
  if (store_->load() != loaded_) {
    throw StartError(
        fmt::format("state directory {}: another target changed the state of {} just "
                    "now: start again",
                    options_.state_dir, name_));
  }
  if (store_->save(loaded_) != engine::DiskStatus::ok) {
    throw StartError(
        fmt::format("{}: let the user who runs aoe-target write there (as root it gives up the "
                    "right to write into other users' directories)",
                    store_->last_error()));
  }
}

std::string Export::interface_list() const {
  std::string text;
  for (const Port& port : ports_) {
    text += (text.empty() ? "" : ", ") + port.name;
  }
  return text;
}

nlohmann::ordered_json Export::counters() {
  nlohmann::ordered_json engine_counters;
#define AOE_PRINT_COUNTER(counter) engine_counters[#counter] = engine_->counters().counter;
  AOE_ENGINE_COUNTERS(AOE_PRINT_COUNTER)
#undef AOE_PRINT_COUNTER
  auto interfaces = nlohmann::ordered_json::array();
  for (Port& port : ports_) {
    RingCounters ring = port.ring_before;
    SendCounters sent = port.send_before;
    std::uint64_t queued_now = 0;
    if (port.ring) {
      add(ring, port.ring->counters());
    }
    if (port.sender) {
      add(sent, port.sender->counters());
      queued_now = port.sender->queued_frames();
    }
    interfaces.push_back({{"interface", port.name},
                          {"up", port.facts && port.facts->up},
                          {"ring_slots", options_.buffer_count},
                          {"ring_frames", ring.frames},
                          {"ring_drops", ring.drops},
                          {"ring_unusable", ring.unusable},
                          {"sent", sent.frames},
                          {"send_queued", sent.queued},
                          {"send_queued_now", queued_now},
                          {"send_drops_full", sent.drops_full},
                          {"send_drops_link", sent.drops_link},
                          {"reopened", port.reopened}});
  }
  const auto& disk = disk_->counters();
  return {{"export", name_},
          {"engine", engine_counters},
          {"interfaces", interfaces},
          {"disk",
           {{"submitted", disk.submitted},
            {"group_syncs", disk.group_syncs},
            {"submit_retries", disk.submit_retries},
            {"errors", disk.errors},
            {"short_transfers", disk.short_transfers},
            {"outstanding", disk_->outstanding()}}},
          {"state", {{"saves", saves_}, {"save_failures", save_failures_}}}};
}

nlohmann::ordered_json Export::describe() const {
  auto interfaces = nlohmann::ordered_json::array();
  for (const Port& port : ports_) {
    interfaces.push_back(port.name);
  }
  return {{"export", name_},
          {"file", options_.file},
          {"sectors", image_.size.sectors},
          {"interfaces", interfaces},
          {"buffer_count", options_.buffer_count},
          {"read_only", options_.read_only},
          {"write_cache", options_.write_cache},
          {"direct", options_.direct},
          {"extensions", options_.extensions},
          {"state_dir", options_.state_dir}};
}

}  // namespace target::linux_shell
