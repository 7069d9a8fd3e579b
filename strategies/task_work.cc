// What a task does on the fullest rank: FLOP, bytes, shape. Everything follows from the task's values and weight.

#include <algorithm>

#include "shardscout/error.h"
#include "strategies/block_builder.h"

namespace shardscout::strategies {
namespace {

double BytesPerWeight(const ModelSpec& model, WeightKind kind, FfnKind ffn) {
  if (!IsQuantised(model, kind, ffn)) return BytesPerElement(model.embedding_dtype);
  const auto block = static_cast<double>(model.weight_quant_block);
  if (block == 0) return BytesPerElement(model.weight_dtype);
  double scale = BytesPerElement(model.scale_dtype);
  if (model.weight_zero_points) scale += BytesPerElement(model.weight_dtype);
  return BytesPerElement(model.weight_dtype) + scale / (model.weight_quant_grouped ? block : block * block);
}

}  // namespace

bool IsQuantised(const ModelSpec& model, WeightKind kind, FfnKind ffn) {
  switch (kind) {
    case WeightKind::kEmbedding:
    case WeightKind::kLmHead:
    case WeightKind::kRouter:
    case WeightKind::kLinearGates:
    case WeightKind::kNorms:
      return false;
    case WeightKind::kExpertUp:
    case WeightKind::kExpertDown:
      return true;
    case WeightKind::kFfnUp:
    case WeightKind::kFfnDown:
      return ffn == FfnKind::kShared ? model.shared_expert_quantised : model.dense_ffn_quantised;
    default:
      return model.attention_quantised;
  }
}

DType ProductDType(const ModelSpec& model, WeightKind kind, FfnKind ffn) {
  return IsQuantised(model, kind, ffn) ? model.activation_dtype : model.embedding_dtype;
}

double BlockNormElements(const ModelSpec& model) {
  // A layer is two blocks. The norms of their outputs are fused with the addition to the residual stream.
  return static_cast<double>(model.norms_per_layer * (model.norm_bias ? 2 : 1) * model.hidden_size) / 2;
}

double LinearVectorElements(const LinearAttentionSpec& linear) {
  return static_cast<double>(linear.ConvChannels() * linear.conv_width + 2 * linear.num_value_heads +
                             linear.value_head_dim);
}

void BlockBuilder::AddWholeWeight(WeightKind kind, Operator op, double elements, FfnKind ffn) {
  if (elements > 0) Store({.kind = kind, .ffn = ffn, .op = op, .elements = elements});
}

void BlockBuilder::Store(Weight weight) {
  for (const Weight& known : block_.weights) {
    if (known.kind == weight.kind && known.ffn == weight.ffn) {
      SHARDSCOUT_CHECK_OP(known.elements, ==, weight.elements);
      return;
    }
  }
  weight.bytes = weight.elements * BytesPerWeight(model(), weight.kind, weight.ffn);
  block_.weights.push_back(weight);
}

void BlockBuilder::StoreWeight(const Task& task) {
  const AttentionSpec& a = model().attention;
  auto store = [&](WeightKind kind, double elements) {
    Store({.kind = kind, .ffn = task.ffn, .op = task.op, .elements = elements});
  };
  const double in = task.input == kNoValue ? 0 : ValueOf(task.input).width;
  const double out = task.output == kNoValue ? 0 : ValueOf(task.output).width;
  const auto heads =
      task.output == kNoValue ? 0.0 : static_cast<double>(geometry_.LocalHeads(ValueOf(task.output).features));
  const double key = static_cast<double>(a.kv_lora_rank * a.qk_nope_head_dim);
  const double value = static_cast<double>(a.kv_lora_rank * a.v_head_dim);
  switch (task.kind) {
    case TaskKind::kEmbed: {
      const double rows =
          static_cast<double>(model().vocab_size) / (task.weight_split == WeightSplit::kRow ? geometry_.tp : 1);
      store(WeightKind::kEmbedding, rows * out);
      return;
    }
    case TaskKind::kMatmul:
      store(task.weight, in * out);
      return;
    case TaskKind::kExpertMatmul:
      store(task.weight, static_cast<double>(model().moe.num_experts) / geometry_.ep * in * out);
      return;
    case TaskKind::kUpProject:
      store(WeightKind::kKeyUp, heads * key);
      store(WeightKind::kValueUp, heads * value);
      return;
    case TaskKind::kAbsorbKey:
      store(WeightKind::kKeyUp, heads * key);
      return;
    case TaskKind::kValueProject:
      store(WeightKind::kValueUp, heads * value);
      return;
    default:
      return;
  }
}

void BlockBuilder::FillMatmulWork(Task& task) const {
  const AttentionSpec& a = model().attention;
  const Value& in = ValueOf(task.input);
  const Value& out = ValueOf(task.output);
  Work& w = task.work;
  const auto heads = static_cast<double>(geometry_.LocalHeads(out.features));
  WeightKind kind = task.weight;
  double flop_rows = in.rows;
  w.m = in.rows;
  w.k = in.width;
  w.n = out.width;
  double matrices = 1;
  switch (task.kind) {
    case TaskKind::kUpProject:
      kind = WeightKind::kKeyUp;
      w.k = static_cast<double>(a.kv_lora_rank);
      w.n = heads * static_cast<double>(a.qk_nope_head_dim + a.v_head_dim);
      break;
    case TaskKind::kAbsorbKey:
      kind = WeightKind::kKeyUp;
      w.count = matrices = heads;
      w.k = static_cast<double>(a.qk_nope_head_dim);
      w.n = static_cast<double>(a.kv_lora_rank);
      break;
    case TaskKind::kValueProject:
      kind = WeightKind::kValueUp;
      w.count = matrices = heads;
      w.k = static_cast<double>(a.kv_lora_rank);
      w.n = static_cast<double>(a.v_head_dim);
      break;
    case TaskKind::kExpertMatmul:
      // One product for each expert that is hit; the fullest rank has the pairs, every rank reads the weights of its
      // hit experts.
      w.count = matrices = geometry_.DistinctExperts();
      flop_rows = geometry_.FullestExpertPairs();
      w.m = flop_rows / w.count;
      flop_rows /= w.count;
      FillRouting(w, task.weight == WeightKind::kExpertUp ? in.rows : out.rows);
      break;
    default:
      break;
  }
  SetTypes(w, kind, task.ffn);
  w.quantises = in.dtype != w.dtype;
  w.flop = 2 * flop_rows * w.k * w.n * w.count;
  w.weight_bytes = matrices * w.k * w.n * BytesPerWeight(model(), kind, task.ffn);
  w.read_bytes = in.Bytes();
  w.write_bytes = out.Bytes();
}

void BlockBuilder::SetTypes(Work& w, WeightKind kind, FfnKind ffn) const {
  const bool quantised = IsQuantised(model(), kind, ffn);
  w.dtype = ProductDType(model(), kind, ffn);
  w.weight_dtype = quantised ? model().weight_dtype : model().embedding_dtype;
  w.block_scaled = quantised && model().weight_quant_block > 0 && !model().weight_quant_grouped;
}

void BlockBuilder::FillRouting(Work& w, double held) const {
  w.routing = {.tokens = geometry_.BlockTokens(),
               .held = held,
               .experts = static_cast<double>(model().moe.num_experts),
               .experts_per_token = static_cast<double>(model().moe.num_experts_per_token),
               .ranks = geometry_.ep,
               .pairs = geometry_.FullestExpertPairs(),
               .distinct = geometry_.DistinctExperts()};
}

void BlockBuilder::FillAttentionWork(Task& task) const {
  const AttentionSpec& a = model().attention;
  const Geometry& g = geometry_;
  const Value& q = ValueOf(task.input);
  const Value& out = ValueOf(task.output);
  Work& w = task.work;
  const double parts = g.cp * (task.cache.positions_over_tp ? g.tp : 1);
  const auto heads = static_cast<double>(g.LocalHeads(q.features));
  const double kv_element = BytesPerElement(model().kv_dtype);
  // Without a window or an indexer, as many positions as there are.
  const auto window = static_cast<double>(a.HasIndexer() ? a.index_topk : WindowOf(model(), block_.kind));
  const auto cached = static_cast<double>(g.multi_latent ? a.kv_lora_rank + a.qk_rope_head_dim
                                                         : 2 * g.LocalKvHeads(q.features) * a.head_dim);
  w.dtype = model().residual_dtype;
  w.attention = {.queries = q.rows,
                 .heads = heads,
                 .kv_heads = static_cast<double>(g.LocalKvHeads(q.features)),
                 .qk_dim = static_cast<double>(a.QkHeadDim()),
                 .v_dim = static_cast<double>(a.VHeadDim()),
                 .latent = static_cast<double>(a.kv_lora_rank),
                 .rope = static_cast<double>(g.multi_latent ? a.qk_rope_head_dim : 0),
                 .cache = model().kv_dtype,
                 .decode = g.phase == Phase::kDecode};
  if (const auto& training = problem_.workload().training) {
    w.attention.fused = training->fused_attention;
    w.attention.dropout = training->dropout && !training->fused_attention;
  }
  if (g.phase == Phase::kDecode) {
    double positions = static_cast<double>(g.context + 1);
    w.attention.requests = q.rows;
    w.attention.length = positions / parts;
    if (window > 0) {
      positions = std::min(positions, window);
      w.attention.window = window / parts;
    }
    positions /= parts;
    if (g.multi_latent) w.attention.length = positions;
    const auto head_flop =
        static_cast<double>(g.multi_latent ? 2 * a.kv_lora_rank + a.qk_rope_head_dim : 2 * a.head_dim);
    w.flop = 2 * q.rows * heads * positions * head_flop;
    const double selection = task.input3 == kNoValue ? 0 : ValueOf(task.input3).Bytes();
    w.read_bytes = q.Bytes() + selection + q.rows * positions * cached * kv_element;
    w.write_bytes = out.Bytes() + q.rows * cached * kv_element / parts;
    return;
  }
  const auto n = static_cast<double>(g.padded_input);
  const double all_pairs = n * (n + 1) / 2;
  const bool bounded = window > 0 && window < n;
  const double seen_pairs = bounded ? window * n - window * (window - 1) / 2 : all_pairs;
  const double requests = q.rows * g.cp / n;
  const auto head_flop = static_cast<double>(a.QkHeadDim() + a.VHeadDim());
  w.flop = 2 * requests * heads * seen_pairs / parts * head_flop;
  if (bounded && a.HasIndexer()) {
    // Selected positions differ between queries, so that kernels gather latents and work absorbed, or mask the products
    // of all pairs: the cheaper. (Absorbing costs the projections as many FLOP as projecting up, which they are priced
    // with.) Latents gathered again by later queries are taken to come from the cache.
    const auto absorbed_flop = static_cast<double>(2 * a.kv_lora_rank + a.qk_rope_head_dim);
    w.flop = 2 * requests * heads * std::min(seen_pairs * absorbed_flop, all_pairs * head_flop);
  }
  w.attention.requests = requests;
  w.attention.length = n;
  if (!a.HasIndexer()) w.attention.window = bounded ? window : 0;
  const double whole_pairs = a.HasIndexer() ? all_pairs : seen_pairs;
  w.attention.share = w.flop / (2 * requests * heads * whole_pairs * head_flop);
  const double kv_bytes = task.input2 == kNoValue ? 0 : ValueOf(task.input2).Bytes();
  w.read_bytes = q.Bytes() + kv_bytes;
  w.write_bytes = out.Bytes() + requests * n / parts * cached * kv_element;
  if (problem_.workload().IsTraining()) w.write_bytes = out.Bytes();  // No cache.
}

/// Every query against all earlier keys, the scores written and read once by the choice of the best.
void BlockBuilder::FillIndexWork(Task& task) const {
  const AttentionSpec& a = model().attention;
  const Geometry& g = geometry_;
  const Value& q = ValueOf(task.input);
  Work& w = task.work;
  const auto key_bytes = static_cast<double>(IndexCacheBytesPerToken(model()));
  const bool decode = g.phase == Phase::kDecode;
  const auto n = static_cast<double>(decode ? g.context + 1 : g.padded_input);
  const double pairs = decode ? q.rows * n : q.rows / n * n * (n + 1) / 2;
  constexpr double kScoreBytes = 2 * 4;
  w.dtype = ProductDType(model(), WeightKind::kIndexQuery, FfnKind::kNotFfn);
  w.kernels = 2;
  w.flop = 2 * pairs * static_cast<double>(a.index_heads * a.index_head_dim);
  w.read_bytes = q.Bytes() + ValueOf(task.input2).Bytes() + (decode ? pairs * key_bytes : 0) + pairs * kScoreBytes;
  w.write_bytes = ValueOf(task.output).Bytes() + q.rows * key_bytes;
}

/// Decode: one step of the recurrence a request (decay, what S has of k, the update, what q reads: 7 FLOP an element of
/// S), its state read and written once. Prefill: by chunks of C = 64 positions, as flash-linear-attention's
/// chunk_gated_delta_rule and so vLLM and SGLang compute it (the form: Yang et al., arXiv 2412.06464, section 3.3, with
/// the triangular inverse of arXiv 2406.06484, section 3). With heads of dk and dv, a token and value head takes
///
///   2 C dk for k k^T, C^2/3 to invert it, 2 C (dk + dv) for w and u, 2 dk dv for what S has of w, 2 dk dv to update S,
///   2 dk dv for what q reads of S, 2 C (dk + dv) for q k^T and its product with the new values
///
/// and each of its kernels leaves its result in memory for the next ones: convolved q, k, v; normed q and k; the matrix
/// of C columns (fp32, its inverse in 16 bits); w, u, the new values and every chunk's S; o.
void BlockBuilder::FillLinearAttentionWork(Task& task) const {
  const LinearAttentionSpec& linear = model().linear_attention;
  const Geometry& g = geometry_;
  const Value& in = ValueOf(task.input);
  const Value& out = ValueOf(task.output);
  Work& w = task.work;
  const auto heads = static_cast<double>(g.LocalLinearHeads(in.features));
  const auto key_heads = static_cast<double>(g.LocalLinearKeyHeads(in.features));
  const auto dk = static_cast<double>(linear.key_head_dim), dv = static_cast<double>(linear.value_head_dim);
  const auto conv_width = static_cast<double>(linear.conv_width);
  const double keys = key_heads * dk, values = heads * dv, channels = 2 * keys + values;
  const double element = BytesPerElement(model().residual_dtype);
  const double state_bytes = values * dk * BytesPerElement(linear.state_dtype) + channels * (conv_width - 1) * element;
  const double conv_flop = 2 * conv_width * channels;
  w.dtype = model().residual_dtype;
  w.weight_bytes = (channels * conv_width + 2 * heads + dv) * BytesPerElement(model().embedding_dtype);
  w.read_bytes = in.Bytes() + ValueOf(task.input2).Bytes();
  w.write_bytes = out.Bytes();
  if (g.phase == Phase::kDecode) {
    w.kernels = 3;  // convolution, recurrence with its gates, norm
    w.flop = in.rows * (conv_flop + 7 * values * dk);
    const double kept_bytes = in.rows * (channels + values) * element;
    w.read_bytes += in.rows * state_bytes + kept_bytes;
    w.write_bytes += in.rows * state_bytes + kept_bytes;
    return;
  }
  constexpr double kChunk = 64;
  // convolution, gates, norms of q and of k, sums of the decays, k k^T, its inverse, w and u, S, o, norm
  w.kernels = 11;
  w.flop = in.rows * (conv_flop + heads * (6 * dk * dv + kChunk * (6 * dk + 4 * dv) + kChunk * kChunk / 3));
  const double matrix_bytes = heads * kChunk * (4 + element);
  const double made = channels + 2 * keys + heads * dk + 3 * values + values * dk / kChunk;
  // Convolved q, k and v are read once, normed k by four kernels and q by one.
  const double read = channels + 5 * keys + heads * dk + 3 * values + values * dk / kChunk;
  w.read_bytes += in.rows * (read * element + matrix_bytes);
  w.write_bytes += in.rows * (made * element + matrix_bytes);
  w.write_bytes += in.rows / static_cast<double>(g.padded_input) * state_bytes;
}

void BlockBuilder::FillWork(Task& task) const {
  Work& w = task.work;
  auto bytes = [&](ValueId id) { return id == kNoValue ? 0.0 : ValueOf(id).Bytes(); };
  w.dtype = model().residual_dtype;
  switch (task.kind) {
    case TaskKind::kCollective:
      return;
    case TaskKind::kSlice:
      w.kernels = 0;  // a view
      return;
    case TaskKind::kMatmul:
    case TaskKind::kExpertMatmul:
    case TaskKind::kUpProject:
    case TaskKind::kAbsorbKey:
    case TaskKind::kValueProject:
      FillMatmulWork(task);
      return;
    case TaskKind::kAttention:
      FillAttentionWork(task);
      return;
    case TaskKind::kIndexSelect:
      FillIndexWork(task);
      return;
    case TaskKind::kLinearAttention:
      FillLinearAttentionWork(task);
      return;
    case TaskKind::kEmbed:
      w.read_bytes = bytes(task.output);
      w.write_bytes = bytes(task.output);
      return;
    case TaskKind::kAdd:
      w.kernels = 0;  // fused into the norm that follows; its bytes are moved all the same
      break;
    case TaskKind::kRotary:
      // Attention's own kernels rotate; a norm of heads or latents is a kernel before them.
      if (!model().attention.qk_norm && !model().attention.whole_qk_norm && !geometry_.multi_latent) {
        w.kernels = 0;
        return;
      }
      if (ValueOf(task.input).kind == TensorKind::kGatedQkv) {
        // The output gate stays where it is.
        w.read_bytes = w.write_bytes = bytes(task.output);
        return;
      }
      if (ValueOf(task.input).kind == TensorKind::kQuery) {
        w.read_bytes = bytes(task.input2);
        w.write_bytes = bytes(task.output2);
        return;
      }
      break;
    case TaskKind::kRoute:
      w.kernels = 0;  // the first of the experts' kernels, which move the tokens
      w.read_bytes = bytes(task.input2);
      return;
    case TaskKind::kActivation:
      if (task.ffn != FfnKind::kExpert) break;
      w.kernels = 0;  // one of the experts' kernels
      SetTypes(w, WeightKind::kExpertDown, task.ffn);
      FillRouting(w, 0);
      break;
    default:
      break;
  }
  w.read_bytes = bytes(task.input) + bytes(task.input2) + bytes(task.input3);
  w.write_bytes = bytes(task.output) + bytes(task.output2);
  if (task.kind == TaskKind::kLoss) w.write_bytes += 2 * bytes(task.input);  // The softmax, kept in 32 bits.
  if (task.kind == TaskKind::kAdd && problem_.workload().IsTraining() && problem_.workload().training->dropout) {
    w.write_bytes += ValueOf(task.output).rows * ValueOf(task.output).width;  // The mask.
  }
  if (task.kind == TaskKind::kSelectLast) w.read_bytes = w.write_bytes;
}

}  // namespace shardscout::strategies
