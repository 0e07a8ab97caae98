// probe congestion, probe extensions.

#include "conformance/probe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "conformance/cases/families/burst.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"
#include "conformance/runner/who.h"

namespace conformance {

namespace {

using namespace negotiation;  // NOLINT(google-build-using-namespace)
using nlohmann::ordered_json;
using observer::Order;

// Finds the one target and learns it. Empty: it is there; otherwise why not.
std::string reach(Context& t, const ProbeOptions& options) {
  const auto found = discover(t, options.shelf.value_or(0xffff), options.slot.value_or(0xff));
  if (found.empty()) {
    return options.shelf && options.slot
               ? fmt::format("no target {}.{} answers on {}", *options.shelf, *options.slot,
                             t.link().name())
               : fmt::format("no target answers on {}", t.link().name());
  }
  const Wanted wanted{options.shelf, options.slot, options.mac};
  if (std::none_of(found.begin(), found.end(), [&](const Found& f) { return wanted.allows(f); })) {
    return fmt::format("no such target answers on {}", t.link().name());
  }
  const Choice choice = choose(t, found, wanted);
  t.facts().mac = choice.target.mac;
  t.facts().shelf = choice.target.shelf;
  t.facts().slot = choice.target.slot;
  if (const auto why = learn_target(t)) {
    return fmt::format("target {}.{}: {}", t.target().shelf, t.target().slot, *why);
  }
  return {};
}

ordered_json target_json(const Context& t) {
  return {{"shelf", t.target().shelf},
          {"slot", t.target().slot},
          {"mac", observer::to_string(t.target().mac)},
          {"model", t.target().model},
          {"buffer_count", t.target().buffer_count}};
}

std::string headline(Context& t) {
  return fmt::format("target {}.{} at {} on {} (MTU {}), model \"{}\"\n", t.target().shelf,
                     t.target().slot, observer::to_string(t.target().mac), t.link().name(),
                     t.link().mtu(), t.target().model);
}

// Runs `ask` against the target; what verifiers throw becomes a message and an exit code.
int guarded(Context& t, const ProbeOptions& options, std::ostream& err, bool extensions,
            const std::function<int()>& ask) {
  const auto say = [&](const std::string& text) { err << "aoe-conformance: " << text << "\n"; };
  try {
    const std::string trouble = reach(t, options);
    if (!trouble.empty()) {
      say(trouble);
      return exit_unreachable;
    }
    if (extensions && !t.target().extensions) {
      say(fmt::format("target {}.{} does not know command 0x23", t.target().shelf,
                      t.target().slot));
      return exit_all_skipped;
    }
    t.begin_case({}, Level::must);
    const int code = ask();
    t.reset_sessions();
    return code;
  } catch (const CaseEnd& end) {
    say(end.reason);
    for (const Finding& f : t.take_findings()) {
      if (!f.expected.empty()) {
        say(fmt::format("expected {}; got {}", f.expected, f.got));
      }
    }
    return end.verdict == Verdict::fail ? exit_failed : exit_inconclusive;
  } catch (const Interrupted&) {
    say("interrupted");
    return exit_inconclusive;
  }
}

// A burst whose pause the target granted; waits for its budget where there is one.
std::optional<Burst> granted_burst(Context& t, size_t probes, std::ostream& err) {
  const int64_t give_up_ns = t.now_ns() + t.scaled(kBudgetPeriodNs + 2 * kPauseNs);
  bool told = false;
  for (;;) {
    Burst burst = send_burst(t, t.a(), new_congestion_id(t), probes);
    if (!burst.refused(t) || t.now_ns() > give_up_ns) {
      return burst.refused(t) ? std::nullopt : std::optional(burst);
    }
    if (!told) {
      err << "aoe-conformance: the target's budget of pauses is spent; waiting for it to come "
             "back\n";
      told = true;
    }
    t.sleep(t.scaled(2 * kPauseNs));
  }
}

std::string bar(size_t value, size_t most) {
  constexpr size_t width = 50;
  return std::string(most == 0 ? 0 : std::max<size_t>(value * width / most, value > 0 ? 1 : 0),
                     '#');
}

int ask_congestion(Context& t, const ProbeOptions& options, std::ostream& out, std::ostream& err) {
  std::vector<size_t> counts;
  std::vector<double> pauses_ms;
  bool twice = false;
  for (size_t i = 0; i < options.bursts; ++i) {
    const auto burst = granted_burst(t, options.probes, err);
    if (!burst || burst->replies.empty()) {
      t.inconclusive(burst ? "no congestion probe was answered"
                           : "the target does not pause any more");
    }
    twice = twice || burst->strangers > 0 || burst->replies.size() > burst->answered();
    counts.push_back(burst->answered());
    pauses_ms.push_back(static_cast<double>(burst->pause_ns().value_or(0)) / links::kNsPerMs);
    constexpr double shortest_ms = 400;
    if (pauses_ms.back() < shortest_ms) {
      t.inconclusive(
          fmt::format("the target did not pause (the first probe was answered after {:.1f} ms): "
                      "what it answers says nothing about its buffers",
                      pauses_ms.back()));
    }
  }
  std::vector<size_t> sorted = counts;
  std::sort(sorted.begin(), sorted.end());
  const size_t least = sorted.front();
  const size_t median = sorted[sorted.size() / 2];
  const size_t most = sorted.back();
  const uint64_t buffers = t.target().buffer_count;
  const bool all = least == options.probes;
  if (options.json) {
    ordered_json json = {{"target", target_json(t)}, {"probes", options.probes}};
    json["bursts"] = ordered_json::array();
    for (size_t i = 0; i < counts.size(); ++i) {
      json["bursts"].push_back({{"answered", counts[i]}, {"pause_ms", pauses_ms[i]}});
    }
    json["least"] = least;
    json["median"] = median;
    json["most"] = most;
    json["best_outstanding"] = least;
    json["more_probes_needed"] = all;
    json["answered_twice"] = twice;
    out << json.dump(2) << "\n";
  } else {
    out << headline(t) << "\nburst  answered     pause\n";
    for (size_t i = 0; i < counts.size(); ++i) {
      out << fmt::format("{:>5}  {:>8}  {:>5.1f} ms  {}\n", i + 1, counts[i], pauses_ms[i],
                         bar(counts[i], most));
    }
    out << fmt::format("\nof {} probes answered: least {}, median {}, most {}\n", options.probes,
                       least, median, most);
    out << fmt::format("best number of outstanding requests: {}{}\n", least,
                       all ? " or more (nothing was lost: ask with more --probes)" : "");
    out << fmt::format("the config reply says {} buffers: {}\n", buffers,
                       least < std::min<uint64_t>(buffers, options.probes) ? "more than it holds"
                       : all                  ? "no more were asked for"
                       : least <= buffers + 1 ? "they agree"
                                              : "it holds more than it says");
    if (twice) {
      out << "probes were answered more than once\n";
    }
  }
  return twice ? exit_failed : exit_good;
}

struct Row {
  std::string what;
  std::string seen;
};

std::string came_back(Context& t, const Strings& strings) {
  const Exchange x = t.a().ask(table(t, strings));
  return joined(strings_of(t, x));
}

std::vector<Row> behaviours(Context& t) {
  std::vector<Row> rows;
  const auto fresh = [&] { t.a().ask(table(t, {"reset"})); };
  std::string orders;
  for (const Order order : {Order::little, Order::big}) {
    const Exchange x = t.a().ask_once(observer::extension_request({"reset"}, order));
    if (seen::no_error(x) && observer::ext_table(*x.reply, order)) {
      orders += fmt::format("{}{}", orders.empty() ? "" : " and ",
                            order == Order::little ? "little-endian" : "big-endian");
    }
  }
  rows.push_back({"byte order of the table's length", orders});
  rows.push_back({"an unknown name", "comes back as " + came_back(t, {"no_such_feature"})});
  const bool coalesces = offers(t, "coalesced_read");
  for (const std::string name : {"COALESCED_READ", "Coalesced_Read"}) {
    fresh();
    std::string seen = "comes back as " + came_back(t, {name});
    if (coalesces) {
      seen += replies_to_coalesced(t, t.a()) == 2 ? ", and is active" : ", and is not active";
    }
    rows.push_back({observer::quoted(name), seen});
  }
  if (coalesces) {
    const auto still = [&] {
      return std::string(replies_to_coalesced(t, t.a()) == 2 ? "leaves features on"
                                                             : "switches them off");
    };
    const auto on = [&] { t.a().ask(table(t, {"reset", "coalesced_read"})); };
    on();
    rows.push_back({"works when asked for", replies_to_coalesced(t, t.a()) == 2 ? "yes" : "no"});
    fresh();
    rows.push_back({"reset", still()});
    on();
    t.a().ask(table(t, {"no_such_feature"}));
    rows.push_back({"a later table without the name", still()});
    on();
    t.a().ask(observer::config_request(observer::ccmd::read));
    rows.push_back({"a config read by the same initiator", still()});
    on();
    t.b().ask(observer::config_request(observer::ccmd::read));
    rows.push_back({"a config read by another", still()});
    on();
    t.b().ask(table(t, {"reset"}));
    rows.push_back({"reset by another", still()});
    fresh();
    t.b().ask(table(t, {"coalesced_read"}));
    rows.push_back(
        {"asked for by another only", replies_to_coalesced(t, t.a()) == 2
                                          ? "active for everybody: one session for all"
                                          : "not active here: a session for each initiator"});
    t.b().ask(table(t, {"reset"}));
  }
  return rows;
}

int ask_extensions(Context& t, const ProbeOptions& options, std::ostream& out) {
  const Strings known = {"reset",          "tag_inc_le", "tag_inc_be",           "tag_random",
                         "coalesced_read", "crc8x4",     "coalesced_write_reply"};
  std::vector<std::pair<std::string, bool>> features;
  for (const std::string& name : known) {
    t.a().ask(table(t, {"reset"}));
    const Strings got = strings_of(t, t.a().ask(table(t, {name})));
    features.emplace_back(name, !got.empty() && got[0] == upper(name));
  }
  t.a().ask(table(t, {"reset"}));
  const Burst burst = send_burst(t, t.a(), new_congestion_id(t), 1);
  const double pause_ms = static_cast<double>(burst.pause_ns().value_or(0)) / links::kNsPerMs;
  features.emplace_back("congestion", burst.name(t) == "CONGESTION");
  const std::vector<Row> rows = behaviours(t);
  if (options.json) {
    ordered_json json = {{"target", target_json(t)}};
    json["features"] = ordered_json::object();
    for (const auto& [name, active] : features) {
      json["features"][name] = active;
    }
    json["pause_ms"] = pause_ms;
    json["behaviour"] = ordered_json::object();
    for (const Row& row : rows) {
      json["behaviour"][row.what] = row.seen;
    }
    out << json.dump(2) << "\n";
    return exit_good;
  }
  out << headline(t) << "\n";
  for (const auto& [name, active] : features) {
    out << fmt::format(
        "{:<36} {}{}\n", name, active ? "active" : "not offered",
        name == "congestion" && active ? fmt::format(", after {:.1f} ms", pause_ms) : "");
  }
  out << "\n";
  for (const Row& row : rows) {
    out << fmt::format("{:<36} {}\n", row.what, row.seen);
  }
  return exit_good;
}

}  // namespace

int probe_congestion(Context& t, const ProbeOptions& options, std::ostream& out,
                     std::ostream& err) {
  return guarded(t, options, err, true, [&] { return ask_congestion(t, options, out, err); });
}

int probe_extensions(Context& t, const ProbeOptions& options, std::ostream& out,
                     std::ostream& err) {
  return guarded(t, options, err, true, [&] { return ask_extensions(t, options, out); });
}

int probe_mtu(Context& t, const ProbeOptions& options, std::ostream& out, std::ostream& err) {
  return guarded(t, options, err, false, [&] {
    const PathMtu path = measure_path_mtu(t);
    const uint64_t advertised = t.target().max_sectors();
    const bool sound = path.carried() >= path.interface;
    const auto frame_of = [](uint64_t sectors) {
      return observer::at::ata_data - 14 + sectors * observer::kSectorBytes;
    };
    // What both sides say that they take, and the way back that cannot be seen beyond it.
    const std::string said =
        path.in == 0 ? "the target answers no read: nothing is known of the way back"
        : !sound ? "the path carries less than both sides claim (compare `ip link` on both sides "
                   "and the switch between)"
        : path.sectors < advertised
            ? fmt::format(
                  "the interface's MTU holds {} of the {} sectors that the target would send",
                  path.sectors, advertised)
            : "the path carries what both sides claim";
    if (options.json) {
      ordered_json json = {{"target", target_json(t)},
                           {"interface", path.interface},
                           {"towards_target", path.out},
                           {"from_target", path.in},
                           {"sectors", {{"advertised", advertised}, {"arrive", path.sectors}}},
                           {"verdict", said}};
      out << json.dump(2) << "\n";
    } else {
      out << headline(t) << "\n"
          << fmt::format("{:<36} {}\n", "our interface says", path.interface)
          << fmt::format("{:<36} {}\n", "towards the target", path.out)
          << fmt::format("{:<36} {}\n", "back, at least", path.in)
          << fmt::format("{:<36} {} (frames of {} bytes)\n", "sectors that the target advertises",
                         advertised, frame_of(advertised))
          << fmt::format("{:<36} {}\n", "sectors of a read that arrive", path.sectors) << "\n"
          << said << "\n";
    }
    return path.in == 0 ? exit_inconclusive : sound ? exit_good : exit_failed;
  });
}

}  // namespace conformance
