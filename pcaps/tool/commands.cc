#include "pcaps/tool/commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "conformance/output/output_file.h"

namespace pcaps {

std::atomic<bool> stop_asked{false};

namespace {

// What the reader left out or never got, on standard error. False when nothing could be read of it.
bool told_of(const CaptureReader& reader) {
  if (reader.frames() != 0 && reader.foreign() == reader.frames()) {
    complain(fmt::format(
        "{} holds frames of link type {}, not Ethernet: capture on the interface itself "
        "(tcpdump -i eth0), or on all of them (-i any)",
        reader.path(), link_name(reader.foreign_link())));
    return false;
  }
  if (reader.foreign() != 0) {
    fmt::print(stderr, "aoe-pcap: {}: {} frames of link type {} are left out\n", reader.path(),
               reader.foreign(), link_name(reader.foreign_link()));
  }
  if (reader.seen_twice() != 0) {
    fmt::print(stderr, "aoe-pcap: {}: {} frames were seen on two interfaces and count once\n",
               reader.path(), reader.seen_twice());
  }
  if (reader.drops().dropped != 0) {
    fmt::print(stderr, "aoe-pcap: {}: the capture says that it lost {} frames itself\n",
               reader.path(), reader.drops().dropped);
  }
  if (!reader.damage().empty()) {
    fmt::print(stderr, "aoe-pcap: {} is damaged after frame {} ({}): what is before that counts\n",
               reader.path(), reader.frames(), reader.damage());
  }
  return true;
}

}  // namespace

int complain(const std::string& message) {
  fmt::print(stderr, "aoe-pcap: {}\n", message);
  return kExitTrouble;
}

std::optional<CaptureSpec> spec_of(const std::string& path, const std::vector<std::string>& only) {
  CaptureSpec spec(path);
  std::string error;
  auto selection = Selection::parse(only, error);
  if (!selection) {
    complain(error);
    return std::nullopt;
  }
  spec.only = std::move(*selection);
  return spec;
}

void ask_to_stop(int signal) {
  stop_asked = true;
  std::signal(signal, SIG_DFL);
}

bool run(const CaptureSpec& capture, Tracker& tracker, const std::function<void()>& after_each) {
  std::string error;
  const auto reader = CaptureReader::open(capture, error);
  if (reader == nullptr) {
    complain(error);
    return false;
  }
  if (capture.live) {
    fmt::print(stderr, "aoe-pcap: listening on {}; ^C ends it with the report\n", capture.path);
  }
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker.on_frame(frame);
    if (after_each) {
      after_each();
    }
  }
  tracker.finish();
  return told_of(*reader);
}

bool write_out(const std::string& path, const std::string& content) {
  if (path.empty()) {
    std::fwrite(content.data(), 1, content.size(), stdout);
    return true;
  }
  output::write_file(path, content);
  return true;
}

bool adjust_allowed(const std::vector<std::string>& ignore, const std::vector<std::string>& strict,
                    DifferenceSet& allowed) {
  for (const auto* list : {&ignore, &strict}) {
    for (const std::string& name : *list) {
      const Difference d = find_difference(name);
      if (d == Difference::count) {
        std::string names;
        for (std::size_t i = 0; i < kDifferences; ++i) {
          names += std::string(i == 0 ? "" : ", ") + difference_name(static_cast<Difference>(i));
        }
        complain(fmt::format("{}: no difference has that name; there are {}", name, names));
        return false;
      }
      allowed[static_cast<std::size_t>(d)] = list == &ignore;
    }
  }
  return true;
}

void add_only(CLI::App& command, std::vector<std::string>& only) {
  command.add_option("--only", only,
                     "target=e1.1, initiator=MAC, vlan=N, frames=A-B, time=FROM/TO; repeatable");
}

}  // namespace pcaps
