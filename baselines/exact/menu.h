#pragma once

// What each block of a strategy can be, and what it costs: the tables from which the exact solver puts strategies
// together. A menu lists the shardings that the rules admit, each priced by the analytical evaluator's own functions,
// without those that another one equals or beats in every respect that an objective or a limit looks at.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "env/analytical/block_cost.h"
#include "shardscout/strategy_space.h"
#include "strategies/sharding_rules.h"

namespace shardscout::baselines::exact {

/// The degrees that decide what the attention mesh does: requests are those of a micro-batch and dp rank.
struct Shape {
  std::int64_t tp = 1;
  std::int64_t cp = 1;
  std::int64_t requests = 1;
  auto operator<=>(const Shape&) const = default;
};

/// What all blocks of a strategy share. In prefill they also see whether requests are split over tp (LowerBlock).
struct Setting {
  Layout residual = Layout::kReplicated;
  bool attention_token = false;                        ///< Prefill and serve.
  bool head_token = false;                             ///< Serve.
  Recomputation recomputation = Recomputation::kNone;  ///< Training.
  auto operator<=>(const Setting&) const = default;
};

struct ExpertMesh {
  std::int64_t ep = 1;
  std::int64_t etp = 1;
  std::int64_t Size() const { return ep * etp; }
  auto operator<=>(const ExpertMesh&) const = default;
};

struct AttentionOption {
  Sharding qkv{}, attention{}, attn_out{};
  env::BlockCost full, window, linear;
  /// Cache or state of one layer for one request of the dp rank. (`token` splits requests: of one request its tp-th
  /// part.)
  double full_cache_bytes = 0, window_cache_bytes = 0, linear_state_bytes = 0;
};
struct EndOption {
  Sharding sharding{};
  env::BlockCost cost;
};
struct DenseOption {
  Sharding up{}, down{};
  env::BlockCost cost;
};
struct MoeOption {
  ExpertExchange exchange{};
  Sharding router{}, expert_up{}, expert_down{};
  Sharding ffn_up{}, ffn_down{};  ///< Of the shared expert; kNone where there is none.
  env::BlockCost cost;
};

/// The attention mesh's blocks under one setting.
struct AttentionMenu {
  std::vector<AttentionOption> attention;
  std::vector<EndOption> embedding, head;
  bool empty() const { return attention.empty() || embedding.empty() || head.empty(); }
};

/// Tokens of a cell (a dp and cp rank's) in one pass of a phase, padding included.
double CellRows(const Problem& problem, const Strategy& strategy, Phase phase);

/// Bounds for any number of devices in use: a strategy has as many instances as fit, and so uses more than half of
/// them; in training it has one, of any size.
env::SpanCache LeastSpans(const Problem& problem);

/// Operators that are sharded together, for MenuMaker::ForEachSharding.
inline constexpr Operator kAttentionOperators[] = {Operator::kQkv, Operator::kAttention, Operator::kAttnOut};
inline constexpr Operator kFfnOperators[] = {Operator::kFfnUp, Operator::kFfnDown};
inline constexpr Operator kExpertOperators[] = {Operator::kExpertUp, Operator::kExpertDown};
inline constexpr Operator kMoeOperators[] = {Operator::kRouter, Operator::kExpertUp, Operator::kExpertDown};

/// Lists and prices options. Thread safe and, but for what it remembers, pure; `spans` says where groups lie (and is
/// not thread safe).
class MenuMaker {
 public:
  explicit MenuMaker(const StrategySpace& space);

  /// Settings that some strategy of the shape has, rising.
  std::vector<Setting> Settings(const Shape& shape) const;
  AttentionMenu Attention(const Shape& shape, const Setting& setting, env::SpanCache& spans) const;
  /// Group tp: `dp` is 1. Group stage: what depends on dp. Empty: the group is not admitted.
  std::vector<DenseOption> Dense(const Shape& shape, const Setting& setting, DenseFfnGroup group, std::int64_t dp,
                                 env::SpanCache& spans) const;
  /// All admitted options of the MoE block. Those of the shared expert are under group tp's rules: with dense layers in
  /// the model a stage-wide FFN admits some of them only.
  std::vector<MoeOption> Moe(const Shape& shape, const Setting& setting, const ExpertMesh& mesh,
                             env::SpanCache& spans) const;
  /// The same without what the shared expert adds: of each task and byte that every Moe option has, no more than it
  /// has. For bounds.
  std::vector<MoeOption> RoutedPart(const Shape& shape, const Setting& setting, const ExpertMesh& mesh,
                                    env::SpanCache& spans) const;
  /// The least that the experts' own kernels take in one MoE layer in decode, in every option of the mesh.
  double DecodeExpertSeconds(const Shape& shape, const ExpertMesh& mesh) const;
  /// The least that the shared expert's own kernels take and store in every Moe option of the shape and setting.
  env::BlockCost SharedPart(const Shape& shape, const Setting& setting, env::SpanCache& spans) const;
  /// The least of a dense FFN that spans a stage of tp * cp * dp ranks or more, none of whose matrices split: every
  /// rank works on all the stage's tokens.
  env::BlockCost UnsplitStageDense(const Shape& shape, const Setting& setting, std::int64_t dp) const;
  /// Whether ffn or hidden splits over such a stage.
  bool StageSplits(const Shape& shape, std::int64_t dp) const;

  /// What the rules admit.
  std::vector<Sharding> Admitted(const Strategy& s, Operator op) const;
  std::vector<ExpertExchange> Exchanges(const Strategy& s) const;
  /// Calls f with `s` under each combination of the operators' admitted shardings, those of the last operator fastest.
  void ForEachSharding(Strategy s, std::span<const Operator> operators,
                       const std::function<void(const Strategy&)>& f) const;

  /// Requests of a micro-batch and dp rank that some strategy has, rising.
  const std::vector<std::int64_t>& requests() const { return requests_; }
  /// Of those with tp and cp, one that splits as far as any does, and so admits all shardings that another one does.
  std::int64_t SplittingRequests(std::int64_t tp, std::int64_t cp) const;

  const Problem& problem() const { return space_.problem(); }
  const StrategySpace& space() const { return space_; }
  const strategies::ShardingRules& rules() const { return rules_; }

 private:
  Strategy Base(const Shape& shape, const Setting& setting) const;
  /// `problem`: the space's or routed_only_.
  env::BlockCost Price(const Problem& problem, const Strategy& s, BlockKind kind, env::SpanCache& spans) const;
  /// A pass through a block in `serve`, where many shapes and settings have the same.
  struct Pass {
    double time_s = 0;
    Block stored;  ///< Of the block only the weights and the peaks.
  };
  std::shared_ptr<const Pass> PassOf(const Problem& problem, const Strategy& s, Phase phase, BlockKind kind,
                                     env::SpanCache& spans) const;
  std::vector<MoeOption> ListMoe(const Problem& problem, bool with_shared, const Shape& shape, const Setting& setting,
                                 const ExpertMesh& mesh, env::SpanCache& spans) const;

  const StrategySpace& space_;
  strategies::ShardingRules rules_;
  Problem routed_only_;  ///< The problem with no shared expert.
  std::vector<std::int64_t> requests_;

  using Passes = std::unordered_map<Strategy, std::shared_ptr<const Pass>, StrategyHash>;
  mutable std::mutex passes_mutex_;
  /// By problem, phase, kind and devices, then by what LowerBlock reads of a strategy.
  mutable std::map<std::tuple<bool, Phase, BlockKind, std::int64_t>, Passes> passes_;
};

/// Least of each field over the options; table_bytes the most (it is subtracted).
inline constexpr env::BlockCost kNothingYet{
    .time_s = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()},
    .weight_bytes = std::numeric_limits<double>::infinity(),
    .table_bytes = 0,
    .peak_activation_bytes = std::numeric_limits<double>::infinity(),
    .max_payload_bytes = std::numeric_limits<double>::infinity(),
    .backward_s = std::numeric_limits<double>::infinity(),
    .forward_tasks = std::numeric_limits<double>::infinity(),
    .backward_tasks = std::numeric_limits<double>::infinity(),
    .input_bytes = std::numeric_limits<double>::infinity(),
    .kept_bytes = std::numeric_limits<double>::infinity(),
    .recomputed_bytes = std::numeric_limits<double>::infinity(),
    .elements = std::numeric_limits<double>::infinity(),
    .expert_elements = std::numeric_limits<double>::infinity(),
    .summed_elements = std::numeric_limits<double>::infinity()};
env::BlockCost Least(const env::BlockCost& a, const env::BlockCost& b);

}  // namespace shardscout::baselines::exact
