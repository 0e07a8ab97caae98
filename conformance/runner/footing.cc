// The ground that the next case stands on.

#include "conformance/runner/footing.h"

#include <fmt/format.h>

#include <algorithm>

namespace conformance {

using observer::get;

namespace {
constexpr size_t kAskers = 3;  // those that cases ask from, but for a few
// A link that was cut, or a target that paused, is waited for.
constexpr int64_t kReturnWaitNs = 10 * links::kNsPerSecond;
constexpr int64_t kPutRightNs = 30 * links::kNsPerSecond;
// A target that can be restarted is not begged for long: that helps for sure.
constexpr int64_t kPutRightBeforeRestartNs = 2 * links::kNsPerSecond;

Mac witness_mac(Context& t) {
  Mac mac = t.prober_mac();
  mac[1] ^= 0x11;
  mac[2] ^= 0x5a;
  return mac;
}

bool needs(const Case& c, Need need) {
  return std::find(c.needs.begin(), c.needs.end(), need) != c.needs.end();
}
}  // namespace

Footing::Footing(Context& context, TargetState& state, const RunConfig& config)
    : t_(context), state_(state), config_(config), witness_(context, witness_mac(context)) {}

bool Footing::has_ended() const {
  return t_.target_ended();
}

// A read, asked until it is answered; a target that reads badly serves, too.
Footing::Service Footing::ask(Initiator& who, unsigned attempts) {
  int64_t wait_ns = t_.patience_ns();
  for (unsigned i = 0; i < attempts; ++i) {
    const Bytes request = who.send(observer::read_request(0, 1));
    const auto reply = who.await_tag(static_cast<uint32_t>(*get(request, F::tag)), wait_ns);
    t_.ledger().settle(request, attempts);
    if (reply) {
      return service_of(reply->bytes);
    }
    wait_ns *= 2;
  }
  return Service::silence;
}

Footing::Service Footing::service_of(BytesView reply) {
  return get(reply, F::flag_error) == 1 && get(reply, F::error) == observer::aoe_error::reserved
             ? Service::refused
             : Service::served;
}

void Footing::learn() {
  t_.begin_case({}, Level::must);
  served_.clear();
  for (Initiator* who : askers()) {
    if (ask(*who) == Service::served) {
      served_.insert(who->mac());
    }
  }
}

// Those that cases ask from, and one that no case puts on a list: it is shut out by any entry that
// was left there.
std::vector<Initiator*> Footing::askers() {
  std::vector<Initiator*> out;
  for (size_t i = 0; i < kAskers; ++i) {
    out.push_back(&t_.initiator(i));
  }
  out.push_back(&witness_);
  return out;
}

std::vector<Initiator*> Footing::shut_out() {
  std::vector<Initiator*> out;
  for (Initiator* who : askers()) {
    if (served_.count(who->mac()) != 0 && ask(*who) != Service::served) {
      out.push_back(who);
    }
  }
  return out;
}

std::string Footing::tell(const std::vector<Initiator*>& shut_out) {
  std::string out;
  for (const Initiator* who : shut_out) {
    out += (out.empty() ? "" : ", ") + observer::to_string(who->mac());
  }
  return out;
}

// Whoever of our addresses is served: asked together, for they may be many, and most are not. Those
// whom a reservation refuses only where nobody is served: they may still edit.
std::vector<Mac> Footing::admitted(const std::vector<Mac>& addresses) {
  constexpr unsigned rounds = 3;  // a bad link may take a question
  constexpr uint64_t together_max = 32;
  const size_t together = std::clamp<uint64_t>(t_.target().buffer_count / 2, 1, together_max);
  std::vector<Mac> found;
  std::vector<Mac> refused;
  for (unsigned round = 0; round < rounds && found.empty() && refused.empty(); ++round) {
    for (size_t from = 0; from < addresses.size() && !has_ended(); from += together) {
      const size_t end = std::min(addresses.size(), from + together);
      std::vector<Bytes> asked;
      for (size_t i = from; i < end; ++i) {
        asked.push_back(Initiator(t_, addresses[i]).send(observer::read_request(0, 1)));
      }
      int64_t wait_ns = t_.patience_ns();
      for (size_t i = from; i < end; ++i) {
        const auto tag = static_cast<uint32_t>(*get(asked[i - from], F::tag));
        if (const auto reply = Initiator(t_, addresses[i]).await_tag(tag, wait_ns)) {
          (service_of(reply->bytes) == Service::served ? found : refused).push_back(addresses[i]);
        } else {
          wait_ns = 0;  // what was asked together has had its time
        }
        t_.ledger().settle(asked[i - from], rounds);
      }
    }
  }
  return found.empty() ? refused : found;
}

// Entries are deleted by those who are admitted, each itself last, without reading the list first:
// it cannot be read by whom it shuts out, nor when it is longer than a target can say.
bool Footing::put_right_unseen() {
  const std::vector<Mac> listed(t_.shared().listed.begin(), t_.shared().listed.end());
  std::vector<Mac> addresses;
  for (const auto& initiator : t_.shared().initiators) {
    addresses.push_back(initiator->mac());
  }
  addresses.push_back(t_.prober_mac());
  addresses.insert(addresses.end(), listed.begin(), listed.end());
  const bool restarts = config_.target->restarts();
  const int64_t until_ns =
      t_.now_ns() + t_.scaled(restarts ? kPutRightBeforeRestartNs : kPutRightNs);
  anybody_ = false;
  constexpr int surveys = 4;
  for (int survey = 0; survey < surveys; ++survey) {
    for (const Mac& mac : admitted(addresses)) {
      anybody_ = true;
      if (has_ended() || t_.now_ns() > until_ns) {
        return false;
      }
      if (put_right_from(mac, listed)) {
        return true;
      }
      // A late copy of an edit may have come meanwhile: then those who were admitted are not now.
      Initiator who(t_, mac);
      if (ask(who, 2) == Service::silence) {
        break;
      }
    }
  }
  return false;
}

bool Footing::put_right_from(const Mac& mac, const std::vector<Mac>& listed) {
  Initiator who(t_, mac);
  std::vector<observer::Directive> edits;
  for (const Mac& entry : listed) {
    if (entry != mac && !state_.had_on_mask(entry)) {
      edits.push_back({0, observer::dcmd::del, entry});
    }
  }
  if (!state_.had_on_mask(mac)) {
    edits.push_back({0, observer::dcmd::del, mac});
  }
  const size_t edits_max =
      std::min<size_t>(100, (t_.frame_max() - observer::at::mask_list) / observer::kMaskEntryBytes);
  for (size_t at = 0; at < edits.size(); at += edits_max) {
    const auto from = edits.begin() + static_cast<std::ptrdiff_t>(at);
    const auto to =
        edits.begin() + static_cast<std::ptrdiff_t>(std::min(edits.size(), at + edits_max));
    who.tell(observer::mask_request(observer::mcmd::edit, {from, to}));
  }
  who.tell(observer::reserve_request(observer::rcmd::force_set, state_.reserved()));
  return !has_ended() && t_.barrier() && shut_out().empty();
}

bool Footing::await_return() {
  const int64_t until_ns = t_.now_ns() + t_.scaled(kReturnWaitNs);
  while (t_.now_ns() < until_ns && !has_ended()) {
    if (t_.barrier()) {
      lapsed_ = true;
      return true;
    }
  }
  return false;
}

void Footing::restore(CaseResult& result) {
  constexpr int rounds = 3;  // a bad link may take some of the questions
  std::vector<std::string> left;
  for (int i = 0; i < rounds; ++i) {
    left = state_.restore(t_, false);
    if (left.empty() || has_ended()) {
      break;
    }
  }
  result.ended_putting_back = has_ended();
  for (const std::string& what : left) {
    result.put_back_trouble += (result.put_back_trouble.empty() ? "" : ", ") + what;
  }
  if (!left.empty()) {
    result.put_back_trouble += " could not be put back";
  }
}

Footing::State Footing::look(CaseResult& result, bool changes, bool lists, bool everybody) {
  t_.begin_case({}, Level::must);
  if (!t_.barrier()) {
    // Where lists are edited at all, a late copy of an edit of an earlier case may shut us out now.
    const bool edited = lists || config_.allowed.count("lockout") != 0;
    const bool shut = edited && !has_ended() && put_right_unseen();
    // Who answers somebody is not dead, whoever else is shut out.
    const bool lives = edited && anybody_ && !has_ended();
    what_ = !shut && lives ? tell(shut_out()) : "";
    if (!what_.empty()) {
      return State::locked_out;
    }
    if (!shut && !lives && !await_return()) {
      return has_ended() ? State::ended : State::silent;
    }
    lapsed_ = lapsed_ || (shut && !lists);
  }
  if (changes) {
    restore(result);
  }
  if (has_ended()) {
    return State::ended;
  }
  if (!everybody || shut_out().empty()) {
    return State::sound;
  }
  // Where lists were edited at all, a late copy of an edit of ours may have done it, too.
  if (config_.allowed.count("lockout") != 0 && put_right_unseen()) {
    if (lists) {
      result.put_back_trouble =
          "the lists could not be put back by reading them: entries were "
          "deleted unseen";
    } else {
      lapsed_ = true;
    }
    return State::sound;
  }
  what_ = tell(shut_out());
  return what_.empty() ? State::sound : State::locked_out;
}

Footing::State Footing::regain(const Case& c, CaseResult& result) {
  lapsed_ = false;
  suspects_ = t_.shared().since_last_reply;
  if (has_ended()) {
    return State::ended;
  }
  const bool lists = needs(c, Need::lockout);
  const bool changes = lists || needs(c, Need::config) || c.hostile;
  const bool doubtful = result.verdict == Verdict::inconclusive ||
                        result.verdict == Verdict::fail || result.verdict == Verdict::error;
  if (!changes && !doubtful) {
    return State::sound;
  }
  t_.set_uninterruptible(true);
  State state = State::silent;
  try {
    state = look(result, changes, lists, lists || doubtful);
  } catch (const CaseEnd& end) {
    result.put_back_trouble = end.reason;
    state = has_ended() ? State::ended : State::silent;
  }
  t_.set_uninterruptible(false);
  return state;
}

Footing::State Footing::regain(CaseResult& result) {
  lapsed_ = false;
  try {
    return look(result, true, true, true);
  } catch (const CaseEnd&) {
    return has_ended() ? State::ended : State::silent;
  }
}

}  // namespace conformance
