#pragma once
// The target as a child process of the suite: started from a command with placeholders, ended in
// order or killed, and started again. It never outlives the suite, and Ctrl-C on the terminal does
// not reach it: its state is to be put back.

#include <sys/types.h>

#include <map>
#include <string>

namespace conformance {

// Replaces {name} by its value. Throws std::runtime_error naming a placeholder that does not exist.
std::string fill_placeholders(const std::string& command,
                              const std::map<std::string, std::string>& values);

class TargetProcess {
 public:
  explicit TargetProcess(std::string command) : command_(std::move(command)) {}
  TargetProcess(const TargetProcess&) = delete;
  TargetProcess& operator=(const TargetProcess&) = delete;
  ~TargetProcess() { kill_now(); }

  void start(const std::string& more = {});  // with further options; throws std::runtime_error
  void end();                                // SIGTERM, and SIGKILL when it does not end by itself
  void kill_now();                           // SIGKILL
  bool running();
  // "ended with exit code 1", "was killed by signal 11"; empty while it runs.
  const std::string& how_it_ended() const { return ended_; }
  const std::string& command() const { return command_; }

 private:
  bool wait_end(int wait_ms);
  std::string command_;
  pid_t pid_ = -1;
  std::string ended_;
};

}  // namespace conformance
