// One simulated host that uses the target: takes its operations from the schedule in order, a
// window of them outstanding, repeats what is not answered in time, and judges what it reads. Three
// shapes: aoede (negotiates, repeats under the same tag), linux (repeats under new tags, split in
// two), hostile (sends anything). It must never know what the network or the target did.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sim/checkers/findings.h"
#include "sim/checkers/sector_register.h"
#include "sim/coverage.h"
#include "sim/ethernet/network.h"
#include "sim/event_queue.h"
#include "sim/schedule.h"
#include "sim/trace.h"

namespace sim::clients {

// What of the world an initiator may touch.
struct Surroundings {
  const Settings& settings;
  EventQueue& queue;
  ethernet::Network& network;
  checkers::SectorRegister& sectors;
  checkers::Findings& findings;
  Tracer& tracer;
  Coverage& coverage;
  // When the oldest read outstanding anywhere was asked for.
  std::function<checkers::Order()> oldest_read;
  // Whether damage in this sector was already found to be the protocol's.
  std::function<bool(std::uint64_t lba, disk::Version version)> known_damage;
  // Whether the disk has lost some of these after they were acknowledged: then reads are to fail.
  std::function<bool(std::uint64_t lba, std::uint32_t sectors)> lost;
};

// What the world asks of whatever uses the target.
class Client {
 public:
  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  virtual void start(Nanoseconds now) = 0;
  // After everything has healed: reads everything (or one sector), and must succeed.
  virtual void sweep(bool everything, Nanoseconds now) = 0;
  virtual void receive(const ethernet::Frame& frame, Nanoseconds now) = 0;
  virtual void on_timer(std::uint64_t arg, Nanoseconds now) = 0;
  // This request was corrupted on its way: what answers it, or what travelled in it, proves
  // nothing.
  virtual void distrust(Bytes request) = 0;

  [[nodiscard]] virtual bool idle() const = 0;
  [[nodiscard]] virtual checkers::Order oldest_read() const = 0;
  [[nodiscard]] virtual std::string unfinished() const = 0;
  [[nodiscard]] virtual const InitiatorSpec& spec() const = 0;
};

// What a read found, against what it may find. what: who asked, for the finding.
void judge_read(const Surroundings& world, const std::string& what, std::uint64_t lba,
                std::uint32_t sectors, checkers::Order asked, Bytes data);

class Initiator final : public Client {
 public:
  Initiator(std::uint32_t host, const InitiatorSpec& spec, Surroundings surroundings);

  void start(Nanoseconds now) override;
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
  struct Part {
    std::uint32_t tag = 0;
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    std::uint32_t attempts = 0;
    std::uint32_t errors = 0;
    std::uint32_t timer = 0;  // the one that counts
    bool done = false;
  };
  struct Active {
    std::uint32_t op = 0;  // number in ops_
    OpKind kind{};
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    std::int64_t amount = 0;
    disk::Version version = 0;
    checkers::Order asked = 0;
    bool failed = false;
    bool doubtful = false;  // a reply that proves nothing ended a part of it
    std::vector<Part> parts;
  };

  void pump(Nanoseconds now);
  bool may_start(const Op& op) const;
  void begin(const Op& op, Nanoseconds now);
  void begin_instant(const Op& op, Nanoseconds now);
  void cut_into_parts(Active& active);
  void finish(std::size_t at, std::uint8_t outcome, Nanoseconds now);
  void negotiate(Nanoseconds now);

  void send_part(Active& active, Part& part, Nanoseconds now);
  void send_coalesced(Active& active, Nanoseconds now);
  void send_probes(Active& active, Nanoseconds now);
  void send_lists(std::int64_t what, Nanoseconds now);
  void send_garbage(std::int64_t what, Nanoseconds now);
  void send_frame(ethernet::FrameId id, std::size_t size, Nanoseconds now);
  void arm(Part& part, Nanoseconds now);
  void repeat(Active& active, std::size_t part, Nanoseconds now);
  std::uint32_t new_tag();
  [[nodiscard]] bool tag_was_used(std::uint32_t tag) const;

  bool answered(const ethernet::Frame& frame, Nanoseconds now);
  void take_results(const ethernet::Frame& frame, Nanoseconds now);
  void part_answered(std::size_t at, std::size_t part, const ethernet::Frame& frame,
                     Nanoseconds now);
  [[nodiscard]] bool tainted(const ethernet::Frame& frame) const;
  bool reply_fits(const Active& active, const Part& part, const ethernet::Frame& frame) const;
  void take_negotiation(Bytes frame);
  void take_announcement(const View& view, Nanoseconds now);
  void complain(const char* signature, const std::string& text);

  std::uint32_t host_;
  InitiatorSpec spec_;
  Surroundings world_;
  std::vector<Op> ops_;
  std::size_t next_op_ = 0;
  std::vector<Active> active_;
  std::vector<std::vector<Part>> spare_parts_;
  std::vector<std::uint32_t> tags_used_;
  std::vector<std::uint32_t> distrusted_;
  std::int64_t write_sectors_ = 1;  // most in one frame, with or without check bytes
  std::uint32_t tag_counter_ = 0;
  std::uint32_t next_timer_ = 1;
  bool waiting_ = false;
  bool sweeping_ = false;
  bool renegotiate_ = false;
  bool crc_active_ = false;
  bool coalesced_active_ = false;
};

}  // namespace sim::clients
