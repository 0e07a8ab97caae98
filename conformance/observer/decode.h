#pragma once
// Frames field by field: what stands where, for people (dump, hexdump, with the offending bytes
// marked) and for judges (lists, strings, tables, data). Reads only inside the frame, whatever the
// frame claims. Holds no opinion.

#include <string>
#include <vector>

#include "conformance/observer/fields.h"

namespace conformance::observer {

// A stretch of bytes to point at.
struct Mark {
  size_t offset = 0;
  size_t size = 0;
  std::optional<F> only;  // when set, only this field of those bytes is meant (a nibble, a flag)

  Mark(F id) : offset(field(id).offset), size(field(id).size), only(id) {}  // NOLINT: reads well
  Mark(size_t at, size_t n) : offset(at), size(n) {}
};
using Marks = std::vector<Mark>;

// One line of a decoded frame.
struct Item {
  std::string name;
  size_t offset = 0;
  size_t size = 0;  // bytes that are really there
  std::string value;
  std::optional<F> id;
  bool cut = false;  // the frame ends inside it, or before it
};

// What the frame alone does not tell.
struct Hints {
  bool coalesced = false;  // the sender negotiated coalesced_read: byte 36 of a read is a count
  bool crc8x4 = false;     // the sender negotiated crc8x4: four bytes follow the data
  const Bytes* request = nullptr;  // of a reply: tells how much data it should carry
};

bool is_aoe(BytesView frame);    // long enough for the header, and the EtherType is AoE's
bool is_reply(BytesView frame);  // R is set

std::vector<Item> decode(BytesView frame, const Hints& hints = {});
// "offset  name  value" a line, with ">>" before what is marked.
std::string dump(BytesView frame, const Marks& marks = {}, const Hints& hints = {});
// Sixteen bytes a line, with a line of ^^ under what is marked.
std::string hexdump(BytesView frame, const Marks& marks = {});
// One line: "read lba 12 count 2, tag 0x1, shelf 1 slot 2".
std::string summary(BytesView frame);

// How many bytes of data an ATA request carries or asks for, by command and count alone.
size_t ata_data_bytes(BytesView request);
bool is_ata_read(uint8_t ata_command);   // 0x20, 0x24
bool is_ata_write(uint8_t ata_command);  // 0x30, 0x34

// The string of a config frame; cut to what is in the frame. nullopt when it is not a config frame.
std::optional<Bytes> config_string(BytesView frame);

struct Directive {
  uint8_t reserved = 0;
  uint8_t dcmd = 0;
  Mac mac{};
  bool operator==(const Directive&) const = default;
};
// The list of a mask frame, as many entries as the count says and the frame holds.
std::optional<std::vector<Directive>> mask_list(BytesView frame);
std::optional<std::vector<Mac>> reserve_list(BytesView frame);

// The table of a 0x23 frame in one of the two byte orders of its length; nullopt when it is not
// well-formed in it: inside the frame, and ended by two NULs.
struct ExtTable {
  Order order = Order::little;
  std::vector<std::string> strings;
};
std::optional<ExtTable> ext_table(BytesView frame, Order order);
// Little-endian first, as AoEde reads it.
std::optional<ExtTable> ext_table(BytesView frame);

struct CoalescedEntry {
  uint32_t tag = 0;
  uint64_t lba = 0;
  uint8_t count = 0;
};
// The further reads after byte 36: as many as counted and wholly in the frame.
std::vector<CoalescedEntry> coalesced_tail(BytesView frame);

// Where what the frame's fields describe ends, and padding begins. A reply's data length follows
// from its request.
size_t described_end(BytesView frame, const Hints& hints = {});

// crc8x4 of AoEde: lane i mod 4 for byte i; reflected CRC-8, polynomial 0xB2, start 0xFF.
std::array<uint8_t, 4> crc8x4(BytesView bytes);

// A string of identify (words `first`..`last`): bytes of each word swapped, spaces at the end
// removed.
std::string identify_string(BytesView identify, size_t first_word, size_t last_word);
uint16_t identify_word(BytesView identify, size_t word);
uint64_t identify_sectors(BytesView identify);  // words 100-103 when LBA48 is claimed, else 60-61

}  // namespace conformance::observer
