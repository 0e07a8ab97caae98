// The two capture formats, read by their documents: pcap (draft-ietf-opsawg-pcap) and pcapng
// (draft-ietf-opsawg-pcapng). libpcap reads both, but refuses a pcapng whose interfaces differ in
// link type or snaplen, and tells neither frame check nor drop counters.
#include <fmt/format.h>
#include <pcap/dlt.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "pcaps/tool/byte_source.h"
#include "pcaps/tool/packet_source.h"

namespace pcaps {

namespace {
constexpr Nanoseconds kNanosecondsPerSecond = 1'000'000'000;
// A damaged file can say anything: what is past the year 2200 is taken as that year, so that no
// difference of two instants can overflow.
constexpr std::uint64_t kSecondsMax = 7'260'000'000;
// No real capture holds more of one packet; what says so is damaged.
constexpr std::uint32_t kCapturedMax = 1 << 20;
constexpr std::uint32_t kBlockMax = 16 << 20;

class Fields {
 public:
  Fields(std::span<const std::uint8_t> bytes, bool swapped) : bytes_(bytes), swapped_(swapped) {}
  [[nodiscard]] std::uint16_t u16(std::size_t at) const {
    std::uint16_t v = 0;
    std::memcpy(&v, bytes_.data() + at, sizeof v);
    return swapped_ ? static_cast<std::uint16_t>(v << 8 | v >> 8) : v;
  }
  [[nodiscard]] std::uint32_t u32(std::size_t at) const {
    std::uint32_t v = 0;
    std::memcpy(&v, bytes_.data() + at, sizeof v);
    return swapped_ ? __builtin_bswap32(v) : v;
  }
  [[nodiscard]] std::uint64_t u64(std::size_t at) const {  // one number of eight bytes
    std::uint64_t v = 0;
    std::memcpy(&v, bytes_.data() + at, sizeof v);
    return swapped_ ? __builtin_bswap64(v) : v;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool swapped_;
};

class FileSource : public PacketSource {
 public:
  explicit FileSource(std::unique_ptr<ByteSource> bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::string damage() const override {
    return damage_.empty() ? bytes_->damage() : damage_;
  }
  [[nodiscard]] CaptureDrops drops() const override { return drops_; }

 protected:
  // False when the file ends first; says so when it ends in the middle.
  bool have(std::size_t size, const char* what) {
    const std::size_t there = bytes_->peek(size).size();
    if (there >= size) {
      return true;
    }
    if (there != 0 && !bytes_->stopped()) {
      damage_ = fmt::format("it ends inside {}: {} of {} bytes", what, there, size);
    }
    return false;
  }
  bool damaged(std::string text) {
    damage_ = std::move(text);
    return false;
  }
  static Nanoseconds instant(std::uint64_t seconds, std::uint64_t fraction_ns) {
    return static_cast<Nanoseconds>(std::min(seconds, kSecondsMax)) * kNanosecondsPerSecond +
           static_cast<Nanoseconds>(
               std::min<std::uint64_t>(fraction_ns, kNanosecondsPerSecond - 1));
  }

  std::unique_ptr<ByteSource> bytes_;
  std::string damage_;
  CaptureDrops drops_;
};

class PcapFile : public FileSource {
 public:
  static constexpr std::size_t kHeaderBytes = 24;
  static constexpr std::size_t kRecordBytes = 16;

  PcapFile(std::unique_ptr<ByteSource> bytes, bool swapped, bool nano)
      : FileSource(std::move(bytes)), swapped_(swapped), nano_(nano) {}

  bool read_header(const std::string& path, std::string& error) {
    const auto header = bytes_->peek(kHeaderBytes);
    if (header.size() < kHeaderBytes) {
      error = fmt::format("cannot read the capture {}: it ends inside its header", path);
      return false;
    }
    const Fields fields(header, swapped_);
    const std::uint32_t link = fields.u32(20);
    link_ = static_cast<std::uint16_t>(link);
    // The f bit says that frame checks are there; the four top bits how long they are. Programs
    // disagree whether they count bytes or pairs; an Ethernet frame check has 4 bytes.
    constexpr std::uint32_t kFcsPresent = 0x0400'0000;
    constexpr std::uint32_t kEthernetFcsBytes = 4;
    fcs_bytes_ = (link & kFcsPresent) != 0 && link >> 28 != 0 ? kEthernetFcsBytes : 0;
    bytes_->take(kHeaderBytes);
    return true;
  }
  [[nodiscard]] std::uint16_t link() const { return link_; }

  bool next(Packet& packet) override {
    bytes_->take(pending_);
    pending_ = 0;
    if (!damage_.empty() || !have(kRecordBytes, "a record's header")) {
      return false;
    }
    const Fields record(bytes_->peek(kRecordBytes), swapped_);
    const std::uint32_t seconds = record.u32(0);
    const std::uint32_t fraction = record.u32(4);
    const std::uint32_t captured = record.u32(8);
    packet.wire_length = record.u32(12);
    if (captured > kCapturedMax) {
      return damaged(fmt::format("a record of {} bytes, more than any frame has", captured));
    }
    if (!have(kRecordBytes + captured, "a frame")) {
      return false;
    }
    packet.bytes = bytes_->peek(kRecordBytes + captured).subspan(kRecordBytes, captured);
    pending_ = kRecordBytes + captured;
    packet.time_ns = instant(seconds, nano_ ? fraction : std::uint64_t{fraction} * 1'000);
    packet.interface = 0;
    packet.link = link_;
    packet.fcs_bytes = fcs_bytes_;
    return true;
  }

 private:
  bool swapped_, nano_;
  std::uint16_t link_ = 0;
  std::uint32_t fcs_bytes_ = 0;
  std::size_t pending_ = 0;  // of the packet that was handed out last
};

class PcapngFile : public FileSource {
 public:
  static constexpr std::uint32_t kSectionBlock = 0x0A0D0D0A;

  using FileSource::FileSource;

  [[nodiscard]] std::size_t interfaces() const override { return interfaces_.size(); }

  bool next(Packet& packet) override {
    bytes_->take(pending_);
    pending_ = 0;
    while (damage_.empty() && have(kBlockHeadBytes, "a block's header")) {
      std::uint32_t type = 0;
      if (!read_order(type)) {
        return false;
      }
      const std::uint32_t size = Fields(bytes_->peek(kBlockHeadBytes), swapped_).u32(4);
      if (size < kBlockHeadBytes + kBlockTailBytes || size % 4 != 0 || size > kBlockMax) {
        return damaged(fmt::format("a block of {} bytes", size));
      }
      if (!have(size, "a block")) {
        return false;
      }
      const auto block = bytes_->peek(size).first(size);
      if (Fields(block, swapped_).u32(size - kBlockTailBytes) != size) {
        return damaged("a block whose two lengths differ");
      }
      const auto body = block.subspan(kBlockHeadBytes, size - kBlockHeadBytes - kBlockTailBytes);
      bool is_packet = false;
      if (!read_block(type, body, packet, is_packet)) {
        return false;
      }
      if (is_packet) {
        pending_ = size;
        return true;
      }
      bytes_->take(size);
    }
    return false;
  }

 private:
  static constexpr std::size_t kBlockHeadBytes = 8;
  static constexpr std::size_t kBlockTailBytes = 4;
  enum Block : std::uint32_t {
    kInterfaceBlock = 1,
    kPacketBlock = 2,  // of old captures
    kSimplePacketBlock = 3,
    kStatisticsBlock = 5,
    kEnhancedPacketBlock = 6,
  };
  enum Option : std::uint16_t {
    kPacketFlags = 2,
    kPacketDropCount = 4,
    kInterfaceResolution = 9,
    kInterfaceFcsLength = 13,
    kInterfaceOffset = 14,
    kStatisticsInterfaceDrop = 5,
    kStatisticsSystemDrop = 7,
  };
  struct Interface {
    std::uint16_t link = 0;
    std::uint32_t snaplen = 0;
    std::uint32_t fcs_bytes = 0;
    bool binary = false;  // ticks of 2^-exponent seconds instead of 10^-exponent
    std::uint32_t exponent = 6;
    std::int64_t offset_seconds = 0;
    std::uint64_t dropped = 0;       // as the last statistics block says
    std::uint64_t packet_drops = 0;  // as the packets say
  };

  // The byte order is the section's own; a section header brings it.
  bool read_order(std::uint32_t& type) {
    std::uint32_t raw = 0;
    std::memcpy(&raw, bytes_->peek(kBlockHeadBytes).data(), sizeof raw);
    if (raw != kSectionBlock) {
      type = swapped_ ? __builtin_bswap32(raw) : raw;
      return true;
    }
    type = kSectionBlock;
    constexpr std::size_t kUpToOrder = 12;
    if (!have(kUpToOrder, "a section's header")) {
      return false;
    }
    std::uint32_t magic = 0;
    std::memcpy(&magic, bytes_->peek(kUpToOrder).data() + kBlockHeadBytes, sizeof magic);
    constexpr std::uint32_t kOrderMagic = 0x1A2B3C4D;
    if (magic != kOrderMagic && magic != __builtin_bswap32(kOrderMagic)) {
      return damaged("a section whose byte order nobody knows");
    }
    swapped_ = magic != kOrderMagic;
    return true;
  }

  template <typename Each>
  void options(std::span<const std::uint8_t> bytes, Each&& each) const {
    std::size_t at = 0;
    while (at + 4 <= bytes.size()) {
      const Fields fields(bytes, swapped_);
      const std::uint16_t code = fields.u16(at);
      const std::uint16_t size = fields.u16(at + 2);
      if (code == 0 || at + 4 + size > bytes.size()) {
        return;
      }
      each(code, bytes.subspan(at + 4, size));
      at += 4 + (size + 3U) / 4 * 4;
    }
  }

  bool read_block(std::uint32_t type, std::span<const std::uint8_t> body, Packet& packet,
                  bool& is_packet) {
    switch (type) {
      case kSectionBlock:
        section_base_ = interfaces_.size();
        return true;
      case kInterfaceBlock:
        return read_interface(body);
      case kStatisticsBlock:
        return read_statistics(body);
      case kEnhancedPacketBlock:
      case kPacketBlock:
      case kSimplePacketBlock:
        is_packet = true;
        return type == kSimplePacketBlock ? read_simple(body, packet)
                                          : read_packet(body, type == kPacketBlock, packet);
      default:
        return true;  // comments, names, keys, what programs make up
    }
  }

  bool read_interface(std::span<const std::uint8_t> body) {
    constexpr std::size_t kFixed = 8;
    if (body.size() < kFixed) {
      return damaged("an interface block that is too short");
    }
    const Fields fields(body, swapped_);
    Interface interface;
    interface.link = fields.u16(0);
    interface.snaplen = fields.u32(4);
    options(body.subspan(kFixed), [this, &interface](std::uint16_t code, auto value) {
      if (code == kInterfaceResolution && value.size() == 1) {
        interface.binary = (value[0] & 0x80) != 0;
        interface.exponent = value[0] & 0x7F;
      } else if (code == kInterfaceFcsLength && value.size() == 1) {
        interface.fcs_bytes = value[0];
      } else if (code == kInterfaceOffset && value.size() == 8) {
        interface.offset_seconds = static_cast<std::int64_t>(Fields(value, swapped_).u64(0));
      }
    });
    interfaces_.push_back(interface);
    return true;
  }

  Interface* interface_of(std::uint32_t id) {
    const std::size_t index = section_base_ + id;
    return index < interfaces_.size() ? &interfaces_[index] : nullptr;
  }

  bool read_statistics(std::span<const std::uint8_t> body) {
    constexpr std::size_t kFixed = 12;
    if (body.size() < kFixed) {
      return damaged("a statistics block that is too short");
    }
    Interface* interface = interface_of(Fields(body, swapped_).u32(0));
    if (interface == nullptr) {
      return true;
    }
    std::uint64_t dropped = 0;
    bool told = false;
    options(body.subspan(kFixed), [&](std::uint16_t code, auto value) {
      if ((code == kStatisticsInterfaceDrop || code == kStatisticsSystemDrop) &&
          value.size() == 8) {
        dropped += Fields(value, swapped_).u64(0);
        told = true;
      }
    });
    if (told) {
      interface->dropped = dropped;  // counters run: the last block is the sum
      count_drops(true);
    }
    return true;
  }

  void count_drops(bool told) {
    drops_.told = drops_.told || told;
    drops_.dropped = 0;
    for (const Interface& interface : interfaces_) {
      drops_.dropped += std::max(interface.dropped, interface.packet_drops);
    }
  }

  static Nanoseconds time_of(const Interface& interface, std::uint64_t ticks) {
    std::uint64_t seconds = 0;
    std::uint64_t fraction_ns = 0;
    if (interface.binary) {
      const std::uint32_t bits = std::min<std::uint32_t>(interface.exponent, 63);
      seconds = ticks >> bits;
      const std::uint64_t rest = ticks & ((std::uint64_t{1} << bits) - 1);
      fraction_ns = static_cast<std::uint64_t>(
          static_cast<unsigned __int128>(rest) * kNanosecondsPerSecond >> bits);
    } else {
      std::uint64_t per_second = 1;
      for (std::uint32_t i = 0; i < std::min<std::uint32_t>(interface.exponent, 19); ++i) {
        per_second *= 10;
      }
      seconds = ticks / per_second;
      fraction_ns = static_cast<std::uint64_t>(static_cast<unsigned __int128>(ticks % per_second) *
                                               kNanosecondsPerSecond / per_second);
    }
    const auto limit = static_cast<std::int64_t>(kSecondsMax);
    const std::int64_t whole =
        std::min(static_cast<std::int64_t>(std::min(seconds, kSecondsMax)), limit) +
        std::clamp(interface.offset_seconds, -limit, limit);
    return instant(static_cast<std::uint64_t>(std::max<std::int64_t>(whole, 0)), fraction_ns);
  }

  bool read_packet(std::span<const std::uint8_t> body, bool old, Packet& packet) {
    constexpr std::size_t kFixed = 20;
    if (body.size() < kFixed) {
      return damaged("a packet block that is too short");
    }
    const Fields fields(body, swapped_);
    const std::uint32_t id = old ? fields.u16(0) : fields.u32(0);
    Interface* interface = interface_of(id);
    if (interface == nullptr) {
      return damaged(fmt::format("a packet of interface {}, which the file does not name", id));
    }
    const std::uint64_t ticks = static_cast<std::uint64_t>(fields.u32(4)) << 32 | fields.u32(8);
    const std::uint32_t captured = fields.u32(12);
    if (captured > body.size() - kFixed) {
      return damaged(fmt::format("a packet of {} bytes in a block of {}", captured, body.size()));
    }
    packet.wire_length = fields.u32(16);
    packet.bytes = body.subspan(kFixed, captured);
    packet.time_ns = time_of(*interface, ticks);
    packet.interface = static_cast<std::uint32_t>(interface - interfaces_.data());
    packet.link = interface->link;
    packet.fcs_bytes = interface->fcs_bytes;
    constexpr std::uint16_t kNotCounted = 0xFFFF;
    if (old && fields.u16(2) != 0 && fields.u16(2) != kNotCounted) {
      interface->packet_drops += fields.u16(2);
      count_drops(true);
    }
    const std::size_t end = kFixed + (captured + 3U) / 4 * 4;
    if (end < body.size()) {
      options(body.subspan(end), [&](std::uint16_t code, auto value) {
        if (code == kPacketFlags && value.size() == 4) {
          const std::uint32_t fcs = Fields(value, swapped_).u32(0) >> 5 & 0x0F;
          packet.fcs_bytes = fcs != 0 ? fcs : packet.fcs_bytes;
        } else if (code == kPacketDropCount && value.size() == 8 && !old) {
          interface->packet_drops += Fields(value, swapped_).u64(0);
          count_drops(true);
        }
      });
    }
    return true;
  }

  bool read_simple(std::span<const std::uint8_t> body, Packet& packet) {
    Interface* interface = interface_of(0);
    if (body.size() < 4 || interface == nullptr) {
      return damaged("a packet of an interface which the file does not name");
    }
    packet.wire_length = Fields(body, swapped_).u32(0);
    std::uint32_t captured =
        std::min<std::uint32_t>(packet.wire_length, static_cast<std::uint32_t>(body.size() - 4));
    captured = interface->snaplen != 0 ? std::min(captured, interface->snaplen) : captured;
    packet.bytes = body.subspan(4, captured);
    packet.time_ns = 0;  // such a block has none
    packet.interface = static_cast<std::uint32_t>(interface - interfaces_.data());
    packet.link = interface->link;
    packet.fcs_bytes = interface->fcs_bytes;
    return true;
  }

  bool swapped_ = false;
  std::vector<Interface> interfaces_;  // of all sections
  std::size_t section_base_ = 0;
  std::size_t pending_ = 0;
};
}  // namespace

std::string link_name(std::uint16_t link) {
  const char* name = pcap_datalink_val_to_name(link);
  return link == kLinkCooked2 ? "Linux cooked v2"
         : name != nullptr    ? name
                              : fmt::format("{}", link);
}

std::unique_ptr<PacketSource> open_capture_file(const std::string& path,
                                                const std::atomic<bool>* stop, std::string& error) {
  auto bytes = ByteSource::open(path, stop, error);
  if (bytes == nullptr) {
    return nullptr;
  }
  constexpr std::size_t kMagicBytes = 4;
  const auto head = bytes->peek(kMagicBytes);
  std::uint32_t magic = 0;
  if (head.size() >= kMagicBytes) {
    std::memcpy(&magic, head.data(), sizeof magic);
  }
  if (head.empty() && bytes->damage().empty()) {
    error = fmt::format("cannot read the capture {}: it is empty", path);
    return nullptr;
  }
  if (magic == PcapngFile::kSectionBlock) {
    return std::make_unique<PcapngFile>(std::move(bytes));
  }
  struct Known {
    std::uint32_t magic;
    bool nano;
  };
  constexpr Known kKnown[] = {{0xA1B2'C3D4, false}, {0xA1B2'3C4D, true}};
  for (const Known& known : kKnown) {
    const bool straight = magic == known.magic;
    if (!straight && magic != __builtin_bswap32(known.magic)) {
      continue;
    }
    auto file = std::make_unique<PcapFile>(std::move(bytes), !straight, known.nano);
    if (!file->read_header(path, error)) {
      return nullptr;
    }
    const std::uint16_t link = file->link();
    if (link != kLinkEthernet && link != kLinkCooked && link != kLinkCooked2) {
      error = fmt::format(
          "{} holds frames of link type {}, not Ethernet: capture on the interface itself "
          "(tcpdump -i eth0), or on all of them (-i any)",
          path, link_name(link));
      return nullptr;
    }
    return file;
  }
  error = bytes->damage().empty()
              ? fmt::format("{} is not a capture: give a pcap or pcapng file", path)
              : fmt::format("cannot read the capture {}: {}", path, bytes->damage());
  return nullptr;
}

}  // namespace pcaps
