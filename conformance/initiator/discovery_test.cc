#include "conformance/initiator/discovery.h"

#include <gtest/gtest.h>

#include "conformance/deviants/model_target.h"

namespace conformance::initiator {
namespace {

constexpr Mac kOwn{0x02, 0, 0, 0, 0, 0x11};

Bytes answer_of(deviants::ModelTarget& target, const Bytes& query) {
  const auto answers = target.on_frame(query, 0);
  return answers.empty() ? Bytes{} : answers.front().bytes;
}

TEST(Discovery, FindsEachTargetOnceOnEachPath) {
  deviants::ModelTarget one;
  deviants::ModelConfig other_config;
  other_config.shelf = 9;
  other_config.mac[5] = 0x7b;
  deviants::ModelTarget other(other_config);
  Discovery d(0xffff, 0xff, 77);
  const Bytes query = d.query(kOwn);
  EXPECT_TRUE(d.on_frame(0, answer_of(one, query)));
  EXPECT_TRUE(d.on_frame(0, answer_of(other, query)));
  EXPECT_FALSE(d.on_frame(0, answer_of(one, query)));
  EXPECT_TRUE(d.on_frame(1, answer_of(one, query)));
  ASSERT_EQ(d.found().size(), 3U);
  EXPECT_EQ(d.found()[0].shelf, 7);
  EXPECT_EQ(d.found()[0].slot, 3);
  EXPECT_EQ(d.found()[0].buffer_count, 32);
  EXPECT_EQ(d.found()[0].config_string, observer::bytes_of("model"));
}

TEST(Discovery, ForeignFramesAreNoAnswers) {
  deviants::ModelTarget target;
  Discovery d(7, 3, 77);
  const Bytes query = d.query(kOwn);
  EXPECT_FALSE(d.on_frame(0, query));
  Bytes reply = answer_of(target, query);
  for (size_t n = 0; n < observer::at::cfg_string; ++n) {
    EXPECT_FALSE(d.on_frame(0, BytesView(reply).first(n))) << n;
  }
  Bytes wrong = reply;
  observer::set(wrong, observer::F::tag, 78);
  EXPECT_FALSE(d.on_frame(0, wrong));
  wrong = reply;
  observer::set(wrong, observer::F::shelf, 8);
  EXPECT_FALSE(d.on_frame(0, wrong));
  EXPECT_TRUE(d.on_frame(0, reply));
}

}  // namespace
}  // namespace conformance::initiator
