#include "env/analytical/operator_time.h"

#include <algorithm>

#include "env/analytical/decode_attention_time.h"
#include "env/analytical/gemm_time.h"
#include "env/analytical/mla_decode_time.h"
#include "env/analytical/moe_time.h"
#include "env/analytical/prefill_attention_time.h"
#include "shardscout/collective_time.h"

namespace shardscout {
namespace internal {
namespace {

bool IsProduct(TaskKind kind) {
  return kind == TaskKind::kMatmul || kind == TaskKind::kUpProject || kind == TaskKind::kAbsorbKey ||
         kind == TaskKind::kValueProject;
}

bool OfExperts(const Task& task) { return task.work.routing.tokens > 0; }

/// What products compute in: activations whose type has no units are widened.
DType ComputeType(const DeviceSpec& device, DType inputs) {
  const auto has_units = [&](DType dtype) { return device.peak_flop_per_s[static_cast<std::size_t>(dtype)] > 0; };
  const bool narrow = BitsPerElement(inputs) <= 8;
  if (!narrow || has_units(inputs) || (inputs == DType::kNvfp4 && has_units(DType::kMxfp4))) return inputs;
  return DType::kBf16;
}

/// Units for MX formats scale blocks themselves, as Blackwell's do; on others a kernel adds up a block's sums apart
/// from the tensor cores.
bool AddsBlocksApart(const DeviceSpec& device, const Work& work) {
  return work.block_scaled && device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] <= 0;
}

const GemmCurve& GemmCurveOf(const DeviceSpec& device, const Work& work) {
  const DeviceCurves& curves = device.curves;
  const DType compute = ComputeType(device, work.dtype);
  if (compute == DType::kFp8) return AddsBlocksApart(device, work) ? curves.gemm_fp8_block : curves.gemm_fp8;
  if (BitsPerElement(compute) == 4) return curves.gemm_nvfp4;
  if (compute == DType::kInt8) return curves.gemm_int8;
  const int weight_bits = BitsPerElement(work.weight_dtype);
  if (weight_bits == 8) return curves.gemm_int8_weights;
  return weight_bits == 4 ? curves.gemm_int4_weights : curves.gemm_bf16;
}

double GemmTimeOf(const DeviceSpec& device, const Work& work) {
  const DType compute = ComputeType(device, work.dtype);
  const bool fp8_blocks = compute == DType::kFp8 && work.block_scaled;
  GemmCurve curve = GemmCurveOf(device, work);
  if (fp8_blocks) {
    // Scales of groups need one kernel, whatever adds the blocks up; one scale needs the whole tensor's maximum first.
    curve.quantise_s = device.curves.gemm_fp8_block.quantise_s;
    curve.quantise_elements_per_s = device.curves.gemm_fp8_block.quantise_elements_per_s;
  }
  const GemmShape shape{.m = work.m,
                        .n = work.n,
                        .k = work.k,
                        .count = work.count,
                        .input_bytes = BytesPerElement(compute),
                        .bytes = work.Bytes(),
                        .quantises = work.quantises,
                        .block_scaled = fp8_blocks && AddsBlocksApart(device, work)};
  return GemmTime(curve, RatesOf(device, compute), shape);
}

const MoeCurve& MoeCurveOf(const DeviceSpec& device, const Work& work) {
  const DeviceCurves& curves = device.curves;
  const DType compute = ComputeType(device, work.dtype);
  if (BitsPerElement(compute) == 4) return curves.experts_nvfp4;
  if (BitsPerElement(compute) <= 8) {
    return compute == DType::kFp8 && AddsBlocksApart(device, work) ? curves.experts_fp8_block : curves.experts_fp8;
  }
  return BitsPerElement(work.weight_dtype) == 4 ? curves.experts_4bit_weights : curves.experts_bf16;
}

double ExpertTimeOf(const DeviceSpec& device, const Task& task) {
  const Work& work = task.work;
  const ExpertWork& routing = work.routing;
  const MoeCurve& curve = MoeCurveOf(device, work);
  const DType compute = ComputeType(device, work.dtype);
  const DeviceRates rates = RatesOf(device, compute);
  const double local = routing.experts / routing.ranks;
  if (task.kind == TaskKind::kActivation) {
    // Its values hold the mean rank's pairs.
    const double mean_pairs = routing.tokens * routing.experts_per_token / routing.ranks;
    return ExpertActivationTime(curve, rates, work.Bytes() * routing.pairs / mean_pairs);
  }
  MoeShape shape;
  shape.routing = {
      .tokens = routing.tokens, .topk = routing.experts_per_token, .experts = routing.experts, .ranks = routing.ranks};
  shape.held_tokens = routing.held;
  shape.weight_bytes = work.weight_bytes / (work.count * work.k * work.n);
  shape.activation_bytes = BytesPerElement(compute);
  if (&curve == &device.curves.experts_fp8_block) shape.kernel = MoeKernel::kBlockScaled;
  if (&curve == &device.curves.experts_4bit_weights) shape.kernel = MoeKernel::kTriton;
  const ExpertLoads loads = EvenLoads(local, routing.distinct, routing.pairs);
  return task.weight == WeightKind::kExpertUp ? ExpertUpTime(curve, rates, shape, loads, work.n, work.k)
                                              : ExpertDownTime(curve, rates, shape, loads, work.n, work.k);
}

bool HasFp8Cache(const Work& work) { return BitsPerElement(work.attention.cache) <= 8; }
/// Prefill on such a cache computes in fp8 where the device can, and else as if there were none.
bool ComputesInFp8(const DeviceSpec& device, const Work& work) { return HasFp8Cache(work) && HasFp8(device); }
DType AttentionType(const Work& work) { return HasFp8Cache(work) ? DType::kFp8 : work.dtype; }

const PrefillAttentionCurve& PrefillCurveOf(const DeviceSpec& device, const Work& work) {
  const DeviceCurves& curves = device.curves;
  const bool fp8 = ComputesInFp8(device, work);
  if (work.attention.latent > 0) return fp8 ? curves.mla_prefill_fp8_cache : curves.mla_prefill_bf16;
  return fp8 ? curves.prefill_fp8_cache : curves.prefill_bf16;
}

double PrefillTimeOf(const DeviceSpec& device, const Work& work) {
  constexpr double kOutputBytes = 2;
  const AttentionWork& a = work.attention;
  const bool fp8 = ComputesInFp8(device, work);
  // As many requests as the rank's queries make.
  const double requests = a.queries / a.length;
  PrefillAttentionShape shape;
  if (a.latent > 0) {
    const LatentDims dims{.nope = a.qk_dim - a.rope, .rope = a.rope, .value = a.v_dim, .latent = a.latent};
    shape = MlaPrefillShape(requests, a.length, a.heads, dims, fp8);
  } else {
    shape = GroupedPrefillShape(requests, a.length, a.heads, a.kv_heads, a.qk_dim, fp8, kOutputBytes);
  }
  shape.window = a.window;
  shape.key_share = a.share * a.requests / requests;
  return PrefillAttentionTime(PrefillCurveOf(device, work), RatesOf(device, AttentionType(work)), shape);
}

/// The backward kernel does five products for the forward's two, and reaches 63 % of an A100's peak where the forward
/// one reaches 73 % (Dao, FlashAttention-2, arXiv 2307.08691, section 4.1).
constexpr double kBackwardTime = 2.5 * 73 / 63;

double DecodeTimeOf(const DeviceSpec& device, const Work& work) {
  const DeviceCurves& curves = device.curves;
  const AttentionWork& a = work.attention;
  const bool fp8 = HasFp8Cache(work);
  const DeviceRates rates = RatesOf(device, AttentionType(work));
  if (a.latent > 0) {
    const MlaDecodeShape shape{.requests = a.queries,
                               .heads = a.heads,
                               .length = a.length,
                               .latent = a.latent,
                               .rope = a.rope,
                               .element_bytes = BytesPerElement(a.cache)};
    return MlaDecodeTime(fp8 ? curves.mla_decode_fp8_cache : curves.mla_decode_bf16, rates, shape);
  }
  const DecodeAttentionShape shape{.requests = a.queries,
                                   .heads = a.heads,
                                   .kv_heads = a.kv_heads,
                                   .head_dim = a.qk_dim,
                                   .window = a.window,
                                   .length = a.length,
                                   .fp8 = fp8};
  switch (ChooseDecodeKernel(shape, rates.units, HasFp8(device))) {
    case DecodeKernel::kHead:
      return HeadDecodeTime(fp8 ? curves.head_decode_fp8_cache : curves.head_decode_bf16, rates, shape);
    case DecodeKernel::kGroup:
      return GroupDecodeTime(curves.group_decode, rates, shape);
    case DecodeKernel::kGroupFp8:
      return GroupFp8DecodeTime(curves.group_decode_fp8_cache, rates, shape);
  }
  return 0;
}

/// Share of a device's bandwidth that a kernel over the scores reaches: PyTorch's softmax on an A100 (LLMCompass's
/// table; fit_training prints the fit).
constexpr double kScoresHbmFraction = 0.49;

/// Attention as matrix products of whole score matrices, masked entries included, with kernels between them that read
/// and write the scores in 16 bits: Megatron's scale, mask and softmax, which reads only what the causal mask leaves
/// and writes all, and PyTorch's dropout.
double UnfusedAttentionTime(const DeviceSpec& device, const Work& work) {
  const AttentionWork& a = work.attention;
  constexpr double kElement = 2;
  const double matrices = a.requests * a.heads;
  const double queries = a.queries / a.requests, keys = a.length;
  const double scores = matrices * queries * keys;
  const auto product_s = [&](double m, double n, double k) {
    Work product = work;
    product.m = m;
    product.n = n;
    product.k = k;
    product.count = matrices;
    product.block_scaled = product.quantises = false;
    product.weight_dtype = work.dtype;
    product.weight_bytes = 0;
    product.read_bytes = matrices * (m + n) * k * kElement;
    product.write_bytes = matrices * m * n * kElement;
    return GemmTimeOf(device, product);
  };
  const auto stream_s = [&](double bytes_a_score) {
    return device.curves.norm.launch_s + scores * bytes_a_score / (kScoresHbmFraction * device.hbm_bytes_per_s);
  };
  // A dropout reads and writes, and writes or reads its mask of a byte.
  const double dropout_s = a.dropout ? stream_s(2 * kElement + 1) : 0;
  if (!a.backward) {
    return product_s(queries, keys, a.qk_dim) + stream_s(1.5 * kElement) + dropout_s +
           product_s(queries, a.v_dim, keys);
  }
  return product_s(keys, a.v_dim, queries) + product_s(queries, keys, a.v_dim) + dropout_s + stream_s(2 * kElement) +
         product_s(queries, a.qk_dim, keys) + product_s(keys, a.qk_dim, queries);
}

const StreamCurve& StreamCurveOf(const DeviceSpec& device, TaskKind kind) {
  const DeviceCurves& curves = device.curves;
  switch (kind) {
    case TaskKind::kNorm:
    case TaskKind::kNormStatistic:
      return curves.norm;
    case TaskKind::kRotary:
      return curves.rotary;
    case TaskKind::kAdd:
      return curves.add;
    case TaskKind::kEmbed:
      return curves.embedding;
    default:
      return curves.activation;
  }
}

OperatorFloor AttentionFloor(const DeviceSpec& device, const Work& work) {
  const DeviceCurves& curves = device.curves;
  const AttentionWork& a = work.attention;
  const bool fp8 = HasFp8Cache(work);
  const double peak = device.PeakFlopPerS(AttentionType(work));
  const auto floor = [&](double peak_fraction, double hbm_fraction, double fixed_s) -> OperatorFloor {
    return {peak_fraction * peak, hbm_fraction * device.hbm_bytes_per_s, fixed_s};
  };
  if (!a.decode) {
    const PrefillAttentionCurve& curve = PrefillCurveOf(device, work);
    return floor(curve.peak_fraction, curve.hbm_fraction, curve.launch_s * curve.head_128_launch_fraction);
  }
  if (a.latent > 0) {
    const MlaDecodeCurve& curve = fp8 ? curves.mla_decode_fp8_cache : curves.mla_decode_bf16;
    return floor(curve.peak_fraction, curve.hbm_fraction, curve.launch_s);
  }
  // Which kernel it is depends on the shape.
  const HeadDecodeCurve& head = fp8 ? curves.head_decode_fp8_cache : curves.head_decode_bf16;
  const bool fp8_kernel = fp8 && HasFp8(device);
  const double group_fraction =
      fp8_kernel ? curves.group_decode_fp8_cache.hbm_fraction : curves.group_decode.hbm_fraction;
  const double group_launch_s = fp8_kernel ? curves.group_decode_fp8_cache.launch_s : curves.group_decode.launch_s;
  return floor(1, std::max(head.hbm_fraction, group_fraction), std::min(head.launch_s, group_launch_s));
}

}  // namespace

double OperatorFloor::Seconds(const Work& work) const {
  return std::max(FlopSeconds(work), work.Bytes() > 0 ? work.Bytes() / bytes_per_s : 0) + fixed_s;
}

OperatorFloor FloorOf(const DeviceSpec& device, const Task& task) {
  const Work& work = task.work;
  const double hbm = device.hbm_bytes_per_s;
  if (IsProduct(task.kind)) {
    const GemmCurve& curve = GemmCurveOf(device, work);
    return {curve.peak_fraction * device.PeakFlopPerS(ComputeType(device, work.dtype)), curve.hbm_fraction * hbm,
            curve.launch_s};
  }
  if (OfExperts(task)) {
    const MoeCurve& curve = MoeCurveOf(device, work);
    const double flop_per_s = curve.peak_fraction * device.PeakFlopPerS(ComputeType(device, work.dtype));
    if (task.kind == TaskKind::kActivation) return {flop_per_s, curve.activation_hbm_fraction * hbm, 0};
    const bool up = task.weight == WeightKind::kExpertUp;
    return {flop_per_s, curve.hbm_fraction * hbm, up ? curve.launch_s + curve.expert_s * work.routing.experts : 0};
  }
  if (task.kind == TaskKind::kAttention) return AttentionFloor(device, work);
  const StreamCurve& curve = StreamCurveOf(device, task.kind);
  return {device.curves.prefill_bf16.peak_fraction * device.PeakFlopPerS(work.dtype), curve.hbm_fraction * hbm,
          work.kernels * curve.launch_s};
}

}  // namespace internal

double OperatorTime(const DeviceSpec& device, const Task& task) {
  const Work& work = task.work;
  const double floor_s = internal::FloorOf(device, task).Seconds(work);
  if (internal::IsProduct(task.kind)) return std::max(internal::GemmTimeOf(device, work), floor_s);
  if (internal::OfExperts(task)) return std::max(internal::ExpertTimeOf(device, task), floor_s);
  if (task.kind != TaskKind::kAttention) return floor_s;
  if (!work.attention.fused) return std::max(internal::UnfusedAttentionTime(device, work), floor_s);
  if (work.attention.backward)
    return std::max(internal::kBackwardTime * internal::PrefillTimeOf(device, work), floor_s);
  return std::max(work.attention.decode ? internal::DecodeTimeOf(device, work) : internal::PrefillTimeOf(device, work),
                  floor_s);
}

}  // namespace shardscout
