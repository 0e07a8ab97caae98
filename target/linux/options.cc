// What a user asked for: see options.h.
#include "target/linux/options.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "aoe_version.h"

namespace target::linux_shell {
namespace {

// An export as written, before anything was judged: one shape for both sources.
struct RawExport {
  std::string where;
  std::string file;
  std::vector<std::string> interfaces;
  std::optional<std::int64_t> shelf;
  std::optional<std::int64_t> slot;
  std::int64_t buffer_count = 64;
  std::vector<std::string> allow;
  std::string state_dir;
  bool read_only = false;
  bool direct = false;
  bool write_cache = false;
  std::string durability;  // empty: not said
  std::string cache_size;  // empty: not said
  std::string behind_window = "reject";
  std::string reset_on = "any-config";
  bool extensions = true;
  std::string serial;
};

using Problems = std::vector<std::string>;

std::int64_t number_in_range(const RawExport& raw, const char* name,
                             std::optional<std::int64_t> value, std::int64_t low, std::int64_t high,
                             Problems& problems) {
  if (!value) {
    problems.push_back(
        fmt::format("{}: {} is missing: give a number from {} to {}", raw.where, name, low, high));
    return low;
  }
  if (*value < low || *value > high) {
    problems.push_back(fmt::format("{}: {} {} is out of range: give a number from {} to {}",
                                   raw.where, name, *value, low, high));
    return low;
  }
  return *value;
}

void judge_interfaces(const RawExport& raw, Problems& problems) {
  if (raw.interfaces.empty()) {
    problems.push_back(
        fmt::format("{}: interface is missing: name at least one Ethernet interface", raw.where));
  }
  if (raw.interfaces.size() > kInterfacesMax) {
    problems.push_back(fmt::format("{}: {} interfaces are too many: at most {} for an export",
                                   raw.where, raw.interfaces.size(), kInterfacesMax));
  }
  for (std::size_t i = 0; i < raw.interfaces.size(); ++i) {
    const auto& name = raw.interfaces[i];
    if (name.empty() || name.size() > 15) {
      problems.push_back(fmt::format(
          "{}: interface name '{}' is impossible: a name has 1 to 15 characters", raw.where, name));
    }
    if (std::find(raw.interfaces.begin(), raw.interfaces.begin() + static_cast<std::ptrdiff_t>(i),
                  name) != raw.interfaces.begin() + static_cast<std::ptrdiff_t>(i)) {
      problems.push_back(
          fmt::format("{}: interface {} is named twice: name it once", raw.where, name));
    }
  }
}

template <typename Value>
Value word(const RawExport& raw, const char* name, const std::string& text,
           const std::map<std::string, Value>& words, Problems& problems) {
  const auto found = words.find(text);
  if (found != words.end()) {
    return found->second;
  }
  std::string choices;
  for (const auto& [choice, value] : words) {
    choices += (choices.empty() ? "" : " or ") + choice;
  }
  problems.push_back(
      fmt::format("{}: {} '{}' is not known: use {}", raw.where, name, text, choices));
  return words.begin()->second;
}

void judge_serial(const RawExport& raw, Problems& problems) {
  const bool printable = std::all_of(raw.serial.begin(), raw.serial.end(),
                                     [](char c) { return c >= 0x20 && c <= 0x7E; });
  if (raw.serial.size() > kSerialLengthMax || !printable) {
    problems.push_back(
        fmt::format("{}: serial '{}' does not fit: at most {} printable ASCII "
                    "characters",
                    raw.where, raw.serial, kSerialLengthMax));
  }
}

// "32M": a whole number with K, M or G for powers of 1,024. 0: no cache.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  unsigned shift = 0;
  if (!text.empty()) {
    if (const auto unit = kUnits.find(text.back()); unit != std::string_view::npos) {
      shift = static_cast<unsigned>(unit + 1) * 10;
      text.remove_suffix(1);
    }
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value >> (63 - shift) != 0) {
    return std::nullopt;
  }
  return value << shift;
}

void judge_cache_size(const RawExport& raw, ExportOptions& result, Problems& problems) {
  if (raw.cache_size.empty()) {
    return;
  }
  const auto size = parse_size(raw.cache_size);
  if (!size || (*size != 0 && (*size < kCacheBytesMin || *size > kCacheBytesMax))) {
    problems.push_back(fmt::format("{}: cache-size '{}': give 0, or from 1M to 64G, as in 32M",
                                   raw.where, raw.cache_size));
    return;
  }
  if (!raw.direct && *size != 0) {
    problems.push_back(
        fmt::format("{}: cache-size needs direct: without it the operating system's page cache is "
                    "the cache",
                    raw.where));
  }
  result.cache_bytes = *size;
}

ExportOptions judge(const RawExport& raw, Problems& problems) {
  ExportOptions result;
  result.where = raw.where;
  result.file = raw.file;
  if (raw.file.empty()) {
    problems.push_back(fmt::format(
        "{}: file is missing: name the image file or block device to export", raw.where));
  }
  judge_interfaces(raw, problems);
  result.interfaces = raw.interfaces;
  result.shelf =
      static_cast<std::uint16_t>(number_in_range(raw, "shelf", raw.shelf, 0, kShelfMax, problems));
  result.slot =
      static_cast<std::uint8_t>(number_in_range(raw, "slot", raw.slot, 0, kSlotMax, problems));
  result.buffer_count = static_cast<std::uint16_t>(number_in_range(
      raw, "buffer-count", raw.buffer_count, kBufferCountMin, kBufferCountMax, problems));
  for (const auto& text : raw.allow) {
    if (const auto mac = parse_mac(text)) {
      result.allow.push_back(*mac);
    } else {
      problems.push_back(fmt::format(
          "{}: allow '{}' is not a MAC address: write it as 02:00:00:00:00:01", raw.where, text));
    }
  }
  result.state_dir = raw.state_dir;
  result.read_only = raw.read_only;
  result.direct = raw.direct;
  result.durability = raw.write_cache ? Durability::flush : Durability::write;
  if (!raw.durability.empty()) {
    result.durability =
        word<Durability>(raw, "durability", raw.durability,
                         {{"write", Durability::write}, {"flush", Durability::flush}}, problems);
    if (raw.write_cache && result.durability != Durability::flush) {
      problems.push_back(fmt::format(
          "{}: write-cache means durability flush, and durability says {}: give one of the two",
          raw.where, raw.durability));
    }
  }
  judge_cache_size(raw, result, problems);
  result.behind_window =
      word<engine::BehindWindow>(raw, "behind-window", raw.behind_window,
                                 {{"reject", engine::BehindWindow::reject_silently},
                                  {"perform", engine::BehindWindow::perform}},
                                 problems);
  result.reset_on = word<engine::ResetOn>(raw, "reset-on", raw.reset_on,
                                          {{"any-config", engine::ResetOn::any_config},
                                           {"config-write", engine::ResetOn::config_write}},
                                          problems);
  result.extensions = raw.extensions;
  judge_serial(raw, problems);
  result.serial = raw.serial.empty() ? export_name(result.shelf, result.slot) : raw.serial;
  return result;
}

void judge_together(const Options& options, Problems& problems) {
  std::map<std::string, std::string> where_by_name;
  for (const auto& one : options.exports) {
    const auto name = export_name(one.shelf, one.slot);
    const auto [other, is_new] = where_by_name.emplace(name, one.where);
    if (!is_new) {
      problems.push_back(
          fmt::format("{}: {} is exported already by {}: shelf and slot together must be unique",
                      one.where, name, other->second));
    }
  }
  static const std::vector<std::string> kLevels = {"trace", "debug",    "info", "warn",
                                                   "error", "critical", "off"};
  if (std::find(kLevels.begin(), kLevels.end(), options.log_level) == kLevels.end()) {
    problems.push_back(
        fmt::format("log-level '{}' is not known: use trace, debug, info, warn, "
                    "error, critical or off",
                    options.log_level));
  }
}

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

std::string join_lines(const Problems& problems) {
  std::string text;
  for (const auto& problem : problems) {
    text += fmt::format("aoe-target: {}\n", problem);
  }
  return text;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return std::nullopt;
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) {
    return std::nullopt;
  }
  return text.str();
}

constexpr const char* kDescription =
    "Exports a file or a block device by ATA over Ethernet.\n"
    "The manual is docs/aoe-target.md.";

// The command line as CLI11 fills it.
struct CommandLine {
  RawExport raw;
  std::vector<std::string> files;
  std::string config;
  std::optional<std::string> control;
  std::optional<std::string> user;
  std::optional<std::string> log_level;
  int ready_fd = -1;
  bool check = false;
  bool no_extensions = false;
  std::vector<CLI::Option*> export_options;  // those that describe an export
};

// CLI11 cuts a number that is too large, and the message would tell another one than was typed.
CLI::Validator fits(std::int64_t low, std::int64_t high) {
  return CLI::Validator(
      [low, high](std::string& text) {
        std::int64_t value = 0;
        const char* const end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, value);
        return read.ec == std::errc::result_out_of_range
                   ? fmt::format("{} is out of range: give a number from {} to {}", text, low, high)
                   : std::string();
      },
      "");
}

// What was given as '' was meant to be something: a variable of a script that is not set, say.
const CLI::Validator kNotEmpty(
    [](std::string& text) {
      return text.empty() ? std::string("an empty path: give one, or leave the option out")
                          : std::string();
    },
    "");

void declare(CLI::App& app, CommandLine& line) {
  auto& raw = line.raw;
  auto& mine = line.export_options;
  app.set_version_flag("--version", fmt::format("aoe-target {}", aoe_version()));
  mine.push_back(app.add_option("FILE|DEVICE", line.files, "Image file or block device")
                     ->expected(-1)
                     ->take_all());
  mine.push_back(app.add_option("--interface", raw.interfaces, "Ethernet interface; repeatable")
                     ->expected(1)
                     ->take_all()
                     ->allow_extra_args(false));
  mine.push_back(app.add_option("--shelf", raw.shelf, "Shelf (major address), 0 to 65534")
                     ->check(fits(0, kShelfMax)));
  mine.push_back(app.add_option("--slot", raw.slot, "Slot (minor address), 0 to 254")
                     ->check(fits(0, kSlotMax)));
  mine.push_back(app.add_flag("--read-only", raw.read_only, "Refuse writes"));
  mine.push_back(app.add_option("--buffer-count", raw.buffer_count,
                                "Frames the receive buffer holds, 2 to 65535 (default 64)")
                     ->check(fits(kBufferCountMin, kBufferCountMax)));
  mine.push_back(
      app.add_option("--allow", raw.allow, "Answer this source MAC address only; repeatable")
          ->expected(1)
          ->take_all()
          ->allow_extra_args(false));  // what follows one address is not another, but the file
  mine.push_back(app.add_option("--state-dir", raw.state_dir,
                                "Keep config string, mask and reserve list across a restart here")
                     ->check(kNotEmpty));
  mine.push_back(app.add_flag("--direct", raw.direct, "Bypass the page cache (O_DIRECT)"));
  mine.push_back(app.add_option("--durability", raw.durability,
                                "When a write is answered: write (durable, default) or flush "
                                "(before; a flush makes it durable)"));
  mine.push_back(app.add_flag("--write-cache", raw.write_cache, "The same as --durability flush"));
  mine.push_back(app.add_option("--cache-size", raw.cache_size,
                                "Memory for read-ahead and write-behind of a direct image "
                                "(default 32M; 0: none)"));
  mine.push_back(app.add_option("--behind-window", raw.behind_window,
                                "A write with a tag behind the window: reject or perform"));
  mine.push_back(app.add_option("--reset-on", raw.reset_on,
                                "What ends an initiator's extensions: any-config or config-write"));
  mine.push_back(
      app.add_flag("--no-extensions", line.no_extensions, "Plain AoEr11, without command 0x23"));
  mine.push_back(app.add_option("--serial", raw.serial, "Serial number told by identify"));
  app.add_option("--config", line.config, "TOML file with several exports");
  app.add_option("--control", line.control, "UNIX socket that answers 'counters' and 'exports'")
      ->check(kNotEmpty);
  app.add_option("--user", line.user,
                 "As root: run as this user (name or number), with CAP_NET_RAW alone")
      ->check(kNotEmpty);
  app.add_option("--log-level", line.log_level,
                 "trace, debug, info, warn, error, critical, off (default info)")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "critical", "off"}));
  app.add_option("--ready-fd", line.ready_fd,
                 "Write a newline to this descriptor and close it when ready")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--check", line.check, "Validate everything and exit: 0 good, 2 not");
}

void load_config(const CommandLine& line, Options& options, Problems& problems) {
  for (const auto* option : line.export_options) {
    if (option->count() > 0) {
      problems.push_back(
          fmt::format("{} together with --config: describe every export in {} instead",
                      option->get_name(), line.config));
    }
  }
  const auto text = read_file(line.config);
  if (!text) {
    problems.push_back(
        fmt::format("cannot read {}: give --config a readable TOML file", line.config));
    return;
  }
  options = parse_toml(*text, line.config, problems);
}

void load_flags(CommandLine& line, Options& options, Problems& problems) {
  line.raw.where = "command line";
  line.raw.extensions = !line.no_extensions;
  if (line.files.size() > 1) {
    problems.push_back(
        fmt::format("command line: {} files ({}, {}...): one export has one file; several exports "
                    "need --config FILE.toml",
                    line.files.size(), line.files[0], line.files[1]));
  }
  if (!line.files.empty()) {
    line.raw.file = line.files.front();
  }
  options.exports.push_back(judge(line.raw, problems));
}

}  // namespace

std::string export_name(std::uint16_t shelf, std::uint8_t slot) {
  return fmt::format("e{}.{}", shelf, slot);
}

std::optional<wire::MacAddress> parse_mac(const std::string& text) {
  wire::MacAddress mac;
  if (text.size() != 17) {
    return std::nullopt;
  }
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') {
      return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
      return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  for (std::size_t i = 0; i < mac.octets.size(); ++i) {
    const int high = digit(text[i * 3]);
    const int low = digit(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':')) {
      return std::nullopt;
    }
    mac.octets[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return mac;
}

std::string format_mac(const wire::MacAddress& mac) {
  const auto& o = mac.octets;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", o[0], o[1], o[2], o[3], o[4],
                     o[5]);
}

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

std::variant<Options, Quit> parse_command_line(const std::vector<std::string>& arguments) {
  CLI::App app(kDescription, "aoe-target");
  CommandLine line;
  declare(app, line);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Quit{0, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Quit{0, std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
      what = "unknown option" + what.substr(std::min(what.size(), what.find(':')));
    }
    return Quit{2, fmt::format("aoe-target: {}: see --help\n", what)};
  }
  Options options;
  Problems problems;
  if (!line.config.empty()) {
    load_config(line, options, problems);
  } else {
    load_flags(line, options, problems);
  }
  options.control = line.control.value_or(options.control);
  options.user = line.user.value_or(options.user);
  options.log_level = line.log_level.value_or(options.log_level);
  options.ready_fd = line.ready_fd;
  options.check = line.check;
  if (line.config.empty()) {
    judge_together(options, problems);
  }
  if (!problems.empty()) {
    return Quit{2, join_lines(problems)};
  }
  return options;
}

}  // namespace target::linux_shell
