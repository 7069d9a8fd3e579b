#include "src/export/chakra.h"

#include <chakra_et.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "env/simulator/pass_simulation.h"
#include "shardscout/error.h"
#include "shardscout/strategy_space.h"
#include "src/export/chakra_file.h"
#include "src/export/chakra_trace.h"
#include "tests/baselines/random_problems.h"
#include "tests/src/export/chakra_rules.h"

namespace shardscout::exporters {
namespace {

using shardscout::testing::DenseModel;
using shardscout::testing::MoeModel;
using shardscout::testing::MultiLatentModel;
using shardscout::testing::SmallProblem;

Plan PlanOf(const Problem& problem, const Strategy& strategy) {
  return shardscout::PlanOf(problem, {MakePool(problem, strategy)});
}

// ---- a worked example ----

Strategy TwoByTwo() {
  Strategy s;
  s.tensor_parallel_size = 2;
  s.pipeline_parallel_size = 2;
  s.batch_size = 2;
  for (const auto& [op, sharding] : {std::pair{Operator::kEmbedding, Sharding::kVocab},
                                     {Operator::kQkv, Sharding::kHeads},
                                     {Operator::kAttention, Sharding::kHeads},
                                     {Operator::kAttnOut, Sharding::kHeads},
                                     {Operator::kFfnUp, Sharding::kFfn},
                                     {Operator::kFfnDown, Sharding::kFfn},
                                     {Operator::kLmHead, Sharding::kVocab}}) {
    s.SetSharding(op, sharding);
  }
  return s;
}

std::string Line(const chakra::Node& node) {
  std::string line = std::to_string(node.id()) + " " + node.name() + " |";
  for (const std::uint64_t id : node.data_deps()) line += " " + std::to_string(id);
  line += " |";
  for (const std::uint64_t id : node.ctrl_deps()) line += " " + std::to_string(id);
  line += " |";
  for (const chakra::AttributeProto& attribute : node.attr()) {
    if (attribute.name() == "is_cpu_op") continue;
    line += " " + attribute.name() + "=";
    if (attribute.has_string_val()) line += attribute.string_val();
    if (attribute.has_int64_val()) line += std::to_string(attribute.int64_val());
    if (attribute.has_int32_val()) line += std::to_string(attribute.int32_val());
    if (attribute.has_uint64_val()) line += std::to_string(attribute.uint64_val());
  }
  return line;
}

std::string Lines(const Trace& trace) {
  std::string text;
  for (const chakra::Node& node : trace.nodes) text += Line(node) + "\n";
  return text;
}

/// 192 tokens (2 requests of 96) of 96 columns of bf16 are 36,864 bytes. A rank's qkv is [96, 4 * 12 + 2 * 2 * 12]: 2 *
/// 192 * 96 * 96 FLOP; its attention 2 requests * 4 heads * 4,656 pairs * 2 * (12 + 12); the logits of 2 requests, 48
/// columns each, are 192 bytes.
TEST(ChakraExport, WorkedExample) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  ASSERT_EQ(StrategySpace(problem).WhyNot(TwoByTwo()), "");
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, TwoByTwo()), {});
  const std::vector<Trace> ranks = ReadPhase(result, "prefill");
  ASSERT_EQ(ranks.size(), 4u);
  EXPECT_EQ(Lines(ranks[0]),
            "1 embedding embed, stage 0, micro-batch 0 | | | num_ops=1 tensor_size=73728\n"
            "2 embedding all_reduce, stage 0, micro-batch 0 | 1 | | comm_type=0 comm_size=36864 pg_name=1\n"
            "3 layer 0 qkv norm, stage 0, micro-batch 0 | 2 | 1 | num_ops=1 tensor_size=73728\n"
            "4 layer 0 qkv matmul, stage 0, micro-batch 0 | 3 | | num_ops=3538944 tensor_size=92160\n"
            "5 layer 0 attention, stage 0, micro-batch 0 | 4 | | num_ops=1787904 tensor_size=73728\n"
            "6 layer 0 attn_out matmul, stage 0, micro-batch 0 | 5 | | num_ops=1769472 tensor_size=64512\n"
            "7 layer 0 residual all_reduce, stage 0, micro-batch 0 | 6 | 2 | comm_type=0 comm_size=36864 pg_name=1\n"
            "8 layer 0 residual add, stage 0, micro-batch 0 | 7 | 6 | num_ops=1 tensor_size=110592\n"
            "9 layer 0 ffn_up norm, stage 0, micro-batch 0 | 8 | | num_ops=1 tensor_size=73728\n"
            "10 layer 0 ffn_up matmul, stage 0, micro-batch 0 | 9 | | num_ops=7077888 tensor_size=147456\n"
            "11 layer 0 ffn_up activation, stage 0, micro-batch 0 | 10 | | num_ops=1 tensor_size=110592\n"
            "12 layer 0 ffn_down matmul, stage 0, micro-batch 0 | 11 | | num_ops=3538944 tensor_size=92160\n"
            "13 layer 0 residual all_reduce, stage 0, micro-batch 0 | 12 | 7 | comm_type=0 comm_size=36864 pg_name=1\n"
            "14 layer 0 residual add, stage 0, micro-batch 0 | 13 | 12 | num_ops=1 tensor_size=110592\n"
            "15 send to stage 1, stage 0, micro-batch 0 | 14 | | comm_src=0 comm_dst=2 comm_tag=0 comm_size=36864\n");
  EXPECT_EQ(Lines(ranks[3]),
            "1 receive from stage 0, stage 1, micro-batch 0 | | | comm_src=1 comm_dst=3 comm_tag=0 comm_size=36864\n"
            "2 layer 1 qkv norm, stage 1, micro-batch 0 | 1 | | num_ops=1 tensor_size=73728\n"
            "3 layer 1 qkv matmul, stage 1, micro-batch 0 | 2 | | num_ops=3538944 tensor_size=92160\n"
            "4 layer 1 attention, stage 1, micro-batch 0 | 3 | | num_ops=1787904 tensor_size=73728\n"
            "5 layer 1 attn_out matmul, stage 1, micro-batch 0 | 4 | | num_ops=1769472 tensor_size=64512\n"
            "6 layer 1 residual all_reduce, stage 1, micro-batch 0 | 5 | | comm_type=0 comm_size=36864 pg_name=2\n"
            "7 layer 1 residual add, stage 1, micro-batch 0 | 6 | 5 | num_ops=1 tensor_size=110592\n"
            "8 layer 1 ffn_up norm, stage 1, micro-batch 0 | 7 | | num_ops=1 tensor_size=73728\n"
            "9 layer 1 ffn_up matmul, stage 1, micro-batch 0 | 8 | | num_ops=7077888 tensor_size=147456\n"
            "10 layer 1 ffn_up activation, stage 1, micro-batch 0 | 9 | | num_ops=1 tensor_size=110592\n"
            "11 layer 1 ffn_down matmul, stage 1, micro-batch 0 | 10 | | num_ops=3538944 tensor_size=92160\n"
            "12 layer 1 residual all_reduce, stage 1, micro-batch 0 | 11 | 6 | comm_type=0 comm_size=36864 pg_name=2\n"
            "13 layer 1 residual add, stage 1, micro-batch 0 | 12 | 11 | num_ops=1 tensor_size=110592\n"
            "14 lm_head select_last, stage 1, micro-batch 0 | 13 | | num_ops=1 tensor_size=768\n"
            "15 lm_head norm, stage 1, micro-batch 0 | 14 | | num_ops=1 tensor_size=768\n"
            "16 lm_head matmul, stage 1, micro-batch 0 | 15 | | num_ops=18432 tensor_size=9792\n"
            "17 lm_head all_gather, stage 1, micro-batch 0 | 16 | 12 | comm_type=2 comm_size=192 pg_name=2\n");
  EXPECT_EQ(FindFile(result, "comm_groups.json")->text, "{\n  \"1\": [0, 1],\n  \"2\": [2, 3]\n}\n");
}

TEST(ChakraExport, DecodeThroughAPipelineReturnsTokens) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kDecode);
  Strategy s = TwoByTwo();
  s.num_microbatches = 2;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  CheckExport(problem, s, result);
  const std::vector<Trace> ranks = ReadPhase(result, "decode");
  std::vector<std::int32_t> sent, returned;
  for (const chakra::Node& node : ranks[1].nodes) {
    if (node.type() == chakra::COMM_SEND_NODE) sent.push_back(Attribute(node, "comm_tag").int32_val());
    if (node.type() != chakra::COMM_RECV_NODE) continue;
    returned.push_back(Attribute(node, "comm_tag").int32_val());
    EXPECT_EQ(CommSize(node), 4) << "one id a request of the micro-batch";
    EXPECT_EQ(Attribute(node, "comm_src").int32_val(), 3);
  }
  // Four tokens of two micro-batches.
  const std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(sent, all);
  EXPECT_EQ(returned, all);
}

/// Of what kinds the exported plans were.
struct Kinds {
  int plans = 0, pipelines = 0, halves = 0, chunks = 0, contexts = 0, sparse = 0, latent = 0;
  void Add(const Problem& problem, const Strategy& s, const ExportResult& result) {
    const std::string& trace = result.files.front().text;
    ++plans;
    pipelines += s.pipeline_parallel_size > 1;
    contexts += s.context_parallel_size > 1;
    sparse += s.expert_parallel_size > 1;
    latent += problem.model().attention.kind == AttentionKind::kMultiLatent;
    halves += trace.find(", half 1") != std::string::npos;
    chunks += trace.find(", chunk 3") != std::string::npos;
  }
};

TEST(ChakraExport, RandomPlans) {
  Kinds kinds;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    ProblemOptions options;
    options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    const WorkloadSpec workload = testing::RandomWorkload(rng);
    const ClusterSpec cluster = testing::RandomCluster(rng);
    const Problem problem(testing::RandomModel(rng), cluster, workload, options);
    const StrategySpace space(problem);
    for (int i = 0; i < 3; ++i) {
      const Strategy s = space.Sample(rng);
      const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
      CheckExport(problem, s, result);
      if (HasFatalFailure()) return;
      kinds.Add(problem, s, result);
    }
  }
  EXPECT_GE(std::min({kinds.pipelines, kinds.contexts, kinds.halves, kinds.sparse, kinds.latent}), 5);
}

TEST(ChakraExport, Presets) {
  constexpr double kMaxBytes = 12e6;
  Kinds kinds;
  Rng rng(7);
  for (const char* model :
       {"llama-3.1-8b", "qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3", "deepseek-v3.2", "gpt-oss-20b"}) {
    for (const char* workload : {"decode-chat", "prefill-chat", "serve-chat"}) {
      ProblemOptions options;
      options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
      const Problem problem(LoadModel(model), LoadCluster("h100-sxm", 8), LoadWorkload(workload), options);
      const StrategySpace space(problem);
      for (int found = 0, tries = 0; found < 3 && tries < 100; ++tries) {
        const Strategy s = space.Sample(rng);
        std::optional<ExportResult> result;
        try {
          result = ChakraExporter({.max_bytes = kMaxBytes}).Export(PlanOf(problem, s), {});
        } catch (const SpecError&) {
          continue;  // Too large for a test.
        }
        ++found;
        kinds.Add(problem, s, *result);
        CheckExport(problem, s, *result);
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GE(kinds.plans, 40);
  EXPECT_GE(std::min({kinds.pipelines, kinds.contexts, kinds.halves, kinds.sparse, kinds.latent}), 3);
}

/// A quarter of the rows, and all of the weights.
TEST(ChakraExport, ChunksCarryTheirPart) {
  ProblemOptions options;
  options.admitted_overlaps = {Overlap::kNone, Overlap::kChunked};
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("prefill-chat"), options);
  Strategy s = TwoByTwo();
  s.tensor_parallel_size = 8;
  s.pipeline_parallel_size = 1;
  s.overlap = Overlap::kChunked;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  CheckExport(problem, s, result);
  const Block block = LowerBlock(problem, s, Phase::kPrefill, BlockKind::kDenseFfn);
  const auto whole = std::find_if(block.tasks.begin(), block.tasks.end(), [](const Task& task) {
    return task.kind == TaskKind::kMatmul && task.op == Operator::kFfnDown;
  });
  ASSERT_NE(whole, block.tasks.end());
  const Trace trace = ReadPhase(result, "prefill").at(0);
  std::vector<std::uint64_t> products;
  for (const chakra::Node& node : trace.nodes) {
    if (node.name().starts_with("layer 5 ffn_down matmul")) {
      EXPECT_NE(node.name().find(", chunk " + std::to_string(products.size())), std::string::npos) << node.name();
      EXPECT_EQ(Attribute(node, "num_ops").int64_val(), std::llround(whole->work.flop / 4));
      EXPECT_EQ(static_cast<double>(Attribute(node, "tensor_size").uint64_val()),
                std::round((whole->work.read_bytes + whole->work.write_bytes) / 4 + whole->work.weight_bytes));
      products.push_back(node.id());
    } else if (node.name().starts_with("layer 5 residual all_reduce") && !products.empty()) {
      ASSERT_EQ(node.data_deps_size(), 1);
      EXPECT_EQ(node.data_deps(0), products.back()) << "each waits for its own product only";
    }
  }
  EXPECT_EQ(products.size(), 4u);
}

/// Each MoE layer has the work of its own busiest rank.
TEST(ChakraExport, DrawnRouting) {
  ModelSpec model = MoeModel(6, 0, 0);
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kPrefill);
  workload.expert_skew = 1.0;
  const Problem problem(model, testing::SmallCluster(4), workload);
  Strategy s;
  s.data_parallel_size = s.expert_parallel_size = 4;
  s.batch_size = 4;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  double expected = 0;
  for (const Task& task : LowerBlock(problem, s, Phase::kPrefill, BlockKind::kMoe).tasks) {
    if (task.kind == TaskKind::kExpertMatmul && task.weight == WeightKind::kExpertUp) expected = task.work.flop;
  }
  std::set<std::int64_t> found;
  const std::vector<Trace> ranks = ReadPhase(result, "prefill");
  for (const chakra::Node& node : ranks.at(0).nodes) {
    if (node.name().find("expert_up expert_matmul") != std::string::npos) {
      found.insert(Attribute(node, "num_ops").int64_val());
    }
  }
  EXPECT_GE(found.size(), 4u) << "of six layers";
  EXPECT_GT(static_cast<double>(*found.begin()), expected) << "the busiest of four has more than the mean";
}

// ---- the bytes of a file ----

TEST(ChakraFile, Bytes) {
  ChakraNode node;
  node.id = 1;
  node.name = "a";
  node.data_deps = {300};
  node.ctrl_deps = {2};
  node.duration_us = 5;
  node.num_ops = 10;
  node.tensor_bytes = 200;
  CommGroups groups;
  const std::string text = ChakraFileText({.model = "m", .phase = "p"}, std::vector{node}, groups);
  // Made by hand from the field numbers: 1 id, 2 name, 3 type COMP, 4 and 5 packed, 7 duration, 10 attributes with
  // their name in 1 and a bool in 27, an int64 in 9, a uint64 in 13.
  const std::string expected(
      "\x3f"
      "\x08\x01"
      "\x12\x01"
      "a"
      "\x18\x04"
      "\x22\x01\x02"
      "\x2a\x02\xac\x02"
      "\x38\x05"
      "\x52\x0e\x0a\x09is_cpu_op\xd8\x01\x00"
      "\x52\x0b\x0a\x07num_ops\x48\x0a"
      "\x52\x10\x0a\x0btensor_size\x68\xc8\x01",
      64);
  ASSERT_GT(text.size(), expected.size());
  EXPECT_EQ(text.substr(text.size() - expected.size()), expected);
  // The metadata before: its length, then the version in field 1.
  EXPECT_EQ(static_cast<std::size_t>(text[0]) + 1 + expected.size(), text.size());
  EXPECT_EQ(text.substr(1, 7),
            "\x0a\x05"
            "0.0.4");
}

TEST(ChakraFile, CommunicationAttributes) {
  ChakraNode collective;
  collective.kind = ChakraKind::kCollective;
  collective.id = 1;
  collective.group = {.size = 2, .stride = 2};
  collective.comm_bytes = 64;
  ChakraNode send;
  send.kind = ChakraKind::kSend;
  send.id = 2;
  send.peer_stage = 0;
  send.tag = 9;
  send.comm_bytes = 5'000'000'000;
  for (const auto& [kind, type] : {std::pair(Collective::kAllReduce, 0),
                                   {Collective::kAllGather, 2},
                                   {Collective::kAllToAll, 6},
                                   {Collective::kReduceScatter, 7}}) {
    collective.collective = kind;
    CommGroups groups;
    const std::string text = ChakraFileText({.rank = 13, .stage_size = 8}, std::vector{collective, send}, groups);
    const Trace trace = ParseTrace(text);
    ASSERT_EQ(trace.nodes.size(), 2u);
    EXPECT_EQ(Attribute(trace.nodes[0], "comm_type").int64_val(), type);
    EXPECT_EQ(GroupOf(trace.nodes[0]), "1");
    EXPECT_EQ(groups.Json(), "{\n  \"1\": [13, 15]\n}\n");
    EXPECT_EQ(MessageOf(trace.nodes[1]), Message(13, 5, 9, 5'000'000'000));
  }
}

TEST(ChakraTrace, GroupMembers) {
  using Ranks = std::vector<std::int64_t>;
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 2}, 13, 8), (Ranks{13, 15}));
  // The groups of program.h's example: tp 2, cp 2, dp 2.
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 1}, 5, 8), (Ranks{4, 5}));
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 2}, 6, 8), (Ranks{4, 6}));
  EXPECT_EQ(GroupMembers({.size = 4, .stride = 2}, 3, 8), (Ranks{1, 3, 5, 7}));
}

// ---- what is refused ----

TEST(ChakraExport, RefusesWhatIsTooLarge) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  const ExportResult small = ChakraExporter().Export(PlanOf(problem, TwoByTwo()), {});
  double bytes = 0;
  for (const ExportFile& file : small.files) {
    if (file.name.ends_with(".et")) bytes += static_cast<double>(file.text.size());
  }
  EXPECT_NO_THROW(ChakraExporter({.max_bytes = bytes}).Export(PlanOf(problem, TwoByTwo()), {}));
  try {
    ChakraExporter({.max_bytes = bytes - 1}).Export(PlanOf(problem, TwoByTwo()), {});
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_EQ(error.place(), "--to chakra");
    EXPECT_NE(std::string(error.what()).find("fewer micro-batches"), std::string::npos) << error.what();
  }
  // Of several micro-batches it is known without making them, to a tenth.
  Strategy many = TwoByTwo();
  many.batch_size = many.num_microbatches = 16;
  const ExportResult large = ChakraExporter().Export(PlanOf(problem, many), {});
  bytes = 0;
  for (const ExportFile& file : large.files) {
    if (file.name.ends_with(".et")) bytes += static_cast<double>(file.text.size());
  }
  EXPECT_THROW(ChakraExporter({.max_bytes = 0.9 * bytes}).Export(PlanOf(problem, many), {}), SpecError);
  EXPECT_NO_THROW(ChakraExporter({.max_bytes = 1.1 * bytes}).Export(PlanOf(problem, many), {}));
}

TEST(ChakraExport, RefusesTwoPoolsAndBrokenStrategies) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  Plan plan = PlanOf(problem, TwoByTwo());
  plan.pools.push_back(plan.pools.front());
  EXPECT_THROW(ChakraExporter().Export(plan, {}), SpecError);
  plan.pools.pop_back();
  plan.pools.front().strategy.tensor_parallel_size = 3;
  EXPECT_THROW(ChakraExporter().Export(plan, {}), SpecError);
}

TEST(ChakraExport, FilesNotesAndCommand) {
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 16), LoadWorkload("serve-chat"));
  Strategy s = TwoByTwo();
  s.pipeline_parallel_size = 1;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  std::vector<std::string> names;
  for (const ExportFile& file : result.files) names.push_back(file.name);
  EXPECT_EQ(names, (std::vector<std::string>{"prefill.0.et", "prefill.1.et", "decode.0.et", "decode.1.et",
                                             "comm_groups.json", "network.yml", "system.json", "remote_memory.json"}));
  EXPECT_EQ(result.command,
            "AstraSim_Analytical_Congestion_Unaware --workload-configuration=prefill "
            "--comm-group-configuration=comm_groups.json --system-configuration=system.json "
            "--remote-memory-configuration=remote_memory.json --network-configuration=network.yml");
  std::string notes;
  for (const std::string& note : result.notes) notes += note + "\n";
  EXPECT_NE(notes.find("one of 8 equal instances of 2 devices"), std::string::npos) << notes;
  EXPECT_NE(notes.find("--workload-configuration=decode"), std::string::npos) << notes;

  s.tensor_parallel_size = 1;
  for (const Operator op : {Operator::kEmbedding, Operator::kQkv, Operator::kAttention, Operator::kAttnOut,
                            Operator::kFfnUp, Operator::kFfnDown, Operator::kLmHead}) {
    s.SetSharding(op, Sharding::kNone);
  }
  const ExportResult alone = ChakraExporter().Export(PlanOf(problem, s), {});
  EXPECT_EQ(alone.command, "");
  EXPECT_EQ(FindFile(alone, "network.yml"), nullptr);
  EXPECT_NE(FindFile(alone, "decode.0.et"), nullptr);
}

}  // namespace
}  // namespace shardscout::exporters
