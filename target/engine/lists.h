// What a target is told to remember: config string, MAC mask list, reserve list. Each function
// takes the state as it is and a request, and says what the state becomes and what is answered.
// Stores nothing, and knows no disk, session or frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "target/engine/values.h"
#include "target/wire/aoe.h"

namespace target::engine {

// How many addresses a list may have, and how many bytes the config string: the reply must fit the
// smallest port.
struct ListLimits {
  std::size_t config_bytes = 0;
  std::size_t mask = 0;
  std::size_t reserve = 0;
};
[[nodiscard]] ListLimits list_limits(std::uint16_t mtu_min);

// next: the whole new state, when the request changes it.
struct ConfigOutcome {
  bool answer = true;  // a test that does not match is met with silence
  bool well_formed = true;
  bool is_write = false;  // a set or force set that was accepted, changed or not
  wire::ErrorCode error = wire::ErrorCode::none;
  std::optional<PersistentState> next;
};
[[nodiscard]] ConfigOutcome apply_config(const PersistentState& state,
                                         const wire::ConfigRequest& request,
                                         std::size_t string_bytes_max);

struct MaskOutcome {
  wire::ErrorCode error = wire::ErrorCode::none;
  std::uint8_t merror = 0;
  std::uint8_t bad_directive = 0;  // its index, when merror is set
  std::optional<PersistentState> next;
};
[[nodiscard]] MaskOutcome apply_mask(const PersistentState& state, const wire::MaskRequest& request,
                                     std::size_t limit);

struct ReserveOutcome {
  wire::ErrorCode error = wire::ErrorCode::none;
  std::optional<PersistentState> next;
};
[[nodiscard]] ReserveOutcome apply_reserve(const PersistentState& state,
                                           const wire::ReserveRequest& request,
                                           const wire::MacAddress& source, std::size_t limit);

}  // namespace target::engine
