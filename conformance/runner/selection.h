#pragma once
// Which cases are meant: globs on ids, families, levels, clauses, exclusions, a file of names. What
// matches nothing is an error, with the nearest names. Pure but for reading the file.

#include <stdexcept>
#include <string>
#include <vector>

#include "conformance/cases/registry.h"

namespace conformance {

struct Selection {
  std::vector<std::string> cases;  // globs
  std::vector<std::string> families;
  std::vector<std::string> levels;
  std::vector<std::string> clauses;   // globs
  std::vector<std::string> excluded;  // globs
  std::vector<std::string> files;     // of ids, one a line, # comments
};

// Why a file that was named cannot be read: there is none, it is a directory, it is empty.
std::string unreadable(const std::string& path);

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// In the registry's order. Throws UsageError.
std::vector<const Case*> select(const Registry& registry, const Selection& selection);

// Another order, the same for the same seed on every machine.
void shuffle(std::vector<const Case*>& cases, uint64_t seed);

bool glob_matches(const std::string& glob, const std::string& text);
// The (at most three) candidates that look most like `text`.
std::vector<std::string> nearest(const std::string& text,
                                 const std::vector<std::string>& candidates);

}  // namespace conformance
