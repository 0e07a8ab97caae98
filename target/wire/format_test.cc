// Replies byte by byte, in buffers full of somebody else's bytes: nothing of those may stay.
#include "target/wire/format.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "target/wire/bytes.h"

namespace target::wire {
namespace {

const ReplyHeader kHeader{{{0x02, 0, 0, 0, 0, 0xAA}},
                          {{0x02, 0, 0, 0, 0, 0xBB}},
                          ErrorCode::none,
                          0x0102,
                          3,
                          0,
                          0xDEADBEEF};

class Format : public testing::Test {
 protected:
  std::string hex(std::size_t from, std::size_t to) const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = from; i < to; ++i) {
      text += kDigits[load_u8(buffer_, i) >> 4];
      text += kDigits[load_u8(buffer_, i) & 15];
    }
    return text;
  }
  ReplyHeader header(Command command, ErrorCode error = ErrorCode::none) const {
    ReplyHeader result = kHeader;
    result.command = static_cast<std::uint8_t>(command);
    result.error = error;
    return result;
  }
  std::vector<std::byte> buffer_ = std::vector<std::byte>(2048, std::byte{0xEE});
};

constexpr char kHeaderBytes[] = "0200000000aa0200000000bb88a21800010203";

TEST_F(Format, Header) {
  EXPECT_EQ(format_error(buffer_, header(Command::mac_mask, ErrorCode::bad_argument)), 60U);
  EXPECT_EQ(hex(0, 24),
            "0200000000aa0200000000bb88a21c02010203"
            "02"
            "deadbeef");
  EXPECT_EQ(hex(24, 60), std::string(72, '0'));
  EXPECT_EQ(load_u8(buffer_, 60), 0xEE) << "nothing behind the frame is touched";
}

TEST_F(Format, Config) {
  const std::vector<std::byte> string{std::byte{'h'}, std::byte{'i'}};
  EXPECT_EQ(format_config(buffer_, header(Command::query_config), {0x0040, 0x4019, 2, 4, string}),
            60U);
  EXPECT_EQ(hex(0, 34), std::string(kHeaderBytes) +
                            "01"
                            "deadbeef"
                            "0040"
                            "4019"
                            "02"
                            "14"
                            "0002"
                            "6869");
  EXPECT_EQ(hex(34, 60), std::string(52, '0'));
  const std::vector<std::byte> longest(1024, std::byte{'x'});
  EXPECT_EQ(format_config(buffer_, header(Command::query_config), {1, 1, 2, 0, longest}), 1056U);
}

TEST_F(Format, Mask) {
  const std::vector<MacAddress> list{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  EXPECT_EQ(format_mask(buffer_, header(Command::mac_mask), {1, 0, 2, list}), 60U);
  EXPECT_EQ(hex(24, 44),
            "00010002"
            "0000020000000001"
            "0000020000000002");
  EXPECT_EQ(hex(44, 60), std::string(32, '0'));
}

TEST_F(Format, MaskEntriesBeyondTheListDoNothing) {
  const std::vector<MacAddress> list{{{2, 0, 0, 0, 0, 1}}};
  EXPECT_EQ(format_mask(buffer_, header(Command::mac_mask), {1, 2, 2, list}), 60U);
  EXPECT_EQ(hex(24, 44),
            "00010202"
            "0000020000000001"
            "0000000000000000");
  EXPECT_EQ(format_mask(buffer_, header(Command::mac_mask), {1, 2, 0, list}), 60U);
  EXPECT_EQ(hex(24, 60), "00010200" + std::string(64, '0'));
}

TEST_F(Format, Reserve) {
  const std::vector<MacAddress> list{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}};
  EXPECT_EQ(format_reserve(buffer_, header(Command::reserve), {2, list}), 60U);
  EXPECT_EQ(hex(24, 38),
            "0202"
            "020000000001"
            "020000000002");
  EXPECT_EQ(hex(38, 60), std::string(44, '0'));
}

TEST_F(Format, AtaWithoutData) {
  EXPECT_EQ(format_ata(buffer_, header(Command::ata), {0x41, 0x10, 2, 0x41, 0x010203040506}, 0),
            60U);
  EXPECT_EQ(hex(0, 36), std::string(kHeaderBytes) +
                            "00"
                            "deadbeef"
                            "41"
                            "10"
                            "02"
                            "41"
                            "060504030201"
                            "0000");
  EXPECT_EQ(hex(36, 60), std::string(48, '0'));
}

TEST_F(Format, AtaLeavesTheDataWhereItWasRead) {
  EXPECT_EQ(format_ata(buffer_, header(Command::ata), {}, 512), 548U);
  EXPECT_EQ(load_u8(buffer_, 36), 0xEE);
  EXPECT_EQ(load_u8(buffer_, 547), 0xEE);
}

TEST_F(Format, ExtensionsAnswerInTheOrderTheyWereAskedIn) {
  const std::vector<std::byte> table{std::byte{'a'}, std::byte{0}, std::byte{0}};
  EXPECT_EQ(
      format_extensions(buffer_, header(Command::extensions), {LengthOrder::little_endian, table}),
      60U);
  EXPECT_EQ(hex(24, 29),
            "0300"
            "610000");
  EXPECT_EQ(hex(29, 60), std::string(62, '0'));
  format_extensions(buffer_, header(Command::extensions), {LengthOrder::big_endian, table});
  EXPECT_EQ(hex(24, 29),
            "0003"
            "610000");
}

}  // namespace
}  // namespace target::wire
