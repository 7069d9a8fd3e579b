#include "shardscout/scale_model.h"

#include <algorithm>
#include <utility>

#include "shardscout/error.h"

namespace shardscout {
namespace {

constexpr const char* kLayersOption = "--scale-layers";
constexpr const char* kWidthOption = "--scale-width";
constexpr const char* kExpertsOption = "--scale-experts";
constexpr const char* kVocabOption = "--scale-vocab";

SpecError Refusal(const char* option, std::int64_t value, const std::string& message) {
  return SpecError(std::string(option) + " " + std::to_string(value), message);
}

class Scaling {
 public:
  Scaling(ModelSpec model, const ModelScale& scale, std::vector<ScaledSize>* changes)
      : model_(std::move(model)), scale_(scale), changes_(changes) {}

  ModelSpec Run() {
    if (scale_.num_layers > 0) KeepLayers();
    if (scale_.num_experts > 0) KeepExperts();
    if (scale_.vocab_size > 0) SetTo("vocab_size", &model_.vocab_size, scale_.vocab_size, kVocabOption);
    if (scale_.hidden_size > 0) Narrow();
    model_.name += ", scaled";
    return std::move(model_);
  }

 private:
  void Note(const char* name, std::int64_t* size, std::int64_t to) {
    if (*size != to && changes_ != nullptr) changes_->push_back({name, *size, to});
    *size = to;
  }

  void SetTo(const char* name, std::int64_t* size, std::int64_t to, const char* option) {
    if (to > *size || to < 1) {
      throw Refusal(option, to,
                    "expected 1 to " + std::to_string(*size) + ", the " + name + " of " + model_.name +
                        ": live runs make a model smaller");
    }
    Note(name, size, to);
  }

  /// So many of the first layers have all kinds that the model has.
  std::int64_t LeastLayers() const {
    std::int64_t least = 1;
    const auto need = [&](const auto& is_of_kind) {
      for (std::int64_t layer = 0; layer < model_.num_layers; ++layer) {
        if (!is_of_kind(layer)) continue;
        least = std::max(least, layer + 1);
        return;
      }
    };
    for (const LayerKind kind : {LayerKind::kDense, LayerKind::kMoe}) {
      need([&](std::int64_t layer) { return model_.layers[static_cast<std::size_t>(layer)] == kind; });
    }
    for (const bool linear : {false, true}) {
      need([&](std::int64_t layer) { return model_.IsLinear(layer) == linear; });
    }
    for (const bool window : {false, true}) {
      need([&](std::int64_t layer) { return (model_.WindowOf(layer) > 0) == window; });
    }
    return least;
  }

  void KeepLayers() {
    const std::int64_t layers = scale_.num_layers, least = LeastLayers();
    if (layers < least) {
      throw Refusal(kLayersOption, layers,
                    "the first " + std::to_string(layers) + " of " + model_.name +
                        " have not all its kinds of layers; expected at least " + std::to_string(least));
    }
    SetTo("num_layers", &model_.num_layers, layers, kLayersOption);
    model_.layers.resize(static_cast<std::size_t>(layers));
    for (auto* some : {&model_.full_attention_layers, &model_.linear_attention_layers}) {
      std::erase_if(*some, [&](std::int64_t layer) { return layer >= layers; });
    }
  }

  void KeepExperts() {
    MoeSpec& moe = model_.moe;
    const std::int64_t experts = scale_.num_experts;
    if (!model_.HasMoe()) throw Refusal(kExpertsOption, experts, model_.name + " has no routed experts");
    if (experts < moe.num_experts_per_token) {
      throw Refusal(kExpertsOption, experts,
                    "expected at least " + std::to_string(moe.num_experts_per_token) + ", since a token takes so many");
    }
    SetTo("moe.num_experts", &moe.num_experts, experts, kExpertsOption);
  }

  void Divide(const char* name, std::int64_t* size, const char* remedy = "give another width") {
    if (*size % factor_ != 0) {
      throw Refusal(kWidthOption, scale_.hidden_size,
                    "divides all widths by " + std::to_string(factor_) + ", but " + name + " of " + model_.name +
                        " is " + std::to_string(*size) + "; " + remedy);
    }
    Note(name, size, *size / factor_);
  }

  /// Rotated in pairs.
  void DivideRotary(const char* name, std::int64_t* size) {
    if (*size > 0 && *size / factor_ % 2 != 0) {
      throw Refusal(kWidthOption, scale_.hidden_size,
                    "leaves " + std::to_string(*size / factor_) + " of the " + std::to_string(*size) + " of " + name +
                        ", and a rotary embedding needs an even number; give another width");
    }
    Divide(name, size);
  }

  void Narrow() {
    const std::int64_t hidden = scale_.hidden_size;
    if (hidden > model_.hidden_size || model_.hidden_size % hidden != 0) {
      throw Refusal(
          kWidthOption, hidden,
          "expected a divisor of " + std::to_string(model_.hidden_size) + ", the hidden_size of " + model_.name);
    }
    factor_ = model_.hidden_size / hidden;
    Divide("hidden_size", &model_.hidden_size);
    if (scale_.vocab_size == 0) Divide("vocab_size", &model_.vocab_size, "give its size by --scale-vocab");
    AttentionSpec& attention = model_.attention;
    DivideRotary("attention.head_dim", &attention.head_dim);
    Divide("attention.q_lora_rank", &attention.q_lora_rank);
    Divide("attention.kv_lora_rank", &attention.kv_lora_rank);
    Divide("attention.qk_nope_head_dim", &attention.qk_nope_head_dim);
    DivideRotary("attention.qk_rope_head_dim", &attention.qk_rope_head_dim);
    Divide("attention.v_head_dim", &attention.v_head_dim);
    Divide("attention.index_head_dim", &attention.index_head_dim);
    Divide("linear_attention.key_head_dim", &model_.linear_attention.key_head_dim);
    Divide("linear_attention.value_head_dim", &model_.linear_attention.value_head_dim);
    Divide("ffn_size", &model_.ffn_size);
    Divide("moe.expert_ffn_size", &model_.moe.expert_ffn_size);
    Divide("moe.shared_ffn_size", &model_.moe.shared_ffn_size);
    Divide("weight_quant_block", &model_.weight_quant_block, "give --quant-block 0, or another width");
  }

  ModelSpec model_;
  const ModelScale scale_;
  std::vector<ScaledSize>* const changes_;
  std::int64_t factor_ = 1;
};

}  // namespace

ModelSpec ScaledModel(const ModelSpec& model, const ModelScale& scale, std::vector<ScaledSize>* changes) {
  return scale.Any() ? Scaling(model, scale, changes).Run() : model;
}

}  // namespace shardscout
