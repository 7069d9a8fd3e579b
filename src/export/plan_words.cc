#include "src/export/plan_words.h"

#include "shardscout/reward.h"
#include "src/quantity_text.h"

namespace shardscout::exporters {

using text::Duration;
using text::Grouped;
using text::Number;
using text::Percent;

std::string ObjectiveText(const Problem& problem, const Evaluation& evaluation) {
  const WorkloadSpec& workload = problem.workload();
  const double value = ObjectiveOf(evaluation, workload.objective, workload.kind).value;
  switch (workload.objective) {
    case Objective::kThroughputPerDevice:
      return Number(value) + " tokens/s/device";
    case Objective::kLatency:
      if (workload.IsTraining()) return Duration(value) + " a step";
      return Duration(value) + (workload.kind == WorkloadKind::kPrefill ? " to first token" : " per token");
    case Objective::kCostPerMillionTokens:
      return Number(value) + " USD per million tokens";
    case Objective::kEnergyPerToken:
      return Number(value) + " J per token";
  }
  return Number(value);
}

std::string ComparedWith(const Problem& problem, const Evaluation& evaluation, const Evaluation& other,
                         const std::string& name) {
  const WorkloadSpec& workload = problem.workload();
  const ObjectiveValue own = ObjectiveOf(evaluation, workload.objective, workload.kind);
  const double times = own.TimesAsGoodAs(ObjectiveOf(other, workload.objective, workload.kind).value);
  const std::string as = name.empty() ? "" : " as " + name;
  const std::string than = name.empty() ? "" : " than " + name;
  if (times == 1) return name.empty() ? "equal" : "as good" + as;
  if (times >= 1.5) return Number(times) + " times as good" + as;
  return times > 1 ? Percent(times - 1) + " better" + than : Percent(1 - times) + " worse" + than;
}

std::string WorkloadText(const WorkloadSpec& workload) {
  if (const std::optional<TrainingSpec>& training = workload.training) {
    return "train, sequences of " + Grouped(workload.input_tokens) + ", global batch " +
           Grouped(training->global_batch_size) + ", " + std::string(ToString(training->precision)) + ", " +
           std::string(ToString(training->optimizer));
  }
  std::string words = std::string(ToString(workload.kind)) + ", input " + Grouped(workload.input_tokens) + ", output " +
                      Grouped(workload.output_tokens);
  if (workload.batch_size) words += ", batch " + Grouped(*workload.batch_size);
  if (workload.concurrency) words += ", concurrency " + Grouped(*workload.concurrency);
  if (workload.engine) words += ", engine " + workload.engine->name;
  if (workload.ttft_target_s) words += ", TTFT at most " + Duration(*workload.ttft_target_s);
  if (workload.tpot_target_s) words += ", TPOT at most " + Duration(*workload.tpot_target_s);
  return words;
}

namespace {

std::string Count(std::int64_t n, const std::string& one, const std::string& many) {
  return Grouped(n) + " " + (n == 1 ? one : many);
}

std::string LayersText(const Pool& pool) {
  std::string words;
  for (const Stage& stage : pool.stages) {
    if (!words.empty()) words += ", ";
    words += Grouped(stage.num_layers);
  }
  return words;
}

std::string ExchangeText(ExpertExchange exchange) {
  switch (exchange) {
    case ExpertExchange::kAllToAll:
      return "each device sends each token to its experts' devices and gets the results back (all-to-all)";
    case ExpertExchange::kGatherScatter:
      return "all tokens are gathered on the experts' devices, and each device gets its own results back "
             "(gather and scatter)";
    case ExpertExchange::kGatherReduce:
      return "all tokens are gathered on the experts' devices, and all results are summed on all of them "
             "(gather and reduce)";
  }
  return "";
}

std::string ResidualText(Layout layout) {
  if (layout == Layout::kTokenSharded) return "each device of a tensor parallel group keeps its share of the tokens";
  if (layout == Layout::kFeatureSharded)
    return "each device of a tensor parallel group keeps its share of the features";
  return "every device of a tensor parallel group keeps all of its tokens";
}

}  // namespace

std::vector<std::string> Sentences(const Problem& problem, const Pool& pool) {
  const Strategy& s = pool.strategy;
  const ModelSpec& model = problem.model();
  std::vector<std::string> sentences;
  sentences.push_back(Count(pool.replicas, "copy", "copies") + " of the model, each on " +
                      Count(s.InstanceSize(), "device", "devices") + ".");
  if (s.pipeline_parallel_size > 1) {
    sentences.push_back("Pipeline parallel " + Grouped(s.pipeline_parallel_size) + ": the " +
                        Grouped(model.num_layers) + " layers are cut into stages of " + LayersText(pool) +
                        ", which a batch passes in " + Count(s.num_microbatches, "piece", "pieces") + ".");
  }
  if (s.tensor_parallel_size > 1) {
    sentences.push_back("Tensor parallel " + Grouped(s.tensor_parallel_size) + ": groups of " +
                        Grouped(s.tensor_parallel_size) + " devices side by side share the matrices that are split.");
  }
  if (s.context_parallel_size > 1) {
    sentences.push_back("Context parallel " + Grouped(s.context_parallel_size) +
                        ": each request's positions are split over " + Grouped(s.context_parallel_size) + " devices.");
  }
  if (s.data_parallel_size > 1) {
    sentences.push_back("Data parallel " + Grouped(s.data_parallel_size) +
                        ": attention in one copy of the model works on " + Grouped(s.data_parallel_size) +
                        " separate batches.");
  }
  if (model.HasMoe()) {
    const std::int64_t ep = s.expert_parallel_size;
    sentences.push_back(ep == 1 ? "Every device of a group holds all " + Grouped(model.moe.num_experts) + " experts" +
                                      (s.expert_tensor_parallel_size > 1
                                           ? ", each split in " + Grouped(s.expert_tensor_parallel_size)
                                           : "") +
                                      "."
                                : "Expert parallel " + Grouped(ep) + ": the " + Grouped(model.moe.num_experts) +
                                      " experts are dealt over " + Grouped(ep) + " devices" +
                                      (s.expert_tensor_parallel_size > 1
                                           ? ", each expert split over " + Grouped(s.expert_tensor_parallel_size)
                                           : "") +
                                      "; " + ExchangeText(s.expert_exchange) + ".");
  }
  sentences.push_back("Each batch holds " + Count(s.batch_size, "request", "requests") + ", all together " +
                      Grouped(s.batch_size * s.data_parallel_size * pool.replicas) + " at a time.");
  if (s.tensor_parallel_size > 1) {
    sentences.push_back("Between the blocks of a layer " + ResidualText(s.residual_layout) + ".");
  }
  if (model.HasDense() && s.dense_ffn_group == DenseFfnGroup::kStage) {
    sentences.push_back("Dense feed-forward layers are split over all " + Grouped(s.StageSize()) +
                        " devices of a stage.");
  }
  return sentences;
}

std::string OperatorText(Operator op) {
  switch (op) {
    case Operator::kEmbedding:
      return "token embedding";
    case Operator::kQkv:
      return "query, key and value projections";
    case Operator::kAttention:
      return "attention and KV cache";
    case Operator::kAttnOut:
      return "attention's output projection";
    case Operator::kRouter:
      return "router";
    case Operator::kFfnUp:
      return "feed-forward, up";
    case Operator::kFfnDown:
      return "feed-forward, down";
    case Operator::kExpertUp:
      return "experts, up";
    case Operator::kExpertDown:
      return "experts, down";
    case Operator::kLmHead:
      return "output head";
    case Operator::kDispatch:
      return "tokens to experts";
    case Operator::kCombine:
      return "results from experts";
    case Operator::kResidual:
      return "residual stream";
    case Operator::kPipeline:
      return "between stages";
  }
  return std::string(ToString(op));
}

std::string ShardingText(Operator op, Sharding sharding) {
  const bool cache = op == Operator::kAttention;
  switch (sharding) {
    case Sharding::kNone:
      return cache ? "the same on every device of its group" : "whole on every device of its group";
    case Sharding::kToken:
      return cache ? "each device has its own requests, with all heads" : "whole, each device works on its own tokens";
    case Sharding::kHeads:
      return op == Operator::kAttnOut ? "split by heads (rows)" : "split by heads";
    case Sharding::kHidden:
      return "split by hidden size";
    case Sharding::kSequence:
      return "the cache is split by position";
    case Sharding::kFfn:
      return "split by feed-forward size";
    case Sharding::kVocab:
      return "split by vocabulary";
  }
  return std::string(ToString(sharding));
}

bool HasOperator(const ModelSpec& model, Operator op) {
  if (op == Operator::kRouter || op == Operator::kExpertUp || op == Operator::kExpertDown) return model.HasMoe();
  if (op == Operator::kFfnUp || op == Operator::kFfnDown) return model.HasDense() || model.HasSharedExpert();
  return true;
}

}  // namespace shardscout::exporters
