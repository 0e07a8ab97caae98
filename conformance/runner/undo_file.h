#pragma once
// What stood on a target before a run changed it, in a file, for as long as it is not put back:
// whoever comes after a kill -9, a crash or a cut link can still do it. Format:
// docs/aoe-conformance-files.md. Knows nothing of links and of how something is put back.

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conformance/cases/context.h"

namespace conformance {

struct UndoRecord {
  // Whose it is: another disk behind the same name gets nothing of it.
  Mac mac{};
  uint16_t shelf = 0;
  uint8_t slot = 0;
  uint64_t sectors = 0;
  std::string serial, model;
  std::string link;      // as links::Link::name() says
  int64_t began_ns = 0;  // since 1970
  // nullopt: the target has none, or could not say.
  std::optional<Bytes> config;
  std::optional<std::vector<Mac>> mask, reserved;
  uint64_t scratch_lba = 0;
  Bytes scratch;  // whole sectors from there on; empty: no sector was written
  // Further addresses that may be on the mask list now.
  std::set<Mac> listed;

  bool is_of(const TargetFacts& target) const;
  std::string name() const;  // "1.1 at 02:00:00:00:00:01 (serial "e1.1", 8192 sectors)"
};

// The text of a file, and back. Throws UsageError, with `path` in it, for what is not one, or of
// which the first line is not whole. A last line that was cut off says nothing.
std::string to_text(const UndoRecord& record);
UndoRecord undo_record_from(const std::string& text, const std::string& path);

// Where such files lie, and this run's own.
class UndoFile {
 public:
  // `path`: exactly this file. Empty: one for each target in `folder`, which is made when it is
  // missing. Throws UsageError when nothing can be written there.
  UndoFile(const std::string& path, const std::string& folder);

  // $XDG_STATE_HOME/aoe-conformance, else .local/state/aoe-conformance in the home folder; empty:
  // there is no home.
  static std::string usual_folder();

  // What an earlier run left of this target. Throws UsageError for a file that cannot be read.
  std::optional<UndoRecord> pending(const TargetFacts& target) const;
  // All that was left, of any target. What cannot be read is left out, and named in `unreadable`.
  std::vector<UndoRecord> all(std::vector<std::string>& unreadable) const;

  // On the disk when it returns, and readable by nobody else. Throws output::OutputError.
  void keep(const UndoRecord& record);
  // This address is about to go onto a list. Before keep() nothing happens.
  void list(const Mac& mac);
  // Everything was put back.
  void discard();
  // The same of what an earlier run left.
  void discard_earlier(const UndoRecord& record);
  // Told the name with each keep(), and an empty one with discard().
  std::function<void(const std::string& path)> on_change;
  // The file that keep() wrote; empty: there is none.
  const std::string& kept() const { return kept_; }
  // The file of this target, whether it is there or not.
  std::string path_of(const Mac& mac, uint16_t shelf, uint8_t slot) const;

 private:
  std::string path_, folder_, kept_;
};

}  // namespace conformance
