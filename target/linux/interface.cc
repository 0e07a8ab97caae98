// What the kernel says about an Ethernet interface: see interface.h.
#include "target/linux/interface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "target/linux/fd.h"

namespace target::linux_shell {
namespace {

bool ask(int fd, unsigned long request, const std::string& name, ifreq& answer) {
  answer = {};
  std::memcpy(answer.ifr_name, name.data(), std::min(name.size(), sizeof answer.ifr_name - 1));
  return ::ioctl(fd, request, &answer) == 0;
}

// IFF_RUNNING follows the carrier up to a second late; the driver knows it now. A driver that does
// not say has one.
bool has_carrier(int fd, const std::string& name) {
  ethtool_value link{ETHTOOL_GLINK, 0};
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  request.ifr_data = reinterpret_cast<char*>(&link);
  return ::ioctl(fd, SIOCETHTOOL, &request) != 0 || link.data != 0;
}

}  // namespace

std::optional<InterfaceFacts> look_up_interface(const std::string& name) {
  // Any socket answers these; a UNIX one exists in every kernel and namespace.
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq answer{};
  InterfaceFacts facts;
  if (name.empty() || name.size() >= IFNAMSIZ || !ask(fd.get(), SIOCGIFINDEX, name, answer)) {
    return std::nullopt;
  }
  facts.index = answer.ifr_ifindex;
  if (!ask(fd.get(), SIOCGIFHWADDR, name, answer)) {
    return std::nullopt;
  }
  facts.ethernet = answer.ifr_hwaddr.sa_family == ARPHRD_ETHER;
  std::memcpy(facts.mac.octets.data(), answer.ifr_hwaddr.sa_data, facts.mac.octets.size());
  if (!ask(fd.get(), SIOCGIFMTU, name, answer)) {
    return std::nullopt;
  }
  facts.mtu = static_cast<std::uint32_t>(answer.ifr_mtu);
  if (!ask(fd.get(), SIOCGIFFLAGS, name, answer)) {
    return std::nullopt;
  }
  facts.up = (answer.ifr_flags & IFF_UP) != 0 && has_carrier(fd.get(), name);
  return facts;
}

std::vector<std::string> interface_names() {
  std::vector<std::string> names;
  struct if_nameindex* all = ::if_nameindex();
  for (auto* one = all; one != nullptr && one->if_name != nullptr; ++one) {
    if (std::strcmp(one->if_name, "lo") != 0) {
      names.emplace_back(one->if_name);
    }
  }
  if (all != nullptr) {
    ::if_freenameindex(all);
  }
  return names;
}

}  // namespace target::linux_shell
