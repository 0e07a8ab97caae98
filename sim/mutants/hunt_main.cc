// A program for one deliberate bug: seeds until a checker finds it. Exit 0: found.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sim/commands.h"

namespace {

// An assertion that stops the engine is a way of being found.
extern "C" void on_crash(int) {
  constexpr std::string_view kMessage = "found: the engine broke an assertion\n";
  [[maybe_unused]] const ssize_t written = ::write(1, kMessage.data(), kMessage.size());
  ::_exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, on_crash);
  std::signal(SIGSEGV, on_crash);
  return argc == 3 ? sim::hunt(argv[1], std::strtoull(argv[2], nullptr, 10)) : 2;
}
