// Query config, MAC mask list and reserve/release as functions of the state.
#include "target/engine/lists.h"

#include <algorithm>

#include "target/engine/access.h"
#include "target/wire/parse.h"

namespace target::engine {

namespace {

constexpr std::size_t kCountMax = 255;  // the count is one byte

using MacList = std::vector<wire::MacAddress>;

bool is_prefix(std::span<const std::byte> prefix, std::span<const std::byte> whole) {
  return prefix.size() <= whole.size() && std::equal(prefix.begin(), prefix.end(), whole.begin());
}

ConfigOutcome refuse_config(wire::ErrorCode error) {
  ConfigOutcome outcome;
  outcome.error = error;
  outcome.well_formed = error != wire::ErrorCode::bad_argument;
  return outcome;
}

ConfigOutcome set_string(const PersistentState& state, std::span<const std::byte> string) {
  ConfigOutcome outcome;
  outcome.is_write = true;
  if (!std::equal(string.begin(), string.end(), state.config_string.begin(),
                  state.config_string.end())) {
    outcome.next = state;
    outcome.next->config_string.assign(string.begin(), string.end());
  }
  return outcome;
}

// One directive; the MError that it ends with.
std::uint8_t apply_directive(MacList& list, std::uint8_t command, const wire::MacAddress& mac,
                             std::size_t limit) {
  switch (command) {
    case wire::dcmd::kNothing:
      return wire::merror::kNone;
    case wire::dcmd::kAdd:
      if (is_listed(list, mac)) {
        return wire::merror::kNone;
      }
      if (list.size() >= limit) {
        return wire::merror::kListFull;
      }
      list.push_back(mac);
      return wire::merror::kNone;
    case wire::dcmd::kDelete:
      list.erase(std::remove(list.begin(), list.end(), mac), list.end());
      return wire::merror::kNone;
    default:
      return wire::merror::kBadDirective;
  }
}

}  // namespace

ListLimits list_limits(std::uint16_t mtu_min) {
  const std::size_t frame_bytes = wire::kEthernetHeaderBytes + mtu_min;
  return {
      std::min(wire::kConfigStringBytesMax, frame_bytes - wire::kConfigArgumentEnd),
      std::min(kCountMax, (frame_bytes - wire::kMaskArgumentEnd) / wire::kMaskDirectiveBytes),
      std::min(kCountMax, (frame_bytes - wire::kReserveArgumentEnd) / wire::kMacBytes),
  };
}

ConfigOutcome apply_config(const PersistentState& state, const wire::ConfigRequest& request,
                           std::size_t string_bytes_max) {
  const bool reads = request.ccmd == wire::ccmd::kRead;
  // The length of a read is nobody's business; everywhere else a string that is too long, or longer
  // than its frame, is a bad argument.
  if (request.ccmd > wire::ccmd::kForceSet || (!reads && !request.string_fits)) {
    return refuse_config(wire::ErrorCode::bad_argument);
  }
  const bool sets = request.ccmd == wire::ccmd::kSet || request.ccmd == wire::ccmd::kForceSet;
  if (sets && request.string.size() > string_bytes_max) {
    return refuse_config(wire::ErrorCode::bad_argument);
  }
  const std::span<const std::byte> present = state.config_string;
  const bool equal = request.string.size() == present.size() && is_prefix(request.string, present);
  ConfigOutcome outcome;
  switch (request.ccmd) {
    case wire::ccmd::kTest:
      outcome.answer = equal;
      return outcome;
    case wire::ccmd::kTestPrefix:
      outcome.answer = is_prefix(request.string, present);
      return outcome;
    case wire::ccmd::kSet:
      // A set to the string that is there already is good: most targets say so, and the repetition
      // of a set whose reply was lost must not fail.
      if (!present.empty() && !equal) {
        return refuse_config(wire::ErrorCode::config_string_present);
      }
      return set_string(state, request.string);
    case wire::ccmd::kForceSet:
      return set_string(state, request.string);
    default:
      return outcome;
  }
}

MaskOutcome apply_mask(const PersistentState& state, const wire::MaskRequest& request,
                       std::size_t limit) {
  MaskOutcome outcome;
  if (request.mcmd == wire::mcmd::kRead) {
    return outcome;
  }
  if (request.mcmd != wire::mcmd::kEdit || !request.directives_fit) {
    outcome.error = wire::ErrorCode::bad_argument;
    return outcome;
  }
  MacList list = state.mask_list;
  for (std::uint8_t i = 0; i < request.directives; ++i) {
    const auto directive = request.bytes.subspan(i * wire::kMaskDirectiveBytes);
    outcome.merror = apply_directive(list, static_cast<std::uint8_t>(directive[1]),
                                     wire::load_mac(directive, 2), limit);
    if (outcome.merror != wire::merror::kNone) {
      outcome.bad_directive = i;
      break;
    }
  }
  if (list != state.mask_list) {
    outcome.next = state;
    outcome.next->mask_list = std::move(list);
  }
  return outcome;
}

ReserveOutcome apply_reserve(const PersistentState& state, const wire::ReserveRequest& request,
                             const wire::MacAddress& source, std::size_t limit) {
  ReserveOutcome outcome;
  if (request.rcmd == wire::rcmd::kRead) {
    return outcome;
  }
  if (request.rcmd > wire::rcmd::kForceSet || !request.addresses_fit || request.addresses > limit) {
    outcome.error = wire::ErrorCode::bad_argument;
    return outcome;
  }
  if (request.rcmd == wire::rcmd::kSet && !state.reserve_list.empty() &&
      !is_listed(state.reserve_list, source)) {
    outcome.error = wire::ErrorCode::target_reserved;
    return outcome;
  }
  MacList list(request.addresses);
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i] = wire::load_mac(request.bytes, i * wire::kMacBytes);
  }
  if (list != state.reserve_list) {
    outcome.next = state;
    outcome.next->reserve_list = std::move(list);
  }
  return outcome;
}

}  // namespace target::engine
