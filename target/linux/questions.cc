// What an operator may ask: see questions.h.
#include "target/linux/questions.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <optional>
#include <sstream>

#include "target/linux/line_writer.h"

namespace target::linux_shell {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> words_of(std::string_view question) {
  std::istringstream text{std::string(question)};
  std::vector<std::string> words;
  for (std::string word; text >> word;) {
    words.push_back(word);
  }
  return words;
}

std::string names_of(const Exports& exports) {
  std::string names;
  for (const auto& one : exports) {
    names += (names.empty() ? "" : ", ") + one->name();
  }
  return names;
}

std::string no_such_export(const Exports& exports, const std::string& name) {
  return fmt::format("error: {} is not exported here: {}", name, names_of(exports));
}

// The exports that a question is about: the one that it names, or all.
template <typename Tell>
std::string of_each(const Exports& exports, const std::vector<std::string>& words, Tell tell) {
  if (words.size() > 2) {
    return fmt::format("error: too many words: {} [EXPORT]", words[0]);
  }
  Json all = Json::array();
  for (const auto& one : exports) {
    if (words.size() == 1 || words[1] == one->name()) {
      all.push_back(tell(*one));
    }
  }
  if (all.empty()) {
    return no_such_export(exports, words.back());
  }
  return to_line({{"exports", all}});
}

std::optional<engine::StatePart> part_named(const std::string& word) {
  if (word == "config") {
    return engine::StatePart::config_string;
  }
  if (word == "mask") {
    return engine::StatePart::mask_list;
  }
  if (word == "reserve") {
    return engine::StatePart::reserve_list;
  }
  return std::nullopt;
}

// An order is for one export; a target that has only one need not be told which.
std::string clear(const Exports& exports, const std::vector<std::string>& words) {
  if (words.size() < 2 || words.size() > 3) {
    return "error: clear what? clear mask|config|reserve [EXPORT]";
  }
  const auto part = part_named(words[1]);
  if (!part) {
    return fmt::format("error: '{}' cannot be cleared: use mask, config or reserve", words[1]);
  }
  if (words.size() == 2 && exports.size() != 1) {
    return fmt::format("error: of which export? {}", names_of(exports));
  }
  for (const auto& one : exports) {
    if (words.size() == 3 && words[2] != one->name()) {
      continue;
    }
    if (!one->clear(*part)) {
      return "error: another order is being carried out: try again";
    }
    spdlog::info("{}: {} cleared by the operator", one->name(), words[1]);
    return to_line({{"export", one->name()}, {"clear", words[1]}, {"status", one->cleared()}});
  }
  return no_such_export(exports, words[2]);
}

}  // namespace

std::string to_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json all_counters(const Exports& exports) {
  Json all = Json::array();
  for (const auto& one : exports) {
    all.push_back(one->counters());
  }
  return {{"exports", all},
          {"log",
           {{"lines_lost", LineWriter::for_fd(STDERR_FILENO).lost() +
                               LineWriter::for_fd(STDOUT_FILENO).lost()}}}};
}

std::string answer_question(const Exports& exports, std::string_view question) {
  const std::vector<std::string> words = words_of(question);
  const std::string first = words.empty() ? "" : words[0];
  if (first == "counters" && words.size() == 1) {
    return to_line(all_counters(exports));
  }
  if (first == "exports") {
    return of_each(exports, words, [](const Export& one) { return one.describe(); });
  }
  if (first == "show") {
    return of_each(exports, words, [](const Export& one) { return one.show(); });
  }
  if (first == "sessions") {
    return of_each(exports, words, [](const Export& one) { return one.sessions(); });
  }
  if (first == "cleared") {
    return of_each(exports, words, [](const Export& one) {
      return Json{{"export", one.name()}, {"status", one.cleared()}};
    });
  }
  if (first == "clear") {
    return clear(exports, words);
  }
  return "error: unknown question: ask counters, exports, show, sessions, clear or cleared";
}

}  // namespace target::linux_shell
