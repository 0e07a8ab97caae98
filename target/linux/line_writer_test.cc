// Whoever has a line never waits, what waits is bounded, and what was lost is counted.
#include "target/linux/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "target/linux/fd.h"

namespace target::linux_shell {
namespace {

TEST(LineWriter, WritesInOrderWithAndWithoutItsThread) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd end(ends[1]);
  auto* writer = new LineWriter(ends[1]);  // its thread outlives the test
  writer->write("one\n");
  writer->start_thread();
  writer->write("two\n");
  writer->write("three\n");
  writer->drain(5000);
  char text[64] = {};
  ASSERT_EQ(::read(reader.get(), text, sizeof text), 14);
  EXPECT_STREQ(text, "one\ntwo\nthree\n");
  EXPECT_EQ(writer->lost(), 0U);
}

TEST(LineWriter, APipeThatNobodyReadsCostsLinesAndNothingElse) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const int end = ends[1];  // stays open: the thread may hold it
  auto* writer = new LineWriter(end);
  writer->start_thread();
  const std::string line = std::string(99, 'x') + "\n";
  constexpr std::uint64_t kLines = 10'000;  // a million bytes, and a pipe holds 65,536
  for (std::uint64_t i = 0; i < kLines; ++i) {
    writer->write(line);
  }
  const std::uint64_t lost = writer->lost();
  EXPECT_GE(lost, kLines - (kLineBytesWaitingMax + 65'536) / line.size() - 2);
  EXPECT_LT(lost, kLines - kLineBytesWaitingMax / line.size() + 1);
  // Somebody reads again: what waited comes.
  std::size_t bytes = 0;
  char text[65'536];
  while (bytes < (kLines - lost) * line.size()) {
    const ssize_t count = ::read(reader.get(), text, sizeof text);
    ASSERT_GT(count, 0);
    bytes += static_cast<std::size_t>(count);
  }
  EXPECT_EQ(bytes, (kLines - lost) * line.size());
}

TEST(LineWriter, ADescriptorThatFailsLosesTheLine) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  auto* writer = new LineWriter(full);
  writer->write("one\n");
  writer->start_thread();
  writer->write("two\n");
  writer->drain(5000);
  EXPECT_EQ(writer->lost(), 2U);
}

}  // namespace
}  // namespace target::linux_shell
