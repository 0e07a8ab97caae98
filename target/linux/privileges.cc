// Gives up every privilege but one: see privileges.h.
#include "target/linux/privileges.h"

#include <cap-ng.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <vector>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

[[noreturn]] void fail(const char* what) {
  throw StartError(
      fmt::format("cannot give up privileges ({}: {}): start aoe-target as a user that "
                  "has only CAP_NET_RAW",
                  what, errno_text(errno)));
}

// Everything else goes with the user: capabilities, groups, bounding set.
void become(const Account& account) {
  capng_clear(CAPNG_SELECT_ALL);
  capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
               CAP_NET_RAW);
  if (capng_change_id(static_cast<int>(account.user), static_cast<int>(account.group),
                      static_cast<capng_flags_t>(CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING)) !=
      0) {
    fail("becoming another user");
  }
}

bool all_digits(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isdigit(letter) != 0;
  });
}

}  // namespace

std::variant<Account, std::string> find_account(const std::string& user) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> text(65'536);
  unsigned number = 0;
  const bool numeric = all_digits(user);
  if (numeric) {
    const auto end = std::from_chars(user.data(), user.data() + user.size(), number);
    if (end.ec != std::errc() || number == static_cast<unsigned>(-1)) {
      return fmt::format("user {}: not a number of a user", user);
    }
    ::getpwuid_r(number, &entry, text.data(), text.size(), &found);
  } else {
    ::getpwnam_r(user.c_str(), &entry, text.data(), text.size(), &found);
  }
  if (found == nullptr) {
    return fmt::format("user {} does not exist: make one, as in adduser --system --group {}", user,
                       numeric ? "aoe" : user);
  }
  if (::geteuid() != 0 && ::geteuid() != entry.pw_uid) {
    return fmt::format(
        "user {}: only root can become another user: start aoe-target as root, or "
        "as {} with CAP_NET_RAW",
        user, entry.pw_name);
  }
  return Account{entry.pw_name, entry.pw_uid, entry.pw_gid};
}

std::string describe_privileges(const std::optional<Account>& account) {
  return fmt::format("runs as user {} with CAP_NET_RAW and no other privilege",
                     account ? account->name : std::to_string(::geteuid()));
}

void drop_privileges(const std::optional<Account>& account) {
  if (account && ::geteuid() != account->user) {
    become(*account);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
      fail("PR_SET_NO_NEW_PRIVS");
    }
    return;
  }
  capng_clear(CAPNG_SELECT_ALL);
  if (capng_get_caps_process() != 0) {
    fail("capget");
  }
  const bool may_change_groups = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) == 1;
  const bool may_change_bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
  // A user namespace may forbid it, and then there is nothing to gain from the groups either.
  if (may_change_groups && ::setgroups(0, nullptr) != 0 && errno != EPERM) {
    fail("setgroups");
  }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    fail("ambient capabilities");
  }
  if (may_change_bounds) {
    capng_clear(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_BOUNDS) != 0) {
      fail("bounding set");
    }
  }
  capng_clear(CAPNG_SELECT_CAPS);
  capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
               CAP_NET_RAW);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
    fail("capset");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail("PR_SET_NO_NEW_PRIVS");
  }
}

}  // namespace target::linux_shell
