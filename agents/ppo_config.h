#pragma once

#include <cstdint>

#include "src/json/fields.h"

namespace shardscout::agents {

/// Settings of the searcher `ppo`. The defaults were tuned on ...; see ppo.h for the symbols.
struct PpoConfig {
  std::int64_t num_agents = 4;
  double inherit_penalty = 0.5;
  double exit_probability = 0.95;
  std::int64_t exit_updates = 2;
  std::int64_t exit_stale_rollouts = 5;

  std::int64_t history_size = 16;
  std::int64_t width = 64;
  std::int64_t num_layers = 2;
  std::int64_t num_heads = 4;
  std::int64_t ffn_width = 128;
  std::int64_t table_width = 32;

  std::int64_t rollout_size = 16;
  std::int64_t minibatch_size = 16;
  std::int64_t num_epochs = 4;
  double learning_rate = 1e-3;
  double clip_range = 0.2;
  double vf_coef = 0.5;
  double ent_coef = 0.02;
  double ent_coef_final = 0.0;
  double max_grad_norm = 1.0;
  bool joint = false;
};

template <class V>
void VisitFields(V& visit, PpoConfig& c) {
  visit("num_agents", c.num_agents, {.doc = "Agents among which the budget is shared.", .min = 1, .max = 1000});
  visit("inherit_penalty", c.inherit_penalty, {.doc = "x", .min = 0, .max = 10});
  visit("exit_probability", c.exit_probability, {.doc = "x", .min = 0, .max = 1});
  visit("exit_updates", c.exit_updates, {.doc = "x", .min = 1, .max = 1000000});
  visit("exit_stale_rollouts", c.exit_stale_rollouts, {.doc = "x", .min = 1, .max = 1000000});
  visit("history_size", c.history_size, {.doc = "x", .min = 1, .max = 1024});
  visit("width", c.width, {.doc = "x", .min = 8, .max = 1024});
  visit("num_layers", c.num_layers, {.doc = "x", .min = 1, .max = 16});
  visit("num_heads", c.num_heads, {.doc = "x", .min = 1, .max = 64});
  visit("ffn_width", c.ffn_width, {.doc = "x", .min = 8, .max = 4096});
  visit("table_width", c.table_width, {.doc = "x", .min = 4, .max = 256});
  visit("rollout_size", c.rollout_size, {.doc = "x", .min = 2, .max = 4096});
  visit("minibatch_size", c.minibatch_size, {.doc = "x", .min = 1, .max = 4096});
  visit("num_epochs", c.num_epochs, {.doc = "x", .min = 1, .max = 100});
  visit("learning_rate", c.learning_rate, {.doc = "x", .above = 0, .max = 1});
  visit("clip_range", c.clip_range, {.doc = "x", .above = 0, .max = 1});
  visit("vf_coef", c.vf_coef, {.doc = "x", .min = 0, .max = 100});
  visit("ent_coef", c.ent_coef, {.doc = "x", .min = 0, .max = 100});
  visit("ent_coef_final", c.ent_coef_final, {.doc = "x", .min = 0, .max = 100});
  visit("max_grad_norm", c.max_grad_norm, {.doc = "x", .above = 0, .max = 1e6});
  visit("joint", c.joint, {.doc = "x"});
}

}  // namespace shardscout::agents
