// The TOML file: see options.h.
#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>

#include "target/linux/options.h"
#include "target/linux/raw_options.h"

namespace target::linux_shell {
namespace {

// Reads the keys of one TOML table, each at most once, and complains of those nobody asked for.
class TomlTable {
 public:
  TomlTable(const toml::table& table, std::string file_name, Problems& problems)
      : table_(table), file_name_(std::move(file_name)), problems_(problems) {}

  template <typename Value>
  void read(const char* key, Value& target, const char* expected) {
    seen_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      return;
    }
    if (const auto value = node->value_exact<Value>()) {
      target = *value;
    } else {
      complain(*node, fmt::format("{} must be {}", key, expected));
    }
  }

  void read_number(const char* key, std::optional<std::int64_t>& target) {
    std::int64_t value = 0;
    const auto before = problems_.size();
    read(key, value, "a whole number");
    if (table_.get(key) != nullptr) {
      // A value of the wrong kind has its complaint already; it is not also "missing".
      target = problems_.size() == before ? value : 0;
    }
  }

  void read_strings(const char* key, std::vector<std::string>& target) {
    seen_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      return;
    }
    const auto* array = node->as_array();
    if (array == nullptr) {
      complain(*node, fmt::format("{} must be a list of strings, as in [\"a\", \"b\"]", key));
      return;
    }
    for (const auto& item : *array) {
      if (const auto text = item.value_exact<std::string>()) {
        target.push_back(*text);
      } else {
        complain(item, fmt::format("{} must be a list of strings, as in [\"a\", \"b\"]", key));
      }
    }
  }

  void expect_key(const char* key) { seen_.emplace_back(key); }

  void finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(seen_.begin(), seen_.end(), name) == seen_.end()) {
        complain(node,
                 fmt::format("'{}' is not an option: see docs/aoe-target.md for the list", name));
      }
    }
  }

 private:
  void complain(const toml::node& node, const std::string& text) {
    problems_.push_back(fmt::format("{}:{}: {}", file_name_, node.source().begin.line, text));
  }

  const toml::table& table_;
  std::string file_name_;
  Problems& problems_;
  std::vector<std::string> seen_;
};

RawExport read_export(const toml::table& table, const std::string& file_name, Problems& problems) {
  RawExport raw;
  raw.where = fmt::format("{}:{}", file_name, table.source().begin.line);
  TomlTable reader(table, file_name, problems);
  reader.read("file", raw.file, "a string");
  reader.read_strings("interface", raw.interfaces);
  reader.read_number("shelf", raw.shelf);
  reader.read_number("slot", raw.slot);
  reader.read("read-only", raw.read_only, "true or false");
  reader.read("buffer-count", raw.buffer_count, "a whole number");
  reader.read_strings("allow", raw.allow);
  reader.read("state-dir", raw.state_dir, "a string");
  reader.read("direct", raw.direct, "true or false");
  reader.read("write-cache", raw.write_cache, "true or false");
  reader.read("durability", raw.durability, "a string");
  reader.read("cache-size", raw.cache_size, "a string");
  reader.read("behind-window", raw.behind_window, "a string");
  reader.read("reset-on", raw.reset_on, "a string");
  reader.read("extensions", raw.extensions, "true or false");
  reader.read_strings("extensions-for", raw.extensions_for);
  reader.read("reply-budget", raw.reply_budget, "a string, as in \"4M\"");
  reader.read_strings("freeze", raw.freeze);
  reader.read("exclusive", raw.exclusive, "true or false");
  reader.read("serial", raw.serial, "a string");
  reader.finish();
  return raw;
}

void read_exports(const toml::table& root, const std::string& file_name, Options& options,
                  Problems& problems) {
  const toml::node* node = root.get("export");
  const toml::array* array = node == nullptr ? nullptr : node->as_array();
  if (array == nullptr || array->empty()) {
    problems.push_back(
        fmt::format("{}: no export: write at least one [[export]] table", file_name));
    return;
  }
  for (const auto& item : *array) {
    if (const auto* table = item.as_table()) {
      options.exports.push_back(judge(read_export(*table, file_name, problems), problems));
    } else {
      problems.push_back(fmt::format("{}:{}: export must be a table: write [[export]]", file_name,
                                     item.source().begin.line));
    }
  }
}

}  // namespace

Options parse_toml(const std::string& text, const std::string& file_name,
                   std::vector<std::string>& problems) {
  Options options;
  toml::table root;
  try {
    root = toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    problems.push_back(fmt::format("{}:{}: not TOML: {}", file_name, error.source().begin.line,
                                   error.description()));
    return options;
  }
  TomlTable reader(root, file_name, problems);
  reader.read("control", options.control, "a string");
  reader.read("user", options.user, "a string");
  reader.read("log-level", options.log_level, "a string");
  reader.expect_key("export");
  reader.finish();
  read_exports(root, file_name, options, problems);
  judge_together(options, problems);
  return options;
}

}  // namespace target::linux_shell
