#pragma once
// Each deviant in front of the suite, in process and in virtual time: under which clauses it is
// caught, and how hard. In front of each case that names it, and in front of the whole suite, as a
// user runs it. What conformance/deviants.tsv and docs/deviants.md are made of. Needs no target but
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

// What a whole run says of a deviant; a line of conformance/deviants.tsv.
struct Told {
  std::string deviant;
  // Clauses of the cases that name it, with how hard they are broken: "HDR-TAG CFG-CCMD:warn". A
  // target that no run gets hold of is "(unreachable)"; one that is only remarked upon "(info)";
  // one that is found under clauses of other cases only "(others)"; one of which the run says that
  // it cannot tell "(inconclusive)".
  std::string own;
  // All other clauses of which a run says `fail`: what follows from it. "run.target-left-as-found"
  // for that check, "run.incomplete" for a run that ended early.
  std::string also;
  bool operator==(const Told&) const = default;
};
std::string to_line(const Told& told);
// By running everything that there is against it, with everything allowed.
Told run_whole(const Registry& registry, const deviants::Deviant& deviant);
// What conformance/deviants.tsv says, as it stands in this program.
const std::vector<Told>& told_of_deviants();

}  // namespace conformance
