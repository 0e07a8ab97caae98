// The model as a target that is started and ended.

#include "conformance/control/model_control.h"

namespace conformance::control {

void ModelControl::start(State state) {
  ++starts_;
  if (state == State::fresh) {
    deviants::ModelTarget& model = link_.model();
    model.config_string = observer::bytes_of(model.config.config_string);
    model.mask.clear();
    model.reserved.clear();
  }
  link_.restart();
}

void ModelControl::set_buffers(std::optional<uint64_t> buffers) {
  link_.model().config.buffer_count = buffers ? static_cast<uint16_t>(*buffers) : own_buffers_;
}

}  // namespace conformance::control
