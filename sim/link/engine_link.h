// A Link (conformance/link) to the real shell and engine in process: virtual time, a receive buffer
// as long as the buffer count says, a disk in memory. Waiting costs nothing. It owns clock, buffer
// and disk, and neither a loop nor protocol; it makes no faults, so that the suite judges the
// target alone.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conformance/links/link.h"
#include "target/shell/shell.h"

namespace sim::link {

class EngineLink final : public conformance::links::Link,
                         private target::shell::Clock,
                         private target::shell::Intake,
                         private target::shell::Sender {
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
  // What was saved is gone at the next restart.
  void forget() { store_.saved = {}; }
  std::uint64_t buffers() const { return buffers_; }
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
  // What ends after a while, in order.
  struct Ending {
    std::int64_t at_ns = 0;
    std::uint32_t id = 0;
  };
  class MemoryDisk final : public target::shell::Disk {
   public:
    explicit MemoryDisk(EngineLink& link);
    void start(std::span<const target::engine::DiskOp> operations) override;
    void reap(std::vector<target::shell::DiskCompletion>& completions) override;
    std::deque<Ending> endings;

   private:
    EngineLink& link_;
    std::vector<std::byte> sectors_;
  };
  class MemoryStore final : public target::shell::Store {
   public:
    explicit MemoryStore(EngineLink& link) : link_(link) {}
    void start(const target::engine::Save& save) override;
    void reap(std::vector<target::shell::DiskCompletion>& completions) override;
    std::deque<Ending> endings;
    target::engine::PersistentState saved;

   private:
    EngineLink& link_;
  };

  // What the shell asks.
  std::int64_t now() override { return now_ns_; }
  std::uint32_t waiting(std::uint16_t port, std::uint32_t limit) override;
  std::optional<std::span<const std::byte>> front(std::uint16_t port) override;
  void pop(std::uint16_t port) override;
  target::shell::SendResult send(std::uint16_t port,
                                 std::span<const target::shell::FrameView> frames) override;

  [[nodiscard]] std::int64_t next_event_ns() const;
  void run_until(std::int64_t when_ns);
  void step();

  std::uint16_t mtu_;
  std::uint16_t buffers_ = 64;
  std::int64_t now_ns_ =
      1'000'000'000'000'000'000;  // a moment in 2001, so that captures have a date
  std::uint64_t order_ = 0;
  MemoryDisk disk_;
  MemoryStore store_;
  std::unique_ptr<target::shell::Shell> shell_;
  std::set<Arrival> to_target_;
  std::set<Arrival> to_us_;
  std::deque<conformance::links::Bytes> ring_;
  std::int64_t wake_ns_ = target::engine::kNever;  // the interrupt
  bool more_ = false;                              // the shell asked to be called again
};

}  // namespace sim::link
