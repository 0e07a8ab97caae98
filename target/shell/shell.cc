// The loop around the engine: see shell.h.
#include "target/shell/shell.h"

#include <algorithm>
#include <cassert>

#include "target/wire/parse.h"

namespace target::shell {
namespace {

// No operation of the engine has it: its ids are numbers of slots.
constexpr std::uint32_t kLastFlushId = 0xFFFF'FFFC;

}  // namespace

Shell::Shell(const engine::EngineConfig& config, const Surroundings& surroundings,
             const ShellOptions& options)
    : around_(surroundings),
      slots_(config.buffer_count),
      allow_(config.allow),
      engine_(config),
      budget_(options.reply_budget, config.allow),
      share_(config.buffer_count),
      ports_(config.ports.size()) {
  assert(!config.persist || around_.store != nullptr);
  learn_who_is_known();
}

// Whom the operator allows, and whom a list names: they come first where not all can be served.
void Shell::learn_who_is_known() {
  std::vector<wire::MacAddress> known = allow_;
  const engine::PersistentState& state = engine_.state();
  known.insert(known.end(), state.mask_list.begin(), state.mask_list.end());
  known.insert(known.end(), state.reserve_list.begin(), state.reserve_list.end());
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  for (Port& port : ports_) {
    port.queue.set_known(known);
  }
}

void Shell::on_frames(std::uint16_t port) {
  ports_[port].readable = true;
}

void Shell::on_writable(std::uint16_t port) {
  ports_[port].queue.flush(port, around_);
}

void Shell::on_new_port(std::uint16_t port) {
  Port& changed = ports_[port];
  changed.batch_left = 0;
  changed.readable = true;
  changed.holding = false;
  changed.queue.lose_everything();
}

bool Shell::send_idle() const {
  return std::all_of(ports_.begin(), ports_.end(),
                     [](const Port& port) { return port.queue.frames() == 0; });
}

void Shell::start_last_flush() {
  assert(disk_idle());
  const engine::DiskOp flush{kLastFlushId, engine::DiskOpKind::flush, 0, 0, {}};
  ++at_disk_;
  around_.disk.start({&flush, 1});
}

bool Shell::work() {
  const Nanoseconds now = around_.clock.now();
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    if (ports_[i].queue.retry_at() <= now) {
      ports_[i].queue.flush(i, around_);
    }
  }
  completions_.clear();
  reap();
  if (engine_.next_deadline() <= now) {
    engine_.on_timer(now);
    if (around_.witness != nullptr) {
      around_.witness->after_event(engine_);
    }
  }
  flush_outbox();
  bool more = false;
  for (std::uint16_t i = 0; i < ports_.size() && !stopping_; ++i) {
    Port& port = ports_[i];
    if ((port.readable || port.holding) && engine_.intake_open()) {
      take_frames(i);
      flush_outbox();
    }
    more = more || port.readable || port.holding;
  }
  return more && intake_open();
}

void Shell::take_frames(std::uint16_t index) {
  Port& port = ports_[index];
  if (port.holding) {
    around_.intake.pop(index);
    --port.batch_left;
    port.holding = false;
  }
  if (port.batch_left == 0) {
    // What waits at this moment has waited together; what comes while it is served has not.
    port.batch_left = around_.intake.waiting(index, slots_);
    port.batch = ++batches_;
    port.turn = std::max(kLeastFramesPerTurn, port.batch_left / kTurnsPerBatch);
  }
  std::uint32_t turn = std::min({port.batch_left, port.turn, most_per_turn_});
  frames_taken_ += turn;
  const Nanoseconds now = turn > 0 ? around_.clock.now() : 0;
  while (turn-- > 0) {
    if (const auto bytes = around_.intake.front(index); bytes && share_.admit(*bytes, now)) {
      const engine::FrameIn frame{index, port.batch, *bytes, now};
      if (around_.witness != nullptr) {
        around_.witness->before(frame);
      }
      engine_.on_frame(frame);
      if (around_.witness != nullptr) {
        around_.witness->after_event(engine_);
      }
    }
    if (!engine_.intake_open()) {
      // Its slot stays taken: the buffer holds exactly buffer_count frames, this one included.
      port.holding = true;
      return;
    }
    around_.intake.pop(index);
    --port.batch_left;
  }
  port.readable = port.batch_left > 0 || around_.intake.waiting(index, 1) > 0;
}

void Shell::reap() {
  around_.disk.reap(completions_);
  const std::size_t from_disk = completions_.size();
  if (around_.store != nullptr) {
    around_.store->reap(completions_);
  }
  at_disk_ -= from_disk;
  saving_ -= completions_.size() - from_disk;
  for (const DiskCompletion& one : completions_) {
    if (one.id == kLastFlushId) {
      last_flush_ = one.status;
      continue;
    }
    share_.ended(one.id);
    const engine::DiskDone done{one.id, one.status, around_.clock.now()};
    if (around_.witness != nullptr) {
      around_.witness->before(done);
    }
    engine_.on_disk_done(done);
    if (around_.witness != nullptr) {
      around_.witness->after_event(engine_);
    }
  }
}

// In this order: what takes time is started before what is quick. Again while operations end at
// once, for there is no reason to go round the loop for them.
void Shell::flush_outbox() {
  do {
    completions_.clear();
    const engine::Outbox& outbox = engine_.outbox();
    at_disk_ += outbox.disk_ops.size();
    for (const engine::DiskOp& operation : outbox.disk_ops) {
      share_.started(operation);
    }
    around_.disk.start(outbox.disk_ops);
    saving_ += outbox.saves.size();
    for (const engine::Save& save : outbox.saves) {
      around_.store->start(save);
    }
    send_frames();
    tell_notes();
    if (around_.witness != nullptr) {
      around_.witness->after_flush(outbox);
    }
    engine_.clear_outbox();
    const engine::Counters& counters = engine_.counters();
    if (counters.mask_edits + counters.reserve_changes != lists_changed_) {
      lists_changed_ = counters.mask_edits + counters.reserve_changes;
      learn_who_is_known();
    }
    reap();
  } while (!completions_.empty());
  disk_retry_ = around_.disk.wants_retry() ? around_.clock.now() + kDiskRetry_ns : kNever;
}

void Shell::send_frames() {
  const Nanoseconds now =
      budget_.limits() && !engine_.outbox().frames.empty() ? around_.clock.now() : 0;
  for (const engine::FrameOut& frame : engine_.outbox().frames) {
    if (!budget_.limits() ||
        budget_.admit(wire::load_mac(frame.bytes, 0), frame.bytes.size(), now)) {
      ports_[frame.port].outgoing.push_back(frame.bytes);
    }
  }
  for (std::uint16_t i = 0; i < ports_.size(); ++i) {
    Port& port = ports_[i];
    if (!port.outgoing.empty()) {
      port.queue.send(i, port.outgoing, around_);
      port.outgoing.clear();
    }
  }
}

void Shell::tell_notes() {
  if (around_.notes == nullptr || engine_.outbox().notes.empty()) {
    return;
  }
  const Nanoseconds now = around_.clock.now();
  for (const engine::Note& note : engine_.outbox().notes) {
    if (const auto left_out = note_limit_.admit(note.kind, now)) {
      around_.notes->tell(note, *left_out);
    }
  }
}

Nanoseconds Shell::deadline() const {
  Nanoseconds earliest = std::min({engine_.next_deadline(), disk_retry_, around_.disk.deadline()});
  for (const Port& port : ports_) {
    earliest = std::min(earliest, port.queue.retry_at());
  }
  return earliest;
}

}  // namespace target::shell
