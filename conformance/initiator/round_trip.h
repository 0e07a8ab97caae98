#pragma once
// How long an answer takes, and so when to repeat a request: the estimation of RFC 6298. One
// estimator for each kind of request and path, for a durable write takes far longer than a cached
// read. Never sees a clock: times come in.

#include <cstdint>

namespace conformance::initiator {

struct WaitLimits {
  int64_t first_ns = 250'000'000;  // before anything was measured
  int64_t min_ns = 20'000'000;     // a busy machine is not a lost frame
  int64_t max_ns = 2'000'000'000;  // where backing off ends: a target that is back is found soon
};

class RoundTrip {
 public:
  explicit RoundTrip(const WaitLimits& limits = {}) : limits_(limits) {}

  // Only of requests that were sent once: an answer to a repeated one could belong to either copy
  // (Karn's algorithm).
  void sample(int64_t elapsed_ns);

  // Before the repetition number `tries` (0: the first). Doubles with each.
  int64_t wait_ns(unsigned tries) const;

  bool measured() const { return measured_; }
  int64_t smoothed_ns() const { return smoothed_ns_; }

 private:
  WaitLimits limits_;
  bool measured_ = false;
  int64_t smoothed_ns_ = 0;
  int64_t variation_ns_ = 0;
};

}  // namespace conformance::initiator
