// Names in the place of names: of equal bytes an equal one, and nothing that leads back. Made with
// a random key that nobody keeps (BLAKE2b of libsodium). Knows bytes; must never know a frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pcaps {

class Pseudonyms {
 public:
  Pseudonyms();  // with a key of its own
  ~Pseudonyms();
  Pseudonyms(const Pseudonyms&) = delete;
  Pseudonyms& operator=(const Pseudonyms&) = delete;

  // A unicast address becomes a locally administered one, a group's a group's; zero and broadcast,
  // which are no host's, stay.
  void address(std::span<std::uint8_t, 6> mac) const;
  // Other bytes of the same length; of two that begin alike, the same as far as whole blocks of
  // four bytes are. Zeros stay zeros: that nothing stands there is no secret, and padding must stay
  // clean.
  void content(std::span<std::uint8_t> bytes) const;
  // As content() for each piece of `piece` bytes, and for what is left of it.
  void pieces(std::span<std::uint8_t> bytes, std::size_t piece) const;
  // So that two strings have just as long a beginning in common as before.
  void string(std::span<std::uint8_t> bytes) const;
  // Letters and digits in the place of printable characters; blanks stay.
  void text(std::span<std::uint8_t> bytes) const;
  // As text(), and the same whether a letter is a capital, which it stays.
  void word(std::span<std::uint8_t> bytes) const;

 private:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kSeedBytes = 32;
  static constexpr std::size_t kBlockBytes = 4;
  std::array<std::uint8_t, kSeedBytes> seed_of(std::string_view what,
                                               std::span<const std::uint8_t> bytes) const;
  std::array<std::uint8_t, kKeyBytes> key_{};
};

}  // namespace pcaps
