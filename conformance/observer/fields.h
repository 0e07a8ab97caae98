#pragma once
// The suite's own reading of the wire: one table of fields with their offsets, from which
// everything else (reading, writing, dumping, marking) is driven. It knows where a field stands,
// never what a target should put there, and shares no code with target/.

#include <optional>
#include <span>
#include <string_view>

#include "conformance/observer/bytes.h"

namespace conformance::observer {

// Every fixed field of AoEr11 and of AoEde's command 0x23. Offsets count from the first byte of the
// frame.
enum class F {
  eth_dst,
  eth_src,
  eth_type,
  version,
  flag_response,
  flag_error,
  flags_reserved,
  error,
  shelf,
  slot,
  command,
  tag,
  ata_flags_reserved,
  ata_flag_extended,
  ata_flag_device,
  ata_flag_async,
  ata_flag_write,
  ata_feature,
  ata_error,
  ata_count,
  ata_command,
  ata_status,
  ata_lba,
  ata_reserved,
  cfg_buffer_count,
  cfg_firmware,
  cfg_sector_count,
  cfg_version,
  cfg_ccmd,
  cfg_length,
  mask_reserved,
  mask_mcmd,
  mask_merror,
  mask_count,
  reserve_rcmd,
  reserve_count,
  ext_length,  // read and written little-endian, as AoEde does on every common machine
};

enum class Part { ethernet, header, ata, config, mask, reserve, extension };
enum class Direction { both, request, reply };
enum class Order { big, little };
enum class Show { number, hex, mac, flag };

struct Field {
  F id;
  std::string_view name;
  Part part;
  Direction side;
  size_t offset;
  size_t size;
  uint64_t mask;  // the bits of those bytes that are the field
  Order order;
  Show show;
};

std::span<const Field> field_table();
const Field& field(F id);
// By the name of the table ("tag", "cfg.ccmd"): for tools and tests.
const Field* field_by_name(std::string_view name);

// nullopt when the frame is too short to hold it.
std::optional<uint64_t> get(BytesView frame, F id);
// False, and nothing done, when the frame is too short to hold it: who edits what came from
// elsewhere meets cut frames.
bool set(std::span<uint8_t> frame, F id, uint64_t value);

namespace at {  // offsets of what has no fixed length
inline constexpr size_t argument = 24;
inline constexpr size_t ata_data = 36;
inline constexpr size_t cfg_string = 32;
inline constexpr size_t mask_list = 28;
inline constexpr size_t reserve_list = 26;
inline constexpr size_t ext_table = 26;
inline constexpr size_t coalesced = 36;  // one byte of count, entries after it
}  // namespace at

inline constexpr uint16_t kEtherType = 0x88a2;
inline constexpr size_t kMaskEntryBytes = 8;
inline constexpr size_t kReserveEntryBytes = 6;
inline constexpr size_t kCoalescedEntryBytes = 16;
inline constexpr size_t kCrc8x4Bytes = 4;
inline constexpr size_t kConfigStringMax = 1024;

namespace command {
inline constexpr uint8_t ata = 0, config = 1, mask = 2, reserve = 3, extension = 0x23;
}
namespace ata {
inline constexpr uint8_t read = 0x20, read_ext = 0x24, write = 0x30, write_ext = 0x34,
                         identify = 0xec, flush = 0xe7, flush_ext = 0xea, check_power = 0xe5;
inline constexpr uint8_t status_drdy = 0x40, status_df = 0x20, status_drq = 0x08, status_err = 0x01;
inline constexpr uint8_t error_unc = 0x40, error_idnf = 0x10, error_abrt = 0x04;
}  // namespace ata
namespace aoe_error {
inline constexpr uint8_t bad_command = 1, bad_argument = 2, unavailable = 3, config_present = 4,
                         bad_version = 5, reserved = 6;
}
namespace ccmd {
inline constexpr uint8_t read = 0, test = 1, prefix = 2, set = 3, force_set = 4;
}
namespace rcmd {
inline constexpr uint8_t read = 0, set = 1, force_set = 2;
}
namespace mcmd {
inline constexpr uint8_t read = 0, edit = 1;
}
namespace dcmd {
inline constexpr uint8_t nothing = 0, add = 1, del = 2;
}

}  // namespace conformance::observer
