// The receive buffer of one export on one interface: see packet_ring.h.
#include "target/linux/packet_ring.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "target/linux/start_error.h"
#include "target/wire/bytes.h"

namespace target::linux_shell {
namespace {

constexpr std::uint32_t kPageBytes =
    4096;  // the ring needs multiples; larger pages are asked below
constexpr std::uint16_t kEtherTypeAoe = 0x88A2;
constexpr std::uint32_t kFramesPerBlockMax = 8;
// What stands before the frame in its slot: the kernel's header and its link-layer address, room
// for at least 16 bytes of Ethernet header, all aligned (net/packet/af_packet.c, tpacket_rcv).
constexpr std::uint32_t kHeadroomBytes = TPACKET_ALIGN(TPACKET2_HDRLEN + 16);
// A sender may stretch the MTU by an 802.1Q tag, which a veth pair lets through.
constexpr std::uint32_t kTagBytes = 4;

std::uint32_t round_up(std::uint32_t value, std::uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::uint32_t page_bytes() {
  const long bytes = ::sysconf(_SC_PAGESIZE);
  return bytes > 0 ? static_cast<std::uint32_t>(bytes) : kPageBytes;
}

// Offsets count from the first byte of the Ethernet frame. A load beyond the end of the frame drops
// it, so a frame too short to hold an address never arrives.
constexpr std::uint32_t kOffsetEtherType = 12;
constexpr std::uint32_t kOffsetSource = 6;
constexpr std::uint32_t kOffsetFlags = 14;
constexpr std::uint32_t kOffsetShelf = 16;
constexpr std::uint32_t kOffsetSlot = 18;
constexpr std::uint32_t kFlagResponse = 0x08;
constexpr std::uint32_t kBroadcastShelf = 0xFFFF;
constexpr std::uint32_t kBroadcastSlot = 0xFF;
constexpr std::uint32_t kAncillary = static_cast<std::uint32_t>(SKF_AD_OFF);

constexpr sock_filter kRefuse{BPF_RET | BPF_K, 0, 0, 0};
constexpr sock_filter kTake{BPF_RET | BPF_K, 0, 0, 0x40000};

// Jumps in classic BPF are relative; here they name the two ends and are resolved at the last.
enum End : std::uint8_t { kNext = 0, kDrop = 254, kAccept = 255 };

sock_filter load(std::uint16_t width, std::uint32_t offset) {
  return {static_cast<std::uint16_t>(BPF_LD | width | BPF_ABS), 0, 0, offset};
}

sock_filter jump(std::uint16_t test, std::uint32_t value, std::uint8_t yes, std::uint8_t no) {
  return {static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), yes, no, value};
}

// What the kernel marks as another host's is not for us, and must not take a slot from what is: a
// frame to another station, which a promiscuous interface delivers and the engine ignores, or a
// frame of a VLAN that nobody here listens to, whose tag the kernel has taken off already.
// What passes all that may still have to come from an allowed source.
std::vector<sock_filter> make_filter(const RingAddress& address) {
  std::vector<sock_filter> program = {
      load(BPF_H, kOffsetEtherType),
      jump(BPF_JEQ, kEtherTypeAoe, kNext, kDrop),
      load(BPF_B, kOffsetFlags),
      jump(BPF_JSET, kFlagResponse, kDrop, kNext),
      load(BPF_H, kOffsetShelf),
      jump(BPF_JEQ, address.shelf, 1, kNext),
      jump(BPF_JEQ, kBroadcastShelf, kNext, kDrop),
      load(BPF_B, kOffsetSlot),
      jump(BPF_JEQ, address.slot, 1, kNext),
      jump(BPF_JEQ, kBroadcastSlot, kNext, kDrop),
      load(BPF_B, kAncillary + SKF_AD_VLAN_TAG_PRESENT),
      jump(BPF_JEQ, 0, kNext, kDrop),
      load(BPF_B, kAncillary + SKF_AD_PKTTYPE),
      jump(BPF_JEQ, PACKET_OTHERHOST, kDrop, kAccept),
      kRefuse,
  };
  // The drop stands at the end of what is above, what follows an accept right behind it.
  const std::size_t drop = program.size() - 1;
  for (std::size_t i = 0; i < program.size(); ++i) {
    const auto resolve = [&](std::uint8_t target) {
      if (target == kDrop || target == kAccept) {
        return static_cast<std::uint8_t>(drop + (target == kAccept ? 1 : 0) - i - 1);
      }
      return target;
    };
    if (BPF_CLASS(program[i].code) == BPF_JMP) {
      program[i].jt = resolve(program[i].jt);
      program[i].jf = resolve(program[i].jf);
    }
  }
  if (!address.allow.empty() && address.allow.size() <= kFilterAllowMax) {
    for (const wire::MacAddress& mac : address.allow) {
      const std::span<const std::byte> octets = std::as_bytes(std::span(mac.octets));
      program.push_back(load(BPF_W, kOffsetSource));
      program.push_back(jump(BPF_JEQ, wire::load_be32(octets, 0), kNext, 3));
      program.push_back(load(BPF_H, kOffsetSource + 4));
      program.push_back(jump(BPF_JEQ, wire::load_be16(octets, 4), kNext, 1));
      program.push_back(kTake);
    }
    program.push_back(kRefuse);
  }
  program.push_back(kTake);
  return program;
}

std::string socket_advice(int error) {
  if (error == EPERM || error == EACCES) {
    return "run as root, or give the program CAP_NET_RAW: setcap cap_net_raw+ep aoe-target";
  }
  if (error == EAFNOSUPPORT) {
    return "this kernel has no packet sockets: enable CONFIG_PACKET";
  }
  return "see packet(7)";
}

template <typename Value>
void set_option(int fd, int level, int name, const Value& value, const std::string& what) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) {
    const int error = errno;
    throw StartError(
        fmt::format("{}: {}: {}", what, errno_text(error),
                    error == ENOMEM ? "choose a smaller --buffer-count" : "see packet(7)"));
  }
}

tpacket2_hdr* header_of(std::byte* slot) {
  return reinterpret_cast<tpacket2_hdr*>(slot);
}

}  // namespace

RingLayout ring_layout(std::uint32_t mtu, std::uint16_t slots) {
  assert(slots > 0);
  const std::uint32_t needed_bytes =
      round_up(kHeadroomBytes + ETH_HLEN + mtu + kTagBytes, TPACKET_ALIGNMENT);
  const std::uint32_t page = page_bytes();
  RingLayout best;
  for (std::uint32_t per_block = 1; per_block <= kFramesPerBlockMax; ++per_block) {
    if (slots % per_block != 0) {
      continue;
    }
    RingLayout layout;
    layout.frames_per_block = per_block;
    layout.block_bytes = round_up(needed_bytes * per_block, page);
    layout.frame_bytes = layout.block_bytes / per_block / TPACKET_ALIGNMENT * TPACKET_ALIGNMENT;
    layout.blocks = slots / per_block;
    if (layout.block_bytes / layout.frame_bytes == per_block &&
        (best.blocks == 0 || layout.bytes() < best.bytes())) {
      best = layout;
    }
  }
  return best;
}

PacketRing::PacketRing(const std::string& interface_name, const InterfaceFacts& facts,
                       RingAddress address, std::uint16_t slots, const wire::MacAddress& configured)
    : layout_(ring_layout(facts.mtu, slots)),
      slots_(slots),
      own_(facts.mac),
      configured_(configured) {
  open(interface_name, facts, address);
}

void PacketRing::Unmap::operator()(std::byte* memory) const {
  ::munmap(memory, bytes);
}

void PacketRing::open(const std::string& interface_name, const InterfaceFacts& facts,
                      RingAddress address) {
  // Protocol 0: nothing arrives before ring and filter stand; bind() below opens the tap.
  fd_.reset(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.valid()) {
    const int error = errno;
    throw StartError(fmt::format("cannot open a packet socket on {}: {}: {}", interface_name,
                                 errno_text(error), socket_advice(error)));
  }
  const int version = TPACKET_V2;
  set_option(fd_.get(), SOL_PACKET, PACKET_VERSION, version, interface_name + ": PACKET_VERSION");
  const int on = 1;
  set_option(fd_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, on,
             interface_name + ": PACKET_IGNORE_OUTGOING");
  tpacket_req request{};
  request.tp_block_size = layout_.block_bytes;
  request.tp_block_nr = layout_.blocks;
  request.tp_frame_size = layout_.frame_bytes;
  request.tp_frame_nr = slots_;
  set_option(fd_.get(), SOL_PACKET, PACKET_RX_RING, request,
             fmt::format("{}: a receive ring of {} frames", interface_name, slots_));
  void* memory = ::mmap(nullptr, layout_.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED) {
    throw StartError(
        fmt::format("{}: cannot map the receive ring of {} frames: {}: choose a "
                    "smaller --buffer-count",
                    interface_name, slots_, errno_text(errno)));
  }
  memory_ = {static_cast<std::byte*>(memory), Unmap{layout_.bytes()}};
  auto filter = make_filter(address);
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  set_option(fd_.get(), SOL_SOCKET, SO_ATTACH_FILTER, program, interface_name + ": frame filter");
  sockaddr_ll local{};
  local.sll_family = AF_PACKET;
  local.sll_protocol = htons(kEtherTypeAoe);
  local.sll_ifindex = facts.index;
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) {
    throw StartError(fmt::format("cannot bind to {}: {}: is the interface still there?",
                                 interface_name, errno_text(errno)));
  }
}

std::byte* PacketRing::slot_at(std::uint32_t index) const {
  const std::uint32_t block = index / layout_.frames_per_block;
  const std::uint32_t within = index % layout_.frames_per_block;
  return memory_.get() + static_cast<std::size_t>(block) * layout_.block_bytes +
         static_cast<std::size_t>(within) * layout_.frame_bytes;
}

std::uint32_t PacketRing::waiting(std::uint32_t limit) const {
  std::uint32_t count = 0;
  while (count < limit && count < slots_) {
    std::atomic_ref<std::uint32_t> status(header_of(slot_at((head_ + count) % slots_))->tp_status);
    if ((status.load(std::memory_order_acquire) & TP_STATUS_USER) == 0) {
      break;
    }
    ++count;
  }
  return count;
}

std::optional<std::span<const std::byte>> PacketRing::front() {
  std::byte* slot = slot_at(head_);
  const tpacket2_hdr* header = header_of(slot);
  assert((header->tp_status & TP_STATUS_USER) != 0);
  const bool truncated =
      header->tp_snaplen < header->tp_len || (header->tp_status & TP_STATUS_COPY) != 0;
  if (truncated || (header->tp_status & TP_STATUS_VLAN_VALID) != 0) {
    ++counters_.unusable;
    return std::nullopt;
  }
  ++counters_.frames;
  std::byte* frame = slot + header->tp_mac;
  if (own_ != configured_ && std::memcmp(frame, own_.octets.data(), own_.octets.size()) == 0) {
    std::memcpy(frame, configured_.octets.data(), configured_.octets.size());
  }
  return std::span<const std::byte>(frame, header->tp_snaplen);
}

void PacketRing::pop() {
  std::atomic_ref<std::uint32_t> status(header_of(slot_at(head_))->tp_status);
  assert((status.load(std::memory_order_relaxed) & TP_STATUS_USER) != 0);
  status.store(TP_STATUS_KERNEL, std::memory_order_release);
  head_ = (head_ + 1) % slots_;
}

int PacketRing::take_error() {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

const RingCounters& PacketRing::counters() {
  tpacket_stats kernel{};
  socklen_t length = sizeof kernel;
  // Reading resets the kernel's numbers.
  if (::getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &kernel, &length) == 0) {
    counters_.drops += kernel.tp_drops;
  }
  return counters_;
}

}  // namespace target::linux_shell
