// A program for one deliberate bug: seeds until a checker finds it. Exit 0: found.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "sim/commands.h"
#include "sim/last_words.h"

namespace {

// An assertion that stops the engine is a way of being found.
void on_death(const std::string& signature, const std::string& text) {
  std::printf("found: %s: %s\n", signature.c_str(), text.c_str());
  std::fflush(stdout);
  ::_exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  sim::install_last_words(on_death);
  return argc == 3 ? sim::hunt(argv[1], std::strtoull(argv[2], nullptr, 10)) : 2;
}
