#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/plan.h"
#include "shardscout/search_environment.h"

namespace shardscout {

enum class SearchStatus : std::uint8_t {
  kProvenOptimal,
  kBudgetExhausted,
  kSpaceExhausted,
  kTimeLimit,
  kProvenInfeasible,
  kNothingFound,  ///< Ended without a feasible strategy and without a proof that there is none.
  kInterrupted,
  kFinished,    ///< The searcher had nothing more to ask (a fixed rule), with budget left.
  kGapReached,  ///< The best is proved to be as near the optimum as was asked for.
};
std::string_view ToString(SearchStatus status);

/// Proposes strategies and learns from their rewards; sees the evaluator only through the environment. Repeatable by
/// seed.
class Searcher {
 public:
  virtual ~Searcher() = default;
  virtual std::string_view Name() const = 0;
  /// Runs until the environment ends the search or nothing is left to ask. The best strategy is the environment's.
  /// Budget, time and interruption are read off the environment by StatusOf; a searcher returns only a claim of its own
  /// (kProvenOptimal, kProvenInfeasible, kGapReached), or kFinished.
  virtual SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) = 0;
  /// The effective configuration as one JSON object.
  virtual std::string ConfigJson() const = 0;
  /// What the last search proved, where it proved something.
  virtual std::optional<Certificate> Proof() const { return std::nullopt; }
};

/// The status of a finished search, from what the searcher claims and why the environment ended.
SearchStatus StatusOf(const SearchEnvironment& environment, SearchStatus claim);

/// Settings of a searcher as the user gave them, in rising order of precedence: a JSON object from a file ("" for
/// none), then "name=value" pairs without the searcher's prefix.
struct SearcherSettings {
  std::string config_json;
  std::string config_place;              ///< For errors: the file's name, or "file#/pointer".
  std::vector<std::string> assignments;  ///< "clip_range=0.1"
};

/// One row of a searcher's configuration, for `list` and the documents.
struct SettingDescription {
  std::string name, type, default_value, range, doc;
  std::string schema;  ///< Its JSON Schema as text.
};

/// A plain object: name -> how to make a searcher.
class SearcherRegistry {
 public:
  using Factory = std::function<std::unique_ptr<Searcher>(const SearcherSettings&)>;
  struct Entry {
    std::string description;
    Factory factory;
    std::vector<SettingDescription> settings;
    std::string only_evaluator = {};  ///< The one that it knows the inside of and can search with; "": any.
    bool seeded = true;               ///< Draws random numbers; false: every seed gives the same search.
    bool WorksWith(std::string_view evaluator) const { return only_evaluator.empty() || only_evaluator == evaluator; }
  };
  void Register(std::string name, Entry entry);
  /// SpecError with the nearest name for an unknown one.
  std::unique_ptr<Searcher> Make(const std::string& name, const SearcherSettings& settings = {}) const;
  const std::map<std::string, Entry>& entries() const { return entries_; }
  std::vector<std::string> Names() const;  ///< Sorted.

 private:
  std::map<std::string, Entry> entries_;
};

/// random, random-walk, annealing, evolution, local-search, megatron, megatron-tuned, exhaustive, exact.
void RegisterBuiltinSearchers(SearcherRegistry& registry);

/// ppo, ppo-from-scratch, ppo-paper. Defined in shardscout::agents; the header is free of torch.
void RegisterAgents(SearcherRegistry& registry);

}  // namespace shardscout
