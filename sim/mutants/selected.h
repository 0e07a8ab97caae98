// Which deliberate bug this process carries: 0 is none. The mutated sources read it; the
// environment (AOE_MUTANT=name) or the program sets it.
#pragma once

#include <string_view>

extern int aoe_mutant;

namespace sim::mutants {

// False when there is no such mutant.
bool select(std::string_view name);
void print_names();

}  // namespace sim::mutants
