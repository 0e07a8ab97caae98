// The engine's memory for operations and frames: a fixed number of slots in one allocation, each
// big enough for the largest frame of any port, laid out so that the data of an ATA frame is
// aligned for direct I/O and the 36 bytes before it take the headers: a read's reply is formatted
// where the data was read. Owns which slots are free; does not know what they are used for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace target::engine {

inline constexpr std::size_t kDataAlignmentBytes = 4096;

class Slots {
 public:
  // frame_bytes_max: the largest frame that a slot has to hold.
  Slots(std::uint32_t count, std::size_t frame_bytes_max);

  [[nodiscard]] std::uint32_t free_count() const {
    return static_cast<std::uint32_t>(free_.size());
  }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  // There must be a free one.
  std::uint32_t take();
  void give_back(std::uint32_t slot);

  // The whole frame; its byte 36 is aligned.
  [[nodiscard]] std::span<std::byte> frame(std::uint32_t slot);
  // From byte 36 on.
  [[nodiscard]] std::span<std::byte> data(std::uint32_t slot);

 private:
  struct FreeAligned {
    void operator()(std::byte* memory) const;
  };
  std::uint32_t count_;
  std::size_t frame_bytes_max_;
  std::size_t stride_bytes_;
  std::unique_ptr<std::byte, FreeAligned> memory_;
  std::vector<std::uint32_t> free_;  // a stack: the slot used last is the one still in the cache
};

}  // namespace target::engine
