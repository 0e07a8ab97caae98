// Identify word by word, the limits of a frame, and the registers of every end.
#include "target/engine/ata_device.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "target/wire/bytes.h"

namespace target::engine {
namespace {

class Identify : public testing::Test {
 protected:
  void write(const EngineConfig& config) {
    data_.assign(kIdentifyBytes, std::byte{0xEE});
    write_identify(config, data_);
  }
  [[nodiscard]] std::uint16_t word(std::size_t index) const {
    return wire::load_le16(data_, index * 2);
  }
  [[nodiscard]] std::string text(std::size_t first, std::size_t words) const {
    std::string result;
    for (std::size_t i = first; i < first + words; ++i) {
      result += static_cast<char>(word(i) >> 8);
      result += static_cast<char>(word(i) & 0xFF);
    }
    return result;
  }
  std::vector<std::byte> data_;
};

TEST_F(Identify, Strings) {
  EngineConfig config;
  config.serial = "12345";
  config.firmware = "0.1";
  config.model = "a model";
  write(config);
  EXPECT_EQ(text(10, 10), "12345               ");
  EXPECT_EQ(text(23, 4), "0.1     ");
  EXPECT_EQ(text(27, 20), "a model" + std::string(33, ' '));
  config.model = std::string(100, 'm');
  write(config);
  EXPECT_EQ(text(27, 20), std::string(40, 'm'));
}

TEST_F(Identify, Capacity) {
  EngineConfig config;
  config.sectors = 0x12345;
  write(config);
  EXPECT_EQ(word(60), 0x2345);
  EXPECT_EQ(word(61), 0x0001);
  EXPECT_EQ(word(100), 0x2345);
  EXPECT_EQ(word(101), 0x0001);
  config.sectors = 0x8765'4321'0FED;
  write(config);
  EXPECT_EQ(word(60), 0xFFFF) << "capped at 0x0FFFFFFF";
  EXPECT_EQ(word(61), 0x0FFF);
  EXPECT_EQ(word(100), 0x0FED);
  EXPECT_EQ(word(101), 0x4321);
  EXPECT_EQ(word(102), 0x8765);
  EXPECT_EQ(word(103), 0x0000);
}

TEST_F(Identify, Features) {
  for (const bool cached : {false, true}) {
    EngineConfig config;
    config.volatile_write_cache = cached;
    write(config);
    EXPECT_EQ(word(0) & 0x8000, 0) << "an ATA device";
    EXPECT_EQ(word(49) & 0x0200, 0x0200) << "LBA";
    EXPECT_EQ(word(49) & 0x0100, 0) << "no DMA";
    EXPECT_EQ(word(80), 0x00F0);
    EXPECT_EQ(word(83) & 0xC000, 0x4000) << "words 82 and 83 are valid";
    EXPECT_EQ(word(83) & 0x3400, 0x3400) << "flush, flush ext, LBA48";
    EXPECT_EQ(word(86) & 0x3400, 0x3400);
    EXPECT_EQ(word(84) & 0xC000, 0x4000);
    EXPECT_EQ(word(87) & 0xC000, 0x4000);
    EXPECT_EQ(word(82), cached ? 0x20 : 0);
    EXPECT_EQ(word(85), cached ? 0x20 : 0);
  }
}

TEST_F(Identify, TheSumOfAllBytesIsZero) {
  EngineConfig config;
  config.sectors = 4096;
  write(config);
  EXPECT_EQ(word(255) & 0xFF, 0xA5);
  unsigned sum = 0;
  for (const std::byte byte : data_) {
    sum += static_cast<unsigned>(byte);
  }
  EXPECT_EQ(sum % 256, 0U);
}

TEST(SectorsMax, IsWhatFitsBehindTheHeaders) {
  EXPECT_EQ(sectors_max(1500, false), 2U);
  EXPECT_EQ(sectors_max(9000, false), 17U);
  EXPECT_EQ(sectors_max(9000, true), 17U);
  EXPECT_EQ(sectors_max(22 + 1024, false), 2U);
  EXPECT_EQ(sectors_max(21 + 1024, false), 1U);
  EXPECT_EQ(sectors_max(22 + 1024, true), 1U) << "the four bytes of crc8x4 do not fit";
  EXPECT_EQ(sectors_max(26 + 1024, true), 2U);
  EXPECT_EQ(sectors_max(65535, false), 127U);
}

TEST(Registers, SayHowACommandEnded) {
  const wire::AtaRegisters request{0xFF, 0x99, 5, wire::ata::kWriteSectorsExt, 0x123456};
  EXPECT_EQ(registers_after(request, DiskOpKind::write, DiskStatus::ok),
            (wire::AtaRegisters{0x53, 0, 0, 0x40, 0x123456}));
  EXPECT_EQ(registers_after(request, DiskOpKind::write, DiskStatus::io_error),
            (wire::AtaRegisters{0x53, 0x04, 5, 0x61, 0x123456}));
  EXPECT_EQ(registers_after(request, DiskOpKind::read, DiskStatus::io_error),
            (wire::AtaRegisters{0x53, 0x40, 5, 0x41, 0x123456}));
  EXPECT_EQ(registers_after(request, DiskOpKind::flush, DiskStatus::no_space).status_or_command,
            0x61);
}

TEST(Plan, LimitsComeBeforeTheRange) {
  EngineConfig config;
  config.sectors = 100;
  const wire::AtaRegisters past_and_too_many{0, 0, 3, wire::ata::kReadSectorsExt, 100};
  EXPECT_EQ(plan_ata(config, past_and_too_many, 2, 0).action, AtaAction::bad_argument);
  const wire::AtaRegisters past{0, 0, 2, wire::ata::kReadSectorsExt, 99};
  const AtaPlan plan = plan_ata(config, past, 2, 0);
  EXPECT_EQ(plan.action, AtaAction::answer);
  EXPECT_EQ(plan.registers.error_or_feature, wire::ata::kErrorIdNotFound);
}

TEST(Plan, AWriteNeedsItsWholePayload) {
  EngineConfig config;
  config.sectors = 100;
  const wire::AtaRegisters request{0, 0, 2, wire::ata::kWriteSectors, 0};
  EXPECT_EQ(plan_ata(config, request, 2, 1023).action, AtaAction::bad_argument);
  EXPECT_EQ(plan_ata(config, request, 2, 1024).action, AtaAction::disk);
}

}  // namespace
}  // namespace target::engine
