// For tests: a directory that vanishes with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace target::linux_shell::testing {

class TestDirectory {
 public:
  TestDirectory() {
    // Not in memory: tmpfs of older kernels knows no direct I/O.
    char name[] = "/var/tmp/aoe-target-XXXXXX";
    const char* made = ::mkdtemp(name);
    EXPECT_NE(made, nullptr);
    path_ = made == nullptr ? "/nonexistent" : made;
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

  // An image of so many bytes, each sector filled with its own number.
  [[nodiscard]] std::string image(const std::string& name, std::size_t bytes) const {
    const auto path = *this / name;
    std::ofstream out(path, std::ios::binary);
    for (std::size_t i = 0; i < bytes; ++i) {
      out.put(static_cast<char>(i / 512));
    }
    return path;
  }
  [[nodiscard]] std::string text(const std::string& name, const std::string& content) const {
    const auto path = *this / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

 private:
  std::string path_;
};

}  // namespace target::linux_shell::testing
