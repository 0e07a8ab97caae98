#pragma once
// What the suite knows about itself, as text and as Markdown: cases, clauses, coverage. Needs no
// target.

#include <string>
#include <vector>

#include "conformance/cases/registry.h"

namespace conformance {

std::string list_text(const std::vector<const Case*>& cases);
std::string cases_markdown(const std::vector<const Case*>& cases);
std::string deviants_text(
    const Registry& registry);  // each with what it does wrong    // docs/cases.md
std::string clauses_text(const Registry& registry);      // coverage both ways
std::string clauses_markdown(const Registry& registry);  // docs/clauses.md
std::string show_text(const Registry& registry, const Case& c);

}  // namespace conformance
