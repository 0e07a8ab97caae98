#include "conformance/hostile/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "conformance/control/process.h"
#include "conformance/runner/selection.h"

namespace conformance::hostile {

namespace fs = std::filesystem;
using observer::F;
using observer::get;

namespace {

constexpr uint64_t kDiskSectors = 4096;

Bytes content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A folder of the run's own, gone at its end.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "aoe-initiator-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw UsageError("cannot make a folder in " + fs::temp_directory_path().string());
    }
    path_ = name;
  }
  ~Folder() {
    std::error_code unknown;
    fs::remove_all(path_, unknown);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path at(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

// As one word for a shell: several commands may stand in it.
std::string one_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

class Run {
 public:
  Run(links::Link& link, const InitiatorRun& run) : link_(link), run_(run) {
    report_.link_name = link.name();
    report_.mtu = link.mtu();
    report_.started_ns = link.now_ns();
    report_.target_known = true;  // it is us
    TargetFacts& facts = report_.target;
    facts.mac = link.mac();
    facts.shelf = run.shelf;
    facts.slot = run.slot;
    facts.aoe_version = 1;
    facts.buffer_count = 32;
    facts.sectors = kDiskSectors;
    facts.model = "the target that misbehaves";
  }

  report::Report judge() {
    std::vector<const InitiatorCase*> chosen;
    for (const InitiatorCase& c : initiator_cases()) {
      const bool wanted =
          run_.only.empty() || std::any_of(run_.only.begin(), run_.only.end(),
                                           [&](const auto& g) { return glob_matches(g, c.id); });
      if (wanted) {
        chosen.push_back(&c);
      }
    }
    if (chosen.empty()) {
      throw UsageError("no case matches: aoe-conformance initiator --list");
    }
    std::vector<Finding> form;
    bool heard = false;
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (run_.interrupted()) {
        report_.trouble = "interrupted";
        break;
      }
      if (run_.on_begin) {
        run_.on_begin(i + 1, chosen.size(), chosen[i]->id);
      }
      heard = one(*chosen[i], form) || heard;
    }
    CaseResult whole = result_of("requests.well-formed", "INIT-FORM");
    whole.verdict = heard ? Verdict::pass : Verdict::inconclusive;
    whole.reason = heard ? "" : "nobody asked anything";
    settle(whole, form);
    report_.cases.push_back(std::move(whole));
    if (!heard && report_.trouble.empty()) {
      report_.trouble =
          fmt::format("nobody asked {}.{} on {}", run_.shelf, run_.slot, link_.name());
    }
    report_.duration_ms =
        static_cast<double>(link_.now_ns() - report_.started_ns) / links::kNsPerMs;
    return std::move(report_);
  }

 private:
  CaseResult result_of(const std::string& id, const std::string& clause) const {
    CaseResult result;
    result.id = id;
    result.level = Level::must;
    result.clauses = {clause};
    result.started_ns = link_.now_ns();
    result.repeat = fmt::format("{} --case '{}'", run_.repeat_command, id);
    return result;
  }

  static void settle(CaseResult& result, const std::vector<Finding>& findings) {
    for (const Finding& f : findings) {
      if (result.verdict != Verdict::fail &&
          (f.verdict == Verdict::fail || result.verdict == Verdict::pass)) {
        result.verdict = f.verdict;
        result.reason = f.headline;
      }
      result.findings.push_back(f);
    }
  }

  // True: somebody asked.
  bool one(const InitiatorCase& c, std::vector<Finding>& form) {
    deviants::ModelConfig config;
    config.mac = link_.mac();
    config.shelf = run_.shelf;
    config.slot = run_.slot;
    config.sectors = kDiskSectors;
    config.mtu = link_.mtu();
    Player player(link_, config);
    c.play(player);
    CaseResult result = result_of(c.id, c.clause);
    Ended ended;
    const Folder folder;
    const Bytes in = prepare(folder);
    std::optional<control::TargetProcess> process;
    if (!run_.command.empty()) {
      process.emplace("/bin/sh -c " + one_word(control::fill_placeholders(
                                          run_.command, {{"iface", run_.interface},
                                                         {"shelf", std::to_string(run_.shelf)},
                                                         {"slot", std::to_string(run_.slot)},
                                                         {"lba", std::to_string(kJobLba)},
                                                         {"sectors", std::to_string(kJobSectors)},
                                                         {"in", folder.at("in").string()},
                                                         {"out", folder.at("out").string()}})));
      process->start();
      ended.started = true;
    }
    player.announce();
    player.serve(link_.now_ns() + run_.case_ns,
                 [&] { return run_.interrupted() || (process && !process->running()); });
    if (process) {
      ended.in_time = !process->running();
      process->end();
      ended.how = process->how_it_ended();
      ended.good = ended.in_time && ended.how.find("exit code 0") != std::string::npos;
      Bytes disk;
      for (uint64_t lba = kJobLba; lba < kJobLba + kJobSectors; ++lba) {
        const Bytes sector = player.model().read_sector(lba);
        disk.insert(disk.end(), sector.begin(), sector.end());
      }
      ended.disk_is_right = disk == in;
      ended.read_is_right = content_of(folder.at("out")) == in;
      result.target_said = process->what_it_said();
    }
    Seen seen{player, ended, {}, false, {}};
    const bool heard = !player.heard().empty();
    result.verdict = heard ? Verdict::pass : Verdict::inconclusive;
    result.reason = heard ? "" : "nobody asked anything";
    if (heard) {
      judge_work(c, seen);
      if (c.judge) {
        c.judge(seen);
      }
      if (seen.unsupported && seen.findings.empty()) {
        result.verdict = Verdict::unsupported;
        result.reason = seen.remark;
      }
      settle(result, seen.findings);
      Seen all{player, ended, {}, false, {}};
      judge_form(all);
      for (Finding& f : all.findings) {
        if (std::none_of(form.begin(), form.end(),
                         [&](const Finding& known) { return known.headline == f.headline; })) {
          form.push_back(std::move(f));
        }
      }
    }
    result.frames_omitted = player.frames().omitted();
    result.frames = player.frames().take();
    report_.frames_sent += player.heard().size();
    result.duration_ms = static_cast<double>(link_.now_ns() - result.started_ns) / links::kNsPerMs;
    report_.cases.push_back(std::move(result));
    return heard;
  }

  // What is to be written: other bytes in every case.
  Bytes prepare(const Folder& folder) {
    Bytes in(kJobSectors * observer::kSectorBytes);
    std::generate(in.begin(), in.end(), [&] { return static_cast<uint8_t>(draw_()); });
    std::ofstream(folder.at("in"), std::ios::binary)
        .write(reinterpret_cast<const char*>(in.data()), static_cast<std::streamsize>(in.size()));
    return in;
  }

  links::Link& link_;
  const InitiatorRun& run_;
  report::Report report_;
  std::mt19937_64 draw_{1};
};

}  // namespace

report::Report judge_initiator(links::Link& link, const InitiatorRun& run) {
  return Run(link, run).judge();
}

}  // namespace conformance::hostile
