// Which tensors a stage has and which axes split them: docs/strategy_space.md as shardings.

#include <string>
#include <utility>
#include <vector>

#include "shardscout/program.h"
#include "src/export/shardy.h"

namespace shardscout::exporters {

using frameworks::ShardyArguments;
using frameworks::StageMesh;
using Group = frameworks::StageMesh::Group;

namespace {

using Axes = std::vector<std::string>;

std::string ElementOf(DType dtype) {
  switch (dtype) {
    case DType::kFp32:
      return "f32";
    case DType::kFp16:
      return "f16";
    case DType::kFp8:
      return "f8E4M3FN";
    case DType::kInt8:
      return "i8";
    case DType::kInt4:
      return "i4";
    case DType::kMxfp4:
    case DType::kNvfp4:
      return "f4E2M1FN";
    case DType::kBf16:
      break;
  }
  return "bf16";
}

Axes Joined(const Axes& first, const Axes& second) {
  Axes all = first;
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

class TensorWriter {
 public:
  TensorWriter(const Problem& problem, const Strategy& s, const StageMesh& mesh, ShardyArguments& out)
      : problem_(problem), model_(problem.model()), s_(s), mesh_(mesh), out_(out) {}

  void Weights();
  void Activations(Phase phase);

 private:
  /// How tokens lie over the ranks of a stage: by request, and by position.
  struct Tokens {
    Axes requests, positions;
  };

  Axes Of(Group group) const { return mesh_.AxesOf(group); }
  Axes If(bool split, Group group) const { return split ? Of(group) : Axes(); }
  Sharding At(Operator op) const { return s_.ShardingOf(op); }
  void Add(const std::string& name, DType dtype, std::vector<std::int64_t> dims, std::vector<Axes> axes) {
    out_.tensors.push_back({name, ElementOf(dtype), std::move(dims), std::move(axes)});
  }
  void AttentionWeights();
  void FfnWeights(const std::string& name, std::int64_t width, DType dtype, Axes group);
  void ExpertWeights();

  /// R, T or F of `width` features.
  void Activation(const std::string& name, Layout layout, std::int64_t width);
  Tokens TokensIn(Layout layout) const;
  void AttentionActivations();
  void FfnActivations();
  void ExpertActivations();
  /// The axes over which a dense FFN's features run.
  Axes FfnGroup() const;
  /// The layout that an operator with this sharding wants, and that it leaves.
  Layout Wanted(Operator op) const;

  const Problem& problem_;
  const ModelSpec& model_;
  const Strategy& s_;
  const StageMesh& mesh_;
  ShardyArguments& out_;
  std::string phase_;
  bool decode_ = false;
  std::int64_t requests_ = 0, positions_ = 1;
};

Axes TensorWriter::FfnGroup() const {
  if (s_.dense_ffn_group == DenseFfnGroup::kTp) return Of(Group::kTp);
  return Joined(Of(Group::kTp), Joined(Of(Group::kDp), Of(Group::kCp)));
}

void TensorWriter::FfnWeights(const std::string& name, std::int64_t width, DType dtype, Axes group) {
  const Sharding up = At(Operator::kFfnUp), down = At(Operator::kFfnDown);
  const auto split = [&](bool yes) { return yes ? group : Axes(); };
  const std::vector<Axes> up_axes = {split(up == Sharding::kHidden), split(up == Sharding::kFfn)};
  if (model_.gated_ffn) Add(name + ".gate_proj", dtype, {model_.hidden_size, width}, up_axes);
  Add(name + ".up_proj", dtype, {model_.hidden_size, width}, up_axes);
  Add(name + ".down_proj", dtype, {width, model_.hidden_size},
      {split(down == Sharding::kFfn), split(down == Sharding::kHidden)});
}

void TensorWriter::AttentionWeights() {
  const AttentionSpec& a = model_.attention;
  const DType dtype = model_.attention_quantised ? model_.weight_dtype : model_.embedding_dtype;
  const bool columns = At(Operator::kQkv) == Sharding::kHeads;
  const Axes rows = If(At(Operator::kQkv) == Sharding::kHidden, Group::kTp);
  const Axes heads = If(columns, Group::kTp);
  const std::int64_t hidden = model_.hidden_size;
  if (a.kind == AttentionKind::kMultiLatent) {
    const std::int64_t query = a.num_heads * a.QkHeadDim();
    if (a.q_lora_rank > 0) {
      Add("attention.q_a_proj", dtype, {hidden, a.q_lora_rank}, {{}, {}});
      Add("attention.q_b_proj", dtype, {a.q_lora_rank, query}, {{}, heads});
    } else {
      Add("attention.q_proj", dtype, {hidden, query}, {{}, heads});
    }
    Add("attention.kv_a_proj", dtype, {hidden, a.kv_lora_rank + a.qk_rope_head_dim}, {{}, {}});
    // Keys belong to qkv; in decode, where the product is absorbed, values belong to attn_out.
    Add("attention.k_b_proj", dtype, {a.kv_lora_rank, a.num_heads * a.qk_nope_head_dim}, {{}, heads});
    const bool absorbed = problem_.workload().kind == WorkloadKind::kDecode;
    Add("attention.v_b_proj", dtype, {a.kv_lora_rank, a.num_heads * a.v_head_dim},
        {{}, absorbed ? If(At(Operator::kAttnOut) == Sharding::kHeads, Group::kTp) : heads});
  } else {
    const std::int64_t kv_width = a.num_kv_heads * a.head_dim;
    const Axes kv_heads = columns || !rows.empty() ? If(columns, Group::kKvHeads) : Axes();
    Add("attention.q_proj", dtype, {hidden, a.num_heads * a.head_dim * (a.output_gate ? 2 : 1)}, {rows, heads});
    Add("attention.k_proj", dtype, {hidden, kv_width}, {rows, kv_heads});
    Add("attention.v_proj", dtype, {hidden, kv_width}, {rows, kv_heads});
  }
  const Sharding out = At(Operator::kAttnOut);
  Add("attention.o_proj", dtype, {a.num_heads * a.VHeadDim(), hidden},
      {If(out == Sharding::kHeads, Group::kTp), If(out == Sharding::kHidden, Group::kTp)});
}

void TensorWriter::ExpertWeights() {
  const MoeSpec& moe = model_.moe;
  const Sharding up = At(Operator::kExpertUp), down = At(Operator::kExpertDown);
  Add("router", model_.embedding_dtype, {model_.hidden_size, moe.num_experts}, {{}, {}});
  const Axes experts = Of(Group::kEp);
  const std::vector<Axes> up_axes = {experts, If(up == Sharding::kHidden, Group::kEtp),
                                     If(up == Sharding::kFfn, Group::kEtp)};
  const std::vector<std::int64_t> up_dims = {moe.num_experts, model_.hidden_size, moe.expert_ffn_size};
  if (model_.gated_ffn) Add("experts.gate_proj", model_.weight_dtype, up_dims, up_axes);
  Add("experts.up_proj", model_.weight_dtype, up_dims, up_axes);
  Add("experts.down_proj", model_.weight_dtype, {moe.num_experts, moe.expert_ffn_size, model_.hidden_size},
      {experts, If(down == Sharding::kFfn, Group::kEtp), If(down == Sharding::kHidden, Group::kEtp)});
}

void TensorWriter::Weights() {
  const Sharding embedding = At(Operator::kEmbedding), head = At(Operator::kLmHead);
  Add("embedding", model_.embedding_dtype, {model_.vocab_size, model_.hidden_size},
      {If(embedding == Sharding::kVocab, Group::kTp), If(embedding == Sharding::kHidden, Group::kTp)});
  AttentionWeights();
  const auto dtype_if = [&](bool quantised) { return quantised ? model_.weight_dtype : model_.embedding_dtype; };
  if (model_.HasDense()) FfnWeights("ffn", model_.ffn_size, dtype_if(model_.dense_ffn_quantised), FfnGroup());
  if (model_.HasSharedExpert()) {
    FfnWeights("shared_expert", model_.moe.shared_ffn_size, dtype_if(model_.shared_expert_quantised), Of(Group::kTp));
  }
  if (model_.HasMoe()) ExpertWeights();
  Add("lm_head", model_.embedding_dtype, {model_.hidden_size, model_.vocab_size},
      {If(head == Sharding::kHidden, Group::kTp), If(head == Sharding::kVocab, Group::kTp)});
}

TensorWriter::Tokens TensorWriter::TokensIn(Layout layout) const {
  const Axes tp = If(layout == Layout::kTokenSharded, Group::kTp);
  // Positions are one in decode; attention over whole requests keeps them whole over tp in both phases.
  if (decode_) return {Joined(Of(Group::kDp), Joined(Of(Group::kCp), tp)), {}};
  if (At(Operator::kAttention) == Sharding::kToken) return {Joined(Of(Group::kDp), tp), Of(Group::kCp)};
  return {Of(Group::kDp), Joined(Of(Group::kCp), tp)};
}

void TensorWriter::Activation(const std::string& name, Layout layout, std::int64_t width) {
  Tokens tokens = TokensIn(layout);
  Add(phase_ + name, model_.residual_dtype, {requests_, positions_, width},
      {std::move(tokens.requests), std::move(tokens.positions), If(layout == Layout::kFeatureSharded, Group::kTp)});
}

Layout TensorWriter::Wanted(Operator op) const {
  switch (At(op)) {
    case Sharding::kToken:
      return Layout::kTokenSharded;
    case Sharding::kHeads:
      // The projection out takes split heads, the one in whole features.
      return op == Operator::kQkv ? Layout::kReplicated : Layout::kFeatureSharded;
    case Sharding::kHidden:
      return op == Operator::kAttnOut || op == Operator::kFfnDown ? Layout::kReplicated : Layout::kFeatureSharded;
    case Sharding::kFfn:
      return op == Operator::kFfnDown ? Layout::kFeatureSharded : Layout::kReplicated;
    default:
      return Layout::kReplicated;
  }
}

void TensorWriter::AttentionActivations() {
  const AttentionSpec& a = model_.attention;
  const bool latent = a.kind == AttentionKind::kMultiLatent;
  const Sharding core = At(Operator::kAttention);
  const std::int64_t out_width = a.num_heads * (latent && decode_ ? a.kv_lora_rank : a.VHeadDim());
  const std::int64_t query_width =
      a.num_heads * (latent && decode_ ? a.kv_lora_rank + a.qk_rope_head_dim : a.QkHeadDim());
  Activation("attention.qkv.in", Wanted(Operator::kQkv), model_.hidden_size);

  const Axes by_request = If(core == Sharding::kToken, Group::kTp);
  const Axes heads = If(core == Sharding::kHeads, Group::kTp);
  // With the cache split over cp, a decode step's queries are gathered over cp.
  const Axes requests = Joined(Of(Group::kDp), by_request);
  Add(phase_ + "attention.query", model_.residual_dtype, {requests_, positions_, query_width},
      {requests, decode_ ? Axes() : Of(Group::kCp), heads});
  const Axes by_position = Joined(Of(Group::kCp), If(core == Sharding::kSequence, Group::kTp));
  const std::int64_t parts = s_.context_parallel_size * s_.tensor_parallel_size;
  const std::int64_t whole = decode_ ? problem_.workload().CachePositions() : positions_;
  const std::int64_t cached = (whole + parts - 1) / parts * parts;
  if (latent) {
    Add(phase_ + "attention.cache", model_.kv_dtype, {requests_, cached, 1, a.kv_lora_rank + a.qk_rope_head_dim},
        {requests, by_position, {}, {}});
  } else {
    const Axes kv_heads = If(core == Sharding::kHeads, Group::kKvHeads);
    for (const char* name : {"attention.key_cache", "attention.value_cache"}) {
      Add(phase_ + name, model_.kv_dtype, {requests_, cached, a.num_kv_heads, a.head_dim},
          {requests, by_position, kv_heads, {}});
    }
  }
  const Layout left = core == Sharding::kToken  ? Layout::kTokenSharded
                      : core == Sharding::kNone ? Layout::kReplicated
                                                : Layout::kFeatureSharded;
  Activation("attention.out", left, out_width);
  Activation("attention.o_proj.in", Wanted(Operator::kAttnOut), out_width);
}

void TensorWriter::FfnActivations() {
  const auto add = [&](const std::string& name, std::int64_t width, bool stage) {
    const auto one = [&](const std::string& of, Operator op, std::int64_t features) {
      const Layout layout = Wanted(op);
      if (!stage || layout == Layout::kTokenSharded) {
        Activation(name + of, layout, features);
      } else {
        // All ranks of the stage hold all of its tokens.
        Add(phase_ + name + of, model_.residual_dtype, {requests_, positions_, features},
            {{}, {}, layout == Layout::kFeatureSharded ? FfnGroup() : Axes()});
      }
    };
    one(".in", Operator::kFfnUp, model_.hidden_size);
    one(".down_proj.in", Operator::kFfnDown, width);
  };
  if (model_.HasDense()) add("ffn", model_.ffn_size, s_.dense_ffn_group == DenseFfnGroup::kStage);
  if (model_.HasSharedExpert()) add("shared_expert", model_.moe.shared_ffn_size, false);
}

void TensorWriter::ExpertActivations() {
  Activation("router.in", Wanted(Operator::kRouter), model_.hidden_size);
  const bool dealt = s_.expert_exchange == ExpertExchange::kAllToAll;
  // Tokens that a block works on: each expert's own, or all of the block's at each of its ranks.
  if (dealt) Activation("experts.dispatch", Layout::kTokenSharded, model_.hidden_size);
  const Axes features = If(At(Operator::kExpertUp) == Sharding::kHidden, Group::kEtp);
  const Axes width = If(At(Operator::kExpertDown) == Sharding::kFfn, Group::kEtp);
  const Axes blocks = Of(Group::kEdp);
  const DType dtype = model_.activation_dtype;
  if (!dealt) {
    Add(phase_ + "experts.gathered", dtype, {0, model_.hidden_size}, {blocks, {}});
  }
  Add(phase_ + "experts.in", dtype, {model_.moe.num_experts, 0, model_.hidden_size},
      {Of(Group::kEp), blocks, features});
  Add(phase_ + "experts.down_proj.in", dtype, {model_.moe.num_experts, 0, model_.moe.expert_ffn_size},
      {Of(Group::kEp), blocks, width});
  Activation("experts.out",
             s_.expert_exchange == ExpertExchange::kGatherReduce ? Layout::kReplicated : Layout::kTokenSharded,
             model_.hidden_size);
}

void TensorWriter::Activations(Phase phase) {
  decode_ = phase == Phase::kDecode;
  phase_ = std::string(ToString(phase)) + ".";
  requests_ = (decode_ ? s_.batch_size : PrefillRequests(problem_, s_)) * s_.data_parallel_size;
  positions_ = decode_ ? 1 : PaddedInputTokens(problem_, s_);
  Activation("residual", s_.residual_layout, model_.hidden_size);
  AttentionActivations();
  FfnActivations();
  if (model_.HasMoe()) ExpertActivations();
  const Sharding head = At(Operator::kLmHead);
  // One row a request, of the last position.
  const Axes by_request = If(head == Sharding::kToken, Group::kTp);
  Add(phase_ + "lm_head.in", model_.residual_dtype, {requests_, model_.hidden_size},
      {Joined(Of(Group::kDp), by_request), If(head == Sharding::kHidden, Group::kTp)});
  Add(phase_ + "logits", model_.residual_dtype, {requests_, model_.vocab_size},
      {Joined(Of(Group::kDp), by_request), If(head == Sharding::kVocab, Group::kTp)});
}

}  // namespace

ShardyArguments ShardyArgumentsOf(const Problem& problem, const Strategy& s) {
  ShardyArguments a;
  a.pipeline_parallel_size = s.pipeline_parallel_size;
  a.overlap = ToString(s.overlap);
  const std::optional<StageMesh> mesh = StageMesh::Of(s, problem.model());
  a.has_mesh = mesh.has_value();
  if (!mesh || problem.workload().IsTraining()) return a;
  a.mesh = mesh->axes();
  TensorWriter writer(problem, s, *mesh, a);
  writer.Weights();
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (problem.workload().HasPhase(phase)) writer.Activations(phase);
  }
  return a;
}

}  // namespace shardscout::exporters
