// Sockets, the clock, waiting.

#include "conformance/initiator/live.h"

#include <poll.h>
#include <sys/random.h>

#include <algorithm>
#include <ctime>

namespace conformance::initiator {

Wires::Wires(const Where& where) {
  for (const std::string& interface : where.interfaces) {
    const InterfaceFacts facts = interface_facts(interface);
    OwnAddress own = where.own ? OwnAddress(facts, *where.own) : OwnAddress(facts);
    auto socket = std::make_unique<FrameSocket>(interface, own.mac());
    const size_t mtu = where.mtu_max == 0 ? facts.mtu : std::min(facts.mtu, where.mtu_max);
    wires_.push_back({std::move(own), mtu, std::move(socket)});
  }
}

std::vector<PathConfig> Wires::paths() const {
  std::vector<PathConfig> out;
  for (const Wire& wire : wires_) {
    out.push_back({wire.own.mac(), wire.mtu});
  }
  return out;
}

void Wires::wait(int64_t until_ns, int wake) {
  std::vector<pollfd> descriptors;
  for (const Wire& wire : wires_) {
    descriptors.push_back({wire.socket->descriptor(), POLLIN, 0});
  }
  if (wake >= 0) {
    descriptors.push_back({wake, POLLIN, 0});
  }
  const int64_t left_ns = std::max<int64_t>(0, until_ns - now_ns());
  const timespec time{left_ns / links::kNsPerSecond, left_ns % links::kNsPerSecond};
  ppoll(descriptors.data(), descriptors.size(), &time, nullptr);
}

int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * links::kNsPerSecond + t.tv_nsec + 1;
}

uint32_t random_tag() {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    value = static_cast<uint32_t>(now_ns());
  }
  return value;
}

uint32_t tag_of_now() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  constexpr uint64_t tags_per_us = 8;
  const auto us =
      static_cast<uint64_t>(t.tv_sec) * 1'000'000U + static_cast<uint64_t>(t.tv_nsec) / 1'000U;
  return static_cast<uint32_t>(us * tags_per_us);
}

namespace {
Config with_paths(Config config, const Wires& wires) {
  config.paths = wires.paths();
  return config;
}
}  // namespace

Live::Live(Wires& wires, Config config)
    : wires_(wires),
      initiator_(with_paths(std::move(config), wires)),
      outgoing_(wires.all().size()) {}

void Live::send() {
  initiator_.run(now_ns());
  if (initiator_.frames().empty()) {
    return;
  }
  for (const Initiator::Outgoing& out : initiator_.frames()) {
    outgoing_[out.path].push_back(out.frame);
  }
  for (size_t path = 0; path < outgoing_.size(); ++path) {
    if (!outgoing_[path].empty()) {
      wires_.all()[path].socket->send(outgoing_[path]);
      outgoing_[path].clear();
    }
  }
  initiator_.frames().clear();
}

void Live::turn(int64_t until_ns, int wake) {
  send();
  const auto take_in = [&] {
    bool any = false;
    for (size_t path = 0; path < wires_.all().size(); ++path) {
      const auto& frames = wires_.all()[path].socket->receive();
      const int64_t now = frames.empty() ? 0 : now_ns();
      for (const BytesView frame : frames) {
        initiator_.on_frame(path, frame, now);
        any = true;
      }
    }
    return any;
  };
  if (take_in() || !initiator_.completions().empty()) {
    return;
  }
  if (const auto deadline = initiator_.next_deadline_ns()) {
    until_ns = std::min(until_ns, *deadline);
  }
  wires_.wait(until_ns, wake);
  take_in();
}

bool Live::connect(int64_t until_ns, const volatile std::sig_atomic_t* stop) {
  while (!initiator_.ready()) {
    if (now_ns() >= until_ns || (stop != nullptr && *stop != 0)) {
      return false;
    }
    turn(until_ns);
  }
  return true;
}

}  // namespace conformance::initiator
