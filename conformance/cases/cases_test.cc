// Holds the cases themselves to account: each passes on the model target, and each is failed by the
// deviants that it names. A case that cannot fail is worth nothing. Virtual time: the whole takes
// seconds.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "conformance/control/model_control.h"
#include "conformance/links/observer_link.h"
#include "conformance/report/report.h"
#include "conformance/runner/judge.h"

namespace conformance {
namespace {

using deviants::Deviant;
using deviants::ModelConfig;
using deviants::ModelLink;

constexpr size_t kJumboMtu = 9000;

struct Bench {
  ModelLink link;
  control::ModelControl control{link};
  links::ObserverLink watched;
  TargetFacts facts;
  Context context;

  static ModelConfig config_for(const Case& c) {
    ModelConfig config;
    for (const Need need : c.needs) {
      config.mtu = need == Need::jumbo ? kJumboMtu : config.mtu;
    }
    return config;
  }

  Bench(const Case& c, const Deviant& deviant) : Bench(config_for(c), deviant, c.extensions) {}

  Bench(const ModelConfig& config, const Deviant& deviant,
        const std::vector<std::string>& extensions = {})
      : link(config, deviant),
        watched(link, true),
        facts(known(link)),
        context(watched, facts, default_scratch(link.model().config.sectors), {}) {
    context.shared().may_write = true;
    context.shared().allowed = {"write", "config", "lockout", "stress", "unknown"};
    context.shared().control = &control;
    // As every run learns it. A deviant that hides what the case is about is judged with what a
    // conforming one would say; what a run as a user makes it says of it, deviant_matrix_test
    // knows.
    const auto hidden = [&](const std::string& name) {
      return name != "command" &&
             std::find(facts.active_extensions.begin(), facts.active_extensions.end(), name) ==
                 facts.active_extensions.end();
    };
    if (learn_target(context) || facts.sectors == 0 ||
        std::any_of(extensions.begin(), extensions.end(), hidden) ||
        (!extensions.empty() && !facts.extensions)) {
      facts.sectors = link.model().config.sectors;
      facts.sector_count = link.model().max_sectors();
      facts.identify = link.model().identify();
      facts.extensions = true;
      facts.active_extensions = {"reset",      "tag_inc_le",     "tag_inc_be",
                                 "tag_random", "coalesced_read", "coalesced_write_reply",
                                 "congestion", "crc8x4"};
    }
    if (facts.sectors > kLba28End) {
      learn_disk(context);  // as every run does; on other disks nothing depends on it
    }
  }

  static TargetFacts known(ModelLink& link) {
    TargetFacts facts;
    facts.mac = link.model().config.mac;
    facts.shelf = link.model().config.shelf;
    facts.slot = link.model().config.slot;
    return facts;
  }
};

Deviant conforming() {
  return deviants::spoils(
      "none", "",
      [](const Bytes& q, deviants::ModelTarget&, const deviants::Forward& f) { return f(q); });
}

std::string told(const CaseResult& r) {
  std::string out = fmt::format("{}: {}: {}\n", r.id, to_string(r.verdict), r.reason);
  for (const Finding& f : r.findings) {
    out += fmt::format("  {} [{}]\n  expected: {}\n  got:      {}\n{}", f.headline, f.clause,
                       f.expected, f.got, report::evidence_text(f));
  }
  return out;
}

TEST(Cases, TheListIsSound) {
  for (const std::string& problem : Registry::all().problems()) {
    ADD_FAILURE() << problem;
  }
  EXPECT_FALSE(Registry::all().cases().empty());
}

// Whatever a case does to it: who watches has nothing to say against a target that conforms.
std::string said_against(Bench& bench) {
  std::string out;
  for (const links::Observation& o : bench.watched.take()) {
    if (o.side == observer::Side::target && o.verdict != observer::Verdict::info) {
      out += to_string(o) + "\n";
    }
  }
  return out;
}

// A finding at the level of a failure that shows what came, and not that nothing did.
bool failed_by_bytes(const CaseResult& r) {
  for (const Finding& f : r.findings) {
    for (const ShownFrame& frame : f.frames) {
      if (f.verdict == Verdict::fail && frame.sent == 0 && frame.role != FrameRole::barrier) {
        return true;
      }
    }
  }
  return false;
}

// What is no reply at all is, to whoever watches, a request or no AoE.
bool is_no_reply(const std::string& deviant) {
  return deviant.rfind("replies-without-r", 0) == 0 || deviant.rfind("replies-of-zeros", 0) == 0;
}

struct Watched {
  bool failed_by_bytes = false;  // by some case
  bool said = false;             // by the observer, in some case
};

// Deviants that the suite fails by what they send and the observer does not, with what it lacks.
const std::map<std::string, std::string>& observer_lacks() {
  static const std::map<std::string, std::string> all{
      {"ata-abort-only-once", "which codes are the vendor's: it is error 3 to 0xFF"},
      {"ata-undefined-command-aoe-error", "which codes are the vendor's: it is error 1 to 0xFE"},
      {"ata-undefined-command-df", "a target that has SET FEATURES may end it with a fault"},
      {"ata-check-power-refused", "a command that identify does not claim may be refused"},
      {"ata-flush-claimed-and-aborted", "the words of identify that claim each command"},
      {"ata-flush-refused", "the words of identify that claim each command"},
      {"ata-smart-claimed", "the words of identify that claim each command"},
      {"advertises-no-sectors", "what Plan 9 makes of a 0 that means 2 to the documents"},
      {"read-replies-padded", "what Plan 9 makes of bytes behind the data"},
      {"coal-overtakes-writes", "the order in which the target took the write and the read"},
      {"crc-bad-ones-are-remembered", "the reply to the damaged write: there is none"},
      {"ext-empty-table-refused", "a target without extensions refuses tables, too"},
      {"ext-refused-with-error-2", "a target without extensions refuses tables, too"},
      {"ext-unknown-is-an-error", "a target without extensions refuses tables, too"},
      {"mask-executes-masked-reserve", "the reply to the set that was locked out: there is none"},
      {"padding-is-data", "the reply to the padded request: there is none"},
      {"refusal-claims-a-list", "what the fields of a refusal claim: it reads E and the code"},
      {"refusal-claims-a-string", "what the fields of a refusal claim: it reads E and the code"},
      {"tag-edge-is-done", "where a window ends that it did not see begin"},
      {"tag-forgets-writes-in-flight", "the moment at which a write reaches the disk"},
      {"tag-reorders-overlapping-writes", "the order in which the target took the two writes"},
      {"wrep-newest-first", "the order in which writes end inside the target"},
      {"wrep-padding-echoes-the-request",
       "whose bytes stand in padding, when they are the asker's"},
      {"wrep-reserved-bytes-of-memory", "the reserved bytes of an entry"},
      {"wrep-w-as-asked", "the W bit of a reply: it tells lists from data by it"},
      {"wrep-w-in-reads", "the W bit of a reply: it tells lists from data by it"},
  };
  return all;
}

class EachCase : public testing::TestWithParam<const Case*> {};

TEST_P(EachCase, PassesOnTheModel) {
  const Case& c = *GetParam();
  Bench bench(c, conforming());
  const CaseResult r = run_case(bench.context, c);
  EXPECT_TRUE(r.verdict == Verdict::pass || r.verdict == Verdict::info) << told(r);
  EXPECT_EQ(said_against(bench), "");
}

// With what it says it needs and nothing more, a case gets through the gate in front of the wire.
TEST_P(EachCase, SaysWhatItMayDo) {
  const Case& c = *GetParam();
  Bench bench(c, conforming());
  bench.context.shared().allowed.clear();
  for (const Need need : c.needs) {
    bench.context.shared().allowed.insert(to_string(need));
  }
  bench.context.shared().may_write = bench.context.shared().allowed.count("write") != 0;
  const CaseResult r = run_case(bench.context, c);
  EXPECT_TRUE(r.verdict == Verdict::pass || r.verdict == Verdict::info) << told(r);
}

// A disk on which 28 bits do not reach the end: nothing is left out there.
TEST_P(EachCase, PassesOnALargeDisk) {
  const Case& c = *GetParam();
  ModelConfig config = Bench::config_for(c);
  config.sectors = kLba28End + (kLba28End >> 2);
  Bench bench(config, conforming());
  EXPECT_TRUE(bench.context.shared().keeps_lba48);
  const CaseResult r = run_case(bench.context, c);
  EXPECT_TRUE(r.verdict == Verdict::pass || r.verdict == Verdict::info) << told(r);
  EXPECT_EQ(said_against(bench), "");
}

// Durable writes that take 300 ms each, one after the other: slow is not wrong.
TEST_P(EachCase, PassesOnASlowDisk) {
  const Case& c = *GetParam();
  ModelConfig config = Bench::config_for(c);
  config.write_ns = 300 * links::kNsPerMs;
  Bench bench(config, conforming());
  const CaseResult r = run_case(bench.context, c);
  if (std::count(c.needs.begin(), c.needs.end(), Need::write) != 0) {
    EXPECT_GE(bench.context.write_ns(), config.write_ns);
  }
  EXPECT_TRUE(r.verdict == Verdict::pass || r.verdict == Verdict::info) << told(r);
  EXPECT_EQ(said_against(bench), "");
}

TEST_P(EachCase, IsFailedByItsDeviants) {
  const Case& c = *GetParam();
  Bench good(c, conforming());
  const CaseResult usual = run_case(good.context, c);
  for (const std::string& name : c.fails_on) {
    const auto it = Registry::all().deviants().find(name);
    ASSERT_NE(it, Registry::all().deviants().end()) << name;
    Bench bench(c, it->second);
    const CaseResult r = run_case(bench.context, c);
    const bool caught = r.verdict == Verdict::fail || r.verdict == Verdict::warn;
    // A case that only reports must at least report something else.
    const bool tells =
        r.verdict == Verdict::info && (usual.verdict != Verdict::info || usual.reason != r.reason);
    // Under a clause of the case's own: a failure for another reason proves nothing.
    for (const Finding& f : r.findings) {
      EXPECT_TRUE(f.clause.empty() ||
                  std::find(c.clauses.begin(), c.clauses.end(), f.clause) != c.clauses.end())
          << "deviant '" << name << "' is caught under " << f.clause
          << ", which is no clause of this case\n"
          << told(r);
    }
    EXPECT_TRUE(caught || tells) << "deviant '" << name << "' (" << it->second.story
                                 << ") gets through:\n"
                                 << told(r);
  }
}

std::vector<const Case*> all_cases() {
  std::vector<const Case*> out;
  for (const Case& c : Registry::all().cases()) {
    out.push_back(&c);
  }
  return out;
}

std::string test_name(const testing::TestParamInfo<const Case*>& info) {
  std::string name = info.param->id;
  for (char& ch : name) {
    if (std::isalnum(static_cast<unsigned char>(ch)) == 0) {
      ch = '_';
    }
  }
  return name;
}

// Every deviant that the suite fails by its bytes is one that the observer speaks of, but for a
// few.
TEST(Observer, SaysSoTooOfWhatTheSuiteFailsByItsBytes) {
  std::map<std::string, Watched> all;
  for (const Case& c : Registry::all().cases()) {
    for (const std::string& name : c.fails_on) {
      const auto it = Registry::all().deviants().find(name);
      ASSERT_NE(it, Registry::all().deviants().end()) << name;
      Watched& watched = all[name];
      if (watched.said && watched.failed_by_bytes) {
        continue;
      }
      Bench bench(c, it->second);
      watched.failed_by_bytes =
          failed_by_bytes(run_case(bench.context, c)) || watched.failed_by_bytes;
      watched.said = watched.said || !said_against(bench).empty();
    }
  }
  size_t by_bytes = 0;
  size_t exempt = 0;
  std::set<std::string> no_replies;  // one deviation, by each command: counted once
  for (const auto& [name, watched] : all) {
    if (!watched.failed_by_bytes) {
      continue;
    }
    const bool lacks = observer_lacks().count(name) != 0 || is_no_reply(name);
    if (!is_no_reply(name) || no_replies.insert(name.substr(0, name.find("-to-"))).second) {
      ++by_bytes;
      exempt += lacks ? 1 : 0;
    }
    EXPECT_NE(watched.said, lacks)
        << name << (lacks ? ": exempt, and spoken of" : ": the observer has nothing to say");
  }
  EXPECT_GT(by_bytes, 250U);
  EXPECT_LE(exempt * 10, by_bytes) << "at most one of ten";
}

INSTANTIATE_TEST_SUITE_P(Suite, EachCase, testing::ValuesIn(all_cases()), test_name);

}  // namespace
}  // namespace conformance