// Simulated Ethernet: hosts on a switch, two directed links each, verdicts on every frame, finite
// queues, partitions. It owns frames while they travel and must never read more of one than its
// destination.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/clients/frames.h"
#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/schedule.h"
#include "sim/trace.h"

namespace sim::ethernet {

using clients::MacAddress;
using FrameId = std::uint32_t;
inline constexpr FrameId kNoFrame = ~FrameId{0};

struct Frame {
  std::vector<std::byte> storage;
  std::uint32_t size = 0;
  std::uint32_t owners = 0;
  std::uint64_t serial = 0;  // of the frame as sent; copies share it
  std::uint32_t sender = 0;
  bool mangled = false;  // cut or padded on the way
  bool cut = false;
  bool tainted = false;  // a bit was flipped under a good FCS
  bool bad_fcs = false;
  [[nodiscard]] std::span<const std::byte> bytes() const { return {storage.data(), size}; }
};

class Network {
 public:
  Network(const Schedule& schedule, EventQueue& queue, Tracer& tracer, Faults& faults);

  static MacAddress mac_of(std::uint32_t host);

  // A frame to fill in: room() bytes, then set the size.
  FrameId allocate();
  Frame& frame(FrameId id) { return frames_[id]; }
  void release(FrameId id);

  // Hands a frame over for sending.
  void send(std::uint32_t host, FrameId id, Nanoseconds now);
  // A frame came to the end of a link. The id when it reached a host (the caller releases it),
  // kNoFrame when it went on or was lost.
  FrameId arrive(LinkId link, FrameId id, Nanoseconds now);
  void expire_held(LinkId link, FrameId id, Nanoseconds now);

  void set_partition(std::uint32_t host, bool in, bool out);
  void set_mtu(std::uint32_t host, std::int64_t mtu) { hosts_[host].mtu = mtu; }

  // Frames and copies on their way, held ones included.
  [[nodiscard]] std::uint32_t travelling() const { return travelling_; }
  [[nodiscard]] std::uint64_t frames_sent() const { return next_serial_; }
  [[nodiscard]] std::uint64_t hops() const { return hops_; }

  void lose(LinkId link, FrameId id, LostBecause why, Nanoseconds now);

 private:
  struct Held {
    FrameId frame;
    std::uint32_t release_at_index;
  };
  struct Link {
    Nanoseconds busy_until = 0;
    bool cut = false;
    std::vector<Held> held;
  };
  struct Host {
    std::int64_t mtu = 0;
  };
  struct Journey {
    FrameId frame;
    Nanoseconds delay = 0;
    Nanoseconds copy_after = -1;
    std::int64_t hold = 0;
  };

  void enter(LinkId link, FrameId id, Nanoseconds now);
  bool judge(LinkId link, Journey& journey, Nanoseconds now);
  void travel(LinkId link, FrameId id, Nanoseconds when);
  void release_held(LinkId link, std::uint32_t index, Nanoseconds now);
  FrameId writable(FrameId id);

  const Settings& settings_;
  EventQueue& queue_;
  Tracer& tracer_;
  Faults& faults_;
  std::vector<Frame> frames_;
  std::vector<FrameId> free_;
  std::vector<Link> links_;
  std::vector<Host> hosts_;
  std::size_t frame_room_;
  std::uint32_t travelling_ = 0;
  std::uint64_t next_serial_ = 0;
  std::uint64_t hops_ = 0;
};

}  // namespace sim::ethernet
