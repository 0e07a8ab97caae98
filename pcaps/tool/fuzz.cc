// pcap-fuzz: damages the captures of the corpus, always in the same way from the same seed, and
// hands each to everything that reads captures. It asks for one thing only: that nothing crashes.
// Run it in a build with sanitizers: pcap-fuzz CORPUS [COUNT [SEED]].
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/diff.h"
#include "pcaps/tool/html_page.h"
#include "pcaps/tool/info_report.h"
#include "pcaps/tool/judge_report.h"
#include "pcaps/tool/reconstruct.h"
#include "pcaps/tool/statistics.h"

namespace pcaps {
namespace {

using Bytes = std::vector<char>;
constexpr std::size_t kBytesMax = 60'000;  // of a capture that is damaged: enough for all kinds
// Small tables: they must be full for what a full table does to be seen.
constexpr std::uint32_t kRequestsKeptHere = 64;
constexpr std::uint32_t kSectorSetsHere = 16;
constexpr std::uint64_t kCountByDefault = 300;
constexpr std::uint64_t kSeedByDefault = 1;
constexpr std::size_t kFileHeaderBytes = 24;
constexpr std::size_t kRecordHeaderBytes = 16;

// A capture in memory, under a name that can be opened.
class MemoryFile {
 public:
  explicit MemoryFile(const Bytes& bytes) : descriptor_(memfd_create("capture", MFD_CLOEXEC)) {
    if (descriptor_ < 0 ||
        ::write(descriptor_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("cannot make a file in memory");
    }
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

// Where the records of a little-endian pcap begin.
std::vector<std::size_t> records_of(const Bytes& bytes) {
  std::vector<std::size_t> at;
  std::size_t place = kFileHeaderBytes;
  while (place + kRecordHeaderBytes <= bytes.size()) {
    at.push_back(place);
    const auto* p = reinterpret_cast<const unsigned char*>(bytes.data() + place + 8);
    const std::size_t size = p[0] | static_cast<std::size_t>(p[1]) << 8 |
                             static_cast<std::size_t>(p[2]) << 16 |
                             static_cast<std::size_t>(p[3]) << 24;
    place += kRecordHeaderBytes + size;
  }
  return at;
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  void damage(Bytes& bytes) {
    const std::uint64_t times = 1 + below(12);
    for (std::uint64_t i = 0; i < times && bytes.size() > kFileHeaderBytes; ++i) {
      damage_once(bytes);
    }
  }

 private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  char any_byte() {
    static constexpr unsigned char kTelling[] = {0, 1, 0x7F, 0x80, 0xFE, 0xFF, 0x24, 0x34, 0x23};
    return static_cast<char>(below(2) == 0 ? kTelling[below(std::size(kTelling))] : below(256));
  }

  void damage_once(Bytes& bytes) {
    const std::vector<std::size_t> records = records_of(bytes);
    const std::size_t record = records.empty() ? kFileHeaderBytes : records[below(records.size())];
    switch (below(8)) {
      case 0:  // any byte of the file
        bytes[below(bytes.size())] = any_byte();
        break;
      case 1:  // the file's own header
        bytes[below(kFileHeaderBytes)] = any_byte();
        break;
      case 2:  // cut short
        bytes.resize(below(bytes.size()) + 1);
        break;
      case 3:  // a record's header: time, lengths
        set(bytes, record + below(kRecordHeaderBytes));
        break;
      case 4:  // a frame twice: a late copy
        repeat(bytes, record);
        break;
      default:  // a field of AoE: bytes 12 to 60 of a frame
        set(bytes, record + kRecordHeaderBytes + 12 + below(48));
    }
  }

  void set(Bytes& bytes, std::size_t at) {
    if (at < bytes.size()) {
      bytes[at] = any_byte();
    }
  }

  void repeat(Bytes& bytes, std::size_t record) {
    const std::vector<std::size_t> records = records_of(bytes);
    const auto next = std::upper_bound(records.begin(), records.end(), record);
    const std::size_t end = next == records.end() ? bytes.size() : *next;
    if (record >= end) {
      return;
    }
    const Bytes copy(bytes.begin() + static_cast<std::ptrdiff_t>(record),
                     bytes.begin() + static_cast<std::ptrdiff_t>(end));
    const std::size_t place = records.empty() ? end : records[below(records.size())];
    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(place), copy.begin(), copy.end());
  }

  std::mt19937_64 random_;
};

struct Totals {
  std::uint64_t opened = 0, refused = 0, damaged = 0, frames = 0, findings = 0;
};

void read_everything(const std::string& path, Totals& totals) {
  std::string error;
  const auto reader = CaptureReader::open(path, error);
  if (reader == nullptr) {
    ++totals.refused;
    if (error.empty() || error.find('\n') != std::string::npos) {
      throw std::runtime_error("a capture was refused without one clear line");
    }
    return;
  }
  ++totals.opened;
  auto tracker = std::make_unique<Tracker>(kRequestsKeptHere);
  auto statistics = std::make_unique<Statistics>(*tracker);
  auto judge = std::make_unique<Judge>(*tracker, 3, kSectorSetsHere);
  const auto image = ImageFile::create(
      (std::filesystem::temp_directory_path() / fmt::format("pcap-fuzz-{}.img", ::getpid()))
          .string(),
      {}, error);
  if (image == nullptr) {
    throw std::runtime_error(error);
  }
  Reconstructor reconstructor(*tracker, *image, {});
  tracker->add_observer(statistics.get());
  tracker->add_observer(judge.get());
  tracker->add_observer(&reconstructor);
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker->on_frame(frame);
  }
  tracker->finish();
  totals.frames += reader->frames();
  totals.damaged += reader->damage().empty() ? 0 : 1;
  totals.findings += judge->groups().size();
  const JudgeReport report(path, *tracker, *judge, {});
  std::size_t written = info_text(*statistics).size() + info_json(*statistics).dump().size() +
                        html_page("fuzz", *statistics, *judge).size() +
                        reconstructor.map_text().size() + reconstructor.summary().size();
  written += report.text().size();
  if (written == 0) {
    throw std::runtime_error("nothing was reported");
  }
}

int main_of(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: pcap-fuzz CORPUS [COUNT [SEED]]\n");
    return 2;
  }
  const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : kCountByDefault;
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : kSeedByDefault;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.path().extension() == ".pcap") {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) {
    fmt::print(stderr, "pcap-fuzz: no captures in {}\n", argv[1]);
    return 2;
  }
  Totals totals;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::ifstream file(paths[i % paths.size()], std::ios::binary);
    Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const Bytes whole = bytes;
    bytes.resize(std::min(bytes.size(), kBytesMax));
    Mutator mutator(seed * 1'000'003 + i);
    mutator.damage(bytes);
    const MemoryFile damaged(bytes);
    read_everything(damaged.path(), totals);
    const MemoryFile other(whole);
    std::string error;
    if (i % 50 == 0 && !diff_captures(damaged.path(), other.path(), {}, error) && error.empty()) {
      throw std::runtime_error("diff failed without a word");
    }
  }
  fmt::print(
      "{} damaged captures from seed {}: {} read ({} up to where they are damaged), "
      "{} refused; {} frames, {} groups of findings\n",
      count, seed, totals.opened, totals.damaged, totals.refused, totals.frames, totals.findings);
  // Damage that nothing notices tests nothing.
  return totals.opened != 0 && totals.refused != 0 && totals.findings != 0 ? 0 : 1;
}

}  // namespace
}  // namespace pcaps

int main(int argc, char** argv) {
  try {
    return pcaps::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pcap-fuzz: {}\n", error.what());
    return 1;
  }
}
