#pragma once

#include <cstdint>
#include <string_view>

namespace shardscout {

/// What products are computed in; weights are kept in 16 bits beside the optimizer's 32 either way.
enum class TrainingPrecision : std::uint8_t { kBf16, kFp8 };

/// Adam: a 32-bit master copy and two moments of every weight. Sgd: the master copy and one momentum.
enum class Optimizer : std::uint8_t { kAdam, kSgd };

/// How data parallel ranks that share the optimizer's states (ZeRO 1, 2) come by the weights that others updated.
/// Gather: each has an equal part of all of them (DeepSpeed, Megatron-LM). Broadcast: whole tensors are dealt to ranks,
/// and each rank sends its own to all, one rank after another (PyTorch's ZeroRedundancyOptimizer, InternEvo).
enum class ParameterExchange : std::uint8_t { kGather, kBroadcast };

/// What PyTorch's eager mode takes on the host for a task of the program (several small kernels each, and autograd's
/// bookkeeping), on the machines of data/training: fitted by fit_training (experiments/validation/README.md).
inline constexpr double kHostTaskSeconds = 8.2e-5;

/// How one step of training goes, beside the strategy. The sequence length is WorkloadSpec::input_tokens; a request is
/// a sequence.
struct TrainingSpec {
  std::int64_t global_batch_size = 1;  ///< Sequences of a step over the whole cluster.
  TrainingPrecision precision = TrainingPrecision::kBf16;
  Optimizer optimizer = Optimizer::kAdam;
  bool fp32_gradients = true;  ///< Gradients are summed and exchanged in 32 bits (Megatron's main_grad), else 16.
  /// With 32-bit sums: the backward's own gradients, 16 bits, stay in memory beside them (DeepSpeed's
  /// bf16_optimizer.py).
  bool keep_16_bit_gradients = false;
  /// DeepSpeed's reduce_bucket_size and allgather_bucket_size (5e8 by default): 16-bit gradients are copied into a
  /// buffer of so many elements to be exchanged, and weights that ranks share are gathered through one; 0: both are
  /// exchanged where they lie (Megatron-LM's contiguous buffers).
  std::int64_t exchange_bucket_elements = 0;
  /// A stage's output stays in memory until its backward (PyTorch's pipelining, DeepSpeed); false: what was sent is
  /// given up (Megatron-LM's deallocate_pipeline_outputs).
  bool keep_stage_outputs = false;
  bool fused_attention = true;  ///< FlashAttention; false: scores are written to memory, all of them, masked or not.
  bool dropout = false;         ///< Of attention's weights (not fused) and of what is added to the residual stream.
  double host_task_s = kHostTaskSeconds;  ///< The host's time to launch one task of the program; 0: CUDA graphs.
  /// The host waits for each kernel before it launches the next (CUDA_LAUNCH_BLOCKING=1), so that the two take turns.
  bool blocking_launches = false;
  /// Collectives of tensor parallelism run beside products by weights where nothing waits for one of the two: the sum
  /// of a column-parallel product's input gradient beside its product by the weight, what is gathered again beside its
  /// product by the input (Megatron-LM's asynchronous linear layers; arXiv 2205.05198, section 4.2.2).
  bool overlap_tensor = true;
  bool overlap_gradients = true;   ///< Gradients are exchanged beside the last micro-batch's backward.
  bool overlap_parameters = true;  ///< Parameters are gathered beside the next step's first forward (ZeRO 1, 2).
  ParameterExchange parameter_exchange = ParameterExchange::kGather;
  bool operator==(const TrainingSpec&) const = default;

  /// Of one weight's gradient as it is exchanged, and of all that is kept of it.
  double GradientBytes() const { return fp32_gradients ? 4 : 2; }
  double KeptGradientBytes() const { return GradientBytes() + (fp32_gradients && keep_16_bit_gradients ? 2 : 0); }
  /// Of one weight that a rank updates, ZeRO 0 to 2: the optimizer reads its gradient in 32 bits, a copy where it has
  /// 16 (Megatron-LM's Float16OptimizerWithFloat16Params, DeepSpeed's stage_1_and_2.py). ZeRO 3 updates by small parts
  /// (DeepSpeed's sub_group_size), or casts as it exchanges (FSDP).
  double CastGradientBytes() const { return fp32_gradients ? 0 : 4; }
  /// Of one weight, fp32.
  double OptimizerBytes() const { return optimizer == Optimizer::kAdam ? 12 : 8; }
};

std::string_view ToString(TrainingPrecision precision);
std::string_view ToString(Optimizer optimizer);
std::string_view ToString(ParameterExchange exchange);

}  // namespace shardscout
