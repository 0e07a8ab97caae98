// The few byte types that the whole suite speaks. Knows nothing of AoE.

#include "conformance/observer/bytes.h"

#include <fmt/format.h>

#include <cassert>

namespace conformance::observer {

std::string to_string(const Mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

std::optional<Mac> mac_from_string(std::string_view text) {
  const bool colons = text.size() == 17;
  if (!colons && text.size() != 12) {
    return std::nullopt;
  }
  Mac mac{};
  for (size_t i = 0; i < mac.size(); ++i) {
    const size_t at = i * (colons ? 3 : 2);
    if (colons && i > 0 && text[at - 1] != ':') {
      return std::nullopt;
    }
    const int high = hex_digit(text[at]);
    const int low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    mac[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return mac;
}

uint64_t load_be(BytesView bytes, size_t offset, size_t size) {
  assert(size <= 8 && offset + size <= bytes.size());
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value = value << 8 | bytes[offset + i];
  }
  return value;
}

uint64_t load_le(BytesView bytes, size_t offset, size_t size) {
  assert(size <= 8 && offset + size <= bytes.size());
  uint64_t value = 0;
  for (size_t i = size; i > 0; --i) {
    value = value << 8 | bytes[offset + i - 1];
  }
  return value;
}

void store_be(std::span<uint8_t> bytes, size_t offset, size_t size, uint64_t value) {
  assert(size <= 8 && offset + size <= bytes.size());
  for (size_t i = size; i > 0; --i) {
    bytes[offset + i - 1] = static_cast<uint8_t>(value);
    value >>= 8;
  }
}

void store_le(std::span<uint8_t> bytes, size_t offset, size_t size, uint64_t value) {
  assert(size <= 8 && offset + size <= bytes.size());
  for (size_t i = 0; i < size; ++i) {
    bytes[offset + i] = static_cast<uint8_t>(value);
    value >>= 8;
  }
}

std::string hex(BytesView bytes, size_t limit) {
  std::string out;
  for (size_t i = 0; i < bytes.size() && i < limit; ++i) {
    out += fmt::format("{}{:02x}", i == 0 ? "" : " ", bytes[i]);
  }
  if (bytes.size() > limit) {
    out += fmt::format(" ... ({} bytes)", bytes.size());
  }
  return out;
}

std::string quoted(BytesView bytes, size_t limit) {
  std::string out = "\"";
  for (size_t i = 0; i < bytes.size() && i < limit; ++i) {
    const uint8_t c = bytes[i];
    if (c == '"' || c == '\\') {
      out += fmt::format("\\{}", static_cast<char>(c));
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("\\x{:02x}", c);
    }
  }
  out += '"';
  if (bytes.size() > limit) {
    out += fmt::format("... ({} bytes)", bytes.size());
  }
  return out;
}

std::string quoted(std::string_view text, size_t limit) {
  return quoted(BytesView(reinterpret_cast<const uint8_t*>(text.data()), text.size()), limit);
}

}  // namespace conformance::observer
