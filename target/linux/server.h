// The whole program after its options were read: several exports, signals, the control socket, one
// event loop. It owns start and end; what an export does is export.h's.
#pragma once

#include "target/linux/options.h"

namespace target::linux_shell {

// Runs until SIGTERM, SIGINT or SIGHUP; returns the exit code. Throws StartError when it cannot
// start.
int serve(const Options& options);

}  // namespace target::linux_shell
