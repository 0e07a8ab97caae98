#pragma once
// A target that is started from a command: the child process, the directory where it may keep its
// state, and how it is told a number of buffers.

#include "conformance/control/process.h"
#include "conformance/control/target_control.h"

namespace conformance::control {

// A directory of our own for {state}: made when it is first asked for, emptied for a fresh start,
// kept for a restart, removed with its owner.
class StateDirectory {
 public:
  StateDirectory() = default;
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;
  ~StateDirectory();

  // Makes it when there is none yet, below $TMPDIR. Throws std::runtime_error.
  const std::string& path();
  void empty();

 private:
  std::string path_;
};

class ProcessControl final : public TargetControl {
 public:
  struct Command {
    std::string line;                           // with placeholders
    std::map<std::string, std::string> values;  // of all but {state}
    std::string buffers;  // what is added for another number of buffers, {buffers} in it; empty: no
                          // such thing
    std::string log;      // gets all that it says; empty: nobody does
  };
  // Throws std::runtime_error: an unknown placeholder, a log or a directory that cannot be made.
  explicit ProcessControl(const Command& command);

  bool restarts() const override { return true; }
  void start(State state) override;
  void stop() override { process_.end(); }
  void crash() override { process_.kill_now(); }
  bool takes_buffers() const override { return !buffers_option_.empty(); }
  void set_buffers(std::optional<uint64_t> buffers) override { buffers_ = buffers; }
  std::string fate() override;
  std::string said() override { return process_.what_it_said(); }

 private:
  StateDirectory state_;
  std::string buffers_option_;
  TargetProcess process_;
  std::optional<uint64_t> buffers_;
};

}  // namespace conformance::control
