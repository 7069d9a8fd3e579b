#include "agents/residual_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "shardscout/random.h"

namespace shardscout::agents {
namespace {

TEST(ResidualModel, TheWorkedExample) {
  ResidualModel model(1, {.length = 2, .noise = 1e-9});
  model.Fit({5}, std::vector<double>{1}, 0);
  const auto half = static_cast<float>(5 + 2 * std::sqrt(2 * std::log(2)));  // Where the kernel is 0.5.
  const ResidualModel::Candidates candidates(model, {5, half, 100});
  EXPECT_NEAR(candidates.Mean(0), 1, 1e-6);
  EXPECT_NEAR(candidates.Deviation(0), 0, 1e-3);
  EXPECT_NEAR(candidates.Mean(1), 0.5, 1e-6);
  EXPECT_NEAR(candidates.Deviation(1), std::sqrt(0.75), 1e-6);
  EXPECT_NEAR(candidates.Mean(2), 0, 1e-9);
  EXPECT_NEAR(candidates.Deviation(2), 1, 1e-9);
}

TEST(ResidualModel, WithoutPointsAllIsTheMean) {
  ResidualModel model(2, {});
  model.Fit({}, {}, 0.25);
  const ResidualModel::Candidates candidates(model, {1, 2, 3, 4});
  EXPECT_EQ(candidates.Mean(1), 0.25);
  EXPECT_EQ(candidates.Deviation(1), 1);
}

TEST(ResidualModel, NoiseKeepsItFromBelievingAPoint) {
  ResidualModel model(1, {.length = 1, .noise = 1});
  model.Fit({0}, std::vector<double>{3}, 1);
  const ResidualModel::Candidates candidates(model, {0});
  EXPECT_NEAR(candidates.Mean(0), 2, 1e-9) << "half of the way from the mean";
  EXPECT_NEAR(candidates.Deviation(0), std::sqrt(0.5), 1e-9);
}

TEST(ResidualModel, FindsHowMuchNoiseThereIs) {
  Rng rng(1);
  std::vector<float> rows;
  std::vector<double> smooth, noisy;
  for (int i = 0; i < 60; ++i) {
    rows.push_back(static_cast<float>(i) / 6);
    smooth.push_back(std::sin(rows.back()));
    noisy.push_back(rng.Normal());
  }
  ResidualModel model(1, {.length = 1.5, .noise = 0});
  model.Fit(rows, smooth, 0);
  EXPECT_EQ(model.noise(), ResidualModel::kNoises.front());
  model.Fit(rows, noisy, 0);
  EXPECT_EQ(model.noise(), ResidualModel::kNoises.back());
}

TEST(ResidualModel, ConditioningIsFittingWithThePointsAdded) {
  const ResidualModel::Config config = {.length = 1.5, .noise = 0.1};
  const std::vector<float> points = {0, 0, 1, 0.5, -1, 2}, others = {0.2F, 0.1F, 1, 1, -0.5F, 1, 3, -2};
  ResidualModel few(2, config), more(2, config);
  few.Fit(points, std::vector<double>{0.5, -1, 2}, 0);
  ResidualModel::Candidates conditioned(few, others);
  conditioned.Condition(1);
  conditioned.Condition(2);
  std::vector<float> all = points;
  all.insert(all.end(), others.begin() + 2, others.begin() + 6);
  more.Fit(all, std::vector<double>{0.5, -1, 2, 7, 8}, 0);  // Deviations do not depend on what was seen.
  const ResidualModel::Candidates fitted(more, others);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(conditioned.Deviation(i), fitted.Deviation(i), 1e-9) << i;
  // From nothing too.
  ResidualModel none(2, config);
  none.Fit({}, {}, 0);
  ResidualModel::Candidates first(none, {0, 0, 1, 0});
  first.Condition(0);
  EXPECT_NEAR(first.Deviation(0), std::sqrt(1 - 1 / 1.1), 1e-9);
  EXPECT_LT(first.Deviation(1), 1);
}

}  // namespace
}  // namespace shardscout::agents
