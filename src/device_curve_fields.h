#pragma once

// The fields of the device's curves, for src/json/fields.h and for the fit, which takes what has a largest value of 1
// for a share.

#include "shardscout/device_curves.h"
#include "src/json/field.h"

namespace shardscout {

/// The least fraction of a spec: what divides by one stays a number.
inline constexpr double kLeastFraction = 1e-6;

constexpr json::Field CurveShare(std::string_view doc) { return {.doc = doc, .min = kLeastFraction, .max = 1}; }
constexpr json::Field OptionalShare(std::string_view doc) { return {.doc = doc, .min = 0, .max = 1}; }
constexpr json::Field CurveTime(std::string_view doc) { return {.doc = doc, .min = 0, .max = 10}; }
constexpr json::Field CurveRate(std::string_view doc) { return {.doc = doc, .min = 1, .max = 1e21}; }

template <class V>
void VisitFields(V& visit, GemmCurve& curve) {
  visit("peak_fraction", curve.peak_fraction, CurveShare("Fraction of the dense peak in the loop over k of a tile."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("launch_s", curve.launch_s, CurveTime("Of every product, seconds."));
  visit("k_step_s", curve.k_step_s, CurveTime("One element of k, at least: the loop's latency, seconds."));
  visit("feed_bytes_per_s", curve.feed_bytes_per_s, CurveRate("What a compute unit gets of both inputs, bytes/s."));
  visit("tile_s", curve.tile_s, CurveTime("Begin and end of a tile, seconds."));
  visit("tile_element_s", curve.tile_element_s, CurveTime("To write one element of a tile, seconds."));
  visit("split_s", curve.split_s, CurveTime("To add what a split of k left, whatever the size, seconds."));
  visit("split_bytes_per_s", curve.split_bytes_per_s, CurveRate("To write and read the summands of a split, bytes/s."));
  visit(
      "overlap_exponent", curve.overlap_exponent,
      {.doc = "p of (compute^p + memory^p)^(1/p): 1 adds them, a large one takes the larger.", .min = 1, .max = 1000});
  visit("quantise_s", curve.quantise_s, CurveTime("The kernels that quantise the activations, seconds; 0: none."));
  visit("quantise_elements_per_s", curve.quantise_elements_per_s,
        {.doc = "Activations that a compute unit quantises a second; 0: none.", .min = 0, .max = 1e21});
  visit("missing_row_s", curve.missing_row_s,
        CurveTime("One element of k, for each row that the last tile of a block-scaled product lacks, seconds."));
}

template <class V>
void VisitFields(V& visit, PrefillAttentionCurve& curve) {
  visit("tile_rows", curve.tile_rows, {.doc = "Queries of a tile.", .min = 1, .max = 65536});
  visit("tiles_per_unit", curve.tiles_per_unit,
        {.doc = "Tiles that a compute unit works on at a time.", .min = 1, .max = 64});
  visit("key_tile_bytes", curve.key_tile_bytes,
        {.doc = "Of the keys that a step of the loop takes, bytes.", .min = 16, .max = 1e9});
  visit("launch_s", curve.launch_s, CurveTime("Of all its kernels, seconds."));
  visit("head_128_launch_fraction", curve.head_128_launch_fraction,
        CurveShare("Of launch_s, where heads have 128 columns."));
  visit("peak_fraction", curve.peak_fraction, CurveShare("Fraction of the dense peak in the loop over keys."));
  visit("softmax_s", curve.softmax_s, CurveTime("One score, on a compute unit, seconds."));
  visit("lone_fraction", curve.lone_fraction,
        CurveShare("Of a step's time on a full device, on a unit that need not share its power."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("row_s_per_byte", curve.row_s_per_byte,
        CurveTime("A compute unit's time for a byte of queries and outputs, seconds."));
  visit("cache_weight", curve.cache_weight,
        {.doc = "What a byte of keys and values costs beside one of queries.", .min = 0, .max = 100});
  visit("cached_saving", curve.cached_saving, OptionalShare("Of the memory's time, for bytes that fit the L2 cache."));
  visit("tail_tiles", curve.tail_tiles, CurveShare("Mean tiles that the last wave takes longer."));
  visit("tile_s", curve.tile_s, CurveTime("Begin and end of a tile, seconds."));
  visit("tile_head_s", curve.tile_head_s, CurveTime("The same, of 128 columns of a head, seconds."));
  visit("second_half_s", curve.second_half_s, CurveTime("Of a tile more than half of whose queries exist, seconds."));
  visit("window_first_steps", curve.window_first_steps,
        {.doc = "Steps that masking adds to the first step of a tile with a window.", .min = 0, .max = 1000});
  visit("window_step_fraction", curve.window_step_fraction,
        {.doc = "And to each other step, of its time.", .min = 0, .max = 1000});
}

template <class V>
void VisitFields(V& visit, HeadDecodeCurve& curve) {
  visit("shared_memory_bytes", curve.shared_memory_bytes,
        {.doc = "Of a compute unit, bytes.", .min = 8192, .max = 1e9});
  visit("launch_s", curve.launch_s, CurveTime("Of the kernel, seconds."));
  visit("tile_s", curve.tile_s, CurveTime("Of a tile, seconds."));
  visit("tile_head_s", curve.tile_head_s, CurveTime("Of 128 columns of a head, beside tile_s, seconds."));
  visit("half_pass_s", curve.half_pass_s,
        CurveTime("Of a tile with more tokens than half of its threads take at once, on a busy unit, seconds."));
  visit("full_pass_s", curve.full_pass_s, CurveTime("And with more than all of them take, seconds."));
  visit("step_s", curve.step_s, CurveTime("Of eight passes over tokens, seconds."));
  visit("busy_step_s", curve.busy_step_s, CurveTime("The same on a busy unit, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("split_s", curve.split_s, CurveTime("Where a head's tokens are split over tiles, seconds."));
  visit("overlap_fraction", curve.overlap_fraction, CurveShare("Of a tile's beginning that other tiles' loads hide."));
}

template <class V>
void VisitFields(V& visit, GroupDecodeCurve& curve) {
  visit("launch_s", curve.launch_s, CurveTime("Of the kernel, seconds."));
  visit("tile_s", curve.tile_s, CurveTime("Of a tile, seconds."));
  visit("tile_row_s", curve.tile_row_s, CurveTime("Of one query of the group and 128 columns, seconds."));
  visit("wide_group_s", curve.wide_group_s, CurveTime("Of a group of more than 16, seconds."));
  visit("empty_tile_fraction", curve.empty_tile_fraction, CurveShare("Of a tile's time, where a split has no tokens."));
  visit("step_s", curve.step_s, CurveTime("Of 256 tokens with heads of 128 columns, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("split_s", curve.split_s, CurveTime("Where a head's tokens are split over tiles, seconds."));
  visit("split_row_s", curve.split_row_s, CurveTime("Of each split, eight rows and 128 columns, seconds."));
  visit("overlap_fraction", curve.overlap_fraction, CurveShare("Of a tile's beginning that other tiles' loads hide."));
}

template <class V>
void VisitFields(V& visit, GroupFp8DecodeCurve& curve) {
  visit("launch_s", curve.launch_s, CurveTime("Of the kernel, seconds."));
  visit("small_head_launch_s", curve.small_head_launch_s,
        CurveTime("Beside launch_s, of heads with fewer than 128 columns, seconds."));
  visit("tile_s", curve.tile_s, CurveTime("Of a tile, seconds."));
  visit("tile_row_s", curve.tile_row_s, CurveTime("Of one row, padded to eights, seconds."));
  visit("tile_row_head_s", curve.tile_row_head_s, CurveTime("The same of 128 columns, seconds."));
  visit("miss_row_s", curve.miss_row_s,
        CurveTime("Of a query and 128 columns, where the cache is larger than L2, seconds."));
  visit("l2_fraction", curve.l2_fraction, CurveShare("Of the L2 cache that the tokens find free."));
  visit("step_s", curve.step_s, CurveTime("Of 64 tokens, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("overlap_exponent", curve.overlap_exponent,
        {.doc = "p of (latency^p + memory^p)^(1/p).", .min = 1, .max = 1000});
  visit("split_s", curve.split_s, CurveTime("Where a head's tokens are split over tiles, seconds."));
  visit("split_row_s", curve.split_row_s, CurveTime("Of each split, eight queries and 128 columns, seconds."));
}

template <class V>
void VisitFields(V& visit, MlaDecodeCurve& curve) {
  visit("launch_s", curve.launch_s, CurveTime("Of the kernel, seconds."));
  visit("piece_s", curve.piece_s, CurveTime("Of each request, or part of one, that a unit works on, seconds."));
  visit("piece_rows_s", curve.piece_rows_s, CurveTime("The same of 64 heads, seconds."));
  visit("mask_s", curve.mask_s, CurveTime("Of a last block of 64 tokens none of which exists, seconds."));
  visit("step_s", curve.step_s, CurveTime("Of 64 tokens, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
  visit("peak_fraction", curve.peak_fraction, CurveShare("Fraction of the dense peak."));
  visit("split_s", curve.split_s, CurveTime("Where requests are split over units, seconds."));
  visit("split_traffic", curve.split_traffic, {.doc = "Times that the summands are moved.", .min = 0, .max = 1000});
  visit("row_traffic", curve.row_traffic, {.doc = "Times that queries and outputs are moved.", .min = 0, .max = 1000});
}

template <class V>
void VisitFields(V& visit, MoeCurve& curve) {
  visit("launch_s", curve.launch_s, CurveTime("Of all its kernels, seconds."));
  visit("large_launch_s", curve.large_launch_s,
        CurveTime("Beside launch_s, where the rank holds 256 tokens and more, seconds."));
  visit("wide_routing_s", curve.wide_routing_s, CurveTime("Of more than 16 experts a token, seconds."));
  visit("expert_s", curve.expert_s, CurveTime("Of each expert of the model, seconds."));
  visit("pair_s", curve.pair_s,
        CurveTime("Of each pair of a token that the rank holds and one of its experts on any rank, seconds."));
  visit("scan_s", curve.scan_s, CurveTime("Of each of the rank's experts, a product, seconds."));
  visit("peak_fraction", curve.peak_fraction, CurveShare("Fraction of the dense peak in the loop of a tile."));
  visit("feed_bytes_per_s", curve.feed_bytes_per_s,
        {.doc = "What a compute unit gets of both inputs, bytes/s; 0: not bound by it.", .min = 0, .max = 1e21});
  visit("tile_s", curve.tile_s, CurveTime("Begin and end of a tile, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth in the products."));
  visit("overlap_exponent", curve.overlap_exponent,
        {.doc = "p of (compute^p + memory^p)^(1/p).", .min = 1, .max = 1000});
  visit("permute_hbm_fraction", curve.permute_hbm_fraction,
        CurveShare("Fraction of the memory bandwidth where tokens are sorted by expert."));
  visit("activation_hbm_fraction", curve.activation_hbm_fraction, CurveShare("Fraction of it between the products."));
  visit("sum_hbm_fraction", curve.sum_hbm_fraction, CurveShare("Fraction of it where a token's outputs are added."));
  visit("quantise_elements_per_s", curve.quantise_elements_per_s,
        {.doc = "Activations that a compute unit quantises in blocks a second; 0: none.", .min = 0, .max = 1e21});
}

template <class V>
void VisitFields(V& visit, FabricCollectiveCurve& curve) {
  visit("ll_base_s", curve.ll_base_s, CurveTime("Of a ring under LL, seconds."));
  visit("ll_step_s", curve.ll_step_s, CurveTime("Of its steps, seconds."));
  visit("ll_channel_bytes", curve.ll_channel_bytes,
        {.doc = "Of a step, that one channel takes, bytes.", .min = 1, .max = 1e12});
  visit("ll_channel_s", curve.ll_channel_s, CurveTime("To fill a channel's, seconds."));
  visit("ll_link_fraction", curve.ll_link_fraction, CurveShare("Of the link's bandwidth, under LL."));
  visit("ll128_base_s", curve.ll128_base_s, CurveTime("Of a ring under LL128, seconds."));
  visit("ll128_step_s", curve.ll128_step_s, CurveTime("Of its steps, seconds."));
  visit("ll128_link_fraction", curve.ll128_link_fraction, CurveShare("Of the link's bandwidth, under LL128."));
  visit("simple_base_s", curve.simple_base_s, CurveTime("Of a ring under Simple, seconds."));
  visit("simple_step_s", curve.simple_step_s, CurveTime("Of its steps, seconds."));
  visit("simple_link_fraction", curve.simple_link_fraction, CurveShare("Of the link's bandwidth, under Simple."));
  visit("fill_ratio", curve.fill_ratio,
        {.doc = "Of the wire's time, that the first chunks take alone, while they grow.", .min = 0, .max = 1000});
  visit("fill_s", curve.fill_s, CurveTime("And when they are as large as the buffer, seconds."));
  visit("own_link_ratio", curve.own_link_ratio,
        {.doc = "The link's bandwidths at which a rank copies its own part.", .above = 0, .max = 1000});
  visit("nvls_base_s", curve.nvls_base_s, CurveTime("Of an all-reduce that the switch adds, seconds."));
  visit("nvls_link_fraction", curve.nvls_link_fraction, OptionalShare("Of the link's bandwidth there."));
  visit("nvls_fill_ratio", curve.nvls_fill_ratio, {.doc = "As fill_ratio, there.", .min = 0, .max = 1000});
  visit("nvls_fill_s", curve.nvls_fill_s, CurveTime("As fill_s, there, seconds."));
  visit("direct_ll_base_s", curve.direct_ll_base_s, CurveTime("Of an all-to-all under LL, seconds."));
  visit("direct_ll_peer_s", curve.direct_ll_peer_s, CurveTime("Of each peer, seconds."));
  visit("direct_ll_link_fraction", curve.direct_ll_link_fraction,
        CurveShare("Of the link's bandwidth, of one channel to one peer."));
  visit("direct_base_s", curve.direct_base_s, CurveTime("Of an all-to-all under Simple, seconds."));
  visit("direct_peer_s", curve.direct_peer_s, CurveTime("Of each peer, seconds."));
  visit("direct_link_fraction", curve.direct_link_fraction, CurveShare("Of the link's bandwidth."));
  visit("direct_fill_ratio", curve.direct_fill_ratio, {.doc = "As fill_ratio, there.", .min = 0, .max = 1000});
  visit("direct_fill_s", curve.direct_fill_s, CurveTime("As fill_s, there, seconds."));
  visit("direct_own_link_ratio", curve.direct_own_link_ratio,
        {.doc = "As own_link_ratio, there.", .above = 0, .max = 1000});
}

template <class V>
void VisitFields(V& visit, EngineAllReduceCurve& curve) {
  visit("one_shot_base_s", curve.one_shot_base_s,
        CurveTime("Where every rank reads all others' buffers whole, seconds."));
  visit("one_shot_peer_s", curve.one_shot_peer_s, CurveTime("Of each peer, seconds."));
  visit("one_shot_link_fraction", curve.one_shot_link_fraction, CurveShare("Of the link's bandwidth."));
  visit("two_shot_base_s", curve.two_shot_base_s,
        CurveTime("Where ranks add a part each and gather, seconds; 0: no such kernel."));
  visit("two_shot_peer_s", curve.two_shot_peer_s, CurveTime("Of each peer, seconds."));
  visit("two_shot_link_fraction", curve.two_shot_link_fraction, OptionalShare("Of the link's bandwidth."));
  visit("buffer_bytes", curve.buffer_bytes,
        {.doc = "Of the engine's buffers, bytes: larger messages are NCCL's.", .min = 0, .max = 1e15});
  visit("group_buffer_bytes", curve.group_buffer_bytes,
        {.doc = "The same, where more than two ranks share one, bytes.", .min = 0, .max = 1e15});
  visit("host_s", curve.host_s, CurveTime("Of a launch outside a replayed graph, at least, seconds; 0: replayed."));
  visit("copy_link_ratio", curve.copy_link_ratio,
        {.doc = "The link's bandwidths at which it copies into its buffers and out; 0: no copies.",
         .min = 0,
         .max = 1000});
}

template <class V>
void VisitFields(V& visit, DeepEpCurve& curve) {
  visit("base_s", curve.base_s, CurveTime("Of every call, seconds."));
  visit("base_s_per_byte", curve.base_s_per_byte,
        CurveTime("Of a token's message, and more with the ranks that it goes to, seconds."));
  visit("node_doubling_s", curve.node_doubling_s, CurveTime("Of each doubling of the nodes, seconds."));
  visit("notify_s", curve.notify_s, CurveTime("Before it, where there are several nodes, seconds."));
  visit("notify_doubling_s", curve.notify_doubling_s, CurveTime("The same, of each doubling of the nodes, seconds."));
  visit("link_fraction", curve.link_fraction, CurveShare("Of the link's bandwidth."));
  visit("nic_fraction", curve.nic_fraction, CurveShare("Of the NIC's bandwidth."));
  visit("many_nodes_nic_fraction", curve.many_nodes_nic_fraction,
        CurveShare("Of nic_fraction, over more than four nodes."));
  visit("message_s", curve.message_s, CurveTime("Of a token to one rank, on a compute unit, seconds."));
  visit("link_copy_bytes_per_s", curve.link_copy_bytes_per_s,
        CurveRate("A compute unit's, towards the link, bytes/s."));
  visit("nic_copy_bytes_per_s", curve.nic_copy_bytes_per_s, CurveRate("Towards the NIC's buffers, bytes/s."));
  visit("token_copy_bytes_per_s", curve.token_copy_bytes_per_s, CurveRate("Of the token itself, bytes/s."));
  visit("fill_ratio", curve.fill_ratio,
        {.doc = "Of the transfer, that the first chunks take alone, while they grow.", .min = 0, .max = 1000});
  visit("fill_s_per_byte", curve.fill_s_per_byte,
        CurveTime("And when they are as large as the buffers, of a message's byte, seconds."));
}

template <class V>
void VisitFields(V& visit, DeepEpLowLatencyCurve& curve) {
  visit("base_s", curve.base_s, CurveTime("Of every call, seconds."));
  visit("expert_s", curve.expert_s, CurveTime("Of each expert of the model, seconds."));
  visit("base_s_per_byte", curve.base_s_per_byte, CurveTime("Of a token's message, seconds."));
  visit("nodes_s", curve.nodes_s, CurveTime("Where there are several nodes, seconds."));
  visit("node_doubling_s", curve.node_doubling_s, CurveTime("Of each doubling of the nodes, seconds."));
  visit("link_fraction", curve.link_fraction, CurveShare("Of the link's bandwidth."));
  visit("nic_fraction", curve.nic_fraction, CurveShare("Of the NIC's bandwidth."));
  visit("token_s", curve.token_s, CurveTime("Of a token, over all compute units that work, seconds."));
  visit("token_s_per_byte", curve.token_s_per_byte, CurveTime("Of one of its columns' bytes in bf16, seconds."));
  visit("message_s", curve.message_s, CurveTime("Of a message, on a compute unit, seconds."));
  visit("copy_bytes_per_s", curve.copy_bytes_per_s, CurveRate("A compute unit's, of messages, bytes/s."));
}

template <class V>
void VisitFields(V& visit, StreamCurve& curve) {
  visit("launch_s", curve.launch_s, CurveTime("Of the kernel, seconds."));
  visit("hbm_fraction", curve.hbm_fraction, CurveShare("Fraction of the memory bandwidth."));
}

template <class V>
void VisitFields(V& visit, DeviceCurves& curves) {
  visit("source", curves.source, {.doc = "What they were fitted to."});
  visit("gemm_bf16", curves.gemm_bf16, {.doc = "Matrix products in bf16, fp16 and fp32."});
  visit("gemm_fp8", curves.gemm_fp8, {.doc = "In fp8, one scale a matrix."});
  visit("gemm_fp8_block", curves.gemm_fp8_block, {.doc = "In fp8, scales of blocks."});
  visit("gemm_nvfp4", curves.gemm_nvfp4, {.doc = "In four bits, scales of blocks of 16 (NVFP4) or 32 (MX)."});
  visit("gemm_int8", curves.gemm_int8, {.doc = "In int8, weights and activations."});
  visit("gemm_int8_weights", curves.gemm_int8_weights, {.doc = "In bf16, weights in int8 or fp8."});
  visit("gemm_int4_weights", curves.gemm_int4_weights, {.doc = "In bf16, weights in 4 bits."});
  visit("prefill_bf16", curves.prefill_bf16, {.doc = "Attention of whole sequences."});
  visit("prefill_fp8_cache", curves.prefill_fp8_cache, {.doc = "With an fp8 cache."});
  visit("mla_prefill_bf16", curves.mla_prefill_bf16, {.doc = "Of heads that multi-latent attention projects up."});
  visit("mla_prefill_fp8_cache", curves.mla_prefill_fp8_cache, {.doc = "With an fp8 cache."});
  visit("head_decode_bf16", curves.head_decode_bf16,
        {.doc = "Attention of one new token a request, a tile for each query head."});
  visit("head_decode_fp8_cache", curves.head_decode_fp8_cache, {.doc = "With an fp8 cache."});
  visit("group_decode", curves.group_decode, {.doc = "A tile for each KV head."});
  visit("group_decode_fp8_cache", curves.group_decode_fp8_cache, {.doc = "With an fp8 cache and matrix units for it."});
  visit("mla_decode_bf16", curves.mla_decode_bf16,
        {.doc = "Absorbed multi-latent attention of one new token a request."});
  visit("mla_decode_fp8_cache", curves.mla_decode_fp8_cache, {.doc = "With an fp8 cache."});
  visit("experts_bf16", curves.experts_bf16, {.doc = "The experts of a mixture in bf16."});
  visit("experts_fp8", curves.experts_fp8, {.doc = "In fp8 or int8, one scale a matrix."});
  visit("experts_fp8_block", curves.experts_fp8_block, {.doc = "In fp8, scales of blocks."});
  visit("experts_nvfp4", curves.experts_nvfp4, {.doc = "In four bits, scales of blocks of 16 (NVFP4) or 32 (MX)."});
  visit("experts_4bit_weights", curves.experts_4bit_weights, {.doc = "In bf16, weights in 4 bits."});
  visit("norm", curves.norm, {.doc = "Norms."});
  visit("rotary", curves.rotary, {.doc = "Rotary embedding with a norm of heads or latents."});
  visit("activation", curves.activation, {.doc = "Activations, and what else works element by element."});
  visit("add", curves.add, {.doc = "Additions."});
  visit("embedding", curves.embedding, {.doc = "Look-up of embeddings."});
}

}  // namespace shardscout
