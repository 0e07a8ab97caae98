// The whole program after its options were read: see server.h.
#include "target/linux/server.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "target/linux/control_socket.h"
#include "target/linux/event_loop.h"
#include "target/linux/export.h"
#include "target/linux/link_watch.h"
#include "target/linux/privileges.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

// How long the end waits for an interface that takes no more frames.
constexpr engine::Nanoseconds kLastSend_ns = 1'000'000'000;

constexpr int kExitGood = 0;
constexpr int kExitFailed = 1;

// A reader that has gone away is no reason to stop serving.
void print_line(std::FILE* stream, const std::string& line) {
  std::fputs((line + "\n").c_str(), stream);
  std::fflush(stream);
}

// A name of a file or an interface is bytes, and JSON is UTF-8.
std::string to_line(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

UniqueFd open_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int one : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    ::sigaddset(&signals, one);
  }
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

class Server {
 public:
  explicit Server(const Options& options) : options_(options), signals_(open_signals()) {
    for (const auto& one : options_.exports) {
      exports_.push_back(std::make_unique<Export>(one, loop_));
    }
    if (!options_.control.empty()) {
      control_ = std::make_unique<ControlSocket>(
          loop_, options_.control, [this](std::string_view question) { return answer(question); });
    }
    loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) { on_signal(); });
    loop_.add(links_.fd(), EPOLLIN, [this](std::uint32_t) { on_links(); });
    drop_privileges();
    for (const auto& one : exports_) {
      one->prove_state_is_writable();
    }
  }

  int run() {
    // An interface may have changed between its opening and the watching.
    on_links();
    bool more = work();  // announces
    tell_ready();
    while (!ending_) {
      loop_.run_once(more ? 0 : deadline());
      more = work();
    }
    return finish();
  }

 private:
  bool work() {
    bool more = false;
    for (const auto& one : exports_) {
      more = one->work() || more;
    }
    return more;
  }

  [[nodiscard]] engine::Nanoseconds deadline() const {
    engine::Nanoseconds earliest = engine::kNever;
    for (const auto& one : exports_) {
      earliest = std::min(earliest, one->deadline());
    }
    return earliest;
  }

  void tell_ready() const {
    for (const auto& one : exports_) {
      print_line(stderr, fmt::format("ready: {} on {}, {} sectors", one->name(),
                                     one->interface_list(), one->sectors()));
    }
    if (options_.ready_fd >= 0) {
      if (::write(options_.ready_fd, "\n", 1) != 1) {
        spdlog::warn("ready-fd {}: {}", options_.ready_fd, errno_text(errno));
      }
      ::close(options_.ready_fd);
    }
  }

  void on_signal() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGUSR1) {
        print_line(stdout, counters());
      } else if (!ending_) {
        spdlog::info("ending on signal {}", info.ssi_signo);
        ending_ = true;
      } else {
        spdlog::warn("ending at once on a second signal");
        ::_exit(kExitFailed);
      }
    }
  }

  void on_links() {
    links_.drain();
    for (const auto& one : exports_) {
      one->look_at_interfaces();
    }
  }

  std::string counters() {
    auto all = nlohmann::ordered_json::array();
    for (const auto& one : exports_) {
      all.push_back(one->counters());
    }
    return to_line({{"exports", all}});
  }

  std::string answer(std::string_view question) {
    if (question == "counters") {
      return counters();
    }
    if (question == "exports") {
      auto all = nlohmann::ordered_json::array();
      for (const auto& one : exports_) {
        all.push_back(one->describe());
      }
      return to_line({{"exports", all}});
    }
    return "error: unknown question: ask 'counters' or 'exports'";
  }

  // Every operation that was started ends on the disk and is answered.
  int finish() {
    for (const auto& one : exports_) {
      one->stop_intake();
    }
    const auto all = [this](auto&& test) {
      return std::all_of(exports_.begin(), exports_.end(), test);
    };
    work();
    while (!all([](const auto& one) { return one->disk_idle(); })) {
      loop_.run_once(deadline());
      work();
    }
    const auto give_up = monotonic_now() + kLastSend_ns;
    while (!all([](const auto& one) { return one->send_idle(); }) && monotonic_now() < give_up) {
      loop_.run_once(std::min(deadline(), give_up));
      work();
    }
    for (const auto& one : exports_) {
      one->start_last_flush();
    }
    work();
    while (!all([](const auto& one) { return one->disk_idle(); })) {
      loop_.run_once(deadline());
      work();
    }
    bool durable = true;
    for (const auto& one : exports_) {
      durable = one->flushed_well() && durable;
    }
    return durable ? kExitGood : kExitFailed;
  }

  Options options_;
  UniqueFd signals_;
  EventLoop loop_;
  LinkWatch links_;
  std::vector<std::unique_ptr<Export>> exports_;
  std::unique_ptr<ControlSocket> control_;
  bool ending_ = false;
};

}  // namespace

int serve(const Options& options) {
  return Server(options).run();
}

}  // namespace target::linux_shell
