// aoe-pcap extract: its options, and the list of findings to choose from.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/extract.h"

namespace pcaps {
namespace {

struct ExtractCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string output;
  std::uint64_t finding = 0;
  bool complete = false;
};

int extract(const ExtractCommandOptions& options) {
  if (options.file == "-") {
    return complain("extract reads its capture several times: give a file, not standard input");
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  std::string error;
  const auto findings = findings_of(*capture, options.complete, error);
  if (!findings) {
    return complain(error);
  }
  if (options.finding == 0) {
    for (std::size_t i = 0; i < findings->size(); ++i) {
      const Finding& f = (*findings)[i];
      fmt::print("{:>4}  frame {:<7} {} {} {}: {}\n", i + 1, f.frame, verdict_text(f.verdict),
                 side_text(facts_of(f.rule).side), facts_of(f.rule).name, f.text);
    }
    return kExitGood;
  }
  if (options.finding > findings->size()) {
    return complain(fmt::format(
        "--finding {}: the judge has {} findings in {}; without --finding they are listed",
        options.finding, findings->size(), options.file));
  }
  if (options.output.empty()) {
    return complain("extract: say with -o where the small capture goes");
  }
  std::error_code unknown;
  if (std::filesystem::equivalent(options.file, options.output, unknown)) {
    return complain(
        fmt::format("-o {}: that is the capture itself; choose another place", options.output));
  }
  const Finding& finding = (*findings)[options.finding - 1];
  const auto result = extract_finding(*capture, finding, options.complete, options.output, error);
  if (!result) {
    return complain(error);
  }
  fmt::print("{}: {} frames, {}; the finding is at the last one\n", options.output, result->frames,
             result->kept);
  return kExitGood;
}

}  // namespace

void add_extract(CLI::App& app, int& result) {
  auto options = std::make_shared<ExtractCommandOptions>();
  CLI::App* command =
      app.add_subcommand("extract", "the frames that prove a finding, as a small capture");
  command->add_option("FILE", options->file, "pcap or pcapng")->required();
  command->add_option("--finding", options->finding,
                      "the number of a finding; without it they are listed");
  command->add_option("-o,--output", options->output, "the capture to write");
  command->add_flag("--complete", options->complete, "the tap saw every frame, as for judge");
  command->callback([options, &result] { result = extract(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
