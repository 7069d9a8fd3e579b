#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/dtype.h"
#include "shardscout/model_spec.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"
#include "shardscout/workload_spec.h"

/// A program is what a strategy makes every rank of an instance do: for each phase, the blocks of a layer as sequences
/// of tasks on values. It is the only description of what a strategy does: the analytical model prices it, the
/// simulator schedules it, the live backend runs it and a test interprets it on tiny tensors. All ranks of a stage run
/// the same tasks on their own parts (SPMD).
///
/// Ranks. Inside a stage, rank s = t + tp * (c + cp * d) on the attention mesh, and s = it + etp * (ie + ep * id) on
/// the expert mesh. Every group is the set { s : same offset below `stride`, same quotient above } : members base + i *
/// stride, i < size. Worked example: tp 2, cp 2, dp 2 (stage of 8): tp groups {0,1}{2,3}{4,5}{6,7} (stride 1), cp
/// groups {0,2}{1,3}{4,6}{5,7} (stride 2, size 2), the cp*dp groups {0,2,4,6}{1,3,5,7} (stride 2, size 4); etp 2, ep 2:
/// etp groups as tp, ep groups {0,2}{1,3}{4,6}{5,7}, blocks {0..3}{4..7}.
///
/// Requests. Requests of a replica are numbered 0..batch*dp-1; dp rank d holds [d*batch, (d+1)*batch) and works on them
/// in num_microbatches consecutive slices of `requests` each. A micro-batch's requests below are numbered j =
/// 0..requests-1.
///
/// Tokens. A token is (request, position). In decode there is one token a request, at position = context (the new
/// token).
/// - Over cp, prefill: positions are padded to `padded_input` (a multiple of 2*cp*tp unless tp*cp is 1) and cut into
///   2*cp equal chunks; cp rank c holds chunks c and 2*cp-1-c (zigzag), all with cp 1.
/// - Over cp, decode: request j belongs to slot floor(j * tp*cp / requests) = t * cp + c (tp outer, cp inner) where
///   requests divides by tp*cp; where it only divides by cp, c = floor(j * cp / requests).
/// - Token sharding (T) over tp, decode: rank t holds the requests of slot t * cp + c.
/// - Token sharding over tp, prefill by request: rank t holds requests [t * requests/tp, (t+1) * requests/tp). So where
///   attention's sharding is `token` (PhaseProgram::token_shard_by_request).
/// - Token sharding over tp, prefill by position, otherwise: the rank's local positions of each request in rising
///   order, cut into tp equal runs; rank t holds run t.
namespace shardscout {

/// Which of a stage's tokens a rank holds. "The tokens of a set of ranks" is the union of what they hold under kTensor
/// (where requests do not divide by tp, so that kTensor does not exist: under kCell; such sets are then unions of whole
/// cells).
enum class TokenSplit : std::uint8_t {
  kCell,           ///< R: the tokens of its (dp, cp) cell, the same on every tp rank.
  kTensor,         ///< T: its own share over tp of the cell's tokens.
  kStage,          ///< All tokens of the stage.
  kStageTensor,    ///< Tokens of all ranks with its tp coordinate (its share over tp, gathered over cp and dp).
  kContext,        ///< The tokens of its dp rank (the cell's, gathered over cp).
  kContextTensor,  ///< Tokens of the ranks with its tp and dp coordinates (its share over tp, gathered over cp).
  kBlock,          ///< Tokens of the ranks of its expert block.
  kExpertTensor,   ///< Tokens of the ranks of its etp group.
  kRouted,         ///< Of the tokens of its ep group's ranks, those routed to one or more experts that it holds.
  kRoutedBlock,    ///< Of the tokens of its block's ranks, those routed to one or more experts that it holds.
};

/// How the features of a value are split.
enum class FeatureSplit : std::uint8_t {
  kNone,
  kTensor,        ///< Over tp: slice t of tp equal ones; KV heads: head floor(t * kv_heads / tp) where tp > kv_heads.
  kStage,         ///< Over the stage: slice t * (cp*dp) + (c + cp*d) of tp*cp*dp equal ones (tp outer, cp*dp inner).
  kExpertTensor,  ///< Over etp: slice it of etp equal ones.
};

/// Over which groups a value is a summand only: a bit set.
enum PartialOver : std::uint8_t {
  kPartialNone = 0,
  kPartialTensor = 1,        ///< tp
  kPartialContextData = 2,   ///< cp*dp
  kPartialExpert = 4,        ///< ep
  kPartialExpertTensor = 8,  ///< etp
  kPartialContext = 16,      ///< cp (before the log-sum-exp merge over cp; rescaled summands)
};

/// What the features of a value are, in column order.
enum class TensorKind : std::uint8_t {
  kIds,          ///< Token ids, one a token.
  kHidden,       ///< hidden_size: residual stream, normed input, a block's output.
  kStatistic,    ///< One fp32 a token: the mean square of a norm's input; each rank's summand is its own features'
                 ///< squares / hidden_size.
  kQkStatistic,  ///< Two fp32 a token, of all query heads and of all key heads: the mean squares; each rank's summand
                 ///< is its own heads' squares / columns of all heads / ranks that hold the same KV head.
  kQkv,          ///< Grouped: [q: heads*d | k: kv*d | v: kv*d]. MLA prefill: [q: heads*(nope+rope) | k: heads*nope | v:
         ///< heads*v]. MLA decode: [q: heads*(kv_lora_rank + rope)], the key up-projection absorbed. Split over tp by
         ///< heads.
  kGatedQkv,     ///< Grouped with an output gate: [q | k | v] of kQkv and the gate, heads*d. Split over tp by heads.
  kOutputGate,   ///< heads*d, before its sigmoid. Split over tp by heads.
  kQueryLatent,  ///< MLA: q_lora_rank, never split.
  kQuery,        ///< MLA: heads*(nope+rope), a head's nope part first. Split over tp by heads.
  kLatent,       ///< MLA: the new [latent: kv_lora_rank | rope key: rope]. Never split by features (one KV head).
  kIndexQuery,   ///< Indexer: index_heads*index_head_dim. Never split by features.
  kIndexKey,   ///< Indexer: the new [key: index_head_dim | weights of the heads: index_heads]. Never split by features.
  kSelection,  ///< Indexer: index_topk positions that a query sees (-1 where there are fewer), 4 bytes each.
  kKeyValue,   ///< Prefill under cp: [k | v] of kQkv, to be gathered over cp. Split as in kQkv.
  kAttended,   ///< heads*v (`absorbed`: heads*kv_lora_rank). Split over tp by heads.
  kLinearQkv,  ///< Linear attention: [q: K*dk | k: K*dk | v: V*dv | z: V*dv], K key and V value heads. Split over tp by
               ///< heads, key heads as KV heads are.
  kLinearGates,     ///< Linear attention: [b: V | a: V]. Split over tp by value heads.
  kLinearAttended,  ///< V*dv: the normed and gated outputs of the value heads. Split over tp by heads.
  kLse,   ///< heads fp32: the log-sum-exp of each head's scores over the positions that the rank attended to; split as
          ///< kAttended. Gathered for a merge, `copies` of them are stacked.
  kGate,  ///< Dense or shared FFN before the activation: [gate | up] (gated) or [up]. A split takes the same slice of
          ///< both halves.
  kFfn,   ///< ffn_size, shared_ffn_size or expert_ffn_size (see FfnKind).
  kScores,  ///< num_experts: the router's scores.
  kRouted,  ///< Router's output: the normed hidden state and, a token, the ids and weights of its experts.
  kLogits,  ///< vocab_size.
};

/// Which FFN a task or a value of kind kGate and kFfn belongs to.
enum class FfnKind : std::uint8_t { kNotFfn, kDense, kShared, kExpert };

/// An activation as each rank holds it. Rows are tokens; with `last_only`, one row a request: its last position.
struct Value {
  TensorKind kind = TensorKind::kHidden;
  FfnKind ffn = FfnKind::kNotFfn;
  TokenSplit tokens = TokenSplit::kCell;
  FeatureSplit features = FeatureSplit::kNone;
  std::uint8_t partial = kPartialNone;
  bool last_only = false;
  bool interleaved =
      false;  ///< kKeyValue and kLatent under attention `sequence`: only positions with position mod tp == t.
  bool at_owner =
      false;  ///< With last_only, T by position: rows are where the last position is (before the gather over tp).
  bool absorbed = false;  ///< kAttended: heads*kv_lora_rank instead of heads*v (MLA decode, before kValueProject).
  DType dtype = DType::kBf16;
  std::int64_t copies = 1;  ///< kLse: gathered from so many ranks, each its own summand.
  double rows = 0;   ///< Rows that the fullest rank holds; where routed, the expectation of the mean rank. kGate and
                     ///< kFfn of experts have one row a (token, expert of the rank) pair.
  double width = 0;  ///< Columns that a rank holds.
  double Bytes() const { return static_cast<double>(copies) * rows * width * BytesPerElement(dtype); }
  bool operator==(const Value&) const = default;
};

using ValueId = std::int32_t;
inline constexpr ValueId kNoValue = -1;

enum class TaskKind : std::uint8_t {
  kEmbed,  ///< ids -> hidden. Vocabulary split: rows of other ranks give zero (partial). Feature split: own columns.
  kNormStatistic,  ///< hidden (feature split) -> statistic (partial over the same group). With one norm over all heads
                   ///< (AttentionSpec::whole_qk_norm), also kQkv (split by heads) -> kQkStatistic (partial over tp).
  kNorm,           ///< hidden [, reduced statistic] -> hidden. Without a statistic the input is whole.
  kMatmul,         ///< input x Task::weight -> output.
  kRotary,  ///< kQkv (MLA: kQuery, kLatent; then kIndexQuery, kIndexKey) -> the same kinds, or kGatedQkv -> kQkv and,
            ///< as it is, kOutputGate: bias, norm of each head, of all heads (by input3, the reduced kQkStatistic,
            ///< where heads are split), of the latent or of the index key, rotary position embedding (of the first
            ///< qk_rope_head_dim columns of an index head).
  kUpProject,       ///< MLA prefill: kQuery, kLatent -> kQkv: k and v of each head by kKeyUp and kValueUp.
  kAbsorbKey,       ///< MLA decode: kQuery -> kQkv: a head's nope part times its kKeyUp transposed, its rope part kept.
  kValueProject,    ///< MLA decode: kAttended (heads*kv_lora_rank) -> kAttended (heads*v) by each head's kValueUp.
  kSelectKeyValue,  ///< Prefill, cp > 1: kQkv [, kLatent] -> kKeyValue [, kLatent], only the `interleaved` positions
                    ///< where the outputs say so.
  kIndexSelect,     ///< kIndexQuery, kIndexKey -> kSelection: appends the new index keys of the requests that the rank
                 ///< owns to the index cache and chooses each query's best positions of all (Task::cache; cp is 1 and
                 ///< positions are whole).
  kAttention,   ///< input: kQkv. Decode: input2 MLA's kLatent. Prefill: input2 kKeyValue where cp > 1, else none (K and
                ///< V are the input's own); input3 MLA's kLatent (for the cache). With an indexer, kSelection is input3
                ///< in decode and input2 in prefill. -> attended [, lse where partial results are merged]. Causal.
                ///< Appends the new K and V that the rank owns to the KV cache, and in decode attends to what it owns
                ///< (Task::cache).
  kLseRescale,  ///< attended (normalised over the rank's positions), its lse gathered over Task::group (`group.size`
                ///< stacked copies, member order) -> summands of the merged output (partial over the group), and where
                ///< output2 is set the merged lse, cut to output2's layout.
  kGateOutput,  ///< kAttended, kOutputGate -> kAttended times the gate's sigmoid.
  kLinearAttention,  ///< kLinearQkv, kLinearGates -> kLinearAttended: convolution, recurrence, norm and gate
                     ///< (LinearAttentionSpec). Keeps the state of the requests and value heads that the rank owns and
                     ///< in decode goes on from it (Task::cache; cp is 1 and positions are whole).
  kActivation,       ///< gate -> ffn: silu(gate) * up, or gelu(up).
  kRoute,            ///< normed hidden, kScores -> kRouted: the top experts_per_token and their normalised weights.
  kExpertMatmul,  ///< grouped product: each row by each of its experts that the rank holds. Up: kRouted -> kGate. Down:
                  ///< kFfn -> kHidden, each expert's result times its weight, summed over the rank's experts (partial
                  ///< over ep).
  kAdd,           ///< input + input2 -> output.
  kSlice,         ///< The part of the input that the output's layout keeps; no communication.
  kSelectLast,  ///< prefill, before lm_head: keeps each request's last position that the rank holds (rows may be empty
                ///< on a rank).
  kLoss,  ///< Training: kLogits -> kStatistic: the cross entropy of each token; each rank's summand is of its columns.
  kCollective,
};

/// Of a task in Block::backward, what it is the derivative of (the vector-Jacobian product of Task::gradient_of).
enum class Gradient : std::uint8_t {
  kNone,   ///< A forward task, computed again; or a collective, sum or slice of gradients.
  kInput,  ///< By its inputs: input and input2 are the gradients of its outputs, output, output2 and output3 of inputs.
  kWeight,  ///< By its weight: input is the gradient of its output; adds to the weight's gradient.
};

enum class Collective : std::uint8_t {
  kNone,
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kSendRecv,  ///< Between equal ranks of neighbouring stages, group.stride = stage size.
};

/// The ranks of a collective: members base + i * stride, i < size (see the top of this file).
struct Group {
  std::int64_t size = 1;
  std::int64_t stride = 1;
  bool operator==(const Group&) const = default;
};

/// The trained matrices. Shapes are [in, out] as a row vector is multiplied from the left.
enum class WeightKind : std::uint8_t {
  kEmbedding,    ///< [vocab, hidden]
  kQkv,          ///< grouped: [hidden, (heads + 2 kv) * d], with an output gate [hidden, (2 heads + 2 kv) * d]; linear
                 ///< attention: [hidden, 2 K * dk + 2 V * dv]
  kQuery,        ///< MLA without q_lora_rank: [hidden, heads * (nope+rope)]
  kQueryDown,    ///< MLA: [hidden, q_lora_rank]
  kQueryUp,      ///< MLA: [q_lora_rank, heads * (nope+rope)]
  kLatentDown,   ///< MLA: [hidden, kv_lora_rank + rope]
  kKeyUp,        ///< MLA: a head: [kv_lora_rank, nope]; absorbed into the query in decode.
  kValueUp,      ///< MLA: a head: [kv_lora_rank, v]; belongs to qkv in prefill, to attn_out in decode.
  kIndexQuery,   ///< Indexer: [q_lora_rank, index_heads * index_head_dim]
  kIndexKey,     ///< Indexer: [hidden, index_head_dim + index_heads], key and weights of the heads.
  kLinearGates,  ///< linear attention: [hidden, 2 V]; left unquantised (as Qwen's FP8 checkpoints leave in_proj_ba)
  kAttnOut,      ///< [heads * v, hidden]; linear attention: [V * dv, hidden]
  kRouter,       ///< [hidden, experts]
  kFfnUp,        ///< [hidden, 2 ffn] gated, else [hidden, ffn]
  kFfnDown,      ///< [ffn, hidden]
  kExpertUp,     ///< an expert: [hidden, 2 expert_ffn]
  kExpertDown,   ///< an expert: [expert_ffn, hidden]
  kLmHead,       ///< [hidden, vocab]
  kNorms,  ///< Scales, biases, gates, learned positions and linear attention's convolution and decays, whole on every
           ///< rank (experts' biases as the experts); no task names them.
};

/// How a weight is split. kColumn: output features; kRow: input features (the product is then partial); the number of
/// parts and which part a rank holds follow the group of the value that is split. Of the experts' weights, a rank of
/// expert coordinate ie holds experts [ie*E/ep, (ie+1)*E/ep), each in addition split over etp so.
enum class WeightSplit : std::uint8_t { kWhole, kRow, kColumn };

/// A weight as a rank stores it, for one layer.
struct Weight {
  WeightKind kind = WeightKind::kNorms;
  FfnKind ffn = FfnKind::kNotFfn;
  Operator op = Operator::kResidual;
  double elements = 0;  ///< A rank's, over all its experts and parts.
  double bytes = 0;     ///< With block scales.
  /// Training: whole on every tp rank, each of which saw its own tokens, so that gradients are summed over tp too.
  bool gradient_over_tp = false;
  bool operator==(const Weight&) const = default;
};

/// Where a rank keeps K and V (or the latent, or linear attention's state), and so which positions it attends to.
struct CachePlan {
  /// Requests: all of its dp rank, or its tp share of them (attention `token`).
  bool requests_over_tp = false;
  /// Heads: KV heads (linear attention: value heads) as in FeatureSplit::kTensor, or all.
  bool heads_over_tp = false;
  /// Positions: position mod (cp * p) == c * p + (p > 1 ? t : 0) with p = positions_over_tp ? tp : 1. Equally: position
  /// mod p == t, and the quotient's remainder by cp is c.
  bool positions_over_tp = false;
  bool operator==(const CachePlan&) const = default;
};

/// The shape of an attention core on a rank (kAttention).
struct AttentionWork {
  double requests = 0;
  double queries = 0;  ///< New tokens.
  double heads = 0, kv_heads = 0;
  double qk_dim = 0, v_dim = 0;  ///< Columns of a head, as projected (MLA in decode is absorbed all the same).
  double latent = 0, rope = 0;   ///< MLA's; else 0.
  double length = 0;             ///< Positions: prefill all; decode those in the rank's cache.
  double window = 0;             ///< Positions that a query sees, of those; 0: all.
  double share = 1;  ///< Prefill: of the pairs of query and key that the rank computes (context parallelism,
                     ///< `sequence`, an indexer).
  DType cache = DType::kBf16;
  bool decode = false;
  bool fused = true;      ///< Else the scores of all pairs go through memory, masked ones too.
  bool dropout = false;   ///< Not fused: of the weights.
  bool backward = false;  ///< The derivative by q, k and v.
  bool operator==(const AttentionWork&) const = default;
};

/// How tokens are routed to a rank's experts (kExpertMatmul, and the kActivation between two).
struct ExpertWork {
  double tokens = 0;  ///< Of all ranks that share the experts.
  double held = 0;    ///< Of those, that lie on the rank when its experts begin.
  double experts = 0, experts_per_token = 0;
  double ranks = 1;     ///< That the experts are dealt out to.
  double pairs = 0;     ///< (token, expert) pairs of the fullest rank.
  double distinct = 0;  ///< Its experts that get any, in expectation.
  bool operator==(const ExpertWork&) const = default;
};

/// The local work of a compute task on the fullest rank: what a price is made of.
struct Work {
  double flop = 0;
  double read_bytes = 0;    ///< Activations and cache read.
  double weight_bytes = 0;  ///< Weights read.
  double write_bytes = 0;
  /// Matrix products: `count` products of [m, k] x [k, n] (count > 1: heads of an absorbed projection, or the distinct
  /// experts hit, each with m rows in expectation).
  double m = 0, n = 0, k = 0, count = 1;
  DType dtype = DType::kBf16;         ///< Of the product's inputs.
  DType weight_dtype = DType::kBf16;  ///< As stored.
  bool block_scaled = false;          ///< Weights with a scale for each square block.
  bool quantises = false;             ///< Its input is of a wider type than the product's.
  int kernels = 1;                    ///< Launches; 0: fused into another task's kernel.
  AttentionWork attention{};
  ExpertWork routing{};
  double Bytes() const { return read_bytes + weight_bytes + write_bytes; }
  bool operator==(const Work&) const = default;
};

struct Task {
  TaskKind kind = TaskKind::kAdd;
  Operator op = Operator::kResidual;  ///< Whose time this is, in a breakdown.
  FfnKind ffn = FfnKind::kNotFfn;

  ValueId input = kNoValue;
  ValueId input2 = kNoValue;
  ValueId input3 = kNoValue;
  ValueId output = kNoValue;
  ValueId output2 = kNoValue;
  ValueId output3 = kNoValue;  ///< Gradients only.

  Gradient gradient = Gradient::kNone;
  bool beside_product = false;  ///< A collective that runs beside the product before it (TrainingSpec::overlap_tensor).
  bool sums_copies = false;     ///< An all_reduce of those columns alone that its ranks hold copies of (KV heads).
  bool of_gradients = false;    ///< In a backward pass: not a forward task that is computed again.
  std::int32_t gradient_of = -1;  ///< The forward task, where `gradient` is not kNone.

  /// kEmbed, kMatmul, kExpertMatmul. (kUpProject, kAbsorbKey and kValueProject name theirs by their kind, and split
  /// them by heads as their values are split.)
  WeightKind weight = WeightKind::kNorms;
  WeightSplit weight_split = WeightSplit::kWhole;

  /// kCollective. A collective with a second input and output moves both in one call (payload is their sum).
  Collective collective = Collective::kNone;
  Group group{};
  double payload_bytes = 0;  ///< A rank's: all_reduce its buffer; all_gather its whole output; reduce_scatter its whole
                             ///< input; all_to_all its whole send buffer, own part included; send_recv what it sends.

  CachePlan cache{};  ///< kAttention, kIndexSelect, kLinearAttention
  Work work{};        ///< every kind but kCollective
};

/// A part of the model that is lowered on its own: it takes the residual stream in its layout and leaves it so
/// (kEmbedding takes ids, kHead leaves logits). Its tasks depend on nothing but the problem, the degrees, the batch and
/// its own decision variables.
/// kWindowAttention: where some layers have a sliding window and others see all positions (ModelSpec::HasMixedWindows),
/// the attention of the former; kAttention is then that of the latter. Else kAttention is that of every layer but the
/// linear ones (ModelSpec::linear_attention_layers), which have kLinearAttention.
enum class BlockKind : std::uint8_t {
  kEmbedding,
  kAttention,
  kWindowAttention,
  kLinearAttention,
  kDenseFfn,
  kMoe,
  kHead,
  kTransfer
};
inline constexpr int kNumBlockKinds = 8;

struct Block {
  BlockKind kind = BlockKind::kAttention;
  std::vector<Value> values{};
  std::vector<Task> tasks{};  ///< In program order; a task reads only values that the input or earlier tasks define.
  std::vector<Weight> weights{};  ///< Stored by a rank for one such block in this phase.
  ValueId input = kNoValue;
  ValueId output = kNoValue;
  double peak_activation_bytes = 0;  ///< Most bytes of live values at one time, the residual stream included.
  /// Training: what the backward pass does, in order: forward tasks that are computed again (Recomputation, and
  /// gathers whose result is not kept), then gradients. Their values are in `values` too; the gradient of the block's
  /// output is `output_gradient`, that of its input `input_gradient` (kNoValue for ids). A gradient has its value's
  /// layout: partial values have whole gradients, and whole ones may have partial gradients on the way.
  std::vector<Task> backward{};
  ValueId output_gradient = kNoValue;
  ValueId input_gradient = kNoValue;
  double kept_bytes = 0;         ///< Of one micro-batch, from its forward to its backward pass.
  double recomputed_bytes = 0;   ///< What is kept beside while the block is computed again.
  double max_payload_bytes = 0;  ///< The largest collective's.
};

/// One phase of a program, for one micro-batch.
struct PhaseProgram {
  Phase phase = Phase::kDecode;
  std::int64_t num_microbatches = 1;
  std::int64_t requests = 1;      ///< A micro-batch's, of one dp rank.
  std::int64_t context = 1;       ///< Decode: positions before the new token. Prefill: input_tokens.
  std::int64_t padded_input = 0;  ///< Prefill: positions computed.
  bool token_shard_by_request = true;
  /// kWindowAttention, kLinearAttention, kDenseFfn and kMoe are empty (no tasks) where the model has no such layer.
  /// kTransfer: the send to the next stage; in decode the second task returns the token ids to stage 0. Empty where pp
  /// is 1.
  std::vector<Block> blocks{};  ///< Indexed by BlockKind.
  const Block& BlockOf(BlockKind kind) const { return blocks[static_cast<std::size_t>(kind)]; }
};

/// Layers of one pipeline stage: [first_layer, first_layer + num_layers).
struct Stage {
  std::int64_t first_layer = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_dense = 0;
  std::int64_t num_moe = 0;
  bool operator==(const Stage&) const = default;
};

struct Program {
  Strategy strategy{};
  std::vector<PhaseProgram> phases{};  ///< Prefill, decode, or both in this order.
  std::vector<Stage> stages{};         ///< pp of them.
  bool shares_embedding =
      false;  ///< Tied embeddings of equal sharding on one stage: lm_head's weight is the embedding's.
};

/// Stages of `model` over `pp`: where pp does not divide the layers, the extra layers go to the stages just before the
/// last (7 layers over 3: 2, 3, 2; 61 over 4: 15, 15, 16, 15), as vLLM does.
std::vector<Stage> SplitLayers(const ModelSpec& model, std::int64_t pp);

/// By stage, the chunks of layers that it holds: one, or in training with virtual stages v of them, chunk c of stage i
/// being number c * pp + i of the model's. Layers are split over the pp * v chunks as SplitLayers does over
/// stages, which gives each stage as many as over pp; the last chunk has Strategy::head_layers of its part for the
/// head.
std::vector<std::vector<Stage>> ChunksOf(const ModelSpec& model, const Strategy& strategy);

/// Each stage's layers in all; first_layer is its first chunk's.
std::vector<Stage> StagesOf(const ModelSpec& model, const Strategy& strategy);

/// The layers of the largest chunk.
std::int64_t MostLayersOfAChunk(const ModelSpec& model, const Strategy& strategy);

/// Lowers a valid strategy. A strategy that ValidateStrategy refuses is a programmer's error.
Program Lower(const Problem& problem, const Strategy& strategy);

/// One block of one phase; Lower is made of these. Reads of `strategy` only the degrees, the batch, the micro-batches,
/// and the variables of the block: kEmbedding {embedding}, kAttention, kWindowAttention and kLinearAttention {qkv,
/// attention, attn_out}, kDenseFfn {dense_ffn_group, ffn_up, ffn_down}, kMoe {expert_exchange, router, ffn_up,
/// ffn_down, expert_up, expert_down}, kHead {lm_head}, each with residual_layout, and in prefill whether attention is
/// `token` and (serve) lm_head is `token`.
Block LowerBlock(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind);

/// Whether tied embeddings are stored once: one stage, and embedding and lm_head are sharded alike.
bool SharesEmbedding(const ModelSpec& model, const Strategy& strategy);

/// Requests that one prefill pass of a dp rank takes. Prefill workloads: batch_size / num_microbatches. `serve`: 1, or
/// tp where requests are split over tp (attention or lm_head `token`).
std::int64_t PrefillRequests(const Problem& problem, const Strategy& strategy);

/// Tokens of one request in a prefill pass: input_tokens, padded to a multiple of 2 * tp * cp where there is more than
/// one of those ranks.
std::int64_t PaddedInputTokens(const Problem& problem, const Strategy& strategy);

/// The window of an attention block, kAttention or kWindowAttention; 0: none.
std::int64_t WindowOf(const ModelSpec& model, BlockKind kind);

/// Layers of `stage` whose attention is kWindowAttention.
std::int64_t NumWindowLayers(const ModelSpec& model, const Stage& stage);

/// Layers of `stage` whose attention is kLinearAttention.
std::int64_t NumLinearLayers(const ModelSpec& model, const Stage& stage);

/// The attention block of a layer.
BlockKind AttentionBlockOf(const ModelSpec& model, std::int64_t layer);

/// KV-cache elements that a rank stores for one layer of an attention block: requests x positions x heads of its
/// CachePlan, at WorkloadSpec::CachePositions, positions at most the window's. Without the indexer's keys.
double CacheElementsPerLayer(const Problem& problem, const Strategy& strategy, BlockKind kind = BlockKind::kAttention);

/// Bytes of the indexer's keys that a rank stores for one layer (IndexCacheBytesPerToken x requests x positions).
double IndexCacheBytesPerLayer(const Problem& problem, const Strategy& strategy);

/// Bytes of linear attention's state that a rank stores for one layer: LinearStateBytes of its requests and heads.
double LinearStateBytesPerLayer(const Problem& problem, const Strategy& strategy);

/// A table of the tasks, for people and golden files.
std::string ToText(const Program& program);

std::string_view ToString(TaskKind kind);
std::string_view ToString(Collective collective);
std::string_view ToString(BlockKind kind);
std::string_view ToString(TokenSplit split);
std::string_view ToString(FeatureSplit split);
std::string_view ToString(TensorKind kind);
std::string_view ToString(WeightKind kind);

}  // namespace shardscout
