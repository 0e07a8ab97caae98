// What differs between two replies to the same request, each difference by a name that the command
// line knows. Some may differ between good targets, and are allowed unless one asks otherwise. It
// must never know where the replies came from.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "pcaps/tool/observed.h"

namespace pcaps {

enum class Difference : std::uint8_t {
  missing,     // no reply where there was one
  unexpected,  // a reply where there was none: it may have been lost then
  error,       // E flag or error code
  version,
  address,     // not the target's own shelf and slot
  ata_status,  // status or error register
  data,        // what a read brought
  length,      // fields that do not fit the frame
  capacity,    // sectors of identify
  identify,    // the rest of identify: model, serial, what it claims
  registers,   // AFlags, sector count, LBA, reserved bytes of an ATA reply
  buffers,
  firmware,
  sectors,  // sectors per command
  config_string,
  config_command,
  mask_list,
  reserve_list,
  extensions,  // the table
  write_data,  // what a write carried: only between two captures
  congestion,  // only the case of the congestion probe: a target has a budget
  padding,     // what comes after the fields, and the frame's length
  count,
};
inline constexpr auto kDifferences = static_cast<std::size_t>(Difference::count);
using DifferenceSet = std::bitset<kDifferences>;

const char* difference_name(Difference difference);

// How often each difference was seen.
using DifferenceCounts = std::array<std::uint64_t, kDifferences>;
// {"name": count} of those that were seen at all.
nlohmann::ordered_json difference_counts_json(const DifferenceCounts& counts);
const char* difference_text(Difference difference);
// Difference::count when there is none of that name.
Difference find_difference(std::string_view name);
// What good targets may do differently.
DifferenceSet allowed_by_default();

inline bool has(const DifferenceSet& set, Difference d) {
  return set[static_cast<std::size_t>(d)];
}
inline void add(DifferenceSet& set, Difference d) {
  set[static_cast<std::size_t>(d)] = true;
}

// What the replies alone do not tell.
struct CompareContext {
  std::uint8_t ata_command = 0;
  std::uint32_t sectors = 0;
  std::uint16_t expected_shelf = 0;  // of the second reply
  std::uint8_t expected_slot = 0;
  // The second reply's addresses in lists, translated to the first's.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> mac_map;  // from, to
};

// Both are replies to the same request, whole Ethernet frames.
DifferenceSet compare_replies(std::span<const std::uint8_t> first,
                              std::span<const std::uint8_t> second, const CompareContext& context);

// Whether this reply can be the answer to this request frame, by what it repeats of it: a table's
// names, an LBA. Several requests may be outstanding under one tag. Both without VLAN tags.
bool repeats_request(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply);

}  // namespace pcaps
