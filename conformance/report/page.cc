// Pages that stand alone.

#include "conformance/report/page.h"

#include <string_view>

#include "conformance/report/assets.h"

namespace conformance::report {

namespace {

// Inside a script element only "<" could end it, or begin a comment.
std::string in_script(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

void put(std::string& page, std::string_view place, std::string_view content) {
  const size_t at = page.find(place);
  if (at != std::string::npos) {
    page.replace(at, place.size(), content);
  }
}

std::string page(std::string_view frame, std::string_view script, const std::string& json) {
  std::string out(frame);
  put(out, "/*{{style}}*/", assets::kPageCss);
  put(out, "/*{{common}}*/", assets::kCommonJs);
  put(out, "/*{{script}}*/", script);
  put(out, "{{data}}", in_script(json));  // last: what it holds is looked through by nobody
  return out;
}

}  // namespace

std::string run_page(const std::string& json) {
  return page(assets::kRunHtml, assets::kRunJs, json);
}

std::string matrix_page(const std::string& json) {
  return page(assets::kMatrixHtml, assets::kMatrixJs, json);
}

}  // namespace conformance::report
