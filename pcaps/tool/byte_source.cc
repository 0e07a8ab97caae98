#include "pcaps/tool/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pcaps {

namespace {
constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::size_t kRawBytes = 1 << 17;
constexpr int kStopLookedForMs = 200;
constexpr std::size_t kMagicBytes = 4;
constexpr int kZlibWindowOrGzip = 15 + 32;  // the window's bits, and: find out the format
}  // namespace

class Unpacker {
 public:
  Unpacker() : raw_(kRawBytes) {}
  virtual ~Unpacker() = default;
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;
  // Unpacks from raw() into `to`; returns how much came out. Empty input says that the file ends.
  virtual std::size_t unpack(std::uint8_t* to, std::size_t size, std::string& damage) = 0;
  [[nodiscard]] virtual bool in_the_middle() const = 0;

  std::vector<std::uint8_t>& raw() { return raw_; }
  std::size_t raw_begin = 0, raw_end = 0;

 private:
  std::vector<std::uint8_t> raw_;
};

namespace {
class Gzip : public Unpacker {
 public:
  Gzip() { inflateInit2(&stream_, kZlibWindowOrGzip); }
  ~Gzip() override { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  std::size_t unpack(std::uint8_t* to, std::size_t size, std::string& damage) override {
    if (ended_ && raw_begin != raw_end) {  // gzip files stand one behind the other
      inflateReset(&stream_);
      ended_ = false;
    }
    stream_.next_in = raw().data() + raw_begin;
    stream_.avail_in = static_cast<unsigned>(raw_end - raw_begin);
    stream_.next_out = to;
    stream_.avail_out = static_cast<unsigned>(size);
    const unsigned before = stream_.avail_in;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    raw_begin = raw_end - stream_.avail_in;
    if (stream_.avail_in != before || stream_.avail_out != size) {
      begun_ = true;
      ended_ = result == Z_STREAM_END;
    }
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      damage = fmt::format("gzip: {}", stream_.msg != nullptr ? stream_.msg : "damaged");
    }
    return size - stream_.avail_out;
  }
  [[nodiscard]] bool in_the_middle() const override { return begun_ && !ended_; }

 private:
  z_stream stream_{};
  bool begun_ = false, ended_ = false;
};

class Zstd : public Unpacker {
 public:
  Zstd() : stream_(ZSTD_createDStream()) {}
  ~Zstd() override { ZSTD_freeDStream(stream_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  std::size_t unpack(std::uint8_t* to, std::size_t size, std::string& damage) override {
    ZSTD_inBuffer in{raw().data(), raw_end, raw_begin};
    ZSTD_outBuffer out{to, size, 0};
    const std::size_t result = ZSTD_decompressStream(stream_, &out, &in);
    const bool moved = in.pos != raw_begin || out.pos != 0;
    raw_begin = in.pos;
    if (ZSTD_isError(result) != 0) {
      damage = fmt::format("zstd: {}", ZSTD_getErrorName(result));
    }
    if (moved) {  // with nothing to unpack it only says what it would like for a next file
      wants_more_ = result != 0;
    }
    return out.pos;
  }
  [[nodiscard]] bool in_the_middle() const override { return wants_more_; }

 private:
  ZSTD_DStream* stream_;
  bool wants_more_ = false;
};

std::unique_ptr<Unpacker> unpacker_for(std::span<const std::uint8_t> magic) {
  static constexpr std::uint8_t kGzip[] = {0x1F, 0x8B};
  static constexpr std::uint8_t kZstd[] = {0x28, 0xB5, 0x2F, 0xFD};
  if (magic.size() >= sizeof kGzip && std::memcmp(magic.data(), kGzip, sizeof kGzip) == 0) {
    return std::make_unique<Gzip>();
  }
  if (magic.size() >= sizeof kZstd && std::memcmp(magic.data(), kZstd, sizeof kZstd) == 0) {
    return std::make_unique<Zstd>();
  }
  return nullptr;
}
}  // namespace

std::unique_ptr<ByteSource> ByteSource::open(const std::string& path, const std::atomic<bool>* stop,
                                             std::string& error) {
  std::unique_ptr<ByteSource> source(new ByteSource());
  source->own_ = path != "-";
  source->descriptor_ = source->own_ ? ::open(path.c_str(), O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
  source->stop_ = stop;
  if (source->descriptor_ < 0) {
    error = fmt::format("cannot open the capture {}: {}", path, std::strerror(errno));
    return nullptr;
  }
  source->buffer_.resize(kBufferBytes);
  const auto magic = source->peek(kMagicBytes);
  if (magic.empty() && !source->damage_.empty()) {
    error = fmt::format("cannot read the capture {}: {}", path, source->damage_);
    return nullptr;
  }
  if (auto unpacker = unpacker_for(magic)) {
    const auto packed = source->peek(1);  // all that is there
    unpacker->raw().assign(packed.begin(), packed.end());
    unpacker->raw().resize(std::max(packed.size(), kRawBytes));
    unpacker->raw_end = packed.size();
    source->begin_ = source->end_ = 0;
    source->ended_ = false;
    source->unpacker_ = std::move(unpacker);
  }
  return source;
}

ByteSource::~ByteSource() {
  if (own_ && descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

// 0 at the end, when stopped, and when it failed.
std::size_t ByteSource::read_raw(std::uint8_t* to, std::size_t size) {
  while (!stopped_) {
    if (stop_ != nullptr) {
      if (stop_->load()) {
        stopped_ = true;
        break;
      }
      pollfd waiting{descriptor_, POLLIN, 0};
      if (::poll(&waiting, 1, kStopLookedForMs) <= 0) {
        continue;  // nothing yet, or a signal: look whether it said stop
      }
    }
    const ssize_t got = ::read(descriptor_, to, size);
    if (got >= 0) {
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR) {
      damage_ = std::strerror(errno);
      return 0;
    }
  }
  return 0;
}

bool ByteSource::read_more() {
  if (ended_) {
    return false;
  }
  if (begin_ != 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  std::uint8_t* to = buffer_.data() + end_;
  const std::size_t room = buffer_.size() - end_;
  if (unpacker_ == nullptr) {
    const std::size_t got = read_raw(to, room);
    end_ += got;
    ended_ = got == 0;
    return got != 0;
  }
  while (true) {
    const std::size_t out = unpacker_->unpack(to, room, damage_);
    end_ += out;
    if (!damage_.empty()) {
      ended_ = true;
      return out != 0;
    }
    if (out != 0) {
      return true;
    }
    if (unpacker_->raw_begin != unpacker_->raw_end) {
      continue;  // at the seam of two packed files
    }
    unpacker_->raw_begin = 0;
    unpacker_->raw_end = read_raw(unpacker_->raw().data(), unpacker_->raw().size());
    if (unpacker_->raw_end == 0) {
      ended_ = true;
      if (unpacker_->in_the_middle() && !stopped_ && damage_.empty()) {
        damage_ = "the packed file ends in the middle";
      }
      return false;
    }
  }
}

std::span<const std::uint8_t> ByteSource::peek(std::size_t size) {
  if (size > buffer_.size()) {
    buffer_.resize(size);
  }
  while (end_ - begin_ < size && read_more()) {
  }
  return {buffer_.data() + begin_, end_ - begin_};
}

void ByteSource::take(std::size_t size) {
  begin_ += std::min(size, end_ - begin_);
}

}  // namespace pcaps
