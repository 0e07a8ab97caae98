// Config string, mask list and reserve list as functions of the state: a row for each rule.
#include "target/engine/lists.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace target::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const wire::MacAddress kAlice{{2, 0, 0, 0, 0, 0xA}};
const wire::MacAddress kBob{{2, 0, 0, 0, 0, 0xB}};
const wire::MacAddress kCarol{{2, 0, 0, 0, 0, 0xC}};
constexpr std::size_t kLimit = 3;

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes;
  for (const char c : text) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  return bytes;
}

void append(std::vector<std::byte>& bytes, const wire::MacAddress& mac) {
  for (const std::uint8_t octet : mac.octets) {
    bytes.push_back(static_cast<std::byte>(octet));
  }
}

ConfigOutcome config(std::string_view present, std::uint8_t ccmd, std::string_view asked,
                     bool fits = true, std::size_t string_bytes_max = 1024) {
  PersistentState state;
  state.config_string = bytes_of(present);
  const auto string = bytes_of(asked);
  wire::ConfigRequest request;
  request.ccmd = ccmd;
  request.string_fits = fits;
  request.string = string;
  return apply_config(state, request, string_bytes_max);
}

TEST(Config, AStringThatTheSmallestPortCannotReturnIsABadArgument) {
  const std::string longest(558, 'y');
  EXPECT_EQ(config("", wire::ccmd::kForceSet, longest, true, 558).error, wire::ErrorCode::none);
  EXPECT_EQ(config("", wire::ccmd::kForceSet, longest + "y", true, 558).error,
            wire::ErrorCode::bad_argument);
  EXPECT_EQ(config("", wire::ccmd::kSet, longest + "y", true, 558).error,
            wire::ErrorCode::bad_argument);
  EXPECT_FALSE(config("", wire::ccmd::kTest, longest + "y", true, 558).answer) << "may be asked";
}

using Directive = std::pair<std::uint8_t, wire::MacAddress>;

MaskOutcome mask(const PersistentState& state, std::initializer_list<Directive> directives) {
  std::vector<std::byte> bytes;
  for (const auto& [dcmd, mac] : directives) {
    bytes.push_back(std::byte{0});
    bytes.push_back(static_cast<std::byte>(dcmd));
    append(bytes, mac);
  }
  wire::MaskRequest request;
  request.mcmd = wire::mcmd::kEdit;
  request.directives = static_cast<std::uint8_t>(directives.size());
  request.directives_fit = true;
  request.bytes = bytes;
  return apply_mask(state, request, kLimit);
}

ReserveOutcome reserve(const PersistentState& state, std::uint8_t rcmd,
                       const wire::MacAddress& source,
                       std::initializer_list<wire::MacAddress> list) {
  std::vector<std::byte> bytes;
  for (const auto& mac : list) {
    append(bytes, mac);
  }
  wire::ReserveRequest request;
  request.rcmd = rcmd;
  request.addresses = static_cast<std::uint8_t>(list.size());
  request.addresses_fit = true;
  request.bytes = bytes;
  return apply_reserve(state, request, source, kLimit);
}

TEST(Lists, TheLimitsAreWhatAReplyHolds) {
  EXPECT_EQ(list_limits(1500).config_bytes, 1024U);
  EXPECT_EQ(list_limits(576).config_bytes, 558U);
  EXPECT_EQ(list_limits(1500).mask, (1514U - 28U) / 8U);
  EXPECT_EQ(list_limits(1500).reserve, (1514U - 26U) / 6U);
  EXPECT_EQ(list_limits(9000).mask, 255U) << "the count is one byte";
  EXPECT_EQ(list_limits(9000).reserve, 255U);
}

TEST(Lists, TestAndPrefixAnswerOnlyAMatch) {
  EXPECT_TRUE(config("name", wire::ccmd::kTest, "name").answer);
  EXPECT_FALSE(config("name", wire::ccmd::kTest, "nam").answer);
  EXPECT_FALSE(config("name", wire::ccmd::kTest, "names").answer);
  EXPECT_TRUE(config("name", wire::ccmd::kTestPrefix, "nam").answer);
  EXPECT_TRUE(config("name", wire::ccmd::kTestPrefix, "").answer);
  EXPECT_FALSE(config("name", wire::ccmd::kTestPrefix, "names").answer);
  EXPECT_FALSE(config("name", wire::ccmd::kTestPrefix, "ame").answer);
}

TEST(Lists, SetStoresOnceAndForceSetAlways) {
  EXPECT_EQ(config("", wire::ccmd::kSet, "new").next->config_string, bytes_of("new"));
  const auto refused = config("old", wire::ccmd::kSet, "new");
  EXPECT_EQ(refused.error, wire::ErrorCode::config_string_present);
  EXPECT_FALSE(refused.next || refused.is_write);
  const auto same = config("old", wire::ccmd::kSet, "old");
  EXPECT_EQ(same.error, wire::ErrorCode::none);
  EXPECT_TRUE(same.is_write && !same.next) << "accepted, and nothing to store";
  EXPECT_EQ(config("old", wire::ccmd::kForceSet, "new").next->config_string, bytes_of("new"));
  EXPECT_THAT(config("old", wire::ccmd::kForceSet, "").next->config_string, IsEmpty());
}

TEST(Lists, AStringThatDoesNotFitIsABadArgumentButForARead) {
  for (const auto ccmd : {wire::ccmd::kTest, wire::ccmd::kTestPrefix, wire::ccmd::kSet,
                          wire::ccmd::kForceSet, std::uint8_t{5}}) {
    EXPECT_EQ(config("old", ccmd, "", false).error, wire::ErrorCode::bad_argument) << int{ccmd};
  }
  EXPECT_EQ(config("old", wire::ccmd::kRead, "", false).error, wire::ErrorCode::none);
}

TEST(Lists, DirectivesApplyInOrderUpToABadOne) {
  PersistentState state;
  state.mask_list = {kAlice};
  const auto outcome = mask(state, {{wire::dcmd::kAdd, kBob},
                                    {wire::dcmd::kDelete, kAlice},
                                    {9, kCarol},
                                    {wire::dcmd::kAdd, kCarol}});
  EXPECT_EQ(outcome.merror, wire::merror::kBadDirective);
  EXPECT_EQ(outcome.bad_directive, 2);
  EXPECT_THAT(outcome.next->mask_list, ElementsAre(kBob));
}

TEST(Lists, AddingTwiceAndDeletingTheAbsentChangeNothing) {
  PersistentState state;
  state.mask_list = {kAlice};
  const auto outcome = mask(state, {{wire::dcmd::kAdd, kAlice}, {wire::dcmd::kDelete, kBob}});
  EXPECT_EQ(outcome.merror, wire::merror::kNone);
  EXPECT_FALSE(outcome.next);
}

TEST(Lists, AFullListTakesOnlyWhoIsOnIt) {
  PersistentState state;
  state.mask_list = {kAlice, kBob, kCarol};
  const wire::MacAddress dave{{2, 0, 0, 0, 0, 0xD}};
  EXPECT_EQ(mask(state, {{wire::dcmd::kAdd, kCarol}}).merror, wire::merror::kNone);
  EXPECT_EQ(mask(state, {{wire::dcmd::kAdd, dave}}).merror, wire::merror::kListFull);
  const auto swapped = mask(state, {{wire::dcmd::kDelete, kAlice}, {wire::dcmd::kAdd, dave}});
  EXPECT_THAT(swapped.next->mask_list, ElementsAre(kBob, kCarol, dave));
}

TEST(Lists, WhoIsNotListedCannotSetAReservationButForceIt) {
  PersistentState state;
  EXPECT_THAT(reserve(state, wire::rcmd::kSet, kCarol, {kAlice}).next->reserve_list,
              ElementsAre(kAlice))
      << "an empty list takes one without its sender";
  state.reserve_list = {kAlice, kBob};
  EXPECT_EQ(reserve(state, wire::rcmd::kSet, kCarol, {}).error, wire::ErrorCode::target_reserved);
  EXPECT_THAT(reserve(state, wire::rcmd::kSet, kBob, {}).next->reserve_list, IsEmpty());
  EXPECT_THAT(reserve(state, wire::rcmd::kForceSet, kCarol, {kCarol}).next->reserve_list,
              ElementsAre(kCarol));
}

TEST(Lists, MoreThanAReplyHoldsCannotBeReserved) {
  PersistentState state;
  const auto outcome =
      reserve(state, wire::rcmd::kForceSet, kAlice, {kAlice, kBob, kCarol, kAlice});
  EXPECT_EQ(outcome.error, wire::ErrorCode::bad_argument);
  EXPECT_FALSE(outcome.next);
}

}  // namespace
}  // namespace target::engine
