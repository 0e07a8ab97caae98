#pragma once
// A slow and obvious target that follows every clause, in process and in virtual time: the
// yardstick that the suite's own tests hold the cases against. It is written for reading, keeps all
// its state public so that a deviant may spoil it, and shares no code with target/. It never sees a
// clock: time comes in, delays go out.

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "conformance/observer/build.h"

namespace conformance::deviants {

using observer::Bytes;
using observer::BytesView;
using observer::Directive;
using observer::Mac;

// What a target answers with, and when: nanoseconds after it took the request.
struct Answer {
  Bytes bytes;
  int64_t delay_ns = 0;
};
using Answers = std::vector<Answer>;

struct ModelConfig {
  Mac mac{0x02, 0xae, 0, 0, 0, 0x7a};
  uint16_t shelf = 7;
  uint8_t slot = 3;
  uint64_t sectors = 65536;
  uint16_t buffer_count = 32;
  uint16_t firmware = 0x0102;
  size_t mtu = 1500;
  size_t mask_max = 128;
  size_t reserve_max = 128;
  bool extensions = true;
  std::string config_string = "model";
  int64_t write_ns = 0;      // what a durable write takes; the disk does one at a time
  size_t results_max = 255;  // further results that go into one frame, as far as the MTU holds them
};

// What one initiator negotiated.
struct Session {
  enum class Tags { none, le, be, random };
  Tags tags = Tags::none;
  bool coalesced = false;
  bool coalesced_writes = false;
  bool crc = false;
  bool window_empty = true;
  uint32_t highest = 0;
  std::set<uint32_t> done;  // tags of writes that were performed, inside the window
};

class ModelTarget {
 public:
  static constexpr uint32_t kWindowTags = 32768;
  static constexpr int64_t kPauseNs = 500'000'000;
  static constexpr int64_t kPauseBudgetNs = 10'000'000'000;
  static constexpr size_t kPauseBudget = 4;
  static constexpr int64_t kServiceNs = 5'000;
  static constexpr int64_t kDiskNs = 20'000;

  explicit ModelTarget(ModelConfig config = {});

  // One frame taken from the receive queue at `now_ns`: everything that is answered, in order.
  Answers on_frame(const Bytes& frame, int64_t now_ns);
  // Results of writes that are ready (coalesced_write_reply), put together: called by whoever has
  // no further frame to hand over just now. Until then on_frame() keeps them in `results`.
  Answers send_results();
  // When the target may take the next frame: a congestion pause moves it.
  int64_t paused_until_ns = 0;

  // A new process on the same disk; what is persistent stays.
  void restart();
  Bytes announcement() const;

  // State, public on purpose.
  ModelConfig config;
  Bytes config_string;
  std::vector<Mac> mask;
  std::vector<Mac> reserved;
  std::map<uint64_t, Bytes> disk;  // sectors that were ever written; others are zero
  std::map<Mac, Session> sessions;
  std::optional<std::string> congestion_id;
  std::vector<int64_t> pauses_ns;
  std::vector<Bytes>
      results;  // each as the reply that the write would have got alone, without padding

  size_t max_sectors() const { return (config.mtu - 22) / observer::kSectorBytes; }
  Bytes read_sector(uint64_t lba) const;
  // The header of a reply to `request`, cut to its fixed argument, all else zero.
  Bytes reply_to(const Bytes& request, size_t size) const;
  Bytes error_reply(const Bytes& request, uint8_t error, size_t size) const;
  Bytes identify() const;
  // One ATA operation, as (tag, command, lba, count) say; used by plain and coalesced requests.
  Bytes perform_read(const Bytes& request, uint32_t tag, uint64_t lba, unsigned count,
                     const Session& session) const;
  // True when the tag belongs to a write that was performed; false also when it must be performed.
  enum class TagVerdict { fresh, duplicate, behind };
  TagVerdict judge_tag(const Session& session, uint32_t serial) const;
  void remember_tag(Session& session, uint32_t serial);
  static uint32_t serial_of(const Session& session, uint32_t tag);

 private:
  Answers on_ata(const Bytes& frame);
  // Of a session with coalesced_write_reply: W tells replies to writes, and good ones are kept.
  Answers keep_results(const Bytes& frame, Answers answers);
  // Those of one host, each in a frame of its own.
  Answers release_results(const Mac& host);
  Answers on_config(const Bytes& frame);
  Answers on_mask(const Bytes& frame);
  Answers on_reserve(const Bytes& frame);
  Answers on_extension(const Bytes& frame, int64_t now_ns);
  Answers write(const Bytes& frame, uint64_t lba, unsigned count, bool lba48);
};

// A deviant stands in front of the model: it may change what comes in, what goes out, and the
// model's state.
using Forward = std::function<Answers(const Bytes&)>;
using Middleware =
    std::function<Answers(const Bytes& request, ModelTarget& model, const Forward& forward)>;

struct Deviant {
  std::string name;   // "reply-tag-swapped"
  std::string story;  // one sentence: what it does wrong
  // A fresh middleware each time, for deviants that have a memory.
  std::function<Middleware()> make;
  std::function<void(ModelConfig&)> configure = {};  // a target built differently
  // Does it lose its string, mask and reservation with a restart? (The model keeps them.)
  std::function<void(ModelTarget&)> on_restart = {};
};

// The usual shapes of a deviant.
Deviant edits_reply(std::string name, std::string story,
                    std::function<void(const Bytes& request, Bytes& reply)> edit);
Deviant edits_request(std::string name, std::string story,
                      std::function<void(Bytes& request)> edit);
// Silent when the predicate holds.
Deviant ignores(std::string name, std::string story,
                std::function<bool(const Bytes& request, const ModelTarget&)> when);
Deviant spoils(std::string name, std::string story, Middleware middleware);

}  // namespace conformance::deviants
