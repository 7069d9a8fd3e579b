#include "src/export/megatron.h"

#include <algorithm>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/export/torchrun.h"
#include "src/frameworks/degrees.h"

namespace shardscout::exporters {

using frameworks::MegatronArguments;

namespace {

void WriteModel(std::ostream& out, const ModelSpec& model) {
  const AttentionSpec& attention = model.attention;
  out << "--num-layers " << model.num_layers << "\n--hidden-size " << model.hidden_size << "\n--num-attention-heads "
      << attention.num_heads << "\n";
  if (attention.kind == AttentionKind::kMultiLatent) {
    out << "--multi-latent-attention\n--kv-lora-rank " << attention.kv_lora_rank << "\n--qk-head-dim "
        << attention.qk_nope_head_dim << "\n--qk-pos-emb-head-dim " << attention.qk_rope_head_dim << "\n--v-head-dim "
        << attention.v_head_dim << "\n";
    if (attention.q_lora_rank > 0) out << "--q-lora-rank " << attention.q_lora_rank << "\n";
  } else {
    if (attention.num_kv_heads < attention.num_heads) {
      out << "--group-query-attention\n--num-query-groups " << attention.num_kv_heads << "\n";
    }
    out << "--kv-channels " << attention.head_dim << "\n";
  }
  if (model.HasDense()) out << "--ffn-hidden-size " << model.ffn_size << "\n";
  if (model.HasMoe()) {
    out << "--num-experts " << model.moe.num_experts << "\n--moe-router-topk " << model.moe.num_experts_per_token
        << "\n--moe-ffn-hidden-size " << model.moe.expert_ffn_size << "\n";
    if (model.HasSharedExpert()) {
      out << "--moe-shared-expert-intermediate-size " << model.moe.shared_ffn_size << "\n";
    }
  }
}

void WriteTraining(std::ostream& out, const Problem& problem, const MegatronArguments& a) {
  const TrainingSpec& training = *problem.workload().training;
  if (a.virtual_stages > 1) out << "--num-virtual-stages-per-pipeline-rank " << a.virtual_stages << "\n";
  if (a.distributed_optimizer) out << "--use-distributed-optimizer\n";
  if (training.overlap_gradients) out << "--overlap-grad-reduce\n";
  if (training.overlap_parameters && a.distributed_optimizer) out << "--overlap-param-gather\n";
  if (!a.recompute_granularity.empty()) out << "--recompute-granularity " << a.recompute_granularity << "\n";
  if (a.recompute_layers > 0) {
    out << "--recompute-method block\n--recompute-num-layers " << a.recompute_layers << "\n";
  } else if (a.recompute_granularity == "full") {
    out << "--recompute-method uniform\n--recompute-num-layers 1\n";
  }
  out << "--bf16\n";
  if (training.precision == TrainingPrecision::kFp8) out << "--fp8-format hybrid\n";
  if (training.fused_attention) out << "--use-flash-attn\n";
  out << "--optimizer " << ToString(training.optimizer) << "\n";
}

/// Layers of each chunk in the order of the model's layers.
std::vector<std::int64_t> ChunkSizes(const ModelSpec& model, const Strategy& s) {
  const std::vector<std::vector<Stage>> stages = ChunksOf(model, s);
  std::vector<std::int64_t> sizes;
  for (std::size_t chunk = 0; chunk < stages.front().size(); ++chunk) {
    for (const std::vector<Stage>& stage : stages) sizes.push_back(stage[chunk].num_layers);
  }
  return sizes;
}

std::string WriteArguments(const Problem& problem, const MegatronArguments& a) {
  std::ostringstream out;
  WriteModel(out, problem.model());
  out << "--seq-length " << a.seq_length << "\n--max-position-embeddings " << a.seq_length
      << "\n--tensor-model-parallel-size " << a.tensor_model_parallel_size << "\n--pipeline-model-parallel-size "
      << a.pipeline_model_parallel_size << "\n--context-parallel-size " << a.context_parallel_size << "\n";
  if (a.sequence_parallel) out << "--sequence-parallel\n";
  if (problem.model().HasMoe()) {
    out << "--expert-model-parallel-size " << a.expert_model_parallel_size << "\n--expert-tensor-parallel-size "
        << a.expert_tensor_parallel_size << "\n--moe-token-dispatcher-type " << a.moe_token_dispatcher_type << "\n";
  }
  if (!a.pipeline_layout.empty()) out << "--pipeline-model-parallel-layout " << a.pipeline_layout << "\n";
  if (problem.workload().IsTraining()) WriteTraining(out, problem, a);
  out << "--micro-batch-size " << a.micro_batch_size << "\n--global-batch-size " << a.global_batch_size << "\n";
  return out.str();
}

}  // namespace

MegatronArguments MegatronArgumentsOf(const Problem& problem, const Strategy& s) {
  const ModelSpec& model = problem.model();
  MegatronArguments a;
  SetDegrees(a, DegreesOf(s));
  a.sequence_parallel = s.residual_layout == Layout::kTokenSharded;
  a.moe_token_dispatcher_type = s.expert_exchange == ExpertExchange::kAllToAll ? "alltoall" : "allgather";
  const bool even =
      model.num_layers % (s.pipeline_parallel_size * s.virtual_pipeline_parallel_size) == 0 && s.head_layers == 0;
  if (!even) a.pipeline_layout = frameworks::LayoutOf(ChunkSizes(model, s));
  a.micro_batch_size = s.batch_size / s.num_microbatches;
  a.global_batch_size = s.batch_size * s.data_parallel_size;
  // The positions are padded to what cp and tp cut.
  const std::int64_t parts = (s.context_parallel_size > 1 ? 2 * s.context_parallel_size : 1) * s.tensor_parallel_size;
  if (problem.workload().IsTraining()) {
    a.world_size = s.InstanceSize();
    if (even) a.virtual_stages = s.virtual_pipeline_parallel_size;  // Else the layout says it.
    a.distributed_optimizer = s.zero_stage == 1;
    if (s.recomputation != Recomputation::kNone) a.recompute_granularity = ToString(s.recomputation);
    a.recompute_layers = s.recomputed_layers;
    a.seq_length = problem.workload().input_tokens;
    return a;
  }
  a.seq_length = (MaxPositions(problem.workload()) + parts - 1) / parts * parts;
  return a;
}

ExportResult MegatronExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kMegatron);
  const Lowered lowered = Lower(Framework::kMegatron, problem, plan.pools.front().strategy, reevaluate);
  const MegatronArguments a = MegatronArgumentsOf(problem, lowered.strategy);
  ThrowIfBroken(Framework::kMegatron, CheckRules(frameworks::MegatronRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kMegatron, problem, lowered);
  result.files.push_back({"megatron.args", WriteArguments(problem, a)});
  const Torchrun launch = TorchrunOf(a.world_size, problem.cluster().devices_per_node);
  result.command = launch.command +
                   (problem.workload().IsTraining() ? " pretrain_gpt.py" : " tools/run_text_generation_server.py") +
                   " $(cat megatron.args)";
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  result.notes.emplace_back(
      "the arguments hold the parallelism and the model's sizes; tokenizer, checkpoint, norms, activation and data are "
      "the model's own");
  return result;
}

}  // namespace shardscout::exporters
