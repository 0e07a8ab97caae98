// Who may be heard, and who may touch the data: addresses, the allow list, the MAC mask list and
// the reservation. Pure questions about a header and lists; changes nothing.
#pragma once

#include <cstdint>
#include <span>

#include "target/engine/values.h"
#include "target/wire/aoe.h"

namespace target::engine {

enum class Access : std::uint8_t {
  admitted,
  wrong_address,  // not for this target, or a source that cannot be answered
  masked,         // not on the allow list or the mask list
};

// Whether a request is met at all. A frame that is not admitted is met with silence, for every
// command.
[[nodiscard]] Access admit(const wire::Header& header, const wire::MacAddress& port_mac,
                           const EngineConfig& config, std::span<const wire::MacAddress> mask_list);

// Whether the reservation keeps this source from an ATA command. Identify is open to all.
[[nodiscard]] bool reserved_against(const wire::MacAddress& source, std::uint8_t ata_command,
                                    std::span<const wire::MacAddress> reserve_list);

[[nodiscard]] bool is_listed(std::span<const wire::MacAddress> list, const wire::MacAddress& mac);

}  // namespace target::engine
