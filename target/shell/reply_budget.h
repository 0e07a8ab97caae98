// How many bytes of replies a source may be sent in a second: a small request can ask for a large
// reply, and its source address can be forged, so that replies without a bound are a weapon against
// whoever has that address. It owns the buckets and their bound; what becomes of a reply beyond the
// budget (it is dropped: the initiator asks again) is the shell's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "target/shell/surroundings.h"
#include "target/wire/mac.h"

namespace target::shell {

// Sources with a bucket of their own. Whoever comes when all are in use shares one with everybody
// else who does: addresses are forged at will.
inline constexpr std::size_t kBudgetSourcesMax = 1024;
// What may be sent at once: a tenth of a second's worth, and some long frames in any case.
inline constexpr std::uint64_t kBudgetBurstMin = std::uint64_t{64} << 10;

class ReplyBudget {
 public:
  // bytes_per_second: 0 is no limit. exempt: these have none.
  ReplyBudget(std::uint64_t bytes_per_second, std::vector<wire::MacAddress> exempt);

  [[nodiscard]] bool limits() const { return bytes_per_second_ != 0; }
  // Whether a reply of so many bytes may be sent now.
  bool admit(const wire::MacAddress& source, std::size_t bytes, Nanoseconds now);
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  struct Bucket {
    wire::MacAddress source;
    Nanoseconds full_at = 0;  // when it will be full again
  };
  Bucket& bucket_of(const wire::MacAddress& source, Nanoseconds now);

  std::uint64_t bytes_per_second_;
  Nanoseconds burst_ns_;  // an empty bucket is full again after so long
  std::vector<wire::MacAddress> exempt_;
  std::vector<Bucket> buckets_;  // open addressing by a hash of the source
  Bucket others_;
  std::uint64_t dropped_ = 0;
};

}  // namespace target::shell
