// Gives up every privilege but the one that a running target needs: CAP_NET_RAW, to open its packet
// sockets again when an interface comes back. It knows nothing else.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <variant>

namespace target::linux_shell {

// Who a process runs as.
struct Account {
  std::string name;
  uid_t user = 0;
  gid_t group = 0;
};

// By name or number; or what is wrong with it, and what to do.
std::variant<Account, std::string> find_account(const std::string& user);

// Call after everything is open, and before any thread is started. With an account the process runs
// as that user from here on. Throws StartError when a privilege cannot be given up.
void drop_privileges(const std::optional<Account>& account);

// What is left after that, for people.
std::string describe_privileges(const std::optional<Account>& account);

}  // namespace target::linux_shell
