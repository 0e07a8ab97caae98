// AF_PACKET, promiscuous, without what we send ourselves.
#include "sim/live/interface.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

// linux/if_ether.h and net/ethernet.h do not live together everywhere.
#include <linux/if_ether.h>

namespace sim::live {
namespace {

constexpr std::size_t kVlanTagBytes = 4;
constexpr std::size_t kAddressesBytes = 12;
constexpr std::size_t kFrameRoomBytes = 65'536;
constexpr int kReceiveBufferBytes = 16 << 20;

#ifndef PACKET_IGNORE_OUTGOING
constexpr int PACKET_IGNORE_OUTGOING = 23;
#endif

[[noreturn]] void fail(const std::string& name, std::string_view what, int error) {
  if (error == EPERM || error == EACCES) {
    throw std::runtime_error(fmt::format(
        "{}: {}: not permitted; run as root or with the capability cap_net_raw", name, what));
  }
  throw std::runtime_error(fmt::format("{}: {}: {}", name, what, std::strerror(error)));
}

}  // namespace

Interface::Interface(const std::string& name) : name_(name), buffer_(kFrameRoomBytes) {
  const unsigned index = name.size() < IFNAMSIZ ? ::if_nametoindex(name.c_str()) : 0;
  if (index == 0) {
    throw std::runtime_error(
        fmt::format("there is no interface \"{}\"; \"ip link\" lists them", name));
  }
  try {
    open(index);
  } catch (...) {
    if (socket_ >= 0) {
      ::close(socket_);
    }
    throw;
  }
}

void Interface::open(unsigned index) {
  socket_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_ < 0) {
    fail(name_, "packet socket", errno);
  }
  ifreq request{};
  std::copy(name_.begin(), name_.end(), request.ifr_name);
  if (::ioctl(socket_, SIOCGIFHWADDR, &request) != 0) {
    fail(name_, "address", errno);
  }
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    throw std::runtime_error(fmt::format("{} is no Ethernet interface", name_));
  }
  if (::ioctl(socket_, SIOCGIFFLAGS, &request) != 0) {
    fail(name_, "flags", errno);
  }
  if ((request.ifr_flags & IFF_UP) == 0) {
    throw std::runtime_error(fmt::format("{0} is down: ip link set {0} up", name_));
  }
  if (::ioctl(socket_, SIOCGIFMTU, &request) != 0) {
    fail(name_, "MTU", errno);
  }
  mtu_ = static_cast<std::size_t>(request.ifr_mtu);
  const int on = 1;
  if (::setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) {
    fail(name_, "PACKET_IGNORE_OUTGOING (Linux 4.20)", errno);
  }
  if (::setsockopt(socket_, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0) {
    fail(name_, "PACKET_AUXDATA", errno);
  }
  if (::setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes,
                   sizeof kReceiveBufferBytes) != 0) {
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  }
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = static_cast<int>(index);
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (::setsockopt(socket_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) !=
      0) {
    fail(name_, "promiscuous mode", errno);
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail(name_, "bind", errno);
  }
}

Interface::~Interface() {
  ::close(socket_);
}

std::optional<std::span<const std::byte>> Interface::receive() {
  // Room before the frame: a VLAN tag that the kernel took out is put back.
  iovec part{buffer_.data() + kVlanTagBytes, buffer_.size() - kVlanTagBytes};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(tpacket_auxdata))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket_, &message, 0);
  if (size < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      return std::nullopt;
    }
    fail(name_, "receive", errno);
  }
  const std::span<std::byte> frame(buffer_.data() + kVlanTagBytes, static_cast<std::size_t>(size));
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != PACKET_AUXDATA || frame.size() < kAddressesBytes) {
    return frame;
  }
  tpacket_auxdata aux{};
  std::memcpy(&aux, CMSG_DATA(header), sizeof aux);
  if ((aux.tp_status & TP_STATUS_VLAN_VALID) == 0) {
    return frame;
  }
  const bool typed = (aux.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
  const std::uint16_t type = htons(typed ? aux.tp_vlan_tpid : ETH_P_8021Q);
  const std::uint16_t tag = htons(aux.tp_vlan_tci);
  std::memmove(buffer_.data(), frame.data(), kAddressesBytes);
  std::memcpy(buffer_.data() + kAddressesBytes, &type, sizeof type);
  std::memcpy(buffer_.data() + kAddressesBytes + sizeof type, &tag, sizeof tag);
  return std::span<const std::byte>(buffer_.data(), frame.size() + kVlanTagBytes);
}

bool Interface::send(std::span<const std::byte> frame) const {
  return ::send(socket_, frame.data(), frame.size(), MSG_DONTWAIT) ==
         static_cast<ssize_t>(frame.size());
}

std::size_t Interface::frame_bytes_max() const {
  return mtu_ + ETH_HLEN;
}

std::uint64_t Interface::missed() {
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  if (::getsockopt(socket_, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) {
    missed_ += stats.tp_drops;  // the kernel counts anew after each look
  }
  return missed_;
}

}  // namespace sim::live
