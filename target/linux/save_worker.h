// Saves the state of a target by a thread, for making a file durable waits for a disk. One save at
// a time, as the engine asks for them, with a rest between them. It must never know what the state
// means.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "target/linux/fd.h"
#include "target/linux/state_store.h"
#include "target/shell/surroundings.h"

namespace target::linux_shell {

// A save begins no sooner than this after the last one ended, nor than that one took: saves never
// take more than half of the time of the disk that the state lies on.
inline constexpr engine::Nanoseconds kSaveRest_ns = 10'000'000;

class SaveWorker final : public shell::Store {
 public:
  // store is borrowed, and the thread's alone while a save is under way. Throws StartError.
  explicit SaveWorker(StateStore& store);
  // Waits for a save that is under way.
  ~SaveWorker() override;
  SaveWorker(const SaveWorker&) = delete;
  SaveWorker& operator=(const SaveWorker&) = delete;

  // With the privileges that the process keeps. Throws StartError.
  void start_thread();
  void start(const engine::Save& save) override;
  void reap(std::vector<shell::DiskCompletion>& completions) override;

  // Readable when a save has ended.
  [[nodiscard]] int event_fd() const { return event_fd_.get(); }
  // Why the last one that was reaped failed.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }
  [[nodiscard]] std::uint64_t saves() const { return saves_; }
  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  // Since when the one under way has been.
  [[nodiscard]] std::optional<engine::Nanoseconds> under_way() const { return since_; }

 private:
  void work();

  StateStore& store_;
  UniqueFd event_fd_;
  std::optional<engine::Nanoseconds> since_;
  std::string last_error_;
  std::uint64_t saves_ = 0;
  std::uint64_t failures_ = 0;

  // Shared with the thread.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<engine::Save> wanted_;
  std::optional<shell::DiskCompletion> ended_;
  std::string error_;
  engine::Nanoseconds rest_until_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace target::linux_shell
