#pragma once
// How frames travel between the suite and a target, and what time it is there. Whoever judges waits
// only through a Link, so that the same case runs on a wire and in a simulator's virtual time.
// Knows nothing of AoE.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "conformance/observer/bytes.h"

namespace conformance::links {

using observer::Bytes;
using observer::BytesView;
using observer::Mac;

struct ReceivedFrame {
  Bytes bytes;
  int64_t at_ns = 0;  // on the clock of Link::now_ns
};

// The operating system refused something; the message names the thing and what to do.
class LinkError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Frames that the sender's own side did not take: they are lost like any others on the way, but
// with a name.
struct NotTaken {
  uint64_t frames = 0;
  std::string last;  // what the last one met, and what to do about it
};

class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  // Sends one whole Ethernet frame, addresses included, from whatever source address stands in it.
  // Never waits longer than a moment: a frame that the interface will not take is a lost frame, and
  // is counted in not_taken. Throws LinkError when there is no link any more.
  virtual void send(BytesView frame) = 0;
  // The next frame for any address (not our own outgoing ones), or nullopt when the deadline has
  // come or a signal interrupted the wait. A deadline that has passed polls.
  virtual std::optional<ReceivedFrame> receive(int64_t deadline_ns) = 0;
  virtual int64_t now_ns() = 0;
  virtual Mac mac() const = 0;     // the interface's own address
  virtual size_t mtu() const = 0;  // bytes after the Ethernet header
  virtual std::string name() const = 0;
  virtual NotTaken not_taken() const { return {}; }
  // False while the interface is known to be down, or without a carrier.
  virtual bool is_up() { return true; }
};

inline constexpr int64_t kNsPerUs = 1000;
inline constexpr int64_t kNsPerMs = 1000 * kNsPerUs;
inline constexpr int64_t kNsPerSecond = 1000 * kNsPerMs;

}  // namespace conformance::links
