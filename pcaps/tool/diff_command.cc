// aoe-pcap diff: its options.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/diff.h"

namespace pcaps {
namespace {

struct DiffCommandOptions {
  std::vector<std::string> only;
  std::string a;
  std::string b;
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::vector<std::string> strict;
};

int diff(const DiffCommandOptions& options) {
  DifferenceSet allowed = allowed_by_default();
  if (!adjust_allowed(options.ignore, options.strict, allowed)) {
    return kExitTrouble;
  }
  output::try_destinations({options.output}, {options.a, options.b});
  std::string error;
  const auto a = spec_of(options.a, options.only);
  const auto b = spec_of(options.b, options.only);
  if (!a || !b) {
    return kExitTrouble;
  }
  const auto result = diff_captures(*a, *b, allowed, error);
  if (!result) {
    return complain(error);
  }
  const std::string text =
      options.format == "json" ? result->to_json().dump(2) + "\n" : result->to_text();
  if (!write_out(options.output, text)) {
    return kExitTrouble;
  }
  return result->same() ? kExitGood : kExitFindings;
}

}  // namespace

void add_diff(CLI::App& app, int& result) {
  auto options = std::make_shared<DiffCommandOptions>();
  CLI::App* command = app.add_subcommand("diff", "two captures of the same workload");
  command->add_option("A", options->a, "pcap or pcapng")->required();
  command->add_option("B", options->b, "pcap or pcapng")->required();
  command->add_option("--ignore", options->ignore, "a difference that is none");
  command->add_option("--strict", options->strict, "a difference that is one");
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("-o,--output", options->output, "write there instead of stdout");
  command->callback([options, &result] { result = diff(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
