#pragma once

// Reads an object of a format that isn't ours and remembers which keys were understood, so that no key goes unnoticed.

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::internal {

/// A key whose value is null counts as absent. Every read marks its key as understood; errors are SpecErrors at the
/// key. Model makers spell some sizes in several ways (vLLM takes them all): asked for one spelling, the reader finds
/// the one that is there; two that disagree are an error. The spellings, each line one size:
///   num_hidden_layers, n_layer, n_layers, num_layers
///   hidden_size, n_embd, d_model
///   num_attention_heads, n_head, n_heads
///   num_key_value_heads, num_kv_heads, n_head_kv, kv_n_heads, multi_query_group_num
///   intermediate_size, n_inner, ffn_hidden_size
///   num_experts, num_local_experts, n_routed_experts, moe_num_experts
///   num_experts_per_tok, experts_per_token, moe_top_k
class ConfigReader {
 public:
  /// `object` outlives the reader. `place` is "file#/pointer" of the object; throws SpecError there if it isn't an
  /// object.
  ConfigReader(const nlohmann::json& object, std::string place);

  /// Integers from `min` (and up to `max`, the bound of all sizes unless given); Count refuses a missing key.
  std::int64_t Count(std::string_view key, std::int64_t min = 1, std::int64_t max = kMaxSize);
  std::optional<std::int64_t> FindCount(std::string_view key, std::int64_t min = 1, std::int64_t max = kMaxSize);
  bool Flag(std::string_view key, bool fallback);
  std::optional<std::string> FindText(std::string_view key);
  std::string Text(std::string_view key);
  std::vector<std::int64_t> Integers(std::string_view key);
  std::vector<std::string> Texts(std::string_view key);
  bool Has(std::string_view key) const;
  /// A nested object, or null.
  const nlohmann::json* FindObject(std::string_view key);

  /// Throws unless every key is there.
  void Require(std::initializer_list<std::string_view> keys);
  /// Marks keys as known not to matter.
  void Ignore(std::initializer_list<std::string_view> keys);
  /// Throws if `key` holds anything but null, false, 0 or an empty list: a feature that isn't modelled.
  void RefuseUnlessOff(std::string_view key, std::string_view reason);
  [[noreturn]] void Refuse(std::string_view key, std::string_view reason) const;

  /// Call last. A key that nobody asked for is refused where its name speaks of attention or experts and its value
  /// isn't off, else reported in `warnings` (which may be null). Keys that begin with "_" are comments.
  void Finish(std::vector<std::string>* warnings) const;

  std::string PlaceOf(std::string_view key) const;

  static constexpr std::int64_t kMaxSize = std::int64_t{1} << 31;

 private:
  const nlohmann::json* Find(std::string_view key);
  const nlohmann::json& At(std::string_view key);
  /// The spelling of `key` that the object has; `key` itself where it has none.
  std::string_view SpellingOf(std::string_view key) const;

  const nlohmann::json& object_;
  std::string place_;
  std::set<std::string, std::less<>> understood_;
};

}  // namespace shardscout::internal
