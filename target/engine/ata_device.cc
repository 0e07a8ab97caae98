// The commands a target needs; every other one is aborted, as a disk does.
#include "target/engine/ata_device.h"

#include <algorithm>
#include <string_view>

#include "target/wire/bytes.h"
#include "target/wire/crc8x4.h"

namespace target::engine {

namespace {

namespace ata = wire::ata;

constexpr std::uint64_t kLba28Mask = 0x0FFF'FFFF;
constexpr std::uint64_t kLba28SectorsMax = 0x0FFF'FFFF;
constexpr std::uint8_t kPowerModeActive = 0xFF;

// The registers as they came, without reserved bits: count says what is left to transfer.
wire::AtaRegisters registers_failed(const wire::AtaRegisters& request, std::uint8_t error,
                                    std::uint8_t status_bits) {
  wire::AtaRegisters reply = request;
  reply.aflags &= wire::aflag::kDefined;
  reply.error_or_feature = error;
  reply.status_or_command = ata::kStatusReady | ata::kStatusError | status_bits;
  return reply;
}

AtaPlan answer(const wire::AtaRegisters& registers) {
  AtaPlan plan;
  plan.registers = registers;
  return plan;
}

bool is_extended(std::uint8_t command) {
  return command == ata::kReadSectorsExt || command == ata::kWriteSectorsExt;
}

// The command decides between 28 and 48 bits and between read and write; the flags E and W of a
// request that disagrees with its command decide nothing.
AtaPlan plan_transfer(const EngineConfig& config, const wire::AtaRegisters& request,
                      std::uint32_t sectors_limit, std::size_t payload_bytes) {
  const bool writes = is_ata_write(request.status_or_command);
  const std::uint32_t sectors = request.sector_count;
  AtaPlan plan;
  // A count of 0 is ATA's 256 (28-bit) or 65,536 sectors, which no frame holds: the same impossible
  // argument as any other count above the limit.
  if (sectors == 0 || sectors > sectors_limit ||
      (writes && payload_bytes < sectors * kSectorBytes)) {
    plan.action = AtaAction::bad_argument;
    return plan;
  }
  if (writes && config.read_only) {
    return answer(registers_failed(request, ata::kErrorAbort, 0));
  }
  const std::uint64_t lba =
      is_extended(request.status_or_command) ? request.lba : request.lba & kLba28Mask;
  if (lba > config.sectors || sectors > config.sectors - lba) {
    return answer(registers_failed(request, ata::kErrorIdNotFound, 0));
  }
  plan.action = AtaAction::disk;
  plan.op_kind = writes ? DiskOpKind::write : DiskOpKind::read;
  plan.lba = lba;
  plan.sectors = sectors;
  return plan;
}

void store_word(std::span<std::byte> data, std::size_t word, std::uint64_t value) {
  wire::store_le16(data, word * 2, static_cast<std::uint16_t>(value));
}

// ATA strings: the two bytes of every word swapped, padded with spaces.
void store_string(std::span<std::byte> data, std::size_t word, std::size_t words,
                  std::string_view text) {
  for (std::size_t i = 0; i < words * 2; ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    data[word * 2 + (i ^ 1U)] = static_cast<std::byte>(c);
  }
}

// The old geometry, for readers that divide by it.
void store_geometry(std::span<std::byte> data, std::uint64_t sectors) {
  constexpr std::uint64_t kHeads = 16;
  constexpr std::uint64_t kSectorsPerTrack = 63;
  constexpr std::uint64_t kCylindersMax = 16383;
  store_word(data, 1, std::min(kCylindersMax, sectors / (kHeads * kSectorsPerTrack)));
  store_word(data, 3, kHeads);
  store_word(data, 6, kSectorsPerTrack);
}

void store_capacity(std::span<std::byte> data, std::uint64_t sectors) {
  const std::uint64_t sectors28 = std::min(sectors, kLba28SectorsMax);
  store_word(data, 60, sectors28);
  store_word(data, 61, sectors28 >> 16);
  for (std::size_t i = 0; i < 4; ++i) {
    store_word(data, 100 + i, sectors >> (16 * i));
  }
}

void store_features(std::span<std::byte> data, bool volatile_write_cache) {
  constexpr std::uint16_t kWriteCache = 1U << 5;        // words 82, 85
  constexpr std::uint16_t kWordValid = 1U << 14;        // words 83, 84, 87
  constexpr std::uint16_t kFlushExt = 1U << 13;         // words 83, 86
  constexpr std::uint16_t kFlush = 1U << 12;            // words 83, 86
  constexpr std::uint16_t kLba48 = 1U << 10;            // words 83, 86
  constexpr std::uint16_t kLba = 1U << 9;               // word 49
  constexpr std::uint16_t kAta4ToAta7 = 0x00F0;         // word 80
  constexpr std::uint16_t kNoMultipleSectors = 0x8000;  // word 47
  constexpr std::uint16_t kCapabilitiesValid = 0x4000;  // word 50
  constexpr std::uint16_t kFixedDevice = 0x0040;        // word 0
  const std::uint16_t write_cache = volatile_write_cache ? kWriteCache : 0;
  store_word(data, 0, kFixedDevice);
  store_word(data, 47, kNoMultipleSectors);
  store_word(data, 49, kLba);
  store_word(data, 50, kCapabilitiesValid);
  store_word(data, 80, kAta4ToAta7);
  store_word(data, 82, write_cache);
  store_word(data, 83, kWordValid | kFlushExt | kFlush | kLba48);
  store_word(data, 84, kWordValid);
  store_word(data, 85, write_cache);
  store_word(data, 86, kFlushExt | kFlush | kLba48);
  store_word(data, 87, kWordValid);
}

// Word 255: a signature, and a byte that makes the sum of all 512 bytes zero.
void store_integrity(std::span<std::byte> data) {
  constexpr std::uint8_t kSignature = 0xA5;
  wire::store_u8(data, 510, kSignature);
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < kIdentifyBytes - 1; ++i) {
    sum = static_cast<std::uint8_t>(sum + wire::load_u8(data, i));
  }
  wire::store_u8(data, 511, static_cast<std::uint8_t>(-sum));
}

}  // namespace

bool is_ata_read(std::uint8_t command) {
  return command == ata::kReadSectors || command == ata::kReadSectorsExt;
}

bool is_ata_write(std::uint8_t command) {
  return command == ata::kWriteSectors || command == ata::kWriteSectorsExt;
}

AtaPlan plan_ata(const EngineConfig& config, const wire::AtaRegisters& request,
                 std::uint32_t sectors_limit, std::size_t payload_bytes) {
  AtaPlan plan;
  switch (request.status_or_command) {
    case ata::kReadSectors:
    case ata::kReadSectorsExt:
    case ata::kWriteSectors:
    case ata::kWriteSectorsExt:
      return plan_transfer(config, request, sectors_limit, payload_bytes);
    case ata::kFlushCache:
    case ata::kFlushCacheExt:
      plan.action = AtaAction::disk;
      plan.op_kind = DiskOpKind::flush;
      return plan;
    case ata::kIdentifyDevice:
      // Whatever the count says, identify is one sector.
      plan.action = AtaAction::identify;
      plan.registers = registers_good(request);
      return plan;
    case ata::kCheckPowerMode:
      plan.registers = registers_good(request);
      plan.registers.sector_count = kPowerModeActive;
      return plan;
    default:
      return answer(registers_failed(request, ata::kErrorAbort, 0));
  }
}

wire::AtaRegisters registers_good(const wire::AtaRegisters& request) {
  wire::AtaRegisters reply = request;
  reply.aflags &= wire::aflag::kDefined;
  reply.error_or_feature = 0;
  reply.sector_count = 0;  // nothing is left to transfer
  reply.status_or_command = ata::kStatusReady;
  return reply;
}

wire::AtaRegisters registers_refused(const wire::AtaRegisters& request) {
  return registers_failed(request, ata::kErrorAbort, 0);
}

wire::AtaRegisters registers_after(const wire::AtaRegisters& request, DiskOpKind kind,
                                   DiskStatus status) {
  if (status == DiskStatus::ok) {
    return registers_good(request);
  }
  if (kind == DiskOpKind::read) {
    return registers_failed(request, ata::kErrorUncorrectable, 0);
  }
  return registers_failed(request, ata::kErrorAbort, ata::kStatusDeviceFault);
}

void write_identify(const EngineConfig& config, std::span<std::byte> data) {
  std::fill(data.begin(), data.end(), std::byte{0});
  store_geometry(data, config.sectors);
  store_string(data, 10, 10, config.serial);
  store_string(data, 23, 4, config.firmware);
  store_string(data, 27, 20, config.model);
  store_capacity(data, config.sectors);
  store_features(data, config.volatile_write_cache);
  store_integrity(data);
}

std::uint32_t sectors_max(std::uint16_t mtu, bool crc8x4) {
  constexpr std::size_t kCountMax = 255;  // the register is one byte
  const std::size_t overhead =
      wire::kAtaArgumentEnd - wire::kEthernetHeaderBytes + (crc8x4 ? wire::kCrc8x4Bytes : 0);
  return static_cast<std::uint32_t>(std::min(kCountMax, (mtu - overhead) / kSectorBytes));
}

}  // namespace target::engine
