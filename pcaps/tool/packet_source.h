// Where packets come from: a capture file or a live interface. A packet here is what the capture's
// own format says of it; what link it was taken on is told, not interpreted.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "pcaps/tool/observed.h"

namespace pcaps {

enum LinkType : std::uint16_t { kLinkEthernet = 1, kLinkCooked = 113, kLinkCooked2 = 276 };

struct Packet {
  std::span<const std::uint8_t> bytes;  // good until the next one is asked for
  std::uint32_t wire_length = 0;
  Nanoseconds time_ns = 0;
  std::uint32_t interface = 0;  // counts through all sections of the file
  std::uint16_t link = kLinkEthernet;
  std::uint32_t fcs_bytes = 0;  // of the bytes on the wire, the last ones that are a frame check
};

// What the capture itself says that it did not get.
struct CaptureDrops {
  bool told = false;          // the capture has counters at all
  std::uint64_t dropped = 0;  // by interface, kernel or capturing program
};

class PacketSource {
 public:
  PacketSource() = default;
  virtual ~PacketSource() = default;
  PacketSource(const PacketSource&) = delete;
  PacketSource& operator=(const PacketSource&) = delete;

  // False at the end, when stopped, or where the capture is damaged.
  virtual bool next(Packet& packet) = 0;
  [[nodiscard]] virtual std::string damage() const = 0;
  [[nodiscard]] virtual CaptureDrops drops() const = 0;
  // That have been named so far.
  [[nodiscard]] virtual std::size_t interfaces() const { return 1; }
};

// Null with one line in `error`.
std::unique_ptr<PacketSource> open_capture_file(const std::string& path,
                                                const std::atomic<bool>* stop, std::string& error);
std::unique_ptr<PacketSource> open_live_interface(const std::string& name,
                                                  const std::atomic<bool>* stop,
                                                  std::string& error);

// "Ethernet", "Linux cooked", or the number.
std::string link_name(std::uint16_t link);

}  // namespace pcaps
