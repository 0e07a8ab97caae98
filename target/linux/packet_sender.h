// Sends frames on one interface, in order. It owns the queue of what the interface would not take
// at once, which is bounded: beyond it frames are dropped and counted, as on any Ethernet. It must
// never know what a frame means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/fd.h"
#include "target/linux/interface.h"

namespace target::linux_shell {

struct SendCounters {
  std::uint64_t frames = 0;
  std::uint64_t queued = 0;      // waited for room in the interface's queue
  std::uint64_t drops_full = 0;  // our own queue was full
  std::uint64_t drops_link = 0;  // the interface was down or gone, or refused the frame
};

// What the queue waits for.
enum class SendWait : std::uint8_t {
  nothing,
  writable,  // the socket says when (EPOLLOUT)
  retry,     // the interface's queue is full and nobody says when: try again after kSendRetry_ns
};

inline constexpr engine::Nanoseconds kSendRetry_ns = 1'000'000;
inline constexpr std::size_t kSendQueueBytesMax = std::size_t{8} << 20;

// The one system call, so that a test can play a full interface.
class SendCalls {
 public:
  virtual ~SendCalls() = default;
  // Frames sent (at least one), or -errno for the first.
  virtual int send(int fd, std::span<const std::span<const std::byte>> frames,
                   std::span<const std::byte> source);
};

class PacketSender {
 public:
  // configured: the address the frames carry as source. When the interface has another one by now
  // (it vanished and came back) the frames leave with the new one. Throws StartError.
  PacketSender(const std::string& interface_name, const InterfaceFacts& facts,
               const wire::MacAddress& configured, SendCalls& calls);

  void send(std::span<const std::span<const std::byte>> frames);
  // Tries the queue again.
  void flush();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] SendWait wait() const { return wait_; }
  [[nodiscard]] std::size_t queued_frames() const { return queue_.size(); }
  [[nodiscard]] const SendCounters& counters() const { return counters_; }

 private:
  // Sends what can be sent; returns how many frames need no further thought.
  std::size_t push(std::span<const std::span<const std::byte>> frames);
  void enqueue(std::span<const std::byte> frame);

  UniqueFd fd_;
  SendCalls& calls_;
  std::vector<std::byte> source_;  // empty: as configured
  std::deque<std::vector<std::byte>> queue_;
  std::size_t queue_bytes_ = 0;
  SendWait wait_ = SendWait::nothing;
  SendCounters counters_;
};

}  // namespace target::linux_shell
