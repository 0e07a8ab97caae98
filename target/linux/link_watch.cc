// Tells when interfaces changed: see link_watch.h.
#include "target/linux/link_watch.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "target/linux/start_error.h"

namespace target::linux_shell {

LinkWatch::LinkWatch()
    : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = RTMGRP_LINK;
  if (!fd_.valid() || ::bind(fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    throw StartError(fmt::format("cannot watch the interfaces (rtnetlink): {}", errno_text(errno)));
  }
}

bool LinkWatch::drain() {
  bool changed = false;
  std::array<std::byte, 16384> buffer;
  for (;;) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count >= 0 || errno == ENOBUFS) {
      changed = true;  // ENOBUFS: messages were lost, so something changed
    } else if (errno != EINTR) {
      return changed;
    }
  }
}

}  // namespace target::linux_shell
