// Settings and commands of a framework: read, and priced on small models.

#include "shardscout/deployment.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

Evaluation Anything(const Strategy& strategy) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = static_cast<double>(strategy.batch_size);
  return evaluation;
}

void Run(std::string_view text) {
  static_cast<void>(LooksLikeDeployment(text));
  for (const ModelSpec& model : {testing::MoeModel(), testing::DenseModel()}) {
    Accepted([&] {
      const Problem problem = testing::SmallProblem(model, 16, WorkloadKind::kDecode, 8);
      for (const Deployment& deployment : ReadDeployments(text, kPlace, &problem.model())) {
        Accepted([&] {
          const DeployedStrategy deployed = StrategyOf(problem, deployment, Anything);
          FUZZ_EXPECT(deployed.strategy.InstanceSize() <= 16);
        });
      }
    });
  }
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
