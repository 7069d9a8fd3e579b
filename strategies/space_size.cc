#include <cmath>
#include <unordered_map>

#include "strategies/space_impl.h"

namespace shardscout {
namespace {

/// Degrees are enumerated one by one up to this many (pp, tp, cp, dp); past it only powers of two are, and the count is
/// a lower bound.
constexpr double kMaxEnumerated = 4e6;

bool PowerOfTwo(std::int64_t n) { return (n & (n - 1)) == 0; }

}  // namespace

/// For given degrees the layer variables are independent but for the FFN shardings and their group, so that their
/// counts multiply. What the degrees decide for them is little: the key below. Batches and micro-batches are summed.
SpaceSize StrategySpace::Impl::Count() const {
  auto of = [&](Variable v) -> const std::vector<std::int64_t>& { return values[static_cast<std::size_t>(v)]; };

  auto options = [&](const Strategy& s, int v) {
    double n = 0;
    for (std::int64_t value : values[static_cast<std::size_t>(v)]) n += LayerValueAllowed(s, v, value) ? 1 : 0;
    return n;
  };
  const int ffn_up = kFirstShardingVariable + static_cast<int>(Operator::kFfnUp);
  const int ffn_down = kFirstShardingVariable + static_cast<int>(Operator::kFfnDown);
  auto layer_count = [&](const Strategy& s) {
    double product = 1;
    for (int v = static_cast<int>(Variable::kResidualLayout); v < kNumVariables && product > 0; ++v) {
      if (v == ffn_up || v == ffn_down || v == static_cast<int>(Variable::kDenseFfnGroup)) continue;
      product *= options(s, v);
    }
    double ffn = 0;
    for (std::int64_t group : of(Variable::kDenseFfnGroup)) {
      if (!LayerValueAllowed(s, static_cast<int>(Variable::kDenseFfnGroup), group)) continue;
      Strategy with = s;
      with.dense_ffn_group = static_cast<DenseFfnGroup>(group);
      ffn += options(with, ffn_up) * options(with, ffn_down);
    }
    return product * ffn;
  };
  const bool stage_matters = problem.model().HasDense();
  std::unordered_map<std::uint64_t, double> memo;
  auto memoised = [&](const Strategy& s) {
    const bool reduce = s.BlockSize() % s.tensor_parallel_size == 0;
    const auto key = (static_cast<std::uint64_t>(s.tensor_parallel_size) << 44) ^
                     (static_cast<std::uint64_t>(stage_matters ? s.StageSize() : 0) << 24) ^
                     (static_cast<std::uint64_t>(s.expert_tensor_parallel_size) << 8) ^ (s.BlockSize() == 1 ? 1U : 0U) ^
                     (reduce ? 2U : 0U) ^ (rules.TokensSplit(s) ? 4U : 0U) ^ (rules.RequestsSplit(s) ? 8U : 0U) ^
                     (s.data_parallel_size > 1 ? 16U : 0U);
    const auto [found, is_new] = memo.try_emplace(key, 0.0);
    if (is_new) found->second = layer_count(s);
    return found->second;
  };

  const double n = static_cast<double>(problem.cluster().num_devices);
  const double log_n = std::log(n + 1);
  const bool concurrency = problem.workload().concurrency.has_value();
  // The number of products of three (with a pipeline: four) factors up to n.
  const double expected = n * log_n * log_n / 2 * (concurrency ? log_n / 3 : 1);
  SpaceSize size;
  size.exact = expected <= kMaxEnumerated;

  // (batch, micro-batches) pairs by what they decide, for one tp and cp, with and without a pipeline.
  struct BatchClass {
    Strategy representative;
    double pairs = 0;
  };
  auto batch_classes = [&](const Strategy& degrees) {
    std::vector<BatchClass> classes;
    Strategy s = degrees;
    for (std::int64_t batch : Batches(degrees)) {
      s.batch_size = batch;
      for (std::int64_t m : of(Variable::kNumMicrobatches)) {
        if (m > batch || (m > 1 && degrees.pipeline_parallel_size == 1)) break;
        s.num_microbatches = m;
        if (!rules.BatchSplits(s)) continue;
        bool merged = false;
        for (BatchClass& c : classes) {
          if (rules.TokensSplit(c.representative) != rules.TokensSplit(s)) continue;
          if (rules.RequestsSplit(c.representative) != rules.RequestsSplit(s)) continue;
          c.pairs += 1;
          merged = true;
          break;
        }
        if (!merged) classes.push_back({s, 1});
      }
    }
    return classes;
  };

  const std::int64_t devices = problem.cluster().num_devices;
  auto count_meshes = [&](Strategy s, const std::vector<BatchClass>& classes, double pipelines) {
    for (const ExpertMesh& mesh : expert_meshes) {
      if (s.StageSize() % (mesh.ep * mesh.etp) != 0) continue;
      double strategies = 0;
      for (const BatchClass& c : classes) {
        Strategy with = c.representative;
        with.data_parallel_size = s.data_parallel_size;
        with.expert_parallel_size = mesh.ep;
        with.expert_tensor_parallel_size = mesh.etp;
        strategies += c.pairs * memoised(with);
      }
      if (strategies > 0) {
        size.degree_tuples += pipelines;
        size.strategies += pipelines * strategies;
      }
    }
  };

  Strategy s;
  for (std::int64_t tp : of(Variable::kTensorParallelSize)) {
    if (!size.exact && !PowerOfTwo(tp)) continue;
    s.tensor_parallel_size = tp;
    for (std::int64_t cp : of(Variable::kContextParallelSize)) {
      if (tp * cp > devices) break;
      if (!size.exact && !PowerOfTwo(cp)) continue;
      s.context_parallel_size = cp;
      std::vector<BatchClass> without, with;
      if (!concurrency) {
        s.pipeline_parallel_size = 1;
        without = batch_classes(s);
        s.pipeline_parallel_size = 2;
        with = batch_classes(s);
      }
      for (std::int64_t dp : of(Variable::kDataParallelSize)) {
        if (tp * cp * dp > devices) break;
        if (!size.exact && !PowerOfTwo(dp)) continue;
        s.data_parallel_size = dp;
        double pipelines = 0;
        for (std::int64_t pp : of(Variable::kPipelineParallelSize)) {
          if (tp * cp * dp * pp > devices) break;
          s.pipeline_parallel_size = pp;
          if (concurrency) {
            count_meshes(s, batch_classes(s), 1);
          } else if (pp == 1) {
            count_meshes(s, without, 1);
          } else {
            pipelines += 1;
          }
        }
        s.pipeline_parallel_size = 2;
        if (pipelines > 0) count_meshes(s, with, pipelines);
      }
    }
  }
  return size;
}

}  // namespace shardscout
