#include "conformance/observer/extension_table.h"

#include <algorithm>
#include <array>

namespace conformance::observer {

namespace {
constexpr std::array<Feature, 8> kFeatures{
    {{kFeatureReset, "reset", false},
     {kFeatureTagIncLe, "tag_inc_le", false},
     {kFeatureTagIncBe, "tag_inc_be", false},
     {kFeatureTagRandom, "tag_random", false},
     {kFeatureCoalescedRead, "coalesced_read", false},
     {kFeatureCongestion, "congestion", true},
     {kFeatureCrc, "crc8x4", false},
     {kFeatureWriteReplies, "coalesced_write_reply", false}}};

constexpr std::uint32_t kSmallestTableBytes = 2;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool well_formed_at(const AoeFrame& frame, std::uint32_t size) {
  if (size < kSmallestTableBytes || !frame.holds(kExtensionTableOffset, size)) {
    return false;
  }
  return frame.u8(kExtensionTableOffset + size - 1) == 0 &&
         frame.u8(kExtensionTableOffset + size - 2) == 0;
}
}  // namespace

ExtensionTable ExtensionTable::find(const AoeFrame& frame) {
  ExtensionTable table;
  if (!frame.holds(kAoeHeaderEnd, 2)) {
    return table;
  }
  const std::uint16_t little = frame.le16(kAoeHeaderEnd);
  const std::uint16_t big = frame.be16(kAoeHeaderEnd);
  std::uint16_t size = 0;
  if (well_formed_at(frame, little)) {
    size = little;
  } else if (well_formed_at(frame, big)) {
    size = big;
    table.order = LengthOrder::big;
  } else {
    return table;
  }
  table.well_formed = true;
  const auto bytes = frame.slice(kExtensionTableOffset, size);
  table.bytes = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return table;
}

bool equal_but_for_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool is_upper_case(std::string_view name) {
  return std::none_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

std::span<const Feature> all_features() {
  return kFeatures;
}

std::uint8_t feature_bit(std::string_view name) {
  for (const Feature& feature : kFeatures) {
    if (equal_but_for_case(name, feature.name)) {
      return feature.bit;
    }
  }
  return 0;
}

const char* feature_name(std::uint8_t bit) {
  for (const Feature& feature : kFeatures) {
    if (feature.bit == bit) {
      return feature.name;
    }
  }
  return "?";
}

}  // namespace conformance::observer
