// Deployments as users write them.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"

namespace shardscout {
namespace {

Deployment Only(const std::string& text, const ModelSpec* model = nullptr) {
  const std::vector<Deployment> deployments = ReadDeployments(text, "file", model);
  EXPECT_EQ(deployments.size(), 1u);
  return deployments.front();
}

std::string ErrorOf(const std::string& text) {
  try {
    ReadDeployments(text, "file", nullptr);
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(Import, OneDeploymentInFourWords) {
  // The worked example of deployment.h.
  const Degrees expected{.attention_data = 16, .expert = 16};
  const ModelSpec model = LoadModel("deepseek-v3");
  for (const char* text :
       {"tensor-parallel-size: 1\ndata-parallel-size: 16\nenable-expert-parallel: true\n",
        "vllm serve deepseek-ai/DeepSeek-V3 -tp 1 -dp 16 --enable-expert-parallel",
        "tp-size: 16\ndp-size: 16\nep-size: 16\nenable-dp-attention: true\n",
        "python3 -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp 16 --dp 16 --ep 16 "
        "--enable-dp-attention",
        "tensor_parallel_size: 16\nenable_attention_dp: true\nmoe_expert_parallel_size: 16\n",
        "torchrun --nproc-per-node 8 --nnodes 2 pretrain_gpt.py --tensor-model-parallel-size 1 "
        "--expert-model-parallel-size 16 --expert-tensor-parallel-size 1"}) {
    const Deployment deployment = Only(text, &model);
    EXPECT_EQ(deployment.degrees, expected) << text;
    EXPECT_EQ(deployment.degrees.InstanceSize(), 16) << text;
    EXPECT_TRUE(deployment.broken_rules.empty()) << text << deployment.broken_rules.front();
  }
}

TEST(Import, WhatTensorParallelMeans) {
  const ModelSpec dense = LoadModel("llama-3.1-70b");
  // Data parallel ranks of a dense model are replicas, in vLLM and, without DP attention, in SGLang.
  const Deployment vllm = Only("vllm serve m -tp 4 --data-parallel-size 2", &dense);
  EXPECT_EQ(vllm.replicas, 2);
  EXPECT_EQ(vllm.degrees.InstanceSize(), 4);
  const Deployment sglang = Only("tp-size: 4\ndp-size: 2\n");
  EXPECT_EQ(sglang.replicas, 2);
  EXPECT_EQ(sglang.degrees.attention_tensor, 4);
  // With it, they are parts of tp-size.
  const Deployment attention = Only("tp-size: 8\ndp-size: 2\nenable-dp-attention: true\n");
  EXPECT_EQ(attention.degrees, (Degrees{.attention_tensor = 4, .attention_data = 2, .expert_tensor = 8}));
  EXPECT_EQ(attention.replicas, 1);
  // An all-to-all of SGLang takes all ranks, whatever ep-size says.
  const Deployment deepep = Only("tp-size: 8\nep-size: 2\nmoe-a2a-backend: deepep\n");
  EXPECT_EQ(deepep.degrees.expert, 8);
  EXPECT_EQ(deepep.notes.size(), 1u);
}

TEST(Import, LimitsAndCaches) {
  const Deployment d = Only(
      "# a comment\nmodel: meta-llama/Llama-3.1-8B\ntensor-parallel-size: 2\nmax-num-seqs: 64\nmax-model-len: 8192\n"
      "gpu-memory-utilization: 0.85\nkv-cache-dtype: fp8_e4m3\nblock-size: 32\n");
  EXPECT_EQ(d.max_batch_size, 64);
  EXPECT_EQ(d.max_positions, 8192);
  EXPECT_EQ(d.memory_fraction, 0.85);
  EXPECT_EQ(d.kv_dtype, "fp8");
  EXPECT_EQ(PresetOf(d), "llama-3.1-8b");
  EXPECT_EQ(d.notes, (std::vector<std::string>{"not modelled: block-size"}));
  // Of all data parallel ranks together, and of one rank and pass.
  EXPECT_EQ(Only("tp-size: 8\ndp-size: 8\nenable-dp-attention: true\nmax-running-requests: 512\n").max_batch_size, 64);
  EXPECT_EQ(Only("tensor_parallel_size: 2\npipeline_parallel_size: 2\nmax_batch_size: 16\n").max_batch_size, 32);
}

TEST(Import, BrokenRulesAreNamed) {
  const ModelSpec model = LoadModel("llama-3.1-70b");
  const Deployment d = Only("vllm serve meta-llama/Llama-3.1-70B --tensor-parallel-size 6", &model);
  ASSERT_FALSE(d.broken_rules.empty());
  EXPECT_EQ(d.broken_rules.front().substr(0, 21), "vllm.heads_divide_tp:");
}

TEST(Import, BadFilesAreRefusedWithTheirPlace) {
  EXPECT_NE(ErrorOf("tp-size: eight\ndp-size: 2\n").find("file tp-size: found \"eight\""), std::string::npos)
      << ErrorOf("tp-size: eight\ndp-size: 2\n");
  EXPECT_NE(ErrorOf("tp-size: 8\ndp-size: 3\nenable-dp-attention: true\n").find("does not divide"), std::string::npos);
  EXPECT_NE(ErrorOf("vllm serve 'model --tensor-parallel-size 8").find("quote"), std::string::npos);
  EXPECT_NE(ErrorOf("hello: world\n").find("no deployment"), std::string::npos);
  EXPECT_NE(ErrorOf("").find("no deployment"), std::string::npos);
  EXPECT_NE(ErrorOf("tp-size: 8\nmem-fraction-static: 0.8\nenable-dp-attention: maybe\n").find("true or false"),
            std::string::npos);
  EXPECT_FALSE(LooksLikeDeployment(R"({"tensor_parallel_size": 8, "shardings": {}})"));
  EXPECT_FALSE(LooksLikeDeployment("just words -- --- -"));
}

/// YAML::LoadAll never ends on the first.
TEST(Import, MalformedTextsEnd) {
  EXPECT_FALSE(LooksLikeDeployment(std::string(",\x02\x02")));
  EXPECT_FALSE(LooksLikeDeployment("---\n---\n---\n"));
  EXPECT_TRUE(LooksLikeDeployment("---\ntp-size: 8\ndp-size: 8\n---\n"));
}

/// Aliases that double eleven times over; more than any memory when written out twenty-five times.
TEST(Import, AliasesDoNotExplode) {
  std::string text = "a0: &a0 [1, 1]\n";
  for (int i = 1; i < 26; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " {x: " + before + ", y: " + before + "}\n";
  }
  EXPECT_NE(ErrorOf(text + "tp-size: 8\n").find("too many settings"), std::string::npos);
}

/// The files of SHARDSCOUT_DATA/facts/samples that a deployment can be read from.
TEST(Import, Samples) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA is not set: no samples";
  const std::filesystem::path folder = std::filesystem::path(data) / "facts" / "samples";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  struct Expected {
    Framework framework;
    std::vector<Degrees> degrees;
    std::string preset;
  };
  const Degrees wide16{.attention_data = 16, .expert = 16};
  const std::map<std::string, Expected> samples = {
      {"vllm_dsv3_dep16.yaml", {Framework::kVllm, {wide16}, "deepseek-v3"}},
      {"vllm_llama70b_prefill.sh",
       {Framework::kVllm, {{.pipeline = 2, .attention_tensor = 4, .expert_tensor = 4}}, "llama-3.1-70b"}},
      {"sglang_dsv3_dp16.yaml", {Framework::kSglang, {wide16}, "deepseek-v3"}},
      {"trtllm_dsv3_dep8.yaml", {Framework::kTensorRtLlm, {{.attention_data = 8, .expert = 8}}, ""}},
      {"megatron_dsv3.args",
       {Framework::kMegatron, {{.pipeline = 16, .attention_data = 64, .expert_tensor = 1, .expert = 64}}, ""}},
      {"deepspeed_autotp.json", {Framework::kDeepSpeed, {{.attention_tensor = 4, .expert_tensor = 4}}, ""}},
      {"aic_estimate_request.json", {Framework::kSglang, {wide16}, "deepseek-v3"}},
      {"dynamo_dgd.yaml", {Framework::kSglang, {wide16, {.attention_data = 32, .expert = 32}}, "deepseek-r1"}},
      {"kserve_llmisvc.yaml", {Framework::kVllm, {{.attention_data = 32, .expert = 32}}, "deepseek-r1"}},
      {"llmd_values.yaml",
       {Framework::kVllm,
        {{.attention_data = 8, .expert_tensor = 8}, {.attention_data = 16, .expert_tensor = 16}},
        "deepseek-r1"}},
      {"lws.yaml", {Framework::kVllm, {{.pipeline = 2, .attention_tensor = 8, .expert_tensor = 8}}, "llama-3.1-405b"}},
      {"prodstack_values.yaml", {Framework::kVllm, {{.attention_tensor = 8, .expert_tensor = 8}}, "llama-3.1-70b"}}};
  for (const auto& [name, expected] : samples) {
    const std::string text = ReadTextFile((folder / name).string());
    EXPECT_TRUE(LooksLikeDeployment(text)) << name;
    const std::vector<Deployment> deployments = ReadDeployments(text, name, nullptr);
    ASSERT_EQ(deployments.size(), expected.degrees.size()) << name;
    for (std::size_t i = 0; i < deployments.size(); ++i) {
      EXPECT_EQ(deployments[i].framework, expected.framework) << name;
      EXPECT_EQ(deployments[i].degrees, expected.degrees[i]) << name;
      EXPECT_EQ(PresetOf(deployments[i]), expected.preset) << name;
    }
  }
}

}  // namespace
}  // namespace shardscout
