// What a target is known to do wrong.

#include "conformance/report/baseline.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string_view>

#include "conformance/report/words.h"
#include "conformance/runner/selection.h"

namespace conformance::report {

namespace {

// A case, or what a run says of itself (runner/run.cc).
bool may_be_known(const std::string& id) {
  return Registry::all().find(id) != nullptr || id == "run.target-left-as-found" ||
         id == "run.putting-back" || id == "run.learning" || id == "run.answered-once" ||
         id == "run.target-answers" || id.rfind("run.observed.", 0) == 0;
}

// '*' stands for any text.
bool fits(std::string_view pattern, std::string_view text) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) {
    return pattern == text;
  }
  if (text.substr(0, star) != pattern.substr(0, star)) {
    return false;
  }
  for (size_t at = star; at <= text.size(); ++at) {
    if (fits(pattern.substr(star + 1), text.substr(at))) {
      return true;
    }
  }
  return false;
}

// The finding that its verdict comes from.
const Finding* decisive(const CaseResult& c) {
  const auto it = std::find_if(c.findings.begin(), c.findings.end(),
                               [&](const Finding& f) { return f.verdict == c.verdict; });
  return it == c.findings.end() ? nullptr : &*it;
}

std::string clause_of(const CaseResult& c) {
  const Finding* f = decisive(c);
  return f == nullptr ? "" : f->clause;
}
std::string finding_of(const CaseResult& c) {
  const Finding* f = decisive(c);
  return f == nullptr ? c.reason : f->headline;
}

std::string described(Verdict verdict, const std::string& clause, const std::string& finding) {
  return to_string(verdict) + (clause.empty() ? "" : " under " + clause) +
         (finding.empty() ? "" : ": " + finding);
}

}  // namespace

std::string differs(const Known& known, Verdict verdict, const std::string& clause,
                    const std::string& finding) {
  if (verdict == Verdict::skip) {
    return {};
  }
  if (verdict != known.verdict) {
    return fmt::format("is known to {}, and now it is {}", to_string(known.verdict),
                       to_string(verdict));
  }
  if ((known.clause.empty() || known.clause == clause) &&
      (known.finding.empty() || fits(known.finding, finding))) {
    return {};
  }
  return fmt::format("is known to {}, and now it is {}",
                     described(known.verdict, known.clause, known.finding),
                     described(verdict, clause, finding));
}

std::vector<Known> read_baseline(const std::string& path) {
  if (std::ifstream in(path); !in || in.peek() == std::ifstream::traits_type::eof()) {
    throw std::runtime_error(path + ": " + unreadable(path));
  }
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    throw std::runtime_error(
        fmt::format("{}:{}: {}", path, e.source().begin.line, e.description()));
  }
  std::vector<Known> out;
  const toml::array* entries = file["known"].as_array();
  if (entries == nullptr) {
    throw std::runtime_error(fmt::format("{}: no [[known]] tables", path));
  }
  for (const toml::node& node : *entries) {
    const toml::table* t = node.as_table();
    const auto text = [&](const char* key) {
      const auto value = t == nullptr ? std::nullopt : (*t)[key].value<std::string>();
      if (!value || value->empty()) {
        throw std::runtime_error(fmt::format("{}:{}: a [[known]] table needs '{}', a text", path,
                                             node.source().begin.line, key));
      }
      return *value;
    };
    Known known;
    known.id = text("case");
    known.reason = text("reason");
    const std::string verdict = text("verdict");
    const auto it = std::find_if(std::begin(kVerdicts), std::end(kVerdicts),
                                 [&](Verdict v) { return to_string(v) == verdict; });
    if (it == std::end(kVerdicts)) {
      throw std::runtime_error(
          fmt::format("{}:{}: '{}' is no verdict", path, node.source().begin.line, verdict));
    }
    known.verdict = *it;
    for (const auto& [key, into] :
         {std::pair{"clause", &known.clause}, {"finding", &known.finding}}) {
      if (t->contains(key)) {
        *into = text(key);
      }
    }
    if (!known.clause.empty() && Registry::all().clause(known.clause) == nullptr) {
      throw std::runtime_error(fmt::format("{}:{}: there is no clause '{}'", path,
                                           node.source().begin.line, known.clause));
    }
    if (const toml::node* day = t->get("expires")) {
      const auto date = day->value<toml::date>();
      if (!date) {
        throw std::runtime_error(fmt::format("{}:{}: 'expires' is a date (expires = 2027-01-31)",
                                             path, node.source().begin.line));
      }
      known.expires = fmt::format("{:04}-{:02}-{:02}", date->year, date->month, date->day);
    }
    if (!may_be_known(known.id)) {
      throw std::runtime_error(
          fmt::format("{}:{}: there is no case '{}'", path, node.source().begin.line, known.id));
    }
    out.push_back(known);
  }
  return out;
}

bool has_expired(const Known& known) {
  const time_t now = std::time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  const std::string today =
      fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
  return !known.expires.empty() && known.expires < today;
}

std::string baseline_text(const Report& report, const std::string& reason) {
  std::ostringstream out;
  toml::array entries;
  for (const CaseResult& c : report.cases) {
    if (may_be_known(c.id) && (is_bad(c.verdict) || c.verdict == Verdict::warn) &&
        c.started_ns != 0) {
      toml::table entry{{"case", c.id},
                        {"verdict", to_string(c.verdict)},
                        {"finding", finding_of(c)},
                        {"reason", c.known.empty() ? reason : c.known}};
      if (!clause_of(c).empty()) {
        entry.insert("clause", clause_of(c));
      }
      entries.push_back(entry);
    }
  }
  out << "# What this target is known to do wrong, for aoe-conformance run --baseline.\n";
  if (entries.empty()) {
    return out.str() + "known = []\n";
  }
  for (const toml::node& entry : entries) {
    const auto text = [&](const char* key) {
      std::ostringstream value;
      value << toml::value<std::string>((*entry.as_table())[key].value_or(std::string()));
      return value.str();
    };
    out << "\n[[known]]\n";
    for (const char* key : {"case", "verdict", "clause", "finding", "reason"}) {
      if (entry.as_table()->contains(key)) {
        out << key << " = " << text(key) << "\n";
      }
    }
  }
  return out.str();
}

void hold_against(const std::vector<Known>& known, Report& report) {
  report.baseline_used = true;
  for (CaseResult& c : report.cases) {
    const bool bad = c.verdict == Verdict::fail || c.verdict == Verdict::warn ||
                     c.verdict == Verdict::inconclusive || c.verdict == Verdict::error;
    const auto it =
        std::find_if(known.begin(), known.end(), [&](const Known& k) { return k.id == c.id; });
    if (it == known.end()) {
      if (bad) {
        report.baseline_surprises.push_back(
            fmt::format("{} is not known to {}: {}", c.id, to_string(c.verdict), c.reason));
      }
      continue;
    }
    const std::string other = differs(*it, c.verdict, clause_of(c), finding_of(c));
    if (!other.empty()) {
      report.baseline_surprises.push_back(fmt::format("{} {}", c.id, other));
    } else if (it->verdict == c.verdict && has_expired(*it)) {
      report.baseline_surprises.push_back(fmt::format("{} is known to {}, but only until {}: {}",
                                                      c.id, to_string(c.verdict), it->expires,
                                                      it->reason));
    } else if (it->verdict == c.verdict) {
      c.known = it->reason;
    }
  }
}

}  // namespace conformance::report
