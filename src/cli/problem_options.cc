#include "src/cli/problem_options.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "shardscout/error.h"
#include "src/cli/flag_values.h"
#include "src/cli/option_table.h"
#include "src/spec_fields.h"

namespace shardscout::cli {
namespace {

constexpr std::int64_t kMostTokens = 2147483648;

WorkloadSpec MakeWorkload(const ProblemArguments& arguments) {
  WorkloadSpec workload = LoadWorkload(arguments.workload);
  if (arguments.input_tokens) workload.input_tokens = *arguments.input_tokens;
  if (arguments.output_tokens) workload.output_tokens = *arguments.output_tokens;
  if (arguments.batch_size || arguments.concurrency) {
    workload.batch_size = arguments.batch_size;
    workload.concurrency = arguments.concurrency;
  }
  if (arguments.global_batch_size) {
    if (!workload.training) throw SpecError("--global-batch", "is of training; give a workload of kind train");
    workload.training->global_batch_size = *arguments.global_batch_size;
  }
  if (!arguments.ttft.empty()) {
    workload.ttft_target_s = ParseTarget(arguments.ttft, "--ttft");
    if (workload.ttft_target_s && workload.kind == WorkloadKind::kDecode) {
      throw SpecError("--ttft", "a decode workload has no time to first token; give --tpot, or another workload");
    }
  }
  if (!arguments.tpot.empty()) {
    workload.tpot_target_s = ParseTarget(arguments.tpot, "--tpot");
    if (workload.tpot_target_s && workload.kind == WorkloadKind::kPrefill) {
      throw SpecError("--tpot", "a prefill workload has no time per output token; give --ttft, or another workload");
    }
  }
  if (!arguments.engine.empty()) workload.engine = LoadEngine(arguments.engine);
  if (!arguments.objective.empty()) workload.objective = ParseObjective(arguments.objective);
  if (arguments.memory_fraction) workload.memory_fraction = *arguments.memory_fraction;
  internal::CheckWorkload(workload, "--workload " + arguments.workload);
  return workload;
}

}  // namespace

bool ProblemArguments::AnyGiven() const {
  return !model.empty() || !cluster.empty() || !workload.empty() || devices || input_tokens || output_tokens ||
         batch_size || concurrency || global_batch_size || !ttft.empty() || !tpot.empty() || !objective.empty() ||
         !engine.empty() || memory_fraction || !fixed.empty() || !overlaps.empty() || !framework.empty() ||
         !overrides.weight_dtype.empty() || !overrides.activation_dtype.empty() || !overrides.kv_dtype.empty() ||
         overrides.weight_quant_block >= 0;
}

CLI::Validator IsNumber() {
  return CLI::Validator(
      [](std::string& text) { return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is no number" : ""; },
      "");
}

void AddProblemOptions(CLI::App& command, ProblemArguments& arguments) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    CLI::Option* option = command.add_option(name, value, help)->group("Problem");
    constexpr bool kRepeatable = std::is_same_v<decltype(value), std::vector<std::string>&>;
    return kRepeatable ? option : option->take_last();
  };
  const auto tokens = CLI::Range(std::int64_t{1}, kMostTokens);
  add("--model,-m", arguments.model, "A Hugging Face config.json, or a preset (shardscout list models)")
      ->type_name(takes::kModel);
  add("--cluster,-c", arguments.cluster, "A cluster file, or a preset (shardscout list clusters)")
      ->type_name(takes::kCluster);
  add("--devices,-n", arguments.devices, "Devices of the cluster [the file's]")
      ->check(CLI::Range(std::int64_t{1}, kMaxDevices));
  add("--workload,-w", arguments.workload, "A workload file, or a preset (shardscout list workloads)")
      ->type_name(takes::kWorkload);
  add("--isl", arguments.input_tokens, "Input tokens a request; training: of a sequence")->check(tokens);
  add("--osl", arguments.output_tokens, "Output tokens a request")->check(tokens);
  auto* batch = add("--batch", arguments.batch_size, "Concurrent requests a data parallel rank [searched]");
  batch->check(tokens);
  add("--concurrency", arguments.concurrency, "Requests in flight over the whole cluster [searched]")
      ->check(tokens)
      ->excludes(batch);
  add("--global-batch", arguments.global_batch_size, "Training: sequences of a step over the whole cluster")
      ->check(tokens);
  add("--ttft", arguments.ttft, "Limit of the time to first token: 2s, 500ms, none");
  add("--tpot", arguments.tpot, "Limit of the time per output token: 50ms, none");
  add("--objective", arguments.objective,
      "throughput_per_device, latency, cost_per_million_tokens or energy_per_token");
  add("--engine", arguments.engine,
      "What the serving engine's host adds to each step: a file, or a preset (shardscout list engines) [nothing]")
      ->type_name(takes::kEngine);
  add("--memory-fraction", arguments.memory_fraction, "Of a device's memory that may be used")
      ->check(CLI::Range(kLeastFraction, 1.0))
      ->check(IsNumber());
  add("--weight-dtype", arguments.overrides.weight_dtype,
      "bf16, fp16, fp32, fp8, int8, int4, mxfp4, nvfp4 [the model's]");
  add("--activation-dtype", arguments.overrides.activation_dtype, "Inputs of the matrix products [the model's]");
  add("--kv-dtype", arguments.overrides.kv_dtype, "KV cache [the model's]");
  add("--quant-block", arguments.overrides.weight_quant_block, "Side of the weight scales' blocks, 0: none")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{65536}));
  add("--overlap", arguments.overlaps,
      "Among which overlaps of compute and communication is chosen: none, two_batch (two halves of a micro-batch take "
      "turns), chunked (products are cut beside their collectives); only the evaluator simulator tells them apart "
      "[none]")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "two_batch", "chunked"}));
  add("--for", arguments.framework,
      "Only strategies that this framework runs exactly as they are priced: vllm, sglang, tensorrt-llm, megatron, "
      "deepspeed, torchtitan, maxtext, transformers, dtensor, shardy [any strategy]");
  add("--fix", arguments.fixed, "Pin a decision variable, such as tensor_parallel_size=8 (repeatable)")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

Problem MakeProblem(const ProblemArguments& arguments) {
  for (const auto& [flag, value] : {std::pair<const char*, const std::string*>{"--model", &arguments.model},
                                    {"--cluster", &arguments.cluster},
                                    {"--workload", &arguments.workload}}) {
    if (value->empty()) throw SpecError(flag, "is needed (shardscout list shows the presets)");
  }
  std::vector<std::string> warnings;
  ModelSpec model = LoadModel(arguments.model, arguments.overrides, &warnings);
  for (const std::string& warning : warnings) spdlog::warn(warning);
  ClusterSpec cluster = LoadCluster(arguments.cluster, arguments.devices);
  ProblemOptions options;
  for (const std::string& fixed : arguments.fixed) {
    auto [variable, value] = ParseFix(fixed);
    options.fixed[variable] = std::move(value);
  }
  if (!arguments.overlaps.empty()) {
    options.admitted_overlaps.clear();
    for (const Overlap overlap : {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked}) {
      const bool named = std::count(arguments.overlaps.begin(), arguments.overlaps.end(), ToString(overlap)) > 0;
      if (named) options.admitted_overlaps.push_back(overlap);
    }
  }
  if (!arguments.framework.empty()) options.framework = ParseFramework(arguments.framework, "--for");
  return Problem(std::move(model), std::move(cluster), MakeWorkload(arguments), std::move(options));
}

}  // namespace shardscout::cli
