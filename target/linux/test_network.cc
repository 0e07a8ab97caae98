// For tests: a network of their own: see test_network.h.
#include "target/linux/test_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "target/linux/start_error.h"

namespace target::linux_shell::testing {
namespace {

constexpr std::uint16_t kEtherTypeAoe = 0x88A2;
constexpr std::size_t kEthernetBytesMin = 60;

std::optional<std::string> enter_namespace() {
  if (::unshare(CLONE_NEWNET) == 0) {
    return std::nullopt;
  }
  const auto uid = ::getuid();
  const auto gid = ::getgid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return fmt::format("no network namespace: {}", errno_text(errno));
  }
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << fmt::format("0 {} 1\n", uid);
  std::ofstream("/proc/self/gid_map") << fmt::format("0 {} 1\n", gid);
  return std::nullopt;
}

void put(std::vector<std::byte>& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) {
    out.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

std::vector<std::uint8_t> ata_argument(std::uint8_t flags, std::uint8_t sectors,
                                       std::uint8_t command, std::uint64_t lba) {
  std::vector<std::uint8_t> out = {flags, 0, sectors, command};
  for (int i = 0; i < 6; ++i) {
    out.push_back(static_cast<std::uint8_t>(lba >> (8 * i)));
  }
  out.resize(12);
  return out;
}

}  // namespace

std::optional<std::string> enter_test_network(std::uint32_t mtu) {
  if (auto reason = enter_namespace()) {
    return reason;
  }
  const auto pair = "ip link add tgt0 type veth peer name ini0 2>&1";
  if (std::system(pair) != 0) {  // NOLINT(cert-env33-c): a test, a fixed command
    return "no veth pair: ip link add failed";
  }
  ip(fmt::format("link set tgt0 mtu {}", mtu));
  ip(fmt::format("link set ini0 mtu {}", mtu));
  ip("link set tgt0 up");
  ip("link set ini0 up");
  return std::nullopt;
}

void ip(const std::string& arguments) {
  const int result = std::system(("ip " + arguments).c_str());  // NOLINT(cert-env33-c)
  ASSERT_EQ(result, 0) << "ip " << arguments;
}

InterfaceFacts facts_of(const std::string& name) {
  const auto facts = look_up_interface(name);
  EXPECT_TRUE(facts.has_value()) << name;
  return facts.value_or(InterfaceFacts{});
}

RawPort::RawPort(const std::string& interface_name)
    : facts_(facts_of(interface_name)),
      fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(kEtherTypeAoe))) {
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_protocol = htons(kEtherTypeAoe);
  local.sll_ifindex = facts_.index;
  const int room_bytes = 64 << 20;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room_bytes, sizeof room_bytes);
  EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local), 0)
      << errno_text(errno);
}

void RawPort::send(std::vector<std::byte> frame) const {
  std::memcpy(frame.data() + 6, facts_.mac.octets.data(), 6);
  send_as_is(frame);
}

void RawPort::send_as_is(std::span<const std::byte> frame) const {
  ASSERT_EQ(::send(fd_.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()))
      << errno_text(errno);
}

std::optional<std::vector<std::byte>> RawPort::receive_reply(int timeout_ms) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd waited{fd_.get(), POLLIN, 0};
    if (::poll(&waited, 1, std::max(0, static_cast<int>(left.count()))) <= 0) {
      return std::nullopt;
    }
    std::vector<std::byte> frame(65536);
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t count = ::recvfrom(fd_.get(), frame.data(), frame.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &length);
    constexpr std::byte kResponse{0x08};
    if (count > 24 && from.sll_pkttype != PACKET_OUTGOING && (frame[14] & kResponse) == kResponse) {
      frame.resize(static_cast<std::size_t>(count));
      return frame;
    }
  }
}

std::vector<std::byte> make_request(const RequestFields& fields,
                                    std::span<const std::uint8_t> argument) {
  std::vector<std::byte> out;
  for (const auto octet : fields.destination.octets) {
    put(out, octet, 1);
  }
  put(out, 0x020000000001, 6);
  put(out, kEtherTypeAoe, 2);
  put(out, 0x10U | fields.flags, 1);
  put(out, 0, 1);
  put(out, fields.shelf, 2);
  put(out, fields.slot, 1);
  put(out, fields.command, 1);
  put(out, fields.tag, 4);
  for (const auto one : argument) {
    put(out, one, 1);
  }
  out.resize(std::max(out.size(), kEthernetBytesMin));
  return out;
}

std::vector<std::byte> make_read(const RequestFields& fields, std::uint64_t lba,
                                 std::uint8_t sectors) {
  RequestFields ata = fields;
  ata.command = 0;
  return make_request(ata, ata_argument(0x40, sectors, 0x24, lba));
}

std::vector<std::byte> make_write(const RequestFields& fields, std::uint64_t lba,
                                  std::span<const std::byte> data) {
  RequestFields ata = fields;
  ata.command = 0;
  auto argument = ata_argument(0x41, static_cast<std::uint8_t>(data.size() / 512), 0x34, lba);
  for (const auto one : data) {
    argument.push_back(std::to_integer<std::uint8_t>(one));
  }
  return make_request(ata, argument);
}

std::uint32_t tag_of(std::span<const std::byte> frame) {
  std::uint32_t tag = 0;
  for (std::size_t i = 20; i < 24; ++i) {
    tag = (tag << 8) | std::to_integer<std::uint32_t>(frame[i]);
  }
  return tag;
}

}  // namespace target::linux_shell::testing
