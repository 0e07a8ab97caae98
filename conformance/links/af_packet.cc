// A Link on a network interface.

#include "conformance/links/af_packet.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

namespace conformance::links {

namespace {
constexpr uint16_t kAoeEtherType = 0x88a2;
constexpr int kReceiveBufferBytes = 16
                                    << 20;  // a burst of 1,000 jumbo replies must not be lost here
constexpr size_t kFrameBytesMax = 65536;

int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t.tv_sec * kNsPerSecond + t.tv_nsec;
}

std::string reason() {
  return std::strerror(errno);
}

// Nothing is known of an interface of this name: which there are.
[[noreturn]] void no_such_interface(const std::string& interface) {
  std::string list;
  if (struct if_nameindex* all = if_nameindex(); all != nullptr) {
    for (const struct if_nameindex* i = all; i->if_index != 0; ++i) {
      list += (list.empty() ? "" : ", ") + std::string(i->if_name);
    }
    if_freenameindex(all);
  }
  throw LinkError(fmt::format("there is no interface '{}' here; there are: {}", interface,
                              list.empty() ? "none" : list));
}

// Of what fits the buffer.
size_t hash_of(BytesView frame) {
  const size_t size = std::min(frame.size(), kFrameBytesMax);
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(frame.data()), size});
}

// AoE's frames, and those that have no EtherType at all: some targets answer with a frame of zeros.
// Our own are nobody's answer.
void hear_aoe_and_zeros(int fd) {
  constexpr uint32_t ether_type_at = 12;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ether_type_at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAoeEtherType, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffffU),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter{std::size(program), program};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0) {
    throw LinkError(fmt::format("packet filter: {}", reason()));
  }
  // Best effort: what goes out is passed over in receive as well.
  constexpr int on = 1;
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
}

ifreq request_for(const std::string& interface) {
  ifreq r{};
  if (interface.size() >= sizeof r.ifr_name) {
    throw LinkError(fmt::format("interface '{}': the name is too long", interface));
  }
  std::memcpy(r.ifr_name, interface.data(), interface.size());
  return r;
}
}  // namespace

AfPacketLink::AfPacketLink(const std::string& interface)
    : interface_(interface), buffer_(kFrameBytesMax) {
  ifreq r = request_for(interface);
  if (if_nametoindex(interface.c_str()) == 0) {
    no_such_interface(interface);
  }
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    throw LinkError(
        errno == EPERM || errno == EACCES
            ? "a raw socket needs CAP_NET_RAW: run as root, or give it to the program once with "
              "`setcap cap_net_raw+ep` and its path"
            : fmt::format("raw socket: {}", reason()));
  }
  try {
    if (ioctl(fd_, SIOCGIFINDEX, &r) < 0) {
      throw LinkError(fmt::format("interface '{}': {} (see `ip link`)", interface, reason()));
    }
    const int index = r.ifr_ifindex;
    if (ioctl(fd_, SIOCGIFFLAGS, &r) < 0 || (r.ifr_flags & IFF_UP) == 0) {
      throw LinkError(fmt::format("interface '{0}' is down (ip link set {0} up)", interface));
    }
    loops_back_ = (r.ifr_flags & IFF_LOOPBACK) != 0;
    if (ioctl(fd_, SIOCGIFMTU, &r) < 0) {
      throw LinkError(fmt::format("interface '{}': no MTU: {}", interface, reason()));
    }
    mtu_ = static_cast<size_t>(r.ifr_mtu);
    if (ioctl(fd_, SIOCGIFHWADDR, &r) < 0) {
      throw LinkError(fmt::format("interface '{}': no address: {}", interface, reason()));
    }
    std::memcpy(mac_.data(), r.ifr_hwaddr.sa_data, mac_.size());

    // Best effort: FORCE needs CAP_NET_ADMIN, the plain option is capped by net.core.rmem_max.
    if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes,
                   sizeof kReceiveBufferBytes) < 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
    }
    hear_aoe_and_zeros(fd_);
    packet_mreq membership{};
    membership.mr_ifindex = index;
    membership.mr_type = PACKET_MR_PROMISC;
    if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0) {
      throw LinkError(fmt::format("interface '{}': promiscuous mode: {}", interface, reason()));
    }
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = index;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
      throw LinkError(fmt::format("interface '{}': bind: {}", interface, reason()));
    }
  } catch (...) {
    close(fd_);
    throw;
  }
  clock_offset_ns_ = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
}

AfPacketLink::~AfPacketLink() {
  close(fd_);
}

int64_t AfPacketLink::now_ns() {
  return clock_ns(CLOCK_MONOTONIC) + clock_offset_ns_;
}

// A queue that is full has room again in a moment. What stays full is a discipline that drops, or a
// peer whose MTU is smaller: a veth answers ENOBUFS then, for ever, and is writable all the while.
void AfPacketLink::send(BytesView frame) {
  constexpr int64_t pauses_ns[] = {100 * kNsPerUs, 1 * kNsPerMs, 4 * kNsPerMs};
  size_t tries = last_refused_ ? std::size(pauses_ns) : 0;
  for (;;) {
    if (::send(fd_, frame.data(), frame.size(), 0) >= 0) {
      last_refused_ = false;
      if (loops_back_) {
        looping_.insert(hash_of(frame));
      }
      return;
    }
    const int error = errno;
    if (error == ENXIO || error == ENODEV || error == EBADF) {
      throw LinkError(fmt::format("interface '{}' has vanished", interface_));
    }
    const bool full = error == EAGAIN || error == ENOBUFS || error == EINTR;
    if (!full || tries == std::size(pauses_ns)) {
      lose(frame.size(), error);
      return;
    }
    const timespec pause{0, pauses_ns[tries++]};
    nanosleep(&pause, nullptr);  // a signal ends it early, and the tries stay bounded
  }
}

void AfPacketLink::lose(size_t bytes, int error) {
  ++not_taken_.frames;
  last_refused_ = true;
  const std::string thing =
      fmt::format("interface '{}' did not take a frame of {} bytes", interface_, bytes);
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case EINTR:
      not_taken_.last =
          thing +
          ": its queue drops it, or the other end's MTU is smaller (compare `ip link` "
          "on both sides)";
      break;
    case ENETDOWN:
      not_taken_.last = fmt::format("{0}: it is down (ip link set {0} up)", interface_);
      break;
    case EMSGSIZE:
      not_taken_.last = thing + fmt::format(": its MTU is {}", mtu_);
      break;
    default:
      not_taken_.last = thing + ": " + std::strerror(error);
  }
}

bool AfPacketLink::is_up() {
  ifreq r = request_for(interface_);
  if (ioctl(fd_, SIOCGIFFLAGS, &r) < 0) {
    return false;
  }
  return (r.ifr_flags & IFF_UP) != 0 && (r.ifr_flags & IFF_RUNNING) != 0;
}

std::optional<ReceivedFrame> AfPacketLink::receive(int64_t deadline_ns) {
  for (;;) {
    sockaddr_ll from{};
    socklen_t from_size = sizeof from;
    const ssize_t n = recvfrom(fd_, buffer_.data(), buffer_.size(), 0,
                               reinterpret_cast<sockaddr*>(&from), &from_size);
    if (n >= 0) {
      if (from.sll_pkttype == PACKET_OUTGOING) {
        continue;
      }
      if (loops_back_) {  // what we said ourselves is nobody's answer
        const auto own = looping_.find(hash_of(BytesView(buffer_).first(static_cast<size_t>(n))));
        if (own != looping_.end()) {
          looping_.erase(own);
          continue;
        }
      }
      return ReceivedFrame{Bytes(buffer_.begin(), buffer_.begin() + n), now_ns()};
    }
    if (errno == EINTR) {
      return std::nullopt;
    }
    if (errno == ENXIO || errno == ENODEV) {
      throw LinkError(fmt::format("interface '{}' has vanished", interface_));
    }
    // ENETDOWN is told once when the interface goes down; the socket hears again when it is up.
    if (errno != EAGAIN && errno != ENETDOWN) {
      throw LinkError(fmt::format("interface '{}': receiving: {}", interface_, reason()));
    }
    const int64_t left_ns = deadline_ns - now_ns();
    if (left_ns <= 0) {
      return std::nullopt;
    }
    const timespec wait{left_ns / kNsPerSecond, left_ns % kNsPerSecond};
    pollfd p{fd_, POLLIN, 0};
    if (ppoll(&p, 1, &wait, nullptr) < 0 && errno == EINTR) {
      return std::nullopt;
    }
  }
}

}  // namespace conformance::links
