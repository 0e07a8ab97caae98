#pragma once
// `aoe-conformance initiator`: its options, and what becomes of the report. Judges nobody itself.

#include <functional>
#include <memory>
#include <string>

namespace CLI {
class App;
}

namespace conformance {

class InitiatorCommand {
 public:
  // `interrupted`: a first signal has come.
  InitiatorCommand(CLI::App& app, std::string version, std::function<bool()> interrupted);
  ~InitiatorCommand();
  InitiatorCommand(const InitiatorCommand&) = delete;
  InitiatorCommand& operator=(const InitiatorCommand&) = delete;
  [[nodiscard]] bool chosen() const;
  int run() const;

 private:
  struct Options;
  CLI::App* app_;
  std::string version_;
  std::function<bool()> interrupted_;
  std::unique_ptr<Options> o_;
};

}  // namespace conformance
