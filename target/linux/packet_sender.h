// Hands frames to one interface, in order. It owns the socket and what the kernel's answers mean;
// what becomes of a frame that is not taken is the shell's to say (target/shell/send_queue.h), and
// what a frame means nobody's here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/interface.h"
#include "target/shell/surroundings.h"

namespace target::linux_shell {

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

  // As shell::Sender::send.
  shell::SendResult send(std::span<const shell::FrameView> frames);

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  SendCalls& calls_;
  std::vector<std::byte> source_;  // empty: as configured
};

}  // namespace target::linux_shell
