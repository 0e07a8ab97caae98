// A real Ethernet interface as a wire: every frame that comes in, whatever its address, and none of
// our own. It owns the socket and the words for what can go wrong; it must never judge a frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sim::live {

class Interface {
 public:
  // Throws std::runtime_error with the interface's name and what to do.
  explicit Interface(const std::string& name);
  Interface(const Interface&) = delete;
  Interface& operator=(const Interface&) = delete;
  ~Interface();

  // The next frame, its VLAN tag put back; none when there is none. Valid until the next call.
  // Throws std::runtime_error when the interface went away.
  std::optional<std::span<const std::byte>> receive();
  // False when the interface does not take it.
  bool send(std::span<const std::byte> frame) const;

  [[nodiscard]] int descriptor() const { return socket_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::size_t mtu() const { return mtu_; }
  // Ethernet header included.
  [[nodiscard]] std::size_t frame_bytes_max() const;
  // Frames that the kernel dropped because we were too slow.
  std::uint64_t missed();

 private:
  void open(unsigned index);

  std::string name_;
  int socket_ = -1;
  std::size_t mtu_ = 0;
  std::uint64_t missed_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace sim::live
