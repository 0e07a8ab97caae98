// The target as a child process of the suite.

#include "conformance/control/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

namespace conformance::control {

std::string fill_placeholders(const std::string& command,
                              const std::map<std::string, std::string>& values) {
  std::string out;
  for (size_t i = 0; i < command.size(); ++i) {
    const size_t end = command[i] == '{' ? command.find('}', i) : std::string::npos;
    if (end == std::string::npos) {
      out += command[i];
      continue;
    }
    const std::string name = command.substr(i + 1, end - i - 1);
    const auto it = values.find(name);
    if (it == values.end()) {
      throw std::runtime_error(
          fmt::format("--target-command: there is no placeholder {{{}}} (there are {{iface}}, "
                      "{{shelf}}, {{slot}}, {{state}} and, with --target-image, {{image}})",
                      name));
    }
    out += it->second;
    i = end;
  }
  return out;
}

TargetProcess::TargetProcess(std::string command, const std::string& log)
    : command_(std::move(command)) {
  if (!log.empty()) {
    log_ = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (log_ < 0) {
      throw std::runtime_error(fmt::format("{}: cannot be written: {}", log, std::strerror(errno)));
    }
  }
  said_ = memfd_create("target-output", MFD_CLOEXEC);
  if (said_ < 0) {
    const int error = errno;
    close(log_);
    throw std::runtime_error(
        fmt::format("no file for the target's output: {}", std::strerror(error)));
  }
  fcntl(said_, F_SETFL, O_APPEND);
}

TargetProcess::~TargetProcess() {
  kill_now();
  what_it_said();
  close(said_);
  if (log_ >= 0) {
    close(log_);
  }
}

std::string TargetProcess::what_it_said() {
  constexpr size_t kept = 4096;  // of the beginning, and of the end
  std::string begin;
  std::string end;
  uint64_t total = 0;
  std::array<char, 4096> piece{};
  for (ssize_t n = 0; (n = pread(said_, piece.data(), piece.size(), heard_)) > 0;) {
    const auto size = static_cast<size_t>(n);
    total += size;
    heard_ += n;
    for (size_t done = 0; log_ >= 0 && done < size;) {
      const ssize_t wrote = write(log_, piece.data() + done, size - done);
      if (wrote <= 0) {
        break;  // a log on a full disk ends; the run goes on
      }
      done += static_cast<size_t>(wrote);
    }
    const size_t to_begin = std::min(size, kept - begin.size());
    begin.append(piece.data(), to_begin);
    end.append(piece.data() + to_begin, size - to_begin);
    if (end.size() > 2 * kept) {
      end.erase(0, end.size() - kept);
    }
  }
  // What was read takes no memory any more. Not cut off: what is written meanwhile would go, too.
  fallocate(said_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, heard_);
  if (end.size() > kept) {
    end.erase(0, end.size() - kept);
  }
  const uint64_t left_out = total - begin.size() - end.size();
  return left_out == 0 ? begin + end
                       : fmt::format("{}\n[{} bytes left out]\n{}", begin, left_out, end);
}

void TargetProcess::start(const std::string& more) {
  kill_now();
  ended_.clear();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) {
    throw std::runtime_error(fmt::format("the target cannot be started: {}", std::strerror(errno)));
  }
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
      _exit(127);
    }
    setpgid(0, 0);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(said_, 1);  // what it says is evidence of the case, not part of our output
    dup2(said_, 2);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    const std::string line = "exec " + command_ + more;
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
}

bool TargetProcess::wait_end(int wait_ms) {
  if (pid_ <= 0) {
    return true;
  }
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (fd >= 0) {
    pollfd p{fd, POLLIN, 0};
    while (poll(&p, 1, wait_ms) < 0 && errno == EINTR) {
    }
    close(fd);
  }
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) {
    return false;
  }
  pid_ = -1;
  ended_ = WIFEXITED(status) ? fmt::format("ended with exit code {}", WEXITSTATUS(status))
                             : fmt::format("was killed by signal {} ({})", WTERMSIG(status),
                                           strsignal(WTERMSIG(status)));
  return true;
}

bool TargetProcess::running() {
  return pid_ > 0 && !wait_end(0);
}

void TargetProcess::end() {
  constexpr int patience_ms = 5000;
  if (running()) {
    kill(pid_, SIGTERM);
    if (!wait_end(patience_ms)) {
      kill_now();
    }
  }
}

void TargetProcess::kill_now() {
  if (running()) {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    wait_end(-1);
  }
}

}  // namespace conformance::control
