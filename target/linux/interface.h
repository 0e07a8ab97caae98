// What the kernel says about an Ethernet interface, by name. It asks and remembers nothing; needs
// no privilege.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "target/wire/mac.h"

namespace target::linux_shell {

struct InterfaceFacts {
  int index = 0;
  wire::MacAddress mac;
  std::uint32_t mtu = 0;
  bool ethernet = false;
  bool up = false;  // administratively up and with a carrier
  bool operator==(const InterfaceFacts&) const = default;
};

// nullopt: there is no such interface.
std::optional<InterfaceFacts> look_up_interface(const std::string& name);

// The names of the interfaces that exist, but for the loopback.
std::vector<std::string> interface_names();

}  // namespace target::linux_shell
