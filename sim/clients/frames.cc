// Builds and reads frames by offset. It must never use the target's codec.
#include "sim/clients/frames.h"

#include <fmt/format.h>

#include <cassert>
#include <cstring>

namespace sim::clients {
namespace {

constexpr std::uint8_t kExtendedFlag = 0x40;
constexpr std::uint8_t kWriteFlag = 0x01;

// Reflected CRC-8, polynomial 0xB2, initial value 0xFF, no final XOR.
constexpr std::array<std::uint8_t, 256> make_crc_table() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned value = 0; value < 256; ++value) {
    unsigned crc = value;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0xb2U : crc >> 1U;
    }
    table[value] = static_cast<std::uint8_t>(crc);
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::string describe_ata(const View& view) {
  const std::uint8_t command = view.ata_command();
  if (view.response()) {
    return fmt::format("ata reply tag {} status {:02x} error {:02x} {} bytes", view.tag(), command,
                       view.u8(25), view.bytes().size());
  }
  const std::string range = fmt::format("lba {}+{}", view.lba(), view.sectors());
  if (is_write(command)) {
    return fmt::format("WRITE tag {} {}", view.tag(), range);
  }
  if (is_read(command)) {
    return fmt::format("read tag {} {}", view.tag(), range);
  }
  if (is_flush(command)) {
    return fmt::format("flush tag {}", view.tag());
  }
  return fmt::format("ata {:02x} tag {}", command, view.tag());
}

std::string describe_extensions(const View& view) {
  std::string names;
  const Bytes bytes = view.bytes();
  for (std::size_t i = 26; i < bytes.size() && names.size() < 40; ++i) {
    const char letter = static_cast<char>(bytes[i]);
    if (letter >= 0x20 && letter < 0x7f) {
      names += letter;
    } else if (letter == 0 && !names.empty() && names.back() != ' ') {
      names += ' ';
    } else if (letter == 0) {
      break;
    }
  }
  return fmt::format("extensions{} tag {} {}", view.response() ? " reply" : "", view.tag(), names);
}

}  // namespace

bool is_read(std::uint8_t ata_command) {
  return ata_command == kRead28 || ata_command == kRead48;
}
bool is_write(std::uint8_t ata_command) {
  return ata_command == kWrite28 || ata_command == kWrite48;
}
bool is_flush(std::uint8_t ata_command) {
  return ata_command == kFlush28 || ata_command == kFlush48;
}

Builder::Builder(std::span<std::byte> storage, const MacAddress& destination,
                 const MacAddress& source, std::uint16_t shelf, std::uint8_t slot, Command command,
                 std::uint32_t tag)
    : storage_(storage) {
  for (const std::uint8_t octet : destination.octets) {
    u8(octet);
  }
  for (const std::uint8_t octet : source.octets) {
    u8(octet);
  }
  u16(0x88a2);
  u8(0x10);
  u8(0);
  u16(shelf);
  u8(slot);
  u8(command);
  u16(static_cast<std::uint16_t>(tag >> 16U));
  u16(static_cast<std::uint16_t>(tag & 0xffffU));
}

void Builder::lba(std::uint64_t value) {
  for (unsigned i = 0; i < 6; ++i) {
    u8(static_cast<std::uint8_t>((value >> (8 * i)) & 0xffU));
  }
}

void Builder::bytes(Bytes data) {
  if (!data.empty()) {
    std::memcpy(room(data.size()).data(), data.data(), data.size());
  }
}

void Builder::text(std::string_view data) {
  bytes(std::as_bytes(std::span(data)));
}

std::span<std::byte> Builder::room(std::size_t count) {
  assert(size_ + count <= storage_.size());
  size_ += count;
  return storage_.subspan(size_ - count, count);
}

void Builder::ata(std::uint8_t command, std::uint64_t first, std::uint8_t sectors) {
  const bool extended = command == kRead48 || command == kWrite48 || command == kFlush48;
  u8(static_cast<std::uint8_t>((extended ? kExtendedFlag : 0) |
                               (is_write(command) ? kWriteFlag : 0)));
  u8(0);
  u8(sectors);
  u8(command);
  lba(first);
  u16(0);
}

void Builder::crc() {
  const auto check = crc8x4(storage_.subspan(kHeaderBytes, size_ - kHeaderBytes));
  bytes(check);
}

void Builder::pad() {
  while (size_ < kMinimumFrameBytes) {
    u8(0);
  }
}

std::array<std::byte, kCrcBytes> crc8x4(Bytes body) {
  // A variable a lane, since no lane waits for another: in an array each byte would go through
  // memory.
  std::uint8_t first = 0xff;
  std::uint8_t second = 0xff;
  std::uint8_t third = 0xff;
  std::uint8_t fourth = 0xff;
  const auto next = [](std::uint8_t lane, std::byte byte) {
    return kCrcTable[lane ^ static_cast<std::uint8_t>(byte)];
  };
  std::size_t i = 0;
  for (; i + kCrcBytes <= body.size(); i += kCrcBytes) {
    first = next(first, body[i]);
    second = next(second, body[i + 1]);
    third = next(third, body[i + 2]);
    fourth = next(fourth, body[i + 3]);
  }
  std::array<std::uint8_t, kCrcBytes> lanes{first, second, third, fourth};
  for (std::size_t lane = 0; i < body.size(); ++i, ++lane) {
    lanes[lane] = next(lanes[lane], body[i]);
  }
  std::array<std::byte, kCrcBytes> result{};
  for (std::size_t lane = 0; lane < kCrcBytes; ++lane) {
    result[lane] = std::byte{lanes[lane]};
  }
  return result;
}

std::string describe(Bytes frame) {
  const View view(frame);
  if (!view.aoe()) {
    return fmt::format("{} bytes, not AoE", frame.size());
  }
  if (view.error_flag()) {
    return fmt::format("error {} tag {} command {:02x}", view.error(), view.tag(), view.command());
  }
  switch (view.command()) {
    case kAta:
      return view.ata() ? describe_ata(view) : fmt::format("ata, {} bytes", frame.size());
    case kConfig:
      return fmt::format("config{} tag {}", view.response() ? " reply" : "", view.tag());
    case kExtensions:
      return describe_extensions(view);
    default:
      return fmt::format("command {:02x}{} tag {}", view.command(), view.response() ? " reply" : "",
                         view.tag());
  }
}

}  // namespace sim::clients
