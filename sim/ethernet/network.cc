// Moves frames.
#include "sim/ethernet/network.h"

#include <algorithm>
#include <cassert>

namespace sim::ethernet {
namespace {

constexpr std::size_t kEthernetHeaderBytes = 14;
constexpr std::size_t kPadRoomBytes = 128;
constexpr Nanoseconds kHoldMax = kSecond;
constexpr std::uint8_t kHostOctet = 0xa0;  // 02:00:00:00:00:a0 is the target

}  // namespace

Network::Network(const Schedule& schedule, EventQueue& queue, Tracer& tracer, Faults& faults)
    : settings_(schedule.settings),
      queue_(queue),
      tracer_(tracer),
      faults_(faults),
      links_(2 * (schedule.initiators.size() + 1)),
      hosts_(schedule.initiators.size() + 1, Host{schedule.settings.mtu}),
      frame_room_(static_cast<std::size_t>(schedule.settings.mtu) + kEthernetHeaderBytes +
                  kPadRoomBytes) {}

MacAddress Network::mac_of(std::uint32_t host) {
  return MacAddress{{0x02, 0, 0, 0, static_cast<std::uint8_t>(host >> 8U),
                     static_cast<std::uint8_t>(kHostOctet + (host & 0xffU))}};
}

FrameId Network::allocate() {
  FrameId id = 0;
  if (free_.empty()) {
    id = static_cast<FrameId>(frames_.size());
    frames_.emplace_back();
    frames_.back().storage.resize(frame_room_);
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Frame& frame = frames_[id];
  frame.size = 0;
  frame.owners = 1;
  frame.tainted = false;
  frame.mangled = false;
  frame.cut = false;
  frame.bad_fcs = false;
  return id;
}

void Network::release(FrameId id) {
  assert(frames_[id].owners > 0);
  if (--frames_[id].owners == 0) {
    free_.push_back(id);
  }
}

// A frame that may be changed: itself, or a copy when somebody else holds it too.
FrameId Network::writable(FrameId id) {
  if (frames_[id].owners == 1) {
    return id;
  }
  const FrameId copy = allocate();
  Frame& to = frames_[copy];
  const Frame& from = frames_[id];
  std::copy_n(from.storage.begin(), from.size, to.storage.begin());
  to.size = from.size;
  to.serial = from.serial;
  to.sender = from.sender;
  to.tainted = from.tainted;
  to.mangled = from.mangled;
  to.cut = from.cut;
  to.bad_fcs = from.bad_fcs;
  release(id);
  return copy;
}

void Network::send(std::uint32_t host, FrameId id, Nanoseconds now) {
  Frame& frame = frames_[id];
  assert(frame.size <= frame.storage.size());
  if (settings_.pad_to_60 != 0 && frame.size < clients::kMinimumFrameBytes) {
    std::fill(frame.storage.begin() + frame.size,
              frame.storage.begin() + clients::kMinimumFrameBytes, std::byte{0});
    frame.size = clients::kMinimumFrameBytes;
  }
  frame.serial = next_serial_++;
  frame.sender = host;
  TraceEvent event{
      .time = now, .kind = TraceKind::frame_sent, .host = host, .serial = frame.serial};
  event.bytes = frame.bytes();
  tracer_.emit(event);
  ++travelling_;
  enter(link_up(host), id, now);
}

void Network::lose(LinkId link, FrameId id, LostBecause why, Nanoseconds now) {
  tracer_.emit({.time = now,
                .kind = TraceKind::frame_lost,
                .detail = static_cast<std::uint8_t>(why),
                .host = link,
                .serial = frames_[id].serial});
  --travelling_;
  release(id);
}

// Applies the verdicts. False when the frame is gone.
bool Network::judge(LinkId link, Journey& journey, Nanoseconds now) {
  for (const FrameFault& fault : faults_.next_frame(link, now, frames_[journey.frame].size)) {
    tracer_.emit({.time = now,
                  .kind = TraceKind::frame_fault,
                  .detail = static_cast<std::uint8_t>(fault.kind),
                  .host = link,
                  .serial = frames_[journey.frame].serial,
                  .amount = fault.amount});
    switch (fault.kind) {
      case FrameFaultKind::drop:
        lose(link, journey.frame, LostBecause::dropped, now);
        return false;
      case FrameFaultKind::full:
        lose(link, journey.frame, LostBecause::queue_full, now);
        return false;
      case FrameFaultKind::bad_fcs:
        journey.frame = writable(journey.frame);
        frames_[journey.frame].bad_fcs = true;
        break;
      case FrameFaultKind::delay:
        journey.delay += std::max<std::int64_t>(fault.amount, 0);
        break;
      case FrameFaultKind::duplicate:
        journey.copy_after = std::max<std::int64_t>(fault.amount, 0);
        break;
      case FrameFaultKind::hold:
        journey.hold = fault.amount;
        break;
      case FrameFaultKind::truncate: {
        journey.frame = writable(journey.frame);
        Frame& frame = frames_[journey.frame];
        frame.size = static_cast<std::uint32_t>(
            std::clamp<std::int64_t>(fault.amount, 0, std::int64_t{frame.size}));
        frame.cut = true;
        frame.mangled = true;
        break;
      }
      case FrameFaultKind::pad: {
        journey.frame = writable(journey.frame);
        Frame& frame = frames_[journey.frame];
        const auto wanted = static_cast<std::size_t>(
            std::clamp<std::int64_t>(fault.amount, 0, static_cast<std::int64_t>(kPadRoomBytes)));
        const std::size_t end = std::min(frame.size + wanted, frame.storage.size());
        std::fill(frame.storage.begin() + frame.size,
                  frame.storage.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0});
        frame.size = static_cast<std::uint32_t>(end);
        frame.tainted = frame.tainted || frame.cut;  // zeros where data was
        frame.mangled = true;
        break;
      }
      case FrameFaultKind::flip: {
        journey.frame = writable(journey.frame);
        Frame& frame = frames_[journey.frame];
        if (frame.size != 0) {
          const auto bit =
              static_cast<std::uint64_t>(fault.amount) % (std::uint64_t{frame.size} * 8);
          frame.storage[bit / 8] ^= std::byte{1} << (bit % 8);
          frame.tainted = true;
        }
        break;
      }
    }
  }
  return true;
}

void Network::enter(LinkId id, FrameId frame_id, Nanoseconds now) {
  Link& link = links_[id];
  Journey journey{frame_id};
  const bool there = judge(id, journey, now);
  // The verdict is drawn for every frame, so that a cut link does not shift the numbers of others.
  const std::uint32_t index = faults_.frames_on(id) - 1;
  if (there) {
    const Frame& frame = frames_[journey.frame];
    const std::int64_t queued = std::max<std::int64_t>(link.busy_until - now, 0);
    if (link.cut) {
      lose(id, journey.frame, LostBecause::partitioned, now);
    } else if (std::int64_t{frame.size} >
               hosts_[id / 2].mtu + static_cast<std::int64_t>(kEthernetHeaderBytes)) {
      lose(id, journey.frame, LostBecause::above_mtu, now);
    } else if (queued > settings_.queue_bytes * settings_.link_ns_per_byte) {
      lose(id, journey.frame, LostBecause::queue_full, now);
    } else {
      link.busy_until =
          std::max(link.busy_until, now) + std::int64_t{frame.size} * settings_.link_ns_per_byte;
      const Nanoseconds when = link.busy_until + settings_.link_latency_ns;
      if (journey.copy_after >= 0) {
        ++frames_[journey.frame].owners;
        ++travelling_;
        travel(id, journey.frame, when + journey.copy_after);
      }
      if (journey.hold > 0) {
        link.held.push_back({journey.frame, index + static_cast<std::uint32_t>(journey.hold)});
        queue_.at(now + kHoldMax, EventKind::held_frame_expires, id, journey.frame);
      } else {
        travel(id, journey.frame, when + journey.delay);
      }
    }
  }
  release_held(id, index, std::max(now, links_[id].busy_until));
}

void Network::travel(LinkId link, FrameId id, Nanoseconds when) {
  ++hops_;
  queue_.at(when, EventKind::frame_arrives, link, id);
}

void Network::release_held(LinkId id, std::uint32_t index, Nanoseconds now) {
  Link& link = links_[id];
  if (link.held.empty()) {
    return;
  }
  std::size_t kept = 0;
  for (const Held held : link.held) {
    if (held.release_at_index <= index) {
      travel(id, held.frame, now + settings_.link_latency_ns + 1);
    } else {
      link.held[kept++] = held;
    }
  }
  link.held.resize(kept);
}

void Network::expire_held(LinkId id, FrameId frame, Nanoseconds now) {
  Link& link = links_[id];
  for (std::size_t i = 0; i < link.held.size(); ++i) {
    if (link.held[i].frame == frame) {
      link.held.erase(link.held.begin() + static_cast<std::ptrdiff_t>(i));
      travel(id, frame, now);
      return;
    }
  }
}

FrameId Network::arrive(LinkId link, FrameId id, Nanoseconds now) {
  if (link % 2 == 1) {  // at a host
    if (frames_[id].bad_fcs) {
      lose(link, id, LostBecause::bad_fcs, now);
      return kNoFrame;
    }
    --travelling_;
    return id;
  }
  // At the switch, which drops what has a bad FCS.
  if (frames_[id].bad_fcs) {
    lose(link, id, LostBecause::bad_fcs, now);
    return kNoFrame;
  }
  const std::uint32_t sender = link / 2;
  const clients::Bytes bytes = frames_[id].bytes();
  if (bytes.size() < kEthernetHeaderBytes) {
    lose(link, id, LostBecause::unknown_destination, now);
    return kNoFrame;
  }
  const MacAddress destination = clients::View(bytes).destination();
  const bool everybody = (destination.octets[0] & 1U) != 0;
  bool sent = false;
  for (std::uint32_t host = 0; host < hosts_.size(); ++host) {
    if (host != sender && (everybody || destination == mac_of(host))) {
      ++frames_[id].owners;
      ++travelling_;
      enter(link_down(host), id, now);
      sent = true;
    }
  }
  if (!sent) {
    lose(link, id, LostBecause::unknown_destination, now);
  } else {
    --travelling_;
    release(id);
  }
  return kNoFrame;
}

void Network::set_partition(std::uint32_t host, bool in, bool out) {
  links_[link_down(host)].cut = in;
  links_[link_up(host)].cut = out;
}

}  // namespace sim::ethernet
