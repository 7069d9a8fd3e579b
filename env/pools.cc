#include "env/pools.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "shardscout/collective_time.h"
#include "shardscout/error.h"
#include "shardscout/strategy_space.h"

namespace shardscout::env {
namespace {

/// What a request has whatever its length.
double StateBytes(const ModelSpec& model) {
  return LinearStateBytes(model) * static_cast<double>(model.linear_attention_layers.size());
}

double CacheBytesPerToken(const ModelSpec& model) {
  return static_cast<double>(KvElementsPerToken(model)) * BytesPerElement(model.kv_dtype) +
         static_cast<double>(IndexCacheBytesPerToken(model)) * static_cast<double>(model.layers.size());
}

std::int64_t HoldersOfARequest(const Strategy& strategy) {
  return strategy.InstanceSize() / strategy.data_parallel_size;
}

/// Whether the pool's instances lie in the network's parts as they do where the first device is 0.
bool LiesAsAlone(const ClusterSpec& cluster, const Pool& pool, std::int64_t first) {
  const std::int64_t instance = pool.strategy.InstanceSize(), devices = pool.replicas * instance;
  const auto as_alone = [&](const NetworkTier& tier) {
    if (tier.size == 0 || first % tier.size == 0) return true;
    const bool nested = tier.size % instance == 0 && first % instance == 0;
    return nested || first % tier.size + devices <= tier.size;
  };
  return std::all_of(cluster.tiers.begin(), cluster.tiers.end(), as_alone);
}

}  // namespace

Problem PoolProblem(const Problem& problem, const Pool& pool, WorkloadKind kind) {
  ClusterSpec cluster = problem.cluster();
  cluster.num_devices = pool.replicas * pool.strategy.InstanceSize();
  WorkloadSpec workload = problem.workload();
  workload.kind = kind;
  workload.requests.reset();
  workload.concurrency.reset();
  workload.batch_size = pool.strategy.batch_size;
  workload.ttft_target_s = workload.tpot_target_s = std::nullopt;
  const ProblemOptions options{.fixed = {},
                               .admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked}};
  return Problem(problem.model(), cluster, workload, options);
}

void CheckPool(const Problem& pool_problem, const Strategy& strategy, WorkloadKind kind) {
  const std::string broken = StrategySpace(pool_problem).WhyNot(strategy);
  if (!broken.empty()) throw SpecError("the pool for " + std::string(ToString(kind)), broken);
}

void PutPools(const Problem& problem, const EvaluatedPool& prefill, const EvaluatedPool& decode,
              Evaluation& evaluation) {
  const auto less_filled = [](const MemoryUse& a, const MemoryUse& b) {
    return a.TotalBytes() / a.limit_bytes < b.TotalBytes() / b.limit_bytes;
  };
  evaluation.memory = std::max(prefill.alone.memory, decode.alone.memory, less_filled);
  Metrics& metrics = evaluation.metrics;
  metrics.replicas = prefill.pool.replicas + decode.pool.replicas;
  metrics.idle_devices = problem.cluster().num_devices - prefill.pool.replicas * prefill.pool.strategy.InstanceSize() -
                         decode.pool.replicas * decode.pool.strategy.InstanceSize();
}

double TransferTime(const Problem& problem, const Strategy& prefill, const Strategy& decode,
                    std::int64_t first_decode_device, std::int64_t tokens) {
  const ClusterSpec& cluster = problem.cluster();
  const std::vector<GroupSpan> way = SpansOf(cluster, {2, first_decode_device}, first_decode_device, 2);
  const double holders = static_cast<double>(std::min(HoldersOfARequest(prefill), HoldersOfARequest(decode)));
  const double bytes = CacheBytesPerToken(problem.model()) * static_cast<double>(tokens) + StateBytes(problem.model());
  return CollectiveTime(cluster, Collective::kSendRecv, bytes / holders, way);
}

std::int64_t FirstDecodeDevice(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode) {
  std::int64_t first = prefill.replicas * prefill.strategy.InstanceSize();
  while (!LiesAsAlone(cluster, decode, first)) ++first;
  return first;
}

std::int64_t DevicesOf(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode) {
  return FirstDecodeDevice(cluster, prefill, decode) + decode.replicas * decode.strategy.InstanceSize();
}

}  // namespace shardscout::env
