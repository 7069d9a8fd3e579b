#include "src/export/torchtitan.h"

#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/export/torchrun.h"

namespace shardscout::exporters {

using frameworks::TorchtitanArguments;

namespace {

std::string WriteFlags(const Problem& problem, const TorchtitanArguments& a) {
  std::ostringstream out;
  const auto parallelism = [&](const char* name, const auto& value) {
    out << "--parallelism." << name << " " << value << "\n";
  };
  parallelism("data_parallel_replicate_degree", a.data_parallel_replicate_degree);
  parallelism("data_parallel_shard_degree", a.data_parallel_shard_degree);
  parallelism("fsdp_reshard_after_forward", a.fsdp_reshard_after_forward);
  parallelism("context_parallel_degree", a.context_parallel_degree);
  parallelism("tensor_parallel_degree", a.tensor_parallel_degree);
  parallelism("pipeline_parallel_degree", a.pipeline_parallel_degree);
  if (problem.model().HasMoe()) parallelism("expert_parallel_degree", a.expert_parallel_degree);
  if (a.pipeline_parallel_degree > 1) {
    parallelism("pipeline_parallel_schedule", a.pipeline_parallel_schedule);
    parallelism("pipeline_parallel_microbatch_size", a.pipeline_parallel_microbatch_size);
    // Its own default takes a layer off the first and the last stage.
    parallelism("pipeline_parallel_first_stage_less_layers", 0);
    parallelism("pipeline_parallel_last_stage_less_layers", 0);
    if (a.pipeline_parallel_layers_per_stage > 0) {
      parallelism("pipeline_parallel_layers_per_stage", a.pipeline_parallel_layers_per_stage);
    }
  }
  out << "--training.local_batch_size " << a.local_batch_size << "\n--training.global_batch_size "
      << a.global_batch_size << "\n--training.seq_len " << a.seq_len
      << "\n--training.mixed_precision_param bfloat16\n--training.mixed_precision_reduce float32\n"
      << "--activation_checkpoint.mode " << a.activation_checkpoint_mode << "\n";
  return out.str();
}

std::vector<std::string> NotesOf(const Problem& problem, const Strategy& s) {
  const TrainingSpec& training = *problem.workload().training;
  std::vector<std::string> notes = {
      "$MODULE and $CONFIG are the model's entry in torchtitan's config registry (--module llama3 --config llama3_8b); "
      "tokenizer, data and optimizer are its own"};
  if (training.precision == TrainingPrecision::kFp8) {
    notes.emplace_back("products in FP8 are chosen in $CONFIG, by its float8 converter: torchtitan has no flag for it");
  }
  if (!training.fp32_gradients) {
    notes.emplace_back("torchtitan sums gradients in 32 bits; the plan is priced with 16");
  }
  if (s.zero_stage >= 2 && s.pipeline_parallel_size == 1 && s.num_microbatches > 1) {
    notes.emplace_back("torchtitan exchanges gradients after each of the " + std::to_string(s.num_microbatches) +
                       " micro-batches; the plan is priced with one exchange a step");
  }
  return notes;
}

}  // namespace

TorchtitanArguments TorchtitanArgumentsOf(const Problem& problem, const Strategy& s) {
  TorchtitanArguments a;
  a.world_size = s.InstanceSize();
  const bool sharded = s.zero_stage > 0;
  a.data_parallel_shard_degree = sharded ? s.data_parallel_size : 1;
  a.data_parallel_replicate_degree = sharded ? 1 : s.data_parallel_size;
  if (sharded) a.fsdp_reshard_after_forward = s.zero_stage == 3 ? "always" : "never";
  a.context_parallel_degree = s.context_parallel_size;
  a.tensor_parallel_degree = s.tensor_parallel_size;
  a.pipeline_parallel_degree = s.pipeline_parallel_size;
  a.expert_parallel_degree = s.expert_parallel_size;
  if (s.virtual_pipeline_parallel_size > 1) {
    a.pipeline_parallel_schedule = "Interleaved1F1B";
    a.pipeline_parallel_layers_per_stage =
        problem.model().num_layers / (s.pipeline_parallel_size * s.virtual_pipeline_parallel_size);
  }
  const std::int64_t micro_batch = s.batch_size / s.num_microbatches;
  a.pipeline_parallel_microbatch_size = s.pipeline_parallel_size > 1 ? micro_batch : 1;
  a.local_batch_size = s.pipeline_parallel_size > 1 ? s.batch_size : micro_batch;
  a.global_batch_size = s.batch_size * s.data_parallel_size;
  a.seq_len = problem.workload().input_tokens;
  if (s.recomputation != Recomputation::kNone) a.activation_checkpoint_mode = ToString(s.recomputation);
  return a;
}

ExportResult TorchtitanExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kTorchtitan);
  const Lowered lowered = Lower(Framework::kTorchtitan, problem, plan.pools.front().strategy, reevaluate);
  const TorchtitanArguments a = TorchtitanArgumentsOf(problem, lowered.strategy);
  ThrowIfBroken(Framework::kTorchtitan, CheckRules(frameworks::TorchtitanRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kTorchtitan, problem, lowered);
  result.files.push_back({"torchtitan.args", WriteFlags(problem, a)});
  const Torchrun launch = TorchrunOf(a.world_size, problem.cluster().devices_per_node);
  result.command = launch.command + " -m torchtitan.train --module $MODULE --config $CONFIG $(cat torchtitan.args)";
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  for (std::string& note : NotesOf(problem, lowered.strategy)) result.notes.push_back(std::move(note));
  return result;
}

}  // namespace shardscout::exporters
