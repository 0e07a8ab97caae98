#pragma once
// The model as a target that is started and ended: in virtual time, on the same disk.

#include "conformance/control/target_control.h"
#include "conformance/deviants/model_link.h"

namespace conformance::control {

class ModelControl final : public TargetControl {
 public:
  explicit ModelControl(deviants::ModelLink& link)
      : link_(link), own_buffers_(link.model().config.buffer_count) {}

  bool restarts() const override { return true; }
  void start(State state) override;
  void stop() override {}  // it ends and comes back in one moment, with start
  void crash() override {}
  bool takes_buffers() const override { return true; }
  void set_buffers(std::optional<uint64_t> buffers) override;

  uint64_t starts() const { return starts_; }

 private:
  deviants::ModelLink& link_;
  uint16_t own_buffers_;
  uint64_t starts_ = 0;
};

}  // namespace conformance::control
