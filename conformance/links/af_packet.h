#pragma once
// A Link on a network interface: a raw packet socket, promiscuous, that sees every AoE frame for
// whatever address and ignores what this host sends. The clock is CLOCK_REALTIME at its start plus
// CLOCK_MONOTONIC since: it never jumps.

#include <memory>

#include <unordered_set>

#include "conformance/links/link.h"

namespace conformance::links {

class AfPacketLink : public Link {
 public:
  explicit AfPacketLink(const std::string& interface);
  ~AfPacketLink() override;

  void send(BytesView frame) override;
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override;
  int64_t now_ns() override;
  Mac mac() const override { return mac_; }
  size_t mtu() const override { return mtu_; }
  std::string name() const override { return interface_; }
  NotTaken not_taken() const override { return not_taken_; }
  bool is_up() override;

 private:
  void lose(size_t bytes, int error);
  std::string interface_;
  int fd_ = -1;
  Mac mac_{};
  size_t mtu_ = 0;
  int64_t clock_offset_ns_ = 0;
  Bytes buffer_;
  bool loops_back_ = false;                  // what is sent comes back, as on lo
  std::unordered_multiset<size_t> looping_;  // what has not come back yet, by its hash
  NotTaken not_taken_;
  bool last_refused_ = false;  // the frame before this one was not taken either
};

}  // namespace conformance::links
