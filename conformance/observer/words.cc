#include "conformance/observer/words.h"

#include <fmt/format.h>

#include <array>

#include "conformance/observer/tracker.h"

namespace conformance::observer {

std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '\\') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

std::string mac_text(std::uint64_t mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac >> 40 & 0xFF,
                     mac >> 32 & 0xFF, mac >> 24 & 0xFF, mac >> 16 & 0xFF, mac >> 8 & 0xFF,
                     mac & 0xFF);
}

std::string address_text(VlanId vlan, std::uint16_t shelf, std::uint8_t slot) {
  std::string text = shelf == kBroadcastShelf && slot == kBroadcastSlot
                         ? std::string("everybody")
                         : fmt::format("e{}.{}", shelf, slot);
  if (vlan != kNoVlan) {
    text += "@" + vlan_text(vlan);
  }
  return text;
}

std::string vlan_text(VlanId vlan) {
  if (vlan == kNoVlan) {
    return "";
  }
  return vlan <= 0xFFFF ? fmt::format("{}", vlan)
                        : fmt::format("{}.{}", vlan & 0xFFFF, (vlan >> 16) - 1);
}

std::string request_text(const Request& request) {
  switch (request.command) {
    case kCommandAta: {
      const bool reads = is_read(request.ata_command);
      if (reads || is_write(request.ata_command)) {
        return fmt::format("{} of {} sector{} at LBA {}", reads ? "read" : "write", request.sectors,
                           request.sectors == 1 ? "" : "s", request.lba);
      }
      if (request.ata_command == kAtaIdentify) {
        return "identify";
      }
      if (request.ata_command == kAtaFlush || request.ata_command == kAtaFlushExt) {
        return "flush";
      }
      return fmt::format("ATA command 0x{:02x}", request.ata_command);
    }
    case kCommandConfig: {
      static constexpr std::array<const char*, 5> kNames{
          "config read", "config test", "config prefix test", "config set", "config force set"};
      return request.sub_command < kNames.size()
                 ? kNames[request.sub_command]
                 : fmt::format("config command {}", request.sub_command);
    }
    case kCommandMask:
      return request.sub_command == 0 ? "mask list read" : "mask list edit";
    case kCommandReserve:
      return request.sub_command == 0   ? "reserve read"
             : request.sub_command == 1 ? "reserve set"
                                        : "reserve force set";
    case kCommandExtensions:
      return "extension table";
    default:
      return fmt::format("command 0x{:02x}", request.command);
  }
}

}  // namespace conformance::observer
