// The commands of aoe-pcap, one file each (x_command.cc), and what they share: exit codes,
// complaints, a capture with what of it counts, and the run through it.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "conformance/observer/tracker.h"
#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/reply_compare.h"

namespace CLI {
class App;
}

namespace pcaps {

inline constexpr int kExitGood = 0;
inline constexpr int kExitFindings = 1;
inline constexpr int kExitNothing = 77;  // there was nothing to judge
inline constexpr int kExitTrouble = 2;   // bad options, bad files, no interface

// Each adds its command, which sets `result` when it is called.
void add_info(CLI::App& app, int& result);
void add_judge(CLI::App& app, int& result);
void add_reconstruct(CLI::App& app, int& result);
void add_replay(CLI::App& app, int& result);
void add_diff(CLI::App& app, int& result);
void add_history(CLI::App& app, int& result);
void add_extract(CLI::App& app, int& result);
void add_anonymise(CLI::App& app, int& result);

// --only, which every command has.
void add_only(CLI::App& command, std::vector<std::string>& only);
// One line on standard error; kExitTrouble.
int complain(const std::string& message);
// A capture and what of it counts. Nothing, after one clear line, when a term of --only is none.
std::optional<CaptureSpec> spec_of(const std::string& path, const std::vector<std::string>& only);
// Runs the whole capture through the tracker. False, after one clear line, when it cannot be read.
bool run(const CaptureSpec& capture, Tracker& tracker,
         const std::function<void()>& after_each = nullptr);
bool write_out(const std::string& path, const std::string& content);
// The allowed differences after --ignore and --strict. False after one clear line.
bool adjust_allowed(const std::vector<std::string>& ignore, const std::vector<std::string>& strict,
                    DifferenceSet& allowed);

// The first signal ends the capture, and what was read is reported; a second one ends the program.
extern std::atomic<bool> stop_asked;
void ask_to_stop(int signal);

}  // namespace pcaps
