// Deviants against the cases that must catch them.

#include "conformance/deviant_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "conformance/control/model_control.h"
#include "conformance/deviant_clauses.h"  // generated: conformance/deviants.tsv as a text
#include "conformance/runner/judge.h"
#include "conformance/runner/run.h"

namespace conformance {

namespace {

constexpr size_t kJumboMtu = 9000;

Caught catch_one(const Case& c, const deviants::Deviant& deviant) {
  deviants::ModelConfig config;
  for (const Need need : c.needs) {
    config.mtu = need == Need::jumbo ? kJumboMtu : config.mtu;
  }
  deviants::ModelLink link(config, deviant);
  TargetFacts facts;
  facts.mac = link.model().config.mac;
  facts.shelf = link.model().config.shelf;
  facts.slot = link.model().config.slot;
  Context context(link, facts, default_scratch(link.model().config.sectors), {});
  auto& shared = context.shared();
  shared.may_write = true;
  shared.allowed = {"write", "config", "lockout", "stress", "unknown"};
  control::ModelControl control(link);
  shared.control = &control;
  Caught caught;
  caught.by = &c;
  caught.deviant = deviant.name;
  // As a run does it, and no more is told than a run would know.
  const auto trouble = learn_target(context);
  const auto knows = [&](const std::string& name) {
    return std::find(facts.active_extensions.begin(), facts.active_extensions.end(), name) !=
           facts.active_extensions.end();
  };
  const bool lacks = std::any_of(c.extensions.begin(), c.extensions.end(),
                                 [&](const std::string& n) { return n != "command" && !knows(n); });
  if (trouble || facts.sectors == 0 || lacks || (!c.extensions.empty() && !facts.extensions)) {
    caught.hides_itself = true;
    facts.sectors = link.model().config.sectors;
    facts.sector_count = link.model().max_sectors();
    facts.identify = link.model().identify();
    facts.extensions = true;
    facts.active_extensions = {"reset",      "tag_inc_le",     "tag_inc_be",
                               "tag_random", "coalesced_read", "coalesced_write_reply",
                               "congestion", "crc8x4"};
  }
  if (facts.sectors > kLba28End) {
    learn_disk(context);
  }
  const CaseResult result = run_case(context, c);
  caught.verdict = result.verdict;
  for (const Finding& f : result.findings) {
    if (f.verdict == result.verdict) {
      caught.clause = f.clause;
      break;
    }
  }
  return caught;
}

std::string cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) {
    text.insert(at, "\\");
  }
  return text;
}

}  // namespace

std::vector<Caught> catch_deviants(const Registry& registry) {
  std::vector<Caught> out;
  for (const Case& c : registry.cases()) {
    for (const std::string& name : c.fails_on) {
      const auto it = registry.deviants().find(name);
      if (it != registry.deviants().end()) {
        out.push_back(catch_one(c, it->second));
      }
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Caught& a, const Caught& b) { return a.deviant < b.deviant; });
  return out;
}

namespace {

// Every case that names it needs long frames: then so does the run.
size_t mtu_for(const Registry& registry, const std::string& deviant) {
  bool jumbo = true;
  bool named = false;
  for (const Case& c : registry.cases()) {
    if (std::find(c.fails_on.begin(), c.fails_on.end(), deviant) != c.fails_on.end()) {
      named = true;
      jumbo = jumbo && std::find(c.needs.begin(), c.needs.end(), Need::jumbo) != c.needs.end();
    }
  }
  return named && jumbo ? kJumboMtu : deviants::ModelConfig().mtu;
}

std::set<std::string> clauses_of(const Registry& registry, const std::string& deviant) {
  std::set<std::string> out;
  for (const Case& c : registry.cases()) {
    if (std::find(c.fails_on.begin(), c.fails_on.end(), deviant) != c.fails_on.end()) {
      out.insert(c.clauses.begin(), c.clauses.end());
    }
  }
  return out;
}

void append(std::string& text, const std::string& word) {
  text += (text.empty() ? "" : " ") + word;
}

}  // namespace

std::string to_line(const Told& told) {
  return told.deviant + "\t" + told.own + "\t" + (told.also.empty() ? "-" : told.also);
}

Told run_whole(const Registry& registry, const deviants::Deviant& deviant) {
  deviants::ModelConfig model_config;
  model_config.mtu = mtu_for(registry, deviant.name);
  deviants::ModelLink link(model_config, deviant);
  RunConfig config;
  for (const Case& c : registry.cases()) {
    config.cases.push_back(&c);
  }
  config.allowed = {"write", "config", "lockout", "stress", "unknown"};
  control::ModelControl control(link);
  config.target = &control;
  const report::Report report = run_suite(link, config);
  Told told;
  told.deviant = deviant.name;
  std::map<std::string, Verdict> seen;
  for (const CaseResult& c : report.cases) {
    for (const Finding& f : c.findings) {
      if (f.verdict == Verdict::fail || (f.verdict == Verdict::warn && seen.count(f.clause) == 0)) {
        seen[f.clause.empty() ? c.id : f.clause] = f.verdict;
      }
    }
    if (c.findings.empty() && c.verdict == Verdict::fail) {
      seen[c.id] = Verdict::fail;
    }
  }
  const std::set<std::string> its = clauses_of(registry, deviant.name);
  for (const auto& [clause, verdict] : seen) {
    if (its.count(clause) != 0) {
      append(told.own, clause + (verdict == Verdict::fail ? "" : ":" + to_string(verdict)));
    } else if (verdict == Verdict::fail) {
      append(told.also, clause);
    }
  }
  if (!report.trouble.empty()) {
    append(told.also, "run.incomplete");
  }
  if (told.own.empty()) {
    const bool undecided =
        std::any_of(report.cases.begin(), report.cases.end(), [&](const CaseResult& c) {
          const Case* asked = registry.find(c.id);
          return c.verdict == Verdict::inconclusive && asked != nullptr &&
                 std::count(asked->fails_on.begin(), asked->fails_on.end(), deviant.name) != 0;
        });
    told.own = !told.also.empty() && told.also != "run.incomplete" ? "(others)"
               : !report.target_known                              ? "(unreachable)"
               : undecided                                         ? "(inconclusive)"
                                                                   : "(info)";
  }
  return told;
}

const std::vector<Told>& told_of_deviants() {
  static const std::vector<Told> all = [] {
    std::vector<Told> out;
    std::istringstream in{std::string(kDeviantsTsv)};
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line.front() == '#') {
        continue;
      }
      Told told;
      std::istringstream fields(line);
      std::getline(fields, told.deviant, '\t');
      std::getline(fields, told.own, '\t');
      std::getline(fields, told.also, '\t');
      told.also = told.also == "-" ? "" : told.also;
      out.push_back(told);
    }
    return out;
  }();
  return all;
}

std::string deviants_markdown(const Registry& registry) {
  const std::vector<Caught> all = catch_deviants(registry);
  std::string out =
      "# Deviants\n\nNamed, small deviations from the model of a conforming target, and what the "
      "suite says of them.\nGenerated by "
      "`aoe-conformance deviants --markdown`; a test checks that it is current.\n\n"
      "- *breaks*: under which clauses a whole run, as a user makes it, finds what is wrong. With "
      "`:warn` where the clause\n  is no MUST, or says why it is judged less hard. (info): it is "
      "only remarked upon. (others): it breaks\n  what stands under *and so* only. (inconclusive): "
      "the run says that it cannot tell. (unreachable): no "
      "run gets hold of it.\n"
      "- *and so*: what else fails in that run, because of it. Anything more is an error of the "
      "suite: the test runs everything against every\n  deviant and compares.\n"
      "- *caught by*: the cases that must catch it, each asked alone. (h): it hides what every run "
      "learns first; the case was told\n  what a conforming target would have said.\n\n"
      "Both are kept in `conformance/deviants.tsv`, written by `aoe-conformance deviants --run`. "
      "`aoe-conformance run --model --deviant NAME`\nputs one before the whole suite by hand.\n\n"
      "| deviant | a target that | breaks | and so | caught by |\n| --- | --- | --- | --- | --- "
      "|\n";
  std::map<std::string, Told> told;
  for (const Told& t : told_of_deviants()) {
    told[t.deviant] = t;
  }
  for (size_t i = 0; i < all.size();) {
    std::string cases;
    const std::string& name = all[i].deviant;
    for (; i < all.size() && all[i].deviant == name; ++i) {
      cases += fmt::format("{}`{}` {}{}", cases.empty() ? "" : ", ", all[i].by->id,
                           to_string(all[i].verdict), all[i].hides_itself ? " (h)" : "");
    }
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", name,
                       cell(registry.deviants().at(name).story), told[name].own, told[name].also,
                       cases);
  }
  return out + fmt::format("\n{} deviants.\n", registry.deviants().size());
}

}  // namespace conformance
