#include "experiments/validation/published_engine.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "shardscout/dtype.h"

namespace shardscout::validation {
namespace {

constexpr double kGib = 1024.0 * 1024 * 1024;

bool Has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool IsNumber(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

/// The number that follows `name` in a text, after "=" or a blank; or that precedes it.
std::optional<double> NumberAfter(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string rest(text.substr(at + name.size()));
  if (rest.empty() || (rest[0] != '=' && rest[0] != ' ')) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(rest.c_str() + 1, &end);
  if (end == rest.c_str() + 1 || !std::isfinite(number)) return std::nullopt;
  return number;
}

std::optional<double> NumberBefore(std::string_view text, std::string_view name) {
  const std::size_t end = text.find(name);
  if (end == std::string_view::npos) return std::nullopt;
  std::size_t begin = end;
  while (begin > 0 && (std::isdigit(static_cast<unsigned char>(text[begin - 1])) || text[begin - 1] == '.')) --begin;
  if (begin == end) return std::nullopt;
  return std::strtod(std::string(text.substr(begin, end - begin)).c_str(), nullptr);
}

/// "TensorRT-LLM 0.14 + Triton": 0.14 as 14, "1.0" as 1000; nullopt: no such engine, or no version.
std::optional<std::int64_t> VersionOf(const std::string& framework, std::string_view engine) {
  if (!framework.starts_with(engine)) return std::nullopt;
  const std::string rest = framework.substr(engine.size());
  if (rest.size() < 2 || rest[0] != ' ' || !std::isdigit(static_cast<unsigned char>(rest[1]))) return std::nullopt;
  char* end = nullptr;
  const std::int64_t major = std::strtoll(rest.c_str() + 1, &end, 10);
  const std::int64_t minor = *end == '.' ? std::strtoll(end + 1, nullptr, 10) : 0;
  return 1000 * major + minor;
}

/// Engines before those that serve: one batch at a time, and no all-reduce of their own.
bool IsBatchEngine(const std::string& framework) {
  for (const char* engine : {"FasterTransformer", "Megatron-LM", "ds-inference", "ds-zero", "accelerate"}) {
    if (framework.starts_with(engine)) return true;
  }
  return false;
}

bool RunsStaticBatches(const PublishedRecord& record) {
  if (IsBatchEngine(record.framework)) return true;
  const auto trtllm = VersionOf(record.framework, "TensorRT-LLM");
  return (trtllm && *trtllm < 10) || Has(record.notes, "static batch");
}

std::int64_t RoundUp(double value, std::int64_t multiple) {
  return multiple * static_cast<std::int64_t>(std::ceil(value / static_cast<double>(multiple)));
}

Load MaximumLoad(const PublishedRecord& record) {
  constexpr std::int64_t kVllmDefault = 1000;
  const bool trtllm_bench = VersionOf(record.framework, "TensorRT-LLM") || Has(record.framework, "TensorRT-LLM main");
  if (!trtllm_bench || !record.input_tokens || !record.output_tokens) {
    return {.kind = LoadKind::kAtOnce, .requests = kVllmDefault, .stated = false};
  }
  const auto requests = OfflineRequests(*record.input_tokens, *record.output_tokens);
  return {.kind = LoadKind::kAtOnce, .requests = requests.value_or(kVllmDefault), .stated = requests.has_value()};
}

void ReadFlag(const std::string& notes, std::initializer_list<const char*> names, std::int64_t& value) {
  for (const char* name : names) {
    const auto number = NumberAfter(notes, name);
    if (number && *number >= 1 && *number < 1e9) value = static_cast<std::int64_t>(*number);
  }
}

}  // namespace

std::optional<std::int64_t> OfflineRequests(std::int64_t input_tokens, std::int64_t output_tokens) {
  struct Run {
    std::int64_t input_tokens, output_tokens, requests;
  };
  constexpr std::array<Run, 15> kRuns = {{{128, 128, 30000},
                                          {128, 2048, 3000},
                                          {128, 4096, 1500},
                                          {500, 2000, 3000},
                                          {1000, 1000, 3000},
                                          {1000, 2000, 1500},
                                          {2048, 128, 3000},
                                          {2048, 2048, 1500},
                                          {5000, 500, 1500},
                                          {20000, 2000, 1000},
                                          {1024, 1024, 3000},
                                          {8192, 1024, 1500},
                                          {1024, 8192, 1500},
                                          {32768, 1024, 1000},
                                          {1024, 32768, 1000}}};
  for (const Run& run : kRuns) {
    if (run.input_tokens == input_tokens && run.output_tokens == output_tokens) return run.requests;
  }
  return std::nullopt;
}

std::optional<Load> LoadOf(const PublishedRecord& record, std::string& why_not) {
  const std::string& text = record.load;
  if (RunsStaticBatches(record) && IsNumber(text)) return Load{.requests = std::stoll(text)};
  if (IsNumber(text)) {
    const bool decodes_only = record.phase == "decode";
    return Load{.kind = decodes_only ? LoadKind::kStaticBatch : LoadKind::kConcurrency, .requests = std::stoll(text)};
  }
  if (const auto batch = NumberBefore(text, " per rank")) {
    const std::int64_t ranks = record.data_parallel.value_or(1);
    return Load{.requests = static_cast<std::int64_t>(*batch) * ranks};
  }
  if (Has(text, "max throughput")) return MaximumLoad(record);
  for (const char* words : {" req/s Poisson", " req/s"}) {
    const auto rate = NumberBefore(text, words);
    const auto requests = NumberBefore(text, Has(text, " prompts") ? " prompts" : " ShareGPT requests");
    if (rate && *rate > 0) {
      return Load{
          .kind = LoadKind::kRate, .requests = static_cast<std::int64_t>(requests.value_or(1000)), .rate_per_s = *rate};
    }
  }
  std::optional<double> requests = NumberBefore(text, " requests");
  if (!requests) requests = NumberBefore(text, " prompts");
  if (requests && *requests >= 1) {
    const auto count = static_cast<std::int64_t>(*requests);
    const auto rate = NumberAfter(text, "QPS");
    if (rate && *rate > 0) return Load{.kind = LoadKind::kRate, .requests = count, .rate_per_s = *rate};
    const auto peak = NumberAfter(text, "peak concurrency");
    if (!peak || *peak >= static_cast<double>(count)) return Load{.kind = LoadKind::kAtOnce, .requests = count};
    why_not = "a client that held prompts back, by a rate or a limit that the record does not state";
    return std::nullopt;
  }
  why_not = text.empty() ? "no batch or concurrency stated" : "load \"" + text + "\"";
  return std::nullopt;
}

EngineLimits TrtllmBenchLimits(const ModelSpec& model, const DeviceSpec& device, std::int64_t tensor_parallel,
                               std::int64_t pipeline_parallel, std::int64_t input_tokens, std::int64_t output_tokens) {
  const auto gpus = static_cast<double>(tensor_parallel * pipeline_parallel);
  const double weight_gib =
      static_cast<double>(CountParameters(model).total) * BytesPerElement(model.weight_dtype) / kGib;
  // Each GPU holds at least one KV head; of a latent, the tool knows nothing.
  const AttentionSpec& attention = model.attention;
  const bool latent = attention.kind == AttentionKind::kMultiLatent;
  const std::int64_t heads = std::max(tensor_parallel, latent ? attention.num_heads : attention.num_kv_heads),
                     head_dim = latent ? model.hidden_size / attention.num_heads : attention.head_dim;
  const double token_gib =
      static_cast<double>(2 * model.num_layers * heads * head_dim) * BytesPerElement(model.kv_dtype) / kGib;
  const double room_gib = 0.95 * std::max(0.0, device.hbm_bytes / kGib * gpus - weight_gib);
  const double held = room_gib / (token_gib * static_cast<double>(input_tokens + output_tokens));
  const double requests = std::min(held, 4096.0) / static_cast<double>(pipeline_parallel);
  const double tokens =
      std::min(requests * (1 + static_cast<double>(input_tokens) / static_cast<double>(output_tokens)), 32768.0);
  EngineLimits limits{.cache = {.memory_fraction = 0.95, .of = FractionOf::kFree}, .whole_requests = true};
  limits.max_running = requests < 256    ? std::max<std::int64_t>(64, RoundUp(requests, 32))
                       : requests < 1024 ? RoundUp(requests, 128)
                                         : RoundUp(requests, 256);
  limits.max_batched_tokens = tokens < 4096   ? std::max<std::int64_t>(2048, RoundUp(tokens, 256))
                              : tokens < 8192 ? RoundUp(tokens, 512)
                                              : RoundUp(tokens, 1024);
  limits.max_running *= pipeline_parallel;
  limits.max_batched_tokens *= pipeline_parallel;
  return limits;
}

std::optional<EngineLimits> ServingLimits(const PublishedRecord& record, const DeviceSpec& device) {
  EngineLimits limits;
  if (Has(record.framework, "vLLM")) {
    const auto version = VersionOf(record.framework, "vLLM");
    const bool v0 = (version && *version < 8) || Has(record.framework, "2023");
    const bool large = device.hbm_bytes >= 70 * kGib && !device.name.starts_with("A100");
    if (v0) {
      limits.policy = BatchPolicy::kPrefillFirst;
    } else {
      limits.max_running = large ? 1024 : 256;
      limits.max_batched_tokens = large ? 8192 : 2048;
    }
  } else if (record.framework.starts_with("SGLang")) {
    limits.policy = BatchPolicy::kPrefillFirst;
    limits.cache.of = FractionOf::kWeightsAndCache;
    limits.max_running = 2048;
  } else if (record.framework.starts_with("TensorRT-LLM")) {
    limits.max_running = 2048;
    limits.cache.of = FractionOf::kFree;
    limits.whole_requests = true;
  } else {
    return std::nullopt;
  }
  ReadFlag(record.notes, {"--max-num-seqs", "--max-running-requests"}, limits.max_running);
  ReadFlag(record.notes, {"--max-num-batched-tokens", "--max_num_tokens", "--chunked-prefill-size"},
           limits.max_batched_tokens);
  for (const char* name : {"--gpu-memory-utilization", "--mem-fraction-static"}) {
    const auto fraction = NumberAfter(record.notes, name);
    if (fraction && *fraction > 0 && *fraction <= 1) limits.cache.memory_fraction = *fraction;
  }
  return limits;
}

std::optional<std::string> EnginePresetOf(const std::string& framework) {
  if (Has(framework, "vLLM")) return "vllm";
  if (Has(framework, "SGLang")) return "sglang";
  if (Has(framework, "TensorRT-LLM")) return "trtllm";
  return std::nullopt;
}

EngineModel BatchEngineOf(const std::string& framework) {
  if (Has(framework, "FasterTransformer")) return {.name = "fastertransformer", .layer_gap_s = 86e-6};
  if (Has(framework, "TensorRT-LLM")) return {.name = "trtllm, static batches", .layer_gap_s = 58e-6};
  return {};
}

bool ReducesByNccl(const std::string& framework) { return IsBatchEngine(framework); }

std::int64_t FasterTransformerMicrobatches(std::int64_t batch, std::int64_t tokens, std::int64_t pipeline_parallel) {
  if (pipeline_parallel == 1) return 1;
  std::int64_t local = batch % pipeline_parallel == 0 ? batch / pipeline_parallel : batch;
  while (local * tokens > 1024 && local % 2 == 0) local /= 2;
  return batch / local;
}

double FasterTransformerTableBytes(const ModelSpec& model, std::int64_t tensor_parallel) {
  const double table_bytes =
      static_cast<double>(model.vocab_size * model.hidden_size) * BytesPerElement(model.embedding_dtype);
  return (2 - 1 / static_cast<double>(tensor_parallel)) * table_bytes;
}

}  // namespace shardscout::validation
