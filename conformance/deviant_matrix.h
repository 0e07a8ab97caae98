#pragma once
// Each deviant in front of each case that must catch it, in process and in virtual time: under
// which clause it is caught, and how hard. What docs/deviants.md is made of. Needs no target but
// the model.

#include <string>
#include <vector>

#include "conformance/cases/registry.h"

namespace conformance {

struct Caught {
  const Case* by = nullptr;
  std::string deviant;
  Verdict verdict = Verdict::pass;  // of the case, against this deviant
  std::string clause;               // of the finding that says so; empty: it says none
  // What every run learns first could not be learnt from it: the case was given what a conforming
  // target would have said.
  bool hides_itself = false;
};

// Every pair that the cases name (fails_on), sorted by deviant, then case.
std::vector<Caught> catch_deviants(const Registry& registry);
std::string deviants_markdown(const Registry& registry);  // docs/deviants.md

}  // namespace conformance
