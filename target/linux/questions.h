// What an operator may ask a running target, and tell it, one line each: the words, and what they
// need. It must never know how a line travels (control_socket.h), nor who prints the answer
// (ctl.h).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "target/linux/export.h"

namespace target::linux_shell {

using Exports = std::vector<std::unique_ptr<Export>>;

// A name of a file or an interface is bytes, and JSON is UTF-8.
std::string to_line(const nlohmann::ordered_json& value);

nlohmann::ordered_json all_counters(const Exports& exports);

// A line of JSON, or one that begins with "error:".
std::string answer_question(const Exports& exports, std::string_view question);

}  // namespace target::linux_shell
