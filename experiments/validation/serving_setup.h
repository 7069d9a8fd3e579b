#pragma once

#include <cstdint>
#include <string>

#include "experiments/validation/engine_memory.h"
#include "experiments/validation/serving_point.h"
#include "shardscout/device_curves.h"

namespace shardscout::validation {

/// What a row does not say of its run, but the published scripts of its benchmark or the engine's defaults do.
struct ServingSetup {
  double shortest_ratio = 1;  ///< RequestModel::shortest_ratio.
  double length_cv = 0;       ///< RequestModel::input_cv and output_cv.
  std::int64_t max_batched_tokens = 8192;
  std::int64_t max_running = 1024;  ///< Requests of an attention-data-parallel rank.
  std::int64_t poll_interval_steps = 1;
  bool reserves_output = false;  ///< RequestModel's.
  std::int64_t prompt_wait_steps = 0;
  double prompt_wait_ratio = 0;
  std::int64_t rank_wait_steps = 0;
  std::int64_t stream_interval = 1;  ///< Tokens that are streamed at once.
  CacheRule cache;
  std::string kv_dtype;             ///< "": the model's.
  bool unpacks_in_library = false;  ///< UseEnginesKernels.
  bool flashinfer_blocks = false;   ///< UseEnginesKernels.
};

/// Rows with 1024 or 8192 tokens in and out are InferenceX's (formerly InferenceMAX); the others ran with defaults.
///
/// InferenceX, github.com/SemiAnalysisAI/InferenceX, benchmarks/single_node and, before, benchmarks/*_slurm.sh and
/// *_docker.sh; its client is benchmark_serving.py with --random-range-ratio 0.8, --num-prompts ten times
/// --max-concurrency, --request-rate inf, --ignore-eos:
///   vLLM          8192 tokens a step, 512 requests; an fp8 cache for Llama-70B and gpt-oss on B200. (The script for
///                 Llama-70B on H100 has one too, but its points on two devices saturate where a bf16 cache is
///                 full, and their steps are as long as that cache's.) MiniMax on B200: from vLLM 0.19 on an fp8 cache,
///                 twice the input's tokens a step, --stream-interval 20; before, 95 % of the memory for FP8 weights
///                 gpt-oss on H100: Marlin's kernels (VLLM_MXFP4_USE_MARLIN)
///   TensorRT-LLM  an fp8 cache; 16384 tokens a step for Llama, 20000 for gpt-oss, for DeepSeek concurrency + input +
///                 64, at least 8192; batch_wait for Llama on less than 8 devices and for DeepSeek in FP8 from a
///                 concurrency of 64 (on B200), both at 1024 in and out; --stream-interval 10 or 20. Its cache is a
///                 share of what is free: 80 % for DeepSeek (75 % on H200, and in FP8 on four B200 at 8192 in; 70 % in
///                 FP8 at 8192 out from a concurrency of 256), 85 % for gpt-oss. With data-parallel attention prompts
///                 wait until every rank has one (attention_dp_config: enable_balance), or for timeout_iters, 60 for
///                 DeepSeek and 50, the default, for gpt-oss: here, of each rank by itself
///   SGLang        32768 tokens a step (16384 with FP4 and for Qwen3.5 on H200); on B200 an fp8 cache,
///                 --scheduler-recv-interval 10, from a concurrency of 16 on 30, and --stream-interval 30 or 10.
///                 Products in FP8 on B200 are FlashInfer's (SGLANG_ENABLE_FLASHINFER_GEMM; DeepSeek's script, and
///                 three of five revisions of Qwen3.5's). Weights and cache get 82 % (85 % with FP4, 80 % for Qwen3.5
///                 on H200). DeepSeek in FP8 on four B200: 32 requests, 8192 tokens, 95 %. (Later scripts limit the
///                 others to 128 or 256 requests; points with twice as many in flight were not held back.)
/// Defaults: vLLM's 8192 tokens on devices of 70 GB and more, SGLang's --chunked-prefill-size of 8192 and
/// TensorRT-LLM's max_num_tokens of 8192, GUARANTEED_NO_EVICT and 90 % of what is free. TensorRT-LLM takes the number
/// format of the cache from NVIDIA's FP8 and NVFP4 checkpoints (kv_cache_quant_algo of hf_quant_config.json, which is
/// FP8), and AIConfigurator, whose the other points are, sets it so for FP8.
///
/// Requests of the other points are ten times the concurrency too (AIConfigurator, src/aiconfigurator/eval/benchmarks).
/// Where it measures SGLang with bench_serving, at lengths that are powers of two, they are all alike
/// (--random-range-ratio 1). What the other clients' were is not told. Were they alike, a closed loop would stay in
/// step: prompts would all come at once again and again, which the points' first tokens rule out. They are taken as
/// spread as much as InferenceX's, around what the row says.
ServingSetup SetupOf(const ServingPoint& point);

/// Experts with weights of four bits were measured with TensorRT-LLM's kernel on Hopper, Triton's, which first sorts
/// tokens into tables. Marlin unpacks weights on their way into a library's product of bf16, and so has that product's
/// curve, with a quarter of its weights' bytes. FlashInfer's product of FP8 with scales of blocks on Blackwell has a
/// tenth of the peak (experiments/blackwell_kernels), where DeepGEMM's has the units for MX formats scale.
void UseEnginesKernels(const ServingSetup& setup, DeviceCurves& curves);

/// Of one of so many instances: ten times its concurrency, all counted, from a cold start, as the clients send them.
std::int64_t RequestsOf(const ServingPoint& point, std::int64_t instances);

/// Where the experts' degrees do not make up tp * dp, moe_tensor_parallel follows from the rest.
void FillExpertMesh(PoolLayout& layout);

/// What a row's layout stands for, where it cannot be what was run.
///
/// InferenceX records tp devices, expert parallelism ep within them, and whether attention is data parallel. The table
/// has some of its runs with tp * ep devices: "tp 64, etp 8, ep 8" carries, to the last digit, the figures of "tp 8, ep
/// 8" (a test checks each), and "tp 4, dp 4, ep 16" nearly those of "tp 4, ep 4". So of InferenceX's rows:
///   etp * ep = tp * dp with both above 1 and ep <= etp  ->  etp devices with ep of ep, attention data parallel if dp >
///   1 tp = dp > 1 with ep = tp * dp                        ->  tp devices, ep of tp
/// TensorRT-LLM's script for DeepSeek on H200 always has ep = tp, also where the table says 1.
/// Rows whose batch is smaller than concurrency / dp have no attention_dp_size: there it is data parallelism of
/// attention where a model has experts and the quotient is tp, else instances.
PoolLayout LayoutAsRun(const ServingPoint& point, bool has_experts);

}  // namespace shardscout::validation
