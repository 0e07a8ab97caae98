// The whole suite, as a user runs it, against every deviant: what it says is what
// conformance/deviants.tsv says it says. A clause of its own is broken, and nothing else fails but
// what is known to follow from it. Virtual time; half a second each.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "conformance/deviant_matrix.h"

namespace conformance {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSlow = true;
#elif defined(__has_feature)
constexpr bool kSlow = __has_feature(address_sanitizer);
#else
constexpr bool kSlow = false;
#endif
// Where memory is checked each takes its time: one of so many.
constexpr size_t kStep = kSlow ? 24 : 1;

const Told* told_of(const std::string& name) {
  for (const Told& told : told_of_deviants()) {
    if (told.deviant == name) {
      return &told;
    }
  }
  return nullptr;
}

TEST(Deviants, EachHasItsLineAndEachLineItsDeviant) {
  const auto& deviants = Registry::all().deviants();
  for (const auto& [name, deviant] : deviants) {
    EXPECT_NE(told_of(name), nullptr)
        << name << " is missing: aoe-conformance deviants --run " << name;
  }
  for (const Told& told : told_of_deviants()) {
    EXPECT_EQ(deviants.count(told.deviant), 1U) << told.deviant << " is no deviant";
  }
}

// A MUST that a deviant breaks is failed by the whole run, or the clause says why not.
TEST(Deviants, FewAreOnlyRemarkedUpon) {
  std::map<std::string, size_t> weak;
  for (const Told& told : told_of_deviants()) {
    if (told.own.front() == '(') {
      ++weak[told.own];
    }
  }
  EXPECT_LE(weak["(unreachable)"] * 50, told_of_deviants().size()) << "at most one of fifty";
  EXPECT_LE(weak["(info)"] * 20, told_of_deviants().size()) << "at most one of twenty";
}

class EachDeviant : public testing::TestWithParam<size_t> {};

TEST_P(EachDeviant, FailsAsItIsKnownTo) {
  const auto it = std::next(Registry::all().deviants().begin(), static_cast<ptrdiff_t>(GetParam()));
  const Told* known = told_of(it->first);
  ASSERT_NE(known, nullptr) << it->first;
  const Told told = run_whole(Registry::all(), it->second);
  EXPECT_EQ(to_line(told), to_line(*known)) << "a target that " << it->second.story;
}

std::string test_name(const testing::TestParamInfo<size_t>& info) {
  std::string name =
      std::next(Registry::all().deviants().begin(), static_cast<ptrdiff_t>(info.param))->first;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Suite, EachDeviant,
                         testing::Range(size_t{0}, Registry::all().deviants().size(), kStep),
                         test_name);

}  // namespace
}  // namespace conformance
