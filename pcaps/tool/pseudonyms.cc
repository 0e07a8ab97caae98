#include "pcaps/tool/pseudonyms.h"

#include <sodium.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>
#include <vector>

namespace pcaps {

Pseudonyms::Pseudonyms() {
  if (sodium_init() < 0) {
    throw std::runtime_error("the system gives no random numbers for a key");
  }
  randombytes_buf(key_.data(), key_.size());
}

Pseudonyms::~Pseudonyms() {
  sodium_memzero(key_.data(), key_.size());
}

std::array<std::uint8_t, Pseudonyms::kSeedBytes> Pseudonyms::seed_of(
    std::string_view what, std::span<const std::uint8_t> bytes) const {
  std::array<std::uint8_t, kSeedBytes> seed{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, key_.data(), key_.size(), seed.size());
  crypto_generichash_update(&state, reinterpret_cast<const std::uint8_t*>(what.data()),
                            what.size());
  crypto_generichash_update(&state, bytes.data(), bytes.size());
  crypto_generichash_final(&state, seed.data(), seed.size());
  return seed;
}

void Pseudonyms::address(std::span<std::uint8_t, 6> mac) const {
  const bool zero = std::all_of(mac.begin(), mac.end(), [](auto b) { return b == 0; });
  const bool all = std::all_of(mac.begin(), mac.end(), [](auto b) { return b == 0xff; });
  if (zero || all) {
    return;
  }
  const auto seed = seed_of("address", mac);
  const std::uint8_t group = mac[0] & 1U;
  std::copy_n(seed.begin(), mac.size(), mac.begin());
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfcU) | 2U | group);
}

void Pseudonyms::content(std::span<std::uint8_t> bytes) const {
  if (std::all_of(bytes.begin(), bytes.end(), [](auto b) { return b == 0; })) {
    return;
  }
  // Block by block, each by all that came before: a target that gives back the beginning of what it
  // was sent still does.
  std::array<std::uint8_t, kSeedBytes + kBlockBytes> chain{};
  for (std::size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    const auto block = bytes.subspan(at, std::min(kBlockBytes, bytes.size() - at));
    std::copy(block.begin(), block.end(), chain.begin() + kSeedBytes);
    const auto next = seed_of("content", std::span(chain).first(kSeedBytes + block.size()));
    std::copy(next.begin(), next.end(), chain.begin());
    const auto shown = seed_of("shown", next);
    std::copy_n(shown.begin(), block.size(), block.begin());
  }
}

void Pseudonyms::pieces(std::span<std::uint8_t> bytes, std::size_t piece) const {
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    content(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  }
}

void Pseudonyms::string(std::span<std::uint8_t> bytes) const {
  const std::vector<std::uint8_t> original(bytes.begin(), bytes.end());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= seed_of("string", std::span(original).first(i))[0];
  }
}

void Pseudonyms::text(std::span<std::uint8_t> bytes) const {
  const auto seed = seed_of("text", bytes);
  std::vector<std::uint8_t> drawn(bytes.size());
  randombytes_buf_deterministic(drawn.data(), drawn.size(), seed.data());
  constexpr std::string_view signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != ' ' && bytes[i] != 0) {
      bytes[i] = static_cast<std::uint8_t>(signs[drawn[i] % signs.size()]);
    }
  }
}

void Pseudonyms::word(std::span<std::uint8_t> bytes) const {
  std::vector<std::uint8_t> lower(bytes.size());
  std::transform(bytes.begin(), bytes.end(), lower.begin(),
                 [](std::uint8_t b) { return static_cast<std::uint8_t>(std::tolower(b)); });
  const auto seed = seed_of("word", lower);
  randombytes_buf_deterministic(lower.data(), lower.size(), seed.data());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto letter = static_cast<std::uint8_t>('a' + lower[i] % 26);
    bytes[i] = std::isupper(bytes[i]) != 0   ? static_cast<std::uint8_t>(std::toupper(letter))
               : std::isalpha(bytes[i]) != 0 ? letter
                                             : bytes[i];
  }
}

}  // namespace pcaps
