// How many bytes a source may be sent: see reply_budget.h.
#include "target/shell/reply_budget.h"

#include <algorithm>

namespace target::shell {
namespace {

constexpr Nanoseconds kSecond_ns = 1'000'000'000;
// Places that one source may have: short walks, whoever chooses the addresses.
constexpr std::size_t kProbes = 8;

std::size_t place_of(const wire::MacAddress& source) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const std::uint8_t octet : source.octets) {
    hash = (hash ^ octet) * 0x100000001B3ULL;
  }
  return static_cast<std::size_t>(hash ^ hash >> 32U);
}

}  // namespace

ReplyBudget::ReplyBudget(std::uint64_t bytes_per_second, std::vector<wire::MacAddress> exempt)
    : bytes_per_second_(bytes_per_second), burst_ns_(0), exempt_(std::move(exempt)) {
  if (limits()) {
    const std::uint64_t burst = std::max(bytes_per_second / 10, kBudgetBurstMin);
    burst_ns_ = static_cast<Nanoseconds>(static_cast<double>(burst) * kSecond_ns /
                                         static_cast<double>(bytes_per_second));
    buckets_.resize(kBudgetSourcesMax);
  }
}

// A bucket that is full again belongs to nobody: whoever had it would find a full one as well.
ReplyBudget::Bucket& ReplyBudget::bucket_of(const wire::MacAddress& source, Nanoseconds now) {
  const std::size_t first = place_of(source);
  Bucket* free = nullptr;
  for (std::size_t i = 0; i < kProbes; ++i) {
    Bucket& one = buckets_[(first + i) % buckets_.size()];
    if (one.full_at <= now) {
      free = free == nullptr ? &one : free;
    } else if (one.source == source) {
      return one;
    }
  }
  if (free == nullptr) {
    return others_;
  }
  *free = {source, now};
  return *free;
}

bool ReplyBudget::admit(const wire::MacAddress& source, std::size_t bytes, Nanoseconds now) {
  if (!limits() || std::find(exempt_.begin(), exempt_.end(), source) != exempt_.end()) {
    return true;
  }
  const auto cost = static_cast<Nanoseconds>(static_cast<double>(bytes) * kSecond_ns /
                                             static_cast<double>(bytes_per_second_));
  Bucket& bucket = bucket_of(source, now);
  const Nanoseconds full_at = std::max(bucket.full_at, now) + cost;
  if (full_at - now > burst_ns_) {
    ++dropped_;
    return false;
  }
  bucket.full_at = full_at;
  return true;
}

}  // namespace target::shell
