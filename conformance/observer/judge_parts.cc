#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

bool good_ata(const AoeFrame& frame) {
  return !frame.has_error_flag() && frame.holds_ata() &&
         (frame.ata_status() & (kStatusErr | kStatusDf)) == 0;
}

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}

std::uint64_t text_hash(std::string_view text) {
  return hash_bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), 7);
}

bool holds_mac(const std::vector<std::uint64_t>& macs, std::uint64_t mac) {
  return std::find(macs.begin(), macs.end(), mac) != macs.end();
}

std::string list_text(const std::vector<std::uint64_t>& macs) {
  std::string text = "{";
  for (const std::uint64_t mac : macs) {
    text += (text.size() > 1 ? " " : "") + mac_text(mac);
  }
  return text + "}";
}

bool crc_follows(const AoeFrame& frame, std::uint32_t data_end) {
  if (!frame.holds(data_end, kCrcBytes) || data_end < kAtaDataOffset) {
    return false;
  }
  const auto expected = crc8x4(frame.slice(kAoeHeaderEnd, data_end - kAoeHeaderEnd));
  const auto told = frame.slice(data_end, kCrcBytes);
  return std::equal(expected.begin(), expected.end(), told.begin());
}

}  // namespace conformance::observer
