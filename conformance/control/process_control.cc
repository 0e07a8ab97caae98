// A target that is started from a command.

#include "conformance/control/process_control.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>

namespace conformance::control {

namespace fs = std::filesystem;

StateDirectory::~StateDirectory() {
  if (!path_.empty()) {
    std::error_code nobody_is_told;
    fs::remove_all(path_, nobody_is_told);
  }
}

const std::string& StateDirectory::path() {
  if (path_.empty()) {
    const char* const tmp = std::getenv("TMPDIR");
    std::string name =
        fmt::format("{}/aoe-conformance-state-XXXXXX", tmp != nullptr && *tmp != 0 ? tmp : "/tmp");
    if (mkdtemp(name.data()) == nullptr) {
      throw std::runtime_error(
          fmt::format("{}: the target's {{state}} directory cannot be made: {} (see TMPDIR)", name,
                      std::strerror(errno)));
    }
    path_ = name;
  }
  return path_;
}

void StateDirectory::empty() {
  if (path_.empty()) {
    return;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
    fs::remove_all(entry.path());
  }
}

namespace {
std::string filled(const ProcessControl::Command& command, StateDirectory& state) {
  auto values = command.values;
  if (command.line.find("{state}") != std::string::npos) {
    values["state"] = state.path();
  }
  return fill_placeholders(command.line, values);
}
}  // namespace

ProcessControl::ProcessControl(const Command& command)
    : buffers_option_(command.buffers), process_(filled(command, state_), command.log) {
  if (!buffers_option_.empty() && buffers_option_.find("{buffers}") == std::string::npos) {
    throw std::runtime_error(
        fmt::format("--target-buffers '{}': {{buffers}} says where the number stands "
                    "(--target-buffers '--buffer-count {{buffers}}')",
                    buffers_option_));
  }
}

void ProcessControl::start(State state) {
  if (state == State::fresh) {
    state_.empty();
  }
  std::string more;
  if (buffers_) {
    const std::string_view here = "{buffers}";
    more = " " + buffers_option_;
    for (size_t at = 0; (at = more.find(here, at)) != std::string::npos;) {
      more.replace(at, here.size(), std::to_string(*buffers_));
    }
  }
  process_.start(more);
}

std::string ProcessControl::fate() {
  return process_.running() ? std::string() : process_.how_it_ended();
}

}  // namespace conformance::control
