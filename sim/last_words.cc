// Assertions arrive by __assert_fail, which a program may define itself.
#include "sim/last_words.h"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace sim {
namespace {

constexpr std::size_t kExpressionLetters = 60;

LastWords words_of_this_process = nullptr;

void speak(const std::string& signature, const std::string& text) {
  const LastWords words = words_of_this_process;
  words_of_this_process = nullptr;  // who dies while speaking says no more
  if (words != nullptr) {
    words(signature, text);
  }
}

// A run is one thread that is not inside malloc when an assertion breaks; for a signal it may be,
// and then it dies a second time, silently: the signal itself is still the answer.
extern "C" void on_fatal_signal(int signal) {
  std::signal(signal, SIG_DFL);
  ::alarm(2);  // a lock that nobody will open
  if (signal == SIGVTALRM) {
    speak("hang", "the run used its processor time without coming to an end");
  } else {
    speak(fmt::format("crash:signal-{}", signal), "the engine or the simulator was stopped");
  }
  std::raise(signal);
}

}  // namespace

std::string assertion_signature(const char* expression, const char* file, const char* function) {
  std::string_view path(file);
  path.remove_prefix(path.find_last_of('/') == std::string_view::npos ? 0
                                                                      : path.find_last_of('/') + 1);
  std::string_view name(function);
  name = name.substr(0, name.find('('));
  name.remove_prefix(
      name.find_last_of(": ") == std::string_view::npos ? 0 : name.find_last_of(": ") + 1);
  std::string what;
  for (const char letter : std::string_view(expression)) {
    if (letter != ' ' && what.size() < kExpressionLetters) {
      what += letter;
    }
  }
  return fmt::format("crash:{}:{}:{}", path, name, what);
}

void install_last_words(LastWords words) {
  words_of_this_process = words;
  constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGVTALRM};
  for (const int signal : kSignals) {
    std::signal(signal, words == nullptr ? SIG_DFL : on_fatal_signal);
  }
}

void arm_watchdog(unsigned seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  ::setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

}  // namespace sim

// glibc's, but told apart by place.
extern "C" [[noreturn]] void __assert_fail(const char* expression, const char* file,
                                           unsigned int line, const char* function) noexcept {
  fmt::print(stderr, "{}:{}: {}: Assertion `{}' failed.\n", file, line, function, expression);
  sim::speak(sim::assertion_signature(expression, file, function),
             fmt::format("{}:{}: assertion `{}' failed", file, line, expression));
  std::signal(SIGABRT, SIG_DFL);
  std::abort();
}
