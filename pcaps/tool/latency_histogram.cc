#include "pcaps/tool/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pcaps {

std::uint32_t LatencyHistogram::bucket_of(std::uint64_t value) {
  constexpr std::uint64_t kSub = 1U << kSubBits;
  if (value < kSub) {
    return static_cast<std::uint32_t>(value);
  }
  const auto magnitude = static_cast<std::uint32_t>(std::bit_width(value)) - 1 - kSubBits;
  return static_cast<std::uint32_t>(((magnitude + 1) << kSubBits) + ((value >> magnitude) - kSub));
}

std::uint64_t LatencyHistogram::upper_end(std::uint32_t bucket) {
  constexpr std::uint64_t kSub = 1U << kSubBits;
  if (bucket < kSub) {
    return bucket;
  }
  const std::uint32_t magnitude = (bucket >> kSubBits) - 1;
  return ((kSub + (bucket & (kSub - 1))) << magnitude) + ((std::uint64_t{1} << magnitude) - 1);
}

void LatencyHistogram::add(Nanoseconds value_ns) {
  if (buckets_.empty()) {
    buckets_.resize(kBuckets);
    min_ns_ = value_ns;
  }
  value_ns = std::max<Nanoseconds>(value_ns, 0);
  ++buckets_[bucket_of(static_cast<std::uint64_t>(value_ns))];
  ++count_;
  max_ns_ = std::max(max_ns_, value_ns);
  min_ns_ = std::min(min_ns_, value_ns);
}

void LatencyHistogram::add(const LatencyHistogram& other) {
  if (other.count_ == 0) {
    return;
  }
  if (buckets_.empty()) {
    *this = other;
    return;
  }
  for (std::uint32_t i = 0; i < kBuckets; ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
  min_ns_ = std::min(min_ns_, other.min_ns_);
}

Nanoseconds LatencyHistogram::quantile_ns(double share) const {
  if (count_ == 0) {
    return 0;
  }
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= std::max<std::uint64_t>(wanted, 1)) {
      return std::min(static_cast<Nanoseconds>(upper_end(i)), max_ns_);
    }
  }
  return max_ns_;
}

std::vector<LatencyHistogram::Bucket> LatencyHistogram::buckets() const {
  std::vector<Bucket> out;
  for (std::uint32_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] != 0) {
      out.push_back({std::min(static_cast<Nanoseconds>(upper_end(i)), max_ns_), buckets_[i]});
    }
  }
  return out;
}

}  // namespace pcaps
