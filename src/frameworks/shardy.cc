#include "src/frameworks/shardy.h"

#include <algorithm>
#include <array>
#include <set>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::int64_t SizeOf(const ShardyArguments& a, const std::string& axis) {
  const auto found = std::find_if(a.mesh.begin(), a.mesh.end(), [&](const MeshAxis& m) { return m.name == axis; });
  return found == a.mesh.end() ? 0 : found->size;
}

std::string NoPipeline(const ShardyArguments& a, const ModelSpec&) {
  if (a.pipeline_parallel_size == 1) return "";
  return "a mesh has no pipeline; found " + Text(a.pipeline_parallel_size) + " stages";
}

std::string NoOverlap(const ShardyArguments& a, const ModelSpec&) {
  return a.overlap == "none" ? "" : "shardings say nothing of overlap; found " + a.overlap;
}

std::string PlainAttention(const ShardyArguments&, const ModelSpec& model) {
  if (model.HasLinearAttention()) return "the states of linear attention are no tensors of this export";
  return model.attention.HasIndexer() ? "the indexer's cache is no tensor of this export" : "";
}

std::string OneMesh(const ShardyArguments& a, const ModelSpec&) {
  return a.has_mesh ? "" : "attention's and the experts' degrees are views of no common mesh";
}

std::string OneEntryADim(const ShardyArguments& a, const ModelSpec&) {
  for (const TensorSharding& t : a.tensors) {
    if (t.axes.size() != t.dims.size()) {
      return t.name + " has " + std::to_string(t.dims.size()) + " dimensions, its sharding " +
             std::to_string(t.axes.size());
    }
  }
  return "";
}

std::string AxesKnown(const ShardyArguments& a, const ModelSpec&) {
  for (const TensorSharding& t : a.tensors) {
    for (const auto& dim : t.axes) {
      for (const std::string& axis : dim) {
        if (SizeOf(a, axis) == 0) return t.name + ": no axis \"" + axis + "\" in the mesh";
      }
    }
  }
  return "";
}

std::string AxesOnce(const ShardyArguments& a, const ModelSpec&) {
  for (const TensorSharding& t : a.tensors) {
    std::set<std::string> seen;
    for (const auto& dim : t.axes) {
      for (const std::string& axis : dim) {
        if (!seen.insert(axis).second) return t.name + ": axis \"" + axis + "\" twice";
      }
    }
  }
  return "";
}

std::string DimsDivide(const ShardyArguments& a, const ModelSpec&) {
  for (const TensorSharding& t : a.tensors) {
    for (std::size_t i = 0; i < std::min(t.dims.size(), t.axes.size()); ++i) {
      std::int64_t parts = 1;
      for (const std::string& axis : t.axes[i]) parts *= std::max<std::int64_t>(1, SizeOf(a, axis));
      if (t.dims[i] % parts != 0) {
        return t.name + ": dimension " + std::to_string(i) + ", " + Text(t.dims[i]) + ", does not divide over " +
               Text(parts) + " ranks";
      }
    }
  }
  return "";
}

constexpr const char* kVerifiers = "shardy/dialect/sdy/ir/verifiers.cc";
constexpr const char* kNamedSharding = "jax/_src/named_sharding.py check_divisible";

constexpr std::array<ShardyRule, 8> kRules = {{
    {"shardy.no_pipeline", "no pipeline", "shardy/dialect/sdy/ir/attrs.td MeshAttr", NoPipeline},
    {"shardy.no_overlap", "overlap none", "shardy/dialect/sdy/ir/attrs.td TensorShardingAttr", NoOverlap},
    {"shardy.plain_attention", "no linear attention, no indexer", "shardy/dialect/sdy/ir/attrs.td TensorShardingAttr",
     PlainAttention},
    {"shardy.one_mesh", "tp, cp, dp and etp, ep, edp are groups of neighbouring axes of one mesh",
     "shardy/dialect/sdy/ir/attrs.td MeshAttr", OneMesh},
    {"shardy.rank", "as many dimension shardings as the tensor has dimensions", kVerifiers, OneEntryADim},
    {"shardy.axis_exists", "an axis of a sharding is one of its mesh", kVerifiers, AxesKnown},
    {"shardy.axis_once", "an axis splits one dimension of a tensor", kVerifiers, AxesOnce},
    {"shardy.divides", "a dimension divides by the axes that split it", kNamedSharding, DimsDivide},
}};

}  // namespace

std::span<const ShardyRule> ShardyRules() { return kRules; }

StageMesh::Span StageMesh::SpanOf(Group group) const {
  const Strategy& s = strategy_;
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size;
  const std::int64_t etp = s.expert_tensor_parallel_size;
  switch (group) {
    case Group::kTp:
      return {1, tp};
    case Group::kCp:
      return {tp, tp * cp};
    case Group::kDp:
      return {tp * cp, s.StageSize()};
    case Group::kEtp:
      return {1, etp};
    case Group::kEp:
      return {etp, s.BlockSize()};
    case Group::kEdp:
      return {s.BlockSize(), s.StageSize()};
    case Group::kKvHeads:
      break;
  }
  return {kv_copies_, tp};
}

std::optional<StageMesh> StageMesh::Of(const Strategy& strategy, const ModelSpec& model) {
  StageMesh mesh;
  mesh.strategy_ = strategy;
  const AttentionSpec& attention = model.attention;
  const std::int64_t tp = strategy.tensor_parallel_size;
  if (attention.kind == AttentionKind::kMultiLatent) {
    mesh.kv_copies_ = tp;
  } else if (tp > attention.num_kv_heads && tp % attention.num_kv_heads == 0) {
    mesh.kv_copies_ = tp / attention.num_kv_heads;
  }
  std::set<std::int64_t> cuts = {1};
  for (const Group group :
       {Group::kTp, Group::kCp, Group::kDp, Group::kEtp, Group::kEp, Group::kEdp, Group::kKvHeads}) {
    const Span span = mesh.SpanOf(group);
    cuts.insert(span.from);
    cuts.insert(span.to);
  }
  std::int64_t below = 1;
  for (const std::int64_t cut : cuts) {
    if (cut == below) continue;
    if (cut % below != 0) return std::nullopt;
    mesh.axes_.insert(mesh.axes_.begin(), {"a" + std::to_string(mesh.axes_.size()), cut / below});
    below = cut;
  }
  return mesh;
}

std::vector<std::string> StageMesh::AxesOf(Group group) const {
  const Span span = SpanOf(group);
  std::vector<std::string> names;
  std::int64_t above = strategy_.StageSize();
  for (const MeshAxis& axis : axes_) {
    const std::int64_t below = above / axis.size;
    if (below >= span.from && above <= span.to) names.push_back(axis.name);
    above = below;
  }
  return names;
}

}  // namespace shardscout::frameworks
