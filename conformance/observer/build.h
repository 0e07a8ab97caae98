#pragma once
// Frames to send, by the offset table. A Frame remembers which header fields its maker set: the
// rest is filled in by whoever sends it. It lets one build every wrong frame there is; it checks
// nothing.

#include <set>

#include "conformance/observer/decode.h"

namespace conformance::observer {

class Frame {
 public:
  Frame();                        // an AoE header of zeros, version 1, EtherType 0x88A2
  static Frame raw(Bytes bytes);  // exactly these bytes: nothing is filled in, nothing padded

  Frame& set(F id, uint64_t value);  // grows the frame when it must
  Frame& dst(const Mac& mac);
  Frame& src(const Mac& mac);
  Frame& byte(size_t offset, uint8_t value);  // any byte at all; grows
  Frame& append(BytesView bytes);
  Frame& append(std::string_view text);
  Frame& cut(size_t size);                     // to this many bytes, and no padding
  Frame& grow(size_t size, uint8_t fill = 0);  // to at least this many
  Frame& fill_after(size_t offset, BytesView pattern,
                    size_t until);  // repeats the pattern up to `until`
  Frame& unpadded();                // sent without Ethernet's padding to 60

  bool is_set(F id) const { return set_.count(id) != 0; }
  bool is_raw() const { return raw_; }
  bool pads() const { return pads_ && !raw_; }
  const Bytes& bytes() const { return bytes_; }
  Bytes& bytes() { return bytes_; }
  size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
  std::set<F> set_;
  bool pads_ = true;
  bool raw_ = false;
};

Frame header_only(uint8_t command);

Frame ata_request(uint8_t ata_command, uint64_t lba, uint8_t count);
// 48-bit (0x24, 0x34, with E) unless told otherwise.
Frame read_request(uint64_t lba, uint8_t count, bool lba48 = true);
Frame write_request(uint64_t lba, BytesView data, bool lba48 = true);  // data: whole sectors
Frame identify_request();
Frame flush_request(bool lba48 = true);

Frame config_request(uint8_t ccmd, std::string_view text = {});
Frame config_request(uint8_t ccmd, BytesView text);

Frame mask_request(uint8_t mcmd, const std::vector<Directive>& directives = {});
Frame reserve_request(uint8_t rcmd, const std::vector<Mac>& addresses = {});

Frame extension_request(const std::vector<std::string>& strings, Order order = Order::little);
// Any bytes as the table, with any length: for malformed ones.
Frame extension_raw(BytesView table, uint16_t length, Order order = Order::little);

// Adds AoEde's further reads to a read.
Frame& add_coalesced(Frame& read, const std::vector<CoalescedEntry>& entries);
// Adds the four CRC bytes after what the frame holds from offset 24.
Frame& add_crc8x4(Frame& frame);

}  // namespace conformance::observer
