// What one port would not take at once: see send_queue.h.
#include "target/shell/send_queue.h"

#include <algorithm>
#include <cassert>

namespace target::shell {
namespace {

wire::MacAddress destination(FrameView frame) {
  wire::MacAddress address;
  assert(frame.size() >= address.octets.size());
  std::transform(frame.begin(), frame.begin() + address.octets.size(), address.octets.begin(),
                 [](std::byte octet) { return std::to_integer<std::uint8_t>(octet); });
  return address;
}

}  // namespace

SendQueue::Host* SendQueue::find(const wire::MacAddress& address) {
  const auto found = std::find_if(hosts_.begin(), hosts_.end(),
                                  [&](const Host& host) { return host.address == address; });
  return found == hosts_.end() ? nullptr : &*found;
}

SendQueue::Suspect* SendQueue::suspect(const wire::MacAddress& address) {
  const auto found = std::find_if(suspects_.begin(), suspects_.end(),
                                  [&](const Suspect& one) { return one.address == address; });
  return found == suspects_.end() ? nullptr : &*found;
}

void SendQueue::set_wait(SendWait wait, Nanoseconds now) {
  wait_ = wait;
  retry_at_ = wait == SendWait::retry ? now + kSendRetry_ns : kNever;
}

// Nothing overtakes what waits for the same host.
void SendQueue::send(std::uint16_t port, std::span<const FrameView> frames,
                     const Surroundings& around) {
  Nanoseconds now = hosts_.empty() ? 0 : around.clock.now();
  std::size_t failures = 0;
  while (!frames.empty()) {
    if (wait_ == SendWait::writable || failures == kSendFailuresPerFlush) {
      enqueue(frames.front(), now);
      frames = frames.subspan(1);
      continue;
    }
    std::size_t run = frames.size();
    if (!hosts_.empty()) {
      const auto waits = [this](FrameView frame) { return find(destination(frame)) != nullptr; };
      run = static_cast<std::size_t>(std::find_if(frames.begin(), frames.end(), waits) -
                                     frames.begin());
    }
    if (run == 0) {
      enqueue(frames.front(), now);
      frames = frames.subspan(1);
      continue;
    }
    const SendResult result = around.sender.send(port, frames.first(run));
    counters_.frames += result.taken;
    frames = frames.subspan(result.taken);
    switch (result.stop) {
      case SendStop::none:
        break;
      case SendStop::lost_link:
        ++counters_.drops_link;
        frames = frames.subspan(1);
        break;
      case SendStop::full:
        now = around.clock.now();
        set_wait(SendWait::writable, now);
        break;
      case SendStop::not_now:
        now = around.clock.now();
        ++failures;
        enqueue(frames.front(), now);
        if (Host* host = find(destination(frames.front()))) {
          refuse_front(port, *host, around, now);
          forget_empty_hosts();
        }
        frames = frames.subspan(1);
        break;
    }
  }
  if (!hosts_.empty() && wait_ == SendWait::nothing) {
    set_wait(SendWait::retry, now);
  }
}

void SendQueue::enqueue(FrameView frame, Nanoseconds now) {
  const wire::MacAddress address = destination(frame);
  Host* host = find(address);
  if (host != nullptr && host->bytes + frame.size() > kSendHostBytesMax) {
    ++counters_.drops_full;
    return;
  }
  if (bytes_ + frame.size() > kSendQueueBytesMax) {
    // Whoever fills the queue pays.
    const auto longest =
        std::max_element(hosts_.begin(), hosts_.end(),
                         [](const Host& a, const Host& b) { return a.bytes < b.bytes; });
    if (host == &*longest) {
      ++counters_.drops_full;
      return;
    }
    while (!longest->waiting.empty() && bytes_ + frame.size() > kSendQueueBytesMax) {
      drop_front(*longest, counters_.drops_full);
    }
    forget_empty_hosts();
    host = find(address);
  }
  if (host == nullptr) {
    hosts_.push_back({address, {}, 0});
    host = &hosts_.back();
  }
  host->waiting.push_back({{frame.begin(), frame.end()}, now, 0});
  host->bytes += frame.size();
  bytes_ += frame.size();
  ++frames_;
  ++counters_.queued;
}

void SendQueue::drop_front(Host& host, std::uint64_t& counter) {
  const std::size_t size = host.waiting.front().bytes.size();
  host.waiting.pop_front();
  host.bytes -= size;
  bytes_ -= size;
  --frames_;
  ++counter;
}

void SendQueue::forget_empty_hosts() {
  hosts_.erase(std::remove_if(hosts_.begin(), hosts_.end(),
                              [](const Host& host) { return host.waiting.empty(); }),
               hosts_.end());
}

void SendQueue::drop_old(Nanoseconds now) {
  for (Host& host : hosts_) {
    while (!host.waiting.empty() && now - host.waiting.front().since > kSendAge_ns_max) {
      drop_front(host, counters_.drops_old);
    }
  }
  forget_empty_hosts();
}

// The first frame of this host was refused, and nobody says for how long.
void SendQueue::refuse_front(std::uint16_t port, Host& host, const Surroundings& around,
                             Nanoseconds now) {
  Waiting& front = host.waiting.front();
  Suspect* known = suspect(host.address);
  const bool suspected =
      known != nullptr && now < known->until && front.bytes.size() >= known->frame_bytes;
  ++front.tries;
  if (front.tries < kSendTriesMax && !suspected) {
    return;
  }
  if (known == nullptr) {
    if (suspects_.size() == kSendSuspectsMax) {
      suspects_.erase(suspects_.begin());
    }
    suspects_.push_back({host.address, front.bytes.size(), 0, false});
    known = &suspects_.back();
  }
  known->frame_bytes =
      now < known->until ? std::min(known->frame_bytes, front.bytes.size()) : front.bytes.size();
  known->until = now + kSendSuspicion_ns;
  if (!known->told && around.notes != nullptr) {
    around.notes->tell_unsendable(port, host.address, front.bytes.size());
  }
  known->told = true;
  drop_front(host, counters_.drops_unsendable);
}

// Sends the first frame of a host. False: this round is over.
bool SendQueue::send_front(std::uint16_t port, Host& host, const Surroundings& around,
                           Nanoseconds now) {
  const FrameView frame = host.waiting.front().bytes;
  const SendResult result = around.sender.send(port, {&frame, 1});
  if (result.taken == 1) {
    drop_front(host, counters_.frames);
    return true;
  }
  switch (result.stop) {
    case SendStop::lost_link:
      drop_front(host, counters_.drops_link);
      return true;
    case SendStop::not_now:
      refuse_front(port, host, around, now);
      return false;
    case SendStop::full:
    case SendStop::none:
      set_wait(SendWait::writable, now);
      return false;
  }
  return false;
}

void SendQueue::flush(std::uint16_t port, const Surroundings& around) {
  const Nanoseconds now = around.clock.now();
  set_wait(SendWait::nothing, now);
  drop_old(now);
  // One frame of each host in turn. A host that was refused sits the rest of this flush out.
  std::size_t refused = 0;  // so many at the end of the turns
  std::size_t failures = 0;
  std::size_t index = 0;
  while (refused < hosts_.size() && failures < kSendFailuresPerFlush) {
    if (index >= hosts_.size() - refused) {
      index = 0;
    }
    const auto turn = hosts_.begin() + static_cast<std::ptrdiff_t>(index);
    if (!send_front(port, *turn, around, now)) {
      if (wait_ == SendWait::writable) {
        // The next flush begins with this one.
        std::rotate(hosts_.begin(), turn, hosts_.end());
        return;
      }
      ++failures;
      if (!turn->waiting.empty()) {
        std::rotate(turn, turn + 1, hosts_.end());
        ++refused;
        continue;
      }
    }
    if (turn->waiting.empty()) {
      hosts_.erase(turn);
    } else {
      ++index;
    }
  }
  if (!hosts_.empty()) {
    set_wait(SendWait::retry, now);
  }
}

void SendQueue::lose_everything() {
  counters_.drops_link += frames_;
  hosts_.clear();
  frames_ = 0;
  bytes_ = 0;
  wait_ = SendWait::nothing;
  retry_at_ = kNever;
}

}  // namespace target::shell
