// The cache as a disk: between the shell and the disk that carries operations out. It owns nothing
// but the order in which the two are called.
#pragma once

#include <span>
#include <vector>

#include "target/cache/cache.h"
#include "target/shell/surroundings.h"

namespace target::cache {

class CachedDisk final : public shell::Disk {
 public:
  // Both must outlive it.
  CachedDisk(shell::Disk& disk, shell::Clock& clock, const CacheConfig& config)
      : disk_(disk), clock_(clock), cache_(config) {}

  void start(std::span<const engine::DiskOp> operations) override;
  void reap(std::vector<shell::DiskCompletion>& completions) override;
  [[nodiscard]] bool wants_retry() const override { return disk_.wants_retry(); }
  [[nodiscard]] Nanoseconds deadline() const override;

  [[nodiscard]] const Cache& cache() const { return cache_; }

 private:
  void pass_on();

  shell::Disk& disk_;
  shell::Clock& clock_;
  Cache cache_;
  std::vector<shell::DiskCompletion> reaped_;
};

}  // namespace target::cache
