// What a plan's time and memory go into.

#include <algorithm>
#include <utility>
#include <vector>

#include "src/export/html_page.h"
#include "src/export/plan_report_sections.h"
#include "src/export/plan_words.h"
#include "src/export/use_parts.h"
#include "src/quantity_text.h"

namespace shardscout::exporters {
namespace {

using text::Bytes;
using text::Duration;
using text::Grouped;
using text::Percent;

/// Of a pass: what takes less is folded away.
constexpr double kSmallShare = 0.01;

std::string ShareElement(double share) {
  return "<span class=\"share\" style=\"--share:" + Formatted("%.1f%%", 100 * share) + "\">" + Percent(share) +
         "</span>";
}

std::string PhaseText(Phase phase) { return phase == Phase::kPrefill ? "Prefill" : "Decode"; }

std::string TierName(const Problem& problem, int tier) {
  return tier < 0 ? "" : Escaped(problem.cluster().tiers.at(static_cast<std::size_t>(tier)).name);
}

std::string PhaseElement(const PlanReport& report, Phase phase) {
  std::vector<const BreakdownRow*> rows;
  double total_s = 0, collectives_s = 0;
  for (const BreakdownRow& row : report.plan.breakdown.rows) {
    if (row.phase != phase) continue;
    rows.push_back(&row);
    total_s += row.time_s;
    if (row.collective) collectives_s += row.time_s;
  }
  if (rows.empty() || total_s <= 0) return "";
  std::stable_sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->time_s > b->time_s; });
  std::vector<std::vector<std::string>> large, small;
  double small_s = 0;
  for (const BreakdownRow* row : rows) {
    const bool is_small = row->time_s < kSmallShare * total_s;
    if (is_small) small_s += row->time_s;
    (is_small ? small : large)
        .push_back({OperatorText(row->op), Escaped(row->what), Duration(row->time_s),
                    ShareElement(row->time_s / total_s), Grouped(row->calls), Bytes(row->bytes),
                    TierName(report.problem, row->tier)});
  }
  const std::vector<std::string> header = {"operator", "<what", "time", "share", "calls", "bytes", "links"};
  std::string element =
      "<h3>" + PhaseText(phase) + "</h3>\n<p>One micro-batch takes " + Duration(total_s) + " through all stages, " +
      Percent(collectives_s / total_s) + " of it in collectives between devices.</p>\n" +
      StackElement(TimeParts(report.plan.breakdown, phase), total_s, Duration) + TableElement(header, large);
  if (!small.empty()) {
    element += FoldedElement(std::to_string(small.size()) + " smaller ones, together " + Percent(small_s / total_s),
                             TableElement(header, small));
  }
  std::string stages;
  std::size_t count = 0;
  for (const StageTime& stage : report.plan.breakdown.stages) {
    if (stage.phase != phase) continue;
    ++count;
    stages += (stages.empty() ? "" : ", ") + Duration(stage.time_s);
  }
  if (count > 1) element += "<p class=\"note\">By stage: " + stages + ".</p>\n";
  return element;
}

/// "Stages 2 to 5 (layers 12 to 40), on ranks 64 to 191"
std::string StagesText(const Pool& pool, std::size_t first, std::size_t last) {
  if (pool.stages.size() == 1) return "Every device";
  const auto stage_size = static_cast<std::size_t>(pool.strategy.StageSize());
  const std::int64_t last_layer = pool.stages[last].first_layer + pool.stages[last].num_layers - 1;
  const std::int64_t chunks = pool.strategy.virtual_pipeline_parallel_size;
  const std::string layers =
      chunks > 1 ? std::to_string(chunks) + " chunks of layers each"
                 : "layers " + std::to_string(pool.stages[first].first_layer) + " to " + std::to_string(last_layer);
  return (first == last ? "Stage " + std::to_string(first)
                        : "Stages " + std::to_string(first) + " to " + std::to_string(last)) +
         ", " + layers + ", on ranks " + std::to_string(first * stage_size) + " to " +
         std::to_string((last + 1) * stage_size - 1);
}

}  // namespace

std::string TimeSection(const PlanReport& report) {
  const std::string phases = PhaseElement(report, Phase::kPrefill) + PhaseElement(report, Phase::kDecode);
  return phases.empty() ? "" : "<section>\n<h2>Where the time goes</h2>\n" + phases + "</section>\n";
}

std::string MemorySection(const PlanReport& report) {
  std::string section = "<section>\n<h2>Memory of a device</h2>\n";
  for (std::size_t p = 0; p < report.plan.pools.size(); ++p) {
    const Pool& pool = report.plan.pools[p];
    const std::vector<MemoryUse>& stages = report.memory.at(p);
    if (report.plan.pools.size() > 1) section += "<h3>Pool: " + Escaped(pool.role) + "</h3>\n";
    for (std::size_t first = 0; first < stages.size();) {
      std::size_t last = first;
      while (last + 1 < stages.size() && stages[last + 1] == stages[first]) ++last;
      const MemoryUse& memory = stages[first];
      const double whole = std::max(memory.limit_bytes, memory.TotalBytes());
      section += "<p>" + StagesText(pool, first, last) + ": " + Bytes(memory.TotalBytes()) + " of the " +
                 Bytes(memory.limit_bytes) + " that may be used (" + Percent(memory.TotalBytes() / memory.limit_bytes) +
                 ").</p>\n" + StackElement(MemoryParts(memory), whole, Bytes);
      first = last + 1;
    }
  }
  return section + "</section>\n";
}

}  // namespace shardscout::exporters
