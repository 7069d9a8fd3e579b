#pragma once

// What of a training plan frameworks other than Megatron-LM run as it is priced. For framework_rules.cc alone.
//
//   torchtitan  Weights of cp * dp ranks are sharded by FSDP: gathered again in the backward pass (ZeRO 3) or kept from
//               the forward (ZeRO 2), or copied whole where these ranks are all there are (DDP, ZeRO 0). Products are
//               in 16 bits only under FSDP or DDP, so that cp * dp > 1. Residual T with t > 1. Experts whole (m = 1),
//               dealt over e of the stage's ranks; with t > 1 dealt, e > 1. Stages of equal size; micro-batches as
//               stages or more. Recomputation none or full.
//   DeepSpeed   AutoTP over t with ZeRO up to 2, or stages of equal size with ZeRO up to 1 (PipelineModule), or experts
//               dealt over e with ZeRO up to 2 (AutoEP), or neither with ZeRO up to 3; c = 1, m = 1. lm_head and
//               embedding whole.
//   MaxText     p = 1 (its pipeline is no 1F1B). t as tensor_sequence: residual T, m = t, e divides d. Parameters over
//               fsdp, context and expert axes (ZeRO 3), or with c = e = 1 over data alone (ZeRO 0, and 1:
//               shard_optimizer_over_data). The vocabulary divides by t, the hidden size by cd.

#include "shardscout/problem.h"
#include "shardscout/strategy.h"
#include "shardscout/strategy_space.h"

namespace shardscout::strategies {

/// False for a framework that does not train.
bool TrainsWithDegrees(Framework framework, const Problem& problem, const Strategy& s);
bool TrainsWithExpertMesh(Framework framework, const Strategy& s);
bool TrainsWithZero(Framework framework, const Strategy& s, std::int64_t stage);

}  // namespace shardscout::strategies
