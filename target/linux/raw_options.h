// An export as a user wrote it, before anything was judged: one shape for the command line and the
// TOML file. For the files that read options alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "target/linux/options.h"

namespace target::linux_shell {

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
  std::vector<std::string> extensions_for;
  std::string reply_budget;         // empty: not said
  std::vector<std::string> freeze;  // words, perhaps several in one, with commas
  bool exclusive = false;
  std::string serial;
};

using Problems = std::vector<std::string>;

// What was written, as values; problems are appended, one line each.
ExportOptions judge(const RawExport& raw, Problems& problems);
// What no export can be blamed for alone.
void judge_together(const Options& options, Problems& problems);

}  // namespace target::linux_shell
