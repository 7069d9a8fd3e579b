#include "src/export/use_parts.h"

#include <algorithm>
#include <utility>

#include "src/export/html_page.h"

namespace shardscout::exporters {
namespace {

std::string StyledWidth(double share) { return Formatted("width:%.3f%%", 100 * share); }

/// What a row of the breakdown is part of, and its colour.
std::pair<const char*, int> PartOf(const BreakdownRow& row) {
  if (row.collective) return {"collectives", 5};
  switch (row.op) {
    case Operator::kQkv:
    case Operator::kAttnOut:
      return {"attention's projections", 4};
    case Operator::kAttention:
      return {"attention", 0};
    case Operator::kFfnUp:
    case Operator::kFfnDown:
      return {"feed-forward", 2};
    case Operator::kExpertUp:
    case Operator::kExpertDown:
    case Operator::kRouter:
      return {"experts", 1};
    case Operator::kEmbedding:
    case Operator::kLmHead:
      return {"embedding and head", 3};
    default:
      return {"the rest", 6};
  }
}

}  // namespace

std::vector<Part> TimeParts(const Breakdown& breakdown, Phase phase) {
  std::vector<Part> parts;
  for (const BreakdownRow& row : breakdown.rows) {
    if (row.phase != phase) continue;
    const std::pair<const char*, int> kind = PartOf(row);
    auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& known) { return known.name == kind.first; });
    if (part == parts.end()) part = parts.insert(parts.end(), {kind.first, 0, kind.second});
    part->amount += row.time_s;
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.amount > b.amount; });
  return parts;
}

std::vector<Part> MemoryParts(const MemoryUse& memory) {
  return {{"weights", memory.weight_bytes, 0},
          {"KV cache", memory.kv_cache_bytes, 1},
          {"linear attention's states", memory.linear_state_bytes, 4},
          {"gradients", memory.gradient_bytes, 1},
          {"optimizer", memory.optimizer_bytes, 4},
          {"activations", memory.activation_bytes, 2},
          {"communication", memory.communication_bytes, 3},
          {"reserve", memory.reserved_bytes, 6}};
}

std::string StackElement(const std::vector<Part>& parts, double whole, std::string (*show)(double)) {
  std::string bar = "<div class=\"stack\" aria-hidden=\"true\">";
  std::string legend = "<ul class=\"legend\">";
  for (const Part& part : parts) {
    if (part.amount <= 0) continue;
    const std::string colour = "k" + std::to_string(part.colour);
    bar += "<i class=\"" + colour + "\" style=\"" + StyledWidth(part.amount / whole) + "\"></i>";
    legend += "<li><i class=\"" + colour + "\"></i>" + Escaped(part.name) + " " + show(part.amount) + "</li>";
  }
  return bar + "</div>\n" + legend + "</ul>\n";
}

}  // namespace shardscout::exporters
