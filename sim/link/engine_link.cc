// What the shell asks of the world, in the small.
#include "sim/link/engine_link.h"

#include <algorithm>
#include <span>
#include <utility>

namespace sim::link {
namespace {

using conformance::links::Bytes;
using conformance::links::BytesView;
using target::engine::DiskOpKind;
using target::engine::kNever;
using target::engine::kSectorBytes;

constexpr std::int64_t kWireNs = 2'000;
constexpr std::int64_t kInterruptNs = 2'000;
constexpr std::int64_t kDiskNs = 20'000;
constexpr std::uint64_t kSectors = 8'192;

}  // namespace

EngineLink::MemoryDisk::MemoryDisk(EngineLink& link)
    : link_(link), sectors_(kSectors * kSectorBytes) {}

void EngineLink::MemoryDisk::start(std::span<const target::engine::DiskOp> operations) {
  for (const auto& op : operations) {
    const std::span<std::byte> sectors = std::span(sectors_).subspan(
        op.kind == DiskOpKind::flush ? 0 : op.lba * kSectorBytes, op.sectors * kSectorBytes);
    if (op.kind == DiskOpKind::read) {
      std::copy(sectors.begin(), sectors.end(), op.data.begin());
    } else if (op.kind == DiskOpKind::write) {
      std::copy(op.data.begin(), op.data.end(), sectors.begin());
    }
    endings.push_back({link_.now_ns_ + kDiskNs, op.id});
  }
}

void EngineLink::MemoryDisk::reap(std::vector<target::shell::DiskCompletion>& completions) {
  for (; !endings.empty() && endings.front().at_ns <= link_.now_ns_; endings.pop_front()) {
    completions.push_back({endings.front().id});
  }
}

void EngineLink::MemoryStore::start(const target::engine::Save& save) {
  saved = *save.state;
  endings.push_back({link_.now_ns_ + kDiskNs, save.id});
}

void EngineLink::MemoryStore::reap(std::vector<target::shell::DiskCompletion>& completions) {
  for (; !endings.empty() && endings.front().at_ns <= link_.now_ns_; endings.pop_front()) {
    completions.push_back({endings.front().id});
  }
}

EngineLink::EngineLink(std::uint16_t mtu) : mtu_(mtu), disk_(*this), store_(*this) {
  restart();
}

EngineLink::~EngineLink() = default;

void EngineLink::restart() {
  disk_.endings.clear();
  store_.endings.clear();
  ring_.clear();
  wake_ns_ = kNever;
  target::engine::EngineConfig config;
  config.shelf = 1;
  config.slot = 1;
  config.sectors = kSectors;
  config.buffer_count = buffers_;
  config.persist = true;
  config.state = store_.saved;
  config.ports = {{target::wire::MacAddress{{0x02, 0xae, 0, 0, 0, 0xa0}}, mtu_}};
  shell_ = std::make_unique<target::shell::Shell>(
      config,
      target::shell::Surroundings{
          .clock = *this, .intake = *this, .sender = *this, .disk = disk_, .store = &store_});
  more_ = false;
  run_until(now_ns_);
}

void EngineLink::send(BytesView frame) {
  to_target_.insert({now_ns_ + kWireNs, order_++, Bytes(frame.begin(), frame.end())});
  run_until(now_ns_ + kWireNs / 4);  // a sender is quicker than the target, as on real links
}

std::optional<conformance::links::ReceivedFrame> EngineLink::receive(std::int64_t deadline_ns) {
  while (true) {
    if (!to_us_.empty() && to_us_.begin()->at_ns <= now_ns_) {
      auto first = to_us_.extract(to_us_.begin());
      return conformance::links::ReceivedFrame{std::move(first.value().bytes), first.value().at_ns};
    }
    std::int64_t next = next_event_ns();
    if (!to_us_.empty()) {
      next = std::min(next, to_us_.begin()->at_ns);
    }
    if (next > deadline_ns) {
      now_ns_ = std::max(now_ns_, deadline_ns);
      return std::nullopt;
    }
    run_until(next);
  }
}

std::uint32_t EngineLink::waiting(std::uint16_t /*port*/, std::uint32_t limit) {
  return std::min(limit, static_cast<std::uint32_t>(ring_.size()));
}

std::optional<std::span<const std::byte>> EngineLink::front(std::uint16_t /*port*/) {
  return std::as_bytes(std::span(ring_.front()));
}

void EngineLink::pop(std::uint16_t /*port*/) {
  ring_.pop_front();
}

target::shell::SendResult EngineLink::send(std::uint16_t /*port*/,
                                           std::span<const target::shell::FrameView> frames) {
  for (const target::shell::FrameView frame : frames) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(frame.data());
    to_us_.insert({now_ns_ + kWireNs, order_++, Bytes(first, first + frame.size())});
  }
  return {frames.size()};
}

std::int64_t EngineLink::next_event_ns() const {
  std::int64_t next = more_ ? now_ns_ : std::min(wake_ns_, shell_->deadline());
  if (!to_target_.empty()) {
    next = std::min(next, to_target_.begin()->at_ns);
  }
  if (!disk_.endings.empty()) {
    next = std::min(next, disk_.endings.front().at_ns);
  }
  if (!store_.endings.empty()) {
    next = std::min(next, store_.endings.front().at_ns);
  }
  return std::max(next, now_ns_);
}

void EngineLink::run_until(std::int64_t when_ns) {
  while (next_event_ns() <= when_ns) {
    now_ns_ = next_event_ns();
    step();
  }
  now_ns_ = std::max(now_ns_, when_ns);
}

void EngineLink::step() {
  while (!to_target_.empty() && to_target_.begin()->at_ns <= now_ns_) {
    auto first = to_target_.extract(to_target_.begin());
    if (ring_.size() < buffers_) {
      ring_.push_back(std::move(first.value().bytes));
      wake_ns_ = std::min(wake_ns_, now_ns_ + kInterruptNs);
    }
  }
  if (wake_ns_ <= now_ns_) {
    wake_ns_ = kNever;
    shell_->on_frames(0);
  }
  more_ = shell_->work();
}

}  // namespace sim::link
