#include "pcaps/tool/html_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "conformance/observer/rules.h"
#include "pcaps/tool/info_report.h"
#include "pcaps/tool/page/info_page.h"  // made of page/info.html

namespace pcaps {

namespace {
using Json = nlohmann::ordered_json;
constexpr std::size_t kFindingsShown = 200;
constexpr std::size_t kSessionsShown = 100;

double seconds(Nanoseconds value_ns) {
  return static_cast<double>(value_ns) / 1e9;
}

Json counts_json(const OperationCounts& counts) {
  Json j;
  j["operations"] = counts.operations;
  j["answered"] = counts.answered;
  j["never"] = counts.never;
  j["askings"] = counts.askings;
  j["lost"] = counts.lost;
  j["again"] = counts.again_same_tag + counts.again_new_tag;
  j["p50"] = seconds(counts.latency.quantile_ns(0.50));
  j["p99"] = seconds(counts.latency.quantile_ns(0.99));
  j["max"] = seconds(counts.latency.max_ns());
  return j;
}

// The plots of one session, or of all.
Json line_json(const std::string& name, const TimeLine& line, const OperationCounts& counts) {
  Json j;
  j["name"] = name;
  j["bin_seconds"] = seconds(line.bin_width_ns());
  auto bins = Json::array();
  auto felt = Json::array();
  for (std::uint32_t i = 0; i < line.used(); ++i) {
    const TimeBin& b = line.bins()[i];
    bins.push_back({b.answered, b.asked_again, b.lost, b.outstanding_max, b.bytes_read,
                    b.bytes_written, static_cast<double>(b.latency_max_ns) / 1e6});
    for (std::uint32_t row = 0; row < kLatencyRows; ++row) {
      if (b.felt[row] != 0) {
        felt.push_back({i, row, b.felt[row]});
      }
    }
  }
  j["bins"] = bins;
  j["felt"] = felt;
  j["counts"] = counts_json(counts);
  auto histogram = Json::array();
  for (const LatencyHistogram::Bucket& bucket : counts.latency.buckets()) {
    histogram.push_back({seconds(bucket.upper_ns), bucket.samples});
  }
  j["counts"]["histogram"] = histogram;
  return j;
}

void add_findings(Json& j, const Judge& judge, const Tracker& tracker) {
  std::vector<const Finding*> findings;
  Json counts = {{"fail", 0}, {"warn", 0}, {"info", 0}};
  std::uint64_t all = 0;
  for (const FindingGroup& group : judge.groups()) {
    counts[verdict_text(group.verdict)] =
        counts[verdict_text(group.verdict)].get<std::uint64_t>() + group.count;
    all += group.count;
    for (const Finding& finding : group.examples) {
      findings.push_back(&finding);
    }
  }
  std::stable_sort(findings.begin(), findings.end(), [](const Finding* a, const Finding* b) {
    return a->verdict != b->verdict ? a->verdict > b->verdict : a->frame < b->frame;
  });
  findings.resize(std::min(findings.size(), kFindingsShown));
  auto list = Json::array();
  for (const Finding* finding : findings) {
    const RuleFacts& facts = facts_of(finding->rule);
    list.push_back({{"frame", finding->frame},
                    {"time", time_iso(finding->time_ns)},
                    {"seconds", seconds(finding->time_ns - tracker.counters().first_time_ns)},
                    {"verdict", verdict_text(finding->verdict)},
                    {"rule", facts.name},
                    {"side", side_text(facts.side)},
                    {"session", finding->session},
                    {"text", finding->text}});
  }
  j["findings"] = list;
  j["findings_count"] = counts;
  j["findings_left_out"] = all - findings.size();
}

// A text inside of <script>: nothing in it may end the element.
std::string for_script(const Json& j) {
  const std::string text = j.dump(-1, ' ', true, Json::error_handler_t::replace);
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}
}  // namespace

std::string html_page(const std::string& title, const Statistics& statistics, const Judge& judge) {
  const Tracker& tracker = statistics.tracker();
  const TrackerCounters& c = tracker.counters();
  const Operations& operations = statistics.operations();
  Json told = info_json(statistics);
  Json j;
  j["title"] = title;
  j["begin"] = time_iso(c.first_time_ns);
  j["end"] = time_iso(c.last_time_ns);
  j["seconds"] = seconds(c.last_time_ns - c.first_time_ns);
  j["frames"] = c.frames;
  j["aoe_frames"] = c.aoe_frames;
  j["cut_frames"] = c.cut_frames;
  j["latency_rows"] = kLatencyRows;
  j["latency_rows_per_decade"] = kLatencyRowsPerDecade;
  auto lines = Json::array();
  lines.push_back(
      line_json("all initiators and targets", statistics.time_line(), operations.sum()));
  auto sessions = Json::array();
  std::uint64_t sectors = 0;
  std::size_t left_out = 0;
  for (std::uint32_t i = 0; i < statistics.sessions().size(); ++i) {
    const SessionStatistics& s = statistics.sessions()[i];
    const OperationCounts& counts = operations.of_session(i);
    sectors += s.sectors_read + s.sectors_written;
    if (counts.operations == 0) {
      continue;
    }
    if (sessions.size() == kSessionsShown) {
      ++left_out;
      continue;
    }
    const Session& session = tracker.sessions()[i];
    const std::string target = address_text(session.vlan, session.shelf, session.slot);
    Json row = counts_json(counts);
    row["initiator"] = mac_text(session.initiator);
    row["target"] = target;
    row["bytes_read"] = s.sectors_read * kSectorBytes;
    row["bytes_written"] = s.sectors_written * kSectorBytes;
    row["outstanding"] = s.outstanding_max;
    sessions.push_back(row);
    if (const TimeLine* line = statistics.time_line_of(i)) {
      lines.push_back(line_json(mac_text(session.initiator) + " to " + target, *line, counts));
      lines.back()["session"] = i;
    }
  }
  j["lines"] = lines;
  j["sessions"] = sessions;
  j["sessions_left_out"] = left_out;
  j["bytes_moved"] = sectors * kSectorBytes;
  j["slowest"] = told["operations"]["slowest"];
  for (std::size_t i = 0; i < operations.slowest().size(); ++i) {
    j["slowest"][i]["seconds"] =
        seconds(operations.slowest()[i].askings.front().time_ns - c.first_time_ns);
  }
  j["never"] = told["operations"]["first_never_answered"];
  add_findings(j, judge, tracker);
  std::string page(kInfoPage);
  constexpr std::string_view kPlace = "@AOE_PCAP_DATA@";
  page.replace(page.find(kPlace), kPlace.size(), for_script(j));
  return page;
}

}  // namespace pcaps
