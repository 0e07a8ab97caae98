#include "conformance/links/gate.h"

#include <gtest/gtest.h>

#include <string>

#include "conformance/observer/build.h"

namespace conformance::links {
namespace {

using observer::Frame;

// Exhaustive: each command and each sub-command has one answer, and the harmless ones are these.
TEST(Gate, EveryAtaCommandButTheHarmlessNeedsWrite) {
  for (unsigned code = 0; code <= 0xff; ++code) {
    const bool harmless = code == 0x20 || code == 0x24 || code == 0xec || code == 0xe7 ||
                          code == 0xea || code == 0xe5;
    EXPECT_EQ(permission_for(observer::ata_request(static_cast<uint8_t>(code), 0, 1).bytes()),
              harmless ? "" : "write")
        << code;
  }
}

TEST(Gate, EverySubCommandButTheHarmlessNeedsItsWord) {
  for (unsigned code = 0; code <= 0xf; ++code) {
    EXPECT_EQ(permission_for(observer::config_request(static_cast<uint8_t>(code)).bytes()),
              code <= 2 ? "" : "config")
        << code;
  }
  for (unsigned code = 0; code <= 0xff; ++code) {
    const auto sub = static_cast<uint8_t>(code);
    EXPECT_EQ(permission_for(observer::mask_request(sub).bytes()), code == 0 ? "" : "lockout");
    EXPECT_EQ(permission_for(observer::reserve_request(sub).bytes()), code == 0 ? "" : "lockout");
  }
}

TEST(Gate, EveryOtherCommandIsUnknown) {
  for (unsigned code = 4; code <= 0xff; ++code) {
    EXPECT_EQ(permission_for(observer::header_only(static_cast<uint8_t>(code)).bytes()),
              code == 0x23 ? "" : "unknown")
        << code;
  }
}

TEST(Gate, NeitherVersionNorFlagsNorAddressesOpenIt) {
  Frame f = observer::write_request(0, observer::Bytes(512));
  f.set(observer::F::version, 2).set(observer::F::flag_response, 1).set(observer::F::shelf, 0xffff);
  EXPECT_EQ(permission_for(f.bytes()), "write");
}

TEST(Gate, WhatIsNoRequestNeedsNothing) {
  EXPECT_EQ(permission_for({}), "");
  EXPECT_EQ(permission_for(observer::header_only(0x77).set(observer::F::eth_type, 0x0800).bytes()),
            "");
  EXPECT_EQ(permission_for(observer::config_request(4).cut(26).bytes()), "");
}

}  // namespace
}  // namespace conformance::links
