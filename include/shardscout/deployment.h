#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/framework.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// Parallel degrees in words that no framework owns, as a Strategy counts them: a pipeline stage is attention_tensor *
/// context * attention_data ranks for attention and dense layers, and expert_tensor * expert * (copies) for experts.
///
/// The one table of what "TP" means. With t, c, d, m, e for the five of a stage and p stages:
///
///   framework     t, c, d                                     m, e                                  devices
///   vLLM          tensor-parallel-size = t, data-parallel-    --enable-expert-parallel: m = 1,      t c d p
///                 size = d, prefill-context-parallel-size = c  e = t c d; without: e = 1, m = t c d
///   SGLang        tp-size = t c d; with enable-dp-attention   ep-size = e, m = tp-size / ep-size    tp-size * pp-size
///                 dp-size = d, else d = 1 (dp-size is a
///                 number of replicas); attn-cp-size = c
///   TensorRT-LLM  tensor_parallel_size = t d; with            moe_tensor_parallel_size = m,         tensor * context *
///                 enable_attention_dp t = 1, else d = 1        moe_expert_parallel_size = e          pipeline size
///   Megatron      tensor-model-parallel-size = t, context-    expert-tensor-parallel-size = m (t if  the launch's
///   world;
///                 parallel-size = c, d = world / (t c p)       not given), expert-model-parallel-    copies of experts
///                                                              size = e                              world / (m e p)
///   DeepSpeed     autotp_size = t                             m = t                                 t
///
/// Worked example, DeepSeek-V3 on 16 devices, experts dealt over all, requests of their own on each: t 1, d 16, m 1, e
/// 16. vLLM: tensor-parallel-size 1, data-parallel-size 16, enable-expert-parallel. SGLang: tp-size 16, dp-size 16,
/// ep-size 16, enable-dp-attention. TensorRT-LLM: tensor_parallel_size 16, enable_attention_dp,
/// moe_expert_parallel_size 16. Megatron: tensor-model-parallel-size 1, expert-model-parallel-size 16 in a world of 16.
struct Degrees {
  std::int64_t pipeline = 1;
  std::int64_t attention_tensor = 1;
  std::int64_t context = 1;
  std::int64_t attention_data = 1;
  std::int64_t expert_tensor = 1;
  std::int64_t expert = 1;
  bool operator==(const Degrees&) const = default;

  std::int64_t InstanceSize() const { return pipeline * attention_tensor * context * attention_data; }
};

Degrees DegreesOf(const Strategy& strategy);
void SetDegrees(Strategy& strategy, const Degrees& degrees);

/// A deployment that somebody runs: what its files say that a strategy or a workload has a word for.
struct Deployment {
  Framework framework = Framework::kVllm;
  std::string role;           ///< "prefill", "decode", or "" where the file has one kind of instance.
  std::string model;          ///< As the file names it; "" where it does not.
  Degrees degrees;            ///< expert_tensor and expert as for a model with experts; others have 1 and 1.
  std::int64_t replicas = 1;  ///< Instances that the file asks for.
  /// Ranks of attention_tensor that share a request's cache by position (vLLM's decode-context-parallel-size).
  std::int64_t cache_split = 1;
  std::optional<ExpertExchange> expert_exchange;  ///< Unset: gather and reduce, or scatter.
  bool two_batch_overlap = false;
  bool dense_ffn_over_stage = false;
  bool sequence_parallel = false;
  std::vector<std::pair<Operator, Sharding>> shardings;  ///< Of operators of its own (DeepSpeed); others are fixed.
  std::vector<std::int64_t> layer_partition;             ///< Layers a stage; empty: the framework's own split.
  std::optional<std::int64_t> max_batch_size;            ///< Requests of one data parallel rank, at most.
  std::optional<std::int64_t> num_microbatches;          ///< Where the file says it (Megatron-LM).
  std::optional<std::int64_t> max_positions;             ///< Of one request.
  std::optional<double> memory_fraction;                 ///< Of a device's memory for everything (vLLM's meaning).
  std::string kv_dtype;                                  ///< "" or "auto": the model's.
  std::vector<std::string> broken_rules;  ///< "id: message" of the framework's own rules, where a model is known.
  std::vector<std::string> notes;         ///< What the file says and the model here has no word for.
};

/// What can be read of a deployment's file: vLLM's serve YAML or command, SGLang's YAML or command, TensorRT-LLM's
/// LlmArgs YAML or trtllm-serve command, Megatron-LM's arguments, an estimate request of AIConfigurator, and of
/// Kubernetes a DynamoGraphDeployment, an LLMInferenceService (KServe), a LeaderWorkerSet, values of llm-d or of vLLM's
/// production stack. Which of them it is, is seen from its keys. A file of several pools (prefill and decode) gives
/// one deployment each. `model`, where given, decides what the file leaves to the model and which rules are checked.
/// SpecError with the place for what is no such file, for an unknown value, and for numbers out of range.
std::vector<Deployment> ReadDeployments(std::string_view text, std::string_view place, const ModelSpec* model);

/// Whether the text is such a file at all, rather than a plan or a strategy.
bool LooksLikeDeployment(std::string_view text);

/// The preset of the model that a deployment names, "" where none is known.
std::string PresetOf(const Deployment& deployment);

/// A deployment on a problem: the strategy that its framework runs there. What differs between the two is in `differs`
/// ("shardings.lm_head: vocab padded, priced whole"); empty: the price is of the deployment itself.
struct DeployedStrategy {
  Strategy strategy;
  std::vector<std::string> differs;
};

/// `problem` without a framework of its own. The batch: the largest that the workload admits up to max_batch_size and
/// that keeps the limits by `evaluate`, else the largest. SpecError where the degrees fit neither model nor cluster,
/// with the rule.
DeployedStrategy StrategyOf(const Problem& problem, const Deployment& deployment,
                            const std::function<Evaluation(const Strategy&)>& evaluate);

/// A rule of a framework, or of what deploys one on Kubernetes, for people.
struct FrameworkRule {
  std::string framework, version;  ///< "vllm", "0.24"; "lws", "0.10"
  std::string id, condition, source;
};

/// Every rule that exporters and importers check.
std::vector<FrameworkRule> FrameworkRules();

}  // namespace shardscout
