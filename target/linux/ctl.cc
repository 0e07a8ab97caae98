// aoe-target ctl: see ctl.h.
#include "target/linux/ctl.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <thread>

#include "target/linux/fd.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kExitGood = 0;
constexpr int kExitRefused = 1;
constexpr int kExitNobody = 2;
constexpr int kAnswer_ms = 10'000;
constexpr int kClearTries = 100;
constexpr auto kClearPause = std::chrono::milliseconds(100);

// One connection; a line for a line. Throws StartError.
class Asker {
 public:
  explicit Asker(std::string path) : path_(std::move(path)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) {
      fail("the path is too long");
    }
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd_.valid() ||
        ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      fail(errno_text(errno) + ": is aoe-target running with --control, and are you its user?");
    }
  }

  std::string ask(const std::string& question) {
    const std::string line = question + "\n";
    if (::send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size())) {
      fail("it takes no question");
    }
    for (auto end = in_.find('\n');; end = in_.find('\n')) {
      if (end != std::string::npos) {
        std::string answer = in_.substr(0, end);
        in_.erase(0, end + 1);
        return answer;
      }
      pollfd waited{fd_.get(), POLLIN, 0};
      char buffer[4096];
      const int ready = ::poll(&waited, 1, kAnswer_ms);
      const ssize_t count = ready > 0 ? ::recv(fd_.get(), buffer, sizeof buffer, 0) : 0;
      if (ready == 0) {
        fail(fmt::format("no answer for {} s", kAnswer_ms / 1000));
      }
      if (ready > 0 && count <= 0) {
        fail("it hung up without an answer");
      }
      in_.append(buffer, static_cast<std::size_t>(count));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw StartError(fmt::format("control socket {}: {}", path_, why));
  }

  std::string path_;
  UniqueFd fd_;
  std::string in_;
};

std::string listed(const Json& list, const char* if_empty) {
  std::vector<std::string> words;
  for (const Json& one : list) {
    words.push_back(one.get<std::string>());
  }
  return words.empty() ? if_empty : fmt::format("{}", fmt::join(words, ", "));
}

// What somebody on the network chose must not move the cursor of whoever reads it.
std::string printable(const Json& one) {
  const auto text = one.at("config").get<std::string>();
  const auto hex = one.at("config_hex").get<std::string>();
  for (const char c : text) {
    if (c < 0x20 || c > 0x7E) {
      return "0x" + hex;
    }
  }
  return text.empty() ? "empty" : "\"" + text + "\"";
}

void print_show(const Json& answer) {
  for (const Json& one : answer.at("exports")) {
    const auto kept = one.at("state_dir").get<std::string>();
    fmt::print("{}\n  config   {}\n  mask     {}\n  reserve  {}\n  frozen   {}\n  kept in  {}\n",
               one.at("export").get<std::string>(), printable(one),
               listed(one.at("mask"), "empty: everybody is answered"),
               listed(one.at("reserve"), "empty: nobody has reserved it"),
               listed(one.at("freeze"), "nothing"),
               kept.empty() ? "nothing: a restart forgets it" : kept);
  }
}

void print_sessions(const Json& answer) {
  fmt::print("{:<10} {:<16} {:<18} {:<6} {}\n", "export", "interface", "initiator", "wrote",
             "features");
  for (const Json& one : answer.at("exports")) {
    for (const Json& session : one.at("sessions")) {
      fmt::print(
          "{:<10} {:<16} {:<18} {:<6} {}\n", one.at("export").get<std::string>(),
          session.at("interface").get<std::string>(), session.at("initiator").get<std::string>(),
          session.at("wrote").get<bool>() ? "yes" : "no", listed(session.at("features"), "none"));
    }
  }
}

// Every number on a line of its own, under its path: for grep.
void print_flat(const Json& value, const std::string& path) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      print_flat(inner, path.empty() ? key : path + "." + key);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      const Json& inner = value[i];
      const char* name = inner.contains("export") ? "export" : "interface";
      const std::string where =
          inner.contains(name) ? inner.at(name).get<std::string>() : std::to_string(i);
      print_flat(inner, path.empty() ? where : path == "exports" ? where : path + "." + where);
    }
  } else {
    fmt::print("{} {}\n", path, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

// An order that has to be saved ends later: waited for, so that "done" means durable.
std::string wait_for_clear(Asker& asker, std::string answer, const std::string& name) {
  for (int tries = 0; tries < kClearTries; ++tries) {
    const Json seen = Json::parse(answer);
    const Json& one = seen.contains("exports") ? seen.at("exports").at(0) : seen;
    if (one.at("status") != "under way") {
      return one.at("status").get<std::string>();
    }
    std::this_thread::sleep_for(kClearPause);
    answer = asker.ask("cleared " + name);
  }
  return "under way";
}

int clear(Asker& asker, const std::string& answer, bool json) {
  const Json first = Json::parse(answer);
  const auto name = first.at("export").get<std::string>();
  const std::string status = wait_for_clear(asker, answer, name);
  if (json) {
    Json told = first;
    told["status"] = status;
    fmt::print("{}\n", told.dump());
  } else if (status == "done") {
    fmt::print("{}: {} cleared\n", name, first.at("clear").get<std::string>());
  }
  if (status == "done") {
    return kExitGood;
  }
  fmt::print(stderr, "aoe-target: {}: {} was not cleared: {}\n", name,
             first.at("clear").get<std::string>(),
             status == "failed" ? "it could not be saved: the target's log says why"
                                : "its saving has not ended: is the disk of the state hung?");
  return kExitRefused;
}

}  // namespace

int ctl(const CtlOptions& options) {
  try {
    Asker asker(options.socket);
    const std::string question = fmt::format("{}", fmt::join(options.words, " "));
    const std::string answer = asker.ask(question);
    constexpr std::string_view kError = "error: ";
    if (answer.rfind(kError, 0) == 0) {
      fmt::print(stderr, "aoe-target: {}\n", answer.substr(kError.size()));
      return kExitRefused;
    }
    const std::string& what = options.words.front();
    if (what == "clear") {
      return clear(asker, answer, options.json);
    }
    if (options.json) {
      fmt::print("{}\n", answer);
    } else if (what == "show") {
      print_show(Json::parse(answer));
    } else if (what == "sessions") {
      print_sessions(Json::parse(answer));
    } else {
      print_flat(Json::parse(answer), "");
    }
    return kExitGood;
  } catch (const StartError& error) {
    fmt::print(stderr, "aoe-target: {}\n", error.what());
    return kExitNobody;
  } catch (const Json::exception& error) {
    fmt::print(stderr, "aoe-target: an answer that is none of ours: {}\n", error.what());
    return kExitNobody;
  }
}

}  // namespace target::linux_shell
