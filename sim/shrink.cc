// Passes over the list of choices until none of them makes it smaller.
#include "sim/shrink.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sim {
namespace {

class Shrinker {
 public:
  Shrinker(const Schedule& schedule, const std::function<bool(const Schedule&)>& still_fails,
           std::uint64_t runs_max)
      : best_(schedule), still_fails_(still_fails), runs_max_(runs_max) {}

  ShrinkResult run() {
    bool smaller = true;
    while (smaller && runs_ < runs_max_) {
      smaller = false;
      smaller |= shorten([](Schedule & s) -> auto& { return s.frame_faults; });
      smaller |= shorten([](Schedule & s) -> auto& { return s.disk_faults; });
      smaller |= shorten([](Schedule & s) -> auto& { return s.host_events; });
      smaller |= drop_initiators();
      for (std::size_t i = 0; i < best_.initiators.size(); ++i) {
        smaller |= shorten_ops(i);
      }
      smaller |= plain_settings();
      smaller |= lower();
    }
    return {best_, runs_};
  }

 private:
  bool accept(Schedule candidate) {
    if (runs_ >= runs_max_ || candidate == best_) {
      return false;
    }
    ++runs_;
    if (!still_fails_(candidate)) {
      return false;
    }
    best_ = std::move(candidate);
    return true;
  }

  // Takes out runs of elements: half the list, a quarter, ... one.
  template <typename List>
  bool shorten(const List& list_of) {
    bool smaller = false;
    for (std::size_t chunk = std::max<std::size_t>(list_of(best_).size() / 2, 1); chunk > 0;
         chunk /= 2) {
      for (std::size_t at = 0; at < list_of(best_).size();) {
        Schedule candidate = best_;
        auto& list = list_of(candidate);
        const std::size_t end = std::min(at + chunk, list.size());
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(at),
                   list.begin() + static_cast<std::ptrdiff_t>(end));
        if (accept(std::move(candidate))) {
          smaller = true;
        } else {
          at += chunk;
        }
      }
    }
    return smaller;
  }

  // Without an operation the frames after it have other numbers: tried as it is, and with the
  // verdicts moved by as many frames as the operation had.
  bool shorten_ops(std::size_t initiator) {
    bool smaller = false;
    for (std::size_t chunk = std::max<std::size_t>(best_.initiators[initiator].ops.size() / 2, 1);
         chunk > 0; chunk /= 2) {
      for (std::size_t at = 0; at < best_.initiators[initiator].ops.size();) {
        if (drop_ops(initiator, at, chunk)) {
          smaller = true;
        } else {
          at += chunk;
        }
      }
    }
    return smaller;
  }

  bool drop_ops(std::size_t initiator, std::size_t at, std::size_t chunk) {
    Schedule candidate = best_;
    InitiatorSpec& spec = candidate.initiators[initiator];
    const std::size_t end = std::min(at + chunk, spec.ops.size());
    std::uint32_t frames = 0;
    for (std::size_t i = at; i < end; ++i) {
      const Op& op = spec.ops[i];
      const auto most = static_cast<std::uint32_t>(std::max<std::int64_t>(spec.frame_sectors, 1));
      frames += op.kind == OpKind::wait || op.kind == OpKind::skip
                    ? 0
                    : std::max<std::uint32_t>((op.sectors + most - 1) / most, 1);
    }
    spec.ops.erase(spec.ops.begin() + static_cast<std::ptrdiff_t>(at),
                   spec.ops.begin() + static_cast<std::ptrdiff_t>(end));
    if (accept(candidate)) {
      return true;
    }
    for (const std::uint32_t moved : {frames, std::uint32_t{1}}) {
      Schedule shifted = candidate;
      for (FrameFault& fault : shifted.frame_faults) {
        fault.index -= std::min(fault.index, moved);
      }
      if (moved != 0 && accept(std::move(shifted))) {
        return true;
      }
    }
    return false;
  }

  bool drop_initiators() {
    bool smaller = false;
    for (std::size_t at = best_.initiators.size(); at-- > 0 && best_.initiators.size() > 1;) {
      Schedule candidate = best_;
      const auto host = static_cast<std::uint32_t>(at + 1);
      candidate.initiators.erase(candidate.initiators.begin() + static_cast<std::ptrdiff_t>(at));
      std::erase_if(candidate.frame_faults,
                    [&](const FrameFault& fault) { return fault.link / 2 == host; });
      std::erase_if(candidate.host_events,
                    [&](const HostEvent& event) { return event.host == host; });
      for (FrameFault& fault : candidate.frame_faults) {
        fault.link -= fault.link / 2 > host ? 2 : 0;
      }
      for (HostEvent& event : candidate.host_events) {
        event.host -= event.host > host ? 1 : 0;
      }
      smaller |= accept(std::move(candidate));
    }
    return smaller;
  }

  bool plain_settings() {
    bool smaller = false;
    const Settings fallback;
#define AOE_SIM_SHRINK_SETTING(name, value)   \
  if (best_.settings.name != fallback.name) { \
    Schedule candidate = best_;               \
    candidate.settings.name = fallback.name;  \
    smaller |= accept(std::move(candidate));  \
  }
    AOE_SIM_SETTINGS(AOE_SIM_SHRINK_SETTING)
#undef AOE_SIM_SHRINK_SETTING
    const InitiatorSpec plain;
    for (std::size_t i = 0; i < best_.initiators.size(); ++i) {
#define AOE_SIM_SHRINK_INITIATOR(name, value)   \
  if (best_.initiators[i].name != plain.name) { \
    Schedule candidate = best_;                 \
    candidate.initiators[i].name = plain.name;  \
    smaller |= accept(std::move(candidate));    \
  }
      AOE_SIM_INITIATOR_SETTINGS(AOE_SIM_SHRINK_INITIATOR)
#undef AOE_SIM_SHRINK_INITIATOR
    }
    return smaller;
  }

  // Tries 0, then ever smaller steps down.
  template <typename Number, typename Reference>
  bool lower_number(const Reference& number_of, Number floor) {
    bool smaller = false;
    for (Number step = number_of(best_) - floor; step > 0; step /= 2) {
      while (number_of(best_) >= floor + step) {
        Schedule candidate = best_;
        number_of(candidate) -= step;
        if (!accept(std::move(candidate))) {
          break;
        }
        smaller = true;
      }
    }
    return smaller;
  }

  // In whole units, so that a person reads them.
  template <typename Reference>
  bool lower_duration(const Reference& number_of) {
    for (const Nanoseconds unit : {kSecond, kMillisecond, 100 * kMicrosecond}) {
      const Nanoseconds now = number_of(best_);
      for (Nanoseconds units = 1; units <= 8 && units * unit < now; units *= 2) {
        Schedule candidate = best_;
        number_of(candidate) = units * unit;
        if (accept(std::move(candidate))) {
          return true;
        }
      }
      if (now % unit != 0) {
        Schedule candidate = best_;
        number_of(candidate) = now - now % unit;
        if (candidate.settings == best_.settings && accept(std::move(candidate))) {
          return true;
        }
      }
    }
    return false;
  }

  bool lower() {
    bool smaller = false;
    for (std::size_t i = 0; i < best_.frame_faults.size(); ++i) {
      const FrameFaultKind kind = best_.frame_faults[i].kind;
      const auto amount = [i](Schedule& s) -> std::int64_t& { return s.frame_faults[i].amount; };
      if (kind == FrameFaultKind::delay || kind == FrameFaultKind::duplicate) {
        smaller |= lower_duration(amount);
      } else {
        smaller |= lower_number<std::int64_t>(amount, 0);
      }
    }
    for (std::size_t i = 0; i < best_.disk_faults.size(); ++i) {
      const auto amount = [i](Schedule& s) -> std::int64_t& { return s.disk_faults[i].amount; };
      if (best_.disk_faults[i].kind == DiskFaultKind::delay) {
        smaller |= lower_duration(amount);
      }
    }
    for (std::size_t i = 0; i < best_.host_events.size(); ++i) {
      smaller |= lower_duration([i](Schedule& s) -> std::int64_t& { return s.host_events[i].at; });
    }
    for (std::size_t i = 0; i < best_.initiators.size(); ++i) {
      for (std::size_t k = 0; k < best_.initiators[i].ops.size(); ++k) {
        smaller |= lower_op(i, k);
      }
    }
    return smaller;
  }

  bool lower_op(std::size_t i, std::size_t k) {
    bool smaller = false;
    const OpKind kind = best_.initiators[i].ops[k].kind;
    const auto op_of = [i, k](Schedule& s) -> Op& { return s.initiators[i].ops[k]; };
    if (kind == OpKind::wait) {
      return lower_duration([&](Schedule& s) -> std::int64_t& { return op_of(s).amount; });
    }
    if (kind == OpKind::skip || kind == OpKind::coalesced || kind == OpKind::congestion ||
        kind == OpKind::set_config || kind == OpKind::garbage) {
      smaller |= lower_number<std::int64_t>(
          [&](Schedule& s) -> std::int64_t& { return op_of(s).amount; }, 0);
    }
    if (kind == OpKind::congestion) {
      smaller |= lower_number<std::uint32_t>(
          [&](Schedule& s) -> std::uint32_t& { return op_of(s).sectors; }, 1);
    }
    if (kind == OpKind::read || kind == OpKind::write || kind == OpKind::coalesced) {
      smaller |= lower_number<std::uint32_t>(
          [&](Schedule& s) -> std::uint32_t& { return op_of(s).sectors; }, 1);
      smaller |= lower_number<std::uint64_t>(
          [&](Schedule& s) -> std::uint64_t& { return op_of(s).lba; }, 0);
    }
    return smaller;
  }

  Schedule best_;
  const std::function<bool(const Schedule&)>& still_fails_;
  std::uint64_t runs_max_;
  std::uint64_t runs_ = 0;
};

}  // namespace

ShrinkResult shrink(const Schedule& schedule,
                    const std::function<bool(const Schedule&)>& still_fails,
                    std::uint64_t runs_max) {
  return Shrinker(schedule, still_fails, runs_max).run();
}

}  // namespace sim
