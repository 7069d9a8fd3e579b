#include "experiments/validation/serving_setup.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace shardscout::validation {
namespace {

bool IsOfInferenceX(const ServingPoint& point) {
  const auto is_one_of = [](std::int64_t tokens) { return tokens == 1024 || tokens == 8192; };
  return is_one_of(point.input_tokens) && is_one_of(point.output_tokens);
}

/// AIConfigurator's own, of SGLang.
bool IsOfBenchServing(const ServingPoint& point) {
  return point.engine == "sglang" && std::has_single_bit(static_cast<std::uint64_t>(point.input_tokens));
}

/// The standard deviation over the mean of what is uniform between 0.8 and 1.
constexpr double kSpread = 0.0642;

bool Names(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

/// By `calibrate --data experiments/blackwell_kernels/flashinfer --cluster b200-sxm` (that page has the errors). The
/// time to quantise is not in it: operator_time.cc takes it from gemm_fp8_block.
constexpr GemmCurve kFlashInferBlocks = {.peak_fraction = 0.1037,
                                         .hbm_fraction = 0.5766,
                                         .launch_s = 1.265e-6,
                                         .k_step_s = 1.150e-9,
                                         .feed_bytes_per_s = 4.440e11,
                                         .tile_s = 2.195e-8,
                                         .tile_element_s = 2.214e-11,
                                         .split_s = 3.649e-6,
                                         .split_bytes_per_s = 4.643e15,
                                         .overlap_exponent = 2.836};

bool OnBlackwell(const ServingPoint& point) { return Names(point.system, "b200"); }

/// Of a version such as 0.19.0; nightly builds have none.
int MinorOf(const std::string& version) { return version.starts_with("0.") ? std::atoi(version.c_str() + 2) : 0; }

void SetVllm(const ServingPoint& point, ServingSetup& setup) {
  setup.max_running = 512;
  setup.unpacks_in_library = Names(point.model, "gpt-oss") && point.system == "h100_sxm";
  if (!OnBlackwell(point)) return;
  if (Names(point.model, "Llama") || Names(point.model, "gpt-oss")) setup.kv_dtype = "fp8";
  if (!Names(point.model, "MiniMax")) return;
  setup.max_running = 1024;
  if (MinorOf(point.engine_version) >= 19) {
    setup.kv_dtype = "fp8";
    setup.max_batched_tokens = 2 * point.input_tokens;
    setup.stream_interval = 20;
  } else if (point.precision == "fp8") {
    setup.cache.memory_fraction = 0.95;
  }
}

void SetDeepSeekOnTensorRt(const ServingPoint& point, bool one_to_one, ServingSetup& setup) {
  const std::int64_t needed = (point.concurrency + point.input_tokens + 64 + 63) / 64 * 64;
  setup.max_batched_tokens = std::max<std::int64_t>(8192, needed);
  setup.cache.memory_fraction = 0.8;
  if (!OnBlackwell(point)) {
    setup.cache.memory_fraction = 0.75;
  } else if (point.precision == "fp8") {
    if (one_to_one && point.concurrency >= 64) {
      setup.prompt_wait_steps = 40;
      setup.prompt_wait_ratio = 0.8;
    }
    if (point.output_tokens == 8192 && point.concurrency >= 256) setup.cache.memory_fraction = 0.7;
    if (point.input_tokens == 8192 && point.layout.tensor_parallel == 4) setup.cache.memory_fraction = 0.75;
  }
}

/// Prompts wait beside decodes until every rank has one, or for so many steps, and not for more of a rank's.
void SetBalance(const ServingPoint& point, std::int64_t timeout_steps, ServingSetup& setup) {
  if (point.layout.attention_data_parallel == 1 || point.layout.tensor_parallel > 1) return;
  setup.prompt_wait_steps = 0;
  setup.rank_wait_steps = timeout_steps;
}

void SetTensorRt(const ServingPoint& point, ServingSetup& setup) {
  setup.kv_dtype = "fp8";
  setup.max_running = 512;
  setup.stream_interval = 10;
  const bool one_to_one = point.input_tokens == 1024 && point.output_tokens == 1024;
  if (Names(point.model, "Llama")) {
    setup.max_batched_tokens = 16384;
    if (one_to_one && point.layout.tensor_parallel < 8) {
      setup.prompt_wait_steps = 20;
      setup.prompt_wait_ratio = 0.9;
    }
  } else if (Names(point.model, "gpt-oss")) {
    setup.max_batched_tokens = 20000;
    setup.stream_interval = 20;
    setup.cache.memory_fraction = 0.85;
    SetBalance(point, 50, setup);
  } else {
    SetDeepSeekOnTensorRt(point, one_to_one, setup);
    SetBalance(point, 60, setup);
  }
}

void SetSglang(const ServingPoint& point, ServingSetup& setup) {
  const bool fp4 = point.precision == "fp4";
  setup.max_running = 512;
  setup.stream_interval = 10;
  setup.cache.memory_fraction = fp4 ? 0.85 : 0.82;
  setup.max_batched_tokens = fp4 ? 16384 : 32768;
  if (!OnBlackwell(point)) {
    const bool qwen = Names(point.model, "Qwen");
    if (!qwen) return;
    setup.max_batched_tokens = 16384;
    setup.cache.memory_fraction = 0.8;
    setup.kv_dtype = "fp8";
    setup.stream_interval = 50;
    return;
  }
  setup.poll_interval_steps = point.concurrency >= 16 ? 30 : 10;
  if (!fp4) setup.stream_interval = 30;
  if (point.precision != "bf16") setup.kv_dtype = "fp8";
  setup.flashinfer_blocks = point.precision == "fp8";
  if (point.precision == "fp8" && Names(point.model, "DeepSeek") && point.layout.tensor_parallel == 4 &&
      point.input_tokens == 8192) {
    setup.max_running = 32;
    setup.max_batched_tokens = 8192;
    setup.poll_interval_steps = 10;
    setup.cache.memory_fraction = 0.95;
  }
}

}  // namespace

ServingSetup SetupOf(const ServingPoint& point) {
  ServingSetup setup;
  if (point.engine == "trtllm") {
    setup.reserves_output = true;
    setup.cache.of = FractionOf::kFree;
    if (point.gemm_type.starts_with("fp8") || point.gemm_type == "nvfp4") setup.kv_dtype = "fp8";
  }
  if (point.engine == "sglang") setup.cache.of = FractionOf::kWeightsAndCache;
  if (!IsOfInferenceX(point)) {
    if (!IsOfBenchServing(point)) setup.length_cv = kSpread;
    return setup;
  }
  setup.shortest_ratio = 0.8;
  if (point.engine == "vllm") SetVllm(point, setup);
  if (point.engine == "trtllm") SetTensorRt(point, setup);
  if (point.engine == "sglang") SetSglang(point, setup);
  return setup;
}

void UseEnginesKernels(const ServingSetup& setup, DeviceCurves& curves) {
  if (setup.unpacks_in_library) curves.experts_4bit_weights = curves.experts_bf16;
  if (setup.flashinfer_blocks) curves.gemm_fp8 = kFlashInferBlocks;
}

std::int64_t RequestsOf(const ServingPoint& point, std::int64_t instances) {
  return 10 * ((point.concurrency + instances - 1) / instances);
}

void FillExpertMesh(PoolLayout& layout) {
  const std::int64_t mesh = layout.tensor_parallel * layout.attention_data_parallel;
  if (layout.moe_tensor_parallel * layout.moe_expert_parallel == mesh) return;
  layout.moe_tensor_parallel = mesh / std::max<std::int64_t>(1, layout.moe_expert_parallel);
}

PoolLayout LayoutAsRun(const ServingPoint& point, bool has_experts) {
  PoolLayout layout = point.layout;
  const std::int64_t etp = layout.moe_tensor_parallel, ep = layout.moe_expert_parallel;
  const std::int64_t mesh = layout.tensor_parallel * layout.attention_data_parallel;
  const auto set = [&](std::int64_t devices, std::int64_t experts, bool data_parallel) {
    layout.tensor_parallel = data_parallel ? 1 : devices;
    layout.attention_data_parallel = data_parallel ? devices : 1;
    layout.moe_tensor_parallel = devices / experts;
    layout.moe_expert_parallel = experts;
  };
  if (IsOfInferenceX(point)) {
    if (Names(point.model, "DeepSeek") && point.engine == "trtllm" && point.system == "h200_sxm" && ep == 1) {
      set(etp, etp, layout.attention_data_parallel > 1);
    } else if (etp > 1 && ep > 1 && etp * ep == mesh && etp % ep == 0) {
      set(etp, ep, layout.attention_data_parallel > 1);
    } else if (layout.tensor_parallel > 1 && layout.attention_data_parallel == layout.tensor_parallel && ep == mesh) {
      set(layout.tensor_parallel, layout.tensor_parallel, false);
    }
  } else {
    const std::int64_t parts = point.concurrency / std::max<std::int64_t>(1, layout.batch_size);
    if (has_experts && layout.attention_data_parallel == 1 && parts == layout.tensor_parallel) {
      layout.attention_data_parallel = std::exchange(layout.tensor_parallel, 1);
    } else {
      layout.workers = std::max<std::int64_t>(1, parts / layout.attention_data_parallel);
    }
  }
  if (has_experts) FillExpertMesh(layout);
  const std::int64_t ranks = layout.attention_data_parallel * layout.workers;
  layout.batch_size = std::min((point.concurrency + ranks - 1) / ranks, SetupOf(point).max_running);
  return layout;
}

}  // namespace shardscout::validation
