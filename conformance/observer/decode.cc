// Frames field by field. Reads only inside the frame, whatever the frame claims.

#include "conformance/observer/decode.h"

#include <fmt/format.h>

#include <algorithm>

namespace conformance::observer {

namespace {

size_t clamp_size(BytesView frame, size_t offset, size_t size) {
  return offset >= frame.size() ? 0 : std::min(size, frame.size() - offset);
}

BytesView inside(BytesView frame, size_t offset, size_t size) {
  const size_t n = clamp_size(frame, offset, size);
  return n == 0 ? BytesView{} : frame.subspan(offset, n);
}

Mac mac_at(BytesView frame, size_t offset) {
  Mac mac{};
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(offset), mac.size(), mac.begin());
  return mac;
}

std::string meaning(F id, uint64_t value, bool reply) {
  switch (id) {
    case F::error: {
      static constexpr const char* names[] = {
          "none",           "unrecognized command", "bad argument",      "device unavailable",
          "config present", "unsupported version",  "target is reserved"};
      return value < std::size(names) ? names[value] : "undefined";
    }
    case F::command:
      switch (value) {
        case command::ata:
          return "ATA";
        case command::config:
          return "query config";
        case command::mask:
          return "MAC mask list";
        case command::reserve:
          return "reserve/release";
        case command::extension:
          return "extensions";
        default:
          return value >= 0xf0 ? "vendor" : "undefined";
      }
    case F::ata_command:
      switch (value) {
        case ata::read:
          return "read";
        case ata::read_ext:
          return "read ext";
        case ata::write:
          return "write";
        case ata::write_ext:
          return "write ext";
        case ata::identify:
          return "identify";
        case ata::flush:
          return "flush";
        case ata::flush_ext:
          return "flush ext";
        case ata::check_power:
          return "check power";
        default:
          return "";
      }
    case F::ata_status:
      return fmt::format("{}{}{}{}", value & ata::status_drdy ? "DRDY " : "",
                         value & ata::status_df ? "DF " : "", value & ata::status_drq ? "DRQ " : "",
                         value & ata::status_err ? "ERR" : "");
    case F::ata_error:
      return fmt::format("{}{}{}", value & ata::error_unc ? "UNC " : "",
                         value & ata::error_idnf ? "IDNF " : "",
                         value & ata::error_abrt ? "ABRT" : "");
    case F::cfg_ccmd: {
      static constexpr const char* names[] = {"read", "test", "prefix", "set", "force set"};
      return value < std::size(names) ? names[value] : "undefined";
    }
    case F::reserve_rcmd: {
      static constexpr const char* names[] = {"read", "set", "force set"};
      return value < std::size(names) ? names[value] : "undefined";
    }
    case F::mask_mcmd:
      return value == 0 ? "read" : value == 1 ? "edit" : "undefined";
    case F::mask_merror: {
      static constexpr const char* names[] = {"none", "unspecified", "bad directive", "list full"};
      return value < std::size(names) ? names[value] : "undefined";
    }
    case F::shelf:
      return value == 0xffff ? "every shelf" : "";
    case F::slot:
      return value == 0xff ? "every slot" : "";
    case F::flag_response:
      return reply ? "reply" : "request";
    default:
      return "";
  }
}

std::string show(const Field& f, BytesView frame, uint64_t value, bool reply) {
  std::string text;
  switch (f.show) {
    case Show::mac:
      text = to_string(mac_at(frame, f.offset));
      break;
    case Show::hex:
      text = fmt::format("{:#0{}x}", value, 2 + 2 * f.size);
      break;
    case Show::number:
    case Show::flag:
      text = fmt::format("{}", value);
      break;
  }
  std::string note = meaning(f.id, value, reply);
  while (!note.empty() && note.back() == ' ') {
    note.pop_back();
  }
  return note.empty() ? text : text + " (" + note + ")";
}

bool part_applies(Part part, uint64_t cmd) {
  switch (part) {
    case Part::ethernet:
    case Part::header:
      return true;
    case Part::ata:
      return cmd == command::ata;
    case Part::config:
      return cmd == command::config;
    case Part::mask:
      return cmd == command::mask;
    case Part::reserve:
      return cmd == command::reserve;
    case Part::extension:
      return cmd == command::extension;
  }
  return false;
}

void add_bytes(std::vector<Item>& items, BytesView frame, std::string name, size_t offset,
               size_t size, std::string value) {
  Item item;
  item.name = std::move(name);
  item.offset = offset;
  item.size = clamp_size(frame, offset, size);
  item.cut = item.size < size;
  item.value = std::move(value);
  if (item.cut) {
    item.value += fmt::format(" [cut: {} of {} bytes are in the frame]", item.size, size);
  }
  items.push_back(std::move(item));
}

size_t read_tail_end(BytesView frame) {
  return at::coalesced + 1 + coalesced_tail(frame).size() * kCoalescedEntryBytes;
}

// Data bytes that an ATA frame should carry, told by the frame and, for a reply, by its request.
size_t ata_payload_bytes(BytesView frame, const Hints& hints) {
  if (!is_reply(frame)) {
    const auto cmd = static_cast<uint8_t>(get(frame, F::ata_command).value_or(0));
    return is_ata_write(cmd) ? ata_data_bytes(frame) : 0;
  }
  if (hints.request == nullptr) {  // nothing to go by but the length: whole sectors
    const size_t rest = frame.size() > at::ata_data ? frame.size() - at::ata_data : 0;
    return rest / kSectorBytes * kSectorBytes;
  }
  const auto cmd = static_cast<uint8_t>(get(*hints.request, F::ata_command).value_or(0));
  const bool bad =
      get(frame, F::flag_error).value_or(0) != 0 ||
      (get(frame, F::ata_status).value_or(0) & (ata::status_err | ata::status_df)) != 0;
  return bad || is_ata_write(cmd) ? 0 : ata_data_bytes(*hints.request);
}

void decode_variable(std::vector<Item>& items, BytesView frame, const Hints& hints) {
  const auto cmd = static_cast<uint8_t>(get(frame, F::command).value_or(0xff));
  if (cmd == command::ata) {
    const size_t n = ata_payload_bytes(frame, hints);
    if (n > 0) {
      add_bytes(items, frame, "ata.data", at::ata_data, n, hex(inside(frame, at::ata_data, n), 16));
    }
    if (hints.coalesced && !is_reply(frame) && frame.size() > at::coalesced &&
        is_ata_read(static_cast<uint8_t>(get(frame, F::ata_command).value_or(0)))) {
      add_bytes(items, frame, "coalesced.count", at::coalesced, 1,
                fmt::format("{}", frame[at::coalesced]));
      size_t offset = at::coalesced + 1;
      for (const CoalescedEntry& e : coalesced_tail(frame)) {
        add_bytes(items, frame, "coalesced.read", offset, kCoalescedEntryBytes,
                  fmt::format("tag {:#010x} lba {} count {}", e.tag, e.lba, e.count));
        offset += kCoalescedEntryBytes;
      }
    }
    if (hints.crc8x4 && n > 0) {
      add_bytes(items, frame, "crc8x4", at::ata_data + n, kCrc8x4Bytes,
                hex(inside(frame, at::ata_data + n, kCrc8x4Bytes)));
    }
  } else if (cmd == command::config) {
    const size_t n = get(frame, F::cfg_length).value_or(0);
    if (n > 0) {
      add_bytes(items, frame, "cfg.string", at::cfg_string, n,
                quoted(inside(frame, at::cfg_string, n)));
    }
  } else if (cmd == command::mask) {
    const size_t n = get(frame, F::mask_count).value_or(0);
    for (size_t i = 0; i < n; ++i) {
      const size_t offset = at::mask_list + i * kMaskEntryBytes;
      const BytesView e = inside(frame, offset, kMaskEntryBytes);
      const std::string value = e.size() < kMaskEntryBytes
                                    ? hex(e)
                                    : fmt::format("{} {} (reserved {:#04x})",
                                                  e[1] == 0   ? "nothing"
                                                  : e[1] == 1 ? "add"
                                                  : e[1] == 2 ? "delete"
                                                              : fmt::format("directive {}", e[1]),
                                                  to_string(mac_at(e, 2)), e[0]);
      add_bytes(items, frame, fmt::format("mask[{}]", i), offset, kMaskEntryBytes, value);
    }
  } else if (cmd == command::reserve) {
    const size_t n = get(frame, F::reserve_count).value_or(0);
    for (size_t i = 0; i < n; ++i) {
      const size_t offset = at::reserve_list + i * kReserveEntryBytes;
      const BytesView e = inside(frame, offset, kReserveEntryBytes);
      add_bytes(items, frame, fmt::format("reserve[{}]", i), offset, kReserveEntryBytes,
                e.size() < kReserveEntryBytes ? hex(e) : to_string(mac_at(e, 0)));
    }
  } else if (cmd == command::extension) {
    if (const auto table = ext_table(frame)) {
      add_bytes(items, frame, "ext.order", at::argument, 2,
                table->order == Order::little ? "little-endian" : "big-endian");
      size_t offset = at::ext_table;
      for (const std::string& s : table->strings) {
        add_bytes(items, frame, "ext.string", offset, s.size() + 1, quoted(s));
        offset += s.size() + 1;
      }
      add_bytes(items, frame, "ext.end", offset, 1, "NUL");
    } else if (frame.size() > at::ext_table) {
      const size_t n = frame.size() - at::ext_table;
      add_bytes(items, frame, "ext.malformed", at::ext_table, n,
                quoted(inside(frame, at::ext_table, n)));
    }
  }
  const size_t end = described_end(frame, hints);
  if (end < frame.size()) {
    const BytesView rest = frame.subspan(end);
    const bool zero = std::all_of(rest.begin(), rest.end(), [](uint8_t b) { return b == 0; });
    add_bytes(items, frame, "padding", end, rest.size(),
              zero ? fmt::format("{} zero bytes", rest.size()) : hex(rest, 24));
  }
}

bool marked(const Item& item, const Marks& marks) {
  return std::any_of(marks.begin(), marks.end(), [&](const Mark& m) {
    if (m.only && item.id) {
      return *m.only == *item.id;
    }
    // A frame that ends before the field still gets its line pointed at.
    const size_t item_end = item.offset + std::max<size_t>(item.size, 1);
    return m.offset < item_end && item.offset < m.offset + m.size;
  });
}

}  // namespace

bool is_aoe(BytesView frame) {
  return frame.size() >= at::argument && get(frame, F::eth_type) == kEtherType;
}

bool is_reply(BytesView frame) {
  return get(frame, F::flag_response).value_or(0) != 0;
}

std::vector<Item> decode(BytesView frame, const Hints& hints) {
  std::vector<Item> items;
  const bool reply = is_reply(frame);
  const uint64_t cmd = get(frame, F::command).value_or(~uint64_t{0});
  const bool aoe = get(frame, F::eth_type) == kEtherType;
  for (const Field& f : field_table()) {
    if (f.part != Part::ethernet && !aoe) {
      continue;
    }
    if (!part_applies(f.part, cmd) || f.side == (reply ? Direction::request : Direction::reply)) {
      continue;
    }
    Item item;
    item.name = f.name;
    item.offset = f.offset;
    item.id = f.id;
    item.size = clamp_size(frame, f.offset, f.size);
    if (const auto value = get(frame, f.id)) {
      item.value = show(f, frame, *value, reply);
    } else {
      item.cut = true;
      item.value = "[not in the frame]";
    }
    items.push_back(std::move(item));
  }
  if (aoe) {
    decode_variable(items, frame, hints);
  }
  return items;
}

std::string dump(BytesView frame, const Marks& marks, const Hints& hints) {
  std::string out;
  for (const Item& item : decode(frame, hints)) {
    out += fmt::format("{} {:>5}  {:<20} {}\n", marked(item, marks) ? ">>" : "  ", item.offset,
                       item.name, item.value);
  }
  return out;
}

std::string hexdump(BytesView frame, const Marks& marks) {
  std::string out;
  constexpr size_t width = 16;
  const auto is_marked = [&](size_t i) {
    return std::any_of(marks.begin(), marks.end(),
                       [&](const Mark& m) { return i >= m.offset && i < m.offset + m.size; });
  };
  size_t skipped = 0;
  for (size_t line = 0; line < frame.size(); line += width) {
    const size_t n = std::min(width, frame.size() - line);
    bool has_mark = false;
    for (size_t i = line; i < line + n; ++i) {
      has_mark = has_mark || is_marked(i);
    }
    // Lines that repeat the one before are folded, as hexdump(1) does.
    const bool repeat = line >= width && n == width &&
                        std::equal(frame.begin() + static_cast<ptrdiff_t>(line),
                                   frame.begin() + static_cast<ptrdiff_t>(line + n),
                                   frame.begin() + static_cast<ptrdiff_t>(line - width));
    if (repeat && !has_mark) {
      if (skipped++ == 0) {
        out += "  *\n";
      }
      continue;
    }
    skipped = 0;
    std::string text = fmt::format("  {:04x} ", line);
    std::string under(text.size(), ' ');
    for (size_t i = line; i < line + n; ++i) {
      text += fmt::format(" {:02x}", frame[i]);
      under += is_marked(i) ? " ^^" : "   ";
    }
    text.resize(7 + 3 * width, ' ');
    text += "  ";
    for (size_t i = line; i < line + n; ++i) {
      text += frame[i] >= 0x20 && frame[i] < 0x7f ? static_cast<char>(frame[i]) : '.';
    }
    out += text + "\n";
    if (has_mark) {
      while (!under.empty() && under.back() == ' ') {
        under.pop_back();
      }
      out += under + "\n";
    }
  }
  return out;
}

std::string summary(BytesView frame) {
  if (!is_aoe(frame)) {
    return fmt::format("not AoE, {} bytes", frame.size());
  }
  const bool reply = is_reply(frame);
  const auto cmd = static_cast<uint8_t>(*get(frame, F::command));
  std::string out = meaning(F::command, cmd, reply);
  if (cmd == command::ata && frame.size() >= at::ata_data) {
    out = reply ? fmt::format("ATA status {:#04x} error {:#04x}", *get(frame, F::ata_status),
                              *get(frame, F::ata_error))
                : fmt::format("ATA {:#04x} {} lba {} count {}", *get(frame, F::ata_command),
                              meaning(F::ata_command, *get(frame, F::ata_command), false),
                              *get(frame, F::ata_lba), *get(frame, F::ata_count));
  } else if (cmd == command::config && frame.size() >= at::cfg_string) {
    out += fmt::format(" {} ({} bytes of string)",
                       meaning(F::cfg_ccmd, *get(frame, F::cfg_ccmd), reply),
                       *get(frame, F::cfg_length));
  } else if (cmd == command::extension) {
    if (const auto table = ext_table(frame)) {
      for (const std::string& s : table->strings) {
        out += " " + quoted(s);
      }
    }
  }
  if (get(frame, F::flag_error) != 0U) {
    out += fmt::format(", error {}", *get(frame, F::error));
  }
  return fmt::format("{} {}, tag {:#010x}, {}.{}, {} bytes", reply ? "reply" : "request", out,
                     *get(frame, F::tag), *get(frame, F::shelf), *get(frame, F::slot),
                     frame.size());
}

bool is_ata_read(uint8_t c) {
  return c == ata::read || c == ata::read_ext;
}
bool is_ata_write(uint8_t c) {
  return c == ata::write || c == ata::write_ext;
}

size_t ata_data_bytes(BytesView request) {
  const auto cmd = static_cast<uint8_t>(get(request, F::ata_command).value_or(0));
  if (cmd == ata::identify) {
    return kSectorBytes;
  }
  return is_ata_read(cmd) || is_ata_write(cmd)
             ? static_cast<size_t>(get(request, F::ata_count).value_or(0)) * kSectorBytes
             : 0;
}

std::optional<Bytes> config_string(BytesView frame) {
  const auto n = get(frame, F::cfg_length);
  if (!is_aoe(frame) || get(frame, F::command) != command::config || !n) {
    return std::nullopt;
  }
  const BytesView s = inside(frame, at::cfg_string, *n);
  return Bytes(s.begin(), s.end());
}

std::optional<std::vector<Directive>> mask_list(BytesView frame) {
  const auto n = get(frame, F::mask_count);
  if (!is_aoe(frame) || get(frame, F::command) != command::mask || !n) {
    return std::nullopt;
  }
  std::vector<Directive> list;
  for (size_t i = 0; i < *n; ++i) {
    const BytesView e = inside(frame, at::mask_list + i * kMaskEntryBytes, kMaskEntryBytes);
    if (e.size() < kMaskEntryBytes) {
      break;
    }
    list.push_back({e[0], e[1], mac_at(e, 2)});
  }
  return list;
}

std::optional<std::vector<Mac>> reserve_list(BytesView frame) {
  const auto n = get(frame, F::reserve_count);
  if (!is_aoe(frame) || get(frame, F::command) != command::reserve || !n) {
    return std::nullopt;
  }
  std::vector<Mac> list;
  for (size_t i = 0; i < *n; ++i) {
    const BytesView e =
        inside(frame, at::reserve_list + i * kReserveEntryBytes, kReserveEntryBytes);
    if (e.size() < kReserveEntryBytes) {
      break;
    }
    list.push_back(mac_at(e, 0));
  }
  return list;
}

std::optional<ExtTable> ext_table(BytesView frame, Order order) {
  if (!is_aoe(frame) || get(frame, F::command) != command::extension ||
      frame.size() < at::ext_table) {
    return std::nullopt;
  }
  const size_t n =
      order == Order::little ? load_le(frame, at::argument, 2) : load_be(frame, at::argument, 2);
  if (n < 2 || at::ext_table + n > frame.size()) {
    return std::nullopt;
  }
  const BytesView raw = frame.subspan(at::ext_table, n);
  if (raw[n - 1] != 0 || raw[n - 2] != 0) {
    return std::nullopt;
  }
  ExtTable table;
  table.order = order;
  std::string current;
  for (size_t i = 0; i + 1 < n; ++i) {  // the last NUL ends the table, not a string
    if (raw[i] != 0) {
      current += static_cast<char>(raw[i]);
    } else {
      table.strings.push_back(std::move(current));
      current.clear();
    }
  }
  if (table.strings.size() == 1 && table.strings[0].empty()) {
    table.strings.clear();  // two NULs and nothing else: the empty table
  }
  return table;
}

std::optional<ExtTable> ext_table(BytesView frame) {
  auto table = ext_table(frame, Order::little);
  return table ? table : ext_table(frame, Order::big);
}

std::vector<CoalescedEntry> coalesced_tail(BytesView frame) {
  std::vector<CoalescedEntry> entries;
  if (frame.size() <= at::coalesced) {
    return entries;
  }
  for (size_t i = 0; i < frame[at::coalesced]; ++i) {
    const BytesView e =
        inside(frame, at::coalesced + 1 + i * kCoalescedEntryBytes, kCoalescedEntryBytes);
    if (e.size() < kCoalescedEntryBytes) {
      break;
    }
    entries.push_back({static_cast<uint32_t>(load_be(e, 0, 4)), load_le(e, 4, 6), e[15]});
  }
  return entries;
}

size_t described_end(BytesView frame, const Hints& hints) {
  const auto cmd = static_cast<uint8_t>(get(frame, F::command).value_or(0xff));
  size_t end = at::argument;
  switch (cmd) {
    case command::ata: {
      const size_t n = ata_payload_bytes(frame, hints);
      end = at::ata_data + n + (hints.crc8x4 && n > 0 ? kCrc8x4Bytes : 0);
      if (hints.coalesced && !is_reply(frame) && frame.size() > at::coalesced &&
          is_ata_read(static_cast<uint8_t>(get(frame, F::ata_command).value_or(0)))) {
        end = std::max(end, read_tail_end(frame));
      }
      break;
    }
    case command::config:
      end = at::cfg_string + get(frame, F::cfg_length).value_or(0);
      break;
    case command::mask:
      end = at::mask_list + get(frame, F::mask_count).value_or(0) * kMaskEntryBytes;
      break;
    case command::reserve:
      end = at::reserve_list + get(frame, F::reserve_count).value_or(0) * kReserveEntryBytes;
      break;
    case command::extension:
      if (frame.size() >= at::ext_table) {
        const auto table = ext_table(frame);
        const Order order = table ? table->order : Order::little;
        end = at::ext_table + (order == Order::little ? load_le(frame, at::argument, 2)
                                                      : load_be(frame, at::argument, 2));
      }
      break;
    default:
      break;
  }
  return std::min(end, frame.size());
}

namespace {

constexpr std::array<uint8_t, 256> make_crc8_table() {
  constexpr unsigned polynomial_reflected = 0xb2;
  std::array<uint8_t, 256> table{};
  for (unsigned value = 0; value < table.size(); ++value) {
    unsigned crc = value;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1) != 0 ? crc >> 1 ^ polynomial_reflected : crc >> 1;
    }
    table[value] = static_cast<uint8_t>(crc);
  }
  return table;
}

constexpr std::array<uint8_t, 256> crc8_table = make_crc8_table();

}  // namespace

std::array<uint8_t, 4> crc8x4(BytesView bytes) {
  std::array<uint8_t, 4> lanes{0xff, 0xff, 0xff, 0xff};
  for (; bytes.size() >= lanes.size(); bytes = bytes.subspan(lanes.size())) {
    for (size_t lane = 0; lane < lanes.size(); ++lane) {
      lanes[lane] = crc8_table[lanes[lane] ^ bytes[lane]];
    }
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    lanes[i] = crc8_table[lanes[i] ^ bytes[i]];
  }
  return lanes;
}

uint16_t identify_word(BytesView identify, size_t word) {
  return static_cast<uint16_t>(load_le(identify, word * 2, 2));
}

std::string identify_string(BytesView identify, size_t first_word, size_t last_word) {
  std::string out;
  for (size_t w = first_word; w <= last_word; ++w) {
    out += static_cast<char>(identify[2 * w + 1]);
    out += static_cast<char>(identify[2 * w]);
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '\0')) {
    out.pop_back();
  }
  return out;
}

uint64_t identify_sectors(BytesView identify) {
  constexpr uint16_t lba48_bit = 1U << 10;
  return (identify_word(identify, 83) & lba48_bit) != 0 ? load_le(identify, 200, 8)
                                                        : load_le(identify, 120, 4);
}

}  // namespace conformance::observer
