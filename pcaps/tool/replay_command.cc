// aoe-pcap replay: its options, and what is refused before the first frame is sent.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "conformance/deviants/model_link.h"
#include "conformance/links/af_packet.h"
#include "conformance/links/link_name.h"
#include "conformance/links/unix_socket.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/commands.h"
#include "pcaps/tool/reconstruct.h"
#include "pcaps/tool/replay.h"

namespace pcaps {
namespace {

struct ReplayCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string link;
  std::string interface;
  std::string target;
  std::string to;
  std::string speed = "1";
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::vector<std::string> strict;
  std::vector<std::string> allow;
  std::string image;
  double timeout_s = 1;
  ReplayOptions replay;
};

bool reconstruct_in_place(const CaptureSpec& capture, const std::string& image_path,
                          const TargetAddress& target) {
  std::string error;
  const auto image = ImageFile::open_in_place(image_path, error);
  if (image == nullptr) {
    complain(error);
    return false;
  }
  ReconstructOptions how;
  how.before = true;
  how.target = target;
  auto tracker = std::make_unique<Tracker>();
  Reconstructor reconstructor(*tracker, *image, how);
  tracker->add_observer(&reconstructor);
  if (!run(capture, *tracker)) {
    return false;
  }
  if (!reconstructor.error().empty() || !image->finish(0)) {
    complain(reconstructor.error().empty() ? image->error() : reconstructor.error());
    return false;
  }
  if (image->beyond() != 0) {
    fmt::print(
        stderr,
        "aoe-pcap: {}: {} sectors that the capture read lie beyond its end and are left out: "
        "the image keeps its size\n",
        image_path, image->beyond());
  }
  return true;
}

std::string target_text(const TargetAddress& target) {
  const std::string text = fmt::format("e{}.{}", target.shelf, target.slot);
  if (!target.vlan) {
    return text;
  }
  return *target.vlan == kNoVlan ? text + "@none" : text + fmt::format("@{}", *target.vlan);
}

// --interface IF is --link af_packet:IF.
std::optional<conformance::links::LinkName> name_of_link(const ReplayCommandOptions& options,
                                                         std::string& error) {
  using conformance::links::LinkName;
  if (options.link.empty() == options.interface.empty()) {
    error = "replay needs a link: --link af_packet:INTERFACE, unix:PATH or model:, or --interface";
    return std::nullopt;
  }
  if (options.link.empty()) {
    return LinkName{LinkName::Kind::af_packet, options.interface};
  }
  auto name = conformance::links::parse_link_name(options.link, error);
  if (!name) {
    error = "--link " + error;
  } else if (name->kind == LinkName::Kind::model && !name->where.empty()) {
    error = fmt::format("--link {}: a replay goes to the conforming model only", options.link);
    return std::nullopt;
  }
  return name;
}

// What is no interface carries whatever the capture holds.
std::unique_ptr<conformance::links::Link> open_link(const conformance::links::LinkName& name,
                                                    std::uint64_t frame_bytes_max) {
  using conformance::links::LinkName;
  constexpr std::uint64_t usual_mtu = 1500;
  const std::size_t mtu =
      std::max(usual_mtu + kEthernetHeaderBytes, frame_bytes_max) - kEthernetHeaderBytes;
  if (name.kind == LinkName::Kind::unix_socket) {
    return std::make_unique<conformance::links::UnixSocketLink>(name.where, mtu);
  }
  if (name.kind == LinkName::Kind::model) {
    conformance::deviants::ModelConfig config;
    config.mtu = mtu;
    return std::make_unique<conformance::deviants::ModelLink>(config);
  }
  return std::make_unique<conformance::links::AfPacketLink>(name.where);
}

int replay(ReplayCommandOptions& options) {
  ReplayOptions& how = options.replay;
  if (options.file == "-") {
    return complain("a replay reads its capture twice: give a file, not standard input");
  }
  if (options.speed == "max") {
    how.speed = 0;
  } else {
    char* end = nullptr;
    how.speed = std::strtod(options.speed.c_str(), &end);
    if (end == options.speed.c_str() || *end != '\0' || !(how.speed > 0)) {
      return complain(fmt::format("--speed {}: say how many times as fast, or max", options.speed));
    }
  }
  how.reply_timeout_ns = static_cast<Nanoseconds>(options.timeout_s * 1e9);
  if (!adjust_allowed(options.ignore, options.strict, how.allowed)) {
    return kExitTrouble;
  }
  for (const auto& [text, place] :
       {std::pair{&options.target, &how.from}, std::pair{&options.to, &how.to}}) {
    if (!text->empty()) {
      *place = parse_address(*text);
      if (!*place) {
        return complain(fmt::format("{}: say shelf and slot, as in e1.1", *text));
      }
      if (place == &how.to && how.to->vlan) {
        return complain(fmt::format(
            "--to {}: frames are sent without a VLAN tag; give the VLAN's interface instead",
            *text));
      }
    }
  }
  std::string error;
  const auto name = name_of_link(options, error);
  if (!name) {
    return complain(error);
  }
  output::try_destinations({options.output, how.save_path, options.image}, {options.file});
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  const auto survey = ReplayPlan::survey(*capture, how.from, error);
  if (!survey) {
    return complain(error);
  }
  if (!how.from && survey->targets.size() > 1) {
    return complain(fmt::format("{} has {} targets: choose one with --target, as in {}",
                                options.file, survey->targets.size(),
                                target_text(survey->targets.front())));
  }
  if (!how.from && survey->targets.size() == 1) {
    how.from = survey->targets.front();
  }
  if (survey->requests == 0 || !how.from) {
    return complain(
        fmt::format("{} holds no request to a target that could be replayed", options.file));
  }
  if (!how.to) {
    how.to = how.from;
    how.to->vlan.reset();
  }
  const bool may_write =
      std::find(options.allow.begin(), options.allow.end(), "write") != options.allow.end();
  if ((survey->changes != 0 || !options.image.empty()) && !may_write) {
    return complain(fmt::format(
        "{} has {} requests that change the target (writes, sets of config, mask, reserve): "
        "nothing was sent; say --allow write if e{}.{} on {} may lose what it holds",
        options.file, survey->changes, how.to->shelf, how.to->slot, name->where));
  }
  if (!options.image.empty() && !reconstruct_in_place(*capture, options.image, *how.from)) {
    return kExitTrouble;
  }
  const auto plan = ReplayPlan::open(*capture, how.from, error);
  if (plan == nullptr) {
    return complain(error);
  }
  const auto opened = open_link(*name, survey->frame_bytes_max);
  conformance::links::Link& link = *opened;
  const std::uint64_t room = link.mtu() + kEthernetHeaderBytes;
  if (survey->frame_bytes_max > room) {
    return complain(fmt::format(
        "{} has a frame of {} bytes to or from {}, {} carries {}: nothing was sent; ip link set {} "
        "mtu {}, and the same at the target",
        options.file, survey->frame_bytes_max, target_text(*how.from), name->where, room,
        name->where, survey->frame_bytes_max - kEthernetHeaderBytes));
  }
  Replayer replayer(link, how, survey->initiators);
  ReplayResult result;
  if (!replayer.run(*plan, result, error)) {
    return complain(error);
  }
  if (const auto lost = link.not_taken(); lost.frames > 0) {
    complain(fmt::format("{} frames were not sent: {}", lost.frames, lost.last));
  }
  const std::string text =
      options.format == "json" ? result.to_json().dump(2) + "\n" : result.to_text();
  if (!write_out(options.output, text)) {
    return kExitTrouble;
  }
  return result.passed() ? kExitGood : kExitFindings;
}

}  // namespace

void add_replay(CLI::App& app, int& result) {
  auto options = std::make_shared<ReplayCommandOptions>();
  CLI::App* command = app.add_subcommand("replay", "the capture's requests against a live target");
  command->add_option("FILE", options->file, "pcap or pcapng")->required();
  command
      ->add_option("--link", options->link,
                   "send and listen there: af_packet:INTERFACE, unix:PATH, or model: (the suite's, "
                   "shelf 7 slot 3, in virtual time)")
      ->type_name("LINK");
  command->add_option("--interface,-i", options->interface,
                      "the same as --link af_packet:INTERFACE");
  command->add_option("--target", options->target,
                      "shelf and slot in the capture, when it has several");
  command->add_option("--to", options->to,
                      "shelf and slot of the live target (default: as captured)");
  command->add_option("--speed", options->speed, "how many times as fast as captured, or max");
  command
      ->add_option("--outstanding", options->replay.outstanding,
                   "most requests without a reply at any time")
      ->check(CLI::Range(1, 65'536));
  command->add_option("--tag-offset", options->replay.tag_offset,
                      "added to every tag, in the byte order that the initiator promised");
  command->add_flag("--keep-addresses", options->replay.keep_addresses,
                    "send from the captured initiators' addresses");
  command->add_option("--allow", options->allow, "write: the target may be changed")
      ->check(CLI::IsMember({"write"}));
  command->add_option("--ignore", options->ignore,
                      "a difference that is no failure; may be repeated");
  command->add_option("--strict", options->strict,
                      "a difference that is a failure; may be repeated");
  command->add_option("--timeout", options->timeout_s, "seconds before a request is sent again")
      ->check(CLI::Range(0.001, 3600.0));
  command->add_option("--tries", options->replay.tries_max, "times that a request is sent")
      ->check(CLI::Range(1, 1'000));
  command->add_option("--save", options->replay.save_path,
                      "a capture of the replay, in nanoseconds");
  command->add_option("--reconstruct", options->image,
                      "first write what the capture's reads saw into the target's image");
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->add_option("-o,--output", options->output, "write there instead of stdout");
  command->callback([options, &result] { result = replay(*options); });
  add_only(*command, options->only);
}

}  // namespace pcaps
