// The list of all cases.

#include "conformance/cases/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "conformance/cases/families.h"  // generated: one register_* for each file of a family

namespace conformance {

void Registry::add(Case c) {
  cases_.push_back(std::move(c));
}

void Registry::add(deviants::Deviant d) {
  const std::string name = d.name;
  if (!deviants_.emplace(name, std::move(d)).second) {
    doubled_.push_back(name);
  }
}

const Case* Registry::find(const std::string& id) const {
  const auto it =
      std::find_if(cases_.begin(), cases_.end(), [&](const Case& c) { return c.id == id; });
  return it == cases_.end() ? nullptr : &*it;
}

const Clause* Registry::clause(const std::string& id) const {
  const auto it =
      std::find_if(clauses_.begin(), clauses_.end(), [&](const Clause& c) { return c.id == id; });
  return it == clauses_.end() ? nullptr : &*it;
}

std::vector<std::string> Registry::problems() const {
  std::vector<std::string> out;
  for (const std::string& name : doubled_) {
    out.push_back(fmt::format("deviant '{}' is defined twice", name));
  }
  std::set<std::string> ids, clause_ids, failed_on;
  for (const Clause& c : clauses_) {
    if (!clause_ids.insert(c.id).second) {
      out.push_back(fmt::format("clause '{}' stands twice in clauses.tsv", c.id));
    }
  }
  for (const Case& c : cases_) {
    if (!ids.insert(c.id).second) {
      out.push_back(fmt::format("case '{}' is defined twice", c.id));
    }
    if (c.clauses.empty()) {
      out.push_back(fmt::format("case '{}' names no clause", c.id));
    }
    if (c.fails_on.empty()) {
      out.push_back(fmt::format("case '{}' names no deviant that fails it (fails_on)", c.id));
    }
    if (!c.run) {
      out.push_back(fmt::format("case '{}' does nothing", c.id));
    }
    for (const std::string& id : c.clauses) {
      if (clause_ids.count(id) == 0) {
        out.push_back(fmt::format("case '{}': clause '{}' is not in clauses.tsv", c.id, id));
      }
    }
    for (const std::string& name : c.fails_on) {
      failed_on.insert(name);
      if (deviants_.count(name) == 0) {
        out.push_back(fmt::format("case '{}': no deviant is named '{}'", c.id, name));
      }
    }
  }
  for (const auto& [name, deviant] : deviants_) {
    if (failed_on.count(name) == 0) {
      out.push_back(fmt::format("deviant '{}' is caught by no case", name));
    }
  }
  return out;
}

static Level level_from(std::string_view text) {
  return text == "MUST"     ? Level::must
         : text == "SHOULD" ? Level::should
         : text == "MAY"    ? Level::may
                            : Level::interop;
}

static std::vector<Clause> parse_clauses(std::string_view tsv) {
  std::vector<Clause> out;
  while (!tsv.empty()) {
    const size_t end = std::min(tsv.find('\n'), tsv.size());
    std::string_view line = tsv.substr(0, end);
    tsv.remove_prefix(std::min(end + 1, tsv.size()));
    if (line.empty() || line.front() == '#') {
      continue;
    }
    std::vector<std::string> columns;
    for (;;) {
      const size_t tab = line.find('\t');
      columns.emplace_back(line.substr(0, tab));
      if (tab == std::string_view::npos) {
        break;
      }
      line.remove_prefix(tab + 1);
    }
    constexpr size_t columns_wanted = 5;
    columns.resize(columns_wanted);
    out.push_back({columns[0], columns[1], columns[2], level_from(columns[3]), columns[4]});
  }
  return out;
}

const Registry& Registry::all() {
  static const Registry registry = [] {
    Registry r;
    r.clauses_ = parse_clauses(kClausesTsv);
    register_families(r);
    std::stable_sort(r.cases_.begin(), r.cases_.end(),
                     [](const Case& a, const Case& b) { return a.family() < b.family(); });
    return r;
  }();
  return registry;
}

std::string to_string(Need need) {
  switch (need) {
    case Need::write:
      return "write";
    case Need::config:
      return "config";
    case Need::lockout:
      return "lockout";
    case Need::stress:
      return "stress";
    case Need::unknown:
      return "unknown";
    case Need::second_initiator:
      return "second-initiator";
    case Need::jumbo:
      return "jumbo";
    case Need::target_command:
      return "target-command";
  }
  return "?";
}

}  // namespace conformance
