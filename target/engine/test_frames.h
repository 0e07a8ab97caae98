// Frames for tests of the engine and of its shell: requests built field by field, replies read the
// same way. Test code only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "target/engine/values.h"
#include "target/wire/aoe.h"
#include "target/wire/bytes.h"

namespace target::engine::test {

using Bytes = std::vector<std::byte>;

inline wire::MacAddress mac(std::uint8_t last) {
  return {{0x02, 0, 0, 0, 0, last}};
}

inline const wire::MacAddress kTargetMac = mac(0xEE);
inline const wire::MacAddress kAlice = mac(1);
inline const wire::MacAddress kBob = mac(2);
inline constexpr std::uint16_t kShelf = 7;
inline constexpr std::uint8_t kSlot = 3;
inline constexpr std::uint64_t kDiskSectors = 4096;

inline Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

inline Bytes sectors_of(std::size_t sectors, std::uint8_t fill) {
  return Bytes(sectors * kSectorBytes, std::byte{fill});
}

inline void append(Bytes& to, const Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// A request frame, field by field; pad() is Ethernet's.
struct FrameSpec {
  wire::MacAddress destination = kTargetMac;
  wire::MacAddress source = kAlice;
  std::uint8_t version = 1;
  std::uint8_t flags = 0;
  std::uint8_t error = 0;
  std::uint16_t shelf = kShelf;
  std::uint8_t slot = kSlot;
  std::uint8_t command = 0;
  std::uint32_t tag = 1;
  Bytes argument;

  [[nodiscard]] Bytes bytes() const {
    Bytes frame(wire::kAoeHeaderEnd);
    std::memcpy(frame.data(), destination.octets.data(), 6);
    std::memcpy(frame.data() + 6, source.octets.data(), 6);
    wire::store_be16(frame, 12, wire::kEtherType);
    wire::store_u8(frame, 14, static_cast<std::uint8_t>(version << 4 | flags));
    wire::store_u8(frame, 15, error);
    wire::store_be16(frame, 16, shelf);
    wire::store_u8(frame, 18, slot);
    wire::store_u8(frame, 19, command);
    wire::store_be32(frame, 20, tag);
    append(frame, argument);
    return frame;
  }
};

inline Bytes padded(Bytes frame) {
  if (frame.size() < wire::kFrameBytesMin) {
    frame.resize(wire::kFrameBytesMin);
  }
  return frame;
}

inline FrameSpec ata(std::uint8_t command, std::uint64_t lba, std::uint8_t count, std::uint32_t tag,
                     const Bytes& data = {}, std::uint8_t aflags = 0x40) {
  FrameSpec spec;
  spec.tag = tag;
  spec.argument.resize(12);
  wire::store_u8(spec.argument, 0, aflags);
  wire::store_u8(spec.argument, 2, count);
  wire::store_u8(spec.argument, 3, command);
  wire::store_le48(spec.argument, 4, lba);
  append(spec.argument, data);
  return spec;
}

inline FrameSpec read(std::uint64_t lba, std::uint8_t count, std::uint32_t tag) {
  return ata(wire::ata::kReadSectorsExt, lba, count, tag);
}

inline FrameSpec write(std::uint64_t lba, std::uint8_t count, std::uint32_t tag,
                       std::uint8_t fill) {
  return ata(wire::ata::kWriteSectorsExt, lba, count, tag, sectors_of(count, fill), 0x41);
}

inline FrameSpec config(std::uint8_t ccmd, std::string_view string, std::uint32_t tag = 1) {
  FrameSpec spec;
  spec.command = 1;
  spec.tag = tag;
  spec.argument.resize(8);
  wire::store_u8(spec.argument, 5, ccmd);
  wire::store_be16(spec.argument, 6, static_cast<std::uint16_t>(string.size()));
  append(spec.argument, bytes_of(string));
  return spec;
}

struct Directive {
  std::uint8_t command;
  wire::MacAddress address;
};

inline void append_mac(Bytes& to, const wire::MacAddress& address) {
  for (const std::uint8_t octet : address.octets) {
    to.push_back(std::byte{octet});
  }
}

inline FrameSpec mask(std::uint8_t mcmd, const std::vector<Directive>& directives = {}) {
  FrameSpec spec;
  spec.command = 2;
  spec.argument.resize(4);
  wire::store_u8(spec.argument, 1, mcmd);
  wire::store_u8(spec.argument, 3, static_cast<std::uint8_t>(directives.size()));
  for (const Directive& directive : directives) {
    spec.argument.push_back(std::byte{0});
    spec.argument.push_back(std::byte{directive.command});
    append_mac(spec.argument, directive.address);
  }
  return spec;
}

inline FrameSpec reserve(std::uint8_t rcmd, const std::vector<wire::MacAddress>& list = {}) {
  FrameSpec spec;
  spec.command = 3;
  spec.argument.resize(2);
  wire::store_u8(spec.argument, 0, rcmd);
  wire::store_u8(spec.argument, 1, static_cast<std::uint8_t>(list.size()));
  for (const wire::MacAddress& address : list) {
    append_mac(spec.argument, address);
  }
  return spec;
}

// names: the strings of the table, in order.
inline FrameSpec extensions(const std::vector<std::string>& names, std::uint32_t tag = 1,
                            bool big_endian = false) {
  Bytes table;
  for (const std::string& name : names) {
    append(table, bytes_of(name));
    table.push_back(std::byte{0});
  }
  table.push_back(std::byte{0});
  FrameSpec spec;
  spec.command = 0x23;
  spec.tag = tag;
  spec.argument.resize(2);
  const auto length = static_cast<std::uint16_t>(table.size());
  if (big_endian) {
    wire::store_be16(spec.argument, 0, length);
  } else {
    wire::store_le16(spec.argument, 0, length);
  }
  append(spec.argument, table);
  return spec;
}

// A frame that the engine sent.
struct Reply {
  std::uint16_t port = 0;
  Bytes bytes;

  [[nodiscard]] std::uint8_t u8(std::size_t offset) const { return wire::load_u8(bytes, offset); }
  [[nodiscard]] std::uint16_t be16(std::size_t offset) const {
    return wire::load_be16(bytes, offset);
  }
  [[nodiscard]] wire::MacAddress address(std::size_t offset) const {
    wire::MacAddress result;
    std::memcpy(result.octets.data(), bytes.data() + offset, 6);
    return result;
  }
  [[nodiscard]] std::uint32_t tag() const { return wire::load_be32(bytes, 20); }
  [[nodiscard]] bool has_error() const { return (u8(14) & wire::flag::kError) != 0; }
  [[nodiscard]] std::uint8_t error() const { return u8(15); }
  [[nodiscard]] std::uint8_t ata_error() const { return u8(25); }
  [[nodiscard]] std::uint8_t ata_count() const { return u8(26); }
  [[nodiscard]] std::uint8_t ata_status() const { return u8(27); }
  [[nodiscard]] bool is_good_ata() const {
    return !has_error() && ata_status() == wire::ata::kStatusReady && ata_error() == 0;
  }
  [[nodiscard]] Bytes data(std::size_t offset, std::size_t length) const {
    if (offset + length > bytes.size()) {
      ADD_FAILURE() << "frame of " << bytes.size() << " bytes has no " << offset << "+" << length;
      return {};
    }
    return {bytes.begin() + static_cast<std::ptrdiff_t>(offset),
            bytes.begin() + static_cast<std::ptrdiff_t>(offset + length)};
  }
  [[nodiscard]] std::string text(std::size_t offset, std::size_t length) const {
    const Bytes part = data(offset, length);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  [[nodiscard]] std::string config_string() const { return text(32, be16(30)); }
  // The strings of an extension reply.
  [[nodiscard]] std::vector<std::string> names(bool big_endian = false) const {
    const std::size_t length = big_endian ? be16(24) : wire::load_le16(bytes, 24);
    std::vector<std::string> result;
    std::string current;
    for (const char c : text(26, length)) {
      if (c != '\0') {
        current += c;
      } else if (!current.empty()) {
        result.push_back(std::move(current));
        current.clear();
      }
    }
    return result;
  }
  [[nodiscard]] std::vector<wire::MacAddress> reserve_list() const {
    std::vector<wire::MacAddress> list;
    for (std::size_t i = 0; i < u8(25); ++i) {
      list.push_back(address(26 + 6 * i));
    }
    return list;
  }
  [[nodiscard]] std::vector<wire::MacAddress> mask_list() const {
    std::vector<wire::MacAddress> list;
    for (std::size_t i = 0; i < u8(27); ++i) {
      list.push_back(address(28 + 8 * i + 2));
    }
    return list;
  }
};

inline EngineConfig plain_config(std::uint16_t mtu = 1500) {
  EngineConfig config;
  config.shelf = kShelf;
  config.slot = kSlot;
  config.sectors = kDiskSectors;
  config.ports = {{kTargetMac, mtu}};
  config.serial = "serial-1";
  return config;
}

inline FrameSpec from(const wire::MacAddress& source, FrameSpec frame) {
  frame.source = source;
  return frame;
}

}  // namespace target::engine::test
