#include "conformance/output/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <optional>

namespace output {
namespace {

constexpr mode_t kMode = 0666;  // what the umask leaves of it
constexpr mode_t kSecretMode = 0600;
constexpr int kSymlinksMax = 40;

std::string reason(int error) {
  return std::strerror(error);
}

// "N" after one of the names under which the system shows a process its open descriptors.
std::optional<int> open_descriptor(const std::string& path) {
  if (path == "-" || path == "/dev/stdout") {
    return STDOUT_FILENO;
  }
  if (path == "/dev/stderr") {
    return STDERR_FILENO;
  }
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (path.rfind(folder, 0) == 0) {
      int number = -1;
      const char* end = path.data() + path.size();
      const auto [stop, code] = std::from_chars(path.data() + folder.size(), end, number);
      if (code == std::errc() && stop == end && number >= 0) {
        return number;
      }
    }
  }
  return std::nullopt;
}

struct Destination {
  std::string path;               // as given
  std::string target;             // where the symlinks lead
  std::optional<int> descriptor;  // open already
  bool exists = false;
  struct stat facts {};

  [[nodiscard]] bool in_place() const { return descriptor || (exists && !S_ISREG(facts.st_mode)); }
};

// Where a name leads. The link itself is never replaced: whoever made it wants the file behind it
// written.
Destination resolve(const std::string& path) {
  Destination to;
  to.path = path;
  to.target = path;
  for (int hop = 0;; ++hop) {
    to.descriptor = open_descriptor(to.target);
    if (to.descriptor) {
      to.exists = ::fstat(*to.descriptor, &to.facts) == 0;
      if (!to.exists) {
        throw OutputError(fmt::format("cannot write {}: it is not open", path));
      }
      return to;
    }
    std::array<char, PATH_MAX> next{};
    const ssize_t length = ::readlink(to.target.c_str(), next.data(), next.size() - 1);
    if (length < 0) {
      break;  // no link, or nothing there
    }
    if (hop == kSymlinksMax) {
      throw OutputError(fmt::format("cannot write {}: its symbolic links lead in a circle", path));
    }
    const std::string link(next.data(), static_cast<std::size_t>(length));
    const std::size_t slash = to.target.rfind('/');
    to.target = link.front() == '/' || slash == std::string::npos
                    ? link
                    : to.target.substr(0, slash + 1) + link;
  }
  to.exists = ::stat(to.target.c_str(), &to.facts) == 0;
  if (!to.exists && errno != ENOENT) {
    throw OutputError(fmt::format("cannot write {}: {}", path, reason(errno)));
  }
  if (to.exists && S_ISDIR(to.facts.st_mode)) {
    throw OutputError(fmt::format("cannot write {}: it is a folder: name a file in it", path));
  }
  if (to.exists && S_ISSOCK(to.facts.st_mode)) {
    throw OutputError(fmt::format("cannot write {}: it is a socket", path));
  }
  return to;
}

bool same_file(const struct stat& a, const struct stat& b) {
  // What /dev/null and a terminal take and give is not one thing.
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && !S_ISCHR(a.st_mode);
}

void refuse_inputs(const Destination& to, const std::vector<std::string>& inputs) {
  if (!to.exists) {
    return;
  }
  for (const std::string& input : inputs) {
    struct stat facts {};
    const bool known = input == "-" ? ::fstat(STDIN_FILENO, &facts) == 0
                                    : !input.empty() && ::stat(input.c_str(), &facts) == 0;
    if (known && same_file(to.facts, facts)) {
      throw OutputError(fmt::format("cannot write {}: it is {}, which is read: choose another name",
                                    to.path,
                                    input == "-" ? "standard input" : "the input " + input));
    }
  }
}

// A new file beside the target, under a name that nothing has. The umask counts, as for any file
// that a user makes.
int create_part(const Destination& to, std::string& part, mode_t mode) {
  for (unsigned number = 0;; ++number) {
    part = fmt::format("{}.{}.{}.part", to.target, ::getpid(), number);
    const int fd = ::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0 || errno != EEXIST) {
      return fd;
    }
  }
}

int open_part(const Destination& to, std::string& part, Care care = Care::usual) {
  if (to.exists && ::access(to.target.c_str(), W_OK) != 0) {
    // A rename would not ask for it.
    throw OutputError(fmt::format("cannot write {}: {}", to.path, reason(errno)));
  }
  const int fd = create_part(to, part, care == Care::secret ? kSecretMode : kMode);
  if (fd < 0) {
    throw OutputError(fmt::format("cannot write {}: no new file can be made beside it: {}", to.path,
                                  reason(errno)));
  }
  if (to.exists && care == Care::usual) {
    // It keeps its mode and, where we may, its owner: it is to look like the same file.
    [[maybe_unused]] const int owner = ::fchown(fd, to.facts.st_uid, to.facts.st_gid);
    [[maybe_unused]] const int mode = ::fchmod(fd, to.facts.st_mode & 0777);
  }
  return fd;
}

int open_in_place(const Destination& to) {
  // O_EXCL without O_CREAT: a block device that is mounted or otherwise in use is refused
  // (open(2)).
  const int exclusive = S_ISBLK(to.facts.st_mode) ? O_EXCL : 0;
  const int fd = to.descriptor
                     ? ::fcntl(*to.descriptor, F_DUPFD_CLOEXEC, 0)
                     : ::open(to.target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | exclusive);
  if (fd < 0) {
    throw OutputError(fmt::format("cannot write {}: {}", to.path, reason(errno)));
  }
  return fd;
}

// The name of a new file is on the disk when its folder is.
bool sync_folder(const std::string& file) {
  const std::size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) {
    const int error = errno;
    ::close(fd);
    errno = error;
  }
  return synced;
}

}  // namespace

OutputFile::OutputFile(const std::string& path, const std::vector<std::string>& inputs, Care care)
    : path_(path), care_(care) {
  const Destination to = resolve(path);
  refuse_inputs(to, inputs);
  target_ = to.target;
  if (to.descriptor == STDOUT_FILENO) {
    std::fflush(stdout);  // what was printed before comes before
  }
  const int fd = to.in_place() ? open_in_place(to) : open_part(to, part_, care);
  synced_ = replaces() && (to.exists || care == Care::secret);
  stream_ = ::fdopen(fd, "w");
  if (stream_ == nullptr) {
    const int error = errno;
    ::close(fd);
    if (!part_.empty()) {
      ::unlink(part_.c_str());
    }
    throw OutputError(fmt::format("cannot write {}: {}", path_, reason(error)));
  }
}

OutputFile::~OutputFile() {
  if (stream_ != nullptr) {
    std::fclose(stream_);
    if (!part_.empty()) {
      ::unlink(part_.c_str());
    }
  }
}

void OutputFile::write(std::string_view content) {
  if (std::fwrite(content.data(), 1, content.size(), stream_) != content.size() && error_ == 0) {
    error_ = errno;  // commit() tells of it
  }
}

void OutputFile::commit() {
  std::FILE* stream = stream_;
  stream_ = nullptr;
  bool whole = error_ == 0 && std::ferror(stream) == 0;
  const auto step = [&](bool good) {
    if (!good && whole) {
      error_ = errno;
    }
    whole = whole && good;
  };
  step(std::fflush(stream) == 0);
  if (whole && synced_) {
    step(::fsync(::fileno(stream)) == 0);
  }
  step(std::fclose(stream) == 0);
  if (whole && replaces()) {
    step(::rename(part_.c_str(), target_.c_str()) == 0);
    if (whole && care_ == Care::secret) {
      step(sync_folder(target_));
    }
  }
  if (whole) {
    return;
  }
  if (replaces()) {
    ::unlink(part_.c_str());
  }
  throw OutputError(
      fmt::format("cannot write {}: {}{}", path_,
                  error_ == 0 ? "an earlier write failed: is the disk full?" : reason(error_),
                  synced_ ? "; what was there before is untouched" : ""));
}

void write_file(const std::string& path, std::string_view content,
                const std::vector<std::string>& inputs, Care care) {
  OutputFile file(path, inputs, care);
  file.write(content);
  file.commit();
}

void try_destinations(const std::vector<std::string>& paths,
                      const std::vector<std::string>& inputs) {
  std::vector<Destination> seen;
  for (const std::string& path : paths) {
    if (path.empty()) {
      continue;
    }
    Destination to = resolve(path);
    refuse_inputs(to, inputs);
    if (to.in_place()) {
      if (!to.descriptor && ::access(to.target.c_str(), W_OK) != 0) {
        throw OutputError(fmt::format("cannot write {}: {}", path, reason(errno)));
      }
    } else {
      std::string part;
      ::close(open_part(to, part));
      for (const Destination& other : seen) {
        if ((to.exists && other.exists && same_file(to.facts, other.facts)) ||
            to.target == other.target) {
          ::unlink(part.c_str());
          throw OutputError(
              fmt::format("cannot write both {} and {}: they are one file", other.path, path));
        }
      }
      ::unlink(part.c_str());
      seen.push_back(std::move(to));
    }
  }
}

bool printed_whole(const char* program) {
  errno = 0;
  const bool whole = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (whole) {
    return true;
  }
  const int error = errno;
  pollfd pipe{STDOUT_FILENO, POLLOUT, 0};
  if (error == EPIPE || (::poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR) != 0)) {
    return true;
  }
  std::fprintf(stderr, "%s: standard output was not written whole: %s\n", program,
               error == 0 ? "an earlier write failed: is the disk full?" : std::strerror(error));
  return false;
}

}  // namespace output
