#pragma once
// The settings file of `run`: options by name, in TOML. Turns it into words of a command line, so
// that one table of options (the program's own) says what there is and what may stand there.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace conformance {

// Words for the options that stand in the file and were not given to `app`, which has been parsed.
// Throws UsageError that names file and line: not TOML, a key that is no option, a value that fits
// none.
std::vector<std::string> read_settings(const std::string& path, const CLI::App& app);

}  // namespace conformance
