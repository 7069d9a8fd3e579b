#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "experiments/validation/engine_memory.h"
#include "experiments/validation/published_record.h"
#include "shardscout/cluster_spec.h"
#include "shardscout/engine_model.h"
#include "shardscout/model_spec.h"
#include "shardscout/request_model.h"

/// What engines are published to do where a record leaves it to them. Nothing here is fitted to the records but
/// BatchEngineOf.
namespace shardscout::validation {

enum class LoadKind : std::uint8_t {
  kStaticBatch,  ///< `requests` prompts together, then all of them token by token to the end.
  kConcurrency,  ///< `requests` in flight at any time.
  kAtOnce,       ///< `requests` in the queue from the start; the run ends with the last of them.
  kRate,         ///< Poisson arrivals.
};

struct Load {
  LoadKind kind = LoadKind::kStaticBatch;
  std::int64_t requests = 1;  ///< Of the whole deployment.
  double rate_per_s = 0;      ///< kRate.
  bool stated = true;         ///< The source, or its engine's published rule, says so.
  bool operator==(const Load&) const = default;
};

/// Reads batch_or_concurrency by what the source's benchmark does with it:
///   a number      a static batch for FasterTransformer, DeepSpeed-inference, accelerate and TensorRT-LLM before 0.10
///                 (whose performance document says so), else a concurrency
///   "256 per rank"                                a static batch of 256 a data-parallel rank
///   "... 500 requests", "1000 prompts ..."        at once, a rate ("QPS 2", "Poisson arrivals 0.5 req/s", "at 40
///   req/s")
///                                                 or, where the peak concurrency is less than them, unknown
///   maximum throughput of TensorRT-LLM            at once, OfflineRequests of them
///   the same of vLLM                              at once, 1,000: the default of its benchmark, not stated
/// `why_not` says why there is none.
std::optional<Load> LoadOf(const PublishedRecord& record, std::string& why_not);

/// Requests of a run of trtllm-bench, by lengths: the table of TensorRT-LLM's docs/source/performance/perf-overview.md
/// (0.17, 1.0) and docs/source/developer-guide/perf-overview.md (2026).
std::optional<std::int64_t> OfflineRequests(std::int64_t input_tokens, std::int64_t output_tokens);

/// The preset of what an engine adds to its devices' kernels (configs/engines); nullopt: none of its name.
std::optional<std::string> EnginePresetOf(const std::string& framework);

/// What an engine of static batches adds to its devices' kernels; nothing where nothing was fitted. FasterTransformer,
/// and TensorRT-LLM in its own benchmark before 0.10, launch kernel after kernel, without CUDA graphs: `layer_gap_s` is
/// fitted to their records by `fit_batch_engine`, which prints the error over models that a fit has not seen.
EngineModel BatchEngineOf(const std::string& framework);

/// How an engine fills its steps and its memory.
struct EngineLimits {
  BatchPolicy policy = BatchPolicy::kChunkedPrefill;
  std::int64_t max_running = 256;  ///< Of an attention-data-parallel rank, over all stages of its pipeline.
  std::int64_t max_batched_tokens = 8192;
  CacheRule cache;
  bool whole_requests = false;  ///< Admits a request only where the cache has room for all of it.
  bool operator==(const EngineLimits&) const = default;
};

/// tensorrt_llm/bench/build/tuning.py (04cba88): what trtllm-bench builds for a model, a mapping and lengths. With
///   room     = 0.95 (memory of all GPUs - weights)
///   requests = min(4096, room / (cache of one request)) / pp
///   cache    = 2 layers max(tp, KV heads) head size a token; of a latent, that of heads before compression
/// requests are rounded up to a multiple of 32 (at least 64), from 256 on of 128, from 1,024 on of 256, and the tokens
/// of a step, min(32768, requests (1 + input / output)), to 256 (at least 2,048), from 4,096 on to 512, from 8,192 on
/// to 1,024. The cache takes 0.95 of what is free, as the perf-overview has it "in many cases", and requests are never
/// evicted. max_running and max_batched_tokens are those of a micro-batch times pp micro-batches. With attention data
/// parallelism `tensor_parallel` is the number of its ranks, as in the tool's --tp, and the limits are a rank's.
///
/// Worked example (a test): Llama-3.1-8B in FP8 with an FP8 cache on one H100 of 80 GiB, 1000/1000: 0.95 (80 - 7.48)
/// GiB hold 564.4 requests of 2,000 tokens of 65,536 bytes, so 640, and 564.4 * 2 = 1128.8 tokens, so 2,048.
EngineLimits TrtllmBenchLimits(const ModelSpec& model, const DeviceSpec& device, std::int64_t tensor_parallel,
                               std::int64_t pipeline_parallel, std::int64_t input_tokens, std::int64_t output_tokens);

/// Engines' own defaults, and the flags that the record's notes quote (--max-num-seqs, --max-running-requests,
/// --max-num-batched-tokens, --max_num_tokens, --chunked-prefill-size, --gpu-memory-utilization,
/// --mem-fraction-static), which go before them:
///   vLLM V1       1,024 sequences and 8,192 tokens on devices of 70 GiB and more but A100, else 256 and 2,048
///                 (vllm/engine/arg_utils.py); 0.9 of the memory
///   vLLM to 0.7   256 sequences, prompts first
///   SGLang        2,048 requests, chunks of 8,192 tokens, prompts first; 0.9 of the memory for weights and cache
///   TensorRT-LLM  2,048 requests and 8,192 tokens, whole requests, 0.9 of what is free (trtllm-serve, trtllm-build)
/// nullopt: another engine.
std::optional<EngineLimits> ServingLimits(const PublishedRecord& record, const DeviceSpec& device);

/// Whether an engine's all-reduces are NCCL's, not kernels of its own: FasterTransformer (enable_custom_all_reduce=0 in
/// its gpt_config.ini), Megatron-LM, DeepSpeed-inference and accelerate (torch.distributed).
bool ReducesByNccl(const std::string& framework);

/// Micro-batches that FasterTransformer makes of a batch in a pass over `tokens` positions of each request
/// (getLocalBatchSize of src/fastertransformer/utils/nccl_utils.cc): pp where they divide the batch, then halves while
/// a micro-batch has more than 1,024 tokens and an even number of requests.
std::int64_t FasterTransformerMicrobatches(std::int64_t batch, std::int64_t tokens, std::int64_t pipeline_parallel);

/// Bytes of a rank that FasterTransformer's GPT takes beyond a vocabulary's table split over tp and shared by both ends
/// of the model: it holds the table whole, twice (ParallelGptWeight::mallocWeights of
/// src/fastertransformer/models/multi_gpu_gpt/ParallelGptWeight.cc).
double FasterTransformerTableBytes(const ModelSpec& model, std::int64_t tensor_parallel);

}  // namespace shardscout::validation
