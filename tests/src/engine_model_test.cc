#include "shardscout/engine_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shardscout/preset_paths.h"
#include "shardscout/workload_spec.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

/// 10 requests cost the host 4 ms; 20 layers have gaps of 1 ms, and with prompts take 8 ms to launch.
TEST(EngineModel, StepsOfAHostBesideAndAfterTheDevices) {
  EngineModel engine{.layer_gap_s = 5e-5, .layer_launch_s = 4e-4, .request_host_s = 4e-4};
  EXPECT_DOUBLE_EQ(engine.StepTime(2e-3, 10, 20, false), 4e-3) << "the host sets the pace";
  EXPECT_DOUBLE_EQ(engine.StepTime(5e-3, 10, 20, false), 6e-3) << "the devices do";
  EXPECT_DOUBLE_EQ(engine.StepTime(5e-3, 10, 20, true), 8e-3) << "launches do";
  EXPECT_DOUBLE_EQ(engine.StepTime(9e-3, 10, 20, true), 10e-3);
  engine.overlaps = false;
  EXPECT_DOUBLE_EQ(engine.StepTime(5e-3, 10, 20, false), 10e-3);
  EXPECT_DOUBLE_EQ(engine.StepTime(5e-3, 10, 20, true), 12e-3);
  EXPECT_DOUBLE_EQ(EngineModel{}.StepTime(5e-3, 10, 20, true), 5e-3) << "nothing by default";
}

TEST(EngineModel, PresetsAreRead) {
  const std::vector<std::string> presets = ListPresets("engines");
  EXPECT_THAT(presets, ::testing::ElementsAre("sglang", "trtllm", "vllm"));
  for (const std::string& preset : presets) EXPECT_EQ(LoadEngine(preset).name, preset);
}

TEST(EngineModel, IsPartOfAWorkload) {
  const WorkloadSpec workload = ParseWorkload(
      R"({"name": "chat", "kind": "serve", "engine": {"name": "mine", "overlaps": false, "layer_gap_s": 0.002}})", "w");
  ASSERT_TRUE(workload.engine);
  EXPECT_EQ(*workload.engine, (EngineModel{.name = "mine", .overlaps = false, .layer_gap_s = 2e-3}));
  SpecErrorAt("w#/engine/arrival_s", [] {
    ParseWorkload(R"({"name": "chat", "kind": "serve", "engine": {"name": "m", "arrival_s": -1}})", "w");
  });
}

}  // namespace
}  // namespace shardscout
