// A whole run.

#include "conformance/runner/run.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/runner/footing.h"
#include "conformance/runner/hearing.h"
#include "conformance/runner/profile.h"
#include "conformance/runner/put_back.h"
#include "conformance/runner/selection.h"
#include "conformance/runner/who.h"

namespace conformance {

using report::Report;

namespace {

constexpr size_t kJumboMtu = 9000;
const char* const kLeftAsFound = "run.target-left-as-found";
const char* const kPuttingBack = "run.putting-back";
const char* const kLearning = "run.learning";
const char* const kAnsweredOnce = "run.answered-once";
const char* const kTargetAnswers = "run.target-answers";

bool needs(const Case& c, Need need) {
  return std::find(c.needs.begin(), c.needs.end(), need) != c.needs.end();
}

bool any_needs(const std::vector<const Case*>& cases, Need need) {
  return std::any_of(cases.begin(), cases.end(), [&](const Case* c) { return needs(*c, need); });
}

CaseResult not_run(const Case& c, Verdict verdict, std::string reason) {
  CaseResult result;
  result.id = c.id;
  result.level = c.level;
  result.clauses = c.clauses;
  result.verdict = verdict;
  result.reason = std::move(reason);
  return result;
}

bool is_bad(Verdict v) {
  return v == Verdict::fail || v == Verdict::warn;
}

std::string quote_shell(const std::string& text) {
  return "'" + text + "'";
}

// One run's moving parts.
class Run {
 public:
  Run(links::Link& link, const RunConfig& config)
      : link_(link),
        config_(config),
        muted_(link),
        context_(muted_, report_.target, {}, settings(config)) {
    if (!config.capture_dir.empty()) {
      capture_ = std::make_unique<Capture>(config.capture_dir);
    }
    auto& shared = context_.shared();
    shared.interrupted = config.interrupted;
    shared.control = config.target;
    if (config.undo != nullptr) {
      shared.on_listed = [undo = config.undo](const Mac& mac) { undo->list(mac); };
    }
    context_.tap().watch([this](bool outgoing, int64_t at_ns, BytesView bytes) {
      if (capture_) {
        capture_->frame(at_ns, bytes);
      }
      if (!report_.target_known) {
        hearing_.frame(outgoing, at_ns, bytes);
      }
    });
    report_.link_name = link.name();
    report_.mtu = link.mtu();
    report_.started_ns = link.now_ns();
  }

  Report run() {
    try {
      begin_capture("run.start");
      find_target();
      hear_target();
      settle_earlier_run();
      if (config_.witness != nullptr) {
        config_.witness->take();  // what was asked to find it
      }
      if (report_.target_known) {
        save();
        if (!context_.target_ended()) {
          run_cases();
        } else if (died_of_learning(); revive(0)) {
          run_cases();
        }
      } else {
        if (context_.target_ended() && report_.target.mac != Mac{}) {
          died_of_learning();
        }
        tell_what_was_heard();
        give_up_rest(0, Verdict::inconclusive, "did not run: " + report_.trouble);
      }
    } catch (const Interrupted&) {
      interrupted();
    } catch (const links::LinkError& e) {
      link_broke(e);
    }
    try {
      finish();
    } catch (const links::LinkError& e) {
      link_broke(e);
    }
    count();
    return std::move(report_);
  }

 private:
  static Settings settings(const RunConfig& config) { return {config.time_scale}; }

  bool runs(const Case* c) { return !gated(*c, config_, context_.link().mtu()); }

  std::string begin_capture(const std::string& name) {
    return capture_ ? capture_->begin(name) : std::string();
  }

  // What belongs to no case.
  void hear_target() { report_.target_said += config_.target->said(); }

  // A target's program that has ended before it answered, or that left for the background, is not
  // one that can be judged: the command is what is wrong.
  void refuse_ended_program() {
    const std::string end = config_.target->fate();
    if (end.empty()) {
      return;
    }
    const bool background = end.find("exit code 0") != std::string::npos;
    const std::string said = config_.target->said();
    throw UsageError(fmt::format(
        "--target-command: the program {} {}{}{}", end,
        background ? "at once: where it goes into the background it can neither be watched nor be "
                     "ended; start it in the foreground"
                   : "before the first case; it must run until it is ended",
        said.empty() ? "" : "; it said:\n", said.substr(0, said.find_last_not_of('\n') + 1)));
  }

  void find_target() {
    const bool named = config_.shelf && config_.slot;
    const Wanted wanted{config_.shelf, config_.slot, config_.mac};
    const auto is_meant = [&](const Found& f) { return wanted.allows(f); };
    // A target that we started ourselves may take its time.
    const int rounds = config_.target->restarts() ? 10 : 1;
    // All of them, also when one is named: the others answer broadcasts, too, and are not to be
    // judged.
    std::vector<Found> everybody;
    for (int i = 0; i < rounds && std::none_of(everybody.begin(), everybody.end(), is_meant); ++i) {
      try {
        everybody = discover(context_);
      } catch (const TargetGone&) {
        everybody.clear();
      }
      refuse_ended_program();
    }
    if (std::none_of(everybody.begin(), everybody.end(), is_meant) && named) {
      // One that knows no broadcasts, perhaps.
      for (const Found& f : discover(context_, *config_.shelf, *config_.slot)) {
        everybody.push_back({f.mac, *config_.shelf, *config_.slot});
      }
    }
    if (std::none_of(everybody.begin(), everybody.end(), is_meant)) {
      report_.trouble = named ? fmt::format("no target {}.{} answers on {}", *config_.shelf,
                                            *config_.slot, link_.name())
                              : fmt::format("no target answers on {}", link_.name());
      if (config_.mac) {
        report_.trouble += " at " + observer::to_string(*config_.mac);
      }
      return;
    }
    const Choice choice = choose(context_, everybody, wanted);
    for (const Mac& other : choice.others) {
      muted_.mute(other);
    }
    if (!choice.note.empty()) {
      report_.notes.push_back(choice.note);
    }
    TargetFacts& facts = context_.facts();
    facts.mac = choice.target.mac;
    facts.shelf = named ? *config_.shelf : choice.target.shelf;
    facts.slot = named ? *config_.slot : choice.target.slot;
    for (const Found& f : everybody) {
      if (f.shelf != facts.shelf || f.slot != facts.slot) {
        context_.shared().neighbours.insert({f.shelf, f.slot});
      }
    }
    if (const auto why = learn_target(context_)) {
      report_.trouble = fmt::format("target {}.{}: {}", facts.shelf, facts.slot, *why);
      return;
    }
    report_.target_known = true;
    choose_scratch();
  }

  // What an earlier run left changed is found by nobody if this one saves it as what was there.
  void settle_earlier_run() {
    if (config_.undo == nullptr) {
      return;
    }
    if (!report_.target_known) {
      std::vector<std::string> unreadable;
      for (const UndoRecord& left : config_.undo->all(unreadable)) {
        if ((!config_.shelf || *config_.shelf == left.shelf) &&
            (!config_.slot || *config_.slot == left.slot)) {
          report_.trouble += fmt::format(
              "; an earlier run against {} ended before everything was put back, and may have shut "
              "this machine out: aoe-conformance restore",
              left.name());
        }
      }
      return;
    }
    const auto left = config_.undo->pending(report_.target);
    if (!left) {
      return;
    }
    const std::string path = config_.undo->path_of(left->mac, left->shelf, left->slot);
    if (left->is_of(report_.target) && stands(context_, *left)) {
      config_.undo->discard_earlier(*left);  // put back otherwise, or a new image of the same
      choose_scratch();
      return;
    }
    if (!config_.restore_first) {
      throw UsageError(
          fmt::format("an earlier run against {} ended before everything was put back: "
                      "aoe-conformance restore --undo-file {}, or run --restore-first",
                      left->name(), path));
    }
    const PutBack done = put_back(context_, *left, false);
    if (!done.trouble.empty()) {
      throw UsageError(fmt::format("--restore-first: {} ({} is kept)", done.trouble, path));
    }
    config_.undo->discard_earlier(*left);
    context_.take_findings();
    context_.set_scratch({});
    choose_scratch();
    report_.notes.push_back("what an earlier run had left changed was put back first: " +
                            done.what);
  }

  // A target that answers, and never with a reply, is not absent.
  void tell_what_was_heard() {
    if (hearing_.findings().empty()) {
      return;
    }
    CaseResult result;
    result.id = kTargetAnswers;
    result.level = Level::must;
    result.verdict = Verdict::fail;
    result.started_ns = report_.started_ns;
    result.findings = hearing_.findings();
    for (const Finding& f : result.findings) {
      if (std::find(result.clauses.begin(), result.clauses.end(), f.clause) ==
          result.clauses.end()) {
        result.clauses.push_back(f.clause);
      }
    }
    result.reason = result.findings.front().headline;
    report_.trouble += fmt::format(", but something does: {}", result.reason);
    add(std::move(result));
  }

  void choose_scratch() {
    const uint64_t sectors = report_.target.sectors;
    Scratch s;
    if (config_.scratch) {
      s = *config_.scratch;
      if (s.count == 0 || s.lba >= sectors || s.count > sectors - s.lba) {
        throw UsageError(
            fmt::format("--scratch {}:{} is not inside the target's disk of {} sectors", s.lba,
                        s.count, sectors));
      }
    } else {
      s = default_scratch(sectors);
    }
    context_.set_scratch(s);
    context_.shared().may_write = config_.allowed.count("write") != 0;
    context_.shared().allowed = config_.allowed;
  }

  void save() {
    std::vector<const Case*> running;
    std::copy_if(config_.cases.begin(), config_.cases.end(), std::back_inserter(running),
                 [&](const Case* c) { return runs(c); });
    writes_ =
        context_.shared().may_write &&
        (any_needs(running, Need::write) ||
         std::any_of(running.begin(), running.end(), [](const Case* c) { return c->hostile; }));
    context_.shared().may_write = writes_;
    changes_ = any_needs(running, Need::config) || any_needs(running, Need::lockout);
    try {
      footing_.learn();
      context_.measure_link(8);
      const PathMtu path = measure_path_mtu(context_);
      if (path.carried() < path.interface) {
        context_.guard().narrow(path.carried());
        report_.path_trouble = fmt::format(
            "the interface says an MTU of {}, the path carries {} towards the target and {} back: "
            "all is asked within that (compare `ip link` on both sides and the switch between)",
            path.interface, path.out, path.in);
      }
      state_.save(context_, true, true, writes_);
      learn_disk(context_);
      keep_undo();
    } catch (const CaseEnd& end) {
      writes_ = false;
      context_.shared().may_write = false;
      save_trouble_ = end.reason;
    }
    context_.take_findings();
  }

  // On the disk before anything is changed.
  void keep_undo() {
    if (config_.undo == nullptr || (!writes_ && !changes_)) {
      return;
    }
    const TargetFacts& target = report_.target;
    const TargetState::Saved& saved = state_.saved();
    UndoRecord record;
    record.mac = target.mac;
    record.shelf = target.shelf;
    record.slot = target.slot;
    record.sectors = target.sectors;
    record.serial = target.serial;
    record.model = target.model;
    record.link = link_.name();
    record.began_ns = report_.started_ns;
    record.config = saved.config;
    record.mask = saved.mask;
    record.reserved = saved.reserved;
    record.scratch_lba = context_.scratch().lba;
    for (const Bytes& sector : saved.sectors) {
      record.scratch.insert(record.scratch.end(), sector.begin(), sector.end());
    }
    config_.undo->keep(record);
  }

  void run_cases() {
    for (next_ = 0; next_ < config_.cases.size(); ++next_) {
      const Case& c = *config_.cases[next_];
      if (const auto why = gated(c, config_, context_.link().mtu())) {
        add(not_run(c, Verdict::skip, *why));
        continue;
      }
      if (needs(c, Need::write) && !writes_) {
        add(not_run(c, Verdict::inconclusive, save_trouble_));
        continue;
      }
      if (config_.interrupted && config_.interrupted()) {
        throw Interrupted();
      }
      if (config_.time_limit_ns > 0 &&
          link_.now_ns() - report_.started_ns >= config_.time_limit_ns) {
        report_.trouble =
            fmt::format("the time limit of {} s is over",
                        static_cast<double>(config_.time_limit_ns) / links::kNsPerSecond);
        give_up_rest(next_, Verdict::inconclusive, "did not run: " + report_.trouble);
        return;
      }
      if (!run_one(c)) {
        return;
      }
    }
  }

  // False when nothing more can be asked of the target.
  bool run_one(const Case& c) {
    if (config_.on_begin) {
      config_.on_begin(next_ + 1, config_.cases.size(), c);
    }
    const size_t repetition = ++begun_[c.id];
    const std::string capture =
        begin_capture(repetition == 1 ? c.id : fmt::format("{}.again-{}", c.id, repetition));
    // since_last_reply stays: what went out before this case, and killed the target, is a suspect
    // too.
    Footing::State footing = Footing::State::sound;
    CaseResult result = confirmed(c, footing);
    result.capture = capture;
    result.target_said = config_.target->said();
    result.repeat = fmt::format("{} --case {}", config_.repeat_command, quote_shell(c.id));
    for (const Need need : c.needs) {
      if (need <= Need::unknown && !config_.repeat_is_whole &&
          config_.repeat_command.find("--allow") == std::string::npos) {
        result.repeat += " --allow " + to_string(need);
      }
    }
    if (result.interrupted) {
      add(std::move(result));
      ++next_;
      throw Interrupted();
    }
    const bool in_putting_back = result.ended_putting_back;
    if ((footing == Footing::State::ended || footing == Footing::State::silent) &&
        !in_putting_back) {
      bury(result, c.hostile);
    }
    if (in_putting_back || (!result.put_back_trouble.empty() && footing == Footing::State::sound &&
                            !context_.ledger().counts().interfered())) {
      note_putting_back(result);
    }
    const std::string id = result.id;
    add(std::move(result));
    switch (footing) {
      case Footing::State::sound:
        return true;
      case Footing::State::ended:
      case Footing::State::silent:
        if (last_death_.empty() || in_putting_back) {
          last_death_ = fmt::format("the target died while what {} had changed was put back", id);
        }
        return revive(next_ + 1);
      case Footing::State::locked_out:
        last_death_ = fmt::format(
            "{} locked the suite's own addresses out ({}), and that could not "
            "be put right",
            id, footing_.what());
        if (const std::string what = last_death_; revive(next_ + 1)) {
          if (!context_.ledger().counts().interfered()) {  // by a late copy of an edit, perhaps
            note_lockout(what);
          }
          return true;
        }
        return false;
    }
    return true;
  }

  // A verdict that a bad link can bring about stands only when the link is out of the question: the
  // case is asked again, with fresh tags, until it comes out good, or until the chance that the
  // link did it each time is gone.
  CaseResult confirmed(const Case& c, Footing::State& footing) {
    constexpr unsigned attempts_max = 12;
    constexpr double doubt_max = 1e-4;
    constexpr unsigned attempts_min = 3;
    constexpr int64_t time_max_ns = 30 * links::kNsPerSecond;
    const int64_t began_ns = link_.now_ns();
    double doubt = 1;
    std::string seen;
    for (unsigned attempt = 1;; ++attempt) {
      const links::LinkCounts before = context_.ledger().counts();
      ask_witness({});  // of what was asked between the cases
      CaseResult result =
          run_case(context_, c, counted_level(c, Registry::all(), config_.profiles));
      result.attempts = attempt;
      ask_witness(result);
      if (result.interrupted) {
        return result;
      }
      const bool bad = is_bad(result.verdict);
      const bool good_enough = !bad && result.verdict != Verdict::inconclusive;
      bool silence = false;
      double chance = 0;
      bool disorder = false;
      if (!good_enough) {
        context_.wait_for_latecomers();
        silence = context_.ledger().unanswered() > 0;
        chance = context_.ledger().chance_of_silence();
        const links::Ledger& ledger = context_.ledger();
        disorder = (ledger.disorders() && ledger.rests_on_order()) ||
                   (ledger.repeats() && ledger.reused_tag());
      }
      footing = footing_.regain(c, result);
      const links::LinkCounts met = context_.ledger().counts() - before;
      const bool lapsed = footing_.lapsed();
      result.duration_ms = static_cast<double>(link_.now_ns() - began_ns) / links::kNsPerMs;
      result.started_ns = began_ns;
      if (footing != Footing::State::sound || good_enough) {
        if (attempt > 1 && good_enough) {
          result.link_trouble = seen;
        }
        return result;
      }
      const bool interfered = met.interfered() || lapsed || disorder;
      if (!bad && !interfered && !silence) {
        return result;  // inconclusive by itself
      }
      if (bad && !interfered) {
        doubt *= silence ? chance : 0;
        if (doubt < doubt_max) {
          return result;
        }
      }
      const std::string what = lapsed             ? "for a while the suite was not served"
                               : met.interfered() ? to_string(met)
                               : disorder ? "it makes answers late, double, or overtake each other"
                                          : fmt::format("of 100 questions it loses {:.1f}",
                                                        100 * context_.ledger().loss());
      seen = what;
      if (attempt == attempts_max ||
          (attempt >= attempts_min && link_.now_ns() - began_ns > time_max_ns)) {
        const std::string headline = result.reason;
        result.verdict = Verdict::inconclusive;
        result.reason = fmt::format("the link interfered each of {} times (the last: {}); seen: {}",
                                    attempt, what, headline);
        result.link_trouble = what;
        for (Finding& f : result.findings) {
          f.verdict = is_bad(f.verdict) ? Verdict::inconclusive : f.verdict;
        }
        return result;
      }
    }
  }

  void bury(CaseResult& result, bool hostile) {
    const std::string end = config_.target->fate();
    const std::string how = end.empty() ? "answers nobody any more" : end;
    const std::vector<Bytes>& suspects = footing_.suspects();
    // Out of nothing, a target may have been switched off; a hostile frame, or an end that we saw,
    // is its own fault.
    const bool guilty = hostile || !end.empty();
    result.verdict = guilty ? Verdict::fail : Verdict::inconclusive;
    result.reason = fmt::format("the target died in this case: it {}", how);
    Finding f;
    f.verdict = result.verdict;
    f.headline = result.reason;
    f.clause = result.clauses.empty() ? "" : result.clauses.front();
    f.expected = "a target that goes on answering";
    f.got = how;
    f.cause = "died: " + how;
    if (!suspects.empty()) {
      f.got = fmt::format("{} ({} frame{} sent since its last reply; the first is shown)", how,
                          suspects.size(), suspects.size() == 1 ? "" : "s");
      f.frames.push_back({FrameRole::request, suspects.front(), {}, 0, 1});
    }
    result.findings.push_back(std::move(f));
    last_death_ = fmt::format("the target died in {}: it {}", result.id, how);
  }

  // A reply that left the target's port more often than its question came in is the target's doing.
  void ask_witness(const CaseResult& result) {
    if (config_.witness == nullptr) {
      return;
    }
    for (const links::AnsweredTwice& twice : config_.witness->take()) {
      ++answered_twice_;
      if (twice_ && !twice_->frames.empty()) {
        continue;
      }
      Finding f;
      f.verdict = Verdict::fail;
      f.clause = "HDR-ONCE";
      f.headline = "the target answers a request more often than it came";
      f.expected =
          fmt::format("{} repl{} to what came {} time{}", twice.asked,
                      twice.asked == 1 ? "y" : "ies", twice.asked, twice.asked == 1 ? "" : "s");
      f.got = fmt::format("{} replies left its port, to tag {:#010x} from {}{}{}", twice.answered,
                          twice.tag, observer::to_string(twice.asker),
                          result.id.empty() ? "" : ", in ", result.id);
      for (const CaseFrame& frame : result.frames) {
        const bool same = observer::is_aoe(frame.bytes) &&
                          observer::get(frame.bytes, F::tag) == twice.tag &&
                          observer::get(frame.bytes, F::command) == twice.command;
        if (same && f.frames.size() < 3) {
          f.frames.push_back({frame.outgoing ? FrameRole::request : FrameRole::reply,
                              frame.bytes,
                              {},
                              frame.at_ns,
                              frame.outgoing ? 1U : 0U});
        }
      }
      twice_ = std::move(f);
    }
  }

  // Once for the whole run: where the port is not seen, a copy is nobody's fault.
  void tell_of_copies() {
    const uint64_t copies = context_.ledger().counts().repeated;
    if (!twice_ && (config_.witness != nullptr || copies == 0)) {
      return;
    }
    CaseResult result;
    result.id = kAnsweredOnce;
    result.level = Level::must;
    result.clauses = {"HDR-ONCE"};
    result.started_ns = link_.now_ns();
    Finding f;
    if (twice_) {
      f = *twice_;
      f.got += fmt::format("; {} such request{} in this run", answered_twice_,
                           answered_twice_ == 1 ? "" : "s");
    } else {
      f.verdict = Verdict::info;
      f.clause = "HDR-ONCE";
      f.headline = fmt::format(
          "{} answer{} came twice: target or link, from one end nobody can tell "
          "(--target-interface "
          "shows the target's port)",
          copies, copies == 1 ? "" : "s");
    }
    result.verdict = f.verdict;
    result.reason = f.headline;
    result.findings.push_back(std::move(f));
    add(std::move(result));
  }

  // What went wrong when a case was undone is not what the case asked: it is told by itself.
  void note_putting_back(const CaseResult& result) {
    const std::string end = config_.target->fate();
    Finding f;
    f.verdict = result.ended_putting_back ? Verdict::fail : Verdict::warn;
    f.headline = result.ended_putting_back
                     ? fmt::format("the target died while what {} had changed was put back: it {}",
                                   result.id, end.empty() ? "answers nobody any more" : end)
                     : fmt::format("after {}: {}", result.id, result.put_back_trouble);
    f.expected = "requests that undo what the case changed are served";
    f.got = result.ended_putting_back ? end : result.put_back_trouble;
    if (!footing_.suspects().empty() && result.ended_putting_back) {
      f.frames.push_back({FrameRole::request, footing_.suspects().front(), {}, 0, 1});
    }
    putting_back_.push_back(std::move(f));
  }

  // Only a restart let the suite in again: whoever cannot restart the target has lost it.
  void note_lockout(const std::string& what) {
    Finding f;
    f.verdict = Verdict::warn;
    f.headline = what + " but by a restart";
    f.expected = "requests that undo what the case changed are served";
    f.got = f.headline;
    putting_back_.push_back(std::move(f));
  }

  // It was only read, by every host that looks at a disk: no case asked for that, and it is told.
  void died_of_learning() {
    const std::string fate = config_.target->fate();
    CaseResult result;
    result.id = kLearning;
    result.level = Level::must;
    result.verdict = Verdict::fail;
    result.started_ns = report_.started_ns;
    result.reason = fmt::format("the target died while it was only looked at: it {}", fate);
    Finding f;
    f.verdict = result.verdict;
    f.headline = result.reason;
    f.expected = "a target that goes on answering";
    f.got = fate;
    f.cause = "died: " + fate;
    const std::vector<Bytes>& suspects = context_.shared().since_last_reply;
    if (!suspects.empty()) {
      f.frames.push_back({FrameRole::request, suspects.front(), {}, 0, 1});
    }
    result.findings.push_back(std::move(f));
    add(std::move(result));
    last_death_ = "the target died while it was only looked at: it " + fate;
  }

  // `next`: the case that would come now. Where what the target kept shuts us out again, its state
  // is emptied.
  bool revive(size_t next) {
    if (config_.target->restarts()) {
      for (const control::State state : {control::State::kept, control::State::fresh}) {
        try {
          context_.begin_case({}, Level::must);
          context_.restart_target(Context::End::crash, state);
          CaseResult unused;
          if (footing_.regain(unused) == Footing::State::sound) {
            return true;
          }
        } catch (const CaseEnd&) {
          if (state == control::State::fresh) {
            last_death_ += ", and does not come back";
          }
          continue;
        }
        if (state == control::State::fresh) {
          last_death_ += ", and a restart does not help";
        }
      }
    }
    report_.trouble = last_death_;
    give_up_rest(next, Verdict::inconclusive, "did not run: " + last_death_);
    dead_ = true;
    return false;
  }

  void interrupted() {
    report_.trouble = "interrupted";
    give_up_rest(next_, Verdict::inconclusive, "did not run: interrupted");
  }

  // The interface vanished, or went down: nothing can be sent any more, but the report is to be
  // whole.
  void link_broke(const links::LinkError& e) {
    report_.trouble = e.what();
    dead_ = true;
    give_up_rest(next_, Verdict::inconclusive, std::string("did not run: ") + e.what());
  }

  void give_up_rest(size_t from, Verdict verdict, const std::string& why) {
    for (size_t i = from; i < config_.cases.size(); ++i) {
      const auto gate = gated(*config_.cases[i], config_, context_.link().mtu());
      add(gate ? not_run(*config_.cases[i], Verdict::skip, *gate)
               : not_run(*config_.cases[i], verdict, why));
    }
    next_ = config_.cases.size();
  }

  // The last liveness probe, and the check that the target is left as it was found.
  void finish() {
    if (report_.target_known) {
      if (!putting_back_.empty()) {
        CaseResult result;
        result.id = kPuttingBack;
        result.level = Level::must;
        result.started_ns = link_.now_ns();
        for (Finding& f : putting_back_) {
          if (result.verdict != Verdict::fail) {
            result.verdict = f.verdict;
            result.reason = f.headline;
          }
          result.findings.push_back(std::move(f));
        }
        add(std::move(result));
      }
      tell_of_copies();
      context_.set_uninterruptible(true);
      begin_capture("run.end");
      CaseResult result;
      result.id = kLeftAsFound;
      result.level = Level::must;
      result.verdict = Verdict::pass;
      result.started_ns = link_.now_ns();
      context_.begin_case({}, Level::must);
      std::string silent = "the target does not answer: nothing could be put back";
      bool answers = false;
      try {
        answers = !dead_ && context_.barrier();
      } catch (const CaseEnd& end) {
        silent = end.reason;
      }
      if (!answers) {
        result.verdict = Verdict::inconclusive;
        result.reason = silent;
        if (!dead_ && report_.trouble.empty()) {
          report_.trouble = "the target does not answer at the end of the run";
        }
      } else {
        std::string what = put_back_for_good();
        if (!what.empty()) {
          result.verdict = Verdict::fail;
          result.reason = "the target could not be left as it was found: " + what;
        } else if (config_.undo != nullptr) {
          config_.undo->discard();
        }
      }
      result.duration_ms =
          static_cast<double>(link_.now_ns() - result.started_ns) / links::kNsPerMs;
      add(std::move(result));
    }
  }

  // Puts back, and looks again when all that the link may still hold has come: late copies of our
  // own requests may undo it.
  std::string put_back_for_good() {
    std::string what;
    constexpr int rounds = 4;
    for (int i = 0; i < rounds; ++i) {
      const links::LinkCounts before = context_.ledger().counts();
      what.clear();
      for (const std::string& w : state_.restore(context_, writes_)) {
        what += (what.empty() ? "" : ", ") + w;
      }
      const bool bad_link =
          before.interfered() || context_.ledger().repeats() || context_.ledger().disorders();
      if (!bad_link && what.empty()) {
        break;
      }
      context_.wait_for_latecomers();
      if (what.empty() && i > 0 && !(context_.ledger().counts() - before).interfered()) {
        break;
      }
    }
    return what;
  }

  void count() {
    hear_target();
    if (capture_) {
      capture_->finish();
      report_.capture_trouble = capture_->trouble();
    }
    report_.undo_file = config_.undo == nullptr ? std::string() : config_.undo->kept();
    report_.frames_sent = context_.shared().frames_sent;
    report_.link = context_.ledger().counts();
    report_.loss = context_.ledger().loss();
    report_.rtt_us = static_cast<double>(context_.rtt_ns()) / links::kNsPerUs;
    report_.duration_ms =
        static_cast<double>(link_.now_ns() - report_.started_ns) / links::kNsPerMs;
  }

  void add(CaseResult result) {
    if (config_.on_result) {
      config_.on_result(result);
    }
    report_.cases.push_back(std::move(result));
  }

  links::Link& link_;
  const RunConfig& config_;
  Report report_;
  links::Muted muted_;
  Context context_;
  TargetState state_;
  Footing footing_{context_, state_, config_};
  Hearing hearing_{config_.shelf, config_.slot};
  std::vector<Finding> putting_back_;
  std::unique_ptr<Capture> capture_;
  size_t next_ = 0;
  std::map<std::string, size_t> begun_;  // how often each case was
  bool writes_ = false;
  bool changes_ = false;
  bool dead_ = false;
  std::string save_trouble_;
  std::optional<Finding> twice_;
  uint64_t answered_twice_ = 0;
  std::string last_death_;
};

}  // namespace

std::optional<std::string> gated(const Case& c, const RunConfig& config, size_t mtu) {
  for (const Need need : c.needs) {
    switch (need) {
      case Need::write:
      case Need::config:
      case Need::lockout:
      case Need::stress:
      case Need::unknown:
        if (config.allowed.count(to_string(need)) == 0) {
          return fmt::format("needs --allow {}", to_string(need));
        }
        break;
      case Need::jumbo:
        if (mtu < kJumboMtu) {
          return fmt::format("needs an MTU of {}", kJumboMtu);
        }
        break;
      case Need::target_command:
        if (!config.target->restarts()) {
          return "needs --target-command";
        }
        break;
      case Need::second_initiator:
        break;
    }
  }
  return std::nullopt;
}

Report run_suite(links::Link& link, const RunConfig& config) {
  return Run(link, config).run();
}

void add_observed(Report& report, const std::map<std::string, std::string>& broken) {
  std::set<std::string> told;
  for (const CaseResult& c : report.cases) {
    for (const Finding& f : c.findings) {
      if (f.verdict == Verdict::fail || f.verdict == Verdict::warn) {
        told.insert(f.clause);
      }
    }
  }
  for (const auto& [clause, text] : broken) {
    if (told.count(clause) != 0) {
      continue;
    }
    Finding f;
    f.clause = clause;
    f.headline = "seen on the link, and no case failed for it";
    f.expected = "nothing that breaks the clause, whatever a case asks for";
    f.got = text;
    CaseResult c;
    c.id = "run.observed." + clause;
    c.clauses = {clause};
    c.verdict = Verdict::fail;
    c.reason = f.headline + ": " + text;
    c.started_ns = report.started_ns;
    c.findings.push_back(std::move(f));
    report.cases.push_back(std::move(c));
  }
}

int exit_code(const Report& report, const std::set<Verdict>& fail_on) {
  const auto n = report.counts();
  size_t known_failures = 0;
  for (const CaseResult& c : report.cases) {
    known_failures += !c.known.empty() && c.verdict == Verdict::fail ? 1 : 0;
  }
  if (n.at(Verdict::fail) > known_failures || !report.baseline_surprises.empty()) {
    return exit_failed;
  }
  for (const CaseResult& c : report.cases) {
    if (c.known.empty() && fail_on.count(c.verdict) != 0) {
      return exit_failed;
    }
  }
  if (n.at(Verdict::error) > 0) {
    return exit_error;
  }
  if (!report.target_known) {
    return report.trouble == "interrupted" ? exit_inconclusive : exit_unreachable;
  }
  const bool inconclusive = std::any_of(
      report.cases.begin(), report.cases.end(),
      [](const CaseResult& c) { return c.verdict == Verdict::inconclusive && c.known.empty(); });
  if (inconclusive || !report.trouble.empty()) {
    return exit_inconclusive;
  }
  const bool all_skipped = std::all_of(
      report.cases.begin(), report.cases.end(),
      [](const CaseResult& c) { return c.verdict == Verdict::skip || c.id == kLeftAsFound; });
  return all_skipped ? exit_all_skipped : exit_good;
}

}  // namespace conformance
