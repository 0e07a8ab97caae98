#pragma once
// Who is there: a broadcast config query, and what answers it. Pure; repeating and waiting is the
// caller's.

#include "conformance/initiator/initiator.h"

namespace conformance::initiator {

struct Found {
  size_t path = 0;
  Mac mac{};
  uint16_t shelf = 0;
  uint8_t slot = 0;
  uint16_t buffer_count = 0;
  uint16_t firmware = 0;
  uint8_t sector_count = 0;
  Bytes config_string;
  bool operator==(const Found&) const = default;
};

// Answers everybody who was ever asked, in whatever order; each target once for each path and
// address. Bounded: a wire on which more answer is not one to search through.
class Discovery {
 public:
  static constexpr size_t kFoundMax = 65536;

  Discovery(uint16_t shelf, uint8_t slot, uint32_t tag) : shelf_(shelf), slot_(slot), tag_(tag) {}

  // 0xffff and 0xff ask every shelf, every slot.
  Bytes query(const Mac& own) const;
  // True when this is somebody new.
  bool on_frame(size_t path, BytesView frame);

  const std::vector<Found>& found() const { return found_; }

 private:
  uint16_t shelf_;
  uint8_t slot_;
  uint32_t tag_;
  std::vector<Found> found_;
};

}  // namespace conformance::initiator
