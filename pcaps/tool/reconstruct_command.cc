// aoe-pcap reconstruct: its options, and where image and map go.
#include <fmt/format.h>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/reconstruct.h"

namespace pcaps {
namespace {

struct ReconstructCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string output;
  std::string map;
  std::string at = "after";
  std::string target;
};

bool is_regular_output(const std::string& path) {
  std::error_code none;
  const auto status = std::filesystem::status(path, none);
  return path != "-" && (!std::filesystem::exists(status) || is_regular_file(status));
}

int reconstruct(const ReconstructCommandOptions& options) {
  ReconstructOptions how;
  if (options.at == "before") {
    how.before = true;
  } else if (options.at != "after") {
    const char* end = options.at.data() + options.at.size();
    const auto [stop, code] = std::from_chars(options.at.data(), end, how.last_frame);
    if (code != std::errc() || stop != end || how.last_frame == 0) {
      return complain(
          fmt::format("--at {}: say before, after, or the number of a frame", options.at));
    }
  }
  if (!options.target.empty()) {
    how.target = parse_address(options.target);
    if (!how.target) {
      return complain(fmt::format(
          "--target {}: say shelf and slot, as in e1.1, or e1.1@5 in VLAN 5", options.target));
    }
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  std::string error;
  if (options.file != "-" && ::access(options.file.c_str(), R_OK) != 0) {
    CaptureReader::open(*capture, error);
    return complain(error);
  }
  // Beside a device there is no place for a map.
  const std::string map = !options.map.empty()                ? options.map
                          : is_regular_output(options.output) ? options.output + ".map"
                                                              : std::string();
  output::try_destinations({options.output, map}, {options.file});
  const auto image = ImageFile::create(options.output, {options.file}, error);
  if (image == nullptr) {
    return complain(error);
  }
  auto tracker = std::make_unique<Tracker>();
  Reconstructor reconstructor(*tracker, *image, how);
  tracker->add_observer(&reconstructor);
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  if (!reconstructor.error().empty()) {
    return complain(reconstructor.error());
  }
  if (reconstructor.image_sectors() == 0) {
    return complain(
        fmt::format("{} tells nothing of any disk: no identify, read or write of a "
                    "chosen target in it",
                    options.file));
  }
  if (!image->finish(reconstructor.image_sectors())) {
    return complain(image->error());
  }
  if (!map.empty() && !write_out(map, reconstructor.map_text())) {
    return kExitTrouble;
  }
  // An image or a map on standard output has it to itself.
  const bool taken = options.output == "-" || map == "-";
  fmt::print(taken ? stderr : stdout, "{}", reconstructor.summary());
  return kExitGood;
}

}  // namespace

void add_reconstruct(CLI::App& app, int& result) {
  auto options = std::make_shared<ReconstructCommandOptions>();
  CLI::App* command = app.add_subcommand("reconstruct", "the disk image that the capture implies");
  command->add_option("FILE", options->file, "pcap or pcapng; - is standard input")->required();
  command->add_option("-o,--output", options->output, "the image to write")->required();
  command->add_option("--map", options->map,
                      "where the map of what is known goes (default: IMAGE.map)");
  command->add_option("--at", options->at,
                      "before (what reads saw), after (what writes left), or as of a frame");
  command->add_option("--target", options->target, "shelf and slot, when the capture has several");
  command->callback([options, &result] { result = reconstruct(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
