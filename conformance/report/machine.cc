// A run for machines that read lines (TAP 14) or JUnit's XML.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <sstream>

#include "conformance/report/words.h"

namespace conformance::report {

namespace {

std::string tap_safe(std::string text) {
  for (char& c : text) {
    if (c == '#' || c == '\n' || c == '\\') {
      c = ' ';
    }
  }
  return printable(text);
}

// A text that YAML 1.2 reads as it is: JSON's strings are YAML's.
std::string yaml_text(const std::string& text) {
  return nlohmann::json(printable(text)).dump();
}

std::string findings_text(const CaseResult& c) {
  std::string out;
  for (const Finding& f : c.findings) {
    out += fmt::format("{}: {}\n", to_string(f.verdict), f.headline);
    if (f.verdict == Verdict::info) {
      continue;
    }
    const auto line = [&](const char* name, const std::string& text) {
      out += text.empty() ? std::string() : fmt::format("  {:<9} {}\n", name, text);
    };
    line("clause:", f.clause.empty() ? "" : clause_text(f.clause));
    line("asked:", asked(c, f));
    line("expected:", f.expected);
    line("got:", f.got);
    out += evidence_text(f);
  }
  out += c.target_said.empty() ? "" : "the target said:\n" + indent(c.target_said) + "\n";
  out += c.findings.empty() || c.repeat.empty() ? "" : "repeat: " + c.repeat + "\n";
  return out;
}

// Tools show properties beside every suite.
void add_properties(pugi::xml_node& suite, const Report& r) {
  pugi::xml_node properties = suite.append_child("properties");
  const auto add = [&](const char* name, const std::string& value) {
    pugi::xml_node p = properties.append_child("property");
    p.append_attribute("name") = name;
    p.append_attribute("value") = printable(value).c_str();
  };
  add("suite.version", r.version);
  add("command", r.command);
  add("link", r.link_name);
  add("mtu", std::to_string(r.mtu));
  if (r.target_known) {
    const TargetFacts& t = r.target;
    add("target", fmt::format("{}.{}", t.shelf, t.slot));
    add("target.mac", observer::to_string(t.mac));
    add("target.model", t.model);
    add("target.revision", t.revision);
    add("target.sectors", std::to_string(t.sectors));
  }
}

}  // namespace

std::string to_tap(const Report& r) {
  std::string out = fmt::format("TAP version 14\n1..{}\n", r.cases.size());
  size_t n = 0;
  for (const CaseResult& c : r.cases) {
    const bool not_ok = c.verdict == Verdict::fail || c.verdict == Verdict::error ||
                        c.verdict == Verdict::inconclusive;
    const bool skipped = c.verdict == Verdict::skip || c.verdict == Verdict::unsupported;
    std::string directive;
    if (skipped) {
      directive = fmt::format(" # SKIP {}: {}", to_string(c.verdict), tap_safe(c.reason));
    } else if (not_ok && !c.known.empty()) {
      directive = " # TODO " + tap_safe(c.known);
    }
    out += fmt::format("{} {} - {}{}\n", not_ok ? "not ok" : "ok", ++n, c.id, directive);
    out += fmt::format("  ---\n  verdict: {}\n  level: {}\n  duration_ms: {:.3f}\n",
                       to_string(c.verdict), to_string(c.level), c.duration_ms);
    const auto line = [&](const char* name, const std::string& text) {
      out += text.empty() ? std::string() : fmt::format("  {}: {}\n", name, yaml_text(text));
    };
    line("reason", c.reason);
    if (const Finding* f = deciding(c); f != nullptr && needs_telling(c.verdict)) {
      line("clause", f->clause);
      line("asked", asked(c, *f));
      line("expected", f->expected);
      line("got", f->got);
    }
    if (needs_telling(c.verdict)) {
      line("repeat", c.repeat);
    }
    out += "  ...\n";
  }
  if (!r.trouble.empty()) {
    out += fmt::format("# the run is not complete: {}\n", tap_safe(r.trouble));
  }
  return out;
}

std::string to_junit(const Report& r) {
  pugi::xml_document doc;
  doc.append_child(pugi::node_declaration).append_attribute("version") = "1.0";
  pugi::xml_node suites = doc.append_child("testsuites");
  std::map<std::string, std::vector<const CaseResult*>> families;
  for (const CaseResult& c : r.cases) {
    families[c.id.substr(0, c.id.find('.'))].push_back(&c);
  }
  const auto count = [&](const std::vector<const CaseResult*>& cases, const auto& is) {
    return static_cast<unsigned>(
        std::count_if(cases.begin(), cases.end(), [&](const CaseResult* c) { return is(*c); }));
  };
  const auto is_known = [](const CaseResult& c) { return !c.known.empty(); };
  const auto is_failure = [&](const CaseResult& c) {
    return c.verdict == Verdict::fail && !is_known(c);
  };
  const auto is_error = [&](const CaseResult& c) {
    return (c.verdict == Verdict::error || c.verdict == Verdict::inconclusive) && !is_known(c);
  };
  const auto is_skipped = [&](const CaseResult& c) {
    return c.verdict == Verdict::skip || c.verdict == Verdict::unsupported ||
           (is_known(c) && (c.verdict == Verdict::fail || c.verdict == Verdict::inconclusive));
  };
  suites.append_attribute("name") = "aoe-conformance";
  suites.append_attribute("tests") = static_cast<unsigned>(r.cases.size());
  suites.append_attribute("time") = fmt::format("{:.6f}", r.duration_ms / 1000).c_str();
  for (const auto& [family, cases] : families) {
    pugi::xml_node suite = suites.append_child("testsuite");
    suite.append_attribute("name") = family.c_str();
    suite.append_attribute("tests") = static_cast<unsigned>(cases.size());
    suite.append_attribute("failures") = count(cases, is_failure);
    suite.append_attribute("errors") = count(cases, is_error);
    suite.append_attribute("skipped") = count(cases, is_skipped);
    suite.append_attribute("timestamp") = time_text(r.started_ns).substr(0, 19).c_str();
    add_properties(suite, r);
    double seconds = 0;
    for (const CaseResult* c : cases) {
      seconds += c->duration_ms / 1000;
    }
    suite.append_attribute("time") = fmt::format("{:.6f}", seconds).c_str();
    for (const CaseResult* c : cases) {
      pugi::xml_node node = suite.append_child("testcase");
      node.append_attribute("name") = c->id.c_str();
      node.append_attribute("classname") = ("aoe-conformance." + family).c_str();
      node.append_attribute("time") = fmt::format("{:.6f}", c->duration_ms / 1000).c_str();
      const std::string detail = printable(findings_text(*c));
      const std::string reason = printable(c->reason);
      const auto child = [&](const char* name, const std::string& type,
                             const std::string& message) {
        pugi::xml_node n = node.append_child(name);
        n.append_attribute("type") = type.c_str();
        n.append_attribute("message") = message.c_str();
        if (!detail.empty() && name != std::string("skipped")) {
          n.append_child(pugi::node_pcdata).set_value(detail.c_str());
        }
      };
      if (is_skipped(*c)) {
        child("skipped", is_known(*c) ? "known-failure" : to_string(c->verdict),
              is_known(*c) ? "known failure: " + printable(c->known) : reason);
      } else if (is_failure(*c)) {
        child("failure", to_string(c->level), reason);
      } else if (is_error(*c)) {
        child("error", to_string(c->verdict), reason);
      } else if (c->verdict != Verdict::pass) {
        node.append_child("system-out")
            .append_child(pugi::node_pcdata)
            .set_value((to_string(c->verdict) + ": " + reason + "\n" + detail).c_str());
      }
    }
  }
  std::ostringstream out;
  doc.save(out, "  ");
  return out.str();
}

}  // namespace conformance::report
