// What a case works with. All waiting goes through the Link.

#include "conformance/cases/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/cases/no_reply.h"
#include "conformance/links/gate.h"

namespace conformance {

using links::kNsPerMs;
using links::kNsPerUs;
using links::ReceivedFrame;
using observer::get;

namespace {

constexpr size_t kEthernetHeader = 14;
constexpr unsigned kAttempts = 3;
constexpr int64_t kGraceMinNs = 2 * kNsPerMs;
constexpr int64_t kGraceMaxNs = 200 * kNsPerMs;
constexpr int64_t kPatienceMinNs = 30 * kNsPerMs;
constexpr int64_t kPatienceMaxNs = 1000 * kNsPerMs;
constexpr int64_t kWriteWaitMinNs = 1000 * kNsPerMs;
constexpr int64_t kBarrierWaitNs = 1500 * kNsPerMs;  // above the pause of a congestion probe
constexpr unsigned kBarrierAttempts = 3;
constexpr int64_t kStartWaitNs = 5 * links::kNsPerSecond;
constexpr int64_t kPutBackMaxNs = 10 * links::kNsPerSecond;  // after an interruption

Mac destination_of(BytesView frame) {
  Mac mac{};
  std::copy_n(frame.begin(), mac.size(), mac.begin());
  return mac;
}

bool is_reply_to(BytesView frame, const Mac& mac) {
  return observer::is_aoe(frame) && observer::is_reply(frame) && destination_of(frame) == mac;
}

uint32_t tag_of(BytesView frame) {
  return static_cast<uint32_t>(get(frame, F::tag).value_or(0));
}

}  // namespace

Scratch default_scratch(uint64_t disk_sectors) {
  constexpr uint64_t below = 2048;
  constexpr uint64_t beyond_28 = 64;
  const uint64_t reached = std::min(disk_sectors, kLba28End);
  const uint64_t first = reached - std::min(reached, below);
  return {first, std::min(disk_sectors, reached + beyond_28) - first};
}

uint64_t Exchange::field(F id) const {
  return reply ? get(*reply, id).value_or(~uint64_t{0}) : ~uint64_t{0};
}

bool Exchange::is_error() const {
  return reply && field(F::flag_error) == 1;
}

Bytes Exchange::data() const {
  if (!reply || reply->size() <= observer::at::ata_data) {
    return {};
  }
  const size_t n =
      std::min(observer::ata_data_bytes(request), reply->size() - observer::at::ata_data);
  const auto from = reply->begin() + observer::at::ata_data;
  return {from, from + static_cast<ptrdiff_t>(n)};
}

namespace seen {
bool no_error(const Exchange& x) {
  return x.answered() && !x.is_error();
}
bool good_ata(const Exchange& x) {
  if (!no_error(x) || x.reply->size() < observer::at::ata_data) {
    return false;
  }
  const uint64_t status = x.field(F::ata_status);
  return (status & observer::ata::status_drdy) != 0 &&
         (status & (observer::ata::status_err | observer::ata::status_df)) == 0;
}
static bool ata_error(const Exchange& x, uint8_t bit) {
  return no_error(x) && x.reply->size() >= observer::at::ata_data &&
         (x.field(F::ata_status) & observer::ata::status_err) != 0 &&
         (x.field(F::ata_error) & bit) != 0;
}
bool ata_abort(const Exchange& x) {
  return ata_error(x, observer::ata::error_abrt);
}
bool ata_idnf(const Exchange& x) {
  return ata_error(x, observer::ata::error_idnf);
}
Outcomes::Test aoe_error(uint8_t code) {
  return [code](const Exchange& x) { return x.is_error() && x.error() == code; };
}
}  // namespace seen

// --- Initiator ---------------------------------------------------------------------------------

uint32_t Initiator::next_tag() {
  return context_.shared_.tag++;
}

Bytes Initiator::stamp(Frame frame) {
  if (frame.is_raw()) {
    return frame.bytes();
  }
  if (!frame.is_set(F::eth_dst)) {
    frame.dst(context_.facts_.mac);
  }
  if (!frame.is_set(F::eth_src)) {
    frame.src(mac_);
  }
  const auto fill = [&](F id, uint64_t value) {
    if (!frame.is_set(id) &&
        frame.size() >= observer::field(id).offset + observer::field(id).size) {
      frame.set(id, value);
    }
  };
  fill(F::shelf, context_.facts_.shelf);
  fill(F::slot, context_.facts_.slot);
  if (!frame.is_set(F::tag)) {
    fill(F::tag, next_tag());
  }
  if (frame.pads()) {
    frame.grow(observer::kMinFrameBytes);
  }
  return frame.bytes();
}

void Initiator::send_bytes(const Bytes& bytes) {
  context_.transmit(bytes);
}

Bytes Initiator::send(Frame frame) {
  Bytes bytes = stamp(std::move(frame));
  context_.transmit(bytes);
  return bytes;
}

Exchange Initiator::exchange(const Bytes& request, unsigned attempts) {
  Exchange x;
  x.request = request;
  const uint32_t tag = tag_of(request);
  const auto take = [&] {
    auto& inbox = context_.inbox_;
    for (auto it = inbox.begin(); it != inbox.end();) {
      if (!is_reply_to(it->bytes, mac_)) {
        ++it;
        continue;
      }
      if (!x.reply && tag_of(it->bytes) == tag) {
        x.reply = it->bytes;
        x.replied_ns = it->at_ns;
      } else if (context_.shared_.tags_sent.count(tag_of(it->bytes)) == 0) {
        x.strays.push_back(it->bytes);
      }
      it = inbox.erase(it);
    }
    return x.answered();
  };
  const auto forget_old = [&] {
    auto& inbox = context_.inbox_;
    inbox.erase(std::remove_if(inbox.begin(), inbox.end(),
                               [&](const ReceivedFrame& f) { return is_reply_to(f.bytes, mac_); }),
                inbox.end());
    context_.odd_.clear();
  };
  forget_old();
  // A disk may be slow, and a barrier may overtake it: ATA commands are waited for, longer each
  // time. All others are answered from memory: once a barrier behind them is answered, nothing more
  // will come.
  const bool waits = get(request, F::command) == observer::command::ata;
  const bool writes = waits && observer::is_ata_write(
                                   static_cast<uint8_t>(get(request, F::ata_command).value_or(0)));
  int64_t wait_ns = context_.patience_ns();
  bool gone = false;
  for (unsigned i = 0; i < attempts && !gone; ++i) {
    x.sent_ns = context_.now_ns();
    ++x.sent;
    context_.transmit(request);
    if (i > 0 && !waits && x.strays.empty()) {
      gone = !context_.barrier();
      wait_ns = gone ? 0 : context_.grace_ns();
    }
    if (writes && attempts > 1 && i + 1 == attempts) {  // a disk may have become slow meanwhile
      wait_ns = std::max(wait_ns, context_.scaled(kWriteWaitMinNs));
    }
    context_.pump(context_.now_ns() + wait_ns, take);
    if (x.answered()) {
      context_.ledger_.settle(request, attempts);
      if (writes && seen::good_ata(x)) {
        // Of one that was asked again: since the last time. A lost one is no slow one.
        context_.note_write(x.replied_ns - x.sent_ns);
      }
      return x;
    }
    for (Bytes& odd : context_.take_odd(request)) {
      x.strays.push_back(std::move(odd));
    }
    wait_ns = std::min(2 * wait_ns, std::max(wait_ns, context_.scaled(kPatienceMaxNs)));
  }
  // Silence is the target's answer only when the target is there: something came back, or a barrier
  // does.
  if (x.strays.empty() && (gone || !context_.barrier())) {
    throw CaseEnd(Verdict::inconclusive,
                  fmt::format("no answer to this request, nor to a read from another address: the "
                              "target or the link is gone ({})",
                              observer::summary(request)));
  }
  take();
  context_.ledger_.settle(request, attempts);
  return x;
}

Exchange Initiator::ask(Frame frame) {
  return exchange(stamp(std::move(frame)), kAttempts);
}
Exchange Initiator::ask_firmly(Frame frame) {
  constexpr unsigned attempts = 8;
  return exchange(stamp(std::move(frame)), attempts);
}
void Initiator::tell(Frame frame) {
  constexpr unsigned attempts = 4;
  const Bytes request = stamp(std::move(frame));
  for (unsigned i = 0; i < attempts; ++i) {
    context_.transmit(request);
    if (await_tag(tag_of(request), context_.patience_ns())) {
      break;
    }
  }
  context_.ledger_.settle(request, attempts);
}
Exchange Initiator::ask_once(Frame frame) {
  return exchange(stamp(std::move(frame)), 1);
}

std::vector<ReceivedFrame> Initiator::collect(size_t count, int64_t quiet_ns) {
  std::vector<ReceivedFrame> got;
  int64_t last_ns = context_.now_ns();
  const auto take = [&] {
    auto& inbox = context_.inbox_;
    for (auto it = inbox.begin(); it != inbox.end() && got.size() < count;) {
      if (is_reply_to(it->bytes, mac_)) {
        last_ns = std::max(last_ns, it->at_ns);
        got.push_back(std::move(*it));
        it = inbox.erase(it);
      } else {
        ++it;
      }
    }
    return got.size() >= count;
  };
  while (!take() && context_.now_ns() < last_ns + quiet_ns) {
    context_.pump(last_ns + quiet_ns, take);
  }
  return got;
}

std::optional<ReceivedFrame> Initiator::await_tag(uint32_t tag, int64_t wait_ns) {
  std::optional<ReceivedFrame> found;
  context_.pump(context_.now_ns() + wait_ns, [&] {
    auto& inbox = context_.inbox_;
    for (auto it = inbox.begin(); it != inbox.end(); ++it) {
      if (is_reply_to(it->bytes, mac_) && tag_of(it->bytes) == tag) {
        found = std::move(*it);
        inbox.erase(it);
        return true;
      }
    }
    return false;
  });
  return found;
}

// --- Context -----------------------------------------------------------------------------------

Context::Context(links::Link& link, TargetFacts& facts, Scratch scratch, Settings settings)
    : tap_(link), facts_(facts), scratch_(scratch), settings_(settings) {
  guard_.ask([this](BytesView frame) { refuse_harm(frame); });
  tap_.watch(
      [this](bool outgoing, int64_t at_ns, BytesView frame) { log(outgoing, at_ns, frame); });
  Mac mac = link.mac();
  mac[0] = static_cast<uint8_t>((mac[0] | 0x02) & ~0x01);
  mac[1] ^= 0xfe;
  shared_.prober = std::make_unique<Initiator>(*this, mac);
}

const Mac& Context::prober_mac() {
  return shared_.prober->mac();
}

Initiator& Context::initiator(size_t n) {
  while (shared_.initiators.size() <= n) {
    const size_t i = shared_.initiators.size();
    Mac mac = link_.mac();
    if (i > 0) {  // locally administered addresses beside the interface's own
      mac[0] = static_cast<uint8_t>((mac[0] | 0x02) & ~0x01);
      mac[1] = static_cast<uint8_t>(mac[1] ^ i);
      mac[2] = static_cast<uint8_t>(mac[2] ^ (i >> 8) ^ 0xa0);
    }
    shared_.initiators.push_back(std::make_unique<Initiator>(*this, mac));
  }
  return *shared_.initiators[n];
}

uint8_t Context::sectors_max() const {
  const uint64_t fit = (link_.mtu() + 14 - observer::at::ata_data) / observer::kSectorBytes;
  return static_cast<uint8_t>(std::min<uint64_t>({fit, facts_.max_sectors(), 255}));
}

int64_t Context::scaled(int64_t ns) const {
  return static_cast<int64_t>(static_cast<double>(ns) * settings_.time_scale);
}
// On a link that makes answers late, both are as long as the latest has lately been away.
int64_t Context::grace_ns() const {
  return std::max(scaled(std::clamp(4 * rtt_ns_, kGraceMinNs, kGraceMaxNs)), ledger_.lateness_ns());
}
int64_t Context::patience_ns() const {
  return std::max({scaled(std::clamp(20 * rtt_ns_, kPatienceMinNs, kPatienceMaxNs)), disk_wait_ns(),
                   ledger_.lateness_ns() + ledger_.lateness_ns() / 4});
}
// One slow write does not slow the rest of the run.
void Context::note_write(int64_t ns) {
  constexpr size_t remembered = 32;
  writes_ns_.push_back(ns);
  if (writes_ns_.size() > remembered) {
    writes_ns_.pop_front();
  }
  write_ns_ = *std::max_element(writes_ns_.begin(), writes_ns_.end());
}
int64_t Context::disk_wait_ns() const {
  constexpr int64_t times = 4;
  return scaled(times * write_ns_);
}

// The last line of defence of somebody's data, whatever a case means to send: nothing that changes
// a neighbour, and no write to a sector outside the scratch range, in any of the ways that targets
// are known to read an LBA.
void Context::refuse_harm(BytesView frame) const {
  if (!observer::is_aoe(frame)) {
    return;
  }
  const std::string permission(links::permission_for(frame));
  if (!permission.empty() && shared_.allowed.count(permission) == 0) {
    throw CaseEnd(Verdict::skip, fmt::format("would send what is not known to be harmless: needs "
                                             "--allow {} ({})",
                                             permission, observer::summary(frame)));
  }
  const uint64_t cmd = *get(frame, F::command);
  const auto ata = static_cast<uint8_t>(get(frame, F::ata_command).value_or(0));
  const bool writes = cmd == observer::command::ata && observer::is_ata_write(ata) &&
                      frame.size() >= observer::at::ata_data;
  const bool changes = writes ||
                       (cmd == observer::command::config &&
                        get(frame, F::cfg_ccmd).value_or(0) >= observer::ccmd::set) ||
                       (cmd == observer::command::mask &&
                        get(frame, F::mask_mcmd).value_or(0) != observer::mcmd::read) ||
                       (cmd == observer::command::reserve &&
                        get(frame, F::reserve_rcmd).value_or(0) != observer::rcmd::read);
  const uint64_t shelf = *get(frame, F::shelf);
  const uint64_t slot = *get(frame, F::slot);
  for (const auto& [other_shelf, other_slot] : shared_.neighbours) {
    if (changes && (shelf == other_shelf || shelf == 0xffff) &&
        (slot == other_slot || slot == 0xff)) {
      throw CaseEnd(Verdict::skip, fmt::format("would change another target on this link ({}.{})",
                                               other_shelf, other_slot));
    }
  }
  if (!writes) {
    return;
  }
  // Command and E flag both have their say in how wide the LBA is. A target that has not shown that
  // it keeps all of a 48-bit LBA may cut it.
  const bool flag48 = get(frame, F::ata_flag_extended).value_or(0) == 1;
  const bool surely28 = ata == observer::ata::write && !flag48;
  const bool surely48 = ata == observer::ata::write_ext && flag48 && shared_.keeps_lba48;
  const uint64_t count = *get(frame, F::ata_count);
  const auto refuse_outside = [&](uint64_t lba) {
    const uint64_t end = std::min(lba + count, facts_.sectors);
    if (lba < end && !scratch_.holds(lba, end - lba) && !is_harmless(frame, end - lba, lba)) {
      throw CaseEnd(Verdict::skip,
                    fmt::format("would write to sectors {} to {}, outside --scratch {}:{}", lba,
                                end - 1, scratch_.lba, scratch_.count));
    }
  };
  const uint64_t lba = *get(frame, F::ata_lba);
  if (!surely28) {
    refuse_outside(lba);
  }
  if (!surely48) {
    refuse_outside(lba % kLba28End);
  }
}

bool Context::is_harmless(BytesView frame, uint64_t sectors, uint64_t lba) const {
  for (uint64_t i = 0; i < sectors; ++i) {
    const auto stands = shared_.harmless.find(lba + i);
    const size_t at = observer::at::ata_data + i * observer::kSectorBytes;
    if (stands == shared_.harmless.end() || frame.size() < at + observer::kSectorBytes ||
        !std::equal(stands->second.begin(), stands->second.end(),
                    frame.begin() + static_cast<ptrdiff_t>(at))) {
      return false;
    }
  }
  return true;
}

void Context::obey_interruption() {
  if (!shared_.interrupted || !shared_.interrupted()) {
    return;
  }
  if (!uninterruptible_) {
    throw Interrupted();
  }
  if (!interrupted_ns_) {
    interrupted_ns_ = now_ns();
  }
  if (now_ns() - *interrupted_ns_ > kPutBackMaxNs) {
    throw CaseEnd(Verdict::inconclusive, fmt::format("interrupted, and not put back within {} s",
                                                     kPutBackMaxNs / links::kNsPerSecond));
  }
}

void Context::transmit(const Bytes& bytes) {
  obey_interruption();
  if (bytes.size() > frame_max()) {
    throw CaseEnd(Verdict::skip, fmt::format("needs an MTU of {}; this path carries {}",
                                             bytes.size() - kEthernetHeader, link_.mtu()));
  }
  if (get(bytes, F::mask_mcmd) == observer::mcmd::edit &&
      get(bytes, F::command) == observer::command::mask) {
    for (const auto& d : observer::mask_list(bytes).value_or(std::vector<observer::Directive>{})) {
      if (shared_.listed.insert(d.mac).second && shared_.on_listed) {
        shared_.on_listed(d.mac);
      }
    }
  }
  link_.send(bytes);
  constexpr size_t suspects_max = 64;
  if (shared_.since_last_reply.size() < suspects_max) {
    shared_.since_last_reply.push_back(bytes);
  }
  shared_.tags_sent.insert(tag_of(bytes));
  if (get(bytes, F::command) == observer::command::extension && bytes.size() >= 12) {
    Mac from{};
    std::copy_n(bytes.begin() + 6, from.size(), from.begin());
    shared_.negotiated[from] = true;
  }
  ++shared_.frames_sent;
}

// Every frame of the target's counts, and one of zeros, which can be nobody else's, too. What it
// asks by itself does not: it may be somebody's initiator.
void Context::take_in(ReceivedFrame frame) {
  const Bytes& b = frame.bytes;
  if (observer::is_aoe(b) && observer::is_reply(b)) {
    if (shared_.neighbours.count({*get(b, F::shelf), *get(b, F::slot)}) == 0) {
      shared_.since_last_reply.clear();
      inbox_.push_back(std::move(frame));
    }
    return;
  }
  constexpr size_t source = 6;
  const bool from_target = b.size() >= source + facts_.mac.size() &&
                           std::equal(facts_.mac.begin(), facts_.mac.end(), b.begin() + source);
  const bool asks = observer::is_aoe(b) && shared_.tags_sent.count(tag_of(b)) == 0;
  if (is_of_zeros(b) || (from_target && !asks)) {
    shared_.since_last_reply.clear();
    odd_.push_back(std::move(frame));
  }
}

bool Context::is_ours(const Mac& mac) const {
  return mac == shared_.prober->mac() ||
         std::any_of(shared_.initiators.begin(), shared_.initiators.end(),
                     [&](const auto& initiator) { return initiator->mac() == mac; });
}

std::vector<Bytes> Context::take_odd(const Bytes& request) {
  std::vector<Bytes> out;
  const uint32_t tag = tag_of(request);
  // On some links a frame comes back to its sender.
  const auto take = [&](std::vector<ReceivedFrame>& from, const auto& test) {
    for (auto it = from.begin(); it != from.end();) {
      if (it->bytes != request && test(it->bytes)) {
        out.push_back(std::move(it->bytes));
        it = from.erase(it);
      } else {
        ++it;
      }
    }
  };
  take(odd_, [&](const Bytes& b) { return !observer::is_aoe(b) || tag_of(b) == tag; });
  take(inbox_, [&](const Bytes& b) { return tag_of(b) == tag && !is_ours(destination_of(b)); });
  return out;
}

void Context::pump(int64_t until_ns, const std::function<bool()>& done) {
  constexpr int64_t look_every_ns = 20 * kNsPerMs;  // whether its process is still there
  bool ended = false;
  for (;;) {
    obey_interruption();
    if (done()) {
      return;
    }
    const int64_t look_ns = can_restart() ? now_ns() + look_every_ns : until_ns;
    auto frame = link_.receive(ended ? now_ns() : std::min(until_ns, look_ns));
    if (frame) {
      take_in(std::move(*frame));
      continue;
    }
    if (ended) {  // and what it had sent before has been looked at
      throw TargetGone();
    }
    if (now_ns() >= until_ns) {
      done();
      return;
    }
    ended = target_ended();
  }
}

void Context::sleep(int64_t ns) {
  pump(now_ns() + ns, [] { return false; });
}

bool Context::barrier() {
  Initiator& who = barrier_by_ != nullptr ? *barrier_by_ : *shared_.prober;
  const int64_t wait_ns = scaled(kBarrierWaitNs) / kBarrierAttempts;
  const std::vector<Bytes> suspects = shared_.since_last_reply;
  std::vector<Bytes> asked;
  for (unsigned i = 0; i < kBarrierAttempts; ++i) {
    const Bytes request = who.send(observer::read_request(0, 1));
    asked.push_back(request);
    bool alive = false;
    // Any reply to the asker is a sign of life: a target whose tags are wrong is not dead.
    const auto answered = [&] {
      auto it = std::find_if(inbox_.begin(), inbox_.end(), [&](const ReceivedFrame& f) {
        return is_reply_to(f.bytes, who.mac()) &&
               (tag_of(f.bytes) == tag_of(request) || barrier_by_ == nullptr);
      });
      if (it != inbox_.end()) {
        inbox_.erase(it);
        alive = true;
        return alive;
      }
      // Nor is one whose replies are none.
      for (auto* from : {&odd_, &inbox_}) {
        const auto badly = std::find_if(from->begin(), from->end(), [&](const ReceivedFrame& f) {
          return observer::is_aoe(f.bytes) && tag_of(f.bytes) == tag_of(request) &&
                 f.bytes != request && (from == &odd_ || !is_ours(destination_of(f.bytes)));
        });
        if (badly != from->end()) {
          from->erase(badly);
          alive = true;
          break;
        }
      }
      return alive;
    };
    try {
      pump(now_ns() + wait_ns, answered);
    } catch (const TargetGone&) {
      break;
    }
    if (alive) {
      ledger_.settle_signs(asked);
      return true;
    }
  }
  shared_.since_last_reply = suspects;  // the barrier's own reads did not kill it
  return false;
}

void Context::measure_link(unsigned rounds) {
  constexpr uint64_t together_max = 16;
  const uint64_t together = std::clamp<uint64_t>(facts_.buffer_count / 2, 1, together_max);
  for (unsigned i = 0; i < rounds; ++i) {
    std::vector<Bytes> asked;
    ledger_.measure(true);
    for (uint64_t n = 0; n < together; ++n) {
      asked.push_back(shared_.prober->send(observer::read_request(0, 1)));
    }
    shared_.prober->collect(together, patience_ns());
    ledger_.measure(false);
    for (const Bytes& request : asked) {
      ledger_.settle(request, 1);
    }
  }
}

void Context::wait_for_latecomers() {
  constexpr int64_t usual_ns = 50 * kNsPerMs;
  try {
    sleep(std::max(scaled(usual_ns), ledger_.lateness_max_ns() + ledger_.lateness_max_ns() / 4));
  } catch (const TargetGone&) {
    // nothing comes any more
  }
}

void Context::measure_rtt() {
  std::vector<int64_t> samples;
  constexpr int samples_wanted = 5;
  for (int i = 0; i < samples_wanted; ++i) {
    const int64_t start_ns = now_ns();
    if (barrier()) {
      samples.push_back(now_ns() - start_ns);
    }
  }
  if (!samples.empty()) {
    std::sort(samples.begin(), samples.end());
    rtt_ns_ = std::max<int64_t>(samples[samples.size() / 2], 10 * kNsPerUs);
  }
}

Verdict Context::broken() const {
  switch (level_) {
    case Level::must:
    case Level::interop:
      return Verdict::fail;
    case Level::should:
      return Verdict::warn;
    case Level::may:
      return Verdict::info;
  }
  return Verdict::fail;
}

std::vector<ShownFrame> Context::evidence(const Exchange* x, const Marks& marks) const {
  std::vector<ShownFrame> out;
  if (x == nullptr) {
    return out;
  }
  if (x->sent > 0) {  // not asked for, otherwise
    out.push_back({FrameRole::request, x->request, {}, x->sent_ns, x->sent});
  }
  if (x->reply) {
    out.push_back({FrameRole::reply, *x->reply, marks, x->replied_ns, 0});
  } else if (!x->strays.empty()) {
    out.push_back({FrameRole::stray, x->strays.front(), marks, 0, 0});
  }
  return out;
}

void Context::log(bool outgoing, int64_t at_ns, BytesView bytes) {
  const size_t own = outgoing ? 6 : 0;  // where our address stands
  const Mac& prober = shared_.prober->mac();
  const bool barrier = bytes.size() >= own + prober.size() &&
                       std::equal(prober.begin(), prober.end(), bytes.begin() + own);
  frames_.add({Bytes(bytes.begin(), bytes.end()), outgoing, at_ns,
               barrier    ? FrameRole::barrier
               : undoing_ ? FrameRole::undo
                          : FrameRole::setup});
}

void Context::fail(const std::string& headline, const std::string& expected, const std::string& got,
                   const Exchange* x, const Marks& marks) {
  findings_.push_back({broken(), clause_, headline, expected, got, evidence(x, marks)});
  throw CaseEnd(broken(), headline);
}

void Context::info(std::string text) {
  for (const Finding& f : findings_) {  // a loop that sees the same each time says it once
    if (f.verdict == Verdict::info && f.headline == text && f.clause == clause_) {
      return;
    }
  }
  findings_.push_back({Verdict::info, clause_, std::move(text), {}, {}, {}});
}

void Context::warn(std::string text, const Exchange* x, const Marks& marks) {
  findings_.push_back({Verdict::warn, clause_, std::move(text), {}, {}, evidence(x, marks)});
}

void Context::unsupported(std::string why) {
  throw CaseEnd(Verdict::unsupported, std::move(why));
}
void Context::inconclusive(std::string why) {
  throw CaseEnd(Verdict::inconclusive, std::move(why));
}

void Context::unsupported_if_refused(const Exchange& x, bool silence_too) {
  if (x.is_error() && x.error() == observer::aoe_error::bad_command) {
    unsupported("refused with error 1 (unrecognized command)");
  }
  if (silence_too && !x.answered()) {
    unsupported("met with silence");
  }
}

namespace {

// "status 0x00 without DRDY, error register 0x00": the bits by which initiators judge, by name.
std::string registers_of(const Exchange& x) {
  namespace ata = observer::ata;
  const uint64_t status = x.field(F::ata_status);
  std::string bits = (status & ata::status_drdy) == 0 ? " without DRDY" : "";
  constexpr uint8_t status_bsy = 0x80;
  for (const auto& [bit, name] : {std::pair{status_bsy, "BSY"},
                                  {ata::status_df, "DF"},
                                  {ata::status_drq, "DRQ"},
                                  {ata::status_err, "ERR"}}) {
    if ((status & bit) != 0) {
      bits += fmt::format("{} {}", bits.find("with ") == std::string::npos ? " with" : ",", name);
    }
  }
  return fmt::format("status {:#04x}{}, error register {:#04x}", status, bits,
                     x.field(F::ata_error));
}

// What a request asks for, beside the disk that it asks of.
std::string range_of(const Exchange& x, const TargetFacts& target) {
  const uint64_t lba = observer::get(x.request, F::ata_lba).value_or(0);
  const uint64_t count = observer::get(x.request, F::ata_count).value_or(0);
  return fmt::format("LBA {} and {} sector{} of a disk of {}", lba, count, count == 1 ? "" : "s",
                     target.sectors);
}

}  // namespace

const Bytes& Context::expect_answer(const Exchange& x) {
  if (!x.answered() && !x.strays.empty()) {
    const NoReply no = why_no_reply(x.request, x.strays.front());
    if (no.clause != "HDR-TAG") {  // else it is no reply whatever the case asks for
      clause_ = no.clause;
    }
    fail(no.what, no.expected, no.got, &x, no.marks);
  }
  if (!x.answered()) {
    fail("the target did not answer", fmt::format("a reply with tag {:#010x}", tag_of(x.request)),
         "silence, while a read from another address was answered", &x, {F::tag});
  }
  return *x.reply;
}

void Context::expect_field(const Exchange& x, F id, uint64_t value) {
  expect_answer(x);
  const observer::Field& f = observer::field(id);
  const auto got = get(*x.reply, id);
  if (!got) {
    fail(fmt::format("the reply ends before {}", f.name), fmt::format("{} = {:#x}", f.name, value),
         fmt::format("{} bytes", x.reply->size()), &x, {id});
  }
  if (*got != value) {
    fail(fmt::format("{} is wrong in the reply", f.name),
         fmt::format("{} = {} ({:#x})", f.name, value, value),
         fmt::format("{} = {} ({:#x})", f.name, *got, *got), &x, {id});
  }
}

void Context::expect_no_error(const Exchange& x) {
  expect_answer(x);
  if (x.is_error() || x.error() != 0) {
    fail("the request was refused", "no error (E clear, error code 0)",
         fmt::format("E = {}, error = {}", x.field(F::flag_error), x.error()), &x,
         {F::flag_error, F::error});
  }
}

void Context::expect_error(const Exchange& x, uint8_t code) {
  expect_answer(x);
  if (!x.is_error() || x.error() != code) {
    fail("the request was not refused as it should be", fmt::format("E set, error = {}", code),
         fmt::format("E = {}, error = {}", x.field(F::flag_error), x.error()), &x,
         {F::flag_error, F::error});
  }
}

void Context::expect_good_ata(const Exchange& x) {
  expect_no_error(x);
  if (!seen::good_ata(x)) {
    const bool failed = seen::ata_abort(x) || seen::ata_idnf(x);
    const bool ready = (x.field(F::ata_status) & observer::ata::status_drdy) != 0;
    fail(ready || failed ? "the ATA command did not succeed"
                         : "the reply to an ATA command lacks DRDY",
         seen::ata_idnf(x) ? "status with DRDY, without ERR and DF: " + range_of(x, facts_)
                           : "status with DRDY, without ERR and DF",
         registers_of(x), &x, {F::ata_status, F::ata_error});
  }
}

void Context::expect_ata_error(const Exchange& x, uint8_t error_bit) {
  expect_no_error(x);
  if (!seen::ata_error(x, error_bit)) {
    const bool idnf = error_bit == observer::ata::error_idnf;
    fail("the ATA command did not end with the right error",
         fmt::format("status with ERR, error register with {:#04x}{}", error_bit,
                     idnf ? " (IDNF): " + range_of(x, facts_) : ""),
         registers_of(x), &x, {F::ata_status, F::ata_error});
  }
}

void Context::expect_data(const Exchange& x, BytesView data) {
  expect_answer(x);
  const Bytes& r = *x.reply;
  if (r.size() < observer::at::ata_data + data.size()) {
    fail("the reply carries too little data", fmt::format("{} bytes of data", data.size()),
         fmt::format("{} bytes",
                     r.size() < observer::at::ata_data ? 0 : r.size() - observer::at::ata_data),
         &x, {observer::Mark(observer::at::ata_data, r.size())});
  }
  for (size_t i = 0; i < data.size(); ++i) {
    const size_t at = observer::at::ata_data + i;
    if (r[at] != data[i]) {
      fail("the data is wrong",
           fmt::format("byte {} of the data (sector {}): {}", i, i / observer::kSectorBytes,
                       observer::hex(data.subspan(i), 8)),
           observer::hex(BytesView(r).subspan(at), 8), &x, {observer::Mark(at, 1)});
    }
  }
}

void Context::expect_config_string(const Exchange& x, BytesView text) {
  expect_answer(x);
  const auto got = observer::config_string(*x.reply);
  const uint64_t length = x.field(F::cfg_length);
  const Marks marks{F::cfg_length, observer::Mark(observer::at::cfg_string, got ? got->size() : 1)};
  if (!got || length != text.size() ||
      !std::equal(text.begin(), text.end(), got->begin(), got->end())) {
    fail("the config string in the reply is wrong",
         fmt::format("{} ({} bytes)", observer::quoted(text), text.size()),
         got ? fmt::format("{} (length field {}, {} bytes in the frame)", observer::quoted(*got),
                           length, got->size())
             : "no config reply",
         &x, marks);
  }
}

void Context::expect_config_string(const Exchange& x, std::string_view text) {
  expect_config_string(x, BytesView(observer::bytes_of(text)));
}

void Context::expect_silence(Initiator& from, Frame frame) {
  expect_silence_bytes(from, from.stamp(std::move(frame)));
}

void Context::expect_silence_bytes(Initiator& from, const Bytes& bytes) {
  Exchange x;
  x.request = bytes;
  x.sent = 1;
  x.sent_ns = now_ns();
  const auto is_answer = [&](const ReceivedFrame& f) {
    if (!observer::is_aoe(f.bytes) || !observer::is_reply(f.bytes) || f.at_ns < x.sent_ns) {
      return false;
    }
    const Mac to = destination_of(f.bytes);
    if (shared_.prober && to == shared_.prober->mac()) {
      return false;
    }
    return tag_of(f.bytes) == tag_of(bytes) ||
           (to == from.mac() && shared_.tags_sent.count(tag_of(f.bytes)) == 0);
  };
  inbox_.clear();
  odd_.clear();
  transmit(bytes);
  const bool alive = barrier();
  pump(now_ns() + grace_ns(), [&] { return std::any_of(inbox_.begin(), inbox_.end(), is_answer); });
  const auto it = std::find_if(inbox_.begin(), inbox_.end(), is_answer);
  if (it == inbox_.end()) {
    x.strays = take_odd(bytes);
    if (!x.strays.empty()) {
      fail("the target answered what it must not answer", "silence",
           why_no_reply(bytes, x.strays.front()).what, &x);
    }
  }
  if (it != inbox_.end()) {
    x.reply = it->bytes;
    fail("the target answered what it must not answer", "silence", observer::summary(it->bytes),
         &x);
  }
  if (!alive) {
    throw CaseEnd(
        Verdict::inconclusive,
        fmt::format("silence, but a read from another address was not answered either ({})",
                    observer::summary(bytes)));
  }
}

void Context::expect_clean_padding(const Exchange& x, observer::Hints hints) {
  expect_answer(x);
  hints.request = &x.request;
  const Bytes& r = *x.reply;
  for (size_t i = observer::described_end(r, hints); i < r.size(); ++i) {
    const bool own = i < x.request.size() && r[i] == x.request[i];
    if (r[i] != 0 && !own) {
      fail("bytes that are not the sender's stand behind the end of the reply",
           "zeros, or the request's own bytes",
           fmt::format("byte {}: {}", i, observer::hex(BytesView(r).subspan(i), 16)), &x,
           {observer::Mark(i, r.size() - i)});
    }
  }
}

void Context::expect_not_planted(const Bytes& request, const Bytes& reply) {
  Exchange x;
  x.request = request;
  x.reply = reply;
  x.sent = 1;
  expect_not_planted(x);
}

void Context::expect_not_planted(const Exchange& x) {
  constexpr size_t piece = 6;  // shorter pieces arise by chance
  if (!x.reply || planted_.size() < piece) {
    return;
  }
  const Bytes& r = *x.reply;
  Bytes ring = planted_;
  ring.insert(ring.end(), planted_.begin(), planted_.end());  // a piece may begin anywhere
  for (size_t i = observer::at::argument; i + piece <= r.size(); ++i) {
    const auto from = r.begin() + static_cast<ptrdiff_t>(i);
    const auto found = std::search(ring.begin(), ring.end(), from, from + piece);
    if (found != ring.end()) {
      fail("another host's bytes are in the reply", "nothing that another source address sent",
           fmt::format("byte {}: {}", i, observer::quoted(BytesView(r).subspan(i), 24)), &x,
           {observer::Mark(i, piece)});
    }
  }
}

void Context::expect(bool holds, const Exchange& x, const std::string& expected,
                     const std::string& got, const Marks& marks) {
  if (!holds) {
    fail("expected " + expected, expected, got, &x, marks);
  }
}

void Context::expect(bool holds, const std::string& expected, const std::string& got) {
  if (!holds) {
    fail("expected " + expected, expected, got);
  }
}

void Context::judge(const Exchange& x, const Outcomes& outcomes, const Marks& marks) {
  std::string expected;
  for (const Outcomes::Outcome& o : outcomes.all()) {
    if (o.verdict == Verdict::pass || o.verdict == Verdict::info) {
      expected += (expected.empty() ? "" : "; or ") + o.seen;
    }
  }
  for (const Outcomes::Outcome& o : outcomes.all()) {
    if (!o.test(x)) {
      continue;
    }
    if (o.verdict == Verdict::pass) {
      return;
    }
    if (o.verdict == Verdict::info) {
      info(o.seen);
      return;
    }
    findings_.push_back({o.verdict, clause_, o.seen, expected, o.seen, evidence(&x, marks)});
    if (o.verdict == Verdict::fail) {
      throw CaseEnd(Verdict::fail, o.seen);
    }
    return;
  }
  if (!x.reply && !x.strays.empty()) {
    const NoReply no = why_no_reply(x.request, x.strays.front());
    fail(no.what, expected, no.got, &x, no.marks);
  }
  fail("none of the allowed answers", expected, x.reply ? observer::summary(*x.reply) : "silence",
       &x, marks);
}

const Bytes& Context::plant(Initiator& from) {
  // Sixteen bytes that nobody else sends, new each time, none of them zero.
  planted_ = observer::bytes_of(fmt::format("~Pl4nT{:06x}!oE~", ++plant_serial_));
  for (uint8_t& b : planted_) {
    b |= 0x80;  // not text: no config string and no sector of a test disk looks like it
  }
  const size_t full = frame_max();
  // An unknown command with a body that fills the frame, and a config read with a long tail.
  Frame unknown = observer::header_only(0xef);
  unknown.fill_after(observer::at::argument, planted_, full);
  if (may_send(unknown)) {
    from.ask(unknown);
  }
  Frame config = observer::config_request(observer::ccmd::read);
  config.fill_after(observer::at::cfg_string, planted_, full);
  from.ask(config);
  if (shared_.may_write && scratch_.count > 0) {
    const uint8_t count = static_cast<uint8_t>(std::min<uint64_t>(sectors_max(), scratch_.count));
    Bytes data(size_t{count} * observer::kSectorBytes);
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = planted_[i % planted_.size()];
    }
    from.ask(observer::write_request(scratch_.lba, data));
    from.ask(observer::read_request(scratch_.lba, count));
  }
  return planted_;
}

std::optional<Bytes> Context::restart_target(End end, control::State state) {
  if (!can_restart()) {
    throw CaseEnd(Verdict::skip, "needs --target-command: the suite cannot restart this target");
  }
  inbox_.clear();
  end == End::crash ? shared_.control->crash() : shared_.control->stop();
  shared_.control->start(state);
  return await_target(scaled(kStartWaitNs));
}

void Context::restart_with_buffers(uint64_t buffers) {
  if (!can_restart() || !shared_.control->takes_buffers()) {
    throw CaseEnd(Verdict::skip,
                  "needs a target whose number of buffers the suite knows how to set: "
                  "--target-buffers");
  }
  inbox_.clear();
  shared_.control->stop();
  shared_.control->set_buffers(buffers);
  shared_.control->start(control::State::kept);
  await_target(scaled(kStartWaitNs));
}

std::optional<Bytes> Context::await_target(int64_t wait_ns) {
  std::optional<Bytes> announcement;
  const int64_t until_ns = now_ns() + wait_ns;
  constexpr int64_t ask_every_ns = 20 * kNsPerMs;
  while (now_ns() < until_ns) {
    const Bytes request = shared_.prober->send(observer::read_request(0, 1));
    bool alive = false;
    pump(now_ns() + ask_every_ns, [&] {
      for (auto it = inbox_.begin(); it != inbox_.end(); it = inbox_.erase(it)) {
        if (is_reply_to(it->bytes, shared_.prober->mac())) {
          alive = true;
        } else if (!announcement && get(it->bytes, F::command) == observer::command::config &&
                   get(it->bytes, F::shelf) == facts_.shelf &&
                   get(it->bytes, F::slot) == facts_.slot) {
          announcement = it->bytes;
        }
      }
      return alive;
    });
    if (alive) {
      return announcement;
    }
  }
  throw CaseEnd(Verdict::inconclusive, "the target was started and does not answer");
}

void Context::needs_scratch(uint64_t sectors) {
  if (scratch_.count < sectors) {
    throw CaseEnd(Verdict::skip, fmt::format("needs {} scratch sectors, --scratch gives {}",
                                             sectors, scratch_.count));
  }
}

bool Context::may_send(const Frame& frame) const {
  const std::string permission(links::permission_for(frame.bytes()));
  return permission.empty() || shared_.allowed.count(permission) != 0;
}

Bytes Context::may_rewrite(Initiator& by, uint64_t lba) {
  const Exchange x = by.ask(observer::read_request(lba, 1));
  expect_good_ata(x);
  if (x.data().size() != observer::kSectorBytes) {
    fail("a read of one sector does not bring it", "512 bytes of data",
         fmt::format("{} bytes", x.data().size()), &x);
  }
  shared_.harmless[lba] = x.data();
  return x.data();
}

void Context::needs_scratch_28(uint64_t sectors) {
  needs_scratch(sectors);
  if (scratch_.lba + sectors > kLba28End) {
    throw CaseEnd(Verdict::skip,
                  fmt::format("needs {} scratch sectors that 28-bit commands reach, below {}; "
                              "--scratch begins at {}",
                              sectors, kLba28End, scratch_.lba));
  }
}

void Context::begin_case(std::string first_clause, Level level) {
  clause_ = std::move(first_clause);
  level_ = level;
  findings_.clear();
  frames_.clear();
  undoing_ = false;
  undo_.clear();
  inbox_.clear();
  odd_.clear();
  planted_.clear();
  barrier_by_ = nullptr;
  shared_.negotiated.clear();
  shared_.tags_sent.clear();
  shared_.harmless.clear();
  ledger_.new_page();
}

void Context::run_undo() {
  while (!undo_.empty()) {
    auto undo = std::move(undo_.back());
    undo_.pop_back();
    undo();
  }
}

void Context::reset_sessions() {
  const auto negotiated = shared_.negotiated;  // asking adds to it
  for (const auto& [mac, unused] : negotiated) {
    for (const auto& initiator : shared_.initiators) {
      if (initiator->mac() == mac) {
        initiator->ask(observer::extension_request({"reset"}, facts_.ext_order));
      }
    }
  }
  shared_.negotiated.clear();
}

}  // namespace conformance
