// What a user asked for: the command line and the TOML file, read into values and judged as far as
// values alone can be judged. It owns names, limits and defaults of options; it must never know
// whether a file or an interface exists (survey.h does), nor open anything but the TOML file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/ctl.h"
#include "target/wire/mac.h"

namespace target::linux_shell {

inline constexpr std::int64_t kShelfMax = 0xFFFE;   // 0xFFFF is the broadcast shelf
inline constexpr std::int64_t kSlotMax = 0xFE;      // 0xFF is the broadcast slot
inline constexpr std::int64_t kBufferCountMin = 2;  // the Linux driver is unusable with 0 or 1
inline constexpr std::int64_t kBufferCountMax = 0xFFFF;
inline constexpr std::size_t kSerialLengthMax = 20;  // identify words 10-19
inline constexpr std::size_t kInterfacesMax = 64;

// What an answered write promises (docs/aoe-target.md, "When is a write durable?").
enum class Durability : std::uint8_t { write, flush };

// Less than a few of the longest replies a second would be silence.
inline constexpr std::uint64_t kReplyBudgetMin = std::uint64_t{64} << 10;

inline constexpr std::uint64_t kCacheBytesDefault = std::uint64_t{32} << 20;
inline constexpr std::uint64_t kCacheBytesMin = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kCacheBytesMax = std::uint64_t{64} << 30;

struct ExportOptions {
  std::string where;  // for messages: "command line" or "FILE.toml:LINE"
  std::string file;
  std::vector<std::string> interfaces;
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  bool read_only = false;
  std::uint16_t buffer_count = 64;
  std::vector<wire::MacAddress> allow;
  std::string state_dir;  // empty: nothing survives a restart
  bool direct = false;
  Durability durability = Durability::write;
  std::uint64_t cache_bytes = kCacheBytesDefault;  // used by direct images
  engine::BehindWindow behind_window = engine::BehindWindow::reject_silently;
  engine::ResetOn reset_on = engine::ResetOn::any_config;
  bool extensions = true;
  std::vector<wire::MacAddress> extensions_for;  // empty: everybody
  std::uint64_t reply_budget = 0;                // bytes a second for each source; 0: none
  engine::Freeze freeze;
  bool exclusive = false;  // do not start when somebody else serves the address
  std::string serial;      // never empty after parsing
};

struct Options {
  std::vector<ExportOptions> exports;
  std::string control;  // empty: no control socket
  std::string user;     // name or number to run as; empty: whoever started it
  std::string log_level = "info";
  int ready_fd = -1;
  bool check = false;
  std::optional<CtlOptions> ctl;  // nothing is exported: a running target is asked
};

// Nothing to run: text to print and the exit code. Code 0 prints to stdout (--help, --version), any
// other to stderr.
struct Quit {
  int exit_code = 0;
  std::string text;
};

// Reads everything. Problems come all at once, one line each, in Quit::text.
std::variant<Options, Quit> parse_command_line(const std::vector<std::string>& arguments);

// The TOML file alone, for tests: problems are appended, one line each.
Options parse_toml(const std::string& text, const std::string& file_name,
                   std::vector<std::string>& problems);

std::optional<wire::MacAddress> parse_mac(const std::string& text);
std::string format_mac(const wire::MacAddress& mac);
// "e1.1": how AoE names an export everywhere.
std::string export_name(std::uint16_t shelf, std::uint8_t slot);

}  // namespace target::linux_shell
