#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/json/json_text.h"
#include "src/model_counts.h"
#include "src/problem_fields.h"

namespace shardscout {
namespace {

template <class Expect>
void CheckLinearAttention(const ModelSpec& model, const Expect& expect) {
  const LinearAttentionSpec& linear = model.linear_attention;
  const std::vector<std::int64_t>& layers = model.linear_attention_layers;
  const bool any = !layers.empty();
  for (const std::int64_t size :
       {linear.num_key_heads, linear.num_value_heads, linear.key_head_dim, linear.value_head_dim, linear.conv_width}) {
    expect(any == (size > 0), "/linear_attention", "expected sizes exactly where there are linear_attention_layers");
  }
  expect(!any || linear.num_value_heads % linear.num_key_heads == 0, "/linear_attention/num_value_heads",
         "expected a multiple of num_key_heads");
  expect(std::adjacent_find(layers.begin(), layers.end(), std::greater_equal<>()) == layers.end() &&
             (!any || layers.back() < model.num_layers),
         "/linear_attention_layers", "expected rising layers below num_layers");
  const AttentionSpec& attention = model.attention;
  expect(!any || (std::cmp_less(layers.size(), model.num_layers) && attention.kind == AttentionKind::kGrouped &&
                  attention.sliding_window == 0),
         "/linear_attention_layers", "expected some layers, and the others with grouped attention without a window");
}

/// What ModelSpec promises beyond the ranges of its fields.
void CheckModel(const ModelSpec& model, const std::string& place) {
  const auto expect = [&](bool holds, const char* pointer, const char* message) {
    if (!holds) throw SpecError(place + pointer, message);
  };
  expect(std::cmp_equal(model.layers.size(), model.num_layers), "/layers", "expected one entry a layer");
  expect(model.HasMoe() == (model.NumLayers(LayerKind::kMoe) > 0), "/moe/num_experts",
         "expected experts exactly where there are MoE layers");
  expect(model.HasDense() == (model.NumLayers(LayerKind::kDense) > 0), "/ffn_size",
         "expected a size exactly where there are dense layers");
  const AttentionSpec& attention = model.attention;
  const bool grouped = attention.kind == AttentionKind::kGrouped;
  expect(attention.num_heads % attention.num_kv_heads == 0, "/attention/num_kv_heads",
         "expected a divisor of num_heads");
  expect(grouped == (attention.head_dim > 0), "/attention/head_dim", "expected a size exactly for grouped attention");
  expect(grouped == (attention.kv_lora_rank == 0), "/attention/kv_lora_rank",
         "expected a rank exactly for multi_latent attention");
  const bool indexer = attention.HasIndexer();
  expect(!(grouped && indexer) && (!indexer || attention.q_lora_rank > 0), "/attention/index_heads",
         "expected an indexer only for multi_latent attention with a q_lora_rank");
  expect(indexer == (attention.index_head_dim > 0) && indexer == (attention.index_topk > 0), "/attention/index_heads",
         "expected index_heads, index_head_dim and index_topk together");
  const std::vector<std::int64_t>& full = model.full_attention_layers;
  expect(std::adjacent_find(full.begin(), full.end(), std::greater_equal<>()) == full.end() &&
             (full.empty() || full.back() < model.num_layers),
         "/full_attention_layers", "expected rising layers below num_layers");
  expect(full.empty() || (attention.sliding_window > 0 && std::cmp_less(full.size(), model.num_layers)),
         "/full_attention_layers", "expected some layers, and only where attention has a sliding_window");
  expect(!attention.output_gate || (grouped && !attention.whole_qk_norm), "/attention/output_gate",
         "expected a gate only for grouped attention whose norms are of heads");
  CheckLinearAttention(model, expect);
  expect(model.norms_per_layer % 2 == 0, "/norms_per_layer", "expected 2 or 4");
  const MoeSpec& moe = model.moe;
  expect(moe.num_experts_per_token <= moe.num_experts, "/moe/num_experts_per_token", "expected at most num_experts");
  expect(model.HasMoe() == (moe.num_experts_per_token > 0 && moe.expert_ffn_size > 0), "/moe",
         "expected experts per token and their size exactly where there are experts");
  const auto count = internal::TryCountParameters(model);
  expect(count && count->total <= internal::kMaxParameters, "", "the sizes give more than 2^53 parameters");
}

}  // namespace

std::string ToJson(const Problem& problem, int indent) {
  return json::WriteJson(MakeProblemFile(problem)).dump(indent);
}

Problem ParseProblem(std::string_view json, std::string_view place) {
  auto file = json::ReadJson<ProblemFile>(json::ParseText(json, place), place);
  const std::string root = json::Place(place, "");
  CheckModel(file.model, root + "/model");
  internal::CheckCluster(file.cluster, root + "/cluster");
  internal::CheckWorkload(file.workload, root + "/workload");
  ProblemOptions options;
  for (std::size_t i = 0; i < file.options.fixed.size(); ++i) {
    const std::string& text = file.options.fixed[i];
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      throw SpecError(root + "/options/fixed/" + std::to_string(i),
                      "found \"" + text + "\", expected \"variable=value\"");
    }
    options.fixed[text.substr(0, equals)] = text.substr(equals + 1);
  }
  options.admitted_overlaps = std::move(file.options.admitted_overlaps);
  options.framework = file.options.framework;
  return Problem(std::move(file.model), std::move(file.cluster), std::move(file.workload), std::move(options));
}

}  // namespace shardscout
