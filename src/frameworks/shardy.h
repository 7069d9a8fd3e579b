#pragma once

// What Shardy and JAX take: one mesh of named axes, and of each tensor which axes split which dimension. Transcribed
// from Shardy (commit a0277a8, shardy/dialect/sdy/ir/verifiers.cc) and jax.sharding.NamedSharding.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shardscout/strategy.h"
#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

struct MeshAxis {
  std::string name;
  std::int64_t size = 1;
  bool operator==(const MeshAxis&) const = default;
};

/// Splits the ranks of a stage so that each of tp, cp, dp and of etp, ep, edp, and the KV heads' part of tp, is a group
/// of neighbouring axes: the coarsest mesh of which both meshes of a strategy are views. Axes outermost first, as
/// meshes are written; axes of size 1 are left out. nullopt where there is none.
///
/// Worked example: tp 4, dp 6, ep 8, etp 1, edp 3 is the mesh 3 x 2 x 4: dp = 3 * 2, ep = 2 * 4, tp = 4. With ep 12 and
/// edp 2 it is 2 x 3 x 4; with tp 4 and etp 6 there is none.
class StageMesh {
 public:
  /// What a group of axes stands for.
  enum class Group { kTp, kCp, kDp, kEtp, kEp, kEdp, kKvHeads };

  static std::optional<StageMesh> Of(const Strategy& strategy, const ModelSpec& model);

  const std::vector<MeshAxis>& axes() const { return axes_; }
  /// Outermost first; empty for a group of one rank. kKvHeads: the outer part of tp that splits KV heads, whose other
  /// ranks hold copies.
  std::vector<std::string> AxesOf(Group group) const;

 private:
  struct Span {
    std::int64_t from = 1, to = 1;  ///< Products of sizes within and up to the group, innermost first.
  };
  Span SpanOf(Group group) const;

  std::vector<MeshAxis> axes_;
  Strategy strategy_;
  std::int64_t kv_copies_ = 1;
};

/// One tensor's sharding: of each dimension, the axes that split it, major first.
struct TensorSharding {
  std::string name;                ///< "layers.qkv.q_proj.weight", "prefill.attention.out"
  std::string element;             ///< "bf16"
  std::vector<std::int64_t> dims;  ///< The whole tensor's; 0: as many as the batch has.
  std::vector<std::vector<std::string>> axes;
};

struct ShardyArguments {
  std::int64_t pipeline_parallel_size = 1;
  std::string overlap = "none";
  bool has_mesh = true;  ///< Both meshes of the strategy are views of one.
  std::vector<MeshAxis> mesh = {};
  std::vector<TensorSharding> tensors = {};
};

using ShardyRule = Rule<ShardyArguments>;
std::span<const ShardyRule> ShardyRules();

}  // namespace shardscout::frameworks
