#pragma once
// Commands that only read reports and baselines: matrix, diff, baseline check. Options in, exit
// code out; they never meet a target.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace conformance {

class ReportCommands {
 public:
  // Adds the commands to the program, before it parses.
  ReportCommands(CLI::App& app, std::string version);
  bool chosen() const;
  // The exit code of the command that was chosen. Throws UsageError.
  int run() const;

 private:
  int matrix() const;
  int diff() const;
  int check_baseline() const;

  std::string version_;
  CLI::App* matrix_ = nullptr;
  CLI::App* diff_ = nullptr;
  CLI::App* baseline_ = nullptr;
  std::vector<std::string> files_;
  std::string output_;
  std::string before_, after_;
  bool json_ = false;
  std::string baseline_file_;
  std::string report_;
};

}  // namespace conformance
