#pragma once
// The few byte types that the whole suite speaks: frames, MAC addresses, hexadecimal. Knows nothing
// of AoE.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace conformance::observer {

using Bytes = std::vector<uint8_t>;
using BytesView = std::span<const uint8_t>;
using Mac = std::array<uint8_t, 6>;

inline constexpr Mac kBroadcastMac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
inline constexpr size_t kMinFrameBytes = 60;  // Ethernet's minimum without the checksum
inline constexpr size_t kSectorBytes = 512;

std::string to_string(const Mac& mac);
// "00:11:22:33:44:55", or the same without colons. nullopt when it is neither.
std::optional<Mac> mac_from_string(std::string_view text);

// Big-endian or little-endian unsigned number of `size` bytes (at most 8). The range must be
// inside.
uint64_t load_be(BytesView bytes, size_t offset, size_t size);
uint64_t load_le(BytesView bytes, size_t offset, size_t size);
void store_be(std::span<uint8_t> bytes, size_t offset, size_t size, uint64_t value);
void store_le(std::span<uint8_t> bytes, size_t offset, size_t size, uint64_t value);

// "61 62 0a", at most `limit` bytes, then "... (N bytes)".
std::string hex(BytesView bytes, size_t limit = 32);
// Printable characters as they are, others as \xNN, in double quotes.
std::string quoted(BytesView bytes, size_t limit = 80);
std::string quoted(std::string_view text, size_t limit = 80);

inline Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

}  // namespace conformance::observer
