// Frames to send, by the offset table. It checks nothing.

#include "conformance/observer/build.h"

#include <algorithm>

namespace conformance::observer {

Frame::Frame() : bytes_(at::argument, 0) {
  observer::set(bytes_, F::eth_type, kEtherType);
  observer::set(bytes_, F::version, 1);
}

Frame Frame::raw(Bytes bytes) {
  Frame frame;
  frame.bytes_ = std::move(bytes);
  frame.raw_ = true;
  return frame;
}

Frame& Frame::set(F id, uint64_t value) {
  grow(field(id).offset + field(id).size);
  observer::set(bytes_, id, value);
  set_.insert(id);
  return *this;
}

Frame& Frame::dst(const Mac& mac) {
  std::copy(mac.begin(), mac.end(), bytes_.begin());
  set_.insert(F::eth_dst);
  return *this;
}

Frame& Frame::src(const Mac& mac) {
  std::copy(mac.begin(), mac.end(), bytes_.begin() + 6);
  set_.insert(F::eth_src);
  return *this;
}

Frame& Frame::byte(size_t offset, uint8_t value) {
  grow(offset + 1);
  bytes_[offset] = value;
  return *this;
}

Frame& Frame::append(BytesView bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

Frame& Frame::append(std::string_view text) {
  return append(bytes_of(text));
}

Frame& Frame::cut(size_t size) {
  bytes_.resize(size);
  pads_ = false;
  return *this;
}

Frame& Frame::grow(size_t size, uint8_t fill) {
  if (bytes_.size() < size) {
    bytes_.resize(size, fill);
  }
  return *this;
}

Frame& Frame::fill_after(size_t offset, BytesView pattern, size_t until) {
  grow(until);
  for (size_t i = offset; i < until; ++i) {
    bytes_[i] = pattern[(i - offset) % pattern.size()];
  }
  return *this;
}

Frame& Frame::unpadded() {
  pads_ = false;
  return *this;
}

Frame header_only(uint8_t command) {
  Frame frame;
  frame.set(F::command, command);
  return frame;
}

Frame ata_request(uint8_t ata_command, uint64_t lba, uint8_t count) {
  Frame frame = header_only(command::ata);
  frame.grow(at::ata_data);
  frame.set(F::ata_command, ata_command).set(F::ata_count, count).set(F::ata_lba, lba);
  return frame;
}

Frame read_request(uint64_t lba, uint8_t count, bool lba48) {
  Frame frame = ata_request(lba48 ? ata::read_ext : ata::read, lba, count);
  return frame.set(F::ata_flag_extended, lba48);
}

Frame write_request(uint64_t lba, BytesView data, bool lba48) {
  Frame frame = ata_request(lba48 ? ata::write_ext : ata::write, lba,
                            static_cast<uint8_t>(data.size() / kSectorBytes));
  frame.set(F::ata_flag_extended, lba48).set(F::ata_flag_write, 1);
  return frame.append(data);
}

Frame identify_request() {
  return ata_request(ata::identify, 0, 1);
}

Frame flush_request(bool lba48) {
  return ata_request(lba48 ? ata::flush_ext : ata::flush, 0, 0).set(F::ata_flag_extended, lba48);
}

Frame config_request(uint8_t ccmd, BytesView text) {
  Frame frame = header_only(command::config);
  frame.grow(at::cfg_string);
  frame.set(F::cfg_ccmd, ccmd).set(F::cfg_length, text.size());
  return frame.append(text);
}

Frame config_request(uint8_t ccmd, std::string_view text) {
  return config_request(ccmd, BytesView(bytes_of(text)));
}

Frame mask_request(uint8_t mcmd, const std::vector<Directive>& directives) {
  Frame frame = header_only(command::mask);
  frame.grow(at::mask_list);
  frame.set(F::mask_mcmd, mcmd).set(F::mask_count, directives.size());
  for (const Directive& d : directives) {
    const uint8_t lead[2] = {d.reserved, d.dcmd};
    frame.append(lead).append(d.mac);
  }
  return frame;
}

Frame reserve_request(uint8_t rcmd, const std::vector<Mac>& addresses) {
  Frame frame = header_only(command::reserve);
  frame.grow(at::reserve_list);
  frame.set(F::reserve_rcmd, rcmd).set(F::reserve_count, addresses.size());
  for (const Mac& mac : addresses) {
    frame.append(mac);
  }
  return frame;
}

Frame extension_raw(BytesView table, uint16_t length, Order order) {
  Frame frame = header_only(command::extension);
  frame.grow(at::ext_table);
  if (order == Order::little) {
    store_le(frame.bytes(), at::argument, 2, length);
  } else {
    store_be(frame.bytes(), at::argument, 2, length);
  }
  return frame.append(table);
}

Frame extension_request(const std::vector<std::string>& strings, Order order) {
  Bytes table;
  for (const std::string& s : strings) {
    table.insert(table.end(), s.begin(), s.end());
    table.push_back(0);
  }
  if (strings.empty()) {
    table.push_back(0);
  }
  table.push_back(0);
  return extension_raw(table, static_cast<uint16_t>(table.size()), order);
}

Frame& add_coalesced(Frame& read, const std::vector<CoalescedEntry>& entries) {
  read.grow(at::coalesced);
  read.bytes().push_back(static_cast<uint8_t>(entries.size()));
  for (const CoalescedEntry& e : entries) {
    std::array<uint8_t, kCoalescedEntryBytes> raw{};
    store_be(raw, 0, 4, e.tag);
    store_le(raw, 4, 6, e.lba);
    raw[15] = e.count;
    read.append(raw);
  }
  return read;
}

Frame& add_crc8x4(Frame& frame) {
  const auto crc = crc8x4(BytesView(frame.bytes()).subspan(at::argument));
  return frame.append(crc);
}

}  // namespace conformance::observer
