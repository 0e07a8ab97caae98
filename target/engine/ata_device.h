// The ATA device behind the target: what a command asks of the disk, what its registers say after,
// and who it is (identify). Pure functions of the configuration and registers; keeps no state, and
// knows no initiator, tag or frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "target/engine/values.h"
#include "target/wire/aoe.h"

namespace target::engine {

inline constexpr std::size_t kIdentifyBytes = 512;

enum class AtaAction : std::uint8_t {
  disk,          // start op_kind at lba, sectors
  identify,      // answer with identify data
  answer,        // answer now with registers
  bad_argument,  // AoE error 2
};

struct AtaPlan {
  AtaAction action = AtaAction::answer;
  DiskOpKind op_kind = DiskOpKind::read;
  std::uint64_t lba = 0;
  std::uint32_t sectors = 0;
  wire::AtaRegisters registers;  // of the reply, when there is no disk operation
};

// sectors_max: the most that one frame of the port can carry. payload_bytes: what came after the
// registers.
[[nodiscard]] AtaPlan plan_ata(const EngineConfig& config, const wire::AtaRegisters& request,
                               std::uint32_t sectors_max, std::size_t payload_bytes);

[[nodiscard]] bool is_ata_read(std::uint8_t command);
[[nodiscard]] bool is_ata_write(std::uint8_t command);

// The registers of the reply to `request` after its disk operation.
[[nodiscard]] wire::AtaRegisters registers_after(const wire::AtaRegisters& request, DiskOpKind kind,
                                                 DiskStatus status);
[[nodiscard]] wire::AtaRegisters registers_good(const wire::AtaRegisters& request);
// Beside an AoE error: an initiator that looks at the registers alone sees a failure as well.
[[nodiscard]] wire::AtaRegisters registers_refused(const wire::AtaRegisters& request);

void write_identify(const EngineConfig& config, std::span<std::byte> data);

// The most sectors a port's frames carry; crc8x4 takes four bytes of the frame.
[[nodiscard]] std::uint32_t sectors_max(std::uint16_t mtu, bool crc8x4);

}  // namespace target::engine
