// Exporters that carry a sharding an operator: transformers' tp_plan, a plan for PyTorch's DTensor, Shardy's mesh.

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "src/export/dtensor.h"
#include "src/export/shardy.h"
#include "src/export/transformers.h"
#include "tests/src/export/written_plans.h"

namespace shardscout::exporters {
namespace {

using frameworks::ModuleStyle;
using frameworks::ShardyArguments;
using frameworks::TensorSharding;

Problem MakeProblem(const char* model, const char* workload, std::int64_t devices) {
  return {LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload)};
}

Strategy Tensor(std::int64_t tp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = 64;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
    s.SetSharding(op, Sharding::kHeads);
  }
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
  return s;
}

TEST(TransformersExport, IsLlamasOwnPlan) {
  const ExportResult result = ExportTo("transformers", MakeProblem("llama-3.1-8b", "decode-chat", 8), Tensor(8));
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  EXPECT_EQ(nlohmann::json::parse(TextOf(result, "tp_plan.json")),
            nlohmann::json({{"model.embed_tokens", "embedding_rowwise"},
                            {"model.layers.*.self_attn.q_proj", "colwise"},
                            {"model.layers.*.self_attn.k_proj", "colwise"},
                            {"model.layers.*.self_attn.v_proj", "colwise"},
                            {"model.layers.*.self_attn.o_proj", "rowwise"},
                            {"model.layers.*.mlp.gate_proj", "colwise"},
                            {"model.layers.*.mlp.up_proj", "colwise"},
                            {"model.layers.*.mlp.down_proj", "rowwise"},
                            {"lm_head", "colwise_gather_output"}}));
  EXPECT_NE(TextOf(result, "transformers_load.py").find("meta-llama/Llama-3.1-8B-Instruct"), std::string::npos);
}

TEST(TransformersExport, WholeAttentionAndWholeUpProjection) {
  Strategy s = Tensor(8);
  s.SetSharding(Operator::kAttention, Sharding::kNone);
  s.SetSharding(Operator::kFfnUp, Sharding::kNone);
  s.SetSharding(Operator::kEmbedding, Sharding::kNone);
  const ExportResult result = ExportTo("transformers", MakeProblem("llama-3.1-8b", "decode-chat", 8), s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const auto plan = nlohmann::json::parse(TextOf(result, "tp_plan.json"));
  EXPECT_EQ(plan["model.layers.*.self_attn.k_proj"], "colwise_gather_output");
  EXPECT_EQ(plan["model.layers.*.self_attn.o_proj"], "rowwise_split_input");
  EXPECT_EQ(plan["model.layers.*.mlp.down_proj"], "rowwise_split_input");
  EXPECT_FALSE(plan.contains("model.layers.*.mlp.up_proj"));
  EXPECT_FALSE(plan.contains("model.embed_tokens"));
}

TEST(TransformersExport, DealtExpertsBehindTheirRouter) {
  Strategy s = Tensor(8);
  s.expert_parallel_size = 8;
  s.expert_exchange = ExpertExchange::kGatherReduce;
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kNone);
  const ExportResult result = ExportTo("transformers", MakeProblem("mixtral-8x7b", "decode-chat", 8), s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const auto plan = nlohmann::json::parse(TextOf(result, "tp_plan.json"));
  EXPECT_EQ(plan["model.layers.*.mlp.gate"], "ep_router");
  EXPECT_EQ(plan["model.layers.*.mlp.experts.gate_up_proj"], "grouped_gemm");
  EXPECT_EQ(plan["model.layers.*.mlp.experts"], "moe_tp_experts");
}

/// What the plan says is what the strategy says.
void CheckTransformers(const ExportResult& result, const Strategy& s) {
  const auto plan = nlohmann::json::parse(TextOf(result, "tp_plan.json"));
  const std::string where = ToShortString(s);
  EXPECT_EQ(plan.empty(), s.tensor_parallel_size == 1) << where;
  if (s.tensor_parallel_size == 1) return;
  EXPECT_EQ(plan.contains("model.embed_tokens"), s.ShardingOf(Operator::kEmbedding) == Sharding::kVocab) << where;
  EXPECT_EQ(plan.contains("lm_head"), s.ShardingOf(Operator::kLmHead) == Sharding::kVocab) << where;
  const std::string out = plan["model.layers.*.self_attn.o_proj"];
  EXPECT_EQ(out, s.ShardingOf(Operator::kAttention) == Sharding::kHeads ? "rowwise" : "rowwise_split_input") << where;
  if (plan.contains("model.layers.*.mlp.down_proj")) {
    const bool up = s.ShardingOf(Operator::kFfnUp) == Sharding::kFfn;
    EXPECT_EQ(plan.contains("model.layers.*.mlp.up_proj"), up) << where;
  }
  const std::string experts = "model.layers.*.mlp.experts.gate_up_proj";
  EXPECT_EQ(plan.contains(experts), s.BlockSize() > 1) << where;
  if (s.BlockSize() > 1) {
    EXPECT_EQ(plan[experts] == "grouped_gemm", s.expert_parallel_size > 1) << where;
  }
}

TEST(DtensorExport, ColumnsAfterSplitFeaturesGather) {
  // The header's example.
  Strategy s = Tensor(8);
  s.residual_layout = Layout::kTokenSharded;
  s.SetSharding(Operator::kFfnDown, Sharding::kHidden);
  const ExportResult result = ExportTo("dtensor", MakeProblem("llama-3.1-8b", "prefill-chat", 8), s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const std::string script = TextOf(result, "dtensor_plan.py");
  for (const char* line :
       {"    \"layers.*.attention_norm\": SequenceParallel(sequence_dim=1),",
        "    \"layers.*.attention\": PrepareModuleInput(input_layouts=(Shard(1),) + OTHERS, "
        "desired_input_layouts=(Replicate(),) + OTHERS),",
        "    \"layers.*.attention.wq\": ColwiseParallel(input_layouts=Replicate(), output_layouts=Shard(-1)),",
        "    \"layers.*.attention.wo\": RowwiseParallel(input_layouts=Shard(-1), output_layouts=Shard(1)),",
        "    \"layers.*.feed_forward\": PrepareModuleInput(input_layouts=(Shard(1),), "
        "desired_input_layouts=(Replicate(),)),",
        "    \"layers.*.feed_forward.w2\": ColwiseParallel(input_layouts=Shard(-1), output_layouts=Shard(1)),",
        "    \"tok_embeddings\": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),",
        "    \"output\": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),"}) {
    EXPECT_NE(script.find(line), std::string::npos) << line << "\n" << script;
  }
}

TEST(DtensorExport, InDecodeTokensAreRequests) {
  Strategy s = Tensor(8);
  s.residual_layout = Layout::kTokenSharded;
  const ExportResult result = ExportTo("dtensor", MakeProblem("llama-3.1-8b", "decode-chat", 8), s);
  EXPECT_NE(TextOf(result, "dtensor_plan.py").find("SequenceParallel(sequence_dim=0)"), std::string::npos);
  EXPECT_EQ(TextOf(result, "dtensor_plan.py").find("Shard(1)"), std::string::npos);
}

/// From the placements, what each matrix is split along.
void CheckDtensor(const ExportResult& result, const Strategy& s) {
  const auto json = nlohmann::json::parse(TextOf(result, "dtensor_plan.json"));
  std::map<std::string, nlohmann::json> modules;
  for (const auto& entry : json["plan"]) modules[entry["module"]] = entry;
  const std::string where = ToShortString(s);
  EXPECT_EQ(json["mesh"]["tp"], s.tensor_parallel_size) << where;
  if (s.tensor_parallel_size == 1) return;
  const auto style_of = [&](const std::string& module) -> std::string {
    return modules.contains(module) ? modules[module]["style"] : "";
  };
  const auto expect = [&](Operator op, const std::string& module, Sharding columns, Sharding rows) {
    const Sharding sharding = s.ShardingOf(op);
    const std::string style = style_of(module);
    EXPECT_EQ(style == "ColwiseParallel", sharding == columns) << module << " " << where;
    EXPECT_EQ(style == "RowwiseParallel", sharding == rows) << module << " " << where;
  };
  expect(Operator::kQkv, "layers.*.attention.wq", Sharding::kHeads, Sharding::kHidden);
  expect(Operator::kQkv, "layers.*.attention.wv", Sharding::kHeads, Sharding::kHidden);
  expect(Operator::kAttnOut, "layers.*.attention.wo", Sharding::kHidden, Sharding::kHeads);
  expect(Operator::kFfnUp, "layers.*.feed_forward.w1", Sharding::kFfn, Sharding::kHidden);
  expect(Operator::kFfnDown, "layers.*.feed_forward.w2", Sharding::kHidden, Sharding::kFfn);
  expect(Operator::kEmbedding, "tok_embeddings", Sharding::kHidden, Sharding::kVocab);
  expect(Operator::kLmHead, "output", Sharding::kVocab, Sharding::kHidden);
  EXPECT_EQ(style_of("norm") == "SequenceParallel", s.residual_layout == Layout::kTokenSharded) << where;
  // Every block begins and ends in the residual's layout.
  const bool split = s.residual_layout == Layout::kTokenSharded;
  for (const char* module : {"layers.*.attention.wo", "layers.*.feed_forward.w2"}) {
    if (!modules.contains(module)) continue;
    EXPECT_EQ(modules[module]["output"] != "Replicate()", split) << module << " " << where;
  }
}

TEST(ShardyExport, CarriesAShardingAnOperator) {
  const Problem problem = MakeProblem("llama-3.1-8b", "decode-chat", 4);
  Strategy s = Tensor(2);
  s.residual_layout = Layout::kFeatureSharded;
  s.SetSharding(Operator::kAttnOut, Sharding::kHidden);
  s.SetSharding(Operator::kAttention, Sharding::kSequence);
  s.batch_size = 8;
  const ExportResult result = ExportTo("shardy", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const std::string module = TextOf(result, "shardings.mlir");
  for (const char* text :
       {"sdy.mesh @mesh = <[\"a0\"=2]>\n",
        "  // attention.q_proj\n  tensor<4096x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, {\"a0\"}]>}",
        "  // attention.o_proj\n  tensor<4096x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, {\"a0\"}]>}",
        "  // ffn.down_proj\n  tensor<14336x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{\"a0\"}, {}]>}",
        "  // decode.residual\n  tensor<8x1x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}, {\"a0\"}]>}",
        "  // decode.attention.key_cache\n  tensor<8x5120x8x128xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, "
        "{\"a0\"}, {}, {}]>}",
        // What the projection takes is gathered from what attention leaves.
        "  // decode.attention.out\n  tensor<8x1x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}, {\"a0\"}]>}",
        "  // decode.attention.o_proj.in\n  tensor<8x1x4096xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}, "
        "{}]>}"}) {
    EXPECT_NE(module.find(text), std::string::npos) << text << "\n" << module;
  }
  const std::string script = TextOf(result, "jax_shardings.py");
  EXPECT_NE(script.find("    \"decode.residual\": P(None, None, \"a0\"),\n"), std::string::npos) << script;
  EXPECT_NE(script.find("AXES = {\"a0\": 2}"), std::string::npos) << script;
}

TEST(ShardyExport, TwoMeshesAreViewsOfOne) {
  const Problem problem = MakeProblem("mixtral-8x7b", "decode-chat", 16);
  Strategy s = Tensor(4);
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kNone);
  s.data_parallel_size = 4;
  s.expert_parallel_size = 8;
  s.residual_layout = Layout::kTokenSharded;
  s.batch_size = 8;
  const ExportResult result = ExportTo("shardy", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const std::string script = TextOf(result, "jax_shardings.py");
  for (const char* line :
       {"# Mesh: tp = a0, cp = 1, dp = a2*a1, etp = 1, ep = a1*a0, edp = a2, KV heads = a0.",
        "AXES = {\"a2\": 2, \"a1\": 2, \"a0\": 4}", "    \"experts.up_proj\": P((\"a1\", \"a0\"), None, None),",
        "    \"decode.residual\": P((\"a2\", \"a1\", \"a0\"), None, None),",
        "    \"decode.experts.in\": P((\"a1\", \"a0\"), \"a2\", None),"}) {
    EXPECT_NE(("\n" + script).find("\n" + std::string(line) + "\n"), std::string::npos) << line << "\n" << script;
  }
}

TEST(ShardyExport, PipelinesAreNotForAMesh) {
  const Problem problem = MakeProblem("llama-3.1-8b", "decode-chat", 4);
  Strategy s = Tensor(2);
  s.pipeline_parallel_size = s.num_microbatches = 2;
  const ExportResult result = ExportTo("shardy", problem, s);
  ASSERT_FALSE(result.dropped.empty());
  EXPECT_EQ(result.dropped[0].what, "pipeline_parallel_size = 2");
}

/// The axes of one tensor, joined; "-" for a dimension that is whole.
std::string AxesOf(const ShardyArguments& a, const std::string& name) {
  for (const TensorSharding& t : a.tensors) {
    if (t.name != name) continue;
    std::string text;
    for (const auto& dim : t.axes) {
      text += text.empty() ? "" : " ";
      if (dim.empty()) text += "-";
      for (const std::string& axis : dim) text += axis;
    }
    return text;
  }
  return "none";
}

/// No two strategies on the same degrees have the same shardings: what a strategy says can be read from the tensors.
TEST(ShardyExport, EveryShardingIsSeen) {
  const Problem problem = MakeProblem("llama-3.1-8b", "decode-chat", 8);
  const StrategySpace space(problem);
  Strategy base = Tensor(8);
  const auto tensors_of = [&](const Strategy& s) {
    const ShardyArguments a = ShardyArgumentsOf(problem, s);
    std::string all;
    for (const TensorSharding& t : a.tensors) all += t.name + ":" + AxesOf(a, t.name) + "\n";
    return all;
  };
  std::map<std::string, Strategy> seen;
  int compared = 0;
  for (std::size_t op = 0; op < kNumShardedOperators; ++op) {
    for (const Sharding sharding : AdmittedShardings(static_cast<Operator>(op))) {
      Strategy s = base;
      s.SetSharding(static_cast<Operator>(op), sharding);
      if (s == base || !space.WhyNot(s).empty()) continue;
      const auto [at, is_new] = seen.emplace(tensors_of(s), s);
      EXPECT_TRUE(is_new) << ToShortString(s) << " is written as " << ToShortString(at->second);
      ++compared;
    }
  }
  EXPECT_FALSE(seen.contains(tensors_of(base)));
  EXPECT_GE(compared, 12);
}

void CheckShardy(const ExportResult& result, const Strategy& s) {
  const std::string script = TextOf(result, "jax_shardings.py"), where = ToShortString(s);
  EXPECT_EQ(script.find("pipeline"), std::string::npos) << where;
  EXPECT_NE(script.find("reached by " + std::string(ToString(s.expert_exchange))), std::string::npos) << where;
  std::int64_t devices = 1;
  const std::optional<frameworks::StageMesh> mesh = frameworks::StageMesh::Of(s, LoadModel("mixtral-8x7b"));
  ASSERT_TRUE(mesh) << where;
  for (const frameworks::MeshAxis& axis : mesh->axes()) devices *= axis.size;
  EXPECT_EQ(devices, s.StageSize()) << where;
}

struct Case {
  const char* model;
  const char* workload;
  std::int64_t devices;
};

class ShardingPlans : public testing::TestWithParam<Framework> {};

TEST_P(ShardingPlans, ManyPlansAreWrittenOrRefused) {
  const bool dense_only = GetParam() == Framework::kDtensor;
  const auto check = dense_only                               ? CheckDtensor
                     : GetParam() == Framework::kTransformers ? CheckTransformers
                                                              : CheckShardy;
  int plans = 0;
  Counts counts;
  for (const Case& c : {Case{"llama-3.1-8b", "decode-chat", 8},
                        {"llama-3.1-70b", "prefill-chat", 16},
                        {"qwen3-8b", "serve-chat", 12},
                        {"mixtral-8x7b", "decode-chat", 16},
                        {"deepseek-v3", "serve-chat", 32},
                        {"gpt-oss-20b", "prefill-chat", 8}}) {
    const Problem problem = MakeProblem(c.model, c.workload, c.devices);
    if (dense_only && problem.model().HasMoe()) continue;
    const Counts of_case = ExportMany(GetParam(), problem, 10, 5, check);
    plans += 20;
    counts.lossless += of_case.lossless;
    counts.lowered += of_case.lowered;
    counts.refused += of_case.refused;
  }
  EXPECT_EQ(counts.lossless + counts.lowered + counts.refused, plans);
  EXPECT_GE(counts.lossless, 30);
}

INSTANTIATE_TEST_SUITE_P(Frameworks, ShardingPlans,
                         testing::Values(Framework::kTransformers, Framework::kDtensor, Framework::kShardy),
                         [](const auto& param_info) { return std::string(ToString(param_info.param)); });

}  // namespace
}  // namespace shardscout::exporters
