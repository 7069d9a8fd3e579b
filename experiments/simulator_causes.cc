// How far the simulator is from the analytical model, and why: the proved analytical optimum of each problem of a
// suite, evaluated with one cause more at a time. Each column is the objective over the analytical model's, turned so
// that above 1 is better. CSV on stdout. experiments/README.md has the command and the figures.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "env/simulator/simulator_evaluator.h"
#include "experiments/guarded_main.h"
#include "shardscout/error.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"
#include "shardscout/search_suite.h"

namespace shardscout {
namespace {

class Causes {
 public:
  explicit Causes(const SuiteProblem& suite_problem)
      : name_(suite_problem.name), problem_(LoadProblem(suite_problem, "suite", nullptr)) {
    SearcherRegistry searchers;
    RegisterBuiltinSearchers(searchers);
    EvaluatorRegistry evaluators;
    RegisterBuiltinEvaluators(evaluators);
    SearchRequest request;
    request.searcher = "exact";
    const SearchReport report = RunSearch(problem_, request, searchers, evaluators);
    SHARDSCOUT_CHECK_OP(report.best.has_value(), ==, true);
    strategy_ = report.best->strategy;
    analytical_ = ValueOf(report.best->evaluation);
  }

  void Print() const {
    const WorkloadSpec& workload = problem_.workload();
    std::cout << name_ << ',' << strategy_.pipeline_parallel_size << ',' << Simulated(workload, {.reference = true})
              << ',' << Simulated(workload, {.contention = false}) << ',' << Simulated(workload, {});
    for (const double skew : {0.0, 0.5}) {
      WorkloadSpec drawn = workload;
      drawn.expert_skew = skew;
      std::cout << ',';
      if (problem_.model().HasMoe()) std::cout << Simulated(drawn, {});
    }
    for (const Overlap overlap : {Overlap::kTwoBatch, Overlap::kChunked}) {
      std::cout << ',' << Simulated(workload, {}, overlap);
    }
    std::cout << ',';
    if (workload.kind == WorkloadKind::kServe) {
      WorkloadSpec one_by_one = workload;
      one_by_one.requests.emplace();
      std::cout << Simulated(one_by_one, {});
    }
    std::cout << std::endl;
  }

 private:
  ObjectiveValue ValueOf(const Evaluation& evaluation) const {
    return ObjectiveOf(evaluation, problem_.workload().objective, problem_.workload().kind);
  }

  double Simulated(const WorkloadSpec& workload, env::SimulatorOptions options,
                   Overlap overlap = Overlap::kNone) const {
    const Problem problem(problem_.model(), problem_.cluster(), workload, problem_.options());
    Strategy strategy = strategy_;
    strategy.overlap = overlap;
    return ValueOf(env::SimulatorEvaluator(problem, options).Evaluate(strategy)).TimesAsGoodAs(analytical_.value);
  }

  std::string name_;
  Problem problem_;
  Strategy strategy_;
  ObjectiveValue analytical_;
};

int Main(int argc, char** argv) {
  std::cout << "problem,stages,reference,sends_beside_work,contention,drawn_routing,drawn_routing_skew_0.5,two_batch,"
               "chunked,requests\n";
  for (const SuiteProblem& problem : LoadSuite(argc > 1 ? argv[1] : "standard").problems) Causes(problem).Print();
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc, argv); });
}
