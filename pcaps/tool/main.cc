// aoe-pcap: the command line. What each command does stands in x_command.cc.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>

#include "aoe_version.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"

namespace pcaps {
namespace {

// What is wrong with the words, in one line; --help and --version as they are.
int say_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    return app.exit(error);
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    what = "unknown option or word" + what.substr(std::min(what.size(), what.find(':')));
  }
  fmt::print(stderr, "aoe-pcap: {} (see aoe-pcap COMMAND --help)\n", what);
  return kExitTrouble;
}

int main_of(int argc, char** argv) {
  CLI::App app("Captures of ATA over Ethernet: judged, replayed, and turned back into disks.",
               "aoe-pcap");
  app.set_version_flag("--version", fmt::format("aoe-pcap {}", aoe_version()));
  app.require_subcommand(1);
  int result = kExitGood;
  for (const auto add : {add_info, add_judge, add_reconstruct, add_replay, add_diff, add_history,
                         add_extract, add_anonymise}) {
    add(app, result);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return say_usage(app, error);
  }
  return result;
}

}  // namespace
}  // namespace pcaps

int main(int argc, char** argv) {
  try {
    const int code = pcaps::main_of(argc, argv);
    return output::printed_whole("aoe-pcap") ? code : 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-pcap: {}\n", error.what());
    return 2;
  }
}
