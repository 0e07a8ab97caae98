// The table of command 0x23: NUL-terminated strings, ended by one more NUL, behind a length in
// either byte order. Reads it in place; it must never know what a feature means to a session.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "conformance/observer/frame.h"

namespace conformance::observer {

enum class LengthOrder : std::uint8_t { little, big };

struct ExtensionTable {
  bool well_formed = false;
  LengthOrder order = LengthOrder::little;
  std::string_view bytes;  // the whole table, both final NULs included

  // Little-endian first: it is what AoEde speaks on the machines that one meets.
  static ExtensionTable find(const AoeFrame& frame);

  // Calls visit(name) for each string in order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    std::string_view rest = bytes;
    while (!rest.empty() && rest.front() != '\0') {
      const std::size_t end = rest.find('\0');
      visit(rest.substr(0, end));
      rest.remove_prefix(end + 1);
    }
  }
};

enum FeatureBit : std::uint8_t {
  kFeatureReset = 1,
  kFeatureTagIncLe = 2,
  kFeatureTagIncBe = 4,
  kFeatureTagRandom = 8,
  kFeatureCoalescedRead = 16,
  kFeatureCongestion = 32,
  kFeatureCrc = 64,
  kFeatureWriteReplies = 128,
};
inline constexpr std::uint8_t kFeaturesTag =
    kFeatureTagIncLe | kFeatureTagIncBe | kFeatureTagRandom;
inline constexpr std::uint8_t kFeaturesTagInc = kFeatureTagIncLe | kFeatureTagIncBe;

inline constexpr std::uint8_t kFeaturesAll = 0xFF;

// What there is to know of a feature: a row for each, and nobody who watches names one elsewhere.
struct Feature {
  std::uint8_t bit;
  const char* name;  // as it is asked for
  bool argument;     // the next string is its argument
};
std::span<const Feature> all_features();

// The bit of a feature's name whatever its case; 0 for a string that names none.
std::uint8_t feature_bit(std::string_view name);
bool equal_but_for_case(std::string_view a, std::string_view b);
bool is_upper_case(std::string_view name);  // no lower-case letter in it
const char* feature_name(std::uint8_t bit);

}  // namespace conformance::observer
