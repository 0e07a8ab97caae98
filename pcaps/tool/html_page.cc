#include "pcaps/tool/html_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

namespace pcaps {

namespace {
constexpr double kWidth = 960;
constexpr double kHeight = 210;
constexpr double kLeft = 64;
constexpr double kRight = 14;
constexpr double kTop = 14;
constexpr double kBottom = 28;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr double kPlotHeight = kHeight - kTop - kBottom;
constexpr int kTicks = 4;

constexpr const char* kStyle = R"css(
:root{--bg:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5c6b7f;--line:#dfe4ea;--a:#2563eb;--b:#0d9488;
--c:#d97706;--d:#dc2626;--shade:rgba(15,23,42,.06)}
@media(prefers-color-scheme:dark){:root{--bg:#0e131a;--card:#161d27;--ink:#e6ebf2;--soft:#8fa0b5;
--line:#273241;--a:#60a5fa;--b:#2dd4bf;--c:#fbbf24;--d:#f87171;--shade:rgba(0,0,0,.35)}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 56px}
h1{font-size:26px;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:16px;margin:0 0 2px}
.sub{color:var(--soft);margin:2px 0 22px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(122px,1fr));gap:12px;margin:0 0 18px}
.card,section{background:var(--card);border:1px solid var(--line);border-radius:12px;
box-shadow:0 1px 3px var(--shade)}
.card{padding:12px 16px}
.card b{display:block;font-size:22px;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.card span{color:var(--soft);font-size:13px}
.card.bad b{color:var(--d)}
section{padding:16px 18px 12px;margin:0 0 16px}
section div{font-size:13px}
section p{margin:0 0 8px;color:var(--soft);font-size:13px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);stroke-width:1}
.cursor{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3;visibility:hidden}
.told{font-size:13px;color:var(--soft);min-height:20px;font-variant-numeric:tabular-nums}
.key{display:inline-block;width:10px;height:10px;border-radius:3px;margin:0 5px 0 12px}
.key:first-child{margin-left:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{text-align:right;padding:6px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:12px}
th:first-child,td:first-child,.l{text-align:left}
tr:last-child td{border-bottom:0}
code{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,monospace;font-size:13px}
footer{color:var(--soft);font-size:13px}
)css";

constexpr const char* kScript = R"js(
for(const s of document.querySelectorAll('section[data-plot]')){
const v=s.querySelector('svg'),c=s.querySelector('.cursor'),t=s.querySelector('.told'),
d=JSON.parse(s.querySelector('script').textContent),rest=t.textContent;
v.addEventListener('pointermove',e=>{const r=v.getBoundingClientRect(),
x=(e.clientX-r.left)*960/r.width,n=d.rows.length,i=Math.floor((x-64)/(882/n));
if(i<0||i>=n)return;const cx=64+(i+.5)*882/n;c.setAttribute('x1',cx);c.setAttribute('x2',cx);
c.style.visibility='visible';
t.textContent=(i*d.bin).toPrecision(4)+' s: '+d.rows[i].map((y,k)=>d.names[k]+' '+y).join(', ')});
v.addEventListener('pointerleave',()=>{c.style.visibility='hidden';t.textContent=rest})}
)js";

struct Series {
  const char* name;
  const char* colour;
  bool bars;
  std::vector<double> values;
};

// A round number at or above the value, for the top of an axis.
double round_up(double value) {
  if (value <= 0) {
    return 1;
  }
  const double magnitude = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 2.5, 4.0, 5.0, 8.0, 10.0}) {
    if (value <= step * magnitude * (1 + 1e-9)) {
      return step * magnitude;
    }
  }
  return 10 * magnitude;
}

std::string number(double value) {
  return fmt::format("{:.4g}", value);
}

std::string axes(double top, double seconds, const char* unit) {
  std::string out;
  for (int i = 0; i <= kTicks; ++i) {
    const double share = static_cast<double>(i) / kTicks;
    const double y = kTop + kPlotHeight * (1 - share);
    const double x = kLeft + kPlotWidth * share;
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}{}</text>"
        "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"{}\">{} s</text>",
        kLeft, kWidth - kRight, y, y, kLeft - 8, y + 4, number(top * share), unit, x, kHeight - 8,
        i == 0        ? "start"
        : i == kTicks ? "end"
                      : "middle",
        number(seconds * share));
  }
  return out;
}

std::string area(const Series& series, double top) {
  const auto n = static_cast<double>(series.values.size());
  std::string points;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    const double y = kTop + kPlotHeight * (1 - series.values[i] / top);
    const double x0 = kLeft + kPlotWidth * static_cast<double>(i) / n;
    const double x1 = kLeft + kPlotWidth * static_cast<double>(i + 1) / n;
    points += fmt::format("L{:.1f} {:.1f}L{:.1f} {:.1f}", x0, y, x1, y);
  }
  const double base = kTop + kPlotHeight;
  return fmt::format(
      "<path d=\"M{} {}{}L{} {}Z\" fill=\"var({})\" fill-opacity=\".18\"/>"
      "<path d=\"M{}\" fill=\"none\" stroke=\"var({})\" stroke-width=\"1.6\" "
      "stroke-linejoin=\"round\"/>",
      kLeft, base, points, kWidth - kRight, base, series.colour,
      points.empty() ? "0 0" : points.substr(1), series.colour);
}

std::string bars(const Series& series, double top) {
  const auto n = static_cast<double>(series.values.size());
  const double width = std::max(1.5, kPlotWidth / n - 0.4);
  std::string out;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    if (series.values[i] <= 0) {
      continue;
    }
    const double height = std::max(1.0, kPlotHeight * series.values[i] / top);
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"var({})\"/>",
        kLeft + kPlotWidth * static_cast<double>(i) / n, kTop + kPlotHeight - height, width, height,
        series.colour);
  }
  return out;
}

std::string plot(const char* id, const char* heading, const char* explanation, const char* unit,
                 double bin_seconds, const std::vector<Series>& series) {
  double highest = 0;
  std::size_t bins = 0;
  for (const Series& s : series) {
    bins = std::max(bins, s.values.size());
    for (const double v : s.values) {
      highest = std::max(highest, v);
    }
  }
  const double top = round_up(highest);
  std::string keys;
  std::string drawn;
  std::string names;
  for (const Series& s : series) {
    keys +=
        fmt::format("<span class=\"key\" style=\"background:var({})\"></span>{}", s.colour, s.name);
    drawn += s.bars ? bars(s, top) : area(s, top);
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", s.name);
  }
  std::string rows;
  for (std::size_t i = 0; i < bins; ++i) {
    std::string row;
    for (const Series& s : series) {
      row += (row.empty() ? "" : ",") + number(s.values[i]);
    }
    rows += fmt::format("{}[{}]", rows.empty() ? "" : ",", row);
  }
  return fmt::format(
      "<section data-plot id=\"{}\"><h2>{}</h2><p>{}</p>"
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} against time\">{}{}"
      "<line class=\"cursor\" y1=\"{}\" y2=\"{}\"/></svg>"
      "<div>{}</div><div class=\"told\">highest: {}{}</div>"
      "<script type=\"application/json\">{{\"bin\":{},\"names\":[{}],\"rows\":[{}]}}</script>"
      "</section>\n",
      id, heading, explanation, kWidth, kHeight, heading,
      axes(top, bin_seconds * static_cast<double>(bins), unit), drawn, kTop, kTop + kPlotHeight,
      keys, number(highest), unit, bin_seconds, names, rows);
}

std::string card(const std::string& value, const char* name, bool bad = false) {
  return fmt::format("<div class=\"card{}\"><b>{}</b><span>{}</span></div>", bad ? " bad" : "",
                     value, name);
}

std::string plots(const TimeLine& line) {
  const auto series = [&line](const char* name, const char* colour, bool as_bars,
                              const std::function<double(const TimeBin&)>& value) {
    Series s{name, colour, as_bars, {}};
    for (std::uint32_t i = 0; i < line.used(); ++i) {
      s.values.push_back(value(line.bins()[i]));
    }
    return s;
  };
  const double bin_seconds = static_cast<double>(line.bin_width_ns()) / 1e9;
  return plot("outstanding", "Outstanding requests", "The most that waited for a reply at once.",
              "", bin_seconds,
              {series("outstanding", "--a", false,
                      [](const TimeBin& b) { return static_cast<double>(b.outstanding_max); })}) +
         plot("latency", "What the initiators felt",
              "The slowest operation, from its first asking to its answer, by when it was asked.",
              " ms", bin_seconds,
              {series(
                  "slowest", "--c", false,
                  [](const TimeBin& b) { return static_cast<double>(b.latency_max_ns) / 1e6; })}) +
         plot(
             "again", "Asked again, or lost",
             "Requests that were asked again under the same tag or, probably, under a new one; and "
             "askings, by when they were sent, that no reply came to.",
             "", bin_seconds,
             {series("asked again", "--c", true,
                     [](const TimeBin& b) { return static_cast<double>(b.asked_again); }),
              series("lost", "--d", true,
                     [](const TimeBin& b) { return static_cast<double>(b.lost); })});
}

std::string sessions_table(const Statistics& statistics, const Tracker& tracker) {
  std::string rows;
  for (std::size_t i = 0; i < statistics.sessions().size(); ++i) {
    const SessionStatistics& s = statistics.sessions()[i];
    const Session& session = tracker.sessions()[i];
    if (s.requests + s.replies == 0) {
      continue;
    }
    const OperationCounts& felt = statistics.operations().of_session(static_cast<std::uint32_t>(i));
    rows += fmt::format(
        "<tr><td><code>{}</code></td><td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        mac_text(session.initiator), address_text(session.vlan, session.shelf, session.slot),
        s.requests, s.replies, felt.lost, felt.again_same_tag, felt.again_new_tag,
        s.outstanding_max, duration_text(felt.latency.quantile_ns(0.5)),
        duration_text(felt.latency.quantile_ns(0.99)));
  }
  return "<section><h2>Who talked</h2><div class=\"wide\"><table><thead><tr><th>initiator</th>"
         "<th class=\"l\">target</th><th>requests</th><th>replies</th><th>lost</th>"
         "<th>same tag again</th><th>probably new tag</th><th>outstanding</th><th>p50</th>"
         "<th>p99</th></tr></thead><tbody>" +
         rows + "</tbody></table></div></section>\n";
}
}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_page(const std::string& title, const Statistics& statistics,
                      const Tracker& tracker) {
  const TrackerCounters& c = tracker.counters();
  SessionStatistics sum;
  for (const SessionStatistics& s : statistics.sessions()) {
    sum.requests += s.requests;
    sum.replies += s.replies;
    sum.sectors_read += s.sectors_read;
    sum.sectors_written += s.sectors_written;
  }
  const OperationCounts felt = statistics.operations().sum();
  const std::uint64_t again = felt.again_same_tag + felt.again_new_tag;
  const double mib = static_cast<double>(sum.sectors_read + sum.sectors_written) * kSectorBytes /
                     (1024.0 * 1024.0);
  std::string cards = card(fmt::format("{}", sum.requests), "requests") +
                      card(fmt::format("{}", sum.replies), "replies") +
                      card(fmt::format("{}", felt.lost), "askings lost", felt.lost != 0) +
                      card(fmt::format("{}", again), "asked again", again != 0) +
                      card(duration_text(felt.latency.quantile_ns(0.5)), "median latency") +
                      card(duration_text(felt.latency.quantile_ns(0.99)), "99th percentile") +
                      card(fmt::format("{:.2f} MiB", mib), "read and written");
  const std::string name = html_escaped(title);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta name=\"color-scheme\" content=\"light dark\">"
      "<title>{} - AoE capture</title><style>{}</style></head>\n<body><main>"
      "<h1>{}</h1><div class=\"sub\">{} frames, {} of them AoE, {} cut by snaplen, {}</div>\n"
      "<div class=\"cards\">{}</div>\n{}{}"
      "<footer>Made by aoe-pcap info --html. The page asks the network for nothing.</footer>"
      "</main><script>{}</script></body></html>\n",
      name, kStyle, name, c.frames, c.aoe_frames, c.cut_frames,
      duration_text(c.last_time_ns - c.first_time_ns), cards, plots(statistics.time_line()),
      sessions_table(statistics, tracker), kScript);
}

}  // namespace pcaps
