#include "agents/ppo_loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace shardscout::agents {
namespace {

at::Tensor Row(std::vector<double> values) { return at::tensor(values, at::kFloat); }

TEST(PpoLossTest, SurrogateAgainstHandComputation) {
  const at::Tensor old_logprob = Row({-1, -2, -3, -0.5});
  const at::Tensor ratio = Row({1.5, 0.5, 1.1, 0.7});
  const at::Tensor advantage = Row({1, -1, 2, 1});
  // min(1.5, 1.2) = 1.2; min(-0.5, -0.8) = -0.8; min(2.2, 2.2) = 2.2; min(0.7, 0.8) = 0.7.
  const at::Tensor loss = ClippedSurrogateLoss(old_logprob + ratio.log(), old_logprob, advantage, at::ones({4}), 0.2);
  EXPECT_NEAR(loss.item<double>(), -(1.2 - 0.8 + 2.2 + 0.7) / 4, 1e-6);
  const at::Tensor two =
      ClippedSurrogateLoss(old_logprob + ratio.log(), old_logprob, advantage, Row({1, 1, 0, 0}), 0.2);
  EXPECT_NEAR(two.item<double>(), -0.2, 1e-6);
}

TEST(PpoLossTest, SurrogateGradientIsCutWhereTheClipBinds) {
  const at::Tensor old_logprob = at::zeros({4});
  const at::Tensor advantage = Row({1, -1, 2, 1});
  at::Tensor logprob = Row({1.5, 0.5, 1.1, 0.7}).log().requires_grad_(true);
  ClippedSurrogateLoss(logprob, old_logprob, advantage, at::ones({4}), 0.2).backward();
  // d(-ratio A / 4) / d logprob = -ratio A / 4 where unclipped.
  const at::Tensor expected = Row({0, 0, -0.55, -0.175});
  EXPECT_TRUE(at::allclose(logprob.grad(), expected, 1e-5, 1e-6)) << logprob.grad();
}

TEST(PpoLossTest, AtTheOldPolicyTheGradientIsThatOfThePolicyGradient) {
  at::Tensor logprob = Row({-1, -2}).requires_grad_(true);
  ClippedSurrogateLoss(logprob, Row({-1, -2}), Row({3, -4}), at::ones({2}), 0.2).backward();
  EXPECT_TRUE(at::allclose(logprob.grad(), Row({-1.5, 2})));
}

TEST(PpoLossTest, ValueAndEntropy) {
  EXPECT_NEAR(ValueLoss(Row({1, 2, 5}), Row({0, 4, 0}), Row({1, 1, 0})).item<double>(), (1 + 4) / 2.0 / 2, 1e-6);
  EXPECT_NEAR(EntropyMean(Row({0.5, 1.5, 9}), Row({1, 1, 0})).item<double>(), 1.0, 1e-6);
  EXPECT_EQ(EntropyMean(Row({1, 2}), at::zeros({2})).item<double>(), 0) << "all forced: nothing, not NaN";
}

TEST(PpoLossTest, ImitationIsTheMeanNegativeLikelihoodOfFreeSubActions) {
  at::Tensor logprob = Row({-1, -3, 0}).requires_grad_(true);
  const at::Tensor loss = ImitationLoss(logprob, Row({1, 1, 0}));
  EXPECT_NEAR(loss.item<double>(), 2, 1e-6);
  loss.backward();
  EXPECT_TRUE(at::allclose(logprob.grad(), Row({-0.5, -0.5, 0})));
}

TEST(PpoLossTest, NormalisedAdvantage) {
  // Mean 2, deviation sqrt(2/3).
  const at::Tensor a = NormaliseAdvantage(Row({1, 2, 3, 100}), Row({1, 1, 1, 0}));
  const double one = 1 / std::sqrt(2.0 / 3);
  EXPECT_TRUE(at::allclose(a, Row({-one, 0, one, 0}), 1e-5, 1e-6)) << a;
  EXPECT_TRUE(at::allclose(NormaliseAdvantage(Row({7, 7}), at::ones({2})), at::zeros({2})));
}

}  // namespace
}  // namespace shardscout::agents
