#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/validation/published_record.h"
#include "experiments/validation/training_point.h"

namespace shardscout::validation {

/// A published step of training in this library's terms; nullopt, with `why_not`: one that cannot be predicted from
/// what the record says. What records leave to their sources:
///   Megatron-DeepSpeed (BigScience, BLOOM)  ZeRO 1, every layer computed again, no fused attention, dropout, nothing
///                                           overlapped, four Omni-Path links of 100 Gb/s a node, a vocabulary of
///                                           250,880, 64 heads; FP16 has 16-bit gradients; from 20 nodes on launches
///                                           block, without which its jobs hung; memory is nvidia-smi's (bigscience,
///                                           train/tr11-176B-ml/chronicles-prequel.md); buckets of 5e8 elements
///                                           (DeepSpeed's runtime/zero/config.py)
///   llm-foundry                             MPT's sizes from its scripts/train/yamls/pretrain; FSDP is ZeRO 3 with
///                                           16-bit exchanges beside the computing, fused attention
///   Megatron-Bridge, NeMo                   fused attention, ZeRO 1 (ZeRO 3 where the record says FSDP), exchanges
///                                           beside the computing, sequence parallelism beside tp
///   InternEvo                               fused attention, 16-bit gradients, four links of 100 Gb/s a node, and
///                                           ranks that broadcast the tensors that they updated
///                                           (internlm/solver/optimizer/hybrid_zero_optim.py, broadcast_params)
///   torchtitan                              FSDP is ZeRO 3, fused attention
/// Where it is not stated what is computed again, the least that fits is taken.
std::optional<TrainingPoint> TrainingPointOf(const PublishedRecord& record, std::string& why_not);

/// The records of training that can be predicted.
struct PublishedSteps {
  std::vector<TrainingPoint> points;
  std::map<std::string, int> why_not;  ///< Of the others: how many for which reason.
};
PublishedSteps PublishedStepsOf(std::span<const PublishedRecord> records);

}  // namespace shardscout::validation
