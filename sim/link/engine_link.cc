// The shell around the engine, once more in the small.
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

EngineLink::EngineLink(std::uint16_t mtu) : mtu_(mtu), disk_(kSectors * kSectorBytes) {
  restart();
}

EngineLink::~EngineLink() = default;

void EngineLink::restart() {
  completions_.clear();
  ring_.clear();
  wake_ns_ = kNever;
  target::engine::EngineConfig config;
  config.shelf = 1;
  config.slot = 1;
  config.sectors = kSectors;
  config.buffer_count = buffers_;
  config.persist = true;
  config.state = saved_;
  config.ports = {{target::wire::MacAddress{{0x02, 0xae, 0, 0, 0, 0xa0}}, mtu_}};
  engine_ = std::make_unique<target::engine::Engine>(std::move(config));
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

std::int64_t EngineLink::next_event_ns() const {
  std::int64_t next = std::min(wake_ns_, engine_->next_deadline());
  if (!to_target_.empty()) {
    next = std::min(next, to_target_.begin()->at_ns);
  }
  if (!completions_.empty()) {
    next = std::min(next, completions_.begin()->at_ns);
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
  while (!completions_.empty() && completions_.begin()->at_ns <= now_ns_) {
    target::engine::DiskDone done = completions_.begin()->done;
    completions_.erase(completions_.begin());
    done.now = now_ns_;
    engine_->on_disk_done(done);
    wake_ns_ = std::min(wake_ns_, ring_.empty() ? kNever : now_ns_);
    flush();
  }
  if (engine_->next_deadline() <= now_ns_) {
    engine_->on_timer(now_ns_);
    wake_ns_ = std::min(wake_ns_, ring_.empty() ? kNever : now_ns_);
    flush();
  }
  if (wake_ns_ <= now_ns_) {
    wake_ns_ = kNever;
    take_frames();
  }
}

void EngineLink::take_frames() {
  ++batch_;
  while (!ring_.empty() && engine_->intake_open()) {
    engine_->on_frame({.port = 0,
                       .batch = batch_,
                       .bytes = std::as_bytes(std::span(ring_.front())),
                       .now = now_ns_});
    ring_.pop_front();
  }
  flush();
  if (!ring_.empty() && engine_->intake_open()) {
    wake_ns_ = now_ns_;
  }
}

void EngineLink::flush() {
  for (const auto& op : engine_->outbox().disk_ops) {
    const std::span<std::byte> sectors = std::span(disk_).subspan(
        op.kind == DiskOpKind::flush ? 0 : op.lba * kSectorBytes, op.sectors * kSectorBytes);
    if (op.kind == DiskOpKind::read) {
      std::copy(sectors.begin(), sectors.end(), op.data.begin());
    } else if (op.kind == DiskOpKind::write) {
      std::copy(op.data.begin(), op.data.end(), sectors.begin());
    }
    completions_.insert({now_ns_ + kDiskNs, order_++, {.id = op.id}});
  }
  for (const auto& save : engine_->outbox().saves) {
    saved_ = *save.state;
    completions_.insert({now_ns_ + kDiskNs, order_++, {.id = save.id}});
  }
  for (const auto& frame : engine_->outbox().frames) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(frame.bytes.data());
    to_us_.insert({now_ns_ + kWireNs, order_++, Bytes(first, first + frame.bytes.size())});
  }
  engine_->clear_outbox();
}

}  // namespace sim::link
