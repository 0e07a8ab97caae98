// For tests: AoE frames by hand, put one after the other into a tracker as a capture would.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conformance/observer/tracker.h"

namespace conformance::observer::testing_frames {

inline constexpr std::uint64_t kTargetMac = 0x02AE'0000'0001;
inline constexpr std::uint64_t kAlice = 0x02AE'0000'00A1;
inline constexpr std::uint64_t kBob = 0x02AE'0000'00B0;
inline constexpr Nanoseconds kStepNs = 1'000'000;

inline void put_mac(Bytes& b, std::size_t at, std::uint64_t mac) {
  for (int i = 0; i < 6; ++i) {
    b.at(at + static_cast<std::size_t>(i)) = static_cast<std::uint8_t>(mac >> (40 - 8 * i));
  }
}
inline void put_be(Bytes& b, std::size_t at, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) {
    b.at(at + static_cast<std::size_t>(i)) =
        static_cast<std::uint8_t>(value >> (8 * (size - 1 - i)));
  }
}

inline Bytes header(std::uint64_t from, std::uint64_t to, std::uint8_t command, std::uint32_t tag,
                    bool reply) {
  Bytes b(kAoeHeaderEnd, 0);
  put_mac(b, 0, to);
  put_mac(b, 6, from);
  put_be(b, 12, kEtherTypeAoe, 2);
  b[14] = reply ? 0x18 : 0x10;
  put_be(b, 16, 1, 2);
  b[18] = 1;
  b[19] = command;
  put_be(b, 20, tag, 4);
  return b;
}
inline Bytes request(std::uint64_t from, std::uint8_t command, std::uint32_t tag) {
  return header(from, kTargetMac, command, tag, false);
}
inline Bytes reply(std::uint64_t to, std::uint8_t command, std::uint32_t tag) {
  return header(kTargetMac, to, command, tag, true);
}

inline Bytes ata(Bytes b, std::uint8_t aflags, std::uint8_t error, std::uint8_t count,
                 std::uint8_t command_or_status, std::uint64_t lba) {
  b.resize(kAtaDataOffset, 0);
  b[24] = aflags;
  b[25] = error;
  b[26] = count;
  b[27] = command_or_status;
  for (int i = 0; i < 6; ++i) {
    b[28 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(lba >> (8 * i));
  }
  return b;
}
inline Bytes with_data(Bytes b, std::uint32_t sectors, char fill) {
  b.insert(b.end(), static_cast<std::size_t>(sectors) * kSectorBytes,
           static_cast<std::uint8_t>(fill));
  return b;
}
inline Bytes read_request(std::uint64_t from, std::uint32_t tag, std::uint64_t lba,
                          std::uint8_t count = 1) {
  return ata(request(from, kCommandAta, tag), 0x40, 0, count, kAtaReadExt, lba);
}
inline Bytes read_reply(std::uint64_t to, std::uint32_t tag, std::uint64_t lba, char fill,
                        std::uint8_t count = 1) {
  return with_data(ata(reply(to, kCommandAta, tag), 0x40, 0, 0, 0x40, lba), count, fill);
}
inline Bytes write_request(std::uint64_t from, std::uint32_t tag, std::uint64_t lba, char fill,
                           std::uint8_t count = 1) {
  return with_data(ata(request(from, kCommandAta, tag), 0x41, 0, count, kAtaWriteExt, lba), count,
                   fill);
}
inline Bytes write_reply(std::uint64_t to, std::uint32_t tag, std::uint64_t lba) {
  return ata(reply(to, kCommandAta, tag), 0x41, 0, 0, 0x40, lba);
}
inline Bytes config(Bytes b, std::uint8_t ccmd, const std::string& text, std::uint16_t buffers = 16,
                    std::uint8_t sectors = 2) {
  b.resize(kConfigStringOffset, 0);
  const bool is_reply = (b[14] & kFlagResponse) != 0;
  put_be(b, 24, is_reply ? buffers : 0, 2);
  b[28] = is_reply ? sectors : 0;
  b[29] = static_cast<std::uint8_t>(0x10 | ccmd);
  put_be(b, 30, text.size(), 2);
  b.insert(b.end(), text.begin(), text.end());
  return b;
}
// Strings separated by commas; the length little-endian, as AoEde speaks it.
inline Bytes table(Bytes b, std::string names) {
  for (char& c : names) {
    c = c == ',' ? '\0' : c;
  }
  names += std::string(2, '\0');
  b.push_back(static_cast<std::uint8_t>(names.size()));
  b.push_back(static_cast<std::uint8_t>(names.size() >> 8));
  b.insert(b.end(), names.begin(), names.end());
  return b;
}
inline Bytes mask(Bytes b, std::uint8_t mcmd,
                  const std::vector<std::pair<int, std::uint64_t>>& directives) {
  b.resize(kMaskListOffset, 0);
  b[25] = mcmd;
  b[27] = static_cast<std::uint8_t>(directives.size());
  for (const auto& [dcmd, mac] : directives) {
    const std::size_t at = b.size();
    b.resize(at + kMaskDirectiveBytes, 0);
    b[at + 1] = static_cast<std::uint8_t>(dcmd);
    put_mac(b, at + 2, mac);
  }
  return b;
}
inline Bytes reserve(Bytes b, std::uint8_t rcmd, const std::vector<std::uint64_t>& macs) {
  b.push_back(rcmd);
  b.push_back(static_cast<std::uint8_t>(macs.size()));
  for (const std::uint64_t mac : macs) {
    b.resize(b.size() + kMacBytes, 0);
    put_mac(b, b.size() - kMacBytes, mac);
  }
  return b;
}
inline Bytes error(Bytes b, std::uint8_t code) {
  b[14] |= kFlagError;
  b[15] = code;
  return b;
}
inline Bytes identify_reply(std::uint64_t to, std::uint32_t tag, std::uint64_t sectors) {
  Bytes b = with_data(ata(reply(to, kCommandAta, tag), 0, 0, 0, 0x40, 0), 1, 0);
  const auto word = [&b](std::size_t index, std::uint64_t value) {
    b[kAtaDataOffset + 2 * index] = static_cast<std::uint8_t>(value);
    b[kAtaDataOffset + 2 * index + 1] = static_cast<std::uint8_t>(value >> 8);
  };
  word(60, sectors & 0xFFFF);
  word(61, sectors >> 16 & 0xFFFF);
  word(83, 1 << 10 | 1 << 14);
  word(86, 1 << 10);
  word(100, sectors & 0xFFFF);
  word(101, sectors >> 16 & 0xFFFF);
  return b;
}

// Frames a millisecond apart, numbered from 1.
class Scene {
 public:
  Tracker& tracker() { return *tracker_; }
  Scene& add(const Bytes& frame, std::uint32_t wire_length = 0) {
    CapturedFrame captured;
    captured.number = ++number_;
    captured.time_ns = static_cast<Nanoseconds>(number_) * kStepNs + waited_ns_;
    captured.bytes = frame;
    captured.wire_length =
        wire_length == 0 ? static_cast<std::uint32_t>(frame.size()) : wire_length;
    tracker_->on_frame(captured);
    return *this;
  }
  Scene& wait(Nanoseconds span_ns) {
    waited_ns_ += span_ns;
    return *this;
  }
  void finish() { tracker_->finish(); }

 private:
  std::unique_ptr<Tracker> tracker_ = std::make_unique<Tracker>();
  std::uint64_t number_ = 0;
  Nanoseconds waited_ns_ = 0;
};

}  // namespace conformance::observer::testing_frames
