#pragma once
// One archive for a bug report: the reports, captures, what was asked for, versions, and what the
// target said. Owns the folder in which it collects them until the run is over.

#include <string>

#include "conformance/report/report.h"

namespace conformance {

class Bundle {
 public:
  // `path`: a .tar.gz. Throws UsageError when it cannot be written.
  explicit Bundle(std::string path);
  Bundle(const Bundle&) = delete;
  Bundle& operator=(const Bundle&) = delete;
  ~Bundle();

  // Where captures and the target's words go when the user names no place.
  std::string capture_dir() const { return folder_ + "/captures"; }
  std::string target_log() const { return folder_ + "/target.log"; }

  // Writes the archive, whole or not at all. Captures and the log may stand elsewhere. Throws
  // std::runtime_error.
  void write(const report::Report& report, const std::string& capture_dir,
             const std::string& target_log, const std::string& settings_file) const;

 private:
  std::string path_;
  std::string folder_;
};

}  // namespace conformance
