#include "experiments/validation/serving_setup.h"

#include <algorithm>
#include <utility>

namespace shardscout::validation {
namespace {

bool IsOfInferenceX(const ServingPoint& point) {
  const auto is_one_of = [](std::int64_t tokens) { return tokens == 1024 || tokens == 8192; };
  return is_one_of(point.input_tokens) && is_one_of(point.output_tokens);
}

bool Names(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

bool OnBlackwell(const ServingPoint& point) { return Names(point.system, "b200"); }

void SetVllm(const ServingPoint& point, ServingSetup& setup) {
  setup.max_running = 512;
  if (OnBlackwell(point) && (Names(point.model, "Llama") || Names(point.model, "gpt-oss"))) setup.kv_dtype = "fp8";
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
  } else {
    const std::int64_t needed = (point.concurrency + point.input_tokens + 64 + 63) / 64 * 64;
    setup.max_batched_tokens = OnBlackwell(point) ? std::max<std::int64_t>(8192, needed) : needed;
    if (OnBlackwell(point) && point.precision == "fp8" && one_to_one && point.concurrency >= 64) {
      setup.prompt_wait_steps = 40;
      setup.prompt_wait_ratio = 0.8;
    }
  }
}

void SetSglang(const ServingPoint& point, ServingSetup& setup) {
  const bool fp4 = point.precision == "fp4";
  setup.max_batched_tokens = fp4 ? 16384 : 32768;
  setup.max_running = 512;
  setup.stream_interval = 10;
  if (!OnBlackwell(point)) return;
  setup.poll_interval_steps = point.concurrency >= 16 ? 30 : 10;
  if (!fp4) setup.stream_interval = 30;
  if (point.precision != "bf16") setup.kv_dtype = "fp8";
}

}  // namespace

ServingSetup SetupOf(const ServingPoint& point) {
  ServingSetup setup;
  setup.reserves_output = point.engine == "trtllm";
  if (point.engine == "sglang") setup.memory_fraction = 0.95;
  if (!IsOfInferenceX(point)) return setup;
  setup.shortest_ratio = 0.8;
  if (point.engine == "vllm") SetVllm(point, setup);
  if (point.engine == "trtllm") SetTensorRt(point, setup);
  if (point.engine == "sglang") SetSglang(point, setup);
  return setup;
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
