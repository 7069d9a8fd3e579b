// More bandwidth, more FLOP/s and less latency never make anything slower: random models, devices and strategies.

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/strategy_space.h"
#include "src/device_curve_fields.h"
#include "tests/baselines/random_problems.h"

namespace shardscout {
namespace {

constexpr double kRounding = 1 + 1e-9;

/// By which factor a field of a curve is better; 1: neither way is.
double Better(std::string_view field) {
  if (field.ends_with("_per_s")) return 1.3;
  if (field.ends_with("_s")) return 0.6;
  if (field.ends_with("hbm_fraction") || field.ends_with("peak_fraction") || field.ends_with("link_fraction")) {
    return 1.15;
  }
  return 1;
}

/// Calls f(name, value) for every number of a curve, and of curves in it.
template <class Curve, class F>
void ForEachNumber(Curve& curve, const std::string& prefix, const F& f) {
  auto visit = [&](std::string_view name, auto& value, const json::Field&) {
    using Value = std::remove_reference_t<decltype(value)>;
    const std::string path = prefix + std::string(name);
    if constexpr (std::is_same_v<Value, double>) {
      f(path, value);
    } else if constexpr (std::is_class_v<Value> && !std::is_same_v<Value, std::string>) {
      ForEachNumber(value, path + ".", f);
    }
  };
  VisitFields(visit, curve);
}

template <class F>
void ForEachNumber(ClusterSpec& cluster, const F& f) {
  ForEachNumber(cluster.device.curves, "", f);
  if (cluster.tiers[0].nccl) ForEachNumber(*cluster.tiers[0].nccl, "nccl.", f);
  if (cluster.tiers[0].engine_all_reduce) ForEachNumber(*cluster.tiers[0].engine_all_reduce, "engine.", f);
}

/// Every curve's numbers half to twice what they were.
void Perturb(ClusterSpec& cluster, Rng& rng) {
  ForEachNumber(cluster, [&](const std::string& name, double& value) {
    if (name.ends_with("_fraction")) {
      value *= 0.5 + 0.35 * rng.Uniform();
    } else if (!name.ends_with("overlap_exponent")) {
      value *= 0.5 + 1.5 * rng.Uniform();
    }
  });
}

using Change = std::pair<std::string, std::function<void(ClusterSpec&)>>;

std::vector<Change> Improvements(const ClusterSpec& cluster) {
  std::vector<Change> changes = {
      {"memory bandwidth", [](ClusterSpec& c) { c.device.hbm_bytes_per_s *= 1.3; }},
      {"peaks",
       [](ClusterSpec& c) {
         for (double& peak : c.device.peak_flop_per_s) peak *= 1.3;
       }},
  };
  for (std::size_t t = 0; t < cluster.tiers.size(); ++t) {
    changes.emplace_back("bandwidth of a tier", [t](ClusterSpec& c) { c.tiers[t].bytes_per_s *= 1.3; });
    changes.emplace_back("latency of a tier", [t](ClusterSpec& c) { c.tiers[t].latency_s *= 0.6; });
    changes.emplace_back("share of a tier", [t](ClusterSpec& c) { c.tiers[t].achieved_fraction *= 1.03; });
  }
  ClusterSpec names = cluster;
  ForEachNumber(names, [&](const std::string& name, double&) {
    const double factor = Better(name);
    if (factor == 1) return;
    changes.emplace_back(name, [name, factor](ClusterSpec& c) {
      ForEachNumber(c, [&](const std::string& other, double& value) { value *= other == name ? factor : 1; });
    });
  });
  return changes;
}

TEST(AnalyticalEvaluator, MoreBandwidthMoreFlopAndLessLatencyAreNeverSlower) {
  int compared = 0;
  std::size_t num_changes = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Rng rng(seed);
    const ModelSpec model = testing::RandomModel(rng);
    ClusterSpec cluster = testing::RandomCluster(rng);
    Perturb(cluster, rng);
    const WorkloadSpec workload = testing::RandomWorkload(rng);
    const Problem problem(model, cluster, workload);
    const StrategySpace space(problem);
    const env::AnalyticalEvaluator evaluator(problem);
    const std::vector<Change> changes = Improvements(cluster);
    num_changes = std::max(num_changes, changes.size());
    for (const auto& [what, change] : changes) {
      ClusterSpec better = cluster;
      change(better);
      const Problem better_problem(model, better, workload);
      const env::AnalyticalEvaluator better_evaluator(better_problem);
      for (int i = 0; i < 3; ++i) {
        const Strategy s = space.Sample(rng);
        const Metrics before = evaluator.Evaluate(s).metrics;
        const Metrics after = better_evaluator.Evaluate(s).metrics;
        ASSERT_LE(after.ttft_s, before.ttft_s * kRounding) << what << ", seed " << seed << ": " << ToShortString(s);
        ASSERT_LE(after.tpot_s, before.tpot_s * kRounding) << what << ", seed " << seed << ": " << ToShortString(s);
        ASSERT_GE(after.throughput_per_device * kRounding, before.throughput_per_device)
            << what << ", seed " << seed << ": " << ToShortString(s);
        ++compared;
      }
    }
  }
  EXPECT_GT(num_changes, 200u);
  EXPECT_GT(compared, 25000);
}

}  // namespace
}  // namespace shardscout
