#pragma once

// How fast a device's kernels are: a few physical parameters for each kind of kernel, fitted to measurements by
// `shardscout calibrate` (env/calibration/). A share is of the device's own peak or bandwidth, and a time is what
// measurements of that device gave, so that the curves of one device say something of another one too.

#include <cstdint>
#include <string>

namespace shardscout {

/// Matrix products of one kind of inputs, with the activations' quantisation where the kind has one. Formula:
/// env/analytical/gemm_time.h. A kind that does not split has split_s 0, one that does not quantise quantise_s and
/// quantise_elements_per_s 0, one without block scales missing_row_s 0.
struct GemmCurve {
  double peak_fraction = 0.85;         ///< Of the dense peak, in the loop over k of a tile.
  double hbm_fraction = 0.8;           ///< Of the memory bandwidth.
  double launch_s = 2.5e-6;            ///< Of every product.
  double k_step_s = 1.3e-9;            ///< One element of k, at least, however small the tile is: the loop's latency.
  double feed_bytes_per_s = 150e9;     ///< What a compute unit gets of both inputs.
  double tile_s = 0.2e-6;              ///< Begin and end of a tile.
  double tile_element_s = 3e-11;       ///< To write one element of a tile.
  double split_s = 3e-6;               ///< To add what a split of k left, whatever the size.
  double split_bytes_per_s = 4e12;     ///< To write and read the summands.
  double overlap_exponent = 3;         ///< p of (compute^p + memory^p)^(1/p): 1 adds, infinity takes the larger.
  double quantise_s = 0;               ///< The kernels that quantise the activations.
  double quantise_elements_per_s = 0;  ///< Activations that a compute unit quantises.
  double missing_row_s = 0;  ///< One element of k, for each row that the last tile of a block-scaled product lacks.
  bool operator==(const GemmCurve&) const = default;
};

/// Attention of whole sequences on themselves (prefill), causal, with what comes before it: rotary embedding and the
/// writing of the KV cache. Formula: env/analytical/prefill_attention_time.h. A value of 0 means that there is no such
/// part.
struct PrefillAttentionCurve {
  std::int64_t tile_rows = 128;           ///< Queries of a tile.
  std::int64_t tiles_per_unit = 1;        ///< That a compute unit works on at a time.
  std::int64_t key_tile_bytes = 32768;    ///< Of the keys that a step of the loop takes.
  double launch_s = 13.5e-6;              ///< Of all its kernels.
  double head_128_launch_fraction = 0.9;  ///< Of launch_s, where heads have 128 columns.
  double peak_fraction = 0.7;             ///< Of the dense peak, in the loop over keys.
  double softmax_s = 3e-11;               ///< One score, on a compute unit.
  double lone_fraction = 0.95;      ///< Of a step's time on a full device, on a unit that need not share its power.
  double hbm_fraction = 0.9;        ///< Of the memory bandwidth.
  double row_s_per_byte = 1.5e-11;  ///< A compute unit's, of queries and outputs.
  double cache_weight = 1.5;        ///< What a byte of keys and values costs beside one of queries.
  double cached_saving = 0;         ///< Of the memory's time, for bytes that fit the L2 cache.
  double tail_tiles = 0.9;          ///< Mean tiles that the last wave takes longer.
  double tile_s = 1e-6;             ///< Begin and end of a tile.
  double tile_head_s = 0.3e-6;      ///< The same, of 128 columns of a head.
  double second_half_s = 1e-6;      ///< Of a tile more than half of whose queries exist.
  double window_first_steps = 1;    ///< Steps that masking adds to the first step of a tile with a window.
  double window_step_fraction = 1;  ///< And to each other step, of its time.
  bool operator==(const PrefillAttentionCurve&) const = default;
};

/// Attention of one new token a request on its cache (decode) has three kernels, which the shape chooses; formulas and
/// the choice: env/analytical/decode_attention_time.h. Times are of a tile: one work item of the kernel's queue.
///
/// A tile for each query head: where every head has its own keys, where a group of heads is large, and where there are
/// few and short requests.
struct HeadDecodeCurve {
  std::int64_t shared_memory_bytes = 232448;  ///< Of a compute unit.
  double launch_s = 3.5e-6;
  double tile_s = 4.7e-6;
  double tile_head_s = 0.2e-6;    ///< Of 128 columns of a head, beside tile_s.
  double half_pass_s = 0.6e-6;    ///< Of a tile with more tokens than half of its threads take at once, on a busy unit.
  double full_pass_s = 1.4e-6;    ///< And with more than all of them take.
  double step_s = 1.3e-6;         ///< Of eight passes over tokens.
  double busy_step_s = 3.7e-6;    ///< The same on a busy unit.
  double hbm_fraction = 0.92;     ///< Of the memory bandwidth.
  double split_s = 5.2e-6;        ///< Where a head's tokens are split over several tiles.
  double overlap_fraction = 0.6;  ///< Of a tile's beginning that other tiles' loads hide.
  bool operator==(const HeadDecodeCurve&) const = default;
};

/// A tile for each KV head and all queries of its group, 256 tokens a step, one tile a unit.
struct GroupDecodeCurve {
  double launch_s = 5.2e-6;
  double tile_s = 3.4e-6;
  double tile_row_s = 0.04e-6;       ///< Of one query of the group and 128 columns.
  double wide_group_s = 1e-6;        ///< Of a group of more than 16.
  double empty_tile_fraction = 0.7;  ///< Of a tile's time, where a split has no tokens.
  double step_s = 1.4e-6;            ///< Of 256 tokens with heads of 128 columns.
  double hbm_fraction = 0.9;
  double split_s = 1.8e-6;        ///< Where a head's tokens are split over several tiles.
  double split_row_s = 0.1e-6;    ///< Of each split, eight rows and 128 columns.
  double overlap_fraction = 0.5;  ///< Of a tile's beginning that other tiles' loads hide.
  bool operator==(const GroupDecodeCurve&) const = default;
};

/// The same on an fp8 cache with Hopper's matrix units: 64 tokens a step, several tiles a unit.
struct GroupFp8DecodeCurve {
  double launch_s = 2.6e-6;
  double small_head_launch_s = 2.4e-6;  ///< Beside launch_s, of heads with fewer than 128 columns.
  double tile_s = 1.7e-6;
  double tile_row_s = 0.08e-6;       ///< Of one row, padded to eights.
  double tile_row_head_s = 0.03e-6;  ///< The same of 128 columns.
  double miss_row_s = 0.08e-6;       ///< Of a query and 128 columns, where the cache is larger than L2.
  double l2_fraction = 0.7;          ///< Of the L2 cache that the tokens find free.
  double step_s = 0.7e-6;
  double hbm_fraction = 0.95;
  double overlap_exponent = 1.7;  ///< p of (latency^p + memory^p)^(1/p).
  double split_s = 1.4e-6;
  double split_row_s = 0.08e-6;  ///< Of each split, eight queries and 128 columns.
  bool operator==(const GroupFp8DecodeCurve&) const = default;
};

/// Attention of one new token a request on a cache of latents (MLA, absorbed). Formula:
/// env/analytical/mla_decode_time.h.
struct MlaDecodeCurve {
  double launch_s = 8.5e-6;
  double piece_s = 2.6e-6;       ///< Of each request, or part of one, that a unit works on.
  double piece_rows_s = 1.4e-6;  ///< The same of 64 heads.
  double mask_s = 1.5e-6;        ///< Of a last block of 64 tokens none of which exists.
  double step_s = 1.2e-6;        ///< Of 64 tokens.
  double hbm_fraction = 0.9;
  double peak_fraction = 0.7;
  double split_s = 2e-6;       ///< Where requests are split over units.
  double split_traffic = 0.5;  ///< Times that the summands are moved.
  double row_traffic = 1;      ///< Times that queries and outputs are moved.
  bool operator==(const MlaDecodeCurve&) const = default;
};

/// The experts of a mixture, two grouped products with what lies around them. Formula: env/analytical/moe_time.h. A
/// value of 0 means that there is no such part.
struct MoeCurve {
  double launch_s = 18e-6;               ///< Of all its kernels.
  double large_launch_s = 3e-6;          ///< Beside launch_s, where the rank holds 256 tokens and more.
  double wide_routing_s = 20e-6;         ///< Of more than 16 experts a token.
  double expert_s = 0.005e-6;            ///< Of each expert of the model.
  double pair_s = 0.0002e-6;             ///< Of each token that the rank holds and each of its experts, on any rank.
  double scan_s = 0.02e-6;               ///< Of each of the rank's experts, a product.
  double peak_fraction = 0.8;            ///< Of the dense peak, in the loop of a tile.
  double feed_bytes_per_s = 150e9;       ///< What a compute unit gets of both inputs.
  double tile_s = 1e-6;                  ///< Begin and end of a tile.
  double hbm_fraction = 0.9;             ///< Of the memory bandwidth, in the products.
  double overlap_exponent = 1.6;         ///< p of (compute^p + memory^p)^(1/p).
  double permute_hbm_fraction = 0.5;     ///< Of the memory bandwidth, where tokens are sorted by expert.
  double activation_hbm_fraction = 0.6;  ///< Between the products.
  double sum_hbm_fraction = 0.5;         ///< Where a token's outputs are added.
  double quantise_elements_per_s = 0;    ///< Activations that a compute unit quantises in blocks.
  bool operator==(const MoeCurve&) const = default;
};

/// NCCL within one domain of switched links (NVLink), by algorithm and protocol. Shares are of a device's link
/// bandwidth, one direction. Formula: env/analytical/fabric_collective_time.h.
struct FabricCollectiveCurve {
  // Rings (all_reduce, all_gather, reduce_scatter).
  double ll_base_s = 4.8e-6;
  double ll_step_s = 0.8e-6;
  double ll_channel_bytes = 7000;  ///< Of a step, that one channel takes; then another one is used.
  double ll_channel_s = 0.5e-6;    ///< To fill a channel's.
  double ll_link_fraction = 0.25;
  double ll128_base_s = 8e-6;
  double ll128_step_s = 0.7e-6;
  double ll128_link_fraction = 0.4;
  double simple_base_s = 15e-6;
  double simple_step_s = 0.7e-6;
  double simple_link_fraction = 0.83;
  double fill_ratio = 0.2;      ///< Of the wire's time, that the first chunks take alone, while they grow.
  double fill_s = 20e-6;        ///< And when they are as large as the buffer.
  double own_link_ratio = 1.5;  ///< The link's bandwidths at which a rank copies its own part.
  // All-reduce that the switch adds (NVLink SHARP).
  double nvls_base_s = 46e-6;
  double nvls_link_fraction = 0.67;
  double nvls_fill_ratio = 0.36;
  double nvls_fill_s = 28e-6;
  // All-to-all, of direct sends.
  double direct_ll_base_s = 6e-6;
  double direct_ll_peer_s = 0.4e-6;
  double direct_ll_link_fraction = 0.014;  ///< Of one channel, to one peer.
  double direct_base_s = 12e-6;
  double direct_peer_s = 0.08e-6;
  double direct_link_fraction = 0.77;
  double direct_fill_ratio = 0.3;
  double direct_fill_s = 30e-6;
  double direct_own_link_ratio = 6;
  bool operator==(const FabricCollectiveCurve&) const = default;
};

/// An engine's own all-reduce within one domain. Formula: env/analytical/fabric_collective_time.h. 0: none.
struct EngineAllReduceCurve {
  double one_shot_base_s = 3e-6;
  double one_shot_peer_s = 0.08e-6;
  double one_shot_link_fraction = 0.6;
  double two_shot_base_s = 8e-6;  ///< 0: the engine has no such kernel.
  double two_shot_peer_s = 0.1e-6;
  double two_shot_link_fraction = 0.7;
  std::int64_t buffer_bytes = 8388608;        ///< Of the engine's buffers: larger messages are NCCL's.
  std::int64_t group_buffer_bytes = 8388608;  ///< The same, where more than two ranks share one.
  double host_s = 0;                          ///< Of a launch outside a replayed graph, at least.
  double copy_link_ratio = 0;                 ///< The link's bandwidths at which it copies into its buffers and out.
  bool operator==(const EngineAllReduceCurve&) const = default;
};

/// Tokens sent to the ranks of their experts (dispatch) or back (combine) by DeepEP's kernels for throughput, which
/// send a token to a node once. Shares are of a device's link and NIC, one direction. Formula:
/// env/analytical/deep_ep_time.h.
struct DeepEpCurve {
  double base_s = 25e-6;
  double base_s_per_byte = 0.2e-9;   ///< Of a token's message, and more with the ranks that it goes to.
  double node_doubling_s = 8e-6;     ///< Of each doubling of the nodes.
  double notify_s = 10e-6;           ///< Before it, where there are several nodes.
  double notify_doubling_s = 20e-6;  ///< The same, of each doubling of the nodes.
  double link_fraction = 0.7;
  double nic_fraction = 0.95;
  double many_nodes_nic_fraction = 0.4;  ///< Of nic_fraction, over more than four nodes.
  double message_s = 0.05e-6;            ///< Of a token to one rank, on a compute unit.
  double link_copy_bytes_per_s = 40e9;   ///< A compute unit's, towards the link.
  double nic_copy_bytes_per_s = 10e9;    ///< Towards the NIC's buffers.
  double token_copy_bytes_per_s = 12e9;  ///< Of the token itself.
  double fill_ratio = 0.4;               ///< Of the transfer, that the first chunks take alone, while they grow.
  double fill_s_per_byte = 2.5e-9;       ///< And when they are as large as the buffers, of a message's byte.
  bool operator==(const DeepEpCurve&) const = default;
};

/// The same by DeepEP's kernels for latency, which send a message for each expert.
struct DeepEpLowLatencyCurve {
  double base_s = 8e-6;
  double expert_s = 0.01e-6;        ///< Of each expert of the model.
  double base_s_per_byte = 0.1e-9;  ///< Of a token's message.
  double nodes_s = 8e-6;            ///< Where there are several nodes.
  double node_doubling_s = 3e-6;
  double link_fraction = 0.55;
  double nic_fraction = 0.95;
  double token_s = 0.6e-6;            ///< Of a token, over all compute units that work.
  double token_s_per_byte = 0.06e-9;  ///< Of one of its columns' bytes in bf16.
  double message_s = 0.1e-6;          ///< Of a message, on a compute unit.
  double copy_bytes_per_s = 35e9;     ///< A compute unit's, of messages.
  bool operator==(const DeepEpLowLatencyCurve&) const = default;
};

/// A kernel that only moves bytes: a norm, an activation, an addition.
///
///   time = launch_s + bytes / (hbm_fraction * bandwidth)
struct StreamCurve {
  double launch_s = 3e-6;
  double hbm_fraction = 0.6;  ///< Of the memory bandwidth; low where the kernel is not written well.
  bool operator==(const StreamCurve&) const = default;
};

/// All kernels of a device. Which kernel a task is: env/analytical/operator_time.h.
struct DeviceCurves {
  std::string source;  ///< What they were fitted to, or scaled from.
  GemmCurve gemm_bf16;
  GemmCurve gemm_fp8;           ///< Weights and activations with one scale each.
  GemmCurve gemm_fp8_block;     ///< With scales of blocks.
  GemmCurve gemm_nvfp4;         ///< Weights and activations of four bits (NVFP4, MX).
  GemmCurve gemm_int8;          ///< Weights and activations.
  GemmCurve gemm_int8_weights;  ///< Weights only; the product is in bf16.
  GemmCurve gemm_int4_weights;
  PrefillAttentionCurve prefill_bf16;
  PrefillAttentionCurve prefill_fp8_cache;
  PrefillAttentionCurve mla_prefill_bf16;
  PrefillAttentionCurve mla_prefill_fp8_cache;
  HeadDecodeCurve head_decode_bf16;
  HeadDecodeCurve head_decode_fp8_cache;
  GroupDecodeCurve group_decode;
  GroupFp8DecodeCurve group_decode_fp8_cache;
  MlaDecodeCurve mla_decode_bf16;
  MlaDecodeCurve mla_decode_fp8_cache;
  MoeCurve experts_bf16;
  MoeCurve experts_fp8;
  MoeCurve experts_fp8_block;
  MoeCurve experts_nvfp4;         ///< Weights and activations of four bits (NVFP4, MX).
  MoeCurve experts_4bit_weights;  ///< The product is in bf16.
  StreamCurve norm;
  StreamCurve rotary;
  StreamCurve activation;  ///< And other kernels that work element by element.
  StreamCurve add;
  StreamCurve embedding;
  bool operator==(const DeviceCurves&) const = default;
};

}  // namespace shardscout
