// A Link (conformance/link) to the real engine in process: virtual time, a receive ring as long as
// the buffer count says, a disk in memory. Waiting costs nothing. It owns clock, ring and disk, and
// no protocol; it makes no faults, so that the suite judges the engine alone.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conformance/links/link.h"
#include "target/engine/engine.h"

namespace sim::link {

class EngineLink final : public conformance::links::Link {
 public:
  explicit EngineLink(std::uint16_t mtu);
  ~EngineLink() override;

  void send(conformance::links::BytesView frame) override;
  std::optional<conformance::links::ReceivedFrame> receive(std::int64_t deadline_ns) override;
  std::int64_t now_ns() override { return now_ns_; }
  conformance::links::Mac mac() const override { return {0x02, 0xae, 0, 0, 0, 0x01}; }
  std::size_t mtu() const override { return mtu_; }
  std::string name() const override { return "engine in virtual time"; }

  // The target program ends, power stays on, and it comes back on the same disk with what was
  // saved.
  void restart();
  void set_buffers(std::uint64_t buffers) { buffers_ = static_cast<std::uint16_t>(buffers); }

 private:
  struct Arrival {
    std::int64_t at_ns = 0;
    std::uint64_t order = 0;
    conformance::links::Bytes bytes;
    bool operator<(const Arrival& other) const {
      return at_ns != other.at_ns ? at_ns < other.at_ns : order < other.order;
    }
  };
  struct Completion {
    std::int64_t at_ns = 0;
    std::uint64_t order = 0;
    target::engine::DiskDone done;
    bool operator<(const Completion& other) const {
      return at_ns != other.at_ns ? at_ns < other.at_ns : order < other.order;
    }
  };

  [[nodiscard]] std::int64_t next_event_ns() const;
  void run_until(std::int64_t when_ns);
  void step();
  void take_frames();
  void flush();

  std::uint16_t mtu_;
  std::uint16_t buffers_ = 64;
  std::int64_t now_ns_ =
      1'000'000'000'000'000'000;  // a moment in 2001, so that captures have a date
  std::uint64_t order_ = 0;
  std::uint64_t batch_ = 0;
  std::unique_ptr<target::engine::Engine> engine_;
  target::engine::PersistentState saved_;
  std::vector<std::byte> disk_;
  std::set<Arrival> to_target_;
  std::set<Arrival> to_us_;
  std::set<Completion> completions_;
  std::deque<conformance::links::Bytes> ring_;
  std::int64_t wake_ns_ = target::engine::kNever;
};

}  // namespace sim::link
