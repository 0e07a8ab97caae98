// A run's result: its counts, and its faces as files.

#include "conformance/report/report.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

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

std::string time_text(int64_t ns) {
  const time_t seconds = ns / links::kNsPerSecond;
  tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     ns % links::kNsPerSecond / links::kNsPerUs);
}

void write_file(const std::string& path, const std::string& content) {
  const std::string fresh = fmt::format("{}.{}.new", path, getpid());
  const auto give_up = [&](const char* what) {
    const std::string why = std::strerror(errno);
    std::remove(fresh.c_str());
    throw std::runtime_error(fmt::format("{}: {}: {}", path, what, why));
  };
  std::FILE* f = std::fopen(fresh.c_str(), "w");
  if (f == nullptr) {
    give_up("cannot be written");
  }
  const bool written = std::fwrite(content.data(), 1, content.size(), f) == content.size();
  if (std::fclose(f) != 0 || !written) {
    give_up("cannot be written whole");
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    give_up("cannot be replaced");
  }
}

void make_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    throw std::runtime_error(
        fmt::format("{}: cannot be made: {}", directory, std::strerror(errno)));
  }
}

void write_all(const std::string& directory, const Report& report) {
  make_directory(directory);
  write_file(directory + "/report.txt", to_text(report, {false, Detail::full}));
  write_file(directory + "/report.tap", to_tap(report));
  write_file(directory + "/report.xml", to_junit(report));
  const std::string json = to_json(report);
  write_file(directory + "/report.json", json);
  write_file(directory + "/report.html", run_page(json));
}

}  // namespace conformance::report
