#pragma once
// How long requests took: counts in buckets that grow with the time, so that a percentile is right
// to 1/32 of itself, at a bounded size. Knows no clock.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace conformance::initiator {

class Histogram {
 public:
  void add(int64_t ns) {
    ++counts_[bucket_of(ns < 0 ? 0 : static_cast<uint64_t>(ns))];
    ++total_;
    max_ns_ = ns > max_ns_ ? ns : max_ns_;
  }
  uint64_t total() const { return total_; }
  int64_t max_ns() const { return max_ns_; }

  // The time that the share (0 to 1) of all took no longer than; 0 of none.
  int64_t percentile_ns(double share) const {
    const double wanted = share * static_cast<double>(total_);
    double so_far = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      so_far += static_cast<double>(counts_[i]);
      if (counts_[i] != 0 && so_far >= wanted) {
        const auto upper = static_cast<int64_t>(upper_of(i));
        return upper < max_ns_ ? upper : max_ns_;
      }
    }
    return max_ns_;
  }

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr uint64_t kSub = 1U << kSubBits;
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) * kSub;

  static std::size_t bucket_of(uint64_t value) {
    if (value < kSub) {
      return static_cast<std::size_t>(value);
    }
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return static_cast<std::size_t>((shift + 1) * kSub + ((value >> shift) - kSub));
  }
  static uint64_t upper_of(std::size_t bucket) {
    if (bucket < kSub) {
      return bucket;
    }
    const auto shift = static_cast<unsigned>(bucket / kSub - 1);
    return ((kSub + bucket % kSub + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t total_ = 0;
  int64_t max_ns_ = 0;
};

}  // namespace conformance::initiator
