// What names a link, and what does not.

#include "conformance/links/link_name.h"

#include <gtest/gtest.h>

namespace conformance::links {
namespace {

TEST(LinkName, EachKindIsRead) {
  std::string error;
  EXPECT_EQ(parse_link_name("af_packet:eth0.7", error),
            (LinkName{LinkName::Kind::af_packet, "eth0.7"}));
  EXPECT_EQ(parse_link_name("unix:/run/a:b", error),
            (LinkName{LinkName::Kind::unix_socket, "/run/a:b"}));
  EXPECT_EQ(parse_link_name("model:", error), (LinkName{LinkName::Kind::model, ""}));
  EXPECT_EQ(parse_link_name("model:tag-zero", error),
            (LinkName{LinkName::Kind::model, "tag-zero"}));
  EXPECT_EQ(error, "");
}

TEST(LinkName, WhatIsNoneIsSaid) {
  for (const char* text : {"", "eth0", "af_packet:", "unix:", "udp:1", ":eth0", "AF_PACKET:eth0"}) {
    std::string error;
    EXPECT_FALSE(parse_link_name(text, error)) << text;
    EXPECT_NE(error, "") << text;
  }
}

}  // namespace
}  // namespace conformance::links
