#pragma once
// Initiators that the suite knows the needs of. A clause of level INTEROP names its initiator as
// its document; what the Linux driver needs always counts, what another one needs when the user
// says so. Knows nothing of how a need is asked for.

#include <set>

#include "conformance/cases/registry.h"

namespace conformance {

struct Profile {
  std::string name;      // "plan9", as --profile takes it
  std::string document;  // "Plan 9", as clauses.tsv has it
};
const std::vector<Profile>& profiles();

// Whose needs this case asks for; nullptr: it is no case of level INTEROP.
const Profile* profile_of(const Case& c, const Registry& registry);

// The level at which a case counts. A need of an initiator that nobody asked for is told only.
Level counted_level(const Case& c, const Registry& registry, const std::set<std::string>& wanted);

}  // namespace conformance
