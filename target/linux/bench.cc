// aoe-bench: keeps a number of reads or writes outstanding at a target and prints how many bytes
// went through in a second. For comparing two targets on the same link (target/bench); it is no
// judge of anything.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "target/linux/event_loop.h"
#include "target/linux/fd.h"
#include "target/linux/interface.h"

namespace {

using target::linux_shell::monotonic_now;

constexpr std::uint16_t kEtherTypeAoe = 0x88A2;
constexpr std::size_t kHeaderBytes = 36;  // Ethernet, AoE and ATA
constexpr std::size_t kFrameBytesMax = 65536;
constexpr std::int64_t kSecond_ns = 1'000'000'000;
constexpr int kLost_ms = 100;  // a reply that takes longer is taken for lost

struct Load {
  std::string interface_name;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  bool write = false;
  std::uint8_t sectors = 2;
  unsigned outstanding = 16;
  int seconds = 2;
  std::uint64_t lba_max = 8192;
};

target::linux_shell::UniqueFd open_port(const target::linux_shell::InterfaceFacts& facts) {
  target::linux_shell::UniqueFd fd(::socket(AF_PACKET, SOCK_RAW, htons(kEtherTypeAoe)));
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_protocol = htons(kEtherTypeAoe);
  local.sll_ifindex = facts.index;
  const int on = 1;
  const int room_bytes = 16 << 20;
  ::setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room_bytes, sizeof room_bytes);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    fd.reset();
  }
  return fd;
}

class Initiator {
 public:
  Initiator(const Load& load, const target::linux_shell::InterfaceFacts& facts)
      : load_(load), fd_(open_port(facts)), frame_(kHeaderBytes) {
    const auto& own = facts.mac.octets;
    frame_ = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    frame_.insert(frame_.end(), own.begin(), own.end());
    const std::array<std::uint8_t, 24> rest = {0x88,
                                               0xA2,
                                               0x10,
                                               0,
                                               static_cast<std::uint8_t>(load.shelf >> 8),
                                               static_cast<std::uint8_t>(load.shelf),
                                               load.slot,
                                               0,
                                               0,
                                               0,
                                               0,
                                               0,
                                               static_cast<std::uint8_t>(load.write ? 0x41 : 0x40),
                                               0,
                                               load.sectors,
                                               static_cast<std::uint8_t>(load.write ? 0x34 : 0x24)};
    frame_.insert(frame_.end(), rest.begin(), rest.end());
    frame_.resize(load.write ? kHeaderBytes + load.sectors * std::size_t{512} : 60, 0x6B);
    std::fill(frame_.begin() + 34, frame_.begin() + 36, 0);
    if (!load.write) {
      std::fill(frame_.begin() + 36, frame_.end(), 0);
    }
  }

  [[nodiscard]] bool open() const { return fd_.valid(); }

  // Replies to ATA commands in the time given; 0: the target does not answer.
  std::uint64_t run() {
    const auto end = monotonic_now() + load_.seconds * kSecond_ns;
    std::uint64_t replies = 0;
    for (unsigned i = 0; i < load_.outstanding; ++i) {
      send_next();
    }
    std::vector<std::uint8_t> reply(kFrameBytesMax);
    while (monotonic_now() < end) {
      pollfd waited{fd_.get(), POLLIN, 0};
      if (::poll(&waited, 1, kLost_ms) == 0) {
        send_next();
        continue;
      }
      ssize_t count = 0;
      while ((count = ::recv(fd_.get(), reply.data(), reply.size(), MSG_DONTWAIT)) > 0) {
        if (count >= static_cast<ssize_t>(kHeaderBytes) && reply[19] == 0 && reply[14] == 0x18) {
          std::copy_n(reply.begin() + 6, 6, frame_.begin());  // the target's address
          ++replies;
          send_next();
        }
      }
    }
    return replies;
  }

 private:
  void send_next() {
    ++tag_;
    for (std::size_t i = 0; i < 4; ++i) {
      frame_[20 + i] = static_cast<std::uint8_t>(tag_ >> (24 - 8 * i));
    }
    lba_ = lba_ + load_.sectors > load_.lba_max - load_.sectors ? 0 : lba_ + load_.sectors;
    for (std::size_t i = 0; i < 6; ++i) {
      frame_[28 + i] = static_cast<std::uint8_t>(lba_ >> (8 * i));
    }
    [[maybe_unused]] const ssize_t sent = ::send(fd_.get(), frame_.data(), frame_.size(), 0);
  }

  Load load_;
  target::linux_shell::UniqueFd fd_;
  std::vector<std::uint8_t> frame_;
  std::uint32_t tag_ = 0;
  std::uint64_t lba_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    fmt::print(stderr, "usage: aoe-bench IF SHELF SLOT read|write SECTORS OUTSTANDING SECONDS\n");
    return 2;
  }
  Load load;
  load.interface_name = argv[1];
  load.shelf = static_cast<std::uint16_t>(std::strtoul(argv[2], nullptr, 10));
  load.slot = static_cast<std::uint8_t>(std::strtoul(argv[3], nullptr, 10));
  load.write = std::string(argv[4]) == "write";
  load.sectors = static_cast<std::uint8_t>(std::strtoul(argv[5], nullptr, 10));
  load.outstanding = static_cast<unsigned>(std::strtoul(argv[6], nullptr, 10));
  load.seconds = static_cast<int>(std::strtol(argv[7], nullptr, 10));
  const auto facts = target::linux_shell::look_up_interface(load.interface_name);
  if (!facts) {
    fmt::print(stderr, "aoe-bench: no interface {}\n", load.interface_name);
    return 2;
  }
  Initiator initiator(load, *facts);
  const auto replies = initiator.open() ? initiator.run() : 0;
  if (replies == 0) {
    fmt::print(stderr, "aoe-bench: e{}.{} on {} does not answer\n", load.shelf, load.slot,
               load.interface_name);
    return 1;
  }
  fmt::print("{}\n", replies * load.sectors * 512 / static_cast<std::uint64_t>(load.seconds));
  return 0;
}
