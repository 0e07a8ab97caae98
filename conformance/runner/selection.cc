// Which cases are meant.

#include "conformance/runner/selection.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>

namespace conformance {

std::string unreadable(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    return std::strerror(errno);
  }
  return S_ISDIR(info.st_mode)             ? "it is a directory, and a file is wanted"
         : access(path.c_str(), R_OK) != 0 ? std::strerror(errno)
                                           : "there is nothing in it";
}

bool glob_matches(const std::string& glob, const std::string& text) {
  return fnmatch(glob.c_str(), text.c_str(), 0) == 0;
}

static size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

std::vector<std::string> nearest(const std::string& text,
                                 const std::vector<std::string>& candidates) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const std::string& c : candidates) {
    // A part of a name is as near as a misspelling.
    const bool part = text.size() > 2 && c.find(text) != std::string::npos;
    ranked.emplace_back(part ? 0 : distance(text, c), c);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  constexpr size_t names_max = 3;
  std::vector<std::string> out;
  for (const auto& [d, c] : ranked) {
    if (out.size() < names_max && d <= std::max<size_t>(text.size(), 4)) {
      out.push_back(c);
    }
  }
  return out;
}

namespace {

[[noreturn]] void nothing(const char* what, const std::string& pattern,
                          const std::vector<std::string>& candidates) {
  std::string near;
  for (const std::string& n : nearest(pattern, candidates)) {
    near += (near.empty() ? "" : ", ") + n;
  }
  throw UsageError(fmt::format("no {} matches '{}'{} (see `aoe-conformance list`)", what, pattern,
                               near.empty() ? "" : fmt::format("; nearest: {}", near)));
}

// The patterns that fit, each having to match something.
template <typename Matches>
std::vector<bool> matching(const std::vector<Case>& cases, const char* what,
                           const std::vector<std::string>& patterns,
                           const std::vector<std::string>& candidates, Matches matches) {
  std::vector<bool> hit(cases.size(), patterns.empty());
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (matches(pattern, cases[i])) {
        hit[i] = any = true;
      }
    }
    if (!any) {
      nothing(what, pattern, candidates);
    }
  }
  return hit;
}

std::vector<std::string> names_in(const std::string& path) {
  std::ifstream file(path);
  if (!file || file.peek() == std::ifstream::traits_type::eof()) {
    throw UsageError(fmt::format("--cases-from {}: {}", path, unreadable(path)));
  }
  std::vector<std::string> out;
  for (std::string line; std::getline(file, line);) {
    line = line.substr(0, line.find('#'));
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
      line.pop_back();
    }
    line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
    if (!line.empty()) {
      out.push_back(line);
    }
  }
  if (out.empty()) {
    throw UsageError(fmt::format("--cases-from {}: no names in it", path));
  }
  return out;
}

std::string upper(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::toupper(c); });
  return s;
}

}  // namespace

std::vector<const Case*> select(const Registry& registry, const Selection& selection) {
  const std::vector<Case>& cases = registry.cases();
  std::vector<std::string> ids, families, clauses;
  for (const Case& c : cases) {
    ids.push_back(c.id);
    if (families.empty() || families.back() != c.family()) {
      families.push_back(c.family());
    }
  }
  for (const Clause& c : registry.clauses()) {
    clauses.push_back(c.id);
  }
  std::vector<std::string> patterns = selection.cases;
  for (const std::string& file : selection.files) {
    const auto names = names_in(file);
    patterns.insert(patterns.end(), names.begin(), names.end());
  }
  const auto by_id = matching(cases, "case", patterns, ids,
                              [](const auto& p, const Case& c) { return glob_matches(p, c.id); });
  const auto by_family =
      matching(cases, "family", selection.families, families,
               [](const auto& p, const Case& c) { return glob_matches(p, c.family()); });
  const auto by_level =
      matching(cases, "level", selection.levels, {"MUST", "SHOULD", "MAY", "INTEROP"},
               [](const auto& p, const Case& c) { return upper(p) == to_string(c.level); });
  const auto by_clause =
      matching(cases, "clause", selection.clauses, clauses, [](const auto& p, const Case& c) {
        return std::any_of(c.clauses.begin(), c.clauses.end(),
                           [&](const std::string& id) { return glob_matches(p, id); });
      });
  auto excluded = matching(cases, "case to exclude", selection.excluded, ids,
                           [](const auto& p, const Case& c) { return glob_matches(p, c.id); });
  if (selection.excluded.empty()) {
    excluded.assign(cases.size(), false);
  }
  std::vector<const Case*> out;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (by_id[i] && by_family[i] && by_level[i] && by_clause[i] && !excluded[i]) {
      out.push_back(&cases[i]);
    }
  }
  if (out.empty()) {
    throw UsageError(
        "the selection is empty: each pattern matches something, but no case all of them");
  }
  return out;
}

// By hand, for std::shuffle's order is each library's own.
void shuffle(std::vector<const Case*>& cases, uint64_t seed) {
  std::mt19937_64 draw(seed);
  for (size_t left = cases.size(); left > 1; --left) {
    std::swap(cases[left - 1], cases[draw() % left]);
  }
}

}  // namespace conformance
