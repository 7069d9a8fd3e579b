#include "shardscout/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "shardscout/error.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

/// Nodes of four devices.
Problem SmallNodes() {
  ClusterSpec cluster = LoadCluster("h100-sxm", 32);
  cluster.devices_per_node = 4;
  return Problem(LoadModel("deepseek-v3"), cluster, LoadWorkload("decode-chat"));
}

Strategy FoldedStrategy() {
  Strategy strategy;
  strategy.pipeline_parallel_size = 2;
  strategy.tensor_parallel_size = 2;
  strategy.data_parallel_size = 2;
  strategy.expert_parallel_size = 4;
  return strategy;
}

Plan MakeTestPlan(const Problem& problem) {
  Plan plan;
  plan.model_name = "m";
  plan.cluster_name = "c";
  plan.workload_name = "w";
  plan.problem_digest = problem.Digest();
  plan.problem_json = ToJson(problem);
  plan.pools.push_back(MakePool(problem, FoldedStrategy()));
  plan.evaluation.metrics.tpot_s = 0.1;
  plan.evaluation.metrics.throughput_per_device = 1.0 / 3.0;
  plan.evaluation.memory.weight_bytes = 5;
  plan.evaluation.excess.memory = -0.25;
  RequestStatistics& requests = plan.evaluation.requests.emplace();
  requests.ttft.p99_s = 0.7;
  requests.preemptions = 3;
  plan.breakdown.rows.push_back({Phase::kDecode, Operator::kQkv, "matmul", false, 61, 1e-5, 2e9, 3e12, -1});
  plan.breakdown.stages.push_back({Phase::kDecode, 0.02});
  plan.breakdown.bytes_by_tier = {1e6, 2.5};
  plan.certificate = Certificate{2, 2.5, 0.25, "all"};
  plan.search.searcher = "annealing";
  plan.search.seed = 7;
  plan.search.configuration_json = R"({"zeta":1,"alpha":[0.1,2]})";
  plan.search.reward = 1e-300;
  return plan;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string ErrorOf(const std::string& json) {
  try {
    ParsePlan(json, "plan.json");
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(MakePool, WorkedExample) {
  const Problem problem = SmallNodes();
  const Pool pool = MakePool(problem, FoldedStrategy());
  EXPECT_EQ(pool.role, "decode");
  EXPECT_EQ(pool.replicas, 4);
  ASSERT_EQ(pool.placement.size(), 8u);
  const RankPlacement rank6{.rank = 6, .node = 1, .device = 2, .pp = 1, .dp = 1, .cp = 0, .tp = 0, .edp = 0, .ep = 2};
  EXPECT_EQ(pool.placement[6], rank6);
  ASSERT_EQ(pool.experts.size(), 4u);
  EXPECT_EQ(pool.experts[3], (ExpertPlacement{3, 192, 64}));
  ASSERT_EQ(pool.stages.size(), 2u);
  EXPECT_EQ(pool.stages[0].num_layers + pool.stages[1].num_layers, 61);
}

TEST(MakePool, ExpertMeshIsInnermostFirst) {
  Strategy strategy;
  strategy.tensor_parallel_size = 4;
  strategy.data_parallel_size = 2;
  strategy.expert_tensor_parallel_size = 2;
  strategy.expert_parallel_size = 2;
  const Pool pool = MakePool(SmallNodes(), strategy);
  ASSERT_EQ(pool.placement.size(), 8u);
  // Rank 7 = tp 3 + 4 * dp 1 = etp 1 + 2 * (ep 1 + 2 * edp 1).
  EXPECT_EQ(pool.placement[7].tp, 3);
  EXPECT_EQ(pool.placement[7].dp, 1);
  EXPECT_EQ(pool.placement[7].etp, 1);
  EXPECT_EQ(pool.placement[7].ep, 1);
  EXPECT_EQ(pool.placement[7].edp, 1);
  EXPECT_EQ(pool.placement[4].edp, 1);
  EXPECT_EQ(pool.placement[2].ep, 1);
}

TEST(PlanJson, ReadsBackEqualAndWritesTheSameBytes) {
  const Problem problem = SmallNodes();
  const Plan plan = MakeTestPlan(problem);
  const std::string text = ToJson(plan);
  const Plan read = ParsePlan(text, "plan.json");
  EXPECT_EQ(ToJson(read), text);
  EXPECT_EQ(read.pools, plan.pools);
  EXPECT_EQ(read.evaluation, plan.evaluation);
  EXPECT_EQ(read.certificate, plan.certificate);
  EXPECT_EQ(read.search, plan.search);
  EXPECT_EQ(read.problem_digest, problem.Digest());
  ASSERT_EQ(read.breakdown.rows.size(), 1u);
  EXPECT_EQ(read.breakdown.rows[0].flop, 3e12);
}

TEST(PlanJson, KeepsTheOrderOfTheSearchersSettings) {
  const std::string text = ToJson(MakeTestPlan(SmallNodes()));
  EXPECT_LT(text.find("zeta"), text.find("alpha"));
  EXPECT_EQ(ParsePlan(text, "p").search.configuration_json, R"({"zeta":1,"alpha":[0.1,2]})");
}

TEST(PlanJson, ARankTakesOneLine) {
  const std::string text = ToJson(MakeTestPlan(SmallNodes()));
  EXPECT_NE(text.find("\n          [6, 1, 2, 1, 1, 0, 0, 0, 2, 0],\n"), std::string::npos) << text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 361);
}

TEST(PlanJson, WithoutCertificate) {
  Plan plan = MakeTestPlan(SmallNodes());
  plan.certificate.reset();
  EXPECT_EQ(ParsePlan(ToJson(plan), "p").certificate, std::nullopt);
}

TEST(PlanJson, RefusesWhatItDoesNotUnderstand) {
  const std::string text = ToJson(MakeTestPlan(SmallNodes()));
  EXPECT_NE(ErrorOf(Replaced(text, "\"schema_version\": 1", "\"schema_version\": 2")).find("/schema_version"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Replaced(text, "\"tpot_s\"", "\"tpot_ss\"")).find("did you mean"), std::string::npos);
  EXPECT_NE(ErrorOf(Replaced(text, "\"num_dense\"", "\"dense\"")).find("/pools/0/stages/columns"), std::string::npos);
  EXPECT_NE(ErrorOf(Replaced(text, "[6, 1, 2,", "[6, 1,")).find("/pools/0/placement/rows/6"), std::string::npos);
  EXPECT_NE(ErrorOf(Replaced(text, "\"hidden_size\": 7168", "\"hidden_size\": 7169")).find("/problem/digest"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Replaced(text, "\"configuration\"", "\"config\"")).find("/search"), std::string::npos);
  EXPECT_NE(ErrorOf("[]"), "");
  EXPECT_NE(ErrorOf("{}"), "");
  EXPECT_NE(ErrorOf("{"), "");
}

TEST(ProblemJson, ReadsBackEqual) {
  ProblemOptions options;
  options.fixed["tensor_parallel_size"] = "8";
  WorkloadSpec workload = LoadWorkload("serve-chat");
  workload.concurrency = 512;
  const Problem problem(LoadModel("qwen3-235b-a22b"), LoadCluster("gb200-nvl72", 144), workload, options);
  const Problem read = ParseProblem(ToJson(problem), "p");
  EXPECT_EQ(read.model(), problem.model());
  EXPECT_EQ(read.cluster(), problem.cluster());
  EXPECT_EQ(read.workload(), problem.workload());
  EXPECT_EQ(read.options(), problem.options());
  EXPECT_EQ(read.Digest(), problem.Digest());
}

TEST(ProblemJson, ChecksWindowsAndIndexer) {
  const auto text_of = [](const char* model) {
    return ToJson(Problem(LoadModel(model), LoadCluster("h100-sxm"), LoadWorkload("decode-chat")));
  };
  const auto place_of = [](const std::string& text) {
    try {
      ParseProblem(text, "p");
    } catch (const SpecError& error) {
      return error.place();
    }
    return std::string();
  };
  const std::string windows = text_of("gpt-oss-20b"), indexer = text_of("deepseek-v3.2");
  const std::string layers = "p#/model/full_attention_layers";
  EXPECT_EQ(place_of(windows), "");
  EXPECT_EQ(place_of(Replaced(windows, "\"sliding_window\":128", "\"sliding_window\":0")), layers);
  EXPECT_EQ(place_of(Replaced(windows, "\"full_attention_layers\":[1,3,", "\"full_attention_layers\":[3,1,")), layers);
  EXPECT_EQ(place_of(Replaced(windows, ",21,23]", ",21,24]")), layers);
  EXPECT_EQ(place_of(Replaced(windows, "\"norms_per_layer\":2", "\"norms_per_layer\":3")), "p#/model/norms_per_layer");
  const std::string heads = "p#/model/attention/index_heads";
  EXPECT_EQ(place_of(indexer), "");
  EXPECT_EQ(place_of(Replaced(indexer, "\"index_topk\":2048", "\"index_topk\":0")), heads);
  EXPECT_EQ(place_of(Replaced(indexer, "\"q_lora_rank\":1536", "\"q_lora_rank\":0")), heads);
}

TEST(ProblemJson, ChecksLinearAttention) {
  const auto place_of = [](const std::string& text) {
    try {
      ParseProblem(text, "p");
    } catch (const SpecError& error) {
      return error.place();
    }
    return std::string();
  };
  const Problem problem(LoadModel("qwen3-next-80b-a3b"), LoadCluster("h100-sxm"), LoadWorkload("decode-chat"));
  const std::string text = ToJson(problem);
  EXPECT_EQ(ParseProblem(text, "p").model(), problem.model());
  const std::string layers = "p#/model/linear_attention_layers", sizes = "p#/model/linear_attention";
  EXPECT_EQ(place_of(Replaced(text, "\"linear_attention_layers\":[0,1,", "\"linear_attention_layers\":[1,0,")), layers);
  EXPECT_EQ(place_of(Replaced(text, ",45,46]", ",45,48]")), layers);
  EXPECT_EQ(place_of(Replaced(text, "\"sliding_window\":0", "\"sliding_window\":64")), layers);
  EXPECT_EQ(place_of(Replaced(text, "\"conv_width\":4", "\"conv_width\":0")), sizes);
  EXPECT_EQ(place_of(Replaced(text, "\"num_value_heads\":32", "\"num_value_heads\":33")), sizes + "/num_value_heads");
  EXPECT_EQ(place_of(Replaced(text, "\"whole_qk_norm\":false", "\"whole_qk_norm\":true")),
            "p#/model/attention/output_gate");
}

TEST(ProblemJson, ChecksWhatItReads) {
  const std::string text =
      ToJson(Problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm"), LoadWorkload("decode-chat")));
  EXPECT_THROW(ParseProblem(Replaced(text, "\"num_layers\":32", "\"num_layers\":31"), "p"), SpecError);
  EXPECT_THROW(ParseProblem(Replaced(text, "\"num_kv_heads\":8", "\"num_kv_heads\":7"), "p"), SpecError);
  EXPECT_THROW(ParseProblem(Replaced(text, "\"head_dim\":128", "\"head_dim\":0"), "p"), SpecError);
  EXPECT_THROW(ParseProblem(Replaced(text, "\"fixed\":[]", "\"fixed\":[\"qkv\"]"), "p"), SpecError);
  const std::string wide = Replaced(text, "\"hidden_size\":4096", "\"hidden_size\":2147483648");
  EXPECT_THROW(ParseProblem(Replaced(wide, "\"ffn_size\":14336", "\"ffn_size\":2147483648"), "p"), SpecError)
      << "more parameters than can be counted";
}

TEST(Version, IsTheHeaders) {
  EXPECT_EQ(Version(), std::to_string(SHARDSCOUT_VERSION_MAJOR) + "." + std::to_string(SHARDSCOUT_VERSION_MINOR) + "." +
                           std::to_string(SHARDSCOUT_VERSION_PATCH));
  static_assert(SHARDSCOUT_VERSION_NUMBER >= SHARDSCOUT_VERSION_OF(0, 1, 0));
  static_assert(SHARDSCOUT_VERSION_OF(1, 0, 0) > SHARDSCOUT_VERSION_OF(0, 999, 999));
}

}  // namespace
}  // namespace shardscout
