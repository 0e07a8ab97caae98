#include "conformance/observer/frame.h"

#include <gtest/gtest.h>

#include "conformance/observer/fields.h"
#include "conformance/observer/test_frames.h"

namespace conformance::observer::testing_frames {
namespace {

namespace observer = conformance::observer;

AoeFrame::Kind parse(const Bytes& bytes, AoeFrame& frame) {
  CapturedFrame captured;
  captured.bytes = bytes;
  captured.wire_length = static_cast<std::uint32_t>(bytes.size());
  return AoeFrame::parse(captured, frame);
}

Bytes tagged(const Bytes& frame, std::uint16_t type, std::uint16_t vlan) {
  Bytes out(frame.begin(), frame.begin() + 12);
  for (const int value : {type >> 8, type & 0xFF, vlan >> 8, vlan & 0xFF}) {
    out.push_back(static_cast<std::uint8_t>(value));
  }
  out.insert(out.end(), frame.begin() + 12, frame.end());
  return out;
}

// The thin view must read what the suite's table of fields reads.
TEST(AoeFrame, AgreesWithTheSuitesCodec) {
  Bytes b =
      ata(request(kAlice, kCommandAta, 0x0102'0304), 0x51, 7, 3, kAtaWriteExt, 0x0605'0403'0201);
  b[14] = 0x1C;
  b[15] = 5;
  AoeFrame frame;
  ASSERT_EQ(parse(b, frame), AoeFrame::Kind::aoe);
  using observer::F;
  EXPECT_EQ(frame.destination, observer::get(b, F::eth_dst));
  EXPECT_EQ(frame.source, observer::get(b, F::eth_src));
  EXPECT_EQ(frame.version(), observer::get(b, F::version));
  EXPECT_EQ(frame.is_response(), observer::get(b, F::flag_response) == 1U);
  EXPECT_EQ(frame.has_error_flag(), observer::get(b, F::flag_error) == 1U);
  EXPECT_EQ(frame.error(), observer::get(b, F::error));
  EXPECT_EQ(frame.shelf(), observer::get(b, F::shelf));
  EXPECT_EQ(frame.slot(), observer::get(b, F::slot));
  EXPECT_EQ(frame.command(), observer::get(b, F::command));
  EXPECT_EQ(frame.tag(), observer::get(b, F::tag));
  EXPECT_EQ(frame.ata_error(), observer::get(b, F::ata_error));
  EXPECT_EQ(frame.ata_count(), observer::get(b, F::ata_count));
  EXPECT_EQ(frame.ata_command(), observer::get(b, F::ata_command));
  EXPECT_EQ(frame.lba48(28), observer::get(b, F::ata_lba));
  EXPECT_EQ(frame.be16(24), observer::get(b, F::cfg_buffer_count));
  EXPECT_EQ(frame.be16(30), observer::get(b, F::cfg_length));
  EXPECT_EQ(frame.le16(24), observer::get(b, F::ext_length));
  EXPECT_EQ(kAtaDataOffset, observer::at::ata_data);
  EXPECT_EQ(kConfigStringOffset, observer::at::cfg_string);
  EXPECT_EQ(kMaskListOffset, observer::at::mask_list);
  EXPECT_EQ(kReserveListOffset, observer::at::reserve_list);
  EXPECT_EQ(kExtensionTableOffset, observer::at::ext_table);
}

TEST(AoeFrame, SeesThroughVlanTags) {
  const Bytes plain = read_request(kAlice, 9, 5);
  const Bytes inner = tagged(plain, 0x8100, 0x2007);
  const Bytes outer = tagged(inner, 0x88A8, 0x0003);
  for (const auto& [bytes, vlan] : {std::pair{plain, kNoVlan}, std::pair{inner, VlanId{7}},
                                    std::pair{outer, VlanId{3 | 8 << 16}}}) {
    AoeFrame frame;
    ASSERT_EQ(parse(bytes, frame), AoeFrame::Kind::aoe);
    EXPECT_EQ(frame.vlan, vlan);
    EXPECT_EQ(frame.tag(), 9U);
    EXPECT_EQ(frame.length, plain.size());
    EXPECT_EQ(frame.wire_length, plain.size());
  }
}

TEST(AoeFrame, TellsOtherTrafficAndRuntsApart) {
  AoeFrame frame;
  Bytes other = read_request(kAlice, 9, 5);
  other[12] = 8;
  other[13] = 0;
  EXPECT_EQ(parse(other, frame), AoeFrame::Kind::other);
  EXPECT_EQ(parse(Bytes(10), frame), AoeFrame::Kind::other);
  Bytes runt = read_request(kAlice, 9, 5);
  runt.resize(23);
  EXPECT_EQ(parse(runt, frame), AoeFrame::Kind::runt);
}

}  // namespace
}  // namespace conformance::observer::testing_frames
