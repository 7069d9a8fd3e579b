#include "src/frameworks/leader_worker_set.h"

#include "shardscout/deployment.h"
#include "tests/src/export/written_plans.h"
#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::exporters {
namespace {

using frameworks::BreakingCase;
using frameworks::LeaderWorkerSetArguments;

TEST(LeaderWorkerSetRules, EachIsBrokenByItsCase) {
  frameworks::ExpectEachIsBroken<LeaderWorkerSetArguments>(
      frameworks::LeaderWorkerSetRules(),
      {{"lws.name", "llama-3.1-8b", {.name = "llama-3.1"}},
       {"lws.counts", "llama-3.1-8b", {.size = 0}},
       {"lws.counts", "llama-3.1-8b", {.replicas = -1}},
       {"lws.devices", "llama-3.1-8b", {.size = 2, .gpus_per_pod = 8, .instance_devices = 12}},
       {"lws.policies", "llama-3.1-8b", {.restart_policy = "Always"}},
       {"lws.policies", "llama-3.1-8b", {.startup_policy = "Leader"}}});
}

Problem MakeProblem(const char* model, const char* workload, std::int64_t devices) {
  return {LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload)};
}

TEST(LeaderWorkerSetExport, OneEngineOverTwoNodes) {
  const Problem problem = MakeProblem("llama-3.1-405b", "decode-chat", 32);
  Strategy s;
  s.tensor_parallel_size = 8;
  s.pipeline_parallel_size = s.num_microbatches = 2;
  s.batch_size = 64;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
    s.SetSharding(op, Sharding::kHeads);
  }
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
  const ExportResult result = ExportTo("lws", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const std::string text = TextOf(result, "lws.yaml");
  ExpectLines(text, {"metadata: {name: vllm-llama-3-1-405b}", "  replicas: 2", "    size: 2",
                     "            resources: {limits: {nvidia.com/gpu: \"8\"}}"});
  EXPECT_NE(text.find("--nnodes 2 --master-addr $LWS_LEADER_ADDRESS --node-rank 0\"]"), std::string::npos) << text;
  EXPECT_NE(text.find("--node-rank $LWS_WORKER_INDEX --headless\"]"), std::string::npos) << text;
}

/// What is written is read, and is the plan.
TEST(LeaderWorkerSetExport, ManyPlansAreReadBack) {
  int written = 0, over_nodes = 0;
  for (const auto& [model, workload, devices] :
       {std::tuple("deepseek-v3", "decode-chat", 32), std::tuple("mixtral-8x22b", "serve-chat", 16),
        std::tuple("llama-3.1-70b", "prefill-chat", 24), std::tuple("qwen3-235b-a22b", "decode-chat", 48)}) {
    const Problem any = MakeProblem(model, workload, devices);
    ProblemOptions options;
    options.framework = Framework::kVllm;
    const Problem framed(any.model(), any.cluster(), any.workload(), options);
    const StrategySpace own(framed);
    Rng rng = Rng::Stream(3, model);
    for (int i = 0; i < 16; ++i) {
      const Strategy member = own.Sample(rng);
      ExportResult result;
      try {
        result = ExportTo("lws", any, member);
      } catch (const SpecError& error) {
        EXPECT_NE(std::string(error.what()).find("--to lws"), std::string::npos) << error.what();
        continue;
      }
      ++written;
      const std::string text = TextOf(result, "lws.yaml");
      ASSERT_TRUE(LooksLikeDeployment(text)) << text;
      const std::vector<Deployment> back = ReadDeployments(text, "lws.yaml", &any.model());
      ASSERT_EQ(back.size(), 1u);
      EXPECT_TRUE(back[0].broken_rules.empty()) << back[0].broken_rules.front() << "\n" << text;
      EXPECT_EQ(back[0].replicas, any.Replicas(member));
      EXPECT_EQ(ToShortString(StrategyOf(any, back[0], MoreIsBetter).strategy), ToShortString(member)) << text;
      over_nodes += text.find("    size: 1\n") == std::string::npos ? 1 : 0;
    }
  }
  EXPECT_GE(written, 30);
  EXPECT_GE(over_nodes, 4);
}

}  // namespace
}  // namespace shardscout::exporters
