// Gives up every privilege but one: see privileges.h.
#include "target/linux/privileges.h"

#include <cap-ng.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/prctl.h>

#include <cerrno>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

[[noreturn]] void fail(const char* what) {
  throw StartError(
      fmt::format("cannot give up privileges ({}: {}): start aoe-target as a user that "
                  "has only CAP_NET_RAW",
                  what, errno_text(errno)));
}

}  // namespace

void drop_privileges() {
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
