#pragma once

// The nodes of the exact solver's tree: their children and bounds (solver.h says what they are).

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "baselines/exact/menu.h"
#include "baselines/exact/moe_bound.h"
#include "baselines/exact/solver.h"
#include "baselines/exact/work_bound.h"
#include "env/analytical/training_cost.h"

namespace shardscout::baselines::exact {

enum class Level : std::uint8_t { kRoot, kTensor, kContext, kShape, kMesh, kPipeline };

/// What is looked for (solver.h).
enum class Goal : std::uint8_t { kBest, kFront };

struct Node {
  Worth bound{};  ///< No strategy below has a higher score or a lower latency.
  Level level = Level::kRoot;
  Shape shape{};
  Setting setting{};
  ExpertMesh mesh{};
  std::int64_t pp = 1;
  std::int64_t microbatches = 1;
  std::int64_t first_tp_index = 0;  ///< kRoot: where its share of the values of tp begins.
};

struct Expansion {
  std::vector<Node> children;
  Staircase found;
};

/// Values made once and kept, by a key of numbers; thread safe. Two threads may make the same value at once: it is the
/// same.
template <class Value>
class Memo {
 public:
  using Key = std::array<std::int64_t, 9>;
  template <class Make>
  std::shared_ptr<const Value> Get(const Key& key, Make make) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = values_.find(key);
      if (found != values_.end()) return found->second;
    }
    auto made = std::make_shared<const Value>(make());
    const std::lock_guard lock(mutex_);
    return values_.emplace(key, std::move(made)).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<const Value>> values_;
};

/// Values of training's own variables.
struct TrainingChoice {
  std::int64_t chunks = 1;
  std::int64_t head = 0;
  std::int64_t zero = 0;
  bool whole = true;  ///< The setting's recomputation itself is admitted, of all layers.
  std::shared_ptr<const std::vector<env::StageClass>> stages;
};
Strategy WithChoice(Strategy strategy, const TrainingChoice& choice);

class Branching {
 public:
  Branching(const StrategySpace& space, Goal goal);

  /// Together they cover the space.
  std::vector<Node> Roots() const;
  /// The children that `known` does not cover; of a kPipeline node the best strategies, if it does not.
  Expansion Expand(const Node& node, const Staircase& known) const;

 private:
  /// Prices of a shape's and setting's blocks, each the least over its menu.
  struct LeastCosts {
    env::StrategyCost cost;                                                       ///< Of the attention mesh's blocks.
    double full_cache_bytes = 0, window_cache_bytes = 0, linear_state_bytes = 0;  ///< As AttentionOption's.
    bool possible = false;
  };

  std::span<const std::int64_t> Values(Variable variable) const { return space_.Values(static_cast<int>(variable)); }
  bool HasValue(Variable variable, std::int64_t value) const;
  Strategy StrategyOf(const Node& node, std::int64_t dp) const;
  /// The smallest dp that fits the node's mesh, of which all others are multiples, so that none leaves fewer devices
  /// idle; where the FFN's group does not admit it, it is a bound only. 0: no dp is admitted.
  std::int64_t SmallestDp(const Node& node) const;
  const std::vector<env::StageClass>& StagesOf(std::int64_t pp) const;

  void ExpandRoot(const Node& node, const Staircase& known, Expansion& into) const;
  void ExpandTensor(const Node& node, const Staircase& known, Expansion& into) const;
  void ExpandContext(const Node& node, const Staircase& known, Expansion& into) const;
  void ExpandShape(const Node& node, const Staircase& known, Expansion& into) const;
  void ExpandMesh(const Node& node, const Staircase& known, Expansion& into) const;
  void ExpandPipeline(const Node& node, const Staircase& known, Expansion& into) const;

  std::shared_ptr<const WorkBound> WorkOf(std::int64_t tp) const;
  std::shared_ptr<const MoeBound> MoeBoundOf(std::int64_t tp, Phase phase) const;
  /// Tokens of a cell in a pass over so many requests.
  double RowsOf(const Shape& shape, Phase phase, std::int64_t pass_requests) const;
  /// Training: what one layer's FFN keeps of a micro-batch, or makes again, before and after its activation, however it
  /// is sharded.
  double LeastActivationBytes(const Shape& shape) const;
  /// Calls f with the requests that go with the node's tp and cp and the bound by `work`.
  template <class F>
  void ForEachRequests(const Node& node, const WorkBound& work, F f) const;
  /// Of each of meshes_, the least that one MoE layer takes. `pass_requests`: of a prefill pass.
  std::vector<double> LeastMoeSeconds(const Shape& shape, Phase phase, std::int64_t pass_requests) const;
  /// Of a rate a device and latencies at best; kNothing where a target is exceeded.
  Worth WorthAtMost(double per_device, double ttft_s, double tpot_s) const;
  /// kNothing where it is not feasible.
  Worth WorthOf(const Evaluation& evaluation) const;
  /// What a micro-batch's passes over the whole model give at most, whatever the pipeline, the micro-batches and dp: a
  /// pipeline's stages take as long together, and with its bubbles it is no faster a device than one stage is.
  Worth WorthOfPass(const Shape& shape, std::int64_t prefill_requests, double prefill_s, double decode_s) const;

  /// Training: WorthOfPass with the least dense FFNs under the setting, and of the rest what attentions do at least.
  Worth WorthOfFfn(const Node& node) const;
  /// WorthOfPass of the node's shape with these costs of its blocks.
  Worth WorthOfLayers(const Node& node, const env::StrategyCost& cost, const env::BlockCost& moe) const;

  /// Of `devices` in use; 0: bounds for any number of them that a strategy may have.
  env::SpanCache Spans(std::int64_t devices) const;
  bool SpansAreLeast(const Strategy& s, std::int64_t devices) const;
  std::shared_ptr<const AttentionMenu> AttentionOf(const Node& node, std::int64_t devices) const;
  std::shared_ptr<const std::vector<DenseOption>> DenseOf(const Node& node, DenseFfnGroup group, std::int64_t dp,
                                                          std::int64_t devices) const;
  std::shared_ptr<const std::vector<MoeOption>> MoeOf(const Node& node, std::int64_t devices) const;
  std::shared_ptr<const env::BlockCost> LeastMoeOf(const Node& node) const;
  std::shared_ptr<const LeastCosts> LeastOf(const Node& node) const;
  std::shared_ptr<const env::BlockCost> LeastDenseOf(const Node& node) const;
  env::BlockCost LeastDense(const Node& node) const;
  /// What `requests` of a dp rank store at least on `pp` stages.
  env::StorageTerms LeastStorage(const LeastCosts& least, std::int64_t requests, std::int64_t pp) const;
  /// Whether a stage-wide dense FFN under these degrees may be worth more: a bound without its menu.
  bool MayStageBe(const Node& node, const Strategy& degrees, const Staircase& known, const Staircase& found) const;
  std::shared_ptr<const std::vector<env::StageClass>> TrainingStagesOf(const Strategy& s) const;
  /// Whether strategies that compute some layers again belong to this one's node.
  bool MayComputeLayersAgain(const Strategy& s) const;
  /// What training's variables may be with `s`, but for the recomputation, which is the setting's.
  std::vector<TrainingChoice> TrainingChoices(Strategy s) const;
  /// The most that any of them is worth.
  Worth MostOfTraining(const Strategy& degrees, const std::vector<TrainingChoice>& choices,
                       const env::StrategyCost& cost, env::TrainingExchanges& exchanges) const;
  /// `s` with as few layers of each chunk computed again as make it fit, fewer than all.
  std::optional<Candidate> FewestComputedAgain(Strategy s, const env::StrategyCost& cost,
                                               env::TrainingExchanges& exchanges) const;
  void SolveTraining(const Strategy& s, const std::vector<TrainingChoice>& choices, const env::StrategyCost& cost,
                     env::TrainingExchanges& exchanges, const Staircase& known, Staircase& found) const;
  /// Adds the best strategies of these degrees, setting and group that are not known to be covered.
  void SolveLeaf(const Node& node, const Strategy& degrees, const Staircase& known, Staircase& found) const;

  const StrategySpace& space_;
  const Problem& problem_;
  const Goal goal_;
  MenuMaker maker_;
  std::vector<ExpertMesh> meshes_;
  std::vector<std::int64_t> ffn_parts_;               ///< Numbers of ranks over which a dense FFN may split.
  std::vector<std::vector<env::StageClass>> stages_;  ///< By pp.
  Overlap overlap_;
  double flop_per_token_ = 0;  ///< Training.

  mutable Memo<std::vector<env::StageClass>> training_stages_;
  mutable Memo<WorkBound> work_;
  mutable Memo<MoeBound> moe_bounds_;
  mutable Memo<std::vector<double>> experts_;
  mutable Memo<AttentionMenu> attention_;
  mutable Memo<std::vector<DenseOption>> dense_;
  mutable Memo<std::vector<MoeOption>> moe_;
  mutable Memo<env::BlockCost> least_moe_, least_dense_, shared_;
  mutable Memo<LeastCosts> least_;
};

}  // namespace shardscout::baselines::exact
