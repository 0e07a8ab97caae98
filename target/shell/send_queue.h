// What one port would not take at once: the replies that wait, bounded for each host in bytes, time
// and tries, so that a host whose replies cannot be sent, or a link that is slow, takes nothing
// from the others. It owns the order (each host's own; known hosts before all others, and in each
// of the two classes they take turns) and what is dropped; it must never know what a frame means
// beyond whom it is for.
//
// A frame that the kernel refuses "not now" (ENOBUFS) may be refused for ever: a veth pair says so
// when the peer's MTU is smaller. So such a frame is tried a few times and dropped, and meanwhile
// other hosts' frames go out past it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "target/shell/surroundings.h"
#include "target/wire/mac.h"

namespace target::shell {

inline constexpr Nanoseconds kSendRetry_ns = 1'000'000;
// How often the first frame of a host is tried before it is dropped.
inline constexpr std::uint32_t kSendTriesMax = 10;
// A host that refused a frame of some size gets no second try for as large a frame so long.
inline constexpr Nanoseconds kSendSuspicion_ns = 1'000'000'000;
// Tries in a row that may fail, each for another host, before all wait.
inline constexpr std::size_t kSendFailuresPerFlush = 4;
inline constexpr std::size_t kSendQueueBytesMax = std::size_t{8} << 20;
// What hosts that nobody knows may hold of it together, where somebody is known: addresses are
// forged at will.
inline constexpr std::size_t kSendOthersBytesMax = kSendQueueBytesMax / 2;
inline constexpr std::size_t kSendHostBytesMax = std::size_t{1} << 20;
// An initiator has asked again by then.
inline constexpr Nanoseconds kSendAge_ns_max = 500'000'000;
// Hosts whose refusals are remembered.
inline constexpr std::size_t kSendSuspectsMax = 64;

struct SendCounters {
  std::uint64_t frames = 0;            // taken by the interface
  std::uint64_t queued = 0;            // had to wait for it
  std::uint64_t drops_full = 0;        // the host's share of the queue, or all of it, was full
  std::uint64_t drops_link = 0;        // the interface was down or gone, or refused the frame
  std::uint64_t drops_unsendable = 0;  // refused too often
  std::uint64_t drops_old = 0;         // waited for too long
};

enum class SendWait : std::uint8_t {
  nothing,
  writable,  // on_writable will be called
  retry,     // nobody says when: retry_at()
};

class SendQueue {
 public:
  // Hosts that come first, sorted.
  void set_known(std::vector<wire::MacAddress> known) { known_ = std::move(known); }
  // Sends what can be sent; what cannot waits as a copy.
  void send(std::uint16_t port, std::span<const FrameView> frames, const Surroundings& around);
  // Tries what waits again.
  void flush(std::uint16_t port, const Surroundings& around);
  // The interface is gone, and what waited with it.
  void lose_everything();

  [[nodiscard]] SendWait wait() const { return wait_; }
  [[nodiscard]] Nanoseconds retry_at() const { return retry_at_; }
  [[nodiscard]] std::size_t frames() const { return frames_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] const SendCounters& counters() const { return counters_; }

 private:
  struct Waiting {
    std::vector<std::byte> bytes;
    Nanoseconds since = 0;
    std::uint32_t tries = 0;
  };
  struct Host {
    wire::MacAddress address;
    std::deque<Waiting> waiting;  // never empty
    std::size_t bytes = 0;
  };
  struct Class {
    std::vector<Host> hosts;  // in the order of their turns
    std::size_t bytes = 0;
  };
  struct Suspect {
    wire::MacAddress address;
    std::size_t frame_bytes = 0;  // as large a frame was refused
    Nanoseconds until = 0;
    bool told = false;
  };

  void enqueue(FrameView frame, Nanoseconds now);
  void drop_front(Class& of, Host& host, std::uint64_t& counter);
  void flush_class(std::uint16_t port, Class& of, const Surroundings& around, Nanoseconds now);
  bool send_front(std::uint16_t port, Class& of, Host& host, const Surroundings& around,
                  Nanoseconds now);
  void refuse_front(std::uint16_t port, Class& of, Host& host, const Surroundings& around,
                    Nanoseconds now);
  void drop_old(Nanoseconds now);
  [[nodiscard]] bool waits(const wire::MacAddress& address) const;
  [[nodiscard]] Suspect* suspect(const wire::MacAddress& address);
  void set_wait(SendWait wait, Nanoseconds now);

  std::vector<wire::MacAddress> known_;
  Class first_;               // known hosts
  Class others_;              // all others
  std::size_t failures_ = 0;  // of this flush
  std::vector<Suspect> suspects_;
  std::size_t frames_ = 0;
  std::size_t bytes_ = 0;
  SendWait wait_ = SendWait::nothing;
  Nanoseconds retry_at_ = kNever;
  SendCounters counters_;
};

}  // namespace target::shell
