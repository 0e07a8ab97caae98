// The command line and the TOML file mean what the manual says, and every mistake has a line that
// names it.
#include "target/linux/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "target/linux/test_files.h"

namespace target::linux_shell {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Options good(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments);
  if (const auto* quit = std::get_if<Quit>(&parsed)) {
    ADD_FAILURE() << quit->text;
    return {};
  }
  return std::get<Options>(parsed);
}

std::string refused(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments);
  const auto* quit = std::get_if<Quit>(&parsed);
  if (quit == nullptr) {
    return "accepted";
  }
  EXPECT_EQ(quit->exit_code, 2);
  return quit->text;
}

const std::vector<std::string> kPlain = {"--interface", "eth0", "--shelf", "1",
                                         "--slot",      "2",    "disk.img"};

std::vector<std::string> plain_and(std::initializer_list<std::string> more) {
  auto all = kPlain;
  all.insert(all.end(), more);
  return all;
}

TEST(CommandLine, ARepeatableOptionTakesOneWordAndLeavesTheFile) {
  const auto options = good({"--shelf", "1", "--slot", "2", "--allow", "02:00:00:00:00:0a",
                             "--interface", "eth0", "--interface", "eth1", "disk.img"});
  EXPECT_EQ(options.exports.at(0).file, "disk.img");
  EXPECT_THAT(options.exports.at(0).interfaces, ElementsAre("eth0", "eth1"));
  const auto others = good({"--interface", "eth0", "--shelf", "1", "--slot", "2", "--allow",
                            "02:00:00:00:00:0a", "--allow", "02:00:00:00:00:0b", "disk.img"});
  EXPECT_EQ(others.exports.at(0).file, "disk.img");
  EXPECT_EQ(others.exports.at(0).allow.size(), 2U);
}

TEST(CommandLine, ThePlainCase) {
  const auto options = good(kPlain);
  ASSERT_EQ(options.exports.size(), 1U);
  const auto& one = options.exports[0];
  EXPECT_EQ(one.file, "disk.img");
  EXPECT_THAT(one.interfaces, ElementsAre("eth0"));
  EXPECT_EQ(one.shelf, 1);
  EXPECT_EQ(one.slot, 2);
  EXPECT_EQ(one.buffer_count, 64);
  EXPECT_FALSE(one.read_only || one.direct);
  EXPECT_EQ(one.durability, Durability::write);
  EXPECT_EQ(one.cache_bytes, kCacheBytesDefault);
  EXPECT_TRUE(one.extensions);
  EXPECT_EQ(one.serial, "e1.2");
  EXPECT_EQ(one.behind_window, engine::BehindWindow::reject_silently);
  EXPECT_EQ(one.reset_on, engine::ResetOn::any_config);
  EXPECT_EQ(options.ready_fd, -1);
  EXPECT_FALSE(options.check);
}

TEST(CommandLine, EveryOption) {
  const auto options = good(plain_and({"--interface",
                                       "eth1",
                                       "--read-only",
                                       "--buffer-count",
                                       "128",
                                       "--allow",
                                       "02:00:00:00:00:0A",
                                       "--allow",
                                       "02:00:00:00:00:0b",
                                       "--state-dir",
                                       "/s",
                                       "--direct",
                                       "--write-cache",
                                       "--behind-window",
                                       "perform",
                                       "--reset-on",
                                       "config-write",
                                       "--no-extensions",
                                       "--serial",
                                       "S1",
                                       "--control",
                                       "/c",
                                       "--user",
                                       "aoe",
                                       "--log-level",
                                       "debug",
                                       "--ready-fd",
                                       "3",
                                       "--check"}));
  const auto& one = options.exports.at(0);
  EXPECT_THAT(one.interfaces, ElementsAre("eth0", "eth1"));
  EXPECT_TRUE(one.read_only && one.direct);
  EXPECT_EQ(one.durability, Durability::flush);
  EXPECT_EQ(one.buffer_count, 128);
  EXPECT_THAT(one.allow, ElementsAre(wire::MacAddress{{2, 0, 0, 0, 0, 0x0A}},
                                     wire::MacAddress{{2, 0, 0, 0, 0, 0x0B}}));
  EXPECT_EQ(one.state_dir, "/s");
  EXPECT_EQ(one.behind_window, engine::BehindWindow::perform);
  EXPECT_EQ(one.reset_on, engine::ResetOn::config_write);
  EXPECT_FALSE(one.extensions);
  EXPECT_EQ(one.serial, "S1");
  EXPECT_EQ(options.control, "/c");
  EXPECT_EQ(options.user, "aoe");
  EXPECT_EQ(options.log_level, "debug");
  EXPECT_EQ(options.ready_fd, 3);
  EXPECT_TRUE(options.check);
}

TEST(CommandLine, LimitsAreInclusive) {
  EXPECT_EQ(good({"--interface", "e", "--shelf", "65534", "--slot", "254", "--buffer-count",
                  "65535", "f"})
                .exports.at(0)
                .buffer_count,
            65535);
  EXPECT_EQ(good({"--interface", "e", "--shelf", "0", "--slot", "0", "--buffer-count", "2", "f"})
                .exports.at(0)
                .buffer_count,
            2);
}

TEST(CommandLine, EveryMistakeHasItsLine) {
  EXPECT_THAT(refused({}), HasSubstr("file is missing"));
  EXPECT_THAT(refused({}), HasSubstr("interface is missing"));
  EXPECT_THAT(refused({}), HasSubstr("shelf is missing: give a number from 0 to 65534"));
  EXPECT_THAT(refused({}), HasSubstr("slot is missing"));
  EXPECT_THAT(refused({"--interface", "e", "--shelf", "65535", "--slot", "255", "f"}),
              HasSubstr("slot 255 is out of range: give a number from 0 to 254"));
  EXPECT_THAT(refused({"--interface", "e", "--shelf", "-1", "--slot", "1", "f"}),
              HasSubstr("shelf -1 is out of range"));
  EXPECT_THAT(refused({"--interface", "e", "--shelf", "one", "--slot", "1", "f"}),
              HasSubstr("--shelf"));
  EXPECT_THAT(refused(plain_and({"--buffer-count", "1"})), HasSubstr("buffer-count 1 is out"));
  EXPECT_THAT(refused(plain_and({"--buffer-count", "65536"})), HasSubstr("2 to 65535"));
  EXPECT_THAT(refused(plain_and({"--allow", "02:00:00:00:00"})), HasSubstr("not a MAC address"));
  EXPECT_THAT(refused(plain_and({"--behind-window", "maybe"})),
              HasSubstr("behind-window 'maybe' is not known: use perform or reject"));
  EXPECT_THAT(refused(plain_and({"--reset-on", "never"})), HasSubstr("any-config or config-write"));
  EXPECT_THAT(refused(plain_and({"--serial", std::string(21, 'x')})), HasSubstr("at most 20"));
  EXPECT_THAT(refused(plain_and({"--serial", "a\nb"})), HasSubstr("printable"));
  EXPECT_THAT(refused(plain_and({"--log-level", "loud"})), HasSubstr("loud"));
  EXPECT_THAT(refused(plain_and({"--ready-fd", "-3"})), HasSubstr("--ready-fd"));
  EXPECT_THAT(refused(plain_and({"second.img"})), HasSubstr("one export has one file"));
  EXPECT_THAT(refused(plain_and({"--interface", "eth0"})), HasSubstr("eth0 is named twice"));
  EXPECT_THAT(refused(plain_and({"--interface", std::string(16, 'x')})), HasSubstr("impossible"));
  EXPECT_THAT(refused(plain_and({"--nonsense"})), HasSubstr("--nonsense"));
}

TEST(CommandLine, WhatAWritePromisesAndTheMemoryForIt) {
  EXPECT_EQ(good(plain_and({"--durability", "flush"})).exports.at(0).durability, Durability::flush);
  EXPECT_EQ(good(plain_and({"--write-cache"})).exports.at(0).durability, Durability::flush);
  EXPECT_EQ(good(plain_and({"--direct", "--cache-size", "2G"})).exports.at(0).cache_bytes,
            std::uint64_t{2} << 30);
  EXPECT_EQ(good(plain_and({"--direct", "--cache-size", "0"})).exports.at(0).cache_bytes, 0U);
  EXPECT_THAT(refused(plain_and({"--durability", "never"})), HasSubstr("flush or write"));
  EXPECT_THAT(refused(plain_and({"--write-cache", "--durability", "write"})),
              HasSubstr("give one of the two"));
  EXPECT_THAT(refused(plain_and({"--cache-size", "32M"})), HasSubstr("needs direct"));
  for (const char* bad : {"1023K", "65G", "-1M", "M", "1T", "32 M", "99999999999999999999"}) {
    EXPECT_THAT(refused(plain_and({"--direct", "--cache-size", bad})), HasSubstr("from 1M to 64G"))
        << bad;
  }
}

TEST(CommandLine, HelpAndVersionAreNoErrors) {
  for (const char* flag : {"--help", "--version"}) {
    const auto parsed = parse_command_line({flag});
    ASSERT_TRUE(std::holds_alternative<Quit>(parsed));
    EXPECT_EQ(std::get<Quit>(parsed).exit_code, 0);
  }
  EXPECT_THAT(std::get<Quit>(parse_command_line({"--version"})).text, HasSubstr("aoe-target 0."));
  EXPECT_THAT(std::get<Quit>(parse_command_line({"--help"})).text, HasSubstr("--buffer-count"));
}

TEST(CommandLine, AConfigFileExcludesAnExportOnTheCommandLine) {
  const testing::TestDirectory directory;
  const auto file = directory.text("t.toml",
                                   "log-level = \"warn\"\n[[export]]\nfile = \"a\"\n"
                                   "interface = [\"e\"]\nshelf = 1\nslot = 1\n");
  EXPECT_EQ(good({"--config", file, "--check"}).log_level, "warn");
  EXPECT_EQ(good({"--config", file, "--log-level", "debug"}).log_level, "debug");
  EXPECT_EQ(good({"--config", file, "--control", "/c"}).control, "/c");
  EXPECT_THAT(refused({"--config", file, "--shelf", "3"}), HasSubstr("--shelf together with"));
  EXPECT_THAT(refused({"--config", file, "disk.img"}), HasSubstr("together with --config"));
  EXPECT_THAT(refused({"--config", directory / "none"}), HasSubstr("cannot read"));
}

std::vector<std::string> toml_problems(const std::string& text) {
  std::vector<std::string> problems;
  parse_toml(text, "t.toml", problems);
  return problems;
}

constexpr const char* kExport =
    "[[export]]\nfile = \"a\"\ninterface = [\"e\"]\nshelf = 1\nslot = 1\n";

TEST(Toml, EveryMistakeHasItsLineNumber) {
  const std::string one = kExport;
  EXPECT_THAT(toml_problems(one), IsEmpty());
  EXPECT_THAT(toml_problems(one + "colour = 1\n"),
              ElementsAre(HasSubstr("t.toml:6: 'colour' is not an option")));
  EXPECT_THAT(toml_problems("colour = 1\n" + one), ElementsAre(HasSubstr("t.toml:1: 'colour'")));
  EXPECT_THAT(toml_problems(one + "read-only = 1\n"),
              ElementsAre(HasSubstr("t.toml:6: read-only must be true or false")));
  EXPECT_THAT(toml_problems(one + "allow = [1]\n"),
              ElementsAre(HasSubstr("allow must be a list of strings")));
  EXPECT_THAT(toml_problems("[[export]]\nfile = \"a\"\ninterface = \"e\"\nshelf = 1\nslot = 1\n"),
              ::testing::Contains(HasSubstr("t.toml:3: interface must be a list")));
  EXPECT_THAT(toml_problems("[[export]]\nfile = \"a\"\ninterface = [\"e\"]\nshelf = 1.5\nslot=1\n"),
              ElementsAre(HasSubstr("t.toml:4: shelf must be a whole number")));
  EXPECT_THAT(toml_problems(one + "shelf = 2\n"), ElementsAre(HasSubstr("not TOML")));
  EXPECT_THAT(toml_problems(""), ElementsAre(HasSubstr("no export")));
  EXPECT_THAT(toml_problems("export = 1\n"), ElementsAre(HasSubstr("no export")));
  EXPECT_THAT(toml_problems(one + kExport),
              ElementsAre(HasSubstr("t.toml:6: e1.1 is exported already by t.toml:1")));
  EXPECT_THAT(toml_problems("log-level = \"loud\"\n" + one), ElementsAre(HasSubstr("loud")));
}

// The manual's example is taken from the manual, so that it cannot rot.
TEST(Toml, TheExampleInTheManualIsGoodAndComplete) {
  std::ifstream in(AOE_SOURCE_DIR "/docs/aoe-target.md");
  ASSERT_TRUE(in);
  std::stringstream manual;
  manual << in.rdbuf();
  const std::string text = manual.str();
  const std::string fence = "```toml\n";
  const auto begin = text.find(fence);
  ASSERT_NE(begin, std::string::npos);
  const auto end = text.find("```", begin + fence.size());
  std::vector<std::string> problems;
  const auto options =
      parse_toml(text.substr(begin + fence.size(), end - begin - fence.size()), "manual", problems);
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_EQ(options.exports.size(), 2U);
  EXPECT_FALSE(options.control.empty());
  EXPECT_EQ(options.exports[0].interfaces.size(), 2U);
  EXPECT_FALSE(options.exports[0].state_dir.empty());
  EXPECT_FALSE(options.exports[0].allow.empty());
}

TEST(Mac, ReadsWhatItPrints) {
  const wire::MacAddress mac{{0x02, 0xAB, 0, 0xFF, 0x10, 9}};
  EXPECT_EQ(format_mac(mac), "02:ab:00:ff:10:09");
  EXPECT_EQ(parse_mac(format_mac(mac)), mac);
  for (const char* bad : {"", "02:00:00:00:00:0", "02:00:00:00:00:0g", "02-00-00-00-00-01",
                          "02:00:00:00:00:01 ", "0200.0000.0001aaaa"}) {
    EXPECT_FALSE(parse_mac(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace target::linux_shell
