// The names, in the order of their numbers, are written by mutants.cmake.
#include "sim/mutants/selected.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace sim::mutants {
namespace {

constexpr const char* kNames[] = {
#include "mutants/names.inc"
};

int number_of(std::string_view name) {
  for (int number = 0; const char* known : kNames) {
    if (name == known) {
      return number;
    }
    ++number;
  }
  return -1;
}

int from_environment() {
  const char* name = std::getenv("AOE_MUTANT");
  const int number = name == nullptr ? 0 : number_of(name);
  if (number < 0) {
    std::fprintf(stderr, "AOE_MUTANT=%s: there is no such mutant\n", name);
    std::exit(2);
  }
  return number;
}

}  // namespace

bool select(std::string_view name) {
  aoe_mutant = number_of(name);
  return aoe_mutant >= 0;
}

void print_names() {
  for (const char* name : kNames) {
    std::puts(name);
  }
}

}  // namespace sim::mutants

int aoe_mutant = sim::mutants::from_environment();
