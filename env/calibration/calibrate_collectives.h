#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"
#include "shardscout/device_curves.h"

namespace shardscout::env {

/// Fits a FabricCollectiveCurve (type "nccl") to the rows of the cluster's device in a table with the columns system,
/// op (all_reduce, all_gather, reduce_scatter, alltoall), dtype, num_gpus, message_bytes, latency_ms: one node, sizes
/// as nccl-tests gives them (all_gather: the whole output, reduce_scatter: the whole input, alltoall: a rank's buffer).
/// The link is the cluster's innermost tier. No rows: no curve. A shape is op and num_gpus; an all_reduce that the
/// switch can add (not int8) is one of its own.
std::vector<FittedCurve> CalibrateCollectives(const MeasurementTable& table, const ClusterSpec& cluster);

/// Fits an EngineAllReduceCurve to each kernel_source (TRTLLM, vLLM_custom_graph, vLLM_custom_eager) of the rows of the
/// cluster's device in a table with the columns system, backend_version, kernel_source, num_gpus, message_bytes,
/// latency_ms. `nccl` is the fitted curve of the same device, which takes what the engine's kernels do not. A shape is
/// num_gpus.
///
/// The sizes that the engines' kernels take are read off AIConfigurator's tables, where times jump to NCCL's:
/// TensorRT-LLM 1.0 up to 1 MiB, later ones up to 8 MiB; vLLM below 8 MiB, and from 0.24 on, with more than two
/// devices, below 64 MiB.
std::vector<FittedCurve> CalibrateEngineAllReduce(const MeasurementTable& table, const ClusterSpec& cluster,
                                                  const FabricCollectiveCurve& nccl);

/// Fits a DeepEpCurve to dispatch and to combine in the rows of the cluster's device in a table with the columns
/// system, node_num, hidden_size, num_token, num_topk, num_experts, dispatch_sms, dispatch_transmit_us,
/// dispatch_notify_us and the three of combine; the link is the cluster's innermost tier, the NIC the next. A shape is
/// all but the tokens and the compute units; rows over several nodes are reported as "TYPE/nodes". Rows that repeat
/// those of a system before, digit for digit, are not taken for measurements.
std::vector<FittedCurve> CalibrateDeepEp(const MeasurementTable& table, const ClusterSpec& cluster);

/// The same of DeepEpLowLatencyCurve: columns system, node_num, hidden_size, num_token, num_topk, num_experts,
/// dispatch_avg_t_us, combine_avg_t_us.
std::vector<FittedCurve> CalibrateDeepEpLowLatency(const MeasurementTable& table, const ClusterSpec& cluster);

}  // namespace shardscout::env
