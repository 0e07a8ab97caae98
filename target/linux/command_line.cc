// The command line: see options.h.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "aoe_version.h"
#include "target/linux/options.h"
#include "target/linux/raw_options.h"

namespace target::linux_shell {
namespace {

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
  CtlOptions ctl;
  CLI::App* ctl_command = nullptr;
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
  mine.push_back(app.add_option("--extensions-for", raw.extensions_for,
                                "Extensions for this source MAC address only; repeatable")
                     ->expected(1)
                     ->take_all()
                     ->allow_extra_args(false));
  mine.push_back(app.add_option("--reply-budget", raw.reply_budget,
                                "Bytes of replies a second for each source that --allow does not "
                                "name, as in 4M (default 0: no limit)"));
  mine.push_back(app.add_option("--freeze", raw.freeze,
                                "What nobody may change by the network: mask, config, reserve; "
                                "commas between them")
                     ->expected(1)
                     ->take_all()
                     ->allow_extra_args(false));
  mine.push_back(app.add_flag("--exclusive", raw.exclusive,
                              "Do not start when somebody else serves this shelf and slot"));
  mine.push_back(app.add_option("--serial", raw.serial, "Serial number told by identify"));
  app.add_option("--config", line.config, "TOML file with several exports");
  app.add_option("--control", line.control, "UNIX socket for aoe-target ctl")->check(kNotEmpty);
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
  line.ctl_command = app.add_subcommand("ctl", "Ask a running target through its control socket");
  line.ctl_command->add_option("SOCKET", line.ctl.socket, "The path that --control gave")
      ->required();
  line.ctl_command
      ->add_option("QUESTION", line.ctl.words,
                   "show [EXPORT]; sessions [EXPORT]; counters; exports; "
                   "clear mask|config|reserve [EXPORT]")
      ->required()
      ->expected(-1);
  line.ctl_command->add_flag("--json", line.ctl.json, "The answer as it came: a line of JSON");
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

std::variant<Options, Quit> parse_command_line(const std::vector<std::string>& arguments) {
  CLI::App app(kDescription, "aoe-target");
  CommandLine line;
  declare(app, line);
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Quit{0, (line.ctl_command->parsed() ? line.ctl_command : &app)->help()};
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
  if (line.ctl_command->parsed()) {
    options.ctl = line.ctl;
    return options;
  }
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
