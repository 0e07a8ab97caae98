// Images are measured, locked and refused for the right reasons, in words.
#include "target/linux/image.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "target/linux/start_error.h"
#include "target/linux/test_files.h"

namespace target::linux_shell {
namespace {

using ::testing::Test;

std::string refusal(const ImageWish& wish) {
  try {
    open_image(wish);
    return "accepted";
  } catch (const StartError& error) {
    return error.what();
  }
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ImageTest : public Test {
 protected:
  testing::TestDirectory directory_;
};

TEST_F(ImageTest, CountsWholeSectorsAndTheRest) {
  const auto path = directory_.image("image", 3 * 512 + 17);
  const auto image = open_image({.path = path});
  EXPECT_EQ(image.size.sectors, 3U);
  EXPECT_EQ(image.size.rest_bytes, 17U);
  EXPECT_EQ(measure_image(path, true).sectors, 3U);
}

TEST_F(ImageTest, TwoWritersAreOneTooMany) {
  const auto path = directory_.image("image", 4096);
  const auto first = open_image({.path = path});
  EXPECT_TRUE(has(refusal({.path = path}), "another target exports it already"));
  EXPECT_TRUE(has(refusal({.path = path, .read_only = true}), "exports it for writing"));
}

TEST_F(ImageTest, ReadersShare) {
  const auto path = directory_.image("image", 4096);
  const auto first = open_image({.path = path, .read_only = true});
  const auto second = open_image({.path = path, .read_only = true});
  EXPECT_TRUE(has(refusal({.path = path}), "another target"));
}

TEST_F(ImageTest, RefusesWhatIsNoImage) {
  EXPECT_TRUE(has(refusal({.path = directory_ / "none"}), "create the image first"));
  EXPECT_TRUE(has(refusal({.path = directory_.path()}), "is a directory"));
  EXPECT_TRUE(has(refusal({.path = "/dev/null"}), "no file and no block device"));
  EXPECT_TRUE(has(refusal({.path = directory_.image("small", 511)}), "less than one sector"));
}

TEST_F(ImageTest, DirectIsAcceptedOrRefusedInWords) {
  const auto path = directory_.image("image", 65536);
  const auto answer = refusal({.path = path, .direct = true});
  // Depends on the file system under the test; both answers are sound, nothing else is.
  if (answer == "accepted") {
    const auto image = open_image({.path = path, .direct = true});
    EXPECT_NE(::fcntl(image.fd.get(), F_GETFL) & O_DIRECT, 0);
    EXPECT_NE(::fcntl(image.fd.get(), F_GETFL) & O_DSYNC, 0);
    const auto other = directory_.image("other", 4096);
    const auto cached = open_image({.path = other, .direct = true, .write_cache = true});
    EXPECT_EQ(::fcntl(cached.fd.get(), F_GETFL) & O_DSYNC, 0);
    alignas(4096) static char buffer[512];
    EXPECT_EQ(::pread(image.fd.get(), buffer, 512, 512), 512);
    EXPECT_EQ(buffer[0], 1);
  } else {
    EXPECT_TRUE(has(answer, "leave --direct away")) << answer;
  }
}

}  // namespace
}  // namespace target::linux_shell
