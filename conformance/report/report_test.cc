// What the faces of a report share: causes, repetitions, comparison of runs, and pages that hold
// any text safely. The faces themselves are read by real parsers and a real browser in pytests/.

#include "conformance/report/report.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "conformance/output/output_file.h"
#include "conformance/report/compare.h"
#include "conformance/report/page.h"
#include "conformance/report/words.h"

namespace conformance::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

CaseResult result(const std::string& id, Verdict verdict, const std::string& reason = {}) {
  CaseResult c;
  c.id = id;
  c.verdict = verdict;
  c.reason = reason;
  return c;
}

CaseResult failed(const std::string& id, const std::string& headline, const std::string& got) {
  CaseResult c = result(id, Verdict::fail, headline);
  Finding f;
  f.headline = headline;
  f.got = got;
  c.findings.push_back(f);
  return c;
}

TEST(Causes, OneReasonIsOneCauseAndAnotherObservationIsAnother) {
  Report r;
  r.cases = {failed("a.a", "wrong", "1"), result("a.b", Verdict::pass), failed("a.c", "wrong", "1"),
             failed("a.d", "wrong", "2")};
  const auto all = causes(r);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].first->id, "a.a");
  ASSERT_EQ(all[0].others.size(), 1U);
  EXPECT_EQ(all[0].others[0]->id, "a.c");
  EXPECT_EQ(all[1].first->id, "a.d");
  const std::string text = to_text(r);
  EXPECT_THAT(text, HasSubstr("and for the same reason 1 more: a.c"));
  const auto j = nlohmann::json::parse(to_json(r));
  EXPECT_EQ(j["cases"][2]["same_as"], "a.a");
  EXPECT_EQ(j["cases"][3]["same_as"], "");
}

TEST(Causes, ANamedCauseJoinsWhatLooksDifferent) {
  Report r;
  r.cases = {failed("a.a", "died", "3 frames"), failed("a.b", "died", "4 frames")};
  for (CaseResult& c : r.cases) {
    c.findings[0].cause = "killed by signal 6";
  }
  EXPECT_EQ(causes(r).size(), 1U);
}

TEST(Repetitions, TheWorstStaysAndAllAreCounted) {
  Report r;
  r.cases = {result("a.a", Verdict::pass), failed("a.a", "wrong", "1"),
             result("a.a", Verdict::inconclusive, "silence"), result("a.b", Verdict::pass),
             result("a.b", Verdict::pass)};
  merge_repetitions(r);
  ASSERT_EQ(r.cases.size(), 2U);
  EXPECT_EQ(r.cases[0].verdict, Verdict::fail);
  EXPECT_EQ(r.cases[0].findings.size(), 1U);
  EXPECT_THAT(r.cases[0].repetitions,
              ElementsAre(Verdict::pass, Verdict::fail, Verdict::inconclusive));
  EXPECT_EQ(flicker(r.cases[0]), "1 pass, 1 fail, 1 inconclusive");
  EXPECT_EQ(flicker(r.cases[1]), "");
  EXPECT_THAT(to_text(r), HasSubstr("not the same each time:\n  a.a: "));
}

PastRun past(const std::vector<std::pair<std::string, Verdict>>& cases) {
  PastRun run;
  for (const auto& [id, verdict] : cases) {
    PastCase c;
    c.id = id;
    c.verdict = verdict;
    run.cases.push_back(c);
  }
  return run;
}

std::vector<std::string> ids(const std::vector<Difference>& list) {
  std::vector<std::string> out;
  for (const Difference& d : list) {
    out.push_back(d.id);
  }
  return out;
}

TEST(Compare, ANewFailureIsOneThatWasNotSoBefore) {
  const PastRun before = past({{"pass-fail", Verdict::pass},
                               {"fail-fail", Verdict::fail},
                               {"fail-pass", Verdict::fail},
                               {"fail-skip", Verdict::fail},
                               {"inconclusive-fail", Verdict::inconclusive},
                               {"skip-error", Verdict::skip},
                               {"gone", Verdict::pass}});
  PastRun after = past({{"pass-fail", Verdict::fail},
                        {"fail-fail", Verdict::fail},
                        {"fail-pass", Verdict::pass},
                        {"fail-skip", Verdict::skip},
                        {"inconclusive-fail", Verdict::fail},
                        {"skip-error", Verdict::error},
                        {"new-fail", Verdict::fail},
                        {"new-known", Verdict::fail},
                        {"new-pass", Verdict::pass}});
  after.cases[7].known = "accepted";
  const Differences d = compare(before, after);
  EXPECT_THAT(ids(d.new_failures), ElementsAre("pass-fail", "skip-error", "new-fail"));
  EXPECT_THAT(ids(d.mended), ElementsAre("fail-pass"));
  EXPECT_THAT(ids(d.changed),
              ElementsAre("fail-skip", "inconclusive-fail", "new-known", "new-pass", "gone"));
}

TEST(Compare, RunsOfOneNameAreToldApartByTheirFolder) {
  std::vector<PastRun> runs(3);
  tell_apart(runs, {"a/report.json", "b/report.json", "c/vblade.json"});
  EXPECT_EQ(runs[0].label, "a/report");
  EXPECT_EQ(runs[1].label, "b/report");
  EXPECT_EQ(runs[2].label, "vblade");
}

TEST(Compare, AReportIsReadBackAsItWasWritten) {
  Report r;
  r.version = "1";
  r.mtu = 9000;
  r.cases = {failed("a.a", "wrong", "1"), result("a.b", Verdict::skip, "needs")};
  const std::string path = fmt::format("{}/report-{}.json", testing::TempDir(), getpid());
  output::write_file(path, to_json(r));
  const PastRun run = read_report(path);
  unlink(path.c_str());
  EXPECT_EQ(run.mtu, 9000U);
  ASSERT_EQ(run.cases.size(), 2U);
  EXPECT_EQ(run.cases[0].verdict, Verdict::fail);
  EXPECT_EQ(run.find("a.b")->reason, "needs");
  EXPECT_EQ(run.find("a.c"), nullptr);
}

TEST(Page, NoTextOfATargetEndsTheScript) {
  Report r;
  r.cases = {failed("a.a", "</script><!-- \x01\xff", "{{data}} /*{{style}}*/")};
  const std::string json = to_json(r);
  const std::string page = run_page(json);
  const size_t data = page.find("type=\"application/json\">");
  ASSERT_NE(data, std::string::npos);
  const size_t end = page.find("</script>", data);
  const size_t begin = page.find('>', data) + 1;
  const std::string inside = page.substr(begin, end - begin);
  EXPECT_THAT(inside, Not(HasSubstr("<")));
  EXPECT_EQ(nlohmann::json::parse(inside), nlohmann::json::parse(json));
}

}  // namespace
}  // namespace conformance::report
