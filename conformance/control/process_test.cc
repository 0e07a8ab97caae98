// What a child process says and how it ends; what it finds of its state after a restart.

#include "conformance/control/process.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "conformance/control/process_control.h"

namespace conformance::control {
namespace {

using testing::HasSubstr;

TEST(TargetCommand, PlaceholdersAreFilledAndUnknownOnesNamed) {
  EXPECT_EQ(fill_placeholders("t {iface} {shelf}", {{"iface", "e0"}, {"shelf", "7"}}), "t e0 7");
  EXPECT_THROW(fill_placeholders("t {ifcae}", {{"iface", "e0"}}), std::runtime_error);
}

TEST(TargetProcess, WhatItSaysIsKeptAndBounded) {
  const std::string log = fmt::format("{}/process-test-{}.log", testing::TempDir(), getpid());
  TargetProcess process("sh -c 'echo one; echo two >&2'", log);
  process.start();
  while (process.running()) {
  }
  EXPECT_EQ(process.what_it_said(), "one\ntwo\n");
  EXPECT_EQ(process.what_it_said(), "") << "told once";
  TargetProcess chatty("seq 1 100000", {});
  chatty.start();
  while (chatty.running()) {
  }
  const std::string said = chatty.what_it_said();
  EXPECT_LT(said.size(), 10'000U);
  EXPECT_THAT(said, testing::StartsWith("1\n2\n"));
  EXPECT_THAT(said, HasSubstr("bytes left out"));
  EXPECT_THAT(said, testing::EndsWith("99999\n100000\n"));
  std::ifstream file(log);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "one\ntwo\n");
  unlink(log.c_str());
  EXPECT_THROW(TargetProcess("true", "/nowhere/target.log"), std::runtime_error);
}

TEST(TargetProcess, EndsInOrderAndTellsHow) {
  TargetProcess quick("sh -c 'exit 3'");
  quick.start();
  quick.end();
  EXPECT_FALSE(quick.running());
  TargetProcess lasting("sleep 1000");
  lasting.start();
  EXPECT_TRUE(lasting.running());
  lasting.end();
  EXPECT_FALSE(lasting.running());
  EXPECT_THAT(lasting.how_it_ended(), HasSubstr("signal 15"));
}

std::string all_said(ProcessControl& control) {
  std::string said;
  while (control.fate().empty()) {
    said += control.said();
  }
  return said + control.said();
}

TEST(ProcessControl, StateIsKeptOverARestartAndEmptyOnAFreshStart) {
  // Tells how many lines its file has, and adds one.
  ProcessControl control({"sh -c 'touch $0/f; wc -l <$0/f; echo line >>$0/f' {state}", {}, {}, {}});
  std::string counts;
  for (const State state : {State::fresh, State::kept, State::kept, State::fresh, State::kept}) {
    control.start(state);
    counts += all_said(control);
  }
  EXPECT_EQ(counts, "0\n1\n2\n0\n1\n");
}

TEST(ProcessControl, ItsStateDirectoryGoesWithIt) {
  std::string path;
  {
    ProcessControl control({"echo {state}", {}, {}, {}});
    control.start(State::fresh);
    path = all_said(control);
    path.pop_back();
    EXPECT_TRUE(std::filesystem::is_directory(path)) << path;
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all);
  }
  EXPECT_FALSE(std::filesystem::exists(path)) << path;
}

TEST(ProcessControl, AnotherNumberOfBuffersIsSaidTheUsersWay) {
  ProcessControl control({"echo run", {}, "--buffers={buffers}", {}});
  EXPECT_TRUE(control.takes_buffers());
  control.start(State::fresh);
  EXPECT_EQ(all_said(control), "run\n");
  control.set_buffers(9);
  control.start(State::kept);
  EXPECT_EQ(all_said(control), "run --buffers=9\n");
  control.set_buffers(std::nullopt);
  control.start(State::kept);
  EXPECT_EQ(all_said(control), "run\n");
  EXPECT_FALSE(ProcessControl({"true", {}, {}, {}}).takes_buffers());
  EXPECT_THROW(ProcessControl({"true", {}, "--buffers 9", {}}), std::runtime_error);
}

TEST(Nobody, CannotBeStartedAgainAndHasNoFate) {
  EXPECT_FALSE(nobody().restarts());
  EXPECT_FALSE(nobody().takes_buffers());
  EXPECT_EQ(nobody().fate(), "");
}

}  // namespace
}  // namespace conformance::control
