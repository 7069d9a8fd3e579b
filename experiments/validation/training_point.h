#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/problem.h"

namespace shardscout::validation {

/// A measured step of training.
struct TrainingPoint {
  std::string set;    ///< "selene", "multi_node", "single_node", ...
  std::string group;  ///< What points share that differ in nothing but how they are split; "": nothing is known.
  ModelSpec model;
  ClusterSpec cluster;
  WorkloadSpec workload;
  std::int64_t tensor_parallel = 1, data_parallel = 1, pipeline_parallel = 1, virtual_pipeline_parallel = 1;
  std::int64_t context_parallel = 1, expert_parallel = 1;
  std::int64_t micro_batch = 1;  ///< Sequences.
  bool sequence_parallel = false;
  std::int64_t zero_stage = 0;
  std::optional<Recomputation> recomputation;  ///< nullopt: not stated; the least with which it fits.
  double step_s = 0;                           ///< 0: not measured.
  double memory_bytes = 0;                     ///< On the fullest device, as reported; 0: not reported.
  bool out_of_memory = false;                  ///< Reported as not fitting.
};

/// Whether the file is a table of training points: vTrain's (data/training), or ours (selene_steps.csv).
bool HoldsTrainingPoints(const std::string& path);

/// vTrain's tables: Megatron-DeepSpeed on A100s with 800 Gb/s of InfiniBand a node, every layer computed again, no
/// fused attention, dropout, ZeRO 0, nothing overlapped; GPT models with a vocabulary of 51,200.
/// selene_steps.csv: Megatron-LM on Selene, whose nodes have 200 Gb/s a device. SpecErrors name the file and the row.
std::vector<TrainingPoint> ReadTrainingPoints(const std::string& path);

/// A GPT of Megatron's: learned positions, the head's weights the embedding's.
ModelSpec Gpt(std::int64_t hidden, std::int64_t heads, std::int64_t layers, std::int64_t positions,
              std::int64_t vocabulary = 51200);

/// A step of so many sequences: no fused attention, dropout, no exchange overlapped.
WorkloadSpec TrainingWorkload(std::int64_t sequence, std::int64_t global_batch);

/// What a node sends and receives at most.
void SetNodeBandwidth(ClusterSpec& cluster, double bytes_per_s);

}  // namespace shardscout::validation
