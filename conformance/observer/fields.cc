// The offset table. It knows where a field stands, never what a target should put there.

#include "conformance/observer/fields.h"

#include <bit>
#include <cassert>

namespace conformance::observer {

namespace {
using enum Part;
using enum Direction;
constexpr Order B = Order::big, L = Order::little;
constexpr uint64_t all = ~uint64_t{0};

constexpr Field table[] = {
    // id                     name                part       side   at size mask  order show
    {F::eth_dst, "eth.dst", ethernet, both, 0, 6, all, B, Show::mac},
    {F::eth_src, "eth.src", ethernet, both, 6, 6, all, B, Show::mac},
    {F::eth_type, "eth.type", ethernet, both, 12, 2, all, B, Show::hex},
    {F::version, "version", header, both, 14, 1, 0xf0, B, Show::number},
    {F::flag_response, "flags.R", header, both, 14, 1, 0x08, B, Show::flag},
    {F::flag_error, "flags.E", header, both, 14, 1, 0x04, B, Show::flag},
    {F::flags_reserved, "flags.reserved", header, both, 14, 1, 0x03, B, Show::hex},
    {F::error, "error", header, both, 15, 1, all, B, Show::number},
    {F::shelf, "shelf", header, both, 16, 2, all, B, Show::number},
    {F::slot, "slot", header, both, 18, 1, all, B, Show::number},
    {F::command, "command", header, both, 19, 1, all, B, Show::hex},
    {F::tag, "tag", header, both, 20, 4, all, B, Show::hex},
    {F::ata_flags_reserved, "ata.aflags.reserved", Part::ata, both, 24, 1, 0xac, B, Show::hex},
    {F::ata_flag_extended, "ata.aflags.E", Part::ata, both, 24, 1, 0x40, B, Show::flag},
    {F::ata_flag_device, "ata.aflags.D", Part::ata, both, 24, 1, 0x10, B, Show::flag},
    {F::ata_flag_async, "ata.aflags.A", Part::ata, both, 24, 1, 0x02, B, Show::flag},
    {F::ata_flag_write, "ata.aflags.W", Part::ata, both, 24, 1, 0x01, B, Show::flag},
    {F::ata_feature, "ata.feature", Part::ata, request, 25, 1, all, B, Show::hex},
    {F::ata_error, "ata.error", Part::ata, reply, 25, 1, all, B, Show::hex},
    {F::ata_count, "ata.count", Part::ata, both, 26, 1, all, B, Show::number},
    {F::ata_command, "ata.command", Part::ata, request, 27, 1, all, B, Show::hex},
    {F::ata_status, "ata.status", Part::ata, reply, 27, 1, all, B, Show::hex},
    {F::ata_lba, "ata.lba", Part::ata, both, 28, 6, all, L, Show::number},
    {F::ata_reserved, "ata.reserved", Part::ata, both, 34, 2, all, B, Show::hex},
    {F::cfg_buffer_count, "cfg.buffer_count", config, both, 24, 2, all, B, Show::number},
    {F::cfg_firmware, "cfg.firmware", config, both, 26, 2, all, B, Show::hex},
    {F::cfg_sector_count, "cfg.sector_count", config, both, 28, 1, all, B, Show::number},
    {F::cfg_version, "cfg.version", config, both, 29, 1, 0xf0, B, Show::number},
    {F::cfg_ccmd, "cfg.ccmd", config, both, 29, 1, 0x0f, B, Show::number},
    {F::cfg_length, "cfg.length", config, both, 30, 2, all, B, Show::number},
    {F::mask_reserved, "mask.reserved", mask, both, 24, 1, all, B, Show::hex},
    {F::mask_mcmd, "mask.mcmd", mask, both, 25, 1, all, B, Show::number},
    {F::mask_merror, "mask.merror", mask, both, 26, 1, all, B, Show::number},
    {F::mask_count, "mask.count", mask, both, 27, 1, all, B, Show::number},
    {F::reserve_rcmd, "reserve.rcmd", reserve, both, 24, 1, all, B, Show::number},
    {F::reserve_count, "reserve.count", reserve, both, 25, 1, all, B, Show::number},
    {F::ext_length, "ext.length", extension, both, 24, 2, all, L, Show::number},
};

constexpr bool table_is_in_order() {
  size_t i = 0;
  for (const Field& f : table) {
    if (f.id != static_cast<F>(i++)) {
      return false;
    }
  }
  return true;
}
static_assert(table_is_in_order(), "field() indexes the table by the enumerator");

uint64_t full_mask(const Field& f) {
  return f.size == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * f.size)) - 1;
}
}  // namespace

std::span<const Field> field_table() {
  return table;
}

const Field& field(F id) {
  return table[static_cast<size_t>(id)];
}

const Field* field_by_name(std::string_view name) {
  for (const Field& f : table) {
    if (f.name == name) {
      return &f;
    }
  }
  return nullptr;
}

std::optional<uint64_t> get(BytesView frame, F id) {
  const Field& f = field(id);
  if (f.offset + f.size > frame.size()) {
    return std::nullopt;
  }
  const uint64_t raw =
      f.order == Order::big ? load_be(frame, f.offset, f.size) : load_le(frame, f.offset, f.size);
  const uint64_t mask = f.mask & full_mask(f);
  return (raw & mask) >> std::countr_zero(mask);
}

bool set(std::span<uint8_t> frame, F id, uint64_t value) {
  const Field& f = field(id);
  if (f.offset + f.size > frame.size()) {
    return false;
  }
  const uint64_t mask = f.mask & full_mask(f);
  const uint64_t old =
      f.order == Order::big ? load_be(frame, f.offset, f.size) : load_le(frame, f.offset, f.size);
  const uint64_t raw = (old & ~mask) | (value << std::countr_zero(mask) & mask);
  if (f.order == Order::big) {
    store_be(frame, f.offset, f.size, raw);
  } else {
    store_le(frame, f.offset, f.size, raw);
  }
  return true;
}

}  // namespace conformance::observer
