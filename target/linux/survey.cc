// Judges options against the machine: see survey.h.
#include "target/linux/survey.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <map>
#include <utility>

#include "target/engine/ata_device.h"
#include "target/engine/lists.h"
#include "target/linux/image.h"
#include "target/linux/interface.h"
#include "target/linux/packet_ring.h"
#include "target/linux/privileges.h"
#include "target/linux/start_error.h"
#include "target/linux/state_store.h"
#include "target/linux/worker_disk.h"

namespace target::linux_shell {
namespace {

std::string known_interfaces() {
  std::string text;
  for (const auto& name : interface_names()) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text.empty() ? "there is none here" : "there are " + text;
}

// 0: the kernel does not say.
std::uint64_t available_memory_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string word;
  while (in >> word) {
    if (word == "MemAvailable:") {
      std::uint64_t kibibytes = 0;
      in >> kibibytes;
      return kibibytes * 1024;
    }
  }
  return 0;
}

// Whether what memory holds of the file can be read in the loop, without a thread.
bool reads_without_waiting(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<std::byte, engine::kSectorBytes> sector;
  const iovec piece{sector.data(), sector.size()};
  FileCalls calls;
  return !fd.valid() || calls.read_cached(fd.get(), {&piece, 1}, 0) != -EOPNOTSUPP;
}

// What its requests and its memory come to, in the words of docs/tuning.md.
std::string image_fact(const ExportOptions& one) {
  const bool behind = one.direct && one.durability == Durability::flush && !one.read_only;
  std::string memory = "the page cache";
  if (one.direct && one.cache_bytes == 0) {
    memory = "no cache";
  } else if (one.direct) {
    memory = fmt::format("{} MiB of memory for read-ahead{}", one.cache_bytes >> 20,
                         behind ? " and write-behind" : "");
  }
  const char* promise = one.read_only                         ? "read-only"
                        : one.durability == Durability::flush ? "a write is durable at a flush"
                                                              : "an answered write is durable";
  return fmt::format("{}: {}: {}, {}", one.where, one.file, memory, promise);
}

void survey_image(const ExportOptions& one, Survey& result) {
  try {
    const auto size = measure_image(one.file, one.read_only);
    if (size.rest_bytes > 0) {
      result.warnings.push_back(
          fmt::format("{}: {}: the last {} bytes are no whole sector of 512 and are not exported",
                      one.where, one.file, size.rest_bytes));
    }
    result.facts.push_back(image_fact(one));
    if (!one.direct && !reads_without_waiting(one.file)) {
      result.facts.push_back(
          fmt::format("{}: {}: its file system cannot read without waiting: threads do every read",
                      one.where, one.file));
    }
  } catch (const StartError& error) {
    result.problems.push_back(fmt::format("{}: {}", one.where, error.what()));
  }
}

// What the lock of the image would refuse at the start (image.cc): one writer, or readers alone.
void survey_sharing(const Options& options, Survey& result) {
  struct User {
    const ExportOptions* first;
    bool writes;
  };
  std::map<std::pair<dev_t, ino_t>, User> users;
  for (const auto& one : options.exports) {
    struct stat facts {};
    if (::stat(one.file.c_str(), &facts) != 0) {
      continue;
    }
    const auto [other, is_new] =
        users.emplace(std::pair(facts.st_dev, facts.st_ino), User{&one, !one.read_only});
    if (!is_new && (other->second.writes || !one.read_only)) {
      result.problems.push_back(
          fmt::format("{}: {}: is exported already by {}: only read-only exports may share an "
                      "image",
                      one.where, one.file, other->second.first->where));
    }
  }
}

std::uint64_t survey_interfaces(const ExportOptions& one, Survey& result) {
  std::uint64_t ring_bytes = 0;
  for (const auto& name : one.interfaces) {
    const auto facts = look_up_interface(name);
    if (!facts) {
      result.problems.push_back(
          fmt::format("{}: interface {} does not exist: {}", one.where, name, known_interfaces()));
    } else if (!facts->ethernet) {
      result.problems.push_back(
          fmt::format("{}: interface {} is not Ethernet, and AoE is Ethernet only: {}", one.where,
                      name, known_interfaces()));
    } else if (facts->mtu < kMtuMin || facts->mtu > kMtuMax) {
      result.problems.push_back(fmt::format(
          "{}: interface {} has an MTU of {}: AoE needs {} to {}: ip link set {} mtu 1500",
          one.where, name, facts->mtu, kMtuMin, kMtuMax, name));
    } else {
      const auto bytes = ring_layout(facts->mtu, one.buffer_count).bytes();
      ring_bytes += bytes;
      const auto sectors = engine::sectors_max(static_cast<std::uint16_t>(facts->mtu), false);
      result.facts.push_back(fmt::format(
          "{}: interface {}: MTU {}, {} sector{} a request, {} slots, {} KiB of locked memory",
          one.where, name, facts->mtu, sectors, sectors == 1 ? "" : "s", one.buffer_count,
          bytes >> 10));
      if (!facts->up) {
        result.warnings.push_back(
            fmt::format("{}: interface {} is down: ip link set {} up", one.where, name, name));
      }
    }
  }
  return ring_bytes;
}

// What was saved at a larger MTU has to fit the replies of today's.
void survey_fit(const ExportOptions& one, const engine::PersistentState& state, Survey& result) {
  for (const auto& name : one.interfaces) {
    const auto facts = look_up_interface(name);
    if (!facts || facts->mtu < kMtuMin) {
      continue;
    }
    const auto limits =
        engine::list_limits(static_cast<std::uint16_t>(std::min(facts->mtu, kMtuMax)));
    if (state.config_string.size() > limits.config_bytes) {
      result.problems.push_back(fmt::format(
          "{}: the config string saved in {} has {} bytes, and a reply on {} with its MTU of {} "
          "carries {}: raise the MTU, or remove the saved state",
          one.where, one.state_dir, state.config_string.size(), name, facts->mtu,
          limits.config_bytes));
    }
  }
}

void survey_state(const ExportOptions& one, Survey& result) {
  if (one.state_dir.empty()) {
    return;
  }
  if (::access(one.state_dir.c_str(), W_OK | X_OK) != 0) {
    result.problems.push_back(fmt::format(
        "{}: state directory {}: {}: create it, and let the user who runs aoe-target write there",
        one.where, one.state_dir, errno_text(errno)));
    return;
  }
  try {
    const auto directory = open_state_directory(one.state_dir);
    const auto state = StateStore(*directory, one.state_dir, one.shelf, one.slot).load();
    survey_fit(one, state, result);
  } catch (const StartError& error) {
    result.problems.push_back(fmt::format("{}: {}", one.where, error.what()));
  }
}

}  // namespace

Survey survey(const Options& options) {
  Survey result;
  std::uint64_t ring_bytes = 0;
  for (const auto& one : options.exports) {
    survey_image(one, result);
    ring_bytes += survey_interfaces(one, result);
    survey_state(one, result);
  }
  survey_sharing(options, result);
  // The rings are memory of the kernel that nobody can swap out.
  const auto available_bytes = available_memory_bytes();
  if (available_bytes > 0 && ring_bytes > available_bytes / 2) {
    result.problems.push_back(
        fmt::format("the receive buffers need {} MiB, more than half of the {} MiB of memory "
                    "available: choose a smaller buffer-count",
                    ring_bytes >> 20, available_bytes >> 20));
  }
  if (!options.user.empty()) {
    const auto found = find_account(options.user);
    if (const auto* problem = std::get_if<std::string>(&found)) {
      result.problems.push_back(*problem);
    }
  }
  if (options.ready_fd >= 0 && ::fcntl(options.ready_fd, F_GETFD) < 0) {
    result.problems.push_back(
        fmt::format("ready-fd {} is not open: pass an open descriptor, as in --ready-fd 3 3>FILE",
                    options.ready_fd));
  }
  return result;
}

}  // namespace target::linux_shell
