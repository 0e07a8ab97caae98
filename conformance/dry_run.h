#pragma once
// What a run would send, change and save, told without sending anything: the cases run against the
// built-in model, in virtual time, and their frames are counted. A real target may be asked again
// where the model answers at once, so the numbers are the least, and the kinds are exact.

#include <string>

#include "conformance/runner/run.h"

namespace conformance {

// `config` as for the run itself; `restarts`: the target would be one that can be started again.
std::string dry_run(RunConfig config, size_t mtu, bool restarts);

}  // namespace conformance
