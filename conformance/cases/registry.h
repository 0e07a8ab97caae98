#pragma once
// What a case is, and the list of all of them. A family is one file in cases/ with one function
// `void register_<file>(Registry&)`; the build finds it by its name. Knows nothing of running them.

#include <functional>
#include <map>

#include "conformance/cases/context.h"
#include "conformance/deviants/model_target.h"

namespace conformance {

// What must be there, or allowed, for a case to run. The first five are permissions (--allow),
// told apart by the gate in front of the wire (links/gate.h).
enum class Need {
  write,             // writes inside the scratch range
  config,            // changes the config string
  lockout,           // mask and reserve lists: somebody may be locked out for a moment
  stress,            // thousands of frames, pauses
  unknown,           // commands that AoE does not know: nobody can say what they do
  second_initiator,  // a second source address on the link
  jumbo,             // an MTU of at least 9,000
  target_command,    // the suite itself starts the target
};

struct Clause {
  std::string id;
  std::string document;
  std::string section;
  Level level = Level::must;
  std::string text;
};

struct Case {
  std::string id;     // family.subject.statement, stable, never a position
  std::string title;  // one sentence
  std::vector<std::string> clauses;
  Level level = Level::must;
  std::vector<Need> needs = {};
  std::vector<std::string> extensions =
      {};                             // of AoEde: a target that lacks one is judged `unsupported`
  bool hostile = false;               // the target is asked for a sign of life afterwards
  std::vector<std::string> fails_on;  // deviants that must not get through, at least one
  std::function<void(Context&)> run = {};

  std::string family() const { return id.substr(0, id.find('.')); }
};

class Registry {
 public:
  void add(Case c);
  void add(deviants::Deviant d);

  const std::vector<Case>& cases() const { return cases_; }
  const std::map<std::string, deviants::Deviant>& deviants() const { return deviants_; }
  const std::vector<Clause>& clauses() const { return clauses_; }
  const Case* find(const std::string& id) const;
  const Clause* clause(const std::string& id) const;

  // Faults of the list itself: doubled ids, unknown clauses or deviants, a case without a deviant.
  // Empty when sound.
  std::vector<std::string> problems() const;

  static const Registry& all();  // every family, and clauses.tsv

 private:
  std::vector<Case> cases_;
  std::map<std::string, deviants::Deviant> deviants_;
  std::vector<Clause> clauses_;
  std::vector<std::string> doubled_;
};

std::string to_string(Need need);

}  // namespace conformance
