// Translates between the simulation and the library.
#include "sim/clients/library.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace sim::clients {

namespace lib = conformance::initiator;

namespace {

constexpr std::uint16_t kShelf = 1;
constexpr std::uint8_t kSlot = 1;
constexpr std::uint64_t kWaitTimer = 0;
constexpr std::size_t kHeardMax = 32;
constexpr std::uint32_t kErrorRetriesMax = 8;
constexpr std::uint8_t kDone = 0, kFailed = 1, kGivenUp = 2;
constexpr std::int64_t kEthernetBytes = 14;

lib::Config config_of(std::uint32_t host, const InitiatorSpec& spec, const Settings& settings) {
  lib::Config config;
  config.shelf = kShelf;
  config.slot = kSlot;
  lib::PathConfig path;
  const MacAddress own = ethernet::Network::mac_of(host);
  std::copy(own.octets.begin(), own.octets.end(), path.own.begin());
  // No more sectors in a frame than the schedule says.
  const std::int64_t most = static_cast<std::int64_t>(kAtaBytes) - kEthernetBytes +
                            spec.frame_sectors * static_cast<std::int64_t>(kSectorBytes) +
                            static_cast<std::int64_t>(kCrcBytes);
  path.mtu = static_cast<std::size_t>(std::min(settings.mtu, most));
  config.paths = {path};
  switch (spec.tags) {
    case TagMode::increment_be:
      config.wished.tags = lib::Tags::increment_be;
      break;
    case TagMode::increment_le:
      config.wished.tags = lib::Tags::increment_le;
      break;
    case TagMode::random:
      config.wished.tags = lib::Tags::random;
      break;
    case TagMode::none:
      break;
  }
  config.wished.coalesced_read = spec.tags != TagMode::none;
  config.wished.crc8x4 = spec.tags != TagMode::none && spec.crc != 0;
  config.outstanding_max = static_cast<unsigned>(spec.window);
  config.outstanding_limit = 64;
  config.jobs_max = 256;
  config.first_tag = static_cast<std::uint32_t>(spec.tag_start);
  config.wait.first_ns = spec.rto_ns;
  config.wait.min_ns = std::max<std::int64_t>(spec.rto_ns / 4, kMillisecond);
  config.wait.max_ns = 8 * spec.rto_ns;
  config.give_up_ns = spec.retries > 0 ? spec.retries * 4 * spec.rto_ns : 0;
  config.session_check_ns = 100 * kMillisecond;
  return config;
}

bool overlaps(std::uint64_t a, std::uint64_t a_sectors, std::uint64_t b, std::uint64_t b_sectors) {
  return a < b + b_sectors && b < a + a_sectors;
}

}  // namespace

Library::Library(std::uint32_t host, const InitiatorSpec& spec, Surroundings surroundings)
    : host_(host),
      spec_(spec),
      world_(std::move(surroundings)),
      initiator_(config_of(host, spec, world_.settings)),
      ops_(spec.ops) {}

void Library::sweep(bool everything, Nanoseconds now) {
  sweeping_ = true;
  const auto step_sectors =
      static_cast<std::uint64_t>(std::max<std::int64_t>(spec_.frame_sectors, 1));
  const std::uint64_t end = everything ? world_.sectors.sectors() : 1;
  for (std::uint64_t lba = 0; lba < end; lba += step_sectors) {
    ops_.push_back({.kind = OpKind::read,
                    .lba = lba,
                    .sectors = static_cast<std::uint32_t>(std::min(step_sectors, end - lba)),
                    .amount = 0});
  }
  step(now);
}

void Library::receive(const ethernet::Frame& frame, Nanoseconds now) {
  // Cut, and filled up with zeros to the length that was expected: without crc8x4 nobody can see
  // it, and whose operations ended by it cannot be told from here. A frame check stops it, as a
  // wire's.
  if (frame.tainted) {
    return;
  }
  const Bytes bytes = frame.bytes();
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  heard_.emplace_back(data, data + bytes.size());
  if (heard_.size() > kHeardMax) {
    heard_.pop_front();
  }
  initiator_.on_frame(0, heard_.back(), now);
  step(now);
}

void Library::forge_old_replies(Nanoseconds now) {
  for (const std::vector<std::uint8_t>& frame : heard_) {
    initiator_.on_frame(0, frame, now);
  }
}

void Library::forge_announcement(Nanoseconds now) {
  std::array<std::byte, 64> storage{};
  Builder frame(storage, ethernet::Network::mac_of(host_), ethernet::Network::mac_of(kTargetHost),
                kShelf, kSlot, kConfig, 0);
  storage[14] |= std::byte{8};  // R
  frame.u16(16);
  frame.u16(1);
  frame.u8(2);
  frame.u8(0x10);
  frame.u16(0);
  frame.pad();
  initiator_.on_frame(0, {reinterpret_cast<const std::uint8_t*>(storage.data()), frame.size()},
                      now);
}

void Library::on_timer(std::uint64_t arg, Nanoseconds now) {
  if (arg == kWaitTimer) {
    waiting_ = false;
  } else if (arg == timer_) {
    armed_.reset();
  }
  step(now);
}

// Its data may be damaged and nobody but a checksum could tell: what it reads proves nothing now.
void Library::distrust(Bytes request) {
  (void)request;
  distrusts_ = true;
}

checkers::Order Library::oldest_read() const {
  checkers::Order oldest = checkers::kNever;
  for (const Active& active : active_) {
    oldest = std::min(oldest, active.asked);
  }
  return oldest;
}

std::string Library::unfinished() const {
  std::string text = fmt::format("{} ({}): {} of {} operations begun", spec_.name,
                                 lib::name_of(initiator_.phase()), next_op_, ops_.size());
  for (const Active& active : active_) {
    text +=
        fmt::format(", #{} {} {}+{}", active.op, op_name(active.kind), active.lba, active.sectors);
  }
  return text;
}

bool Library::may_start(const Op& op) const {
  if (active_.size() >= static_cast<std::size_t>(2 * spec_.window)) {
    return false;
  }
  const std::uint64_t sectors =
      op.sectors * static_cast<std::uint64_t>(op.kind == OpKind::coalesced ? op.amount + 1 : 1);
  for (const Active& active : active_) {
    const bool both_read = op.kind != OpKind::write && active.kind != OpKind::write;
    if (!both_read && overlaps(op.lba, sectors, active.lba, active.sectors) &&
        (spec_.overlap == 0 || sweeping_)) {
      return false;
    }
  }
  return true;
}

void Library::pump(Nanoseconds now) {
  while (!waiting_ && next_op_ < ops_.size() && may_start(ops_[next_op_])) {
    const Op op = ops_[next_op_++];
    begin(op, now);
  }
}

void Library::begin(const Op& op, Nanoseconds now) {
  if (op.kind == OpKind::wait) {
    waiting_ = true;
    world_.queue.at(now + op.amount, EventKind::initiator_timer, host_, kWaitTimer);
    return;
  }
  if (op.kind == OpKind::skip) {
    forge_old_replies(now);
    return;
  }
  if (op.kind == OpKind::negotiate) {
    forge_announcement(now);
    return;
  }
  if (op.kind != OpKind::read && op.kind != OpKind::write && op.kind != OpKind::flush &&
      op.kind != OpKind::coalesced) {
    return;
  }
  Active active;
  active.op = static_cast<std::uint32_t>(next_op_);
  active.kind = op.kind == OpKind::coalesced ? OpKind::read : op.kind;
  active.sectors = op.sectors;
  const std::string text = world_.tracer.watched()
                               ? fmt::format("{} {}+{}", op_name(op.kind), op.lba, op.sectors)
                               : std::string();
  world_.tracer.emit({.time = now,
                      .kind = TraceKind::op_started,
                      .detail = static_cast<std::uint8_t>(op.kind),
                      .host = host_,
                      .serial = active.op,
                      .text = text});
  // The library itself puts reads that are asked for together into one frame.
  const std::int64_t jobs = op.kind == OpKind::coalesced ? op.amount + 1 : 1;
  for (std::int64_t i = 0; i < jobs; ++i) {
    active.lba = op.lba + static_cast<std::uint64_t>(i) * op.sectors;
    active.cookie = next_cookie_++;
    active.asked = world_.sectors.tick();
    if (op.kind == OpKind::write) {
      active.version = world_.sectors.ask_write(host_, active.op, op.lba, op.sectors, now);
    }
    active_.push_back(active);
    submit(active, now);
  }
}

void Library::submit(const Active& active, Nanoseconds now) {
  lib::Job job;
  job.cookie = active.cookie;
  job.lba = active.lba;
  job.sectors = active.sectors;
  job.kind = active.kind == OpKind::write  ? lib::Kind::write
             : active.kind == OpKind::read ? lib::Kind::read
                                           : lib::Kind::flush;
  if (active.kind == OpKind::write) {
    job.data.resize(active.sectors * kSectorBytes);
    for (std::uint32_t i = 0; i < active.sectors; ++i) {
      disk::write_stamp(
          std::as_writable_bytes(std::span(job.data).subspan(i * kSectorBytes, kSectorBytes)),
          active.version, active.lba + i);
    }
  }
  if (!initiator_.submit(job, now)) {
    world_.findings.add(checkers::Severity::liveness, "library:full",
                        fmt::format("{}: #{} found no room", spec_.name, active.op));
  }
}

void Library::take(const lib::Completion& completion, Nanoseconds now) {
  const auto at = std::find_if(active_.begin(), active_.end(), [&](const Active& active) {
    return active.cookie == completion.cookie;
  });
  if (at == active_.end()) {
    world_.findings.add(checkers::Severity::safety, "library:completion",
                        fmt::format("{}: a completion for what nobody waits for", spec_.name));
    return;
  }
  const bool again = completion.result == lib::Result::refused ||
                     completion.result == lib::Result::failed ||
                     completion.result == lib::Result::malformed ||
                     (sweeping_ && completion.result == lib::Result::unknown);
  if (again && (++at->errors <= kErrorRetriesMax || sweeping_)) {
    submit(*at, now);  // the disk may have said no; what was not done is asked for again
    return;
  }
  const Active active = *at;
  active_.erase(at);
  Coverage& coverage = world_.coverage;
  std::uint8_t outcome = kDone;
  if (completion.result == lib::Result::done) {
    switch (active.kind) {
      case OpKind::write:
        ++coverage.writes_done;
        world_.sectors.write_done(active.version, active.lba, active.sectors, world_.oldest_read());
        break;
      case OpKind::flush:
        ++coverage.flushes_done;
        world_.sectors.flush_done(active.asked);
        break;
      default:
        ++coverage.reads_done;
        if (!distrusts_) {
          judge_read(world_, fmt::format("{} #{}", spec_.name, active.op), active.lba,
                     active.sectors, active.asked, std::as_bytes(std::span(completion.data)));
        }
    }
  } else if (completion.result == lib::Result::unknown) {
    ++coverage.operations_given_up;
    outcome = kGivenUp;
  } else {
    ++coverage.operations_failed;
    outcome = kFailed;
  }
  world_.tracer.emit({.time = now,
                      .kind = TraceKind::op_done,
                      .detail = outcome,
                      .host = host_,
                      .serial = active.op});
}

void Library::send(Nanoseconds now) {
  for (const lib::Initiator::Outgoing& out : initiator_.frames()) {
    const ethernet::FrameId id = world_.network.allocate();
    ethernet::Frame& frame = world_.network.frame(id);
    std::memcpy(frame.storage.data(), out.frame.data(), out.frame.size());
    frame.size = static_cast<std::uint32_t>(out.frame.size());
    world_.network.send(host_, id, now);
  }
  initiator_.frames().clear();
}

// Everything that can happen at this instant.
void Library::step(Nanoseconds now) {
  for (;;) {
    pump(now);
    initiator_.run(now);
    send(now);
    std::vector<lib::Completion> completions;
    completions.swap(initiator_.completions());
    for (const lib::Completion& completion : completions) {
      take(completion, now);
    }
    const auto deadline = initiator_.next_deadline_ns();
    if (completions.empty() && (!deadline || *deadline > now)) {
      break;
    }
  }
  arm(now);
}

void Library::arm(Nanoseconds now) {
  const auto deadline = initiator_.next_deadline_ns();
  if (!deadline || (armed_ && *armed_ <= *deadline)) {
    return;
  }
  armed_ = std::max(*deadline, now);
  world_.queue.at(*armed_, EventKind::initiator_timer, host_, ++timer_);
}

}  // namespace sim::clients
