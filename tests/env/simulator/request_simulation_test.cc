// Runs of requests worked by hand, and what holds of every run.

#include "env/simulator/request_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "shardscout/random.h"

namespace shardscout::env {
namespace {

using Times = std::vector<Picoseconds>;

StepPrice Constant(Picoseconds step) {
  return [step](std::span<const RankBatch>) { return step; };
}

/// One picosecond a token, those of the rank that has the most of them.
Picoseconds TokensOf(std::span<const RankBatch> ranks) {
  std::int64_t most = 0;
  for (const RankBatch& rank : ranks) {
    std::int64_t tokens = rank.decodes;
    for (const PrefillChunk& chunk : rank.chunks) tokens += chunk.tokens;
    most = std::max(most, tokens);
  }
  return most;
}

Times FirstTokens(const RequestRun& run) {
  Times times;
  for (const RequestOutcome& outcome : run.outcomes) times.push_back(outcome.first_token);
  return times;
}

Times Finishes(const RequestRun& run) {
  Times times;
  for (const RequestOutcome& outcome : run.outcomes) times.push_back(outcome.finish);
  return times;
}

/// What each step did, as text: "3d12 4p0!" are three decodes on twelve positions and the first four tokens of a
/// prompt, which they end; ranks apart by "|".
StepPrice Recording(std::vector<std::string>& steps, StepPrice price) {
  return [&steps, price = std::move(price)](std::span<const RankBatch> ranks) {
    std::string text;
    for (const RankBatch& rank : ranks) {
      if (!text.empty()) text += " | ";
      text += std::to_string(rank.decodes) + "d" + std::to_string(rank.decode_positions);
      for (const PrefillChunk& chunk : rank.chunks) {
        text += " " + std::to_string(chunk.tokens) + "p" + std::to_string(chunk.before) + (chunk.last ? "!" : "");
      }
    }
    steps.push_back(text);
    return price(ranks);
  };
}

using Steps = std::vector<std::string>;

TEST(RequestSimulation, AloneItIsItsPromptAndItsTokens) {
  Steps steps;
  const std::vector<Request> requests = {{.arrival = 7, .input_tokens = 5, .output_tokens = 3}};
  const RequestRun run = SimulateRequests(requests, {}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 5p0!", "1d6", "1d7"}));
  EXPECT_EQ(FirstTokens(run), Times{17});
  EXPECT_EQ(Finishes(run), Times{37});
  EXPECT_EQ(run.outcomes[0].Ttft(), 10);
  EXPECT_EQ(run.outcomes[0].Latency(), 30);
  EXPECT_EQ(run.outcomes[0].TpotS(), 10e-12);
  EXPECT_EQ(run.end, 37);
}

/// The header's example.
TEST(RequestSimulation, AnotherPromptFillsTheBudget) {
  Steps steps;
  const std::vector<Request> requests(2, {.input_tokens = 4, .output_tokens = 2});
  const RequestRun run =
      SimulateRequests(requests, {.max_running = 2, .max_batched_tokens = 4}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 4p0!", "1d5 3p0", "0d0 1p3!", "1d5"}));
  EXPECT_EQ(FirstTokens(run), (Times{10, 30}));
  EXPECT_EQ(Finishes(run), (Times{20, 40}));
}

/// The same with prompts first: nothing decodes while one can be taken.
TEST(RequestSimulation, PromptsFirst) {
  Steps steps;
  const std::vector<Request> requests(2, {.input_tokens = 4, .output_tokens = 2});
  const RequestRun run =
      SimulateRequests(requests, {.policy = BatchPolicy::kPrefillFirst, .max_running = 2, .max_batched_tokens = 6},
                       Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 4p0! 2p0", "0d0 2p2!", "2d10"}));
  EXPECT_EQ(FirstTokens(run), (Times{10, 20}));
  EXPECT_EQ(Finishes(run), (Times{30, 30}));
}

TEST(RequestSimulation, NoMoreRunThanMay) {
  Steps steps;
  const std::vector<Request> requests(3, {.input_tokens = 2, .output_tokens = 2});
  const RequestRun run = SimulateRequests(requests, {.max_running = 2}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 2p0! 2p0!", "2d6", "0d0 2p0!", "1d3"}));
  EXPECT_EQ(Finishes(run), (Times{20, 20, 40}));
  const std::vector<QueueSample>& queue = run.queue;
  ASSERT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue[0].waiting, 1);
  EXPECT_EQ(queue[0].running, 2);
  EXPECT_EQ(queue[1].time, 20);
  EXPECT_EQ(queue[1].waiting, 0);
  EXPECT_EQ(queue[2].time, 40);
  EXPECT_EQ(queue[2].running, 0);
}

/// Four blocks of two tokens. Both prompts take two blocks; at the second token of each the first one takes none, as
/// its block has room, nor does the other; at the third the first finds no block, and the second one has to make room:
/// it has two tokens by then, so that it comes back with a prompt of four.
TEST(RequestSimulation, ThePreemptedComputesAgainWhatItHad) {
  Steps steps;
  const std::vector<Request> requests(2, {.input_tokens = 3, .output_tokens = 4});
  const RequestRun run = SimulateRequests(requests, {.max_running = 2, .block_tokens = 2, .cache_blocks = 4},
                                          Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 3p0! 3p0!", "2d8", "1d5", "1d6", "0d0 5p0!", "1d6"}));
  EXPECT_EQ(Finishes(run), (Times{40, 60}));
  EXPECT_EQ(FirstTokens(run), (Times{10, 10}));
  EXPECT_EQ(run.outcomes[0].preemptions, 0);
  EXPECT_EQ(run.outcomes[1].preemptions, 1);
}

/// The same four blocks: with its output the first one needs three, which leaves too few for the other.
TEST(RequestSimulation, ReservedOutputsAreNeverPreempted) {
  Steps steps;
  const std::vector<Request> requests(2, {.input_tokens = 3, .output_tokens = 3});
  const EngineOptions options = {.max_running = 2, .block_tokens = 2, .cache_blocks = 4, .reserves_output = true};
  const RequestRun run = SimulateRequests(requests, options, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 3p0!", "1d4", "1d5", "0d0 3p0!", "1d4", "1d5"}));
  EXPECT_EQ(run.outcomes[1].preemptions, 0);
  for (const QueueSample& sample : run.queue) EXPECT_LE(sample.used_blocks, 3);
}

/// It decodes alone at 10, 20 and 30, and looks before its third such step only; what came meanwhile goes first then.
TEST(RequestSimulation, PollsOnceInSoManyDecodes) {
  const std::vector<Request> requests = {{.arrival = 0, .input_tokens = 2, .output_tokens = 5},
                                         {.arrival = 5, .input_tokens = 2, .output_tokens = 1},
                                         {.arrival = 15, .input_tokens = 2, .output_tokens = 1}};
  Steps steps;
  const RequestRun run = SimulateRequests(requests, {.poll_interval_steps = 3}, Recording(steps, Constant(10)));
  // The step after a prompt looks too, so that the second request waits for nothing.
  EXPECT_EQ(steps, (Steps{"0d0 2p0!", "1d3 2p0!", "1d4 2p0!", "1d5", "1d6"}));
  const std::vector<Request> late = {{.arrival = 0, .input_tokens = 2, .output_tokens = 6},
                                     {.arrival = 25, .input_tokens = 2, .output_tokens = 1}};
  steps.clear();
  const RequestRun waited = SimulateRequests(late, {.poll_interval_steps = 3}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 2p0!", "1d3", "1d4", "1d5", "1d6 2p0!", "1d7"}));
  EXPECT_EQ(FirstTokens(waited), (Times{10, 50}));
  // Alone at an idle engine nobody waits.
  const std::vector<Request> idle = {{.arrival = 0, .input_tokens = 2, .output_tokens = 2},
                                     {.arrival = 100, .input_tokens = 2, .output_tokens = 2}};
  EXPECT_EQ(FirstTokens(SimulateRequests(idle, {.poll_interval_steps = 100}, Constant(10))), (Times{10, 110}));
}

/// Prompts of two tokens come at 5 and 25 beside one that decodes; four tokens, or three steps, end the wait.
TEST(RequestSimulation, PromptsWaitForMore) {
  const std::vector<Request> requests = {{.arrival = 0, .input_tokens = 2, .output_tokens = 9},
                                         {.arrival = 5, .input_tokens = 2, .output_tokens = 1},
                                         {.arrival = 25, .input_tokens = 2, .output_tokens = 1}};
  Steps steps;
  SimulateRequests(requests, {.prompt_wait_steps = 8, .prompt_wait_tokens = 4}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 2p0!", "1d3", "1d4", "1d5 2p0! 2p0!", "1d6", "1d7", "1d8", "1d9", "1d10"}));
  steps.clear();
  SimulateRequests(requests, {.prompt_wait_steps = 1, .prompt_wait_tokens = 4}, Recording(steps, Constant(10)));
  EXPECT_EQ(steps, (Steps{"0d0 2p0!", "1d3", "1d4 2p0!", "1d5", "1d6 2p0!", "1d7", "1d8", "1d9", "1d10"}));
}

/// Two ranks decode; a prompt comes to the first at 15 and one to the second at 35: both are computed in one step. In
/// the second run none comes to the second, and the first one's waits two steps of nothing but decodes.
TEST(RequestSimulation, RanksWaitForOneAnothersPrompts) {
  const std::vector<Request> requests = {{.arrival = 0, .input_tokens = 2, .output_tokens = 9},
                                         {.arrival = 0, .input_tokens = 2, .output_tokens = 9},
                                         {.arrival = 15, .input_tokens = 2, .output_tokens = 1},
                                         {.arrival = 35, .input_tokens = 2, .output_tokens = 1}};
  const auto first_tokens = [&](std::size_t count, std::int64_t rank_wait_steps) {
    return FirstTokens(SimulateRequests(std::span(requests).first(count),
                                        {.rank_wait_steps = rank_wait_steps, .ranks = 2}, Constant(10)));
  };
  EXPECT_EQ(first_tokens(4, 0), (Times{10, 10, 30, 50}));
  EXPECT_EQ(first_tokens(4, 100), (Times{10, 10, 50, 50}));
  // Steps 10-20, 20-30 and 30-40 begin without a prompt on every rank: the third of them takes the first one's.
  EXPECT_EQ(first_tokens(3, 3), (Times{10, 10, 40}));
  // Where a rank has nothing to decode, nobody waits.
  const std::vector<Request> one = {{.arrival = 0, .input_tokens = 2, .output_tokens = 9},
                                    {.arrival = 15, .input_tokens = 2, .output_tokens = 1}};
  EXPECT_EQ(FirstTokens(SimulateRequests(one, {.rank_wait_steps = 100, .ranks = 2}, Constant(10))), (Times{10, 30}));
}

TEST(RequestSimulation, ARequestIsInTheQueueAfterADelay) {
  const std::vector<Request> requests(2, {.input_tokens = 2, .output_tokens = 2});
  const RequestRun run = SimulateRequests(requests, {.arrival_delay = 7}, Constant(10));
  EXPECT_EQ(FirstTokens(run), (Times{17, 17}));
  EXPECT_EQ(run.outcomes[0].Ttft(), 17);
  // In a closed loop the next one arrives when one leaves, and is delayed too.
  EXPECT_EQ(FirstTokens(SimulateConcurrency(requests, 1, {.arrival_delay = 7}, Constant(10))), (Times{17, 44}));
}

TEST(RequestSimulation, WhatNoCacheHoldsIsRejected) {
  const std::vector<Request> requests = {{.input_tokens = 6, .output_tokens = 3},
                                         {.input_tokens = 6, .output_tokens = 2}};
  const EngineOptions options = {.block_tokens = 2, .cache_blocks = 4};
  const RequestRun run = SimulateRequests(requests, options, Constant(10));
  EXPECT_TRUE(run.outcomes[0].rejected);
  EXPECT_FALSE(run.outcomes[1].rejected);
  EXPECT_EQ(run.outcomes[1].finish, 20);
  // In a closed loop the next one takes its place.
  EXPECT_EQ(SimulateConcurrency(requests, 1, options, Constant(10)).outcomes[1].finish, 20);
}

/// Ranks of a replica step together, at the pace of the one with the most to do.
TEST(RequestSimulation, RanksOfAReplicaStepTogether) {
  Steps steps;
  const std::vector<Request> requests = {{.input_tokens = 8, .output_tokens = 2},
                                         {.input_tokens = 2, .output_tokens = 2},
                                         {.arrival = 3, .input_tokens = 1, .output_tokens = 1}};
  const RequestRun run = SimulateRequests(requests, {.ranks = 2}, Recording(steps, TokensOf));
  EXPECT_EQ(steps, (Steps{"0d0 8p0! | 0d0 2p0!", "1d9 1p0! | 1d3"}));
  EXPECT_EQ(FirstTokens(run), (Times{8, 8, 10}));
  EXPECT_EQ(Finishes(run), (Times{10, 10, 10}));
}

/// Replicas do not wait for one another.
TEST(RequestSimulation, TheRouterTakesTheLeastLoaded) {
  const std::vector<Request> requests = {{.input_tokens = 8, .output_tokens = 1},
                                         {.input_tokens = 2, .output_tokens = 1},
                                         {.arrival = 3, .input_tokens = 3, .output_tokens = 1},
                                         {.arrival = 4, .input_tokens = 1, .output_tokens = 1}};
  const RequestRun run = SimulateRequests(requests, {.replicas = 2}, TokensOf);
  // The third goes to the second replica, which is free; the fourth to the first one, whose only request ends at 8.
  EXPECT_EQ(Finishes(run), (Times{8, 2, 6, 9}));
}

TEST(RequestSimulation, AFixedConcurrencyReplacesWhoLeaves) {
  const std::vector<Request> requests(4, {.arrival = 99, .input_tokens = 2, .output_tokens = 2});
  const RequestRun run = SimulateConcurrency(requests, 2, {}, Constant(10));
  EXPECT_EQ(Finishes(run), (Times{20, 20, 40, 40}));
  EXPECT_EQ(run.outcomes[2].request.arrival, 20);
  EXPECT_EQ(run.outcomes[2].Ttft(), 10);
}

/// In a closed loop of equal requests all ranks do the same, so that one is enough.
TEST(RequestSimulation, EqualRanksCanBeFolded) {
  const std::vector<Request> whole(8 * 40, {.input_tokens = 20, .output_tokens = 7});
  const std::vector<Request> folded(40, {.input_tokens = 20, .output_tokens = 7});
  for (const BatchPolicy policy : {BatchPolicy::kChunkedPrefill, BatchPolicy::kPrefillFirst}) {
    EngineOptions options = {
        .policy = policy, .max_running = 4, .max_batched_tokens = 32, .block_tokens = 4, .cache_blocks = 20};
    const RequestRun one = SimulateConcurrency(folded, 5, options, TokensOf);
    options.replicas = 4;
    options.ranks = 2;
    const RequestRun all = SimulateConcurrency(whole, 8 * 5, options, TokensOf);
    EXPECT_EQ(all.end, one.end);
    EXPECT_EQ(all.steps, 4 * one.steps);
    Times expected;
    for (const Picoseconds finish : Finishes(one)) expected.insert(expected.end(), 8, finish);
    Times found = Finishes(all);
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
  }
}

/// Four blocks of two tokens in each: both prompts fit where they are computed, one request with its output where it
/// decodes.
TEST(RequestSimulation, OfTwoPoolsTheSecondReservesOutputs) {
  Steps prompts, tokens;
  const EngineOptions options = {.block_tokens = 2, .cache_blocks = 4, .reserves_output = true};
  const TwoPools pools = {.prefill = options,
                          .decode = options,
                          .prefill_price = Recording(prompts, Constant(10)),
                          .decode_price = Recording(tokens, Constant(10)),
                          .transfer = [](std::int64_t) { return Picoseconds{1}; }};
  const std::vector<Request> requests(2, {.input_tokens = 3, .output_tokens = 3});
  const RequestRun run = SimulateTwoPools(requests, std::nullopt, pools);
  EXPECT_EQ(prompts, (Steps{"0d0 3p0! 3p0!"}));
  EXPECT_EQ(tokens, (Steps{"1d4", "1d5", "1d4", "1d5"}));
  EXPECT_EQ(run.outcomes[1].preemptions, 0);
}

/// The header's example: a transfer of 5 ps after each prompt, while the next one is computed.
TEST(RequestSimulation, TwoPoolsHandOver) {
  Steps prompts, tokens;
  const std::vector<Request> requests(2, {.input_tokens = 4, .output_tokens = 2});
  const TwoPools pools = {.prefill = {.max_batched_tokens = 4},
                          .decode = {},
                          .prefill_price = Recording(prompts, Constant(10)),
                          .decode_price = Recording(tokens, Constant(10)),
                          .transfer = [](std::int64_t sent) { return sent + 1; }};
  const RequestRun run = SimulateTwoPools(requests, std::nullopt, pools);
  EXPECT_EQ(prompts, (Steps{"0d0 4p0!", "0d0 4p0!"}));
  EXPECT_EQ(tokens, (Steps{"1d5", "1d5"}));
  EXPECT_EQ(FirstTokens(run), (Times{10, 20}));
  EXPECT_EQ(Finishes(run), (Times{25, 35}));
  // One waits; both run, or are on their way; one is left; none.
  ASSERT_EQ(run.queue.size(), 4U);
  EXPECT_EQ(run.queue[0].waiting, 1);
  EXPECT_EQ(run.queue[1].time, 10);
  EXPECT_EQ(run.queue[1].running, 2);
  EXPECT_EQ(run.queue[2].time, 25);
  EXPECT_EQ(run.queue[3].time, 35);
}

/// A cache in the first pool is held until it has arrived in the second.
TEST(RequestSimulation, ASentCacheIsHeldOnTheWay) {
  const std::vector<Request> requests(2, {.input_tokens = 4, .output_tokens = 2});
  TwoPools pools = {.prefill = {.block_tokens = 4, .cache_blocks = 1},
                    .decode = {},
                    .prefill_price = Constant(10),
                    .decode_price = Constant(10),
                    .transfer = [](std::int64_t) { return 100; }};
  EXPECT_EQ(FirstTokens(SimulateTwoPools(requests, std::nullopt, pools)), (Times{10, 120}));
  pools.prefill.cache_blocks = 2;
  EXPECT_EQ(FirstTokens(SimulateTwoPools(requests, std::nullopt, pools)), (Times{10, 10}));
}

/// Who finds no room waits with its cache sent, and decodes when it is its turn; with one token none is sent.
TEST(RequestSimulation, TheSecondPoolAdmitsInTurn) {
  Steps tokens;
  std::vector<Request> requests(3, {.input_tokens = 4, .output_tokens = 3});
  requests.push_back({.input_tokens = 4, .output_tokens = 1});
  const TwoPools pools = {.prefill = {},
                          .decode = {.max_running = 2},
                          .prefill_price = Constant(10),
                          .decode_price = Recording(tokens, Constant(10)),
                          .transfer = [](std::int64_t) { return 0; }};
  const RequestRun run = SimulateTwoPools(requests, std::nullopt, pools);
  EXPECT_EQ(tokens, (Steps{"2d10", "2d12", "1d5", "1d6"}));
  EXPECT_EQ(Finishes(run), (Times{30, 30, 50, 10}));
}

/// Who makes room in the second pool computes its prompt and what it had again, there.
TEST(RequestSimulation, TheSecondPoolComputesAgain) {
  Steps prompts, tokens;
  const std::vector<Request> requests(2, {.input_tokens = 4, .output_tokens = 4});
  const TwoPools pools = {.prefill = {},
                          .decode = {.block_tokens = 2, .cache_blocks = 6},
                          .prefill_price = Recording(prompts, Constant(10)),
                          .decode_price = Recording(tokens, Constant(10)),
                          .transfer = [](std::int64_t) { return 0; }};
  const RequestRun run = SimulateTwoPools(requests, std::nullopt, pools);
  EXPECT_EQ(prompts, Steps{"0d0 4p0! 4p0!"});
  // Both have 6 positions; the first one's seventh takes the block that the other gives back.
  EXPECT_EQ(tokens, (Steps{"2d10", "2d12", "1d7", "0d0 7p0!"}));
  EXPECT_EQ(run.outcomes[1].preemptions, 1);
  EXPECT_EQ(Finishes(run), (Times{40, 50}));
}

std::vector<Request> RandomRequests(Rng& rng) {
  std::vector<Request> requests;
  Picoseconds now = 0;
  for (std::size_t i = 0; i < 1 + rng.Below(60); ++i) {
    now += static_cast<Picoseconds>(rng.Below(100));
    requests.push_back({.arrival = now,
                        .input_tokens = static_cast<std::int64_t>(1 + rng.Below(40)),
                        .output_tokens = static_cast<std::int64_t>(1 + rng.Below(30))});
  }
  return requests;
}

EngineOptions RandomEngine(Rng& rng) {
  return {.policy = rng.Below(2) == 0 ? BatchPolicy::kChunkedPrefill : BatchPolicy::kPrefillFirst,
          .max_running = static_cast<std::int64_t>(1 + rng.Below(12)),
          .max_batched_tokens = static_cast<std::int64_t>(1 + rng.Below(50)),
          .block_tokens = static_cast<std::int64_t>(1 + rng.Below(8)),
          .cache_blocks = static_cast<std::int64_t>(5 + rng.Below(40)),
          .replicas = static_cast<std::int64_t>(1 + rng.Below(3)),
          .ranks = static_cast<std::int64_t>(1 + rng.Below(3))};
}

TEST(RequestSimulation, WhatHoldsOfEveryRun) {
  int preempted = 0, rejected = 0;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    Rng rng(seed);
    const std::vector<Request> requests = RandomRequests(rng);
    const EngineOptions options = RandomEngine(rng);
    std::int64_t computed = 0;
    const StepPrice price = [&](std::span<const RankBatch> ranks) {
      for (const RankBatch& rank : ranks) {
        std::int64_t tokens = rank.decodes, positions = rank.decode_positions;
        for (const PrefillChunk& chunk : rank.chunks) {
          EXPECT_GT(chunk.tokens, 0);
          tokens += chunk.tokens;
          positions += chunk.before + chunk.tokens;
        }
        EXPECT_LE(tokens, options.max_batched_tokens);
        EXPECT_LE(positions, options.cache_blocks * options.block_tokens);
        EXPECT_LE(rank.decodes + static_cast<std::int64_t>(rank.chunks.size()), options.max_running);
        computed += tokens;
      }
      return 3 + TokensOf(ranks);
    };
    const bool closed = rng.Below(2) == 0;
    const auto simulate = [&] {
      return closed ? SimulateConcurrency(requests, 7, options, price) : SimulateRequests(requests, options, price);
    };
    const RequestRun run = simulate();
    // Everyone leaves, in order, and computes its tokens.
    std::int64_t tokens = 0, preemptions = 0;
    double in_system = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const RequestOutcome& outcome = run.outcomes[i];
      if (!closed) {
        ASSERT_EQ(outcome.request.arrival, requests[i].arrival);
      }
      in_system += static_cast<double>(outcome.Latency());
      rejected += outcome.rejected ? 1 : 0;
      preemptions += outcome.preemptions;
      if (outcome.rejected) continue;
      ASSERT_GT(outcome.first_token, outcome.request.arrival);
      ASSERT_GE(outcome.finish - outcome.first_token, 4 * (outcome.request.output_tokens - 1));
      tokens += requests[i].input_tokens + requests[i].output_tokens - 1;
    }
    if (preemptions == 0) {
      ASSERT_EQ(computed, tokens);
    } else {
      ASSERT_GT(computed, tokens);
    }
    preempted += preemptions > 0 ? 1 : 0;
    // Little's law: requests in the system, over time, are their latencies.
    double over_time = 0;
    for (std::size_t i = 0; i < run.queue.size(); ++i) {
      const Picoseconds until = i + 1 < run.queue.size() ? run.queue[i + 1].time : run.end;
      const std::int64_t present = run.queue[i].waiting + run.queue[i].running;
      ASSERT_GE(run.queue[i].waiting, 0);
      ASSERT_GE(run.queue[i].used_blocks, run.queue[i].running);
      ASSERT_LE(run.queue[i].used_blocks, options.cache_blocks * options.ranks * options.replicas);
      ASSERT_LE(run.queue[i].running, options.max_running * options.ranks * options.replicas);
      over_time += static_cast<double>(present * (until - run.queue[i].time));
    }
    ASSERT_EQ(over_time, in_system) << seed;
    ASSERT_EQ(run.queue.back().waiting + run.queue.back().running, 0);
    ASSERT_EQ(run.queue.back().used_blocks, 0);
    // And again the same.
    ASSERT_EQ(Finishes(simulate()), Finishes(run));
  }
  EXPECT_GT(preempted, 100);
  EXPECT_GT(rejected, 100);
}

/// As in one pool: everyone leaves or is rejected, Little's law holds, and caches and queues end empty.
TEST(RequestSimulation, WhatHoldsOfTwoPools) {
  std::int64_t preempted = 0, rejected = 0;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    Rng rng(seed);
    const std::vector<Request> requests = RandomRequests(rng);
    const bool closed = rng.Below(2) == 0;
    std::int64_t sent = 0, prompts = 0;
    const TwoPools pools = {.prefill = RandomEngine(rng),
                            .decode = RandomEngine(rng),
                            .prefill_price =
                                [&](auto ranks) {
                                  for (const RankBatch& rank : ranks) {
                                    EXPECT_EQ(rank.decodes, 0);
                                    for (const PrefillChunk& chunk : rank.chunks) prompts += chunk.tokens;
                                  }
                                  return 3 * TokensOf(ranks);
                                },
                            .decode_price = TokensOf,
                            .transfer =
                                [&](std::int64_t tokens) {
                                  sent += tokens;
                                  return tokens / 2;
                                }};
    const std::optional<std::int64_t> concurrency = closed ? std::optional<std::int64_t>(7) : std::nullopt;
    const RequestRun run = SimulateTwoPools(requests, concurrency, pools);
    double in_system = 0;
    std::int64_t inputs = 0, to_send = 0, preemptions = 0;
    for (const RequestOutcome& outcome : run.outcomes) {
      in_system += static_cast<double>(outcome.Latency());
      preemptions += outcome.preemptions;
      rejected += outcome.rejected ? 1 : 0;
      if (outcome.rejected) continue;
      const Request& request = outcome.request;
      inputs += request.input_tokens;
      ASSERT_GE(outcome.Ttft(), 3 * request.input_tokens);
      if (request.output_tokens == 1) {
        ASSERT_EQ(outcome.finish, outcome.first_token);
        continue;
      }
      to_send += request.input_tokens;
      ASSERT_GE(outcome.finish - outcome.first_token, request.input_tokens / 2 + request.output_tokens - 1);
    }
    ASSERT_EQ(prompts, inputs) << "the first pool computes each prompt once";
    ASSERT_EQ(sent, to_send);
    preempted += preemptions > 0 ? 1 : 0;
    double over_time = 0;
    for (std::size_t i = 0; i < run.queue.size(); ++i) {
      const Picoseconds until = i + 1 < run.queue.size() ? run.queue[i + 1].time : run.end;
      ASSERT_GE(run.queue[i].waiting, 0);
      ASSERT_GE(run.queue[i].running, 0);
      over_time += static_cast<double>((run.queue[i].waiting + run.queue[i].running) * (until - run.queue[i].time));
    }
    ASSERT_EQ(over_time, in_system) << seed;
    ASSERT_EQ(run.queue.back().waiting + run.queue.back().running, 0);
    ASSERT_EQ(run.queue.back().used_blocks, 0);
    ASSERT_EQ(Finishes(SimulateTwoPools(requests, concurrency, pools)), Finishes(run));
  }
  EXPECT_GT(preempted, 20);
  EXPECT_GT(rejected, 100);
}

/// Twice the speed is never slower for the whole, one request after another.
TEST(RequestSimulation, AQuickerStepIsNotSlower) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    const std::vector<Request> requests = RandomRequests(rng);
    const EngineOptions options = {.max_running = 1};
    const RequestRun slow = SimulateRequests(requests, options, [](auto ranks) { return 2 * TokensOf(ranks); });
    const RequestRun quick = SimulateRequests(requests, options, TokensOf);
    for (std::size_t i = 0; i < requests.size(); ++i) ASSERT_LE(quick.outcomes[i].finish, slow.outcomes[i].finish);
  }
}

}  // namespace
}  // namespace shardscout::env
