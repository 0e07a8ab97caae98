// A Link to the model target in process, in virtual time.

#include "conformance/deviants/model_link.h"

#include <algorithm>

namespace conformance::deviants {

namespace {
Deviant conforming() {
  return spoils("none", "conforms",
                [](const Bytes& request, ModelTarget&, const Forward& f) { return f(request); });
}

ModelConfig configured(ModelConfig config, const Deviant& deviant) {
  if (deviant.configure) {
    deviant.configure(config);
  }
  return config;
}
}  // namespace

ModelLink::ModelLink(ModelConfig config) : ModelLink(std::move(config), conforming()) {}

ModelLink::ModelLink(ModelConfig config, const Deviant& deviant)
    : model_(configured(std::move(config), deviant)),
      deviant_(deviant),
      middleware_(deviant.make()) {}

void ModelLink::restart() {
  queue_.clear();
  disk_free_at_ns_ = now_ns_;
  model_.restart();
  middleware_ = deviant_.make();
  if (deviant_.on_restart) {
    deviant_.on_restart(model_);
  }
  free_at_ns_ = now_ns_;
  const Bytes hello = model_.announcement();
  // What a target says by itself passes its deviant like an answer to nobody.
  for (Answer& a : middleware_(hello, model_, [&](const Bytes&) { return Answers{{hello, 0}}; })) {
    to_us_.insert({now_ns_ + kWireNs + a.delay_ns, order_++, std::move(a.bytes)});
  }
}

void ModelLink::send(BytesView frame) {
  // Serve what is due before this frame arrives, so that the queue's length is true.
  while (next_service_ns() && *next_service_ns() <= now_ns_) {
    serve_one();
  }
  // The probe that began a pause keeps its buffer until it is answered.
  const size_t held = model_.paused_until_ns > now_ns_ ? 1 : 0;
  if (queue_.size() + held < model_.config.buffer_count) {
    queue_.emplace_back(now_ns_ + kWireNs, Bytes(frame.begin(), frame.end()));
  }
  now_ns_ += kWireNs / 4;  // a sender is quicker than the target, as on real links
}

std::optional<int64_t> ModelLink::next_service_ns() const {
  if (queue_.empty()) {
    return std::nullopt;
  }
  return std::max({queue_.front().first, free_at_ns_, model_.paused_until_ns});
}

void ModelLink::serve_one() {
  const int64_t at_ns = *next_service_ns();
  const Bytes frame = std::move(queue_.front().second);
  queue_.pop_front();
  Answers answers = middleware_(
      frame, model_, [&](const Bytes& request) { return model_.on_frame(request, at_ns); });
  // Nothing else has arrived: what is ready goes out, past the deviant like any other answer.
  if (queue_.empty() || queue_.front().first > at_ns + ModelTarget::kServiceNs) {
    for (const Answer& ready : model_.send_results()) {
      for (Answer& a :
           middleware_(ready.bytes, model_, [&](const Bytes&) { return Answers{ready}; })) {
        answers.push_back(std::move(a));
      }
    }
  }
  free_at_ns_ = at_ns + ModelTarget::kServiceNs;
  const auto ata = static_cast<uint8_t>(observer::get(frame, observer::F::ata_command).value_or(0));
  const bool writes = observer::get(frame, observer::F::command) == observer::command::ata &&
                      observer::is_ata_write(ata) && model_.config.write_ns > 0;
  int64_t late_ns = 0;
  if (writes) {
    disk_free_at_ns_ = std::max(disk_free_at_ns_, at_ns) + model_.config.write_ns;
    late_ns = disk_free_at_ns_ - at_ns;
  }
  for (const Answer& a : answers) {
    to_us_.insert({at_ns + late_ns + a.delay_ns + kWireNs, order_++, a.bytes});
  }
}

std::optional<links::ReceivedFrame> ModelLink::receive(int64_t deadline_ns) {
  for (;;) {
    const auto service = next_service_ns();
    const bool reply_first = !to_us_.empty() && (!service || to_us_.begin()->at_ns <= *service);
    const int64_t next = reply_first ? to_us_.begin()->at_ns : service.value_or(INT64_MAX);
    if (next > deadline_ns && next > now_ns_) {
      now_ns_ = std::max(now_ns_, deadline_ns);
      return std::nullopt;
    }
    now_ns_ = std::max(now_ns_, next);
    if (!reply_first) {
      serve_one();
      continue;
    }
    auto node = to_us_.extract(to_us_.begin());
    return links::ReceivedFrame{std::move(node.value().bytes), now_ns_};
  }
}

}  // namespace conformance::deviants
