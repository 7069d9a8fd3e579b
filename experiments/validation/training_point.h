#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/problem.h"

namespace shardscout::validation {

/// A measured step of training.
struct TrainingPoint {
  std::string set;    ///< "selene", "multi_node", "single_node", ...
  std::string group;  ///< What points share that differ in nothing but how they are split.
  ModelSpec model;
  ClusterSpec cluster;
  WorkloadSpec workload;
  std::int64_t tensor_parallel = 1, data_parallel = 1, pipeline_parallel = 1, virtual_pipeline_parallel = 1;
  std::int64_t micro_batch = 1;  ///< Sequences.
  bool sequence_parallel = false;
  std::int64_t zero_stage = 0;
  Recomputation recomputation = Recomputation::kNone;
  double step_s = 0;           ///< 0: not measured.
  bool out_of_memory = false;  ///< Reported as not fitting.
};

/// Whether the file is a table of training points: vTrain's (data/training), or ours (selene_steps.csv).
bool HoldsTrainingPoints(const std::string& path);

/// vTrain's tables: Megatron-DeepSpeed on A100s with 800 Gb/s of InfiniBand a node, every layer computed again, no
/// fused attention, dropout, ZeRO 0, nothing overlapped; GPT models with a vocabulary of 51,200.
/// selene_steps.csv: Megatron-LM on Selene, whose nodes have 200 Gb/s a device. SpecErrors name the file and the row.
std::vector<TrainingPoint> ReadTrainingPoints(const std::string& path);

/// Of a table of published measurements (published_record.h) the steps of training whose model is spelled out: GPTs by
/// "hidden ..., layers ..., heads ...". BigScience's sweep for BLOOM: Megatron-DeepSpeed with ZeRO 1 on nodes of 8
/// A100s and four Omni-Path links of 100 Gb/s, a vocabulary of 250,880, every layer computed again, no fused attention.
std::vector<TrainingPoint> ReadPublishedSteps(const std::string& path);

}  // namespace shardscout::validation
