#include "pcaps/tool/anonymise.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "conformance/observer/build.h"
#include "conformance/observer/decode.h"

namespace pcaps {
namespace {

namespace observer = conformance::observer;
using Bytes = std::vector<std::uint8_t>;

Bytes named(Anonymiser& a, const Bytes& frame) {
  CapturedFrame captured;
  captured.bytes = frame;
  captured.wire_length = static_cast<std::uint32_t>(frame.size());
  return a.anonymised(captured);
}

Bytes random_like(std::size_t size, std::uint8_t from) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) {
    out[i] = static_cast<std::uint8_t>(from + i * 7 + i / 3);
  }
  return out;
}

const observer::Mac kHost{0, 0x11, 0x22, 0x33, 0x44, 0x55};

Bytes frame_of(observer::Frame frame) {
  return frame.src(kHost).dst({0, 0x66, 0x77, 0x88, 0x99, 0xaa}).bytes();
}

TEST(Anonymise, EqualSectorsStayEqualAndNothingElseIsLeftOfThem) {
  Anonymiser a;
  const Bytes data = random_like(512, 3);
  Bytes twice = data;
  twice.insert(twice.end(), data.begin(), data.end());
  const Bytes write = frame_of(observer::write_request(7, twice));
  const Bytes out = named(a, write);
  ASSERT_EQ(out.size(), write.size());
  EXPECT_TRUE(std::equal(out.begin() + 12, out.begin() + 36, write.begin() + 12)) << "the header";
  EXPECT_TRUE(std::equal(out.begin() + 36, out.begin() + 548, out.begin() + 548));
  EXPECT_EQ(std::search(out.begin(), out.end(), data.begin(), data.begin() + 8), out.end());
  EXPECT_FALSE(std::equal(out.begin(), out.begin() + 12, write.begin()));
  EXPECT_EQ(out, named(a, write)) << "the same again";
  Anonymiser another;
  EXPECT_NE(out, named(another, write)) << "another key";
}

TEST(Anonymise, CheckBytesThatWereRightAreRight) {
  Anonymiser a;
  observer::Frame frame = observer::write_request(7, random_like(512, 9));
  observer::add_crc8x4(frame);
  Bytes whole = frame_of(frame);
  for (const bool right : {true, false}) {
    if (!right) {
      whole.back() ^= 1U;
    }
    const Bytes out = named(a, whole);
    const std::size_t end = whole.size() - 4;
    const auto crc = observer::crc8x4(std::span(out).subspan(24, end - 24));
    EXPECT_EQ(std::equal(crc.begin(), crc.end(), out.begin() + static_cast<std::ptrdiff_t>(end)),
              right);
  }
}

TEST(Anonymise, ZerosStayZeros) {
  Anonymiser a;
  const Bytes read = frame_of(observer::read_request(1, 2));
  const Bytes out = named(a, read);
  EXPECT_TRUE(std::equal(out.begin() + 12, out.end(), read.begin() + 12));
}

TEST(Anonymise, StringsKeepTheBeginningsThatTheyShare) {
  Anonymiser a;
  const auto string_of = [&](const std::string& text) {
    const Bytes out =
        named(a, frame_of(observer::config_request(observer::ccmd::set, observer::bytes_of(text))));
    return Bytes(out.begin() + 32, out.begin() + 32 + static_cast<std::ptrdiff_t>(text.size()));
  };
  const Bytes first = string_of("cluster-a-1");
  const Bytes second = string_of("cluster-b-1");
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 8, second.begin()));
  EXPECT_NE(first[8], second[8]);
  EXPECT_NE(first, observer::bytes_of("cluster-a-1"));
}

TEST(Anonymise, AddressesInListsAreTheSamePeople) {
  Anonymiser a;
  const observer::Mac zero{};
  const Bytes out = named(
      a, frame_of(observer::mask_request(observer::mcmd::edit, {{0, observer::dcmd::add, kHost},
                                                                {0, observer::dcmd::add, zero}})));
  EXPECT_TRUE(std::equal(out.begin() + 6, out.begin() + 12, out.begin() + 30));
  EXPECT_TRUE(std::all_of(out.begin() + 38, out.begin() + 44, [](auto b) { return b == 0; }));
  EXPECT_EQ(out[6] & 3U, 2U) << "locally administered, no group";
}

TEST(Anonymise, WhatIsNoAoeIsBlank) {
  Anonymiser a;
  Bytes other = random_like(100, 1);
  other[0] = 0xff;
  other[12] = 0x08;
  other[13] = 0x00;
  const Bytes out = named(a, other);
  ASSERT_EQ(out.size(), other.size());
  EXPECT_EQ(out[12], 0x08);
  EXPECT_TRUE(std::all_of(out.begin() + 14, out.end(), [](auto b) { return b == 0; }));
}

TEST(Anonymise, AnswersToIdentifyKeepTheirNumbers) {
  Anonymiser a;
  Bytes request = frame_of(observer::identify_request());
  Bytes reply(36 + 512, 0);
  std::copy_n(request.begin(), 36, reply.begin());
  std::copy_n(request.begin() + 6, 6, reply.begin());
  std::copy_n(request.begin(), 6, reply.begin() + 6);
  reply[14] |= 8U;
  for (std::size_t i = 0; i < 20; ++i) {
    reply[36 + 20 + i] = static_cast<std::uint8_t>('A' + i);  // the serial number
  }
  reply[36 + 120] = 0x34;  // the number of sectors
  named(a, request);
  const Bytes out = named(a, reply);
  EXPECT_EQ(out[36 + 120], 0x34);
  EXPECT_FALSE(std::equal(out.begin() + 56, out.begin() + 76, reply.begin() + 56));
  EXPECT_TRUE(std::all_of(out.begin() + 56, out.begin() + 76, [](auto b) { return b > ' '; }));
}

}  // namespace
}  // namespace pcaps
