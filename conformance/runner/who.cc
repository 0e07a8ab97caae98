// Who is there, and which of them is meant.

#include "conformance/runner/who.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/runner/selection.h"

namespace conformance {

using observer::get;

std::string serial_at(Context& t, const Found& found) {
  constexpr unsigned attempts = 4;
  constexpr size_t serial_first = 10;
  constexpr size_t serial_last = 19;
  Frame question = observer::identify_request();
  question.dst(found.mac).set(F::shelf, found.shelf).set(F::slot, found.slot);
  for (unsigned i = 0; i < attempts; ++i) {
    const Bytes asked = t.a().send(question);
    const auto reply = t.a().await_tag(static_cast<uint32_t>(*get(asked, F::tag)), t.patience_ns());
    t.ledger().settle(asked, attempts);
    if (reply && reply->bytes.size() >= observer::at::ata_data + observer::kSectorBytes) {
      const BytesView data =
          BytesView(reply->bytes).subspan(observer::at::ata_data, observer::kSectorBytes);
      return observer::identify_string(data, serial_first, serial_last);
    }
  }
  return {};
}

Choice choose(Context& t, const std::vector<Found>& found, const Wanted& wanted) {
  std::vector<Found> meant;
  std::copy_if(found.begin(), found.end(), std::back_inserter(meant),
               [&](const Found& f) { return wanted.allows(f); });
  Choice choice;
  choice.target = meant.front();
  const auto same_name = [&](const Found& f) {
    return f.shelf == choice.target.shelf && f.slot == choice.target.slot;
  };
  if (!std::all_of(meant.begin(), meant.end(), same_name)) {
    std::string list;
    for (const Found& f : meant) {
      list += fmt::format("\n  --shelf {} --slot {}   ({})", f.shelf, f.slot,
                          observer::to_string(f.mac));
    }
    throw UsageError(
        fmt::format("{} targets answer on {}; choose one:{}", meant.size(), t.link().name(), list));
  }
  std::vector<Found> rivals;
  std::copy_if(found.begin(), found.end(), std::back_inserter(rivals),
               [&](const Found& f) { return same_name(f) && f.mac != choice.target.mac; });
  if (rivals.empty()) {
    return choice;
  }
  // Two ports of one machine have one disk behind them.
  t.begin_case({}, Level::must);
  const std::string serial = serial_at(t, choice.target);
  bool one_machine = true;
  std::string list = fmt::format("\n  --target-mac {}   (serial number \"{}\")",
                                 observer::to_string(choice.target.mac), serial);
  for (const Found& f : rivals) {
    const std::string other = serial_at(t, f);
    one_machine = one_machine && !serial.empty() && other == serial;
    list += fmt::format("\n  --target-mac {}   (serial number \"{}\")", observer::to_string(f.mac),
                        other);
    choice.others.push_back(f.mac);
    choice.note += (choice.note.empty() ? "" : ", ") + observer::to_string(f.mac);
  }
  if (!one_machine && !wanted.mac) {
    throw UsageError(fmt::format("{} machines answer for {}.{} on {}; choose one:{}",
                                 rivals.size() + 1, choice.target.shelf, choice.target.slot,
                                 t.link().name(), list));
  }
  choice.note = fmt::format(
      "{}.{} is answered for by {} as well ({}); judged is {}, what the other says is passed over",
      choice.target.shelf, choice.target.slot, choice.note,
      one_machine ? "another port of the same machine: the serial numbers are the same"
                  : "another machine: its serial number is another",
      observer::to_string(choice.target.mac));
  return choice;
}

}  // namespace conformance
