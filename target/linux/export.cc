// One export, running: see export.h.
#include "target/linux/export.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
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

using engine::Nanoseconds;

// When opening an interface again has failed.
constexpr Nanoseconds kReopen_ns = 1'000'000'000;

void add(RingCounters& sum, const RingCounters& more) {
  sum.frames += more.frames;
  sum.drops += more.drops;
  sum.unusable += more.unusable;
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

std::vector<unsigned> as_numbers(std::span<const std::byte> bytes) {
  std::vector<unsigned> numbers(bytes.size());
  std::transform(bytes.begin(), bytes.end(), numbers.begin(),
                 [](std::byte one) { return std::to_integer<unsigned>(one); });
  return numbers;
}

nlohmann::ordered_json freeze_words(const engine::Freeze& freeze) {
  auto words = nlohmann::ordered_json::array();
  const auto add = [&](bool frozen, const char* word) {
    if (frozen) {
      words.push_back(word);
    }
  };
  add(freeze.mask_list, "mask");
  add(freeze.config_string, "config");
  add(freeze.reserve_list, "reserve");
  return words;
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

Export::Export(const ExportOptions& options, EventLoop& loop, Handover& handover)
    : options_(options),
      name_(export_name(options.shelf, options.slot)),
      loop_(loop),
      image_(open_image({options.file, options.read_only, options.direct,
                         options.durability == Durability::flush})) {
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
  // Direct writes are durable one by one (O_DSYNC), and the kernel carries them out asynchronously.
  // On the page cache O_DSYNC would make every single one wait: a group is as durable.
  const bool by_flush = options_.durability == Durability::flush;
  const auto durability = by_flush          ? shell::WriteDurability::by_flush
                          : options_.direct ? shell::WriteDurability::as_written
                                            : shell::WriteDurability::synced_in_groups;
  if (options_.direct) {
    disk_ = std::make_unique<AioDisk>(image_.fd.get(), options_.file, config.operations_max,
                                      aio_calls_, &handover);
  } else {
    disk_ = std::make_unique<WorkerDisk>(image_.fd.get(), options_.file, file_calls_, &handover);
  }
  if (store_) {
    saver_ = std::make_unique<SaveWorker>(*store_);
  }
  commit_ = std::make_unique<shell::GroupCommit>(*disk_, durability);
  // The page cache keeps, reads ahead and writes behind for a buffered image, and outlives this
  // process; a direct one has only us.
  cache::CacheConfig cache_config;
  cache_config.sectors = image_.size.sectors;
  cache_config.flights_max = config.operations_max;
  if (options_.direct) {
    cache_config.pages = static_cast<std::uint32_t>(options_.cache_bytes / cache::kPageBytes);
    cache_config.write_behind = by_flush && !options_.read_only && cache_config.pages > 0;
  }
  cache_ = std::make_unique<cache::CachedDisk>(*commit_, static_cast<shell::Clock&>(*this),
                                               cache_config);
  shell_ =
      std::make_unique<shell::Shell>(config,
                                     shell::Surroundings{.clock = *this,
                                                         .intake = *this,
                                                         .sender = *this,
                                                         .disk = *cache_,
                                                         .store = saver_.get(),
                                                         .notes = this},
                                     shell::ShellOptions{.reply_budget = options_.reply_budget});
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    watch_port(i);
  }
  if (saver_) {
    saver_token_ = loop_.add(saver_->event_fd(), EPOLLIN | EPOLLET, [](std::uint32_t) {});
  }
  // Edge-triggered and never read: every completion makes a new edge, and each edge is reaped.
  disk_token_ = loop_.add(disk_->event_fd(), EPOLLIN | EPOLLET, [](std::uint32_t) {});
}

Export::~Export() {
  loop_.remove(disk_token_);
  if (saver_) {
    loop_.remove(saver_token_);
  }
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    close_port(i);
  }
  // The kernel may write into the engine's memory until the disk has ended.
  disk_.reset();
  saver_.reset();
}

engine::EngineConfig Export::engine_config() const {
  engine::EngineConfig config;
  config.shelf = options_.shelf;
  config.slot = options_.slot;
  config.sectors = image_.size.sectors;
  config.read_only = options_.read_only;
  config.volatile_write_cache = options_.durability == Durability::flush && !options_.read_only;
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
  config.extensions_for = options_.extensions_for;
  config.freeze = options_.freeze;
  return config;
}

void Export::open_port(Port& port) {
  assert(port.facts);
  port.ring = std::make_unique<PacketRing>(
      port.name, *port.facts, RingAddress{options_.shelf, options_.slot, options_.allow},
      options_.buffer_count, port.configured.mac);
  port.sender =
      std::make_unique<PacketSender>(port.name, *port.facts, port.configured.mac, send_calls_);
}

void Export::watch_port(std::uint16_t index) {
  Port& port = ports_[index];
  port.ring_token = loop_.add(port.ring->fd(), EPOLLIN,
                              [this, index](std::uint32_t events) { on_ring(index, events); });
  port.sender_token =
      loop_.add(port.sender->fd(), 0, [this, index](std::uint32_t) { on_sender(index); });
  port.muted = false;
  port.waits_writable = false;
  shell_->on_new_port(index);
}

void Export::close_port(std::uint16_t index) {
  Port& port = ports_[index];
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
  port.sender.reset();
  shell_->on_new_port(index);
}

void Export::look_at_interfaces() {
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    look_at(i);
  }
}

void Export::look_at(std::uint16_t index) {
  Port& port = ports_[index];
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
  close_port(index);
  port.reopen_at = engine::kNever;
  try {
    open_port(port);
    watch_port(index);
    ++port.reopened;
    spdlog::info("{}: serving on {} again, address {}", name_, port.name, format_mac(now->mac));
  } catch (const StartError& error) {
    spdlog::error("{}: {}", name_, error.what());
    close_port(index);
    // Tried again when the next change is reported, and by time.
    port.facts.reset();
    port.reopen_at = monotonic_now() + kReopen_ns;
  }
}

void Export::on_ring(std::uint16_t index, std::uint32_t events) {
  Port& port = ports_[index];
  // The kernel reports a link that went down once; what it means, look_at_interfaces() finds out.
  if ((events & EPOLLERR) != 0) {
    port.ring->take_error();
  }
  shell_->on_frames(index);
  if (!shell_->intake_open() && !port.muted) {
    loop_.modify(port.ring_token, 0);
    port.muted = true;
  }
}

void Export::on_sender(std::uint16_t index) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(ports_[index].sender->fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  shell_->on_writable(index);
}

// The loop watches what the shell can use.
void Export::follow_shell() {
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    Port& port = ports_[i];
    if (port.muted && port.ring_token != 0 && shell_->intake_open()) {
      loop_.modify(port.ring_token, EPOLLIN);
      port.muted = false;
      shell_->on_frames(i);
    }
    const bool waits = shell_->queue(i).wait() == shell::SendWait::writable;
    if (port.sender_token != 0 && waits != port.waits_writable) {
      loop_.modify(port.sender_token, waits ? EPOLLOUT : 0U);
      port.waits_writable = waits;
    }
  }
}

std::uint32_t Export::waiting(std::uint16_t port, std::uint32_t limit) {
  return ports_[port].ring ? ports_[port].ring->waiting(limit) : 0;
}

std::optional<std::span<const std::byte>> Export::front(std::uint16_t port) {
  return ports_[port].ring->front();
}

void Export::pop(std::uint16_t port) {
  ports_[port].ring->pop();
}

shell::SendResult Export::send(std::uint16_t port, std::span<const shell::FrameView> frames) {
  if (!ports_[port].sender) {
    return {0, shell::SendStop::lost_link};
  }
  return ports_[port].sender->send(frames);
}

void Export::start_threads() {
  disk_->start_threads();
  if (saver_) {
    saver_->start_thread();
  }
}

void Export::tell(const engine::Note& note, std::uint64_t left_out) {
  const auto level = note_level(note.kind);
  if (left_out > 0) {
    spdlog::log(level, "{}: {} more lines like this were left out: {}", name_, left_out,
                note_text(note));
  }
  spdlog::log(level, "{} {} {}: {}", name_, ports_.at(note.port).name, format_mac(note.initiator),
              note_text(note));
}

void Export::tell_unsendable(std::uint16_t port, const wire::MacAddress& host,
                             std::size_t frame_bytes) {
  spdlog::warn(
      "{} {} {}: a reply of {} bytes cannot be sent (No buffer space available), dropped: is the "
      "MTU of that host, or of something on the way, smaller than that of {}?",
      name_, ports_.at(port).name, format_mac(host), frame_bytes, ports_.at(port).name);
}

Nanoseconds Export::deadline() const {
  Nanoseconds earliest = shell_->deadline();
  for (const Port& port : ports_) {
    earliest = std::min(earliest, port.reopen_at);
  }
  return earliest;
}

bool Export::work() {
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    if (ports_[i].reopen_at <= monotonic_now()) {
      ports_[i].reopen_at = engine::kNever;
      look_at(i);
    }
  }
  const bool more = shell_->work();
  follow_shell();
  if (saver_ && saver_->failures() != save_failures_told_) {
    save_failures_told_ = saver_->failures();
    spdlog::error("{}: {}", name_, saver_->last_error());
  }
  return more;
}

void Export::stop_intake() {
  stopping_ = true;
  shell_->stop_intake();
  for (Port& port : ports_) {
    if (port.ring_token != 0) {
      loop_.remove(port.ring_token);
      port.ring_token = 0;
    }
  }
}

void Export::start_last_flush() {
  if (!options_.read_only && disk_idle()) {
    flushing_ = true;
    shell_->start_last_flush();
  }
}

bool Export::ended_well() const {
  if (const auto held = disk_->oldest()) {
    constexpr const char* kNames[] = {"a read", "a write", "a flush"};
    constexpr Nanoseconds kMillisecond_ns = 1'000'000;
    spdlog::error("{}: {}: the kernel has held {} at sector {} for {} ms: not answered", name_,
                  options_.file, kNames[static_cast<std::size_t>(held->kind)], held->lba,
                  (monotonic_now() - held->since) / kMillisecond_ns);
    return false;
  }
  if (saver_ && saver_->under_way()) {
    spdlog::error("{}: {}: the kernel has held the saving of the state: not answered", name_,
                  options_.state_dir);
    return false;
  }
  const auto status = shell_->last_flush();
  if (options_.read_only || status == engine::DiskStatus::ok) {
    return true;
  }
  spdlog::error("{}: {}: cannot make everything durable: {}", name_, options_.file,
                !status                                  ? "ended before that was tried"
                : status == engine::DiskStatus::no_space ? "no space left"
                                                         : "input/output error");
  return false;
}

void Export::release_address() {
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    close_port(i);
  }
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
  const auto status = store_->save(loaded_);
  if (status == engine::DiskStatus::no_space) {
    // What is there is whole, and serving it needs no room.
    spdlog::warn("{}: changes of state will fail until there is room again", store_->last_error());
  } else if (status != engine::DiskStatus::ok) {
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
#define AOE_PRINT_COUNTER(counter) engine_counters[#counter] = shell_->engine().counters().counter;
  AOE_ENGINE_COUNTERS(AOE_PRINT_COUNTER)
#undef AOE_PRINT_COUNTER
  auto interfaces = nlohmann::ordered_json::array();
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    Port& port = ports_[i];
    RingCounters ring = port.ring_before;
    if (port.ring) {
      add(ring, port.ring->counters());
    }
    const shell::SendQueue& queue = shell_->queue(i);
    const shell::SendCounters& sent = queue.counters();
    interfaces.push_back({{"interface", port.name},
                          {"up", port.facts && port.facts->up},
                          {"ring_slots", options_.buffer_count},
                          {"ring_frames", ring.frames},
                          {"ring_drops", ring.drops},
                          {"ring_unusable", ring.unusable},
                          {"sent", sent.frames},
                          {"send_queued", sent.queued},
                          {"send_queued_now", queue.frames()},
                          {"send_drops_full", sent.drops_full},
                          {"send_drops_link", sent.drops_link},
                          {"send_drops_unsendable", sent.drops_unsendable},
                          {"send_drops_old", sent.drops_old},
                          {"reopened", port.reopened}});
  }
  const auto disk = disk_->counters();
  nlohmann::ordered_json cache_counters;
#define AOE_CACHE_COUNTER_TELL(name) cache_counters[#name] = cache_->cache().counters().name;
  AOE_CACHE_COUNTERS(AOE_CACHE_COUNTER_TELL)
#undef AOE_CACHE_COUNTER_TELL
  return {{"export", name_},
          {"engine", engine_counters},
          {"interfaces", interfaces},
          {"disk",
           {{"submitted", disk.submitted},
            {"hot_reads", disk.hot_reads},
            {"group_syncs", commit_->counters().syncs},
            {"submit_retries", disk.submit_retries},
            {"errors", disk.errors + commit_->counters().errors},
            {"short_transfers", disk.short_transfers},
            {"lasted", disk.lasted},
            {"outstanding", disk_->outstanding()}}},
          {"cache", cache_counters},
          {"reply_budget_drops", shell_->reply_budget().dropped()},
          {"write_share_drops", shell_->write_share().dropped()},
          {"state",
           {{"saves", saver_ ? saver_->saves() : 0},
            {"save_failures", saver_ ? saver_->failures() : 0}}}};
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
          {"durability", options_.durability == Durability::flush ? "flush" : "write"},
          {"cache_bytes", options_.direct ? options_.cache_bytes : 0},
          {"direct", options_.direct},
          {"extensions", options_.extensions},
          {"reply_budget", options_.reply_budget},
          {"freeze", freeze_words(options_.freeze)},
          {"state_dir", options_.state_dir}};
}

nlohmann::ordered_json Export::show() const {
  const engine::PersistentState& state = shell_->engine().state();
  const auto listed = [](const std::vector<wire::MacAddress>& list) {
    auto words = nlohmann::ordered_json::array();
    for (const wire::MacAddress& one : list) {
      words.push_back(format_mac(one));
    }
    return words;
  };
  // A config string is bytes: text where it is text, and in hexadecimal always.
  const std::string text(reinterpret_cast<const char*>(state.config_string.data()),
                         state.config_string.size());
  return {{"export", name_},
          {"config", text},
          {"config_hex", fmt::format("{:02x}", fmt::join(as_numbers(state.config_string), ""))},
          {"mask", listed(state.mask_list)},
          {"reserve", listed(state.reserve_list)},
          {"freeze", freeze_words(options_.freeze)},
          {"state_dir", options_.state_dir}};
}

nlohmann::ordered_json Export::sessions() const {
  auto all = nlohmann::ordered_json::array();
  for (const engine::SessionFacts& one : shell_->engine().sessions()) {
    all.push_back({{"interface", ports_.at(one.port).name},
                   {"initiator", format_mac(one.initiator)},
                   {"features", one.features},
                   {"wrote", one.wrote}});
  }
  return {{"export", name_}, {"sessions", all}};
}

bool Export::clear(engine::StatePart part) {
  if (shell_->engine().last_clear() == engine::ClearStatus::under_way) {
    return false;
  }
  shell_->clear(part);
  return true;
}

std::string Export::cleared() const {
  switch (shell_->engine().last_clear()) {
    case engine::ClearStatus::none:
      return "none";
    case engine::ClearStatus::under_way:
      return "under way";
    case engine::ClearStatus::done:
      return "done";
    case engine::ClearStatus::failed:
      return "failed";
  }
  return "none";
}

}  // namespace target::linux_shell
