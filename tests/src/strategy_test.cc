#include "shardscout/strategy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/evaluation_json.h"
#include "src/strategy_json.h"

namespace shardscout {
namespace {

/// A strategy with a value of every kind.
constexpr const char* kExample = R"({
  "pipeline_parallel_size": 1, "tensor_parallel_size": 8, "context_parallel_size": 1, "data_parallel_size": 4,
  "expert_parallel_size": 32, "expert_tensor_parallel_size": 1, "batch_size": 64, "num_microbatches": 1,
  "residual_layout": "token_sharded", "dense_ffn_group": "tp", "expert_exchange": "all_to_all", "overlap": "none",
  "shardings": { "embedding": "vocab", "qkv": "heads", "attention": "heads", "attn_out": "heads", "router": "token",
                 "ffn_up": "ffn", "ffn_down": "ffn", "expert_up": "none", "expert_down": "none", "lm_head": "vocab" } })";

Strategy Example() {
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.data_parallel_size = 4;
  strategy.expert_parallel_size = 32;
  strategy.batch_size = 64;
  strategy.residual_layout = Layout::kTokenSharded;
  strategy.shardings = {Sharding::kVocab, Sharding::kHeads, Sharding::kHeads, Sharding::kHeads, Sharding::kToken,
                        Sharding::kFfn,   Sharding::kFfn,   Sharding::kNone,  Sharding::kNone,  Sharding::kVocab};
  return strategy;
}

std::string ErrorOf(const std::string& json) {
  try {
    ParseStrategy(json, "s.json");
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

/// The example's JSON with one text replaced by another.
std::string Changed(std::string_view from, std::string_view to) {
  std::string json = kExample;
  const std::size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return json.replace(at, from.size(), to);
}

TEST(StrategyTest, ParsesTheExampleOfTheDesign) { EXPECT_EQ(ParseStrategy(kExample, "s.json"), Example()); }

TEST(StrategyTest, WritesTheExampleInEmissionOrder) {
  EXPECT_EQ(ToJson(Example()), nlohmann::ordered_json::parse(kExample).dump());
  EXPECT_EQ(ToJson(Example(), 2), nlohmann::ordered_json::parse(kExample).dump(2));
}

TEST(StrategyTest, ShortStringOfTheExample) {
  EXPECT_EQ(ToShortString(Example()),
            "pp1 tp8 cp1 dp4 ep32 etp1 b64 m1 T tp all_to_all | vocab heads heads heads token ffn ffn none none vocab");
  Strategy strategy = Example();
  strategy.overlap = Overlap::kTwoBatch;
  strategy.residual_layout = Layout::kFeatureSharded;
  EXPECT_EQ(ToShortString(strategy).substr(0, 58), "pp1 tp8 cp1 dp4 ep32 etp1 b64 m1 F tp all_to_all two_batch");
}

TEST(StrategyTest, EveryValueOfEveryEnumReadsBack) {
  Strategy strategy = Example();
  std::set<std::string> texts;
  const auto check = [&] {
    EXPECT_EQ(ParseStrategy(ToJson(strategy), "s.json"), strategy);
    EXPECT_TRUE(texts.insert(ToJson(strategy)).second);
  };
  for (const Layout value : EnumValues(Layout{})) strategy.residual_layout = value, check();
  strategy.tensor_parallel_size = 3;
  for (const DenseFfnGroup value : EnumValues(DenseFfnGroup{})) strategy.dense_ffn_group = value, check();
  strategy.tensor_parallel_size = 5;
  for (const ExpertExchange value : EnumValues(ExpertExchange{})) strategy.expert_exchange = value, check();
  strategy.tensor_parallel_size = 7;
  for (const Overlap value : EnumValues(Overlap{})) strategy.overlap = value, check();
  strategy.tensor_parallel_size = 9;
  for (const Sharding value : EnumValues(Sharding{})) strategy.SetSharding(Operator::kRouter, value), check();
  EXPECT_EQ(texts.size(), 3u + 2u + 3u + 3u + 7u);
}

TEST(StrategyTest, NamesAreThoseOfTheDesign) {
  EXPECT_EQ(ToString(Layout::kPartial), "partial");
  std::string names;
  for (const Operator op : EnumValues(Operator{})) names += std::string(ToString(op)) + " ";
  EXPECT_EQ(names,
            "embedding qkv attention attn_out router ffn_up ffn_down expert_up expert_down lm_head dispatch combine "
            "residual pipeline ");
}

TEST(StrategyTest, ErrorsNamePlaceAndRemedy) {
  EXPECT_THAT(ErrorOf(Changed("\"overlap\"", "\"overlp\"")), testing::HasSubstr("overlap"));
  EXPECT_THAT(ErrorOf(Changed("\"batch_size\": 64, ", "")), testing::HasSubstr("batch_size"));
  EXPECT_THAT(ErrorOf(Changed("\"qkv\": \"heads\", ", "")), testing::HasSubstr("shardings"));
  EXPECT_THAT(ErrorOf(Changed("\"batch_size\": 64", "\"batch_size\": 0")), testing::HasSubstr("s.json#/batch_size"));
  EXPECT_THAT(ErrorOf(Changed("\"batch_size\": 64", "\"batch_size\": 1.5")), testing::HasSubstr("s.json#/batch_size"));
  EXPECT_THAT(ErrorOf(Changed("\"router\": \"token\"", "\"router\": \"tokens\"")),
              testing::HasSubstr("s.json#/shardings/router"));
  // A residual stream is never partial.
  EXPECT_THAT(ErrorOf(Changed("token_sharded", "partial")), testing::HasSubstr("s.json#/residual_layout"));
  EXPECT_THAT(ErrorOf("{"), testing::HasSubstr("s.json"));
  EXPECT_THAT(ErrorOf("[]"), testing::HasSubstr("s.json"));
}

TEST(StrategyTest, HashIsFnv1aOverTheFields) {
  // Little-endian int64 of the eight sizes, then a byte a choice; computed independently.
  EXPECT_EQ(Hash(Strategy{}), 13416297318148277085u);
  EXPECT_EQ(Hash(Example()), 2956371974489917293u);
}

TEST(StrategyTest, OrderFollowsEmission) {
  Strategy a;
  Strategy b;
  b.SetSharding(Operator::kEmbedding, Sharding::kVocab);
  EXPECT_LT(a, b);
  a.overlap = Overlap::kChunked;
  EXPECT_GT(a, b);
  b.pipeline_parallel_size = 2;
  EXPECT_LT(a, b);
}

TEST(StrategyTest, GroupSizes) {
  Strategy strategy = Example();
  strategy.pipeline_parallel_size = 3;
  strategy.context_parallel_size = 2;
  EXPECT_EQ(strategy.StageSize(), 64);
  EXPECT_EQ(strategy.InstanceSize(), 192);
  EXPECT_EQ(strategy.BlockSize(), 32);
  EXPECT_EQ(strategy.ExpertDataParallelSize(), 2);
}

TEST(EvaluationJsonTest, ReadsBackBitForBit) {
  Evaluation evaluation;
  evaluation.metrics = {0.1, 1.0 / 3, 1e300, 5e-324, 12345678.9, 2, 3, 4, 5};
  evaluation.memory = {1e10, 0.1 + 0.2, 7, 0, 1e-7, 9007199254740993.0};
  evaluation.excess = {-0.25, 1e-17, -0.0};
  const Evaluation read = ParseEvaluation(ToJson(evaluation), "e.json");
  EXPECT_EQ(read, evaluation);
  EXPECT_TRUE(std::signbit(read.excess.tpot));
  EXPECT_EQ(ToJson(read, 2), ToJson(evaluation, 2));
}

TEST(EvaluationJsonTest, RefusesMissingAndUnknownKeys) {
  nlohmann::ordered_json json = EvaluationJson(Evaluation{});
  json["excess"].erase("ttft");
  EXPECT_THROW(ParseEvaluation(json.dump(), "e.json"), SpecError);
  json = EvaluationJson(Evaluation{});
  json["metrics"]["speed"] = 1;
  EXPECT_THROW(ParseEvaluation(json.dump(), "e.json"), SpecError);
}

}  // namespace
}  // namespace shardscout
