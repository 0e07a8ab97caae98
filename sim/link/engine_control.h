#pragma once
// The reference target's engine as a target that the suite starts and ends: in virtual time, on the
// same disk, with what was saved.

#include "conformance/control/target_control.h"
#include "sim/link/engine_link.h"

namespace sim::link {

class EngineControl final : public conformance::control::TargetControl {
 public:
  explicit EngineControl(EngineLink& engine) : engine_(engine), own_buffers_(engine.buffers()) {}

  bool restarts() const override { return true; }
  void start(conformance::control::State state) override {
    if (state == conformance::control::State::fresh) {
      engine_.forget();
    }
    engine_.restart();
  }
  void stop() override {}  // it ends and comes back in one moment, with start
  void crash() override {}
  bool takes_buffers() const override { return true; }
  void set_buffers(std::optional<std::uint64_t> buffers) override {
    engine_.set_buffers(buffers.value_or(own_buffers_));
  }

 private:
  EngineLink& engine_;
  std::uint64_t own_buffers_;
};

}  // namespace sim::link
