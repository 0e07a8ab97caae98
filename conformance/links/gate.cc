#include "conformance/links/gate.h"

#include "conformance/observer/decode.h"

namespace conformance::links {

using observer::F;
using observer::get;

std::string_view permission_for(observer::BytesView frame) {
  if (!observer::is_aoe(frame)) {
    return {};
  }
  switch (*get(frame, F::command)) {
    case observer::command::ata: {
      const auto ata = get(frame, F::ata_command);
      if (!ata) {
        return {};
      }
      switch (*ata) {
        case observer::ata::read:
        case observer::ata::read_ext:
        case observer::ata::identify:
        case observer::ata::flush:
        case observer::ata::flush_ext:
        case observer::ata::check_power:
          return {};
        default:
          return "write";
      }
    }
    case observer::command::config:
      return get(frame, F::cfg_ccmd).value_or(observer::ccmd::read) <= observer::ccmd::prefix
                 ? ""
                 : "config";
    case observer::command::mask:
      return get(frame, F::mask_mcmd).value_or(observer::mcmd::read) == observer::mcmd::read
                 ? ""
                 : "lockout";
    case observer::command::reserve:
      return get(frame, F::reserve_rcmd).value_or(observer::rcmd::read) == observer::rcmd::read
                 ? ""
                 : "lockout";
    case observer::command::extension:
      return {};
    default:
      return "unknown";
  }
}

}  // namespace conformance::links
