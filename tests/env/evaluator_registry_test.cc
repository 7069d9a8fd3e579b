#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "shardscout/error.h"
#include "shardscout/evaluator.h"

namespace shardscout {
namespace {

class Constant : public Evaluator {
 public:
  std::string_view Name() const override { return "constant"; }
  Evaluation Evaluate(const Strategy&) const override { return {}; }
  Breakdown Explain(const Strategy&) const override { return {}; }
};

EvaluatorRegistry TwoEvaluators() {
  EvaluatorRegistry registry;
  const auto make = [](const Problem&) { return std::make_unique<Constant>(); };
  registry.Register("simulator", "discrete events", make);
  registry.Register("analytical", "closed forms", make);
  return registry;
}

// Nothing here looks into the problem.
const Problem& NoProblem() {
  static const Problem problem = [] {
    ModelSpec model;
    model.name = "tiny";
    model.num_layers = 1;
    model.hidden_size = 8;
    model.vocab_size = 16;
    model.attention.head_dim = 8;
    model.ffn_size = 8;
    model.layers = {LayerKind::kDense};
    ClusterSpec cluster;
    cluster.name = "one";
    cluster.device.hbm_bytes = cluster.device.hbm_bytes_per_s = 1e9;
    cluster.device.peak_flop_per_s.fill(1e12);
    cluster.devices_per_node = cluster.num_devices = 1;
    cluster.tiers = {{.name = "link", .bytes_per_s = 1e9}};
    return Problem(model, cluster, WorkloadSpec{});
  }();
  return problem;
}

TEST(EvaluatorRegistryTest, ListsByNameAndMakes) {
  const EvaluatorRegistry registry = TwoEvaluators();
  const auto list = registry.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0], (std::pair<std::string, std::string>{"analytical", "closed forms"}));
  EXPECT_EQ(list[1].first, "simulator");
  EXPECT_EQ(registry.Make("analytical", NoProblem())->Name(), "constant");
}

TEST(EvaluatorRegistryTest, AnUnknownNameIsTheUsersMistake) {
  const EvaluatorRegistry registry = TwoEvaluators();
  try {
    registry.Make("analitical", NoProblem());
    FAIL() << "no SpecError";
  } catch (const SpecError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("did you mean \"analytical\""), std::string::npos) << what;
    EXPECT_NE(what.find("expected analytical, simulator"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace shardscout
