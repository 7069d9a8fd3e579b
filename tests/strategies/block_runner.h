#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/program.h"
#include "tests/strategies/interpreter_names.h"

namespace shardscout::interpret {

/// What one rank holds of a value: [rows, columns], named by tags.
struct Local {
  TagsPtr rows;
  TagsPtr columns;
  Matrix data;
  /// Routing that travels with the rows. kRouted: [rows, 2k], expert numbers and then weights. The experts' kGate and
  /// kFfn: [rows, 1], the weight. Else empty.
  Matrix meta;
};
using LocalPtr = std::shared_ptr<const Local>;

/// A value over all ranks of a stage, with what is left to do before it is whole, found from the tasks and not from the
/// values' own flags.
struct Held {
  std::vector<LocalPtr> at;
  std::uint8_t partial = kPartialNone;   ///< PartialOver bits.
  std::uint8_t unmerged = kPartialNone;  ///< Axes over which attention outputs wait for a log-sum-exp merge.
};

/// K and V (or latents) that a rank keeps of one request.
struct CacheEntry {
  Tags columns;  ///< Of kKeyValue or kLatent.
  std::vector<std::int64_t> positions;
  Matrix data;  ///< [positions, columns]
};
/// [rank], request -> entry
using LayerCache = std::vector<std::map<std::int64_t, CacheEntry>>;

/// What a rank has of linear attention: value heads, and columns of kLinearQkv that the convolution works on.
struct LinearParts {
  Tags heads, channels;
  bool operator==(const LinearParts&) const = default;
};

/// The state of linear attention that a rank keeps of one request.
struct LinearState {
  std::int64_t positions = 0;  ///< Seen so far.
  LinearParts parts;
  Matrix inputs;              ///< [conv_width - 1, channels], the latest last.
  std::vector<Matrix> heads;  ///< [key_head_dim, value_head_dim] each.
};
/// [rank], request -> state
using LinearStates = std::vector<std::map<std::int64_t, LinearState>>;

/// One layer as the ranks hold it between blocks.
struct LayerState {
  const LayerWeights* weights = nullptr;
  std::int64_t window = 0;  ///< ModelSpec::WindowOf
  LayerCache* cache = nullptr;
  LayerCache* index_cache = nullptr;  ///< The indexer's keys; columns are empty.
  LinearStates* linear_states = nullptr;
};

/// Runs one block on all ranks of a stage, task by task, and verifies after each task that what the ranks hold is what
/// its values say. Throws InterpretError naming the task.
class BlockRunner {
 public:
  /// `layer` is empty for embedding and head.
  BlockRunner(const ModelSpec& model, const Strategy& strategy, const ModelWeights& weights, LayerState layer,
              Layouts* layouts)
      : model_(model),
        strategy_(strategy),
        weights_(weights),
        layer_(layer.weights),
        window_(layer.window),
        cache_(layer.cache),
        index_cache_(layer.index_cache),
        linear_states_(layer.linear_states),
        layouts_(*layouts),
        pass_(layouts->pass()) {}

  /// `where` begins every error message.
  Held Run(const Block& block, Held input, const std::string& where);

  /// Columns of the cache of `rank` under `plan`.
  TagsPtr CacheColumns(const CachePlan& plan, std::int64_t rank);

  /// What a rank has of linear attention under `plan`.
  LinearParts LinearPartsOf(const CachePlan& plan, std::int64_t rank);

  /// Verifies that `held` is laid out as `value` says: rows, columns, sizes, partial flags.
  void CheckValue(const Value& value, const Held& held);

  /// Bytes that the fullest rank sends when all that it holds of `value` is sent.
  double SentBytes(const Value& value, const Held& held) const;

 private:
  friend class GradientRunner;

  [[noreturn]] void Fail(const std::string& message) const;
  const Value& ValueOf(ValueId id) const;
  const Held& HeldOf(ValueId id) const;
  void Define(ValueId id, Held held);

  // block_runner.cc
  void CheckTags(const Value& value, std::int64_t rank, const Local& local) const;
  bool SameSummands(std::uint8_t a, std::uint8_t b) const;
  void CheckReduction(std::uint8_t in, std::uint8_t out, const Group& group) const;
  void CheckWeights(const Block& block) const;

  // collectives.cc
  void RunCollective(const Task& task);
  Held Exchange(const Task& task, ValueId input, ValueId output, std::vector<double>* payload_bytes);
  void ExchangeGroup(const Task& task, const Value& in, const Held& from, const Value& out, bool reduce,
                     const std::vector<std::int64_t>& members, Held* to, std::vector<double>* elements);
  Local Sum(const std::vector<const Local*>& members) const;
  Local Union(const std::vector<const Local*>& members, bool copies_allowed) const;
  Local StackCopies(const std::vector<const Local*>& members) const;
  Local Cut(const Local& local, const TagsPtr& rows, const TagsPtr& columns) const;

  // compute.cc
  void RunCompute(const Task& task);
  std::pair<std::uint8_t, std::uint8_t> FlagsAfter(const Task& task) const;
  bool DependsOnRank(const Task& task) const;
  std::pair<Local, Local> Compute(const Task& task, std::int64_t rank);
  Local Embed(const Task& task, const Local& ids, std::int64_t rank);
  Local NormStatistic(const Local& x) const;
  Local Loss(const Local& logits) const;
  Local Norm(const Task& task, const Local& x, const Local* statistic) const;
  Local Matmul(const Task& task, const Local& x, std::int64_t rank);
  /// `statistic`: kQkStatistic, null without.
  Local Rotary(const Value& value, const Local& x, const Local* statistic) const;
  Local QkStatistic(const Local& qkv) const;
  Local UpProject(const Local& query, const Local& latent);
  Local AbsorbKey(const Local& query);
  Local ValueProject(const Local& attended);
  std::pair<Local, Local> SelectKeyValue(const Task& task, std::int64_t rank) const;
  Local Activation(const Local& gate, FfnKind ffn) const;
  Local Route(const Local& hidden, const Local& scores) const;
  Local ExpertUp(const Task& task, const Local& routed, std::int64_t rank);
  Local ExpertDown(const Task& task, const Local& ffn, std::int64_t rank);
  Local Add(const Local& a, const Local& b) const;
  std::pair<Local, Local> LseRescale(const Task& task, std::int64_t rank) const;
  const Matrix& WeightOf(const Task& task) const;
  Matrix WeightPart(const Task& task, const Matrix& weight, const Tags& in, const Tags& out);
  void Use(WeightKind kind, FfnKind ffn, double elements);
  Tags HeadsOf(const Tags& columns, std::int64_t size, std::int64_t first = 0) const;

  // compute_attention.cc
  struct Keys {
    std::vector<std::int64_t> positions;
    const Tags* columns = nullptr;  ///< Of `data`: kKeyValue's, null for MLA decode.
    Matrix data;
    Matrix latent;  ///< MLA.
  };
  std::pair<Local, Local> Attention(const Task& task, std::int64_t rank);
  Local OwnKeyValue(const Local& qkv) const;
  Keys PrefillKeys(const CachePlan& plan, std::int64_t rank, std::int64_t request, const Local& kv,
                   const Local* latent) const;
  void AppendToCache(const CachePlan& plan, std::int64_t rank, const Local& source);
  /// `selection`: the indexer's, as rows of q; null without.
  void Attend(const Local& q, Eigen::Index first, Eigen::Index count, const Keys& keys, const Local* selection,
              Matrix* attended, Matrix* lse) const;
  Local IndexSelect(const Task& task, std::int64_t rank);
  std::pair<Local, Local> SplitGate(const Local& gated) const;
  Local GateOutput(const Local& attended, const Local& gate) const;
  void CheckPositions(const CachePlan& plan, std::int64_t rank, std::int64_t position, const Keys& keys) const;

  // compute_linear_attention.cc
  Local LinearAttention(const Task& task, std::int64_t rank);

  const ModelSpec& model_;
  const Strategy& strategy_;
  const ModelWeights& weights_;
  const LayerWeights* layer_;
  std::int64_t window_;
  LayerCache* cache_;
  LayerCache* index_cache_;
  LinearStates* linear_states_;
  Layouts& layouts_;
  const Pass& pass_;

  const Block* block_ = nullptr;
  std::string where_;
  std::vector<Held> held_;
  std::map<std::pair<WeightKind, FfnKind>, double> used_;  ///< Elements of the rank that uses most.
};

/// First local index of the columns [first, first + count), or -1 when any of them is missing.
Eigen::Index FindColumns(const Tags& columns, Tag first, std::int64_t count);

}  // namespace shardscout::interpret
