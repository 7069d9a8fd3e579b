#pragma once

// What each framework fixes of a strategy: the strategies that it runs exactly as they are priced, as rules over the
// decision variables. The space of a problem with ProblemOptions::framework holds these alone; the exporters, the
// importers and the exact solver ask the same rules.
//
// The engines here (the first five below) shard column then row over tp (`heads`, `ffn`, `vocab`), keep dense and
// shared FFNs over tp (but for SGLang's attention data parallelism, whose dense FFNs span the stage or are whole), have
// no dp in dense models (those are replicas) and do not overlap. Where the vocabulary does not divide by tp, none
// stands for their padding. Beyond that, with t, c, d, p for tp, cp, dp, pp and m and e for etp and ep:
//
//   vLLM          m = 1 and e = tcd, or e = 1 and m = tcd. c > 1 only with d = 1 (prefill context parallelism, and in
//                 `serve` the cache split over the same ranks). Attention `sequence` in decode with one KV head (decode
//                 context parallelism over tp). Its rank order is tp, pp, dp: with p > 1 and d > 1 an instance has to
//                 lie in one node.
//   SGLang        me = td, c = 1; an instance fills whole nodes or lies in one. With d > 1 and t > 1, dense FFNs span
//                 the stage.
//   TensorRT-LLM  me = td, c = 1, and t = 1 or d = 1 (attention DP is all or nothing). The batch divides by pp.
//   Megatron      any m, e, d; c > 1 in prefill. MoE with t > 1 needs sequence parallelism (residual T). Training: any
//                 degrees, dense models' d too, ZeRO 0 and 1.
//   DeepSpeed     p = c = d = e = 1, m = t (AutoTP); the down projection also by columns or whole, lm_head whole.
//                 Training: training_frameworks.cc.
//   torchtitan, MaxText  training alone: training_frameworks.cc.
//   Transformers  p = c = d = 1, whole KV heads; m = t or e = t. Embedding and lm_head by vocabulary or whole, ffn_up
//                 whole too, attention whole where heads were projected by columns.
//   DTensor       p = c = d = 1, whole KV heads, dense models with grouped attention. The residual stream R or T, and
//                 of each matrix columns, rows or whole.
//   Shardy        p = 1, any layouts and shardings. The degrees of attention and of experts must have one mesh of which
//                 both are groups of neighbouring axes (src/frameworks/shardy.h).
//
// Tokens reach experts by gather_reduce (an all-reduce of results) where a block of experts is the tp group, and else
// by what the framework has: gather_scatter, or all_to_all where whole experts are dealt (m = 1).
// Sources: docs/frameworks.md.

#include <functional>

#include "shardscout/framework.h"
#include "shardscout/problem.h"
#include "shardscout/strategy_space.h"

namespace shardscout::strategies {

/// pp, tp, cp and dp are given.
bool TakesDegrees(Framework framework, const Problem& problem, const Strategy& s);
/// And ep, etp; for a model with experts.
bool TakesExpertMesh(Framework framework, const Problem& problem, const Strategy& s);
/// pp, batch_size and num_microbatches are given.
bool TakesMicrobatches(Framework framework, const Strategy& s);
/// Whether it takes one number only.
bool FixesMicrobatches(Framework framework);
/// A value of one of training's variables; the degrees are given.
bool TakesTraining(Framework framework, const Strategy& s, Variable variable, std::int64_t value);
bool TakesResidual(Framework framework, const Problem& problem, const Strategy& s, Layout layout);
/// For a group that means something (ShardingRules::FfnGroup).
bool TakesFfnGroup(Framework framework, const ModelSpec& model, const Strategy& s, DenseFfnGroup group);
/// For experts over two ranks or more.
bool TakesExchange(Framework framework, const Problem& problem, const Strategy& s, ExpertExchange exchange);
/// For an operator over a group of two ranks or more; `possible` says what the model admits there.
bool TakesSharding(Framework framework, const Problem& problem, const Strategy& s, Operator op, Sharding sharding,
                   const std::function<bool(Sharding)>& possible);

}  // namespace shardscout::strategies
