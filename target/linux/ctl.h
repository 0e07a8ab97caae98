// aoe-target ctl: asks a running target through its control socket and prints the answer for people
// or, as it came, for programs. It owns the client's side of that socket; it must never know what a
// target does with a question.
#pragma once

#include <string>
#include <vector>

namespace target::linux_shell {

struct CtlOptions {
  std::string socket;
  std::vector<std::string> words;  // the question
  bool json = false;
};

// Exit code: 0 answered, 1 the target refused or failed, 2 nobody could be asked.
int ctl(const CtlOptions& options);

}  // namespace target::linux_shell
