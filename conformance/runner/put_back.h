#pragma once
// What an undo file says is put back, by a run that did not change it. Knows nothing of files.

#include "conformance/runner/undo_file.h"

namespace conformance {

struct PutBack {
  std::string what;     // "the reserve list, the MAC mask list, 2048 sectors from 63488 on"
  std::string trouble;  // why not all of it is; empty: all is
  bool reached = true;  // the target answered
  bool other = false;   // another disk stands there: nothing was changed
};

// Everything stands as the record says: nothing is left to be put back. Only reads; a target that
// does not answer is not as it was.
bool stands(Context& context, const UndoRecord& record);

// Finds the target of the record behind the context's link, lets itself in where lists shut it out,
// and puts back what differs; looks again when what the link may hold back has come. The context's
// scratch and gate are the record's from then on. `any_disk`: also where serial or size differ.
PutBack put_back(Context& context, const UndoRecord& record, bool any_disk);

}  // namespace conformance
