// What parse makes of frames: fields where they stand, lengths believed only as far as the frame
// goes.
#include "target/wire/parse.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "target/wire/bytes.h"

namespace target::wire {
namespace {

using Bytes = std::vector<std::byte>;

// A frame written out byte by byte, independent of any writer of ours.
Bytes hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      continue;
    }
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::byte>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

constexpr std::string_view kHeader = "665a9848291a 16249924031d 88a2 10 00 0102 03";

Bytes frame(std::string_view command_tag_argument) {
  return hex(std::string(kHeader) + std::string(command_tag_argument));
}

// The spans of the result point into the frame, which is kept for the life of the test.
template <typename T>
T body(const Bytes& frame_bytes) {
  static std::list<Bytes> kept;
  const Bytes& bytes = kept.emplace_back(frame_bytes);
  const Parsed parsed = parse(bytes, true);
  if (!std::holds_alternative<Request>(parsed)) {
    ADD_FAILURE() << "not a request";
    return {};
  }
  return std::get<T>(std::get<Request>(parsed).body);
}

TEST(Parse, ReadsTheHeader) {
  const Bytes bytes = frame("00 deadbeef 41 07 02 34 060504030201 0000");
  const Parsed parsed = parse(bytes, true);
  const auto& header = std::get<Request>(parsed).header;
  EXPECT_EQ(header.destination, (MacAddress{{0x66, 0x5a, 0x98, 0x48, 0x29, 0x1a}}));
  EXPECT_EQ(header.source, (MacAddress{{0x16, 0x24, 0x99, 0x24, 0x03, 0x1d}}));
  EXPECT_EQ(header.version, 1);
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.shelf, 0x0102);
  EXPECT_EQ(header.slot, 3);
  EXPECT_EQ(header.command, 0);
  EXPECT_EQ(header.tag, 0xDEADBEEFU);
}

TEST(Parse, ReadsAnAtaArgument) {
  const auto ata = body<AtaRequest>(frame("00 00000001 41 07 02 34 060504030201 ffff aabb"));
  EXPECT_EQ(ata.registers, (AtaRegisters{0x41, 0x07, 2, 0x34, 0x010203040506}));
  EXPECT_EQ(ata.payload().size(), 2U);
  EXPECT_EQ(ata.payload()[0], std::byte{0xaa});
}

TEST(Parse, ReadsAConfigArgument) {
  const auto config = body<ConfigRequest>(frame("01 00000001 0000 0000 00 f3 0005 68656c6c6f 00"));
  EXPECT_EQ(config.ccmd, 3) << "the low nibble only";
  EXPECT_TRUE(config.string_fits);
  EXPECT_EQ(config.string.size(), 5U);
  EXPECT_EQ(config.string[4], std::byte{'o'});
  const auto beyond = body<ConfigRequest>(frame("01 00000001 0000 0000 00 13 0006 68656c6c6f"));
  EXPECT_FALSE(beyond.string_fits);
  EXPECT_TRUE(beyond.string.empty());
}

TEST(Parse, AConfigStringOf1025BytesNeverFits) {
  Bytes bytes = frame("01 00000001 0000 0000 00 13 0401");
  bytes.resize(1200);
  EXPECT_FALSE(body<ConfigRequest>(bytes).string_fits);
  store_be16(bytes, 30, 1024);
  EXPECT_TRUE(body<ConfigRequest>(bytes).string_fits);
}

TEST(Parse, ReadsMaskDirectivesAsFarAsTheFrameGoes) {
  const auto mask =
      body<MaskRequest>(frame("02 00000001 00 01 00 02 00 01 020000000001 00 02 020000000002"));
  EXPECT_EQ(mask.mcmd, 1);
  EXPECT_EQ(mask.directives, 2);
  EXPECT_TRUE(mask.directives_fit);
  EXPECT_EQ(mask.bytes.size(), 16U);
  const auto lying =
      body<MaskRequest>(frame("02 00000001 00 01 00 02 00 01 020000000001 00 02 0200000000"));
  EXPECT_FALSE(lying.directives_fit);
}

TEST(Parse, ReadsReserveAddressesAsFarAsTheFrameGoes) {
  const auto reserve = body<ReserveRequest>(frame("03 00000001 02 01 020000000001"));
  EXPECT_EQ(reserve.rcmd, 2);
  EXPECT_EQ(reserve.addresses, 1);
  EXPECT_TRUE(reserve.addresses_fit);
  EXPECT_FALSE(body<ReserveRequest>(frame("03 00000001 02 02 020000000001")).addresses_fit);
}

TEST(Parse, VersionIsJudgedBeforeTheCommandAndAfterR) {
  Bytes bytes = frame("77 00000001");
  bytes[14] = std::byte{0x20};
  EXPECT_EQ(std::get<WireError>(parse(bytes, true)).code, ErrorCode::unsupported_version);
  bytes[14] = std::byte{0x28};
  EXPECT_EQ(std::get<Ignore>(parse(bytes, true)).reason, IgnoreReason::response);
  bytes[14] = std::byte{0x10};
  EXPECT_EQ(std::get<WireError>(parse(bytes, true)).code, ErrorCode::unrecognized_command);
}

TEST(Parse, Command0x23ExistsOnlyWithExtensions) {
  const Bytes bytes = frame("23 00000001 0200 0000");
  EXPECT_TRUE(std::holds_alternative<Request>(parse(bytes, true)));
  EXPECT_EQ(std::get<WireError>(parse(bytes, false)).code, ErrorCode::unrecognized_command);
  // Even one that is malformed, or cut short.
  const Bytes cut = frame("23 00000001");
  EXPECT_EQ(std::get<WireError>(parse(cut, false)).code, ErrorCode::unrecognized_command);
  EXPECT_EQ(std::get<Ignore>(parse(cut, true)).reason, IgnoreReason::too_short);
  const Bytes malformed = frame("23 00000001 0300 6162 63");
  EXPECT_EQ(std::get<Ignore>(parse(malformed, true)).reason, IgnoreReason::malformed_table);
}

TEST(Parse, AnotherEtherTypeIsNotAoe) {
  Bytes bytes = frame("00 00000001");
  bytes[13] = std::byte{0xa3};
  EXPECT_EQ(std::get<Ignore>(parse(bytes, true)).reason, IgnoreReason::not_aoe);
}

TEST(Parse, FramesCutShortAreTooShort) {
  struct Case {
    std::string_view argument;
    std::size_t needed;
  };
  for (const Case& c :
       {Case{"00 00000001 410002340605040302010000", 36}, Case{"01 00000001 0000000000130000", 32},
        Case{"02 00000001 00010000", 28}, Case{"03 00000001 0200", 26}}) {
    const Bytes whole = frame(c.argument);
    ASSERT_EQ(whole.size(), c.needed);
    EXPECT_TRUE(std::holds_alternative<Request>(parse(whole, true)));
    for (std::size_t length = 0; length < c.needed; ++length) {
      const Parsed parsed = parse(std::span(whole).first(length), true);
      EXPECT_EQ(std::get<Ignore>(parsed).reason, IgnoreReason::too_short) << length;
    }
  }
}

TEST(Parse, SpansOfAnyFrameStayInsideIt) {
  EXPECT_TRUE(rc::check("spans stay inside", [] {
    auto raw = *rc::gen::container<std::vector<std::uint8_t>>(rc::gen::arbitrary<std::uint8_t>());
    raw.resize(*rc::gen::inRange<std::size_t>(0, 120));
    Bytes bytes(raw.size());
    std::transform(raw.begin(), raw.end(), bytes.begin(),
                   [](std::uint8_t b) { return static_cast<std::byte>(b); });
    if (bytes.size() > 20) {
      store_be16(bytes, 12, kEtherType);
      store_u8(bytes, 14, 0x10);
      store_u8(bytes, 19, *rc::gen::element<std::uint8_t>(0, 1, 2, 3, 0x23));
    }
    const Parsed parsed = parse(bytes, true);
    const auto* request = std::get_if<Request>(&parsed);
    if (request == nullptr) {
      return;
    }
    const auto inside = [&](std::span<const std::byte> part) {
      RC_ASSERT(part.empty() || (part.data() >= bytes.data() &&
                                 part.data() + part.size() <= bytes.data() + bytes.size()));
    };
    if (const auto* ata = std::get_if<AtaRequest>(&request->body)) {
      inside(ata->argument_and_data);
    } else if (const auto* config = std::get_if<ConfigRequest>(&request->body)) {
      inside(config->string);
    } else if (const auto* mask = std::get_if<MaskRequest>(&request->body)) {
      inside(mask->bytes);
    } else if (const auto* reserve = std::get_if<ReserveRequest>(&request->body)) {
      inside(reserve->bytes);
    } else {
      inside(std::get<ExtensionRequest>(request->body).table);
    }
  }));
}

}  // namespace
}  // namespace target::wire
