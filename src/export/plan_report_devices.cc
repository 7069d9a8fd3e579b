// The picture of a plan's devices, and which of them talk over which links.

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "src/export/html_page.h"
#include "src/export/plan_report_sections.h"
#include "src/quantity_text.h"

namespace shardscout::exporters {
namespace {

using text::Bytes;
using text::Duration;
using text::Grouped;
using text::Percent;

/// As many nodes are drawn of a pool; what follows is like them.
constexpr std::int64_t kMostNodes = 16;

/// A mesh axis: its size, a rank's place on it, and which of its groups a rank is in.
struct Axis {
  const char* name;
  const char* words;
  std::int64_t size = 1;
  std::function<std::int64_t(const RankPlacement&)> at;
  std::function<std::int64_t(const RankPlacement&)> group;
};

std::vector<Axis> AxesOf(const Strategy& s) {
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size, dp = s.data_parallel_size;
  const std::int64_t etp = s.expert_tensor_parallel_size, ep = s.expert_parallel_size;
  const std::int64_t stage = s.StageSize(), edp = s.ExpertDataParallelSize();
  using Rank = const RankPlacement&;
  std::vector<Axis> axes = {
      {"tp", "tensor parallel", tp, [](Rank r) { return r.tp; }, [=](Rank r) { return r.rank / tp; }},
      {"ep", "expert parallel", ep, [](Rank r) { return r.ep; },
       [=](Rank r) { return r.etp + etp * (r.edp + edp * r.pp); }},
      {"etp", "expert tensor parallel", etp, [](Rank r) { return r.etp; },
       [=](Rank r) { return r.ep + ep * (r.edp + edp * r.pp); }},
      {"cp", "context parallel", cp, [](Rank r) { return r.cp; },
       [=](Rank r) { return r.tp + tp * (r.dp + dp * r.pp); }},
      {"dp", "data parallel", dp, [](Rank r) { return r.dp; }, [=](Rank r) { return r.tp + tp * (r.cp + cp * r.pp); }},
      {"pp", "pipeline parallel", s.pipeline_parallel_size, [](Rank r) { return r.pp; },
       [=](Rank r) { return r.rank % stage; }}};
  std::erase_if(axes, [](const Axis& axis) { return axis.size == 1; });
  return axes;
}

std::string RangeText(std::int64_t first, std::int64_t count) {
  return count == 1 ? std::to_string(first) : std::to_string(first) + " to " + std::to_string(first + count - 1);
}

/// "Layers 0 to 30", or of interleaved chunks "16 layers in 4 chunks, the first from layer 3".
std::string LayersText(const Stage& stage, std::int64_t chunks) {
  if (chunks == 1) return "Layers " + RangeText(stage.first_layer, stage.num_layers);
  return std::to_string(stage.num_layers) + " layers in " + std::to_string(chunks) + " chunks, the first from layer " +
         std::to_string(stage.first_layer);
}

/// "Rank 13, node 1, device 5. Layers 0 to 30. Experts 104 to 111 of each MoE layer. tp 1 of 4, dp 3 of 8."
std::string HoldsText(const Pool& pool, const std::vector<Axis>& axes, const RankPlacement& at, std::int64_t copy,
                      std::int64_t node, std::int64_t device) {
  const Stage& stage = pool.stages.at(static_cast<std::size_t>(at.pp));
  std::string words = "Rank " + std::to_string(at.rank) +
                      (pool.replicas > 1 ? " of copy " + std::to_string(copy) : std::string()) + ": node " +
                      std::to_string(node) + ", device " + std::to_string(device) + ". " +
                      LayersText(stage, pool.strategy.virtual_pipeline_parallel_size) + ".";
  if (!pool.experts.empty() && stage.num_moe > 0) {
    const ExpertPlacement& experts = pool.experts.at(static_cast<std::size_t>(at.ep));
    words += " Experts " + RangeText(experts.first, experts.count) + " of each MoE layer.";
  }
  for (const Axis& axis : axes) {
    words += (&axis == &axes.front() ? " " : ", ") + std::string(axis.name) + " " + std::to_string(axis.at(at)) +
             " of " + std::to_string(axis.size);
  }
  return words + (axes.empty() ? "" : ".");
}

std::string DeviceElement(const Pool& pool, std::size_t pools, const std::vector<Axis>& axes, std::int64_t index,
                          std::int64_t node, std::int64_t device) {
  const auto instance = static_cast<std::int64_t>(pool.placement.size());
  const std::int64_t copy = index / instance;
  if (index < 0 || copy >= pool.replicas)
    return "<div class=\"device idle\"><b>-</b><span>" + std::string(pools > 1 ? "another pool or idle" : "idle") +
           "</span></div>";
  const RankPlacement& at = pool.placement[static_cast<std::size_t>(index % instance)];
  std::string style = "--copy:" + std::to_string(copy);
  std::string places;
  for (const Axis& axis : axes) {
    style += std::string(";--") + axis.name + ":" + std::to_string(axis.group(at));
    places += (places.empty() ? "" : " ") + std::string(axis.name) + "&nbsp;" + std::to_string(axis.at(at));
  }
  if (axes.empty()) places = "whole&nbsp;model";
  return "<button type=\"button\" class=\"device\" style=\"" + style + "\" data-holds=\"" +
         Escaped(HoldsText(pool, axes, at, copy, node, device)) + "\"><b>" +
         (instance > 1 ? std::to_string(at.rank) : "copy " + std::to_string(copy)) + "</b><span>" + places +
         "</span></button>";
}

/// Of one pool: which axis colours the devices, the nodes, and where a device's holdings are shown.
std::string PictureElement(const Problem& problem, const Pool& pool, std::size_t number, std::size_t pools) {
  const std::int64_t per_node = problem.cluster().devices_per_node;
  const auto instance = static_cast<std::int64_t>(pool.placement.size());
  const RankPlacement& first = pool.placement.front();
  const std::int64_t begin = first.node * per_node + first.device;
  const std::vector<Axis> axes = AxesOf(pool.strategy);
  const std::int64_t nodes = (first.device + instance * pool.replicas + per_node - 1) / per_node;
  const std::int64_t drawn = std::min({nodes, kMostNodes, (first.device + instance + per_node - 1) / per_node});

  std::string axes_element = "<fieldset class=\"axes\" aria-label=\"Colour the devices by\">";
  std::string colour_by = axes.empty() ? "copy" : axes.front().name;
  const auto add_axis = [&](const std::string& name, const std::string& words, std::int64_t size) {
    axes_element += "<label><input type=\"radio\" name=\"axis-" + std::to_string(number) + "\" value=\"" + name + "\"" +
                    (name == colour_by ? " checked" : "") + ">" + words + " " + std::to_string(size) + "</label>";
  };
  for (const Axis& axis : axes) add_axis(axis.name, axis.words, axis.size);
  add_axis("copy", "copies of the model", pool.replicas);

  std::string element =
      axes_element +
      "</fieldset>\n<p class=\"note\">Devices of one colour are one group. Choose a device to see what it holds and "
      "which others are in its group.</p>\n<div class=\"nodes\" data-axis=\"" +
      colour_by + "\">\n";
  for (std::int64_t n = 0; n < drawn; ++n) {
    const std::int64_t node = first.node + n;
    element += "<div class=\"node\"><b>node " + std::to_string(node) + "</b><div>";
    const std::int64_t there = std::min(per_node, problem.cluster().num_devices - node * per_node);
    for (std::int64_t device = 0; device < there; ++device) {
      element += DeviceElement(pool, pools, axes, node * per_node + device - begin, node, device);
    }
    element += "</div></div>\n";
  }
  element += "</div>\n<output></output>\n";
  if (drawn < nodes) {
    element += "<p class=\"note\">" + Grouped(nodes - drawn) + " more nodes follow, " +
               (drawn * per_node < instance ? "with the rest of this copy of the model and the other copies"
                                            : "with the other copies of the model, each laid out in the same way") +
               ".</p>\n";
  }
  return "<div class=\"picture\">" + element + "</div>\n";
}

/// One group over which ranks talk in a phase, and what for.
struct Traffic {
  int tier = -1;
  double time_s = 0, bytes = 0;
  std::map<std::string, std::int64_t> calls;  ///< By collective.
};

std::string LinksElement(const PlanReport& report) {
  std::map<std::pair<Phase, std::string>, Traffic> by_group;
  std::array<double, 2> total_s{};
  for (const BreakdownRow& row : report.plan.breakdown.rows) {
    total_s[static_cast<std::size_t>(row.phase)] += row.time_s;
    if (!row.collective) continue;
    // "all_reduce over tp (8 ranks)", "send_recv to the next stage"
    const std::size_t over = row.what.find(" over ");
    const std::size_t space = row.what.find(' ');
    std::string group =
        over == std::string::npos ? row.what.substr(std::min(space, row.what.size())) : row.what.substr(over + 6);
    if (const std::size_t shared = group.find(" (shared expert)"); shared != std::string::npos) group.erase(shared);
    Traffic& traffic = by_group[{row.phase, group}];
    traffic.tier = std::max(traffic.tier, row.tier);
    traffic.time_s += row.time_s;
    traffic.bytes += row.bytes;
    traffic.calls[row.what.substr(0, space)] += row.calls;
  }
  if (by_group.empty()) return "<p>No device talks to another one.</p>\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, traffic] : by_group) {
    const auto& [phase, group] = key;
    std::string collectives;
    for (const auto& [name, calls] : traffic.calls) {
      collectives += (collectives.empty() ? "" : ", ") + Grouped(calls) + " x " + Escaped(name);
    }
    rows.push_back({std::string(ToString(phase)), Escaped(group),
                    traffic.tier < 0
                        ? "-"
                        : Escaped(report.problem.cluster().tiers.at(static_cast<std::size_t>(traffic.tier)).name),
                    collectives, Duration(traffic.time_s),
                    Percent(traffic.time_s / total_s[static_cast<std::size_t>(phase)]), Bytes(traffic.bytes)});
  }
  return TableElement({"phase", "<group", "<links", "<collectives", "time", "of the pass", "bytes"}, rows);
}

std::string TiersElement(const PlanReport& report) {
  const std::vector<NetworkTier>& tiers = report.problem.cluster().tiers;
  const std::vector<double>& bytes = report.plan.breakdown.bytes_by_tier;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < std::min(tiers.size(), bytes.size()); ++i) {
    rows.push_back({Escaped(tiers[i].name), tiers[i].size == 0 ? "all" : Grouped(tiers[i].size), Bytes(bytes[i]),
                    Bytes(tiers[i].bytes_per_s) + "/s", Duration(bytes[i] / tiers[i].bytes_per_s)});
  }
  if (std::all_of(bytes.begin(), bytes.end(), [](double b) { return b == 0; })) return "";
  return "<p>What a device puts on each kind of link in one pass of all micro-batches, the bytes of its collectives on "
         "the wire:</p>\n" +
         TableElement({"links", "join", "bytes", "bandwidth", "at full speed"}, rows);
}

}  // namespace

std::string DevicesSection(const PlanReport& report) {
  std::string section = "<section>\n<h2>Devices and links</h2>\n";
  for (std::size_t i = 0; i < report.plan.pools.size(); ++i) {
    const Pool& pool = report.plan.pools[i];
    if (report.plan.pools.size() > 1) section += "<h3>Pool: " + Escaped(pool.role) + "</h3>\n";
    section += PictureElement(report.problem, pool, i, report.plan.pools.size());
  }
  if (!report.plan.breakdown.rows.empty()) {
    section += "<h3>Who talks over which links</h3>\n" + LinksElement(report) + TiersElement(report);
  }
  return section + "</section>\n";
}

}  // namespace shardscout::exporters
