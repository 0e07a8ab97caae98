// How a report speaks of addresses, requests and bytes. It must never know what is right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "conformance/observer/frame.h"

namespace conformance::observer {

struct Request;

// "52:54:00:12:34:56"; "e1.1", and "e1.1@7" in VLAN 7.
std::string mac_text(std::uint64_t mac);
std::string vlan_text(VlanId vlan);  // "7", "100.20"; empty without one
std::string address_text(VlanId vlan, std::uint16_t shelf, std::uint8_t slot);
// "read of 2 sectors at LBA 100", "config force set", ...
std::string request_text(const Request& request);
// Bytes as text; what cannot be shown as \xNN.
std::string printable(std::string_view bytes);

}  // namespace conformance::observer
