// Initiators that the suite knows the needs of.

#include "conformance/runner/profile.h"

#include <algorithm>

namespace conformance {

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> all = {
      {"linux", "Linux driver"}, {"ipxe", "iPXE"}, {"plan9", "Plan 9"}, {"winaoe", "WinAoE"}};
  return all;
}

const Profile* profile_of(const Case& c, const Registry& registry) {
  if (c.level != Level::interop) {
    return nullptr;
  }
  for (const std::string& id : c.clauses) {
    const Clause* clause = registry.clause(id);
    const auto it = std::find_if(profiles().begin(), profiles().end(), [&](const Profile& p) {
      return clause != nullptr && p.document == clause->document;
    });
    if (it != profiles().end()) {
      return &*it;
    }
  }
  return &profiles().front();
}

Level counted_level(const Case& c, const Registry& registry, const std::set<std::string>& wanted) {
  const Profile* profile = profile_of(c, registry);
  if (profile == nullptr || profile == &profiles().front() || wanted.count(profile->name) != 0) {
    return c.level;
  }
  return Level::may;
}

}  // namespace conformance
