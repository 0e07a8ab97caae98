// Runs the suite over an EngineLink.
#include "sim/link/conformance_command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "conformance/links/observer_link.h"
#include "conformance/report/report.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"
#include "sim/link/engine_control.h"

namespace sim::link {

int run_conformance(std::uint16_t mtu, const std::vector<std::string>& cases, bool verbose) {
  const auto begin = std::chrono::steady_clock::now();
  EngineLink engine(mtu);
  conformance::Selection selection;
  selection.cases = cases;
  conformance::RunConfig config;
  config.cases = conformance::select(conformance::Registry::all(), selection);
  config.allowed = {"write", "config", "lockout", "stress", "unknown"};
  EngineControl control(engine);
  config.target = &control;
  const std::int64_t virtual_begin_ns = engine.now_ns();
  conformance::links::ObserverLink watched(engine, true);
  conformance::report::Report report = conformance::run_suite(watched, config);
  report.command = "aoe-sim conformance";
  const conformance::links::Verdicts observed = conformance::links::against_target(watched);
  conformance::add_observed(report, observed.broken);
  report.exit_code = conformance::exit_code(report, {});
  fmt::print("{}", conformance::report::to_text(
                       report, {.colour = false,
                                .detail = verbose ? conformance::report::Detail::full
                                                  : conformance::report::Detail::usual}));
  std::fflush(stdout);
  fmt::print(stderr, "{}", observed.text);
  const auto real_us = std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::steady_clock::now() - begin)
                           .count();
  fmt::print(stderr, "{} ms of virtual time in {} ms\n",
             (engine.now_ns() - virtual_begin_ns) / 1'000'000, real_us / 1'000);
  return report.exit_code;
}

}  // namespace sim::link
