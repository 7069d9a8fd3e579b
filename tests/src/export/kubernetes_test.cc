// Exporters to Kubernetes' controllers: LeaderWorkerSet, Dynamo, KServe.

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/two_pools.h"
#include "src/frameworks/dynamo.h"
#include "src/frameworks/kserve.h"
#include "src/frameworks/leader_worker_set.h"
#include "tests/src/export/written_plans.h"
#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::exporters {
namespace {

using frameworks::DynamoArguments;
using frameworks::KserveArguments;
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

TEST(DynamoRules, EachIsBrokenByItsCase) {
  frameworks::ExpectEachIsBroken<DynamoArguments>(
      frameworks::DynamoRules(),
      {{"dynamo.name", "llama-3.1-8b", {.name = "3-llamas"}},
       {"dynamo.backend", "llama-3.1-8b", {.backend = "tensorrt-llm"}},
       {"dynamo.counts", "llama-3.1-8b", {.workers = {{.replicas = -1}}}},
       {"dynamo.counts", "llama-3.1-8b", {.workers = {{.gpus = 0}}}},
       {"dynamo.roles", "llama-3.1-8b", {.workers = {{.role = "prefill"}}}},
       {"dynamo.roles", "llama-3.1-8b", {.workers = {{.role = "decode"}, {.role = "decode"}}}},
       {"dynamo.devices", "llama-3.1-8b", {.workers = {{.node_count = 2, .gpus = 8, .rank_devices = 12}}}},
       {"dynamo.ranks_on_a_node",
        "llama-3.1-8b",
        {.workers = {{.node_count = 4, .gpus = 8, .ranks = 2, .rank_devices = 16}}}},
       {"dynamo.ranks_on_a_node",
        "llama-3.1-8b",
        {.workers = {{.node_count = 3, .gpus = 8, .ranks = 4, .rank_devices = 6}}}}});
}

TEST(KserveRules, EachIsBrokenByItsCase) {
  frameworks::ExpectEachIsBroken<KserveArguments>(
      frameworks::KserveRules(),
      {{"kserve.name", "llama-3.1-8b", {.name = "llama-"}},
       {"kserve.pipeline_or_data", "llama-3.1-8b", {.workloads = {{.pipeline = 2, .data = 2, .data_local = 1}}}},
       {"kserve.data_with_local", "llama-3.1-8b", {.workloads = {{.data = 2}}}},
       {"kserve.data_with_local", "llama-3.1-8b", {.workloads = {{}, {.data_local = 2}}}},
       {"kserve.positive", "llama-3.1-8b", {.workloads = {{.tensor = 0}}}},
       {"kserve.worker", "llama-3.1-8b", {.workloads = {{.tensor = 8, .has_worker = true}}}},
       {"kserve.devices",
        "llama-3.1-8b",
        {.workloads = {{.data = 3, .data_local = 2, .has_worker = true, .gpus_per_pod = 2, .instance_devices = 3}}}}});
}

Problem MakeProblem(const char* model, const char* workload, std::int64_t devices) {
  return {LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload)};
}

/// Degrees as every engine shards them: columns, then rows, over tp.
Strategy Columnwise(std::int64_t tp, std::int64_t pp, std::int64_t batch_size) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.pipeline_parallel_size = s.num_microbatches = pp;
  s.batch_size = batch_size;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
    s.SetSharding(op, Sharding::kHeads);
  }
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
  return s;
}

/// Llama 405B of two stages, a node each.
ExportResult OverTwoNodes(const std::string& target) {
  const ExportResult result = ExportTo(target, MakeProblem("llama-3.1-405b", "decode-chat", 32), Columnwise(8, 2, 64));
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  return result;
}

TEST(LeaderWorkerSetExport, OneEngineOverTwoNodes) {
  const std::string text = TextOf(OverTwoNodes("lws"), "lws.yaml");
  ExpectLines(text, {"metadata: {name: vllm-llama-3-1-405b}", "  replicas: 2", "    size: 2",
                     "            resources: {limits: {nvidia.com/gpu: \"8\"}}"});
  EXPECT_NE(text.find("--nnodes 2 --master-addr $LWS_LEADER_ADDRESS --node-rank 0\"]"), std::string::npos) << text;
  EXPECT_NE(text.find("--node-rank $LWS_WORKER_INDEX --headless\"]"), std::string::npos) << text;
}

TEST(DynamoExport, OneEngineOverTwoNodes) {
  const std::string text = TextOf(OverTwoNodes("dynamo-vllm"), "dynamo.yaml");
  ExpectLines(text, {"  backendFramework: vllm", "      replicas: 2", "      multinode: {nodeCount: 2}",
                     "      resources: {limits: {gpu: \"8\"}}"});
  for (const char* const operators : {"--nnodes", "--node-rank", "--data-parallel-size-local", "--headless"}) {
    EXPECT_EQ(text.find(operators), std::string::npos) << operators << " is the operator's to say\n" << text;
  }
  EXPECT_EQ(text.find("disaggregation"), std::string::npos) << text;
}

TEST(KserveExport, AStageIsAPod) {
  const ExportResult result = OverTwoNodes("kserve");
  const std::string text = TextOf(result, "kserve.yaml");
  ExpectLines(text, {"  replicas: 2", "  parallelism: {tensor: 8, pipeline: 2}", "  worker:"});
  EXPECT_EQ(text.find("--pipeline-parallel-size"), std::string::npos) << text;
  EXPECT_EQ(result.priced.size(), 1u) << "where stages lie is the scheduler's choice";
}

TEST(KserveExport, StagesInsideAPodAreArguments) {
  const ExportResult result = ExportTo("kserve", MakeProblem("llama-3.1-70b", "decode-chat", 8), Columnwise(4, 2, 64));
  const std::string text = TextOf(result, "kserve.yaml");
  ExpectLines(text, {"  parallelism: {tensor: 4}"});
  EXPECT_NE(text.find("--pipeline-parallel-size 2"), std::string::npos) << text;
  EXPECT_EQ(text.find("  worker:"), std::string::npos) << text;
}

/// One kind of instance, and what it is on the way back.
struct Target {
  const char* name;
  const char* file;
  Framework engine;
};
constexpr Target kTargets[] = {{"lws", "lws.yaml", Framework::kVllm},
                               {"dynamo-vllm", "dynamo.yaml", Framework::kVllm},
                               {"dynamo-sglang", "dynamo.yaml", Framework::kSglang},
                               {"dynamo-trtllm", "dynamo.yaml", Framework::kTensorRtLlm},
                               {"kserve", "kserve.yaml", Framework::kVllm}};

void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

class KubernetesExport : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(, KubernetesExport, testing::ValuesIn(kTargets), [](const auto& target) {
  std::string name = target.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

/// What is written is read, and is the plan; or it is refused by the target's name.
TEST_P(KubernetesExport, ManyPlansAreReadBack) {
  const Target& target = GetParam();
  int written = 0, over_nodes = 0;
  for (const auto& [model, workload, devices] :
       {std::tuple("deepseek-v3", "decode-chat", 32), std::tuple("mixtral-8x22b", "serve-chat", 16),
        std::tuple("llama-3.1-70b", "prefill-chat", 24), std::tuple("qwen3-235b-a22b", "decode-chat", 48)}) {
    const Problem any = MakeProblem(model, workload, devices);
    ProblemOptions options;
    options.framework = target.engine;
    const Problem framed(any.model(), any.cluster(), any.workload(), options);
    const StrategySpace own(framed);
    Rng rng = Rng::Stream(3, model);
    for (int i = 0; i < 20; ++i) {
      const Strategy member = own.Sample(rng);
      ExportResult result;
      try {
        result = ExportTo(target.name, any, member);
      } catch (const SpecError& error) {
        EXPECT_NE(std::string(error.what()).find("--to " + std::string(target.name)), std::string::npos)
            << error.what();
        continue;
      }
      ++written;
      const std::string text = TextOf(result, target.file);
      ASSERT_TRUE(LooksLikeDeployment(text)) << text;
      const std::vector<Deployment> back = ReadDeployments(text, target.file, &any.model());
      ASSERT_EQ(back.size(), 1u);
      EXPECT_EQ(back[0].framework, target.engine);
      EXPECT_TRUE(back[0].broken_rules.empty()) << back[0].broken_rules.front() << "\n" << text;
      EXPECT_TRUE(back[0].notes.empty()) << back[0].notes.front() << "\n" << text;
      EXPECT_EQ(back[0].replicas, any.Replicas(member));
      EXPECT_EQ(ToShortString(StrategyOf(any, back[0], MoreIsBetter).strategy), ToShortString(member)) << text;
      over_nodes += member.InstanceSize() > any.cluster().devices_per_node ? 1 : 0;
    }
  }
  EXPECT_GE(written, 30);
  EXPECT_GE(over_nodes, 4);
}

/// Every device of the pods is a device of the instance, and each pod has the ranks that its command starts.
TEST(KubernetesExportPods, RanksThatLeaveDevicesOfANodeIdleTakeMoreNodes) {
  // Ranks of 6 devices: one a node of 8, so that four of them take four nodes of which six devices each are asked for.
  const Problem problem = MakeProblem("mixtral-8x22b", "decode-chat", 32);
  Strategy s = Columnwise(2, 3, 96);
  s.data_parallel_size = 4;
  s.expert_tensor_parallel_size = 8;
  s.num_microbatches = 3;
  s = StrategySpace(problem).Repair(s);
  ASSERT_EQ(s.InstanceSize(), 24);
  const std::string text = TextOf(ExportTo("lws", problem, s), "lws.yaml");
  ExpectLines(text, {"    size: 4", "            resources: {limits: {nvidia.com/gpu: \"6\"}}"});
  EXPECT_NE(text.find("--data-parallel-size-local 1 "), std::string::npos) << text;
}

/// DeepSeek-V3 with prompts on 16 devices and outputs on 32.
Plan TwoPools() {
  Strategy prefill;
  prefill.data_parallel_size = prefill.expert_parallel_size = 16;
  prefill.batch_size = 64;
  const Problem first = MakeProblem("deepseek-v3", "prefill-chat", 16);
  Strategy decode = prefill;
  decode.data_parallel_size = decode.expert_parallel_size = 32;
  decode.batch_size = 512;
  const Problem second = MakeProblem("deepseek-v3", "decode-chat", 32);
  const auto plan = [](const Problem& problem, const Strategy& strategy) {
    const Strategy member = StrategySpace(problem).Repair(strategy);
    return PlanOf(problem, {MakePool(problem, member)});
  };
  return JoinPools(plan(first, prefill), plan(second, decode), LoadWorkload("serve-chat"));
}

TEST_P(KubernetesExport, TwoPools) {
  const Target& target = GetParam();
  const Plan plan = TwoPools();
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  if (target.name == std::string("lws")) {
    EXPECT_THROW(exporters.Get(target.name).Export(plan, {}), SpecError);
    return;
  }
  const ExportResult result = exporters.Get(target.name).Export(plan, {});
  const std::string text = TextOf(result, target.file);
  const std::vector<Deployment> back = ReadDeployments(text, target.file, nullptr);
  ASSERT_EQ(back.size(), 2u) << text;
  ASSERT_TRUE(result.lowered_prefill.has_value());
  const std::map<std::string, Strategy> expected = {{"prefill", *result.lowered_prefill}, {"decode", result.lowered}};
  for (const Deployment& pool : back) {
    ASSERT_TRUE(expected.contains(pool.role)) << pool.role;
    EXPECT_EQ(pool.degrees, DegreesOf(expected.at(pool.role))) << text;
    EXPECT_EQ(pool.replicas, 1);
    EXPECT_TRUE(pool.notes.empty()) << pool.notes.front() << "\n" << text;
  }
  if (result.dropped.empty()) return;
  ASSERT_TRUE(result.lowered_evaluation.has_value()) << "what both do together";
  for (const Dropped& dropped : result.dropped) {
    EXPECT_TRUE(dropped.what.starts_with("prefill: ") || dropped.what.starts_with("decode: ")) << dropped.what;
  }
}

/// Settings of TensorRT-LLM that are not in the file are not taken for the defaults.
TEST(DynamoImport, AMissingConfigMapIsSaid) {
  const std::string text = TextOf(OverTwoNodes("dynamo-trtllm"), "dynamo.yaml");
  const std::string alone = text.substr(text.find("---\n") + 4);
  try {
    ReadDeployments(alone, "dynamo.yaml", nullptr);
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("/etc/shardscout/worker.yaml"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace shardscout::exporters
