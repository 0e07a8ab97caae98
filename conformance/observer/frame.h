// One captured Ethernet frame seen as AoE: where the fields are, with VLAN tags taken out of the
// way. It owns no bytes and never copies; it must never know about files, sessions or verdicts.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "conformance/observer/fields.h"

namespace conformance::observer {

using Nanoseconds = std::int64_t;

inline constexpr std::uint32_t kEthernetHeaderBytes = 14;
inline constexpr std::uint32_t kAoeHeaderEnd = 24;
inline constexpr std::uint32_t kAtaDataOffset = 36;
inline constexpr std::uint32_t kConfigStringOffset = 32;
inline constexpr std::uint32_t kMaskListOffset = 28;
inline constexpr std::uint32_t kMaskDirectiveBytes = 8;
inline constexpr std::uint32_t kReserveListOffset = 26;
inline constexpr std::uint32_t kMacBytes = 6;
inline constexpr std::uint32_t kExtensionTableOffset = 26;
inline constexpr std::uint32_t kMinimumFrameBytes = 60;

inline constexpr std::uint16_t kEtherTypeAoe = 0x88A2;
// The VLAN ids of a frame: the outer one in the low 16 bits, above it the inner one plus one, so
// that one inner id in two outer VLANs, or two in one, are different VLANs.
using VlanId = std::uint32_t;
inline constexpr VlanId kNoVlan = 0xFFFF;
inline constexpr std::uint16_t kBroadcastShelf = 0xFFFF;
inline constexpr std::uint8_t kBroadcastSlot = 0xFF;
inline constexpr std::uint64_t kBroadcastAddress = 0xFFFF'FFFF'FFFF;

enum Command : std::uint8_t {
  kCommandAta = 0,
  kCommandConfig = 1,
  kCommandMask = 2,
  kCommandReserve = 3,
  kCommandExtensions = 0x23,
};

enum HeaderFlag : std::uint8_t { kFlagResponse = 8, kFlagError = 4, kFlagsReserved = 3 };
enum AtaFlag : std::uint8_t { kAtaExtended = 0x40, kAtaAsync = 0x02, kAtaWriteFlag = 0x01 };

enum AtaCommand : std::uint8_t {
  kAtaRead = 0x20,
  kAtaReadExt = 0x24,
  kAtaWrite = 0x30,
  kAtaWriteExt = 0x34,
  kAtaCheckPower = 0xE5,
  kAtaFlush = 0xE7,
  kAtaFlushExt = 0xEA,
  kAtaIdentify = 0xEC,
};

enum AtaStatus : std::uint8_t {
  kStatusBsy = 0x80,
  kStatusDrdy = 0x40,
  kStatusDf = 0x20,
  kStatusDrq = 0x08,
  kStatusErr = 0x01
};
enum AtaError : std::uint8_t { kAtaErrorUnc = 0x40, kAtaErrorIdnf = 0x10, kAtaErrorAbrt = 0x04 };

enum AoeError : std::uint8_t {
  kErrorNone = 0,
  kErrorUnknownCommand = 1,
  kErrorBadArgument = 2,
  kErrorUnavailable = 3,
  kErrorConfigPresent = 4,
  kErrorVersion = 5,
  kErrorReserved = 6,
};

// What a capture file hands out. The number counts from 1, as Wireshark's does.
struct CapturedFrame {
  std::uint64_t number = 0;
  Nanoseconds time_ns = 0;
  std::span<const std::uint8_t> bytes;
  std::uint32_t wire_length = 0;  // before a snaplen cut it
  std::uint32_t fcs_bytes = 0;    // bytes of frame check that stand at the end, as the file says
};

// Tells whether the frames of a capture end in their own CRC-32 although its file does not say so.
// It looks closely only where it has reason to: at the first frames, at some later ones, at frames
// as long as the shortest with a check, and as long as there are hits.
class FrameCheck {
 public:
  // 4 when the last four bytes of the frame are its CRC-32, else 0.
  std::uint32_t bytes_of(const CapturedFrame& frame);

 private:
  std::uint32_t close_look_ = 64;
  std::uint32_t since_ = 0;
};

// An AoE frame: offsets are those of an untagged frame, whatever tags the wire had.
class AoeFrame {
 public:
  std::uint64_t number = 0;
  Nanoseconds time_ns = 0;
  std::uint64_t destination = 0;  // 48 bits
  std::uint64_t source = 0;
  VlanId vlan = kNoVlan;
  std::uint32_t length = 0;       // bytes that the capture holds
  std::uint32_t wire_length = 0;  // bytes that were on the wire

  [[nodiscard]] std::uint8_t u8(std::uint32_t offset) const { return base_[offset]; }
  [[nodiscard]] std::uint16_t be16(std::uint32_t offset) const {
    return static_cast<std::uint16_t>(base_[offset] << 8 | base_[offset + 1]);
  }
  [[nodiscard]] std::uint16_t le16(std::uint32_t offset) const {
    return static_cast<std::uint16_t>(base_[offset + 1] << 8 | base_[offset]);
  }
  [[nodiscard]] std::uint32_t be32(std::uint32_t offset) const {
    return static_cast<std::uint32_t>(be16(offset)) << 16 | be16(offset + 2);
  }
  [[nodiscard]] std::uint64_t mac(std::uint32_t offset) const { return read_mac(base_ + offset); }
  [[nodiscard]] std::uint64_t lba48(std::uint32_t offset) const {
    std::uint64_t lba = 0;
    for (std::uint32_t i = 6; i-- > 0;) {
      lba = lba << 8 | base_[offset + i];
    }
    return lba;
  }
  [[nodiscard]] std::span<const std::uint8_t> slice(std::uint32_t offset,
                                                    std::uint32_t size) const {
    return {base_ + offset, size};
  }
  [[nodiscard]] bool holds(std::uint64_t offset, std::uint64_t size) const {
    return offset + size <= length;
  }
  [[nodiscard]] bool was_cut() const { return length < wire_length; }
  // Bytes of a list of further write results from byte 36 on (coalesced_write_reply); 0: none.
  std::uint32_t list_bytes = 0;
  bool from_list = false;  // made of an entry of such a list: it was no frame of its own

  // Header fields.
  [[nodiscard]] std::uint8_t version() const { return u8(14) >> 4; }
  [[nodiscard]] std::uint8_t flags() const { return u8(14) & 0x0F; }
  [[nodiscard]] bool is_response() const { return (flags() & kFlagResponse) != 0; }
  [[nodiscard]] bool has_error_flag() const { return (flags() & kFlagError) != 0; }
  [[nodiscard]] std::uint8_t error() const { return u8(15); }
  [[nodiscard]] std::uint16_t shelf() const { return be16(16); }
  [[nodiscard]] std::uint8_t slot() const { return u8(18); }
  [[nodiscard]] std::uint8_t command() const { return u8(19); }
  [[nodiscard]] std::uint32_t tag() const { return be32(20); }

  // ATA argument; only when holds_ata().
  [[nodiscard]] bool holds_ata() const { return holds(kAoeHeaderEnd, 12); }
  [[nodiscard]] std::uint8_t ata_flags() const { return u8(24); }
  [[nodiscard]] std::uint8_t ata_error() const { return u8(25); }
  [[nodiscard]] std::uint8_t ata_count() const { return u8(26); }
  [[nodiscard]] std::uint8_t ata_command() const { return u8(27); }  // request
  [[nodiscard]] std::uint8_t ata_status() const { return u8(27); }   // reply

  static std::uint64_t read_mac(const std::uint8_t* p) {
    std::uint64_t value = 0;
    for (int i = 0; i < 6; ++i) {
      value = value << 8 | p[i];
    }
    return value;
  }

  enum class Kind : std::uint8_t { aoe, runt, other };
  // runt: says AoE, but ends inside the 24 bytes of the header, or was cut there (was_cut()).
  static Kind parse(const CapturedFrame& captured, AoeFrame& out);

 private:
  const std::uint8_t* base_ = nullptr;
};

inline bool is_read(std::uint8_t ata_command) {
  return ata_command == kAtaRead || ata_command == kAtaReadExt;
}
inline bool is_write(std::uint8_t ata_command) {
  return ata_command == kAtaWrite || ata_command == kAtaWriteExt;
}
inline bool is_28_bit(std::uint8_t ata_command) {
  return ata_command == kAtaRead || ata_command == kAtaWrite;
}

}  // namespace conformance::observer
