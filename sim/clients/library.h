// The project's real initiator, conformance/initiator, as a host of the simulation: its operations
// come from the schedule, its frames go onto the simulated wire, what it reads is judged. It owns
// the translation and what the checkers are told; of the protocol it knows nothing, for that is the
// library's. Two of the schedule's operations, which are the library's own business, stand for
// somebody who forges: at `skip` every reply of late comes once more, at `negotiate` the target
// seems to announce itself. Others (identify, a congestion probe) are passed over.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "conformance/initiator/initiator.h"
#include "sim/clients/initiator.h"

namespace sim::clients {

class Library final : public Client {
 public:
  Library(std::uint32_t host, const InitiatorSpec& spec, Surroundings surroundings);

  void start(Nanoseconds now) override { step(now); }
  void sweep(bool everything, Nanoseconds now) override;
  void receive(const ethernet::Frame& frame, Nanoseconds now) override;
  void on_timer(std::uint64_t arg, Nanoseconds now) override;
  void distrust(Bytes request) override;

  [[nodiscard]] bool idle() const override {
    return next_op_ == ops_.size() && active_.empty() && !waiting_;
  }
  [[nodiscard]] checkers::Order oldest_read() const override;
  [[nodiscard]] std::string unfinished() const override;
  [[nodiscard]] const InitiatorSpec& spec() const override { return spec_; }

 private:
  struct Active {
    std::uint64_t cookie = 0;
    std::uint32_t op = 0;
    OpKind kind{};
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    disk::Version version = 0;
    checkers::Order asked = 0;
    std::uint32_t errors = 0;
  };

  void step(Nanoseconds now);
  void pump(Nanoseconds now);
  [[nodiscard]] bool may_start(const Op& op) const;
  void begin(const Op& op, Nanoseconds now);
  void submit(const Active& active, Nanoseconds now);
  void take(const conformance::initiator::Completion& completion, Nanoseconds now);
  void forge_old_replies(Nanoseconds now);
  void forge_announcement(Nanoseconds now);
  void send(Nanoseconds now);
  void arm(Nanoseconds now);

  std::uint32_t host_;
  InitiatorSpec spec_;
  Surroundings world_;
  conformance::initiator::Initiator initiator_;
  std::vector<Op> ops_;
  std::size_t next_op_ = 0;
  std::vector<Active> active_;
  std::deque<std::vector<std::uint8_t>> heard_;  // the last few frames
  std::uint64_t next_cookie_ = 1;
  std::uint64_t timer_ = 0;  // the one that counts
  std::optional<Nanoseconds> armed_;
  bool waiting_ = false;
  bool sweeping_ = false;
  bool distrusts_ = false;
};

}  // namespace sim::clients
