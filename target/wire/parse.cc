// Bytes -> values: one function for each command's argument, and the order in which a frame is
// judged. Never writes to the frame.
#include "target/wire/parse.h"

#include <algorithm>
#include <cstring>

#include "target/wire/bytes.h"
#include "target/wire/extension_table.h"

namespace target::wire {

MacAddress load_mac(std::span<const std::byte> bytes, std::size_t offset) {
  MacAddress mac;
  std::memcpy(mac.octets.data(), bytes.data() + offset, kMacBytes);
  return mac;
}

namespace {

Header parse_header(std::span<const std::byte> frame) {
  Header header;
  header.destination = load_mac(frame, 0);
  header.source = load_mac(frame, 6);
  header.version = static_cast<std::uint8_t>(load_u8(frame, 14) >> 4);
  header.flags = load_u8(frame, 14) & 0x0F;
  header.shelf = load_be16(frame, 16);
  header.slot = load_u8(frame, 18);
  header.command = load_u8(frame, 19);
  header.tag = load_be32(frame, 20);
  return header;
}

AtaRequest parse_ata(std::span<const std::byte> frame) {
  AtaRequest request;
  request.registers.aflags = load_u8(frame, 24);
  request.registers.error_or_feature = load_u8(frame, 25);
  request.registers.sector_count = load_u8(frame, 26);
  request.registers.status_or_command = load_u8(frame, 27);
  request.registers.lba = load_le48(frame, 28);
  request.argument_and_data = frame.subspan(kAoeHeaderEnd);
  return request;
}

ConfigRequest parse_config(std::span<const std::byte> frame) {
  ConfigRequest request;
  request.ccmd = load_u8(frame, 29) & 0x0F;
  const std::size_t length = load_be16(frame, 30);
  request.string_fits =
      length <= kConfigStringBytesMax && length <= frame.size() - kConfigArgumentEnd;
  if (request.string_fits) {
    request.string = frame.subspan(kConfigArgumentEnd, length);
  }
  return request;
}

MaskRequest parse_mask(std::span<const std::byte> frame) {
  MaskRequest request;
  request.mcmd = load_u8(frame, 25);
  request.directives = load_u8(frame, 27);
  const std::size_t length = request.directives * kMaskDirectiveBytes;
  request.directives_fit = length <= frame.size() - kMaskArgumentEnd;
  if (request.directives_fit) {
    request.bytes = frame.subspan(kMaskArgumentEnd, length);
  }
  return request;
}

ReserveRequest parse_reserve(std::span<const std::byte> frame) {
  ReserveRequest request;
  request.rcmd = load_u8(frame, 24);
  request.addresses = load_u8(frame, 25);
  const std::size_t length = request.addresses * kMacBytes;
  request.addresses_fit = length <= frame.size() - kReserveArgumentEnd;
  if (request.addresses_fit) {
    request.bytes = frame.subspan(kReserveArgumentEnd, length);
  }
  return request;
}

// The end of a command's fixed argument; 0 for a command that does not exist.
std::size_t fixed_argument_end(std::uint8_t command, bool extensions) {
  switch (static_cast<Command>(command)) {
    case Command::ata:
      return kAtaArgumentEnd;
    case Command::query_config:
      return kConfigArgumentEnd;
    case Command::mac_mask:
      return kMaskArgumentEnd;
    case Command::reserve:
      return kReserveArgumentEnd;
    case Command::extensions:
      return extensions ? kExtensionArgumentEnd : 0;
  }
  return 0;
}

}  // namespace

Parsed parse(std::span<const std::byte> frame, bool extensions) {
  if (frame.size() < kEthernetHeaderBytes) {
    return Ignore{IgnoreReason::too_short};
  }
  if (load_be16(frame, 12) != kEtherType) {
    return Ignore{IgnoreReason::not_aoe};
  }
  if (frame.size() < kAoeHeaderEnd) {
    return Ignore{IgnoreReason::too_short};
  }
  const Header header = parse_header(frame);
  if ((header.flags & flag::kResponse) != 0) {
    return Ignore{IgnoreReason::response};
  }
  if (header.version != kVersion) {
    return WireError{header, ErrorCode::unsupported_version};
  }
  const std::size_t argument_end = fixed_argument_end(header.command, extensions);
  if (argument_end == 0) {
    return WireError{header, ErrorCode::unrecognized_command};
  }
  if (frame.size() < argument_end) {
    return Ignore{IgnoreReason::too_short};
  }
  switch (static_cast<Command>(header.command)) {
    case Command::ata:
      return Request{header, parse_ata(frame)};
    case Command::query_config:
      return Request{header, parse_config(frame)};
    case Command::mac_mask:
      return Request{header, parse_mask(frame)};
    case Command::reserve:
      return Request{header, parse_reserve(frame)};
    case Command::extensions:
      if (const auto table = find_extension_table(frame)) {
        return Request{header, *table};
      }
      return Ignore{IgnoreReason::malformed_table};
  }
  return Ignore{IgnoreReason::too_short};
}

}  // namespace target::wire
