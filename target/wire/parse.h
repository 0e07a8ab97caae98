// Bytes -> values. Owns the reading of a request frame; keeps no state, allocates nothing, and
// knows nothing of who may ask what.
#pragma once

#include <cstddef>
#include <span>

#include "target/wire/aoe.h"

namespace target::wire {

// What a target that receives `frame` has been asked. The spans of the result point into frame. A
// frame's own lengths are believed only as far as its bytes go (AoEr11: lengths come from fields;
// Ethernet pads). extensions: whether command 0x23 exists.
[[nodiscard]] Parsed parse(std::span<const std::byte> frame, bool extensions);

[[nodiscard]] MacAddress load_mac(std::span<const std::byte> bytes, std::size_t offset);

}  // namespace target::wire
