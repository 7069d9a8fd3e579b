#include "src/export/maxtext.h"

#include <numeric>
#include <sstream>
#include <string>
#include <utility>

#include "src/export/lowering.h"

namespace shardscout::exporters {

using frameworks::MaxTextArguments;
using frameworks::MaxTextAxes;

namespace {

/// As much of an axis as still fits a slice.
void Place(std::int64_t size, std::int64_t& left, std::int64_t& ici, std::int64_t& dcn) {
  ici = std::gcd(size, left);
  dcn = size / ici;
  left /= ici;
}

void WriteAxes(std::ostream& out, const char* network, const MaxTextAxes& axes) {
  for (const auto& [name, size] :
       {std::pair("data", axes.data), std::pair("fsdp", axes.fsdp), std::pair("context", axes.context),
        std::pair("tensor_sequence", axes.tensor_sequence), std::pair("expert", axes.expert)}) {
    out << network << "_" << name << "_parallelism: " << size << "\n";
  }
}

void WriteModel(std::ostream& out, const ModelSpec& model) {
  const AttentionSpec& attention = model.attention;
  out << "base_num_decoder_layers: " << model.num_layers << "\nbase_emb_dim: " << model.hidden_size
      << "\nbase_num_query_heads: " << attention.num_heads << "\nvocab_size: " << model.vocab_size << "\n";
  if (attention.kind == AttentionKind::kMultiLatent) {
    out << "attention_type: mla\nbase_num_kv_heads: " << attention.num_heads
        << "\nq_lora_rank: " << attention.q_lora_rank << "\nkv_lora_rank: " << attention.kv_lora_rank
        << "\nqk_nope_head_dim: " << attention.qk_nope_head_dim << "\nqk_rope_head_dim: " << attention.qk_rope_head_dim
        << "\nv_head_dim: " << attention.v_head_dim << "\n";
  } else {
    out << "base_num_kv_heads: " << attention.num_kv_heads << "\nhead_dim: " << attention.head_dim << "\n";
  }
  if (model.HasDense()) out << "base_mlp_dim: " << model.ffn_size << "\n";
  out << "logits_via_embedding: " << (model.tie_word_embeddings ? "true" : "false") << "\n";
  if (!model.HasMoe()) return;
  if (!model.HasDense()) out << "base_mlp_dim: " << model.moe.expert_ffn_size << "\n";
  out << "num_experts: " << model.moe.num_experts << "\nnum_experts_per_tok: " << model.moe.num_experts_per_token
      << "\nbase_moe_mlp_dim: " << model.moe.expert_ffn_size << "\n";
  if (model.HasSharedExpert()) {
    out << "shared_experts: " << model.moe.shared_ffn_size / model.moe.expert_ffn_size << "\n";
  }
  if (model.HasDense()) out << "first_num_dense_layers: " << model.NumLayers(LayerKind::kDense) << "\n";
}

std::string WriteSettings(const Plan& plan, const Problem& problem, const Strategy& s, const MaxTextArguments& a) {
  const TrainingSpec& training = *problem.workload().training;
  std::ostringstream out;
  out << Preamble(Framework::kMaxText, plan, problem, s) << "base_config: base.yml\n";
  WriteModel(out, problem.model());
  WriteAxes(out, "ici", a.ici);
  WriteAxes(out, "dcn", a.dcn);
  if (a.shard_optimizer_over_data) out << "shard_optimizer_over_data: true\n";
  out << "per_device_batch_size: " << FractionText(a.per_device_batch_size)
      << "\ngradient_accumulation_steps: " << a.gradient_accumulation_steps
      << "\nmax_target_length: " << a.max_target_length << "\nremat_policy: " << a.remat_policy
      << "\ndtype: bfloat16\nweight_dtype: float32\nopt_type: "
      << (training.optimizer == Optimizer::kAdam ? "adamw" : "sgd") << "\n";
  if (training.precision == TrainingPrecision::kFp8) out << "quantization: fp8\n";
  return out.str();
}

std::vector<std::string> NotesOf(const Problem& problem, const Strategy& s, const MaxTextArguments& a) {
  std::vector<std::string> notes = {
      "decoder_block, tokenizer, data and base_output_directory are the model's own; where MaxText has the model, "
      "model_name says its sizes too"};
  if (a.slices > 1) notes.emplace_back("a slice is a node here: start one process a node, as MaxText does on GPUs");
  if (s.recomputation == Recomputation::kNone) {
    notes.emplace_back(
        "remat_policy minimal_with_context keeps what matrix products and attention give, and computes "
        "norms and activation functions again; the plan is priced with nothing computed again");
  }
  if (!problem.workload().training->fp32_gradients) {
    notes.emplace_back("MaxText's gradients are in 32 bits, as its weights; the plan is priced with 16");
  }
  return notes;
}

}  // namespace

MaxTextArguments MaxTextArgumentsOf(const Problem& problem, const Strategy& s) {
  MaxTextArguments a;
  const std::int64_t world = s.InstanceSize(), per_node = problem.cluster().devices_per_node;
  const bool whole_nodes = world > per_node && world % per_node == 0;
  a.devices_per_slice = whole_nodes ? per_node : world;
  a.slices = world / a.devices_per_slice;
  std::int64_t left = a.devices_per_slice;
  const std::int64_t copies = s.data_parallel_size / s.expert_parallel_size;
  Place(s.tensor_parallel_size, left, a.ici.tensor_sequence, a.dcn.tensor_sequence);
  Place(s.expert_parallel_size, left, a.ici.expert, a.dcn.expert);
  Place(s.context_parallel_size, left, a.ici.context, a.dcn.context);
  if (s.zero_stage == 3) {
    Place(copies, left, a.ici.fsdp, a.dcn.fsdp);
  } else {
    Place(copies, left, a.ici.data, a.dcn.data);
  }
  a.shard_optimizer_over_data = s.zero_stage == 1;
  const std::int64_t micro_batch = s.batch_size / s.num_microbatches;
  a.per_device_batch_size =
      static_cast<double>(micro_batch) / static_cast<double>(s.tensor_parallel_size * s.context_parallel_size);
  a.gradient_accumulation_steps = s.num_microbatches;
  a.max_target_length = problem.workload().input_tokens;
  a.remat_policy = s.recomputation == Recomputation::kFull ? "full" : "minimal_with_context";
  return a;
}

ExportResult MaxTextExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kMaxText);
  const Lowered lowered = Lower(Framework::kMaxText, problem, plan.pools.front().strategy, reevaluate);
  const MaxTextArguments a = MaxTextArgumentsOf(problem, lowered.strategy);
  ThrowIfBroken(Framework::kMaxText, CheckRules(frameworks::MaxTextRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kMaxText, problem, lowered);
  result.files.push_back({"maxtext.yml", WriteSettings(plan, problem, lowered.strategy, a)});
  result.command = "python3 -m maxtext.trainers.pre_train.train maxtext.yml run_name=$RUN_NAME hardware=gpu";
  for (std::string& note : NotesOf(problem, lowered.strategy, a)) result.notes.push_back(std::move(note));
  return result;
}

}  // namespace shardscout::exporters
