#include "tests/strategies/interpreter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::interpret {
namespace {

constexpr double kTolerance = 1e-6;

constexpr std::int64_t kPositions = 10;

/// A longer or another run by hand: SHARDSCOUT_INTERPRETER_ROUNDS=100 SHARDSCOUT_INTERPRETER_SEED=5.
int Rounds() {
  const char* rounds = std::getenv("SHARDSCOUT_INTERPRETER_ROUNDS");
  return rounds == nullptr ? 10 : std::atoi(rounds);
}
std::uint64_t Seed(std::uint64_t by_default) {
  const char* seed = std::getenv("SHARDSCOUT_INTERPRETER_SEED");
  return seed == nullptr ? by_default : static_cast<std::uint64_t>(std::atoll(seed));
}

/// How often each value of each decision took part in an interpreted strategy.
using Coverage = std::map<std::string, std::int64_t>;

void AddCoverage(const Problem& problem, const Strategy& s, Coverage* coverage) {
  auto add = [&](const std::string& what) { ++(*coverage)[what]; };
  const std::string kind(ToString(problem.workload().kind));
  add("workload " + kind);
  add("model " + problem.model().name);
  add("ranks " + std::to_string(s.InstanceSize()));
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    const Sharding sharding = s.shardings[i];
    const bool grouped = op == Operator::kExpertUp || op == Operator::kExpertDown ? s.expert_tensor_parallel_size > 1
                                                                                  : s.StageSize() > 1;
    if (grouped || sharding != Sharding::kNone) {
      add(kind + " " + std::string(ToString(op)) + " " + std::string(ToString(sharding)));
    }
  }
  if (s.tensor_parallel_size > 1) add(kind + " residual " + std::string(ToString(s.residual_layout)));
  if (s.BlockSize() > 1) add(kind + " exchange " + std::string(ToString(s.expert_exchange)));
  if (s.StageSize() > 1 && problem.model().HasDense())
    add(kind + " ffn group " + std::string(ToString(s.dense_ffn_group)));
  if (s.tensor_parallel_size > 1) add(kind + " tp>1");
  if (s.context_parallel_size > 1) add(kind + " cp>1");
  if (s.data_parallel_size > 1) add(kind + " dp>1");
  if (s.pipeline_parallel_size > 1) add(kind + " pp>1");
  if (s.expert_parallel_size > 1) add(kind + " ep>1");
  if (s.expert_tensor_parallel_size > 1) add(kind + " etp>1");
  if (s.num_microbatches > 1) add(kind + " micro-batches>1");
}

/// The vocabulary of a program: what the interpreter had to execute.
void AddCoverage(const Program& program, Coverage* coverage) {
  auto add = [&](const std::string& what) { ++(*coverage)[what]; };
  for (const PhaseProgram& phase : program.phases) {
    for (const Block& block : phase.blocks) {
      for (const Value& value : block.values) {
        add("tokens " + std::string(ToString(value.tokens)));
        add("features " + std::string(ToString(value.features)));
        add("kind " + std::string(ToString(value.kind)));
        for (int bit = 1; bit <= kPartialContext; bit *= 2) {
          if ((value.partial & bit) != 0) add("partial " + std::to_string(bit));
        }
      }
      for (const Task& task : block.tasks) {
        add("task " + std::string(ToString(task.kind)));
        if (task.kind != TaskKind::kCollective) continue;
        add("collective " + std::string(ToString(task.collective)));
        add("collective " + std::string(ToString(task.collective)) + " " + std::string(ToString(task.op)));
      }
      for (const Weight& weight : block.weights) add("weight " + std::string(ToString(weight.kind)));
    }
  }
}

/// What must occur, and how often at least.
Coverage LeastCoverage() {
  Coverage least;
  for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
    const std::string name(ToString(kind));
    for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
      const auto op = static_cast<Operator>(i);
      for (Sharding sharding : AdmittedShardings(op)) {
        const bool expert = op == Operator::kExpertUp || op == Operator::kExpertDown;
        if (expert && sharding == Sharding::kNone) continue;  // Only where etp is 1.
        least[name + " " + std::string(ToString(op)) + " " + std::string(ToString(sharding))] = 15;
      }
    }
    for (Layout layout : {Layout::kReplicated, Layout::kTokenSharded, Layout::kFeatureSharded}) {
      least[name + " residual " + std::string(ToString(layout))] = 30;
    }
    for (ExpertExchange exchange :
         {ExpertExchange::kAllToAll, ExpertExchange::kGatherScatter, ExpertExchange::kGatherReduce}) {
      least[name + " exchange " + std::string(ToString(exchange))] = 30;
    }
    for (DenseFfnGroup group : {DenseFfnGroup::kTp, DenseFfnGroup::kStage}) {
      least[name + " ffn group " + std::string(ToString(group))] = 30;
    }
    for (const char* degree : {"tp", "cp", "dp", "pp", "ep", "etp", "micro-batches"}) {
      least[name + " " + degree + ">1"] = 30;
    }
  }
  for (int ranks = 1; ranks <= 16; ++ranks) least["ranks " + std::to_string(ranks)] = 5;
  for (int i = 0; i <= static_cast<int>(TaskKind::kCollective); ++i) {
    if (static_cast<TaskKind>(i) == TaskKind::kLoss) continue;  // Of training: gradients_test.cc.
    least["task " + std::string(ToString(static_cast<TaskKind>(i)))] = 30;
  }
  for (int i = 1; i <= static_cast<int>(Collective::kSendRecv); ++i) {
    least["collective " + std::string(ToString(static_cast<Collective>(i)))] = 30;
  }
  for (int i = 0; i <= static_cast<int>(TokenSplit::kRoutedBlock); ++i) {
    least["tokens " + std::string(ToString(static_cast<TokenSplit>(i)))] = 15;
  }
  for (int i = 0; i <= static_cast<int>(FeatureSplit::kExpertTensor); ++i) {
    least["features " + std::string(ToString(static_cast<FeatureSplit>(i)))] = 30;
  }
  for (int i = 0; i <= static_cast<int>(TensorKind::kLogits); ++i) {
    least["kind " + std::string(ToString(static_cast<TensorKind>(i)))] = 30;
  }
  for (int i = 0; i <= static_cast<int>(WeightKind::kNorms); ++i) {
    least["weight " + std::string(ToString(static_cast<WeightKind>(i)))] = 30;
  }
  for (int bit = 1; bit <= kPartialContext; bit *= 2) least["partial " + std::to_string(bit)] = 30;
  return least;
}

std::string Name(const Problem& problem, const Strategy& strategy) {
  return problem.model().name + " " + std::string(ToString(problem.workload().kind)) + " " + ToShortString(strategy);
}

/// Everything that a sampled problem needs, alive together.
struct Case {
  Problem problem;
  StrategySpace space;
  ReferenceModel* reference;
  Case(const ModelSpec& model, std::int64_t devices, WorkloadKind kind, ReferenceModel* r)
      : problem(model, TinyCluster(devices), TinyWorkload(kind)), space(problem), reference(r) {}
};

class InterpreterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const ModelSpec& model : TinyModels()) {
      references_.push_back(std::make_unique<ReferenceModel>(model, 7, kPositions));
      for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
        for (std::int64_t devices : {1, 2, 3, 4, 6, 8, 12, 16}) {
          cases_.push_back(std::make_unique<Case>(model, devices, kind, references_.back().get()));
        }
      }
    }
  }
  static void TearDownTestSuite() {
    cases_.clear();
    references_.clear();
  }
  /// A strategy of the case that was not drawn before and is cheap enough to interpret.
  static std::optional<Strategy> SampleNew(const Case& c, SpreadSampler& sampler, Rng& rng,
                                           std::set<std::pair<const Case*, std::uint64_t>>* done) {
    for (int attempt = 0; attempt < 10; ++attempt) {
      const Strategy candidate = sampler.Sample(c.space, rng);
      if (Tokens(c.problem, candidate) <= 256 && done->insert({&c, Hash(candidate)}).second) return candidate;
    }
    return std::nullopt;
  }

  static std::vector<std::unique_ptr<ReferenceModel>> references_;
  static std::vector<std::unique_ptr<Case>> cases_;
};

std::vector<std::unique_ptr<ReferenceModel>> InterpreterTest::references_;
std::vector<std::unique_ptr<Case>> InterpreterTest::cases_;

TEST_F(InterpreterTest, EveryStrategyGivesTheUnshardedModel) {
  const std::uint64_t seed = Seed(20);
  Rng rng = Rng::Stream(seed, "interpreter");
  SpreadSampler sampler;
  Coverage coverage;
  std::set<std::pair<const Case*, std::uint64_t>> done;
  std::int64_t interpreted = 0, failures = 0;
  double worst = 0;
  for (int round = 0; round < Rounds(); ++round) {
    for (const auto& c : cases_) {
      const std::optional<Strategy> strategy = SampleNew(*c, sampler, rng, &done);
      if (!strategy) continue;
      sampler.Count();
      ++interpreted;
      AddCoverage(c->problem, *strategy, &coverage);
      const Program program = Lower(c->problem, *strategy);
      AddCoverage(program, &coverage);
      try {
        const Interpretation result = Interpret(c->problem, program, *c->reference);
        worst = std::max(worst, result.max_error);
        EXPECT_GT(result.logits_rows, 0);
        if (result.max_error <= kTolerance) continue;
        ADD_FAILURE() << Name(c->problem, *strategy) << ": differs by " << result.max_error;
      } catch (const InterpretError& error) {
        ADD_FAILURE() << Name(c->problem, *strategy) << ": " << error.what();
      }
      if (++failures >= 20) FAIL() << "more failures are not shown";
    }
  }
  std::cout << "seed " << seed << ": " << interpreted << " different strategies interpreted, largest relative error "
            << worst << "\n";
  EXPECT_GE(interpreted, 2000);
  for (const auto& [what, least] : LeastCoverage()) {
    const std::int64_t count = coverage[what];
    EXPECT_GE(count, least) << what;
    if (count < 30) std::cout << "  seldom: " << what << " " << count;
  }
  std::cout << "\n";
}

TEST_F(InterpreterTest, WeightsOfOneRankAreTheModelsParameters) {
  for (const auto& c : cases_) {
    if (c->problem.cluster().num_devices != 1) continue;
    const ModelSpec& model = c->problem.model();
    const Strategy strategy = c->space.Repair({});
    const Program program = Lower(c->problem, strategy);
    for (const PhaseProgram& phase : program.phases) {
      auto elements = [&](BlockKind kind) {
        double sum = 0;
        for (const Weight& weight : phase.BlockOf(kind).weights) {
          const bool shared = program.shares_embedding && weight.kind == WeightKind::kLmHead;
          sum += shared ? 0 : weight.elements;
        }
        return sum;
      };
      double sum = elements(BlockKind::kEmbedding) + elements(BlockKind::kHead);
      const std::int64_t windows = NumWindowLayers(model, program.stages.front());
      const std::int64_t linear = NumLinearLayers(model, program.stages.front());
      sum += static_cast<double>(model.num_layers - windows - linear) * elements(BlockKind::kAttention);
      sum += static_cast<double>(linear) * elements(BlockKind::kLinearAttention);
      sum += static_cast<double>(windows) * elements(BlockKind::kWindowAttention);
      sum += static_cast<double>(model.NumLayers(LayerKind::kDense)) * elements(BlockKind::kDenseFfn);
      sum += static_cast<double>(model.NumLayers(LayerKind::kMoe)) * elements(BlockKind::kMoe);
      EXPECT_EQ(sum, static_cast<double>(CountParameters(model).total)) << Name(c->problem, strategy);
    }
  }
}

/// A value that is read in place of another.
void Rewire(Block& block, ValueId from, ValueId to) {
  if (from == kNoValue) return;
  for (Task& task : block.tasks) {
    for (ValueId* id : {&task.input, &task.input2, &task.input3}) {
      if (*id == from) *id = to;
    }
  }
  if (block.output == from) block.output = to;
}

enum class Damage { kRemove, kSize, kStride, kKind, kPayload };

/// Damages a collective or a slice; false where this damage does not apply to it.
bool Apply(Damage damage, const Strategy& strategy, Block& block, std::size_t index) {
  Task& task = block.tasks[index];
  const std::int64_t stage = strategy.StageSize();
  switch (damage) {
    case Damage::kRemove: {
      const Task removed = task;
      block.tasks.erase(block.tasks.begin() + static_cast<std::ptrdiff_t>(index));
      Rewire(block, removed.output, removed.input);
      Rewire(block, removed.output2, removed.input2);
      return true;
    }
    case Damage::kSize:
      if (task.kind != TaskKind::kCollective) return false;
      // The next size that still cuts the stage into groups, larger or smaller.
      for (std::int64_t size = task.group.size + 1; size * task.group.stride <= stage; ++size) {
        if (stage % (size * task.group.stride) == 0) return task.group.size = size, true;
      }
      for (std::int64_t size = task.group.size - 1; size > 1; --size) {
        if (stage % (size * task.group.stride) == 0) return task.group.size = size, true;
      }
      return false;
    case Damage::kStride:
      if (task.kind != TaskKind::kCollective) return false;
      for (std::int64_t stride = 1; stride * task.group.size <= stage; ++stride) {
        if (stride != task.group.stride && stage % (stride * task.group.size) == 0) {
          return task.group.stride = stride, true;
        }
      }
      return false;
    case Damage::kKind:
      if (task.kind != TaskKind::kCollective) return false;
      task.collective = task.collective == Collective::kAllGather       ? Collective::kAllReduce
                        : task.collective == Collective::kAllReduce     ? Collective::kAllGather
                        : task.collective == Collective::kReduceScatter ? Collective::kAllToAll
                        : task.collective == Collective::kAllToAll      ? Collective::kReduceScatter
                                                                        : Collective::kAllReduce;
      return true;
    case Damage::kPayload:
      if (task.kind != TaskKind::kCollective) return false;
      for (ValueId id : {task.input, task.output}) {  // Payloads of routed tokens are expectations.
        const Value& value = block.values[static_cast<std::size_t>(id)];
        if (value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock) return false;
        if (value.ffn == FfnKind::kExpert) return false;
      }
      task.payload_bytes *= 2;
      return true;
  }
  return false;
}

/// Damage that can leave a program of the same result and sizes, which nothing could catch:
/// - a step removed before a slice or a gather that makes up for it (a slice of a slice; etp's features gathered and
/// then
///   cut again over tp; an all-to-all to T before the gather to R);
/// - other members that hold the same parts (tokens gathered over more ranks than a cell's, experts' results added up
/// over
///   ep) or nothing (one row a request, on the cp rank of the last position).
bool MayBeHarmless(Damage damage, const Block& block, std::size_t index) {
  const Task& task = block.tasks[index];
  if (damage == Damage::kRemove) {
    if (block.output == task.output) return false;
    return std::all_of(block.tasks.begin(), block.tasks.end(), [&](const Task& reader) {
      const bool reads = reader.input == task.output || reader.input2 == task.output || reader.input3 == task.output;
      const bool gathers = task.collective == Collective::kAllToAll && reader.collective == Collective::kAllGather;
      return !reads || reader.kind == TaskKind::kSlice || gathers;
    });
  }
  if (damage != Damage::kSize && damage != Damage::kStride) return false;
  const Value& value = block.values[static_cast<std::size_t>(task.input)];
  return (value.tokens != TokenSplit::kCell && value.tokens != TokenSplit::kTensor) || value.last_only ||
         (task.op == Operator::kCombine && task.collective == Collective::kAllGather);
}

/// Whether the interpreter finds fault with the program.
bool IsCaught(const Case& c, const Program& program, Coverage* how) {
  try {
    const Interpretation result = Interpret(c.problem, program, *c.reference);
    if (result.max_error > kTolerance) ++(*how)["another result"];
    return !(result.max_error <= kTolerance);
  } catch (const InterpretError&) {
    ++(*how)["an error"];
    return true;
  }
}

TEST_F(InterpreterTest, CatchesEveryDamagedCollectiveAndSlice) {
  const std::uint64_t seed = Seed(21);
  Rng rng = Rng::Stream(seed, "mutations");
  SpreadSampler sampler;
  std::set<std::pair<const Case*, std::uint64_t>> done;
  Coverage how, what;
  std::int64_t mutants = 0;
  for (int round = 0; mutants < 500 && round < 20; ++round) {
    for (const auto& c : cases_) {
      const std::optional<Strategy> strategy = SampleNew(*c, sampler, rng, &done);
      if (!strategy || strategy->InstanceSize() == 1) continue;
      sampler.Count();
      const Program program = Lower(c->problem, *strategy);
      struct Place {
        std::size_t phase, block, task;
      };
      std::vector<Place> places;
      for (std::size_t p = 0; p < program.phases.size(); ++p) {
        for (std::size_t b = 0; b < program.phases[p].blocks.size(); ++b) {
          const Block& block = program.phases[p].blocks[b];
          for (std::size_t t = 0; t < block.tasks.size(); ++t) {
            const TaskKind kind = block.tasks[t].kind;
            if (kind == TaskKind::kCollective || kind == TaskKind::kSlice) places.push_back({p, b, t});
          }
        }
      }
      rng.Shuffle(places);
      for (std::size_t i = 0; i < places.size() && i < 3; ++i) {
        Program damaged = program;
        Block& block = damaged.phases[places[i].phase].blocks[places[i].block];
        const Task task = block.tasks[places[i].task];
        const auto damage = static_cast<Damage>(rng.Below(5));
        if (MayBeHarmless(damage, block, places[i].task)) continue;
        if (!Apply(damage, *strategy, block, places[i].task)) continue;
        ++mutants;
        ++what[std::string(ToString(task.kind)) + " " + std::string(ToString(task.collective))];
        EXPECT_TRUE(IsCaught(*c, damaged, &how))
            << Name(c->problem, *strategy) << ": " << ToString(block.kind) << " task " << places[i].task << " "
            << ToString(task.op) << " " << ToString(task.collective) << ", damage " << static_cast<int>(damage);
      }
    }
  }
  std::cout << "seed " << seed << ": " << mutants << " damaged programs caught by";
  for (const auto& [name, count] : how) std::cout << " " << name << " (" << count << ")";
  for (const auto& [name, count] : what) std::cout << "; " << name << " " << count;
  std::cout << "\n";
  EXPECT_GE(mutants, 500);
}

/// Other lies: a value's rows or flags, a cache plan, a stored weight, a product's split, a dropped addition.
bool Lie(std::size_t which, Block& block, Rng& rng) {
  Task& task = block.tasks[rng.Below(block.tasks.size())];
  Value& value = block.values[static_cast<std::size_t>(task.output)];
  switch (which) {
    case 0:
      if (value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock) return false;
      if (value.ffn == FfnKind::kExpert) return false;
      value.rows += 1;
      return true;
    case 1:
      value.width += 1;
      return true;
    case 2:
      if (value.partial == kPartialNone) return false;
      value.partial = kPartialNone;
      return true;
    case 3: {
      Weight& weight = block.weights[rng.Below(block.weights.size())];
      if (weight.kind == WeightKind::kNorms) return false;
      weight.elements *= 1.5;
      return true;
    }
    case 4: {
      if (task.kind != TaskKind::kAdd) return false;
      const Task removed = task;
      task = block.tasks.back();
      block.tasks.pop_back();
      Rewire(block, removed.output, removed.input2);
      return true;
    }
    case 5:
      if (task.kind != TaskKind::kMatmul || task.weight_split == WeightSplit::kWhole) return false;
      task.weight_split = task.weight_split == WeightSplit::kRow ? WeightSplit::kColumn : WeightSplit::kRow;
      return true;
    default:
      return false;
  }
}

TEST_F(InterpreterTest, CatchesOtherLies) {
  const std::uint64_t seed = Seed(22);
  Rng rng = Rng::Stream(seed, "lies");
  SpreadSampler sampler;
  std::set<std::pair<const Case*, std::uint64_t>> done;
  Coverage how;
  std::int64_t lies = 0;
  for (const auto& c : cases_) {
    const std::optional<Strategy> strategy = SampleNew(*c, sampler, rng, &done);
    if (!strategy || strategy->InstanceSize() == 1) continue;
    sampler.Count();
    const Program program = Lower(c->problem, *strategy);
    for (std::size_t which = 0; which < 6; ++which) {
      Program damaged = program;
      std::vector<Block>& blocks = damaged.phases[rng.Below(damaged.phases.size())].blocks;
      Block& block = blocks[rng.Below(blocks.size())];
      if (block.tasks.empty() || block.weights.empty() || !Lie(which, block, rng)) continue;
      ++lies;
      EXPECT_TRUE(IsCaught(*c, damaged, &how))
          << Name(c->problem, *strategy) << ": " << ToString(block.kind) << ", lie " << which;
    }
  }
  std::cout << "seed " << seed << ": " << lies << " lies\n";
  EXPECT_GE(lies, 200);
}

}  // namespace
}  // namespace shardscout::interpret
