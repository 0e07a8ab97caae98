// What disks have in common: see image_disk.h.
#include "target/linux/image_disk.h"

#include <algorithm>
#include <cerrno>

namespace target::linux_shell {

engine::DiskStatus status_of_errno(int error) {
  return error == ENOSPC || error == EDQUOT ? engine::DiskStatus::no_space
                                            : engine::DiskStatus::io_error;
}

void pieces_of(const engine::DiskOp& op, std::vector<iovec>& pieces) {
  pieces.clear();
  append_pieces_of(op, pieces);
}

void append_pieces_of(const engine::DiskOp& op, std::vector<iovec>& pieces) {
  if (!op.data.empty()) {
    pieces.push_back({op.data.data(), op.data.size()});
  }
  for (const auto& segment : op.segments) {
    pieces.push_back({segment.data(), segment.size()});
  }
}

std::uint64_t bytes_of(const engine::DiskOp& op) {
  return std::uint64_t{op.sectors} * engine::kSectorBytes;
}

void StartTimes::started(const engine::DiskOp& op, engine::Nanoseconds now) {
  held_.push_back({op.id, {op.kind, op.lba, now}});
}

void StartTimes::ended(std::uint32_t id) {
  const auto found =
      std::find_if(held_.begin(), held_.end(), [id](const Held& one) { return one.id == id; });
  if (found != held_.end()) {
    *found = held_.back();
    held_.pop_back();
  }
}

std::optional<HeldOperation> StartTimes::oldest() const {
  const auto first = std::min_element(held_.begin(), held_.end(), [](const Held& a, const Held& b) {
    return a.operation.since < b.operation.since;
  });
  return first == held_.end() ? std::nullopt : std::optional(first->operation);
}

}  // namespace target::linux_shell
