#pragma once
// What a run may change on a target, as it was found: read before the first case, put back after
// the last. Knows nothing of cases and verdicts.

#include <optional>
#include <string>
#include <vector>

#include "conformance/cases/context.h"

namespace conformance {

// Config string, mask and reserve lists, and the scratch sectors: as they were found, and put back.
class TargetState {
 public:
  // `permissions`: what cases may change. Throws CaseEnd(inconclusive) when it cannot be read.
  void save(Context& context, bool config, bool lists, bool scratch);
  // Puts back what differs. Returns what could not be put back.
  std::vector<std::string> restore(Context& context, bool with_scratch);
  const std::vector<Bytes>& saved_scratch() const { return sectors_; }
  bool had_on_mask(const observer::Mac& mac) const;
  std::vector<observer::Mac> reserved() const {
    return reserved_.value_or(std::vector<observer::Mac>{});
  }

 private:
  std::optional<Bytes> config_;
  std::optional<std::vector<observer::Mac>> mask_, reserved_;
  std::vector<Bytes> sectors_;
};

}  // namespace conformance
