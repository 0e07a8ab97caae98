// Whole runs against the model in virtual time: what is promised to whoever lends a target to the
// suite.

#include "conformance/runner/run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <thread>

#include "conformance/control/model_control.h"
#include "conformance/links/gate.h"
#include "conformance/links/unix_socket.h"
#include "conformance/report/baseline.h"
#include "conformance/runner/selection.h"

namespace conformance {
namespace {

using deviants::Answers;
using deviants::Deviant;
using deviants::Forward;
using deviants::ModelLink;
using deviants::ModelTarget;
using observer::get;
using report::Report;
using testing::HasSubstr;

Deviant conforming() {
  return deviants::spoils("none", "",
                          [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); });
}

// Answers until it has met a frame, and never again.
Deviant dies_of(std::function<bool(const Bytes&)> frame) {
  Deviant d = conforming();
  d.make = [frame] {
    auto dead = std::make_shared<bool>(false);
    return [dead, frame](const Bytes& q, ModelTarget&, const Forward& f) {
      *dead = *dead || frame(q);
      return *dead ? Answers{} : f(q);
    };
  };
  return d;
}

// A model whose process is known to have ended when `dead` says so.
class Mortal final : public control::TargetControl {
 public:
  Mortal(ModelLink& link, bool& dead) : link_(link), dead_(dead) {}
  bool restarts() const override { return true; }
  void start(control::State /*state*/) override {
    dead_ = false;
    ++starts;
    link_.restart();
  }
  void stop() override {}
  void crash() override {}
  std::string fate() override { return dead_ ? "ended with exit code 1" : ""; }
  size_t starts = 0;

 private:
  ModelLink& link_;
  bool& dead_;
};

RunConfig config_of(const std::vector<std::string>& patterns, std::set<std::string> allowed = {}) {
  RunConfig config;
  Selection selection;
  selection.cases = patterns;
  config.cases = select(Registry::all(), selection);
  config.allowed = std::move(allowed);
  config.repeat_command = "aoe-conformance run";
  return config;
}

const std::set<std::string> kAll = {"write", "config", "lockout", "stress", "unknown"};
std::string temporary(const std::string& name) {
  return fmt::format("{}/conformance-{}-{}", testing::TempDir(), getpid(), name);
}

TEST(Run, WithoutPermissionNothingIsChanged) {
  // Everything but reading: writes, sets, edits, whatever carries them. Codes that no document
  // defines are asked about, too, and change nothing.
  const auto among = [](std::optional<uint64_t> code, std::initializer_list<uint8_t> codes) {
    return code && std::find(codes.begin(), codes.end(), *code) != codes.end();
  };
  std::vector<std::string> changing;
  Deviant watch =
      deviants::spoils("watch", "", [&](const Bytes& q, ModelTarget&, const Forward& f) {
        const auto cmd = get(q, F::command);
        const auto ata = get(q, F::ata_command);
        const bool changes =
            observer::is_aoe(q) && !observer::is_reply(q) &&
            ((cmd == observer::command::ata && ata &&
              observer::is_ata_write(static_cast<uint8_t>(*ata))) ||
             (cmd == observer::command::config &&
              among(get(q, F::cfg_ccmd), {observer::ccmd::set, observer::ccmd::force_set})) ||
             (cmd == observer::command::mask &&
              among(get(q, F::mask_mcmd), {observer::mcmd::edit})) ||
             (cmd == observer::command::reserve &&
              among(get(q, F::reserve_rcmd), {observer::rcmd::set, observer::rcmd::force_set})));
        if (changes) {
          changing.push_back(observer::summary(q));
        }
        return f(q);
      });
  ModelLink link({}, watch);
  const Report report = run_suite(link, config_of({}));
  EXPECT_THAT(changing, testing::IsEmpty());
  EXPECT_TRUE(link.model().disk.empty());
  EXPECT_EQ(exit_code(report, {}), exit_good) << report::to_text(report);
  EXPECT_GT(report.counts().at(Verdict::skip), 0U);
}

// Nobody's disk, string or list is touched by learning, whatever will be allowed later: neither the
// sectors of the disk nor those past its end, which make an image grow.
TEST(Run, BeforeTheFirstCaseNothingIsWritten) {
  for (const uint64_t sectors : {uint64_t{65536}, kLba28End + 4096}) {
    bool begun = false;
    std::vector<std::string> early;
    size_t writes = 0;
    Deviant watch =
        deviants::spoils("watch", "", [&](const Bytes& q, ModelTarget&, const Forward& f) {
          const bool changes = !observer::is_reply(q) && !links::permission_for(q).empty();
          writes += changes ? 1 : 0;
          if (changes && !begun) {
            early.push_back(observer::summary(q));
          }
          return f(q);
        });
    deviants::ModelConfig model;
    model.sectors = sectors;
    ModelLink link(model, watch);
    RunConfig config = config_of({"ata.write.*", "config.set.*", "mask.edit.*"}, kAll);
    config.on_begin = [&](size_t, size_t, const Case&) { begun = true; };
    const Report report = run_suite(link, config);
    EXPECT_THAT(early, testing::IsEmpty()) << sectors;
    EXPECT_GT(writes, 0U);
    EXPECT_EQ(exit_code(report, {}), exit_good) << report::to_text(report);
  }
}

// It was only looked at: the case that happens to be the first is not to blame.
TEST(Run, ADeathWhileItIsOnlyLookedAtIsTold) {
  bool dead = false;
  bool once = true;
  const Deviant mortal =
      deviants::spoils("dies", "", [&](const Bytes& q, ModelTarget& m, const Forward& f) {
        const bool past_end = get(q, F::command) == observer::command::ata &&
                              get(q, F::ata_lba) >= uint64_t{m.config.sectors};
        dead = dead || (once && past_end);
        once = once && !dead;
        return dead ? Answers{} : f(q);
      });
  ModelLink link({}, mortal);
  Mortal control(link, dead);
  RunConfig config = config_of({"header.tag.*", "config.set.*"}, {"config"});
  config.target = &control;
  const Report report = run_suite(link, config);
  EXPECT_EQ(report.cases.front().id, "run.learning");
  EXPECT_EQ(report.cases.front().verdict, Verdict::fail);
  EXPECT_THAT(report.cases.front().reason, HasSubstr("ended with exit code 1"));
  ASSERT_EQ(report.cases.front().findings.front().frames.size(), 1U);
  EXPECT_EQ(report.counts().at(Verdict::fail), 1U) << report::to_text(report);
  EXPECT_EQ(report.counts().at(Verdict::inconclusive), 0U);
  EXPECT_EQ(control.starts, 1U);
}

TEST(Run, TheModelPassesEverythingAndIsLeftAsFound) {
  ModelLink link({}, conforming());
  ModelTarget& m = link.model();
  m.disk[m.config.sectors - 1] = Bytes(observer::kSectorBytes, 0x77);
  RunConfig config = config_of({}, kAll);
  control::ModelControl control(link);
  config.target = &control;
  const Report report = run_suite(link, config);
  EXPECT_EQ(exit_code(report, {Verdict::warn, Verdict::inconclusive, Verdict::error}), exit_good)
      << report::to_text(report);
  EXPECT_EQ(m.config_string, observer::bytes_of("model"));
  EXPECT_TRUE(m.mask.empty());
  EXPECT_TRUE(m.reserved.empty());
  for (const auto& [lba, sector] : m.disk) {
    EXPECT_EQ(sector, lba == m.config.sectors - 1 ? Bytes(observer::kSectorBytes, 0x77)
                                                  : Bytes(observer::kSectorBytes, 0))
        << lba;
  }
}

TEST(Run, ATargetThatCannotBeRestoredIsTold) {
  // Refuses to take its old string back.
  ModelLink link({}, deviants::ignores("stubborn", "", [](const Bytes& q, const ModelTarget&) {
                   return observer::config_string(q) == observer::bytes_of("model");
                 }));
  const Report report = run_suite(link, config_of({"config.force.replaces"}, {"config"}));
  ASSERT_EQ(report.cases.back().id, "run.target-left-as-found");
  EXPECT_EQ(report.cases.back().verdict, Verdict::fail);
  EXPECT_THAT(report.cases.back().reason, HasSubstr("config string"));
  EXPECT_EQ(exit_code(report, {}), exit_failed);
}

TEST(Run, ASilentTargetIsUnreachableAndNothingPasses) {
  ModelLink link(
      {}, deviants::ignores("silent", "", [](const Bytes&, const ModelTarget&) { return true; }));
  const RunConfig config = config_of({});
  const Report report = run_suite(link, config);
  EXPECT_EQ(exit_code(report, {}), exit_unreachable);
  EXPECT_EQ(report.counts().at(Verdict::pass), 0U);
  EXPECT_EQ(report.cases.size(), config.cases.size());
}

// What answers and cannot be understood is not absent: which clause it breaks is said.
TEST(Run, ATargetWhoseRepliesAreNoneIsToldByItsClause) {
  const std::pair<const char*, const char*> deviants[] = {
      {"replies-without-r", "HDR-RESPONSE"},
      {"replies-to-broadcast", "HDR-DESTINATION"},
      {"replies-of-zeros", "HDR-COMPLETE"},
  };
  for (const auto& [name, clause] : deviants) {
    ModelLink link({}, Registry::all().deviants().at(name));
    const Report report = run_suite(link, config_of({"header.*"}));
    EXPECT_EQ(exit_code(report, {}), exit_failed) << name;
    ASSERT_FALSE(report.cases.empty());
    const CaseResult& first = report.cases.front();
    EXPECT_EQ(first.id, "run.target-answers") << name;
    EXPECT_EQ(first.verdict, Verdict::fail) << name;
    ASSERT_FALSE(first.findings.empty()) << name;
    EXPECT_EQ(first.findings.front().clause, clause);
    EXPECT_EQ(first.findings.front().frames.size(), 2U) << name;
    EXPECT_EQ(report.counts().at(Verdict::pass), 0U) << name;
  }
}

// Another command in every reply, or no R in some: the rest of the target is judged all the same.
TEST(Run, ATargetThatCanBeUnderstoodIsJudgedToTheEnd) {
  const std::pair<const char*, const char*> deviants[] = {
      {"command-zero", "header.command.returned"},
      {"replies-without-r-to-read", "header.response.flag-set-by-read"},
  };
  for (const auto& [name, id] : deviants) {
    const std::string wanted = id;  // clang 14 captures no structured binding
    ModelLink link({}, Registry::all().deviants().at(name));
    const Report report = run_suite(link, config_of({"header.*"}));
    EXPECT_TRUE(report.trouble.empty()) << report.trouble;
    EXPECT_GT(report.counts().at(Verdict::pass), 30U) << name;
    EXPECT_TRUE(std::any_of(report.cases.begin(), report.cases.end(), [&](const CaseResult& c) {
      return c.id == wanted && c.verdict == Verdict::fail;
    })) << name;
  }
}

TEST(Run, AnotherOrderIsTheSameForTheSameSeedAndLosesNoCase) {
  std::vector<const Case*> cases = select(Registry::all(), {});
  const std::vector<const Case*> usual = cases;
  shuffle(cases, 7);
  std::vector<const Case*> again = usual;
  shuffle(again, 7);
  EXPECT_EQ(cases, again);
  EXPECT_NE(cases, usual);
  EXPECT_TRUE(std::is_permutation(cases.begin(), cases.end(), usual.begin()));
}

// No case rests on what ran before it: in any order the model passes.
TEST(Run, TheModelPassesInAnyOrder) {
  for (const uint64_t seed : {1U, 2U}) {
    ModelLink link;
    RunConfig config = config_of({}, kAll);
    shuffle(config.cases, seed);
    const Report report = run_suite(link, config);
    for (const CaseResult& c : report.cases) {
      EXPECT_TRUE(c.verdict == Verdict::pass || c.verdict == Verdict::info ||
                  c.verdict == Verdict::skip)
          << "seed " << seed << ", " << c.id << ": " << c.reason;
    }
  }
}

TEST(Run, AnExportThatTakesNoWritesHasOneReason) {
  ModelLink link(
      {}, deviants::spoils("read-only", "", [](const Bytes& q, ModelTarget&, const Forward& f) {
        Answers answers = f(q);
        const auto ata = static_cast<uint8_t>(get(q, F::ata_command).value_or(0));
        if (get(q, F::command) == observer::command::ata && observer::is_ata_write(ata)) {
          for (auto& a : answers) {
            observer::set(a.bytes, F::ata_status, 0x41);
            observer::set(a.bytes, F::ata_error, observer::ata::error_abrt);
          }
        }
        return answers;
      }));
  const Report report = run_suite(link, config_of({"ata.*"}, {"write"}));
  std::set<std::string> reasons;
  size_t unsupported = 0;
  for (const CaseResult& c : report.cases) {
    if (c.verdict == Verdict::unsupported &&
        c.reason.find("takes no writes") != std::string::npos) {
      reasons.insert(c.reason);
      ++unsupported;
    }
  }
  EXPECT_EQ(reasons.size(), 1U);
  EXPECT_GT(unsupported, 15U);
  EXPECT_EQ(report.counts().at(Verdict::fail), 0U) << report::to_text(report);
}

TEST(Run, WhatAnotherInitiatorNeedsCountsWhenItIsAskedFor) {
  for (const bool wanted : {false, true}) {
    ModelLink link({}, Registry::all().deviants().at("identify-claims-no-lba"));
    RunConfig config = config_of({"profile.plan9.lba-bit"});
    if (wanted) {
      config.profiles = {"plan9"};
    }
    const Report report = run_suite(link, config);
    EXPECT_EQ(report.cases.front().verdict, wanted ? Verdict::fail : Verdict::info);
    EXPECT_EQ(exit_code(report, {}), wanted ? exit_failed : exit_good);
  }
}

constexpr uint8_t kDeadlyCommand = 0x82;

TEST(Run, ADeathIsNamedWithItsFrameAndTheRestIsListed) {
  ModelLink link({}, dies_of([](const Bytes& q) { return get(q, F::command) == kDeadlyCommand; }));
  const RunConfig config = config_of({"header.*"}, {"unknown"});
  const Report report = run_suite(link, config);
  ASSERT_EQ(report.cases.size(), config.cases.size() + 1);  // and "left as found"
  size_t died = 0;
  for (const CaseResult& c : report.cases) {
    if (c.id == "header.command.unknown-high-bit") {
      EXPECT_EQ(c.verdict, Verdict::fail);
      EXPECT_THAT(c.reason, HasSubstr("died"));
      ASSERT_EQ(c.findings.back().frames.size(), 1U);
      EXPECT_EQ(get(c.findings.back().frames[0].bytes, F::command), kDeadlyCommand);
      ++died;
    }
  }
  EXPECT_EQ(died, 1U);
  EXPECT_THAT(report.trouble, HasSubstr("header.command.unknown-high-bit"));
  EXPECT_GT(report.counts().at(Verdict::inconclusive), 1U);
  EXPECT_EQ(exit_code(report, {}), exit_failed);
  for (const CaseResult& c : report.cases) {
    EXPECT_TRUE(c.verdict == Verdict::pass || !c.reason.empty()) << c.id;
  }
}

TEST(Run, ATargetThatDiedIsStartedAgainWhenItCanBe) {
  ModelLink link({}, dies_of([](const Bytes& q) { return get(q, F::command) == kDeadlyCommand; }));
  RunConfig config = config_of({"header.*"}, {"unknown"});
  control::ModelControl control(link);
  config.target = &control;
  const Report report = run_suite(link, config);
  EXPECT_EQ(control.starts(), 1U);
  EXPECT_TRUE(report.trouble.empty()) << report.trouble;
  EXPECT_EQ(report.counts().at(Verdict::inconclusive), 0U);
  EXPECT_EQ(report.counts().at(Verdict::fail), 1U);
}

TEST(Run, AnInterruptionStillRestoresAndReports) {
  ModelLink link({}, conforming());
  RunConfig config = config_of({"config.*"}, kAll);
  size_t done = 0;
  config.on_result = [&](const CaseResult&) { ++done; };
  config.interrupted = [&] {
    return done >= 5 && link.model().config_string == observer::bytes_of("stays");
  };
  const Report report = run_suite(link, config);
  EXPECT_EQ(report.trouble, "interrupted");
  EXPECT_EQ(link.model().config_string, observer::bytes_of("model"));
  EXPECT_EQ(report.cases.size(), config.cases.size() + 1);
  EXPECT_EQ(exit_code(report, {}), exit_inconclusive);
}

TEST(Run, LossIsRepeatedAndCounted) {
  Deviant lossy = conforming();
  lossy.make = [] {
    auto n = std::make_shared<int>(0);
    return [n](const Bytes& q, ModelTarget&, const Forward& f) {
      constexpr int every = 13;
      return ++*n % every == 0 ? Answers{} : f(q);
    };
  };
  ModelLink link({}, lossy);
  const Report report = run_suite(link, config_of({"header.tag.*", "config.test.*"}, kAll));
  EXPECT_EQ(exit_code(report, {}), exit_good) << report::to_text(report);
  EXPECT_GT(report.link.lost, 0U);
}

TEST(Run, EverythingSkippedIsNotGood) {
  ModelLink link({}, conforming());
  const Report report = run_suite(link, config_of({"config.force.replaces"}));
  EXPECT_EQ(exit_code(report, {}), exit_all_skipped);
}

TEST(Safety, AWriteOutsideTheScratchRangeIsNeverSent) {
  ModelLink link({}, conforming());
  TargetFacts facts;
  facts.mac = link.model().config.mac;
  facts.shelf = link.model().config.shelf;
  facts.slot = link.model().config.slot;
  facts.sectors = link.model().config.sectors;
  Context t(link, facts, {100, 10}, {});
  t.shared().allowed = kAll;
  const Bytes two(2 * observer::kSectorBytes, 0xee);
  for (const uint64_t lba : {uint64_t{0}, uint64_t{99}, uint64_t{109}, facts.sectors - 1}) {
    EXPECT_THROW(t.a().send(observer::write_request(lba, two)), CaseEnd) << lba;
  }
  // Beyond the disk as 48 bits, but a target that looks at 28 would hit sector 5.
  EXPECT_THROW(t.a().send(observer::write_request((1ULL << 28) + 5, two)), CaseEnd);
  EXPECT_THROW(t.a().send(observer::write_request(0, two).set(F::flag_response, 1)), CaseEnd);
  EXPECT_NO_THROW(t.a().send(observer::write_request(108, two)));
  EXPECT_NO_THROW(t.a().send(observer::write_request(facts.sectors, two)));
}

TEST(Safety, NothingThatChangesANeighbourIsSent) {
  ModelLink link({}, conforming());
  TargetFacts facts;
  facts.sectors = link.model().config.sectors;
  Context t(link, facts, {0, facts.sectors}, {});
  t.shared().allowed = kAll;
  t.shared().neighbours.insert({9, 1});
  const auto to = [](Frame f, uint16_t shelf, uint8_t slot) {
    return f.set(F::shelf, shelf).set(F::slot, slot);
  };
  const Bytes sector(observer::kSectorBytes, 0);
  EXPECT_THROW(t.a().send(to(observer::write_request(0, sector), 9, 1)), CaseEnd);
  EXPECT_THROW(t.a().send(to(observer::write_request(0, sector), 0xffff, 0xff)), CaseEnd);
  EXPECT_THROW(t.a().send(to(observer::config_request(observer::ccmd::set, "x"), 9, 0xff)),
               CaseEnd);
  EXPECT_THROW(t.a().send(to(observer::mask_request(observer::mcmd::edit), 0xffff, 1)), CaseEnd);
  EXPECT_THROW(t.a().send(to(observer::reserve_request(observer::rcmd::force_set), 9, 1)), CaseEnd);
  EXPECT_NO_THROW(t.a().send(to(observer::config_request(observer::ccmd::read), 9, 1)));
  EXPECT_NO_THROW(t.a().send(to(observer::write_request(0, sector), 9, 2)));
}

TEST(Run, ScratchOutsideTheDiskIsRefused) {
  ModelLink link({}, conforming());
  RunConfig config = config_of({"config.*"});
  config.scratch = Scratch{link.model().config.sectors - 1, 2};
  EXPECT_THROW(run_suite(link, config), UsageError);
}

TEST(Selection, WhatMatchesNothingIsAnErrorWithTheNearestName) {
  Selection s;
  s.cases = {"config.set.refuse-when-present"};
  try {
    select(Registry::all(), s);
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(), HasSubstr("config.set.refuses-when-present"));
  }
  s.cases = {"header.*"};
  s.excluded = {"nonsense.*"};
  EXPECT_THROW(select(Registry::all(), s), UsageError);
  s.excluded = {"header.*"};
  EXPECT_THROW(select(Registry::all(), s), UsageError);
}

TEST(Selection, PatternsOfOneKindAddUpAndKindsNarrow) {
  Selection s;
  s.cases = {"header.tag.*", "config.force.*"};
  s.levels = {"may"};
  for (const Case* c : select(Registry::all(), s)) {
    EXPECT_EQ(c->level, Level::may);
    EXPECT_EQ(c->family(), "config");
  }
}

Report some_report() {
  ModelLink link({}, Registry::all().deviants().at("config-set-overwrites"));
  Report report = run_suite(link, config_of({"config.set.*", "config.restart.*"}, {"config"}));
  report.exit_code = exit_code(report, {});
  return report;
}

TEST(Reports, JUnitTellsFailureFromErrorFromSkip) {
  const Report r = some_report();
  pugi::xml_document doc;
  ASSERT_TRUE(doc.load_string(report::to_junit(r).c_str()));
  size_t cases = 0, failures = 0, skipped = 0;
  for (const pugi::xml_node& suite : doc.child("testsuites").children("testsuite")) {
    for (const pugi::xml_node& c : suite.children("testcase")) {
      ++cases;
      failures += c.child("failure") ? 1 : 0;
      skipped += c.child("skipped") ? 1 : 0;
      EXPECT_FALSE(c.child("error"));
      EXPECT_STRNE(c.attribute("classname").value(), "");
    }
  }
  EXPECT_EQ(cases, r.cases.size());
  EXPECT_EQ(failures, r.counts().at(Verdict::fail));
  EXPECT_EQ(skipped, r.counts().at(Verdict::skip));
  EXPECT_GT(failures, 0U);
  EXPECT_GT(skipped, 0U);
}

TEST(Reports, TapHasALineForEachCase) {
  const Report r = some_report();
  const std::string tap = report::to_tap(r);
  EXPECT_THAT(tap, testing::StartsWith(fmt::format("TAP version 14\n1..{}\n", r.cases.size())));
  EXPECT_THAT(tap, HasSubstr("not ok"));
  EXPECT_THAT(tap, HasSubstr("# SKIP skip: needs --target-command"));
}

TEST(Reports, JsonCountsEachVerdict) {
  const Report r = some_report();
  const auto j = nlohmann::json::parse(report::to_json(r));
  size_t sum = 0;
  for (const Verdict v : kVerdicts) {
    sum += j["summary"][to_string(v)].get<size_t>();
  }
  EXPECT_EQ(sum, r.cases.size());
  EXPECT_EQ(j["cases"].size(), r.cases.size());
  EXPECT_EQ(j["target"]["buffer_count"], 32);
}

TEST(Reports, AFailureTellsAllThatIsNeeded) {
  const std::string text = report::to_text(some_report());
  for (const char* part :
       {"clause:   CFG-SET", "expected: E set, error = 4", "got:      E = 0, error = 0",
        ">>    15  error", "^^", "repeat:   aoe-conformance run --case"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(Baseline, KnownFailuresAreGoodAndEverythingElseIsASurprise) {
  const std::string path = temporary("known.toml");
  const auto hold = [&](const std::string& toml) {
    std::ofstream(path) << toml;
    Report r = some_report();
    report::hold_against(report::read_baseline(path), r);
    return r;
  };
  std::string all;
  for (const CaseResult& c : some_report().cases) {
    if (c.verdict == Verdict::fail) {
      all += fmt::format("[[known]]\ncase = \"{}\"\nverdict = \"fail\"\nreason = \"so it is\"\n",
                         c.id);
    }
  }
  const Report known = hold(all);
  EXPECT_THAT(known.baseline_surprises, testing::IsEmpty());
  EXPECT_EQ(exit_code(known, {}), exit_good);
  // What the observer saw is known with the case that fails for it; what no case says is one more.
  Report watched = some_report();
  std::map<std::string, std::string> broken = {{"HDR-E", "frame 12: E 0, error 6"}};
  for (const CaseResult& c : watched.cases) {
    for (const Finding& f : c.findings) {
      if (f.verdict == Verdict::fail) {
        broken.emplace(f.clause, "frame 1: so it is");
      }
    }
  }
  ASSERT_GT(broken.size(), 1U);
  add_observed(watched, broken);
  ASSERT_EQ(watched.cases.size(), some_report().cases.size() + 1);
  EXPECT_EQ(watched.cases.back().id, "run.observed.HDR-E");
  EXPECT_THAT(report::to_text(watched), testing::HasSubstr("frame 12: E 0, error 6"));
  const auto rows = [&](const std::string& toml) {
    std::ofstream(path) << toml;
    return report::read_baseline(path);
  };
  Report unknown = watched;
  report::hold_against(rows(all), unknown);
  EXPECT_EQ(exit_code(unknown, {}), exit_failed);
  report::hold_against(rows(all + "[[known]]\ncase = \"run.observed.HDR-E\"\nverdict = \"fail\"\n"
                                  "reason = \"so it is\"\n"),
                       watched);
  EXPECT_EQ(exit_code(watched, {}), exit_good);
  // What a run says of itself may stand there; what nobody says may not.
  EXPECT_EQ(exit_code(hold(all + "[[known]]\ncase = \"run.putting-back\"\nverdict = \"fail\"\n"
                                 "reason = \"so it is\"\n"),
                      {}),
            exit_good);
  EXPECT_ANY_THROW(hold("[[known]]\ncase = \"run.nothing\"\nverdict = \"fail\"\nreason = \"x\"\n"));
  // The same verdict under another clause, or for another reason, is not what is known.
  std::string exact;
  std::string elsewhere;
  std::string otherwise;
  for (const CaseResult& c : some_report().cases) {
    if (c.verdict != Verdict::fail) {
      continue;
    }
    const auto row = [&](const std::string& clause, const std::string& finding) {
      return fmt::format(
          "[[known]]\ncase = \"{}\"\nverdict = \"fail\"\nclause = '{}'\nfinding = '{}'\n"
          "reason = \"so it is\"\n",
          c.id, clause, finding);
    };
    const Finding& f = c.findings.front();
    exact += row(f.clause, f.headline);
    elsewhere += row("HDR-TAG", f.headline);
    otherwise += row(f.clause, "something else");
  }
  EXPECT_THAT(hold(exact).baseline_surprises, testing::IsEmpty());
  EXPECT_THAT(hold(elsewhere).baseline_surprises,
              testing::Contains(HasSubstr("is known to fail under HDR-TAG")));
  EXPECT_THAT(hold(otherwise).baseline_surprises,
              testing::Contains(HasSubstr("something else, and now it is fail under")));
  EXPECT_ANY_THROW(
      hold("[[known]]\ncase = \"config.ccmd.returned\"\nverdict = \"fail\"\n"
           "clause = \"NO-SUCH\"\nreason = \"x\"\n"));
  // Written from a run, it holds that run, and what the run says of itself.
  Report self = some_report();
  CaseResult& left = self.cases.back();
  ASSERT_EQ(left.id, "run.target-left-as-found");
  left.verdict = Verdict::fail;
  left.reason = "the target could not be left as it was found: the mask list";
  std::ofstream(path) << report::baseline_text(self, "so it is");
  Report again = self;
  report::hold_against(report::read_baseline(path), again);
  EXPECT_THAT(again.baseline_surprises, testing::IsEmpty());
  EXPECT_EQ(again.cases.back().known, "so it is");
  again = self;
  again.cases.back().reason = "the target could not be left as it was found: the config string";
  report::hold_against(report::read_baseline(path), again);
  EXPECT_THAT(again.baseline_surprises, testing::ElementsAre(HasSubstr("the config string")));
  // '*' stands for what differs from run to run.
  report::Known wild;
  wild.finding = "a reply of * bytes, * too many";
  EXPECT_EQ(differs(wild, Verdict::fail, "ANY", "a reply of 60 bytes, 4 too many"), "");
  EXPECT_NE(differs(wild, Verdict::fail, "ANY", "a reply of 60 bytes"), "");
  EXPECT_NE(differs(wild, Verdict::fail, "ANY", "no reply of 60 bytes, 4 too many"), "");
  EXPECT_EQ(differs(wild, Verdict::skip, "", ""), "");
  // One more that passes now, and one less that fails.
  const Report passes = hold(
      all +
      "[[known]]\ncase = \"config.set.stores-when-empty\"\nverdict = \"fail\"\nreason = \"was\"\n");
  EXPECT_EQ(passes.baseline_surprises.size(), 1U);
  EXPECT_EQ(exit_code(passes, {}), exit_failed);
  const Report unlisted = hold("known = []\n");
  EXPECT_GT(unlisted.baseline_surprises.size(), 0U);
  EXPECT_EQ(exit_code(unlisted, {}), exit_failed);
  EXPECT_THROW(hold("[[known]]\ncase = \"no.such\"\nverdict = \"fail\"\nreason = \"x\"\n"),
               std::runtime_error);
  EXPECT_THROW(hold("[[known]]\ncase = \"config.set.same-string\"\n"), std::runtime_error);
  EXPECT_THROW(hold("nonsense"), std::runtime_error);
  unlink(path.c_str());
}

TEST(Capture, HoldsEveryFrameOnTheLogsClock) {
  const std::string directory = temporary("capture");
  ModelLink link({}, conforming());
  RunConfig config = config_of({"header.tag.returned-by-config"});
  config.capture_dir = directory;
  const Report report = run_suite(link, config);
  const CaseResult& c = report.cases.front();
  char error[PCAP_ERRBUF_SIZE];
  pcap_t* pcap =
      pcap_open_offline_with_tstamp_precision(c.capture.c_str(), PCAP_TSTAMP_PRECISION_NANO, error);
  ASSERT_NE(pcap, nullptr) << error;
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  size_t requests = 0, replies = 0;
  int64_t last_ns = c.started_ns;
  while (pcap_next_ex(pcap, &header, &bytes) == 1) {
    (observer::is_reply({bytes, header->caplen}) ? replies : requests) += 1;
    const int64_t at_ns = header->ts.tv_sec * links::kNsPerSecond + header->ts.tv_usec;
    EXPECT_GE(at_ns, last_ns);
    last_ns = at_ns;
  }
  pcap_close(pcap);
  EXPECT_EQ(requests, 7U);
  EXPECT_EQ(replies, 7U);
  EXPECT_LE(static_cast<double>(last_ns - c.started_ns) / links::kNsPerMs, c.duration_ms);
  for (const char* name : {"run.start", "run.end", "header.tag.returned-by-config"}) {
    EXPECT_EQ(unlink((directory + "/" + name + ".pcap").c_str()), 0);
  }
  EXPECT_EQ(rmdir(directory.c_str()), 0);
}

TEST(Run, ATargetWhoseProcessEndedIsNotWaitedFor) {
  bool dead = false;
  const auto mortal = deviants::spoils(
      "dies", "dies of a mask request",
      [&](const Bytes& q, deviants::ModelTarget&, const deviants::Forward& f) {
        dead = dead || observer::get(q, observer::F::command) == observer::command::mask;
        return dead ? deviants::Answers{} : f(q);
      });
  ModelLink link({}, mortal);
  RunConfig config = config_of({"mask.read.*", "header.tag.*"});
  config.allowed = {"lockout"};
  Mortal control(link, dead);
  config.target = &control;
  const Report report = run_suite(link, config);
  EXPECT_GT(control.starts, 0U);
  for (const CaseResult& c : report.cases) {
    constexpr double noticed_ms_max = 50;
    if (c.id.rfind("mask.", 0) == 0) {
      EXPECT_EQ(c.verdict, Verdict::fail) << c.id;
      EXPECT_THAT(c.reason, HasSubstr("ended with exit code 1"));
      EXPECT_LT(c.duration_ms, noticed_ms_max) << c.id;
    }
  }
}

TEST(Text, ARemarkIsPrintedOnce) {
  Report report;
  CaseResult c;
  c.id = "a.b";
  c.verdict = Verdict::info;
  c.reason = "first remark";
  for (const char* remark : {"first remark", "second remark", "second remark"}) {
    Finding f;
    f.verdict = Verdict::info;
    f.headline = remark;
    c.findings.push_back(f);
  }
  report.cases.push_back(c);
  const std::string text = report::to_text(report, {});
  for (const std::string remark : {"first remark", "second remark"}) {
    const size_t at = text.find(remark);
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(text.find(remark, at + 1), std::string::npos) << text;
  }
}

TEST(UnixSocket, ATargetBehindASocketIsJudgedLikeAnyOther) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  std::thread target([fd = ends[1]] {
    ModelTarget model;
    Bytes buffer(65536);
    for (;;) {
      const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
      if (n <= 0) {
        close(fd);
        return;
      }
      for (const auto& a : model.on_frame(Bytes(buffer.begin(), buffer.begin() + n), 0)) {
        send(fd, a.bytes.data(), a.bytes.size(), 0);
      }
    }
  });
  {
    links::UnixSocketLink link(ends[0], 1500);
    const Report report = run_suite(link, config_of({"header.tag.*", "config.version.*"}));
    EXPECT_EQ(exit_code(report, {}), exit_good) << report::to_text(report);
  }
  target.join();
}

}  // namespace
}  // namespace conformance
