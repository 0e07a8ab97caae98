// aoe-conformance: the command line. Options in, exit code out; what is done is done elsewhere.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <ctime>
#include <iostream>
#include <string_view>

#include "aoe_version.h"
#include "conformance/control/model_control.h"
#include "conformance/control/process_control.h"
#include "conformance/deviant_matrix.h"
#include "conformance/dry_run.h"
#include "conformance/initiator_command.h"
#include "conformance/links/observer_link.h"
#include "conformance/links/port_watch.h"
#include "conformance/listing.h"
#include "conformance/open_link.h"
#include "conformance/outcome.h"
#include "conformance/output/output_file.h"
#include "conformance/probe.h"
#include "conformance/report/compare.h"
#include "conformance/report_commands.h"
#include "conformance/runner/profile.h"
#include "conformance/runner/put_back.h"
#include "conformance/runner/run.h"
#include "conformance/runner/selection.h"
#include "conformance/settings_file.h"

namespace conformance {
namespace {

volatile std::sig_atomic_t g_signals = 0;
volatile std::int64_t g_first_signal_ms = 0;
// What the second signal says, put together before: a handler may only write.
std::array<char, 1024> g_last_words{};
volatile std::size_t g_last_words_bytes = 0;

void prepare_last_words(const std::string& undo_file) {
  const std::string words =
      undo_file.empty() ? std::string("\naoe-conformance: ended by a second signal\n")
                        : fmt::format(
                              "\naoe-conformance: ended by a second signal: NOT EVERYTHING WAS PUT "
                              "BACK: aoe-conformance restore --undo-file {}\n",
                              undo_file);
  g_last_words_bytes = 0;
  g_last_words_bytes = words.copy(g_last_words.data(), g_last_words.size());
}

// The first asks for an end in order; the second ends at once. `timeout` and shells send a signal
// to the process and to its group: what comes within a moment is one.
void on_signal(int number) {
  constexpr std::int64_t moment_ms = 300;
  const int kept = errno;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  const std::int64_t now_ms = t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
  if (g_signals == 0) {
    g_first_signal_ms = now_ms;
    g_signals = 1;
  } else if (now_ms - g_first_signal_ms > moment_ms) {
    [[maybe_unused]] const ssize_t written =
        write(STDERR_FILENO, g_last_words.data(), g_last_words_bytes);
    _exit(128 + number);
  }
  errno = kept;
}

struct Options {
  Selection selection;
  LinkOptions link;
  bool observe = false;
  int shelf = -1;
  int slot = -1;
  std::string target_mac;
  std::vector<std::string> profiles;
  std::vector<std::string> allow;
  std::string scratch;
  double time_scale = 1.0;
  std::vector<std::string> fail_on;
  std::string target_command, target_buffers, target_interface, target_image;
  std::string capture_dir;
  std::string undo_file;
  bool no_undo_file = false;
  bool restore_first = false;
  bool any_disk = false;
  bool forget = false;
  OutcomeOptions outcome;
  std::string repeat_as;
  std::string retry_failed;
  size_t repeat = 1;
  std::optional<uint64_t> shuffle;
  double time_limit_s = 0;
  bool dry_run = false;
  bool deviants = false;
  bool run_deviants = false;
  std::vector<std::string> deviant_names;
  bool plan = false;
  bool markdown = false;
  std::string show;
  size_t bursts = 5;
  size_t probes = 1000;
  bool json = false;
};

void add_selection(CLI::App& app, Options& o) {
  app.add_option("--case", o.selection.cases, "Cases by id; globs (header.*)")
      ->type_name("PATTERN");
  app.add_option("--family", o.selection.families, "Cases of a family")->type_name("FAMILY");
  app.add_option("--level", o.selection.levels, "MUST, SHOULD, MAY, INTEROP")->type_name("LEVEL");
  app.add_option("--clause", o.selection.clauses, "Cases that ask for a clause; globs")
      ->type_name("CLAUSE");
  app.add_option("--exclude", o.selection.excluded, "Leave these out; globs")->type_name("PATTERN");
  app.add_option("--cases-from", o.selection.files, "A file of ids, one a line")->type_name("FILE");
}

void add_where(CLI::App& app, Options& o) {
  add_link_options(app, o.link);
  app.add_option("--shelf", o.shelf, "Found by broadcast when left out")
      ->check(CLI::Range(0, 0xfffe));
  app.add_option("--slot", o.slot, "Found by broadcast when left out")->check(CLI::Range(0, 0xfe));
  app.add_option("--target-mac", o.target_mac,
                 "Its address, where more than one answers for the same shelf and slot")
      ->type_name("MAC");
  app.add_option("--time-scale", o.time_scale, "Multiplies every wait")
      ->check(CLI::Range(0.01, 1000.0))
      ->check([](const std::string& text) {  // nan is between any two numbers
        return std::isfinite(std::strtod(text.c_str(), nullptr)) ? std::string()
                                                                 : text + ": a number";
      });
}

void add_run(CLI::App& app, Options& o) {
  add_selection(app, o);
  add_where(app, o);
  app.add_option(
         "--allow", o.allow,
         "Beyond reading: write (inside --scratch), config (the config string), lockout (mask and "
         "reserve lists), stress, all")
      ->delimiter(',');
  app.add_option(
         "--scratch", o.scratch,
         "Sectors that may be written to, saved before and restored after (default: the disk's "
         "last 2048; on a disk above 2^28 sectors the last 2048 below 2^28 and 64 above)")
      ->type_name("LBA:COUNT");
  app.add_option(
         "--fail-on", o.fail_on,
         "Further verdicts that make the exit code 1: warn, info, unsupported, skip, inconclusive")
      ->delimiter(',');
  app.add_option("--profile", o.profiles,
                 "Initiators whose needs count beside the Linux driver's: ipxe, plan9, winaoe")
      ->delimiter(',')
      ->type_name("NAME");
  app.add_option(
      "--target-command", o.target_command,
      "Start the target with this, and again when a case asks; {iface} {shelf} {slot} {image} "
      "{state}: a directory of ours where it may keep its state, emptied for a fresh start and "
      "kept "
      "for a restart");
  app.add_option("--target-buffers", o.target_buffers,
                 "What is added to --target-command for another number of receive buffers, with "
                 "{buffers} in it ('--buffer-count {buffers}')")
      ->type_name("OPTION");
  app.add_option(
      "--target-interface", o.target_interface,
      "{iface} of it (default: --interface). Where it is on this machine, what leaves it "
      "is counted: only there a target that answers twice shows");
  app.add_option("--target-image", o.target_image, "{image} of it");
  app.add_option("--capture", o.capture_dir, "A pcap file for every case goes there")
      ->type_name("DIR");
  app.add_option("--undo-file", o.undo_file,
                 "Where what this run changes is kept until it is put back (default: a file for "
                 "each target in the user's state folder)")
      ->type_name("FILE");
  app.add_flag("--no-undo-file", o.no_undo_file,
               "Keep it in memory only: after kill -9 or a crash nothing can be put back");
  app.add_flag("--restore-first", o.restore_first,
               "Put back what an earlier run left changed, then run");
  app.add_option("--retry-failed", o.retry_failed,
                 "The cases that failed or could not be judged in this report (JSON)")
      ->type_name("REPORT.json");
  app.add_option("--repeat-as", o.repeat_as,
                 "What runs this suite where it is run from a script: stands before --case in the "
                 "command that repeats a case")
      ->type_name("COMMAND");
  app.add_option("--repeat", o.repeat,
                 "Run every case so often; one that is not the same each time is named")
      ->check(CLI::Range(1, 1000));
  app.add_option("--shuffle", o.shuffle,
                 "Run the cases in another order, the same for the same seed: none may depend on "
                 "what ran before it")
      ->type_name("SEED");
  app.add_option("--time-limit", o.time_limit_s,
                 "Begin no case later than this; what did not run is named, and the exit code is 4")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 1e9));
  app.add_option("--settings", o.outcome.settings,
                 "Options from a TOML file; those of the command line come first")
      ->type_name("FILE");
  app.add_flag("--dry-run", o.dry_run,
               "Say how many frames of what kind would be sent, what changed and what saved; send "
               "nothing");
  app.add_flag(
      "--observe", o.observe,
      "Let the passive judge watch the link as well, and say what it has against the target");
  app.add_flag("--plan", o.plan, "Say what would run, and why not the rest; send nothing");
  add_outcome_options(app, o.outcome);
}

std::set<std::string> allowed(const Options& o) {
  static const std::set<std::string> known = {"write", "config", "lockout", "stress", "unknown"};
  std::set<std::string> out;
  for (const std::string& a : o.allow) {
    if (a == "all") {
      return known;
    }
    if (known.count(a) == 0) {
      throw UsageError(
          fmt::format("--allow {}: there are write, config, lockout, stress, unknown, all", a));
    }
    out.insert(a);
  }
  return out;
}

std::optional<Scratch> scratch(const Options& o) {
  if (o.scratch.empty()) {
    return std::nullopt;
  }
  uint64_t lba = 0;
  uint64_t count = 0;
  const char* const end = o.scratch.data() + o.scratch.size();  // no sign, no blank, no overflow
  const auto first = std::from_chars(o.scratch.data(), end, lba);
  const bool colon = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
  const auto second = colon ? std::from_chars(first.ptr + 1, end, count) : first;
  if (!colon || second.ec != std::errc() || second.ptr != end || count == 0) {
    throw UsageError(
        fmt::format("--scratch {}: LBA:COUNT, two numbers, COUNT at least 1", o.scratch));
  }
  return Scratch{lba, count};
}

std::set<Verdict> fail_on(const Options& o) {
  std::set<Verdict> out;
  for (const std::string& word : o.fail_on) {
    const auto it = std::find_if(std::begin(kVerdicts), std::end(kVerdicts),
                                 [&](Verdict v) { return to_string(v) == word; });
    if (it == std::end(kVerdicts) || *it == Verdict::pass) {
      throw UsageError(fmt::format(
          "--fail-on {}: there are fail, warn, info, unsupported, skip, inconclusive, error",
          word));
    }
    out.insert(*it);
  }
  return out;
}

std::string joined(int argc, char** argv) {
  std::string out;
  for (int i = 0; i < argc; ++i) {
    const std::string word = i == 0 ? "aoe-conformance" : argv[i];
    const bool plain = word.find_first_of(" *?{}'\"$;&|<>") == std::string::npos;
    out += (i == 0 ? "" : " ") + (plain ? word : "'" + word + "'");
  }
  return out;
}

// What repeats a case: where the target is and what is allowed, without selection and reports.
std::string repeat_command(const Options& o) {
  std::string out = "aoe-conformance run";
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      const bool plain = value.find_first_of(" {}*'\"$") == std::string::npos;
      out += fmt::format(" {} {}", name, plain ? value : "'" + value + "'");
    }
  };
  out += o.link.model ? " --model" : "";
  add("--deviant", o.link.deviant);
  add("--interface", o.link.interface());
  add("--socket", o.link.socket_path);
  add("--shelf", o.shelf < 0 ? "" : std::to_string(o.shelf));
  add("--slot", o.slot < 0 ? "" : std::to_string(o.slot));
  add("--target-mac", o.target_mac);
  std::string allow;
  for (const std::string& a : o.allow) {
    allow += (allow.empty() ? "" : ",") + a;
  }
  std::string wanted;
  for (const std::string& name : o.profiles) {
    wanted += (wanted.empty() ? "" : ",") + name;
  }
  add("--profile", wanted);
  add("--mtu", o.link.mtu == 0 ? "" : std::to_string(o.link.mtu));
  add("--time-scale", o.time_scale == 1.0 ? "" : fmt::format("{}", o.time_scale));
  add("--allow", allow);
  add("--scratch", o.scratch);
  add("--target-interface", o.target_interface);
  add("--target-image", o.target_image);
  add("--target-buffers", o.target_buffers);
  add("--target-command", o.target_command);
  return out;
}

std::optional<Mac> target_mac(const Options& o) {
  if (o.target_mac.empty()) {
    return std::nullopt;
  }
  const auto mac = observer::mac_from_string(o.target_mac);
  if (!mac) {
    throw UsageError(
        fmt::format("--target-mac {}: an address as in 00:11:22:33:44:55", o.target_mac));
  }
  return mac;
}

std::set<std::string> wanted_profiles(const Options& o) {
  std::set<std::string> out;
  for (const std::string& name : o.profiles) {
    if (std::none_of(profiles().begin(), profiles().end(),
                     [&](const Profile& p) { return p.name == name; })) {
      std::string all;
      for (const Profile& p : profiles()) {
        all += (all.empty() ? "" : ", ") + p.name;
      }
      throw UsageError(fmt::format("--profile {}: there are {}", name, all));
    }
    out.insert(name);
  }
  return out;
}

// Who sees the target's port: nobody, where it is not on this machine.
std::unique_ptr<links::PortWatch> watch_port(const Options& o) {
  if (o.target_interface.empty() || o.target_interface == o.link.interface()) {
    return nullptr;
  }
  try {
    return std::make_unique<links::PortWatch>(o.target_interface);
  } catch (const links::LinkError&) {
    return nullptr;
  }
}

// Where this run's undo file lies. None with a model, which keeps nothing anyway.
std::unique_ptr<UndoFile> undo_file(const Options& o) {
  if (o.no_undo_file && (o.restore_first || !o.undo_file.empty())) {
    throw UsageError("--no-undo-file goes neither with --undo-file nor with --restore-first");
  }
  if (o.link.model || o.no_undo_file || (o.link.interfaces.empty() && o.link.socket_path.empty())) {
    return nullptr;
  }
  const std::string folder = UndoFile::usual_folder();
  if (o.undo_file.empty() && folder.empty()) {
    throw UsageError(
        "there is no home folder for undo files: --undo-file FILE says where to keep "
        "what is to be put back");
  }
  return std::make_unique<UndoFile>(o.undo_file, folder);
}

int plan(const Options& o, const RunConfig& config) {
  constexpr size_t any_mtu = 65535;
  size_t runs = 0;
  for (const Case* c : config.cases) {
    const auto why = gated(*c, config, o.link.mtu == 0 ? any_mtu : o.link.mtu);
    runs += why ? 0 : 1;
    std::cout << fmt::format("{:<5} {}{}\n", why ? "skip" : "run", c->id, why ? ": " + *why : "");
  }
  std::cout << fmt::format("{} of {} cases would run\n", runs, config.cases.size());
  return exit_good;
}

void take_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a wait is to end
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

// With what --retry-failed names.
Selection selection(const Options& o) {
  Selection out = o.selection;
  if (o.retry_failed.empty()) {
    return out;
  }
  try {
    for (const report::PastCase& c : report::read_report(o.retry_failed).cases) {
      const bool again = c.verdict == Verdict::fail || c.verdict == Verdict::error ||
                         c.verdict == Verdict::inconclusive;
      if (again && Registry::all().find(c.id) != nullptr) {
        out.cases.push_back(c.id);
      }
    }
  } catch (const std::runtime_error& e) {
    throw UsageError(fmt::format("--retry-failed {}", e.what()));
  }
  if (out.cases.size() == o.selection.cases.size()) {
    throw UsageError(fmt::format("--retry-failed {}: nothing failed in it", o.retry_failed));
  }
  return out;
}

int run(Options& o, const std::string& command) {
  constexpr int patience_started = 10;  // a target that was started just now
  settle_links(o.link);
  RunConfig config;
  config.cases = select(Registry::all(), selection(o));
  config.allowed = allowed(o);
  config.scratch = scratch(o);
  const std::set<Verdict> also_red = fail_on(o);
  if (o.shelf >= 0) {
    config.shelf = static_cast<uint16_t>(o.shelf);
  }
  if (o.slot >= 0) {
    config.slot = static_cast<uint8_t>(o.slot);
  }
  config.mac = target_mac(o);
  config.profiles = wanted_profiles(o);
  config.time_scale = o.time_scale;
  config.capture_dir = o.capture_dir;
  config.repeat_command = o.repeat_as.empty() ? repeat_command(o) : o.repeat_as;
  config.repeat_is_whole = !o.repeat_as.empty();
  config.interrupted = [] { return g_signals > 0; };
  std::optional<Outcome> outcome;
  if (!o.plan && !o.dry_run) {
    outcome.emplace(o.outcome, o.target_image);
    config.capture_dir = outcome->capture_dir(o.capture_dir);
  }
  if (o.repeat > 1) {
    const std::vector<const Case*> once = config.cases;
    for (size_t i = 1; i < o.repeat; ++i) {
      config.cases.insert(config.cases.end(), once.begin(), once.end());
    }
  }
  if (o.shuffle) {
    shuffle(config.cases, *o.shuffle);
  }
  config.time_limit_ns = static_cast<int64_t>(o.time_limit_s * links::kNsPerSecond);
  std::unique_ptr<control::ProcessControl> process;
  if (!o.target_buffers.empty() && o.target_command.empty()) {
    throw UsageError("--target-buffers needs --target-command");
  }
  if (!o.target_command.empty()) {
    if (o.link.model) {
      throw UsageError("--target-command starts a program: it has no use with --model");
    }
    if (o.shelf < 0 || o.slot < 0) {
      throw UsageError("--target-command needs --shelf and --slot");
    }
    std::map<std::string, std::string> values = {
        {"iface", o.target_interface.empty() ? o.link.interface() : o.target_interface},
        {"shelf", std::to_string(o.shelf)},
        {"slot", std::to_string(o.slot)}};
    if (!o.target_image.empty()) {
      values["image"] = o.target_image;
    }
    process = std::make_unique<control::ProcessControl>(
        control::ProcessControl::Command{o.target_command, values, o.target_buffers,
                                         outcome ? outcome->target_log() : std::string()});
    config.target = process.get();
  }
  if (o.plan) {
    const Port port = o.link.model ? open_link(o.link) : Port{};
    config.target = port.control ? port.control.get() : config.target;
    return plan(o, config);
  }
  if (o.dry_run) {
    constexpr size_t usual_mtu = 1500;
    std::cout << dry_run(config, o.link.mtu == 0 ? usual_mtu : o.link.mtu,
                         o.link.model || !o.target_command.empty());
    return exit_good;
  }
  const std::unique_ptr<UndoFile> undo = undo_file(o);
  prepare_last_words({});
  if (undo) {
    undo->on_change = prepare_last_words;
  }
  config.undo = undo.get();
  config.restore_first = o.restore_first;
  take_signals();
  if (process && !o.link.interfaces.empty()) {
    open_link(o.link);  // what is not there is said before anything is started
    process->start(control::State::fresh);
  }
  const std::string other_ways = choose_interface(o.link, {config.shelf, config.slot, config.mac},
                                                  process ? patience_started : 1);
  const Port port = open_link(o.link);
  links::Link* const link = port.link.get();
  config.target = port.control ? port.control.get() : config.target;
  const std::unique_ptr<links::PortWatch> watched_port = watch_port(o);
  config.witness = watched_port.get();
  if (process && o.link.interfaces.empty()) {
    process->start(control::State::fresh);
  }
  Progress progress(!o.outcome.quiet);
  config.on_begin = [&](size_t n, size_t total, const Case& c) { progress.begin(n, total, c.id); };
  std::optional<links::ObserverLink> watched;
  if (o.observe) {
    watched.emplace(*link, o.link.model || !o.target_command.empty());
  }
  report::Report report = run_suite(watched ? static_cast<links::Link&>(*watched) : *link, config);
  progress.clear();
  if (process) {
    process->stop();
  }
  if (!other_ways.empty()) {
    report.notes.push_back(other_ways);
  }
  if (o.shuffle) {
    report.notes.push_back(
        fmt::format("the order of the cases is that of --shuffle {}", *o.shuffle));
  }
  report.version = aoe_version();
  report.command = command;
  report::merge_repetitions(report);
  if (watched) {
    const links::Verdicts observed = links::against_target(*watched);
    std::cerr << observed.text;
    add_observed(report, observed.broken);
  }
  outcome->hold(report);
  report.exit_code = exit_code(report, also_red);
  outcome->tell(report, config.capture_dir);
  return report.exit_code;
}

void run_deviants(const Registry& registry, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (registry.deviants().count(name) == 0) {
      throw UsageError(fmt::format("deviants --run {}: there is none (list --deviants)", name));
    }
  }
  for (const auto& [name, deviant] : registry.deviants()) {
    if (names.empty() || std::find(names.begin(), names.end(), name) != names.end()) {
      std::cout << to_line(run_whole(registry, deviant)) << std::endl;  // a line when it is known
    }
  }
}

// Puts back what a run that was killed had changed.
int restore(Options& o) {
  const std::string folder = UndoFile::usual_folder();
  if (o.undo_file.empty() && folder.empty()) {
    throw UsageError("there is no home folder with undo files: --undo-file FILE names one");
  }
  UndoFile file(o.undo_file, folder);
  std::vector<std::string> unreadable;
  std::vector<UndoRecord> left = file.all(unreadable);
  if (left.empty() && !unreadable.empty()) {
    throw UsageError(fmt::format("the undo file {} is damaged: nothing can be put back from it",
                                 unreadable.front()));
  }
  const std::optional<Mac> mac = target_mac(o);
  left.erase(std::remove_if(left.begin(), left.end(),
                            [&](const UndoRecord& r) {
                              return (o.shelf >= 0 && o.shelf != r.shelf) ||
                                     (o.slot >= 0 && o.slot != r.slot) || (mac && *mac != r.mac);
                            }),
             left.end());
  if (left.empty()) {
    if (!o.undo_file.empty()) {
      throw UsageError(
          fmt::format("--undo-file {}: there is nothing to put back in it", o.undo_file));
    }
    std::cout << "nothing was left to be put back\n";
    return exit_good;
  }
  if (left.size() > 1) {
    std::string list;
    for (const UndoRecord& r : left) {
      list += fmt::format("\n  --undo-file {}   {}, since {}", file.path_of(r.mac, r.shelf, r.slot),
                          r.name(), report::time_text(r.began_ns));
    }
    throw UsageError(fmt::format("{} targets were left changed; choose one:{}", left.size(), list));
  }
  const UndoRecord& record = left.front();
  const std::string path = file.path_of(record.mac, record.shelf, record.slot);
  if (o.forget) {
    file.discard_earlier(record);
    std::cout << fmt::format("forgotten: what a run had changed on {}\n", record.name());
    return exit_good;
  }
  settle_links(o.link);
  if (o.link.interfaces.empty() && o.link.socket_path.empty() && !o.link.model) {
    o.link.interfaces = {record.link};  // where it was
  }
  prepare_last_words(path);
  take_signals();
  const Port port = open_link(o.link);
  TargetFacts facts;
  Context context(*port.link, facts, {}, {o.time_scale});
  context.shared().interrupted = [] { return g_signals > 0; };
  PutBack done;
  try {
    done = put_back(context, record, o.any_disk);
  } catch (const Interrupted&) {
    done.trouble = "interrupted";
  } catch (const links::LinkError& e) {
    done.trouble = e.what();
  }
  if (done.trouble.empty()) {
    file.discard_earlier(record);
    std::cout << fmt::format("put back on {}: {}\n", record.name(), done.what);
    return exit_good;
  }
  std::cerr << fmt::format("aoe-conformance: {}{} ({} is kept)\n", done.trouble,
                           done.other ? "; --any-disk does it all the same" : "", path);
  return done.other ? exit_usage : done.reached ? exit_inconclusive : exit_unreachable;
}

int probe(Options& o, Probe what) {
  settle_links(o.link);
  ProbeOptions options;
  if (o.shelf >= 0) {
    options.shelf = static_cast<uint16_t>(o.shelf);
  }
  if (o.slot >= 0) {
    options.slot = static_cast<uint8_t>(o.slot);
  }
  options.mac = target_mac(o);
  options.bursts = o.bursts;
  options.probes = o.probes;
  options.json = o.json;
  take_signals();
  choose_interface(o.link, {options.shelf, options.slot, options.mac}, 1);
  const Port port = open_link(o.link);
  TargetFacts facts;
  Context context(*port.link, facts, {}, {o.time_scale});
  context.shared().interrupted = [] { return g_signals > 0; };
  return what(context, options, std::cout, std::cerr);
}

// What is wrong with the words, in one line; --help and --version as they are.
int say_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    return app.exit(error);
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    what = "unknown option or word" + what.substr(std::min(what.size(), what.find(':')));
  }
  std::cerr << fmt::format("aoe-conformance: {} (see aoe-conformance COMMAND --help)\n", what);
  return exit_usage;
}

int dispatch(int argc, char** argv) {
  CLI::App app{"Judges an ATA-over-Ethernet target, clause by clause.", "aoe-conformance"};
  app.set_version_flag("--version", fmt::format("aoe-conformance {}", aoe_version()));
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  Options o;
  CLI::App* run_app = app.add_subcommand("run", "Judge a target");
  add_run(*run_app, o);
  CLI::App* list_app = app.add_subcommand("list", "The cases");
  add_selection(*list_app, o);
  list_app->add_flag("--markdown", o.markdown, "As docs/cases.md");
  list_app->add_flag("--deviants", o.deviants, "The deviations that --deviant knows, instead");
  const ReportCommands report_commands(app, aoe_version());
  const InitiatorCommand initiator_command(app, aoe_version(), [] { return g_signals > 0; });
  CLI::App* show_app = app.add_subcommand("show", "One case: clauses, needs, what it fails on");
  show_app->add_option("case", o.show, "Its id")->required();
  CLI::App* clauses_app =
      app.add_subcommand("clauses", "The clauses, and which cases ask for them");
  clauses_app->add_flag("--markdown", o.markdown, "As docs/clauses.md");
  CLI::App* deviants_app =
      app.add_subcommand("deviants", "The model's deviants, and under which clause each is caught");
  deviants_app->add_flag("--markdown", o.markdown, "As docs/deviants.md");
  deviants_app->add_flag("--run", o.run_deviants,
                         "Run the whole suite against each, and print what it says: the lines of "
                         "conformance/deviants.tsv (minutes)");
  deviants_app->add_option("names", o.deviant_names, "With --run: only these")
      ->type_name("NAME...");
  CLI::App* probe_app = app.add_subcommand("probe", "What a target offers: numbers, no verdict");
  probe_app->require_subcommand(1);
  CLI::App* congestion_app = probe_app->add_subcommand(
      "congestion",
      "The best number of outstanding requests, by bursts of AoEde's congestion probes");
  add_where(*congestion_app, o);
  congestion_app
      ->add_option("--bursts", o.bursts, "How many bursts; each stops the target for 0.5 s")
      ->check(CLI::Range(1, 1000));
  congestion_app->add_option("--probes", o.probes, "Probes in a burst")
      ->check(CLI::Range(2, 100000));
  CLI::App* extensions_app =
      probe_app->add_subcommand("extensions", "What command 0x23 offers, and how it behaves");
  add_where(*extensions_app, o);
  CLI::App* mtu_app = probe_app->add_subcommand(
      "mtu", "What the link carries each way, against what both sides claim");
  add_where(*mtu_app, o);
  for (CLI::App* one : {congestion_app, extensions_app, mtu_app}) {
    one->add_flag("--json", o.json, "Print JSON instead of a table");
    one->footer(
        "Exit codes: 0 good; 1 the target broke a rule, or the path carries less than both sides "
        "claim;\n2 usage; 3 no target; 4 inconclusive; 77 the target does not know command 0x23.");
  }
  run_app->footer(
      "Exit codes: 0 good; 1 a MUST (or what Linux needs) failed, or the baseline is not met; 2 "
      "usage; "
      "3 no target;\n4 inconclusive; 5 an error of the suite; 77 everything was skipped.\n"
      "Only reads, unless --allow says more. What it changes then (config string, mask and reserve "
      "lists,\nscratch sectors) it keeps in an undo file and puts back at the end, after Ctrl-C "
      "and "
      "TERM, too.\nAfter kill -9, a crash or a cut link `aoe-conformance restore` puts it back, "
      "and "
      "until then no further\nrun against that target begins.");
  CLI::App* restore_app =
      app.add_subcommand("restore", "Put back what a run that was killed had changed");
  add_where(*restore_app, o);
  restore_app
      ->add_option("--undo-file", o.undo_file,
                   "What to put back (default: what lies in the user's state folder)")
      ->type_name("FILE");
  restore_app->add_flag("--forget", o.forget,
                        "Remove the file and put nothing back: the disk is gone, or not worth it");
  restore_app->add_flag("--any-disk", o.any_disk,
                        "Even where serial number or size are not those of the file");
  restore_app->footer(
      "Without --interface it is looked for where it was. Exit codes: 0 everything is as it was; 2 "
      "usage, or\nanother disk stands there; 3 the target does not answer; 4 not everything could "
      "be put back. The file\nis kept unless the exit code is 0.");
  try {
    app.parse(argc, argv);
    if (run_app->parsed() && !o.outcome.settings.empty()) {
      std::vector<std::string> words = read_settings(o.outcome.settings, *run_app);
      words.insert(words.begin(), argv + 1, argv + argc);
      std::reverse(words.begin(), words.end());  // as CLI11 takes them
      o = Options();
      app.clear();
      app.parse(words);
    }
  } catch (const CLI::ParseError& e) {
    return say_usage(app, e);
  }
  const Registry& registry = Registry::all();
  if (run_app->parsed()) {
    return run(o, joined(argc, argv));
  }
  if (restore_app->parsed()) {
    return restore(o);
  }
  if (initiator_command.chosen()) {
    prepare_last_words({});
    take_signals();
    return initiator_command.run();
  }
  if (report_commands.chosen()) {
    return report_commands.run();
  }
  if (probe_app->parsed()) {
    return probe(o, congestion_app->parsed() ? probe_congestion
                    : mtu_app->parsed()      ? probe_mtu
                                             : probe_extensions);
  }
  if (list_app->parsed()) {
    const auto cases = select(registry, o.selection);
    std::cout << (o.deviants   ? deviants_text(registry)
                  : o.markdown ? cases_markdown(cases)
                               : list_text(cases));
  } else if (show_app->parsed()) {
    Selection one;
    one.cases = {o.show};
    for (const Case* c : select(registry, one)) {
      std::cout << show_text(registry, *c);
    }
  } else if (deviants_app->parsed()) {
    if (o.run_deviants) {
      run_deviants(registry, o.deviant_names);
    } else if (o.markdown) {
      std::cout << deviants_markdown(registry);
    } else {
      for (const auto& [name, deviant] : registry.deviants()) {
        std::cout << fmt::format("{:<40} {}\n", name, deviant.story);
      }
    }
  } else if (clauses_app->parsed()) {
    std::cout << (o.markdown ? clauses_markdown(registry) : clauses_text(registry));
  }
  return exit_good;
}

}  // namespace
}  // namespace conformance

int main(int argc, char** argv) {
  try {
    const int code = conformance::dispatch(argc, argv);
    return output::printed_whole("aoe-conformance") ? code : conformance::exit_error;
  } catch (const conformance::UsageError& e) {
    std::cerr << "aoe-conformance: " << e.what() << "\n";
    return conformance::exit_usage;
  } catch (const std::exception& e) {
    std::cerr << "aoe-conformance: " << e.what() << "\n";
    return conformance::exit_error;
  }
}
