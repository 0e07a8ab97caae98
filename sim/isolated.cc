// The child writes four lines and a schedule into a pipe; the dying one does the same.
#include "sim/isolated.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "sim/search.h"

namespace sim {
namespace {

// Of the child: a process runs one world.
const World* world_here = nullptr;
int pipe_here = -1;

void write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t part = ::write(file, text.data(), text.size());
    if (part < 0 && errno != EINTR) {
      ::_exit(kExitUsage);
    }
    text.remove_prefix(part > 0 ? static_cast<std::size_t>(part) : 0);
  }
}

void say(Outcome outcome, const std::string& signature, const std::string& text, std::uint64_t hash,
         const World& world) {
  std::string sentence = text;
  for (char& letter : sentence) {
    letter = letter == '\n' ? ' ' : letter;
  }
  write_all(pipe_here, fmt::format("{}\n{}\n{}\n{}\n{}", static_cast<int>(outcome), signature,
                                   sentence, hash, print_schedule(world.written())));
}

void die_speaking(const std::string& signature, const std::string& text) {
  say(signature == "hang" ? Outcome::hang : Outcome::crash, signature, text, 0, *world_here);
  ::_exit(kExitCrash);
}

std::string text_of(const Result& result) {
  for (const checkers::Finding& finding : result.findings) {
    if (finding.signature == result.signature) {
      return finding.text;
    }
  }
  return {};
}

[[noreturn]] void be_the_child(const Schedule& schedule, const std::optional<Swarm>& swarm,
                               unsigned patience, bool quiet) {
  if (quiet) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDERR_FILENO);
  }
  World world(schedule, swarm);
  world_here = &world;
  install_last_words(die_speaking);
  arm_watchdog(patience);
  const Result result = world.run();
  arm_watchdog(0);
  say(result.outcome, result.signature, text_of(result), result.hash, world);
  ::_exit(kExitGood);
}

std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

}  // namespace

Isolated run_isolated(const Schedule& schedule, const std::optional<Swarm>& swarm,
                      unsigned patience, bool quiet) {
  int ends[2];
  if (::pipe(ends) != 0) {
    throw std::runtime_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) {
    throw std::runtime_error(fmt::format("cannot start a process: {}", std::strerror(errno)));
  }
  if (child == 0) {
    ::close(ends[0]);
    pipe_here = ends[1];
    be_the_child(schedule, swarm, patience, quiet);
  }
  ::close(ends[1]);
  std::string said;
  constexpr std::size_t kReadBytes = 65'536;
  std::string buffer(kReadBytes, '\0');
  for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);) {
    got = ::read(ends[0], buffer.data(), buffer.size());
    said.append(buffer, 0, got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  Isolated result;
  std::string_view rest(said);
  const std::string_view outcome = take_line(rest);
  if (outcome.empty()) {  // it died before it could speak
    result.outcome = Outcome::crash;
    result.signature = WIFSIGNALED(status) ? fmt::format("crash:signal-{}", WTERMSIG(status))
                                           : std::string("crash:silent");
    result.text = "the process ended without a word";
    result.written = schedule;
    return result;
  }
  result.outcome = static_cast<Outcome>(std::atoi(std::string(outcome).c_str()));
  result.signature = take_line(rest);
  result.text = take_line(rest);
  result.hash = std::strtoull(std::string(take_line(rest)).c_str(), nullptr, 10);
  result.written = parse_schedule(rest);
  return result;
}

}  // namespace sim
