// Nobody: a target that somebody else started.

#include "conformance/control/target_control.h"

namespace conformance::control {

namespace {
class Nobody final : public TargetControl {
 public:
  bool restarts() const override { return false; }
  void start(State /*state*/) override {}
  void stop() override {}
  void crash() override {}
};
}  // namespace

TargetControl& nobody() {
  static Nobody one;  // it has no state
  return one;
}

}  // namespace conformance::control
