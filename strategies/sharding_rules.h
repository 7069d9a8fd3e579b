#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shardscout/problem.h"
#include "shardscout/strategy.h"
#include "shardscout/strategy_space.h"

namespace shardscout::strategies {

/// Whether `size` splits into `parts` equal ones that are whole quantisation blocks (block 0: any).
inline bool Splits(std::int64_t size, std::int64_t parts, std::int64_t block) {
  return size % parts == 0 && (block == 0 || parts == 1 || (size / parts) % block == 0);
}

/// The rules of docs/strategy_space.md ("Valid", "Canonical") for a layer's decision variables, given all degrees, the
/// batch and the micro-batches. Each answer is "" where the value is admitted, else the rule that it breaks. The
/// answers do not depend on other layer variables, except ffn_up and ffn_down on dense_ffn_group.
/// Where ModelSpec::PositionsSplit is false, the context parallel size is 1 and no attention is `sequence`: an
/// indexer's choice over parts of the context, or a state handed from part to part, would need exchanges that are not
/// modelled.
///
/// The three attention operators' shardings hold for linear layers too: `heads` splits value heads, with the key heads
/// that they use (copied where tp exceeds them, as KV heads are); `hidden` of qkv is row-parallel and leaves heads
/// split; `hidden` of attn_out is column-parallel; `token` splits requests in the core, states and all. A sharding is
/// admitted where both kinds of layers have it.
///
/// Where the problem names a framework, what it does not run is not admitted either (framework_rules.h).
class ShardingRules {
 public:
  explicit ShardingRules(const Problem& problem)
      : problem_(problem), model_(problem.model()), framework_(problem.options().framework) {}

  /// pp, tp, cp and dp, with no word on whether the devices suffice.
  bool Degrees(const Strategy& s) const;
  /// ep and etp on the stage of the other degrees.
  bool ExpertMesh(const Strategy& s) const;
  /// num_microbatches for a batch and pp.
  bool Microbatches(const Strategy& s) const;
  /// A value of one of training's own variables. Chunks must be as even as the stages (equal where pp divides the
  /// layers), and the micro-batches go through the stages by groups of pp (as Megatron's interleaved schedule has it);
  /// the head counts as layers where that moves one, and leaves its chunk one; ZeRO needs data parallel ranks;
  /// `selective` computes again what a fused attention never keeps; of a chunk's layers fewer than all.
  bool Training(const Strategy& s, Variable variable, std::int64_t value) const;
  /// No framework ties cp and dp to the experts' degrees.
  bool SizesAreFree() const { return !framework_ || *framework_ == Framework::kMegatron; }
  /// A batch and pp leave no choice of num_microbatches.
  bool MicrobatchesFollow() const;

  /// Requests of a micro-batch split over cp in decode (all layers, whatever the layouts).
  bool BatchSplits(const Strategy& s) const;
  /// T is possible: decode, a cp rank's requests divide by tp; prefill, always (padded positions).
  bool TokensSplit(const Strategy& s) const;
  /// T by request is possible: attention `token` and lm_head `token`.
  bool RequestsSplit(const Strategy& s) const;

  bool Residual(const Strategy& s, Layout layout) const;
  bool FfnGroup(const Strategy& s, DenseFfnGroup group) const;
  bool Exchange(const Strategy& s, ExpertExchange exchange) const;
  bool Admits(const Strategy& s, Operator op, Sharding sharding) const;

  /// etp splits the experts' width into whole blocks.
  bool ExpertTensorSplits(std::int64_t etp) const;

  /// Why a model whose positions are not split has none of context parallelism and attention `sequence`; else "".
  std::string WhyPositionsAreWhole() const;
  /// Why one of the answers above is no, for people.
  std::string Why(const Strategy& s, Operator op, Sharding sharding) const;

 private:
  bool HeadsSplit(std::int64_t tp) const;
  /// The same questions without the framework.
  bool ResidualIsPossible(const Strategy& s, Layout layout) const;
  bool FfnGroupIsPossible(const Strategy& s, DenseFfnGroup group) const;
  bool ExchangeIsPossible(const Strategy& s, ExpertExchange exchange) const;
  bool IsPossible(const Strategy& s, Operator op, Sharding sharding) const;
  /// Ranks that share the operator; for FFNs the larger of the dense layers' group and the shared expert's.
  std::int64_t GroupOf(const Strategy& s, Operator op) const;
  /// The in-projection of linear layers splits into whole blocks; the gates have none.
  bool LinearBlocksSplit(std::int64_t tp) const;
  bool FfnAdmits(const Strategy& s, Operator op, Sharding sharding) const;

  const Problem& problem_;
  const ModelSpec& model_;
  const std::optional<Framework> framework_;
};

}  // namespace shardscout::strategies
