// One archive for a bug report.

#include "conformance/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "conformance/report/page.h"
#include "conformance/runner/selection.h"

namespace conformance {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFolder = "aoe-conformance/";

class Archive {
 public:
  explicit Archive(const std::string& path) : archive_(archive_write_new()), path_(path) {
    archive_write_add_filter_gzip(archive_);
    archive_write_set_format_pax_restricted(archive_);
    check(archive_write_open_filename(archive_, path.c_str()));
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;
  ~Archive() { archive_write_free(archive_); }

  void add(const std::string& name, const std::string& content, int64_t at_s) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, (kFolder + name).c_str());
    archive_entry_set_size(entry, static_cast<int64_t>(content.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    constexpr unsigned readable = 0644;
    archive_entry_set_perm(entry, readable);
    archive_entry_set_mtime(entry, at_s, 0);
    const int result = archive_write_header(archive_, entry);
    archive_entry_free(entry);
    check(result);
    if (archive_write_data(archive_, content.data(), content.size()) !=
        static_cast<la_ssize_t>(content.size())) {
      check(ARCHIVE_FATAL);
    }
  }
  void close() { check(archive_write_close(archive_)); }

 private:
  void check(int result) {
    if (result < ARCHIVE_WARN) {
      const char* why = archive_error_string(archive_);
      throw std::runtime_error(
          fmt::format("{}: cannot be written: {}", path_, why == nullptr ? "?" : why));
    }
  }
  struct archive* archive_;
  std::string path_;
};

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string versions(const report::Report& r) {
  utsname name{};
  uname(&name);
  return fmt::format("aoe-conformance {}\n{} {} {} {}\ncommand: {}\n", r.version, name.sysname,
                     name.release, name.version, name.machine, r.command);
}

}  // namespace

Bundle::Bundle(std::string path) : path_(std::move(path)) {
  std::error_code error;
  folder_ = (fs::temp_directory_path(error) / "aoe-conformance-XXXXXX").string();
  if (error || mkdtemp(folder_.data()) == nullptr) {
    throw UsageError(
        fmt::format("--bundle: no folder to collect in (TMPDIR): {}", std::strerror(errno)));
  }
  const fs::path parent = fs::path(path_).has_parent_path() ? fs::path(path_).parent_path() : ".";
  const bool is_folder = fs::is_directory(path_, error);
  if (is_folder || access(parent.c_str(), W_OK) != 0) {
    const std::string why = is_folder ? "it is a directory" : std::strerror(errno);
    fs::remove_all(folder_, error);
    throw UsageError(fmt::format("--bundle {}: cannot be written: {}", path_, why));
  }
}

Bundle::~Bundle() {
  std::error_code error;
  fs::remove_all(folder_, error);
}

void Bundle::write(const report::Report& r, const std::string& capture_dir,
                   const std::string& target_log, const std::string& settings_file) const {
  const std::string fresh = fmt::format("{}.{}.new", path_, getpid());
  const int64_t at_s = r.started_ns / links::kNsPerSecond;
  std::error_code error;
  try {
    Archive archive(fresh);
    const std::string json = to_json(r);
    archive.add("report.json", json, at_s);
    archive.add("report.html", report::run_page(json), at_s);
    archive.add("report.txt", to_text(r, {false, report::Detail::full}), at_s);
    archive.add("versions.txt", versions(r), at_s);
    if (!settings_file.empty()) {
      archive.add("settings.toml", content_of(settings_file), at_s);
    }
    if (fs::exists(target_log, error)) {
      archive.add("target.log", content_of(target_log), at_s);
    }
    for (const auto& file : fs::directory_iterator(capture_dir, error)) {
      archive.add("captures/" + file.path().filename().string(), content_of(file.path()), at_s);
    }
    archive.close();
    fs::rename(fresh, path_);
  } catch (const std::exception&) {
    fs::remove(fresh, error);
    throw;
  }
}

}  // namespace conformance
