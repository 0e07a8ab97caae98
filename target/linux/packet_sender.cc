// Sends frames on one interface, in order: see packet_sender.h.
#include "target/linux/packet_sender.h"

#include <fmt/format.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

constexpr std::size_t kFramesPerCall = 64;
constexpr std::size_t kPiecesPerFrame = 3;  // destination, source, the rest
constexpr std::size_t kAddressBytes = 6;
constexpr int kSendBufferBytes = 4 << 20;  // the kernel caps it at net.core.wmem_max

iovec piece(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

}  // namespace

int SendCalls::send(int fd, std::span<const std::span<const std::byte>> frames,
                    std::span<const std::byte> source) {
  std::array<mmsghdr, kFramesPerCall> messages{};
  std::array<iovec, kFramesPerCall * kPiecesPerFrame> pieces;
  const std::size_t count = std::min(frames.size(), kFramesPerCall);
  for (std::size_t i = 0; i < count; ++i) {
    iovec* first = &pieces[i * kPiecesPerFrame];
    auto& header = messages[i].msg_hdr;
    header.msg_iov = first;
    if (source.empty()) {
      first[0] = piece(frames[i]);
      header.msg_iovlen = 1;
    } else {
      first[0] = piece(frames[i].first(kAddressBytes));
      first[1] = piece(source);
      first[2] = piece(frames[i].subspan(2 * kAddressBytes));
      header.msg_iovlen = kPiecesPerFrame;
    }
  }
  const int sent =
      ::sendmmsg(fd, messages.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent >= 0 ? sent : -errno;
}

PacketSender::PacketSender(const std::string& interface_name, const InterfaceFacts& facts,
                           const wire::MacAddress& configured, SendCalls& calls)
    : calls_(calls) {
  // Protocol 0: this socket sends and never receives.
  fd_.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.valid()) {
    throw StartError(
        fmt::format("cannot open a packet socket to send on {}: {}: run as root, or "
                    "give the program CAP_NET_RAW",
                    interface_name, errno_text(errno)));
  }
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_ifindex = facts.index;
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    throw StartError(fmt::format("cannot bind to {}: {}: is the interface still there?",
                                 interface_name, errno_text(errno)));
  }
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
  if (facts.mac != configured) {
    source_.resize(kAddressBytes);
    std::memcpy(source_.data(), facts.mac.octets.data(), kAddressBytes);
  }
}

shell::SendResult PacketSender::send(std::span<const shell::FrameView> frames) {
  shell::SendResult result;
  while (result.taken < frames.size()) {
    const int sent = calls_.send(fd_.get(), frames.subspan(result.taken), source_);
    if (sent > 0) {
      result.taken += static_cast<std::size_t>(sent);
    } else if (sent == -EAGAIN) {
      result.stop = shell::SendStop::full;
      return result;
    } else if (sent == -ENOBUFS) {
      result.stop = shell::SendStop::not_now;
      return result;
    } else if (sent != -EINTR) {
      result.stop = shell::SendStop::lost_link;
      return result;
    }
  }
  return result;
}

}  // namespace target::linux_shell
