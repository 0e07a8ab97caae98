// The NBD door: an nbdkit plugin, so that whatever speaks NBD uses an AoE target with the AoEde
// extensions and without a kernel module.
//
//   nbdkit aoe interface=eth0 shelf=1 slot=1 extensions=tag_inc_be,coalesced_read
//
// One session with the target serves every NBD client. One thread owns it; nbdkit's threads hand it
// jobs and wait. NBD's bytes become sectors here and nowhere else.

#define NBDKIT_API_VERSION 2
#include <fmt/format.h>
#include <nbdkit-plugin.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "conformance/initiator/live.h"

namespace conformance::initiator {
namespace {

using observer::kSectorBytes;

struct Settings {
  Where where;
  Config config;
  int shelf = -1;
  int slot = -1;
  std::string extensions;
  bool require = true;
  double connect_seconds = 10;
} settings;

// A job that a thread of nbdkit's waits for.
struct Waiting {
  Job job;
  Completion completion;
  bool done = false;
  bool broken = false;  // the session's thread has ended
};

class Session {
 public:
  Session() : wires_(settings.where), live_(wires_, settings.config) {
    wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_ < 0) {
      throw LinkError(fmt::format("eventfd: {}", std::strerror(errno)));
    }
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (thread_.joinable()) {
      {
        const std::lock_guard lock(mutex_);
        stop_ = true;
      }
      wake();
      thread_.join();
    }
    close(wake_);
  }

  bool connect() {
    return live_.connect(now_ns() + static_cast<int64_t>(settings.connect_seconds * 1e9), nullptr);
  }
  Phase phase() { return live_.initiator().phase(); }
  // Before start(); afterwards the thread's.
  const Device& device() { return live_.initiator().device(); }
  void start() {
    thread_ = std::thread([this] { run(); });
  }

  Completion perform(Job job) {
    Waiting waiting;
    waiting.job = std::move(job);
    std::unique_lock lock(mutex_);
    if (!broken_.empty()) {
      throw LinkError(broken_);
    }
    const bool first = queue_.empty();
    queue_.push_back(&waiting);
    if (first) {
      wake();
    }
    done_.wait(lock, [&] { return waiting.done; });
    if (waiting.broken) {
      throw LinkError(broken_);
    }
    return std::move(waiting.completion);
  }

 private:
  void wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(wake_, &one, sizeof one);
  }

  void run() {
    try {
      loop();
    } catch (const std::exception& e) {
      const std::lock_guard lock(mutex_);
      broken_ = e.what();
    }
    const std::lock_guard lock(mutex_);
    if (broken_.empty()) {
      broken_ = "the server is ending";
    }
    for (Waiting* waiting : queue_) {
      taken_.push_back(waiting);
    }
    for (Waiting* waiting : taken_) {
      waiting->done = waiting->broken = true;
    }
    done_.notify_all();
  }

  void loop() {
    constexpr int64_t look_around_ns = 500'000'000;
    Initiator& initiator = live_.initiator();
    for (;;) {
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = read(wake_, &count, sizeof count);
      {
        const std::lock_guard lock(mutex_);
        if (stop_) {
          return;
        }
        while (!queue_.empty()) {
          Waiting* waiting = queue_.front();
          waiting->job.cookie = reinterpret_cast<uint64_t>(waiting);
          if (!initiator.submit(waiting->job, now_ns())) {
            break;  // full: after the next completion
          }
          queue_.pop_front();
          taken_.push_back(waiting);
        }
      }
      live_.turn(now_ns() + look_around_ns, wake_);
      if (initiator.completions().empty()) {
        continue;
      }
      {
        const std::lock_guard lock(mutex_);
        for (Completion& completion : initiator.completions()) {
          auto* waiting = reinterpret_cast<Waiting*>(completion.cookie);
          waiting->completion = std::move(completion);
          waiting->done = true;
          taken_.erase(std::remove(taken_.begin(), taken_.end(), waiting), taken_.end());
        }
        initiator.completions().clear();
      }
      done_.notify_all();
    }
  }

  Wires wires_;
  Live live_;
  int wake_ = -1;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable done_;
  std::deque<Waiting*> queue_;
  std::vector<Waiting*> taken_;
  std::string broken_;
  bool stop_ = false;
};

std::unique_ptr<Session> session;
Device device;
// Writes of whole sectors share it; one that changes a part of a sector reads and writes alone.
std::shared_mutex part_writes;

// ------------------------------------------------------------------ settings

int bad_setting(const std::string& text) {
  nbdkit_error("%s", text.c_str());
  return -1;
}

int number(const char* key, const char* value, int max, int& out) {
  if (nbdkit_parse_int(key, value, &out) == -1) {
    return -1;
  }
  return out >= 0 && out <= max ? 0 : bad_setting(fmt::format("{}={}: 0 to {}", key, value, max));
}

int seconds(const char* key, const char* value, double& out) {
  char* end = nullptr;
  out = std::strtod(value, &end);
  return *value != '\0' && *end == '\0' && out >= 0 && out <= 1e6
             ? 0
             : bad_setting(fmt::format("{}={}: a number of seconds", key, value));
}

int plugin_config(const char* key_text, const char* value) {
  const std::string_view key = key_text;
  if (key == "interface") {
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::string_view one = rest.substr(0, rest.find(','));
      settings.where.interfaces.emplace_back(one);
      rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    }
    return 0;
  }
  if (key == "shelf") {
    return number(key_text, value, 0xfffe, settings.shelf);
  }
  if (key == "slot") {
    return number(key_text, value, 0xfe, settings.slot);
  }
  if (key == "extensions") {
    settings.extensions = value;
    return 0;
  }
  if (key == "require") {
    const int require = nbdkit_parse_bool(value);
    settings.require = require == 1;
    return require == -1 ? -1 : 0;
  }
  if (key == "address") {
    settings.where.own = observer::mac_from_string(value);
    if (!settings.where.own || ((*settings.where.own)[0] & 1U) != 0) {
      return bad_setting(
          fmt::format("address={}: six bytes of one host, 02:00:00:00:00:01", value));
    }
    return 0;
  }
  if (key == "mtu" || key == "outstanding") {
    int n = 0;
    if (number(key_text, value, 65535, n) == -1) {
      return -1;
    }
    if (key == "mtu") {
      settings.where.mtu_max = static_cast<size_t>(n);
    } else {
      settings.config.outstanding_max = static_cast<unsigned>(n);
    }
    return 0;
  }
  if (key == "connect-timeout") {
    return seconds(key_text, value, settings.connect_seconds);
  }
  if (key == "give-up") {
    double give_up = 0;
    const int result = seconds(key_text, value, give_up);
    settings.config.give_up_ns = static_cast<int64_t>(give_up * 1e9);
    return result;
  }
  return bad_setting(fmt::format("{}: no such setting (nbdkit aoe --help)", key));
}

int plugin_config_complete() {
  if (settings.where.interfaces.empty() || settings.shelf < 0 || settings.slot < 0) {
    return bad_setting("interface=, shelf= and slot= say which target is meant");
  }
  std::string wrong;
  const auto features = features_from_string(settings.extensions, wrong);
  if (!features) {
    return bad_setting(
        fmt::format("extensions={}: there are tag_inc_be, tag_inc_le, tag_random, coalesced_read, "
                    "coalesced_write_reply, crc8x4",
                    wrong));
  }
  settings.config.shelf = static_cast<uint16_t>(settings.shelf);
  settings.config.slot = static_cast<uint8_t>(settings.slot);
  settings.config.wished = *features;
  settings.config.features_required = settings.require;
  return 0;
}

constexpr const char* kHelp =
    "interface=IF[,IF...]   interfaces that reach the target (required)\n"
    "shelf=N slot=N         the target's address (required)\n"
    "extensions=NAME,...    tag_inc_be, tag_inc_le, tag_random, coalesced_read,\n"
    "                       coalesced_write_reply, crc8x4\n"
    "require=no             go on without those that the target does not give\n"
    "address=MAC            ask from this address instead of one of our own\n"
    "mtu=N                  use no more of the interface's MTU\n"
    "outstanding=N          requests at the target (default: its buffer count)\n"
    "connect-timeout=S      how long to wait for the target at the start (10)\n"
    "give-up=S              fail what has no answer for so long (default: never)";

// ------------------------------------------------------------------ life

// In the foreground still, so that what is wrong is seen.
int plugin_get_ready() {
  try {
    settings.config.first_tag = tag_of_now();
    session = std::make_unique<Session>();
    if (!session->connect()) {
      const Phase phase = session->phase();
      session.reset();
      return bad_setting(
          phase == Phase::negotiating
              ? fmt::format(
                    "e{}.{} does not give all of extensions={} (require=no goes on without)",
                    settings.shelf, settings.slot, settings.extensions)
              : fmt::format("e{}.{} does not answer (waited {} s in {}; connect-timeout=)",
                            settings.shelf, settings.slot, settings.connect_seconds,
                            name_of(phase)));
    }
    device = session->device();
  } catch (const std::exception& e) {
    session.reset();
    return bad_setting(e.what());
  }
  const std::string active = to_string(device.active);
  nbdkit_debug("e%d.%d: %llu sectors, extensions %s", settings.shelf, settings.slot,
               static_cast<unsigned long long>(device.sectors),
               active.empty() ? "none" : active.c_str());
  return 0;
}

int plugin_after_fork() {
  session->start();
  return 0;
}

void plugin_unload() {
  session.reset();
}

void* plugin_open(int) {
  return NBDKIT_HANDLE_NOT_NEEDED;
}

int64_t plugin_get_size(void*) {
  return static_cast<int64_t>(device.sectors * kSectorBytes);
}

int plugin_block_size(void*, uint32_t* minimum, uint32_t* preferred, uint32_t* maximum) {
  *minimum = 1;  // any byte can be had; whole sectors are cheaper
  *preferred = 4096;
  *maximum = kJobSectorsMax * kSectorBytes;
  return 0;
}

int plugin_yes(void*) {
  return 1;
}

// ------------------------------------------------------------------ requests

int failed(const Completion& c) {
  nbdkit_error("e%d.%d: %s", settings.shelf, settings.slot, describe(c).c_str());
  if (c.result == Result::refused && c.aoe_error == observer::aoe_error::reserved) {
    nbdkit_set_error(EPERM);
  } else if (c.result == Result::unknown) {
    nbdkit_set_error(ETIMEDOUT);
  } else {
    nbdkit_set_error(EIO);
  }
  return -1;
}

// 0, or -1 when nbdkit has been told why.
template <typename Work>
int guarded(Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    nbdkit_set_error(ENOMEM);
    return -1;
  } catch (const std::exception& e) {
    nbdkit_error("%s", e.what());
    nbdkit_set_error(EIO);
    return -1;
  }
}

struct Sectors {
  uint64_t lba;
  uint32_t count;
  size_t skip;  // bytes before what is meant
};
Sectors sectors_of(uint64_t offset, size_t bytes) {
  const uint64_t lba = offset / kSectorBytes;
  const uint64_t end = (offset + bytes + kSectorBytes - 1) / kSectorBytes;
  return {lba, static_cast<uint32_t>(end - lba), static_cast<size_t>(offset % kSectorBytes)};
}

Completion read_sectors(const Sectors& s) {
  Job job;
  job.kind = Kind::read;
  job.lba = s.lba;
  job.sectors = s.count;
  return session->perform(std::move(job));
}

// The most bytes of one job, from any offset.
constexpr size_t kPieceBytes = (kJobSectorsMax - 1) * kSectorBytes;

int plugin_pread(void*, void* buffer, uint32_t count, uint64_t offset, uint32_t) {
  return guarded([&] {
    auto* out = static_cast<uint8_t*>(buffer);
    for (uint32_t done = 0; done < count;) {
      const size_t bytes = std::min<size_t>(count - done, kPieceBytes);
      const Sectors s = sectors_of(offset + done, bytes);
      const Completion c = read_sectors(s);
      if (c.result != Result::done) {
        return failed(c);
      }
      std::copy_n(c.data.begin() + static_cast<ptrdiff_t>(s.skip), bytes, out + done);
      done += static_cast<uint32_t>(bytes);
    }
    return 0;
  });
}

int write_piece(const uint8_t* from, size_t bytes, uint64_t offset) {
  const Sectors s = sectors_of(offset, bytes);
  const bool whole = s.skip == 0 && bytes % kSectorBytes == 0;
  std::shared_lock shared(part_writes, std::defer_lock);
  std::unique_lock alone(part_writes, std::defer_lock);
  Job job;
  job.kind = Kind::write;
  job.lba = s.lba;
  job.sectors = s.count;
  if (whole) {
    shared.lock();
    job.data.assign(from, from + bytes);
  } else {
    alone.lock();
    Completion before = read_sectors(s);
    if (before.result != Result::done) {
      return failed(before);
    }
    job.data = std::move(before.data);
    std::copy_n(from, bytes, job.data.begin() + static_cast<ptrdiff_t>(s.skip));
  }
  const Completion c = session->perform(std::move(job));
  return c.result == Result::done ? 0 : failed(c);
}

int plugin_pwrite(void*, const void* buffer, uint32_t count, uint64_t offset, uint32_t) {
  return guarded([&] {
    const auto* from = static_cast<const uint8_t*>(buffer);
    for (uint32_t done = 0; done < count;) {
      const size_t bytes = std::min<size_t>(count - done, kPieceBytes);
      if (write_piece(from + done, bytes, offset + done) == -1) {
        return -1;
      }
      done += static_cast<uint32_t>(bytes);
    }
    return 0;
  });
}

int plugin_flush(void*, uint32_t) {
  return guarded([] {
    Job job;
    job.kind = Kind::flush;
    const Completion c = session->perform(std::move(job));
    return c.result == Result::done ? 0 : failed(c);
  });
}

struct nbdkit_plugin plugin = [] {
  struct nbdkit_plugin p {};
  p.name = "aoe";
  p.longname = "ATA over Ethernet, with the AoEde extensions";
  p.version = "0.1.0";
  p.description = "An AoE target as an NBD export";
  p.config = plugin_config;
  p.config_complete = plugin_config_complete;
  p.config_help = kHelp;
  p.magic_config_key = "interface";
  p.get_ready = plugin_get_ready;
  p.after_fork = plugin_after_fork;
  p.unload = plugin_unload;
  p.open = plugin_open;
  p.get_size = plugin_get_size;
  p.block_size = plugin_block_size;
  p.can_write = plugin_yes;
  p.can_flush = plugin_yes;
  p.can_multi_conn = plugin_yes;  // one session, so what one client wrote every other one sees
  p.pread = plugin_pread;
  p.pwrite = plugin_pwrite;
  p.flush = plugin_flush;
  return p;
}();

}  // namespace
}  // namespace conformance::initiator

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
using conformance::initiator::plugin;
extern "C" {
NBDKIT_REGISTER_PLUGIN(plugin)
}
