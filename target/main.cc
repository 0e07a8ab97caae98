// aoe-target: reads the options, judges them, runs. Everything else is in target/linux.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <string>
#include <variant>
#include <vector>

#include "target/linux/options.h"
#include "target/linux/server.h"
#include "target/linux/start_error.h"
#include "target/linux/survey.h"

namespace {

using namespace target::linux_shell;  // NOLINT(google-build-using-namespace): main only

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

void start_log(const std::string& level) {
  auto log = spdlog::stderr_color_mt("aoe-target");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$: %v");
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::trace);
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
    fmt::print("aoe-target: good: {} export{}\n", options.exports.size(),
               options.exports.size() == 1 ? "" : "s");
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
      return quit->exit_code;
    }
    return run(std::get<Options>(parsed));
  } catch (const StartError& error) {
    fmt::print(stderr, "aoe-target: {}\n", error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-target: {}\n", error.what());
    return kExitFailed;
  }
}
