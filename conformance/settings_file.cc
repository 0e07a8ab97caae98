// The settings file.

#include "conformance/settings_file.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <fstream>

#include "conformance/runner/selection.h"

namespace conformance {

namespace {

// Of a scalar; nullopt: it is none.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto text = node.value<std::string>()) {
    return *text;
  }
  if (const auto* number = node.as_integer()) {
    return fmt::format("{}", number->get());
  }
  if (const auto* number = node.as_floating_point()) {
    return fmt::format("{}", number->get());
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> read_settings(const std::string& path, const CLI::App& app) {
  if (std::ifstream in(path); !in || in.peek() == std::ifstream::traits_type::eof()) {
    throw UsageError(fmt::format("--settings {}: {}", path, unreadable(path)));
  }
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    const auto line = e.source().begin.line;
    throw UsageError(line == 0 ? fmt::format("--settings {}: {}", path, e.description())
                               : fmt::format("--settings {}:{}: {}", path, line, e.description()));
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      known.push_back(name);
    }
  }
  std::vector<std::string> words;
  for (const auto& [toml_key, entry] : file) {
    const std::string key(toml_key.str());
    const toml::node& node = entry;  // clang 14 captures no structured binding
    const auto refuse = [&](const std::string& why) {
      throw UsageError(
          fmt::format("--settings {}:{}: {}: {}", path, node.source().begin.line, key, why));
    };
    const CLI::Option* option = app.get_option_no_throw("--" + key);
    if (option == nullptr || key == "settings" || key == "help") {
      std::string near;
      for (const std::string& name : nearest(key, known)) {
        near += (near.empty() ? "" : ", ") + name;
      }
      refuse("there is no such option; nearest: " + near);
    }
    if (option->count() > 0) {
      continue;  // the command line comes first
    }
    const bool is_flag = option->get_items_expected_max() == 0;
    if (const auto* flag = node.as_boolean()) {
      if (!is_flag) {
        refuse("it wants a value, not true or false");
      }
      if (flag->get()) {
        words.push_back("--" + key);
      }
      continue;
    }
    if (is_flag) {
      refuse("it is true or false");
    }
    const auto add = [&](const toml::node& value) {
      const auto text = text_of(value);
      if (!text) {
        refuse("a text, a number, or a list of those");
      }
      words.push_back(fmt::format("--{}={}", key, *text));
    };
    if (const toml::array* list = node.as_array()) {
      for (const toml::node& value : *list) {
        add(value);
      }
    } else {
      add(node);
    }
  }
  return words;
}

}  // namespace conformance
