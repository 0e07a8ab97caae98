// What keeps a target from starting: one line for the person who started it, naming the thing that
// failed and what to do. It owns the wording of errno and nothing else.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace target::linux_shell {

class StartError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline std::string errno_text(int error) {
  return std::generic_category().message(error);
}

}  // namespace target::linux_shell
