// The receive buffer of one export on one interface: an AF_PACKET socket with a TPACKET_V2 ring of
// exactly as many slots as the target tells in query config. It owns which frames the kernel lets
// in (EtherType, shelf, slot, requests only) and when a slot is given back; it must never know what
// a frame means.
//
// Nothing queues outside of the ring: a frame that finds no free slot is dropped by the kernel and
// counted. That is what makes the count of a congestion probe mean something.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/interface.h"

namespace target::linux_shell {

// How the kernel lays the slots out: blocks of whole pages, each with a whole number of frames, and
// exactly the wanted number of frames in all.
struct RingLayout {
  std::uint32_t frame_bytes = 0;
  std::uint32_t frames_per_block = 0;
  std::uint32_t block_bytes = 0;
  std::uint32_t blocks = 0;

  [[nodiscard]] std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(block_bytes) * blocks;
  }
};

RingLayout ring_layout(std::uint32_t mtu, std::uint16_t slots);

struct RingCounters {
  std::uint64_t frames = 0;    // taken out of the ring
  std::uint64_t drops = 0;     // found no free slot
  std::uint64_t unusable = 0;  // longer than a slot, or from another VLAN
};

// Everything that decides which frames are ours.
struct RingAddress {
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  // When not empty, the kernel drops frames of every other source before they take a slot, as far
  // as its filter has room: the engine looks again.
  std::vector<wire::MacAddress> allow{};
};

// Five instructions of eight bytes for each; the kernel gives a socket 20,480 bytes of options
// (net.core.optmem_max).
inline constexpr std::size_t kFilterAllowMax = 400;

class PacketRing {
 public:
  // configured: the address that frames for this station carry as destination when they are handed
  // out, also when the interface has another one by now (see PacketSender). Throws StartError.
  PacketRing(const std::string& interface_name, const InterfaceFacts& facts, RingAddress address,
             std::uint16_t slots, const wire::MacAddress& configured);
  PacketRing(const std::string& interface_name, const InterfaceFacts& facts, RingAddress address,
             std::uint16_t slots)
      : PacketRing(interface_name, facts, address, slots, facts.mac) {}
  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

  // Readable when a frame waits.
  [[nodiscard]] int fd() const { return fd_.get(); }

  // How many frames wait, looking at no more than limit.
  [[nodiscard]] std::uint32_t waiting(std::uint32_t limit) const;

  // The oldest frame that waits (there must be one); nullopt when it is unusable. Its bytes, and
  // its slot, are ours until pop().
  [[nodiscard]] std::optional<std::span<const std::byte>> front();
  void pop();

  // Takes note of an error that the kernel reports on the socket (the interface went down); 0:
  // none.
  int take_error();

  // Also asks the kernel for the drops since the last call.
  const RingCounters& counters();

 private:
  void open(const std::string& interface_name, const InterfaceFacts& facts, RingAddress address);
  [[nodiscard]] std::byte* slot_at(std::uint32_t index) const;

  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* memory) const;
  };
  UniqueFd fd_;
  RingLayout layout_;
  std::uint32_t slots_ = 0;
  std::uint32_t head_ = 0;
  std::unique_ptr<std::byte, Unmap> memory_;
  wire::MacAddress own_;
  wire::MacAddress configured_;
  RingCounters counters_;
};

}  // namespace target::linux_shell
