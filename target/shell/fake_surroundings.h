// Surroundings of a shell for its tests: everything in memory, every answer scripted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "target/shell/surroundings.h"

namespace target::shell::test {

using Bytes = std::vector<std::byte>;

class FakeClock final : public Clock {
 public:
  Nanoseconds now() override { return time; }
  Nanoseconds time = 1'000'000'000;
};

// A receive buffer of so many slots on each port.
class FakeIntake final : public Intake {
 public:
  explicit FakeIntake(std::size_t slots) : slots_(slots) {}
  bool arrive(Bytes frame, std::uint16_t port = 0) {
    if (rings[port].size() == slots_) {
      ++drops;
      return false;
    }
    rings[port].push_back(std::move(frame));
    return true;
  }
  std::uint32_t waiting(std::uint16_t port, std::uint32_t limit) override {
    return std::min(limit, static_cast<std::uint32_t>(rings[port].size()));
  }
  std::optional<std::span<const std::byte>> front(std::uint16_t port) override {
    return rings[port].front();
  }
  void pop(std::uint16_t port) override { rings[port].pop_front(); }

  std::deque<Bytes> rings[2];
  std::size_t drops = 0;

 private:
  std::size_t slots_;
};

// Takes frames as scripted, then everything.
class FakeSender final : public Sender {
 public:
  SendResult send(std::uint16_t /*port*/, std::span<const FrameView> frames) override {
    ++calls;
    SendResult result;
    for (const FrameView frame : frames) {
      const SendStop stop = refuse ? refuse(frame) : SendStop::none;
      if (stop != SendStop::none) {
        result.stop = stop;
        return result;
      }
      sent.emplace_back(frame.begin(), frame.end());
      ++result.taken;
    }
    return result;
  }
  SendStop (*refuse)(FrameView frame) = nullptr;
  std::vector<Bytes> sent;
  std::size_t calls = 0;
};

// Holds operations until the test ends them.
class FakeDisk final : public Disk {
 public:
  void start(std::span<const engine::DiskOp> operations) override {
    in_flight.insert(in_flight.end(), operations.begin(), operations.end());
  }
  void reap(std::vector<DiskCompletion>& completions) override {
    completions.insert(completions.end(), ended_.begin(), ended_.end());
    ended_.clear();
  }
  bool wants_retry() const override { return busy; }
  void end(std::size_t index, engine::DiskStatus status = engine::DiskStatus::ok) {
    ended_.push_back({in_flight.at(index).id, status});
    in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(index));
  }
  std::vector<engine::DiskOp> in_flight;
  bool busy = false;

 private:
  std::vector<DiskCompletion> ended_;
};

class FakeStore final : public Store {
 public:
  void start(const engine::Save& save) override { saves.push_back(save); }
  void reap(std::vector<DiskCompletion>& completions) override {
    completions.insert(completions.end(), ended_.begin(), ended_.end());
    ended_.clear();
  }
  void end(engine::DiskStatus status = engine::DiskStatus::ok) {
    ended_.push_back({saves.front().id, status});
    saves.erase(saves.begin());
  }
  std::vector<engine::Save> saves;

 private:
  std::vector<DiskCompletion> ended_;
};

class FakeNotes final : public Notes {
 public:
  void tell(const engine::Note& note, std::uint64_t left_out) override {
    told.push_back({note, left_out});
  }
  void tell_unsendable(std::uint16_t /*port*/, const wire::MacAddress& host,
                       std::size_t frame_bytes) override {
    unsendable.push_back({host, frame_bytes});
  }
  std::vector<std::pair<engine::Note, std::uint64_t>> told;
  std::vector<std::pair<wire::MacAddress, std::size_t>> unsendable;
};

}  // namespace target::shell::test
