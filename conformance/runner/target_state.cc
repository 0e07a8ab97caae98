// What a run may change on a target, as it was found.

#include "conformance/runner/target_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace conformance {

void TargetState::save(Context& t, bool config, bool lists, bool scratch) {
  t.begin_case({}, Level::must);
  if (config) {
    const Exchange x = t.a().ask_firmly(observer::config_request(observer::ccmd::read));
    if (seen::no_error(x)) {
      saved_.config = observer::config_string(*x.reply);
    }
  }
  if (lists) {
    const Exchange mask = t.a().ask_firmly(observer::mask_request(observer::mcmd::read));
    if (seen::no_error(mask)) {
      if (const auto list = observer::mask_list(*mask.reply)) {
        saved_.mask.emplace();
        for (const auto& d : *list) {
          saved_.mask->push_back(d.mac);
        }
      }
    }
    const Exchange reserve = t.a().ask_firmly(observer::reserve_request(observer::rcmd::read));
    if (seen::no_error(reserve)) {
      saved_.reserved = observer::reserve_list(*reserve.reply);
    }
  }
  if (scratch) {
    for (uint64_t i = 0; i < t.scratch().count; ++i) {
      const Exchange x = t.a().ask_firmly(observer::read_request(t.scratch().lba + i, 1));
      if (!seen::good_ata(x) || x.data().size() != observer::kSectorBytes) {
        throw CaseEnd(Verdict::inconclusive,
                      fmt::format("scratch sector {} cannot be read: nothing may be written",
                                  t.scratch().lba + i));
      }
      saved_.sectors.push_back(x.data());
    }
  }
}

bool TargetState::had_on_mask(const Mac& mac) const {
  return saved_.mask &&
         std::find(saved_.mask->begin(), saved_.mask->end(), mac) != saved_.mask->end();
}

std::vector<std::string> TargetState::restore(Context& t, bool with_scratch) {
  std::vector<std::string> left;
  t.begin_case({}, Level::must);
  bool gone = false;  // every step asks the same way: what one cannot reach, none can
  const auto step = [&](const char* what, const std::function<bool()>& put_back) {
    if (gone) {
      left.emplace_back(what);
      return;
    }
    try {
      if (!put_back()) {
        left.emplace_back(what);
      }
    } catch (const CaseEnd& end) {
      gone = true;
      left.push_back(fmt::format("{} ({})", what, end.reason));
    }
  };
  if (saved_.reserved) {
    step("the reserve list", [&] {
      const auto now = [&] {
        const Exchange x = t.a().ask_firmly(observer::reserve_request(observer::rcmd::read));
        return x.answered() ? observer::reserve_list(*x.reply) : std::nullopt;
      };
      if (now() == saved_.reserved) {
        return true;
      }
      t.a().ask_firmly(observer::reserve_request(observer::rcmd::force_set, *saved_.reserved));
      return now() == saved_.reserved;
    });
  }
  if (saved_.mask) {
    step("the MAC mask list", [&] {
      bool whole = true;  // a long list may not fit one reply
      const auto now = [&]() -> std::optional<std::vector<Mac>> {
        const Exchange x = t.a().ask_firmly(observer::mask_request(observer::mcmd::read));
        if (!x.answered()) {
          return std::nullopt;
        }
        std::vector<Mac> macs;
        for (const auto& d :
             observer::mask_list(*x.reply).value_or(std::vector<observer::Directive>{})) {
          macs.push_back(d.mac);
        }
        whole = x.field(F::mask_count) <= macs.size();
        std::sort(macs.begin(), macs.end());
        return macs;
      };
      std::vector<Mac> wanted = *saved_.mask;
      std::sort(wanted.begin(), wanted.end());
      for (int round = 0; round < 4; ++round) {  // a long list may need more than one frame
        const auto have = now();
        if (!have || *have == wanted) {
          return have.has_value();
        }
        std::vector<observer::Directive> edits;
        for (const Mac& mac : *have) {
          if (!std::binary_search(wanted.begin(), wanted.end(), mac)) {
            edits.push_back({0, observer::dcmd::del, mac});
          }
        }
        for (const Mac& mac : wanted) {
          if (!std::binary_search(have->begin(), have->end(), mac)) {
            edits.push_back({0, observer::dcmd::add, mac});
          }
        }
        // Who asks goes last: without itself on a list that is not empty it asks nothing more.
        std::stable_partition(edits.begin(), edits.end(),
                              [&](const observer::Directive& d) { return d.mac != t.a().mac(); });
        if (!whole && !edits.empty() && edits.back().mac == t.a().mac()) {
          edits.pop_back();
        }
        const size_t edits_max = std::min<size_t>(
            120, (t.frame_max() - observer::at::mask_list) / observer::kMaskEntryBytes);
        edits.resize(std::min(edits.size(), edits_max));
        t.a().ask_firmly(observer::mask_request(observer::mcmd::edit, edits));
      }
      return now() == wanted;
    });
  }
  if (saved_.config) {
    step("the config string", [&] {
      const auto now = [&] {
        const Exchange x = t.a().ask_firmly(observer::config_request(observer::ccmd::read));
        return x.answered() ? observer::config_string(*x.reply) : std::nullopt;
      };
      if (now() == saved_.config) {
        return true;
      }
      t.a().ask_firmly(
          observer::config_request(observer::ccmd::force_set, BytesView(*saved_.config)));
      return now() == saved_.config;
    });
  }
  if (with_scratch) {
    step("the scratch sectors", [&] {
      for (size_t i = 0; i < saved_.sectors.size(); ++i) {
        const auto read = [&] {
          return t.a().ask_firmly(observer::read_request(t.scratch().lba + i, 1)).data() ==
                 saved_.sectors[i];
        };
        if (read()) {
          continue;
        }
        t.a().ask_firmly(observer::write_request(t.scratch().lba + i, saved_.sectors[i]));
        if (!read()) {
          return false;
        }
      }
      return true;
    });
  }
  return left;
}

}  // namespace conformance
