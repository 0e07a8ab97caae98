// recvmmsg and sendmmsg on a packet socket.

#include "conformance/initiator/frame_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "conformance/links/af_packet.h"
#include "conformance/observer/fields.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

namespace conformance::initiator {

namespace {

constexpr int kReceiveBufferBytes = 32 << 20;
constexpr size_t kFrameBytesMax = 65536;
constexpr int kSendWaitMs = 100;

std::string reason() {
  return std::strerror(errno);
}

// In the kernel, so that a busy wire's other frames cost us nothing: for us or for everybody, and
// with R set, or clear. (The EtherType is the socket's.)
void filter(int fd, const Mac& own, Takes takes) {
  const auto high = static_cast<uint32_t>(observer::load_be(own, 0, 4));
  const auto low = static_cast<uint32_t>(observer::load_be(own, 4, 2));
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14),
      takes == Takes::replies ? sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x08, 0, 6)
                              : sock_filter BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x08, 6, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0x7fffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  // Best effort: what comes in is looked at again anyway.
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

}  // namespace

InterfaceFacts interface_facts(const std::string& interface) {
  // It has the words for everything that can be wrong with an interface.
  const links::AfPacketLink link(interface);
  return {if_nametoindex(interface.c_str()), link.mac(), link.mtu()};
}

struct FrameSocket::Batch {
  explicit Batch(size_t frame_bytes) : room(kBatch * frame_bytes) {
    for (size_t i = 0; i < kBatch; ++i) {
      in[i] = {room.data() + i * frame_bytes, frame_bytes};
      headers[i] = {};
      headers[i].msg_hdr.msg_iov = &in[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      sends[i] = {};
      sends[i].msg_hdr.msg_iov = &out[i];
      sends[i].msg_hdr.msg_iovlen = 1;
    }
  }
  std::vector<uint8_t> room;
  std::array<iovec, kBatch> in{};
  std::array<iovec, kBatch> out{};
  std::array<mmsghdr, kBatch> headers{};
  std::array<mmsghdr, kBatch> sends{};
};

FrameSocket::FrameSocket(const std::string& interface, const Mac& own, Takes takes)
    : interface_(interface) {
  const InterfaceFacts facts = interface_facts(interface);
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    throw LinkError(fmt::format("raw socket: {}", reason()));
  }
  const int on = 1;
  setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes,
                 sizeof kReceiveBufferBytes) < 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  }
  filter(fd_, own, takes);
  packet_mreq membership{};
  membership.mr_ifindex = static_cast<int>(facts.index);
  if (own != facts.mac) {  // the interface is to listen to one more address
    membership.mr_type = PACKET_MR_UNICAST;
    membership.mr_alen = static_cast<unsigned short>(own.size());
    std::copy(own.begin(), own.end(), membership.mr_address);
    if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0) {
      membership.mr_type = PACKET_MR_PROMISC;
      setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership);
    }
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(observer::kEtherType);
  address.sll_ifindex = static_cast<int>(facts.index);
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    const std::string why = reason();
    close(fd_);
    throw LinkError(fmt::format("interface '{}': bind: {}", interface, why));
  }
  batch_ = new Batch(std::min(kFrameBytesMax, facts.mtu + 64));
}

FrameSocket::~FrameSocket() {
  delete batch_;
  close(fd_);
}

const std::vector<BytesView>& FrameSocket::receive() {
  views_.clear();
  const int n = recvmmsg(fd_, batch_->headers.data(), kBatch, MSG_DONTWAIT, nullptr);
  if (n < 0) {
    // ENETDOWN is told once; the interface may come up again.
    if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) {
      throw LinkError(fmt::format("interface '{}': receiving: {}", interface_, reason()));
    }
    if (errno == ENETDOWN && if_nametoindex(interface_.c_str()) == 0) {
      throw LinkError(fmt::format("interface '{}' is gone", interface_));
    }
    return views_;
  }
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    views_.emplace_back(static_cast<const uint8_t*>(batch_->in[i].iov_base),
                        batch_->headers[i].msg_len);
  }
  return views_;
}

void FrameSocket::send(const std::vector<BytesView>& frames) {
  size_t done = 0;
  while (done < frames.size()) {
    const size_t count = std::min(kBatch, frames.size() - done);
    for (size_t i = 0; i < count; ++i) {
      // The kernel only reads it.
      batch_->out[i] = {const_cast<uint8_t*>(frames[done + i].data()), frames[done + i].size()};
    }
    const int n = sendmmsg(fd_, batch_->sends.data(), static_cast<unsigned>(count), 0);
    if (n > 0) {
      done += static_cast<size_t>(n);
      continue;
    }
    if (errno == EINTR) {
      continue;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
      pollfd p{fd_, POLLOUT, 0};
      if (errno == EAGAIN && poll(&p, 1, kSendWaitMs) > 0) {
        continue;
      }
    } else if (errno == ENXIO || errno == ENODEV) {
      throw LinkError(fmt::format("interface '{}' is gone", interface_));
    }
    ++unsent_;
    ++done;
  }
}

uint64_t FrameSocket::missed() {
  tpacket_stats statistics{};
  socklen_t size = sizeof statistics;
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) == 0) {
    missed_ += statistics.tp_drops;
  }
  return missed_;
}

// ------------------------------------------------------------------ an address of our own

bool OwnAddress::hold(unsigned interface_index) {
  // A name in the network namespace's own list of socket names: gone when the process is.
  lock_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (lock_ < 0) {
    throw LinkError(fmt::format("UNIX socket: {}", reason()));
  }
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text =
      fmt::format("aoe-initiator/{}/{}", interface_index, observer::to_string(mac_));
  std::copy(text.begin(), text.end(), name.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  if (bind(lock_, reinterpret_cast<sockaddr*>(&name), size) == 0) {
    return true;
  }
  close(lock_);
  lock_ = -1;
  return false;
}

OwnAddress::OwnAddress(const InterfaceFacts& facts) {
  constexpr uint8_t locally_administered = 0x02, multicast = 0x01, ours = 0xae;
  constexpr unsigned processes_max = 256;
  for (unsigned i = 0; i < processes_max; ++i) {
    mac_ = facts.mac;
    mac_[0] = static_cast<uint8_t>((mac_[0] | locally_administered) & ~multicast);
    mac_[2] = static_cast<uint8_t>(mac_[2] ^ ours);
    mac_[3] = static_cast<uint8_t>(mac_[3] ^ i);
    if (hold(facts.index)) {
      return;
    }
  }
  throw LinkError(fmt::format("{} initiators run on this interface already", processes_max));
}

OwnAddress::OwnAddress(const InterfaceFacts& facts, const Mac& wanted) : mac_(wanted) {
  if (!hold(facts.index)) {
    throw LinkError(fmt::format(
        "address {}: another initiator on this interface asks from it; two would take each "
        "other's answers",
        observer::to_string(wanted)));
  }
}

OwnAddress::~OwnAddress() {
  if (lock_ >= 0) {
    close(lock_);
  }
}

}  // namespace conformance::initiator
