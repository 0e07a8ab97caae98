// Where the table of command 0x23 ends, and in which byte order its length was meant.
#include "target/wire/extension_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace target::wire {
namespace {

using Bytes = std::vector<std::byte>;
using namespace std::string_literals;

Bytes frame_with(const std::string& length_and_table, std::size_t padding = 0) {
  Bytes frame(kAoeHeaderEnd);
  for (const char c : length_and_table) {
    frame.push_back(static_cast<std::byte>(c));
  }
  frame.resize(frame.size() + padding);
  return frame;
}

TEST(ExtensionTable, LittleEndianFirst) {
  const Bytes little = frame_with("\x07\x00reset\0\0"s);
  const auto found = find_extension_table(little);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->length_order, LengthOrder::little_endian);
  EXPECT_EQ(found->table.size(), 7U);
  const Bytes big = frame_with("\x00\x07reset\0\0"s);
  const auto other = find_extension_table(big);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->length_order, LengthOrder::big_endian);
  EXPECT_EQ(other->table.size(), 7U);
}

TEST(ExtensionTable, ALongFrameWellFormedBothWaysIsLittleEndian) {
  Bytes frame = frame_with("\x00\x07reset\0\0"s);
  frame.resize(kExtensionArgumentEnd + 0x0700);
  const auto found = find_extension_table(frame);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->table.size(), 0x0700U);
}

struct Malformed {
  const char* name;
  std::string length_and_table;
};

class ExtensionTableMalformed : public testing::TestWithParam<Malformed> {};

TEST_P(ExtensionTableMalformed, IsNotFound) {
  EXPECT_FALSE(find_extension_table(frame_with(GetParam().length_and_table)));
}

INSTANTIATE_TEST_SUITE_P(All, ExtensionTableMalformed,
                         testing::Values(Malformed{"zero", "\x00\x00reset\0\0"s},
                                         Malformed{"one", "\x01\x00\0\0"s},
                                         Malformed{"one_nul_only", "\x06\x00reset\0"s},
                                         Malformed{"no_nul", "\x05\x00reset"s},
                                         Malformed{"cut_in_a_name", "\x05\x00reset\0\0"s},
                                         Malformed{"cut_after_the_first_nul", "\x06\x00reset\0\0"s},
                                         Malformed{"longer_than_the_frame", "\x08\x00reset\0\0"s},
                                         Malformed{"longest", "\xff\xffreset\0\0"s}),
                         [](const auto& test) { return test.param.name; });

TEST(ExtensionTable, ALengthThatTakesInPaddingEndsInTwoNuls) {
  const auto found = find_extension_table(frame_with("\x10\x00reset\0\0"s, 20));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->table.size(), 16U);
}

std::vector<std::string> strings_of(const std::string& table) {
  Bytes bytes;
  for (const char c : table) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  ExtensionStrings strings(bytes);
  std::vector<std::string> result;
  while (const auto item = strings.next()) {
    EXPECT_EQ(reinterpret_cast<const char*>(bytes.data()) + item->offset, item->text.data());
    result.emplace_back(item->text);
  }
  EXPECT_FALSE(strings.next()) << "the end stays the end";
  return result;
}

TEST(ExtensionTable, WalksTheStrings) {
  EXPECT_EQ(strings_of("a\0bc\0\0"s), (std::vector<std::string>{"a", "bc"}));
  EXPECT_EQ(strings_of("\0\0"s), std::vector<std::string>{});
  EXPECT_EQ(strings_of("a\0\0b\0\0"s), (std::vector<std::string>{"a"}));
}

}  // namespace
}  // namespace target::wire
