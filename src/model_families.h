#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "shardscout/model_spec.h"
#include "src/config_reader.h"

namespace shardscout::internal {

/// How one architecture's config.json is read. `read` fills everything but the name, the common sizes (num_layers,
/// hidden_size, vocab_size), tie_word_embeddings as the file has it, and the data types.
struct Family {
  std::string_view architecture;
  void (*read)(ConfigReader& config, ModelSpec& model);
  /// The object that holds the language model's keys ("text_config"); empty: the file's top.
  std::string_view nested{};
  /// The type in which the family is published, where its files name none.
  std::optional<DType> usual_dtype{};
};

/// Every architecture that is understood, in the order in which errors list them.
std::span<const Family> Families();

}  // namespace shardscout::internal
