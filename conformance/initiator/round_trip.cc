// RFC 6298, section 2, in integers.

#include "conformance/initiator/round_trip.h"

#include <algorithm>
#include <cstdlib>

namespace conformance::initiator {

void RoundTrip::sample(int64_t elapsed_ns) {
  elapsed_ns = std::max<int64_t>(elapsed_ns, 0);
  if (!measured_) {
    measured_ = true;
    smoothed_ns_ = elapsed_ns;
    variation_ns_ = elapsed_ns / 2;
    return;
  }
  const int64_t error_ns = elapsed_ns - smoothed_ns_;
  variation_ns_ += (std::abs(error_ns) - variation_ns_) / 4;
  smoothed_ns_ += error_ns / 8;
}

int64_t RoundTrip::wait_ns(unsigned tries) const {
  constexpr unsigned doublings_max = 16;
  int64_t wait =
      measured_ ? std::max(limits_.min_ns, smoothed_ns_ + 4 * variation_ns_) : limits_.first_ns;
  for (unsigned i = 0; i < std::min(tries, doublings_max) && wait < limits_.max_ns; ++i) {
    wait *= 2;
  }
  return std::min(wait, limits_.max_ns);
}

}  // namespace conformance::initiator
