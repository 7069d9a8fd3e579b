#pragma once

#include "shardscout/deployment.h"
#include "src/import/settings.h"

namespace shardscout::importers {

// A framework's settings as a deployment. `model` null: what only it decides is left open and no rule is checked.
// SpecError where degrees do not divide, so that they mean nothing.

Deployment DeploymentOfVllm(Settings& settings, const ModelSpec* model);
Deployment DeploymentOfSglang(Settings& settings, const ModelSpec* model);
Deployment DeploymentOfTensorRtLlm(Settings& settings, const ModelSpec* model);
Deployment DeploymentOfMegatron(Settings& settings, const ModelSpec* model);
/// Of its partition_config, what it does to down projections and lm_head.
Deployment DeploymentOfDeepSpeed(Settings& settings, const ModelSpec* model);

}  // namespace shardscout::importers
