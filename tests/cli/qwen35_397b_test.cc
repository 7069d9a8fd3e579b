// A deployment with linear attention whose memory is easy to check by hand: Qwen3.5-397B in FP8 on one node of H200s.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/strategy.h"
#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class Qwen35 : public Cli {
 protected:
  static Words OnOneNode(Words words) {
    words.insert(words.end(), {"--model", "qwen3.5-397b-a17b", "--weight-dtype", "fp8", "--cluster", "h200-sxm",
                               "--devices", "8", "--workload", "decode-chat"});
    return words;
  }
  /// Megatron's shardings of attention at TP 8, the experts over the same ranks.
  std::string WriteStrategy() const {
    Strategy strategy;
    strategy.tensor_parallel_size = strategy.expert_parallel_size = 8;
    strategy.batch_size = 64;
    strategy.expert_exchange = ExpertExchange::kGatherReduce;
    for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
      strategy.SetSharding(op, Sharding::kHeads);
    }
    for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) strategy.SetSharding(op, Sharding::kFfn);
    strategy.SetSharding(Operator::kEmbedding, Sharding::kVocab);
    strategy.SetSharding(Operator::kLmHead, Sharding::kVocab);
    std::ofstream(Path("strategy.json")) << ToJson(strategy);
    return Path("strategy.json");
  }
};

TEST_F(Qwen35, MemoryOfATensorParallelNode) {
  const ProcessResult result = Run(OnOneNode({"evaluate", WriteStrategy(), "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json memory = json::parse(result.out)["strategy"]["evaluation"]["memory"];
  // 15 layers, of 2 KV heads one a rank: K and V of 256 in bf16, 64 requests of 4096 + 1024 positions.
  EXPECT_DOUBLE_EQ(memory["kv_cache_bytes"], 15.0 * 2 * 256 * 2 * 64 * 5120);
  // 45 layers, 8 of 64 value heads and 2 of 16 key heads a rank: states of 128 x 128 in fp32, and 3 inputs of 2 * 256 +
  // 1024 channels in bf16.
  EXPECT_DOUBLE_EQ(memory["linear_state_bytes"], 45.0 * 64 * (8 * 128 * 128 * 4 + 3 * 1536 * 2));
  // An eighth of 394e9 bytes of projections and experts, and of 2.03e9 numbers of both tables in bf16; routers, gates
  // and norms on every rank.
  EXPECT_NEAR(memory["weight_bytes"], 50.1e9, 0.2e9);
}

TEST_F(Qwen35, IsDescribed) {
  const ProcessResult result = Run(OnOneNode({"explain", WriteStrategy()}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part :
       {"linear attention in 45 of 60 layers", "linear_attention ", "linear attention's states", "gate_output "}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
}

TEST_F(Qwen35, PositionsAreNotSplit) {
  const ProcessResult result = Run(OnOneNode({"search", "--fix", "context_parallel_size=2"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("the state of linear attention runs through all positions"), std::string::npos)
      << result.err;
}

}  // namespace
}  // namespace shardscout::test
