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
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <variant>
#include <vector>

#include "target/linux/address_watch.h"
#include "target/linux/control_socket.h"
#include "target/linux/event_loop.h"
#include "target/linux/export.h"
#include "target/linux/line_writer.h"
#include "target/linux/link_watch.h"
#include "target/linux/privileges.h"
#include "target/linux/questions.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

// How long the end waits for a disk that does not answer, for an interface that takes no more
// frames, and for the last flush.
constexpr engine::Nanoseconds kLastDisk_ns = 5'000'000'000;
constexpr engine::Nanoseconds kLastSend_ns = 1'000'000'000;
constexpr engine::Nanoseconds kLastFlush_ns = 5'000'000'000;
constexpr std::int64_t kLastLines_ms = 500;

constexpr engine::Nanoseconds kLookAtTurns_ns = 20'000'000;

constexpr int kExitGood = 0;
constexpr int kExitFailed = 1;

void print_line(int fd, const std::string& line) {
  LineWriter::for_fd(fd).write(line + "\n");
}

UniqueFd open_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int one : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    ::sigaddset(&signals, one);
  }
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a write beyond RLIMIT_FSIZE is an error of that write
  return UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

class Server {
 public:
  explicit Server(const Options& options) : options_(options), signals_(open_signals()) {
    for (const auto& one : options_.exports) {
      exports_.push_back(std::make_unique<Export>(one, loop_, handover_));
    }
    if (!options_.user.empty()) {
      auto found = find_account(options_.user);
      if (const auto* problem = std::get_if<std::string>(&found)) {
        throw StartError(*problem);
      }
      account_ = std::get<Account>(std::move(found));
    }
    if (!options_.control.empty()) {
      control_ = std::make_unique<ControlSocket>(
          loop_, options_.control,
          [this](std::string_view question) { return answer_question(exports_, question); });
      if (account_ && ::lchown(options_.control.c_str(), account_->user, account_->group) != 0) {
        throw StartError(fmt::format("control socket {}: cannot give it to user {}: {}",
                                     options_.control, account_->name, errno_text(errno)));
      }
    }
    loop_.add(signals_.get(), EPOLLIN, [this](std::uint32_t) { on_signal(); });
    loop_.add(links_.fd(), EPOLLIN, [this](std::uint32_t) { on_links(); });
    std::vector<ServedAddress> served;
    for (const auto& one : options_.exports) {
      for (const std::string& name : one.interfaces) {
        served.push_back({name, one.shelf, one.slot, one.exclusive});
      }
    }
    watch_.emplace(loop_, std::move(served));
    drop_privileges(account_);
    start_threads();
    watch_->ask();
    watch_->refuse_if_served();
  }

  int run() {
    // An interface may have changed between its opening and the watching.
    on_links();
    work();  // announces
    tell_ready();
    handover_.run();
    return exit_code_;
  }

 private:
  // Threads have the privileges of the moment when they begin, and keep them.
  void start_threads() {
    try {
      handover_.start_thread();
      LineWriter::for_fd(STDERR_FILENO).start_thread();
      LineWriter::for_fd(STDOUT_FILENO).start_thread();
    } catch (const std::system_error& error) {
      throw StartError(fmt::format(
          "cannot start a thread: {}: raise the limit of processes (ulimit -u)", error.what()));
    }
    for (const auto& one : exports_) {
      one->prove_state_is_writable();
      one->start_threads();
    }
  }

  // Until the end (true), or until another thread has it (Handover::Body).
  bool run_loop() {
    bool more = true;
    while (!ending_) {
      loop_.run_once(more ? 0 : deadline());
      more = work();
      for (const auto& one : exports_) {
        const Turn turn = one->carry_out_here();
        if (turn == Turn::another) {
          return false;
        }
        more = more || turn == Turn::more;
      }
    }
    exit_code_ = finish();
    return true;
  }

  // Whoever is alone works in long turns, which cost least; beside others in short ones. Looked at
  // once in a while: a frame that comes meanwhile waits for one long turn.
  void share_turns() {
    const engine::Nanoseconds now = monotonic_now();
    if (now < look_again_at_) {
      return;
    }
    look_again_at_ = now + kLookAtTurns_ns;
    frames_then_.resize(exports_.size());
    std::size_t active = 0;
    for (std::size_t i = 0; i < exports_.size(); ++i) {
      const std::uint64_t frames = exports_[i]->frames_taken();
      active += frames != frames_then_[i] ? 1U : 0U;
      frames_then_[i] = frames;
    }
    for (const auto& one : exports_) {
      one->set_turn(active > 1 ? shell::kFramesPerTurnBesideOthers : shell::kFramesPerTurn);
    }
  }

  bool work() {
    if (exports_.size() > 1) {
      share_turns();
    }
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
      print_line(STDERR_FILENO, fmt::format("ready: {} on {}, {} sectors", one->name(),
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
        print_line(STDOUT_FILENO, counters());
      } else if (!ending_) {
        spdlog::info("ending on signal {}", info.ssi_signo);
        ending_ = true;
      } else {
        spdlog::warn("ending at once on a second signal");
        hurry_ = true;
      }
    }
  }

  void on_links() {
    links_.drain();
    if (watch_) {
      watch_->look_at_interfaces();
    }
    for (const auto& one : exports_) {
      one->look_at_interfaces();
    }
  }

  std::string counters() { return to_line(all_counters(exports_)); }

  // Works until all exports pass the test, so long at most.
  template <typename Test>
  void work_until_all(engine::Nanoseconds limit_ns, Test test) {
    const auto give_up = monotonic_now() + limit_ns;
    work();
    while (!hurry_ && !std::all_of(exports_.begin(), exports_.end(), test) &&
           monotonic_now() < give_up) {
      loop_.run_once(std::min(deadline(), give_up));
      work();
    }
  }

  // Every operation that was started ends on the disk and is answered, if the disk lets it.
  int finish() {
    for (const auto& one : exports_) {
      one->stop_intake();
      one->leave_to_threads();
    }
    work_until_all(kLastDisk_ns, [](const auto& one) { return one->disk_idle(); });
    work_until_all(kLastSend_ns, [](const auto& one) { return one->send_idle(); });
    watch_.reset();
    for (const auto& one : exports_) {
      one->release_address();
      if (!hurry_) {
        one->start_last_flush();
      }
    }
    work_until_all(kLastFlush_ns, [](const auto& one) { return one->last_flush_ended(); });
    bool well = !hurry_;
    bool held = false;
    for (const auto& one : exports_) {
      well = one->ended_well() && well;
      held = held || !one->disk_idle();
    }
    LineWriter::for_fd(STDERR_FILENO).drain(kLastLines_ms);
    LineWriter::for_fd(STDOUT_FILENO).drain(kLastLines_ms);
    if (held) {
      // A thread that the kernel holds cannot be waited for; the process ends as soon as the kernel
      // lets go of it.
      ::_exit(kExitFailed);
    }
    return well ? kExitGood : kExitFailed;
  }

  Options options_;
  std::optional<Account> account_;
  UniqueFd signals_;
  EventLoop loop_;
  LinkWatch links_;
  std::vector<std::unique_ptr<Export>> exports_;
  std::unique_ptr<ControlSocket> control_;
  std::optional<AddressWatch> watch_;
  std::vector<std::uint64_t> frames_then_;  // as share_turns() saw them
  engine::Nanoseconds look_again_at_ = 0;
  bool ending_ = false;
  bool hurry_ = false;
  int exit_code_ = kExitFailed;
  Handover handover_{[this] { return run_loop(); }};
};

}  // namespace

int serve(const Options& options) {
  return Server(options).run();
}

}  // namespace target::linux_shell
