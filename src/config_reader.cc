#include "src/config_reader.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "shardscout/error.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"

namespace shardscout::internal {
namespace {

bool IsOff(const nlohmann::json& value) {
  return value.is_null() || value == false || value == 0 || (value.is_structured() && value.empty());
}

/// Whether a key's name speaks of what decides cost: attention, experts, or the structure of the layers.
bool NamesStructure(std::string_view key) {
  static constexpr std::array<std::string_view, 18> kWords = {
      "attn", "attention", "expert",  "moe",   "router", "index_", "head", "window",      "lora",
      "kv_",  "bias",      "qk_norm", "mamba", "sparse", "hybrid", "ssm",  "layer_types", "_config"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return key.find(word) != std::string_view::npos; });
}

using Spellings = std::array<std::string_view, 5>;

constexpr std::array<Spellings, 7> kSpellings = {
    {{"num_hidden_layers", "n_layer", "n_layers", "num_layers"},
     {"hidden_size", "n_embd", "d_model"},
     {"num_attention_heads", "n_head", "n_heads"},
     {"num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num"},
     {"intermediate_size", "n_inner", "ffn_hidden_size"},
     {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"},
     {"num_experts_per_tok", "experts_per_token", "moe_top_k"}}};

/// All spellings of `key`'s size, or null where there is but one. Unused entries are empty.
const Spellings* SpellingsOf(std::string_view key) {
  for (const Spellings& spellings : kSpellings) {
    if (std::find(spellings.begin(), spellings.end(), key) != spellings.end()) return &spellings;
  }
  return nullptr;
}

json::Field Bounds(std::int64_t min, std::int64_t max) {
  return {.min = static_cast<double>(min), .max = static_cast<double>(max)};
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& object, std::string place)
    : object_(object), place_(std::move(place)) {
  if (!object_.is_object()) throw SpecError(place_, "found " + json::Quoted(object_) + ", expected an object");
}

std::string_view ConfigReader::SpellingOf(std::string_view key) const {
  const auto is_there = [&](std::string_view spelling) {
    const auto member = object_.find(spelling);
    return member != object_.end() && !member->is_null();
  };
  const Spellings* spellings = SpellingsOf(key);
  if (spellings == nullptr || is_there(key)) return key;
  for (const std::string_view spelling : *spellings) {
    if (!spelling.empty() && is_there(spelling)) return spelling;
  }
  return key;
}

std::string ConfigReader::PlaceOf(std::string_view key) const {
  return place_ + "/" + json::PointerStep(SpellingOf(key));
}

const nlohmann::json* ConfigReader::Find(std::string_view key) {
  const std::string_view found = SpellingOf(key);
  understood_.emplace(found);
  const auto member = object_.find(found);
  if (member == object_.end() || member->is_null()) {
    if (const Spellings* spellings = SpellingsOf(key)) understood_.insert(spellings->begin(), spellings->end());
    return nullptr;
  }
  if (const Spellings* spellings = SpellingsOf(key)) {
    for (const std::string_view other : *spellings) {
      if (other.empty() || other == found) continue;
      const auto twin = object_.find(other);
      if (twin == object_.end()) continue;
      understood_.emplace(other);
      if (twin->is_null() || *twin == *member) continue;
      throw SpecError(PlaceOf(found), "found " + json::Quoted(*member) + ", but \"" + std::string(other) +
                                          "\" is another name of the same size and says " + json::Quoted(*twin) +
                                          "; keep one");
    }
  }
  return &*member;
}

bool ConfigReader::Has(std::string_view key) const {
  const auto member = object_.find(SpellingOf(key));
  return member != object_.end() && !member->is_null();
}

const nlohmann::json& ConfigReader::At(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) throw SpecError(place_, "missing key \"" + std::string(key) + "\"");
  return *value;
}

std::int64_t ConfigReader::Count(std::string_view key, std::int64_t min, std::int64_t max) {
  return json::ReadValue<std::int64_t>(At(key), PlaceOf(key), Bounds(min, max));
}

std::optional<std::int64_t> ConfigReader::FindCount(std::string_view key, std::int64_t min, std::int64_t max) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return json::ReadValue<std::int64_t>(*value, PlaceOf(key), Bounds(min, max));
}

bool ConfigReader::Flag(std::string_view key, bool fallback) {
  const nlohmann::json* value = Find(key);
  return value == nullptr ? fallback : json::ReadValue<bool>(*value, PlaceOf(key));
}

std::optional<std::string> ConfigReader::FindText(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return json::ReadValue<std::string>(*value, PlaceOf(key));
}

std::string ConfigReader::Text(std::string_view key) { return json::ReadValue<std::string>(At(key), PlaceOf(key)); }

std::vector<std::int64_t> ConfigReader::Integers(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  return json::ReadValue<std::vector<std::int64_t>>(*value, PlaceOf(key), Bounds(0, kMaxSize));
}

std::vector<std::string> ConfigReader::Texts(std::string_view key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  return json::ReadValue<std::vector<std::string>>(*value, PlaceOf(key));
}

const nlohmann::json* ConfigReader::FindObject(std::string_view key) { return Find(key); }

void ConfigReader::Require(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) At(key);
}

void ConfigReader::Ignore(std::initializer_list<std::string_view> keys) {
  understood_.insert(keys.begin(), keys.end());
}

void ConfigReader::RefuseUnlessOff(std::string_view key, std::string_view reason) {
  const nlohmann::json* value = Find(key);
  if (value != nullptr && !IsOff(*value)) Refuse(key, reason);
}

void ConfigReader::Refuse(std::string_view key, std::string_view reason) const {
  const auto member = object_.find(SpellingOf(key));
  const std::string found = member == object_.end() ? "nothing" : json::Quoted(*member);
  throw SpecError(PlaceOf(key), "found " + found + ": " + std::string(reason));
}

void ConfigReader::Finish(std::vector<std::string>* warnings) const {
  for (const auto& item : object_.items()) {
    const std::string& key = item.key();
    if (key.starts_with('_') || understood_.contains(key)) continue;
    if (NamesStructure(key) && !IsOff(item.value())) {
      Refuse(key, "this key isn't known and may change the model's structure; remove it if it does not");
    }
    if (warnings != nullptr) warnings->push_back(PlaceOf(key) + ": unknown key, ignored");
  }
}

}  // namespace shardscout::internal
