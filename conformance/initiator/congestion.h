#pragma once
// AoEde's congestion probe from the initiator's side: many extension requests with one new id, of
// which a target that pauses can keep as many as fit in front of it. Their number is the best
// number of requests outstanding. Pure; docs/probes.md says what a target does.

#include "conformance/initiator/initiator.h"

namespace conformance::initiator {

class CongestionProbe {
 public:
  static constexpr int64_t kPauseNs = 500'000'000;
  static constexpr int64_t kQuietNs = 300'000'000;  // after the last answer

  CongestionProbe(uint16_t shelf, uint8_t slot, uint64_t id, uint32_t first_tag, size_t probes)
      : shelf_(shelf), slot_(slot), id_(id), first_tag_(first_tag), seen_(probes, false) {}

  // The frames to send at once, to the target or to everybody.
  std::vector<Bytes> frames(const Mac& own, const Mac& target) const;
  void start(int64_t now_ns) { started_ns_ = last_ns_ = now_ns; }
  void on_frame(BytesView frame, int64_t now_ns);
  bool finished(int64_t now_ns) const;
  int64_t deadline_ns() const;

  // Probes answered; 0 when the target does not know them, or did not pause.
  size_t answered() const { return paused_ ? count_ : 0; }
  bool refused() const { return refused_; }

 private:
  uint16_t shelf_;
  uint8_t slot_;
  uint64_t id_;
  uint32_t first_tag_;
  std::vector<bool> seen_;
  size_t count_ = 0;
  bool paused_ = false;
  bool refused_ = false;
  int64_t started_ns_ = 0;
  int64_t last_ns_ = 0;
};

}  // namespace conformance::initiator
