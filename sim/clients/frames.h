// The simulator's own reading of the wire: builds requests, reads replies, by offset (AoEr11 header
// section). It shares no code with the target on purpose: a disagreement must show.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "target/wire/mac.h"

namespace sim::clients {

using target::wire::MacAddress;
using Bytes = std::span<const std::byte>;

inline constexpr std::size_t kHeaderBytes = 24;
inline constexpr std::size_t kAtaBytes = 36;
inline constexpr std::size_t kMinimumFrameBytes = 60;
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kCrcBytes = 4;

enum Command : std::uint8_t { kAta = 0, kConfig = 1, kMask = 2, kReserve = 3, kExtensions = 0x23 };
enum AtaCommand : std::uint8_t {
  kRead28 = 0x20,
  kRead48 = 0x24,
  kWrite28 = 0x30,
  kWrite48 = 0x34,
  kFlush28 = 0xe7,
  kFlush48 = 0xea,
  kIdentify = 0xec,
};

// A frame seen by offset. Accessors may be called when the frame is long enough for them:
// aoe() for the header's, ata() for the ATA ones.
class View {
 public:
  explicit View(Bytes bytes) : bytes_(bytes) {}

  [[nodiscard]] bool aoe() const {
    return bytes_.size() >= kHeaderBytes && u8(12) == 0x88 && u8(13) == 0xa2;
  }
  [[nodiscard]] bool ata() const { return bytes_.size() >= kAtaBytes; }
  [[nodiscard]] MacAddress destination() const { return mac(0); }
  [[nodiscard]] MacAddress source() const { return mac(6); }
  [[nodiscard]] std::uint8_t version() const { return u8(14) >> 4U; }
  [[nodiscard]] bool response() const { return (u8(14) & 8U) != 0; }
  [[nodiscard]] bool error_flag() const { return (u8(14) & 4U) != 0; }
  [[nodiscard]] std::uint8_t error() const { return u8(15); }
  [[nodiscard]] std::uint16_t shelf() const { return u16(16); }
  [[nodiscard]] std::uint8_t slot() const { return u8(18); }
  [[nodiscard]] std::uint8_t command() const { return u8(19); }
  [[nodiscard]] std::uint32_t tag() const { return (std::uint32_t{u16(20)} << 16U) | u16(22); }
  [[nodiscard]] std::uint8_t aflags() const { return u8(24); }
  [[nodiscard]] std::uint8_t sectors() const { return u8(26); }
  [[nodiscard]] std::uint8_t ata_command() const { return u8(27); }  // reply: status
  [[nodiscard]] std::uint64_t lba() const { return lba_at(28); }
  [[nodiscard]] std::uint64_t lba_at(std::size_t offset) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 6; ++i) {
      value |= std::uint64_t{u8(offset + i)} << (8 * i);
    }
    return value;
  }
  [[nodiscard]] Bytes data() const { return bytes_.subspan(kAtaBytes); }
  [[nodiscard]] Bytes bytes() const { return bytes_; }
  [[nodiscard]] std::uint8_t u8(std::size_t offset) const {
    return static_cast<std::uint8_t>(bytes_[offset]);
  }
  [[nodiscard]] std::uint16_t u16(std::size_t offset) const {
    return static_cast<std::uint16_t>((u8(offset) << 8U) | u8(offset + 1));
  }
  [[nodiscard]] MacAddress mac(std::size_t offset) const {
    MacAddress address;
    for (std::size_t i = 0; i < 6; ++i) {
      address.octets[i] = u8(offset + i);
    }
    return address;
  }

 private:
  Bytes bytes_;
};

bool is_read(std::uint8_t ata_command);
bool is_write(std::uint8_t ata_command);
bool is_flush(std::uint8_t ata_command);

// Builds one frame into storage of the caller's; size() is what has been written.
class Builder {
 public:
  Builder(std::span<std::byte> storage, const MacAddress& destination, const MacAddress& source,
          std::uint16_t shelf, std::uint8_t slot, Command command, std::uint32_t tag);

  void u8(std::uint8_t value) { storage_[size_++] = std::byte{value}; }
  void u16(std::uint16_t value) {
    u8(static_cast<std::uint8_t>(value >> 8U));
    u8(static_cast<std::uint8_t>(value & 0xffU));
  }
  void lba(std::uint64_t value);
  void bytes(Bytes data);
  void text(std::string_view data);
  // Reserves room for data that the caller fills in.
  std::span<std::byte> room(std::size_t count);

  // The 12 bytes of the ATA header.
  void ata(std::uint8_t command, std::uint64_t lba, std::uint8_t sectors);
  // The four CRC-8 bytes of crc8x4 over everything from offset 24.
  void crc();
  // Zero padding up to the shortest Ethernet frame.
  void pad();

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::span<std::byte> storage_;
  std::size_t size_ = 0;
};

// The crc8x4 check bytes of what follows the AoE header.
std::array<std::byte, kCrcBytes> crc8x4(Bytes body);

// One line for people: "W tag 17 lba 8+2".
std::string describe(Bytes frame);

}  // namespace sim::clients
