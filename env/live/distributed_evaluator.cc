#include "env/live/worker_pool.h"
#include "shardscout/live_run.h"
#include "shardscout/plan.h"

namespace shardscout {

struct DistributedEvaluator::Impl {
  live::WorkerPool pool;
};

DistributedEvaluator::DistributedEvaluator(const LiveOptions& options)
    : impl_(new Impl{live::WorkerPool(live::PoolOptionsOf(options))}) {}
DistributedEvaluator::~DistributedEvaluator() = default;

std::vector<Evaluation> DistributedEvaluator::Evaluate(const Problem& problem, const std::string& evaluator,
                                                       std::span<const Strategy> strategies) {
  return impl_->pool.Evaluate({ToJson(problem), evaluator, {strategies.begin(), strategies.end()}});
}

}  // namespace shardscout
