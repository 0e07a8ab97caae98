// How a user names a link.

#include "conformance/links/link_name.h"

#include <fmt/format.h>

namespace conformance::links {

std::optional<LinkName> parse_link_name(std::string_view text, std::string& error) {
  const size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  LinkName name;
  if (colon == std::string_view::npos) {
    error = fmt::format("'{}': af_packet:INTERFACE, unix:PATH or model:", text);
    return std::nullopt;
  }
  name.where = std::string(text.substr(colon + 1));
  if (kind == "af_packet") {
    name.kind = LinkName::Kind::af_packet;
  } else if (kind == "unix") {
    name.kind = LinkName::Kind::unix_socket;
  } else if (kind == "model") {
    name.kind = LinkName::Kind::model;
    return name;
  } else {
    error = fmt::format(
        "'{}': there is no kind '{}': af_packet:INTERFACE, unix:PATH or model:", text, kind);
    return std::nullopt;
  }
  if (name.where.empty()) {
    error = fmt::format("'{}': nothing stands behind the colon", text);
    return std::nullopt;
  }
  return name;
}

}  // namespace conformance::links
