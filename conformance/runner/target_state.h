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
  struct Saved {
    std::optional<Bytes> config;
    std::optional<std::vector<observer::Mac>> mask, reserved;
    std::vector<Bytes> sectors;  // of scratch, from its first on
  };
  // `permissions`: what cases may change. Throws CaseEnd(inconclusive) when it cannot be read.
  void save(Context& context, bool config, bool lists, bool scratch);
  // Puts back what differs. Returns what could not be put back.
  std::vector<std::string> restore(Context& context, bool with_scratch);
  const Saved& saved() const { return saved_; }
  // As if save() had found this: what an undo file says.
  void assume(Saved saved) { saved_ = std::move(saved); }
  bool had_on_mask(const observer::Mac& mac) const;
  std::vector<observer::Mac> reserved() const {
    return saved_.reserved.value_or(std::vector<observer::Mac>{});
  }

 private:
  Saved saved_;
};

}  // namespace conformance
