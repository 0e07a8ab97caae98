// Reports of several runs.

#include "conformance/report/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "conformance/report/words.h"
#include "conformance/runner/selection.h"

namespace conformance::report {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

Verdict verdict_of(const std::string& word) {
  const auto it = std::find_if(std::begin(kVerdicts), std::end(kVerdicts),
                               [&](Verdict v) { return to_string(v) == word; });
  if (it == std::end(kVerdicts)) {
    throw std::runtime_error(fmt::format("'{}' is no verdict", word));
  }
  return *it;
}

PastRun read_document(const json& j) {
  PastRun run;
  run.version = j.at("version").get<std::string>();
  run.started = j.at("started").get<std::string>();
  run.mtu = j.at("port").at("mtu").get<uint64_t>();
  const json& t = j.at("target");
  run.target = t.is_null() ? "no target was found"
                           : fmt::format("{}.{} at {}, {}", t.at("shelf").get<int>(),
                                         t.at("slot").get<int>(), t.at("mac").get<std::string>(),
                                         t.at("model").get<std::string>());
  for (const json& c : j.at("cases")) {
    PastCase one;
    one.id = c.at("id").get<std::string>();
    one.title = c.value("title", "");
    one.level = c.at("level").get<std::string>();
    one.reason = c.at("reason").get<std::string>();
    one.known = c.at("known").get<std::string>();
    one.clauses = c.at("clauses").get<std::vector<std::string>>();
    one.verdict = verdict_of(c.at("verdict").get<std::string>());
    one.finding = one.reason;
    for (const json& f : c.value("findings", json::array())) {
      if (f.value("verdict", "") == to_string(one.verdict)) {
        one.clause = f.value("clause", "");
        one.finding = f.value("headline", "");
        break;
      }
    }
    run.cases.push_back(std::move(one));
  }
  return run;
}

std::string name_of(const std::string& path, bool with_folder) {
  const size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string ending = ".json";
  if (name.size() > ending.size() && name.ends_with(ending)) {
    name.resize(name.size() - ending.size());
  }
  if (!with_folder || slash == std::string::npos) {
    return name;
  }
  const std::string folder = path.substr(0, slash);
  return folder.substr(folder.rfind('/') + 1) + "/" + name;
}

std::string word(const std::optional<Verdict>& v) {
  return v ? to_string(*v) : "not asked";
}

}  // namespace

const PastCase* PastRun::find(const std::string& id) const {
  const auto it =
      std::find_if(cases.begin(), cases.end(), [&](const PastCase& c) { return c.id == id; });
  return it == cases.end() ? nullptr : &*it;
}

PastRun read_report(const std::string& path) {
  std::ifstream in(path);
  if (!in || in.peek() == std::ifstream::traits_type::eof()) {
    throw std::runtime_error(path + ": " + unreadable(path));
  }
  try {
    const json j = json::parse(in);
    const std::string schema = j.is_object() ? j.value("schema", "") : "";
    if (schema != kSchema && schema != "aoe-conformance-report-2" &&
        schema != "aoe-conformance-report-1") {
      throw std::runtime_error(fmt::format(
          "no report of aoe-conformance run (--report-json): its schema is '{}'", schema));
    }
    PastRun run = read_document(j);
    run.label = name_of(path, false);
    return run;
  } catch (const json::exception& e) {
    throw std::runtime_error(fmt::format("{}: not a whole report: {}", path, e.what()));
  } catch (const std::runtime_error& e) {
    throw std::runtime_error(fmt::format("{}: {}", path, e.what()));
  }
}

void tell_apart(std::vector<PastRun>& runs, const std::vector<std::string>& paths) {
  std::map<std::string, size_t> seen;
  for (const std::string& path : paths) {
    ++seen[name_of(path, false)];
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string name = name_of(paths[i], false);
    runs[i].label = name == "report" || seen[name] > 1 ? name_of(paths[i], true) : name;
  }
}

std::string matrix_json(const std::vector<PastRun>& runs, const std::string& version) {
  ordered_json j = {{"schema", "aoe-conformance-matrix-1"}, {"version", version}};
  j["runs"] = ordered_json::array();
  std::vector<std::string> order;
  std::map<std::string, std::vector<const PastCase*>> table;
  for (size_t i = 0; i < runs.size(); ++i) {
    const PastRun& run = runs[i];
    ordered_json summary = ordered_json::object();
    for (const PastCase& c : run.cases) {
      if (table.find(c.id) == table.end()) {
        order.push_back(c.id);
        table[c.id].resize(runs.size());
      }
      table[c.id][i] = &c;
      summary[to_string(c.verdict)] = summary.value(to_string(c.verdict), 0) + 1;
    }
    j["runs"].push_back({{"label", printable(run.label)},
                         {"target", printable(run.target)},
                         {"started", run.started},
                         {"version", run.version},
                         {"mtu", run.mtu},
                         {"summary", summary}});
  }
  j["cases"] = ordered_json::array();
  for (const std::string& id : order) {
    ordered_json one = {{"id", id}};
    ordered_json verdicts = ordered_json::array();
    ordered_json reasons = ordered_json::array();
    ordered_json known = ordered_json::array();
    for (const PastCase* c : table[id]) {
      if (c != nullptr && !one.contains("level")) {
        one["title"] = c->title;
        one["level"] = c->level;
        one["clauses"] = c->clauses;
      }
      verdicts.push_back(c == nullptr ? ordered_json(nullptr)
                                      : ordered_json(to_string(c->verdict)));
      reasons.push_back(c == nullptr ? "" : printable(c->reason));
      known.push_back(c != nullptr && !c->known.empty());
    }
    one["verdicts"] = verdicts;
    one["reasons"] = reasons;
    one["known"] = known;
    j["cases"].push_back(std::move(one));
  }
  return j.dump(-1) + "\n";
}

Differences compare(const PastRun& before, const PastRun& after) {
  Differences out;
  std::map<std::string, const PastCase*> old;
  for (const PastCase& c : before.cases) {
    old[c.id] = &c;
  }
  std::set<std::string> seen;
  for (const PastCase& c : after.cases) {
    seen.insert(c.id);
    const auto it = old.find(c.id);
    Difference d{c.id, std::nullopt, c.verdict, c.reason};
    if (it != old.end()) {
      d.before = it->second->verdict;
    }
    const bool was_bad = d.before && is_bad(*d.before);
    if (is_bad(c.verdict) && c.known.empty() && !was_bad) {
      out.new_failures.push_back(std::move(d));
    } else if (was_bad && !is_bad(c.verdict) && c.verdict != Verdict::skip) {
      out.mended.push_back(std::move(d));
    } else if (d.before != d.after) {
      out.changed.push_back(std::move(d));
    }
  }
  for (const PastCase& c : before.cases) {
    if (seen.count(c.id) == 0) {
      out.changed.push_back({c.id, c.verdict, std::nullopt, {}});
    }
  }
  return out;
}

std::string to_text(const Differences& d, const PastRun& before, const PastRun& after) {
  std::string out =
      fmt::format("before: {} ({}, {})\nafter:  {} ({}, {})\n", before.label, before.target,
                  before.started, after.label, after.target, after.started);
  const auto section = [&](const char* name, const std::vector<Difference>& list) {
    if (list.empty()) {
      return;
    }
    out += fmt::format("\n{} ({})\n", name, list.size());
    for (const Difference& one : list) {
      out += fmt::format("  {}: {} -> {}{}\n", one.id, word(one.before), word(one.after),
                         one.reason.empty() ? "" : ": " + one.reason);
    }
  };
  section("new failures", d.new_failures);
  section("mended", d.mended);
  section("changed", d.changed);
  return out + fmt::format("\n{} new failure{}, {} mended, {} changed\n", d.new_failures.size(),
                           d.new_failures.size() == 1 ? "" : "s", d.mended.size(),
                           d.changed.size());
}

std::string to_json(const Differences& d, const PastRun& before, const PastRun& after) {
  ordered_json j = {{"schema", "aoe-conformance-diff-1"}};
  const auto run = [](const PastRun& r) {
    return ordered_json{{"label", printable(r.label)},
                        {"target", printable(r.target)},
                        {"started", r.started},
                        {"version", r.version},
                        {"mtu", r.mtu}};
  };
  j["before"] = run(before);
  j["after"] = run(after);
  const auto list = [](const std::vector<Difference>& all) {
    ordered_json out = ordered_json::array();
    for (const Difference& one : all) {
      out.push_back({{"id", one.id},
                     {"before", one.before ? ordered_json(to_string(*one.before)) : ordered_json()},
                     {"after", one.after ? ordered_json(to_string(*one.after)) : ordered_json()},
                     {"reason", printable(one.reason)}});
    }
    return out;
  };
  j["new_failures"] = list(d.new_failures);
  j["mended"] = list(d.mended);
  j["changed"] = list(d.changed);
  return j.dump(1) + "\n";
}

}  // namespace conformance::report
