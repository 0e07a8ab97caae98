// Values -> bytes: one function for each kind of reply.
#include "target/wire/format.h"

#include <algorithm>
#include <cstring>

#include "target/wire/bytes.h"

namespace target::wire {

namespace {

void store_mac(std::span<std::byte> buffer, std::size_t offset, const MacAddress& mac) {
  std::memcpy(buffer.data() + offset, mac.octets.data(), kMacBytes);
}

void store_header(std::span<std::byte> buffer, const ReplyHeader& header) {
  store_mac(buffer, 0, header.destination);
  store_mac(buffer, 6, header.source);
  store_be16(buffer, 12, kEtherType);
  const bool failed = header.error != ErrorCode::none;
  const auto flags = static_cast<std::uint8_t>(flag::kResponse | (failed ? flag::kError : 0));
  store_u8(buffer, 14, static_cast<std::uint8_t>(kVersion << 4 | flags));
  store_u8(buffer, 15, static_cast<std::uint8_t>(header.error));
  store_be16(buffer, 16, header.shelf);
  store_u8(buffer, 18, header.slot);
  store_u8(buffer, 19, header.command);
  store_be32(buffer, 20, header.tag);
}

}  // namespace

std::size_t pad_to_minimum(std::span<std::byte> buffer, std::size_t length) {
  if (length >= kFrameBytesMin) {
    return length;
  }
  std::memset(buffer.data() + length, 0, kFrameBytesMin - length);
  return kFrameBytesMin;
}

void store_ata_registers(std::span<std::byte> buffer, std::size_t offset,
                         const AtaRegisters& registers) {
  store_u8(buffer, offset, registers.aflags);
  store_u8(buffer, offset + 1, registers.error_or_feature);
  store_u8(buffer, offset + 2, registers.sector_count);
  store_u8(buffer, offset + 3, registers.status_or_command);
  store_le48(buffer, offset + 4, registers.lba);
  store_be16(buffer, offset + 10, 0);
}

std::size_t format_error(std::span<std::byte> buffer, const ReplyHeader& header) {
  store_header(buffer, header);
  return pad_to_minimum(buffer, kAoeHeaderEnd);
}

std::size_t format_config(std::span<std::byte> buffer, const ReplyHeader& header,
                          const ConfigReply& reply) {
  store_header(buffer, header);
  store_be16(buffer, 24, reply.buffer_count);
  store_be16(buffer, 26, reply.firmware_version);
  store_u8(buffer, 28, reply.sector_count);
  store_u8(buffer, 29, static_cast<std::uint8_t>(kVersion << 4 | (reply.ccmd & 0x0F)));
  store_be16(buffer, 30, static_cast<std::uint16_t>(reply.string.size()));
  if (!reply.string.empty()) {
    std::memcpy(buffer.data() + kConfigArgumentEnd, reply.string.data(), reply.string.size());
  }
  return pad_to_minimum(buffer, kConfigArgumentEnd + reply.string.size());
}

std::size_t format_mask(std::span<std::byte> buffer, const ReplyHeader& header,
                        const MaskReply& reply) {
  store_header(buffer, header);
  store_u8(buffer, 24, 0);
  store_u8(buffer, 25, reply.mcmd);
  store_u8(buffer, 26, reply.merror);
  store_u8(buffer, 27, reply.entries);
  std::size_t offset = kMaskArgumentEnd;
  for (std::size_t i = 0; i < reply.entries; ++i) {
    store_u8(buffer, offset, 0);
    store_u8(buffer, offset + 1, dcmd::kNothing);
    store_mac(buffer, offset + 2, i < reply.list.size() ? reply.list[i] : MacAddress{});
    offset += kMaskDirectiveBytes;
  }
  return pad_to_minimum(buffer, offset);
}

std::size_t format_reserve(std::span<std::byte> buffer, const ReplyHeader& header,
                           const ReserveReply& reply) {
  store_header(buffer, header);
  store_u8(buffer, 24, reply.rcmd);
  store_u8(buffer, 25, static_cast<std::uint8_t>(reply.list.size()));
  std::size_t offset = kReserveArgumentEnd;
  for (const MacAddress& mac : reply.list) {
    store_mac(buffer, offset, mac);
    offset += kMacBytes;
  }
  return pad_to_minimum(buffer, offset);
}

std::size_t format_ata(std::span<std::byte> buffer, const ReplyHeader& header,
                       const AtaRegisters& registers, std::size_t data_bytes) {
  store_header(buffer, header);
  store_ata_registers(buffer, kAoeHeaderEnd, registers);
  return pad_to_minimum(buffer, kAtaArgumentEnd + data_bytes);
}

std::size_t format_extensions(std::span<std::byte> buffer, const ReplyHeader& header,
                              const ExtensionRequest& request) {
  store_header(buffer, header);
  const auto length = static_cast<std::uint16_t>(request.table.size());
  if (request.length_order == LengthOrder::little_endian) {
    store_le16(buffer, kAoeHeaderEnd, length);
  } else {
    store_be16(buffer, kAoeHeaderEnd, length);
  }
  std::memcpy(buffer.data() + kExtensionArgumentEnd, request.table.data(), length);
  return pad_to_minimum(buffer, kExtensionArgumentEnd + length);
}

}  // namespace target::wire
