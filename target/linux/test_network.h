// For tests: a network of their own, with a veth pair tgt0 - ini0, which vanishes with the process;
// and a raw socket on it that plays an initiator. It owns no rule of the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/interface.h"

namespace target::linux_shell::testing {

// Moves this process into a fresh network namespace (as root, or by way of a user namespace) and
// makes the pair; the reason when that is not possible here.
std::optional<std::string> enter_test_network(std::uint32_t mtu = 1500);

// Runs a command line of ip(8); fails the running test when it fails.
void ip(const std::string& arguments);

InterfaceFacts facts_of(const std::string& name);

// A packet socket for AoE frames.
class RawPort {
 public:
  explicit RawPort(const std::string& interface_name);
  // Addresses the frame from here; its destination stays.
  void send(std::vector<std::byte> frame) const;
  void send_as_is(std::span<const std::byte> frame) const;
  // The next frame that is a reply; nullopt after the timeout.
  [[nodiscard]] std::optional<std::vector<std::byte>> receive_reply(int timeout_ms = 5000) const;
  [[nodiscard]] const wire::MacAddress& mac() const { return facts_.mac; }

 private:
  InterfaceFacts facts_;
  UniqueFd fd_;
};

struct RequestFields {
  std::uint16_t shelf = 1;
  std::uint8_t slot = 1;
  std::uint8_t command = 1;
  std::uint32_t tag = 0;
  std::uint8_t flags = 0;
  wire::MacAddress destination{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
};

// Ethernet and AoE header, then the argument, padded to 60 bytes with zeroes.
std::vector<std::byte> make_request(const RequestFields& fields,
                                    std::span<const std::uint8_t> argument);
std::vector<std::byte> make_read(const RequestFields& fields, std::uint64_t lba,
                                 std::uint8_t sectors);
std::vector<std::byte> make_write(const RequestFields& fields, std::uint64_t lba,
                                  std::span<const std::byte> data);
std::uint32_t tag_of(std::span<const std::byte> frame);

}  // namespace target::linux_shell::testing
