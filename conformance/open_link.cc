// Where the target is, from the command line.

#include "conformance/open_link.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "conformance/control/model_control.h"
#include "conformance/deviants/model_link.h"
#include "conformance/links/af_packet.h"
#include "conformance/links/link_name.h"
#include "conformance/links/unix_socket.h"
#include "conformance/runner/selection.h"

namespace conformance {

namespace {

constexpr size_t kUsualMtu = 1500;

Port model_port(const deviants::ModelConfig& config, const deviants::Deviant* deviant) {
  auto link = deviant != nullptr ? std::make_unique<deviants::ModelLink>(config, *deviant)
                                 : std::make_unique<deviants::ModelLink>(config);
  auto control = std::make_unique<control::ModelControl>(*link);
  return {std::move(link), std::move(control)};
}

Port open_model(const LinkOptions& o) {
  deviants::ModelConfig config;
  config.mtu = o.mtu == 0 ? kUsualMtu : o.mtu;
  if (config.mtu < kUsualMtu) {  // a list holds what a reply can carry
    config.mask_max = config.reserve_max =
        (config.mtu + 14 - observer::at::mask_list) / observer::kMaskEntryBytes;
  }
  if (o.deviant.empty()) {
    return model_port(config, nullptr);
  }
  const auto& all = Registry::all().deviants();
  const auto it = all.find(o.deviant);
  if (it == all.end()) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : all) {
      names.push_back(name);
    }
    std::string near;
    for (const std::string& n : nearest(o.deviant, names)) {
      near += (near.empty() ? "" : ", ") + n;
    }
    throw UsageError(fmt::format("--deviant {}: there is none; nearest: {}", o.deviant, near));
  }
  return model_port(config, &it->second);
}

std::unique_ptr<links::Link> open_interface(const LinkOptions& o) {
  auto link = std::make_unique<links::AfPacketLink>(o.interface());
  if (o.mtu != 0 && o.mtu != link->mtu()) {
    throw UsageError(fmt::format("--mtu {0}: the interface {1} has {2} (ip link set {1} mtu {0})",
                                 o.mtu, o.interface(), link->mtu()));
  }
  return link;
}

}  // namespace

void add_link_options(CLI::App& app, LinkOptions& o) {
  app.add_option("--link", o.names,
                 "Where the target is: af_packet:INTERFACE, unix:PATH (SOCK_SEQPACKET, one frame a "
                 "message) or model: (the built-in one, in virtual time; model:DEVIANT for a "
                 "deviation of it). Several interfaces: looked for behind each")
      ->type_name("LINK")
      ->allow_extra_args(false);
  app.add_option("--interface,-i", o.interfaces, "The same as --link af_packet:INTERFACE")
      ->type_name("INTERFACE")
      ->allow_extra_args(false);
  app.add_option("--socket", o.socket_path, "The same as --link unix:PATH")->type_name("PATH");
  app.add_flag("--model", o.model, "The same as --link model:");
  app.add_option("--deviant", o.deviant, "With --model: this deviation of it");
  app.add_option("--mtu", o.mtu,
                 "With a model or a socket (default 1500); an interface knows its own")
      ->check(CLI::Range(576, 65535));
}

void settle_links(LinkOptions& o) {
  for (const std::string& text : o.names) {
    std::string error;
    const auto name = links::parse_link_name(text, error);
    if (!name) {
      throw UsageError("--link " + error);
    }
    switch (name->kind) {
      case links::LinkName::Kind::af_packet:
        o.interfaces.push_back(name->where);
        break;
      case links::LinkName::Kind::unix_socket:
        if (!o.socket_path.empty()) {
          throw UsageError("--link: one socket, no more");
        }
        o.socket_path = name->where;
        break;
      case links::LinkName::Kind::model:
        o.model = true;
        o.deviant = name->where.empty() ? o.deviant : name->where;
        break;
    }
  }
  o.names.clear();
}

Port open_link(const LinkOptions& o) {
  const int ways =
      (o.interfaces.empty() ? 0 : 1) + (o.socket_path.empty() ? 0 : 1) + (o.model ? 1 : 0);
  if (ways != 1) {
    throw UsageError(
        "one of --interface, --socket and --model (or --link) says where the target is");
  }
  if (!o.deviant.empty() && !o.model) {
    throw UsageError("--deviant needs --model");
  }
  try {
    if (o.model) {
      return open_model(o);
    }
    if (o.socket_path.empty()) {
      return {open_interface(o), nullptr};
    }
    return {std::make_unique<links::UnixSocketLink>(o.socket_path, o.mtu == 0 ? kUsualMtu : o.mtu),
            nullptr};
  } catch (const links::LinkError& e) {  // an interface that is not there is wrong usage
    throw UsageError(e.what());
  }
}

std::string choose_interface(LinkOptions& o, const Wanted& wanted, int patience) {
  if (o.interfaces.size() < 2) {
    return {};
  }
  struct Seen {
    std::string interface;
    Found found;
  };
  std::vector<Seen> seen;
  for (int i = 0; i < patience && seen.empty(); ++i) {
    for (const std::string& interface : o.interfaces) {
      LinkOptions one = o;
      one.interfaces = {interface};
      const Port port = open_link(one);
      TargetFacts facts;
      Context context(*port.link, facts, {}, {});
      for (const Found& f : discover(context)) {
        if (wanted.allows(f)) {
          seen.push_back({interface, f});
        }
      }
    }
  }
  if (seen.empty()) {
    std::string all;
    for (const std::string& interface : o.interfaces) {
      all += (all.empty() ? "" : ", ") + interface;
    }
    return fmt::format("looked for behind {}: nobody answers", all);
  }
  std::string list;
  bool one_name = true;
  for (const Seen& s : seen) {
    one_name = one_name && s.found.shelf == seen.front().found.shelf &&
               s.found.slot == seen.front().found.slot;
    list += fmt::format("\n  --interface {} --shelf {} --slot {} --target-mac {}", s.interface,
                        s.found.shelf, s.found.slot, observer::to_string(s.found.mac));
  }
  if (!one_name) {
    throw UsageError(fmt::format("{} targets answer; choose one:{}", seen.size(), list));
  }
  o.interfaces = {seen.front().interface};
  return seen.size() == 1
             ? fmt::format("{}.{} answers behind {} only", seen.front().found.shelf,
                           seen.front().found.slot, seen.front().interface)
             : fmt::format("{}.{} answers in {} ways, judged is the first:{}",
                           seen.front().found.shelf, seen.front().found.slot, seen.size(), list);
}

}  // namespace conformance
