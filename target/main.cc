// aoe-target: reads the options, judges them, runs. Everything else is in target/linux.
#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "conformance/output/output_file.h"
#include "target/linux/ctl.h"
#include "target/linux/line_writer.h"
#include "target/linux/options.h"
#include "target/linux/privileges.h"
#include "target/linux/server.h"
#include "target/linux/start_error.h"
#include "target/linux/survey.h"

namespace {

using namespace target::linux_shell;  // NOLINT(google-build-using-namespace): main only

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// The log goes where lines go that nobody may wait for; in colours on a terminal.
class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    std::string line(text.data(), text.size());
    if (terminal_ && message.color_range_end > message.color_range_start) {
      const bool bad = message.level >= spdlog::level::err;
      const bool warns = message.level == spdlog::level::warn;
      line.insert(message.color_range_end, "\033[m");
      line.insert(message.color_range_start, bad ? "\033[31m" : warns ? "\033[33m" : "\033[32m");
    }
    LineWriter::for_fd(STDERR_FILENO).write(line);
  }
  void flush_() override {}
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
};

void start_log(const std::string& level) {
  auto log = std::make_shared<spdlog::logger>("aoe-target", std::make_shared<LogSink>());
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$: %v");
  log->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(log));
}

int run(const Options& options) {
  const auto found = survey(options);
  for (const auto& problem : found.problems) {
    fmt::print(stderr, "aoe-target: {}\n", problem);
  }
  if (!found.problems.empty()) {
    return kExitUsage;
  }
  start_log(options.log_level);
  for (const auto& warning : found.warnings) {
    spdlog::warn("{}", warning);
  }
  if (options.check) {
    std::optional<Account> account;
    if (!options.user.empty()) {
      account = std::get<Account>(find_account(options.user));
    }
    for (const auto& fact : found.facts) {
      fmt::print("aoe-target: {}\n", fact);
    }
    fmt::print("aoe-target: good: {} export{}\naoe-target: {}\n", options.exports.size(),
               options.exports.size() == 1 ? "" : "s", describe_privileges(account));
    return 0;
  }
  return serve(options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto parsed = parse_command_line({argv + 1, argv + argc});
    if (const auto* quit = std::get_if<Quit>(&parsed)) {
      fmt::print(quit->exit_code == 0 ? stdout : stderr, "{}", quit->text);
      return output::printed_whole("aoe-target") ? quit->exit_code : kExitFailed;
    }
    const auto& options = std::get<Options>(parsed);
    const int code = options.ctl ? ctl(*options.ctl) : run(options);
    return output::printed_whole("aoe-target") ? code : kExitFailed;
  } catch (const StartError& error) {
    fmt::print(stderr, "aoe-target: {}\n", error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-target: {}\n", error.what());
    return kExitFailed;
  }
}
