#include "env/simulator/step_timer.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr int kDigits = 5;

std::int64_t CeilDivide(std::int64_t n, std::int64_t parts) { return (n + parts - 1) / parts; }

}  // namespace

std::int64_t RoundedCount(std::int64_t count) {
  SHARDSCOUT_CHECK_OP(count, >=, 0);
  const auto digits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count)));
  if (digits <= kDigits) return count;
  const int shift = digits - kDigits;
  return (count + (std::int64_t{1} << (shift - 1))) >> shift << shift;
}

const Problem& LengthVariants::Decode(std::int64_t positions) {
  return Find(Phase::kDecode, std::max<std::int64_t>(1, positions - 1));
}

const Problem& LengthVariants::Prefill(std::int64_t tokens) { return Find(Phase::kPrefill, tokens); }

const Problem& LengthVariants::Find(Phase phase, std::int64_t tokens) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Problem>& variant = variants_[{phase, tokens}];
  if (variant == nullptr) {
    WorkloadSpec workload = problem_.workload();
    workload.kind = phase == Phase::kDecode ? WorkloadKind::kDecode : WorkloadKind::kPrefill;
    workload.input_tokens = tokens;
    workload.output_tokens = 1;
    workload.ttft_target_s = workload.tpot_target_s = std::nullopt;
    workload.requests = std::nullopt;
    variant = std::make_unique<Problem>(problem_.model(), problem_.cluster(), workload, problem_.options());
  }
  return *variant;
}

Strategy StepTimer::WithRequests(const Problem& problem, Strategy s, std::int64_t requests) {
  const std::int64_t most = requests + s.StageSize();
  s.batch_size = requests * s.num_microbatches;
  while (!BatchFits(problem, s) && requests < most) s.batch_size = ++requests * s.num_microbatches;
  return s;
}

AttentionTimes StepTimer::AttentionIn(const Problem& problem, const Strategy& s, Phase phase) {
  SpanCache spans(problem, s);
  const auto time_of = [&](BlockKind kind) {
    double time_s = 0;
    for (const Task& task : LowerBlock(problem, s, phase, kind).tasks) {
      if (IsAttentionCore(task)) time_s += TaskTime(problem.cluster(), task, spans);
    }
    return time_s;
  };
  return {.full_s = time_of(BlockKind::kAttention),
          .window_s = problem.model().HasMixedWindows() ? time_of(BlockKind::kWindowAttention) : 0,
          .linear_s = problem.model().HasLinearAttention() ? time_of(BlockKind::kLinearAttention) : 0};
}

const AttentionTimes& StepTimer::DecodeAttention(std::int64_t requests, std::int64_t positions) {
  const auto [entry, is_new] = decode_.try_emplace({requests, positions});
  if (is_new) {
    const Problem& problem = variants_.Decode(positions);
    entry->second = AttentionIn(problem, WithRequests(problem, strategy_, requests), Phase::kDecode);
  }
  return entry->second;
}

const AttentionTimes& StepTimer::PrefillAttention(std::int64_t requests, std::int64_t tokens) {
  const auto [entry, is_new] = prefill_.try_emplace({requests, tokens});
  if (is_new) {
    const Problem& problem = variants_.Prefill(tokens);
    Strategy s = strategy_;
    s.num_microbatches = 1;
    entry->second = AttentionIn(problem, WithRequests(problem, s, requests), Phase::kPrefill);
  }
  return entry->second;
}

AttentionTimes StepTimer::AttentionOf(const RankBatch& rank) {
  const std::int64_t microbatches = strategy_.num_microbatches;
  const auto parts = static_cast<double>(microbatches);
  AttentionTimes times;
  if (rank.decodes > 0) {
    const std::int64_t positions = CeilDivide(rank.decode_positions, rank.decodes);
    times = DecodeAttention(RoundedCount(CeilDivide(rank.decodes, microbatches)), RoundedCount(positions));
  }
  std::int64_t begun = 0, begun_tokens = 0;
  for (const PrefillChunk& chunk : rank.chunks) {
    if (chunk.before == 0) {
      ++begun;
      begun_tokens += chunk.tokens;
      continue;
    }
    const AttentionTimes& whole = PrefillAttention(1, RoundedCount(chunk.before + chunk.tokens));
    const AttentionTimes& before = PrefillAttention(1, RoundedCount(chunk.before));
    const AttentionTimes& alone = PrefillAttention(1, RoundedCount(chunk.tokens));
    times.full_s += std::max(alone.full_s, whole.full_s - before.full_s) / parts;
    times.window_s += std::max(alone.window_s, whole.window_s - before.window_s) / parts;
    times.linear_s += std::max(alone.linear_s, whole.linear_s - before.linear_s) / parts;
  }
  if (begun > 0) {
    const AttentionTimes& fresh = PrefillAttention(RoundedCount(begun), RoundedCount(CeilDivide(begun_tokens, begun)));
    times.full_s += fresh.full_s / parts;
    times.window_s += fresh.window_s / parts;
    times.linear_s += fresh.linear_s / parts;
  }
  return times;
}

StepTimer::StepPass& StepTimer::PassOf(std::int64_t requests) {
  StepPass& pass = passes_[requests];
  if (pass.maker == nullptr) {
    const Problem& problem = variants_.Decode(1);
    pass.strategy = WithRequests(problem, strategy_, requests);
    pass.maker = std::make_unique<PassMaker>(problem, pass.strategy, Phase::kDecode, options_);
    pass.head = pass.maker->Head();
  }
  return pass;
}

Picoseconds StepTimer::operator()(std::span<const RankBatch> ranks) {
  std::int64_t tokens = 1, giving = 1;
  AttentionTimes attention;
  for (const RankBatch& rank : ranks) {
    std::int64_t of_rank = rank.decodes, giving_of_rank = rank.decodes;
    for (const PrefillChunk& chunk : rank.chunks) {
      of_rank += chunk.tokens;
      giving_of_rank += chunk.last ? 1 : 0;
    }
    tokens = std::max(tokens, of_rank);
    giving = std::max(giving, giving_of_rank);
    const AttentionTimes times = AttentionOf(rank);
    attention.full_s = std::max(attention.full_s, times.full_s);
    attention.window_s = std::max(attention.window_s, times.window_s);
    attention.linear_s = std::max(attention.linear_s, times.linear_s);
  }
  tokens = RoundedCount(CeilDivide(tokens, strategy_.num_microbatches));
  giving = RoundedCount(CeilDivide(giving, strategy_.num_microbatches));
  const auto [entry, is_new] =
      steps_.try_emplace({tokens, giving, ToPicoseconds(attention.full_s), ToPicoseconds(attention.window_s),
                          ToPicoseconds(attention.linear_s)});
  if (is_new) {
    StepPass& pass = PassOf(tokens);
    pass.maker->SetAttention(attention);
    pass.maker->SetHead(PassOf(giving).head);
    entry->second = SimulateDecode(*pass.maker, pass.strategy);
  }
  return entry->second;
}

}  // namespace shardscout::env
