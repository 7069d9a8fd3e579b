// An exporter of one's own: a plan as a batch script of Slurm for a launcher that knows tensor and pipeline parallelism
// only. What it cannot express is listed, never guessed.

#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/exporter.h"
#include "shardscout/run_search.h"

namespace {

using namespace shardscout;

class SlurmExporter : public Exporter {
 public:
  std::string_view Name() const override { return "slurm"; }

  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override {
    const Pool& pool = plan.pools.front();
    ExportResult result;
    result.target = "slurm";
    result.lowered = pool.strategy;
    if (pool.strategy.context_parallel_size > 1) {
      result.dropped.push_back({"context_parallel_size = " + std::to_string(pool.strategy.context_parallel_size),
                                "context_parallel_size = 1"});
      result.lowered.context_parallel_size = 1;
    }
    // The lowered strategy need not be valid any more; an exporter for others to use checks that first.
    if (!result.dropped.empty() && reevaluate) result.lowered_evaluation = reevaluate(result.lowered);
    const Problem problem = ParseProblem(plan.problem_json, "plan");
    const std::int64_t devices = result.lowered.InstanceSize(), per_node = problem.cluster().devices_per_node;
    std::ostringstream script;
    script << "#!/bin/bash\n"
           << "#SBATCH --nodes=" << (devices + per_node - 1) / per_node << "\n"
           << "#SBATCH --ntasks=" << devices << "\n"
           << "#SBATCH --array=1-" << pool.replicas << "\n"
           << "srun serve --model " << plan.model_name << " --tp " << result.lowered.tensor_parallel_size << " --pp "
           << result.lowered.pipeline_parallel_size << "\n";
    result.files.push_back({"serve.sbatch", script.str()});
    result.command = "sbatch serve.sbatch";
    return result;
  }
};

}  // namespace

int main() {
  const Problem problem(LoadModel("llama-3.1-70b"), LoadCluster("h100-sxm", 32), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  const SearchReport report = RunSearch(problem, {.searcher = "annealing", .budget = 1000}, searchers, evaluators);
  if (!report.plan) return 1;
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  exporters.Register(std::make_unique<SlurmExporter>());
  const auto evaluator = evaluators.Make("analytical", problem);
  const ExportResult result = exporters.Get("slurm").Export(
      *report.plan, [&](const Strategy& strategy) { return evaluator->Evaluate(strategy); });
  std::cout << result.files.front().text;
  return result.files.front().text.find("--tp ") == std::string::npos ? 1 : 0;
}
