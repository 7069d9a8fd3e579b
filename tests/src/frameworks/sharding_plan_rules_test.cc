// Rules of what takes a sharding a tensor or a module.

#include "src/frameworks/dtensor.h"
#include "src/frameworks/shardy.h"
#include "src/frameworks/transformers.h"
#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::frameworks {
namespace {

const std::string kLayer = "model.layers.*.";

using Entries = std::vector<std::pair<std::string, std::string>>;

BreakingCase<TransformersArguments> PlanBreaks(const char* id, const char* model, std::int64_t tp_size, Entries plan) {
  return {id, model, {.tp_size = tp_size, .tp_plan = std::move(plan)}};
}

Entries Attention() {
  return {{kLayer + "self_attn.q_proj", "colwise"},
          {kLayer + "self_attn.k_proj", "colwise"},
          {kLayer + "self_attn.v_proj", "colwise"},
          {kLayer + "self_attn.o_proj", "rowwise"}};
}

TEST(TransformersRules, EachIsBrokenByItsCase) {
  ExpectEachIsBroken<TransformersArguments>(
      TransformersRules(),
      {PlanBreaks("transformers.style", "llama-3.1-8b", 2, {{"lm_head", "colwise_scatter"}}),
       PlanBreaks("transformers.heads_divide", "llama-3.1-8b", 16, Attention()),
       PlanBreaks("transformers.heads_divide", "llama-3.1-70b", 6, Attention()),
       PlanBreaks("transformers.sizes_divide", "gpt-2", 2, {{"lm_head", "colwise_gather_output"}}),
       PlanBreaks("transformers.sizes_divide", "mixtral-8x7b", 16,
                  {{kLayer + "mlp.experts.gate_up_proj", "grouped_gemm"}}),
       PlanBreaks("transformers.rows", "llama-3.1-8b", 2, {{kLayer + "mlp.down_proj", "rowwise"}}),
       PlanBreaks("transformers.rows", "llama-3.1-8b", 2, {{kLayer + "self_attn.o_proj", "rowwise"}}),
       PlanBreaks("transformers.columns", "llama-3.1-8b", 2, {{kLayer + "mlp.gate_proj", "colwise"}}),
       PlanBreaks("transformers.experts", "mixtral-8x7b", 2, {{kLayer + "mlp.experts.down_proj", "rowwise"}}),
       PlanBreaks("transformers.router", "mixtral-8x7b", 2, {{kLayer + "mlp.experts.down_proj", "grouped_gemm"}}),
       PlanBreaks("transformers.tied", "gpt-2", 3, {{"model.embed_tokens", "embedding_rowwise"}})});
}

TEST(TransformersRules, LlamasOwnPlanIsKept) {
  Entries plan = Attention();
  plan.insert(plan.end(), {{kLayer + "mlp.gate_proj", "colwise"},
                           {kLayer + "mlp.up_proj", "colwise"},
                           {kLayer + "mlp.down_proj", "rowwise"},
                           {"lm_head", "colwise_gather_output"}});
  EXPECT_EQ(
      BrokenIds(TransformersRules(), TransformersArguments{.tp_size = 8, .tp_plan = plan}, LoadModel("llama-3.1-8b")),
      std::set<std::string>{});
}

const char* const kWhole = "Replicate()";
const char* const kSplit = "Shard(-1)";

BreakingCase<DtensorArguments> ModulesBreak(const char* id, const char* model, std::int64_t tp_size,
                                            std::vector<ModuleStyle> plan) {
  return {id, model, {.tp_size = tp_size, .plan = std::move(plan)}};
}

ModuleStyle Columns(const char* module) { return {module, "ColwiseParallel", kWhole, "", kSplit, ""}; }

TEST(DtensorRules, EachIsBrokenByItsCase) {
  ExpectEachIsBroken<DtensorArguments>(
      DtensorRules(),
      {ModulesBreak("dtensor.style", "llama-3.1-8b", 2, {{"norm", "NormParallel", kWhole, "", kWhole, ""}}),
       ModulesBreak("dtensor.placement", "llama-3.1-8b", 2,
                    {{"output", "ColwiseParallel", "Partial()", "", kWhole, ""}}),
       ModulesBreak("dtensor.placement", "llama-3.1-8b", 2, {{"output", "ColwiseParallel", "", "", kWhole, ""}}),
       ModulesBreak("dtensor.once", "llama-3.1-8b", 2, {Columns("output"), Columns("output")}),
       ModulesBreak("dtensor.linear", "mixtral-8x7b", 2, {}),
       ModulesBreak("dtensor.heads_divide", "llama-3.1-8b", 16, {Columns("layers.*.attention.wk")}),
       ModulesBreak("dtensor.sizes_divide", "gpt-2", 2, {Columns("output")}),
       ModulesBreak("dtensor.flow", "llama-3.1-8b", 2, {Columns("layers.*.feed_forward.w3")}),
       ModulesBreak("dtensor.tied", "gpt-2", 3, {{"tok_embeddings", "RowwiseParallel", kWhole, "", kWhole, ""}})});
}

ShardyArguments With(std::vector<std::int64_t> dims, std::vector<std::vector<std::string>> axes) {
  return {.mesh = {{"a1", 2}, {"a0", 4}}, .tensors = {{"tensor", "bf16", std::move(dims), std::move(axes)}}};
}

TEST(ShardyRules, EachIsBrokenByItsCase) {
  ExpectEachIsBroken<ShardyArguments>(ShardyRules(),
                                      {{"shardy.no_pipeline", "llama-3.1-8b", {.pipeline_parallel_size = 2}},
                                       {"shardy.no_overlap", "llama-3.1-8b", {.overlap = "two_batch"}},
                                       {"shardy.plain_attention", "qwen3-next-80b-a3b", {}},
                                       {"shardy.plain_attention", "deepseek-v3.2", {}},
                                       {"shardy.one_mesh", "llama-3.1-8b", {.has_mesh = false}},
                                       {"shardy.rank", "llama-3.1-8b", With({8, 8}, {{"a0"}})},
                                       {"shardy.axis_exists", "llama-3.1-8b", With({8}, {{"a2"}})},
                                       {"shardy.axis_once", "llama-3.1-8b", With({8, 8}, {{"a0"}, {"a0"}})},
                                       {"shardy.divides", "llama-3.1-8b", With({12}, {{"a1", "a0"}})}});
  EXPECT_EQ(BrokenIds(ShardyRules(), With({16, 4}, {{"a1"}, {"a0"}}), LoadModel("llama-3.1-8b")),
            std::set<std::string>{});
}

Strategy Stage(std::int64_t tp, std::int64_t dp, std::int64_t ep, std::int64_t etp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.data_parallel_size = dp;
  s.expert_parallel_size = ep;
  s.expert_tensor_parallel_size = etp;
  return s;
}

TEST(StageMesh, AttentionsAndExpertsGroupsAreViewsOfOneMesh) {
  using Group = StageMesh::Group;
  const ModelSpec model = LoadModel("mixtral-8x7b");
  // The header's example.
  const auto mesh = StageMesh::Of(Stage(4, 6, 8, 1), model);
  ASSERT_TRUE(mesh);
  EXPECT_EQ(mesh->axes(), (std::vector<MeshAxis>{{"a2", 3}, {"a1", 2}, {"a0", 4}}));
  EXPECT_EQ(mesh->AxesOf(Group::kTp), (std::vector<std::string>{"a0"}));
  EXPECT_EQ(mesh->AxesOf(Group::kDp), (std::vector<std::string>{"a2", "a1"}));
  EXPECT_EQ(mesh->AxesOf(Group::kEp), (std::vector<std::string>{"a1", "a0"}));
  EXPECT_EQ(mesh->AxesOf(Group::kEdp), (std::vector<std::string>{"a2"}));
  EXPECT_EQ(mesh->AxesOf(Group::kEtp), std::vector<std::string>{});
  EXPECT_EQ(mesh->AxesOf(Group::kCp), std::vector<std::string>{});
  EXPECT_EQ(StageMesh::Of(Stage(4, 6, 12, 1), model)->axes(), (std::vector<MeshAxis>{{"a2", 2}, {"a1", 3}, {"a0", 4}}));
  EXPECT_FALSE(StageMesh::Of(Stage(4, 3, 1, 6), model));
}

TEST(StageMesh, CopiesOfKvHeadsAreTheInnerPartOfTp) {
  using Group = StageMesh::Group;
  // 8 KV heads over 32 ranks: 4 neighbours hold a copy each.
  const auto mesh = StageMesh::Of(Stage(32, 1, 1, 1), LoadModel("llama-3.1-8b"));
  ASSERT_TRUE(mesh);
  EXPECT_EQ(mesh->axes(), (std::vector<MeshAxis>{{"a1", 8}, {"a0", 4}}));
  EXPECT_EQ(mesh->AxesOf(Group::kTp), (std::vector<std::string>{"a1", "a0"}));
  EXPECT_EQ(mesh->AxesOf(Group::kKvHeads), (std::vector<std::string>{"a1"}));
  // The one latent of multi-latent attention is not split.
  EXPECT_EQ(StageMesh::Of(Stage(8, 1, 1, 8), LoadModel("deepseek-v3"))->AxesOf(Group::kKvHeads),
            std::vector<std::string>{});
}

}  // namespace
}  // namespace shardscout::frameworks
