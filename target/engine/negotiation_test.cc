// Command 0x23 as tables in, tables out: which case comes back, and what the session then has.
#include "target/engine/negotiation.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

namespace target::engine {
namespace {

const wire::MacAddress kAlice{{2, 0, 0, 0, 0, 1}};
const wire::MacAddress kBob{{2, 0, 0, 0, 0, 2}};

class Negotiation : public testing::Test {
 protected:
  // Strings separated by spaces, as are those of the answer.
  std::string ask(const std::string& names, const wire::MacAddress& who = kAlice) {
    std::string table;
    for (const char c : names) {
      table += c == ' ' ? '\0' : c;
    }
    table += std::string(2, '\0');
    std::vector<std::byte> bytes;
    for (const char c : table) {
      bytes.push_back(static_cast<std::byte>(c));
    }
    result_ = negotiate(bytes, sessions_, 0, who, budget_, now_);
    EXPECT_EQ(bytes.size(), table.size());
    std::string answer;
    for (std::size_t i = 0; i + 2 < bytes.size(); ++i) {
      const char c = static_cast<char>(bytes[i]);
      answer += c == '\0' ? ' ' : c;
    }
    return answer;
  }
  Features features(const wire::MacAddress& who = kAlice) {
    const Session* session = sessions_.find(0, who);
    return session == nullptr ? Features{} : session->features;
  }

  SessionTable sessions_{2};
  PauseBudget budget_;
  Nanoseconds now_ = 100'000'000'000;
  Negotiated result_;
};

TEST_F(Negotiation, EveryFeatureAlone) {
  EXPECT_EQ(ask("reset"), "RESET");
  EXPECT_EQ(sessions_.size(), 0U) << "a reset alone needs no place";
  EXPECT_EQ(ask("tag_inc_le"), "TAG_INC_LE");
  EXPECT_EQ(features().tag_mode, TagMode::increment_le);
  EXPECT_EQ(ask("tag_inc_be"), "TAG_INC_BE");
  EXPECT_EQ(features().tag_mode, TagMode::increment_be);
  EXPECT_EQ(ask("tag_random"), "TAG_RANDOM");
  EXPECT_EQ(features().tag_mode, TagMode::random);
  EXPECT_EQ(ask("coalesced_read"), "COALESCED_READ");
  EXPECT_TRUE(features().coalesced_read);
  EXPECT_EQ(ask("coalesced_write_reply"), "COALESCED_WRITE_REPLY");
  EXPECT_TRUE(features().coalesced_write_reply);
  EXPECT_EQ(ask("crc8x4"), "CRC8X4");
  EXPECT_TRUE(features().crc8x4);
  EXPECT_EQ(ask("congestion 41"), "CONGESTION 41");
  EXPECT_EQ(ask("reset"), "RESET");
  EXPECT_EQ(features(), Features{});
}

TEST_F(Negotiation, UnknownStringsStayAsTheyAre) {
  EXPECT_EQ(ask("No_Such_Feature"), "No_Such_Feature");
  EXPECT_EQ(ask("x reset Foo tag_inc_be tag_inc_bee tag_inc_b"),
            "x RESET Foo TAG_INC_BE tag_inc_bee tag_inc_b");
  EXPECT_EQ(sessions_.size(), 1U);
}

TEST_F(Negotiation, NamesAreComparedWithoutRegardToCase) {
  EXPECT_EQ(ask("Tag_Inc_BE"), "TAG_INC_BE");
  EXPECT_EQ(features().tag_mode, TagMode::increment_be);
}

TEST_F(Negotiation, UpperCaseAlwaysMeansActive) {
  EXPECT_EQ(ask("TAG_INC_BE RESET"), "tag_inc_be RESET");
  EXPECT_EQ(features(), Features{});
  EXPECT_EQ(ask("TAG_INC_LE TAG_INC_BE"), "tag_inc_le TAG_INC_BE") << "the last one named wins";
  EXPECT_EQ(features().tag_mode, TagMode::increment_be);
  EXPECT_EQ(ask("CONGESTION"), "congestion");
}

TEST_F(Negotiation, FeaturesAddUpUntilAReset) {
  ask("coalesced_read");
  ask("crc8x4");
  EXPECT_TRUE(features().coalesced_read);
  EXPECT_EQ(ask("reset tag_inc_be"), "RESET TAG_INC_BE");
  EXPECT_FALSE(features().coalesced_read);
  EXPECT_FALSE(features().crc8x4);
}

TEST_F(Negotiation, ANamedTagModeStartsAnEmptyWindow) {
  ask("tag_inc_be");
  sessions_.find(0, kAlice)->window->begin(7);
  ask("coalesced_read");
  EXPECT_EQ(sessions_.find(0, kAlice)->window->classify(7), TagState::in_flight);
  ask("tag_inc_be");
  EXPECT_EQ(sessions_.find(0, kAlice)->window->classify(7), TagState::fresh);
}

TEST_F(Negotiation, AFullTableAnswersInLowerCase) {
  ask("tag_inc_be", {{2, 0, 0, 0, 0, 8}});
  ask("tag_inc_be", {{2, 0, 0, 0, 0, 9}});
  sessions_.find(0, {{2, 0, 0, 0, 0, 8}})->wrote = true;
  sessions_.find(0, {{2, 0, 0, 0, 0, 9}})->wrote = true;
  EXPECT_EQ(ask("RESET tag_inc_be CONGESTION 5 foo"), "RESET tag_inc_be congestion 5 foo");
  EXPECT_TRUE(result_.table_full);
  EXPECT_FALSE(result_.pause);
  EXPECT_EQ(ask("reset tag_inc_le", {{2, 0, 0, 0, 0, 9}}), "RESET TAG_INC_LE")
      << "who gives up a place may take it again";
}

TEST(RefuseAll, EveryFeatureIsInLowerCase) {
  std::string table("RESET TAG_INC_BE foo Congestion Crc8x4 5");
  std::replace(table.begin(), table.end(), ' ', '\0');
  table += std::string(2, '\0');
  refuse_all(std::as_writable_bytes(std::span(table)));
  std::replace(table.begin(), table.end(), '\0', ' ');
  EXPECT_EQ(table, "RESET tag_inc_be foo congestion Crc8x4 5  ") << "Crc8x4 is the probe's number";
}

TEST_F(Negotiation, SessionsAreEachTheirOwn) {
  ask("tag_inc_be");
  ask("reset coalesced_read", kBob);
  EXPECT_EQ(features().tag_mode, TagMode::increment_be);
  EXPECT_FALSE(features().coalesced_read);
}

TEST_F(Negotiation, ANewCongestionIdPausesOnce) {
  EXPECT_EQ(ask("congestion 41"), "CONGESTION 41");
  EXPECT_TRUE(result_.pause);
  EXPECT_EQ(result_.congestion_id, 41U);
  EXPECT_EQ(ask("congestion 41"), "CONGESTION 41");
  EXPECT_FALSE(result_.pause);
  EXPECT_EQ(ask("congestion 041"), "CONGESTION 041") << "the same number";
  EXPECT_FALSE(result_.pause);
  EXPECT_EQ(ask("reset congestion 41"), "RESET CONGESTION 41");
  EXPECT_FALSE(result_.pause);
  EXPECT_EQ(ask("congestion 42"), "CONGESTION 42");
  EXPECT_TRUE(result_.pause);
  EXPECT_EQ(ask("congestion 41", kBob), "CONGESTION 41");
  EXPECT_TRUE(result_.pause) << "another initiator's id";
}

TEST_F(Negotiation, BeyondTheBudgetCongestionIsNotActive) {
  for (const char* id : {"1", "2", "3", "4"}) {
    ask(std::string("congestion ") + id);
    EXPECT_TRUE(result_.pause);
  }
  EXPECT_EQ(ask("congestion 5"), "congestion 5");
  EXPECT_TRUE(result_.pause_refused);
  EXPECT_EQ(ask("congestion 5"), "congestion 5") << "nor for the rest of its burst";
  EXPECT_FALSE(result_.pause_refused);
  now_ += kPauseBudgetPeriod;
  EXPECT_EQ(ask("congestion 6"), "CONGESTION 6");
  EXPECT_TRUE(result_.pause);
}

TEST_F(Negotiation, CongestionNeedsADecimalId) {
  for (const std::string id :
       {"", "x", "-1", "4 1", "0x10", "18446744073709551616", "99999999999999999999"}) {
    const std::string answer = ask("congestion " + id);
    if (id == "4 1") {
      EXPECT_EQ(answer, "CONGESTION 4 1") << "the argument is 4, and 1 is a string like any other";
      continue;
    }
    EXPECT_EQ(answer, "congestion " + id);
    EXPECT_FALSE(result_.pause);
  }
  EXPECT_EQ(ask("congestion 18446744073709551615"), "CONGESTION 18446744073709551615");
}

TEST_F(Negotiation, AnArgumentIsNotAName) {
  EXPECT_EQ(ask("congestion reset"), "congestion reset");
  EXPECT_EQ(ask("tag_inc_be congestion tag_inc_le"), "TAG_INC_BE congestion tag_inc_le");
}

TEST_F(Negotiation, AnyTableKeepsItsStringsButForTheirCase) {
  EXPECT_TRUE(rc::check("case only", [this] {
    std::string names;
    const auto count = *rc::gen::inRange(0, 12);
    for (int i = 0; i < count; ++i) {
      names += *rc::gen::element<std::string>("reset", "tag_inc_le", "TAG_INC_BE", "tag_random",
                                              "coalesced_read", "congestion", "41", "Foo", "crc8x4",
                                              "coalesced_write_reply", "rese", "resett");
      names += ' ';
    }
    if (!names.empty()) {
      names.pop_back();
    }
    const std::string answer = ask(names);
    RC_ASSERT(answer.size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      RC_ASSERT(std::tolower(answer[i]) == std::tolower(names[i]));
    }
  }));
}

}  // namespace
}  // namespace target::engine
