// Gives up every privilege but the one that a running target needs: CAP_NET_RAW, to open its packet
// sockets again when an interface comes back. It knows nothing else.
#pragma once

namespace target::linux_shell {

// Call after everything is open. Throws StartError when a privilege cannot be given up.
void drop_privileges();

}  // namespace target::linux_shell
