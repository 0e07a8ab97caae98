// Notices that somebody else serves an address that is served here: two targets of one address give
// an initiator data of both. It asks once at the start and listens from then on; one socket for
// each interface, for answers to query config alone. It must never know what serving is, and never
// ends it: whoever forges one frame must not deny service.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "target/linux/event_loop.h"
#include "target/linux/fd.h"
#include "target/linux/interface.h"
#include "target/wire/mac.h"

namespace target::linux_shell {

// How long an answer may be away when nobody may be there (--exclusive).
inline constexpr engine::Nanoseconds kExclusiveWait_ns = 300'000'000;
// Others whose addresses are remembered as told.
inline constexpr std::size_t kOthersToldMax = 64;

struct ServedAddress {
  std::string interface_name;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  bool exclusive = false;
};

class AddressWatch {
 public:
  // Opens its sockets; an interface that cannot be listened to is told and left out.
  AddressWatch(EventLoop& loop, std::vector<ServedAddress> served);
  ~AddressWatch();
  AddressWatch(const AddressWatch&) = delete;
  AddressWatch& operator=(const AddressWatch&) = delete;

  // Asks who serves these addresses; who answers is told in the log when the loop sees it.
  void ask();
  // Waits for the answers, when some address is to be served by nobody else. Throws StartError that
  // names who does.
  void refuse_if_served();
  // Something about the interfaces changed.
  void look_at_interfaces();

 private:
  struct Socket {
    std::string interface_name;
    InterfaceFacts facts;
    UniqueFd fd;
    EventLoop::Token token = 0;
  };
  struct Other {
    std::string interface_name;
    wire::MacAddress mac;
    std::uint16_t shelf = 0;
    std::uint8_t slot = 0;
    auto operator<=>(const Other&) const = default;
  };
  void open(Socket& socket);
  void close(Socket& socket);
  void on_frames(Socket& socket);

  EventLoop& loop_;
  std::vector<ServedAddress> served_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::set<Other> told_;
};

}  // namespace target::linux_shell
