#include "agents/pretrained_policy.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <span>

#include "agents/experience.h"
#include "agents/imitation.h"
#include "agents/ppo_searcher.h"
#include "shardscout/error.h"
#include "strategies/strategy_features.h"
#include "tests/test_evaluators.h"

namespace shardscout::agents {
namespace {

/// What the teacher of these tests likes: tp 4, and shardings with the last ordinal.
double Taste(const StrategySpace& space, const Strategy& s) {
  double score = s.tensor_parallel_size == 4 ? 1 : 0.7;
  for (int v = static_cast<int>(Variable::kResidualLayout); v < kNumVariables; ++v) {
    if (GetVariable(s, v) != space.Values(v).back()) score *= 0.97;
  }
  return score;
}

PretrainedWeights Trained(const StrategySpace& space, std::int64_t epochs = 150) {
  Rng rng(11);
  std::vector<Strategy> strategies;
  std::vector<double> scores;
  double best = 0;
  for (int i = 0; i < 400; ++i) {
    strategies.push_back(space.Sample(rng));
    scores.push_back(Taste(space, strategies.back()));
    best = std::max(best, scores.back());
  }
  for (double& score : scores) score /= best;
  ImitationConfig config;
  config.width = 32;
  config.inner_width = 16;
  config.epochs = epochs;
  config.learning_rate = 1e-2;
  config.problems_a_step = 1;
  config.temperature = 0.03;  // Some of the random strategies teach, not the best one alone.
  Imitation imitation(StrategyFeatureNames(space), config);
  for (int i = 0; i < 4; ++i) imitation.Add(space, strategies, scores, false);
  return imitation.Train(1, nullptr);
}

class PretrainedPolicyTest : public testing::Test {
 protected:
  Problem problem_{test::TinyModel(), test::TinyCluster(8), test::TinyWorkload()};
  StrategySpace space_{problem_};
};

TEST_F(PretrainedPolicyTest, ImitatesItsTeacher) {
  const PretrainedWeights weights = Trained(space_);
  const PretrainedPolicy policy(space_, weights);
  Rng rng(3);
  const auto proposals = policy.Sample(32, rng);
  double total = 0, taste = 0, likes_four = 0, random = 0;
  std::vector<Strategy> drawn;
  for (const auto& proposal : proposals) {
    const double probability = std::exp(proposal.logprob);
    total += probability;
    taste += probability * Taste(space_, proposal.strategy);
    likes_four += proposal.strategy.tensor_parallel_size == 4 ? probability : 0;
    drawn.push_back(space_.Sample(rng));
    random += Taste(space_, drawn.back()) / 32;
  }
  EXPECT_GT(likes_four / total, 0.8);
  EXPECT_GT(taste / total, random + 0.15);
  // The value orders strategies as the teacher does, on the whole.
  const std::vector<double> values = policy.Values(drawn);
  int agree = 0, pairs = 0;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const double difference = Taste(space_, drawn[i]) - Taste(space_, drawn[j]);
      if (std::abs(difference) < 0.05) continue;
      ++pairs;
      agree += (values[i] - values[j]) * difference > 0 ? 1 : 0;
    }
  }
  EXPECT_GT(agree, 0.85 * pairs) << pairs;
}

TEST_F(PretrainedPolicyTest, TheSameSeedGivesTheSameWeightsOnAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  std::vector<PretrainedWeights> weights;
  for (const int threads : {1, 4}) {
    omp_set_num_threads(threads);
    weights.push_back(Trained(space_, 5));
  }
  omp_set_num_threads(before);
  EXPECT_EQ(weights[0], weights[1]);
}

TEST_F(PretrainedPolicyTest, SamplesAreDifferentMembersAndRepeatable) {
  const PretrainedWeights weights = Trained(space_, 2);
  const PretrainedPolicy policy(space_, weights);
  Rng one(5), two(5), other(6);
  const auto proposals = policy.Sample(100, one);
  ASSERT_EQ(proposals.size(), 100u);
  std::set<Strategy> distinct;
  double total = 0;
  for (const auto& proposal : proposals) {
    EXPECT_EQ(space_.WhyNot(proposal.strategy), "");
    distinct.insert(proposal.strategy);
    total += std::exp(proposal.logprob);
  }
  EXPECT_EQ(distinct.size(), 100u);
  EXPECT_LE(total, 1 + 1e-6);
  const auto again = policy.Sample(100, two), different = policy.Sample(100, other);
  std::set<Strategy> others;
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(again[i].strategy, proposals[i].strategy);
    others.insert(different[i].strategy);
  }
  EXPECT_NE(others, distinct);
}

TEST_F(PretrainedPolicyTest, FirstDrawsFollowTheProbabilities) {
  ProblemOptions options;
  options.fixed = {{"batch_size", "8"},
                   {"residual_layout", "replicated"},
                   {"tensor_parallel_size", "2"},
                   {"context_parallel_size", "1"},
                   {"pipeline_parallel_size", "1"},
                   {"dense_ffn_group", "tp"},
                   {"shardings.qkv", "heads"},
                   {"shardings.ffn_up", "ffn"}};
  const Problem problem(test::TinyModel(), test::TinyCluster(4), test::TinyWorkload(), options);
  const StrategySpace space(problem);
  const PretrainedWeights weights = Trained(space, 1);
  const PretrainedPolicy policy(space, weights);
  Rng rng(9);
  const auto all = policy.Sample(100000, rng);
  ASSERT_EQ(static_cast<double>(all.size()), space.Size().strategies) << "a beam wider than the space holds all of it";
  double total = 0;
  std::map<Sharding, double> probability, frequency;  // Of attention's: the others are too many to count.
  for (const auto& proposal : all) {
    total += std::exp(proposal.logprob);
    probability[proposal.strategy.ShardingOf(Operator::kAttention)] += std::exp(proposal.logprob);
  }
  EXPECT_NEAR(total, 1, 1e-4);
  ASSERT_GE(probability.size(), 2u);
  constexpr int kDraws = 1000;
  for (int i = 0; i < kDraws; ++i) {
    frequency[policy.Sample(1, rng).front().strategy.ShardingOf(Operator::kAttention)] += 1.0 / kDraws;
  }
  for (const auto& [sharding, p] : probability) EXPECT_NEAR(frequency[sharding], p, 0.06) << ToString(sharding);
}

TEST_F(PretrainedPolicyTest, ExperienceBuildsOnWhatPaid) {
  const PretrainedWeights weights = Trained(space_, 2);
  std::set<Strategy> known;
  Experience experience(
      space_, weights, {}, [&](const Strategy& s) { return known.contains(s); }, nullptr, 1);
  const std::vector<Strategy> first = experience.Next(8);
  ASSERT_EQ(first.size(), 8u);
  EXPECT_EQ(std::set<Strategy>(first.begin(), first.end()).size(), 8u);
  for (const Strategy& strategy : first) {
    known.insert(strategy);
    experience.Add(strategy, strategy == first[5] ? 50.0 : 1.0);
  }
  // The one that paid fifty times the rest: what follows is near it.
  const std::vector<Strategy> second = experience.Next(8);
  for (const Strategy& strategy : second) {
    EXPECT_FALSE(known.contains(strategy));
    int different = 0;
    for (int v = 0; v < kNumVariables; ++v) different += GetVariable(strategy, v) != GetVariable(first[5], v) ? 1 : 0;
    EXPECT_LE(different, 12);
  }
}

TEST_F(PretrainedPolicyTest, ExperienceLearnsWhatACheapEvaluatorDoesNotSee) {
  const PretrainedWeights weights = Trained(space_, 2);
  const auto cheap = [&](const Strategy& s) { return Taste(space_, s); };
  // The dear one likes token-sharded residuals five times as much; the cheap one does not know.
  const auto likes = [](const Strategy& s) { return s.residual_layout == Layout::kTokenSharded; };
  std::set<Strategy> known;
  std::int64_t asked = 0;
  Experience experience(
      space_, weights, {}, [&](const Strategy& s) { return known.contains(s); },
      [&](std::span<const Strategy> some) {
        std::vector<double> rewards;
        for (const Strategy& s : some) rewards.push_back(cheap(s));
        asked += static_cast<std::int64_t>(some.size());
        return rewards;
      },
      1);
  const std::vector<Strategy> first = experience.Next(4);
  EXPECT_GE(asked, 200) << "every candidate";
  double least = 1;  // The four that the cheap one likes best, but for the crowding of degrees.
  for (const Strategy& s : first) least = std::min(least, cheap(s));
  EXPECT_GT(least, 0.6);
  const auto add = [&](const Strategy& s) {
    known.insert(s);
    experience.Add(s, cheap(s) * (likes(s) ? 5 : 1));
  };
  // Whether what it tries first has one that the dear one likes is chance, which differs by processor: here it has.
  Rng rng(5);
  Strategy liked_one = space_.Sample(rng);
  while (!likes(liked_one)) liked_one = space_.Sample(rng);
  add(liked_one);
  for (int i = 0; i < 6; ++i) {
    for (const Strategy& s : experience.Next(8)) add(s);
  }
  int liked = 0;
  const std::vector<Strategy> last = experience.Next(8);
  for (const Strategy& s : last) liked += likes(s) ? 1 : 0;
  EXPECT_GE(liked, 6);
}

TEST_F(PretrainedPolicyTest, ExperienceTriesLargerBatchesThanItBelievesIn) {
  const PretrainedWeights weights = Trained(space_, 2);
  const auto believed = [](std::span<const Strategy> some) {
    std::vector<double> rewards;
    for (const Strategy& s : some) rewards.push_back(s.batch_size > 2 ? -1 : static_cast<double>(s.batch_size));
    return rewards;
  };
  const auto truth = [](const Strategy& s) { return s.batch_size > 6 ? -1 : static_cast<double>(s.batch_size); };
  for (const std::int64_t probes : {0, 1}) {
    std::set<Strategy> known;
    Experience experience(
        space_, weights, {.probes = probes}, [&](const Strategy& s) { return known.contains(s); }, believed, 1);
    double best = 0;
    std::int64_t infeasible = 0;
    for (int i = 0; i < 12; ++i) {
      const std::vector<Strategy> next = experience.Next(4);
      EXPECT_EQ(std::set<Strategy>(next.begin(), next.end()).size(), 4u);
      for (const Strategy& s : next) {
        EXPECT_TRUE(known.insert(s).second);
        experience.Add(s, truth(s));
        best = std::max(best, truth(s));
        infeasible += truth(s) < 0 ? 1 : 0;
      }
    }
    EXPECT_EQ(best, probes == 0 ? 2 : 6) << probes;
    EXPECT_LE(infeasible, 8) << "no batch above one that is known to be too large";
  }
}

class WeightsFileTest : public PretrainedPolicyTest {
 protected:
  WeightsFileTest() {
    std::filesystem::create_directories(folder_ / "policies");
    WritePretrainedWeights(weights_, path_);
  }
  ~WeightsFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Text() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Overwrite(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  std::string Refusal() const {
    try {
      ReadPretrainedWeights(path_);
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("shardscout_weights_" + std::to_string(::getpid()));
  const std::string path_ = (folder_ / "policies" / "ppo.weights").string();
  const PretrainedWeights weights_ = Trained(space_, 1);
};

TEST_F(WeightsFileTest, ReadsWhatWasWritten) { EXPECT_EQ(ReadPretrainedWeights(path_), weights_); }

TEST_F(WeightsFileTest, OtherVersionsAndDamagedFilesAreRefused) {
  const std::string good = Text();
  std::string other = good;
  other.replace(other.find("\"version\":1"), 11, "\"version\":9");
  Overwrite(other);
  EXPECT_NE(Refusal().find("weights of version 9, this program reads version 1"), std::string::npos) << Refusal();
  EXPECT_NE(Refusal().find("--from-scratch"), std::string::npos) << "what to do";
  std::string damaged = good;
  damaged[good.size() - 7] = static_cast<char>(damaged[good.size() - 7] ^ 4);
  Overwrite(damaged);
  EXPECT_NE(Refusal().find("digest"), std::string::npos) << Refusal();
  Overwrite(good.substr(0, good.size() / 2));
  EXPECT_NE(Refusal(), "");
  Overwrite("{}\n");
  EXPECT_NE(Refusal().find("no weights"), std::string::npos) << Refusal();
}

TEST_F(WeightsFileTest, WithoutGoodWeightsTheSearchGoesOnFromScratch) {
  ASSERT_EQ(::setenv("SHARDSCOUT_CONFIGS", folder_.c_str(), 1), 0);
  SearcherRegistry searchers;
  RegisterAgents(searchers);
  const auto from_scratch = [&](const char* name) {
    return searchers.Make(name)->ConfigJson().find("\"from_scratch\":true") != std::string::npos;
  };
  EXPECT_FALSE(from_scratch("ppo"));
  EXPECT_TRUE(from_scratch("ppo-from-scratch"));
  EXPECT_TRUE(from_scratch("ppo-paper"));
  Overwrite("damaged");
  EXPECT_TRUE(from_scratch("ppo"));
  const test::FunctionEvaluator evaluator([&](const Strategy& s) { return test::Feasible(Taste(space_, s)); });
  EnvironmentOptions options;
  options.budget = 40;
  options.threads = 1;
  SearchEnvironment environment(space_, evaluator, options);
  searchers.Make("ppo")->Search(environment, 1);
  EXPECT_EQ(environment.Evaluations(), 40);
  ::unsetenv("SHARDSCOUT_CONFIGS");
}

TEST_F(WeightsFileTest, TheConfigurationNamesTheWeightsAndAsksForThemAgain) {
  ASSERT_EQ(::setenv("SHARDSCOUT_CONFIGS", folder_.c_str(), 1), 0);
  SearcherRegistry searchers;
  RegisterAgents(searchers);
  const std::string found_with = searchers.Make("ppo")->ConfigJson();
  EXPECT_NE(found_with.find(DigestOf(weights_)), std::string::npos) << found_with;
  EXPECT_EQ(searchers.Make("ppo-from-scratch")->ConfigJson().find(DigestOf(weights_)), std::string::npos);
  EXPECT_EQ(searchers.Make("ppo", {found_with, "the plan", {}})->ConfigJson(), found_with);
  WritePretrainedWeights(Trained(space_, 2), path_);
  EXPECT_NE(searchers.Make("ppo")->ConfigJson(), found_with) << "a comparison or a journal would mix the two";
  EXPECT_THROW(searchers.Make("ppo", {found_with, "the plan", {}}), SpecError);
  Overwrite("damaged");
  EXPECT_THROW(searchers.Make("ppo", {found_with, "the plan", {}}), SpecError);
  ::unsetenv("SHARDSCOUT_CONFIGS");
}

TEST_F(PretrainedPolicyTest, PpoStartsFromTheWeightsAndIsRepeatable) {
  const auto weights = std::make_shared<const PretrainedWeights>(Trained(space_));
  const auto search = [&](std::uint64_t seed) {
    std::vector<Strategy> asked;
    const test::FunctionEvaluator evaluator([&](const Strategy& s) {
      asked.push_back(s);
      return test::Feasible(Taste(space_, s));
    });
    EnvironmentOptions options;
    options.budget = 150;
    options.threads = 1;
    SearchEnvironment environment(space_, evaluator, options);
    PpoSearcher({}, "ppo", weights).Search(environment, seed);
    return asked;
  };
  const std::vector<Strategy> asked = search(1);
  ASSERT_EQ(asked.size(), 150u);
  EXPECT_EQ(search(1), asked);
  EXPECT_NE(search(2), asked);
  double first = 0, random = 0;
  Rng rng(2);
  for (std::size_t i = 0; i < 8; ++i) {
    first += Taste(space_, asked[i]) / 8;
    random += Taste(space_, space_.Sample(rng)) / 8;
  }
  EXPECT_GT(first, random + 0.05) << "the first ones are what the teacher likes";
}

}  // namespace
}  // namespace shardscout::agents
