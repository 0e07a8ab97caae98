// A run's result: its counts, and its faces as files.

#include "conformance/report/report.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "conformance/output/output_file.h"
#include "conformance/report/page.h"

namespace conformance::report {

std::map<Verdict, size_t> Report::counts() const {
  std::map<Verdict, size_t> out;
  for (const Verdict v : kVerdicts) {
    out[v] = 0;
  }
  for (const CaseResult& c : cases) {
    ++out[c.verdict];
  }
  return out;
}

void merge_repetitions(Report& report) {
  const auto badness = [](Verdict v) {
    constexpr std::array<Verdict, 8> order = {
        Verdict::pass, Verdict::info,         Verdict::skip, Verdict::unsupported,
        Verdict::warn, Verdict::inconclusive, Verdict::fail, Verdict::error};
    return std::find(order.begin(), order.end(), v) - order.begin();
  };
  std::vector<CaseResult> merged;
  std::map<std::string, size_t> index;
  for (CaseResult& c : report.cases) {
    const auto [it, is_new] = index.emplace(c.id, merged.size());
    const Verdict verdict = c.verdict;
    if (is_new) {
      merged.push_back(std::move(c));
    } else if (badness(verdict) > badness(merged[it->second].verdict)) {
      c.repetitions = std::move(merged[it->second].repetitions);
      merged[it->second] = std::move(c);
    }
    merged[it->second].repetitions.push_back(verdict);
  }
  report.cases = std::move(merged);
}

std::string time_text(int64_t ns) {
  const time_t seconds = ns / links::kNsPerSecond;
  tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     ns % links::kNsPerSecond / links::kNsPerUs);
}

void make_directory(const std::string& directory) {
  struct stat info {};
  if (mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    throw std::runtime_error(
        fmt::format("{}: cannot be made: {}", directory, std::strerror(errno)));
  }
  if (stat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    throw std::runtime_error(fmt::format("{}: is no directory", directory));
  }
}

void write_all(const std::string& directory, const Report& report) {
  make_directory(directory);
  output::write_file(directory + "/report.txt", to_text(report, {false, Detail::full}));
  output::write_file(directory + "/report.tap", to_tap(report));
  output::write_file(directory + "/report.xml", to_junit(report));
  const std::string json = to_json(report);
  output::write_file(directory + "/report.json", json);
  output::write_file(directory + "/report.html", run_page(json));
}

}  // namespace conformance::report
