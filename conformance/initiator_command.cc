#include "conformance/initiator_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "conformance/hostile/run.h"
#include "conformance/links/af_packet.h"
#include "conformance/outcome.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"

namespace conformance {

struct InitiatorCommand::Options {
  std::string interface, initiator_interface, command;
  int shelf = 7;
  int slot = 3;
  double seconds = 30;
  std::vector<std::string> cases;
  bool list = false;
  OutcomeOptions outcome;
};

InitiatorCommand::InitiatorCommand(CLI::App& app, std::string version,
                                   std::function<bool()> interrupted)
    : app_(app.add_subcommand(
          "initiator", "Judge an initiator: play a target that misbehaves, and see what it does")),
      version_(std::move(version)),
      interrupted_(std::move(interrupted)),
      o_(std::make_unique<Options>()) {
  Options& o = *o_;
  app_->add_option("--interface,-i", o.interface, "Where the target is played")
      ->type_name("INTERFACE");
  app_->add_option("--shelf", o.shelf, "Of the target that is played")
      ->check(CLI::Range(0, 0xfffe));
  app_->add_option("--slot", o.slot, "Of the target that is played")->check(CLI::Range(0, 0xfe));
  app_->add_option(
          "--initiator-command", o.command,
          "Started for each case; writes {in} to {sectors} sectors from {lba} on, reads them back "
          "into {out}, and ends with 0 when all is well; {iface} {shelf} {slot}. Without it "
          "whoever asks is judged by what is asked")
      ->type_name("COMMAND");
  app_->add_option("--initiator-interface", o.initiator_interface, "{iface} of it")
      ->type_name("INTERFACE");
  app_->add_option("--seconds", o.seconds, "For each case at most; without a command just as long")
      ->check(CLI::Range(0.1, 1e5));
  app_->add_option("--case", o.cases, "Cases by id; globs")->type_name("PATTERN");
  app_->add_flag("--list", o.list, "The cases");
  add_outcome_options(*app_, o.outcome);
  app_->footer(
      "Exit codes: 0 good; 1 a case failed; 2 usage; 4 inconclusive: nobody asked.\n"
      "docs/initiators-under-test.md says what each case asks.");
}

InitiatorCommand::~InitiatorCommand() = default;

bool InitiatorCommand::chosen() const {
  return app_->parsed();
}

int InitiatorCommand::run() const {
  const Options& o = *o_;
  if (o.list) {
    for (const hostile::InitiatorCase& c : hostile::initiator_cases()) {
      std::cout << fmt::format("{:<28} {:<16} {}\n", c.id, c.clause, c.title);
    }
    return exit_good;
  }
  if (o.interface.empty()) {
    throw UsageError("--interface says where the target is played");
  }
  if (o.command.find("{iface}") != std::string::npos && o.initiator_interface.empty()) {
    throw UsageError("--initiator-command has {iface} in it: --initiator-interface says which");
  }
  const Outcome outcome(o.outcome);
  std::unique_ptr<links::AfPacketLink> link;
  try {
    link = std::make_unique<links::AfPacketLink>(o.interface);
  } catch (const links::LinkError& e) {
    throw UsageError(e.what());
  }
  hostile::InitiatorRun run;
  run.shelf = static_cast<uint16_t>(o.shelf);
  run.slot = static_cast<uint8_t>(o.slot);
  run.command = o.command;
  run.interface = o.initiator_interface;
  run.case_ns = static_cast<int64_t>(o.seconds * links::kNsPerSecond);
  run.only = o.cases;
  run.repeat_command = fmt::format("aoe-conformance initiator --interface {}", o.interface);
  if (!o.command.empty()) {
    run.repeat_command += fmt::format(" --initiator-command '{}'", o.command);
  }
  run.interrupted = interrupted_;
  Progress progress(!o.outcome.quiet);
  run.on_begin = [&](size_t n, size_t total, const std::string& id) {
    progress.begin(n, total, id);
  };
  report::Report report = hostile::judge_initiator(*link, run);
  progress.clear();
  report.version = version_;
  report.command = run.repeat_command;
  outcome.hold(report);
  report.exit_code = exit_code(report, {});
  outcome.tell(report, {});
  return report.exit_code;
}

}  // namespace conformance
