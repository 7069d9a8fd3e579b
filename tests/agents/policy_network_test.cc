#include "agents/policy_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "agents/rollout.h"
#include "tests/agents/plain_action_space.h"

namespace shardscout::agents {
namespace {

class PolicyNetworkTest : public testing::Test {
 protected:
  // Small and large sub-actions (more than PolicyNetwork::kSmall choices), in mixed order; the fourth is always forced.
  PlainActionSpace space_{{3, 100, 4, 1, 70, 5}};
  Rng rng_{7};
  PolicyNetwork network_{space_.sub_actions(), {}, rng_};
  std::vector<Elite> elites_ = {{{0, 50, 1, 0, 3, 2}, 1.2}, {{2, 99, 3, 0, 69, 4}, 0.8}, {{1, 0, 0, 0, 0, 0}, -0.3}};

  static std::vector<std::size_t> All(std::size_t count) {
    std::vector<std::size_t> all(count);
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }

  /// Weights as after training, so that the policy is not just the prior.
  void Perturb() {
    float* weights = network_.weights().data_ptr<float>();
    for (std::int64_t i = 0; i < network_.weights().numel(); ++i)
      weights[i] += static_cast<float>(0.2 * (rng_.Uniform() - 0.5));
  }
};

TEST_F(PolicyNetworkTest, SamplingAgreesWithTeacherForcing) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, memory, space_, std::vector<Guide>(20), rng_);
  const ActionEvaluation forced = network_.Evaluate(memory, rollout.record, All(20));
  EXPECT_LT((forced.logprob - rollout.logprob).abs().max().item<double>(), 1e-5);
  EXPECT_LT((forced.value - rollout.value).abs().max().item<double>(), 1e-5);
  EXPECT_LT(rollout.logprob.min().item<double>(), -1) << "not trivial";
  const std::vector<std::size_t> some = {3, 17, 4};
  const ActionEvaluation part = network_.Evaluate(memory, rollout.record, some);
  for (std::size_t i = 0; i < some.size(); ++i) {
    const at::Tensor whole = forced.logprob.select(0, static_cast<std::int64_t>(some[i]));
    EXPECT_TRUE(at::allclose(part.logprob.select(0, static_cast<std::int64_t>(i)), whole, 1e-5, 1e-5));
  }
}

TEST_F(PolicyNetworkTest, ForcedSubActionsHaveProbabilityOneAndNoEntropy) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, memory, space_, std::vector<Guide>(20), rng_);
  const ActionEvaluation forced = network_.Evaluate(memory, rollout.record, All(20));
  const at::Tensor is_forced = 1 - rollout.free;
  EXPECT_GT(is_forced.sum().item<double>(), 0);
  EXPECT_EQ((forced.logprob * is_forced).abs().max().item<double>(), 0);
  EXPECT_EQ((forced.entropy * is_forced).abs().max().item<double>(), 0);
}

TEST_F(PolicyNetworkTest, ProbabilitiesOverTheAllowedChoicesSumToOneAndMaskedOnesAreNeverTaken) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, memory, space_, std::vector<Guide>(20), rng_);
  std::vector<std::uint8_t> mask;
  for (std::size_t a = 0; a < space_.sub_actions().size(); ++a) {
    for (std::size_t i = 0; i < 20; ++i) {
      const std::span<const int> prefix = std::span<const int>(rollout.actions[i]).first(a);
      space_.AllowedChoices(prefix, mask);
      EXPECT_EQ(mask[static_cast<std::size_t>(rollout.actions[i][a])], 1);
    }
    // The first action again, once with each allowed choice at a: all that may follow the same prefix.
    space_.AllowedChoices(std::span<const int>(rollout.actions[0]).first(a), mask);
    ActionRecord::Options allowed;
    network_.Allowed(a, mask, allowed);
    ASSERT_EQ(static_cast<std::int64_t>(allowed.size()), std::count(mask.begin(), mask.end(), 1));
    double total = 0, entropy = 0;
    for (std::size_t chosen = 0; chosen < allowed.size(); ++chosen) {
      ActionRecord record = rollout.record;
      record.Set(0, a, allowed, chosen);
      const ActionEvaluation now = network_.Evaluate(memory, record, {0});
      const double logprob = now.logprob[0][static_cast<std::int64_t>(a)].item<double>();
      total += std::exp(logprob);
      entropy -= std::exp(logprob) * logprob;
      if (chosen + 1 < allowed.size()) continue;
      EXPECT_NEAR(now.entropy[0][static_cast<std::int64_t>(a)].item<double>(), entropy, 1e-4);
    }
    EXPECT_NEAR(total, 1, 1e-5) << a;
  }
}

/// What a guide settles is taken, or the nearest that the mask leaves; what it avoids is not; both are recorded as what
/// the policy had to choose from.
TEST_F(PolicyNetworkTest, GuidesSettleAndAvoid) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  constexpr int kOpen = Guide::kOpen;
  const Guide guide{.settled = {2, 60, kOpen, 0, kOpen, 4}, .avoided = {kOpen, kOpen, 1, kOpen, 7, kOpen}};
  const Rollout rollout = SampleActions(network_, memory, space_, std::vector<Guide>(50, guide), rng_);
  std::vector<std::uint8_t> mask;
  for (const Choices& action : rollout.actions) {
    for (const std::size_t a : {std::size_t{0}, std::size_t{1}, std::size_t{5}}) {
      space_.AllowedChoices(std::span(action).first(a), mask);
      const int wanted = guide.settled[a];
      if (mask[static_cast<std::size_t>(wanted)] != 0) {
        EXPECT_EQ(action[a], wanted);
      } else {
        EXPECT_EQ(std::abs(action[a] - wanted), 1) << "every third choice is masked";
      }
    }
    EXPECT_NE(action[2], 1);
    EXPECT_NE(action[4], 7);
  }
  for (const int a : {0, 1, 3, 5}) EXPECT_EQ(rollout.free.select(1, a).sum().item<double>(), 0) << a;
  EXPECT_EQ(rollout.free.select(1, 4).sum().item<double>(), 50);
  const ActionEvaluation forced = network_.Evaluate(memory, rollout.record, All(50));
  EXPECT_LT((forced.logprob - rollout.logprob).abs().max().item<double>(), 1e-5);
}

TEST_F(PolicyNetworkTest, StartsAtThePrior) {
  const at::Tensor memory = network_.Encode({});
  const Rollout rollout = SampleActions(network_, memory, space_, std::vector<Guide>(50), rng_);
  const ActionEvaluation now = network_.Evaluate(memory, rollout.record, All(50));
  std::vector<std::uint8_t> mask;
  for (std::size_t i = 0; i < 50; ++i) {
    for (std::size_t a = 0; a < space_.sub_actions().size(); ++a) {
      space_.AllowedChoices(std::span<const int>(rollout.actions[i]).first(a), mask);
      double total = 0;
      for (std::size_t c = 0; c < mask.size(); ++c) total += mask[c] ? 1 / (static_cast<double>(c) + 1) : 0;
      const double expected = std::log(1 / (rollout.actions[i][a] + 1.0) / total);
      EXPECT_NEAR(now.logprob[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(a)].item<double>(), expected,
                  0.1);
    }
  }
}

TEST_F(PolicyNetworkTest, GradientAgreesWithFiniteDifferences) {
  Perturb();
  const Rollout rollout = SampleActions(network_, network_.Encode(elites_), space_, std::vector<Guide>(4), rng_);
  const std::vector<std::size_t> all = All(4);
  const auto loss = [&] {
    const ActionEvaluation now = network_.Evaluate(network_.Encode(elites_), rollout.record, all);
    return now.logprob.sum() + 0.7 * now.entropy.sum() + 0.3 * now.value.square().sum();
  };
  network_.gradients().zero_();
  loss().backward();
  // Along the gradient itself, where a difference is largest compared with float32's rounding.
  const double squares = network_.gradients().to(at::kDouble).square().sum().item<double>();
  ASSERT_GT(squares, 0);
  const double step = 1e-3 / std::sqrt(squares);
  const at::Tensor saved = network_.weights().clone();
  const auto loss_at = [&](double sign) {
    for (std::int64_t i = 0; i < network_.weights().numel(); ++i) {
      const double gradient = static_cast<double>(network_.gradients().data_ptr<float>()[i]);
      network_.weights().data_ptr<float>()[i] = saved.data_ptr<float>()[i] + static_cast<float>(sign * step * gradient);
    }
    const at::NoGradGuard no_grad;
    return loss().item<double>();
  };
  EXPECT_NEAR((loss_at(1) - loss_at(-1)) / (2 * step) / squares, 1, 0.02);
}

TEST_F(PolicyNetworkTest, ObservesTheHistory) {
  Perturb();
  const Rollout rollout = SampleActions(network_, network_.Encode({}), space_, std::vector<Guide>(1), rng_);
  const ActionEvaluation without = network_.Evaluate(network_.Encode({}), rollout.record, {0});
  const ActionEvaluation with = network_.Evaluate(network_.Encode(elites_), rollout.record, {0});
  EXPECT_GT((without.logprob - with.logprob).abs().max().item<double>(), 1e-4);
}

TEST(PolicyNetworkWeightsTest, ComeFromTheGivenStreamAlone) {
  const PlainActionSpace space({3, 4});
  Rng a(5), b(5), c(6);
  const PolicyNetwork one(space.sub_actions(), {}, a), two(space.sub_actions(), {}, b),
      other(space.sub_actions(), {}, c);
  EXPECT_TRUE(at::equal(one.weights(), two.weights()));
  EXPECT_FALSE(at::equal(one.weights(), other.weights()));
}

}  // namespace
}  // namespace shardscout::agents
