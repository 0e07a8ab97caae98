// aoe-pcap info: its options, and what it writes where.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/html_page.h"
#include "pcaps/tool/info_report.h"
#include "pcaps/tool/statistics.h"

namespace pcaps {
namespace {

constexpr std::uint32_t kFindingsOnPage = 20;  // of each rule and session

struct InfoOptions {
  std::string file;
  std::vector<std::string> only;
  std::string format = "text";
  std::string output;
  std::string html;
};

int info(const InfoOptions& options) {
  output::try_destinations({options.output, options.html}, {options.file});
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  auto tracker = std::make_unique<Tracker>();
  auto statistics = std::make_unique<Statistics>(*tracker);
  tracker->add_observer(statistics.get());
  std::unique_ptr<Judge> judge;
  if (!options.html.empty()) {
    judge = std::make_unique<Judge>(*tracker, kFindingsOnPage);
    tracker->add_observer(judge.get());
  }
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  if (judge != nullptr) {
    const std::string title =
        options.file == "-" ? "standard input" : options.file.substr(options.file.rfind('/') + 1);
    if (!write_out(options.html, html_page(title, *statistics, *judge))) {
      return kExitTrouble;
    }
  }
  const std::string text =
      options.format == "json" ? info_json(*statistics).dump(2) + "\n" : info_text(*statistics);
  return write_out(options.output, text) ? kExitGood : kExitTrouble;
}

}  // namespace

void add_info(CLI::App& app, int& result) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = app.add_subcommand("info", "who talked, how fast, what went unanswered");
  command->add_option("FILE", options->file, "pcap or pcapng; - is standard input")->required();
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("-o,--output", options->output, "write there instead of stdout");
  command->add_option("--html", options->html, "also write a page with plots there");
  command->callback([options, &result] { result = info(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
