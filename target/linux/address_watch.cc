// Who else serves an address: see address_watch.h.
#include "target/linux/address_watch.h"

#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "target/linux/options.h"
#include "target/linux/start_error.h"
#include "target/wire/aoe.h"
#include "target/wire/bytes.h"
#include "target/wire/parse.h"

namespace target::linux_shell {
namespace {

constexpr std::size_t kShelfAt = 16;
constexpr std::size_t kSlotAt = 18;
constexpr std::size_t kQuestionBytes = 60;
constexpr std::uint8_t kVersion1 = 0x10;
// Frames looked at in one go: an interface full of them takes nobody's service.
constexpr int kFramesAtOnce = 16;

// Answers to query config, and nothing that wakes us for every frame of data.
UniqueFd open_socket(const InterfaceFacts& facts) {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return fd;
  }
  std::array<sock_filter, 8> filter{{
      {BPF_LD | BPF_H | BPF_ABS, 0, 0, 12},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 5, wire::kEtherType},
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, 14},
      {BPF_JMP | BPF_JSET | BPF_K, 0, 3, 0x08},
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, 19},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 1},
      {BPF_RET | BPF_K, 0, 0, 64},
      {BPF_RET | BPF_K, 0, 0, 0},
  }};
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  const int on = 1;
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_protocol = htons(wire::kEtherType);
  local.sll_ifindex = facts.index;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      ::setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
    fd.reset();
  }
  return fd;
}

}  // namespace

AddressWatch::AddressWatch(EventLoop& loop, std::vector<ServedAddress> served)
    : loop_(loop), served_(std::move(served)) {
  for (const ServedAddress& one : served_) {
    const bool there = std::any_of(sockets_.begin(), sockets_.end(), [&](const auto& socket) {
      return socket->interface_name == one.interface_name;
    });
    if (!there) {
      sockets_.push_back(std::make_unique<Socket>());
      sockets_.back()->interface_name = one.interface_name;
      open(*sockets_.back());
    }
  }
}

AddressWatch::~AddressWatch() {
  for (const auto& socket : sockets_) {
    close(*socket);
  }
}

void AddressWatch::open(Socket& socket) {
  const auto facts = look_up_interface(socket.interface_name);
  if (!facts) {
    return;
  }
  socket.facts = *facts;
  socket.fd = open_socket(*facts);
  if (!socket.fd.valid()) {
    spdlog::warn("{}: whether somebody else serves the same addresses cannot be watched: {}",
                 socket.interface_name, errno_text(errno));
    return;
  }
  socket.token =
      loop_.add(socket.fd.get(), EPOLLIN, [this, &socket](std::uint32_t) { on_frames(socket); });
}

void AddressWatch::close(Socket& socket) {
  if (socket.token != 0) {
    loop_.remove(socket.token);
    socket.token = 0;
  }
  socket.fd.reset();
}

void AddressWatch::look_at_interfaces() {
  for (const auto& socket : sockets_) {
    const auto facts = look_up_interface(socket->interface_name);
    if (facts && (!socket->fd.valid() || facts->index != socket->facts.index)) {
      close(*socket);
      open(*socket);
    }
  }
}

void AddressWatch::ask() {
  for (const ServedAddress& one : served_) {
    for (const auto& socket : sockets_) {
      if (socket->interface_name != one.interface_name || !socket->fd.valid()) {
        continue;
      }
      std::array<std::byte, kQuestionBytes> frame{};
      std::memset(frame.data(), 0xFF, 6);
      std::memcpy(frame.data() + 6, socket->facts.mac.octets.data(), 6);
      wire::store_be16(frame, 12, wire::kEtherType);
      frame[14] = std::byte{kVersion1};
      wire::store_be16(frame, kShelfAt, one.shelf);
      frame[kSlotAt] = std::byte{one.slot};
      frame[19] = std::byte{1};
      // Lost on a link that is down, as every frame.
      [[maybe_unused]] const ssize_t sent =
          ::send(socket->fd.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
}

void AddressWatch::on_frames(Socket& socket) {
  std::array<std::byte, 64> frame{};
  for (int i = 0; i < kFramesAtOnce; ++i) {
    const ssize_t count = ::recv(socket.fd.get(), frame.data(), frame.size(), MSG_DONTWAIT);
    if (count < static_cast<ssize_t>(kSlotAt) + 1) {
      return;
    }
    const std::span<const std::byte> bytes(frame);
    const Other other{socket.interface_name, wire::load_mac(bytes, 6),
                      wire::load_be16(bytes, kShelfAt),
                      std::to_integer<std::uint8_t>(frame[kSlotAt])};
    const bool ours = std::any_of(served_.begin(), served_.end(), [&](const ServedAddress& one) {
      return one.interface_name == other.interface_name && one.shelf == other.shelf &&
             one.slot == other.slot;
    });
    // Two interfaces of ours may be on one link.
    const bool mine = std::any_of(sockets_.begin(), sockets_.end(),
                                  [&](const auto& one) { return one->facts.mac == other.mac; });
    if (ours && !mine && told_.size() < kOthersToldMax && told_.insert(other).second) {
      spdlog::warn(
          "{} {}: {} serves this address as well, or somebody says so in its name: two "
          "targets of one address mix their data",
          export_name(other.shelf, other.slot), other.interface_name, format_mac(other.mac));
    }
  }
}

void AddressWatch::refuse_if_served() {
  const bool wanted = std::any_of(served_.begin(), served_.end(),
                                  [](const ServedAddress& one) { return one.exclusive; });
  const auto give_up = monotonic_now() + kExclusiveWait_ns;
  while (wanted && monotonic_now() < give_up) {
    std::vector<pollfd> waited;
    for (const auto& socket : sockets_) {
      waited.push_back({socket->fd.get(), POLLIN, 0});
    }
    constexpr int kStep_ms = 20;
    ::poll(waited.data(), waited.size(), kStep_ms);
    for (const auto& socket : sockets_) {
      if (socket->fd.valid()) {
        on_frames(*socket);
      }
    }
  }
  for (const ServedAddress& one : served_) {
    for (const Other& other : told_) {
      if (one.exclusive && one.interface_name == other.interface_name && one.shelf == other.shelf &&
          one.slot == other.slot) {
        throw StartError(fmt::format(
            "{} is served on {} by {} already, and exclusive is asked for: end that one, or choose "
            "another shelf or slot",
            export_name(one.shelf, one.slot), one.interface_name, format_mac(other.mac)));
      }
    }
  }
}

}  // namespace target::linux_shell
