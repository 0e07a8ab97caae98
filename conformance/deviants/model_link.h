#pragma once
// A Link to the model target in process: virtual time, a receive queue as long as the buffer count
// says, one frame served after the other. Waiting costs nothing. Owns the clock and the queue; the
// protocol is the model's.

#include <deque>

#include "conformance/deviants/model_target.h"
#include "conformance/links/link.h"

namespace conformance::deviants {

class ModelLink : public links::Link {
 public:
  explicit ModelLink(ModelConfig config = {});
  ModelLink(ModelConfig config, const Deviant& deviant);

  void send(BytesView frame) override;
  std::optional<links::ReceivedFrame> receive(int64_t deadline_ns) override;
  int64_t now_ns() override { return now_ns_; }
  Mac mac() const override { return {0x02, 0xae, 0, 0, 0, 0x01}; }
  size_t mtu() const override { return model_.config.mtu; }
  std::string name() const override { return "model"; }

  ModelTarget& model() { return model_; }
  // The target program dies and comes back on the same disk, and announces itself.
  void restart();

 private:
  struct Event {
    int64_t at_ns;
    uint64_t order;
    Bytes bytes;
    bool operator<(const Event& o) const {
      return at_ns != o.at_ns ? at_ns < o.at_ns : order < o.order;
    }
  };
  static constexpr int64_t kWireNs = 2'000;

  // When the target will do something next, if it will.
  std::optional<int64_t> next_service_ns() const;
  void serve_one();

  ModelTarget model_;
  Deviant deviant_;
  Middleware middleware_;
  int64_t now_ns_ = 1'000'000'000'000'000'000;  // some moment in 2001, so that captures have a date
  int64_t free_at_ns_ = 0;
  int64_t disk_free_at_ns_ = 0;
  uint64_t order_ = 0;
  std::deque<std::pair<int64_t, Bytes>> queue_;  // arrived at the target, in order
  std::set<Event> to_us_;
};

}  // namespace conformance::deviants
