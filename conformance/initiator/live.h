#pragma once
// The initiator on real interfaces: sockets, the clock, waiting. It makes no decision of the
// protocol; the library does.

#include <csignal>
#include <memory>

#include "conformance/initiator/frame_socket.h"
#include "conformance/initiator/initiator.h"

namespace conformance::initiator {

struct Where {
  std::vector<std::string> interfaces;  // each a path
  std::optional<Mac> own;               // instead of an address of our own making
  size_t mtu_max = 0;                   // 0: the interface's
};

// One socket for each interface, with the address it asks from.
class Wires {
 public:
  // Throws LinkError.
  explicit Wires(const Where& where);

  struct Wire {
    OwnAddress own;
    size_t mtu;
    std::unique_ptr<FrameSocket> socket;
  };
  std::vector<Wire>& all() { return wires_; }
  std::vector<PathConfig> paths() const;
  // Until something can be read, the time comes (of now_ns()), `wake` becomes readable (-1: none)
  // or a signal interrupts.
  void wait(int64_t until_ns, int wake = -1);

 private:
  std::vector<Wire> wires_;
};

// Monotonic, and never 0.
int64_t now_ns();
// For what needs no order: a discovery, a probe.
uint32_t random_tag();
// A first tag ahead of every former process's: eight a microsecond of the wall clock. A new process
// begins a new, empty window, and a late copy of a write of the process before must lie behind it,
// not ahead and not inside. The clock gains a window's 32,768 tags in 4 ms, and more than anybody
// can use; it comes round in 9 minutes, so a copy up to 4 minutes late is known for old.
uint32_t tag_of_now();

class Live {
 public:
  // config.paths is made from the wires.
  Live(Wires& wires, Config config);

  Initiator& initiator() { return initiator_; }
  // Sends what is to be sent, waits for something to happen (not longer than until_ns, and not at
  // all when there are completions), takes in what has come.
  void turn(int64_t until_ns, int wake = -1);
  // False when the time was up before the target was ready.
  bool connect(int64_t until_ns, const volatile std::sig_atomic_t* stop);

 private:
  void send();
  Wires& wires_;
  Initiator initiator_;
  std::vector<std::vector<BytesView>> outgoing_;
};

}  // namespace conformance::initiator
