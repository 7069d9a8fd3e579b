// The frame of a Hugging Face config.json: its family, the sizes that all families share, data types, overrides.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "shardscout/error.h"
#include "shardscout/model_spec.h"
#include "shardscout/preset_paths.h"
#include "src/choices.h"
#include "src/config_reader.h"
#include "src/json/json_text.h"
#include "src/model_counts.h"
#include "src/model_families.h"
#include "src/model_quantization.h"
#include "src/printable.h"

namespace shardscout {
namespace {

using internal::ConfigReader;
using internal::Family;

constexpr std::int64_t kMaxLayers = 100'000;

/// Keys that change neither shapes nor bytes, in any family.
void IgnoreIrrelevantKeys(ConfigReader& config) {
  config.Ignore({"model_type",
                 "max_position_embeddings",
                 "hidden_act",
                 "rms_norm_eps",
                 "rope_scaling",
                 "rope_theta",
                 "rope_parameters",
                 "rope_interleave",
                 "bos_token_id",
                 "eos_token_id",
                 "pad_token_id",
                 "initializer_range",
                 "use_cache",
                 "attention_dropout",
                 "hidden_dropout",
                 "pretraining_tp",
                 "transformers_version",
                 "auto_map",
                 "attn_implementation",
                 "output_attentions",
                 "output_hidden_states",
                 "return_dict"});
}

const Family& FindFamily(ConfigReader& config, std::string_view place) {
  const std::vector<std::string> architectures = config.Texts("architectures");
  if (architectures.size() != 1) {
    throw SpecError(config.PlaceOf("architectures"),
                    "found " + std::to_string(architectures.size()) + " architectures, expected one");
  }
  std::vector<std::string> known;
  for (const Family& family : internal::Families()) {
    if (family.architecture == architectures[0]) return family;
    known.emplace_back(family.architecture);
  }
  throw SpecError(json::Place(place, "/architectures/0"),
                  "found \"" + architectures[0] + "\", expected one of " + internal::JoinNames(known, ", "));
}

/// `config` is the language model's object, `root` the file's; either may name the type.
void ReadDTypes(ConfigReader& root, ConfigReader& config, const Family& family, ModelSpec& model,
                std::vector<std::string>* warnings) {
  std::optional<DType> dtype;
  for (ConfigReader* reader : {&root, &config}) {
    for (const std::string_view key : {"torch_dtype", "dtype"}) {
      if (const auto text = reader->FindText(key)) dtype = ParseDType(*text, reader->PlaceOf(key));
    }
  }
  if (!dtype) dtype = family.usual_dtype;
  if (!dtype && warnings != nullptr) warnings->push_back(config.PlaceOf("torch_dtype") + ": missing, bf16 assumed");
  model.weight_dtype = model.embedding_dtype = model.activation_dtype = model.residual_dtype = model.kv_dtype =
      dtype.value_or(DType::kBf16);
}

/// Weights of 16 bits or more leave nothing of the file's quantisation: its block scales and activation type go too.
void ApplyOverrides(const ModelOverrides& overrides, ModelSpec& model) {
  if (!overrides.weight_dtype.empty()) {
    model.weight_dtype = ParseDType(overrides.weight_dtype, "--weight-dtype");
    if (BitsPerElement(model.weight_dtype) >= 16) {
      model.weight_quant_block = 0;
      model.weight_quant_grouped = model.weight_zero_points = false;
      model.scale_dtype = ModelSpec().scale_dtype;
      model.attention_quantised = model.dense_ffn_quantised = model.shared_expert_quantised = true;
      model.activation_dtype = model.residual_dtype;
    }
    // No recipe has squares of 4-bit weights.
    if (BitsPerElement(model.weight_dtype) == 4) model.weight_quant_grouped = true;
    if (model.weight_dtype == DType::kNvfp4) {
      model.weight_quant_block = 16;
      model.scale_dtype = DType::kFp8;
    }
  }
  if (!overrides.activation_dtype.empty()) {
    model.activation_dtype = ParseDType(overrides.activation_dtype, "--activation-dtype");
  }
  if (!overrides.kv_dtype.empty()) model.kv_dtype = ParseDType(overrides.kv_dtype, "--kv-dtype");
  if (overrides.weight_quant_block >= 0) {
    if (overrides.weight_quant_block > 0 && BitsPerElement(model.weight_dtype) >= 16) {
      throw SpecError("--weight-quant-block", "found " + std::to_string(overrides.weight_quant_block) +
                                                  ", expected 0: " + std::string(ToString(model.weight_dtype)) +
                                                  " weights have no scales");
    }
    if (overrides.weight_quant_block > ConfigReader::kMaxSize) {
      throw SpecError("--weight-quant-block", "found " + std::to_string(overrides.weight_quant_block) +
                                                  ", expected at most " + std::to_string(ConfigReader::kMaxSize));
    }
    model.weight_quant_block = overrides.weight_quant_block;
  }
}

/// The file's name without extension, or its folder's where it is the usual config.json.
std::string NameFromPlace(std::string_view place) {
  const std::filesystem::path path(place);
  if (path.filename() != "config.json") return internal::Printable(path.stem().string());
  const std::string folder = std::filesystem::absolute(path).parent_path().filename().string();
  return folder.empty() ? "config" : internal::Printable(folder);
}

}  // namespace

ModelSpec ParseModelConfig(std::string_view text, std::string_view place, const ModelOverrides& overrides,
                           std::vector<std::string>* warnings) {
  const nlohmann::json document = json::ParseText(text, place);
  ConfigReader root(document, json::Place(place, ""));
  const Family& family = FindFamily(root, place);
  std::optional<ConfigReader> nested;
  if (!family.nested.empty()) {
    root.Require({family.nested});
    nested.emplace(*root.FindObject(family.nested), root.PlaceOf(family.nested));
  }
  ConfigReader& config = nested ? *nested : root;

  ModelSpec model;
  model.name = NameFromPlace(place);
  model.num_layers = config.Count("num_hidden_layers", 1, kMaxLayers);
  model.hidden_size = config.Count("hidden_size");
  model.vocab_size = config.Count("vocab_size");
  model.tie_word_embeddings = config.Flag("tie_word_embeddings", root.Flag("tie_word_embeddings", false));
  family.read(config, model);
  ReadDTypes(root, config, family, model, warnings);
  internal::ReadQuantization(nested && config.Has("quantization_config") ? config : root, model, warnings);
  IgnoreIrrelevantKeys(config);
  if (nested) {
    // The other parts of a multimodal model are no part of what is planned.
    root.Ignore({"vision_config", "image_token_index", "boi_token_index", "eoi_token_index", "image_token_id",
                 "video_token_id", "vision_start_token_id", "vision_end_token_id"});
    IgnoreIrrelevantKeys(root);
    root.Finish(warnings);
  }
  config.Finish(warnings);
  ApplyOverrides(overrides, model);

  const auto count = internal::TryCountParameters(model);
  if (!count || count->total > internal::kMaxParameters) {
    throw SpecError(json::Place(place, ""), "the sizes give more than 2^53 parameters");
  }
  return model;
}

ModelSpec LoadModel(const std::string& name_or_path, const ModelOverrides& overrides,
                    std::vector<std::string>* warnings) {
  const std::string path = ResolvePreset("models", name_or_path, "--model");
  return ParseModelConfig(ReadTextFile(path), path, overrides, warnings);
}

}  // namespace shardscout
