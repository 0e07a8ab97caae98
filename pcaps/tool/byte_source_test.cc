#include "pcaps/tool/byte_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>
#include <thread>

namespace pcaps {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Some megabytes that neither packs to nothing nor is noise.
Bytes sample() {
  Bytes bytes(3 << 20);
  std::uint32_t x = 1;
  for (std::uint8_t& b : bytes) {
    x = x * 1'664'525 + 1'013'904'223;
    b = static_cast<std::uint8_t>(x >> 29);
  }
  return bytes;
}

Bytes gzipped(const Bytes& plain) {
  z_stream stream{};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<Bytef*>(plain.data());
  stream.avail_in = static_cast<unsigned>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<unsigned>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

Bytes zstandard(const Bytes& plain) {
  Bytes packed(ZSTD_compressBound(plain.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the program zstd does
  packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);
  return packed;
}

struct Outcome {
  Bytes bytes;
  std::string damage;
};

Outcome read_all(const Bytes& file) {
  const std::string path = testing::TempDir() + "byte_source_test_" + std::to_string(::getpid());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  std::string error;
  const auto source = ByteSource::open(path, nullptr, error);
  EXPECT_NE(source, nullptr) << error;
  Outcome out;
  while (true) {
    const auto some = source->peek(1);
    if (some.empty()) {
      break;
    }
    const std::size_t size = std::min<std::size_t>(some.size(), 4'099);  // no round number
    out.bytes.insert(out.bytes.end(), some.begin(), some.begin() + static_cast<long>(size));
    source->take(size);
  }
  out.damage = source->damage();
  ::unlink(path.c_str());
  return out;
}

TEST(ByteSource, WhatIsPackedComesOutAsItWentIn) {
  const Bytes plain = sample();
  for (const Bytes& file : {plain, gzipped(plain), zstandard(plain)}) {
    const Outcome out = read_all(file);
    EXPECT_TRUE(out.bytes == plain);
    EXPECT_EQ(out.damage, "");
  }
}

TEST(ByteSource, PackedFilesOneBehindTheOtherAreOne) {
  const Bytes plain = sample();
  for (const auto& pack : {gzipped, zstandard}) {
    Bytes file = pack(plain);
    const Bytes second = pack(plain);
    file.insert(file.end(), second.begin(), second.end());
    const Outcome out = read_all(file);
    EXPECT_EQ(out.bytes.size(), 2 * plain.size());
    EXPECT_EQ(out.damage, "");
  }
}

TEST(ByteSource, APackedFileThatEndsInTheMiddleSaysSo) {
  const Bytes plain = sample();
  for (const auto& pack : {gzipped, zstandard}) {
    Bytes file = pack(plain);
    file.resize(file.size() / 2);
    const Outcome out = read_all(file);
    EXPECT_GT(out.bytes.size(), plain.size() / 4) << "what is before that counts";
    EXPECT_TRUE(std::equal(out.bytes.begin(), out.bytes.end(), plain.begin()));
    EXPECT_NE(out.damage, "");
  }
}

TEST(ByteSource, ADamagedPackedFileSaysSo) {
  const Bytes plain = sample();
  for (const auto& pack : {gzipped, zstandard}) {
    Bytes file = pack(plain);
    for (std::size_t i = file.size() / 2; i < file.size() / 2 + 64; ++i) {
      file[i] ^= 0x5A;
    }
    EXPECT_NE(read_all(file).damage, "");
  }
}

TEST(ByteSource, StopEndsAWaitForMore) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ASSERT_EQ(::write(ends[1], "abcd", 4), 4);
  std::atomic<bool> stop{false};
  std::string error;
  const auto source = ByteSource::open("/dev/fd/" + std::to_string(ends[0]), &stop, error);
  ASSERT_NE(source, nullptr) << error;
  EXPECT_EQ(source->peek(4).size(), 4U) << "what has come is there before the rest comes";
  std::thread stopper([&stop] { stop = true; });
  EXPECT_EQ(source->peek(100).size(), 4U);
  EXPECT_TRUE(source->stopped());
  EXPECT_EQ(source->damage(), "");
  stopper.join();
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace pcaps
