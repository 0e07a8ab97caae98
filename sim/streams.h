// Random streams named by what they are for: hash(seed, name, id). It owns the arithmetic and
// nothing else: integers only, no global state, so that a stream says the same on every compiler.
#pragma once

#include <cstdint>
#include <string_view>

namespace sim {

inline constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// The finaliser of SplitMix64: every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31U);
}

constexpr std::uint64_t hash(std::uint64_t seed, std::string_view name, std::uint64_t id) {
  std::uint64_t state = mix(seed + kGolden);
  for (const char letter : name) {
    state = mix(state ^ static_cast<std::uint8_t>(letter)) + kGolden;
  }
  return mix(state ^ id);
}

class Stream {
 public:
  constexpr Stream() = default;
  constexpr explicit Stream(std::uint64_t state) : state_(state) {}
  constexpr Stream(std::uint64_t seed, std::string_view name, std::uint64_t id)
      : state_(hash(seed, name, id)) {}

  constexpr std::uint64_t next() {
    state_ += kGolden;
    return mix(state_);
  }
  // 0 .. bound-1; 0 when bound is 0. The bias of the remainder is below 2^-32 for every bound used.
  constexpr std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  constexpr std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }
  constexpr bool per_million(std::uint64_t rate) { return below(1'000'000) < rate; }

 private:
  std::uint64_t state_ = 0;
};

// A stream without a place in it: what number N of a thing meets depends on N and on nothing that
// was drawn before, so that neither another thing nor another kind of fault shifts it.
class Numbered {
 public:
  constexpr Numbered() = default;
  constexpr Numbered(std::uint64_t seed, std::string_view name, std::uint64_t id)
      : base_(hash(seed, name, id)) {}

  // The stream of number N: the first draw says whether something strikes, the next ones how.
  [[nodiscard]] constexpr Stream at(std::uint64_t number) const {
    return Stream(base_ + mix(number + kGolden));
  }

 private:
  std::uint64_t base_ = 0;
};

}  // namespace sim
