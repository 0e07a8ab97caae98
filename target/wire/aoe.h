// The numbers and values of AoE version 1 and of the AoEde extensions: what stands where in a frame
// and what it is called. Offsets count from the first byte of the Ethernet frame. It knows no
// state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "target/wire/mac.h"

namespace target::wire {

inline constexpr std::uint16_t kEtherType = 0x88A2;
inline constexpr std::size_t kEthernetHeaderBytes = 14;
inline constexpr std::size_t kFrameBytesMin = 60;  // Ethernet's minimum without the check sequence
inline constexpr std::size_t kAoeHeaderEnd = 24;   // the argument of a command starts here
inline constexpr std::size_t kAtaArgumentEnd = 36;
inline constexpr std::size_t kConfigArgumentEnd = 32;
inline constexpr std::size_t kMaskArgumentEnd = 28;
inline constexpr std::size_t kReserveArgumentEnd = 26;
inline constexpr std::size_t kExtensionArgumentEnd = 26;
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kConfigStringBytesMax = 1024;
inline constexpr std::size_t kMaskDirectiveBytes = 8;
inline constexpr std::size_t kMacBytes = 6;

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::uint16_t kShelfBroadcast = 0xFFFF;
inline constexpr std::uint8_t kSlotBroadcast = 0xFF;

namespace flag {
inline constexpr std::uint8_t kResponse = 0x8;
inline constexpr std::uint8_t kError = 0x4;
}  // namespace flag

enum class Command : std::uint8_t {
  ata = 0,
  query_config = 1,
  mac_mask = 2,
  reserve = 3,
  extensions = 0x23,
};

enum class ErrorCode : std::uint8_t {
  none = 0,
  unrecognized_command = 1,
  bad_argument = 2,
  device_unavailable = 3,
  config_string_present = 4,
  unsupported_version = 5,
  target_reserved = 6,
};

namespace aflag {
inline constexpr std::uint8_t kExtended = 0x40;
inline constexpr std::uint8_t kDeviceHead = 0x10;
inline constexpr std::uint8_t kAsynchronous = 0x02;
inline constexpr std::uint8_t kWrite = 0x01;
inline constexpr std::uint8_t kDefined = kExtended | kDeviceHead | kAsynchronous | kWrite;
}  // namespace aflag

namespace ata {
inline constexpr std::uint8_t kReadSectors = 0x20;
inline constexpr std::uint8_t kReadSectorsExt = 0x24;
inline constexpr std::uint8_t kWriteSectors = 0x30;
inline constexpr std::uint8_t kWriteSectorsExt = 0x34;
inline constexpr std::uint8_t kCheckPowerMode = 0xE5;
inline constexpr std::uint8_t kFlushCache = 0xE7;
inline constexpr std::uint8_t kFlushCacheExt = 0xEA;
inline constexpr std::uint8_t kIdentifyDevice = 0xEC;

inline constexpr std::uint8_t kStatusReady = 0x40;         // DRDY
inline constexpr std::uint8_t kStatusDeviceFault = 0x20;   // DF
inline constexpr std::uint8_t kStatusError = 0x01;         // ERR
inline constexpr std::uint8_t kErrorUncorrectable = 0x40;  // UNC
inline constexpr std::uint8_t kErrorIdNotFound = 0x10;     // IDNF
inline constexpr std::uint8_t kErrorAbort = 0x04;          // ABRT
}  // namespace ata

namespace ccmd {
inline constexpr std::uint8_t kRead = 0;
inline constexpr std::uint8_t kTest = 1;
inline constexpr std::uint8_t kTestPrefix = 2;
inline constexpr std::uint8_t kSet = 3;
inline constexpr std::uint8_t kForceSet = 4;
}  // namespace ccmd

namespace mcmd {
inline constexpr std::uint8_t kRead = 0;
inline constexpr std::uint8_t kEdit = 1;
}  // namespace mcmd

namespace merror {
inline constexpr std::uint8_t kNone = 0;
inline constexpr std::uint8_t kUnspecified = 1;
inline constexpr std::uint8_t kBadDirective = 2;
inline constexpr std::uint8_t kListFull = 3;
}  // namespace merror

namespace dcmd {
inline constexpr std::uint8_t kNothing = 0;
inline constexpr std::uint8_t kAdd = 1;
inline constexpr std::uint8_t kDelete = 2;
}  // namespace dcmd

namespace rcmd {
inline constexpr std::uint8_t kRead = 0;
inline constexpr std::uint8_t kSet = 1;
inline constexpr std::uint8_t kForceSet = 2;
}  // namespace rcmd

struct Header {
  MacAddress destination;
  MacAddress source;
  std::uint8_t version = kVersion;
  std::uint8_t flags = 0;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::uint8_t command = 0;
  std::uint32_t tag = 0;
};

// The twelve bytes of an ATA argument. In a request error is the feature register and status the
// command; the same bytes stand in the reply with the other meaning.
struct AtaRegisters {
  std::uint8_t aflags = 0;
  std::uint8_t error_or_feature = 0;
  std::uint8_t sector_count = 0;
  std::uint8_t status_or_command = 0;
  std::uint64_t lba = 0;  // 48 bits
  bool operator==(const AtaRegisters&) const = default;
};

struct AtaRequest {
  AtaRegisters registers;
  std::span<const std::byte> argument_and_data;  // from offset 24 to the end of the frame

  [[nodiscard]] std::span<const std::byte> payload() const {
    return argument_and_data.subspan(kAtaArgumentEnd - kAoeHeaderEnd);
  }
};

struct ConfigRequest {
  std::uint8_t ccmd = 0;
  bool string_fits = false;           // at most 1,024 bytes and inside the frame
  std::span<const std::byte> string;  // empty unless it fits
};

struct MaskRequest {
  std::uint8_t mcmd = 0;
  std::uint8_t directives = 0;
  bool directives_fit = false;
  std::span<const std::byte> bytes;  // directives * 8 bytes; empty unless they fit
};

struct ReserveRequest {
  std::uint8_t rcmd = 0;
  std::uint8_t addresses = 0;
  bool addresses_fit = false;
  std::span<const std::byte> bytes;  // addresses * 6 bytes; empty unless they fit
};

enum class LengthOrder : std::uint8_t { little_endian, big_endian };

struct ExtensionRequest {
  LengthOrder length_order = LengthOrder::little_endian;
  std::span<const std::byte> table;  // at least two bytes, ends in two NULs
};

struct Request {
  Header header;
  std::variant<AtaRequest, ConfigRequest, MaskRequest, ReserveRequest, ExtensionRequest> body;
};

enum class IgnoreReason : std::uint8_t {
  too_short,        // shorter than the header or the command's fixed argument
  not_aoe,          // another EtherType
  response,         // R is set
  malformed_table,  // 0x23: no table that ends in two NULs inside the frame
};

struct Ignore {
  IgnoreReason reason{};
};

// A frame with a good header that is answered with an AoE error whatever follows.
struct WireError {
  Header header;
  ErrorCode code{};
};

using Parsed = std::variant<Request, Ignore, WireError>;

}  // namespace target::wire
