// Frames captured on `any` (Linux cooked, SLL and SLL2) made into Ethernet frames again. Such a
// capture keeps who sent a frame, not to whom: the destination is found from the requests that went
// before. Bounded memory. It must never guess what it cannot find: then the address is zero.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "pcaps/tool/packet_source.h"

namespace pcaps {

class CookedFrames {
 public:
  // False when it is no frame at all. `interface` becomes the one that SLL2 names.
  bool to_ethernet(const Packet& packet, std::vector<std::uint8_t>& ethernet,
                   std::uint32_t& interface);
  static std::uint32_t header_bytes(std::uint16_t link);

 private:
  static constexpr std::size_t kAskersKept = 1 << 16;
  struct Asker {
    std::uint64_t key = 0;
    std::uint64_t mac = 0;
  };
  std::uint64_t destination_of(std::uint8_t kind, std::uint32_t interface, std::uint64_t source,
                               std::span<const std::uint8_t> aoe);

  std::vector<Asker> askers_ = std::vector<Asker>(kAskersKept);
  std::unordered_map<std::uint64_t, std::uint64_t> own_;                    // by interface
  std::unordered_map<std::uint64_t, std::uint64_t> targets_, last_askers_;  // by shelf and slot
};

}  // namespace pcaps
