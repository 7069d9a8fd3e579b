#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "env/live/reference_model.h"
#include "env/live/worker/exchange.h"
#include "shardscout/problem.h"
#include "shardscout/program.h"

namespace shardscout::live {

/// Where attention finds its queries, keys and cache in the rows that a rank holds. Every request has the same
/// positions, so that one list does for all.
struct AttentionPlan {
  std::vector<std::int64_t> requests;  ///< Of the rows, as PhaseState::layouts numbers them.
  std::int64_t heads = 0;              ///< Query heads held.
  std::int64_t kv_heads = 0;           ///< Grouped: KV heads held.
  IndexList kv_of_head;                ///< Grouped: which of them a query head reads,
  std::int64_t group = 0;              ///< or, not 0, so many query heads after another read each.
  IndexList keys;                      ///< Prefill: which of a request's source rows the rank attends to.
  IndexList kept, slots;               ///< Prefill: source rows that go to the cache, and where.
  at::Tensor hidden;                   ///< Prefill: [queries, keys], true where a query must not see a key.
  std::int64_t window = 0;
};

/// One local expert's rows.
struct ExpertRows {
  IndexList tokens;    ///< In the routed tokens (up) or in the output (down).
  IndexList pairs;     ///< In the (token, expert) pairs.
  at::Tensor weights;  ///< Down: [pairs, 1].
};

/// What a task needs beside its inputs, found once from the layouts.
struct TaskPlan {
  bool ready = false;  ///< False: routed, and the routing is not known yet.
  Communicator* group = nullptr;
  std::vector<ExchangePlan> exchanges;  ///< Of the value, and of the second where there is one.
  IndexList rows, columns;              ///< kSlice, kSelectLast, kSelectKeyValue, kLseRescale's second output.
  std::int64_t output_rows = 0, output_columns = 0;
  std::int64_t own = 0;             ///< kLseRescale: this rank among the members.
  at::Tensor cos, sin;              ///< kRotary in prefill: [rows, 1, half].
  std::vector<ExpertRows> experts;  ///< kExpertMatmul.
  std::shared_ptr<const AttentionPlan> attention;
};

/// A task's shards in one layer.
struct TaskWeights {
  at::Tensor matrix, second;
  at::Tensor bias, scale, key_scale;
  std::int64_t first_row = 0;  ///< kEmbed: of the vocabulary.
  std::vector<at::Tensor> experts;
};

/// K and V, or latents, of one layer: [requests, slots, kv heads, head], MLA [requests, slots, latent]; the indexer's
/// keys [requests, slots, index head].
struct LayerCache {
  at::Tensor keys, values, index_keys;
};

/// A run through the model.
struct PassKey {
  Phase phase = Phase::kDecode;
  std::int64_t index = 0;     ///< Of the pass among those of its phase.
  std::int64_t position = 0;  ///< Decode: of the new token.
  auto operator<=>(const PassKey&) const = default;
};

/// One call of a task.
struct Call {
  BlockKind block = BlockKind::kAttention;
  std::int32_t task = 0;
  double seconds = 0;
  double bytes = 0;  ///< Collectives: payload handed over.
};

/// How far the sharded logits are from the unsharded ones.
struct Proof {
  double max_error = 0;          ///< max |logits - reference| / max |reference| of a row, over all rows compared.
  std::int64_t logits_rows = 0;  ///< Copies on several ranks counted each.
  std::int64_t passes = 0;
};

/// What one process has of a strategy: its shards, its caches, and the plan of every task. Runs the program as it is
/// written, each collective a real one. With `reference` weights and token ids are the unsharded model's; without, they
/// are random and nothing can be compared. Throws std::runtime_error where a model has a part that live runs don't
/// know (WhyNotRunnable says which).
class RankProgram {
 public:
  RankProgram(const Problem& problem, const Strategy& strategy, World& world, ReferenceModel* reference);
  ~RankProgram();

  const Program& program() const { return program_; }
  bool idle() const { return replica_ >= replicas_; }
  std::int64_t replica() const { return replica_; }
  std::int64_t stage() const { return stage_; }

  /// All passes as the workload has them: prefill; decode steps on caches taken from the reference; serve: prefill,
  /// then the decode steps on what it left in the caches. Every row of logits is compared.
  Proof Prove();

  /// All micro-batches of a phase once, decode at `position`. Calls are appended to `calls` where it is not null.
  void Step(Phase phase, std::int64_t position, std::vector<Call>* calls);

 private:
  using Requests = std::vector<std::vector<std::int64_t>>;  // [dp][requests of a pass]
  struct PhaseState;

  // rank_program.cc
  std::vector<Requests> MicroBatches(const PhaseProgram& phase) const;
  std::vector<Requests> PrefillPasses(const PhaseProgram& phase) const;
  void MakeCaches();
  void LoadCaches(const PhaseProgram& phase);
  at::Tensor Ids(PhaseState& phase, const Value& value, const Requests& requests, std::int64_t position);
  at::Tensor RunPass(PhaseState& phase, const PassKey& key, const Requests& requests);
  void SendOn(PhaseState& phase, const at::Tensor& residual);
  at::Tensor ReceiveResidual(PhaseState& phase);
  void ReturnIds(PhaseState& phase, const at::Tensor& logits);
  void ReceiveIds(PhaseState& phase, const PassKey& key, const Requests& requests);
  void Compare(PhaseState& phase, const Requests& requests, std::int64_t position, const at::Tensor& logits);
  void Record(BlockKind block, std::size_t task, double started_s, double bytes) const;
  void FinishSends();
  double Now() const;

  // block_plan.cc
  void PlanPhase(PhaseState& state, const PhaseProgram& phase);
  TaskPlan PlanTask(PhaseState& state, const Block& block, const Task& task);
  void PlanCacheRequests(PhaseState& state);
  std::shared_ptr<const AttentionPlan> PlanAttention(PhaseState& state, const Block& block, const Task& task);
  std::shared_ptr<const AttentionPlan> PlanSelection(PhaseState& state, const Block& block, const Task& task);
  void PlanPrefillKeys(PhaseState& state, const CachePlan& cache, const strategies::Tags& rows,
                       const strategies::Tags& source, AttentionPlan* plan);
  void PlanExperts(PhaseState& state, const Block& block, const Task& task, TaskPlan* plan);
  Communicator* GroupOf(const std::vector<std::int64_t>& stage_ranks);

  // task_weights.cc
  at::Tensor Part(const Matrix* whole, const strategies::Tags& in, const strategies::Tags& out);
  at::Tensor Scale(const RowVector* whole, const strategies::Tags& columns);
  TaskWeights WeightsOf(PhaseState& state, const Block& block, const Task& task, const LayerWeights* layer);

  // block_run.cc
  at::Tensor RunBlock(PhaseState& phase, BlockKind kind, std::int64_t layer, const PassKey& key, at::Tensor input);
  void RunTask(PhaseState& phase, const Block& block, const Task& task, const TaskPlan& plan,
               const TaskWeights& weights, std::int64_t layer, const PassKey& key, std::vector<at::Tensor>& values);
  at::Tensor Norm(const at::Tensor& x, const at::Tensor* statistic, const at::Tensor& scale) const;
  at::Tensor QkStatistic(const at::Tensor& qkv) const;
  at::Tensor Rotary(const Value& value, const at::Tensor& x, const at::Tensor* statistic, const TaskPlan& plan,
                    const TaskWeights& weights, std::int64_t position) const;
  void RotateHeads(at::Tensor heads, const TaskPlan& plan, std::int64_t position) const;
  at::Tensor Activation(const at::Tensor& gate) const;
  at::Tensor Route(PhaseState& phase, const Block& block, const Task& task, std::int64_t layer, const PassKey& key,
                   const at::Tensor& hidden, const at::Tensor& scores, const TaskWeights& task_weights);
  void LearnRoutes(PhaseState& phase, const Block& block, const Value& routed, const at::Tensor& experts,
                   const at::Tensor& weights, std::vector<TaskPlan>* plans);

  // attention_run.cc
  std::pair<at::Tensor, at::Tensor> Attention(const Task& task, const TaskPlan& plan, LayerCache& cache,
                                              const IndexList& cache_requests, const PassKey& key,
                                              const std::vector<at::Tensor>& values);
  at::Tensor IndexSelect(const Task& task, const TaskPlan& plan, LayerCache& cache, const IndexList& cache_requests,
                         const PassKey& key, const std::vector<at::Tensor>& values) const;
  std::pair<at::Tensor, at::Tensor> Attend(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                                           const at::Tensor& hidden) const;
  std::pair<at::Tensor, at::Tensor> Rescale(const Block& block, const Task& task, const TaskPlan& plan,
                                            const std::vector<at::Tensor>& values) const;

  const Problem& problem_;
  const ModelSpec& model_;
  const Strategy strategy_;
  World& world_;
  ReferenceModel* reference_;
  const Program program_;
  at::TensorOptions options_;                                               ///< Of activations and weights.
  std::int64_t instance_, replicas_, replica_, stage_, stage_rank_, base_;  ///< base_: world rank of the stage's first.
  std::int64_t kept_requests_ = 0;                                          ///< Requests whose caches this rank keeps.
  std::map<std::int64_t, std::int64_t> cache_request_;  ///< Request of the instance -> its place in the caches.
  std::vector<LayerCache> caches_;
  std::int64_t modulus_ = 1, offset_ = 0;  ///< Positions kept: position mod modulus == offset, at position / modulus.
  at::Tensor cos_, sin_;                   ///< [positions, half]
  std::map<Phase, std::unique_ptr<PhaseState>> phases_;
  std::vector<PendingSend> sends_;
  Proof proof_;
  std::vector<Call>* calls_ = nullptr;
};

}  // namespace shardscout::live
