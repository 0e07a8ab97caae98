// The offset table, decoding, dumping and building, each against bytes written down by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "conformance/observer/build.h"

namespace conformance::observer {
namespace {

using testing::HasSubstr;

// A reply to a read of one sector as vblade sends it, cut after the registers and four bytes of
// data.
const Bytes kReadReply = {0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00,
                          0x00, 0x02, 0x88, 0xa2, 0x18, 0x00, 0x01, 0x02, 0x03, 0x00,
                          0xde, 0xad, 0xbe, 0xef, 0x40, 0x00, 0x01, 0x40, 0x78, 0x56,
                          0x34, 0x12, 0xcd, 0xab, 0x00, 0x00, 0x61, 0x62};

TEST(Fields, AreReadFromWhereTheDocumentPutsThem) {
  EXPECT_EQ(get(kReadReply, F::eth_type), 0x88a2U);
  EXPECT_EQ(get(kReadReply, F::version), 1U);
  EXPECT_EQ(get(kReadReply, F::flag_response), 1U);
  EXPECT_EQ(get(kReadReply, F::flag_error), 0U);
  EXPECT_EQ(get(kReadReply, F::shelf), 0x0102U);
  EXPECT_EQ(get(kReadReply, F::slot), 3U);
  EXPECT_EQ(get(kReadReply, F::tag), 0xdeadbeefU);
  EXPECT_EQ(get(kReadReply, F::ata_flag_extended), 1U);
  EXPECT_EQ(get(kReadReply, F::ata_lba), 0xabcd12345678U);
  EXPECT_EQ(get(kReadReply, F::ata_status), 0x40U);
}

TEST(Fields, BeyondTheFrameAreNothing) {
  const BytesView cut(kReadReply.data(), 22);
  EXPECT_EQ(get(cut, F::tag), std::nullopt);
  EXPECT_EQ(get(cut, F::command), 0U);
  Bytes kept(cut.begin(), cut.end());
  EXPECT_FALSE(set(kept, F::tag, 1)) << "and cannot be set";
  EXPECT_TRUE(std::equal(kept.begin(), kept.end(), cut.begin(), cut.end()));
}

TEST(Fields, WhatIsSetIsReadAndNothingElseChanges) {
  rc::check([] {
    Bytes frame(64);
    for (uint8_t& b : frame) {
      b = *rc::gen::arbitrary<uint8_t>();
    }
    const auto table = field_table();
    const Field& f = table[*rc::gen::inRange<size_t>(0, table.size())];
    const uint64_t value = *rc::gen::arbitrary<uint64_t>();
    Bytes changed = frame;
    set(changed, f.id, value);
    const uint64_t got = *get(changed, f.id);
    Bytes again = changed;
    set(again, f.id, got);
    RC_ASSERT(again == changed);
    // Put the old value back: every other bit is as it was.
    set(changed, f.id, *get(frame, f.id));
    RC_ASSERT(changed == frame);
  });
}

TEST(Dump, NamesValuesAndMarksWhatOffends) {
  const std::string text = dump(kReadReply, {F::ata_status});
  EXPECT_THAT(text, HasSubstr(">>    27  ata.status           0x40 (DRDY)"));
  EXPECT_THAT(text, HasSubstr("      20  tag                  0xdeadbeef"));
  EXPECT_EQ(text.find(">>"), text.rfind(">>")) << text;
}

TEST(Dump, SaysWhatTheFrameDoesNotHold) {
  Frame config = config_request(ccmd::test, "0123456789").cut(36);
  EXPECT_THAT(dump(config.bytes()), HasSubstr("[cut: 4 of 10 bytes are in the frame]"));
  EXPECT_THAT(dump(header_only(command::mask).bytes(), {}), HasSubstr("[not in the frame]"));
}

TEST(Hexdump, PointsAtMarkedBytes) {
  const std::string text = hexdump(kReadReply, {Mark(27, 1)});
  EXPECT_THAT(text, HasSubstr("  0010  01 02 03 00 de ad be ef 40 00 01 40"));
  const size_t line = text.find("0010");
  const size_t marks = text.find("^^");
  ASSERT_NE(marks, std::string::npos);
  // Under the byte: the same column as "40" at offset 27.
  const size_t column_of_byte = 6 + 2 + 3 * 11;
  EXPECT_EQ(marks - (text.rfind('\n', marks) + 1), column_of_byte) << text << line;
}

TEST(Decode, NeverReadsOutsideAnyFrame) {
  rc::check([](Bytes frame, bool aoe, uint8_t cmd) {
    if (aoe && frame.size() >= at::argument) {
      set(frame, F::eth_type, kEtherType);
      set(frame, F::command, cmd % 5 == 4 ? command::extension : cmd % 5);
    }
    Hints hints;
    hints.coalesced = hints.crc8x4 = true;
    for (const Item& item : decode(frame, hints)) {
      RC_ASSERT(item.size == 0 || item.offset + item.size <= frame.size());
    }
    RC_ASSERT(described_end(frame, hints) <= frame.size());
    dump(frame, {F::tag}, hints);
    hexdump(frame, {F::tag});
    summary(frame);
  });
}

TEST(Build, ConfigRequest) {
  const Frame f = config_request(ccmd::set, "abc");
  EXPECT_EQ(
      Bytes(f.bytes().begin() + 12, f.bytes().end()),
      (Bytes{0x88, 0xa2, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 'a', 'b', 'c'}));
}

TEST(Build, ListsComeBack) {
  const Mac a{2, 0, 0, 0, 0, 1};
  const Mac b{2, 0, 0, 0, 0, 2};
  EXPECT_EQ(reserve_list(reserve_request(rcmd::set, {a, b}).bytes()), (std::vector<Mac>{a, b}));
  const std::vector<Directive> directives = {{0, dcmd::add, a}, {0, dcmd::del, b}};
  EXPECT_EQ(mask_list(mask_request(mcmd::edit, directives).bytes()), directives);
}

TEST(Extensions, TableIsReadInBothByteOrders) {
  for (const Order order : {Order::little, Order::big}) {
    const Frame f = extension_request({"congestion", "77", "reset"}, order);
    const auto table = ext_table(f.bytes());
    ASSERT_TRUE(table);
    EXPECT_EQ(table->order, order);
    EXPECT_EQ(table->strings, (std::vector<std::string>{"congestion", "77", "reset"}));
  }
}

TEST(Extensions, LengthCountsBothFinalNuls) {
  const Frame f = extension_request({"reset"});
  EXPECT_EQ(load_le(f.bytes(), at::argument, 2), 7U);
  EXPECT_EQ(Bytes(f.bytes().begin() + at::ext_table, f.bytes().end()),
            (Bytes{'r', 'e', 's', 'e', 't', 0, 0}));
  EXPECT_EQ(load_le(extension_request({}).bytes(), at::argument, 2), 2U);
  EXPECT_EQ(ext_table(extension_request({}).bytes())->strings.size(), 0U);
}

TEST(Extensions, WithoutTwoNulsInTheFrameThereIsNoTable) {
  EXPECT_FALSE(ext_table(extension_raw(bytes_of("reset"), 5).bytes()));
  Frame cut = extension_request({"reset"});
  cut.cut(cut.size() - 1);
  EXPECT_FALSE(ext_table(cut.bytes()));
  EXPECT_FALSE(ext_table(extension_raw(Bytes{0}, 1).bytes()));
}

TEST(Coalesced, EntriesAsTheyStandOnTheWire) {
  Frame read = read_request(1, 1);
  add_coalesced(read, {{0x01020304, 0xabcdef, 2}});
  const Bytes tail(read.bytes().begin() + at::coalesced, read.bytes().end());
  EXPECT_EQ(tail, (Bytes{1, 1, 2, 3, 4, 0xef, 0xcd, 0xab, 0, 0, 0, 0, 0, 0, 0, 0, 2}));
  read.bytes()[at::coalesced] = 9;  // a count that lies
  EXPECT_EQ(coalesced_tail(read.bytes()).size(), 1U);
}

// The definition, bit by bit from the other end: unreflected polynomial 0x4D on mirrored bits.
uint8_t crc_by_definition(const Bytes& bytes, size_t lane) {
  unsigned crc = 0xff;
  for (size_t i = lane; i < bytes.size(); i += 4) {
    for (int bit = 0; bit < 8; ++bit) {
      const unsigned in = bytes[i] >> bit & 1U;
      const unsigned top = crc >> 7 & 1U;
      crc = (crc << 1 & 0xffU) ^ ((top ^ in) != 0 ? 0x4dU : 0U);
    }
  }
  unsigned mirrored = 0;
  for (int bit = 0; bit < 8; ++bit) {
    mirrored |= (crc >> bit & 1U) << (7 - bit);
  }
  return static_cast<uint8_t>(mirrored);
}

TEST(Crc8x4, EqualsItsDefinition) {
  rc::check([](const Bytes& bytes) {
    const auto lanes = crc8x4(bytes);
    for (size_t lane = 0; lane < 4; ++lane) {
      RC_ASSERT(lanes[lane] == crc_by_definition(bytes, lane));
    }
  });
}

TEST(Identify, SwapsTheBytesOfEachWord) {
  Bytes data(kSectorBytes, 0);
  const std::string swapped = "ba  ";
  std::copy(swapped.begin(), swapped.end(), data.begin() + 20);
  EXPECT_EQ(identify_string(data, 10, 11), "ab");
  store_le(data, 120, 4, 1000);
  EXPECT_EQ(identify_sectors(data), 1000U);
  store_le(data, 166, 2, 1U << 10);
  store_le(data, 200, 8, 1ULL << 33);
  EXPECT_EQ(identify_sectors(data), 1ULL << 33);
}

TEST(Macs, AreReadWithAndWithoutColons) {
  EXPECT_EQ(mac_from_string("00:1b:c8:02:51:53"), (Mac{0, 0x1b, 0xc8, 2, 0x51, 0x53}));
  EXPECT_EQ(mac_from_string("001BC8025153"), (Mac{0, 0x1b, 0xc8, 2, 0x51, 0x53}));
  EXPECT_FALSE(mac_from_string("00:1b:c8:02:51"));
  EXPECT_FALSE(mac_from_string("00-1b-c8-02-51-53"));
}

TEST(End, OfAReplyFollowsFromItsRequest) {
  const Frame request = read_request(0, 2);
  Bytes reply = kReadReply;
  reply.resize(at::ata_data + 3 * kSectorBytes);
  Hints hints;
  hints.request = &request.bytes();
  EXPECT_EQ(described_end(reply, hints), at::ata_data + 2 * kSectorBytes);
  hints.crc8x4 = true;
  EXPECT_EQ(described_end(reply, hints), at::ata_data + 2 * kSectorBytes + 4);
}

}  // namespace
}  // namespace conformance::observer
