// Waits for descriptors and an instant: see event_loop.h.
#include "target/linux/event_loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <ctime>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

constexpr EventLoop::Token kTimerToken = 0;
constexpr int kEventsPerWait = 64;
constexpr engine::Nanoseconds kSecond_ns = 1'000'000'000;

}  // namespace

engine::Nanoseconds monotonic_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond_ns + now.tv_nsec;
}

EventLoop::EventLoop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kTimerToken;
  if (!epoll_.valid() || !timer_.valid() ||
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), &event) != 0) {
    throw StartError(fmt::format("cannot make an epoll set: {}: raise the limit of open files",
                                 errno_text(errno)));
  }
}

EventLoop::Token EventLoop::add(int fd, std::uint32_t events, Handler handler) {
  const Token token = next_token_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw StartError(fmt::format("cannot watch descriptor {}: {}", fd, errno_text(errno)));
  }
  entries_.emplace(token, Entry{fd, std::move(handler)});
  return token;
}

void EventLoop::modify(Token token, std::uint32_t events) {
  const auto entry = entries_.find(token);
  assert(entry != entries_.end());
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  [[maybe_unused]] const int result =
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, entry->second.fd, &event);
  assert(result == 0);
}

void EventLoop::remove(Token token) {
  const auto entry = entries_.find(token);
  assert(entry != entries_.end());
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->second.fd, nullptr);
  entries_.erase(entry);
}

void EventLoop::arm(engine::Nanoseconds deadline) {
  if (deadline == armed_) {
    return;
  }
  armed_ = deadline;
  itimerspec when{};  // zero disarms
  if (deadline != engine::kNever) {
    when.it_value.tv_sec = deadline / kSecond_ns;
    when.it_value.tv_nsec = deadline % kSecond_ns;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void EventLoop::run_once(engine::Nanoseconds deadline) {
  const bool only_look = deadline <= monotonic_now();
  if (!only_look) {
    arm(deadline);
  }
  std::array<epoll_event, kEventsPerWait> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerWait, only_look ? 0 : -1);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    // A copy: the kernel packs the structure, and nothing may refer to a misaligned member.
    const Token token = event.data.u64;
    if (token == kTimerToken) {
      std::uint64_t expirations = 0;
      [[maybe_unused]] const ssize_t got = ::read(timer_.get(), &expirations, sizeof expirations);
      armed_ = engine::kNever;
      continue;
    }
    const auto entry = entries_.find(token);
    if (entry == entries_.end()) {
      continue;  // a handler before it took it away
    }
    // A copy: the handler may remove itself.
    const Handler handler = entry->second.handler;
    handler(event.events);
  }
}

}  // namespace target::linux_shell
