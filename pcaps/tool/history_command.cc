// aoe-pcap history: its options, and its events as text or JSON.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/history.h"
#include "pcaps/tool/text.h"

namespace pcaps {
namespace {

struct HistoryCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string lba;
  std::string tag;
  std::string format = "text";
  std::string output;
};

// Decimal, or hexadecimal after 0x.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  const bool hex = text.substr(0, 2) == "0x";
  text.remove_prefix(hex ? 2 : 0);
  Number value = 0;
  const auto [stop, code] =
      std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (text.empty() || code != std::errc() || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

int history(const HistoryCommandOptions& options) {
  HistoryOptions how;
  if (options.lba.empty() == options.tag.empty()) {
    return complain("history: say either --lba N or --tag T");
  }
  if (!options.lba.empty() && !(how.lba = parse_number<std::uint64_t>(options.lba))) {
    return complain(fmt::format("--lba {}: say the number of a sector", options.lba));
  }
  if (!options.tag.empty() && !(how.tag = parse_number<std::uint32_t>(options.tag))) {
    return complain(fmt::format("--tag {}: say a tag, as in 0x0001dcc9", options.tag));
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  auto tracker = std::make_unique<Tracker>();
  const bool json = options.format == "json";
  constexpr std::size_t kEventsMax = 100'000;
  std::string text;
  auto list = nlohmann::ordered_json::array();
  std::uint64_t left_out = 0;
  std::uint64_t stale = 0;
  History history(*tracker, how, [&](const HistoryEvent& event) {
    stale += event.stale ? 1 : 0;
    if (list.size() + left_out >= kEventsMax) {
      ++left_out;
      return;
    }
    std::string from;
    std::string to;
    if (event.session != kNone) {
      const Session& session = tracker->sessions()[event.session];
      from = mac_text(session.initiator);
      to = address_text(session.vlan, session.shelf, session.slot);
    }
    if (!json) {
      text += fmt::format("{}  frame {:<7} {} {} {}  tag 0x{:08x}  {}\n", time_text(event.time_ns),
                          event.frame, from, event.from_target ? "<-" : "->", to, event.tag,
                          event.text);
    }
    list.push_back(json ? nlohmann::ordered_json{{"frame", event.frame},
                                                 {"time", time_iso(event.time_ns)},
                                                 {"initiator", from},
                                                 {"target", to},
                                                 {"from_target", event.from_target},
                                                 {"tag", fmt::format("0x{:08x}", event.tag)},
                                                 {"stale", event.stale},
                                                 {"text", event.text}}
                        : nlohmann::ordered_json());
  });
  tracker->add_observer(&history);
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  const std::string what =
      how.lba ? fmt::format("sector {}", *how.lba) : fmt::format("tag 0x{:08x}", *how.tag);
  if (json) {
    nlohmann::ordered_json j{{"events", list}, {"left_out", left_out}, {"stale", stale}};
    text = j.dump(2) + "\n";
  } else if (history.events() == 0) {
    text = fmt::format("no frame in {} concerns {}\n", options.file, what);
  } else {
    text += left_out == 0 ? "" : fmt::format("and {} more\n", left_out);
    text += fmt::format("{}: {} events, {} of them old data after an answered write\n", what,
                        history.events(), stale);
  }
  return write_out(options.output, text) ? kExitGood : kExitTrouble;
}

}  // namespace

void add_history(CLI::App& app, int& result) {
  auto options = std::make_shared<HistoryCommandOptions>();
  CLI::App* command =
      app.add_subcommand("history", "who wrote a sector, who read it, and whose data that was");
  command->add_option("FILE", options->file, "pcap or pcapng; - is standard input")->required();
  command->add_option("--lba", options->lba, "the sector");
  command->add_option("--tag", options->tag, "or: everything under this tag");
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("-o,--output", options->output, "write there instead of stdout");
  command->callback([options, &result] { result = history(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
