// Whole runs against the conforming model behind bad wires, in virtual time: whatever a link does
// to frames, nobody is accused of it, and what can be proven nonetheless is. And deviants behind
// such wires: what is wrong is still found.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "conformance/control/model_control.h"
#include "conformance/deviants/lossy_link.h"
#include "conformance/deviants/model_link.h"
#include "conformance/links/witness.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"

namespace conformance {
namespace {

// The sanitizers look at the same code whatever the seed, and take ten times as long.
#if defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kSeeds = 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr uint64_t kSeeds = 1;
#else
constexpr uint64_t kSeeds = 2;
#endif
#else
constexpr uint64_t kSeeds = 2;
#endif

using deviants::LossyLink;
using deviants::ModelConfig;
using deviants::ModelLink;
using deviants::Wire;
using links::kNsPerMs;
using report::Report;

struct NamedWire {
  const char* name;
  Wire wire;
  double conclusive;  // the least share of cases that ran
  size_t mtu = 1500;
};

RunConfig everything(control::ModelControl& control) {
  RunConfig config;
  config.cases = select(Registry::all(), {});
  config.allowed = {"write", "config", "lockout", "stress"};
  config.repeat_command = "aoe-conformance run";
  config.target = &control;
  return config;
}

std::string told(const Report& r) {
  std::string out;
  for (const CaseResult& c : r.cases) {
    if (c.reason.rfind("did not run", 0) == 0) {
      continue;
    }
    if (c.verdict == Verdict::fail || c.verdict == Verdict::warn || c.verdict == Verdict::error ||
        c.verdict == Verdict::inconclusive) {
      out += fmt::format("{} {} (asked {} times): {}\n", to_string(c.verdict), c.id, c.attempts,
                         c.reason);
    }
  }
  return out + r.trouble + "\n" + links::to_string(r.link) + "\n";
}

std::string entries(const std::vector<observer::Mac>& list) {
  std::string out;
  for (const observer::Mac& mac : list) {
    out += observer::to_string(mac) + " ";
  }
  return out;
}

class EachWire : public testing::TestWithParam<NamedWire> {};

TEST_P(EachWire, AccusesNobodyAndProvesWhatCanBeProven) {
  const NamedWire& named = GetParam();
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    ModelConfig config;
    config.mtu = named.mtu;
    constexpr size_t fits_576 = 64;  // a list holds what a reply can carry
    config.mask_max = config.reserve_max = named.mtu < 1500 ? fits_576 : config.mask_max;
    ModelLink model(config);
    LossyLink wire(model, named.wire, seed);
    control::ModelControl control(model);
    const Report r = run_suite(wire, everything(control));
    const auto n = r.counts();
    EXPECT_EQ(n.at(Verdict::fail) + n.at(Verdict::warn) + n.at(Verdict::error), 0U)
        << "seed " << seed << "\n"
        << told(r);
    EXPECT_EQ(r.trouble, "") << told(r);
    const size_t ran = r.cases.size() - n.at(Verdict::skip);
    const double share =
        1 - static_cast<double>(n.at(Verdict::inconclusive)) / static_cast<double>(ran);
    EXPECT_GE(share, named.conclusive) << "seed " << seed << "\n" << told(r);
    RecordProperty(fmt::format("conclusive_{}", seed), fmt::format("{:.3f}", share));
    const auto changed =
        std::count_if(model.model().disk.begin(), model.model().disk.end(), [](const auto& sector) {
          return sector.second != deviants::Bytes(observer::kSectorBytes, 0);
        });
    EXPECT_EQ(changed, 0) << "sectors are not as they were found";
    EXPECT_TRUE(model.model().mask.empty()) << entries(model.model().mask);
    EXPECT_TRUE(model.model().reserved.empty()) << entries(model.model().reserved);
  }
}

Wire dropping(double share) {
  Wire w;
  w.drop = share;
  return w;
}
Wire duplicating(double share) {
  Wire w;
  w.duplicate = share;
  return w;
}
Wire delaying(int64_t up_to_ms) {
  Wire w;
  w.delay = 0.1;
  w.delay_max_ns = up_to_ms * kNsPerMs;
  return w;
}
Wire reordering() {
  Wire w;
  w.reorder = 0.1;
  return w;
}
Wire everything_at_once() {
  Wire w;
  w.drop = 0.01;
  w.duplicate = 0.01;
  w.delay = 0.01;
  w.delay_max_ns = 50 * kNsPerMs;
  w.reorder = 0.01;
  return w;
}
Wire doubled_replies() {
  Wire w;
  w.double_replies = true;
  return w;
}
Wire two_ports() {
  Wire w;
  w.second_port = true;
  return w;
}
Wire narrow_out() {
  Wire w;
  w.mtu_out = 1500;
  return w;
}
Wire narrow_in() {
  Wire w;
  w.mtu_in = 1500;
  return w;
}
Wire cut() {
  Wire w;
  w.cut_at_ns = 500 * kNsPerMs;
  w.cut_for_ns = 2000 * kNsPerMs;
  return w;
}

// Stands at the target's port.
class SeenPort : public links::Wrapped, public links::Witness {
 public:
  using Wrapped::Wrapped;
  void send(links::BytesView frame) override {
    counts_.saw(frame, false);
    inner().send(frame);
  }
  std::optional<links::ReceivedFrame> receive(int64_t deadline_ns) override {
    auto frame = inner().receive(deadline_ns);
    if (frame) {
      counts_.saw(frame->bytes, true);
    }
    return frame;
  }
  std::vector<links::AnsweredTwice> take() override { return counts_.take(); }

 private:
  links::PortCounts counts_;
};

const deviants::Deviant& doubling() {
  static const deviants::Deviant all = deviants::spoils(
      "doubles", "answers everything twice",
      [](const links::Bytes& q, deviants::ModelTarget&, const deviants::Forward& f) {
        deviants::Answers answers = f(q);
        const size_t n = answers.size();
        for (size_t i = 0; i < n; ++i) {
          answers.push_back(answers[i]);
        }
        return answers;
      });
  return all;
}

const CaseResult* answered_once(const Report& r) {
  const auto it = std::find_if(r.cases.begin(), r.cases.end(),
                               [](const CaseResult& c) { return c.id == "run.answered-once"; });
  return it == r.cases.end() ? nullptr : &*it;
}

size_t bad(const Report& r) {
  const auto n = r.counts();
  return n.at(Verdict::fail) + n.at(Verdict::warn) + n.at(Verdict::error);
}

RunConfig some(control::ModelControl& control) {
  RunConfig config = everything(control);
  Selection selection;
  selection.families = {"header", "config", "coalesced"};
  config.cases = select(Registry::all(), selection);
  return config;
}

TEST(DoubledReplies, AreTheTargetsWhereItsPortIsSeen) {
  ModelLink model({}, doubling());
  control::ModelControl control(model);
  SeenPort port(model);
  RunConfig config = some(control);
  config.witness = &port;
  const Report r = run_suite(port, config);
  ASSERT_NE(answered_once(r), nullptr) << told(r);
  EXPECT_EQ(answered_once(r)->verdict, Verdict::fail);
  EXPECT_EQ(answered_once(r)->findings.front().clause, "HDR-ONCE");
  EXPECT_GT(answered_once(r)->findings.front().frames.size(), 1U);
  EXPECT_EQ(bad(r), 1U) << told(r);
}

TEST(DoubledReplies, AreOneRemarkWhereOnlyOneEndIsSeen) {
  ModelLink model({}, doubling());
  control::ModelControl control(model);
  const Report r = run_suite(model, some(control));
  ASSERT_NE(answered_once(r), nullptr) << told(r);
  EXPECT_EQ(answered_once(r)->verdict, Verdict::info);
  EXPECT_EQ(bad(r), 0U) << told(r);
}

TEST(DoubledReplies, AreTheLinksWhereThePortSaysSo) {
  ModelLink model;
  control::ModelControl control(model);
  SeenPort port(model);
  LossyLink wire(port, doubled_replies(), 1);
  RunConfig config = some(control);
  config.witness = &port;
  const Report r = run_suite(wire, config);
  EXPECT_GT(r.link.repeated, 100U);
  EXPECT_EQ(answered_once(r), nullptr) << told(r);
  EXPECT_EQ(bad(r), 0U) << told(r);
}

TEST(SecondPort, IsNamedOnceAndNotListenedTo) {
  ModelLink model;
  control::ModelControl control(model);
  LossyLink wire(model, two_ports(), 1);
  const Report r = run_suite(wire, some(control));
  ASSERT_EQ(r.notes.size(), 1U);
  EXPECT_NE(r.notes.front().find("another port of the same machine"), std::string::npos);
  EXPECT_EQ(bad(r), 0U) << told(r);
}

// Every tenth case with each of its deviants, behind a wire that loses one frame of a hundred.
TEST(Deviants, AreStillFoundBehindALossyWire) {
  size_t asked = 0;
  size_t found = 0;
  std::string missed;
  size_t number = 0;
  for (const Case& c : Registry::all().cases()) {
    constexpr size_t every = 10;
    if (number++ % every != 0) {
      continue;
    }
    for (const std::string& name : c.fails_on) {
      ModelConfig config;
      constexpr size_t jumbo_mtu = 9000;
      config.mtu = std::count(c.needs.begin(), c.needs.end(), Need::jumbo) != 0 ? jumbo_mtu : 1500;
      ModelLink model(config, Registry::all().deviants().at(name));
      LossyLink wire(model, dropping(0.01), number);
      control::ModelControl control(model);
      RunConfig run = everything(control);
      run.cases = {&c};
      const Report r = run_suite(wire, run);
      ModelLink sound_model(config, Registry::all().deviants().at(name));
      control::ModelControl sound_control(sound_model);
      RunConfig sound_run = everything(sound_control);
      sound_run.cases = {&c};
      const Report sound = run_suite(sound_model, sound_run);
      const auto bad = [](const Report& one) {
        const Verdict v = one.cases.front().verdict;
        return v == Verdict::fail || v == Verdict::warn;
      };
      if (!bad(sound)) {
        continue;  // found by its words only, or not reached by a run that learns first
      }
      ++asked;
      found += bad(r) ? 1 : 0;
      missed += bad(r) ? ""
                       : fmt::format("{} by {}: {} (asked {} times): {}\n", name, c.id,
                                     to_string(r.cases.front().verdict), r.cases.front().attempts,
                                     r.cases.front().reason);
    }
  }
  constexpr size_t enough = 20;
  EXPECT_GT(asked, enough);
  EXPECT_GE(static_cast<double>(found), 0.9 * static_cast<double>(asked)) << missed;
  RecordProperty("found", fmt::format("{} of {}", found, asked));
}

// Where memory is checked, those that differ in kind.
std::vector<NamedWire> wires() {
  std::vector<NamedWire> all = {NamedWire{"clean", {}, 1.0},
                                NamedWire{"clean_576", {}, 1.0, 576},
                                NamedWire{"drop_0_1", dropping(0.001), 0.97},
                                NamedWire{"drop_1", dropping(0.01), 0.95},
                                NamedWire{"drop_2", dropping(0.02), 0.9},
                                NamedWire{"drop_5", dropping(0.05), 0.8},
                                NamedWire{"duplicate_0_1", duplicating(0.001), 0.97},
                                NamedWire{"duplicate_1", duplicating(0.01), 0.95},
                                NamedWire{"duplicate_5", duplicating(0.05), 0.8},
                                NamedWire{"delay_50", delaying(50), 0.8},
                                NamedWire{"delay_200", delaying(200), 0.8},
                                NamedWire{"reorder", reordering(), 0.8},
                                NamedWire{"all_at_once", everything_at_once(), 0.8},
                                NamedWire{"replies_twice", doubled_replies(), 0.9},
                                NamedWire{"late_second_port", two_ports(), 0.95},
                                NamedWire{"narrow_to_target", narrow_out(), 0.5, 9000},
                                NamedWire{"narrow_from_target", narrow_in(), 0.5, 9000},
                                NamedWire{"cut_2s", cut(), 0.95}};
  if (kSeeds == 1) {
    const std::set<std::string> kinds = {"clean",       "drop_5",        "duplicate_5",
                                         "all_at_once", "replies_twice", "cut_2s"};
    std::erase_if(all, [&](const NamedWire& wire) { return kinds.count(wire.name) == 0; });
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Wires, EachWire, testing::ValuesIn(wires()),
                         [](const auto& wire) { return std::string(wire.param.name); });

}  // namespace
}  // namespace conformance
