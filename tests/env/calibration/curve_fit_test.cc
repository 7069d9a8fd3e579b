#include "env/calibration/curve_fit.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/random.h"

namespace shardscout::env {
namespace {

/// A kernel of a launch and two roofs, measured with noise.
class TwoRoofs {
 public:
  explicit TwoRoofs(double noise, int num_shapes = 60) {
    Rng rng(7);
    for (int shape = 0; shape < num_shapes; ++shape) {
      const double intensity = std::pow(10, 4 * rng.Uniform() - 1);
      for (double bytes = 1e4; bytes < 1e10; bytes *= 4) {
        bytes_.push_back(bytes);
        flop_.push_back(bytes * intensity);
        const double time_s = Time(3e-6, 0.6, 2e12, bytes, bytes * intensity);
        problem_.rows.push_back({.shape = static_cast<std::uint64_t>(shape),
                                 .measured_s = time_s * std::exp(noise * (2 * rng.Uniform() - 1)),
                                 .roofline_s = Time(0, 1, 3e12, bytes, bytes * intensity)});
      }
    }
    problem_.parameters = {{.name = "launch_s", .value = &launch_s_},
                           {.name = "share", .value = &share_, .share = true},
                           {.name = "bytes_per_s", .value = &bytes_per_s_, .least = 1},
                           {.name = "absent", .value = &absent_}};
    problem_.predict = [this](std::size_t row) {
      return Time(launch_s_, share_, bytes_per_s_, bytes_[row], flop_[row]) + absent_;
    };
  }

  FitProblem& problem() { return problem_; }
  double launch_s_ = 1e-6, share_ = 0.9, bytes_per_s_ = 1e12, absent_ = 0;

 private:
  static double Time(double launch_s, double share, double bytes_per_s, double bytes, double flop) {
    return launch_s + std::max(flop / (share * 100e12), bytes / bytes_per_s);
  }

  FitProblem problem_;
  std::vector<double> bytes_, flop_;
};

TEST(CurveFitTest, FindsTheParametersThatTheTimesWereMadeWith) {
  TwoRoofs exact(0);
  const FitReport report = FitCurve(exact.problem(), "test");
  EXPECT_NEAR(exact.launch_s_ / 3e-6, 1, 1e-3);
  EXPECT_NEAR(exact.share_ / 0.6, 1, 1e-3);
  EXPECT_NEAR(exact.bytes_per_s_ / 2e12, 1, 1e-3);
  EXPECT_EQ(exact.absent_, 0) << "what is 0 has no part in the curve";
  ASSERT_EQ(report.held_out_s.size(), exact.problem().rows.size());
  for (std::size_t row = 0; row < report.held_out_s.size(); ++row) {
    EXPECT_NEAR(report.held_out_s[row] / exact.problem().rows[row].measured_s, 1, 2e-3);
    EXPECT_NEAR(report.fitted_s[row] / exact.problem().rows[row].measured_s, 1, 2e-3);
  }
}

/// Few rows of one kind move what they tell of and leave the rest.
TEST(CurveFitTest, BelievesTheStartAsFarAsRowsDoNotSayOtherwise) {
  TwoRoofs exact(0);
  FitProblem& problem = exact.problem();
  // Small transfers alone: the launch.
  const std::size_t all = problem.rows.size();
  FitProblem few = problem;
  std::vector<std::size_t> kept;
  for (std::size_t row = 0; row < all && kept.size() < 6; ++row) {
    if (problem.rows[row].measured_s < 3.1e-6) kept.push_back(row);
  }
  ASSERT_EQ(kept.size(), 6u);
  few.rows.clear();
  for (const std::size_t row : kept) few.rows.push_back(problem.rows[row]);
  few.predict = [&](std::size_t row) { return problem.predict(kept[row]); };
  EXPECT_TRUE(TooFewToFit(few.rows, few.parameters));
  EXPECT_FALSE(TooFewToFit(problem.rows, problem.parameters));
  EXPECT_THROW(FitCurve(few, "test"), SpecError);
  FitCurve(few, "test", {.belief_width = 0.5});
  EXPECT_NEAR(exact.launch_s_ / 3e-6, 1, 0.1);
  EXPECT_NEAR(exact.share_, 0.9, 0.01);
  EXPECT_NEAR(exact.bytes_per_s_ / 1e12, 1, 0.1);

  TwoRoofs doubtful(0), certain(0);
  FitCurve(doubtful.problem(), "test", {.belief_width = 5});
  FitCurve(certain.problem(), "test", {.belief_width = 1e-3});
  EXPECT_NEAR(doubtful.share_, 0.6, 0.01);
  EXPECT_NEAR(certain.share_, 0.9, 0.02);
}

TEST(CurveFitTest, AFewWildMeasurementsDoNotBendIt) {
  TwoRoofs wild(0.02);
  for (std::size_t row = 0; row < wild.problem().rows.size(); row += 20) wild.problem().rows[row].measured_s *= 5;
  const FitReport report = FitCurve(wild.problem(), "test");
  EXPECT_NEAR(wild.launch_s_ / 3e-6, 1, 0.02);
  EXPECT_NEAR(wild.share_ / 0.6, 1, 0.02);
  EXPECT_NEAR(wild.bytes_per_s_ / 2e12, 1, 0.02);
  std::vector<double> errors;
  for (std::size_t row = 0; row < report.held_out_s.size(); ++row) {
    errors.push_back(std::abs(report.held_out_s[row] / wild.problem().rows[row].measured_s - 1));
  }
  EXPECT_LT(StatisticsOf(errors).median, 0.02);
}

TEST(CurveFitTest, AShapeIsPredictedByFitsThatDidNotSeeIt) {
  // One shape is three times as slow as the curve can say: where it is held out, it is predicted like the others.
  TwoRoofs odd(0);
  for (FitRow& row : odd.problem().rows) {
    if (row.shape == 5) row.measured_s *= 3;
  }
  const FitReport report = FitCurve(odd.problem(), "test");
  for (std::size_t row = 0; row < odd.problem().rows.size(); ++row) {
    const FitRow& measured = odd.problem().rows[row];
    if (measured.shape != 5) continue;
    EXPECT_NEAR(report.held_out_s[row] / measured.measured_s, 1.0 / 3, 0.01);
  }
}

TEST(CurveFitTest, SuspectRowsArePredictedAndNotFittedTo) {
  TwoRoofs suspect(0);
  for (std::size_t row = 0; row < suspect.problem().rows.size(); row += 2) {
    suspect.problem().rows[row].measured_s *= 10;
    suspect.problem().rows[row].suspect = true;
  }
  const FitReport report = FitCurve(suspect.problem(), "test");
  for (std::size_t row = 0; row < report.held_out_s.size(); ++row) {
    const FitRow& measured = suspect.problem().rows[row];
    EXPECT_NEAR(report.held_out_s[row] / measured.measured_s, measured.suspect ? 0.1 : 1, 2e-3);
  }
}

TEST(CurveFitTest, IsTheSameOnAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  TwoRoofs one(0.1, 200), four(0.1, 200);  // Few rows are not worth threads.
  omp_set_num_threads(1);
  const FitReport by_one = FitCurve(one.problem(), "test");
  omp_set_num_threads(4);
  const FitReport by_four = FitCurve(four.problem(), "test");
  omp_set_num_threads(threads);
  EXPECT_EQ(by_one.held_out_s, by_four.held_out_s);
  EXPECT_EQ(one.launch_s_, four.launch_s_);
  EXPECT_EQ(one.share_, four.share_);
}

std::string ErrorOf(const FitProblem& problem) {
  try {
    FitCurve(problem, "gemm.csv: fp8");
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(CurveFitTest, TooFewMeasurementsAreRefused) {
  TwoRoofs few(0);
  few.problem().rows.resize(14);
  EXPECT_EQ(ErrorOf(few.problem()),
            "gemm.csv: fp8: found 14 measurements for 3 parameters, expected five a parameter or more");
  TwoRoofs one_shape(0);
  for (FitRow& row : one_shape.problem().rows) row.shape = 1;
  EXPECT_EQ(ErrorOf(one_shape.problem()),
            "gemm.csv: fp8: found 0 measurements beside the shapes that are held out for 3 parameters, expected five a "
            "parameter or more");
  TwoRoofs suspect(0);
  for (FitRow& row : suspect.problem().rows) row.suspect = true;
  EXPECT_EQ(ErrorOf(suspect.problem()),
            "gemm.csv: fp8: found 0 measurements for 3 parameters, expected five a parameter or more");
}

TEST(CurveFitTest, ACurveWithoutATimeIsRefused) {
  TwoRoofs infinite(0);
  infinite.problem().predict = [](std::size_t row) { return row == 7 ? std::numeric_limits<double>::infinity() : 1.0; };
  EXPECT_NE(ErrorOf(infinite.problem()).find("no finite time"), std::string::npos);
}

TEST(ErrorStatisticsTest, AreOfTheSortedErrors) {
  EXPECT_EQ(StatisticsOf({}), ErrorStatistics{});
  EXPECT_EQ(StatisticsOf({0.5, 0.1, 0.2, 0.3, 0.4, 0.9, 0.8, 0.7, 0.6, 1.0}),
            (ErrorStatistics{.count = 10, .median = 0.6, .p90 = 1.0}));
}

}  // namespace
}  // namespace shardscout::env
