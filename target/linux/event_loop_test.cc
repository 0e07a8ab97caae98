// The loop waits for what it was told to wait for, and calls nobody who was taken away.
#include "target/linux/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace target::linux_shell {
namespace {

struct Bell {
  UniqueFd fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  void ring() const {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(fd.get(), &one, sizeof one), 8);
  }
};

TEST(EventLoop, CallsTheHandlerOfWhatIsReady) {
  EventLoop loop;
  const Bell a, b;
  int calls_a = 0;
  int calls_b = 0;
  loop.add(a.fd.get(), EPOLLIN, [&](std::uint32_t) { ++calls_a; });
  loop.add(b.fd.get(), EPOLLIN, [&](std::uint32_t) { ++calls_b; });
  b.ring();
  loop.run_once(engine::kNever);
  EXPECT_EQ(calls_a, 0);
  EXPECT_EQ(calls_b, 1);
}

TEST(EventLoop, ReturnsAtTheInstantAndNotBefore) {
  EventLoop loop;
  const auto deadline = monotonic_now() + 2'000'000;
  loop.run_once(deadline);
  EXPECT_GE(monotonic_now(), deadline);
  // The same again: the timer is armed anew after it has fired.
  const auto later = monotonic_now() + 2'000'000;
  loop.run_once(later);
  EXPECT_GE(monotonic_now(), later);
}

TEST(EventLoop, AnInstantInThePastOnlyLooks) {
  EventLoop loop;
  loop.run_once(0);
  SUCCEED() << "and did not wait for ever";
}

TEST(EventLoop, ForgetsWhatWasRemovedEvenWhenItIsDue) {
  EventLoop loop;
  const Bell a, b;
  int calls = 0;
  EventLoop::Token token_a = 0;
  EventLoop::Token token_b = 0;
  token_a = loop.add(a.fd.get(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    loop.remove(token_a);
    loop.remove(token_b);
  });
  token_b = loop.add(b.fd.get(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    loop.remove(token_a);
    loop.remove(token_b);
  });
  a.ring();
  b.ring();
  loop.run_once(engine::kNever);
  loop.run_once(0);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, DoesNotWatchWhatIsMuted) {
  EventLoop loop;
  const Bell a;
  int calls = 0;
  const auto token = loop.add(a.fd.get(), EPOLLIN, [&](std::uint32_t) { ++calls; });
  a.ring();
  loop.modify(token, 0);
  loop.run_once(0);
  EXPECT_EQ(calls, 0);
  loop.modify(token, EPOLLIN);
  loop.run_once(0);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace target::linux_shell
