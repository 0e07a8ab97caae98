#pragma once
// Where the target is, from the command line: options that name links, and which of several
// interfaces is meant. Opens links; judges nobody.

#include <memory>
#include <string>
#include <vector>

#include "conformance/control/target_control.h"
#include "conformance/links/link.h"
#include "conformance/runner/who.h"

namespace CLI {
class App;
}

namespace conformance {

struct LinkOptions {
  std::vector<std::string> names;       // --link
  std::vector<std::string> interfaces;  // --interface
  std::string socket_path;
  bool model = false;
  std::string deviant;
  size_t mtu = 0;

  // The interface that is used; empty: it is none.
  std::string interface() const { return interfaces.empty() ? std::string() : interfaces.front(); }
};

void add_link_options(CLI::App& app, LinkOptions& o);
// Turns --link into the others, and refuses what contradicts itself. Throws UsageError.
void settle_links(LinkOptions& o);
// The way to the target, and who can start and end it from there.
struct Port {
  std::unique_ptr<links::Link> link;
  std::unique_ptr<control::TargetControl> control;  // none: whoever --target-command names
};
// The first interface where there are several. Throws UsageError for what is not there.
Port open_link(const LinkOptions& o);

// Of several interfaces, the one behind which the wanted target answers comes first; `patience`:
// how often it is looked for. What else was found, in a sentence; empty: nothing worth saying.
std::string choose_interface(LinkOptions& o, const Wanted& wanted, int patience);

}  // namespace conformance
