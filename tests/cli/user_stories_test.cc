// The questions that users of frameworks ask in their issue trackers, each as one run of the program.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class UserStories : public Cli {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
    return Path(name);
  }

  json RunJson(Words words) const {
    words.emplace_back("--json");
    words.emplace_back("--quiet");
    const ProcessResult result = Run(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  /// compare-plans of the files, and the plans of what it prints.
  json Compare(const Words& files, const Words& options) const {
    Words words = {"compare-plans"};
    words.insert(words.end(), files.begin(), files.end());
    words.insert(words.end(), options.begin(), options.end());
    return RunJson(words).at("plans");
  }

  static double Throughput(const json& plan) {
    return plan.at("evaluation").at("metrics").at("throughput_per_device").get<double>();
  }

  static bool Contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
};

/// 1. Six devices, 64 heads: vllm issues 4232, 11147, 596.
TEST_F(UserStories, TheDeviceCountDoesNotDivideTheHeads) {
  const std::string six = Write("six.sh", "vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 6");
  const Words on = {"--cluster", "h100-sxm", "--workload", "decode-chat"};
  ExpectUserError(Run({"evaluate", six, on[0], on[1], on[2], on[3]}),
                  "vllm.heads_divide_tp: Total number of attention heads (64) must be divisible by tensor parallel "
                  "size (6)");
  const json best = RunJson({"search", "--model", "llama-3.1-70b", "--devices", "6", on[0], on[1], on[2], on[3],
                             "--searcher", "exact", "--for", "vllm", "--out", Path("plan.json")})
                        .at("best");
  EXPECT_EQ(best.at("strategy").at("tensor_parallel_size"), 2);
  EXPECT_EQ(best.at("strategy").at("pipeline_parallel_size"), 3);
  const json exported = RunJson({"export", Path("plan.json"), "--to", "vllm", "--out", folder_.string()});
  EXPECT_TRUE(exported.at("dropped").empty());
  // 27, 27, 26 layers is what vLLM does by itself.
  EXPECT_EQ(exported.at("command"), "vllm serve --config vllm.yaml");
  EXPECT_TRUE(Contains(Read(Path("vllm.yaml")), "\npipeline-parallel-size: 3\n"));
  // What four of the six would leave behind.
  const std::string four = Write("four.sh", "vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4");
  const json plans =
      Compare({four, Path("plan.json")}, {"--model", "llama-3.1-70b", "--devices", "6", on[0], on[1], on[2], on[3]});
  EXPECT_EQ(plans[0].at("evaluation").at("metrics").at("idle_devices"), 2);
  EXPECT_GT(Throughput(plans[1]), Throughput(plans[0]));
}

/// 2. What tp, dp and ep mean: sglang issues 8530, 8164.
TEST_F(UserStories, WhatSglangsSizesMean) {
  const std::string flags =
      Write("flags.sh",
            "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp-size 16 --dp-size 4 --ep-size 8 "
            "--enable-dp-attention");
  const ProcessResult explained = Run({"explain", flags, "--cluster", "h200-sxm", "--workload", "decode-chat"});
  EXPECT_EQ(explained.exit_code, 0) << explained.err;
  EXPECT_TRUE(
      Contains(explained.out, "sglang: attention tp 4, dp 4, cp 1; experts tp 2, ep 8; pp 1; 16 devices an instance"))
      << explained.out;
}

/// 3. How to turn expert parallelism on: vllm issues 29382, 21054.
TEST_F(UserStories, ExpertParallelismInVllm) {
  const Words search = {"search", "--model",    "deepseek-v3", "--cluster",  "h200-sxm", "--devices",
                        "16",     "--workload", "decode-chat", "--searcher", "exact"};
  const auto plan = [&](const std::string& name, const Words& fixed) {
    Words words = search;
    for (const std::string& fix : fixed) words.insert(words.end(), {"--fix", fix});
    words.insert(words.end(), {"--out", Path(name)});
    EXPECT_EQ(Run(words).exit_code, 0);
    return Path(name);
  };
  const std::string dealt =
      plan("dealt.json", {"tensor_parallel_size=1", "data_parallel_size=16", "expert_parallel_size=16",
                          "residual_layout=replicated", "dense_ffn_group=tp"});
  EXPECT_EQ(Run({"export", dealt, "--to", "vllm", "--out", folder_.string()}).exit_code, 0);
  for (const char* line :
       {"\ntensor-parallel-size: 1\n", "\ndata-parallel-size: 16\n", "\nenable-expert-parallel: true\n"}) {
    EXPECT_TRUE(Contains(Read(Path("vllm.yaml")), line)) << line;
  }
  const std::string mixed =
      plan("mixed.json", {"tensor_parallel_size=1", "data_parallel_size=16", "expert_parallel_size=8",
                          "expert_tensor_parallel_size=2", "expert_exchange=gather_scatter", "dense_ffn_group=tp",
                          "shardings.expert_up=ffn", "shardings.expert_down=ffn"});
  const ProcessResult refused = Run({"export", mixed, "--to", "vllm", "--out", folder_.string()});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(Contains(refused.err, "expert_tensor_parallel_size = 2")) << refused.err;
  EXPECT_TRUE(Contains(refused.err, "predicted:")) << refused.err;
  for (const char* target : {"sglang", "tensorrt-llm"}) {
    const ProcessResult taken = Run({"export", mixed, "--to", target, "--out", folder_.string()});
    EXPECT_EQ(taken.exit_code, 0) << taken.err;
  }
}

/// 4. Tensor parallelism copies MLA's cache: vllm issue 51454.
TEST_F(UserStories, TensorParallelismCopiesTheLatentCache) {
  const std::string model = "model: deepseek-ai/DeepSeek-V3\n";
  const json plans = Compare(
      {Write("tp8.yaml", model + "tensor-parallel-size: 8\n"),
       Write("dp8.yaml", model + "data-parallel-size: 8\nenable-expert-parallel: true\n"),
       Write("dcp8.yaml", model + "tensor-parallel-size: 8\ndecode-context-parallel-size: 8\n")},
      {"--cluster", "h200-sxm", "--devices", "8", "--workload", "decode-chat", "--isl", "32768", "--tpot", "none"});
  // Bytes of a device for each request of the node.
  const auto bytes = [](const json& plan) {
    const json& evaluation = plan.at("evaluation");
    return evaluation.at("memory").at("kv_cache_bytes").get<double>() /
           evaluation.at("metrics").at("concurrency").get<double>();
  };
  EXPECT_NEAR(bytes(plans[0]) / bytes(plans[1]), 8, 1e-9);
  EXPECT_NEAR(bytes(plans[0]) / bytes(plans[2]), 8, 1e-9);
  EXPECT_GT(Throughput(plans[1]), 2 * Throughput(plans[0]));
  EXPECT_GT(Throughput(plans[2]), 2 * Throughput(plans[0]));
}

/// 5. FP8 blocks against tensor parallelism: vllm issue 17569, Qwen3 issue 1485.
TEST_F(UserStories, Fp8BlocksLimitTensorParallelism) {
  const Words options = {"--cluster", "h200-sxm",       "--workload", "decode-chat",   "--devices",
                         "8",         "--weight-dtype", "fp8",        "--quant-block", "128"};
  const auto evaluate = [&](const std::string& flags) {
    Words words = {"evaluate", Write("run.sh", "vllm serve Qwen/Qwen3-235B-A22B-FP8 " + flags)};
    words.insert(words.end(), options.begin(), options.end());
    return Run(words);
  };
  ExpectUserError(evaluate("-tp 8"),
                  "192 (experts, 1536 over 8 ranks) is not a multiple of the quantisation block 128");
  EXPECT_EQ(evaluate("-tp 8 --enable-expert-parallel").exit_code, 0);
  EXPECT_EQ(evaluate("-tp 4").exit_code, 0);
}

/// 6. NVLink bridges: vllm issues 367, 7958.
TEST_F(UserStories, BridgedPairsTakeTensorParallelism) {
  const std::string topo = Write("topo.txt",
                                 "\tGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\n"
                                 "GPU0\t X \tSYS\tNV12\tSYS\t0-31\nGPU1\tSYS\t X \tSYS\tNV12\t0-31\n"
                                 "GPU2\tNV12\tSYS\t X \tSYS\t0-31\nGPU3\tSYS\tNV12\tSYS\t X \t0-31\n");
  const ProcessResult imported = Run({"import-cluster", topo, "--like", "a100-80-pcie", "--out", Path("cluster.json")});
  EXPECT_EQ(imported.exit_code, 0) << imported.err;
  EXPECT_TRUE(Contains(imported.out, "CUDA_VISIBLE_DEVICES=0,2,1,3")) << imported.out;
  // Tensor parallelism goes over the bridges and no further.
  const auto best_on = [&](const std::string& cluster) {
    return RunJson({"search", "--model", "llama-3.1-70b", "--cluster", cluster, "--devices", "4", "--workload",
                    "prefill-chat", "--ttft", "none", "--searcher", "exact", "--for", "vllm"})
        .at("best");
  };
  EXPECT_EQ(best_on(Path("cluster.json")).at("strategy").at("tensor_parallel_size"), 2);
  // The same pairs without a bridge between them are slower.
  const std::string pairs = Write("pairs.sh", "vllm serve meta-llama/Llama-3.1-70B -tp 2 -pp 2");
  const auto on = [&](const std::string& cluster) {
    return Throughput(RunJson({"evaluate", pairs, "--cluster", cluster, "--workload", "prefill-chat", "--ttft", "none"})
                          .at("strategy"));
  };
  EXPECT_GT(on(Path("cluster.json")), 1.1 * on("a100-80-pcie"));
}

/// 7. Experts cut or dealt: TensorRT-LLM issue 2331, dbrx issue 8.
TEST_F(UserStories, ExpertsCutOrDealt) {
  const std::string vllm = "vllm serve mistralai/Mixtral-8x22B-Instruct-v0.1 -tp 8";
  const Words files = {Write("cut.sh", vllm), Write("dealt.sh", vllm + " --enable-expert-parallel"),
                       Write("both.sh",
                             "python -m sglang.launch_server --model-path "
                             "mistralai/Mixtral-8x22B-Instruct-v0.1 --tp-size 8 --ep-size 4")};
  const auto dealt_to_cut = [&](const char* concurrency) {
    const json plans = Compare(files, {"--cluster", "h100-sxm", "--devices", "8", "--workload", "decode-chat",
                                       "--concurrency", concurrency, "--tpot", "none"});
    EXPECT_EQ(plans[2].at("deployment").at("expert"), 4);
    EXPECT_EQ(plans[2].at("deployment").at("expert_tensor"), 2);
    return Throughput(plans[1]) / Throughput(plans[0]);
  };
  // One request wakes two experts: dealt, they keep two devices of eight busy. With more it matters less.
  EXPECT_LT(dealt_to_cut("1"), 0.9);
  EXPECT_GT(dealt_to_cut("16"), dealt_to_cut("1"));
}

/// 8. Attention data parallelism at low concurrency: sglang issue 23896.
TEST_F(UserStories, DataParallelAttentionNeedsConcurrency) {
  const std::string start = "python -m sglang.launch_server --model-path Qwen/Qwen3-30B-A3B --tp-size 4 ";
  const Words files = {Write("tp.sh", start), Write("dp.sh", start + "--dp-size 4 --ep-size 4 --enable-dp-attention "
                                                                     "--moe-a2a-backend deepep")};
  const auto gain = [&](const char* concurrency) {
    const json plans = Compare(files, {"--cluster", "h100-sxm", "--devices", "4", "--workload", "decode-chat",
                                       "--concurrency", concurrency, "--tpot", "none"});
    return Throughput(plans[1]) / Throughput(plans[0]);
  };
  EXPECT_LT(gain("4"), 1);
  EXPECT_GT(gain("256"), 1);
}

/// 9. Tensor parallelism over nodes of one device each: sglang issue 2794.
TEST_F(UserStories, TensorParallelismOverSlowNodes) {
  const json preset = json::parse(Read(std::string(SHARDSCOUT_TEST_CONFIGS) + "/clusters/a100-80-pcie.json"));
  json cluster = preset;
  cluster["name"] = "ethernet";
  cluster["devices_per_node"] = 1;
  cluster["num_devices"] = 16;
  json network = preset.at("tiers").back();
  network["bytes_per_s"] = 25e9 / 8;
  network["rails"] = 1;
  cluster["tiers"] = json::array({network});
  const std::string path = Write("ethernet.json", cluster.dump());
  const std::string tp16 = Write("tp16.sh", "vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 16");
  const ProcessResult explained =
      Run({"explain", tp16, "--cluster", path, "--workload", "decode-chat", "--tpot", "none"});
  EXPECT_TRUE(Contains(explained.out, "all_reduce over tp (16 ranks)")) << explained.out;
  const std::size_t share = explained.out.find("% of it in collectives");
  ASSERT_NE(share, std::string::npos) << explained.out;
  const double in_collectives = std::stod(explained.out.substr(explained.out.rfind(',', share) + 1));
  EXPECT_GT(in_collectives, 80);
  const json best = RunJson({"search", "--model", "llama-3.1-70b", "--cluster", path, "--workload", "decode-chat",
                             "--tpot", "none", "--searcher", "exact", "--for", "vllm"})
                        .at("best");
  EXPECT_EQ(best.at("strategy").at("tensor_parallel_size"), 1);
  EXPECT_GT(best.at("strategy").at("pipeline_parallel_size"), 1);
}

/// 10. How many devices for prefill and how many for decode: vllm issue 23144.
TEST_F(UserStories, PrefillToDecodeFollowsTheRequests) {
  const auto devices_of_prefill_to_decode = [&](const char* input, const char* output) {
    const auto rate = [&](const char* workload) {
      return RunJson({"search", "--model", "llama-3.1-70b", "--cluster", "h100-sxm", "--devices", "8", "--workload",
                      workload, "--isl", input, "--osl", output, "--searcher", "exact", "--for", "vllm"})
          .at("best")
          .at("evaluation")
          .at("metrics")
          .at("throughput_per_device")
          .get<double>();
    };
    // Device seconds a request of each.
    return (std::stod(input) / rate("prefill-chat")) / (std::stod(output) / rate("decode-chat"));
  };
  const double long_prompts = devices_of_prefill_to_decode("8192", "1024");
  const double long_answers = devices_of_prefill_to_decode("1024", "4096");
  EXPECT_GT(long_prompts, 0.5);
  EXPECT_LT(long_answers, 0.15);
}

/// 11. 61 layers over 16 stages: NVIDIA/Megatron-LM issues 5958, 1459, 857.
TEST_F(UserStories, LayersThatDoNotDivideOverStages) {
  RunJson({"search",
           "--model",
           "deepseek-v3",
           "--cluster",
           "h100-sxm",
           "--devices",
           "1024",
           "--workload",
           "train-4k",
           "--global-batch",
           "4096",
           "--for",
           "megatron",
           "--searcher",
           "local-search",
           "--budget",
           "60",
           "--fix",
           "pipeline_parallel_size=16",
           "--out",
           Path("plan.json")});
  const ProcessResult exported =
      Run({"export", Path("plan.json"), "--to", "megatron", "--out-dir", Path("to/megatron")});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const std::string arguments = Read(Path("to/megatron/megatron.args"));
  // The last stage, which has the head, takes the fewest.
  EXPECT_TRUE(Contains(arguments, "--pipeline-model-parallel-layout Et*3|t*3|t*4|t*4|")) << arguments;
  EXPECT_TRUE(Contains(arguments, "|t*4|t*3L")) << arguments;
  EXPECT_TRUE(Contains(arguments, "--global-batch-size 4096")) << arguments;
  EXPECT_TRUE(Contains(exported.out, "pretrain_gpt.py")) << exported.out;
}

/// 12. Will it fit before 64 GPUs are booked: Megatron-LM issues 597 and 525.
TEST_F(UserStories, WillItFit) {
  const Words on = {"--model", "llama-3.1-70b", "--cluster", "h100-sxm",       "--devices",
                    "64",      "--workload",    "train-4k",  "--global-batch", "256"};
  const auto evaluate = [&](const std::string& training) {
    std::string layers = R"("residual_layout":"token_sharded","dense_ffn_group":"tp","expert_exchange":"all_to_all",)"
                         R"("overlap":"none","shardings":{"embedding":"vocab","qkv":"heads","attention":"heads",)"
                         R"("attn_out":"heads","router":"none","ffn_up":"ffn","ffn_down":"ffn","expert_up":"none",)"
                         R"("expert_down":"none","lm_head":"vocab"})";
    const std::string strategy =
        R"({"pipeline_parallel_size":1,"tensor_parallel_size":8,"context_parallel_size":1,"data_parallel_size":8,)"
        R"("expert_parallel_size":1,"expert_tensor_parallel_size":1,"batch_size":32,"num_microbatches":32,)" +
        layers + training + "}";
    Words words = {"evaluate", Write("strategy.json", strategy)};
    words.insert(words.end(), on.begin(), on.end());
    words.emplace_back("--json");
    const ProcessResult result = Run(words);
    return json::parse(result.out, nullptr, false).at("strategy").at("evaluation");
  };
  // 70.6e9 weights over 8 ranks: 2 + 4 + 12 bytes each do not fit; with the states over 8 data parallel ranks they do.
  const json whole = evaluate("");
  EXPECT_GT(whole.at("excess").at("memory").get<double>(), 0.5);
  EXPECT_NEAR(whole.at("memory").at("optimizer_bytes").get<double>(), 12 * 70.55e9 / 8, 1e9);
  EXPECT_NEAR(whole.at("memory").at("gradient_bytes").get<double>(), 4 * 70.55e9 / 8, 1e9);
  const json shared =
      evaluate(R"(,"training":{"virtual_pipeline_parallel_size":1,"zero_stage":1,"recomputation":"full"})");
  EXPECT_LE(shared.at("excess").at("memory").get<double>(), 0);
  EXPECT_NEAR(shared.at("memory").at("optimizer_bytes").get<double>(), 12 * 70.55e9 / 64, 1e9);
}

/// 13. Advice that contradicts itself: recipes issue 832, LMCache PR 2521.
TEST_F(UserStories, TwoSettingsExplained) {
  const std::string a = Write("a.yaml", "model: Qwen/Qwen3-32B\ntensor-parallel-size: 8\n");
  const std::string b = Write("b.yaml", "model: Qwen/Qwen3-32B\ntensor-parallel-size: 2\ndata-parallel-size: 4\n");
  const ProcessResult compared =
      Run({"compare-plans", a, b, "--cluster", "h100-sxm", "--devices", "8", "--workload", "decode-chat"});
  EXPECT_EQ(compared.exit_code, 0) << compared.err;
  EXPECT_TRUE(Contains(compared.out, "b.yaml against ")) << compared.out;
  EXPECT_TRUE(Contains(compared.out, "tensor_parallel_size")) << compared.out;
  EXPECT_TRUE(Contains(compared.out, "x the first")) << compared.out;
  const Words page = {
      "compare-plans",  a, b, "--cluster", "h100-sxm", "--devices", "8", "--workload", "decode-chat", "--report",
      Path("page.html")};
  const ProcessResult paged = Run(page);
  if (paged.err.find("Chart.js") != std::string::npos) return;  // Built without: refused, with the remedy.
  EXPECT_EQ(paged.exit_code, 0) << paged.err;
  EXPECT_NE(Read(Path("page.html")).find("b.yaml"), std::string::npos);
  EXPECT_EQ(Run({"compare-plans", a, b, a, "--cluster", "h100-sxm", "--devices", "8", "--workload", "decode-chat",
                 "--report", Path("three.html")})
                .exit_code,
            2);
}

}  // namespace
}  // namespace shardscout::test
