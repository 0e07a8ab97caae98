#include "conformance/initiator/congestion.h"

#include <gtest/gtest.h>

#include "conformance/deviants/model_link.h"

namespace conformance::initiator {
namespace {

size_t probe_model(deviants::ModelLink& link, size_t probes, uint64_t id, bool* refused = nullptr) {
  CongestionProbe probe(7, 3, id, 1000, probes);
  probe.start(link.now_ns());
  for (const Bytes& frame : probe.frames(link.mac(), observer::kBroadcastMac)) {
    link.send(frame);
  }
  while (!probe.finished(link.now_ns())) {
    if (const auto frame = link.receive(probe.deadline_ns())) {
      probe.on_frame(frame->bytes, frame->at_ns);
    }
  }
  if (refused != nullptr) {
    *refused = probe.refused();
  }
  return probe.answered();
}

TEST(Congestion, CountsWhatFitsInFrontOfTheTarget) {
  for (const uint16_t buffers : {4, 32, 200}) {
    deviants::ModelConfig config;
    config.buffer_count = buffers;
    deviants::ModelLink link(config);
    const size_t counted = probe_model(link, 1000, 5);
    EXPECT_GE(counted, buffers);
    EXPECT_LE(counted, buffers + 2U);
  }
}

TEST(Congestion, ATargetThatKnowsNoProbesIsNotCounted) {
  deviants::ModelConfig config;
  config.extensions = false;
  deviants::ModelLink link(config);
  bool refused = false;
  EXPECT_EQ(probe_model(link, 100, 5, &refused), 0U);
  EXPECT_TRUE(refused);
}

TEST(Congestion, NobodyThereEndsToo) {
  CongestionProbe probe(7, 3, 1, 1000, 10);
  probe.start(1);
  EXPECT_FALSE(probe.finished(2));
  EXPECT_TRUE(probe.finished(10'000'000'000));
  EXPECT_EQ(probe.answered(), 0U);
}

TEST(Congestion, ProbesThatAreAnsweredWithoutAPauseCountNothing) {
  deviants::ModelLink link;
  ASSERT_GT(probe_model(link, 100, 5), 0U);
  EXPECT_EQ(probe_model(link, 20, 5), 0U);  // the same id: no pause
}

}  // namespace
}  // namespace conformance::initiator
