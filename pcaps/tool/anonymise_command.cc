// aoe-pcap anonymise: its options.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pcaps/tool/anonymise.h"
#include "pcaps/tool/commands.h"

namespace pcaps {

void add_anonymise(CLI::App& app, int& result) {
  struct Options {
    std::string file, output;
    std::vector<std::string> only;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "anonymise", "addresses, data, strings and padding replaced; what a judge says stays");
  command->add_option("FILE", options->file, "pcap or pcapng; - is standard input")->required();
  command->add_option("-o,--output", options->output, "the capture to write")->required();
  command->callback([options, &result] {
    const auto capture = spec_of(options->file, options->only);
    if (!capture) {
      result = kExitTrouble;
      return;
    }
    std::error_code unknown;
    if (std::filesystem::equivalent(options->file, options->output, unknown)) {
      result = complain(
          fmt::format("-o {}: that is the capture itself; choose another place", options->output));
      return;
    }
    std::string error;
    const auto done = anonymise(*capture, options->output, error);
    if (!done) {
      result = complain(error);
      return;
    }
    fmt::print(
        "{}: {} frames{}\n", options->output, done->frames,
        done->blank == 0 ? "" : fmt::format(", {} of them no AoE and blank now", done->blank));
    result = kExitGood;
  });
  add_only(*command, options->only);
}

}  // namespace pcaps
