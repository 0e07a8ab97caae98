// The tags seen in one batch of frames that waited together in the receive ring: a second frame of
// the same session, command and tag is a duplicate in the ring. Bounded: in a batch larger than it
// can hold, later duplicates are simply served.
#pragma once

#include <cstdint>
#include <vector>

namespace target::engine {

class RingDuplicates {
 public:
  RingDuplicates();
  // True if the same was noted before in this batch; else notes it. session_generation tells
  // sessions apart, for no two ever share one.
  bool seen(std::uint64_t batch, std::uint64_t session_generation, std::uint32_t tag,
            std::uint8_t command);

 private:
  struct Entry {
    std::uint64_t epoch = 0;  // the batch in which the entry was written; another means empty
    std::uint64_t session_generation = 0;
    std::uint32_t tag = 0;
    std::uint8_t command = 0;
  };
  std::vector<Entry> entries_;
  std::uint64_t batch_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint32_t used_ = 0;
};

}  // namespace target::engine
