// A Witness on a network interface.

#include "conformance/links/port_watch.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "conformance/links/link.h"
#include "conformance/observer/decode.h"

namespace conformance::links {

using observer::BytesView;

namespace {
constexpr int kReceiveBufferBytes = 16 << 20;
constexpr size_t kHeadBytes = 64;  // of a frame; the header is all that is looked at

void hear_aoe(int fd) {
  constexpr uint32_t ether_type_at = 12;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ether_type_at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, observer::kEtherType, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kHeadBytes),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog filter{std::size(program), program};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}
}  // namespace

PortWatch::PortWatch(const std::string& interface) : buffer_(kHeadBytes) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) {
    throw LinkError(fmt::format("there is no interface '{}' here", interface));
  }
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    throw LinkError(fmt::format("raw socket: {}", std::strerror(errno)));
  }
  hear_aoe(fd_);
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes,
                 sizeof kReceiveBufferBytes) < 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);  // what goes out is heard with this one only
  address.sll_ifindex = static_cast<int>(index);
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    const int error = errno;
    close(fd_);
    throw LinkError(fmt::format("interface '{}': bind: {}", interface, std::strerror(error)));
  }
}

PortWatch::~PortWatch() {
  close(fd_);
}

void PortWatch::listen() {
  for (;;) {
    sockaddr_ll from{};
    socklen_t from_size = sizeof from;
    const ssize_t n = recvfrom(fd_, buffer_.data(), buffer_.size(), 0,
                               reinterpret_cast<sockaddr*>(&from), &from_size);
    if (n < 0) {
      break;
    }
    counts_.saw(BytesView(buffer_.data(), static_cast<size_t>(n)),
                from.sll_pkttype == PACKET_OUTGOING);
  }
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0 || stats.tp_drops > 0) {
    missed_ = true;
  }
}

std::vector<AnsweredTwice> PortWatch::take() {
  listen();
  auto out = counts_.take();
  if (missed_) {  // a question, perhaps
    out.clear();
    missed_ = false;
  }
  return out;
}

}  // namespace conformance::links
