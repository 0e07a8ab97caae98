// The probes against the model target, in virtual time.

#include "conformance/probe.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "conformance/cases/registry.h"
#include "conformance/deviants/lossy_link.h"
#include "conformance/deviants/model_link.h"
#include "conformance/runner/run.h"

namespace conformance {
namespace {

using deviants::Deviant;
using deviants::ModelConfig;
using deviants::ModelLink;
using nlohmann::json;

struct Asked {
  int code = 0;
  std::string out, err;
  json told;
};

Asked ask(Probe probe, links::Link& link, bool as_json = true) {
  TargetFacts facts;
  Context context(link, facts, {}, {1.0});
  ProbeOptions options;
  options.json = as_json;
  std::ostringstream out;
  std::ostringstream err;
  Asked asked;
  asked.code = probe(context, options, out, err);
  asked.out = out.str();
  asked.err = err.str();
  if (as_json && !asked.out.empty()) {
    asked.told = json::parse(asked.out);
  }
  return asked;
}

TEST(ProbeCongestion, FindsWhatTheBuffersHold) {
  for (const uint16_t buffers : {uint16_t{8}, uint16_t{100}}) {
    ModelConfig config;
    config.buffer_count = buffers;
    ModelLink link(config);
    const Asked asked = ask(probe_congestion, link);
    EXPECT_EQ(asked.code, exit_good) << asked.err;
    ASSERT_EQ(asked.told["bursts"].size(), 5U);
    // The first probe is taken before the pause: it leaves its place.
    EXPECT_GE(asked.told["best_outstanding"], buffers);
    EXPECT_LE(asked.told["best_outstanding"], buffers + 1);
    EXPECT_FALSE(asked.told["answered_twice"]);
  }
}

TEST(ProbeCongestion, DrawsOneBarForEachBurst) {
  ModelLink link;
  const Asked asked = ask(probe_congestion, link, false);
  EXPECT_EQ(asked.code, exit_good) << asked.err;
  size_t bars = 0;
  std::istringstream lines(asked.out);
  for (std::string line; std::getline(lines, line);) {
    bars += line.ends_with("##########") ? 1 : 0;
  }
  EXPECT_EQ(bars, 5U) << asked.out;
  EXPECT_NE(asked.out.find("best number of outstanding requests: 3"), std::string::npos)
      << asked.out;
}

TEST(ProbeCongestion, SaysWhatItCannotAsk) {
  ModelConfig plain;
  plain.extensions = false;
  ModelLink without(plain);
  EXPECT_EQ(ask(probe_congestion, without).code, exit_all_skipped);

  const Deviant silent = deviants::ignores(
      "silent", "", [](const deviants::Bytes&, const deviants::ModelTarget&) { return true; });
  ModelLink nobody({}, silent);
  const Asked asked = ask(probe_congestion, nobody);
  EXPECT_EQ(asked.code, exit_unreachable);
  EXPECT_TRUE(asked.out.empty());
  EXPECT_NE(asked.err.find("no target"), std::string::npos) << asked.err;

  const auto& deviants = Registry::all().deviants();
  ModelLink no_pause({}, deviants.at("congestion-no-pause"));
  EXPECT_EQ(ask(probe_congestion, no_pause).code, exit_inconclusive);
  ModelLink twice({}, deviants.at("congestion-answers-twice"));
  // A copy of an answer is nobody's fault as long as only one end of the wire is seen.
  EXPECT_EQ(ask(probe_congestion, twice).code, exit_good);
}

TEST(ProbeExtensions, TellsFeaturesAndBehaviour) {
  ModelLink link;
  const Asked asked = ask(probe_extensions, link);
  EXPECT_EQ(asked.code, exit_good) << asked.err;
  EXPECT_TRUE(asked.told["features"]["coalesced_read"]);
  EXPECT_TRUE(asked.told["features"]["congestion"]);
  EXPECT_TRUE(asked.told["features"]["coalesced_write_reply"]);
  EXPECT_EQ(asked.told["behaviour"]["byte order of the table's length"],
            "little-endian and big-endian");
  EXPECT_EQ(asked.told["behaviour"]["reset by another"], "leaves features on");
}

TEST(ProbeExtensions, SeesADifferentTarget) {
  const auto& deviants = Registry::all().deviants();
  ModelLink little({}, deviants.at("ext-little-endian-only"));
  EXPECT_EQ(ask(probe_extensions, little).told["behaviour"]["byte order of the table's length"],
            "little-endian");
  ModelLink shared({}, deviants.at("ext-one-session-for-all"));
  EXPECT_EQ(ask(probe_extensions, shared).told["behaviour"]["asked for by another only"],
            "active for everybody: one session for all");
}

TEST(ProbeMtu, SaysWhatEachWayCarries) {
  ModelConfig config;
  config.mtu = 9000;
  ModelLink model(config);
  const Asked sound = ask(probe_mtu, model);
  EXPECT_EQ(sound.code, exit_good) << sound.err;
  EXPECT_EQ(sound.told["interface"], 9000);
  EXPECT_EQ(sound.told["towards_target"], 9000);
  EXPECT_EQ(sound.told["sectors"]["arrive"], sound.told["sectors"]["advertised"]);

  deviants::Wire out;
  out.mtu_out = 1500;
  deviants::LossyLink narrow_out(model, out, 1);
  const Asked less = ask(probe_mtu, narrow_out);
  EXPECT_EQ(less.code, exit_failed) << less.out;
  EXPECT_EQ(less.told["towards_target"], 1500);

  deviants::Wire in;
  in.mtu_in = 1500;
  deviants::LossyLink narrow_in(model, in, 1);
  const Asked back = ask(probe_mtu, narrow_in);
  EXPECT_EQ(back.code, exit_failed) << back.out;
  EXPECT_EQ(back.told["sectors"]["arrive"], 2);  // 22 bytes and two sectors are 1046 of the 1500
  EXPECT_NE(ask(probe_mtu, narrow_in, false).out.find("back"), std::string::npos);
}

TEST(ProbeMtu, AsksTargetsWithoutExtensionsToo) {
  ModelConfig config;
  config.extensions = false;
  ModelLink model(config);
  EXPECT_EQ(ask(probe_mtu, model).code, exit_good);
}

}  // namespace
}  // namespace conformance
