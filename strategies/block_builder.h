#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <utility>

#include "shardscout/program.h"

namespace shardscout::strategies {

/// Sizes of one phase under one strategy: how many rows and columns a rank holds under a layout, and what routing is
/// expected to do.
class Geometry {
 public:
  Geometry(const Problem& problem, const Strategy& strategy, Phase phase);

  double Rows(const Value& value) const;
  double Width(const Value& value) const;

  /// Ranks over which a feature split cuts: 1, tp, the stage, or etp.
  std::int64_t Parts(FeatureSplit split) const;
  std::int64_t LocalHeads(FeatureSplit split) const;
  std::int64_t LocalKvHeads(FeatureSplit split) const;
  /// Of linear attention: value heads, and the key heads that they use.
  std::int64_t LocalLinearHeads(FeatureSplit split) const;
  std::int64_t LocalLinearKeyHeads(FeatureSplit split) const;
  std::int64_t FfnSize(FfnKind kind) const;

  /// Tokens whose experts live in one block, all its ranks together; the routed (token, expert) pairs that one ep rank
  /// gets of them in expectation, and on the fullest rank.
  double BlockTokens() const { return cell_rows_ / tp * block; }
  double ExpertPairs() const;
  /// Uniform routing is balls into bins: the fullest of n bins with m/n balls each in expectation has m/n + sqrt(2 m/n
  /// ln n) (Raab and Steger 1998, the heavily loaded case), at most every token that could come.
  double FullestExpertPairs() const;
  /// Expected number of a rank's experts that get at least one token.
  double DistinctExperts() const;
  /// Probability that a token has one or more of its experts on a given ep rank: 1 - C(E - E/ep, k) / C(E, k).
  double RankHit() const;

  const ModelSpec& model;
  const Strategy& strategy;
  Phase phase;
  double tp, cp, dp, ep, etp, block;  ///< Sizes as doubles; block = etp * ep.
  std::int64_t requests = 1;          ///< Of a micro-batch and dp rank.
  std::int64_t context = 1;
  std::int64_t padded_input = 0;
  bool by_request = true;  ///< How tokens are sharded, see PhaseProgram::token_shard_by_request.
  bool multi_latent = false;

 private:
  double cell_rows_ = 0;
};

/// Builds one block: makes values with their sizes, appends tasks with their work, and brings values from layout to
/// layout by the reshard table of docs/strategy_space.md. Labels are normal: a split over a group of one rank is never
/// written, so that equal layouts compare equal.
class BlockBuilder {
 public:
  BlockBuilder(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind);

  const Geometry& geometry() const { return geometry_; }
  const ModelSpec& model() const { return problem_.model(); }
  const Strategy& strategy() const { return strategy_; }
  Phase phase() const { return geometry_.phase; }
  const Value& ValueOf(ValueId id) const { return block_.values[static_cast<std::size_t>(id)]; }

  /// The residual stream as blocks hand it on.
  ValueId AddResidualInput();
  /// Fills in rows and width.
  ValueId AddValue(Value value);
  /// A copy of `like` under another kind.
  ValueId AddLike(ValueId like, TensorKind kind, FfnKind ffn = FfnKind::kNotFfn);

  /// Appends a compute task; work is filled in from the values and the weight. Registers the weight as stored.
  void AddTask(Task task);
  void AddMatmul(Operator op, WeightKind weight, WeightSplit split, ValueId input, ValueId output,
                 FfnKind ffn = FfnKind::kNotFfn);
  ValueId AddActivation(Operator op, ValueId gate, FfnKind ffn);

  /// One collective from `input` to a value of layout `to`; `payload_bytes` < 0 takes the rule of its kind.
  ValueId AddCollective(Operator op, Collective collective, Group group, ValueId input, Value to);
  /// Two values in one call.
  std::pair<ValueId, ValueId> AddCollective(Operator op, Collective collective, Group group, ValueId input, Value to,
                                            ValueId input2, Value to2);
  ValueId AddSlice(Operator op, ValueId input, Value to);
  ValueId AddSum(Operator op, ValueId a, ValueId b);

  /// Layout over tp of a value whose tokens are a cell's (or its share).
  Layout LayoutOf(ValueId id) const;
  /// `value` as it is in another layout over tp.
  Value WithLayout(Value value, Layout layout) const;
  /// The reshard table over tp, at most one collective. Equal reshards of one value happen once.
  ValueId Reshard(Operator op, ValueId id, Layout to);
  /// The same for q, k, v with MLA's latent (kNoValue for grouped attention), which has no feature-sharded form but the
  /// replicated one.
  std::pair<ValueId, ValueId> ReshardQkv(Operator op, ValueId qkv, ValueId latent, Layout to);

  /// Two values of one layout, whose collective is one call.
  std::pair<ValueId, ValueId> ReshardBoth(Operator op, ValueId a, ValueId b, Layout to);

  /// Norm of `id` in the layout in which it is; fed features, with the all-reduce of its statistic over the group. Once
  /// for each value.
  ValueId Norm(Operator op, ValueId id);

  /// The block's end: `output` resharded to the residual layout and added to the stream.
  Block FinishWith(ValueId residual, ValueId output);

  void AddWholeWeight(WeightKind kind, Operator op, double elements, FfnKind ffn = FfnKind::kNotFfn);
  Block Take(ValueId input, ValueId output);

  /// The groups over which every rank holds the same of a value: one group of size `size`.
  Group CopiesOf(const Value& value) const;

  Group TensorGroup() const;
  Group ContextGroup() const;
  Group ContextDataGroup() const;
  Group StageGroup() const;
  Group ExpertGroup() const;
  Group ExpertTensorGroup() const;
  Group BlockGroup() const;

  /// The labels without splits over groups of one.
  TokenSplit Normal(TokenSplit split) const;
  FeatureSplit Normal(FeatureSplit split) const;
  std::uint8_t NormalPartial(int partial) const;

 private:
  double PayloadBytes(Collective collective, ValueId input, ValueId output) const;
  void FillWork(Task& task) const;
  void FillMatmulWork(Task& task) const;
  void FillAttentionWork(Task& task) const;
  void FillRouting(Work& work, double held) const;
  void SetTypes(Work& work, WeightKind kind, FfnKind ffn) const;
  void FillIndexWork(Task& task) const;
  void FillLinearAttentionWork(Task& task) const;
  void StoreWeight(const Task& task);
  /// Training, at the block's end: Block::backward and what is kept for it (backward.cc).
  void AddBackward();
  void Store(Weight weight);

  friend class BackwardMaker;

  const Problem& problem_;
  const Strategy& strategy_;
  Geometry geometry_;
  Block block_;
  std::map<std::pair<ValueId, Layout>, ValueId> resharded_;
  std::map<ValueId, ValueId> normed_;
};

/// Whether weight_dtype and activation_dtype hold for the products with a weight.
bool IsQuantised(const ModelSpec& model, WeightKind kind, FfnKind ffn);
/// Type of such a product's inputs.
DType ProductDType(const ModelSpec& model, WeightKind kind, FfnKind ffn);
/// Elements of the norms of the residual stream that a block of a layer holds.
double BlockNormElements(const ModelSpec& model);
/// Elements that linear attention's core reads: convolution, A_log, dt_bias and the heads' norm.
double LinearVectorElements(const LinearAttentionSpec& linear);

/// What each block is made of; lowering.cc puts them together.
Block LowerAttention(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind);
Block LowerLinearAttention(const Problem& problem, const Strategy& strategy, Phase phase);
Block LowerDenseFfn(const Problem& problem, const Strategy& strategy, Phase phase);
Block LowerMoe(const Problem& problem, const Strategy& strategy, Phase phase);
Block LowerEmbedding(const Problem& problem, const Strategy& strategy, Phase phase);
Block LowerHead(const Problem& problem, const Strategy& strategy, Phase phase);
Block LowerTransfer(const Problem& problem, const Strategy& strategy, Phase phase);

}  // namespace shardscout::strategies
