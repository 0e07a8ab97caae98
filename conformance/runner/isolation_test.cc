// Whole run = fresh target: what a case says must not depend on what ran before it. Each case's
// verdict in a whole run, in the registry's order and in others, against its verdict alone with a
// target that was started just now; with the model, and with targets that make it hard for whoever
// wants to put them back. `./lab isolation` measures the same on a wire.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "conformance/control/model_control.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"

#if defined(__SANITIZE_ADDRESS__)
#define AOE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AOE_SANITIZED 1
#endif
#endif

namespace conformance {
namespace {

using deviants::Answers;
using deviants::Deviant;
using deviants::Forward;
using deviants::ModelLink;
using deviants::ModelTarget;
using observer::get;
using report::Report;

constexpr uint64_t kInOrder = 0;
// Under a sanitizer one of so many cases is asked alone, and one other order is tried.
#ifdef AOE_SANITIZED
constexpr uint64_t kOrders[] = {1};
constexpr size_t kAloneEach = 40;
#else
constexpr uint64_t kOrders[] = {kInOrder, 1, 2};
constexpr size_t kAloneEach = 1;
#endif

bool edits_mask(const Bytes& q) {
  return get(q, F::command) == observer::command::mask &&
         get(q, F::mask_mcmd) == observer::mcmd::edit;
}

bool deletes(const Bytes& q) {
  bool any = false;
  for (const auto& d : observer::mask_list(q).value_or(std::vector<observer::Directive>{})) {
    any = any || d.dcmd == observer::dcmd::del;
  }
  return edits_mask(q) && any;
}

// A target, and what becomes of its process.
struct Stub {
  std::string name;
  Deviant deviant;
  std::shared_ptr<bool> dead = std::make_shared<bool>(false);
  size_t mtu = 1500;
};

class StubControl final : public control::TargetControl {
 public:
  StubControl(ModelLink& link, std::shared_ptr<bool> dead) : model_(link), dead_(std::move(dead)) {}
  bool restarts() const override { return true; }
  void start(control::State state) override {
    *dead_ = false;
    model_.start(state);
  }
  void stop() override { model_.stop(); }
  void crash() override { model_.crash(); }
  bool takes_buffers() const override { return true; }
  void set_buffers(std::optional<uint64_t> buffers) override { model_.set_buffers(buffers); }
  std::string fate() override { return *dead_ ? "was killed by signal 6 (Aborted)" : ""; }

 private:
  control::ModelControl model_;
  std::shared_ptr<bool> dead_;
};

Deviant conforming() {
  return deviants::spoils("conforming", "",
                          [](const Bytes& q, ModelTarget&, const Forward& f) { return f(q); });
}

Stub long_frames() {
  Stub stub{"long frames", conforming()};
  stub.mtu = 9000;
  return stub;
}

Stub unreadable_list() {
  constexpr size_t readable_max = 8;
  return {"its list cannot be read beyond 8 entries",
          deviants::spoils("", "", [](const Bytes& q, ModelTarget& m, const Forward& f) {
            Answers answers = f(q);
            const bool mask = get(q, F::command) == observer::command::mask;
            return mask && m.mask.size() > readable_max ? Answers{} : answers;
          })};
}

Stub useless_delete() {
  return {"a delete does nothing", deviants::edits_request("", "", [](Bytes& q) {
            const auto list = observer::mask_list(q);
            if (!edits_mask(q) || !list) {
              return;
            }
            for (size_t i = 0; i < list->size(); ++i) {
              uint8_t& dcmd = q[observer::at::mask_list + i * observer::kMaskEntryBytes + 1];
              dcmd = dcmd == observer::dcmd::del ? observer::dcmd::nothing : dcmd;
            }
          })};
}

// Such a list survives restarts, too: only where its state is emptied it is gone.
Stub keeps_reservation() {
  return {"its owner cannot release it",
          deviants::spoils("", "", [](const Bytes& q, ModelTarget& m, const Forward& f) {
            const std::vector<Mac> before = m.reserved;
            Answers answers = f(q);
            if (m.reserved.empty()) {
              m.reserved = before;
            }
            return answers;
          })};
}

Stub aborts_on_delete() {
  Stub stub{"it aborts on a delete", {}};
  stub.deviant =
      deviants::spoils("", "", [dead = stub.dead](const Bytes& q, ModelTarget&, const Forward& f) {
        *dead = *dead || (observer::is_aoe(q) && deletes(q));
        return *dead ? Answers{} : f(q);
      });
  return stub;
}

Stub silent_to_one() {
  ModelLink link;
  TargetFacts facts;
  Context context(link, facts, {}, {});
  const Mac whom = context.initiator(1).mac();
  return {"it is silent to one address",
          deviants::ignores("", "", [whom](const Bytes& q, const ModelTarget&) {
            constexpr size_t source = 6;
            return q.size() >= source + whom.size() &&
                   std::equal(whom.begin(), whom.end(), q.begin() + source);
          })};
}

Report run_of(const Stub& stub, std::vector<const Case*> cases) {
  *stub.dead = false;
  deviants::ModelConfig model;
  model.mtu = stub.mtu;
  ModelLink link(model, stub.deviant);
  StubControl control(link, stub.dead);
  RunConfig config;
  config.cases = std::move(cases);
  config.allowed = {"write", "config", "lockout", "stress", "unknown"};
  config.repeat_command = "aoe-conformance run";
  config.target = &control;
  return run_suite(link, config);
}

struct Said {
  Verdict verdict;
  std::string reason;
};

class Isolation : public testing::TestWithParam<std::function<Stub()>> {};

TEST_P(Isolation, AWholeRunSaysOfEachCaseWhatAFreshTargetSays) {
  const Stub stub = GetParam()();
  std::map<std::string, Said> fresh;
  const std::vector<const Case*> all = select(Registry::all(), {});
  for (size_t i = 0; i < all.size(); i += kAloneEach) {
    for (const CaseResult& r : run_of(stub, {all[i]}).cases) {
      if (r.id == all[i]->id) {
        fresh[r.id] = {r.verdict, r.reason};
      }
    }
  }
  std::vector<std::string> differ;
  for (const uint64_t seed : kOrders) {
    std::vector<const Case*> cases = all;
    if (seed != kInOrder) {
      shuffle(cases, seed);
    }
    for (const CaseResult& r : run_of(stub, cases).cases) {
      const auto alone = fresh.find(r.id);
      if (alone != fresh.end() && alone->second.verdict != r.verdict) {
        differ.push_back(fmt::format("{} ({}): {} ({}), alone {} ({})", r.id,
                                     seed == kInOrder ? "in order" : fmt::format("seed {}", seed),
                                     to_string(r.verdict), r.reason,
                                     to_string(alone->second.verdict), alone->second.reason));
      }
    }
  }
  EXPECT_THAT(differ, testing::IsEmpty()) << stub.name << "\n"
                                          << fmt::format("{}", fmt::join(differ, "\n"));
}

std::string name_of(const testing::TestParamInfo<std::function<Stub()>>& one) {
  std::string out;  // "useless delete" -> "UselessDelete"
  bool upper = true;
  for (const char c : one.param().name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      upper = true;
      continue;
    }
    out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  return out;
}

std::vector<std::function<Stub()>> targets() {
  std::vector<std::function<Stub()>> out = {[] {
                                              return Stub{"conforming", conforming()};
                                            },
                                            long_frames,
                                            unreadable_list,
                                            useless_delete,
                                            keeps_reservation,
                                            aborts_on_delete,
                                            silent_to_one};
#ifdef AOE_SANITIZED  // the same code, whoever is put back
  out = {useless_delete};
#endif
  return out;
}

INSTANTIATE_TEST_SUITE_P(Targets, Isolation, testing::ValuesIn(targets()), name_of);

}  // namespace
}  // namespace conformance
