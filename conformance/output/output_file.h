// Where a program's output goes, so that writing it destroys nothing. All four programs write what
// a user named through this one room; it knows files and errors of the system, and must never know
// what is written.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace output {

// One sentence: the name as the user gave it, what is wrong with it, what to do.
class OutputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a file is to others. `secret`: nobody else may read it, and it is on the disk, its name too,
// when commit() returns: what must be there after a crash of the machine.
enum class Care { usual, secret };

// A destination by its name:
//   "-", /dev/stdout, /dev/stderr, /dev/fd/N   the descriptor that is open already, from where it
//   stands a FIFO, a character or block device        in place, never created, renamed or cut; a
//   block device in use is refused anything else                              a regular file, where
//   the symlinks lead: written beside it under another
//                                              name, and renamed when it is whole
// Until commit() a regular file is as it was; without commit() it stays so, and nothing
// half-written is left.
class OutputFile {
 public:
  // Opens the destination. Throws OutputError when it cannot be written, is a folder, or is one of
  // `inputs` (names of files that are read, "-" for standard input) by whatever name: same device,
  // same inode.
  explicit OutputFile(const std::string& path, const std::vector<std::string>& inputs = {},
                      Care care = Care::usual);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view content);
  // For those who write through stdio (libpcap) or by position. Owned by this object: do not close
  // them.
  [[nodiscard]] std::FILE* stream() const { return stream_; }
  [[nodiscard]] int descriptor() const { return fileno(stream_); }
  // True when it takes its name only at the end; false when it is written in place.
  [[nodiscard]] bool replaces() const { return !part_.empty(); }
  [[nodiscard]] const std::string& path() const { return path_; }

  // Everything is written, or an OutputError says that it is not (a full disk shows here at the
  // latest). Once.
  void commit();

 private:
  std::string path_;    // as given
  std::string target_;  // what the symlinks lead to
  std::string part_;    // the name until it is whole; empty in place
  std::FILE* stream_ = nullptr;
  int error_ = 0;        // errno of the first write() that failed
  bool synced_ = false;  // it replaces something: its content reaches the disk before its name does
  Care care_ = Care::usual;
};

// The whole content, or an OutputError and what was there before.
void write_file(const std::string& path, std::string_view content,
                const std::vector<std::string>& inputs = {}, Care care = Care::usual);

// Before any work is done: every destination can be written, is no input, and no two are one file.
// Empty names are passed over. Leaves no trace, and does not open FIFOs and devices, which would be
// seen at their other end.
void try_destinations(const std::vector<std::string>& paths,
                      const std::vector<std::string>& inputs = {});

// At a program's end: what was printed has arrived. False after one line on standard error; a
// reader that has gone away (a pipe's other end) is no error.
bool printed_whole(const char* program);

}  // namespace output
