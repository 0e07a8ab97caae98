// Values -> bytes. Owns the writing of reply frames into a buffer that the caller gives; every byte
// of a frame is written here (reserved ones as zero, padding as zero), so that nothing of what the
// buffer held before ever leaves. Keeps no state, allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "target/wire/aoe.h"

namespace target::wire {

// What a reply's header says; R is always set, and E exactly when error is not none.
struct ReplyHeader {
  MacAddress destination;
  MacAddress source;
  ErrorCode error = ErrorCode::none;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint8_t command = 0;
  std::uint32_t tag = 0;
};

struct ConfigReply {
  std::uint16_t buffer_count = 0;
  std::uint16_t firmware_version = 0;
  std::uint8_t sector_count = 0;
  std::uint8_t ccmd = 0;
  std::span<const std::byte> string;
};

// entries: as many as the reply claims; of list what there is, then directives that do nothing.
struct MaskReply {
  std::uint8_t mcmd = 0;
  std::uint8_t merror = 0;
  std::uint8_t entries = 0;
  std::span<const MacAddress> list;
};

struct ReserveReply {
  std::uint8_t rcmd = 0;
  std::span<const MacAddress> list;  // at most 255
};

// Each returns the length of the frame, padding to 60 bytes included; buffer must hold it.
std::size_t format_error(std::span<std::byte> buffer, const ReplyHeader& header);
std::size_t format_config(std::span<std::byte> buffer, const ReplyHeader& header,
                          const ConfigReply& reply);
std::size_t format_mask(std::span<std::byte> buffer, const ReplyHeader& header,
                        const MaskReply& reply);
std::size_t format_reserve(std::span<std::byte> buffer, const ReplyHeader& header,
                           const ReserveReply& reply);
// The data_bytes after offset 36 are in the buffer already: a read's data is never copied.
std::size_t format_ata(std::span<std::byte> buffer, const ReplyHeader& header,
                       const AtaRegisters& registers, std::size_t data_bytes);
// The table that follows is the request's; the caller then changes the case of names in it.
std::size_t format_extensions(std::span<std::byte> buffer, const ReplyHeader& header,
                              const ExtensionRequest& request);

// The twelve bytes of an ATA argument, at offset.
void store_ata_registers(std::span<std::byte> buffer, std::size_t offset,
                         const AtaRegisters& registers);
// Zeros from length to 60 bytes; returns the length that the frame then has.
std::size_t pad_to_minimum(std::span<std::byte> buffer, std::size_t length);

}  // namespace target::wire
