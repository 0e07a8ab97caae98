#pragma once
// The target as something that the suite may start, end, kill and ask what became of it: one
// interface, whatever stands behind it (a child process, the model, the simulator's engine, or
// nobody: a target that somebody else started). Knows nothing of frames and of cases.

#include <cstdint>
#include <optional>
#include <string>

namespace conformance::control {

// What a start finds of what the target kept from before.
enum class State {
  kept,   // as after a power cut or an upgrade: its strings and lists, if it keeps any
  fresh,  // as on the first day: where it keeps them was emptied
};

class TargetControl {
 public:
  TargetControl() = default;
  TargetControl(const TargetControl&) = delete;
  TargetControl& operator=(const TargetControl&) = delete;
  virtual ~TargetControl() = default;

  // Whether the suite can end this target and start it again. Where it cannot, the five below are
  // not called.
  virtual bool restarts() const = 0;
  virtual void start(State state) = 0;  // throws std::runtime_error when it cannot be started
  virtual void stop() = 0;              // asks it to end, and waits until it has
  virtual void crash() = 0;             // ends it without a word
  // Whether the suite knows how to tell it a number of receive buffers; and that number, from the
  // next start on. nullopt: its own.
  virtual bool takes_buffers() const { return false; }
  virtual void set_buffers(std::optional<uint64_t> /*buffers*/) {}

  // "ended with exit code 1", "was killed by signal 11"; empty while it runs, or when nobody knows.
  virtual std::string fate() { return {}; }
  // What it has written to standard output and error since this was last asked.
  virtual std::string said() { return {}; }
};

// A target that somebody else started, and that nobody can start again.
TargetControl& nobody();

}  // namespace conformance::control
