// A tiny shell for tests of the engine: one outbox, a disk in memory, frames built field by field.
// Test code only. It checks at every flush what must hold for any output: lengths, reply header,
// padding.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "target/engine/engine.h"
#include "target/wire/aoe.h"
#include "target/wire/bytes.h"

namespace target::engine::test {

using Bytes = std::vector<std::byte>;

inline wire::MacAddress mac(std::uint8_t last) {
  return {{0x02, 0, 0, 0, 0, last}};
}

inline const wire::MacAddress kTargetMac = mac(0xEE);
inline const wire::MacAddress kAlice = mac(1);
inline const wire::MacAddress kBob = mac(2);
inline constexpr std::uint16_t kShelf = 7;
inline constexpr std::uint8_t kSlot = 3;
inline constexpr std::uint64_t kDiskSectors = 4096;

inline Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

inline Bytes sectors_of(std::size_t sectors, std::uint8_t fill) {
  return Bytes(sectors * kSectorBytes, std::byte{fill});
}

inline void append(Bytes& to, const Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// A request frame, field by field; pad() is Ethernet's.
struct FrameSpec {
  wire::MacAddress destination = kTargetMac;
  wire::MacAddress source = kAlice;
  std::uint8_t version = 1;
  std::uint8_t flags = 0;
  std::uint8_t error = 0;
  std::uint16_t shelf = kShelf;
  std::uint8_t slot = kSlot;
  std::uint8_t command = 0;
  std::uint32_t tag = 1;
  Bytes argument;

  [[nodiscard]] Bytes bytes() const {
    Bytes frame(wire::kAoeHeaderEnd);
    std::memcpy(frame.data(), destination.octets.data(), 6);
    std::memcpy(frame.data() + 6, source.octets.data(), 6);
    wire::store_be16(frame, 12, wire::kEtherType);
    wire::store_u8(frame, 14, static_cast<std::uint8_t>(version << 4 | flags));
    wire::store_u8(frame, 15, error);
    wire::store_be16(frame, 16, shelf);
    wire::store_u8(frame, 18, slot);
    wire::store_u8(frame, 19, command);
    wire::store_be32(frame, 20, tag);
    append(frame, argument);
    return frame;
  }
};

inline Bytes padded(Bytes frame) {
  if (frame.size() < wire::kFrameBytesMin) {
    frame.resize(wire::kFrameBytesMin);
  }
  return frame;
}

inline FrameSpec ata(std::uint8_t command, std::uint64_t lba, std::uint8_t count, std::uint32_t tag,
                     const Bytes& data = {}, std::uint8_t aflags = 0x40) {
  FrameSpec spec;
  spec.tag = tag;
  spec.argument.resize(12);
  wire::store_u8(spec.argument, 0, aflags);
  wire::store_u8(spec.argument, 2, count);
  wire::store_u8(spec.argument, 3, command);
  wire::store_le48(spec.argument, 4, lba);
  append(spec.argument, data);
  return spec;
}

inline FrameSpec read(std::uint64_t lba, std::uint8_t count, std::uint32_t tag) {
  return ata(wire::ata::kReadSectorsExt, lba, count, tag);
}

inline FrameSpec write(std::uint64_t lba, std::uint8_t count, std::uint32_t tag,
                       std::uint8_t fill) {
  return ata(wire::ata::kWriteSectorsExt, lba, count, tag, sectors_of(count, fill), 0x41);
}

inline FrameSpec config(std::uint8_t ccmd, std::string_view string, std::uint32_t tag = 1) {
  FrameSpec spec;
  spec.command = 1;
  spec.tag = tag;
  spec.argument.resize(8);
  wire::store_u8(spec.argument, 5, ccmd);
  wire::store_be16(spec.argument, 6, static_cast<std::uint16_t>(string.size()));
  append(spec.argument, bytes_of(string));
  return spec;
}

struct Directive {
  std::uint8_t command;
  wire::MacAddress address;
};

inline void append_mac(Bytes& to, const wire::MacAddress& address) {
  for (const std::uint8_t octet : address.octets) {
    to.push_back(std::byte{octet});
  }
}

inline FrameSpec mask(std::uint8_t mcmd, const std::vector<Directive>& directives = {}) {
  FrameSpec spec;
  spec.command = 2;
  spec.argument.resize(4);
  wire::store_u8(spec.argument, 1, mcmd);
  wire::store_u8(spec.argument, 3, static_cast<std::uint8_t>(directives.size()));
  for (const Directive& directive : directives) {
    spec.argument.push_back(std::byte{0});
    spec.argument.push_back(std::byte{directive.command});
    append_mac(spec.argument, directive.address);
  }
  return spec;
}

inline FrameSpec reserve(std::uint8_t rcmd, const std::vector<wire::MacAddress>& list = {}) {
  FrameSpec spec;
  spec.command = 3;
  spec.argument.resize(2);
  wire::store_u8(spec.argument, 0, rcmd);
  wire::store_u8(spec.argument, 1, static_cast<std::uint8_t>(list.size()));
  for (const wire::MacAddress& address : list) {
    append_mac(spec.argument, address);
  }
  return spec;
}

// names: the strings of the table, in order.
inline FrameSpec extensions(const std::vector<std::string>& names, std::uint32_t tag = 1,
                            bool big_endian = false) {
  Bytes table;
  for (const std::string& name : names) {
    append(table, bytes_of(name));
    table.push_back(std::byte{0});
  }
  table.push_back(std::byte{0});
  FrameSpec spec;
  spec.command = 0x23;
  spec.tag = tag;
  spec.argument.resize(2);
  const auto length = static_cast<std::uint16_t>(table.size());
  if (big_endian) {
    wire::store_be16(spec.argument, 0, length);
  } else {
    wire::store_le16(spec.argument, 0, length);
  }
  append(spec.argument, table);
  return spec;
}

// A frame that the engine sent.
struct Reply {
  std::uint16_t port = 0;
  Bytes bytes;

  [[nodiscard]] std::uint8_t u8(std::size_t offset) const { return wire::load_u8(bytes, offset); }
  [[nodiscard]] std::uint16_t be16(std::size_t offset) const {
    return wire::load_be16(bytes, offset);
  }
  [[nodiscard]] wire::MacAddress address(std::size_t offset) const {
    wire::MacAddress result;
    std::memcpy(result.octets.data(), bytes.data() + offset, 6);
    return result;
  }
  [[nodiscard]] std::uint32_t tag() const { return wire::load_be32(bytes, 20); }
  [[nodiscard]] bool has_error() const { return (u8(14) & wire::flag::kError) != 0; }
  [[nodiscard]] std::uint8_t error() const { return u8(15); }
  [[nodiscard]] std::uint8_t ata_error() const { return u8(25); }
  [[nodiscard]] std::uint8_t ata_count() const { return u8(26); }
  [[nodiscard]] std::uint8_t ata_status() const { return u8(27); }
  [[nodiscard]] bool is_good_ata() const {
    return !has_error() && ata_status() == wire::ata::kStatusReady && ata_error() == 0;
  }
  [[nodiscard]] Bytes data(std::size_t offset, std::size_t length) const {
    if (offset + length > bytes.size()) {
      ADD_FAILURE() << "frame of " << bytes.size() << " bytes has no " << offset << "+" << length;
      return {};
    }
    return {bytes.begin() + static_cast<std::ptrdiff_t>(offset),
            bytes.begin() + static_cast<std::ptrdiff_t>(offset + length)};
  }
  [[nodiscard]] std::string text(std::size_t offset, std::size_t length) const {
    const Bytes part = data(offset, length);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  [[nodiscard]] std::string config_string() const { return text(32, be16(30)); }
  // The strings of an extension reply.
  [[nodiscard]] std::vector<std::string> names(bool big_endian = false) const {
    const std::size_t length = big_endian ? be16(24) : wire::load_le16(bytes, 24);
    std::vector<std::string> result;
    std::string current;
    for (const char c : text(26, length)) {
      if (c != '\0') {
        current += c;
      } else if (!current.empty()) {
        result.push_back(std::move(current));
        current.clear();
      }
    }
    return result;
  }
  [[nodiscard]] std::vector<wire::MacAddress> reserve_list() const {
    std::vector<wire::MacAddress> list;
    for (std::size_t i = 0; i < u8(25); ++i) {
      list.push_back(address(26 + 6 * i));
    }
    return list;
  }
  [[nodiscard]] std::vector<wire::MacAddress> mask_list() const {
    std::vector<wire::MacAddress> list;
    for (std::size_t i = 0; i < u8(27); ++i) {
      list.push_back(address(28 + 8 * i + 2));
    }
    return list;
  }
};

inline EngineConfig plain_config(std::uint16_t mtu = 1500) {
  EngineConfig config;
  config.shelf = kShelf;
  config.slot = kSlot;
  config.sectors = kDiskSectors;
  config.ports = {{kTargetMac, mtu}};
  config.serial = "serial-1";
  return config;
}

// Runs an engine. Disk operations wait until they are told to end, so that a test chooses the
// order.
class Shell {
 public:
  explicit Shell(EngineConfig config = plain_config())
      : config_(config), engine_(std::move(config)), disk_(config_.sectors * kSectorBytes) {
    now_ = 1'000'000'000;
    engine_.on_timer(now_);
    announcements = flush();
  }

  // Hands a frame in, with no other event.
  void give(const Bytes& frame, std::uint64_t batch, std::uint16_t port = 0) {
    ASSERT_TRUE(engine_.intake_open());
    engine_.on_frame({port, batch, frame, now_});
  }
  void give(const FrameSpec& frame) { give(padded(frame.bytes()), ++last_batch_); }

  // Takes what the outbox holds: operations and saves to the lists, frames to the caller.
  std::vector<Reply> flush() {
    std::vector<Reply> replies;
    for (const FrameOut& frame : engine_.outbox().frames) {
      replies.push_back({frame.port, {frame.bytes.begin(), frame.bytes.end()}});
      check_frame(replies.back());
    }
    for (const DiskOp& op : engine_.outbox().disk_ops) {
      check_operation(op);
      in_flight.push_back(op);
    }
    saves.insert(saves.end(), engine_.outbox().saves.begin(), engine_.outbox().saves.end());
    notes.insert(notes.end(), engine_.outbox().notes.begin(), engine_.outbox().notes.end());
    engine_.clear_outbox();
    return replies;
  }

  // Does the operation at `index` of those in flight, and tells the engine.
  void end_disk(std::size_t index, DiskStatus status = DiskStatus::ok) {
    ASSERT_LT(index, in_flight.size());
    const DiskOp op = in_flight[index];
    in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(index));
    std::byte* at = disk_.data() + op.lba * kSectorBytes;
    if (status == DiskStatus::ok && op.kind == DiskOpKind::read) {
      std::memcpy(op.data.data(), at, op.data.size());
    } else if (status == DiskStatus::ok && op.kind == DiskOpKind::write) {
      std::memcpy(at, op.data.data(), op.data.size());
      ++writes_performed;
    }
    engine_.on_disk_done({op.id, status, now_});
  }

  void end_save(DiskStatus status = DiskStatus::ok) {
    ASSERT_EQ(saves.size(), 1U);
    const Save save = saves.front();
    saves.clear();
    if (status == DiskStatus::ok) {
      saved = *save.state;
    }
    engine_.on_disk_done({save.id, status, now_});
  }

  // Ends everything in flight, in order, until nothing is left; all replies.
  std::vector<Reply> run() {
    std::vector<Reply> replies = flush();
    while (!in_flight.empty()) {
      end_disk(0);
      const std::vector<Reply> more = flush();
      replies.insert(replies.end(), more.begin(), more.end());
    }
    return replies;
  }

  // One request, everything done, its replies.
  std::vector<Reply> ask(const FrameSpec& frame) {
    give(frame);
    return run();
  }
  Reply ask_one(const FrameSpec& frame) {
    const std::vector<Reply> replies = ask(frame);
    EXPECT_EQ(replies.size(), 1U);
    return replies.empty() ? Reply{0, Bytes(2000)} : replies.front();
  }

  void advance(Nanoseconds duration) {
    now_ += duration;
    if (now_ >= engine_.next_deadline()) {
      engine_.on_timer(now_);
    }
  }

  [[nodiscard]] std::uint8_t disk_byte(std::uint64_t lba) const {
    return static_cast<std::uint8_t>(disk_[lba * kSectorBytes]);
  }
  void fill_disk(std::uint64_t lba, std::size_t sectors, std::uint8_t fill) {
    std::memset(disk_.data() + lba * kSectorBytes, fill, sectors * kSectorBytes);
  }

  Engine& engine() { return engine_; }
  [[nodiscard]] const Counters& counters() const { return engine_.counters(); }
  [[nodiscard]] bool intake_open() const { return engine_.intake_open(); }
  [[nodiscard]] Nanoseconds now() const { return now_; }

  std::vector<DiskOp> in_flight;
  std::vector<Save> saves;
  std::vector<Note> notes;
  std::vector<Reply> announcements;
  PersistentState saved;
  std::size_t writes_performed = 0;

 private:
  // Where the fields of a reply end; what follows is padding and must be zero. Judged from the
  // frame alone: whether a read's data is right is for the tests to say.
  static std::size_t fields_end(const Reply& reply) {
    switch (reply.u8(19)) {
      case 0:
        return ata_fields_end(reply);
      case 1:
        return reply.error() == 1 || reply.error() == 5 ? 24 : 32U + reply.be16(30);
      case 2:
        return reply.error() == 5 ? 24 : 28U + 8U * reply.u8(27);
      case 3:
        return reply.error() == 5 ? 24 : 26U + 6U * reply.u8(25);
      default:
        return reply.has_error() ? 24 : reply.bytes.size();
    }
  }

  static std::size_t ata_fields_end(const Reply& reply) {
    if (reply.error() == 5) {
      return 24;
    }
    const std::size_t further = reply.u8(36);
    const std::size_t list_end = 37 + 16 * further;
    const bool is_write_reply = (reply.u8(24) & wire::aflag::kWrite) != 0;
    if (is_write_reply && further != 0 &&
        reply.bytes.size() == std::max(list_end, wire::kFrameBytesMin)) {
      return list_end;
    }
    return reply.bytes.size() > wire::kFrameBytesMin ? reply.bytes.size() : 36;
  }

  void check_frame(const Reply& reply) {
    const PortConfig& port = config_.ports[reply.port];
    ASSERT_GE(reply.bytes.size(), wire::kFrameBytesMin);
    ASSERT_LE(reply.bytes.size(), wire::kEthernetHeaderBytes + port.mtu);
    EXPECT_EQ(reply.address(6), port.mac);
    EXPECT_EQ(reply.be16(12), wire::kEtherType);
    EXPECT_EQ(reply.u8(14) & 0xFB, 0x18) << "version 1, R, E or not, reserved flags zero";
    EXPECT_EQ(reply.has_error(), reply.error() != 0);
    EXPECT_EQ(reply.be16(16), config_.shelf);
    EXPECT_EQ(reply.u8(18), config_.slot);
    for (std::size_t i = fields_end(reply); i < reply.bytes.size(); ++i) {
      ASSERT_EQ(reply.u8(i), 0) << "padding at byte " << i;
    }
  }

  void check_operation(const DiskOp& op) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(op.data.data()) % 4096, 0U);
    EXPECT_EQ(op.data.size(), op.sectors * kSectorBytes);
    EXPECT_LE(op.lba + op.sectors, config_.sectors);
    for (const DiskOp& other : in_flight) {
      const bool overlap = op.lba < other.lba + other.sectors && other.lba < op.lba + op.sectors;
      EXPECT_FALSE(overlap && (op.kind != DiskOpKind::read || other.kind != DiskOpKind::read))
          << "operations that overlap are in flight together";
      EXPECT_NE(op.id, other.id);
    }
  }

  EngineConfig config_;
  Engine engine_;
  Bytes disk_;
  Nanoseconds now_ = 0;
  std::uint64_t last_batch_ = 0;
};

}  // namespace target::engine::test
