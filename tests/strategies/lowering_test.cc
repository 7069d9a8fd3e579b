#include <gtest/gtest.h>

#include <map>

#include "shardscout/preset_paths.h"
#include "shardscout/program.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using testing::DenseModel;
using testing::MoeModel;
using testing::MultiLatentModel;
using testing::SmallProblem;

/// "all_gather x2, reduce_scatter x1" of a block.
std::map<std::string, int> Collectives(const Block& block) {
  std::map<std::string, int> count;
  for (const Task& task : block.tasks) {
    if (task.kind == TaskKind::kCollective) ++count[std::string(ToString(task.collective))];
  }
  return count;
}

Strategy MegatronTensor(std::int64_t tp, Layout residual) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = 16;
  s.residual_layout = residual;
  s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
  s.SetSharding(Operator::kQkv, Sharding::kHeads);
  s.SetSharding(Operator::kAttention, Sharding::kHeads);
  s.SetSharding(Operator::kAttnOut, Sharding::kHeads);
  s.SetSharding(Operator::kFfnUp, Sharding::kFfn);
  s.SetSharding(Operator::kFfnDown, Sharding::kFfn);
  s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  return s;
}

using Counts = std::map<std::string, int>;

TEST(Lowering, MegatronTensorParallelismIsTwoAllReducesALayer) {
  const Problem problem = SmallProblem(DenseModel(), 4, WorkloadKind::kDecode);
  const Program p = Lower(problem, MegatronTensor(4, Layout::kReplicated));
  const PhaseProgram& decode = p.phases.at(0);
  EXPECT_EQ(Collectives(decode.BlockOf(BlockKind::kAttention)), (Counts{{"all_reduce", 1}}));
  EXPECT_EQ(Collectives(decode.BlockOf(BlockKind::kDenseFfn)), (Counts{{"all_reduce", 1}}));
  EXPECT_EQ(Collectives(decode.BlockOf(BlockKind::kEmbedding)), (Counts{{"all_reduce", 1}}));
  EXPECT_EQ(Collectives(decode.BlockOf(BlockKind::kHead)), (Counts{{"all_gather", 1}}));
  // 16 requests x 96 hidden x 2 bytes.
  for (const Task& task : decode.BlockOf(BlockKind::kAttention).tasks) {
    if (task.kind == TaskKind::kCollective) {
      EXPECT_EQ(task.payload_bytes, 16 * 96 * 2.0);
    }
  }
}

TEST(Lowering, MegatronSequenceParallelismIsTwoAllGathersAndTwoReduceScatters) {
  const Problem problem = SmallProblem(DenseModel(), 4, WorkloadKind::kPrefill);
  const Program p = Lower(problem, MegatronTensor(4, Layout::kTokenSharded));
  for (BlockKind kind : {BlockKind::kAttention, BlockKind::kDenseFfn}) {
    EXPECT_EQ(Collectives(p.phases.at(0).BlockOf(kind)), (Counts{{"all_gather", 1}, {"reduce_scatter", 1}}));
  }
}

TEST(Lowering, PapersAllGatherVariant) {
  // Residual F with row attn_out and column FFN matrices: three all-gathers and one reduce-scatter a layer, beside the
  // norms' statistics of which there are none (every norm is fed a gathered input). With residual R: one all-reduce and
  // two all-gathers.
  const Problem problem = SmallProblem(DenseModel(), 4, WorkloadKind::kDecode);
  Strategy s = MegatronTensor(4, Layout::kFeatureSharded);
  s.SetSharding(Operator::kFfnDown, Sharding::kHidden);
  auto layer = [&](const Strategy& strategy) {
    const Program p = Lower(problem, strategy);
    Counts counts = Collectives(p.phases.at(0).BlockOf(BlockKind::kAttention));
    for (const auto& [kind, n] : Collectives(p.phases.at(0).BlockOf(BlockKind::kDenseFfn))) counts[kind] += n;
    return counts;
  };
  EXPECT_EQ(layer(s), (Counts{{"all_gather", 3}, {"reduce_scatter", 1}}));
  s.residual_layout = Layout::kReplicated;
  EXPECT_EQ(layer(s), (Counts{{"all_gather", 2}, {"all_reduce", 1}}));
}

TEST(Lowering, TensorParallelAttentionWithExpertsOverTheSameRanksGathersForFree) {
  const Problem problem = SmallProblem(MoeModel(4, 0, 0), 4, WorkloadKind::kDecode);
  Strategy s = MegatronTensor(4, Layout::kReplicated);
  s.SetSharding(Operator::kFfnUp, Sharding::kNone);
  s.SetSharding(Operator::kFfnDown, Sharding::kNone);
  s.expert_parallel_size = 4;
  s.expert_exchange = ExpertExchange::kGatherReduce;
  EXPECT_EQ(Collectives(Lower(problem, s).phases.at(0).BlockOf(BlockKind::kMoe)), (Counts{{"all_reduce", 1}}));
}

TEST(Lowering, HelixMergesByLogSumExp) {
  const Problem problem = SmallProblem(DenseModel(), 4, WorkloadKind::kDecode);
  Strategy s;
  s.context_parallel_size = 4;
  s.batch_size = 16;
  // q, k, v gathered over cp; the log-sum-exps gathered; the rescaled outputs reduce-scattered.
  EXPECT_EQ(Collectives(Lower(problem, s).phases.at(0).BlockOf(BlockKind::kAttention)),
            (Counts{{"all_gather", 2}, {"reduce_scatter", 1}}));
}

TEST(Lowering, ExtraLayersGoJustBeforeTheLastStage) {
  ModelSpec seven = DenseModel(7);
  auto sizes = [](const std::vector<Stage>& stages) {
    std::vector<std::int64_t> n;
    for (const Stage& stage : stages) n.push_back(stage.num_layers);
    return n;
  };
  EXPECT_EQ(sizes(SplitLayers(seven, 3)), (std::vector<std::int64_t>{2, 3, 2}));
  ModelSpec sixty_one = DenseModel(61);
  EXPECT_EQ(sizes(SplitLayers(sixty_one, 4)), (std::vector<std::int64_t>{15, 15, 16, 15}));
  EXPECT_EQ(sizes(SplitLayers(sixty_one, 61)), std::vector<std::int64_t>(61, 1));

  // Chunks: as many layers a stage whatever their number.
  Strategy s;
  for (const std::int64_t pp : {2, 3, 4, 7}) {
    for (s.virtual_pipeline_parallel_size = 1; s.virtual_pipeline_parallel_size * pp <= 61;
         ++s.virtual_pipeline_parallel_size) {
      s.pipeline_parallel_size = pp;
      EXPECT_EQ(sizes(StagesOf(sixty_one, s)), sizes(SplitLayers(sixty_one, pp))) << ToShortString(s);
      for (const auto& chunks : ChunksOf(sixty_one, s)) {
        EXPECT_EQ(std::ssize(chunks), s.virtual_pipeline_parallel_size);
        for (const Stage& chunk : chunks) {
          EXPECT_LE(chunk.num_layers, MostLayersOfAChunk(sixty_one, s));
          EXPECT_GE(chunk.num_layers, MostLayersOfAChunk(sixty_one, s) - 1);
        }
      }
    }
  }
  // The head as layers: 7 + 1 over 3, 61 + 3 over 4.
  s.pipeline_parallel_size = 3;
  s.virtual_pipeline_parallel_size = s.head_layers = 1;
  EXPECT_EQ(sizes(StagesOf(seven, s)), (std::vector<std::int64_t>{3, 3, 1}));
  s.pipeline_parallel_size = 4;
  s.head_layers = 4;
  EXPECT_EQ(sizes(StagesOf(sixty_one, s)), (std::vector<std::int64_t>{16, 16, 17, 12}));
}

/// Sum over the ranks of a stage of what each holds, copies counted once each.
double StoredElements(const ModelSpec& model, const Program& p) {
  double elements = 0;
  const PhaseProgram& phase = p.phases.back();
  for (const Stage& stage : p.stages) {
    const std::int64_t windows = NumWindowLayers(model, stage), linear = NumLinearLayers(model, stage);
    for (const auto& [kind, n] :
         {std::pair(BlockKind::kAttention, stage.num_layers - windows - linear),
          std::pair(BlockKind::kWindowAttention, windows), std::pair(BlockKind::kLinearAttention, linear),
          std::pair(BlockKind::kDenseFfn, stage.num_dense), std::pair(BlockKind::kMoe, stage.num_moe)}) {
      for (const Weight& w : phase.BlockOf(kind).weights) elements += static_cast<double>(n) * w.elements;
    }
  }
  for (BlockKind kind : {BlockKind::kEmbedding, BlockKind::kHead}) {
    for (const Weight& w : phase.BlockOf(kind).weights) {
      elements += p.shares_embedding && w.kind == WeightKind::kLmHead ? 0 : w.elements;
    }
  }
  return elements;
}

TEST(Lowering, OneDeviceStoresExactlyTheModelsParameters) {
  std::vector<ModelSpec> models = {testing::LinearModel(), DenseModel(), MoeModel(), MoeModel(4, 0, 0),
                                   MultiLatentModel()};
  models.back().moe.router_correction_bias = true;
  for (const std::string& name : ListPresets("models")) models.push_back(LoadModel(name));
  for (const ModelSpec& model : models) {
    for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode}) {
      const Problem problem = SmallProblem(model, 1, kind);
      EXPECT_EQ(StoredElements(model, Lower(problem, Strategy())), static_cast<double>(CountParameters(model).total))
          << model.name;
    }
  }
}

TEST(Lowering, BytesOfAWeightFollowItsPartsQuantisation) {
  ModelSpec model = MoeModel();
  model.weight_dtype = DType::kMxfp4;
  model.weight_quant_block = 16;
  model.weight_quant_grouped = true;
  model.scale_dtype = DType::kFp8;
  model.attention_quantised = false;
  const auto bytes = [&] {
    std::map<std::pair<WeightKind, FfnKind>, double> bytes_per_element;
    const Problem problem = SmallProblem(model, 1, WorkloadKind::kDecode);
    const Program program = Lower(problem, Strategy());
    for (const Block& block : program.phases.at(0).blocks) {
      for (const Weight& w : block.weights) bytes_per_element[{w.kind, w.ffn}] = w.bytes / w.elements;
    }
    return bytes_per_element;
  };
  auto found = bytes();
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kQkv, FfnKind::kNotFfn}), 2);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kRouter, FfnKind::kNotFfn}), 2);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kExpertUp, FfnKind::kExpert}), 0.5 + 1 / 16.0);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kFfnUp, FfnKind::kDense}), 0.5 + 1 / 16.0);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kFfnUp, FfnKind::kShared}), 0.5 + 1 / 16.0);
  model.weight_zero_points = true;
  model.dense_ffn_quantised = model.shared_expert_quantised = false;
  found = bytes();
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kExpertUp, FfnKind::kExpert}), 0.5 + 1.5 / 16.0);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kFfnUp, FfnKind::kDense}), 2);
  EXPECT_DOUBLE_EQ(found.at({WeightKind::kFfnUp, FfnKind::kShared}), 2);
}

const Task& TaskOf(const Block& block, TaskKind kind) {
  for (const Task& task : block.tasks) {
    if (task.kind == kind) return task;
  }
  throw std::runtime_error("no such task");
}

TEST(Lowering, AWindowBoundsThePositionsThatItsLayersSee) {
  const Problem problem = SmallProblem(testing::MixedWindowModel(5), 1, WorkloadKind::kDecode);
  const Program p = Lower(problem, Strategy());
  EXPECT_EQ(NumWindowLayers(problem.model(), p.stages.at(0)), 3);
  EXPECT_EQ(NumWindowLayers(problem.model(), {.first_layer = 1, .num_layers = 2}), 1);
  const auto flop = [&](BlockKind kind) {
    return TaskOf(p.phases.at(0).BlockOf(kind), TaskKind::kAttention).work.flop;
  };
  // Scores and values of 8 heads of 12, 2 FLOP each; all positions and the new one, or the window.
  const double positions = static_cast<double>(p.phases.at(0).context) + 1;
  EXPECT_DOUBLE_EQ(flop(BlockKind::kAttention), 2 * 2 * 8 * 12 * positions);
  EXPECT_DOUBLE_EQ(flop(BlockKind::kWindowAttention), 2 * 2 * 8 * 12 * 32.0);
  EXPECT_TRUE(Lower(SmallProblem(DenseModel(), 1, WorkloadKind::kDecode), Strategy())
                  .phases.at(0)
                  .BlockOf(BlockKind::kWindowAttention)
                  .tasks.empty());
}

TEST(Lowering, AnIndexerScoresAllPositionsAndAttentionSeesTheBest) {
  const Problem decode = SmallProblem(testing::IndexerModel(), 1, WorkloadKind::kDecode);
  const Program p = Lower(decode, Strategy());
  const Block& block = p.phases.at(0).BlockOf(BlockKind::kAttention);
  const double positions = static_cast<double>(p.phases.at(0).context) + 1;
  EXPECT_DOUBLE_EQ(TaskOf(block, TaskKind::kIndexSelect).work.flop, 2 * 4 * 16 * positions);
  EXPECT_GE(TaskOf(block, TaskKind::kIndexSelect).work.read_bytes, positions * (16 + 4));
  // Absorbed: 8 heads, latent 32 and rope 4 for the scores, latent 32 for the values; 24 positions.
  EXPECT_DOUBLE_EQ(TaskOf(block, TaskKind::kAttention).work.flop, 2 * 8 * (32 + 4 + 32) * 24.0);

  // Prefill of 96: 96 * 97 / 2 = 4656 pairs are scored, 24 * 96 - 24 * 23 / 2 = 2028 seen. Absorbed 2028 * 68 = 137904,
  // masked 4656 * (12 + 8) = 93120, the cheaper.
  const Problem prefill = SmallProblem(testing::IndexerModel(), 1, WorkloadKind::kPrefill);
  const Program q = Lower(prefill, Strategy());
  const Block& whole = q.phases.at(0).BlockOf(BlockKind::kAttention);
  EXPECT_DOUBLE_EQ(TaskOf(whole, TaskKind::kIndexSelect).work.flop, 2 * 4 * 16 * 4656.0);
  EXPECT_DOUBLE_EQ(TaskOf(whole, TaskKind::kAttention).work.flop, 2 * 8 * 93120.0);
}

TEST(Lowering, AnIndexersPositionsAreNotSplit) {
  const Problem problem = SmallProblem(testing::IndexerModel(), 8, WorkloadKind::kDecode);
  const StrategySpace space(problem);
  Strategy s;
  s.batch_size = 16;
  s.context_parallel_size = 2;
  EXPECT_NE(space.WhyNot(s), "");
  s.context_parallel_size = 1;
  s.tensor_parallel_size = 2;
  s.SetSharding(Operator::kAttention, Sharding::kSequence);
  EXPECT_NE(space.WhyNot(s).find("indexer"), std::string::npos) << space.WhyNot(s);
}

TEST(Lowering, LinearAttentionsStepIsTheSameAtEveryPosition) {
  const auto core = [](std::int64_t input_tokens) {
    WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
    workload.input_tokens = input_tokens;
    Strategy s;
    s.batch_size = 4;
    const Problem problem(testing::LinearModel(), testing::SmallCluster(1), workload);
    return TaskOf(Lower(problem, s).phases.at(0).BlockOf(BlockKind::kLinearAttention), TaskKind::kLinearAttention).work;
  };
  // 4 requests; 8 heads of 12 x 16, 7 FLOP an element of the state; a convolution of 4 over 2 * 4 * 12 + 8 * 16
  // channels.
  EXPECT_DOUBLE_EQ(core(96).flop, 4 * (7 * 8 * 12 * 16 + 2 * 4 * 224.0));
  // The state in fp32 and 3 inputs a channel in bf16, read and written once, beside the values.
  const double state_bytes = 8 * 12 * 16 * 4 + 3 * 224 * 2.0;
  EXPECT_GE(core(96).read_bytes, 4 * (state_bytes + 2 * (224 + 128)));
  EXPECT_LE(core(96).read_bytes, 4 * (state_bytes + 2 * 3 * (224 + 128)));
  EXPECT_GE(core(96).write_bytes, 4 * (state_bytes + 2 * 128));
  EXPECT_EQ(core(96), core(96'000));
}

TEST(Lowering, LinearAttentionsPrefillIsLinearInTheLength) {
  const auto core = [](std::int64_t input_tokens) {
    WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kPrefill);
    workload.input_tokens = input_tokens;
    const Problem problem(testing::LinearModel(), testing::SmallCluster(1), workload);
    const Program p = Lower(problem, Strategy());
    return TaskOf(p.phases.at(0).BlockOf(BlockKind::kLinearAttention), TaskKind::kLinearAttention).work;
  };
  // A token and head in chunks of 64: 6 * 12 * 16 for the state, 64 * (6 * 12 + 4 * 16) in the chunk, 64^2 / 3 for the
  // inverse.
  const double head = 6 * 12 * 16 + 64 * (6 * 12 + 4 * 16) + 64 * 64 / 3.0;
  EXPECT_DOUBLE_EQ(core(96).flop, 96 * (8 * head + 2 * 4 * 224));
  EXPECT_DOUBLE_EQ(core(9600).flop, 100 * core(96).flop);
  // Of what is written, the state is once a request.
  const double state_bytes = 8 * 12 * 16 * 4 + 3 * 224 * 2.0;
  EXPECT_NEAR(core(9600).write_bytes - state_bytes, 100 * (core(96).write_bytes - state_bytes), 1e-3);
}

TEST(Lowering, MegatronSplitsTheHeadsOfLinearAttention) {
  const Problem problem = SmallProblem(testing::LinearModel(), 8, WorkloadKind::kDecode);
  EXPECT_EQ(NumLinearLayers(problem.model(), {.first_layer = 1, .num_layers = 3}), 1);
  EXPECT_EQ(AttentionBlockOf(problem.model(), 0), BlockKind::kLinearAttention);
  EXPECT_EQ(AttentionBlockOf(problem.model(), 1), BlockKind::kAttention);
  const Strategy s = MegatronTensor(8, Layout::kReplicated);
  const Program p = Lower(problem, s);
  const Block& block = p.phases.at(0).BlockOf(BlockKind::kLinearAttention);
  EXPECT_EQ(Collectives(block), (Counts{{"all_reduce", 1}}));
  // Hidden 96; of 4 key and 8 value heads a rank has one each, 2 * 12 + 2 * 16 columns and 2 gates.
  std::map<WeightKind, double> elements;
  for (const Weight& w : block.weights) elements[w.kind] = w.elements;
  EXPECT_DOUBLE_EQ(elements.at(WeightKind::kQkv), 96 * 56.0);
  EXPECT_DOUBLE_EQ(elements.at(WeightKind::kLinearGates), 96 * 2.0);
  EXPECT_DOUBLE_EQ(elements.at(WeightKind::kAttnOut), 16 * 96.0);
  // 16 requests: a head's state, and the inputs of its channels.
  EXPECT_DOUBLE_EQ(LinearStateBytesPerLayer(problem, s), 16 * (12 * 16 * 4 + 3 * 40 * 2.0));
  Strategy tokens = s;
  tokens.SetSharding(Operator::kAttention, Sharding::kToken);
  EXPECT_DOUBLE_EQ(LinearStateBytesPerLayer(problem, tokens), 2 * (8 * 12 * 16 * 4 + 3 * 224 * 2.0));
}

TEST(Lowering, AnOutputGateComesWithTheQueries) {
  ModelSpec gated = DenseModel();
  gated.attention.output_gate = true;
  const auto attention = [](const ModelSpec& model) {
    const Problem problem = SmallProblem(model, 8, WorkloadKind::kDecode);
    return Lower(problem, MegatronTensor(8, Layout::kReplicated)).phases.at(0).BlockOf(BlockKind::kAttention);
  };
  const Block block = attention(gated);
  const Task& product = TaskOf(block, TaskKind::kMatmul);
  // A rank has one head of 8 with its gate, and one of 4 KV heads.
  EXPECT_DOUBLE_EQ(product.work.n, (2 + 2) * 12);
  EXPECT_DOUBLE_EQ(TaskOf(attention(DenseModel()), TaskKind::kMatmul).work.n, (1 + 2) * 12);
  EXPECT_EQ(Collectives(attention(gated)), Collectives(attention(DenseModel())));
}

TEST(Lowering, PhasesOfServeStoreTheValueProjectionOnceWhereTheyAgree) {
  const Problem problem = SmallProblem(MultiLatentModel(), 1, WorkloadKind::kServe);
  const Program p = Lower(problem, Strategy());
  auto value_up = [&](std::size_t phase) {
    for (const Weight& w : p.phases.at(phase).BlockOf(BlockKind::kAttention).weights) {
      if (w.kind == WeightKind::kValueUp) return std::pair(w.elements, w.op);
    }
    return std::pair(0.0, Operator::kResidual);
  };
  EXPECT_EQ(value_up(0), std::pair(8 * 32 * 8.0, Operator::kQkv));
  EXPECT_EQ(value_up(1), std::pair(8 * 32 * 8.0, Operator::kAttnOut));
}

/// FLOP of the products of a pass, all ranks of an instance together.
double ProductFlop(const Problem& problem, const Strategy& s) {
  double flop = 0;
  const Program p = Lower(problem, s);
  for (const Stage& stage : p.stages) {
    for (const auto& [kind, n] :
         {std::pair(BlockKind::kAttention, stage.num_layers), std::pair(BlockKind::kDenseFfn, stage.num_dense)}) {
      for (const Task& task : p.phases.at(0).BlockOf(kind).tasks) {
        if (task.kind == TaskKind::kMatmul || task.kind == TaskKind::kAttention) {
          flop += static_cast<double>(n * s.StageSize()) * task.work.flop;
        }
      }
    }
  }
  return flop * static_cast<double>(p.phases.at(0).num_microbatches);
}

TEST(Lowering, WorkIsConservedWhereEveryOperatorIsSharded) {
  // Nothing is computed twice when every operator is split, whatever the axes; with `none` somewhere there is more.
  ModelSpec model = DenseModel();
  model.attention.num_kv_heads = 8;  // no KV head is computed twice
  for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode}) {
    const Problem problem = SmallProblem(model, 8, kind);
    Strategy one;
    one.batch_size = 16;
    const double flop = ProductFlop(problem, one);
    const StrategySpace space(problem);
    Rng rng(5);
    int checked = 0;
    for (int i = 0; i < 4000; ++i) {
      Strategy s = space.Sample(rng);
      s.batch_size = 16;
      s = space.Repair(s);
      const std::int64_t ranks = s.tensor_parallel_size * s.context_parallel_size;
      if (ranks == 1 || s.data_parallel_size > 1 || s.batch_size != 16) continue;
      if (kind == WorkloadKind::kPrefill && 96 % (2 * ranks) != 0) continue;  // padding is extra work
      const bool stage = s.dense_ffn_group == DenseFfnGroup::kStage;
      bool all = true;
      for (Operator op :
           {Operator::kQkv, Operator::kAttention, Operator::kAttnOut, Operator::kFfnUp, Operator::kFfnDown}) {
        const bool ffn = op == Operator::kFfnUp || op == Operator::kFfnDown;
        const std::int64_t group = ffn && stage ? ranks : s.tensor_parallel_size;
        all = all && (s.ShardingOf(op) != Sharding::kNone || group == 1);
      }
      if (all) {
        ++checked;
        EXPECT_NEAR(ProductFlop(problem, s) / flop, 1, 1e-9) << ToShortString(s);
      } else {
        EXPECT_GE(ProductFlop(problem, s) / flop, 1 - 1e-9) << ToShortString(s);
      }
    }
    EXPECT_GT(checked, 20);
  }
}

TEST(Lowering, CacheIsSplitAsTheAttentionIs) {
  const Problem problem = SmallProblem(DenseModel(), 8, WorkloadKind::kDecode);
  Strategy s = MegatronTensor(8, Layout::kReplicated);
  const double whole = 16 * 128 * 2.0 * 4 * 12;             // requests x positions x K and V x KV heads x head size
  EXPECT_EQ(CacheElementsPerLayer(problem, s), whole / 4);  // 4 KV heads on 8 ranks
  s.SetSharding(Operator::kAttention, Sharding::kToken);
  EXPECT_EQ(CacheElementsPerLayer(problem, s), whole / 8);
  s.SetSharding(Operator::kAttention, Sharding::kSequence);
  EXPECT_EQ(CacheElementsPerLayer(problem, s), whole / 8);
  s.SetSharding(Operator::kAttention, Sharding::kNone);
  EXPECT_EQ(CacheElementsPerLayer(problem, s), whole);
  const Problem mla = SmallProblem(MultiLatentModel(), 8, WorkloadKind::kDecode);
  s.SetSharding(Operator::kAttention, Sharding::kHeads);
  EXPECT_EQ(CacheElementsPerLayer(mla, s), 16 * 128 * 36.0);  // heads copies the latent
}

}  // namespace
}  // namespace shardscout
