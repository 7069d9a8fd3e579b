// A deployment whose figures are easy to check by hand: Llama-3.1-405B in bf16, 811 GB of weights, on 32 H100s.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/cluster_spec.h"
#include "shardscout/model_spec.h"
#include "shardscout/strategy.h"
#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class Llama405B : public Cli {
 protected:
  static Words On32H100s(Words words) {
    words.insert(words.end(), {"--model", "llama-3.1-405b", "--weight-dtype", "bf16", "--cluster", "h100-sxm",
                               "--devices", "32", "--workload", "decode-chat"});
    return words;
  }

  /// Megatron's shardings at TP 8, PP 4.
  std::string WriteStrategy(std::int64_t batch_size) const {
    Strategy strategy;
    strategy.pipeline_parallel_size = 4;
    strategy.tensor_parallel_size = 8;
    strategy.batch_size = batch_size;
    strategy.num_microbatches = 4;
    strategy.SetSharding(Operator::kEmbedding, Sharding::kVocab);
    for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
      strategy.SetSharding(op, Sharding::kHeads);
    }
    for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) strategy.SetSharding(op, Sharding::kFfn);
    strategy.SetSharding(Operator::kLmHead, Sharding::kVocab);
    std::ofstream(Path("strategy.json")) << ToJson(strategy);
    return Path("strategy.json");
  }

  json Evaluate(std::int64_t batch_size, const Words& more = {}) const {
    Words words = On32H100s({"evaluate", WriteStrategy(batch_size), "--json"});
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = Run(words);
    const json strategy = json::parse(result.out)["strategy"];
    EXPECT_EQ(result.exit_code, strategy["feasible"] ? 0 : 3) << result.err;
    return strategy;
  }
};

TEST_F(Llama405B, IsFeasibleAtTp8Pp4) {
  const json strategy = Evaluate(64);
  EXPECT_TRUE(strategy["feasible"]);
  EXPECT_EQ(strategy["evaluation"]["metrics"]["replicas"], 1);
  EXPECT_EQ(strategy["evaluation"]["metrics"]["idle_devices"], 0);
  // 126 layers over four stages: the fullest holds 32 of them, so a little more than a 32nd of all weights.
  const double all = 2.0 * static_cast<double>(CountParameters(LoadModel("llama-3.1-405b")).total);
  const double held = strategy["evaluation"]["memory"]["weight_bytes"];
  EXPECT_NEAR(all, 811.7e9, 0.1e9);
  EXPECT_GT(held, all / 32);
  EXPECT_LT(held, 1.02 * all / 32);
  // K and V of one of 8 heads of 128 in bf16, 32 layers, 64 requests of 4,096 + 1,024 positions.
  EXPECT_DOUBLE_EQ(strategy["evaluation"]["memory"]["kv_cache_bytes"], 2.0 * 128 * 2 * 32 * 64 * 5120);
}

TEST_F(Llama405B, ASmallSearchFindsAFeasiblePlan) {
  const ProcessResult result = Run(On32H100s(
      {"search", "--searcher", "local-search", "--budget", "2000", "--out", Path("plan.json"), "--json", "--quiet"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  EXPECT_TRUE(report["best"]["feasible"]);
  EXPECT_TRUE(report["megatron"]["feasible"]);
  EXPECT_GT(report["best"]["reward"], 1.0) << "more than the Megatron rule's throughput";
  const ProcessResult explained = Run({"explain", Path("plan.json")});
  EXPECT_EQ(explained.exit_code, 0) << explained.err;
}

TEST_F(Llama405B, ExplainShowsTheMemoryByPart) {
  const ProcessResult result = Run(On32H100s({"explain", WriteStrategy(64)}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::size_t table = result.out.find("memory on a device of the fullest stage");
  ASSERT_NE(table, std::string::npos) << result.out;
  for (const char* row : {"\nweights        25.5 GB", "\nKV cache       5.37 GB", "\nactivations ", "\ncommunication ",
                          "\nreserve        3.50 GB", "\ntotal ", "\nlimit          77.3 GB"}) {
    EXPECT_NE(result.out.find(row, table), std::string::npos) << row << "\n" << result.out;
  }
}

TEST_F(Llama405B, TheMemoryFractionTakesFromTheKvCache) {
  const double hbm_bytes = LoadCluster("h100-sxm").device.hbm_bytes;
  const json usual = Evaluate(256), half = Evaluate(256, {"--memory-fraction", "0.5"});
  const json &usual_memory = usual["evaluation"]["memory"], &half_memory = half["evaluation"]["memory"];
  EXPECT_DOUBLE_EQ(usual_memory["limit_bytes"], 0.9 * hbm_bytes);
  EXPECT_NEAR(usual_memory["limit_bytes"].get<double>() - half_memory["limit_bytes"].get<double>(), 0.4 * hbm_bytes, 1);
  // What else lies in the memory is the same, so that all of it is taken from what the KV cache may have: 256 requests
  // need 21.5 GB of KV cache beside 29 GB, which is too much for one of the two.
  for (const char* part :
       {"weight_bytes", "kv_cache_bytes", "activation_bytes", "communication_bytes", "reserved_bytes"}) {
    EXPECT_EQ(usual_memory[part], half_memory[part]) << part;
  }
  EXPECT_LT(usual["evaluation"]["excess"]["memory"], 0.0);
  EXPECT_GT(half["evaluation"]["excess"]["memory"], 0.0);
}

}  // namespace
}  // namespace shardscout::test
