// The list of further reads, as AoEde sends it, and the list of further write results.
#include "target/wire/coalesced.h"

#include <gtest/gtest.h>

#include <vector>

#include "target/wire/bytes.h"

namespace target::wire {
namespace {

using Bytes = std::vector<std::byte>;

AtaRequest request_of(const Bytes& bytes) {
  return {{}, bytes};
}

Bytes argument_with_list(std::uint8_t count, std::size_t entries) {
  Bytes bytes(13);
  store_u8(bytes, 12, count);
  for (std::size_t i = 0; i < entries; ++i) {
    Bytes entry(16);
    store_be32(entry, 0, static_cast<std::uint32_t>(1000 + i));
    store_le48(entry, 4, 0x010203040500 + i);
    store_u8(entry, 15, static_cast<std::uint8_t>(i + 1));
    bytes.insert(bytes.end(), entry.begin(), entry.end());
  }
  return bytes;
}

TEST(CoalescedRead, ReadsItsEntries) {
  const Bytes bytes = argument_with_list(3, 3);
  const CoalescedReadList list(request_of(bytes));
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list.at(2).tag, 1002U);
  EXPECT_EQ(list.at(2).lba, 0x010203040502U);
  EXPECT_EQ(list.at(2).sector_count, 3);
}

TEST(CoalescedRead, IsCutToWhatTheFrameHolds) {
  Bytes bytes = argument_with_list(255, 3);
  EXPECT_EQ(CoalescedReadList(request_of(bytes)).size(), 3U);
  bytes.pop_back();
  EXPECT_EQ(CoalescedReadList(request_of(bytes)).size(), 2U);
  bytes.resize(13);
  EXPECT_EQ(CoalescedReadList(request_of(bytes)).size(), 0U);
  bytes.resize(12);
  EXPECT_EQ(CoalescedReadList(request_of(bytes)).size(), 0U) << "no count at all";
}

TEST(CoalescedRead, PaddingOfZerosIsAnEmptyList) {
  EXPECT_EQ(CoalescedReadList(request_of(Bytes(36))).size(), 0U);
}

TEST(Coalesced, EntriesThatFit) {
  EXPECT_EQ(coalesced_entries_that_fit(1514), 92U);
  EXPECT_EQ(coalesced_entries_that_fit(9014), 255U);
  EXPECT_EQ(coalesced_entries_that_fit(60), 1U);
  EXPECT_EQ(coalesced_entries_that_fit(37 + 15), 0U);
  EXPECT_EQ(coalesced_entries_that_fit(36), 0U);
}

TEST(CoalescedWriteReply, StoresEntriesOneAfterTheOther) {
  Bytes frame(200, std::byte{0xEE});
  EXPECT_EQ(store_write_reply_entry(frame, 0, 0xAABBCCDD, {0x41, 0, 0, 0x40, 0x64}), 60U);
  EXPECT_EQ(load_u8(frame, 36), 1);
  EXPECT_EQ(load_be32(frame, 37), 0xAABBCCDDU);
  EXPECT_EQ(load_u8(frame, 41), 0x41);
  EXPECT_EQ(load_u8(frame, 44), 0x40);
  EXPECT_EQ(load_le48(frame, 45), 0x64U);
  EXPECT_EQ(load_be16(frame, 51), 0);
  for (std::size_t i = 53; i < 60; ++i) {
    EXPECT_EQ(load_u8(frame, i), 0);
  }
  EXPECT_EQ(store_write_reply_entry(frame, 1, 7, {}), 37U + 32U);
  EXPECT_EQ(load_u8(frame, 36), 2);
  EXPECT_EQ(load_be32(frame, 53), 7U);
  EXPECT_EQ(load_u8(frame, 69), 0xEE);
}

}  // namespace
}  // namespace target::wire
