#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "strategies/space_impl.h"

namespace shardscout {
namespace {

/// Degrees are enumerated one by one up to this many (pp, tp, cp, dp); past it only powers of two are, and the count is
/// a lower bound.
constexpr double kMaxEnumerated = 4e6;

/// The same of a framework's space and of training's, which are gone through one by one: up to this many devices.
constexpr double kMaxFramedDevices = 512;

/// The same of Shardy's, which leaves nearly all degrees and shardings.
constexpr double kMaxShardyDevices = 64;

bool PowerOfTwo(std::int64_t n) { return (n & (n - 1)) == 0; }

}  // namespace

/// For given degrees the layer variables are independent but for the FFN shardings and their group, so that their
/// counts multiply. What the degrees decide for them is little: the tables below. Batches and micro-batches are summed.
SpaceSize StrategySpace::Impl::Count() const {
  // Chunks depend on micro-batches and stages, and batches on dp.
  if (Framed() || problem.workload().IsTraining()) return CountFramed();
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
  const double n = static_cast<double>(problem.cluster().num_devices);
  const double log_n = std::log(n + 1);
  const bool concurrency = problem.workload().WholeBatch().has_value();
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
        if (m > batch || (m > 1 && degrees.pipeline_parallel_size == 1 && !problem.workload().IsTraining())) break;
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

  // What a tp decides: a number for each set of answers that the rules give, whatever the batch.
  std::map<std::vector<bool>, std::size_t> patterns;
  auto pattern_of = [&](std::int64_t tp) {
    std::vector<bool> answers = {tp == 1};
    Strategy s;
    s.tensor_parallel_size = tp;
    for (Layout layout : {Layout::kReplicated, Layout::kFeatureSharded}) answers.push_back(rules.Residual(s, layout));
    for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
      const auto op = static_cast<Operator>(i);
      for (Sharding sharding : AdmittedShardings(op)) {
        if (sharding != Sharding::kToken) answers.push_back(rules.Admits(s, op, sharding));
      }
    }
    for (const ExpertMesh& mesh : expert_meshes) answers.push_back(mesh.ep * mesh.etp % tp == 0);
    return patterns.emplace(std::move(answers), patterns.size()).first->second;
  };
  // What the size of a stage decides beside.
  constexpr std::size_t kStageAnswers = 16;
  auto stage_answers = [&](const Strategy& s) {
    const ModelSpec& model = problem.model();
    const std::int64_t block = model.DenseFfnQuantBlock();
    return (s.context_parallel_size * s.data_parallel_size > 1 ? 1U : 0U) + (s.data_parallel_size > 1 ? 2U : 0U) +
           (model.HasDense() && strategies::Splits(model.ffn_size, s.StageSize(), block) ? 4U : 0U) +
           (model.HasDense() && strategies::Splits(model.hidden_size, s.StageSize(), block) ? 8U : 0U);
  };

  // Strategies of the layer variables, batches and micro-batches by expert mesh and stage_answers; < 0: not counted
  // yet. One table for each pattern and list of batch classes.
  using Table = std::vector<std::array<double, kStageAnswers>>;
  std::map<std::vector<double>, Table> tables;
  auto table_of = [&](std::size_t pattern, const std::vector<BatchClass>& classes) -> Table& {
    std::vector<double> key = {static_cast<double>(pattern)};
    for (const BatchClass& c : classes) {
      key.insert(key.end(), {c.pairs, rules.TokensSplit(c.representative) ? 1.0 : 0.0,
                             rules.RequestsSplit(c.representative) ? 1.0 : 0.0});
    }
    Table& table = tables[std::move(key)];
    if (table.empty()) {
      table.resize(expert_meshes.size());
      for (auto& row : table) row.fill(-1);
    }
    return table;
  };

  const std::int64_t devices = problem.cluster().num_devices;
  auto count_meshes = [&](const Strategy& s, const std::vector<BatchClass>& classes, Table& table, double pipelines) {
    const std::size_t answers = stage_answers(s);
    for (std::size_t i = 0; i < expert_meshes.size(); ++i) {
      const ExpertMesh& mesh = expert_meshes[i];
      if (s.StageSize() % (mesh.ep * mesh.etp) != 0) continue;
      double& strategies = table[i][answers];
      if (strategies < 0) {
        strategies = 0;
        for (const BatchClass& c : classes) {
          Strategy with = c.representative;
          with.tensor_parallel_size = s.tensor_parallel_size;
          with.context_parallel_size = s.context_parallel_size;
          with.data_parallel_size = s.data_parallel_size;
          with.expert_parallel_size = mesh.ep;
          with.expert_tensor_parallel_size = mesh.etp;
          strategies += c.pairs * layer_count(with);
        }
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
    const std::size_t pattern = pattern_of(tp);
    std::vector<BatchClass> without, with;
    for (std::int64_t cp : of(Variable::kContextParallelSize)) {
      if (tp * cp > devices) break;
      if (!size.exact && !PowerOfTwo(cp)) continue;
      s.context_parallel_size = cp;
      // In prefill a batch does not split over cp.
      if (!concurrency && (with.empty() || problem.workload().HasPhase(Phase::kDecode))) {
        s.pipeline_parallel_size = 1;
        without = batch_classes(s);
        s.pipeline_parallel_size = 2;
        with = batch_classes(s);
      }
      Table& table_without = table_of(pattern, without);
      Table& table_with = table_of(pattern, with);
      for (std::int64_t dp : of(Variable::kDataParallelSize)) {
        if (tp * cp * dp > devices) break;
        if (!size.exact && !PowerOfTwo(dp)) continue;
        s.data_parallel_size = dp;
        double pipelines = 0;
        for (std::int64_t pp : of(Variable::kPipelineParallelSize)) {
          if (tp * cp * dp * pp > devices) break;
          s.pipeline_parallel_size = pp;
          if (concurrency) {
            const std::vector<BatchClass> classes = batch_classes(s);
            count_meshes(s, classes, table_of(pattern, classes), 1);
          } else if (pp == 1) {
            count_meshes(s, without, table_without, 1);
          } else {
            pipelines += 1;
          }
        }
        s.pipeline_parallel_size = 2;
        if (pipelines > 0) count_meshes(s, with, table_with, pipelines);
      }
    }
  }
  return size;
}

/// Chunks decide how the layers may be split and how many of them computed again; ZeRO stands alone.
double StrategySpace::Impl::CountTraining(const Strategy& strategy) const {
  auto of = [&](Variable v) -> const std::vector<std::int64_t>& { return values[static_cast<std::size_t>(v)]; };
  Strategy s = strategy;
  const auto admitted = [&](Variable v) { return [&, v](std::int64_t value) { return rules.Training(s, v, value); }; };
  const auto& zero = of(Variable::kZeroStage);
  double count = 0;
  for (const std::int64_t chunks : of(Variable::kVirtualPipelineParallelSize)) {
    if (!rules.Training(s, Variable::kVirtualPipelineParallelSize, chunks)) continue;
    s.virtual_pipeline_parallel_size = chunks;
    for (const std::int64_t head : of(Variable::kHeadLayers)) {
      if (!rules.Training(s, Variable::kHeadLayers, head)) continue;
      s.head_layers = head;
      for (const std::int64_t again : of(Variable::kRecomputation)) {
        if (!rules.Training(s, Variable::kRecomputation, again)) continue;
        s.recomputation = static_cast<Recomputation>(again);
        const auto& layers = of(Variable::kRecomputedLayers);
        const auto end = std::partition_point(layers.begin(), layers.end(), admitted(Variable::kRecomputedLayers));
        count += static_cast<double>(end - layers.begin());
      }
    }
    s.head_layers = 0;
  }
  return count * static_cast<double>(std::count_if(zero.begin(), zero.end(), admitted(Variable::kZeroStage)));
}

/// A framework leaves so few degrees and layer variables that they are gone through one by one. The layer variables
/// that are left do not depend on each other, but for the FFN's on their group.
SpaceSize StrategySpace::Impl::CountFramed() const {
  auto of = [&](Variable v) -> const std::vector<std::int64_t>& { return values[static_cast<std::size_t>(v)]; };
  const int ffn_up = kFirstShardingVariable + static_cast<int>(Operator::kFfnUp);
  const int ffn_down = kFirstShardingVariable + static_cast<int>(Operator::kFfnDown);
  auto options = [&](const Strategy& s, int v) {
    const auto& candidates = values[static_cast<std::size_t>(v)];
    return static_cast<double>(std::count_if(candidates.begin(), candidates.end(),
                                             [&](std::int64_t value) { return LayerValueAllowed(s, v, value); }));
  };
  auto layer_count = [&](const Strategy& s) {
    double product = problem.workload().IsTraining() ? CountTraining(s) : 1;
    for (int v = static_cast<int>(Variable::kResidualLayout); v < kNumInferenceVariables && product > 0; ++v) {
      if (v != ffn_up && v != ffn_down && v != static_cast<int>(Variable::kDenseFfnGroup)) product *= options(s, v);
    }
    double ffn = 0;
    Strategy with = s;
    for (const std::int64_t group : of(Variable::kDenseFfnGroup)) {
      if (!LayerValueAllowed(s, static_cast<int>(Variable::kDenseFfnGroup), group)) continue;
      with.dense_ffn_group = static_cast<DenseFfnGroup>(group);
      ffn += options(with, ffn_up) * options(with, ffn_down);
    }
    return product * ffn;
  };
  SpaceSize size;
  auto count_batches = [&](Strategy s) {
    double strategies = 0;
    for (const std::int64_t batch : Batches(s)) {
      s.batch_size = batch;
      for (const std::int64_t m : of(Variable::kNumMicrobatches)) {
        if (m > batch) break;
        s.num_microbatches = m;
        if (rules.Microbatches(s) && rules.BatchSplits(s)) strategies += layer_count(s);
      }
    }
    size.degree_tuples += strategies > 0 ? 1 : 0;
    size.strategies += strategies;
  };
  const std::int64_t devices = problem.cluster().num_devices;
  const bool shardy = problem.options().framework == Framework::kShardy;
  size.exact = static_cast<double>(devices) <= (shardy ? kMaxShardyDevices : kMaxFramedDevices);
  const auto left_out = [&](std::int64_t degree) { return !size.exact && !PowerOfTwo(degree); };
  Strategy s;
  for (const std::int64_t tp : of(Variable::kTensorParallelSize)) {
    if (left_out(tp)) continue;
    s.tensor_parallel_size = tp;
    for (const std::int64_t cp : of(Variable::kContextParallelSize)) {
      if (tp * cp > devices) break;
      if (left_out(cp)) continue;
      s.context_parallel_size = cp;
      for (const std::int64_t dp : of(Variable::kDataParallelSize)) {
        if (tp * cp * dp > devices) break;
        if (left_out(dp)) continue;
        s.data_parallel_size = dp;
        for (const std::int64_t pp : of(Variable::kPipelineParallelSize)) {
          if (tp * cp * dp * pp > devices) break;
          s.pipeline_parallel_size = pp;
          if (!rules.Degrees(s)) continue;
          for (const ExpertMesh& mesh : expert_meshes) {
            s.expert_parallel_size = mesh.ep;
            s.expert_tensor_parallel_size = mesh.etp;
            if (rules.ExpertMesh(s)) count_batches(s);
          }
        }
      }
    }
  }
  return size;
}

}  // namespace shardscout
