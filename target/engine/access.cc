// The questions of access.h, in the order in which silence is decided.
#include "target/engine/access.h"

#include <algorithm>

namespace target::engine {

namespace {

bool is_group(const wire::MacAddress& mac) {
  return (mac.octets[0] & 1U) != 0;
}

// A port in promiscuous mode also sees frames for other stations. A broadcast or multicast reaches
// us on purpose.
bool is_for_us(const wire::MacAddress& destination, const wire::MacAddress& port_mac) {
  return is_group(destination) || destination == port_mac;
}

bool names_target(const wire::Header& header, const EngineConfig& config) {
  return (header.shelf == config.shelf || header.shelf == wire::kShelfBroadcast) &&
         (header.slot == config.slot || header.slot == wire::kSlotBroadcast);
}

}  // namespace

bool is_listed(std::span<const wire::MacAddress> list, const wire::MacAddress& mac) {
  return std::find(list.begin(), list.end(), mac) != list.end();
}

Access admit(const wire::Header& header, const wire::MacAddress& port_mac,
             const EngineConfig& config, std::span<const wire::MacAddress> mask_list) {
  // A group address never sends. Answered, such a frame would make the target shout one host's data
  // at everybody: an amplifier for whoever forges a source. Real targets do answer it.
  if (is_group(header.source) || !is_for_us(header.destination, port_mac) ||
      !names_target(header, config)) {
    return Access::wrong_address;
  }
  if (!config.allow.empty() && !is_listed(config.allow, header.source)) {
    return Access::masked;
  }
  if (!mask_list.empty() && !is_listed(mask_list, header.source)) {
    return Access::masked;
  }
  return Access::admitted;
}

bool reserved_against(const wire::MacAddress& source, std::uint8_t ata_command,
                      std::span<const wire::MacAddress> reserve_list) {
  return !reserve_list.empty() && ata_command != wire::ata::kIdentifyDevice &&
         !is_listed(reserve_list, source);
}

}  // namespace target::engine
