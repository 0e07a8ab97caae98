// What a target is known to do wrong.

#include "conformance/report/baseline.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>

#include "conformance/report/words.h"
#include "conformance/runner/selection.h"

namespace conformance::report {

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
    if (const toml::node* day = t->get("expires")) {
      const auto date = day->value<toml::date>();
      if (!date) {
        throw std::runtime_error(fmt::format("{}:{}: 'expires' is a date (expires = 2027-01-31)",
                                             path, node.source().begin.line));
      }
      known.expires = fmt::format("{:04}-{:02}-{:02}", date->year, date->month, date->day);
    }
    // What a run says of itself (runner/run.cc) may be known as well.
    const bool of_the_run = known.id == "run.target-left-as-found" ||
                            known.id == "run.putting-back" || known.id == "run.learning";
    if (!of_the_run && Registry::all().find(known.id) == nullptr) {
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
    const bool is_case = Registry::all().find(c.id) != nullptr;  // not the run's own closing check
    if (is_case && (is_bad(c.verdict) || c.verdict == Verdict::warn) && c.started_ns != 0) {
      entries.push_back(toml::table{{"case", c.id},
                                    {"verdict", to_string(c.verdict)},
                                    {"reason", c.known.empty() ? reason : c.known}});
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
    out << "\n[[known]]\ncase = " << text("case") << "\nverdict = " << text("verdict")
        << "\nreason = " << text("reason") << "\n";
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
    } else if (it->verdict == c.verdict && has_expired(*it)) {
      report.baseline_surprises.push_back(fmt::format("{} is known to {}, but only until {}: {}",
                                                      c.id, to_string(c.verdict), it->expires,
                                                      it->reason));
    } else if (it->verdict == c.verdict) {
      c.known = it->reason;
    } else if (c.verdict != Verdict::skip) {
      report.baseline_surprises.push_back(fmt::format("{} is known to {}, and now it is {}", c.id,
                                                      to_string(it->verdict),
                                                      to_string(c.verdict)));
    }
  }
}

}  // namespace conformance::report
