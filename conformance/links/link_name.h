#pragma once
// How a user names a link, in every program that sends over one: "af_packet:eth0", "unix:PATH",
// "model:" with a deviant's name behind it or not. Opens nothing.

#include <optional>
#include <string>
#include <string_view>

namespace conformance::links {

struct LinkName {
  enum class Kind { af_packet, unix_socket, model };
  Kind kind = Kind::af_packet;
  std::string where;  // interface, path, deviant (may be empty)
  bool operator==(const LinkName&) const = default;
};

// nullopt: it is no such name, and `error` says why.
std::optional<LinkName> parse_link_name(std::string_view text, std::string& error);

}  // namespace conformance::links
