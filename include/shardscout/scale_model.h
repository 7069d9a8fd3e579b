#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/model_spec.h"

namespace shardscout {

/// How a model is made small enough to be computed unsharded beside a live run. Each is the size to come to; 0 keeps
/// the model's.
struct ModelScale {
  std::int64_t num_layers = 0;   ///< Its first ones, so that their kinds keep their order.
  std::int64_t hidden_size = 0;  ///< A divisor of the model's. All other widths are divided by the same factor.
  std::int64_t num_experts = 0;  ///< Routed ones; a token still takes as many.
  std::int64_t vocab_size = 0;   ///< Else it is divided as the widths are.

  bool Any() const { return num_layers > 0 || hidden_size > 0 || num_experts > 0 || vocab_size > 0; }
  bool operator==(const ModelScale&) const = default;
};

/// One size that a scale changed.
struct ScaledSize {
  std::string name;  ///< As in ModelSpec: "hidden_size", "attention.head_dim".
  std::int64_t from = 0, to = 0;
  bool operator==(const ScaledSize&) const = default;
};

/// The model at that scale. Narrower by a factor f = hidden_size / ModelScale::hidden_size means: hidden_size,
/// vocab_size, the inner widths of all FFNs, the sizes of heads and of MLA's latents, and the blocks of quantised
/// weights, all by f. What a sharding splits by count (heads, KV heads, experts) and what is no width (windows,
/// positions that an indexer chooses, the convolution of linear attention) stay.
///
/// SpecError, naming the option of `shardscout live`, where a size is not below the model's, does not divide by f,
/// gives a rotary embedding an odd width, or where the first layers lack a kind of layer that the model has, or there
/// would be fewer experts than a token takes.
///
/// Worked example: DeepSeek-V3 with 4 layers, hidden size 448 and 32 experts: f = 16; 3 dense layers and one of
/// experts, ffn 1152, experts of 128, vocabulary 8080, latents of 96 and 32, 128 heads of 8 + 4 and 8, blocks of 8.
ModelSpec ScaledModel(const ModelSpec& model, const ModelScale& scale, std::vector<ScaledSize>* changes = nullptr);

}  // namespace shardscout
