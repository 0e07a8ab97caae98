// Waits for descriptors and an instant (epoll), and calls who asked. It owns the waiting only, and
// must never know what the descriptors are.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "target/engine/engine.h"
#include "target/linux/fd.h"

namespace target::linux_shell {

// The shell's clock: CLOCK_MONOTONIC.
engine::Nanoseconds monotonic_now();

class EventLoop {
 public:
  // events: EPOLLIN and the like.
  using Handler = std::function<void(std::uint32_t events)>;
  using Token = std::uint64_t;

  EventLoop();

  Token add(int fd, std::uint32_t events, Handler handler);
  void modify(Token token, std::uint32_t events);
  // The descriptor must still be open. The handler is not called any more, even if it was due.
  void remove(Token token);

  // Waits until something is ready or the instant has come (kNever: no limit; in the past: only
  // looks), and calls the handlers of what is ready.
  void run_once(engine::Nanoseconds deadline);

 private:
  struct Entry {
    int fd = -1;
    Handler handler;
  };

  void arm(engine::Nanoseconds deadline);

  UniqueFd epoll_;
  UniqueFd timer_;
  engine::Nanoseconds armed_ = engine::kNever;
  Token next_token_ = 1;  // 0 is the timer's
  std::map<Token, Entry> entries_;
};

}  // namespace target::linux_shell
