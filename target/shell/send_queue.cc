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

template <typename Class>
auto find(Class& of, const wire::MacAddress& address) -> decltype(&of.hosts.front()) {
  const auto found = std::find_if(of.hosts.begin(), of.hosts.end(),
                                  [&](const auto& host) { return host.address == address; });
  return found == of.hosts.end() ? nullptr : &*found;
}

template <typename Class>
void forget_empty_hosts(Class& of) {
  of.hosts.erase(std::remove_if(of.hosts.begin(), of.hosts.end(),
                                [](const auto& host) { return host.waiting.empty(); }),
                 of.hosts.end());
}

}  // namespace

bool SendQueue::waits(const wire::MacAddress& address) const {
  return find(first_, address) != nullptr || find(others_, address) != nullptr;
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
  Nanoseconds now = frames_ == 0 ? 0 : around.clock.now();
  std::size_t failures = 0;
  while (!frames.empty()) {
    if (wait_ == SendWait::writable || failures == kSendFailuresPerFlush) {
      enqueue(frames.front(), now);
      frames = frames.subspan(1);
      continue;
    }
    std::size_t run = frames.size();
    if (frames_ != 0) {
      const auto behind = [this](FrameView frame) { return waits(destination(frame)); };
      run = static_cast<std::size_t>(std::find_if(frames.begin(), frames.end(), behind) -
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
        for (Class* of : {&first_, &others_}) {
          if (Host* host = find(*of, destination(frames.front()))) {
            refuse_front(port, *of, *host, around, now);
            forget_empty_hosts(*of);
          }
        }
        frames = frames.subspan(1);
        break;
    }
  }
  if (frames_ != 0 && wait_ == SendWait::nothing) {
    set_wait(SendWait::retry, now);
  }
}

void SendQueue::enqueue(FrameView frame, Nanoseconds now) {
  const wire::MacAddress address = destination(frame);
  // Who waits already stays where he is: nothing overtakes what waits for the same host.
  const bool known = find(first_, address) != nullptr ||
                     (find(others_, address) == nullptr &&
                      std::binary_search(known_.begin(), known_.end(), address));
  Class& of = known ? first_ : others_;
  Host* host = find(of, address);
  if (host != nullptr && host->bytes + frame.size() > kSendHostBytesMax) {
    ++counters_.drops_full;
    return;
  }
  const std::size_t others_max = known_.empty() ? kSendQueueBytesMax : kSendOthersBytesMax;
  const bool others_full = !known && others_.bytes + frame.size() > others_max;
  if (others_full || bytes_ + frame.size() > kSendQueueBytesMax) {
    // Whoever fills the queue pays, and the known ones last.
    Class& payer = others_full || !others_.hosts.empty() ? others_ : first_;
    const auto longest =
        std::max_element(payer.hosts.begin(), payer.hosts.end(),
                         [](const Host& a, const Host& b) { return a.bytes < b.bytes; });
    if (host == &*longest) {
      ++counters_.drops_full;
      return;
    }
    while (!longest->waiting.empty() && (bytes_ + frame.size() > kSendQueueBytesMax ||
                                         (!known && others_.bytes + frame.size() > others_max))) {
      drop_front(payer, *longest, counters_.drops_full);
    }
    forget_empty_hosts(payer);
    host = find(of, address);
  }
  if (host == nullptr) {
    of.hosts.push_back({address, {}, 0});
    host = &of.hosts.back();
  }
  host->waiting.push_back({{frame.begin(), frame.end()}, now, 0});
  host->bytes += frame.size();
  of.bytes += frame.size();
  bytes_ += frame.size();
  ++frames_;
  ++counters_.queued;
}

void SendQueue::drop_front(Class& of, Host& host, std::uint64_t& counter) {
  const std::size_t size = host.waiting.front().bytes.size();
  host.waiting.pop_front();
  host.bytes -= size;
  of.bytes -= size;
  bytes_ -= size;
  --frames_;
  ++counter;
}

void SendQueue::drop_old(Nanoseconds now) {
  for (Class* of : {&first_, &others_}) {
    for (Host& host : of->hosts) {
      while (!host.waiting.empty() && now - host.waiting.front().since > kSendAge_ns_max) {
        drop_front(*of, host, counters_.drops_old);
      }
    }
    forget_empty_hosts(*of);
  }
}

// The first frame of this host was refused, and nobody says for how long.
void SendQueue::refuse_front(std::uint16_t port, Class& of, Host& host, const Surroundings& around,
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
  drop_front(of, host, counters_.drops_unsendable);
}

// Sends the first frame of a host. False: this round is over.
bool SendQueue::send_front(std::uint16_t port, Class& of, Host& host, const Surroundings& around,
                           Nanoseconds now) {
  const FrameView frame = host.waiting.front().bytes;
  const SendResult result = around.sender.send(port, {&frame, 1});
  if (result.taken == 1) {
    drop_front(of, host, counters_.frames);
    return true;
  }
  switch (result.stop) {
    case SendStop::lost_link:
      drop_front(of, host, counters_.drops_link);
      return true;
    case SendStop::not_now:
      refuse_front(port, of, host, around, now);
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
  failures_ = 0;
  flush_class(port, first_, around, now);
  if (wait_ == SendWait::nothing) {
    flush_class(port, others_, around, now);
  }
  if (frames_ != 0 && wait_ == SendWait::nothing) {
    set_wait(SendWait::retry, now);
  }
}

// One frame of each host in turn. A host that was refused sits the rest of this flush out.
void SendQueue::flush_class(std::uint16_t port, Class& of, const Surroundings& around,
                            Nanoseconds now) {
  std::vector<Host>& hosts = of.hosts;
  std::size_t refused = 0;  // so many at the end of the turns
  std::size_t index = 0;
  while (refused < hosts.size() && failures_ < kSendFailuresPerFlush) {
    if (index >= hosts.size() - refused) {
      index = 0;
    }
    const auto turn = hosts.begin() + static_cast<std::ptrdiff_t>(index);
    if (!send_front(port, of, *turn, around, now)) {
      if (wait_ == SendWait::writable) {
        // The next flush begins with this one.
        std::rotate(hosts.begin(), turn, hosts.end());
        return;
      }
      ++failures_;
      if (!turn->waiting.empty()) {
        std::rotate(turn, turn + 1, hosts.end());
        ++refused;
        continue;
      }
    }
    if (turn->waiting.empty()) {
      hosts.erase(turn);
    } else {
      ++index;
    }
  }
}

void SendQueue::lose_everything() {
  counters_.drops_link += frames_;
  first_ = {};
  others_ = {};
  frames_ = 0;
  bytes_ = 0;
  wait_ = SendWait::nothing;
  retry_at_ = kNever;
}

}  // namespace target::shell
