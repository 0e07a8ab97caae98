#pragma once
// The target as a child process of the suite: started from a command with placeholders, ended in
// order or killed, and started again; what it says is kept. It never outlives the suite, and Ctrl-C
// on the terminal does not reach it: its state is to be put back.

#include <sys/types.h>

#include <map>
#include <string>

namespace conformance::control {

// Replaces {name} by its value. Throws std::runtime_error naming a placeholder that does not exist.
std::string fill_placeholders(const std::string& command,
                              const std::map<std::string, std::string>& values);

class TargetProcess {
 public:
  // `log`: a file that gets all that it writes to standard output and error; none when empty.
  // Throws std::runtime_error when it cannot be made.
  explicit TargetProcess(std::string command, const std::string& log = {});
  TargetProcess(const TargetProcess&) = delete;
  TargetProcess& operator=(const TargetProcess&) = delete;
  ~TargetProcess();

  void start(const std::string& more = {});  // with further options; throws std::runtime_error
  void end();                                // SIGTERM, and SIGKILL when it does not end by itself
  void kill_now();                           // SIGKILL
  bool running();
  // "ended with exit code 1", "was killed by signal 11"; empty while it runs.
  const std::string& how_it_ended() const { return ended_; }
  const std::string& command() const { return command_; }
  // What it has written to standard output and error since this was last asked; of a long text the
  // beginning and the end.
  std::string what_it_said();

 private:
  bool wait_end(int wait_ms);
  std::string command_;
  int said_ = -1;    // an unnamed file that it writes to
  off_t heard_ = 0;  // how much of that was read
  int log_ = -1;
  pid_t pid_ = -1;
  std::string ended_;
};

}  // namespace conformance::control
