// A distribution of latencies in constant memory: logarithmic buckets, each a sixteenth of its
// value wide. It must never know what was measured.
#pragma once

#include <cstdint>
#include <vector>

#include "pcaps/tool/observed.h"

namespace pcaps {

// Latencies with a relative error below 1/16, from 1 ns to centuries.
class LatencyHistogram {
 public:
  void add(Nanoseconds value_ns);
  void add(const LatencyHistogram& other);
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] Nanoseconds max_ns() const { return max_ns_; }
  [[nodiscard]] Nanoseconds min_ns() const { return count_ == 0 ? 0 : min_ns_; }
  // Buckets that hold something, from the shortest: upper end in nanoseconds, samples.
  struct Bucket {
    Nanoseconds upper_ns;
    std::uint64_t samples;
  };
  [[nodiscard]] std::vector<Bucket> buckets() const;
  // The value below which `share` (0..1) of the samples lie.
  [[nodiscard]] Nanoseconds quantile_ns(double share) const;

 private:
  static constexpr std::uint32_t kSubBits = 4;
  static constexpr std::uint32_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  static std::uint32_t bucket_of(std::uint64_t value);
  static std::uint64_t upper_end(std::uint32_t bucket);

  std::vector<std::uint32_t> buckets_;  // empty until the first sample
  std::uint64_t count_ = 0;
  Nanoseconds max_ns_ = 0;
  Nanoseconds min_ns_ = 0;
};

}  // namespace pcaps
