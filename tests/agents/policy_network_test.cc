#include "agents/policy_network.h"

#include <gtest/gtest.h>

#include <cmath>

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
  const Rollout rollout = SampleActions(network_, memory, space_, 20, rng_);
  const ActionEvaluation forced = network_.Evaluate(memory, rollout.choices, rollout.bias);
  EXPECT_LT((forced.logprob - rollout.logprob).abs().max().item<double>(), 1e-5);
  EXPECT_LT((forced.value - rollout.value).abs().max().item<double>(), 1e-5);
  EXPECT_LT(rollout.logprob.min().item<double>(), -1) << "not trivial";
}

TEST_F(PolicyNetworkTest, ForcedSubActionsHaveProbabilityOneAndNoEntropy) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, memory, space_, 20, rng_);
  const ActionEvaluation forced = network_.Evaluate(memory, rollout.choices, rollout.bias);
  const at::Tensor is_forced = 1 - rollout.free;
  EXPECT_GT(is_forced.sum().item<double>(), 0);
  EXPECT_EQ((forced.logprob * is_forced).abs().max().item<double>(), 0);
  EXPECT_EQ((forced.entropy * is_forced).abs().max().item<double>(), 0);
}

TEST_F(PolicyNetworkTest, ProbabilitiesSumToOneAndMaskedChoicesGetNone) {
  Perturb();
  const at::Tensor memory = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, memory, space_, 20, rng_);
  for (int a = 0; a < network_.NumSubActions(); ++a) {
    const at::Tensor p = network_.AllLogprobs(memory, rollout.choices, rollout.bias, a).exp();
    ASSERT_EQ(p.size(1), static_cast<std::int64_t>(space_.sub_actions()[static_cast<std::size_t>(a)].NumChoices()));
    EXPECT_TRUE(at::allclose(p.sum(1), at::ones({20}), 1e-5, 1e-5));
    for (std::size_t i = 0; i < rollout.actions.size(); ++i) {
      const Choices& action = rollout.actions[i];
      std::vector<std::uint8_t> mask;
      space_.AllowedChoices(std::span<const int>(action).first(static_cast<std::size_t>(a)), mask);
      EXPECT_EQ(mask[static_cast<std::size_t>(action[static_cast<std::size_t>(a)])], 1);
      for (std::size_t c = 0; c < mask.size(); ++c) {
        const float probability =
            p.data_ptr<float>()[static_cast<std::int64_t>(i) * p.size(1) + static_cast<std::int64_t>(c)];
        if (mask[c] == 0) EXPECT_EQ(probability, 0) << a << " " << c;
      }
    }
  }
}

TEST_F(PolicyNetworkTest, StartsAtThePrior) {
  const at::Tensor memory = network_.Encode({});
  const Rollout rollout = SampleActions(network_, memory, space_, 50, rng_);
  const at::Tensor p = network_.AllLogprobs(memory, rollout.choices, rollout.bias, 4).exp();
  for (std::int64_t i = 0; i < 50; ++i) {
    const Choices& action = rollout.actions[static_cast<std::size_t>(i)];
    std::vector<std::uint8_t> mask;
    space_.AllowedChoices(std::span<const int>(action).first(4), mask);
    double total = 0;
    for (std::size_t c = 0; c < mask.size(); ++c) total += mask[c] ? 1 / (static_cast<double>(c) + 1) : 0;
    for (std::size_t c = 0; c < mask.size(); ++c) {
      const double expected = mask[c] ? 1 / (static_cast<double>(c) + 1) / total : 0;
      EXPECT_NEAR(p.data_ptr<float>()[i * 70 + static_cast<std::int64_t>(c)], expected, 0.05 * expected + 1e-9);
    }
  }
}

TEST_F(PolicyNetworkTest, GradientAgreesWithFiniteDifferences) {
  Perturb();
  const at::Tensor sampled_from = network_.Encode(elites_);
  const Rollout rollout = SampleActions(network_, sampled_from, space_, 4, rng_);
  const auto loss = [&] {
    const ActionEvaluation now = network_.Evaluate(network_.Encode(elites_), rollout.choices, rollout.bias);
    return now.logprob.sum() + 0.7 * now.entropy.sum() + 0.3 * now.value.square().sum();
  };
  network_.gradients().zero_();
  loss().backward();
  const std::int64_t count = network_.weights().numel();
  // Along the gradient itself, where a difference is largest compared with float32's rounding.
  const double squares = network_.gradients().to(at::kDouble).square().sum().item<double>();
  ASSERT_GT(squares, 0);
  const double step = 1e-3 / std::sqrt(squares);
  const at::Tensor saved = network_.weights().clone();
  const auto at_step = [&](double sign) {
    for (std::int64_t i = 0; i < count; ++i) {
      network_.weights().data_ptr<float>()[i] =
          saved.data_ptr<float>()[i] +
          static_cast<float>(sign * step * static_cast<double>(network_.gradients().data_ptr<float>()[i]));
    }
    const at::NoGradGuard no_grad;
    return loss().item<double>();
  };
  const double difference = (at_step(1) - at_step(-1)) / (2 * step);
  EXPECT_NEAR(difference / squares, 1, 0.02);
}

TEST_F(PolicyNetworkTest, ObservesTheHistory) {
  Perturb();
  const at::Tensor choices = at::zeros({1, network_.NumSubActions()}, at::kLong);
  const Rollout rollout = SampleActions(network_, network_.Encode({}), space_, 1, rng_);
  const at::Tensor without = network_.AllLogprobs(network_.Encode({}), rollout.choices, rollout.bias, 1);
  const at::Tensor with = network_.AllLogprobs(network_.Encode(elites_), rollout.choices, rollout.bias, 1);
  EXPECT_GT((without - with).abs().max().item<double>(), 1e-4);
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
