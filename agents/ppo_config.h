#pragma once

#include <cstdint>
#include <string>

#include "src/json/fields.h"

namespace shardscout::agents {

/// How what the pretrained policy expects is corrected by what a search sees (experience.h).
struct ExperienceConfig {
  double length = 2;         ///< Of the residuals' kernel (residual_model.h).
  double noise = 0;          ///< Of a residual, in variances of the residuals; 0: what is likeliest.
  double exploration = 0.5;  ///< Deviations that are added to an expectation.
  double crowding = 0.05;    ///< Off the expectation for each of the rollout with the same degrees.
  std::int64_t probes = 1;   ///< Of a rollout: larger batches, whatever is expected of them.
};

/// Settings of the searchers `ppo`, `ppo-from-scratch` and `ppo-paper`; ppo.h has the formulas. The defaults, those of
/// `ppo`, are PPO's usual ones (Schulman et al. 2017; Andrychowicz et al. 2021, arXiv 2006.05990) with a small rollout
/// and one pass over it, since evaluations and time are what counts. What proposals and imitation of the elites give
/// was measured on the problems that the rulers were tuned on (experiments/ppo_settings.cc).
struct PpoConfig {
  bool from_scratch = false;             ///< Without what was learned on other problems (pretrained_weights.h).
  std::string weights = {};              ///< DigestOf what was learned; "": of whatever is installed.
  std::int64_t experience_first = 100;   ///< The first evaluations of a search are all chosen by it (experience.h)...
  double experience_share = 0.75;        ///< ... then so many of the rollouts...
  std::int64_t experience_rollout = 16;  ///< ... of so many strategies each.
  ExperienceConfig experience = {};

  std::int64_t num_agents = 1;           ///< Sequential agents that share the budget; more follow while budget is left.
  double inherit_penalty = 0.5;          ///< Agents train on r - inherit_penalty * max(0, inherited best - r).
  double exit_probability = 0.95;        ///< Confidence: every free sub-action's top probability on the greedy rollout.
  std::int64_t exit_updates = 2;         ///< Confident after so many updates in a row: the agent stops.
  std::int64_t exit_stale_rollouts = 5;  ///< Or after so many rollouts without a new strategy.

  double exit_patience = 0;  ///< Or after this part of its share without a new best; 0: never.

  std::int64_t history_size = 16;  ///< Elites that are kept...
  bool observe_elites = true;      ///< ... and observed; else the observation is empty.
  std::int64_t width = 64;         ///< Of the decoder's stream; a multiple of num_heads.
  std::int64_t num_layers = 2;     ///< Decoder layers.
  std::int64_t num_heads = 4;      ///< Attention heads.
  std::int64_t ffn_width = 128;    ///< Inner width of a layer's feed-forward part.
  std::int64_t table_width = 32;   ///< Of a choice's embedding, projected up to width (sizes may have 24,576 choices).

  std::int64_t rollout_size = 16;    ///< Strategies sampled between updates.
  double screen_share = 0.1;         ///< Of an agent's share: sharding templates with sizes of the prior.
  double mutation_share = 0.9;       ///< Of a rollout after that: elites changed a little (proposals.h)...
  double neighbour_share = 0.75;     ///< ... of these, moved to a neighbour...
  double parent_decay = 0.8;         ///< ... their parents drawn with this to the power of their rank...
  double crossed_share = 0.2;        ///< ... or crossed with another; of the others the policy decides some again.
  std::int64_t minibatch_size = 16;  ///< Strategies a gradient step.
  std::int64_t num_epochs = 1;       ///< Passes over a rollout.
  double learning_rate = 1e-3;       ///< Adam's.
  double clip_range = 0.2;           ///< Of the probability ratio.
  bool critic = true;                ///< Else the baseline is the mean of the rollout's other rewards.
  double vf_coef = 0.5;              ///< Weight of the value loss.
  double ent_coef = 0.02;            ///< Weight of the entropy bonus at the start of an agent's share...
  double ent_coef_final = 0.0;       ///< ... and at its end; linear between.
  double elite_coef = 2;             ///< Weight of the likelihood of the best elites (priority queue training).
  std::int64_t num_imitated = 5;     ///< How many of them.
  double max_grad_norm = 1.0;        ///< Gradients are scaled down to this norm.
  bool joint = false;                ///< One ratio for the whole compound action instead of one a sub-action.
};

template <class V>
void VisitFields(V& visit, PpoConfig& c) {
  visit("from_scratch", c.from_scratch, {.doc = "Without the weights pretrained on other problems."});
  visit("weights", c.weights,
        {.doc = "Digest of those weights, and no others will do; empty: those that are installed."});
  visit("experience_first", c.experience_first,
        {.doc = "First evaluations of a search that the pretrained policy chooses.", .min = 0, .max = 1000000000});
  visit("experience_share", c.experience_share,
        {.doc = "Share of the rollouts after that which it chooses.", .min = 0, .max = 1});
  visit("experience_rollout", c.experience_rollout,
        {.doc = "Strategies of a rollout that it chooses.", .min = 1, .max = 4096});
  visit("experience_length", c.experience.length,
        {.doc = "How far apart strategies are in whose values the policy errs alike.", .above = 0, .max = 1000});
  visit("experience_noise", c.experience.noise,
        {.doc = "Variance of the noise in its errors over that of the errors; 0: what is likeliest.",
         .min = 0,
         .max = 100});
  visit("experience_exploration", c.experience.exploration,
        {.doc = "Deviations of the expected error that are hoped for.", .min = 0, .max = 10});
  visit("experience_crowding", c.experience.crowding,
        {.doc = "Off what is expected for each strategy of a rollout with the same degrees.", .min = 0, .max = 10});
  visit("experience_probes", c.experience.probes,
        {.doc = "Strategies of a rollout that try a larger batch, whatever is expected of it.", .min = 0, .max = 64});
  visit("num_agents", c.num_agents, {.doc = "Agents among which the budget is shared.", .min = 1, .max = 1000});
  visit("inherit_penalty", c.inherit_penalty,
        {.doc = "Penalty for staying below the inherited best, per unit of reward.", .min = 0, .max = 10});
  visit("exit_probability", c.exit_probability,
        {.doc = "Top probability of every free sub-action that counts as confident.", .min = 0, .max = 1});
  visit("exit_updates", c.exit_updates,
        {.doc = "Confident updates in a row that end an agent.", .min = 1, .max = 1000000});
  visit("exit_stale_rollouts", c.exit_stale_rollouts,
        {.doc = "Rollouts without a new strategy that end an agent.", .min = 1, .max = 1000000});
  visit("exit_patience", c.exit_patience,
        {.doc = "Part of its share without a new best that ends an agent; 0: none does.", .min = 0, .max = 1});
  visit("history_size", c.history_size, {.doc = "Elites that are kept and observed.", .min = 1, .max = 1024});
  visit("observe_elites", c.observe_elites, {.doc = "Whether the policy observes them."});
  visit("width", c.width, {.doc = "Width of the decoder; a multiple of num_heads.", .min = 8, .max = 1024});
  visit("num_layers", c.num_layers, {.doc = "Decoder layers.", .min = 1, .max = 16});
  visit("num_heads", c.num_heads, {.doc = "Attention heads.", .min = 1, .max = 64});
  visit("ffn_width", c.ffn_width, {.doc = "Inner width of the feed-forward part.", .min = 8, .max = 4096});
  visit("table_width", c.table_width, {.doc = "Width of a choice's embedding.", .min = 4, .max = 256});
  visit("rollout_size", c.rollout_size, {.doc = "Strategies sampled between updates.", .min = 2, .max = 4096});
  visit("screen_share", c.screen_share,
        {.doc = "Share of an agent's evaluations whose layers are templates.", .min = 0, .max = 1});
  visit("mutation_share", c.mutation_share, {.doc = "Share of a rollout that changes elites.", .min = 0, .max = 1});
  visit("neighbour_share", c.neighbour_share,
        {.doc = "Share of the changed elites that move to a neighbour.", .min = 0, .max = 1});
  visit("parent_decay", c.parent_decay,
        {.doc = "Weight of a changed elite's rank: this to its power.", .min = 0, .max = 1});
  visit("crossed_share", c.crossed_share,
        {.doc = "Share of the changed elites that get another's layers.", .min = 0, .max = 1});
  visit("minibatch_size", c.minibatch_size, {.doc = "Strategies a gradient step.", .min = 1, .max = 4096});
  visit("num_epochs", c.num_epochs, {.doc = "Passes over a rollout.", .min = 1, .max = 100});
  visit("learning_rate", c.learning_rate, {.doc = "Adam's.", .above = 0, .max = 1});
  visit("clip_range", c.clip_range, {.doc = "Clip range of the probability ratio.", .above = 0, .max = 1});
  visit("critic", c.critic, {.doc = "Baseline by the value head, else the mean of the rollout's other rewards."});
  visit("vf_coef", c.vf_coef, {.doc = "Weight of the value loss.", .min = 0, .max = 100});
  visit("ent_coef", c.ent_coef, {.doc = "Weight of the entropy bonus at the start.", .min = 0, .max = 100});
  visit("ent_coef_final", c.ent_coef_final, {.doc = "The same when an agent's share is spent.", .min = 0, .max = 100});
  visit("elite_coef", c.elite_coef, {.doc = "Weight of the likelihood of the best elites.", .min = 0, .max = 100});
  visit("num_imitated", c.num_imitated, {.doc = "How many elites are imitated.", .min = 1, .max = 1024});
  visit("max_grad_norm", c.max_grad_norm, {.doc = "Largest norm of a gradient.", .above = 0, .max = 1e6});
  visit("joint", c.joint, {.doc = "One ratio for the compound action instead of one a sub-action."});
}

/// The defaults of `ppo-paper`, as "Learning to Shard" describes its agents: every strategy is the policy's own, which
/// learns from rewards alone.
struct PpoPaperConfig {
  PpoConfig ppo = {.from_scratch = true, .num_agents = 4, .screen_share = 0, .mutation_share = 0, .elite_coef = 0};
};

template <class V>
void VisitFields(V& visit, PpoPaperConfig& config) {
  VisitFields(visit, config.ppo);
}

/// The defaults of `ppo-from-scratch`: `ppo` as it is on problems of which nothing is known, where changing the best
/// elites pays more than changing many (experiments/ppo_settings.cc).
struct PpoFromScratchConfig {
  PpoConfig ppo = {.from_scratch = true, .parent_decay = 0.3};
};

template <class V>
void VisitFields(V& visit, PpoFromScratchConfig& config) {
  VisitFields(visit, config.ppo);
}

}  // namespace shardscout::agents
