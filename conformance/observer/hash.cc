#include "conformance/observer/hash.h"

#include <array>
#include <cstring>

namespace conformance::observer {

std::uint64_t hash_bytes(const std::uint8_t* p, std::size_t size, std::uint64_t seed) {
  std::uint64_t h0 = seed ^ kMix1;
  std::uint64_t h1 = size ^ kMix2;
  while (size >= 16) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, p, 8);
    std::memcpy(&b, p + 8, 8);
    h0 = mix(h0 ^ a, kMix2 ^ b);
    p += 16;
    size -= 16;
  }
  if (size != 0) {
    std::array<std::uint64_t, 2> tail{};
    std::memcpy(tail.data(), p, size);
    h1 = mix(h1 ^ tail[0], kMix1 ^ tail[1]);
  }
  return mix(h0 ^ h1, kMix1);
}

}  // namespace conformance::observer
